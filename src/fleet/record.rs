//! One record: the JSON that `cttune check` printed, or a fleet tool's JSON around it.
//!
//! Rule: only what a row needs is kept. Ansible puts the output into `stdout` of its result, Salt
//! below the name of each minion; an error of cttune is a reason and no row.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::assess::Severity;

/// The version of the JSON that is read.
const SCHEMA: u32 = 1;
/// Of what a host says in place of JSON, this many characters are shown.
const MOST_SAID: usize = 120;
/// The longest name, and the most keys and findings, that a check has.
const LONGEST_NAME: usize = 512;
const MOST_NAMES: usize = 1000;
const NO_CHECK: &str = "it is no output of cttune check";
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

/// The names of check that are read, those of an error, and those of Ansible's and Salt's results.
#[derive(Deserialize)]
struct Object<'a> {
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
    #[serde(borrow)]
    ret: Option<&'a RawValue>,
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
    let object: Object<'_> = match serde_json::from_str(text) {
        Ok(object) => object,
        Err(error) => {
            // A minion may be called as one of the names above.
            return by_minion(text, depth)
                .or_else(|| one_by_one(text, depth))
                .unwrap_or(vec![(None, Err(error.to_string()))]);
        }
    };
    if let Some(ret) = object.ret {
        return vec![(None, returned(ret, depth))];
    }
    if object.schema.is_some() || object.error.is_some() {
        return vec![(None, checked(object))];
    }
    match (object.stdout, object.stderr, object.msg) {
        (Some(stdout), stderr, msg) => vec![(None, output(&stdout, stderr, msg, depth))],
        (None, _, Some(msg)) => vec![(None, Err(first_line(&msg)))],
        (None, _, None) => by_minion(text, depth).unwrap_or(vec![(None, Err(NO_CHECK.to_owned()))]),
    }
}

/// Objects behind each other, without a line end between.
fn one_by_one(text: &str, depth: usize) -> Option<Vec<Read>> {
    let (first, rest) = object_in(text)?;
    let rest = rest.trim();
    if rest.is_empty() {
        return None;
    }
    let mut records = parse_wrapped(first, depth);
    let mut rest = Some(rest);
    while let Some(text) = rest.filter(|text| !text.is_empty()) {
        let (next, behind) = object_in(text).unwrap_or((text, ""));
        records.extend(parse_wrapped(next, depth.checked_sub(1)?));
        rest = Some(behind.trim());
    }
    Some(records)
}

/// The first object that begins a line, and what is behind it.
fn object_in(text: &str) -> Option<(&str, &str)> {
    let start = if text.trim_start().starts_with('{') {
        text.find('{')
    } else {
        text.find("\n{").map(|end| end + 1)
    };
    let from = text.get(start?..)?;
    let mut objects = serde_json::Deserializer::from_str(from).into_iter::<IgnoredAny>();
    objects.next()?.ok()?;
    from.split_at_checked(objects.byte_offset())
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
    // Salt puts the notes of stderr before the object, or behind it.
    let object = object_in(&said).map(|(object, _)| object);
    let object = object.or(said.trim_start().starts_with('{').then_some(said.as_str()));
    if let Some(object) = object.filter(|_| depth > 0) {
        return only_one(parse_wrapped(object, depth - 1));
    }
    let said = if said.trim().is_empty() {
        msg.unwrap_or_default()
    } else {
        said
    };
    Err(first_line(&said))
}

/// Salt's JSON: an object with what each minion returned.
fn by_minion(text: &str, depth: usize) -> Option<Vec<Read>> {
    let minions: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    // A number is no answer of a minion: this is something else.
    let is_number = |one: &&RawValue| one.get().starts_with(|c: char| c == '-' || c.is_numeric());
    if depth == 0 || minions.is_empty() || minions.values().any(is_number) {
        return None;
    }
    let one = |(minion, answer)| (Some(minion), returned(answer, depth));
    Some(minions.into_iter().map(one).collect())
}

/// What a minion returned: the output as text, or as what it means.
fn returned(answer: &RawValue, depth: usize) -> Result<Record, String> {
    if let Ok(text) = serde_json::from_str::<String>(answer.get()) {
        return output(&text, None, None, depth);
    }
    match (answer.get(), depth.checked_sub(1)) {
        (object, Some(depth)) if object.starts_with('{') => only_one(parse_wrapped(object, depth)),
        ("false" | "null", _) => Err("the minion did not return".to_owned()),
        _ => Err(NO_CHECK.to_owned()),
    }
}

fn only_one(mut records: Vec<Read>) -> Result<Record, String> {
    match records.pop() {
        Some((_, record)) if records.is_empty() => record,
        _ => Err(NO_CHECK.to_owned()),
    }
}

fn checked(object: Object<'_>) -> Result<Record, String> {
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
        return Err(NO_CHECK.to_owned());
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
            (format!("{{\"fw9\":{CHECK}}}"), Some("fw9")),
            (
                format!("{{\"fw9\":{{\"jid\":\"1\",\"ret\":{quoted},\"retcode\":2}}}}"),
                Some("fw9"),
            ),
            (
                format!("{{\"fw9\":{{\"ret\":{CHECK},\"retcode\":2}}}}"),
                Some("fw9"),
            ),
            (
                format!(
                    "{{\"fw9\":{{\"pid\":7,\"retcode\":2,\"stdout\":{quoted},\"stderr\":\"\"}}}}"
                ),
                Some("fw9"),
            ),
        ] {
            let read = parse(&text);
            assert_eq!(read, [(host.map(str::to_owned), Ok(expected()))], "{text}");
        }
    }

    #[test]
    fn every_minion_of_salt_is_read_or_named() {
        let quoted = serde_json::to_string(CHECK).unwrap();
        let noted = serde_json::to_string(&format!("note: a\n{CHECK}\nnote: {{b")).unwrap();
        let text = format!(
            r#"{{"fw1":{quoted},"fw2":{CHECK},"fw3":{noted},"fw4":false,"fw5":null,"fw6":"",
                "fw7":"Minion did not return. [No response]","fw8":{{}},"fw9":[],
                "host":"command not found"}}"#
        );
        let read = parse(&text);
        let told = read.iter().map(|(minion, record)| {
            let why = record.as_ref().map_or_else(String::as_str, |_| "");
            (minion.as_deref().unwrap(), why)
        });
        let expected = [
            ("fw1", ""),
            ("fw2", ""),
            ("fw3", ""),
            ("fw4", "the minion did not return"),
            ("fw5", "the minion did not return"),
            ("fw6", "it is empty"),
            ("fw7", "Minion did not return. [No response]"),
            ("fw8", NO_CHECK),
            ("fw9", NO_CHECK),
            ("host", "command not found"),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        for (minion, why) in expected.into_iter().skip(3) {
            let answer = serde_json::from_str::<BTreeMap<String, &RawValue>>(&text).unwrap();
            let alone = format!("{{\"{minion}\": {}}}", answer[minion]);
            let alone = format!("{alone}{alone}");
            let told = (Some(minion.to_owned()), Err(why.to_owned()));
            assert_eq!(parse(&alone), [told.clone(), told], "{alone}");
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
