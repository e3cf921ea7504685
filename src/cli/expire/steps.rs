//! What `expire`, `kill` and a plan's step about flows share: the past, progress, limits, the end.

use std::cell::RefCell;
use std::time::Duration;

use super::parse::mode;
use crate::change::expire::{ExpireError, Expiry, FlowContext, Log, Pace, Past};
use crate::change::{Here, Signal};
use crate::cli::args::{Global, Mode};
use crate::cli::current::Current;
use crate::cli::failure::{FAILED, Failure, LEFT};
use crate::cli::out::{self, Out};
use crate::cli::progress::Progress;
use crate::cli::{change, session};
use crate::diagnostic::Advise;
use crate::files::Root;
use crate::flow::expire::{Change, Tally};
use crate::kernel::sysctl;
use crate::plan::{Plan, Report, Scope, Step};
use crate::profile::{ExpireMode, ExpireParameters, ExpireSettings};
use crate::render::{self, expire::Parts};
use crate::tunable::Key;

/// Refuses what cannot be done: flows of an image, and a question that nobody answers.
pub(in crate::cli) fn refuse_blind(
    command: &str,
    global: &Global,
    asks: bool,
) -> Result<(), Failure> {
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

pub(in crate::cli) fn refuse_more_than(
    max_flows: Option<i64>,
    tally: &Tally,
) -> Result<(), Failure> {
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

/// The step of a plan that shortens flows to the timeouts it sets; none where no flow would change.
pub(in crate::cli) fn step(
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
    if parameters.mode != ExpireMode::Clamp
        && parameters.observe.is_none()
        && !parameters.trust_history
    {
        let mode = parameters.mode.name();
        let message = format!("--expire={mode} has nothing that proves idle time");
        return Err(Failure::usage(message)
            .hint(
                "set observe = \"10m\" in [expire] of the profile, or apply with --expire=clamp and \
                 run cttune expire later",
            )
            .into());
    }
    let mut then = live.clone();
    for step in &plan.steps {
        if let Step::WriteLive { key, to, .. } = step {
            then.set(*key, *to);
        }
    }
    let past = past_of(plan, root);
    let counted = Expiry::under(&parameters, &past, &then).and_then(|expiry| {
        expiry.count(&mut FlowContext {
            stop: &|| None,
            progress: &mut |_| {},
            threads: None,
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
        why: "idle flows keep their old time left otherwise".to_owned(),
    }))
}

/// What became of the flows of a plan, for people and machines; none where no step was about them.
pub(in crate::cli) fn told(flows: Option<&(ExpireMode, Tally)>) -> Option<Parts<'_>> {
    let (mode, tally) = flows?;
    Some(Parts {
        mode: *mode,
        tally,
        dry_run: false,
        count: sysctl::read_count().ok().flatten(),
    })
}

/// What is known of the past when a plan is about to be applied: what it changes counts too.
pub(in crate::cli) fn past_of(plan: &Plan, root: &Root) -> Past {
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
pub(in crate::cli) fn past(root: &Root) -> Past {
    // Without a journal the history of the timeout is not known.
    let here = Here::read(root.clone(), None);
    let log = Log::of(root);
    let now = jiff::Timestamp::now().as_second();
    Past {
        sessions: session::own(),
        changes: here.changes_of(Key::TcpTimeoutEstablished),
        was: None,
        updates: log.updates(now).unwrap_or_default(),
        log: Some(log),
    }
}

/// Does work on the table with a line of progress.
pub(in crate::cli) fn with_progress<T>(
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

/// Watches flows for a time, with a bar of how long it has been.
pub(in crate::cli) fn watching<T>(
    time: Duration,
    out: Out,
    watch: impl FnOnce(&mut dyn FnMut(Duration)) -> T,
) -> T {
    let bar = Progress::new(out, "watching flows", time.as_secs());
    watch(&mut |passed| bar.at(passed.as_secs()))
}

/// How far a plan's step about flows is, between the lines of the other steps.
pub(in crate::cli) struct FlowProgress {
    out: Out,
    bar: RefCell<Option<Progress>>,
}

impl FlowProgress {
    pub(in crate::cli) fn new(out: Out) -> Self {
        let bar = RefCell::default();
        FlowProgress { out, bar }
    }

    /// So many flows were looked at.
    pub(in crate::cli) fn at(&self, looked_at: u64) {
        let mut bar = self.bar.borrow_mut();
        bar.get_or_insert_with(|| progress("looking at flows", self.out))
            .at(looked_at);
    }

    /// A step is done.
    pub(in crate::cli) fn step(&self, step: &Step, report: &Report) {
        self.bar.take();
        let line = render::outcome::step_line(step, report);
        self.out.progress(&line);
    }
}

fn progress(what: &'static str, out: Out) -> Progress {
    let count = sysctl::read_count().ok().flatten().unwrap_or(0);
    Progress::new(out, what, u64::try_from(count).unwrap_or(0))
}

/// Says how fast a plan's flows will be changed, where a program listens.
pub(in crate::cli) fn tell_pace(plan: &Plan, out: Out) {
    let about_flows = |step: &Step| match step {
        Step::Expire {
            parameters, flows, ..
        } => Some((parameters.clone(), *flows)),
        _ => None,
    };
    if let Some((parameters, flows)) = plan.steps.iter().find_map(about_flows)
        && let Ok(expiry) = Expiry::prepare(&parameters, &Past::default())
    {
        say_pace(expiry.pace(), flows, out);
    }
}

/// Says that flows are changed slower where a program listens. `flows` is none where they were not
/// counted.
pub(in crate::cli) fn say_pace(pace: Pace, flows: Option<u64>, out: Out) {
    if let Some(rate) = pace.for_listener() {
        out.note(&render::expire::listened_to(rate, flows));
    }
}

/// The exit code of what was done; what went wrong is said on the way.
pub(in crate::cli) fn end(tally: &Tally, broken_off: Option<&ExpireError>) -> anyhow::Result<u8> {
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
        Some(ExpireError::Stopped(signal)) => {
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
pub(in crate::cli) fn untouched(error: ExpireError) -> Failure {
    match error {
        ExpireError::Stopped(signal) => change::stopped(signal),
        error => Failure::of(FAILED, &error).unchanged(),
    }
}
