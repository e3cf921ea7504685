//! Readings and keys in, frames and actions out.

use super::keys::Key::{Char, Down, End, Enter, Escape, Interrupt, PageUp, Up};
use super::*;
use crate::assess::Id;
use crate::flow::{Column, Field, Group, Protocol, Smaller, TcpState, Value};

fn group(values: &[Value], flows: u64, of: u64) -> Group {
    let number = |number: u64| f64::from(u32::try_from(number).unwrap());
    Group {
        values: Values::from_slice(values),
        flows,
        share: number(flows) / number(of),
        margin: 0.004_01,
        traffic: None,
        left: None,
    }
}

fn top(fields: &[Field], groups: Vec<Group>) -> Top {
    Top {
        total: 76_768,
        sampled: Some(20_000),
        columns: fields.iter().copied().map(Column::whole).collect(),
        groups,
        smaller: Smaller::default(),
        cause: None,
        nothing_stands_out: false,
        uncounted: 0,
        lead: None,
    }
}

/// The story's table, with so many flows to the push service.
fn flows(push: u64) -> Flows {
    let address = |text: &str| Value::Address(text.parse().unwrap());
    let tcp = Value::Protocol(Protocol::TCP);
    let udp = Value::Protocol(Protocol::UDP);
    let established = Value::State(TcpState::Established);
    let service = address("2a00:1450:400b:c02::bc");
    let dns = [
        udp,
        Value::Absent,
        address("2001:db8:ffff::9"),
        Value::Port(53),
    ];
    let fields = [Field::Proto, Field::State, Field::Dst, Field::Dport];
    let mut groups = vec![
        group(
            &[tcp, established, service, Value::Port(5228)],
            push,
            76_768,
        ),
        group(&dns, 4300, 76_768),
    ];
    groups.sort_by_key(|group| std::cmp::Reverse(group.flows));
    groups.retain(|group| group.flows > 0);
    Flows {
        top: top(&fields, groups),
        kinds: top(
            &fields[..2],
            vec![
                group(&[tcp, established], 54_000, 76_768),
                group(&[udp, Value::Absent], 12_000, 76_768),
                group(&[tcp, Value::State(TcpState::TimeWait)], 3000, 76_768),
            ],
        ),
        began: Some(812.4),
        ended: Some(0.31),
    }
}

fn reading(at: u64, count: u64, flows: Result<Flows, String>) -> Reading {
    Reading {
        at: Duration::from_secs(at),
        clock: format!("14:07:{at:02}"),
        count,
        max: Some(131_072),
        drops: Some(0.0),
        early_drops: None,
        flows,
    }
}

fn watch() -> Watch {
    let ask = Ask::parse("auto", &[]).unwrap();
    Watch::new("fw1".to_owned(), Duration::from_secs(2), ask)
}

/// One that has read the story.
fn story() -> Watch {
    let mut watch = watch();
    for (at, count) in [(0, 70_000), (10, 76_768)] {
        watch.read(reading(at, count, Ok(flows(52_000))), &By::Auto);
    }
    watch
}

fn finding(id: Id, severity: Severity, message: &str) -> Finding {
    Finding {
        id,
        severity,
        message: message.to_owned(),
        hint: "look".into(),
        accepted: None,
    }
}

fn look(width: usize, height: usize) -> Look {
    Look {
        width,
        height,
        is_utf8: true,
        has_color: true,
        has_keys: true,
    }
}

fn shown(watch: &Watch, look: Look) -> Vec<String> {
    let lines = frame(watch, look);
    lines
        .iter()
        .map(|line| line.to_string().trim_end().to_owned())
        .collect()
}

#[test]
fn a_frame_of_24_lines_has_everything() {
    let mut watch = story();
    watch.find(
        &[finding(
            Id::TableFill,
            Severity::Critical,
            "the table is nearly full",
        )],
        "",
    );
    let expected = "\
fw1: 76,768 of 131,072 flows (58.6 %)                          14:07:10 every 2s
██████████████████████████████████████████████▊░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
in 812/s   out 0.3/s   drops 0/s   early drops -   full in 1m20s
states        established 54,000 (70.3 %)  time_wait 3,000 (3.9 %)
protocols     tcp 57,000 (74.2 %)  udp 12,000 (15.6 %)
fill, last 1m                                             ▄▅▅▅▅▅▅▅▅▅  max 58.6 %
in, last 1m                                               ██████████   max 812/s
drops, last 1m                                            ▁▁▁▁▁▁▁▁▁▁     max 0/s
flows by proto,state,dst,dport                          sample of 20,000 ± 0.5 %
   flows   share  proto  state        dst                     dport
> 52,000  67.7 %  tcp    established  2a00:1450:400b:c02::bc  5228
   4,300   5.6 %  udp    -            2001:db8:ffff::9        53










critical: the table is nearly full [table-fill]
? help  q quit  g group  / filter  Enter open  Space freeze  E expire  K kill";
    assert_eq!(shown(&watch, look(80, 24)).join("\n"), expected);
}

#[test]
fn no_line_is_wider_than_the_screen_nor_are_there_more() {
    let mut watch = story();
    let long = "a message that is so long that it fits on no terminal that somebody has ".repeat(3);
    let found = [
        Id::TableFill,
        Id::EarlyDrops,
        Id::PacketsDropped,
        Id::ChainTooLong,
    ];
    let found = found.map(|id| finding(id, Severity::Warning, &long));
    watch.find(&found, "");
    for width in [1, 20, 39, 40, 60, 80, 100, 160, 300] {
        for height in [1, 11, 12, 24, 60] {
            for is_utf8 in [true, false] {
                let look = Look {
                    is_utf8,
                    ..look(width, height)
                };
                let lines = frame(&watch, look);
                assert!(lines.len() <= height, "{width} x {height}");
                for line in lines {
                    assert!(line.width() <= width, "{width} x {height}: {line}");
                    assert!(is_utf8 || line.to_string().is_ascii(), "{line}");
                }
            }
        }
    }
}

#[test]
fn at_60_columns_every_column_is_seen() {
    let lines = shown(&story(), look(60, 24));
    assert_eq!(
        lines[9],
        "   flows   share  proto  state        dst              dport"
    );
    assert_eq!(
        lines[10],
        "> 52,000  67.7 %  tcp    established  2a00:1450:400b~  5228"
    );
}

#[test]
fn colour_is_left_out_where_there_is_none() {
    let colours = |has_color| {
        let lines = frame(
            &story(),
            Look {
                has_color,
                ..look(80, 24)
            },
        );
        let spans = lines.iter().flat_map(|line| &line.spans);
        spans.filter(|span| span.style.fg.is_some()).count()
    };
    assert!(colours(true) > 3);
    assert_eq!(colours(false), 0);
}

#[test]
fn what_could_not_be_read_is_said() {
    let mut watch = watch();
    assert_eq!(shown(&watch, look(80, 24))[0], "fw1: reading the table");
    watch.read(
        reading(0, 7, Err("needs root (CAP_NET_ADMIN)".to_owned())),
        &By::Auto,
    );
    let lines = shown(&watch, look(80, 24));
    assert!(
        lines[0].starts_with("fw1: 7 of 131,072 flows (<0.1 %)"),
        "{lines:?}"
    );
    assert_eq!(
        lines[2],
        "in -   out -   drops 0/s   early drops -   not filling"
    );
    assert_eq!(lines[9], "needs root (CAP_NET_ADMIN)");
    assert_eq!(lines[22], "findings: not read yet");
    watch.last.as_mut().unwrap().max = None;
    assert!(shown(&watch, look(80, 24))[0].starts_with("fw1: 7 flows, no max is known"));
    assert_eq!(shown(&watch, look(39, 24)), ["too small: needs 40 x 12"]);
}

#[test]
fn findings_come_with_their_time_and_the_worst_first() {
    let mut watch = story();
    let fill = finding(Id::TableFill, Severity::Warning, "nearly full");
    let drops = finding(
        Id::PacketsDropped,
        Severity::Critical,
        "packets are dropped",
    );
    let choice = finding(Id::ChainTooLong, Severity::Info, "worth knowing");
    let mut accepted = finding(Id::EarlyDrops, Severity::Critical, "evicted");
    accepted.accepted = Some("a lab".to_owned());
    watch.find(&[fill.clone(), choice, accepted], "14:07:00");
    let last = |watch: &Watch, number: usize| shown(watch, look(80, 24))[23 - number..23].to_vec();
    assert_eq!(last(&watch, 1), ["warning: nearly full [table-fill]"]);
    watch.find(&[fill.clone(), drops], "14:08:30");
    let new = "critical: new at 14:08:30: packets are dropped [packets-dropped]";
    assert_eq!(last(&watch, 2), [new, "warning: nearly full [table-fill]"]);
    watch.find(&[fill], "14:09:00");
    assert_eq!(last(&watch, 1), ["warning: nearly full [table-fill]"]);
    watch.find(&[], "14:09:30");
    assert_eq!(last(&watch, 1), ["no finding is a warning or critical"]);
}

#[test]
fn a_group_that_is_gone_fades_in_its_place() {
    let mut watch = story();
    watch.read(reading(12, 24_768, Ok(flows(0))), &By::Auto);
    let lines = frame(&watch, look(80, 24));
    assert!(
        lines[10].to_string().starts_with(">     -      -  tcp"),
        "{}",
        lines[10]
    );
    watch.key(Down);
    let lines = frame(&watch, look(80, 24));
    let dim = ratatui::style::Modifier::DIM;
    assert!(lines[10].spans[0].style.add_modifier.contains(dim));
    watch.read(reading(22, 24_768, Ok(flows(0))), &By::Auto);
    assert!(shown(&watch, look(80, 24))[10].starts_with("> 4,300"));
}

#[test]
fn the_selection_follows_its_group_and_the_rows_scroll() {
    let mut watch = story();
    let place = |watch: &Watch| watch.place();
    for (key, expected) in [
        (Down, 1),
        (Down, 1),
        (Up, 0),
        (Char('j'), 1),
        (PageUp, 0),
        (End, 1),
    ] {
        assert_eq!(watch.key(key), Action::Nothing);
        assert_eq!(place(&watch), expected, "{key:?}");
    }
    // DNS overtakes the push service: the selection goes with it.
    watch.read(reading(12, 76_768, Ok(flows(100))), &By::Auto);
    assert_eq!(place(&watch), 0);
    watch.key(End);
    let small = shown(&watch, look(80, 12));
    assert!(small.iter().any(|line| line.starts_with('>')), "{small:?}");
}

#[test]
fn columns_that_auto_chose_stay_for_a_while() {
    let mut watch = watch();
    let by = |watch: &Watch, at| watch.by(Duration::from_secs(at));
    assert_eq!(by(&watch, 0), By::Auto);
    watch.read(reading(0, 76_768, Ok(flows(52_000))), &By::Auto);
    assert_eq!(by(&watch, 19), By::Columns(watch.rows.columns.clone()));
    assert_eq!(by(&watch, 20), By::Auto);
    watch.key(Char('g'));
    assert_eq!(by(&watch, 1), By::Fields(vec![Field::Src]));
    watch.key(Char('G'));
    assert_eq!(by(&watch, 1), By::Auto);
}

const PUSH: &str = "proto=tcp,state=established,dst=2a00:1450:400b:c02::bc,dport=5228";

#[test]
fn a_group_is_opened_and_left_again() {
    let mut watch = story();
    assert_eq!(watch.key(Enter), Action::Read);
    assert_eq!(watch.ask.matching, [PUSH]);
    assert!(watch.rows.rows.is_empty());
    let title = format!("flows by auto of {PUSH}");
    assert_eq!(shown(&watch, look(160, 24))[8], title);
    assert_eq!(watch.key(Escape), Action::Read);
    assert!(watch.ask.matching.is_empty());
    assert_eq!(watch.key(Escape), Action::Nothing);
}

fn types(watch: &mut Watch, text: &str) -> Action {
    for c in text.chars() {
        watch.key(Char(c));
    }
    watch.key(Enter)
}

#[test]
fn a_filter_is_typed_and_what_is_wrong_with_it_is_said() {
    let mut watch = story();
    watch.key(Char('/'));
    assert_eq!(types(&mut watch, "dport=x"), Action::Nothing);
    let last = shown(&watch, look(80, 24))[23].clone();
    assert_eq!(last, "match: dport=x  `x` is not a port");
    assert_eq!(watch.key(Key::Backspace), Action::Nothing);
    // q is a letter here, and Ctrl-C is none.
    assert_eq!(watch.key(Interrupt), Action::Interrupt);
    assert_eq!(types(&mut watch, "53 src=10.0.0.1"), Action::Read);
    assert_eq!(watch.ask.matching, ["dport=53", "src=10.0.0.1"]);
    watch.key(Char('/'));
    assert_eq!(types(&mut watch, ",idle>5m"), Action::Nothing);
    watch.key(Escape);
    watch.key(Char('b'));
    assert_eq!(types(&mut watch, "src,dort"), Action::Nothing);
    watch.key(Escape);
    watch.key(Char('b'));
    assert_eq!(types(&mut watch, "src,zone"), Action::Read);
    assert_eq!(watch.ask.by, By::Fields(vec![Field::Src, Field::Zone]));
    assert_eq!(watch.ask.matching.len(), 2);
}

#[test]
fn an_action_names_the_selected_group_and_what_the_filter_says() {
    let mut watch = story();
    let act = |verb, terms: &str| Action::Act(verb, vec![terms.to_owned()]);
    assert_eq!(watch.key(Char('K')), act(Verb::Kill, PUSH));
    watch.key(Char('/'));
    types(&mut watch, "zone=3");
    assert_eq!(watch.key(Char('K')), Action::Nothing);
    assert_eq!(watch.said.as_deref(), Some("no group is selected"));
    watch.read(reading(12, 76_768, Ok(flows(52_000))), &By::Auto);
    watch.key(Down);
    let dns = "zone=3,proto=udp,dst=2001:db8:ffff::9,dport=53";
    assert_eq!(watch.key(Char('E')), act(Verb::Expire, dns));
    // Status bits have no terms that select these flows alone.
    let mut labelled = flows(1);
    labelled.top = top(&[Field::Status], vec![group(&[Value::Status(8)], 9, 9)]);
    watch.read(reading(14, 76_768, Ok(labelled)), &By::Auto);
    assert_eq!(watch.key(Char('K')), Action::Nothing);
    assert!(
        watch
            .said
            .as_deref()
            .unwrap()
            .starts_with("no terms select")
    );
}

#[test]
fn a_frozen_screen_reads_nothing_until_space_or_another_question() {
    let mut watch = story();
    assert_eq!(watch.key(Char(' ')), Action::Nothing);
    assert!(watch.is_frozen() && shown(&watch, look(80, 24))[0].ends_with("FROZEN 14:07:10"));
    assert_eq!(watch.key(Char(' ')), Action::Read);
    watch.key(Char(' '));
    assert_eq!(watch.key(Char('g')), Action::Read);
    assert!(!watch.is_frozen());
}

#[test]
fn help_names_every_key_and_any_key_leaves_it() {
    let mut watch = story();
    watch.key(Char('?'));
    let lines = shown(&watch, look(80, 24));
    for key in [
        "Up Down j k",
        "g G",
        "b  ",
        "/  ",
        "Enter",
        "Space",
        "E  ",
        "K  ",
        "Ctrl-Z",
        "q ",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(key)),
            "{key}: {lines:?}"
        );
    }
    assert!(lines.len() <= 24 && lines.iter().all(|line| line.len() <= 80));
    assert_eq!(watch.key(Char('q')), Action::Nothing);
    assert_eq!(watch.key(Char('q')), Action::Quit);
    assert_eq!(watch.key(Key::Suspend), Action::Suspend);
    assert_eq!(watch.key(Key::Redraw), Action::Redraw);
}
