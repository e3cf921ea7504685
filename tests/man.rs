//! mandoc(1) accepts the manual pages. That they are those of the program is tested beside the
//! command line, in src/cli/args.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn mandoc_finds_no_error_in_the_pages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|page| page.unwrap().path())
        .collect();
    assert!(pages.len() > 10);
    let output = Command::new("mandoc")
        .args(["-Tlint", "-Werror"])
        .args(pages)
        .output()
        .expect("mandoc is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.is_empty(), "{said}");
}
