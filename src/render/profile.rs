//! `cttune profile`: the list, and a profile as machines read it.

use serde_json::{Map, Value, json};

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
    let width = |cell: fn(&Row) -> &str| {
        rows.iter()
            .map(|row| cell(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (name, place) = (width(|row| &row.name), width(|row| &row.place));
    rows.iter()
        .map(|row| {
            format!(
                "{HEAD}{:<name$}{HEAD:#}  {FAINT}{:<place$}{FAINT:#}  {}\n",
                row.name, row.place, row.description
            )
        })
        .collect()
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
