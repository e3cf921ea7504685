//! The files of contrib/schema: JSON Schema of every output, made from the types that print it, and of
//! the file of a saved plan.
//!
//! `CTTUNE_BLESS=1 cargo test --lib contrib_schema` writes them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::saved::Saved;
use crate::render::{self, shape};
use crate::render::{
    check, expire, explain, export, failure, fleet, forecast, guard, history, kill,
};
use crate::render::{metrics, outcome, plan, profile, report, salt, top};
use crate::tunable::Key;

impl JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^net\\.netfilter\\.nf_" })
    }
}

impl JsonSchema for shape::Schema {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": render::SCHEMA })
    }
}

impl<T: JsonSchema> JsonSchema for shape::Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let each = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": each })
    }
}

/// A file: its name, the commands whose output it is, and the schema.
fn all() -> Vec<(&'static str, &'static str, Schema)> {
    fn of<T: JsonSchema>() -> Schema {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        settings.into_generator().into_root_schema_for::<T>()
    }
    vec![
        ("check", "cttune check", of::<check::Output<'_>>()),
        (
            "explain",
            "cttune check --explain",
            of::<explain::Output<'_>>(),
        ),
        (
            "plan",
            "cttune plan, guard --install --dry-run",
            of::<plan::Output<'_>>(),
        ),
        ("saved-plan", "the file of cttune plan --out", of::<Saved>()),
        (
            "apply",
            "cttune apply, confirm, rollback, guard --install",
            of::<outcome::Output<'_>>(),
        ),
        (
            "unchanged",
            "any command whose question was answered with no",
            of::<outcome::Unchanged>(),
        ),
        (
            "preview",
            "cttune rollback --dry-run",
            of::<outcome::Previews<'_>>(),
        ),
        ("history", "cttune history", of::<history::Output<'_>>()),
        ("expire", "cttune expire", of::<expire::Output>()),
        ("kill", "cttune kill", of::<kill::Output<'_>>()),
        ("top", "cttune top", of::<top::Output<'_>>()),
        ("forecast", "cttune forecast", of::<forecast::Output>()),
        ("metrics", "cttune metrics", of::<metrics::Output<'_>>()),
        (
            "guard",
            "cttune guard, a line for each step",
            of::<guard::Output>(),
        ),
        ("fleet", "cttune fleet", of::<fleet::Told<'_>>()),
        ("report", "cttune report", of::<report::Output>()),
        (
            "profile-list",
            "cttune profile list",
            of::<profile::List<'_>>(),
        ),
        (
            "profile-show",
            "cttune profile show",
            of::<profile::Output<'_>>(),
        ),
        (
            "profile-diff",
            "cttune profile diff",
            of::<profile::Diff<'_>>(),
        ),
        (
            "profile-check",
            "cttune profile check",
            of::<profile::Checked>(),
        ),
        (
            "profile-export",
            "cttune profile export",
            of::<export::Exported>(),
        ),
        (
            "profile-text",
            "cttune profile capture, suggest",
            of::<profile::Text<'_>>(),
        ),
        (
            "written",
            "cttune profile set, copy, edit, capture FILE, suggest --out, check --bundle",
            of::<profile::Written>(),
        ),
        (
            "salt",
            "any command with --format salt",
            of::<salt::Answer>(),
        ),
        (
            "error",
            "any command that fails, on stderr",
            of::<failure::Output<'_>>(),
        ),
    ]
}

/// The text of a file. Formats such as `uint64` are those of Rust, and no validator's.
fn text(name: &str, commands: &str, schema: Schema) -> String {
    let mut schema = schema.to_value();
    without_formats(&mut schema);
    let about = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("cttune-{}-{name}.json", render::SCHEMA),
        "title": commands,
    });
    let mut whole = about.as_object().unwrap().clone();
    for (name, value) in schema.as_object().unwrap() {
        whole.entry(name.clone()).or_insert_with(|| value.clone());
    }
    format!("{:#}\n", Value::Object(whole))
}

fn without_formats(value: &mut Value) {
    match value {
        Value::Object(object) => {
            // A property may be called so, and is no string then.
            if object.get("format").is_some_and(Value::is_string) {
                object.shift_remove("format");
            }
            object.values_mut().for_each(without_formats);
        }
        Value::Array(array) => array.iter_mut().for_each(without_formats),
        _ => {}
    }
}

#[test]
fn contrib_schema_has_the_types_that_print() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/schema");
    let bless = std::env::var_os("CTTUNE_BLESS").is_some();
    let mut names = BTreeSet::new();
    for (name, commands, schema) in all() {
        let file = folder.join(format!("{name}.json"));
        let made = text(name, commands, schema);
        if bless {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &made).unwrap();
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == made,
            "{} is another one; CTTUNE_BLESS=1 cargo test --lib contrib_schema writes it",
            file.display()
        );
        names.insert(format!("{name}.json"));
    }
    let there = fs::read_dir(&folder).unwrap();
    let there: BTreeSet<String> = there
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, names);
}
