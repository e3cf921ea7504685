//! `cttune guard`: what it is about to do, and what each step did.

use serde::Serialize;

use super::layout::HANG;
use super::shape::{Named, Schema};
use super::style::{BAD, FAINT, GOOD, WARN};
use crate::flow::guard::{Class, Event, GuardParameters, GuardSeen, LastPass, Mark, What};
use crate::tunable::{format_count, format_rounded_seconds, format_share, plural};

/// Said at the beginning, and when other parameters hold.
pub(crate) fn begins(
    parameters: &GuardParameters,
    is_history_known: bool,
    dry_run: bool,
) -> String {
    let idle = format_rounded_seconds(parameters.min_idle.of(Class::Established) / 1000);
    let (known, note) = match (parameters.trust_history, is_history_known) {
        (true, true) => ("were idle for", ""),
        (true, false) => (
            "were watched and silent for",
            "\nThe history of the timeout is unknown: the journal has no change of \
             nf_conntrack_tcp_timeout_established, or there is a flowtable.\nNothing is known of how \
             long flows were idle before now.",
        ),
        (false, _) => ("were watched and silent for", ""),
    };
    let end = if dry_run { "would end" } else { "end" };
    let level = |mark: Mark| match mark {
        Mark::Share(_) => format!("is {mark} full"),
        Mark::Flows(1) => "has 1 entry".to_owned(),
        Mark::Flows(flows) => format!("has {} entries", format_count(flows)),
    };
    let (high, low) = (level(parameters.high), level(parameters.low));
    format!(
        "Once the table {high}, flows {end} until it {low}.\n\
         Established flows {end} once they {known} {idle}.{note}"
    )
}

/// A flow that ends, or would.
pub(crate) fn flow(flow: &str, dry_run: bool) -> String {
    let ends = if dry_run { "would end" } else { "ends" };
    format!("{FAINT}{ends}{FAINT:#} {flow}")
}

/// What systemd shows of the service.
pub(crate) fn status(event: &Event) -> String {
    let fill = format_share(event.fill.share());
    let observed = format_count(event.observed as u64);
    let helpless = if event.is_helpless {
        "; no flow may end yet"
    } else {
        ""
    };
    format!("fill {fill}, {observed} flows watched{helpless}")
}

/// A step, as a line of a log.
pub(crate) fn line(event: &Event, dry_run: bool) -> String {
    let fill = format_share(event.fill.share());
    match &event.what {
        What::Rested | What::Observed => {
            let state = if event.fill.count < event.high {
                "below the high mark, nothing to end"
            } else {
                "above the high mark, and no flow may end yet"
            };
            format!("fill {fill}: {state}")
        }
        What::Ended { ended, took } => {
            let classes = ended.iter().filter(|(_, flows)| *flows > 0);
            let classes: Vec<String> = classes
                .map(|(class, flows)| format!("{} {}", format_count(flows), class.name()))
                .collect();
            let total = plural(ended.total(), "flow");
            let classes = match classes.as_slice() {
                [] => String::new(),
                classes => format!(" ({})", classes.join(", ")),
            };
            let took = took.as_secs_f64();
            if dry_run {
                return format!("dry run: {total} would end{classes}; fill {fill}");
            }
            let above = if event.fill.count >= event.high {
                ", still above the high mark: `cttune top` shows who fills the table"
            } else {
                ""
            };
            format!("{GOOD}ended {total}{GOOD:#} in {took:.1} s{classes}; fill {fill}{above}")
        }
        What::Helpless => format!(
            "{BAD}fill {fill}, and no flow may end{BAD:#}: none was watched and silent for its \
             minimum\n  A larger table helps, or a shorter --min-idle; `cttune top` shows who \
             fills it."
        ),
        What::Disturbed => format!(
            "{WARN}fill {fill}{WARN:#}: the kernel resized its hash table while it was read; the \
             guard reads it again"
        ),
        What::StoodAside => {
            format!("{WARN}fill {fill}{WARN:#}: another cttune is at work; the guard waits for it")
        }
    }
}

/// A step, as fields of a log.
pub(crate) fn fields(event: &Event) -> Vec<(String, String)> {
    let mut fields = vec![("CTTUNE_GUARD".to_owned(), event.what.name().to_owned())];
    let mut number = |name: &str, value: u64| {
        let name = name.replace('-', "_").to_uppercase();
        fields.push((format!("CTTUNE_{name}"), value.to_string()));
    };
    number("count", event.fill.count);
    number("max", event.fill.max);
    number("high", event.high);
    number("low", event.low);
    number("observed", event.observed as u64);
    number("unwatched", event.unwatched);
    if let What::Ended { ended, .. } = &event.what {
        number("ended", ended.total());
        for (class, flows) in ended.iter().filter(|(_, flows)| *flows > 0) {
            number(&format!("ended-{}", class.name()), flows);
        }
    }
    fields
}

/// A step, for machines.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output {
    schema: Schema,
    what: &'static str,
    count: u64,
    max: u64,
    /// Shares of max, as the marks are.
    fill: f64,
    high: f64,
    low: f64,
    /// Flows that are watched.
    observed: usize,
    /// Flows that could end and are not watched: memory allows no more.
    unwatched: u64,
    /// Whether the mark is reached and no flow may end.
    helpless: bool,
    ended: Vec<EndedNow>,
    /// Seconds until the count is read again.
    next: f64,
}

/// Flows that ended; `min_idle` in seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EndedNow {
    class: &'static str,
    flows: u64,
    min_idle: f64,
}

pub(crate) fn json(event: &Event) -> Output {
    let ended: Vec<(Class, u64)> = match &event.what {
        What::Ended { ended, .. } => ended.iter().filter(|(_, flows)| *flows > 0).collect(),
        _ => Vec::new(),
    };
    let ended_now = |(class, flows): (Class, u64)| EndedNow {
        class: class.name(),
        flows,
        min_idle: f64::from(event.min_idle.of(class)) / 1000.0,
    };
    Output {
        schema: Schema,
        what: event.what.name(),
        count: event.fill.count,
        max: event.fill.max,
        fill: event.fill.share(),
        high: event.fill.share_of(event.high),
        low: event.fill.share_of(event.low),
        observed: event.observed,
        unwatched: event.unwatched,
        helpless: event.is_helpless,
        ended: ended.into_iter().map(ended_now).collect(),
        next: event.next.as_secs_f64(),
    }
}

/// What another command sees of it, in one line.
pub(super) fn seen(guard: &GuardSeen) -> String {
    let status = &guard.status;
    let (pid, since) = (status.pid, &status.since);
    if !guard.runs() {
        return format!("guard: {HANG}does not run any more (pid {pid}, since {since})\n");
    }
    let observed = format_count(status.observed);
    let (high, low) = (format_count(status.high), format_count(status.low));
    let did = match &status.last {
        None => "no flow had to end yet".to_owned(),
        Some(last) => format!(
            "{} ended in {}, last {} at {}",
            plural(guard.ended_flows(), "flow"),
            passes(status.passes),
            format_count(last.flows),
            last.time
        ),
    };
    format!(
        "guard: {HANG}runs since {since} (pid {pid}), {observed} flows watched; ends flows \
         once there are {high} entries, until {low} are left: {did}\n"
    )
}

fn passes(number: u64) -> String {
    match number {
        1 => "1 pass".to_owned(),
        number => format!("{} passes", format_count(number)),
    }
}

/// The same, for machines.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct GuardNow<'a> {
    running: bool,
    pid: u32,
    since: &'a str,
    /// Seconds since it last told of itself.
    age: u64,
    watches_until: Option<&'a str>,
    high: u64,
    low: u64,
    observed: u64,
    unwatched: u64,
    helpless: bool,
    ended: Named<u64>,
    passes: u64,
    last: Option<&'a LastPass>,
}

pub(super) fn guard_now(guard: &GuardSeen) -> GuardNow<'_> {
    let status = &guard.status;
    let ended = guard.ended();
    GuardNow {
        running: guard.runs(),
        pid: status.pid,
        since: &status.since,
        age: guard.age,
        watches_until: status.watches_until.as_deref(),
        high: status.high,
        low: status.low,
        observed: status.observed,
        unwatched: status.unwatched,
        helpless: guard.is_helpless(),
        ended: ended.map(|(class, flows)| (class.name(), flows)).collect(),
        passes: status.passes,
        last: status.last.as_ref(),
    }
}
