//! Applies the steps of an entry, and undoes them when a step fails or a signal comes.
//!
//! In: an [`Entry`] and a [`Context`]. Out: an [`Outcome`]; the entry's state says the same. Rule:
//! the state is written after every step, and the undo is computed from the steps that were done.

use super::error::ChangeError;
use super::flows::{FlowContext, FlowError};
use super::journal::JournalError;
use super::outcome::{Ending, Outcome};
use super::record::Entry;
use super::restore::{Undo, load_table, undo_steps, write_file};
use super::revert::Foreign;
use super::signal::Signal;
use super::status::Status;
use super::system::{System, SystemError};
use crate::kernel::sysctl::WriteError;
use crate::plan::{ENTRIES_PER_BUCKET, Report, Step, StepResult};
use crate::profile::ExpireParameters;
use crate::tunable::{Key, plural};

pub(crate) struct Context<'a> {
    pub(crate) system: &'a mut dyn System,
    pub(crate) save: &'a mut dyn FnMut(&Entry) -> Result<(), JournalError>,
    /// Asked before every step: did a signal come?
    pub(crate) stop: &'a dyn Fn() -> Option<Signal>,
    pub(crate) step: &'a mut dyn FnMut(&Step, &Report),
    /// Told how many flows were read, while a step is about them.
    pub(crate) flows: &'a mut dyn FnMut(u64),
}

impl Context<'_> {
    fn with_flows(&mut self) -> (&mut dyn System, FlowContext<'_>) {
        let context = FlowContext {
            stop: self.stop,
            progress: self.flows,
            threads: None,
        };
        (self.system, context)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The live steps; the rest waits for `cttune confirm`.
    Pending,
    End,
}

/// Applies the steps of an entry in order, from the first that was not reached.
///
/// A step that fails, a signal, or a journal that cannot be written undoes the steps before it,
/// last first. One failure does not: where the kernel finds no memory for a larger hash table, max
/// is capped at what the present one allows, and the other steps are applied.
pub(super) fn apply(entry: &mut Entry, until: Until, context: &mut Context<'_>) -> Outcome {
    let first = entry.state.reached();
    let end = match until {
        Until::Pending => entry.record.live_steps(),
        Until::End => entry.record.steps.len(),
    };
    let mut engine = Engine::new(context);
    let steps = entry.record.steps.clone();
    let steps = steps.get(first..end).unwrap_or_default();
    let mut reports = Vec::new();
    let mut failed = engine.look_at_flows(steps);
    for (step, index) in steps.iter().zip(first..) {
        failed = failed.or_else(|| (engine.context.stop)().map(ChangeError::stopped));
        if failed.is_some() {
            break;
        }
        let (report, cause) = engine.step(step);
        (engine.context.step)(step, &report);
        failed = cause.or_else(|| engine.save(entry, index, &report));
        reports.push(report);
    }
    let ending = match failed {
        Some(cause) => engine.undo(entry, cause, &mut reports),
        None => engine.finish(entry, until),
    };
    // The change is made or undone. If the journal cannot be written any more, the next command
    // finds an interrupted change and compares it with what is present.
    let _ = (engine.context.save)(entry);
    reports.resize(steps.len(), Report::skipped(None));
    Outcome { reports, ending }
}

/// Applies a plan that undoes a change: goes on after single failures, and never lowers max to less
/// than the table needs. What could not be restored is in the state's `remaining`.
pub(super) fn apply_revert(entry: &mut Entry, context: &mut Context<'_>) -> Outcome {
    let mut engine = Engine::new(context);
    let mut undo = Undo::default();
    let mut reports = Vec::new();
    for (index, step) in entry.record.steps.clone().iter().enumerate() {
        let report = match undo.restore(step, engine.context.system) {
            Ok(()) => Report::DONE,
            Err(why) => {
                entry.state.remaining.push(why.clone());
                Report::failed(why)
            }
        };
        (engine.context.step)(step, &report);
        // An undo goes on without the journal: what that lacks, the next command finds out.
        let _ = engine.save(entry, index, &report);
        reports.push(report);
    }
    let remaining = entry.state.remaining.clone();
    let (status, ending) = match remaining.len() {
        0 => (Status::Applied, Ending::Complete),
        number => {
            let message = format!("{} could not be undone", plural(number, "change"));
            let cause = ChangeError::new(message);
            (Status::Partial, Ending::Failed(cause, remaining))
        }
    };
    turn(entry, status);
    let _ = (engine.context.save)(entry);
    Outcome { reports, ending }
}

fn turn(entry: &mut Entry, to: Status) {
    // The engine is given started entries alone, which have each of its transitions.
    let _ = entry.state.turn(to);
}

struct Engine<'a, 'b> {
    context: &'a mut Context<'b>,
    /// Why the hash table kept its size, if it should have grown.
    unresized: Option<String>,
    /// What was done to flows and cannot be undone.
    flows_changed: Option<String>,
}

impl<'a, 'b> Engine<'a, 'b> {
    fn new(context: &'a mut Context<'b>) -> Self {
        Engine {
            context,
            unresized: None,
            flows_changed: None,
        }
    }

    /// Reads flows before the timeouts change, if they are to be shortened at the end.
    fn look_at_flows(&mut self, steps: &[Step]) -> Option<ChangeError> {
        let parameters = steps.iter().find_map(|step| match step {
            Step::Expire { parameters, .. } => Some(parameters),
            _ => None,
        })?;
        let (system, mut context) = self.context.with_flows();
        let looked = system.look_at_flows(parameters, &mut context);
        looked.err().map(|error| self.cause(error))
    }

    fn cause(&mut self, error: SystemError) -> ChangeError {
        if let SystemError::Expire { source, changed } = &error {
            if *changed > 0 {
                self.flows_changed = Some(format!(
                    "{changed} flows keep the shorter time that they were given, until their next \
                     packet"
                ));
            }
            if let FlowError::Stopped(signal) = source {
                return ChangeError::stopped(*signal);
            }
        }
        error.into()
    }

    fn step(&mut self, step: &Step) -> (Report, Option<ChangeError>) {
        match self.act(step) {
            Ok(report) => (report, None),
            Err(error) => {
                let report = Report::failed(error.to_string());
                if is_failed_resize(step, &error) {
                    self.unresized = Some(error.to_string());
                    return (report, None);
                }
                (report, Some(self.cause(error)))
            }
        }
    }

    fn act(&mut self, step: &Step) -> Result<Report, SystemError> {
        let system = &mut *self.context.system;
        match step {
            Step::LoadModule { .. } => system.load_module()?,
            Step::UnloadModule { .. } => system.unload_module()?,
            Step::EnableUnit { unit, to, .. } => system.enable_unit(unit, *to)?,
            Step::WriteLive { key, to, .. } => return self.write(*key, *to),
            Step::Service { to, replace, .. } => load_table(to.as_ref(), *replace, system)?,
            Step::ReloadUnits { .. } => system.reload_units()?,
            Step::Expire { parameters, .. } => return self.expire(parameters),
            Step::WriteFile { .. } | Step::EditLine { .. } => {
                if let Some(change) = step.file() {
                    write_file(change.path, change.to, system)?;
                }
            }
        }
        Ok(Report::DONE)
    }

    fn expire(&mut self, parameters: &ExpireParameters) -> Result<Report, SystemError> {
        let (system, mut context) = self.context.with_flows();
        let tally = system.expire(parameters, &mut context)?;
        let result = match tally.selected() {
            0 => StepResult::Skipped,
            _ => StepResult::Done,
        };
        let note = (tally.failed > 0).then(|| format!("the kernel refused {}", tally.failed));
        Ok(Report { result, note })
    }

    fn write(&mut self, key: Key, to: i64) -> Result<Report, SystemError> {
        let Some(before) = self.context.system.read(key)? else {
            // Only after the module was loaded: this kernel turns out not to have the key.
            return Ok(Report::skipped(Some("missing on this kernel".to_owned())));
        };
        let (to, note) = self.cap(key, before, to)?;
        if before == to {
            return Ok(Report::skipped(note));
        }
        self.context.system.write(key, to)?;
        let result = StepResult::Done;
        Ok(Report { result, note })
    }

    /// Caps max at what the hash table allows, if that could not be resized.
    fn cap(
        &mut self,
        key: Key,
        before: i64,
        to: i64,
    ) -> Result<(i64, Option<String>), SystemError> {
        if key != Key::Max || self.unresized.is_none() || before == 0 {
            return Ok((to, None));
        }
        let buckets = self.context.system.read(Key::Buckets)?.unwrap_or(0);
        let cap = buckets.saturating_mul(ENTRIES_PER_BUCKET).max(before);
        if to <= cap {
            return Ok((to, None));
        }
        let note = format!("capped at {cap}: {buckets} buckets allow no more");
        Ok((cap, Some(note)))
    }

    /// Writes what became of a step; a journal that cannot be written stops the change.
    fn save(&mut self, entry: &mut Entry, index: usize, report: &Report) -> Option<ChangeError> {
        if let Some(result) = entry.state.results.get_mut(index) {
            *result = Some(report.result);
        }
        let error = (self.context.save)(entry).err()?;
        Some(error.into())
    }

    fn finish(&mut self, entry: &mut Entry, until: Until) -> Ending {
        let unresized = self.unresized.take();
        entry.state.remaining.extend(unresized.clone());
        turn(
            entry,
            match until {
                Until::Pending => Status::Pending,
                // The end repeats what the first part of a change noted.
                Until::End if !entry.state.remaining.is_empty() => Status::Partial,
                Until::End => Status::Applied,
            },
        );
        unresized.map_or(Ending::Complete, Ending::Partial)
    }

    /// Restores whatever the entry's steps changed, past single failures.
    fn undo(&mut self, entry: &mut Entry, cause: ChangeError, reports: &mut [Report]) -> Ending {
        // Within one command a third value is what the kernel made of the new one.
        let (mut remaining, _) = undo_steps(entry, Foreign::Overwrite, self.context.system);
        remaining.extend(self.flows_changed.take());
        if !remaining.is_empty() {
            turn(entry, Status::Failed);
            entry.state.remaining.extend(remaining.iter().cloned());
            return Ending::Failed(cause, remaining);
        }
        turn(entry, Status::Undone);
        for report in reports {
            if report.result == StepResult::Done {
                *report = Report::skipped(Some("undone".to_owned()));
            }
        }
        Ending::Undone(cause)
    }
}

fn is_failed_resize(step: &Step, error: &SystemError) -> bool {
    matches!(step, Step::WriteLive { key: Key::Buckets, from: Some(from), to, .. } if to > from)
        && matches!(error, SystemError::Write(WriteError::NoMemory { .. }))
}

#[cfg(test)]
mod tests;
