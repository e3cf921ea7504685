//! `cttune top`: who fills the table, as a sentence, as a table, as JSON.

mod listing;
mod sentence;

use serde::Serialize;

pub(crate) use self::sentence::sentence;

use super::layout::HANG;
use super::shape::{Named, Scalar, Schema};
use super::style::{FAINT, HEAD, WARN};
use crate::flow::{Column, Group, Top, Value};
use crate::tunable::{format_count, format_share, plural};

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) top: &'a Top,
    /// Whether `--match` or `--keep` left flows out.
    pub(crate) is_selection: bool,
    /// The fragment of `--remedy`, if it was asked for.
    pub(crate) remedy: Option<&'a str>,
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    total: u64,
    /// Flows that were looked at, if not all were.
    sampled: Option<u64>,
    by: Vec<&'static str>,
    groups: Vec<GroupNow>,
    /// By how many flows a group may be larger.
    uncounted: u64,
    /// The group that stands out.
    cause: Option<Cause>,
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Cause {
    by: Named<Scalar>,
}

/// Flows that have the same in common.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct GroupNow {
    by: Named<Scalar>,
    flows: u64,
    /// 0 to 1.
    share: f64,
    /// How far the share can be off at 95 %; 0 without a sample.
    margin: f64,
    packets: Option<u64>,
    bytes: Option<u64>,
    /// The mean time left, in seconds.
    left: Option<u32>,
}

pub(crate) fn json<'a>(shown: &Shown<'a>) -> Output<'a> {
    let top = shown.top;
    let cause = top.cause.as_ref().filter(|_| !top.nothing_stands_out);
    Output {
        schema: Schema,
        total: top.total,
        sampled: top.sampled,
        by: top.columns.iter().map(|one| one.field.name()).collect(),
        groups: top
            .groups
            .iter()
            .map(|group| group_now(&top.columns, group))
            .collect(),
        uncounted: top.uncounted,
        cause: cause.map(|group| Cause {
            by: by(&top.columns, group),
        }),
        sentence: sentence(top, shown.is_selection),
        remedy: shown.remedy,
    }
}

fn by(columns: &[Column], group: &Group) -> Named<Scalar> {
    let by = columns.iter().zip(&group.values);
    by.map(|(column, value)| (column.field.name(), scalar(*value)))
        .collect()
}

fn group_now(columns: &[Column], group: &Group) -> GroupNow {
    GroupNow {
        by: by(columns, group),
        flows: group.flows,
        share: group.share,
        margin: group.margin,
        packets: group.traffic.map(|(packets, _)| packets),
        bytes: group.traffic.map(|(_, bytes)| bytes),
        left: group.left,
    }
}

pub(super) fn scalar(value: Value) -> Scalar {
    match value {
        Value::Absent => Scalar::Absent,
        Value::Port(number) | Value::Zone(number) => Scalar::Number(number.into()),
        Value::Mark(mark) => Scalar::Number(mark),
        other => Scalar::Text(other.to_string()),
    }
}

/// As people read it: the sentence, then a row for each group.
pub(crate) fn text(shown: &Shown<'_>) -> String {
    let top = shown.top;
    let mut text = format!("{HEAD}{}{HEAD:#}\n", sentence(top, shown.is_selection));
    if top.cause.is_none() {
        return text;
    }
    text.push('\n');
    text.push_str(&listing::listing(top));
    if top.smaller.groups > 0 {
        text.push_str(&format!(
            "{FAINT}and {} in {}{FAINT:#}\n",
            plural(top.smaller.flows, "flow"),
            plural(top.smaller.groups, "smaller group"),
        ));
    }
    if let Some(sampled) = top.sampled {
        text.push_str(&format!(
            "{FAINT}estimated from a sample of {} flows: 95 of 100 samples have each share right \
             within its margin; --exact reads all{FAINT:#}\n",
            format_count(sampled)
        ));
    }
    if top.uncounted > 0 {
        text.push_str(&format!(
            "{WARN}note{WARN:#}: {HANG}too many groups to count each: a row may be too low by up to {}\n",
            plural(top.uncounted, "flow")
        ));
    }
    text
}

/// `67.7 %`, of a sample `67.7 % ± 0.5`.
fn share(group: &Group) -> String {
    let share = format_share(group.share);
    if group.margin > 0.0 {
        format!("{share} ± {:.1}", (group.margin * 1000.0).ceil() / 10.0)
    } else {
        share
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::flow::{Field, Lead, Others, Protocol, Smaller, TcpState, Values};
    use crate::render::shape::value;

    pub(super) fn group(flows: u64, of: u64, margin: f64, values: &[Value]) -> Group {
        #[expect(clippy::cast_precision_loss)] // small numbers
        let share = flows as f64 / of as f64;
        Group {
            values: Values::from_slice(values),
            flows,
            share,
            margin,
            traffic: None,
            left: None,
        }
    }

    pub(super) fn address(text: &str) -> Value {
        Value::Address(text.parse().unwrap())
    }

    /// The sandbox's table, as `--by auto` shows it.
    pub(super) fn story() -> Top {
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
            cause: Some(group(52_000, 76_768, 0.0, &push)),
            smaller: Smaller::default(),
            groups: vec![
                group(52_000, 76_768, 0.0, &push),
                group(4_300, 76_768, 0.0, &dns),
                group(300, 76_768, 0.0, &ping),
            ],
            nothing_stands_out: false,
            uncounted: 0,
            lead: Some(Lead {
                others: Some(Others {
                    field: Field::Src,
                    count: 17,
                    or_more: false,
                    largest: 0.062,
                }),
                half_life: Some(216_000),
            }),
        }
    }

    fn shown(top: &Top) -> String {
        let text = text(&Shown {
            top,
            is_selection: false,
            remedy: None,
        });
        crate::render::layout::shown(&text, 80)
    }

    #[test]
    fn the_story_is_a_sentence_and_a_row_for_each_group() {
        assert_eq!(
            shown(&story()),
            "\
52,000 of 76,768 flows (67.7 %) are established TCP to 2a00:1450:400b:c02::bc
  port 5228, from 17 /64 networks (the largest 6.2 %); if idle, half of them end
  within 2d12h.

 flows   share           proto  state        dst                     dport
52,000  67.7 %  ██████▊  tcp    established  2a00:1450:400b:c02::bc  5228
 4,300   5.6 %  ▌        udp    -            2001:db8:ffff::9        53
   300   0.4 %  ▏        icmp   -            192.0.2.11              -
"
        );
    }

    #[test]
    fn groups_that_are_not_shown_are_added_up() {
        let mut top = story();
        let smaller = top.groups.split_off(1);
        top.smaller = Smaller {
            groups: 2,
            flows: smaller.iter().map(|group| group.flows).sum(),
        };
        let text = shown(&top);
        let rest = text.lines().skip(6).collect::<Vec<_>>();
        assert_eq!(rest, ["and 4,600 flows in 2 smaller groups"]);
    }

    #[test]
    fn a_sample_gives_estimates_with_their_margin() {
        let mut top = story();
        top.sampled = Some(50_000);
        top.uncounted = 7;
        top.groups.truncate(1);
        top.groups[0].margin = 0.004_01;
        top.cause = top.groups.first().cloned();
        top.lead.as_mut().unwrap().others.as_mut().unwrap().or_more = true;
        assert_eq!(
            shown(&top),
            "\
about 52,000 of 76,768 flows (67.7 % ± 0.5) are established TCP to
  2a00:1450:400b:c02::bc port 5228, from at least 17 /64 networks (the largest
  6.2 %); if idle, half of them end within 2d12h.

 flows         share           proto  state        dst                     dport
52,000  67.7 % ± 0.5  ██████▊  tcp    established  2a00:1450:400b:c02::bc  5228
estimated from a sample of 50,000 flows: 95 of 100 samples have each share right
  within its margin; --exact reads all
note: too many groups to count each: a row may be too low by up to 7 flows
"
        );
    }

    #[test]
    fn a_table_in_which_nothing_stands_out_is_told_as_such() {
        let cause = |top: &Top| {
            let told = value(&json(&Shown {
                top,
                is_selection: false,
                remedy: None,
            }));
            told["cause"]["by"]["dport"].as_u64()
        };
        let mut top = story();
        top.nothing_stands_out = true;
        let told = sentence(&top, false);
        let part = "nothing stands out among 76,768 flows: the largest group has 52,000 (67.7 %), ";
        assert!(told.starts_with(part), "{told}");
        assert_eq!(cause(&top), None);
        top.nothing_stands_out = false;
        (top.cause, top.lead) = (Some(top.groups[1].clone()), None);
        let told = sentence(&top, false);
        let part = "4,300 of 76,768 flows (5.6 %) are UDP to 2001:db8:ffff::9 port 53.";
        assert_eq!((told.as_str(), cause(&top)), (part, Some(53)));
    }

    #[test]
    fn packets_bytes_and_the_time_left_are_shown_where_they_are_known() {
        let mut top = story();
        top.groups[0].traffic = Some((1_000_000, 12_345_678));
        top.groups[0].left = Some(216_000);
        top.groups[2].left = Some(25);
        let told = shown(&top);
        let rows: Vec<&str> = told.lines().skip(4).collect();
        assert_eq!(
            rows,
            [
                // Where there is no room for all columns, the last go below.
                " flows   share  proto  state        dst                     dport    packets",
                "         bytes   left",
                "52,000  67.7 %  tcp    established  2a00:1450:400b:c02::bc  5228   1,000,000",
                "    12,345,678  2d12h",
                " 4,300   5.6 %  udp    -            2001:db8:ffff::9        53             -",
                "             -      -",
                "   300   0.4 %  icmp   -            192.0.2.11              -              -",
                "             -    25s",
            ]
        );
    }
}
