//! What a report says, whatever it is written as: sections of lines, tables, lists and pictures.

use serde_json::Value;

use crate::render::picture::Picture;
use crate::tunable::{Key, format_count, format_seconds, format_share, format_size, plural};

/// Groups of the table that are listed.
const GROUPS: usize = 10;
/// Changes of the history that are listed, the newest.
const CHANGES: usize = 20;

/// A part of the report.
#[derive(Debug)]
pub(in crate::render) struct Section<'a> {
    /// Unique, of lower-case letters.
    pub(in crate::render) name: &'static str,
    pub(in crate::render) title: &'static str,
    pub(in crate::render) blocks: Vec<Block<'a>>,
}

#[derive(Debug)]
pub(in crate::render) enum Block<'a> {
    Line(String),
    List(Vec<String>),
    Table(Table),
    Picture(&'a Picture),
}

/// Rows below a head. Before the title of a column of numbers is a `#`, of one that text shows on
/// lines of its own a `^`. Where a `!` begins the head, text is sentences: the first cell leads the
/// second.
#[derive(Debug)]
pub(in crate::render) struct Table {
    pub(in crate::render) caption: &'static str,
    pub(in crate::render) head: Vec<&'static str>,
    pub(in crate::render) rows: Vec<Vec<String>>,
}

/// The worst severity of what is not accepted, and the verdict.
pub(super) fn verdict(report: &Value) -> (&'static str, String) {
    let findings = items(&report["check"]["findings"]);
    let of = |severity: &str| {
        let of = |one: &&Value| one["severity"] == severity && one["accepted"] != true;
        findings.iter().filter(of).count() as u64
    };
    let (critical, warnings) = (of("critical"), of("warning"));
    let severity = match (critical, warnings) {
        (0, 0) => "ok",
        (0, _) => "warning",
        _ => "critical",
    };
    let mut parts = Vec::new();
    if critical > 0 {
        parts.push(plural(critical, "critical finding"));
    }
    if warnings > 0 {
        parts.push(plural(warnings, "warning"));
    }
    if parts.is_empty() {
        parts.push("no warning".to_owned());
    }
    let table = &report["check"]["table"];
    if let (Some(count), Some(max)) = (table["count"].as_i64(), table["max"].as_i64()) {
        parts.push(format!(
            "{} of {} entries",
            format_count(count),
            format_count(max)
        ));
    }
    (severity, parts.join(", "))
}

/// Every section, in the order of the report.
pub(super) fn sections<'a>(report: &Value, pictures: &'a [Picture]) -> Vec<Section<'a>> {
    let section = |name, title, blocks| Section {
        name,
        title,
        blocks,
    };
    vec![
        section("health", "Health", health(report)),
        section("findings", "Findings", findings(&report["check"])),
        section("who", "Who fills the table", who(&report["top"])),
        section(
            "forecast",
            "Forecast",
            forecast(&report["forecast"], pictures),
        ),
        section("plan", "Plan", plan(&report["plan"])),
        section("history", "History", history(&report["history"])),
    ]
}

fn health(report: &Value) -> Vec<Block<'static>> {
    let table = &report["check"]["table"];
    let count = |value: &Value| value.as_i64().map(format_count);
    let size = |value: &Value| value.as_u64().map(format_size);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let expectations = &report["check"]["expectations"];
    let facts = [
        ("host", text(&report["host"])),
        ("kernel", text(&report["kernel"])),
        ("time", text(&report["time"])),
        ("cttune", text(&report["version"])),
        ("profile", text(&report["check"]["profile"])),
        ("entries", count(&table["count"])),
        ("limit (max)", count(&table["max"])),
        ("fill", table["fill"].as_f64().map(format_share)),
        ("buckets", count(&table["buckets"])),
        ("memory now", size(&table["memory"])),
        ("memory when full", size(&table["memory_when_full"])),
        ("expectations", count(&expectations["count"])),
    ];
    let row = |(name, value): (&str, Option<String>)| Some(vec![name.to_owned(), value?]);
    let rows = facts.into_iter().filter_map(row).collect();
    let unread = items(&report["check"]["unread"]).iter();
    let unread =
        unread.map(|one| format!("not read: {} ({})", said(&one["source"]), said(&one["why"])));
    let mut blocks = vec![Block::Table(Table {
        caption: "The host and its table",
        head: vec!["what", "value"],
        rows,
    })];
    blocks.extend(unread.map(Block::Line));
    blocks
}

fn findings(check: &Value) -> Vec<Block<'static>> {
    let row = |one: &Value| {
        let accepted = if one["accepted"] == true {
            " (accepted)"
        } else {
            ""
        };
        vec![
            format!("{}{accepted}", said(&one["severity"])),
            said(&one["message"]),
            said(&one["hint"]),
            said(&one["id"]),
        ]
    };
    let rows: Vec<Vec<String>> = items(&check["findings"]).iter().map(row).collect();
    if rows.is_empty() {
        return vec![Block::Line("nothing is wrong".to_owned())];
    }
    vec![Block::Table(Table {
        caption: "Findings, the worst first",
        head: vec!["!severity", "what was seen", "^what to do", "^finding"],
        rows,
    })]
}

/// Why a part is not there, if it is not.
fn unread(part: &Value) -> Option<Vec<Block<'static>>> {
    let why = part["unread"].as_str()?;
    Some(vec![Block::Line(format!("not shown: {why}"))])
}

fn who(top: &Value) -> Vec<Block<'static>> {
    if let Some(unread) = unread(top) {
        return unread;
    }
    let row = |group: &Value| {
        let by = group["by"].as_object().into_iter().flatten();
        let by = by.filter(|(_, value)| !value.is_null());
        let by: Vec<String> = by
            .map(|(name, value)| format!("{name} {}", said(value)))
            .collect();
        vec![
            format_count(group["flows"].as_i64().unwrap_or(0)),
            format_share(group["share"].as_f64().unwrap_or(0.0)),
            by.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = items(&top["groups"]).iter().take(GROUPS).map(row).collect();
    let mut blocks = vec![Block::Line(said(&top["sentence"]))];
    if !rows.is_empty() {
        blocks.push(Block::Table(Table {
            caption: "The largest groups of flows",
            head: vec!["#flows", "#share", "group"],
            rows,
        }));
    }
    blocks
}

fn forecast<'a>(forecast: &Value, pictures: &'a [Picture]) -> Vec<Block<'a>> {
    if let Some(unread) = unread(forecast) {
        return unread;
    }
    let count = |value: &Value| format_count(value.as_i64().unwrap_or(0));
    let time = |value: &Value| format_seconds(value.as_i64().unwrap_or(0));
    let candidate = |one: &Value| {
        let breaks = items(&one["breaks"]).iter().map(|one| said(&one["what"]));
        vec![
            time(&one["timeout"]),
            count(&one["dropped"]),
            count(&one["kept"]),
            count(&one["unknown"]),
            breaks.collect::<Vec<_>>().join(", "),
        ]
    };
    let age = |one: &Value| {
        let ways = ["untouched", "clamp", "re_age"].map(|way| count(&one[way]));
        [time(&one["after"])].into_iter().chain(ways).collect()
    };
    let mut blocks = vec![
        Block::Line(format!(
            "{} is {} now and applies to {}.",
            said(&forecast["key"]),
            time(&forecast["timeout"]),
            plural(forecast["flows"].as_i64().unwrap_or(0), "flow"),
        )),
        Block::Table(Table {
            caption: "Flows that other timeouts would have ended",
            head: vec!["#timeout", "#would end", "#stay", "#unknown", "breaks"],
            rows: items(&forecast["timeouts"]).iter().map(candidate).collect(),
        }),
        Block::Line(format!(
            "Flows that are left if nothing is done, and after cttune expire with {}; no flow is \
             taken to send again, and none to begin.",
            time(&forecast["to"])
        )),
        Block::Table(Table {
            caption: "Flows that are left",
            head: vec!["#after", "#untouched", "#clamp", "#re-age"],
            rows: items(&forecast["ageing"]).iter().map(age).collect(),
        }),
    ];
    blocks.extend(pictures.iter().map(Block::Picture));
    blocks
}

fn plan(plan: &Value) -> Vec<Block<'static>> {
    if let Some(unread) = unread(plan) {
        return unread;
    }
    let profile = said(&plan["profile"]);
    let steps: Vec<String> = items(&plan["steps"]).iter().map(step).collect();
    let blocked = items(&plan["blocked"]).iter();
    let mut blocks: Vec<Block<'static>> = blocked
        .map(|one| Block::Line(format!("blocked: {}", said(&one["message"]))))
        .collect();
    if steps.is_empty() {
        blocks.push(Block::Line(format!("nothing differs from {profile}")));
        return blocks;
    }
    let number = steps.len() as u64;
    blocks.push(Block::Line(format!(
        "{} to apply {profile}:",
        plural(number, "change")
    )));
    blocks.push(Block::List(steps));
    blocks
}

fn step(step: &Value) -> String {
    let what = match step["kind"].as_str() {
        Some("write-live") => {
            let (name, from, to) = (said(&step["key"]), &step["from"], &step["to"]);
            let key = Key::find(&name).ok();
            let value = |value: &Value| match (key, value.as_i64()) {
                (Some(key), Some(number)) => key.said(number),
                _ => said(value),
            };
            let name = key.map_or(name, |key| key.short_name().to_owned());
            format!("{name}: {} → {}", value(from), value(to))
        }
        Some("write-file" | "edit-line") => {
            let what = match (&step["from"], &step["to"]) {
                (Value::Null, _) => "create",
                (_, Value::Null) => "remove",
                _ => "change",
            };
            format!("{what} {}", said(&step["path"]))
        }
        Some("expire") => format!(
            "expire, {}: {} flows",
            said(&step["mode"]),
            said(&step["flows"])
        ),
        kind => format!("{}: {}", kind.unwrap_or("step"), said(&step["path"])),
    };
    match said(&step["why"]) {
        why if why.is_empty() => what,
        why => format!("{what} ({why})"),
    }
}

fn history(history: &Value) -> Vec<Block<'static>> {
    if let Some(unread) = unread(history) {
        return unread;
    }
    let row = |change: &Value| {
        vec![
            said(&change["id"]),
            said(&change["time"]),
            said(&change["origin"]),
            said(&change["profile"]),
            said(&change["status"]),
            items(&change["steps"]).len().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = items(&history["changes"])
        .iter()
        .rev()
        .take(CHANGES)
        .map(row)
        .collect();
    if rows.is_empty() {
        return vec![Block::Line("no changes yet".to_owned())];
    }
    vec![Block::Table(Table {
        caption: "Changes, the newest first",
        head: vec!["#id", "time", "what", "profile", "status", "#steps"],
        rows,
    })]
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A value as people read it.
fn said(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
