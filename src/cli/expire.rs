//! `cttune expire`: counts, asks, and brings existing flows under the timeouts that hold.

use std::cell::RefCell;

use super::args::{Expire, Global, Mode};
use super::current::Current;
use super::failure::{FAILED, Failure, LEFT, declined};
use super::out::{self, Out};
use super::place;
use super::progress::Progress;
use super::prompt::{self, Answer};
use super::{change, select, session};
use crate::change::expire::{ExpireError, Expired, Expiry, Hands, Past};
use crate::change::{Here, Signal, Signals};
use crate::diagnostic::Advise;
use crate::files::Root;
use crate::flow::expire::{Change, Tally};
use crate::kernel::sysctl;
use crate::plan::{Plan, Report, Scope, Step};
use crate::profile::{ExpireMode, ExpireParameters, ExpireSettings, parse_timeout};
use crate::render::{self, expire::Parts};
use crate::tunable::Key;

/// Runs it.
pub(super) fn run(args: &Expire, global: &Global, out: Out) -> anyhow::Result<u8> {
    let parameters = parameters(args)?;
    let was = args.was.as_deref().map(was).transpose()?;
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with expire")
            .hint("an image has no flows")
            .into());
    }
    if !args.yes && !args.dry_run && !out::is_interactive() {
        return Err(Failure::new(FAILED, "there is no terminal to ask on")
            .unchanged()
            .hint("--yes goes on without asking; --dry-run counts")
            .into());
    }
    let root = place::root(global)?;
    let signals = Signals::catch()?;
    let stop = || signals.caught();
    let _lock = if args.dry_run {
        None
    } else {
        Some(change::lock(
            &change::here(global)?,
            args.wait.as_deref(),
            &stop,
        )?)
    };
    let past = Past { was, ..past(&root) };
    let mut expiry = Expiry::prepare(&parameters, &past).map_err(untouched)?;
    let mode = parameters.mode;
    if expiry.needs_sample() {
        out.note(&render::expire::sampling(parameters.settle));
        with_progress("first sample", &stop, out, |hands| expiry.sample(hands))
            .map_err(untouched)?;
    }
    if args.dry_run || !args.yes || parameters.max_flows.is_some() {
        let tally = with_progress("counting", &stop, out, |hands| expiry.count(hands))
            .map_err(untouched)?;
        if args.dry_run || tally.selected() == 0 {
            show(mode, &tally, args.dry_run, out);
            return Ok(0);
        }
        refuse_more_than(parameters.max_flows, &tally)?;
        if !args.yes {
            ask(&expiry, mode, &tally, &signals, out)?;
        }
    }
    if args.yes {
        say_pace(&expiry, None, out);
    }
    let expired = with_progress(mode.name(), &stop, out, |hands| expiry.run(hands));
    show(mode, &expired.tally, false, out);
    end(&expired)
}

/// The step of a plan that brings flows under the timeouts it sets; none where no flow would change.
pub(super) fn step(
    typed: Option<Mode>,
    settings: ExpireSettings,
    scope: Scope,
    current: &Current,
    plan: &Plan,
    root: &Root,
) -> anyhow::Result<Option<Step>> {
    let (true, Some(live)) = (scope.live, &current.live) else {
        return Err(Failure::usage("--expire needs the running kernel")
            .hint("it cannot go with --root or --only persist")
            .into());
    };
    if !live.is_loaded() {
        return Ok(None);
    }
    let mut parameters = ExpireParameters::from(settings);
    parameters.mode = typed.map_or(parameters.mode, mode);
    let mut then = live.clone();
    for step in &plan.steps {
        if let Step::WriteLive { key, to, .. } = step {
            then.set(*key, *to);
        }
    }
    let past = past_of(plan, root);
    let counted = Expiry::under(&parameters, &past, &then).and_then(|expiry| {
        expiry.count(&mut Hands {
            stop: &|| None,
            progress: &mut |_| {},
        })
    });
    let flows = match counted {
        Ok(tally) if tally.selected() == 0 => return Ok(None),
        Ok(tally) => {
            refuse_more_than(parameters.max_flows, &tally)?;
            Some(tally.selected())
        }
        Err(error) if error.is_denied() => None,
        Err(error) => return Err(untouched(error).into()),
    };
    Ok(Some(Step::Expire {
        parameters,
        flows,
        why: "existing flows keep their old countdown otherwise".to_owned(),
    }))
}

/// What became of the flows of a plan, for people and machines; none where no step was about them.
pub(super) fn told(flows: Option<&(ExpireMode, Tally)>) -> Option<Parts<'_>> {
    let (mode, tally) = flows?;
    Some(Parts {
        mode: *mode,
        tally,
        dry_run: false,
        count: sysctl::read_count().ok().flatten(),
    })
}

/// What is known of the past when a plan is about to be carried out: what it changes counts too.
pub(super) fn past_of(plan: &Plan, root: &Root) -> Past {
    let mut past = past(root);
    for step in &plan.steps {
        if let Step::WriteLive { key, from, to, .. } = step
            && *key == Key::TcpTimeoutEstablished
        {
            past.changes.push(Change {
                at: jiff::Timestamp::now().as_second(),
                before: *from,
                after: vec![*to],
            });
        }
    }
    past
}

/// What is known of the past: the journal's, if it can be read, and the session.
fn past(root: &Root) -> Past {
    // Without a journal idle time is not known, and the modes that count it keep everything.
    let here = Here::read(root.clone(), None);
    Past {
        sessions: session::own(),
        changes: here.changes_of(Key::TcpTimeoutEstablished),
        was: None,
    }
}

/// Does work on the table with a line of progress.
pub(super) fn with_progress<T>(
    what: &'static str,
    stop: &dyn Fn() -> Option<Signal>,
    out: Out,
    work: impl FnOnce(&mut Hands<'_>) -> T,
) -> T {
    let progress = progress(what, out);
    work(&mut Hands {
        stop,
        progress: &mut |looked_at| progress.at(looked_at),
    })
}

/// How far a plan's step about flows is, between the lines of the other steps.
pub(super) struct FlowProgress {
    out: Out,
    bar: RefCell<Option<Progress>>,
}

impl FlowProgress {
    pub(super) fn new(out: Out) -> Self {
        let bar = RefCell::default();
        FlowProgress { out, bar }
    }

    /// So many flows were looked at.
    pub(super) fn at(&self, looked_at: u64) {
        let mut bar = self.bar.borrow_mut();
        bar.get_or_insert_with(|| progress("looking at flows", self.out))
            .at(looked_at);
    }

    /// A step is done.
    pub(super) fn step(&self, step: &Step, report: &Report) {
        self.bar.take();
        let line = render::outcome::step_line(step, report);
        self.out.progress(&line);
    }
}

fn progress(what: &'static str, out: Out) -> Progress {
    let count = sysctl::read_count().ok().flatten().unwrap_or(0);
    Progress::new(out, what, u64::try_from(count).unwrap_or(0))
}

/// Says how fast a plan's flows will be changed, where somebody listens.
pub(super) fn tell_pace(plan: &Plan, out: Out) {
    let about_flows = |step: &Step| match step {
        Step::Expire {
            parameters, flows, ..
        } => Some((parameters.clone(), *flows)),
        _ => None,
    };
    if let Some((parameters, flows)) = plan.steps.iter().find_map(about_flows)
        && let Ok(expiry) = Expiry::prepare(&parameters, &Past::default())
    {
        say_pace(&expiry, flows, out);
    }
}

/// Says why it goes no faster, where somebody listens. `flows` is none where they were not counted.
fn say_pace(expiry: &Expiry, flows: Option<u64>, out: Out) {
    if let (true, Some(rate)) = (expiry.is_listened_to(), expiry.rate()) {
        out.note(&render::expire::listened_to(rate, flows));
    }
}

/// Asks; a no, or a signal, is a failure that changed nothing.
fn ask(
    expiry: &Expiry,
    mode: ExpireMode,
    tally: &Tally,
    signals: &Signals,
    out: Out,
) -> anyhow::Result<()> {
    out.question(&render::expire::foresight(mode, tally));
    say_pace(expiry, Some(tally.selected()), out);
    let question = match mode {
        ExpireMode::Clamp => "Clamp them? [y/N]",
        ExpireMode::ReAge => "Re-age them? [y/N]",
        ExpireMode::Delete => "Delete them? [y/N]",
    };
    match prompt::ask_plainly(question, signals)? {
        Answer::Yes => Ok(()),
        Answer::No | Answer::Steps(_) => Err(declined().into()),
        Answer::Stopped(signal) => Err(change::stopped(signal).into()),
    }
}

fn refuse_more_than(max_flows: Option<i64>, tally: &Tally) -> Result<(), Failure> {
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

fn show(mode: ExpireMode, tally: &Tally, dry_run: bool, out: Out) {
    let parts = Parts {
        mode,
        tally,
        dry_run,
        count: sysctl::read_count().ok().flatten(),
    };
    let text = || match (out.verbose, dry_run) {
        (true, false) => render::expire::text(parts) + &render::expire::breakdown(tally),
        _ => render::expire::text(parts),
    };
    out.result(text, || render::expire::json(parts));
}

/// The exit code of what was done; what went wrong is said on the way.
fn end(expired: &Expired) -> anyhow::Result<u8> {
    let done = expired.tally.selected();
    let stands = format!("{} stay as they were made", render::expire::flows(done));
    match &expired.broken_off {
        None if expired.tally.failed == 0 => Ok(0),
        None => {
            let refused = render::expire::flows(expired.tally.failed);
            let message = format!("the kernel refused to change {refused}");
            Err(Failure::new(LEFT, message)
                .hint("it does so for a flow whose timeout is fixed")
                .into())
        }
        Some(ExpireError::Stopped(signal)) => {
            let message = format!(
                "stopped by {}; {stands}, the others as they are",
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
fn untouched(error: ExpireError) -> Failure {
    match error {
        ExpireError::Stopped(signal) => change::stopped(signal),
        error => Failure::of(FAILED, &error).unchanged(),
    }
}

/// The command line's wishes. Every selection that is wrong is told.
fn parameters(args: &Expire) -> anyhow::Result<ExpireParameters> {
    let time = |option: &str, text: &Option<String>| -> Result<Option<i64>, Failure> {
        let time = text.as_deref().map(|text| change::duration(option, text));
        let seconds = time.transpose()?.map(|time| time.as_secs());
        Ok(seconds.and_then(|seconds| i64::try_from(seconds).ok()))
    };
    Ok(ExpireSettings {
        mode: Some(mode(args.mode)),
        matching: Some(select::terms("--match", &args.matching)?),
        keep: Some(select::terms("--keep", &args.keep)?),
        grace: time("--grace", &args.grace)?,
        spread: time("--spread", &args.spread)?,
        settle: time("--settle", &args.settle)?,
        max_flows: args.max_flows.map(i64::from),
        rate: args.rate.as_deref().map(rate).transpose()?,
    }
    .into())
}

/// The mode that was typed.
pub(super) fn mode(mode: Mode) -> ExpireMode {
    match mode {
        Mode::Clamp => ExpireMode::Clamp,
        Mode::ReAge => ExpireMode::ReAge,
        Mode::Delete => ExpireMode::Delete,
    }
}

/// `5000` or `5000/s`.
fn rate(text: &str) -> Result<i64, Failure> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<u32>();
    match number {
        Ok(number) if number > 0 => Ok(number.into()),
        _ => Err(
            Failure::usage(format!("--rate {text}: not a number of flows a second"))
                .hint("write 5000/s"),
        ),
    }
}

/// `5d`, `5d@2h` (until two hours ago) or `5d@2026-11-23T12:00:00Z`.
fn was(text: &str) -> Result<(i64, Option<i64>), Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("--was {text}: {why}"))
            .hint("write 5d, 5d@2h (until two hours ago) or 5d@2026-11-23T12:00:00Z")
    };
    let (value, since) = match text.split_once('@') {
        Some((value, since)) => (value, Some(since)),
        None => (text, None),
    };
    let value = parse_timeout(value).map_err(wrong)?;
    let Some(since) = since else {
        return Ok((value, None));
    };
    let now = jiff::Timestamp::now().as_second();
    let at = match since.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_second(),
        Err(_) => now - parse_timeout(since).map_err(wrong)?,
    };
    if at > now {
        return Err(wrong("that is still to come".to_owned()));
    }
    Ok((value, Some(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::USAGE;

    #[test]
    fn a_rate_is_a_number_a_second() {
        for (text, number) in [
            ("5000", Some(5000)),
            ("5000/s", Some(5000)),
            ("0", None),
            ("5000/m", None),
            ("-1", None),
        ] {
            assert_eq!(rate(text).ok(), number, "{text}");
        }
    }

    #[test]
    fn what_it_was_may_say_until_when() {
        let now = jiff::Timestamp::now().as_second();
        assert_eq!(was("5d").unwrap(), (432_000, None));
        let (value, at) = was("10m@2h").unwrap();
        assert_eq!(value, 600);
        assert!((now - 7200..=now - 7190).contains(&at.unwrap()));
        let exact = was("5d@2026-01-01T00:00:00Z").unwrap();
        assert_eq!(exact, (432_000, Some(1_767_225_600)));
        for text in ["", "x", "5d@", "5d@yesterday", "5d@2999-01-01T00:00:00Z"] {
            assert_eq!(was(text).unwrap_err().code, USAGE, "{text}");
        }
    }
}
