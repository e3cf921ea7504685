//! The step of a plan that shortens flows.

use std::cell::RefCell;

use super::parse::mode;
use crate::change::expire::Expiry;
use crate::change::flows::{FlowContext, Past};
use crate::cli::args::Mode;
use crate::cli::current::Current;
use crate::cli::failure::Failure;
use crate::cli::flows::{past, progress, refuse_more_than, say_pace, untouched};
use crate::cli::out::Out;
use crate::cli::progress::Progress;
use crate::files::Root;
use crate::flow::expire::{Change, Tally};
use crate::kernel::sysctl;
use crate::plan::{Plan, Report, Scope, Step};
use crate::profile::{ExpireMode, ExpireParameters, ExpireSettings};
use crate::render::{self, expire::Parts};
use crate::tunable::Key;

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
        let mut tables = plan.steps.iter().filter_map(Step::table);
        let expiry = match tables.next() {
            Some(table) => expiry.with_services(table),
            None => expiry,
        };
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
