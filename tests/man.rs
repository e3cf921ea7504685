//! mandoc(1) and man(1) accept the manual pages, and no page refers to one that does not exist. That
//! they are those of the program is tested beside the command line, in src/cli/args; that their
//! examples work, in tests/packages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = fs::read_dir(folder).unwrap();
    let pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 10);
    pages
}

#[test]
fn mandoc_and_man_say_nothing_about_the_pages() {
    let mut mandoc = Command::new("mandoc");
    let output = mandoc.arg("-Tlint").args(pages()).output();
    let output = output.expect("mandoc is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.is_empty(), "{said}");
    for page in pages() {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&page);
        let output = man.env("MANROFFSEQ", "").env("LC_ALL", "C.UTF-8").output();
        let output = output.expect("man is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.is_empty(), "{}: {said}", page.display());
    }
}

#[test]
fn every_page_that_is_named_exists() {
    let names: Vec<String> = pages()
        .iter()
        .map(|page| page.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap().replace("\\-", "-");
        for line in text.lines().filter(|line| line.starts_with(".BR cttune")) {
            let page_name = line.trim_start_matches(".BR ").replace(" (", ".");
            let page_name = page_name
                .trim_end_matches([' ', ',', ')', '.'])
                .replace(')', "");
            assert!(names.contains(&page_name), "{}: {line}", page.display());
        }
    }
}
