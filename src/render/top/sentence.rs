//! The sentence that `cttune top` begins with: how many flows, what they have in common, who shares
//! them and when they end.

use super::share;
use crate::flow::{Column, Family, Field, Group, Lead, Others, Top, Value};
use crate::tunable::{format_count, format_rounded_seconds, format_share, plural};

/// `52,000 of 76,768 flows (67.7 %) are …`.
pub(crate) fn sentence(top: &Top, is_selection: bool) -> String {
    let flows = if is_selection {
        "matching flow"
    } else {
        "flow"
    };
    let Some(group) = &top.cause else {
        return if is_selection {
            "no flow matches".to_owned()
        } else {
            "the table is empty".to_owned()
        };
    };
    let about = if top.sampled.is_some() { "about " } else { "" };
    let total = plural(top.total, flows);
    let (number, share) = (format_count(group.flows), share(group));
    let described = description(&top.columns, group);
    if top.nothing_stands_out {
        return format!(
            "nothing stands out among {about}{total}: the largest group has {number} ({share}), \
             {described}."
        );
    }
    let verb = if group.flows == 1 { "is" } else { "are" };
    let mut sentence = format!("{about}{number} of {total} ({share}) {verb} {described}");
    if let Some(lead) = &top.lead {
        let is_ipv6 = group
            .values
            .iter()
            .any(|value| value.family() == Some(Family::Ipv6));
        sentence.push_str(&told(lead, is_ipv6));
    }
    sentence.push('.');
    sentence
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
        Some(protocol) => words.push(protocol_name(&protocol.to_string())),
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
        (Field::Helper, "with helper"),
        (Field::Label, "with label"),
        (Field::Service, "of service"),
    ] {
        let before = match field {
            Field::Dport if said(Field::Dst).is_none() => "to port",
            Field::Sport if said(Field::Src).is_none() => "from source port",
            _ => before,
        };
        words.extend(said(field).map(|value| format!("{before} {value}")));
    }
    if words.is_empty() {
        let is_service = columns.iter().all(|column| column.field == Field::Service);
        let what = if is_service {
            "of no service"
        } else {
            "without any of these"
        };
        words.push(what.to_owned());
    }
    words.join(" ")
}

fn protocol_name(name: &str) -> String {
    match name {
        "icmpv6" => "ICMPv6".to_owned(),
        "udplite" => "UDP-Lite".to_owned(),
        number if number.starts_with(|c: char| c.is_ascii_digit()) => format!("protocol {number}"),
        name => name.to_ascii_uppercase(),
    }
}

/// `, from 17 sources (the largest 0.1 %); if idle, half of them end within 2d12h`.
fn told(lead: &Lead, is_ipv6: bool) -> String {
    let mut told = String::new();
    if let Some(others) = &lead.others {
        told.push_str(&format!(", {}", shared_by(others, is_ipv6)));
    }
    if let Some(seconds) = lead.half_life {
        told.push_str(&format!(
            "; if idle, half of them end within {}",
            format_rounded_seconds(seconds)
        ));
    }
    told
}

fn shared_by(others: &Others, is_ipv6: bool) -> String {
    let (preposition, noun) = match others.field {
        Field::Dst => ("to", "destination"),
        Field::Sport => ("from", "source port"),
        Field::Dport => ("to", "port"),
        _ if is_ipv6 => ("from", "/64 network"),
        _ => ("from", "source"),
    };
    let more = if others.or_more { "at least " } else { "" };
    let number = plural(others.count, noun);
    if others.count < 2 {
        return format!("{preposition} {more}{number}");
    }
    let largest = format_share(others.largest);
    format!("{preposition} {more}{number} (the largest {largest})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Protocol, TcpState};
    use crate::render::top::tests::{address, group, story};

    #[test]
    fn the_largest_of_others_is_never_told_as_more_or_less_than_it_is() {
        for (largest, said) in [
            (0.000_25, "from 17 sources (the largest <0.1 %)"),
            (0.001, "from 17 sources (the largest 0.1 %)"),
            (0.001_5, "from 17 sources (the largest 0.2 %)"),
            (0.5, "from 17 sources (the largest 50.0 %)"),
        ] {
            let mut others = story().lead.unwrap().others.unwrap();
            others.largest = largest;
            assert_eq!(shared_by(&others, false), said);
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
            (&[Field::Service], &[Value::Absent], "of no service"),
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
        let group = top.cause.as_mut().unwrap();
        (group.flows, group.share) = (1, 1.0);
        let told = sentence(&top, true);
        assert!(told.starts_with("1 of 1 matching flow (100.0 %) is established TCP to"));
        top.cause = None;
        assert_eq!(sentence(&top, false), "the table is empty");
        assert_eq!(sentence(&top, true), "no flow matches");
    }
}
