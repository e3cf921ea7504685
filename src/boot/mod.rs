//! What every key will be after the next boot: which value, from which file and line.
//!
//! In: a [`Tree`], the image of a machine's sysctl.d directories and `/etc/sysctl.conf`; how the
//! module is loaded; what other programs write. Out: the [`Effective`] winners of each [`Reader`],
//! an [`Explanation`] of every line about a key, and the text of the files that cttune writes.
//! Rule: pure; the real programs are the specification, and `tests/sysctl_judges.rs` asks them.
//! Follows sysctl.d(5), sysctl.conf(5), procps 4.0.2 `src/sysctl.c`, systemd 252 `src/sysctl`.

pub(crate) mod adopt;
pub(crate) mod at_boot;
pub(crate) mod command_line;
mod dead_lines;
pub(crate) mod drop_in;
mod effective;
mod explain;
pub(crate) mod managed;
mod meant;
pub(crate) mod modules;
mod next_boot;
mod pattern;
mod shell;
mod statement;
pub(crate) mod storage;
mod tree;
mod udev;
pub(crate) mod writers;

use crate::diagnostic::plain::Shown;
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use dead_lines::DeadLine;
pub(crate) use effective::{Effective, Run, Winner, effective, overriding_lines};
pub(crate) use explain::{ExplainedLine, Explanation, explain};
pub(crate) use next_boot::{Answer, BootFiles, NextBoot, Sure};
pub(crate) use tree::{Content, Directory, Entry, Tree, has_conf_name};

/// A program that sets what sysctl.d says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reader {
    /// `sysctl --system` of procps.
    Procps,
    /// `systemd-sysctl`, which runs at boot.
    Systemd,
    /// OpenRC's `/etc/init.d/sysctl`, which runs `sysctl -p` for each file.
    OpenRc,
    /// tuned's plugin sysctl, which applies sysctl.d after its own values.
    Tuned,
}

impl Reader {
    /// The two that most machines have, in the order in which they are reported.
    pub(crate) const ALL: [Reader; 2] = [Reader::Procps, Reader::Systemd];
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reader::Procps => "sysctl --system",
            Reader::Systemd => "systemd-sysctl",
            Reader::OpenRc => "OpenRC",
            Reader::Tuned => "tuned",
        })
    }
}

/// A path for machines: one that is no UTF-8 has a replacement character there.
fn as_shown<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceLine {
    pub(crate) file: PathBuf,
    /// Its number, from 1.
    pub(crate) line: usize,
}

impl SourceLine {
    /// Another line of the same file.
    fn at(&self, line: usize) -> Self {
        SourceLine {
            file: self.file.clone(),
            line,
        }
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.shown(), self.line)
    }
}
