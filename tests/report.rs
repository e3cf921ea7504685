//! `cttune report` in sandboxes: what it says, what it hides, and that its page needs nothing else.
//!
//! `tests/pictures` looks at its pictures with a browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inside;

use std::process::{Command, Output};

use inside::{goes_inside_with, path, sh};
use serde_json::Value;

fn report(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
    command.arg("report").args(arguments).env("PATH", path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    output
}

const SECTIONS: [&str; 6] = [
    "Health",
    "Findings",
    "Who fills the table",
    "Forecast",
    "Plan",
    "History",
];

#[test]
fn a_report_has_every_part_as_text_json_and_html() {
    if goes_inside_with("a_report_has_every_part_as_text_json_and_html", "5000") {
        return;
    }
    let text = String::from_utf8(report(&["--profile", "campus-fw"]).stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html").display().to_string();
    report(&["--profile", "campus-fw", "--html", &file]);
    let page = std::fs::read_to_string(&file).unwrap();
    for section in SECTIONS {
        assert!(
            text.lines().any(|line| line == section),
            "{section} in {text}"
        );
        assert!(
            page.contains(&format!(">{section}</h2>")),
            "{section} in {page}"
        );
    }
    for part in ["2a00:1450:400b:c02::bc", "tcp_timeout_established", "2h4m"] {
        assert!(text.contains(part) && page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg ").count(), 4);
    // Nothing from elsewhere, and no script.
    for foreign in ["<script", "<link", "<img", " src=", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(
        page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"),
        "{page}"
    );
    // Every tag that is opened is closed.
    for tag in [
        "html", "body", "main", "section", "table", "tr", "td", "th", "p", "svg", "div",
    ] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    let told: Value = serde_json::from_slice(&report(&["--format", "json"]).stdout).unwrap();
    for part in ["check", "top", "forecast", "plan", "history"] {
        assert!(told[part].is_object(), "{part} in {told}");
    }
    assert!(told["plan"]["unread"].is_string(), "{told}");
}

#[test]
fn a_masked_report_has_no_address_and_no_name_of_the_host() {
    if goes_inside_with(
        "a_masked_report_has_no_address_and_no_name_of_the_host",
        "5000",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html").display().to_string();
    let options = ["--mask", "--profile", "campus-fw"];
    report(&[&options[..], &["--html", &file]].concat());
    let host = sh("uname -n").trim().to_owned();
    let masked = [
        std::fs::read_to_string(&file).unwrap(),
        String::from_utf8(report(&options).stdout).unwrap(),
        String::from_utf8(report(&[&options[..], &["--format", "json"]].concat()).stdout).unwrap(),
    ];
    for told in masked {
        for part in ["2a00:", "2001:db8", "192.0.2.", "10.20."] {
            assert!(!told.contains(part), "{part} in {told}");
        }
        let mut words = told.split(|one: char| !one.is_alphanumeric() && one != '-' && one != '_');
        assert!(
            !words.any(|word| word.eq_ignore_ascii_case(&host)),
            "{host} in {told}"
        );
        assert!(told.contains("ipv6-1") && told.contains("ipv4-1"), "{told}");
    }
}
