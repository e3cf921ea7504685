//! One step of a plan, with what was there before and what will be there after.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diagnostic::plain::Shown;
use crate::profile::{ExpireMode, ExpireParameters};
use crate::service::Table;
use crate::tunable::{Key, format_count};

/// One thing to do, and enough to undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Step {
    LoadModule {
        why: String,
    },
    /// Unload it again; only a revert has this step.
    UnloadModule {
        why: String,
    },
    WriteLive {
        key: Key,
        /// What holds now; `None` while the module is not loaded.
        from: Option<i64>,
        to: i64,
        why: String,
    },
    WriteFile {
        /// Where, as seen from inside the root.
        path: PathBuf,
        /// What stands there; `None` if nothing does.
        #[serde(with = "text::optional")]
        #[cfg_attr(test, schemars(with = "Option<text::Bytes>"))]
        from: Option<Vec<u8>>,
        /// What will stand there; `None` removes it.
        #[serde(with = "text::optional")]
        #[cfg_attr(test, schemars(with = "Option<text::Bytes>"))]
        to: Option<Vec<u8>>,
        why: String,
    },
    /// Comment lines of somebody else's file out; all its other bytes stay.
    EditLine {
        path: PathBuf,
        /// Which lines, counted from 1.
        lines: Vec<usize>,
        /// The whole file, as it is and as it will be.
        #[serde(with = "text")]
        #[cfg_attr(test, schemars(with = "text::Bytes"))]
        from: Vec<u8>,
        #[serde(with = "text")]
        #[cfg_attr(test, schemars(with = "text::Bytes"))]
        to: Vec<u8>,
        why: String,
    },
    /// Make nft's table `inet cttune` what services and the lifeline need, all or nothing.
    Service {
        /// The table now; `None` if there is none.
        from: Option<Table>,
        /// The table then; `None` removes it.
        to: Option<Table>,
        /// Whether flows lose what they have.
        #[serde(default)]
        replace: bool,
        why: String,
    },
    /// Have systemd read its units again, and run the one of services.
    ReloadUnits {
        why: String,
    },
    /// Enable a unit of systemd and start it, or stop it and disable it.
    EnableUnit {
        unit: String,
        /// Whether it will be enabled.
        to: bool,
        why: String,
    },
    /// Bring existing flows under the timeouts that hold then. Nothing undoes it.
    Expire {
        parameters: ExpireParameters,
        /// How many there were when the plan was made; `None` where that could not be counted.
        flows: Option<u64>,
        why: String,
    },
}

/// A file before and after a step; `None` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileChange<'a> {
    /// Where, as seen from inside the root.
    pub(crate) path: &'a Path,
    pub(crate) from: Option<&'a [u8]>,
    pub(crate) to: Option<&'a [u8]>,
}

impl Step {
    /// The kind, as machines read it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Step::LoadModule { .. } => "load-module",
            Step::UnloadModule { .. } => "unload-module",
            Step::WriteLive { .. } => "write-live",
            Step::WriteFile { .. } => "write-file",
            Step::EditLine { .. } => "edit-line",
            Step::Service { .. } => "service",
            Step::ReloadUnits { .. } => "reload-units",
            Step::EnableUnit { .. } => "enable-unit",
            Step::Expire { .. } => "expire",
        }
    }

    pub(crate) fn why(&self) -> &str {
        match self {
            Step::LoadModule { why }
            | Step::UnloadModule { why }
            | Step::WriteLive { why, .. }
            | Step::WriteFile { why, .. }
            | Step::EditLine { why, .. }
            | Step::Service { why, .. }
            | Step::ReloadUnits { why }
            | Step::EnableUnit { why, .. }
            | Step::Expire { why, .. } => why,
        }
    }

    /// Whether it is about the running kernel alone.
    pub(crate) fn is_live(&self) -> bool {
        matches!(
            self,
            Step::LoadModule { .. }
                | Step::UnloadModule { .. }
                | Step::WriteLive { .. }
                | Step::Service { .. }
        )
    }

    /// The live value that it sets.
    pub(crate) fn sets(&self) -> Option<(Key, i64)> {
        match self {
            Step::WriteLive { key, to, .. } => Some((*key, *to)),
            _ => None,
        }
    }

    /// Whether it is about flows.
    pub(crate) fn is_expire(&self) -> bool {
        matches!(self, Step::Expire { .. })
    }

    /// The table of nft that it makes.
    pub(crate) fn table(&self) -> Option<&Table> {
        match self {
            Step::Service { to, .. } => to.as_ref(),
            _ => None,
        }
    }

    /// What nft is given to make that table.
    pub(crate) fn transaction(&self) -> Option<String> {
        match self {
            Step::Service {
                from, to, replace, ..
            } => Some(Table::transaction(from.as_ref(), to.as_ref(), *replace)),
            _ => None,
        }
    }

    /// What it does to a file, if it is about one.
    pub(crate) fn file(&self) -> Option<FileChange<'_>> {
        match self {
            Step::WriteFile { path, from, to, .. } => Some(FileChange {
                path,
                from: from.as_deref(),
                to: to.as_deref(),
            }),
            Step::EditLine { path, from, to, .. } => Some(FileChange {
                path,
                from: Some(from),
                to: Some(to),
            }),
            _ => None,
        }
    }

    /// One line that names the step: what, from, to.
    pub(crate) fn summary(&self) -> String {
        let was =
            |from: &Option<i64>| from.map_or_else(|| "not loaded".to_owned(), |n| n.to_string());
        match self {
            Step::LoadModule { .. } => "load the module nf_conntrack".to_owned(),
            Step::UnloadModule { .. } => "unload the module nf_conntrack".to_owned(),
            Step::WriteLive { key, from, to, .. } => format!("{key}: {} → {to}", was(from)),
            Step::WriteFile {
                path, from: None, ..
            } => format!("create {}", path.shown()),
            Step::WriteFile { path, to: None, .. } => format!("remove {}", path.shown()),
            Step::WriteFile { path, .. } => format!("rewrite {}", path.shown()),
            Step::EditLine { path, lines, .. } => {
                format!("comment out {}:{}", path.shown(), in_ranges(lines))
            }
            Step::Service { from, to, .. } => table_summary(from.as_ref(), to.as_ref()),
            Step::ReloadUnits { .. } => "reload systemd's units".to_owned(),
            Step::EnableUnit { unit, to: true, .. } => format!("enable and start {unit}"),
            Step::EnableUnit { unit, .. } => format!("stop and disable {unit}"),
            Step::Expire {
                parameters, flows, ..
            } => {
                // Which of them are idle only two samples prove, when it is done.
                let most = match parameters.mode {
                    ExpireMode::Clamp => "",
                    ExpireMode::ReAge | ExpireMode::Delete => "at most ",
                };
                let mode = parameters.mode.name();
                match flows.and_then(|flows| i64::try_from(flows).ok()) {
                    Some(1) => format!("{mode} {most}1 flow"),
                    Some(flows) => format!("{mode} {most}{} flows", format_count(flows)),
                    None => format!("{mode} flows"),
                }
            }
        }
    }
}

/// Numbers of lines that a summary names, at most.
const MOST_RANGES: usize = 8;

/// `2,5-7`: a file may have thousands of such lines.
fn in_ranges(lines: &[usize]) -> String {
    let is_next = |one: &usize, next: &usize| one.checked_add(1) == Some(*next);
    let ranges: Vec<&[usize]> = lines.chunk_by(is_next).collect();
    let shown = ranges.iter().take(MOST_RANGES).map(|range| match range {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(ToString::to_string).collect(),
    });
    let shown = shown.collect::<Vec<String>>().join(",");
    let rest: usize = ranges
        .iter()
        .skip(MOST_RANGES)
        .map(|range| range.len())
        .sum();
    match i64::try_from(rest) {
        Ok(1) => format!("{shown} and 1 more line"),
        Ok(rest @ 2..) => format!("{shown} and {} more lines", format_count(rest)),
        _ => shown,
    }
}

fn table_summary(from: Option<&Table>, to: Option<&Table>) -> String {
    let Some(table) = to else {
        return "remove nft table inet cttune".to_owned();
    };
    let verb = if from.is_some() { "change" } else { "create" };
    format!("{verb} nft table inet cttune: {}", table.parts())
}

/// Bytes of a file in the journal: text where they are text, else numbers.
mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(untagged)]
    pub(super) enum Bytes {
        Text(String),
        Numbers(Vec<u8>),
    }

    impl From<Bytes> for Vec<u8> {
        fn from(bytes: Bytes) -> Self {
            match bytes {
                Bytes::Text(text) => text.into_bytes(),
                Bytes::Numbers(numbers) => numbers,
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.serialize(serializer),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(deserializer).map(Into::into)
    }

    pub(super) mod optional {
        use serde::{Deserialize, Deserializer, Serializer};

        use super::Bytes;

        #[allow(clippy::ref_option)] // serde's `with` passes the field by reference
        pub(in super::super) fn serialize<S: Serializer>(
            bytes: &Option<Vec<u8>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match bytes {
                Some(bytes) => super::serialize(bytes, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Vec<u8>>, D::Error> {
            Ok(Option::<Bytes>::deserialize(deserializer)?.map(Into::into))
        }
    }
}

/// The lowest max that an undo may set: a tenth above what the table holds, so that putting a
/// smaller max back never cuts off the flows that came since.
pub(crate) fn lowest_safe_max(count: i64) -> i64 {
    count.saturating_add(count.saturating_add(9) / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ExpireSettings;

    #[test]
    fn lines_are_named_in_ranges_and_not_without_end() {
        let odd: Vec<usize> = (0..12).map(|one| 2 * one + 1).collect();
        for (lines, expected) in [
            (&[3][..], "3"),
            (&[2, 3], "2-3"),
            (&[1, 5, 6, 7, 9], "1,5-7,9"),
            (&odd[..9], "1,3,5,7,9,11,13,15 and 1 more line"),
            (&odd, "1,3,5,7,9,11,13,15 and 4 more lines"),
        ] {
            assert_eq!(in_ranges(lines), expected);
        }
    }

    #[test]
    fn a_step_about_flows_says_how_many_it_is_at_most() {
        for (mode, flows, said) in [
            (ExpireMode::Clamp, Some(48_112), "clamp 48,112 flows"),
            (ExpireMode::Clamp, None, "clamp flows"),
            (ExpireMode::ReAge, Some(1), "re-age at most 1 flow"),
            (ExpireMode::Delete, Some(2), "delete at most 2 flows"),
        ] {
            let parameters = ExpireParameters {
                mode,
                ..ExpireSettings::default().into()
            };
            let why = String::new();
            let step = Step::Expire {
                parameters,
                flows,
                why,
            };
            assert_eq!(step.summary(), said);
        }
    }

    #[test]
    fn an_undo_leaves_a_tenth_of_room() {
        for (count, max) in [(0, 0), (1, 2), (10, 11), (76768, 84445)] {
            assert_eq!(lowest_safe_max(count), max);
        }
    }
}
