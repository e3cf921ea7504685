//! `cttune profile`: the list, and a profile as machines read it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::layout::CELL;
use super::style::{FAINT, HEAD};
use crate::profile::{Accepted, Desired, Goal};

/// One profile of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
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
pub(crate) fn list_json(rows: &[Row]) -> Value {
    let profiles: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "name": row.name, "place": row.place, "description": row.description }))
        .collect();
    json!({ "schema": super::SCHEMA, "profiles": profiles })
}

/// A profile with its parents merged in.
pub(crate) fn desired_json(desired: &Desired) -> Value {
    let settings: Vec<Value> = desired
        .settings
        .iter()
        .map(|(key, setting)| {
            let mut object = goal_json(&setting.goal);
            object.insert("key".to_owned(), json!(key));
            object.insert("required".to_owned(), json!(setting.required));
            object.insert("why".to_owned(), json!(setting.why));
            object.insert("from".to_owned(), json!(setting.origin));
            Value::Object(object)
        })
        .collect();
    let reason = |(id, accepted): (&String, &Accepted)| (id.clone(), json!(accepted.reason));
    json!({
        "schema": super::SCHEMA,
        "name": desired.name,
        "description": desired.description,
        "role": desired.role,
        "settings": settings,
        "accept": desired.accept.iter().map(reason).collect::<Map<_, _>>(),
    })
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
        let fields = goal_json(&setting.goal).into_iter();
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
    settings.chain(accept).chain(role).collect()
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
pub(crate) fn diff_json(first: &Desired, second: &Desired, differences: &Differences) -> Value {
    let maybe = |text: &String| (!text.is_empty()).then(|| text.clone());
    let one = |(key, ours, theirs): &(String, String, String)| json!({ "key": key, "first": maybe(ours), "second": maybe(theirs) });
    json!({
        "schema": super::SCHEMA,
        "first": first.name,
        "second": second.name,
        "differences": differences.iter().map(one).collect::<Vec<_>>(),
    })
}

fn goal_json(goal: &Goal) -> Map<String, Value> {
    let fields = match goal {
        Goal::Exact(value) => json!({ "value": value }),
        Goal::Bounds(bounds) => json!({
            "at-least": bounds.at_least,
            "at-most": bounds.at_most,
            "per-cpu": bounds.per_cpu,
            "per-cpu-cap": bounds.per_cpu_cap,
            "follow": bounds.follow,
            "memory-cap": bounds.memory_cap.map(|share| f64::from(share) / 100.0),
        }),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
