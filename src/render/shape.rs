//! Pieces that several outputs for machines have.
//!
//! Rule: an output is a struct, and its fields are the names that machines read, in their order. The
//! files of contrib/schema are made from these structs.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The version of the object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(super::SCHEMA)
    }
}

/// An object whose names are those of counters, reasons or fields, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named<T>(Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<N: Into<String>, T> FromIterator<(N, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(all: I) -> Self {
        let all = all.into_iter();
        Named(all.map(|(name, value)| (name.into(), value)).collect())
    }
}

/// The value of a field of flows.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum Scalar {
    Absent,
    Number(u32),
    Text(String),
}

/// Something that could not be read; `what` is the old name of `source`.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NotRead<'a> {
    source: &'a str,
    what: &'a str,
    why: &'a str,
}

impl<'a> NotRead<'a> {
    pub(super) fn new(source: &'a str, why: &'a str) -> Self {
        let what = source;
        NotRead { source, what, why }
    }
}

/// An output as a part of another one.
pub(crate) fn value(output: &impl Serialize) -> Value {
    serde_json::to_value(output).unwrap_or_default()
}
