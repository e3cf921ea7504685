//! `cttune rollback`: undoes what the journal holds, without profile or network.

use super::args::{Global, Rollback};
use super::change;
use super::failure::{FAILED, Failure};
use super::out::{self, Out};
use super::prompt::{self, Answer};
use super::survey::{self, Survey};
use crate::apply::journal::Folder;
use crate::apply::{Crew, Running, Signals, carry_back, present};
use crate::files::Root;
use crate::kernel::host;
use crate::plan::{Ending, Origin, Outcome, Plan, Record, Report, Standing, WayBack, way_back};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Rollback, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = survey::root(global)?;
    let signals = Signals::catch()?;
    let journal = change::journal(&root);
    // Read before the lock, so that somebody without the right to either is told so plainly.
    journal.read().map_err(change::journal_failure)?;
    let _lock = change::lock(&root, args.wait.as_deref(), &|| signals.caught())?;
    let records = journal.read().map_err(change::journal_failure)?;
    let undone = select(args, &records)?;
    for record in &undone {
        belongs_here(record, global, &root)?;
    }
    if !args.yes && out::is_interactive() {
        let mut target = Running::new(root.clone());
        for record in &undone {
            let back = way_back(record, &present(record, &mut target));
            out.question(&render::outcome::way_back(record, &back));
        }
        match prompt::ask_plainly("Put it back? [y/N]", &signals)? {
            Answer::Stopped(signal) => return Ok(signal.exit_code()),
            Answer::Yes => {}
            _ => return Err(Failure::new(FAILED, "nothing was changed").into()),
        }
    }
    let mut whole = Whole::default();
    for record in undone {
        let code = whole.add(record, args, global, &root, &journal, out)?;
        if code.is_some() {
            break;
        }
    }
    out.result(
        || render::outcome::put_back(&whole.outcome(), whole.id),
        || render::outcome::json(&whole.plan(), &whole.outcome(), whole.id),
    );
    match whole.last {
        Some(record) => change::end(&whole.ended, &record, false, out),
        None => Ok(0),
    }
}

/// The records to undo, newest first.
fn select(args: &Rollback, records: &[Record]) -> anyhow::Result<Vec<Record>> {
    let in_force = |record: &&Record| record.standing.can_be_rolled_back();
    let find = |id: u64| {
        records
            .iter()
            .find(|record| record.id == id)
            .ok_or_else(|| {
                Failure::new(
                    FAILED,
                    format!("the journal has no change {id}; nothing was changed"),
                )
                .hint("`cttune history` lists them")
            })
    };
    if let Some(to) = args.to {
        find(to)?;
        let after = records.iter().rev().filter(|record| record.id > to);
        return Ok(after
            .filter(in_force)
            .filter(|r| r.origin == Origin::Apply)
            .cloned()
            .collect());
    }
    if let Some(id) = args.id {
        let record = find(id)?;
        if !in_force(&record) {
            let message = format!(
                "change {id} is {} already; nothing was changed",
                record.standing.name()
            );
            return Err(Failure::new(FAILED, message).into());
        }
        return Ok(vec![record.clone()]);
    }
    let last = records
        .iter()
        .rev()
        .find(|r| r.origin == Origin::Apply && in_force(r));
    match last {
        Some(last) => Ok(vec![last.clone()]),
        None => Err(Failure::new(
            FAILED,
            "the journal has no change to undo; nothing was changed",
        )
        .hint("`cttune history` lists what was done")
        .into()),
    }
}

/// Refuses to put values of one place back in another.
fn belongs_here(record: &Record, global: &Global, root: &Root) -> anyhow::Result<()> {
    let made = &record.occasion;
    if made.root != root.base() {
        let message = format!(
            "change {} was made below {}",
            record.id,
            made.root.display()
        );
        return Err(Failure::new(FAILED, message)
            .hint(format!("add --root {}", made.root.display()))
            .into());
    }
    let same_boot = made.boot_id == host::read_boot_id()?;
    let elsewhere = match (made.netns_inode, host::read_netns_inode()) {
        (Some(then), Some(now)) => same_boot && then != now,
        _ => false,
    };
    if made.netns == global.netns && !elsewhere {
        return Ok(());
    }
    let message = format!("change {} was made in another network namespace", record.id);
    Err(
        Failure::new(FAILED, format!("{message}; nothing was changed"))
            .maybe_hint(
                made.netns
                    .as_ref()
                    .map(|netns| format!("add --netns {netns}")),
            )
            .into(),
    )
}

/// What several rollbacks came to.
struct Whole {
    steps: Vec<crate::plan::Step>,
    reports: Vec<Report>,
    ended: Outcome,
    id: Option<u64>,
    last: Option<Record>,
}

impl Default for Whole {
    fn default() -> Self {
        let ended = Outcome {
            reports: Vec::new(),
            ending: Ending::Complete,
        };
        Whole {
            steps: Vec::new(),
            reports: Vec::new(),
            ended,
            id: None,
            last: None,
        }
    }
}

impl Whole {
    fn plan(&self) -> Plan {
        Plan::of("rollback", self.steps.clone())
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            reports: self.reports.clone(),
            ending: self.ended.ending.clone(),
        }
    }

    /// Undoes one more change. Gives something if it is to be the last.
    fn add(
        &mut self,
        undone: Record,
        args: &Rollback,
        global: &Global,
        root: &Root,
        journal: &Folder,
        out: Out,
    ) -> anyhow::Result<Option<()>> {
        let mut target = Running::new(root.clone());
        let back = way_back(&undone, &present(&undone, &mut target));
        refuse_conflicts(&undone, &back, args)?;
        let survey = Survey::take(global, root)?;
        let mut record = Record::new(
            &back.plan,
            survey::occasion(global, root)?,
            survey.live.as_ref(),
        );
        record.origin = Origin::Rollback;
        record.undoes = Some(undone.id);
        record.folders.clone_from(&undone.folders);
        record.left = back.kept;
        if record.steps.is_empty() && record.left.is_empty() {
            return mark(undone, Standing::RolledBack, journal).map(|()| None);
        }
        let mut page = journal
            .begin(&mut record)
            .map_err(change::journal_failure)?;
        let outcome = carry_back(
            &mut record,
            &mut Crew {
                target: &mut target,
                journal: &mut page,
                // A way back is short, and worse when it is left half-way: it is gone to its end.
                stop: &|| None,
                progress: &mut |step, report| {
                    out.progress(&render::outcome::step_line(step, report));
                },
            },
        );
        self.steps.extend(record.steps.clone());
        self.reports.extend(outcome.reports.clone());
        self.id = Some(record.id);
        self.ended = outcome;
        let complete = self.ended.ending == Ending::Complete;
        if complete {
            if let (Origin::Rollback, Some(redone)) = (undone.origin, undone.undoes) {
                mark(
                    journal.read_one(redone).map_err(change::journal_failure)?,
                    Standing::Complete,
                    journal,
                )?;
            }
            mark(undone, Standing::RolledBack, journal)?;
        }
        self.last = Some(record);
        Ok((!complete).then_some(()))
    }
}

fn mark(mut record: Record, standing: Standing, journal: &Folder) -> anyhow::Result<()> {
    record.standing = standing;
    journal
        .rewrite(&record)
        .map_err(|error| change::journal_failure(error).into())
}

fn refuse_conflicts(record: &Record, back: &WayBack, args: &Rollback) -> anyhow::Result<()> {
    if back.conflicts.is_empty() || args.overwrite_changed {
        return Ok(());
    }
    let mut failure = Failure::new(FAILED, format!("change {} was not undone", record.id));
    failure
        .messages
        .extend(back.conflicts.iter().map(ToString::to_string));
    Err(failure
        .hint(
            "--overwrite-changed puts the old values back all the same; a later change of cttune's \
             is undone first: `cttune history`",
        )
        .into())
}
