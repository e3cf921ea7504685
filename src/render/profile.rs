//! `cttune profile`: the list, and a profile as machines read it.

use serde_json::{Map, Value, json};

use super::style::{FAINT, HEAD};
use crate::profile::{Desired, Goal};

/// One profile of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its file, or `built-in`.
    pub(crate) place: String,
    /// Its description.
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
pub(crate) fn wanted_json(desired: &Desired) -> Value {
    let settings: Vec<Value> = desired
        .settings
        .iter()
        .map(|(key, wish)| {
            let mut object = goal_json(&wish.goal);
            object.insert("key".to_owned(), json!(key));
            object.insert("required".to_owned(), json!(wish.required));
            object.insert("why".to_owned(), json!(wish.why));
            object.insert("from".to_owned(), json!(wish.origin));
            Value::Object(object)
        })
        .collect();
    let accept: Map<String, Value> = desired
        .accept
        .iter()
        .map(|(finding, accepted)| (finding.clone(), json!(accepted.reason)))
        .collect();
    json!({
        "schema": super::SCHEMA,
        "name": desired.name,
        "description": desired.description,
        "role": desired.role.map(crate::profile::Role::name),
        "settings": settings,
        "accept": accept,
    })
}

fn goal_json(goal: &Goal) -> Map<String, Value> {
    let mut object = Map::new();
    match goal {
        Goal::Exact(value) => {
            object.insert("value".to_owned(), json!(value));
        }
        Goal::Bounds(bounds) => {
            object.insert("at-least".to_owned(), json!(bounds.at_least));
            object.insert("at-most".to_owned(), json!(bounds.at_most));
            object.insert("per-cpu".to_owned(), json!(bounds.per_cpu));
            object.insert("follow".to_owned(), json!(bounds.follow));
            object.insert(
                "memory-cap".to_owned(),
                json!(bounds.memory_cap.map(|share| f64::from(share) / 100.0)),
            );
        }
    }
    object
}
