//! What keeps a plan from being applied.

use std::fmt;
use std::path::PathBuf;

use crate::boot::Reader;
use crate::boot::writers::LaterWrite;
use crate::diagnostic::Hint;
use crate::diagnostic::plain::Shown;
use crate::service::Part;
use crate::tunable::{Key, format_count, plural};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// After the plan, this line would still win at boot, for these readers.
    Overridden {
        key: Key,
        file: PathBuf,
        /// From 1.
        line: usize,
        /// None where the kernel refuses it, and its default stays.
        value: Option<i64>,
        readers: Vec<Reader>,
    },
    /// Another program sets another value after sysctl.d is applied.
    WrittenLater {
        key: Key,
        write: LaterWrite,
        /// Whether it is a line like sysctl.d's, in a file that the program applies.
        is_plain: bool,
    },
    /// The file in the place of our drop-in is somebody else's, or somebody added this line to it.
    ForeignDropIn {
        file: PathBuf,
        line: usize,
        text: String,
    },
    /// max would be lower than the number of entries: every new flow would be dropped.
    MaxBelowCount { max: i64, count: i64 },
    /// The kernel lacks a key that the profile says is required.
    RequiredMissing(Key),
    /// This key and some others are off, and nobody can write them here, though no namespace was
    /// named.
    ReadOnly { key: Key, others: usize },
    /// nft's table of our name has a part that is somebody else's.
    ForeignTable { part: Part },
    /// The present rules drop untracked packets: the commands that let the lifeline pass.
    LifelineDropped { add: Vec<String> },
    /// The two fragment thresholds, in bytes, would cross after the plan.
    ThresholdsCross { high: i64, low: i64 },
}

/// The dangers that an operator has allowed, each by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Permission {
    pub(crate) overridden: bool,
    pub(crate) max_below_count: bool,
}

impl Blocked {
    pub(crate) fn is_permitted(&self, permission: Permission) -> bool {
        match self {
            Blocked::Overridden { .. } | Blocked::WrittenLater { .. } => permission.overridden,
            Blocked::MaxBelowCount { .. } => permission.max_below_count,
            _ => false,
        }
    }

    pub(crate) fn hint(&self) -> Hint {
        Hint::say(match self {
            Blocked::Overridden { .. } | Blocked::WrittenLater { is_plain: true, .. } => {
                "--adopt comments that line out, which rollback reverts; --allow-overridden \
                 leaves it"
            }
            Blocked::WrittenLater { .. } => {
                "remove that line, or set the same value there; --allow-overridden leaves it"
            }
            Blocked::ForeignDropIn { .. } => {
                "move those lines to a file of their own in the same folder, then try again"
            }
            Blocked::MaxBelowCount { .. } => {
                "--allow-max-below-count, if dropping new flows is what you want"
            }
            Blocked::RequiredMissing(_) => {
                "run a kernel that has it, or remove `required` from the profile"
            }
            Blocked::ReadOnly { .. } => {
                "run it on the host or with a writable /proc/sys; --only persist writes the files \
                 alone"
            }
            Blocked::ThresholdsCross { .. } => {
                "set both thresholds, the high one above the low one"
            }
            Blocked::LifelineDropped { add } => {
                let commands = add.iter().cloned().map(Hint::command).collect();
                return Hint::Lines("run these, then apply again".into(), commands);
            }
            Blocked::ForeignTable { part } => {
                let see = || Hint::command("nft list table inet cttune").to("see it");
                let rename = || see().and(Hint::say("give that table another name"));
                let remove = part.removal().map(Hint::command);
                return remove.map_or_else(rename, |remove| remove.to("remove it"));
            }
        })
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
                let sets = value.map_or_else(
                    || format!("has a value for {key} that the kernel refuses"),
                    |value| format!("sets {key} = {value}"),
                );
                write!(
                    f,
                    "{}:{line} {sets} and overrides our drop-in ({})",
                    file.shown(),
                    readers.join(", ")
                )
            }
            Blocked::WrittenLater { key, write, .. } => {
                write!(f, "{} and overrides our drop-in: {key}", write.told())
            }
            Blocked::ForeignDropIn { file, line, text } => {
                let text = text.trim();
                write!(
                    f,
                    "{}:{line} was not written by cttune: `{text}`",
                    file.shown()
                )
            }
            Blocked::MaxBelowCount { max, count } => write!(
                f,
                "{} = {max} is below the {} entries in the table: every new flow would be dropped",
                Key::Max,
                format_count(*count)
            ),
            Blocked::RequiredMissing(key) => write!(
                f,
                "{key} is required by the profile and missing on this kernel"
            ),
            Blocked::ReadOnly { key, others: 0 } => write!(f, "{key} is read-only here"),
            Blocked::ReadOnly { key, others } => {
                let others = plural(*others, "more key");
                write!(f, "{key} and {others} are read-only here")
            }
            Blocked::ForeignTable { part } => part.fmt(f),
            Blocked::LifelineDropped { .. } => {
                f.write_str("the present rules drop untracked packets, and with them the lifeline")
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
