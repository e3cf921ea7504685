//! One record: the JSON that `cttune check` printed, or a fleet tool's JSON around it.
//!
//! Rule: only what a row needs is kept. Ansible puts the output into `stdout` of its result, Salt
//! below the name of each minion; an error of cttune is a reason and no row.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::assess::Severity;

/// The version of the JSON that is read.
const SCHEMA: u32 = 1;
/// Of what a host says in place of JSON, this many characters are shown.
const MOST_SAID: usize = 120;
/// The longest name, and the most keys and findings, that a check has.
const LONGEST_NAME: usize = 512;
const MOST_NAMES: usize = 1000;
/// How deep the JSON of fleet tools may wrap each other.
const MOST_WRAPPED: usize = 3;

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record {
    pub(crate) host: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) in_line: Option<bool>,
    pub(crate) drifted: Vec<String>,
    pub(crate) findings: Vec<(String, Severity)>,
    pub(crate) fill: Option<f64>,
    pub(crate) count: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) version: Option<String>,
    pub(crate) pending: bool,
}

/// A name, where the text itself has one for the host, and the record or why there is none.
pub(crate) type Read = (Option<String>, Result<Record, String>);

/// The names of check that are read, those of an error, and those of Ansible's results.
#[derive(Deserialize)]
struct Object {
    schema: Option<u32>,
    host: Option<String>,
    version: Option<String>,
    profile: Option<String>,
    in_line: Option<bool>,
    table: Option<Table>,
    settings: Option<Vec<Setting>>,
    findings: Option<Vec<Finding>>,
    pending: Option<IgnoredAny>,
    error: Option<Failed>,
    stdout: Option<String>,
    stderr: Option<String>,
    msg: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    count: Option<i64>,
    max: Option<i64>,
    fill: Option<f64>,
}

#[derive(Deserialize)]
struct Setting {
    key: String,
    state: String,
}

#[derive(Deserialize)]
struct Finding {
    id: String,
    severity: String,
    #[serde(default)]
    accepted: bool,
}

#[derive(Deserialize)]
struct Failed {
    message: String,
}

/// What Salt has of a minion.
#[derive(Deserialize)]
#[serde(untagged)]
enum Returned {
    Text(String),
    Other(IgnoredAny),
}

/// What a text says of hosts.
pub(crate) fn parse(text: &str) -> Vec<Read> {
    parse_wrapped(text, MOST_WRAPPED)
}

fn parse_wrapped(text: &str, depth: usize) -> Vec<Read> {
    // As Frames do.
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with('{') {
        return vec![(
            None,
            Err(format!("it is no JSON object: {}", first_line(text))),
        )];
    }
    let object: Object = match serde_json::from_str(text) {
        Ok(object) => object,
        // A minion may be called as one of the names above.
        Err(error) => {
            return by_minion(text, depth).unwrap_or(vec![(None, Err(error.to_string()))]);
        }
    };
    if object.schema.is_some() || object.error.is_some() {
        return vec![(None, checked(object))];
    }
    match (object.stdout, object.stderr, object.msg) {
        (Some(stdout), stderr, msg) => vec![(None, output(&stdout, stderr, msg, depth))],
        (None, _, Some(msg)) => vec![(None, Err(first_line(&msg)))],
        (None, _, None) => by_minion(text, depth)
            .filter(|records| !records.is_empty())
            .unwrap_or(vec![(
                None,
                Err("it is no output of cttune check".to_owned()),
            )]),
    }
}

/// The output that Ansible collected.
fn output(
    stdout: &str,
    stderr: Option<String>,
    msg: Option<String>,
    depth: usize,
) -> Result<Record, String> {
    let said = if stdout.trim().is_empty() {
        stderr.unwrap_or_default()
    } else {
        stdout.to_owned()
    };
    if said.trim_start().starts_with('{') && depth > 0 {
        let mut inner = parse_wrapped(&said, depth - 1);
        return match inner.pop() {
            Some((_, record)) if inner.is_empty() => record,
            _ => Err("it is no output of cttune check".to_owned()),
        };
    }
    let said = if said.trim().is_empty() {
        msg.unwrap_or_default()
    } else {
        said
    };
    Err(first_line(&said))
}

/// Salt's JSON: an object with the output of each minion.
fn by_minion(text: &str, depth: usize) -> Option<Vec<Read>> {
    let minions: BTreeMap<String, Returned> = serde_json::from_str(text).ok()?;
    let is_text = |one: &Returned| matches!(one, Returned::Text(_));
    let is_check = minions.get("schema").is_some_and(|one| !is_text(one));
    if depth == 0 || is_check || !minions.values().any(is_text) {
        return None;
    }
    let one = |(minion, returned): (String, Returned)| match returned {
        Returned::Text(text) => (Some(minion), output(&text, None, None, depth)),
        Returned::Other(_) => (Some(minion), Err("the minion did not return".to_owned())),
    };
    Some(minions.into_iter().map(one).collect())
}

fn checked(object: Object) -> Result<Record, String> {
    if let Some(failed) = object.error {
        return Err(first_line(&failed.message));
    }
    match object.schema {
        Some(SCHEMA) => {}
        schema => {
            let schema = schema.unwrap_or_default();
            return Err(format!(
                "it has schema {schema}, this cttune reads {SCHEMA}"
            ));
        }
    }
    let (Some(settings), Some(findings)) = (object.settings, object.findings) else {
        return Err("it is no output of cttune check".to_owned());
    };
    // Without a profile there is nothing to drift from.
    let settings = settings.into_iter().filter(|_| object.in_line.is_some());
    let drifted = settings.filter(|one| matches!(one.state.as_str(), "differs" | "not-persisted"));
    let findings = findings.into_iter().filter(|one| !one.accepted);
    let severity = |name: &str| match name {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    };
    let table = object.table;
    let record = Record {
        host: object.host,
        profile: object.profile,
        in_line: object.in_line,
        drifted: drifted.map(|one| one.key).collect(),
        findings: findings
            .map(|one| {
                let severity = severity(&one.severity);
                (one.id, severity)
            })
            .collect(),
        fill: table
            .as_ref()
            .and_then(|table| table.fill.filter(|fill| *fill >= 0.0)),
        count: table.as_ref().and_then(|table| table.count),
        max: table.as_ref().and_then(|table| table.max),
        version: object.version,
        pending: object.pending.is_some(),
    };
    if record.is_too_large() {
        return Err("it has names that no check of a host has: too long, or too many".to_owned());
    }
    Ok(record)
}

impl Record {
    fn is_too_large(&self) -> bool {
        let named = [&self.host, &self.profile, &self.version];
        let named = named.into_iter().flatten();
        let found = self.findings.iter().map(|(id, _)| id);
        let mut all = named.chain(&self.drifted).chain(found);
        self.drifted.len() + self.findings.len() > MOST_NAMES
            || all.any(|name| name.len() > LONGEST_NAME)
    }
}

/// The beginning of what a host said.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("it is empty").trim();
    line.chars().take(MOST_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = r#"{"schema":1,"host":"fw1","version":"0.1.0","profile":"campus-fw",
        "in_line":false,"pending":null,"table":{"count":9,"max":10,"fill":0.9,"new":[1]},
        "settings":[{"key":"a","state":"differs","live":1},{"key":"b","state":"ok"},
            {"key":"c","state":"not-persisted"},{"key":"d","state":"missing"}],
        "findings":[{"id":"x","severity":"critical","accepted":true},
            {"id":"y","severity":"critical","accepted":false},{"id":"z","severity":"info"}]}"#;

    fn expected() -> Record {
        Record {
            host: Some("fw1".into()),
            profile: Some("campus-fw".into()),
            in_line: Some(false),
            drifted: vec!["a".into(), "c".into()],
            findings: vec![
                ("y".into(), Severity::Critical),
                ("z".into(), Severity::Info),
            ],
            fill: Some(0.9),
            count: Some(9),
            max: Some(10),
            version: Some("0.1.0".into()),
            pending: false,
        }
    }

    #[test]
    fn a_check_is_read_whichever_tool_wrapped_it() {
        let quoted = serde_json::to_string(CHECK).unwrap();
        for (text, host) in [
            (CHECK.to_owned(), None),
            (
                format!("{{\"rc\":2,\"failed\":true,\"stdout\":{quoted},\"msg\":\"m\"}}"),
                None,
            ),
            (format!("{{\"fw9\":{quoted}}}"), Some("fw9")),
        ] {
            let read = parse(&text);
            assert_eq!(read, [(host.map(str::to_owned), Ok(expected()))], "{text}");
        }
    }

    #[test]
    fn whatever_is_no_check_has_a_reason() {
        let deep = "[".repeat(100_000);
        for (text, why) in [
            ("", "it is no JSON object: it is empty"),
            ("hello", "it is no JSON object: hello"),
            ("{}", "it is no output of cttune check"),
            ("[1]", "it is no JSON object"),
            (deep.as_str(), "it is no JSON object: [[["),
            (&format!("{{\"a\":{deep}"), "EOF"),
            (&format!("{{\"host\":{deep}"), "invalid type"),
            (
                r#"{"schema":1,"steps":[],"blocked":[]}"#,
                "it is no output of cttune check",
            ),
            (
                "\u{feff}{\"schema\":7}",
                "it has schema 7, this cttune reads 1",
            ),
            (r#"{"schema":7}"#, "it has schema 7, this cttune reads 1"),
            (
                r#"{"schema":1,"error":{"message":"no profile `x`\nmore"}}"#,
                "no profile `x`",
            ),
            (
                r#"{"stdout":"","stderr":"{\"schema\":1,\"error\":{\"message\":\"m\"}}"}"#,
                "m",
            ),
            (
                r#"{"stdout":"","stderr":"","msg":"command not found"}"#,
                "command not found",
            ),
            (r#"{"unreachable":true,"msg":"timed out"}"#, "timed out"),
            (r#"{"fw1":"command not found"}"#, "command not found"),
        ] {
            let read = parse(text);
            let [(_, Err(said))] = &read[..] else {
                panic!("{text}: {read:?}");
            };
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
