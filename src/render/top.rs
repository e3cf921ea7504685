//! `cttune top`: who fills the table, in a sentence, as a table, as JSON.

use serde_json::{Map, Value as Json, json};

use super::style::{FAINT, HEAD, WARN};
use crate::flow::{Column, Field, Group, Lead, Others, Top, Value};
use crate::tunable::{format_count, format_share};

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Who has the table.
    pub top: &'a Top,
    /// Groups to show.
    pub rows: usize,
    /// Whether `--match` or `--keep` left flows out.
    pub is_selection: bool,
    /// The fragment of `--remedy`, if it was asked for.
    pub remedy: Option<&'a str>,
}

/// As machines read it.
pub fn json(shown: &Shown<'_>) -> Json {
    let top = shown.top;
    let groups = top.groups.iter().take(shown.rows);
    let mut object = json!({
        "schema": super::SCHEMA,
        "total": top.total,
        "sampled": top.sampled,
        "by": top.columns.iter().map(|column| column.field.name()).collect::<Vec<_>>(),
        "groups": groups.map(|group| group_json(&top.columns, group)).collect::<Vec<_>>(),
        "uncounted": top.uncounted,
        "sentence": sentence(top, shown.is_selection),
    });
    if let (Some(remedy), Some(object)) = (shown.remedy, object.as_object_mut()) {
        object.insert("remedy".to_owned(), json!(remedy));
    }
    object
}

fn group_json(columns: &[Column], group: &Group) -> Json {
    let by = columns.iter().zip(&group.values);
    let by: Map<String, Json> = by
        .map(|(column, value)| (column.field.name().to_owned(), value_json(*value)))
        .collect();
    json!({
        "by": by,
        "flows": group.flows,
        "share": group.share,
        "margin": group.margin,
    })
}

fn value_json(value: Value) -> Json {
    match value {
        Value::Absent => Json::Null,
        Value::Port(number) | Value::Zone(number) => json!(number),
        Value::Mark(mark) => json!(mark),
        other => json!(other.to_string()),
    }
}

/// As people read it: the sentence, then a row for each group.
pub fn text(shown: &Shown<'_>) -> String {
    let top = shown.top;
    let mut text = format!("{HEAD}{}{HEAD:#}\n", sentence(top, shown.is_selection));
    if top.groups.is_empty() {
        return text;
    }
    text.push('\n');
    text.push_str(&table(top, shown.rows));
    let rest = top.groups.get(shown.rows..).unwrap_or_default();
    if !rest.is_empty() {
        let flows: u64 = rest.iter().map(|group| group.flows).sum();
        let groups = rest.len() as u64;
        text.push_str(&format!(
            "{FAINT}and {} in {}{FAINT:#}\n",
            plural(flows, "flow"),
            plural(groups, "smaller group"),
        ));
    }
    if let Some(sampled) = top.sampled {
        text.push_str(&format!(
            "{FAINT}a sample of {} flows: numbers are estimates, shares right within the margin in 95 of 100 samples; --exact reads all{FAINT:#}\n",
            count(sampled)
        ));
    }
    if top.uncounted > 0 {
        text.push_str(&format!(
            "{WARN}note{WARN:#}: too many groups to count each: a row may lack up to {}\n",
            plural(top.uncounted, "flow")
        ));
    }
    text
}

/// `52,000 of 76,768 flows (67.7 %) are …`.
pub fn sentence(top: &Top, is_selection: bool) -> String {
    let flows = if is_selection {
        "matching flow"
    } else {
        "flow"
    };
    let Some(group) = top.groups.first() else {
        return if is_selection {
            "no flow matches".to_owned()
        } else {
            "the table is empty".to_owned()
        };
    };
    let about = if top.sampled.is_some() { "about " } else { "" };
    let verb = if group.flows == 1 { "is" } else { "are" };
    let mut sentence = format!(
        "{about}{} of {} ({}) {verb} {}",
        count(group.flows),
        plural(top.total, flows),
        share(group),
        description(&top.columns, group),
    );
    if let Some(lead) = &top.lead {
        sentence.push_str(&told(lead));
    }
    sentence.push('.');
    sentence
}

fn share(group: &Group) -> String {
    let share = format_share(group.share);
    if group.margin > 0.0 {
        format!("{share} ± {:.1}", (group.margin * 1000.0).ceil() / 10.0)
    } else {
        share
    }
}

/// `established TCP to 2a00:1450:400b:c02::bc port 5228`.
fn description(columns: &[Column], group: &Group) -> String {
    let value = |field| {
        let of_field = |(column, _): &(&Column, &Value)| column.field == field;
        let found = columns.iter().zip(&group.values).find(of_field);
        found.map(|(_, value)| *value)
    };
    let said = |field| value(field).filter(|value| *value != Value::Absent);
    let mut words = Vec::new();
    words.extend(
        said(Field::Family).map(|family| match family.to_string().as_str() {
            "ipv4" => "IPv4".to_owned(),
            _ => "IPv6".to_owned(),
        }),
    );
    words.extend(said(Field::State).map(|state| state.to_string()));
    let is_tcp = said(Field::State).is_some();
    match said(Field::Proto) {
        Some(protocol) => words.push(spoken_protocol(&protocol.to_string())),
        None if is_tcp => words.push("TCP".to_owned()),
        None => {}
    }
    for (field, before) in [
        (Field::Src, "from"),
        (Field::Sport, "source port"),
        (Field::Dst, "to"),
        (Field::Dport, "port"),
        (Field::ReplySrc, "answered by"),
        (Field::ReplyDst, "answered to"),
        (Field::Zone, "in zone"),
        (Field::Mark, "with mark"),
        (Field::Status, "with status"),
    ] {
        let lone_port = field == Field::Dport && said(Field::Dst).is_none();
        let before = if lone_port { "to port" } else { before };
        words.extend(said(field).map(|value| format!("{before} {value}")));
    }
    if words.is_empty() {
        words.push("without any of these".to_owned());
    }
    words.join(" ")
}

fn spoken_protocol(name: &str) -> String {
    match name {
        "icmpv6" => "ICMPv6".to_owned(),
        "udplite" => "UDP-Lite".to_owned(),
        number if number.starts_with(|c: char| c.is_ascii_digit()) => format!("protocol {number}"),
        name => name.to_ascii_uppercase(),
    }
}

/// `, from 4,100 sources (the largest 0.1 %); untouched, half of them live for 2 d 12 h more`.
fn told(lead: &Lead) -> String {
    let mut told = String::new();
    if let Some(others) = &lead.others {
        told.push_str(&format!(", {}", spoken_others(others)));
    }
    if let Some(seconds) = lead.half_life {
        told.push_str(&format!(
            "; untouched, half of them live for {} more",
            about_seconds(seconds)
        ));
    }
    told
}

fn spoken_others(others: &Others) -> String {
    let (preposition, noun) = match others.field {
        Field::Dst => ("to", "destination"),
        Field::Sport => ("from", "source port"),
        Field::Dport => ("to", "port"),
        _ => ("from", "source"),
    };
    let more = if others.or_more { "at least " } else { "" };
    let count = plural(others.count, noun);
    if others.count < 2 {
        return format!("{preposition} {more}{count}");
    }
    let largest = match others.largest {
        small if small < 0.001 => "under 0.1 %".to_owned(),
        share => format_share(share),
    };
    format!("{preposition} {more}{count} (the largest {largest})")
}

/// The two largest units, rounded to the smaller one: `2 d 12 h`.
fn about_seconds(seconds: u32) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    for pair in units.windows(2) {
        let &[(large, size), (small, step)] = pair else {
            continue;
        };
        let rounded = seconds.saturating_add(step / 2) / step * step;
        if rounded >= size {
            let rest = rounded % size / step;
            return if rest == 0 {
                format!("{} {large}", rounded / size)
            } else {
                format!("{} {large} {rest} {small}", rounded / size)
            };
        }
    }
    format!("{seconds} s")
}

/// A row for each group, under the names of the columns.
fn table(top: &Top, rows: usize) -> String {
    let mut lines = vec![vec!["flows".to_owned(), "share".to_owned()]];
    if let Some(head) = lines.first_mut() {
        head.extend(
            top.columns
                .iter()
                .map(|column| column.field.name().to_owned()),
        );
    }
    for group in top.groups.iter().take(rows) {
        let mut line = vec![count(group.flows), share(group)];
        line.extend(group.values.iter().map(ToString::to_string));
        lines.push(line);
    }
    let columns = 2 + top.columns.len();
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().map(|line| width(line, at)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| {
            let width = *width;
            // Numbers to the right; the last column is not padded.
            match at {
                0 | 1 => format!("{cell:>width$}"),
                at if at + 1 == columns => cell.clone(),
                _ => format!("{cell:<width$}"),
            }
        });
        let row = cells.collect::<Vec<_>>().join("  ");
        if number == 0 {
            text.push_str(&format!("{FAINT}{row}{FAINT:#}\n"));
        } else {
            text.push_str(&format!("{row}\n"));
        }
    }
    text
}

fn width(line: &[String], at: usize) -> usize {
    line.get(at).map_or(0, |cell| cell.chars().count())
}

fn count(number: u64) -> String {
    format_count(i64::try_from(number).unwrap_or(i64::MAX))
}

fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}
