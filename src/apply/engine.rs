//! Carries a plan out, and undoes what was done when a step fails or a signal comes.

use std::path::PathBuf;

use super::target::{Target, TargetError};
use crate::kernel::sysctl::WriteError;
use crate::plan::{
    Cause, ENTRIES_PER_BUCKET, Ending, Outcome, Plan, Report, Signal, Step, StepResult,
    lowest_safe_max,
};
use crate::tunable::Key;

/// A step that was done, and what undoing it takes.
enum Done {
    Module,
    Value {
        key: Key,
        before: Option<i64>,
    },
    File {
        path: PathBuf,
        before: Option<Vec<u8>>,
        folders: Vec<PathBuf>,
    },
}

/// Carries the steps out in order. Between any two of them `stop` is asked for a signal.
///
/// A step that fails, or a signal, undoes the steps before it, last first. One failure does not:
/// where the kernel finds no memory for a larger hash table, max is capped at what the present one
/// can bear, and the rest goes on.
pub fn carry_out(
    plan: &Plan,
    target: &mut dyn Target,
    stop: &dyn Fn() -> Option<Signal>,
    progress: &mut dyn FnMut(&Step, &Report),
) -> Outcome {
    let mut engine = Engine {
        target,
        done: Vec::new(),
        unresized: None,
    };
    let mut reports: Vec<Report> = Vec::new();
    let mut broken_off = None;
    for step in &plan.steps {
        if let Some(signal) = stop() {
            broken_off = Some(Cause::Signal(signal));
            break;
        }
        let (report, cause) = engine.carry_out(step);
        progress(step, &report);
        reports.push(report);
        if cause.is_some() {
            broken_off = cause;
            break;
        }
    }
    let untried = Report {
        result: StepResult::Skipped,
        note: None,
    };
    reports.resize(plan.steps.len(), untried);
    let ending = match broken_off {
        Some(cause) => engine.undo(cause, &mut reports),
        None => match engine.unresized {
            Some(message) => Ending::Partly(message),
            None => Ending::Complete,
        },
    };
    Outcome { reports, ending }
}

struct Engine<'a> {
    target: &'a mut dyn Target,
    done: Vec<Done>,
    /// Why the hash table kept its size, if it should have grown.
    unresized: Option<String>,
}

impl Engine<'_> {
    fn carry_out(&mut self, step: &Step) -> (Report, Option<Cause>) {
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
                let message = error.to_string();
                let report = Report {
                    result: StepResult::Failed,
                    note: Some(message.clone()),
                };
                (
                    report,
                    Some(Cause::Failed {
                        message,
                        hint: error.hint(),
                    }),
                )
            }
        }
    }

    /// Does one step. What it changed is recorded even if it fails half-way, so that it is undone.
    fn act(&mut self, step: &Step) -> Result<Report, TargetError> {
        let mut report = Report {
            result: StepResult::Done,
            note: None,
        };
        match step {
            Step::LoadModule { .. } => {
                self.target.load_module()?;
                self.done.push(Done::Module);
            }
            Step::WriteLive { key, to, .. } => return self.write(*key, *to),
            Step::WriteFile { path, to: None, .. } => {
                let before = self.target.read_file(path)?;
                self.target.remove_file(path, &[])?;
                self.done.push(Done::File {
                    path: path.clone(),
                    before,
                    folders: Vec::new(),
                });
            }
            Step::WriteFile {
                path,
                to: Some(to),
                from,
                ..
            } => {
                self.replace(path, from.clone(), to)?;
            }
            Step::EditLine {
                path,
                from,
                to,
                lines,
                ..
            } => {
                self.replace(path, Some(from.clone()), to)?;
                report.note = (lines.len() > 1).then(|| format!("{} lines", lines.len()));
            }
        }
        Ok(report)
    }

    fn replace(
        &mut self,
        path: &std::path::Path,
        before: Option<Vec<u8>>,
        to: &[u8],
    ) -> Result<(), TargetError> {
        let folders = self.target.replace_file(path, to)?;
        self.done.push(Done::File {
            path: path.to_owned(),
            before,
            folders,
        });
        Ok(())
    }

    fn write(&mut self, key: Key, to: i64) -> Result<Report, TargetError> {
        let before = self.target.read(key)?;
        if before.is_none() {
            // Only after the module was loaded: this kernel turns out not to have the key.
            let note = Some("missing on this kernel".to_owned());
            return Ok(Report {
                result: StepResult::Skipped,
                note,
            });
        }
        let (to, note) = self.cap(key, to)?;
        if before == Some(to) {
            return Ok(Report {
                result: StepResult::Skipped,
                note,
            });
        }
        let written = self.target.write(key, to);
        // A refused write may have changed the value all the same: read, do not guess.
        if written.is_ok() || self.target.read(key).ok() != Some(before) {
            self.done.push(Done::Value { key, before });
        }
        written?;
        Ok(Report {
            result: StepResult::Done,
            note,
        })
    }

    /// Caps max at what the hash table can bear, if that could not be resized.
    fn cap(&mut self, key: Key, to: i64) -> Result<(i64, Option<String>), TargetError> {
        if key != Key::Max || self.unresized.is_none() {
            return Ok((to, None));
        }
        let buckets = self.target.read(Key::Buckets)?.unwrap_or(0);
        let bearable = buckets.saturating_mul(ENTRIES_PER_BUCKET);
        let before = self.target.read(Key::Max)?.unwrap_or(0);
        if to <= bearable || before == 0 {
            return Ok((to, None));
        }
        let capped = bearable.max(before);
        Ok((
            capped,
            Some(format!(
                "capped at {capped}: {buckets} buckets bear no more"
            )),
        ))
    }

    /// Puts everything back, last first, past single failures.
    fn undo(mut self, cause: Cause, reports: &mut [Report]) -> Ending {
        let mut left = Vec::new();
        while let Some(done) = self.done.pop() {
            if let Err(what) = self.undo_one(done) {
                left.push(what);
            }
        }
        if !left.is_empty() {
            return Ending::Left(cause, left);
        }
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

    fn undo_one(&mut self, done: Done) -> Result<(), String> {
        match done {
            Done::Module => self
                .target
                .unload_module()
                .map_err(|error| format!("the module nf_conntrack stays loaded: {error}")),
            Done::Value { before: None, .. } => Ok(()),
            Done::Value {
                key,
                before: Some(before),
            } => self.put_back(key, before),
            Done::File {
                path,
                before: Some(bytes),
                ..
            } => self
                .target
                .replace_file(&path, &bytes)
                .map(drop)
                .map_err(|error| format!("{} is not as it was: {error}", path.display())),
            Done::File {
                path,
                before: None,
                folders,
            } => self
                .target
                .remove_file(&path, &folders)
                .map_err(|error| format!("{} is still there: {error}", path.display())),
        }
    }

    fn put_back(&mut self, key: Key, before: i64) -> Result<(), String> {
        let stays = |now: Option<i64>, why: String| {
            let now = now.map_or_else(|| "unread".to_owned(), |now| now.to_string());
            format!("{key} stays at {now} instead of {before}: {why}")
        };
        let now = self.target.read(key).ok().flatten();
        if now == Some(before) {
            return Ok(());
        }
        let lowers =
            key == Key::Max && before != 0 && now.is_none_or(|now| now > before || now == 0);
        if lowers {
            let count = self.target.count().ok().flatten().unwrap_or(i64::MAX);
            let floor = lowest_safe_max(count);
            if before < floor {
                let why =
                    format!("the table holds {count} entries, and no undo goes below {floor}");
                return Err(stays(now, why));
            }
        }
        self.target.write(key, before).map_err(|error| {
            let now = self.target.read(key).ok().flatten();
            stays(now, error.to_string())
        })
    }
}

fn is_failed_resize(step: &Step, error: &TargetError) -> bool {
    matches!(step, Step::WriteLive { key: Key::Buckets, from: Some(from), to, .. } if to > from)
        && matches!(error, TargetError::Write(WriteError::NoMemory { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
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
        Plan {
            profile: "test".to_owned(),
            steps,
            skipped: Vec::new(),
            obstacles: Vec::new(),
        }
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

    fn run(plan: &Plan, machine: &mut Fake) -> Outcome {
        carry_out(plan, machine, &|| None, &mut |_, _| {})
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
    fn a_signal_between_any_two_steps_puts_everything_back() {
        for signal in [Signal::Interrupt, Signal::Terminate, Signal::HangUp] {
            for after in 0..long_plan().steps.len() {
                let (before, mut machine) = (machine(), machine());
                let asked = Cell::new(0);
                let stop = || {
                    asked.set(asked.get() + 1);
                    (asked.get() > after).then_some(signal)
                };
                let outcome = carry_out(&long_plan(), &mut machine, &stop, &mut |_, _| {});
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
        let outcome = carry_out(&steps, &mut machine, &stop, &mut |_, _| {});
        let Ending::Left(Cause::Signal(Signal::Terminate), left) = &outcome.ending else {
            panic!("{outcome:?}")
        };
        assert_eq!(left.len(), 1);
        assert!(left[0].contains("stays at 120 instead of 30"), "{left:?}");
    }
}
