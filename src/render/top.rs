//! `cttune top`: who fills the table, in a sentence, as a table, as JSON.

use serde_json::{Map, Value as Json, json};

use super::style::{FAINT, HEAD, WARN};
use crate::flow::{Column, Field, Group, Lead, Others, Top, Value};
use crate::tunable::{format_count, format_share};

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Who has the table.
    pub(crate) top: &'a Top,
    /// Groups to show.
    pub(crate) rows: usize,
    /// Whether `--match` or `--keep` left flows out.
    pub(crate) is_selection: bool,
    /// The fragment of `--remedy`, if it was asked for.
    pub(crate) remedy: Option<&'a str>,
}

/// As machines read it.
pub(crate) fn json(shown: &Shown<'_>) -> Json {
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
pub(crate) fn text(shown: &Shown<'_>) -> String {
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
            format_count(sampled)
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
pub(crate) fn sentence(top: &Top, is_selection: bool) -> String {
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
        format_count(group.flows),
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
        let mut line = vec![format_count(group.flows), share(group)];
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

fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", format_count(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Protocol, TcpState};

    fn group(flows: u64, of: u64, margin: f64, values: &[Value]) -> Group {
        #[expect(clippy::cast_precision_loss)] // small numbers
        let share = flows as f64 / of as f64;
        Group {
            values: values.to_vec(),
            flows,
            share,
            margin,
        }
    }

    fn address(text: &str) -> Value {
        Value::Address(text.parse().unwrap())
    }

    /// The sandbox's table, as `--by auto` shows it.
    fn story() -> Top {
        let push = [
            Value::Protocol(Protocol::TCP),
            Value::State(TcpState::Established),
            address("2a00:1450:400b:c02::bc"),
            Value::Port(5228),
        ];
        let dns = [
            Value::Protocol(Protocol::UDP),
            Value::Absent,
            address("2001:db8:ffff::9"),
            Value::Port(53),
        ];
        let ping = [
            Value::Protocol(Protocol::ICMP),
            Value::Absent,
            address("192.0.2.11"),
            Value::Absent,
        ];
        let fields = [Field::Proto, Field::State, Field::Dst, Field::Dport];
        Top {
            total: 76_768,
            sampled: None,
            columns: fields.map(Column::whole).into(),
            groups: vec![
                group(52_000, 76_768, 0.0, &push),
                group(4_300, 76_768, 0.0, &dns),
                group(300, 76_768, 0.0, &ping),
            ],
            uncounted: 0,
            lead: Some(Lead {
                others: Some(Others {
                    field: Field::Src,
                    count: 4_100,
                    or_more: false,
                    largest: 53.0 / 52_000.0,
                }),
                half_life: Some(216_000),
            }),
        }
    }

    fn shown(top: &Top, rows: usize) -> String {
        let text = text(&Shown {
            top,
            rows,
            is_selection: false,
            remedy: None,
        });
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn the_story_is_a_sentence_and_a_row_for_each_group() {
        assert_eq!(
            shown(&story(), 20),
            "\
52,000 of 76,768 flows (67.7 %) are established TCP to 2a00:1450:400b:c02::bc port 5228, \
from 4,100 sources (the largest 0.1 %); untouched, half of them live for 2 d 12 h more.

 flows   share  proto  state        dst                     dport
52,000  67.7 %  tcp    established  2a00:1450:400b:c02::bc  5228
 4,300   5.6 %  udp    -            2001:db8:ffff::9        53
   300   0.4 %  icmp   -            192.0.2.11              -
"
        );
    }

    #[test]
    fn groups_that_are_not_shown_are_added_up() {
        let text = shown(&story(), 1);
        let rest = text.lines().skip(4).collect::<Vec<_>>();
        assert_eq!(rest, ["and 4,600 flows in 2 smaller groups"]);
    }

    #[test]
    fn a_sample_gives_estimates_with_their_margin() {
        let mut top = story();
        top.sampled = Some(50_000);
        top.uncounted = 7;
        top.groups.truncate(1);
        top.groups[0].margin = 0.004_01;
        top.lead.as_mut().unwrap().others.as_mut().unwrap().or_more = true;
        assert_eq!(
            shown(&top, 20),
            "\
about 52,000 of 76,768 flows (67.7 % ± 0.5) are established TCP to 2a00:1450:400b:c02::bc port \
5228, from at least 4,100 sources (the largest 0.1 %); untouched, half of them live for 2 d 12 h \
more.

 flows         share  proto  state        dst                     dport
52,000  67.7 % ± 0.5  tcp    established  2a00:1450:400b:c02::bc  5228
a sample of 50,000 flows: numbers are estimates, shares right within the margin in 95 of 100 \
samples; --exact reads all
note: too many groups to count each: a row may lack up to 7 flows
"
        );
    }

    #[test]
    fn the_largest_of_others_is_never_told_as_more_or_less_than_it_is() {
        for (largest, said) in [
            (0.000_25, "from 4,100 sources (the largest under 0.1 %)"),
            (0.001, "from 4,100 sources (the largest 0.1 %)"),
            (0.001_99, "from 4,100 sources (the largest 0.2 %)"),
            (0.5, "from 4,100 sources (the largest 50.0 %)"),
        ] {
            let mut others = story().lead.unwrap().others.unwrap();
            others.largest = largest;
            assert_eq!(spoken_others(&others), said);
        }
    }

    #[test]
    fn a_group_is_described_by_what_its_columns_say() {
        let net = Value::Net("10.1.0.0/16".parse().unwrap());
        for (columns, values, said) in [
            (
                &[Field::Family, Field::Src, Field::Sport][..],
                &[
                    Value::Family(crate::flow::Family::Ipv4),
                    net,
                    Value::Port(53),
                ][..],
                "IPv4 from 10.1.0.0/16 source port 53",
            ),
            (
                &[Field::State, Field::Dport, Field::Zone],
                &[
                    Value::State(TcpState::TimeWait),
                    Value::Port(443),
                    Value::Zone(3),
                ],
                "time_wait TCP to port 443 in zone 3",
            ),
            (
                &[Field::Proto, Field::ReplyDst, Field::Mark],
                &[
                    Value::Protocol(Protocol(50)),
                    address("192.0.2.1"),
                    Value::Mark(16),
                ],
                "ESP answered to 192.0.2.1 with mark 0x10",
            ),
            (&[Field::State], &[Value::Absent], "without any of these"),
        ] {
            let columns: Vec<_> = columns.iter().copied().map(Column::whole).collect();
            let group = group(1, 1, 0.0, values);
            assert_eq!(description(&columns, &group), said);
        }
    }

    #[test]
    fn one_flow_no_flow_and_a_selection_are_spoken_of_as_such() {
        let mut top = story();
        top.lead = None;
        top.total = 1;
        top.groups.truncate(1);
        (top.groups[0].flows, top.groups[0].share) = (1, 1.0);
        let told = sentence(&top, true);
        assert!(told.starts_with("1 of 1 matching flow (100.0 %) is established TCP to"));
        top.groups.clear();
        assert_eq!(sentence(&top, false), "the table is empty");
        assert_eq!(sentence(&top, true), "no flow matches");
    }

    #[test]
    fn a_time_is_told_in_its_two_largest_units() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_569, "59 min 29 s"),
            (3_599, "1 h"),
            (3_601, "1 h"),
            (86_399, "1 d"),
            (216_000, "2 d 12 h"),
        ] {
            assert_eq!(about_seconds(seconds), said, "{seconds}");
        }
    }
}
