//! `cttune confirm`, and what becomes of a change that nobody confirms.
//!
//! Until it is confirmed a change is about the running kernel alone, so that a power cycle takes
//! it back as well. A watcher that outlives the terminal takes it back when its time is over.

use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::{Apply, Confirm, Global, WatchPending};
use super::expire::FlowProgress;
use super::failure::{FAILED, Failure, LEFT, told};
use super::out::{self, Out};
use super::place;
use super::{change, expire};
use crate::change::journal::{Journal, JournalError};
use crate::change::{
    Crew, Lock, READY, Running, Signals, arm_watcher, carry_back, carry_out, carry_out_until,
    clear_up, close_stdout, leave_session, preflight, present,
};
use crate::diagnostic::Hint;
use crate::files::{Root, state};
use crate::kernel::host;
use crate::plan::{Deadline, Ending, Outcome, Plan, Record, Signal, Standing, Step, way_back};
use crate::render;

/// Time that the watcher gives a lock holder before it looks again.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Carries out the live steps of a change and leaves the rest to `confirm`.
#[allow(clippy::too_many_arguments)] // one call, from apply, which has all of it at hand
pub(super) fn apply(
    mut record: Record,
    within: Duration,
    args: &Apply,
    global: &Global,
    target: &mut Running,
    signals: &Signals,
    lock: Lock,
    root: &Root,
    out: Out,
) -> anyhow::Result<u8> {
    let journal = change::journal(root);
    record.deadline = Some(deadline(within)?);
    let mut page = journal
        .begin(&mut record)
        .map_err(change::journal_failure)?;
    // Armed before anything is changed: without it nothing would take the change back.
    if let Err(error) = arm_watcher(&record, &state::directory(root)) {
        record.standing = Standing::Undone;
        let _ = page.end(&record);
        return Err(Failure::new(FAILED, told(&error)).unchanged().into());
    }
    let live = record.live_steps();
    let outcome = carry_out_until(
        &mut record,
        live,
        Standing::Pending,
        &mut Crew {
            target,
            journal: &mut page,
            stop: &|| signals.caught(),
            progress: &mut |step, report| out.progress(&render::outcome::step_line(step, report)),
            looked_at: &mut |_| {},
        },
    );
    let pending = record.standing == Standing::Pending;
    if pending {
        change::settle(root, global, Some(record.id));
    }
    drop(lock);
    let plan = record.plan();
    let id = (pending || outcome.changed()).then_some(record.id);
    out.result(
        || {
            if pending {
                render::outcome::pending(&record, within)
            } else {
                render::outcome::text(&plan, &outcome, id, &place::of(global))
            }
        },
        || render::outcome::json(&plan, &outcome, id, None),
    );
    if pending && !args.yes && out::is_interactive() {
        return keep_asking(&record, global, root, signals, out);
    }
    change::end(&outcome, &record, args.detailed_exitcode)
}

fn deadline(within: Duration) -> anyhow::Result<Deadline> {
    let until = host::read_boottime()? + within;
    // Rounded up: the operator gets no less than was promised.
    Ok(Deadline {
        boottime: until.as_secs() + u64::from(until.subsec_nanos() > 0),
        within: within.as_secs(),
    })
}

/// Waits for Enter, which confirms; for Ctrl-C, which takes the change back at once; or for the
/// end of its time, or a `confirm` elsewhere. A terminal that hangs up leaves it to the watcher.
fn keep_asking(
    record: &Record,
    global: &Global,
    root: &Root,
    signals: &Signals,
    out: Out,
) -> anyhow::Result<u8> {
    out.question("Press Enter to keep it, Ctrl-C to take it back now\n");
    let stdin = io::stdin();
    loop {
        match signals.caught() {
            Some(Signal::HangUp) => return Ok(Signal::HangUp.exit_code()),
            Some(signal) => return take_back_now(record.id, signal, root, out),
            None => {}
        }
        let now = change::journal(root)
            .read_one(record.id)
            .map_err(change::journal_failure)?;
        if now.standing != Standing::Pending && !Lock::is_held(&state::directory(root)) {
            return ended_elsewhere(&now, out);
        }
        let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(250u16)).unwrap_or(0) == 0 {
            continue;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line).unwrap_or(0) > 0 {
            return confirm(root, global, Some("1m"), signals, out);
        }
        // Ctrl-D, or a terminal that is gone.
        out.note("still waiting to be confirmed: `cttune confirm` keeps it");
        return Ok(signals.caught().map_or(0, Signal::exit_code));
    }
}

fn take_back_now(id: u64, signal: Signal, root: &Root, out: Out) -> anyhow::Result<u8> {
    let _lock = change::lock(root, Some("1h"), &|| None)?;
    let record = take_back(id, root, Standing::Undone)?;
    if record.standing == Standing::Left {
        return Err(was_left(&record).into());
    }
    out.note("taken back; everything is as it was");
    Ok(signal.exit_code())
}

/// What somebody else made of a change while its prompt stood open.
fn ended_elsewhere(record: &Record, out: Out) -> anyhow::Result<u8> {
    match record.standing {
        Standing::Complete | Standing::Partly => {
            out.note("confirmed elsewhere");
            Ok(0)
        }
        Standing::Expired => Err(Failure::new(
            FAILED,
            "nobody confirmed it in time; everything is as it was",
        )
        .into()),
        Standing::Left => Err(was_left(record).into()),
        standing => Err(Failure::new(
            FAILED,
            format!(
                "it is {} by now: `cttune history` tells more",
                standing.name()
            ),
        )
        .into()),
    }
}

fn was_left(record: &Record) -> Failure {
    let mut failure = Failure::new(
        LEFT,
        format!("change {} was taken back, but not all of it", record.id),
    );
    failure.messages.extend(record.left.iter().cloned());
    failure.hint(change::put_rest_back(record.id))
}

/// Runs `cttune confirm`.
pub(super) fn run(args: &Confirm, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = place::root(global)?;
    // Read before the lock, so that somebody without the right to either is told so plainly.
    change::unfinished(&root, global)?;
    let wait = args.wait.as_deref();
    confirm(&root, global, wait, &Signals::catch()?, out)
}

fn confirm(
    root: &Root,
    global: &Global,
    wait: Option<&str>,
    signals: &Signals,
    out: Out,
) -> anyhow::Result<u8> {
    let journal = change::journal(root);
    let _lock = change::lock(root, wait, &|| signals.caught())?;
    let Some(mut record) = pending(root, global)? else {
        return Err(none_pending(root, global)?.into());
    };
    if host::read_boottime()? >= until(&record) {
        return Err(
            Failure::new(FAILED, "its time is over: the change is being taken back")
                .hint("apply it again, with more time")
                .into(),
        );
    }
    let mut target = Running::new(root.clone()).with_past(expire::past(root)?);
    let rest = record.steps.get(record.live_steps()..).unwrap_or_default();
    let rest = Plan::of(record.profile.clone(), rest.to_vec());
    // Somebody may have edited a file since; whatever else is in the way is found out here too.
    preflight(&rest, &mut target).map_err(|error| {
        Failure::new(FAILED, format!("{error}; the change still waits"))
            .hint(Hint::cttune("rollback").to("undo it, then apply it again"))
    })?;
    let mut page = journal.page(record.id).map_err(change::journal_failure)?;
    // From here on a kill leaves an interrupted change, which the journal can put back whole.
    record.standing = Standing::Begun;
    page.progress(&record).map_err(change::journal_failure)?;
    expire::tell_pace(&rest, out);
    let flows = FlowProgress::new(out);
    let mut outcome = carry_out(
        &mut record,
        &mut Crew {
            target: &mut target,
            journal: &mut page,
            stop: &|| signals.caught(),
            progress: &mut |step, report| flows.step(step, report),
            looked_at: &mut |number| flows.at(number),
        },
    );
    drop(flows);
    let id = Some(record.id);
    let flows = expire::told(&target);
    // The live steps were reported when they were made.
    out.result(
        || {
            render::outcome::text(&rest, &outcome, id, &place::of(global))
                + &render::expire::maybe_text(flows)
        },
        || render::outcome::json(&rest, &outcome, id, flows),
    );
    if outcome.ending == Ending::Complete {
        outcome.reports.clear();
    }
    change::end(&outcome, &record, false)
}

/// Why there is nothing to confirm.
fn none_pending(root: &Root, global: &Global) -> anyhow::Result<Failure> {
    let records = change::journal(root)
        .read()
        .map_err(change::journal_failure)?;
    let elsewhere = records
        .iter()
        .rfind(|record| record.standing == Standing::Pending);
    if let Some(Err(failure)) = elsewhere.map(|record| change::belongs_here(record, global, root)) {
        return Ok(failure);
    }
    let newest = records
        .iter()
        .rfind(|record| record.deadline.is_some() && change::is_of(record, global, root));
    let nothing = || Failure::new(FAILED, "no change waits to be confirmed");
    let Some(record) = newest else {
        return Ok(nothing());
    };
    let id = record.id;
    Ok(match record.standing {
        Standing::Expired => Failure::new(
            FAILED,
            format!("change {id} was not confirmed in time and was taken back; apply it again"),
        ),
        Standing::Rebooted => Failure::new(
            FAILED,
            format!("change {id} was never confirmed, and a reboot took it back; apply it again"),
        ),
        Standing::Left => was_left(record),
        _ => nothing(),
    })
}

/// The change here that waits for confirmation, if one does. The lock is held.
pub(super) fn pending(root: &Root, global: &Global) -> anyhow::Result<Option<Record>> {
    let unfinished = change::unfinished(root, global)?;
    let pending = |record: &Record| record.standing == Standing::Pending;
    let found = unfinished.into_iter().rfind(pending);
    if found.is_none() {
        mark_rebooted(root)?;
    }
    Ok(found)
}

/// Writes down which changes ended with the boot that they were made in.
fn mark_rebooted(root: &Root) -> anyhow::Result<()> {
    let journal = change::journal(root);
    let boot_id = host::read_boot_id()?;
    for record in journal.unfinished().map_err(change::journal_failure)? {
        let record = record.in_boot(&boot_id);
        if record.standing == Standing::Rebooted {
            journal.mark(&record).map_err(change::journal_failure)?;
        }
    }
    Ok(())
}

/// What apply does while a change waits for confirmation: the same one is given more time from
/// now on, and any other is refused. The lock is held.
pub(super) fn extend(
    mut record: Record,
    plan: &Plan,
    within: Option<Duration>,
    root: &Root,
    out: Out,
) -> anyhow::Result<u8> {
    let overrides = plan
        .overrides
        .iter()
        .map(|(key, value)| (key.name(), *value));
    let is_same = record.profile == plan.profile
        && record.overrides == overrides.collect()
        && plan
            .steps
            .iter()
            .all(|step| step.file().is_some() || matches!(step, Step::Expire { .. }));
    let (Some(within), true) = (within, is_same) else {
        let message = format!("change {} of {} is pending", record.id, record.profile);
        return Err(Failure::new(FAILED, message)
            .unchanged()
            .hint(
                Hint::cttune("confirm")
                    .to("keep it")
                    .and(Hint::cttune("rollback").to("undo it")),
            )
            .into());
    };
    record.deadline = Some(deadline(within)?);
    change::journal(root)
        .rewrite(&record)
        .map_err(change::journal_failure)?;
    // The one that watches would look again when the old time is over; it may be too late then, if
    // the new one is shorter.
    arm_watcher(&record, &state::directory(root)).map_err(|error| {
        Failure::new(FAILED, format!("{}; the change still waits", told(&error)))
    })?;
    let outcome = Outcome {
        reports: Vec::new(),
        ending: Ending::Complete,
    };
    out.result(
        || render::outcome::pending(&record, within),
        || {
            render::outcome::json(
                &Plan::of(record.profile.clone(), Vec::new()),
                &outcome,
                Some(record.id),
                None,
            )
        },
    );
    Ok(0)
}

fn until(record: &Record) -> Duration {
    Duration::from_secs(record.deadline.map_or(0, |deadline| deadline.boottime))
}

/// Runs the watcher: sleeps until the change's time is over, and takes it back unless it was
/// confirmed, or taken back, or given more time.
pub(super) fn watch(args: &WatchPending, global: &Global) -> anyhow::Result<u8> {
    if args.detach {
        leave_session();
        out::raw(READY);
        close_stdout()?;
    }
    let root = place::root(global)?;
    let journal = change::journal(&root);
    loop {
        let record = journal.read_one(args.id)?;
        if !record.standing.is_unfinished() {
            return Ok(0);
        }
        if host::read_boottime()? < until(&record) {
            host::wait_until_boottime(until(&record).as_secs());
            continue;
        }
        let _lock = Lock::take_within(&state::directory(&root), PATIENCE, &|| false)?;
        // Whoever had the lock may have confirmed it, or given it more time.
        let record = journal.read_one(args.id)?;
        if record.standing.is_unfinished() && host::read_boottime()? >= until(&record) {
            let taken = take_back(args.id, &root, Standing::Expired)?;
            return Ok(if taken.standing == Standing::Left {
                LEFT
            } else {
                0
            });
        }
    }
}

/// Puts back what a change did that was not confirmed, and says how it stands then. The lock is
/// held.
fn take_back(id: u64, root: &Root, standing: Standing) -> anyhow::Result<Record> {
    let journal = change::journal(root);
    let mut record = journal.read_one(id).map_err(change::journal_failure)?;
    if !record.standing.is_unfinished() {
        return Ok(record);
    }
    let mut target = Running::new(root.clone());
    let back = way_back(&record, &present(&record, &mut target));
    let mut undo = Record::new(&back.plan, record.occasion.clone(), None);
    undo.left = back.kept;
    let outcome = carry_back(
        &mut undo,
        &mut Crew {
            target: &mut target,
            journal: &mut Unwritten,
            stop: &|| None,
            progress: &mut |_, _| {},
            looked_at: &mut |_| {},
        },
    );
    clear_up(&record, &mut target);
    record.left = undo.left;
    record.standing = match outcome.ending {
        Ending::Complete => standing,
        _ => Standing::Left,
    };
    journal.mark(&record).map_err(change::journal_failure)?;
    Ok(record)
}

/// A way back within a change is told of by the change's own record.
pub(super) struct Unwritten;

impl Journal for Unwritten {
    fn progress(&mut self, _: &Record) -> Result<(), JournalError> {
        Ok(())
    }

    fn end(&mut self, _: &Record) -> Result<(), JournalError> {
        Ok(())
    }
}
