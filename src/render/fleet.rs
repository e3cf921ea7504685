//! `cttune fleet`: many hosts in one table, as text, JSON, CSV and HTML.
//!
//! Rule: names, profiles and reasons come from other hosts: one line each, escaped in HTML, quoted
//! in CSV, where no cell begins as a formula does. Text and HTML are the same sections; their lists
//! are cut where a person stops reading, and say so. JSON and CSV have every host.

use serde::Serialize;

use super::report::document::{Block, Section, Table};
use super::report::{html as page, sections_text};
use super::shape::Schema;
use super::style::HEAD;
use crate::assess::Severity;
use crate::diagnostic::plain::one_line;
use crate::fleet::{Fleet, Group, Row, Summary, Unread};
use crate::tunable::{format_count, format_share, plural};

/// Rows of a list that people read.
const LISTED: usize = 20;

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Told<'a> {
    schema: Schema,
    hosts: usize,
    differ: usize,
    critical: usize,
    warning: usize,
    pending: usize,
    profiles: Vec<Named<'a>>,
    keys: Vec<Named<'a>>,
    findings: Vec<Named<'a>>,
    versions: Vec<Named<'a>>,
    fullest: Vec<One<'a>>,
    rows: Vec<One<'a>>,
    unread: Vec<Foreign<'a>>,
}

/// Hosts with a profile, a key that drifted, a finding, or a version.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Named<'a> {
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    hosts: usize,
    differ: usize,
    critical: usize,
    warning: usize,
    worst_fill: Option<f64>,
    /// Some of them.
    among: &'a [String],
}

/// A host.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct One<'a> {
    host: &'a str,
    profile: Option<&'a str>,
    in_line: Option<bool>,
    drifted: Vec<&'a str>,
    critical: Vec<&'a str>,
    warning: Vec<&'a str>,
    fill: Option<f64>,
    count: Option<i64>,
    max: Option<i64>,
    version: Option<&'a str>,
    pending: bool,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Foreign<'a> {
    source: &'a str,
    why: &'a str,
}

pub(crate) fn json<'a>(fleet: &'a Fleet, summary: &'a Summary<'_>) -> Told<'a> {
    let named = |groups: &'a [Group]| groups.iter().map(named).collect();
    Told {
        schema: Schema,
        hosts: summary.hosts,
        differ: summary.differ,
        critical: summary.critical,
        warning: summary.warning,
        pending: summary.pending,
        profiles: named(&summary.profiles),
        keys: named(&summary.keys),
        findings: named(&summary.findings),
        versions: named(&summary.versions),
        fullest: summary.fullest.iter().map(|row| one(row)).collect(),
        rows: fleet.hosts.iter().map(one).collect(),
        unread: fleet.unread.iter().map(foreign).collect(),
    }
}

fn named(group: &Group) -> Named<'_> {
    Named {
        name: group.name.as_deref(),
        severity: group.severity,
        hosts: group.hosts,
        differ: group.differ,
        critical: group.critical,
        warning: group.warning,
        worst_fill: group.worst_fill,
        among: &group.among,
    }
}

fn one(row: &Row) -> One<'_> {
    One {
        host: &row.host,
        profile: row.profile.as_deref(),
        in_line: row.in_line,
        drifted: row.drifted.iter().map(AsRef::as_ref).collect(),
        critical: ids(row, Severity::Critical),
        warning: ids(row, Severity::Warning),
        fill: row.fill,
        count: row.count,
        max: row.max,
        version: row.version.as_deref(),
        pending: row.pending,
    }
}

fn foreign(unread: &Unread) -> Foreign<'_> {
    Foreign {
        source: &unread.source,
        why: &unread.why,
    }
}

fn ids(row: &Row, severity: Severity) -> Vec<&str> {
    let findings = row.findings.iter().filter(|(_, one)| *one == severity);
    findings.map(|(id, _)| id.as_ref()).collect()
}

/// A line for each host, for a spreadsheet.
pub(crate) fn csv(fleet: &Fleet) -> String {
    let mut text =
        "host,profile,in_line,drifted,critical,warning,fill,count,max,version,pending\n".to_owned();
    let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
    for row in &fleet.hosts {
        let one = one(row);
        let cells = [
            quoted(one.host),
            quoted(one.profile.unwrap_or_default()),
            one.in_line.map(|is| is.to_string()).unwrap_or_default(),
            quoted(&one.drifted.join(" ")),
            quoted(&one.critical.join(" ")),
            quoted(&one.warning.join(" ")),
            one.fill
                .map(|fill| format!("{fill:.4}"))
                .unwrap_or_default(),
            number(one.count),
            number(one.max),
            quoted(one.version.unwrap_or_default()),
            one.pending.to_string(),
        ];
        text.push_str(&format!("{}\n", cells.join(",")));
    }
    text
}

/// How a formula begins, for spreadsheets of East Asia too.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A cell of text. A spreadsheet would run one that begins as a formula does; where `;` parts cells,
/// so does what follows one.
fn quoted(text: &str) -> String {
    let text = one_line(text);
    let guarded = text.split(';').map(|part| {
        let is_formula = part.trim_start().starts_with(FORMULA);
        format!("{}{part}", if is_formula { "'" } else { "" })
    });
    let guarded = guarded.collect::<Vec<_>>().join(";");
    if guarded.contains(['"', ',', ';', '\'']) {
        return format!("\"{}\"", guarded.replace('"', "\"\""));
    }
    guarded
}

/// As people read it; with `all`, every host that needs work is in it.
pub(crate) fn text(fleet: &Fleet, summary: &Summary<'_>, all: bool) -> String {
    let verdict = verdict(fleet, summary).1;
    let sections = sections(fleet, summary, if all { usize::MAX } else { LISTED });
    format!("{HEAD}{verdict}{HEAD:#}\n{}", sections_text(&sections))
}

/// One file that needs no other.
pub(crate) fn html(fleet: &Fleet, summary: &Summary<'_>, footer: &str) -> String {
    let (severity, verdict) = verdict(fleet, summary);
    let sections = sections(fleet, summary, usize::MAX);
    page::page("cttune fleet", (severity, &verdict), &sections, footer)
}

/// The class of the worst, and the whole in one sentence.
fn verdict(fleet: &Fleet, summary: &Summary<'_>) -> (&'static str, String) {
    let Summary {
        hosts,
        differ,
        critical,
        pending,
        ..
    } = summary;
    let mut parts = Vec::new();
    let mut part = |number: usize, text: &str| {
        if number > 0 {
            parts.push(format!("{} {text}", format_count(count(number))));
        }
    };
    part(*critical, "critical");
    let differs = match differ {
        1 => "differs from its profile",
        _ => "differ from their profile",
    };
    part(*differ, differs);
    part(*pending, "with a pending change");
    if parts.is_empty() && *hosts > 0 {
        parts.push("nothing differs, nothing critical".to_owned());
    }
    let unread = fleet.unread.len();
    if unread > 0 {
        parts.push(format!("{} could not be read", plural(unread, "record")));
    }
    let class = match (critical, differ) {
        (0, 0) if unread == 0 => "ok",
        (0, _) => "warning",
        _ => "critical",
    };
    (
        class,
        format!("{}: {}", plural(*hosts, "host"), parts.join(", ")),
    )
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn sections(fleet: &Fleet, summary: &Summary<'_>, most: usize) -> Vec<Section<'static>> {
    let mut sections = Vec::new();
    let mut section = |name, title, table: Table| {
        if !table.rows.is_empty() {
            let blocks = cut(table, most);
            sections.push(Section {
                name,
                title,
                blocks,
            });
        }
    };
    section("work", "Hosts to look at, the worst first", work(summary));
    section("profiles", "Profiles", profiles(summary));
    section("keys", "Keys that differ", among("key", &summary.keys));
    section("findings", "Findings", findings(summary));
    section("fullest", "The fullest tables", fullest(summary));
    section(
        "versions",
        "Versions of cttune",
        among("version", &summary.versions),
    );
    section("unread", "Records that could not be read", unread(fleet));
    sections
}

/// A table that is as long as somebody reads, and how much is left out.
fn cut(mut table: Table, most: usize) -> Vec<Block<'static>> {
    let more = table.rows.len().saturating_sub(most);
    table.rows.truncate(most);
    let mut blocks = vec![Block::Table(table)];
    if more > 0 {
        blocks.push(Block::Line(format!(
            "and {} more; --verbose and --json have all",
            format_count(count(more))
        )));
    }
    blocks
}

fn maybe(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), one_line)
}

fn share(fill: Option<f64>) -> String {
    fill.map_or_else(|| "-".to_owned(), format_share)
}

fn number(number: usize) -> String {
    format_count(count(number))
}

fn work(summary: &Summary<'_>) -> Table {
    let row = |row: &&Row| {
        let critical = ids(row, Severity::Critical).into_iter();
        let drifted = row.drifted.iter().map(AsRef::as_ref);
        let short = |key: &str| key.rsplit("nf_conntrack_").next().unwrap_or(key).to_owned();
        let what: Vec<String> = critical
            .map(str::to_owned)
            .chain(drifted.map(short))
            .collect();
        vec![
            one_line(&row.host),
            maybe(row.profile.as_deref()),
            share(row.fill),
            number(row.drifted.len()),
            number(row.found(Severity::Warning)),
            one_line(&what.join(", ")),
        ]
    };
    Table {
        caption: "Hosts that differ or have a critical finding",
        head: vec!["host", "profile", "#fill", "#differ", "#warnings", "^what"],
        rows: summary.work.iter().map(row).collect(),
    }
}

fn profiles(summary: &Summary<'_>) -> Table {
    let row = |group: &Group| {
        vec![
            maybe(group.name.as_deref()),
            number(group.hosts),
            number(group.differ),
            number(group.critical),
            number(group.warning),
            share(group.worst_fill),
        ]
    };
    Table {
        caption: "Hosts by profile",
        head: vec![
            "profile",
            "#hosts",
            "#differ",
            "#critical",
            "#warning",
            "#worst fill",
        ],
        rows: summary.profiles.iter().map(row).collect(),
    }
}

fn among(what: &'static str, groups: &[Group]) -> Table {
    let row = |group: &Group| {
        vec![
            maybe(group.name.as_deref()),
            number(group.hosts),
            names(group),
        ]
    };
    Table {
        caption: "The number of hosts, and some of them",
        head: vec![what, "#hosts", "among them"],
        rows: groups.iter().map(row).collect(),
    }
}

fn names(group: &Group) -> String {
    let more = if group.hosts > group.among.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", one_line(&group.among.join(", ")))
}

fn findings(summary: &Summary<'_>) -> Table {
    let severity = |group: &Group| match group.severity {
        Some(Severity::Critical) => "critical",
        Some(Severity::Warning) => "warning",
        Some(Severity::Info) | None => "info",
    };
    let row = |group: &Group| {
        vec![
            severity(group).to_owned(),
            maybe(group.name.as_deref()),
            number(group.hosts),
            names(group),
        ]
    };
    Table {
        caption: "Findings that are not accepted",
        head: vec!["severity", "finding", "#hosts", "among them"],
        rows: summary.findings.iter().map(row).collect(),
    }
}

fn fullest(summary: &Summary<'_>) -> Table {
    let entries = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), format_count);
    let row = |row: &&Row| {
        let host = one_line(&row.host);
        vec![host, share(row.fill), entries(row.count), entries(row.max)]
    };
    Table {
        caption: "The hosts with the fullest tables",
        head: vec!["host", "#fill", "#entries", "#limit"],
        rows: summary.fullest.iter().map(row).collect(),
    }
}

fn unread(fleet: &Fleet) -> Table {
    let row = |one: &Unread| vec![one_line(&one.source), one_line(&one.why)];
    Table {
        caption: "What is no check of a host",
        head: vec!["source", "why"],
        rows: fleet.unread.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Record;

    fn hostile() -> Fleet {
        let mut fleet = Fleet::default();
        let name = "=cmd|' /C calc'!A0,\"<script>alert(1)</script>\n\u{1b}[2J";
        let record = Record {
            profile: Some(name.to_owned()),
            in_line: Some(false),
            drifted: vec![name.to_owned()],
            findings: vec![(name.to_owned(), Severity::Critical)],
            fill: Some(0.5),
            version: Some(name.to_owned()),
            ..Record::default()
        };
        fleet.add("x", Some(name), record);
        fleet.skip(name, name);
        fleet
    }

    #[test]
    fn names_of_other_hosts_stay_text() {
        let fleet = hostile();
        let summary = Summary::of(&fleet);
        let csv = csv(&fleet);
        assert_eq!(csv.lines().count(), 2, "{csv}");
        assert!(csv.contains("\n\"'=cmd"), "{csv}");
        for (text, cell) in [
            ("fw1", "fw1"),
            (" =1", "\"' =1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("a;=1;b", "\"a;'=1;b\""),
            ("a-b", "a-b"),
        ] {
            assert_eq!(quoted(text), cell);
        }
        let html = html(&fleet, &summary, "f");
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;"), "{html}");
        let text = text(&fleet, &summary, false);
        assert!(
            !text.contains("\u{1b}[2J") && !text.contains("</script>\n"),
            "{text}"
        );
    }

    #[test]
    fn long_lists_are_cut_for_people_alone() {
        let mut fleet = Fleet::default();
        for host in 0..100 {
            let record = Record {
                in_line: Some(false),
                drifted: vec![format!("key{host}")],
                ..Record::default()
            };
            fleet.add("x", Some(&format!("fw{host}")), record);
        }
        let summary = Summary::of(&fleet);
        let short = text(&fleet, &summary, false);
        assert_eq!(
            short
                .matches("and 80 more; --verbose and --json have all")
                .count(),
            2
        );
        assert!(!text(&fleet, &summary, true).contains("more"));
        let told = serde_json::to_value(json(&fleet, &summary)).unwrap();
        assert_eq!(told["rows"].as_array().unwrap().len(), 100);
        assert_eq!(told["keys"].as_array().unwrap().len(), 100);
        assert_eq!(csv(&fleet).lines().count(), 101);
    }
}
