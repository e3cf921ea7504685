//! `cttune apply`, `confirm` and `rollback`: what became of each step, and of the whole.

use serde::Serialize;

use super::expire::{FlowsNow, Parts};
use super::layout::{HANG, command};
use super::plan::{ToDo, step_cells, step_words, to_do};
use super::shape::Schema;
use super::style::{BAD, FAINT, GOOD, WARN};
use crate::diagnostic::Place;
use crate::plan::{Plan, Report, Step, StepResult};
use crate::tunable::plural;

/// A plan, and what became of it.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) plan: &'a Plan,
    /// One for each step.
    pub(crate) reports: &'a [Report],
    /// Whether anything on the machine is different now.
    pub(crate) changed: bool,
    /// What rolls it back; `None` where nothing is there to roll back.
    pub(crate) id: Option<u64>,
    /// When it is undone, if it is pending.
    pub(crate) pending: Option<jiff::Timestamp>,
    /// What became of flows, if a step was about them.
    pub(crate) flows: Option<Parts<'a>>,
}

impl<'a> Told<'a> {
    /// A plan without steps.
    pub(crate) fn nothing(plan: &'a Plan) -> Self {
        Told {
            plan,
            reports: &[],
            changed: false,
            id: None,
            pending: None,
            flows: None,
        }
    }

    fn done(self) -> usize {
        let done = |report: &&Report| report.result == StepResult::Done;
        self.reports.iter().filter(done).count()
    }
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    profile: &'a str,
    /// Whether anything on the machine is different now.
    changed: bool,
    /// What rolls it back; null where there is nothing to roll back.
    id: Option<u64>,
    pending: Option<Deadline>,
    steps: Vec<Done<'a>>,
    /// What became of flows, if a step was about them.
    flows: Option<FlowsNow>,
}

/// A change that is undone at its deadline.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Deadline {
    id: Option<u64>,
    /// RFC 3339, in UTC.
    deadline: String,
}

/// A step, and what became of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Done<'a> {
    #[serde(flatten)]
    step: ToDo<'a>,
    result: StepResult,
    /// What went wrong, or was adjusted.
    note: Option<&'a str>,
}

pub(crate) fn json(told: Told<'_>) -> Output<'_> {
    let steps = told.plan.steps.iter().zip(told.reports);
    Output {
        schema: Schema,
        profile: &told.plan.profile,
        changed: told.changed,
        id: told.id,
        pending: told.pending.map(|deadline| Deadline {
            id: told.id,
            deadline: deadline.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }),
        steps: steps
            .map(|(step, report)| Done {
                step: to_do(step),
                result: report.result,
                note: report.note.as_deref(),
            })
            .collect(),
        flows: told.flows.map(super::expire::flows_now),
    }
}

/// The answer to a no, as machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Unchanged {
    schema: Schema,
    changed: bool,
}

pub(crate) const UNCHANGED: Unchanged = Unchanged {
    schema: Schema,
    changed: false,
};

/// One step as it is done.
pub(crate) fn step_line(step: &Step, report: &Report) -> String {
    let (style, word) = match report.result {
        StepResult::Done => (GOOD, "done"),
        StepResult::Skipped => (FAINT, "skipped"),
        StepResult::Failed => (BAD, "failed"),
    };
    let note = report.note.as_deref();
    let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{style}{word:>7}{style:#} {HANG}{}{note}", step_words(step))
}

fn changes(number: usize) -> String {
    plural(number, "change")
}

fn rollback(id: u64, place: &Place) -> String {
    command(&place.cttune(&format!("rollback {id}")))
}

/// The last lines of a plan that was applied.
pub(crate) fn applied(told: Told<'_>, place: &Place) -> String {
    let id = told.id;
    let undo = id.map(|id| format!("; to undo: {}", rollback(id, place)));
    // Not more than that: steps may have been left out, or overriding lines allowed.
    format!(
        "{GOOD}{}{GOOD:#} made for {}, each read back{}\n{}",
        changes(told.done()),
        told.plan.profile,
        undo.unwrap_or_default(),
        super::expire::maybe_text(told.flows),
    )
}

/// The last lines of a change that was confirmed.
pub(crate) fn confirmed(told: Told<'_>, place: &Place) -> String {
    format!("{GOOD}confirmed{GOOD:#}: {}", applied(told, place))
}

/// The last line of a plan that was undone.
pub(crate) fn undone() -> String {
    "everything is as it was\n".to_owned()
}

/// The last line of a rollback.
pub(crate) fn rolled_back(told: Told<'_>, place: &Place) -> String {
    match (told.id, told.done()) {
        (None, 0) => NOTHING_TO_UNDO.to_owned(),
        (None, done) => format!("{GOOD}{}{GOOD:#} undone\n", changes(done)),
        (Some(id), done) => format!(
            "{GOOD}{}{GOOD:#} undone; to redo: {}\n",
            changes(done),
            rollback(id, place)
        ),
    }
}

/// A pending change; `clock` is its deadline on the operator's clock, `rest` what
/// confirm applies.
pub(crate) fn pending(rest: &Plan, clock: &str, place: &Place) -> String {
    let files = match rest.steps.iter().filter_map(Step::file).count() {
        0 => String::new(),
        1 => " (it writes 1 file)".to_owned(),
        files => format!(" (it writes {files} files)"),
    };
    let confirm = command(&place.cttune("confirm"));
    format!("{WARN}Undone {clock} unless you run: {confirm}{WARN:#}{files}\n")
}

/// How a change would be undone.
#[derive(Clone, Copy)]
pub(crate) struct Preview<'a> {
    pub(crate) id: u64,
    pub(crate) time: &'a str,
    pub(crate) profile: &'a str,
    pub(crate) steps: &'a [Step],
    /// What is not restored, and why.
    pub(crate) kept: &'a [String],
    /// What somebody else changed since.
    pub(crate) conflicts: &'a [String],
}

/// How changes would be undone, as machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Previews<'a> {
    schema: Schema,
    changed: bool,
    changes: Vec<Undoing<'a>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Undoing<'a> {
    id: u64,
    time: &'a str,
    profile: &'a str,
    steps: Vec<ToDo<'a>>,
    not_restored: &'a [String],
    overwritten: &'a [String],
}

pub(crate) fn preview_json<'a>(previews: &[Preview<'a>]) -> Previews<'a> {
    let undoing = |preview: &Preview<'a>| Undoing {
        id: preview.id,
        time: preview.time,
        profile: preview.profile,
        steps: preview.steps.iter().map(to_do).collect(),
        not_restored: preview.kept,
        overwritten: preview.conflicts,
    };
    Previews {
        schema: Schema,
        changed: false,
        changes: previews.iter().map(undoing).collect(),
    }
}

/// How changes would be undone, before the question.
pub(crate) fn previews(previews: &[Preview<'_>]) -> String {
    match previews {
        [] => NOTHING_TO_UNDO.to_owned(),
        previews => previews.iter().map(|one| preview(*one)).collect(),
    }
}

const NOTHING_TO_UNDO: &str = "nothing to undo: everything is as it was before\n";

fn preview(preview: Preview<'_>) -> String {
    let Preview {
        id, time, profile, ..
    } = preview;
    let mut text = format!("to undo change {id} ({profile}, {time}):\n");
    let conflicts = preview.conflicts.iter();
    text.extend(conflicts.map(|one| format!("  {BAD}overwritten{BAD:#}: {HANG}{one}\n")));
    let kept = preview.kept.iter();
    text.extend(kept.map(|kept| format!("  {WARN}not restored{WARN:#}: {HANG}{kept}\n")));
    if text.lines().count() == 1 && preview.steps.is_empty() {
        text.push_str(&format!("  {NOTHING_TO_UNDO}"));
    }
    let steps = preview.steps.iter();
    text.extend(steps.map(|step| format!("  {}\n", step_cells(step))));
    text
}
