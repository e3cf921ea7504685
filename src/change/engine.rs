//! Carries a plan out, and undoes what was done when a step fails or a signal comes.

use std::path::{Path, PathBuf};

use super::expire::{ExpireError, Hands};
use super::journal::Journal;
use super::target::{Target, TargetError};
use crate::diagnostic::Advise;
use crate::kernel::sysctl::WriteError;
use crate::plan::{
    Cause, ENTRIES_PER_BUCKET, Ending, Outcome, Plan, Present, Record, Report, Signal, Standing,
    Step, StepResult, cuts_flows_off, way_back,
};
use crate::profile::ExpireParameters;
use crate::tunable::Key;

/// What a change is carried out with.
pub(crate) struct Crew<'a> {
    /// What it acts upon.
    pub(crate) target: &'a mut dyn Target,
    /// Where it is written down before it is made.
    pub(crate) journal: &'a mut dyn Journal,
    /// Asked between any two steps: did a signal come?
    pub(crate) stop: &'a dyn Fn() -> Option<Signal>,
    /// Told of each step.
    pub(crate) progress: &'a mut dyn FnMut(&Step, &Report),
    /// Told how many flows were looked at, while a step is about them.
    pub(crate) looked_at: &'a mut dyn FnMut(u64),
}

impl Crew<'_> {
    /// What is acted upon, and what flows are changed with.
    fn at_flows(&mut self) -> (&mut dyn Target, Hands<'_>) {
        let hands = Hands {
            stop: self.stop,
            progress: self.looked_at,
        };
        (self.target, hands)
    }
}

/// Carries the steps of a record out in order, from the first that was not reached.
///
/// A step that fails, or a signal, undoes the steps before it, last first; so does a journal that
/// cannot be kept. One failure does not: where the kernel finds no memory for a larger hash table,
/// max is capped at what the present one can bear, and the rest goes on.
pub(crate) fn carry_out(record: &mut Record, crew: &mut Crew<'_>) -> Outcome {
    carry_out_until(record, record.steps.len(), Standing::Complete, crew)
}

/// Carries out the steps before `end` alone; the record then stands as `reached` says.
pub(crate) fn carry_out_until(
    record: &mut Record,
    end: usize,
    reached: Standing,
    crew: &mut Crew<'_>,
) -> Outcome {
    let first = record.reached();
    let mut engine = Engine {
        crew,
        unresized: None,
        stays: None,
    };
    let mut reports = Vec::new();
    let mut broken_off = engine.look_at_flows(record.steps.get(first..end).unwrap_or_default());
    for index in first..end {
        if broken_off.is_some() {
            break;
        }
        if let Some(signal) = (engine.crew.stop)() {
            broken_off = Some(Cause::Signal(signal));
            break;
        }
        let Some(step) = record.steps.get(index).cloned() else {
            break;
        };
        let (report, cause) = engine.step(&step);
        (engine.crew.progress)(&step, &report);
        broken_off = cause.or_else(|| engine.note(record, index, &report));
        reports.push(report);
        if broken_off.is_some() {
            break;
        }
    }
    let ending = match (broken_off, engine.unresized.take()) {
        (Some(cause), _) => engine.undo(record, cause, &mut reports),
        (None, unresized) => {
            record.left.extend(unresized.clone());
            record.standing = match reached {
                // What the first part of a change left is told of at its end too.
                Standing::Complete if !record.left.is_empty() => Standing::Partly,
                reached => reached,
            };
            unresized.map_or(Ending::Complete, Ending::Partly)
        }
    };
    // The change is made or undone: a journal that cannot say so any more is cleared up by the
    // next run, which compares it with what holds.
    let _ = engine.crew.journal.end(record);
    reports.resize(
        end - first,
        Report {
            result: StepResult::Skipped,
            note: None,
        },
    );
    Outcome { reports, ending }
}

/// Carries out a way back: goes past single failures, and never lowers max below what the table
/// holds. What could not be put back is in the record's `left`.
pub(crate) fn carry_back(record: &mut Record, crew: &mut Crew<'_>) -> Outcome {
    let mut engine = Engine {
        crew,
        unresized: None,
        stays: None,
    };
    let mut reports = Vec::new();
    for index in 0..record.steps.len() {
        let Some(step) = record.steps.get(index).cloned() else {
            break;
        };
        let report = match engine.put_back(&step) {
            Ok(()) => Report {
                result: StepResult::Done,
                note: None,
            },
            Err(why) => {
                record.left.push(why.clone());
                Report {
                    result: StepResult::Failed,
                    note: Some(why),
                }
            }
        };
        (engine.crew.progress)(&step, &report);
        // Going on matters more than the journal here: what it lacks, the next run finds out.
        let _ = engine.note(record, index, &report);
        reports.push(report);
    }
    record.standing = if record.left.is_empty() {
        Standing::Complete
    } else {
        Standing::Partly
    };
    let _ = engine.crew.journal.end(record);
    let ending = match record.left.as_slice() {
        [] => Ending::Complete,
        left => {
            let message = format!("{} could not be put back", things(left.len()));
            Ending::Left(
                Cause::Failed {
                    message,
                    hint: None,
                },
                left.to_vec(),
            )
        }
    };
    Outcome { reports, ending }
}

/// A number of things, in words.
pub(super) fn things(number: usize) -> String {
    if number == 1 {
        "1 thing".to_owned()
    } else {
        format!("{number} things")
    }
}

struct Engine<'a, 'b> {
    crew: &'a mut Crew<'b>,
    /// Why the hash table kept its size, if it should have grown.
    unresized: Option<String>,
    /// What was done to flows and cannot be undone.
    stays: Option<String>,
}

impl Engine<'_, '_> {
    /// Looks at flows before the timeouts change, if they are to be brought under them at the end.
    fn look_at_flows(&mut self, steps: &[Step]) -> Option<Cause> {
        let parameters = steps.iter().find_map(|step| match step {
            Step::Expire { parameters, .. } => Some(parameters),
            _ => None,
        })?;
        let (target, mut hands) = self.crew.at_flows();
        let looked = target.look_at_flows(parameters, &mut hands);
        looked.err().map(|error| self.cause(&error))
    }

    fn cause(&mut self, error: &TargetError) -> Cause {
        if let TargetError::Expire { source, changed } = error {
            if *changed > 0 {
                self.stays = Some(format!(
                    "{changed} flows keep the shorter time that they were given, until their next \
                     packet"
                ));
            }
            if let ExpireError::Stopped(signal) = source {
                return Cause::Signal(*signal);
            }
        }
        Cause::Failed {
            message: error.to_string(),
            hint: error.hint(),
        }
    }

    fn step(&mut self, step: &Step) -> (Report, Option<Cause>) {
        match self.act(step) {
            Ok(report) => (report, None),
            Err(error) if is_failed_resize(step, &error) => {
                self.unresized = Some(error.to_string());
                (
                    Report {
                        result: StepResult::Failed,
                        note: Some(error.to_string()),
                    },
                    None,
                )
            }
            Err(error) => {
                let report = Report {
                    result: StepResult::Failed,
                    note: Some(error.to_string()),
                };
                (report, Some(self.cause(&error)))
            }
        }
    }

    fn act(&mut self, step: &Step) -> Result<Report, TargetError> {
        let target = &mut *self.crew.target;
        match step {
            Step::LoadModule { .. } => target.load_module()?,
            Step::UnloadModule { .. } => target.unload_module()?,
            Step::WriteLive { key, to, .. } => return self.write(*key, *to),
            Step::WriteFile { path, to: None, .. } => target.remove_file(path)?,
            Step::WriteFile {
                path, to: Some(to), ..
            }
            | Step::EditLine { path, to, .. } => {
                target.replace_file(path, to)?;
            }
            Step::Expire { parameters, .. } => return self.expire(parameters),
        }
        Ok(Report {
            result: StepResult::Done,
            note: None,
        })
    }

    fn expire(&mut self, parameters: &ExpireParameters) -> Result<Report, TargetError> {
        let (target, mut hands) = self.crew.at_flows();
        let tally = target.expire(parameters, &mut hands)?;
        let result = match tally.selected() {
            0 => StepResult::Skipped,
            _ => StepResult::Done,
        };
        let refused = (tally.failed > 0).then(|| format!("the kernel refused {}", tally.failed));
        Ok(Report {
            result,
            note: refused,
        })
    }

    fn write(&mut self, key: Key, to: i64) -> Result<Report, TargetError> {
        let Some(before) = self.crew.target.read(key)? else {
            // Only after the module was loaded: this kernel turns out not to have the key.
            let note = Some("missing on this kernel".to_owned());
            return Ok(Report {
                result: StepResult::Skipped,
                note,
            });
        };
        let (to, note) = self.cap(key, before, to)?;
        if before == to {
            return Ok(Report {
                result: StepResult::Skipped,
                note,
            });
        }
        self.crew.target.write(key, to)?;
        Ok(Report {
            result: StepResult::Done,
            note,
        })
    }

    /// Caps max at what the hash table can bear, if that could not be resized.
    fn cap(
        &mut self,
        key: Key,
        before: i64,
        to: i64,
    ) -> Result<(i64, Option<String>), TargetError> {
        if key != Key::Max || self.unresized.is_none() || before == 0 {
            return Ok((to, None));
        }
        let buckets = self.crew.target.read(Key::Buckets)?.unwrap_or(0);
        let bearable = buckets.saturating_mul(ENTRIES_PER_BUCKET).max(before);
        if to <= bearable {
            return Ok((to, None));
        }
        Ok((
            bearable,
            Some(format!(
                "capped at {bearable}: {buckets} buckets bear no more"
            )),
        ))
    }

    /// Writes down how far the change has come; a journal that cannot be kept breaks it off.
    fn note(&mut self, record: &mut Record, index: usize, report: &Report) -> Option<Cause> {
        let letters = record.progress.chars().enumerate();
        let letter = Record::letter(report.result);
        record.progress = letters
            .map(|(at, known)| if at == index { letter } else { known })
            .collect();
        let error = self.crew.journal.progress(record).err()?;
        Some(Cause::Failed {
            message: error.to_string(),
            hint: error.hint(),
        })
    }

    /// Puts back whatever the record's steps changed, past single failures.
    fn undo(&mut self, record: &mut Record, cause: Cause, reports: &mut [Report]) -> Ending {
        let present = present(record, self.crew.target);
        let back = way_back(record, &present);
        let mut left = back.kept;
        for step in &back.plan.steps {
            left.extend(self.put_back(step).err());
        }
        clear_up(record, self.crew.target);
        left.extend(self.stays.take());
        if !left.is_empty() {
            record.standing = Standing::Left;
            record.left.extend(left.iter().cloned());
            return Ending::Left(cause, left);
        }
        record.standing = Standing::Undone;
        for report in reports
            .iter_mut()
            .filter(|report| report.result == StepResult::Done)
        {
            *report = Report {
                result: StepResult::Skipped,
                note: Some("undone".to_owned()),
            };
        }
        Ending::Undone(cause)
    }

    /// Puts one thing back, or says what is left and why.
    fn put_back(&mut self, step: &Step) -> Result<(), String> {
        let target = &mut *self.crew.target;
        let is_left = |what: String, error: TargetError| format!("{what}: {error}");
        match step {
            Step::UnloadModule { .. } => target
                .unload_module()
                .map_err(|error| is_left("the module nf_conntrack stays loaded".into(), error)),
            Step::LoadModule { .. } => target
                .load_module()
                .map_err(|error| is_left("the module nf_conntrack is not loaded".into(), error)),
            Step::WriteLive { key, to, .. } => put_value_back(*key, *to, target),
            Step::Expire { .. } => Ok(()),
            Step::WriteFile { path, to: None, .. } => target
                .remove_file(path)
                .map_err(|error| is_left(format!("{} is still there", path.display()), error)),
            Step::WriteFile {
                path, to: Some(to), ..
            }
            | Step::EditLine { path, to, .. } => put_file_back(path, to, target)
                .map_err(|error| is_left(format!("{} is not as it was", path.display()), error)),
        }
    }
}

/// Puts a file back whole; on a full disk where it stands: what was there before fits.
fn put_file_back(path: &Path, before: &[u8], target: &mut dyn Target) -> Result<(), TargetError> {
    match target.replace_file(path, before) {
        Err(error) if error.is_full() => target.overwrite_file(path, before),
        replaced => replaced,
    }
}

/// Removes what is left of a change that was put back: what a kill left beside its files, and the
/// folders that it made.
pub(crate) fn clear_up(record: &Record, target: &mut dyn Target) {
    let files: Vec<&Path> = record
        .steps
        .iter()
        .filter_map(|step| Some(step.file()?.path))
        .collect();
    target.clear_up(&files, &record.folders);
}

fn put_value_back(key: Key, before: i64, target: &mut dyn Target) -> Result<(), String> {
    let now = target.read(key).ok().flatten();
    if now == Some(before) {
        return Ok(());
    }
    // The table may have grown since the way back was worked out.
    let count = target.count().ok().flatten();
    if let Some(why) = cuts_flows_off(key, before, now.unwrap_or(i64::MAX), count) {
        return Err(why);
    }
    target.write(key, before).map_err(|error| {
        let now = target.read(key).ok().flatten();
        let now = now.map_or_else(|| "a value unread".to_owned(), |now| now.to_string());
        format!("{key} stays at {now} instead of {before}: {error}")
    })
}

/// The folders that a plan's files need and that do not exist, outermost first: its undo removes
/// them again.
pub(crate) fn folders_to_make(plan: &Plan, target: &mut dyn Target) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for change in plan.steps.iter().filter_map(Step::file) {
        for folder in target.missing_folders(change.path) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

/// Reads what holds now of everything that a record is about.
pub(crate) fn present(record: &Record, target: &mut dyn Target) -> Present {
    let mut present = Present {
        count: target.count().ok().flatten(),
        ..Present::default()
    };
    for step in &record.steps {
        if let Step::WriteLive { key, .. } = step {
            match target.read(*key) {
                Ok(Some(value)) => drop(present.values.insert(*key, value)),
                Ok(None) => {}
                Err(_) => drop(present.unread.insert(*key)),
            }
        }
        if let Some(change) = step.file()
            && let Ok(Some(bytes)) = target.read_file(change.path)
        {
            present.files.insert(change.path.to_owned(), bytes);
        }
    }
    present
}

fn is_failed_resize(step: &Step, error: &TargetError) -> bool {
    matches!(step, Step::WriteLive { key: Key::Buckets, from: Some(from), to, .. } if to > from)
        && matches!(error, TargetError::Write(WriteError::NoMemory { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use crate::change::journal::JournalError;
    use crate::plan::Occasion;
    use std::cell::Cell;

    fn live(key: Key, from: i64, to: i64) -> Step {
        Step::WriteLive {
            key,
            from: Some(from),
            to,
            why: String::new(),
        }
    }

    fn file(path: &str, from: Option<&str>, to: &str) -> Step {
        Step::WriteFile {
            path: path.into(),
            from: from.map(|text| text.as_bytes().to_vec()),
            to: Some(to.as_bytes().to_vec()),
            why: String::new(),
        }
    }

    fn plan(steps: Vec<Step>) -> Plan {
        Plan::of("test", steps)
    }

    fn machine() -> Fake {
        Fake {
            values: [
                (Key::Max, 65536),
                (Key::Buckets, 16384),
                (Key::TcpTimeoutEstablished, 432_000),
                (Key::UdpTimeout, 30),
            ]
            .into(),
            files: [(
                "/etc/sysctl.conf".into(),
                b"net.netfilter.nf_conntrack_max=1\n".to_vec(),
            )]
            .into(),
            count: 1000,
            is_loaded: true,
            ..Fake::default()
        }
    }

    fn long_plan() -> Plan {
        plan(vec![
            live(Key::Buckets, 16384, 65536),
            live(Key::Max, 65536, 262_144),
            live(Key::TcpTimeoutEstablished, 432_000, 7440),
            live(Key::UdpTimeout, 30, 120),
            file("/etc/sysctl.d/90-cttune.conf", None, "ours\n"),
            Step::EditLine {
                path: "/etc/sysctl.conf".into(),
                lines: vec![1],
                from: b"net.netfilter.nf_conntrack_max=1\n".to_vec(),
                to: b"# net.netfilter.nf_conntrack_max=1\n".to_vec(),
                why: String::new(),
            },
            file("/etc/cttune/active.toml", None, "active\n"),
        ])
    }

    /// A journal on paper that does not run out.
    struct Paper;

    impl Journal for Paper {
        fn progress(&mut self, _: &Record) -> Result<(), JournalError> {
            Ok(())
        }

        fn end(&mut self, _: &Record) -> Result<(), JournalError> {
            Ok(())
        }
    }

    fn record(plan: &Plan) -> Record {
        let occasion = Occasion {
            time: "2026-11-23T12:00:00Z".into(),
            boot_id: "boot".into(),
            host: "host".into(),
            kernel: "6.18".into(),
            netns: None,
            netns_inode: Some(1),
            root: "/".into(),
        };
        Record::new(plan, occasion, None)
    }

    fn run_until(plan: &Plan, machine: &mut Fake, stop: &dyn Fn() -> Option<Signal>) -> Outcome {
        let mut crew = Crew {
            target: machine,
            journal: &mut Paper,
            stop,
            progress: &mut |_, _| {},
            looked_at: &mut |_| {},
        };
        carry_out(&mut record(plan), &mut crew)
    }

    fn run(plan: &Plan, machine: &mut Fake) -> Outcome {
        run_until(plan, machine, &|| None)
    }

    #[test]
    fn every_step_is_done_in_order() {
        let mut machine = machine();
        let outcome = run(&long_plan(), &mut machine);
        assert_eq!(outcome.ending, Ending::Complete);
        assert!(outcome.changed());
        assert!(
            outcome
                .reports
                .iter()
                .all(|report| report.result == StepResult::Done)
        );
        assert_eq!(machine.values[&Key::Max], 262_144);
        assert_eq!(machine.files.len(), 3);
    }

    #[test]
    fn a_failure_at_any_step_puts_everything_back() {
        let steps = long_plan().steps.len();
        for (fails_at, fails_late) in (0..steps).flat_map(|n| [(n, false), (n, true)]) {
            let before = machine();
            let mut machine = Fake {
                fails_at: Some(fails_at),
                fails_late,
                ..machine()
            };
            let outcome = run(&long_plan(), &mut machine);
            assert!(
                matches!(outcome.ending, Ending::Undone(Cause::Failed { .. })),
                "{fails_at}"
            );
            assert_eq!(
                machine.state(),
                before.state(),
                "at step {fails_at}, late {fails_late}"
            );
            assert!(!outcome.changed());
            assert_eq!(outcome.reports.len(), steps);
            assert_eq!(outcome.reports[fails_at].result, StepResult::Failed);
        }
    }

    #[test]
    fn a_disk_that_is_full_from_any_step_on_is_no_obstacle_to_the_way_back() {
        for fails_at in 4..long_plan().steps.len() {
            let before = machine();
            let mut machine = Fake {
                fails_at: Some(fails_at),
                fills_up: true,
                ..machine()
            };
            let outcome = run(&long_plan(), &mut machine);
            assert!(matches!(outcome.ending, Ending::Undone(_)), "{outcome:?}");
            assert_eq!(machine.state(), before.state(), "full at step {fails_at}");
        }
    }

    #[test]
    fn a_signal_between_any_two_steps_puts_everything_back() {
        for signal in [Signal::Interrupt, Signal::Terminate, Signal::HangUp] {
            for after in 0..long_plan().steps.len() {
                let (before, mut machine) = (machine(), machine());
                let asked = Cell::new(0);
                let stop = || {
                    asked.set(asked.get() + 1);
                    (asked.get() > after).then_some(signal)
                };
                let outcome = run_until(&long_plan(), &mut machine, &stop);
                assert_eq!(outcome.ending, Ending::Undone(Cause::Signal(signal)));
                assert_eq!(
                    machine.state(),
                    before.state(),
                    "{} after {after}",
                    signal.name()
                );
            }
        }
    }

    #[test]
    fn no_undo_lowers_max_below_what_the_table_holds() {
        let mut machine = Fake {
            count: 60_000,
            fails_at: Some(3),
            ..machine()
        };
        let outcome = run(&long_plan(), &mut machine);
        let Ending::Left(_, left) = &outcome.ending else {
            panic!("{outcome:?}")
        };
        assert_eq!(machine.values[&Key::Max], 262_144);
        assert_eq!(machine.values[&Key::TcpTimeoutEstablished], 432_000);
        assert!(
            left[0].contains("262144") && left[0].contains("65536"),
            "{left:?}"
        );
        assert!(
            left[0].contains("60000") && left[0].contains("66000"),
            "{left:?}"
        );
        assert!(outcome.changed());
    }

    #[test]
    fn without_memory_for_the_hash_max_goes_as_far_as_the_table_bears() {
        let mut machine = Fake {
            no_memory: true,
            ..machine()
        };
        let steps = vec![
            live(Key::Buckets, 16384, 65536),
            live(Key::Max, 32768, 262_144),
            live(Key::UdpTimeout, 30, 120),
        ];
        machine.values.insert(Key::Max, 32768);
        let outcome = run(&plan(steps), &mut machine);
        assert!(matches!(outcome.ending, Ending::Partly(_)), "{outcome:?}");
        assert_eq!(machine.values[&Key::Max], 65536);
        assert_eq!(machine.values[&Key::Buckets], 16384);
        assert_eq!(machine.values[&Key::UdpTimeout], 120);
        assert_eq!(outcome.reports[0].result, StepResult::Failed);
    }

    #[test]
    fn a_module_that_was_loaded_is_unloaded_again() {
        let write = |key, to| Step::WriteLive {
            key,
            from: None,
            to,
            why: String::new(),
        };
        let steps = plan(vec![
            Step::LoadModule { why: String::new() },
            write(Key::UdpTimeout, 120),
            write(Key::DccpLoose, 0),
            write(Key::TcpTimeoutEstablished, 7440),
        ]);
        let unloaded = Fake {
            is_loaded: false,
            ..machine()
        };
        let mut works = unloaded.clone();
        let outcome = run(&steps, &mut works);
        assert_eq!(outcome.ending, Ending::Complete);
        assert_eq!(
            outcome.reports[2].note.as_deref(),
            Some("missing on this kernel")
        );
        for fails_at in 0..3 {
            let mut fails = Fake {
                fails_at: Some(fails_at),
                ..unloaded.clone()
            };
            let outcome = run(&steps, &mut fails);
            assert!(
                matches!(outcome.ending, Ending::Undone(_)),
                "{fails_at}: {outcome:?}"
            );
            assert!(!fails.is_loaded);
        }
    }

    #[test]
    fn what_an_undo_cannot_put_back_is_named() {
        let mut machine = Fake {
            sticks: Some(Key::UdpTimeout),
            ..machine()
        };
        let steps = plan(vec![
            live(Key::UdpTimeout, 30, 120),
            live(Key::TcpTimeoutEstablished, 432_000, 7440),
        ]);
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            (asked.get() > 1).then_some(Signal::Terminate)
        };
        let outcome = run_until(&steps, &mut machine, &stop);
        let Ending::Left(Cause::Signal(Signal::Terminate), left) = &outcome.ending else {
            panic!("{outcome:?}")
        };
        assert_eq!(left.len(), 1);
        assert!(left[0].contains("stays at 120 instead of 30"), "{left:?}");
    }

    #[test]
    fn flows_come_last_and_what_was_done_to_them_is_left_when_all_else_is_undone() {
        let expire = Step::Expire {
            parameters: crate::profile::ExpireSettings::default().into(),
            flows: Some(9),
            why: String::new(),
        };
        let plan = plan(vec![live(Key::UdpTimeout, 30, 60), expire]);
        let mut done = machine();
        let before = done.clone();
        let outcome = run(&plan, &mut done);
        assert_eq!(outcome.ending, Ending::Complete);
        let mut stopped = Fake {
            fails_at: Some(1),
            ..before.clone()
        };
        let outcome = run(&plan, &mut stopped);
        assert!(
            matches!(
                &outcome.ending,
                Ending::Left(Cause::Signal(Signal::Interrupt), left) if left.len() == 1
            ),
            "{outcome:?}"
        );
        assert_eq!(stopped.values, before.values);
    }
}
