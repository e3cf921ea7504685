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

/// Puts addresses wherever cttune reads text: files, their names, the history, flows, namespaces.
const PLANT: &str = "
    hostname fw7.example.org
    cd /etc
    echo '# 203.0.113.9 and fw7' >>sysctl.conf
    echo 'net.netfilter.nf_conntrack_generic_timeout=5m' >sysctl.d/zz-203.0.113.10.conf
    mkdir -p cttune/profiles
    cat >cttune/profiles/edge-2001:db8:77::1.toml <<'END'
description = \"for fw7.example.org, 203.0.113.11\"
[sysctl]
udp_timeout = { value = 77, why = \"[2001:db8:78::2]:53 and 203.0.113.12:53 ask so, from 02:42:ac:11:00:09\" }
[accept]
\"table-fill\" = \"203.0.113.13 may fill it\"
END
    cttune apply --profile 'edge-2001:db8:77::1' --yes
    cttune kill --match dport=5228,src=2001:db8:0:100::/64 --yes
    conntrack -I -p udp -t 600 -s ::ffff:203.0.113.14 -d fe80::77 --sport 1 --dport 2 || true
    conntrack -I -p udp -t 600 -s 203.0.113.14 -d 203.0.113.15 --sport 1 --dport 2 -g 203.0.113.16
";

#[test]
fn what_is_masked_has_no_address_and_no_name_of_the_host_anywhere() {
    let test = "what_is_masked_has_no_address_and_no_name_of_the_host_anywhere";
    if goes_inside_with(test, "5000") {
        return;
    }
    sh(&format!(
        "PATH={}:$PATH\n{PLANT}",
        env!("CARGO_BIN_EXE_cttune").trim_end_matches("/cttune")
    ));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (page, bundle) = (file("page.html"), file("bundle.txt"));
    let told = |arguments: &str| {
        let output = report(&arguments.split(' ').collect::<Vec<_>>());
        String::from_utf8(output.stdout).unwrap()
    };
    told(&format!("--mask --html {page}"));
    let check = format!("check --deep -v --bundle {bundle}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
    assert!(command.args(check.split(' ')).status().unwrap().success());
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    // What is not masked has them: without it this would show nothing.
    let open = told("--format json");
    for part in ["203.0.113.10", "2001:db8:77::1", "fw7", "2a00:1450"] {
        assert!(open.contains(part), "{part} in {open}");
    }
    for masked in [
        told("--mask"),
        told("--mask --format json"),
        read(&page),
        read(&bundle),
    ] {
        let runs = masked.split(|one: char| !(one.is_ascii_hexdigit() || ".:".contains(one)));
        for run in runs {
            // With what touches it: a port, a full stop.
            let bare = run.trim_end_matches(['.', ':']);
            let host = bare.rsplit_once(':').map_or(bare, |(host, _)| host);
            for one in [run, bare, host] {
                let address = one.parse::<std::net::IpAddr>();
                let is_told = address.is_ok_and(|one| !one.is_loopback() && !one.is_unspecified());
                assert!(!is_told, "{run} in {masked}");
            }
        }
        for part in ["203.0.113", "2001:db8", "2a00:", "fe80:", "fw7", "02:42"] {
            assert!(!masked.contains(part), "{part} in {masked}");
        }
        assert!(
            masked.contains("ipv4-") && masked.contains("host"),
            "{masked}"
        );
        // Nothing that is for the writer alone.
        let marks = '\u{f8f0}'..='\u{f8ff}';
        assert!(!masked.contains(|one| marks.contains(&one)), "{masked}");
    }
}
