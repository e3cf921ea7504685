//! `cttune rollback`: undoes what the journal holds, without profile or network.

use super::args::{Global, Rollback};
use super::change;
use super::confirm::Unwritten;
use super::failure::{FAILED, Failure, LEFT, declined};
use super::out::{self, Out};
use super::place;
use super::prompt::{self, Answer};
use crate::change::journal::{Damage, Folder, Journal};
use crate::change::{Crew, Running, Signals, carry_back, clear_up, folders_to_make, present};
use crate::diagnostic::Hint;
use crate::files::Root;
use crate::kernel::sysctl;
use crate::plan::{
    Ending, Origin, Outcome, Plan, Present, Record, Report, Standing, WayBack, way_back,
};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Rollback, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = place::root(global)?;
    let signals = Signals::catch()?;
    let journal = change::journal(&root);
    // Read before the lock, so that somebody without the right to either is told so plainly.
    journal.read_whole_ones().map_err(change::journal_failure)?;
    let _lock = change::lock(&root, args.wait.as_deref(), &|| signals.caught())?;
    change::settle(&root, global, Some(0));
    let (records, damaged) = journal.read_whole_ones().map_err(change::journal_failure)?;
    let undone = select(args, global, &root, &records);
    refuse_damage(undone.as_deref().ok(), args, damaged)?;
    let undone = undone?;
    for record in &undone {
        change::belongs_here(record, global, &root)?;
    }
    let ways = ways_back(&undone, &root);
    refuse_conflicts(&ways, args)?;
    if !args.yes && out::is_interactive() {
        for (record, back) in &ways {
            out.question(&render::outcome::way_back(record, back));
        }
        match prompt::ask_plainly("Put it back? [y/N]", &signals)? {
            Answer::Stopped(signal) => return Ok(signal.exit_code()),
            Answer::Yes => {}
            _ => return Err(declined().into()),
        }
    }
    if undone.iter().any(Record::is_about_flows) {
        out.note("flows are left alone: each gets its timeout back at its next packet");
    }
    let mut whole = Whole::default();
    for record in undone {
        whole.add(record, global, &root, out)?;
        if whole.ended.ending != Ending::Complete {
            break;
        }
    }
    out.result(
        || render::outcome::put_back(&whole.outcome(), whole.id, &place::of(global)),
        || render::outcome::json(&whole.plan(), &whole.outcome(), whole.id, None),
    );
    match whole.last {
        Some(record) => change::end(&whole.ended, &record, false),
        None => Ok(0),
    }
}

/// The way back from each of these changes, newest first, each from where the one before it leads.
fn ways_back(undone: &[Record], root: &Root) -> Vec<(Record, WayBack)> {
    let mut target = Running::new(root.clone());
    let mut holds = Present::default();
    for record in undone {
        let present = present(record, &mut target);
        holds.values.extend(present.values);
        holds.unread.extend(present.unread);
        holds.files.extend(present.files);
        holds.count = present.count;
    }
    let mut ways = Vec::new();
    for record in undone {
        let back = way_back(record, &holds);
        holds = holds.after(&back.plan);
        ways.push((record.clone(), back));
    }
    ways
}

/// The records to undo, newest first.
fn select(
    args: &Rollback,
    global: &Global,
    root: &Root,
    records: &[Record],
) -> anyhow::Result<Vec<Record>> {
    let in_force = |record: &&Record| record.standing.can_be_rolled_back();
    // Without a number only what was changed here is meant.
    let to_undo = |record: &&Record| {
        record.origin == Origin::Apply && in_force(record) && change::is_of(record, global, root)
    };
    let find = |id: u64| {
        records
            .iter()
            .find(|record| record.id == id)
            .ok_or_else(|| {
                Failure::new(FAILED, format!("the journal has no change {id}"))
                    .unchanged()
                    .hint(Hint::cttune("history").to("see all changes"))
            })
    };
    if let Some(to) = args.to {
        find(to)?;
        let after = records.iter().rev().filter(|record| record.id > to);
        return Ok(after.filter(to_undo).cloned().collect());
    }
    if let Some(id) = args.id {
        let record = find(id)?;
        if !in_force(&record) {
            let message = format!("change {id} is {} already", record.standing.name());
            return Err(Failure::new(FAILED, message).unchanged().into());
        }
        return Ok(vec![record.clone()]);
    }
    match records.iter().rfind(to_undo) {
        Some(last) => Ok(vec![last.clone()]),
        None => Err(Failure::new(FAILED, "the journal has no change to undo")
            .unchanged()
            .hint(Hint::cttune("history").to("see all changes"))
            .into()),
    }
}

/// Refuses where a damaged record may be of a change that was made after the oldest one that is
/// undone, or be the very one that is meant. An older one is in nobody's way.
fn refuse_damage(
    undone: Option<&[Record]>,
    args: &Rollback,
    damaged: Vec<Damage>,
) -> anyhow::Result<()> {
    let asked = args.id.or(args.to);
    let oldest = undone.and_then(|undone| undone.iter().map(|record| record.id).min());
    for (id, error) in damaged {
        if oldest.is_none_or(|oldest| id > oldest) || asked.is_some_and(|asked| id >= asked) {
            return Err(change::journal_failure(error).into());
        }
    }
    Ok(())
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

    /// Undoes one more change.
    fn add(
        &mut self,
        undone: Record,
        global: &Global,
        root: &Root,
        out: Out,
    ) -> anyhow::Result<()> {
        let journal = change::journal(root);
        let mut target = Running::new(root.clone());
        let back = way_back(&undone, &present(&undone, &mut target));
        let live = root
            .is_machine()
            .then(|| sysctl::read_snapshot().ok())
            .flatten();
        let mut record = Record::new(&back.plan, place::occasion(global, root)?, live.as_ref());
        record.origin = Origin::Rollback;
        record.undoes = Some(undone.id);
        record.left = back.kept;
        if record.steps.is_empty() && record.left.is_empty() {
            clear_up(&undone, &mut target);
            mark_undone(undone, &journal)?;
            // A rollback of it that was interrupted is done with as well.
            change::settle(root, global, None);
            return Ok(());
        }
        record.folders = folders_to_make(&back.plan, &mut target);
        let mut page: Box<dyn Journal> = match journal.begin(&mut record) {
            Ok(page) => Box::new(page),
            // On a full disk the way back matters more than the way back from it; a kill leaves
            // the change itself in force, to be rolled back again.
            Err(error) if error.is_full() => {
                out.note(&format!(
                    "note: {error}: this rollback cannot be undone itself"
                ));
                Box::new(Unwritten)
            }
            Err(error) => return Err(change::journal_failure(error).into()),
        };
        let outcome = carry_back(
            &mut record,
            &mut Crew {
                target: &mut target,
                journal: page.as_mut(),
                // A way back is short, and worse when it is left half-way: it is gone to its end.
                stop: &|| None,
                progress: &mut |step, report| {
                    out.progress(&render::outcome::step_line(step, report));
                },
                looked_at: &mut |_| {},
            },
        );
        clear_up(&undone, &mut target);
        self.steps.extend(record.steps.clone());
        self.reports.extend(outcome.reports.clone());
        self.id = (record.id > 0).then_some(record.id);
        self.ended = outcome;
        if self.ended.ending == Ending::Complete {
            mark_undone(undone, &journal)?;
        } else if undone.standing == Standing::Pending {
            // Its watcher would only try again what cannot be done.
            mark(undone, Standing::Left, &journal)?;
        }
        change::settle(root, global, self.id);
        self.last = Some(record);
        Ok(())
    }
}

/// Writes down that a change was undone. If it was itself a rollback, what that undid holds again;
/// and so on, to the apply at the bottom.
fn mark_undone(undone: Record, journal: &Folder) -> anyhow::Result<()> {
    let mut below = undone.undoes;
    let mut standing = Standing::RolledBack;
    mark(undone, standing, journal)?;
    while let Some(id) = below {
        standing = match standing {
            Standing::RolledBack => Standing::Complete,
            _ => Standing::RolledBack,
        };
        // Old records are not kept for ever.
        let Ok(record) = journal.read_one(id) else {
            break;
        };
        below = record.undoes;
        mark(record, standing, journal)?;
    }
    Ok(())
}

fn mark(mut record: Record, standing: Standing, journal: &Folder) -> anyhow::Result<()> {
    record.standing = standing;
    journal.mark(&record).map_err(|error| {
        let message = format!(
            "change {} was put back, but {error}: `cttune history` does not show it",
            record.id
        );
        Failure::new(LEFT, message).into()
    })
}

fn refuse_conflicts(ways: &[(Record, WayBack)], args: &Rollback) -> anyhow::Result<()> {
    let mut conflicts = ways
        .iter()
        .flat_map(|(record, back)| back.conflicts.iter().map(move |one| (record.id, one)))
        .peekable();
    let Some((id, _)) = conflicts.peek().filter(|_| !args.overwrite_changed) else {
        return Ok(());
    };
    let mut failure = Failure::new(
        FAILED,
        format!("change {id} cannot be undone as it was made"),
    )
    .unchanged();
    let reasons = conflicts.map(|(_, one)| one.to_string());
    failure.messages.extend(reasons);
    Err(failure
        .hint(
            Hint::say("--overwrite-changed restores the old values all the same")
                .and(Hint::cttune("history").to("undo a later change first")),
        )
        .into())
}
