//! sysctl.d text: which value each reader leaves in the kernel, and which line put it there.
//!
//! In: a [`Tree`], the image of a machine's sysctl.d directories and `/etc/sysctl.conf`. Out: the
//! [`Effective`] winners of each [`Reader`], an [`Explanation`] of every line that names a key, and
//! the text of the files that cttune itself keeps.
//! Rule: pure; the two real programs are the specification, and `tests/sysctl_judges.rs` asks them.
//! Follows sysctl.d(5), sysctl.conf(5), procps 4.0.2 `src/sysctl.c`, systemd 252 `src/sysctl`.

pub(crate) mod adopt;
pub(crate) mod at_boot;
pub(crate) mod drop_in;
mod effective;
mod explain;
pub(crate) mod managed;
pub(crate) mod modules;
mod pattern;
mod statement;
mod tree;

use std::fmt;

pub(crate) use effective::{Effective, Winner, effective};
pub(crate) use explain::{ExplainedLine, Explanation, explain};
pub(crate) use tree::{Content, Directory, Entry, Tree, has_conf_name};

/// A program that carries sysctl.d into the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reader {
    /// `sysctl --system` of procps.
    Procps,
    /// `systemd-sysctl`, which runs at boot.
    Systemd,
}

impl Reader {
    /// Both readers, in the order in which they are reported.
    pub(crate) const ALL: [Reader; 2] = [Reader::Procps, Reader::Systemd];
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reader::Procps => "sysctl --system",
            Reader::Systemd => "systemd-sysctl",
        })
    }
}
