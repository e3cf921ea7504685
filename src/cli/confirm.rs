//! `cttune confirm`, and what becomes of a change that nobody confirms.
//!
//! Until it is confirmed a change is about the running kernel alone, so that a power cycle takes
//! it back as well. A watcher that outlives the terminal takes it back when its time is over.

use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::{Apply, Confirm, Global, WatchPending};
use super::failure::{FAILED, Failure};
use super::out::{self, Out};
use super::{change, survey};
use crate::apply::journal::{Folder, Journal};
use crate::apply::{
    Crew, Lock, Running, Signals, arm_watcher, carry_back, carry_out, carry_out_until, present,
};
use crate::files::{Root, state};
use crate::kernel::host;
use crate::plan::{Deadline, Ending, Outcome, Plan, Record, Signal, Standing, way_back};
use crate::render;

/// Time that the watcher gives a lock holder before it looks again.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Carries out the live steps of a change and leaves the rest to `confirm`.
#[allow(clippy::too_many_arguments)] // one call, from apply, which has all of it at hand
pub(super) fn apply(
    mut record: Record,
    within: Duration,
    args: &Apply,
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
    if let Err(error) = arm_watcher(record.id, within, &state::directory(root)) {
        record.standing = Standing::Undone;
        let _ = page.end(&record);
        return Err(Failure::new(FAILED, format!("{error:#}; nothing was changed")).into());
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
        },
    );
    drop(lock);
    let plan = record.plan();
    let id = outcome.changed().then_some(record.id);
    let pending = outcome.ending == Ending::Complete;
    out.result(
        || {
            if pending {
                render::outcome::pending(&record, within)
            } else {
                render::outcome::text(&plan, &outcome, id)
            }
        },
        || render::outcome::json(&plan, &outcome, id),
    );
    if pending && !args.yes && out::is_interactive() {
        return keep_asking(&record, root, signals, out);
    }
    change::end(&outcome, &record, args.detailed_exitcode, out)
}

fn deadline(within: Duration) -> anyhow::Result<Deadline> {
    let now = host::read_boottime()?;
    // Rounded up: the operator gets no less than was promised.
    let until = (now + within).as_secs() + u64::from((now + within).subsec_nanos() > 0);
    Ok(Deadline {
        boottime: until,
        within: within.as_secs(),
    })
}

/// Waits for Enter, which confirms; for Ctrl-C, which takes the change back at once; or for the
/// end of its time, or a `confirm` elsewhere. A terminal that hangs up leaves it to the watcher.
fn keep_asking(record: &Record, root: &Root, signals: &Signals, out: Out) -> anyhow::Result<u8> {
    out.question("Press Enter to keep it, Ctrl-C to take it back now\n");
    let stdin = io::stdin();
    loop {
        match signals.caught() {
            Some(Signal::Interrupt | Signal::Terminate) => {
                let _lock = change::lock(root, Some("1h"), &|| None)?;
                take_back(record.id, &change::journal(root), root, Standing::Undone)?;
                out.note("taken back; everything is as it was");
                return Ok(signals.caught().map_or(FAILED, Signal::exit_code));
            }
            Some(Signal::HangUp) => return Ok(Signal::HangUp.exit_code()),
            None => {}
        }
        let now = change::journal(root)
            .read_one(record.id)
            .map_err(change::journal_failure)?;
        match now.standing {
            Standing::Pending => {}
            Standing::Complete => {
                out.note("confirmed elsewhere");
                return Ok(0);
            }
            _ => {
                return Err(Failure::new(
                    FAILED,
                    "nobody confirmed it in time; everything is as it was",
                )
                .into());
            }
        }
        let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(500u16)).unwrap_or(0) == 0 {
            continue;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line).unwrap_or(0) == 0 {
            return Ok(Signal::HangUp.exit_code());
        }
        return confirm(root, None, signals, out);
    }
}

/// Runs `cttune confirm`.
pub(super) fn run(args: &Confirm, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = survey::root(global)?;
    confirm(&root, args.wait.as_deref(), &Signals::catch()?, out)
}

fn confirm(root: &Root, wait: Option<&str>, signals: &Signals, out: Out) -> anyhow::Result<u8> {
    let journal = change::journal(root);
    journal.newest().map_err(change::journal_failure)?;
    let _lock = change::lock(root, wait, &|| signals.caught())?;
    let Some(mut record) = pending(&journal)? else {
        return Err(none_pending(&journal).into());
    };
    if host::read_boottime()? >= until(&record) {
        return Err(
            Failure::new(FAILED, "its time is over: the change is being taken back")
                .hint("apply it again, with more time")
                .into(),
        );
    }
    let mut page = journal.page(record.id).map_err(change::journal_failure)?;
    let plan = record.plan();
    // From here on a kill leaves an interrupted change, which the journal can put back whole.
    record.standing = Standing::Begun;
    page.progress(&record).map_err(change::journal_failure)?;
    let mut outcome = carry_out(
        &mut record,
        &mut Crew {
            target: &mut Running::new(root.clone()),
            journal: &mut page,
            stop: &|| signals.caught(),
            progress: &mut |step, report| out.progress(&render::outcome::step_line(step, report)),
        },
    );
    // The live steps were reported when they were made.
    let held = plan.steps.len() - outcome.reports.len();
    let mut shown = plan.clone();
    shown.steps.drain(..held);
    let id = Some(record.id);
    out.result(
        || render::outcome::text(&shown, &outcome, id),
        || render::outcome::json(&shown, &outcome, id),
    );
    if outcome.ending == Ending::Complete {
        outcome.reports.clear();
    }
    change::end(&outcome, &record, false, out)
}

fn none_pending(journal: &Folder) -> Failure {
    let newest = journal.newest().ok().flatten();
    let why = match newest.map(|record| (record.id, record.standing)) {
        Some((id, Standing::Expired)) => {
            format!("change {id} was not confirmed in time and was taken back; apply it again")
        }
        Some((id, Standing::Rebooted)) => {
            format!("change {id} was never confirmed, and a reboot took it back; apply it again")
        }
        _ => "no change waits to be confirmed".to_owned(),
    };
    Failure::new(FAILED, why)
}

/// The change that waits for confirmation, if one does. One of another boot is gone with it, and
/// is marked so. The lock is held.
pub(super) fn pending(journal: &Folder) -> anyhow::Result<Option<Record>> {
    let records = journal.read().map_err(change::journal_failure)?;
    let Some(mut record) = records
        .into_iter()
        .rev()
        .find(|r| r.standing == Standing::Pending)
    else {
        return Ok(None);
    };
    if record.occasion.boot_id == host::read_boot_id()? {
        return Ok(Some(record));
    }
    record.standing = Standing::Rebooted;
    journal.rewrite(&record).map_err(change::journal_failure)?;
    Ok(None)
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
        && plan.steps.iter().all(|step| step.file().is_some());
    let (Some(within), true) = (within, is_same) else {
        let message = format!(
            "change {} waits to be confirmed; nothing was changed",
            record.id
        );
        return Err(Failure::new(FAILED, message)
            .hint("`cttune confirm` keeps it, `cttune rollback` takes it back")
            .into());
    };
    record.deadline = Some(deadline(within)?);
    change::journal(root)
        .rewrite(&record)
        .map_err(change::journal_failure)?;
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
        // Out of reach of the terminal's signals; it fails only for who leads a session already.
        let _ = nix::unistd::setsid();
    }
    let root = survey::root(global)?;
    let journal = change::journal(&root);
    loop {
        let record = journal.read_one(args.id)?;
        if !matches!(record.standing, Standing::Pending | Standing::Begun) {
            return Ok(0);
        }
        if host::read_boottime()? < until(&record) {
            host::wait_until_boottime(until(&record).as_secs());
            continue;
        }
        let _lock = Lock::take_within(&state::directory(&root), PATIENCE, &|| false)?;
        // Whoever had the lock may have confirmed it, or given it more time.
        let record = journal.read_one(args.id)?;
        let is_over = host::read_boottime()? >= until(&record);
        match record.standing {
            Standing::Pending | Standing::Begun if is_over => {
                return take_back(args.id, &journal, &root, Standing::Expired);
            }
            _ => {}
        }
    }
}

/// Puts back what a change did that was not confirmed. The lock is held.
fn take_back(id: u64, journal: &Folder, root: &Root, standing: Standing) -> anyhow::Result<u8> {
    let mut record = journal.read_one(id).map_err(change::journal_failure)?;
    if !matches!(record.standing, Standing::Pending | Standing::Begun) {
        return Ok(0);
    }
    let mut target = Running::new(root.clone());
    let back = way_back(&record, &present(&record, &mut target));
    let mut undo = Record::new(&back.plan, record.occasion.clone(), None);
    undo.folders.clone_from(&record.folders);
    undo.left = back.kept;
    let outcome = carry_back(
        &mut undo,
        &mut Crew {
            target: &mut target,
            journal: &mut Unwritten,
            stop: &|| None,
            progress: &mut |_, _| {},
        },
    );
    record.left = undo.left;
    let complete = outcome.ending == Ending::Complete;
    record.standing = if complete { standing } else { Standing::Left };
    journal.rewrite(&record).map_err(change::journal_failure)?;
    Ok(if complete { 0 } else { super::failure::LEFT })
}

/// A way back within a change is told of by the change's own record.
struct Unwritten;

impl Journal for Unwritten {
    fn progress(&mut self, _: &Record) -> Result<(), crate::apply::journal::JournalError> {
        Ok(())
    }

    fn end(&mut self, _: &Record) -> Result<(), crate::apply::journal::JournalError> {
        Ok(())
    }
}
