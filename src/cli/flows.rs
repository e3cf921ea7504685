//! What `expire`, `kill` and a plan's step about flows share: what is held, the past, progress,
//! limits, the question, the end.

use std::time::{Duration, Instant};

use super::args::{Changing, Global};
use super::failure::{FAILED, Failure, LEFT, declined};
use super::out::{self, Out};
use super::progress::Progress;
use super::prompt::{self, Answer};
use super::{change, place, session};
use crate::change::flows::{FlowContext, FlowError, Log, Pace, Past};
use crate::change::{Here, Lock, Signal, Signals};
use crate::diagnostic::{Advise, Hint};
use crate::files::Root;
use crate::flow::expire::Tally;
use crate::flow::guard::Lent;
use crate::guard;
use crate::kernel::sysctl;
use crate::render;
use crate::render::expire::Counts;
use crate::tunable::Key;

/// What a command that changes flows holds while it is at work.
pub(super) struct Held {
    pub(super) past: Past,
    pub(super) signals: Signals,
    _lock: Option<Lock>,
}

/// Refuses what cannot be done, and takes the lock unless nothing is to be changed.
pub(super) fn hold(command: &str, options: &Changing, global: &Global) -> anyhow::Result<Held> {
    refuse_blind(command, global, !options.yes && !options.dry_run)?;
    let root = place::root(global)?;
    let signals = Signals::catch()?;
    let here = change::here(global)?;
    let lock = || change::lock(&here, options.wait.as_deref(), &|| signals.caught());
    let lock = (!options.dry_run).then(lock).transpose()?;
    Ok(Held {
        past: past(&root),
        signals,
        _lock: lock,
    })
}

/// Watches flows until a signal comes, and tells how long it has been.
type Watch<T> = fn(&mut T, &dyn Fn() -> Option<Signal>, &dyn Fn(Duration)) -> Result<(), FlowError>;

/// Takes a first look at flows, and watches them for a time.
pub(super) fn watch<T>(
    what: &mut T,
    (time, counts): (Duration, Counts),
    stop: &dyn Fn() -> Option<Signal>,
    out: Out,
    look: fn(&mut T, &mut FlowContext<'_>) -> Result<(), FlowError>,
    watch: Watch<T>,
) -> Result<(), Failure> {
    out.note(&render::expire::watching(time, counts));
    with_progress("first look", stop, out, |context| look(what, context)).map_err(untouched)?;
    let bar = Progress::new(out, "watching flows", time.as_secs());
    watch(what, stop, &|passed| bar.at(passed.as_secs())).map_err(untouched)
}

/// Whether a guard lends what it has watched, and the borrower takes it: it was long enough.
pub(super) fn is_lent(out: Out, borrow: impl FnOnce(Lent<'static>, Instant) -> bool) -> bool {
    let is_lent = guard::borrow().is_some_and(|(lent, clock)| borrow(lent, clock));
    if is_lent {
        out.note("the guard has watched the flows for long enough");
    }
    is_lent
}

pub(super) fn no_match(matching: &[String]) -> Failure {
    let (why, hint) = match uncounted(matching) {
        Some(count) => (
            ": bytes are not counted, because nf_conntrack_acct is 0",
            count,
        ),
        None => ("", Hint::cttune("top").to("see which flows there are")),
    };
    let message = format!("no flow matches --match{why}");
    Failure::new(FAILED, message).unchanged().hint(hint)
}

/// What to do where flows are chosen by bytes that nothing counts.
fn uncounted(matching: &[String]) -> Option<Hint> {
    let mut terms = matching.iter().flat_map(|terms| terms.split(','));
    let asks_bytes = terms.any(|term| term.trim().to_ascii_lowercase().starts_with("bytes"));
    let is_off = || sysctl::read(Key::Acct).is_ok_and(|acct| acct.value() == Some(0));
    let count =
        || Hint::cttune("plan --set acct=1").to("count the bytes of flows that begin later");
    (asks_bytes && is_off()).then(count)
}

/// Says why no flow has the bytes that are asked for, if nothing counts them.
pub(super) fn note_uncounted(matching: &[String], global: &Global, out: Out) {
    if let Some(hint) = uncounted(matching) {
        let hint = hint.text(&place::of(global));
        out.note(&format!(
            "note: flows have no counters (nf_conntrack_acct is 0); {hint}"
        ));
    }
}

/// Refuses what cannot be done: flows of an image, and a question that nobody answers.
pub(super) fn refuse_blind(command: &str, global: &Global, asks: bool) -> Result<(), Failure> {
    if global.root.is_some() {
        return Err(Failure::usage(format!("--root cannot go with {command}"))
            .hint("an image has no flows"));
    }
    if asks && !out::is_interactive() {
        return Err(Failure::new(FAILED, "there is no terminal to ask on")
            .unchanged()
            .hint("--yes goes on without asking; --dry-run counts"));
    }
    Ok(())
}

pub(super) fn refuse_more_than(max_flows: Option<i64>, tally: &Tally) -> Result<(), Failure> {
    let Some(most) = max_flows.and_then(|most| u64::try_from(most).ok()) else {
        return Ok(());
    };
    if tally.selected() <= most {
        return Ok(());
    }
    let selected = render::expire::flows(tally.selected());
    let most = render::expire::flows(most);
    let message = format!("{selected} would be changed, and --max-flows allows {most}");
    Err(Failure::new(FAILED, message)
        .unchanged()
        .hint("--match narrows the selection; --dry-run shows what it holds"))
}

/// Goes on after a yes.
pub(super) fn answered(question: &str, signals: &Signals) -> anyhow::Result<()> {
    match prompt::ask_plainly(question, signals)? {
        Answer::Yes => Ok(()),
        Answer::No | Answer::Steps(_) => Err(declined().into()),
        Answer::Stopped(signal) => Err(change::stopped(signal).into()),
    }
}

/// `--rate`, if it was given.
pub(super) fn rate(options: &Changing) -> Result<Option<u32>, Failure> {
    options.rate.as_deref().map(parse_rate).transpose()
}

/// `5000` or `5000/s`.
pub(super) fn parse_rate(text: &str) -> Result<u32, Failure> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(
            Failure::usage(format!("--rate {text}: not a number of flows a second"))
                .hint("write 5000/s"),
        ),
    }
}

/// What is known of the past: the journal's, if it can be read, and the session.
pub(super) fn past(root: &Root) -> Past {
    // Without a journal the history of the timeout is not known.
    let here = Here::read(root.clone(), None);
    let log = Log::of(root);
    let now = jiff::Timestamp::now().as_second();
    Past {
        sessions: session::own(),
        changes: here.changes_of(Key::TcpTimeoutEstablished),
        was: None,
        updates: log.updates(now),
        log: Some(log),
    }
}

/// Does work on the table with a line of progress.
pub(super) fn with_progress<T>(
    what: &'static str,
    stop: &dyn Fn() -> Option<Signal>,
    out: Out,
    work: impl FnOnce(&mut FlowContext<'_>) -> T,
) -> T {
    let progress = progress(what, out);
    work(&mut FlowContext {
        stop,
        progress: &mut |looked_at| progress.at(looked_at),
        threads: out.threads,
    })
}

pub(super) fn progress(what: &'static str, out: Out) -> Progress {
    let count = sysctl::read_count().ok().flatten().unwrap_or(0);
    Progress::new(out, what, u64::try_from(count).unwrap_or(0))
}

/// Says that flows are changed slower where a program listens. `flows` is none where they were not
/// counted.
pub(super) fn say_pace(pace: Pace, flows: Option<u64>, out: Out) {
    if let Some(rate) = pace.for_listener() {
        out.note(&render::expire::listened_to(rate, flows));
    }
}

/// The exit code of what was done; what went wrong is said on the way.
pub(super) fn end(tally: &Tally, broken_off: Option<&FlowError>) -> anyhow::Result<u8> {
    let done = tally.selected();
    let stands = format!("{} stay changed", render::expire::flows(done));
    match broken_off {
        None if tally.failed == 0 => Ok(0),
        None => {
            let refused = render::expire::flows(tally.failed);
            let message = format!("the kernel refused to change {refused}");
            Err(Failure::new(LEFT, message)
                .hint("it does so for a flow whose timeout is fixed")
                .into())
        }
        Some(FlowError::Stopped(signal)) => {
            let message = format!(
                "stopped by {}; {stands}, the others are as before",
                signal.name()
            );
            Err(Failure::new(signal.exit_code(), message).into())
        }
        Some(error) if done == 0 => Err(Failure::of(FAILED, error).unchanged().into()),
        Some(error) => Err(Failure::new(LEFT, format!("{error}; {stands}"))
            .maybe_hint(error.hint())
            .into()),
    }
}

/// A failure, or a signal, before anything was changed.
pub(super) fn untouched(error: FlowError) -> Failure {
    match error {
        FlowError::Stopped(signal) => change::stopped(signal),
        error => Failure::of(FAILED, &error).unchanged(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_second() {
        for (text, number) in [
            ("5000", Some(5000)),
            ("5000/s", Some(5000)),
            ("0", None),
            ("5000/m", None),
            ("-1", None),
        ] {
            assert_eq!(parse_rate(text).ok(), number, "{text}");
        }
    }
}
