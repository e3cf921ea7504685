//! What stands between a plan and its being carried out.

use std::fmt;
use std::path::PathBuf;

use crate::boot::Reader;
use crate::tunable::Key;

/// A reason not to carry a plan out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// After the plan, another line would still win at boot.
    Overridden {
        /// Of which key.
        key: Key,
        /// The file of the winning line.
        file: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What it sets.
        value: i64,
        /// For whom it wins.
        readers: Vec<Reader>,
    },
    /// The file in our drop-in's place is somebody else's, or somebody added to it.
    NotOurs {
        /// Which file.
        file: PathBuf,
        /// The first line that is not ours.
        line: usize,
        /// That line.
        text: String,
    },
    /// max would be lower than the number of entries: every new flow would be dropped.
    MaxBelowCount {
        /// The max that the profile wants.
        max: i64,
        /// The entries that the table holds.
        count: i64,
    },
    /// The kernel lacks a key that the profile says is required.
    RequiredMissing(Key),
    /// A key is off and can be written by nobody here, though no namespace was named.
    ReadOnly {
        /// The first such key.
        key: Key,
        /// How many more there are.
        others: usize,
    },
    /// The two fragment thresholds would cross, which the kernel refuses.
    ThresholdsCross {
        /// The high threshold after the plan, in bytes.
        high: i64,
        /// The low threshold after the plan, in bytes.
        low: i64,
    },
}

/// The dangers that an operator has allowed, each by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Permission {
    /// `--allow-overridden`.
    pub(crate) overridden: bool,
    /// `--allow-max-below-count`.
    pub(crate) max_below_count: bool,
}

impl Blocked {
    /// Whether the operator has allowed it.
    pub(crate) fn is_permitted(&self, permission: Permission) -> bool {
        match self {
            Blocked::Overridden { .. } => permission.overridden,
            Blocked::MaxBelowCount { .. } => permission.max_below_count,
            _ => false,
        }
    }

    /// What the operator can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Blocked::Overridden { .. } => {
                "--adopt comments that line out, undoably; --allow-overridden leaves it".to_owned()
            }
            Blocked::NotOurs { .. } => {
                "move those lines to a file of their own in the same folder, then try again"
                    .to_owned()
            }
            Blocked::MaxBelowCount { .. } => {
                "--allow-max-below-count, if cutting new flows off is what you want".to_owned()
            }
            Blocked::RequiredMissing(_) => {
                "run a kernel that has it, or drop `required` from the profile".to_owned()
            }
            Blocked::ReadOnly { .. } => "run it on the host or with a writable /proc/sys; \
                 --only persist writes the files alone"
                .to_owned(),
            Blocked::ThresholdsCross { .. } => {
                "set both thresholds, the high one above the low one".to_owned()
            }
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocked::Overridden {
                key,
                file,
                line,
                value,
                readers,
            } => {
                let readers: Vec<String> = readers.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{}:{line} sets {value} and beats ours: {key} as {} will read it",
                    file.display(),
                    readers.join(" and ")
                )
            }
            Blocked::NotOurs { file, line, text } => {
                let text = text.trim();
                write!(f, "{}:{line} is not cttune's: `{text}`", file.display())
            }
            Blocked::MaxBelowCount { max, count } => write!(
                f,
                "{} = {max} is below the {count} entries that the table holds: \
                 every new flow would be dropped",
                Key::Max
            ),
            Blocked::RequiredMissing(key) => {
                write!(
                    f,
                    "{key} is required by the profile and missing on this kernel"
                )
            }
            Blocked::ReadOnly { key, others } => {
                let more = match others {
                    0 => "is",
                    1 => "and 1 more key are",
                    _ => &format!("and {others} more keys are"),
                };
                write!(
                    f,
                    "{key} {more} read-only here, so that what is wanted cannot be set"
                )
            }
            Blocked::ThresholdsCross { high, low } => write!(
                f,
                "{} = {high} would be below {} = {low}, which the kernel refuses",
                Key::Frag6HighThresh,
                Key::Frag6LowThresh
            ),
        }
    }
}
