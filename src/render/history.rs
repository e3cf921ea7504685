//! `cttune history`: the changes that the journal holds, and what was done to flows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::layout::{BELOW, CELL, HANG, RIGHT};
use super::outcome::step_line;
use super::plan::{ToDo, step_words, to_do};
use super::shape::Schema;
use super::style::{FAINT, GOOD, HEAD, WARN};
use crate::plan::{Report, Step, StepResult};
use crate::tunable::{Key, format_count, plural};

/// Characters of a time up to its minutes.
const MINUTES: usize = "2026-11-26T14:07".len();

/// A change of the journal.
pub(crate) struct Change<'a> {
    pub(crate) id: u64,
    /// When it was made, RFC 3339.
    pub(crate) time: &'a str,
    pub(crate) kind: &'static str,
    pub(crate) undoes: Option<u64>,
    pub(crate) profile: &'a str,
    pub(crate) overrides: &'a BTreeMap<String, i64>,
    /// The network namespace that was named.
    pub(crate) netns: Option<&'a str>,
    pub(crate) host: &'a str,
    pub(crate) kernel: &'a str,
    pub(crate) status: &'static str,
    /// Its status, in the words of version 0.1.0.
    pub(crate) standing: &'static str,
    pub(crate) is_undone: bool,
    /// Whether cttune was killed while it was applied.
    pub(crate) is_interrupted: bool,
    /// Whether everything is as it left it; `None` where that cannot be seen from here.
    pub(crate) effective: Option<bool>,
    pub(crate) steps: &'a [Step],
    pub(crate) results: &'a [Option<StepResult>],
    /// What could not be done, or undone.
    pub(crate) remaining: &'a [String],
}

/// What a kill or an expire did to flows.
pub(crate) struct FlowAct<'a> {
    pub(crate) mode: &'a str,
    /// When it began, RFC 3339.
    pub(crate) time: &'a str,
    /// The selections of `--match`.
    pub(crate) matching: &'a [String],
    /// How many it changed; not known where it was interrupted.
    pub(crate) flows: u64,
    pub(crate) is_interrupted: bool,
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    changes: Vec<Made<'a>>,
    /// What was done to flows.
    flows: Vec<Acted<'a>>,
}

/// A change of the journal.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Made<'a> {
    id: u64,
    /// RFC 3339, in UTC.
    time: &'a str,
    /// `apply` or `rollback`.
    origin: &'static str,
    undoes: Option<u64>,
    profile: &'a str,
    overrides: &'a BTreeMap<String, i64>,
    netns: Option<&'a str>,
    status: &'static str,
    /// `status` in the words of version 0.1.0.
    standing: &'static str,
    /// Whether everything is as it left it; null where that cannot be seen from here.
    #[serde(rename = "in_force")]
    effective: Option<bool>,
    steps: Vec<Tried<'a>>,
    /// What could not be done, or undone.
    left: &'a [String],
}

/// A step, and what became of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Tried<'a> {
    #[serde(flatten)]
    step: ToDo<'a>,
    result: Option<StepResult>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Acted<'a> {
    mode: &'a str,
    time: &'a str,
    /// The selections of `--match`.
    #[serde(rename = "match")]
    matching: &'a [String],
    /// How many it changed; null where it was interrupted.
    flows: Option<u64>,
}

pub(crate) fn json<'a>(changes: &'a [Change<'_>], flows: &'a [FlowAct<'_>]) -> Output<'a> {
    let acted = |act: &'a FlowAct<'_>| Acted {
        mode: act.mode,
        time: act.time,
        matching: act.matching,
        flows: (!act.is_interrupted).then_some(act.flows),
    };
    Output {
        schema: Schema,
        changes: changes.iter().map(made).collect(),
        flows: flows.iter().map(acted).collect(),
    }
}

fn made<'a>(change: &'a Change<'_>) -> Made<'a> {
    let steps = change.steps.iter().zip(change.results);
    let tried = |(step, result): (&'a Step, &'a Option<StepResult>)| Tried {
        step: to_do(step),
        result: *result,
    };
    Made {
        id: change.id,
        time: change.time,
        origin: change.kind,
        undoes: change.undoes,
        profile: change.profile,
        overrides: change.overrides,
        netns: change.netns,
        status: change.status,
        standing: change.standing,
        effective: change.effective,
        steps: steps.map(tried).collect(),
        left: change.remaining,
    }
}

/// As people read it, a row a change, and below what was done to flows.
pub(crate) fn table(changes: &[Change<'_>], flows: &[FlowAct<'_>]) -> String {
    let mut text = match changes {
        [] => "no changes yet\n".to_owned(),
        changes => changes_table(changes),
    };
    if !flows.is_empty() {
        text.push('\n');
        text.push_str(&header(&["time", "mode", "flows", "which flows"]));
        text.extend(flows.iter().map(flows_row));
    }
    text
}

fn header(names: &[&str]) -> String {
    let names = names.iter().map(|name| format!("{HEAD}{name}{HEAD:#}"));
    names.collect::<Vec<_>>().join(&CELL.to_string()) + "\n"
}

fn flows_row(act: &FlowAct<'_>) -> String {
    let which = match act.matching {
        [] => "all".to_owned(),
        matching => matching.join(" or "),
    };
    let flows = if act.is_interrupted {
        "not known".to_owned()
    } else {
        format_count(act.flows)
    };
    let time = act
        .time
        .get(..MINUTES)
        .unwrap_or(act.time)
        .replace('T', " ");
    format!(
        "{time}{CELL}{}{CELL}{RIGHT}{flows}{CELL}{which}\n",
        act.mode
    )
}

fn changes_table(changes: &[Change<'_>]) -> String {
    let names = header(&["time", "status", "values now", "change"]);
    let header = format!("{RIGHT}{HEAD}id{HEAD:#}{CELL}{names}");
    std::iter::once(header)
        .chain(changes.iter().map(line))
        .collect()
}

fn line(change: &Change<'_>) -> String {
    let what = match change.undoes {
        Some(id) => format!("rollback of {id}"),
        None => format!("{} {}", change.kind, change.profile),
    };
    let netns = change.netns.map(|netns| format!(" in {netns}"));
    let set = |(key, value): (&String, &i64)| {
        let key = Key::find(key).map_or_else(|_| key.clone(), |key| key.short_name().to_owned());
        format!(" --set {key}={value}")
    };
    let set: String = change.overrides.iter().map(set).collect();
    let set = Some(set).filter(|set| !set.is_empty());
    let set = set.map(|set| format!("{CELL}{BELOW}with{set}"));
    let files = change.steps.iter().filter_map(Step::file).count();
    let live = change.steps.len() - files;
    let files = plural(files, "file");
    let (style, now) = now(change);
    let (id, status) = (change.id, change.status.replace('-', " "));
    let time = change
        .time
        .get(..MINUTES)
        .unwrap_or(change.time)
        .replace('T', " ");
    let netns = netns.unwrap_or_default();
    format!(
        "{RIGHT}{id}{CELL}{time}Z{CELL}{status}{CELL}{style}{now}{style:#}{CELL}{what}{netns}: {live} live, {files}{}\n",
        set.unwrap_or_default()
    )
}

fn now(change: &Change<'_>) -> (anstyle::Style, &'static str) {
    match change.effective {
        _ if change.is_undone => (FAINT, "undone"),
        Some(true) => (GOOD, "as applied"),
        None => (FAINT, "another namespace"),
        Some(false) if change.is_interrupted => (WARN, "interrupted"),
        Some(false) => (WARN, "changed since"),
    }
}

/// One change with all its steps.
pub(crate) fn one(change: &Change<'_>) -> String {
    let mut text = line(change);
    let (host, kernel) = (change.host, change.kernel);
    text.push_str(&format!("  on {host}, kernel {kernel}\n"));
    for (step, result) in change.steps.iter().zip(change.results) {
        text.push_str(&match *result {
            Some(result) => format!("{}\n", step_line(step, &Report { result, note: None })),
            None => format!("{FAINT}      –{FAINT:#} {HANG}{}\n", step_words(step)),
        });
    }
    let remaining = change.remaining.iter();
    text.extend(remaining.map(|one| format!("{WARN}not done{WARN:#}: {HANG}{one}\n")));
    text
}
