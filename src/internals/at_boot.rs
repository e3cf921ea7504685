//! Which line of sysctl.d each reader lets win.

use std::io;
use std::path::{Path, PathBuf};

use crate::boot::{Reader, Sure, Tree, effective, explain};
use crate::files::{Root, View, boot_files, sysctl_tree};
use crate::tunable::{Conntrack, Host, Key, as_held, kernel_number};

/// The sysctl.d files below a root.
#[derive(Debug, PartialEq, Eq)]
pub struct SysctlTree(Tree);

/// The line that sets a key for a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Winner {
    /// The value that the kernel holds after it.
    pub value: i64,
    /// The path at which the reader finds the file.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
}

impl SysctlTree {
    /// One without files.
    pub(super) fn empty() -> Self {
        SysctlTree(Tree::default())
    }

    /// Reads the files below `root`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let root = Root::at(root).map_err(io::Error::other)?;
        let tree = sysctl_tree::read(&View::of(&root)).map_err(io::Error::other)?;
        Ok(SysctlTree(tree))
    }

    /// The tree after a write to `path`, or after its removal.
    #[must_use]
    pub fn with_file(&self, path: &Path, bytes: Option<Vec<u8>>) -> Self {
        SysctlTree(self.0.with_file(path, bytes))
    }

    /// The winners for `reader` ("procps" or "systemd"), by the key's file name.
    pub fn winners(&self, reader: &str) -> Vec<(&'static str, Winner)> {
        let effective = effective(&self.0, named(reader));
        let winner = |key: &Key| {
            let winner = effective.winner(*key)?;
            let told = Winner {
                value: winner.value,
                file: winner.file.clone(),
                line: winner.line,
            };
            Some((key.file_name(), told))
        };
        Key::ALL.iter().filter_map(winner).collect()
    }

    /// The lines that `check --explain` calls winners for `reader`: file and line.
    pub fn explained_winners(&self, reader: &str, key: &str) -> Vec<(PathBuf, usize)> {
        let Some(key) = named_key(key) else {
            return Vec::new();
        };
        let lines = explain(&self.0, key).lines.into_iter();
        let wins = lines.filter(|line| line.wins_for.contains(&named(reader)));
        wins.map(|line| (line.file, line.line)).collect()
    }
}

/// What a key is after the next boot of an image: the key's file name, the value, and whether
/// cttune is sure of it.
pub fn next_boot(root: &Path) -> io::Result<Vec<(&'static str, Option<i64>, bool)>> {
    let root = Root::at(root).map_err(io::Error::other)?;
    let host = Host {
        cpus: 1,
        memory: 0,
        conntrack: Conntrack::NotLoaded,
    };
    let files = boot_files::read(&root, &host, Vec::new()).map_err(io::Error::other)?;
    let answer = |key: &Key| {
        let answer = files.next_boot().answer(*key);
        (key.file_name(), answer.value, answer.sure == Sure::Known)
    };
    Ok(Key::ALL.iter().map(answer).collect())
}

/// The value of a key after this text was written to it; none if it is no number.
pub fn as_the_kernel_holds_it(key: &str, text: &str) -> Option<i64> {
    let key = named_key(key)?;
    kernel_number(key, text).map(|number| as_held(key, number))
}

fn named_key(file_name: &str) -> Option<Key> {
    let mut keys = Key::ALL.iter().copied();
    keys.find(|key| key.file_name() == file_name)
}

fn named(reader: &str) -> Reader {
    match reader {
        "procps" => Reader::Procps,
        _ => Reader::Systemd,
    }
}
