//! `cttune expire`: how many flows, what became of them, and why the others are kept.

use serde::Serialize;

use super::layout::{CELL, HANG, RIGHT};
use super::shape::{Named, Schema};
use super::style::{BAD, FAINT, GOOD, HEAD, HINT, WARN};
use crate::flow::expire::{Share, Tally};
use crate::profile::ExpireMode;
use crate::tunable::{Key, format_count, format_seconds, plural};

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// How.
    pub(crate) mode: ExpireMode,
    /// The flows; of a dry run, what would become of them.
    pub(crate) tally: &'a Tally,
    /// Whether it was only counted.
    pub(crate) dry_run: bool,
    /// Entries in the table afterwards, expired ones swept out; none where it was not read.
    pub(crate) count: Option<i64>,
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output {
    schema: Schema,
    #[serde(flatten)]
    flows: FlowsNow,
}

/// What became of flows, whatever was done to them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FlowsNow {
    mode: Act,
    dry_run: bool,
    examined: u64,
    selected: u64,
    clamped: u64,
    re_aged: u64,
    deleted: u64,
    /// Flows that ended by themselves meanwhile.
    gone: u64,
    failed: u64,
    /// Flows that the last pass over the table still changed.
    late: u64,
    kept: u64,
    unknown: u64,
    kept_why: Named<u64>,
    likely_idle: u64,
    timeouts: Vec<OfTimeout>,
    /// Entries in the table afterwards; null where it was not read.
    count: Option<i64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum Act {
    Clamp,
    ReAge,
    Delete,
    Kill,
}

/// The selected flows of one timeout.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct OfTimeout {
    key: Key,
    timeout: u32,
    flows: u64,
    /// Those that are likely idle for longer than the timeout.
    silent: u64,
}

pub(crate) fn json(parts: Parts<'_>) -> Output {
    Output {
        schema: Schema,
        flows: flows_now(parts),
    }
}

/// The same as part of another object.
pub(super) fn flows_now(parts: Parts<'_>) -> FlowsNow {
    let act = match parts.mode {
        ExpireMode::Clamp => Act::Clamp,
        ExpireMode::ReAge => Act::ReAge,
        ExpireMode::Delete => Act::Delete,
    };
    tally_now(act, parts.tally, parts.dry_run, parts.count)
}

pub(super) fn tally_now(mode: Act, tally: &Tally, dry_run: bool, count: Option<i64>) -> FlowsNow {
    let of_timeout = |(key, share): (Key, Share)| OfTimeout {
        key,
        timeout: share.timeout,
        flows: share.flows,
        silent: share.silent,
    };
    let kept_why = tally.kept_why();
    FlowsNow {
        mode,
        dry_run,
        examined: tally.examined(),
        selected: tally.selected(),
        clamped: tally.clamped,
        re_aged: tally.re_aged,
        deleted: tally.deleted,
        gone: tally.gone,
        failed: tally.failed,
        late: tally.late,
        kept: tally.kept(),
        unknown: tally.unknown,
        kept_why: kept_why.map(|(why, flows)| (why.name(), flows)).collect(),
        likely_idle: tally.likely_idle,
        timeouts: tally.shares().map(of_timeout).collect(),
        count,
    }
}

/// The sentence that comes before the question.
pub(crate) fn foresight(mode: ExpireMode, tally: &Tally) -> String {
    let flows = flows(tally.selected());
    if tally.examined() == 0 {
        return "no flow matches\n".to_owned();
    }
    if tally.selected() == 0 {
        return match mode {
            ExpireMode::Clamp => "no flow has more time left than its timeout\n".to_owned(),
            ExpireMode::ReAge | ExpireMode::Delete => {
                format!("no flow is proven idle\n{}", likely(tally))
            }
        };
    }
    let within = times(tally.shares().map(|(_, share)| (share.least, share.most)));
    let timeout = times(
        tally
            .shares()
            .map(|(_, share)| (share.timeout, share.timeout)),
    );
    let silent: u64 = tally.shares().map(|(_, share)| share.silent).sum();
    let what = match mode {
        ExpireMode::Clamp if silent > 0 => format!(
            "{HEAD}{flows} would be clamped{HEAD:#}; {} of them are likely idle for longer than \
             the new timeout and end in {within} unless they send a packet",
            format_count(silent)
        ),
        ExpireMode::Clamp => {
            format!(
                "{HEAD}{flows} would be clamped{HEAD:#}: they end in {within} unless they send a \
                 packet"
            )
        }
        ExpireMode::ReAge => format!(
            "{HEAD}{flows} would be re-aged{HEAD:#}: they are idle; their idle time counts against \
             the timeout of {timeout}, but for the grace"
        ),
        ExpireMode::Delete => format!(
            "{HEAD}{flows} would be deleted{HEAD:#}: they are proven idle. \
             {WARN}A connection among them that is silent but alive is cut off{WARN:#}"
        ),
    };
    format!("{what}\n{}", by_timeout(tally))
}

/// How many flows are likely idle, which proves nothing.
fn likely(tally: &Tally) -> String {
    match tally.likely_idle {
        0 => String::new(),
        number => format!(
            "{} likely idle for longer than the timeout, by the journal's history of it\n",
            are(number)
        ),
    }
}

/// `1 flow is`, `2 flows are`.
fn are(number: u64) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", flows(number))
}

/// How many flows were kept, and why.
pub(super) fn kept_line(tally: &Tally) -> String {
    let kept = tally.kept() + tally.unknown;
    let mut why: Vec<String> = tally
        .kept_why()
        .map(|(why, number)| format!("{} {}", format_count(number), why.name()))
        .collect();
    if tally.unknown > 0 {
        why.push(format!("{} unknown", format_count(tally.unknown)));
    }
    let why = match why.as_slice() {
        [] => String::new(),
        why => format!(": {}", why.join(", ")),
    };
    format!("; kept {}{why}\n", flows(kept))
}

/// Each timeout with its flows, where there is more than one.
fn by_timeout(tally: &Tally) -> String {
    if tally.shares().count() < 2 {
        return String::new();
    }
    let line = |(key, share): (Key, Share)| {
        let number = format_count(share.flows);
        let time = format_seconds(share.timeout.into());
        format!(
            "{RIGHT}{number:>11}{CELL}{}{CELL}{FAINT}{time}{FAINT:#}\n",
            key.short_name()
        )
    };
    tally.shares().map(line).collect()
}

/// A time, or the range from the least to the most.
fn times(ranges: impl Iterator<Item = (u32, u32)>) -> String {
    let (shortest, longest) = ranges.fold((u32::MAX, 0), |(low, high), (least, most)| {
        (low.min(least), high.max(most))
    });
    if shortest >= longest {
        return format_seconds(longest.into());
    }
    format!(
        "{} to {}",
        format_seconds(shortest.into()),
        format_seconds(longest.into())
    )
}

/// Why flows are kept, with their numbers.
pub(crate) fn breakdown(tally: &Tally) -> String {
    let mut text = String::new();
    let line = |number: u64, name: &str, about: &str| {
        let number = format_count(number);
        format!("{RIGHT}{number:>11}{CELL}{name}{CELL}{FAINT}{about}{FAINT:#}\n")
    };
    if tally.kept() + tally.unknown > 0 {
        text.push_str(&format!(
            "{HEAD}kept{HEAD:#} {} of {}:\n",
            format_count(tally.kept() + tally.unknown),
            flows(tally.examined())
        ));
    }
    for (why, number) in tally.kept_why() {
        text.push_str(&line(number, why.name(), why.about()));
    }
    if tally.unknown > 0 {
        let about = "too little is known of their timeout to touch them";
        text.push_str(&line(tally.unknown, "unknown", about));
    }
    text
}

/// What to do after a dry run that found flows.
pub(super) fn next(tally: &Tally, purpose: &str) -> String {
    match tally.selected() {
        0 => String::new(),
        _ => format!("{HINT}next{HINT:#}: to {purpose}: the same command without --dry-run\n"),
    }
}

/// What was done, for people.
pub(crate) fn text(parts: Parts<'_>) -> String {
    if parts.dry_run {
        let (tally, mode) = (parts.tally, parts.mode);
        let next = match (mode, tally.selected()) {
            (ExpireMode::Clamp, 0) if tally.examined() > 0 => {
                format!("{HINT}next{HINT:#}: to see what a shorter timeout ends: cttune forecast\n")
            }
            _ => next(tally, "do it"),
        };
        return foresight(mode, tally) + &breakdown(tally) + &next;
    }
    let tally = parts.tally;
    let (word, number) = match parts.mode {
        ExpireMode::Clamp => ("clamped", tally.clamped),
        ExpireMode::ReAge => ("re-aged", tally.re_aged),
        ExpireMode::Delete => ("deleted", tally.deleted),
    };
    let mut text = format!("{GOOD}{word}{GOOD:#} {}", flows(number));
    if tally.gone > 0 {
        text.push_str(&format!("; {} ended meanwhile", flows(tally.gone)));
    }
    if tally.failed > 0 {
        text.push_str(&format!("; {BAD}{} refused{BAD:#}", flows(tally.failed)));
    }
    text.push_str(&kept_line(tally));
    if number == 0 {
        text.push_str(&likely(tally));
    }
    if tally.late > 0 {
        text.push_str(&format!(
            "{WARN}note{WARN:#}: {HANG}the last pass over the table still changed {}, so others may be \
             left: run it again\n",
            flows(tally.late)
        ));
    }
    if let Some(count) = parts.count {
        text.push_str(&format!("the table holds {}\n", plural(count, "flow")));
    }
    text
}

/// Which idle time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Watched,
    /// By the history of the timeout, if the flow does not send now.
    Inferred,
}

/// What takes its time before anything can be counted.
pub(crate) fn watching(time: std::time::Duration, counts: Counts) -> String {
    let time = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let why = match counts {
        Counts::Watched => "only idle time that was watched counts",
        Counts::Inferred => "who sends now is not idle; idle time from before is inferred",
    };
    format!("watching the flows for {}: {why}", format_seconds(time))
}

/// Why flows are changed slower; and how long it takes, where the flows were counted.
pub(crate) fn listened_to(rate: u32, flows_to_change: Option<u64>) -> String {
    let time = flows_to_change.map(|flows| {
        let seconds = flows / u64::from(rate.max(1)) + 1;
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        format!(", so it takes {}", format_seconds(seconds))
    });
    format!(
        "a program listens to conntrack events (conntrackd, conntrack -E): {} a second{}",
        flows(rate.into()),
        time.unwrap_or_default()
    )
}

/// What was done as part of a plan, if anything was.
pub(crate) fn maybe_text(parts: Option<Parts<'_>>) -> String {
    parts.map(text).unwrap_or_default()
}

/// `1 flow`, `48,112 flows`.
pub(crate) fn flows(number: u64) -> String {
    match number {
        1 => "1 flow".to_owned(),
        number => format!("{} flows", format_count(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::expire::{KeptWhy, Shortening};
    use crate::render::shape::value;
    use crate::tunable::Key;

    fn one(key: Key, timeout: u32, is_silent: bool) -> Shortening {
        Shortening {
            key,
            timeout,
            seconds: timeout,
            is_silent,
        }
    }

    fn story() -> Tally {
        let mut tally = Tally {
            clamped: 3,
            unknown: 1,
            ..Tally::default()
        };
        for is_silent in [true, true, false] {
            tally.select(one(Key::TcpTimeoutEstablished, 600, is_silent));
        }
        tally.keep(KeptWhy::WithinTimeout);
        tally
    }

    fn plain(text: &str) -> String {
        crate::render::layout::shown(text, 200)
    }

    #[test]
    fn the_question_says_how_many_and_how_long() {
        assert_eq!(
            plain(&foresight(ExpireMode::Clamp, &story())),
            "3 flows would be clamped; 2 of them are likely idle for longer than the new timeout \
             and end in 10m unless they send a packet\n"
        );
        let mut tally = Tally {
            clamped: 2,
            ..Tally::default()
        };
        tally.select(one(Key::TcpTimeoutEstablished, 600, false));
        tally.select(one(Key::UdpTimeoutStream, 120, false));
        assert_eq!(
            plain(&foresight(ExpireMode::Clamp, &tally)),
            "2 flows would be clamped: they end in 2m to 10m unless they send a packet\n          1  \
             tcp_timeout_established  10m\n          1  udp_timeout_stream       2m\n"
        );
        // Some are of a service with a time of its own, and the ends are spread.
        tally.select(Shortening {
            seconds: 700,
            ..one(Key::TcpTimeoutEstablished, 300, false)
        });
        let text = plain(&foresight(ExpireMode::Clamp, &tally));
        assert!(text.contains("in 2m to 11m40s unless"), "{text}");
        assert!(text.contains("tcp_timeout_established  5m\n"), "{text}");
        let nothing = foresight(ExpireMode::Delete, &Tally::default());
        assert_eq!(nothing, "no flow matches\n");
        let unknown = Tally {
            unknown: 1,
            ..Tally::default()
        };
        let nothing = foresight(ExpireMode::Delete, &unknown);
        assert_eq!(nothing, "no flow is proven idle\n");
    }

    #[test]
    fn what_the_last_pass_still_changed_is_told() {
        let tally = Tally { late: 2, ..story() };
        let parts = Parts {
            mode: ExpireMode::Clamp,
            tally: &tally,
            dry_run: false,
            count: None,
        };
        assert_eq!(
            plain(&text(parts)),
            "clamped 3 flows; kept 2 flows: 1 within-timeout, 1 unknown\nnote: the last pass over the table still changed 2 \
             flows, so others may be left: run it again\n"
        );
        assert_eq!(value(&json(parts))["late"], 2);
    }

    #[test]
    fn a_listener_s_pace_is_told_with_the_time_where_it_is_known() {
        let who = "a program listens to conntrack events (conntrackd, conntrack -E)";
        assert_eq!(
            listened_to(20_000, None),
            format!("{who}: 20,000 flows a second")
        );
        assert_eq!(
            listened_to(100, Some(12_000)),
            format!("{who}: 100 flows a second, so it takes 2m1s")
        );
    }

    #[test]
    fn json_has_the_names_of_the_design_and_its_sums() {
        let tally = story();
        let parts = Parts {
            mode: ExpireMode::Clamp,
            tally: &tally,
            dry_run: true,
            count: Some(5),
        };
        let object = value(&json(parts));
        assert_eq!(object["mode"], "clamp");
        assert_eq!(object["examined"], 5);
        assert_eq!(object["selected"], 3);
        assert_eq!(object["kept_why"]["within-timeout"], 1);
        assert_eq!(object["timeouts"][0]["silent"], 2);
        for name in [
            "clamped", "re_aged", "deleted", "gone", "failed", "kept", "unknown",
        ] {
            assert!(object[name].is_u64(), "{name}");
        }
    }

    #[test]
    fn what_was_done_is_one_line_and_the_count() {
        let tally = Tally {
            gone: 1,
            failed: 2,
            ..story()
        };
        let parts = Parts {
            mode: ExpireMode::Clamp,
            tally: &tally,
            dry_run: false,
            count: Some(76_768),
        };
        assert_eq!(
            plain(&text(parts)),
            "clamped 3 flows; 1 flow ended meanwhile; 2 flows refused; kept 2 flows: 1 within-timeout, \
             1 unknown\n\
             the table holds 76,768 flows\n"
        );
    }
}
