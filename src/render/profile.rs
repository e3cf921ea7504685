//! `cttune profile`: the list, and a profile as machines read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::layout::CELL;
use super::shape::{Named, Schema, value};
use super::style::{FAINT, HEAD};
use crate::profile::{Desired, Goal, Role};
use crate::service::{Lifeline, Service};
use crate::tunable::{Key, format_seconds};

/// One profile of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Its file, or `built-in`.
    pub(crate) place: String,
    pub(crate) description: String,
}

/// As people read it.
pub(crate) fn list(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let (name, place, about) = (&row.name, &row.place, &row.description);
        format!("{HEAD}{name}{HEAD:#}{CELL}{FAINT}{place}{FAINT:#}{CELL}{about}\n")
    };
    rows.iter().map(line).collect()
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct List<'a> {
    schema: Schema,
    profiles: &'a [Row],
}

pub(crate) fn list_json(profiles: &[Row]) -> List<'_> {
    let schema = Schema;
    List { schema, profiles }
}

/// A profile with its parents merged in.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    name: &'a str,
    description: Option<&'a str>,
    role: Option<Role>,
    settings: Vec<Asked<'a>>,
    /// By name.
    services: Named<ServiceNow<'a>>,
    lifeline: Option<LifelineNow>,
    /// Why each finding is accepted.
    accept: Named<&'a str>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Asked<'a> {
    #[serde(flatten)]
    goal: GoalNow,
    key: Key,
    required: bool,
    why: Option<&'a str>,
    /// The profile that says so.
    from: &'a str,
}

/// One that a child takes away matches nothing.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ServiceNow<'a> {
    #[serde(rename = "match")]
    matching: Vec<String>,
    /// Seconds by state.
    timeouts: Named<u32>,
    why: Option<&'a str>,
    from: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LifelineNow {
    from: Vec<String>,
    ports: Vec<u16>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
enum GoalNow {
    Exact { value: i64 },
    Bounds(BoundsNow),
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
struct BoundsNow {
    at_least: Option<i64>,
    at_most: Option<i64>,
    per_cpu: Option<i64>,
    per_cpu_cap: Option<i64>,
    follow: Option<Key>,
    /// A share of the memory.
    memory_cap: Option<f64>,
}

pub(crate) fn desired_json(desired: &Desired) -> Output<'_> {
    let settings = desired.settings.iter();
    let accept = desired.accept.iter();
    Output {
        schema: Schema,
        name: &desired.name,
        description: desired.description.as_deref(),
        role: desired.role,
        settings: settings
            .map(|(key, setting)| Asked {
                goal: goal_now(&setting.goal),
                key: *key,
                required: setting.required,
                why: setting.why.as_deref(),
                from: &setting.origin,
            })
            .collect(),
        services: desired
            .services
            .iter()
            .map(|(name, service)| (name.as_str(), service_now(service)))
            .collect(),
        lifeline: desired.lifeline.as_ref().map(lifeline_now),
        accept: accept
            .map(|(id, accepted)| (id.as_str(), accepted.reason.as_str()))
            .collect(),
    }
}

fn service_now(service: &Service) -> ServiceNow<'_> {
    let timeouts = service.timeouts.iter();
    ServiceNow {
        matching: service.matching.iter().map(ToString::to_string).collect(),
        timeouts: timeouts
            .map(|(state, seconds)| (state.name(), *seconds))
            .collect(),
        why: service.why.as_deref(),
        from: &service.origin,
    }
}

fn lifeline_now(lifeline: &Lifeline) -> LifelineNow {
    LifelineNow {
        from: lifeline.from.iter().map(ToString::to_string).collect(),
        ports: lifeline.ports.iter().copied().collect(),
    }
}

fn goal_now(goal: &Goal) -> GoalNow {
    match goal {
        Goal::Exact(value) => GoalNow::Exact { value: *value },
        Goal::Bounds(bounds) => GoalNow::Bounds(BoundsNow {
            at_least: bounds.at_least,
            at_most: bounds.at_most,
            per_cpu: bounds.per_cpu,
            per_cpu_cap: bounds.per_cpu_cap,
            follow: bounds.follow,
            memory_cap: bounds.memory_cap.map(|share| f64::from(share) / 100.0),
        }),
    }
}

/// What two profiles ask for where they differ: key, the first, the second.
pub(crate) type Differences = Vec<(String, String, String)>;

/// Where two profiles differ, with their parents merged in.
pub(crate) fn differences(first: &Desired, second: &Desired) -> Differences {
    let (first, second) = (asked(first), asked(second));
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let of = |asked: &BTreeMap<String, String>, name| asked.get(name).cloned().unwrap_or_default();
    let both = names
        .into_iter()
        .map(|name| (name.clone(), of(&first, name), of(&second, name)));
    both.filter(|(_, first, second)| first != second).collect()
}

/// Everything that a profile asks for, in words.
fn asked(desired: &Desired) -> BTreeMap<String, String> {
    let settings = desired.settings.iter().map(|(key, setting)| {
        let goal = value(&goal_now(&setting.goal));
        let fields = goal.as_object().into_iter().flatten();
        let fields = fields
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                match name.as_str() {
                    "value" => value,
                    _ => format!("{name} {value}"),
                }
            });
        (
            key.file_name().to_owned(),
            fields.collect::<Vec<_>>().join(", "),
        )
    });
    let accept = desired.accept.keys();
    let accept = accept.map(|id| (format!("accept {id}"), "yes".to_owned()));
    let role = desired
        .role
        .map(|role| ("role".to_owned(), role.to_string()));
    let services = desired.services.iter();
    let services = services.map(|(name, service)| (format!("service {name}"), said(service)));
    let lifeline = desired.lifeline.iter().map(lifeline_now).map(|lifeline| {
        let ports: Vec<String> = lifeline.ports.iter().map(ToString::to_string).collect();
        let (from, ports) = (lifeline.from.join(", "), ports.join(", "));
        ("lifeline".to_owned(), format!("{from}, ports {ports}"))
    });
    let services = services.chain(lifeline);
    settings.chain(services).chain(accept).chain(role).collect()
}

/// A service in words: its timeouts, and for which flows.
fn said(service: &Service) -> String {
    let timeouts = service.timeouts.iter();
    let timeouts = timeouts
        .map(|(state, seconds)| format!("{} {}", state.name(), format_seconds((*seconds).into())));
    let matching = service.matching.iter().map(ToString::to_string);
    let parts: Vec<String> = timeouts.chain(matching).collect();
    parts.join(", ")
}

/// As people read it.
pub(crate) fn diff(first: &Desired, second: &Desired, differences: &Differences) -> String {
    if differences.is_empty() {
        return format!("{} and {} ask for the same\n", first.name, second.name);
    }
    let width = first.name.chars().count().max(second.name.chars().count());
    let line = |name: &str, asks: &str| {
        let asks = if asks.is_empty() { "-" } else { asks };
        format!("  {FAINT}{name:<width$}{FAINT:#}  {asks}\n")
    };
    let one = |(key, ours, theirs): &(String, String, String)| {
        let lines = line(&first.name, ours) + &line(&second.name, theirs);
        format!("{HEAD}{key}{HEAD:#}\n{lines}")
    };
    differences.iter().map(one).collect()
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Diff<'a> {
    schema: Schema,
    first: &'a str,
    second: &'a str,
    differences: Vec<Difference<'a>>,
}

/// What two profiles ask of a key; null where one asks nothing.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Difference<'a> {
    key: &'a str,
    first: Option<&'a str>,
    second: Option<&'a str>,
}

pub(crate) fn diff_json<'a>(
    first: &'a Desired,
    second: &'a Desired,
    differences: &'a Differences,
) -> Diff<'a> {
    let maybe = |text: &'a str| (!text.is_empty()).then_some(text);
    let one = |(key, ours, theirs): &'a (String, String, String)| Difference {
        key,
        first: maybe(ours),
        second: maybe(theirs),
    };
    Diff {
        schema: Schema,
        first: &first.name,
        second: &second.name,
        differences: differences.iter().map(one).collect(),
    }
}

/// The text of a profile.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Text<'a> {
    schema: Schema,
    profile: &'a str,
}

pub(crate) fn text_json(profile: &str) -> Text<'_> {
    let schema = Schema;
    Text { schema, profile }
}

/// A file that was written.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Written {
    schema: Schema,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

pub(crate) fn written_json(path: &Path, changed: Option<bool>) -> Written {
    Written {
        schema: Schema,
        path: path.display().to_string(),
        changed,
    }
}

/// Profiles without a mistake; those with one are an error.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Checked {
    schema: Schema,
    files: usize,
    mistakes: [String; 0],
}

pub(crate) fn checked_json(files: usize) -> Checked {
    Checked {
        schema: Schema,
        files,
        mistakes: [],
    }
}
