//! What was read of a machine, and what is still to be read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// One of [`Facts::PROGRAMS`].
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    /// Its command line, the program first.
    pub(crate) arguments: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) is_executable: bool,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or nothing that a program would read there.
    Nothing,
    /// A regular file.
    File(File),
    /// The names in a folder, sorted.
    Folder(Vec<String>),
    /// A link to `/dev/null`.
    Masked,
    /// Something that cttune may not read.
    Unreadable,
}

/// What was read of a machine. What is asked for and was not read yet is noted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    processes: Vec<Process>,
    cpus: u32,
    found: BTreeMap<PathBuf, Found>,
    missing: RefCell<BTreeSet<PathBuf>>,
}

impl Facts {
    /// The programs to look for among the processes.
    pub(crate) const PROGRAMS: [&'static str; 9] = [
        "conntrackd",
        "dockerd",
        "firewalld",
        "hyperkube",
        "k3s",
        "k3s-agent",
        "k3s-server",
        "kube-proxy",
        "kubelite",
    ];

    pub(crate) fn new(processes: Vec<Process>, cpus: u32) -> Self {
        Facts {
            processes,
            cpus,
            ..Facts::default()
        }
    }

    /// What was asked for and is to be read now.
    pub(crate) fn take_missing(&mut self) -> BTreeSet<PathBuf> {
        self.missing.take()
    }

    pub(crate) fn add(&mut self, path: PathBuf, found: Found) {
        self.found.insert(path, found);
    }

    pub(super) fn find(&self, path: &Path) -> &Found {
        self.found.get(path).unwrap_or_else(|| {
            self.missing.borrow_mut().insert(path.to_owned());
            &Found::Nothing
        })
    }

    /// A regular file that is there and was read.
    pub(super) fn file(&self, path: impl AsRef<Path>) -> Option<&File> {
        match self.find(path.as_ref()) {
            Found::File(file) => Some(file),
            _ => None,
        }
    }

    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<&str> {
        self.file(path).map(|file| file.text.as_str())
    }

    /// The names in a folder; none where it is not there.
    pub(super) fn names(&self, folder: impl AsRef<Path>) -> &[String] {
        match self.find(folder.as_ref()) {
            Found::Folder(names) => names,
            _ => &[],
        }
    }

    /// The names in a folder that end in a dot and `ending`.
    pub(super) fn names_ending<'a>(
        &'a self,
        folder: impl AsRef<Path>,
        ending: &'a str,
    ) -> impl Iterator<Item = &'a String> {
        let has_ending = move |name: &&String| {
            let own = name.rsplit_once('.').map(|(_, own)| own);
            own == Some(ending)
        };
        self.names(folder).iter().filter(has_ending)
    }

    pub(super) fn processes(&self) -> &[Process] {
        &self.processes
    }

    pub(super) fn cpus(&self) -> u32 {
        self.cpus
    }

    pub(super) fn running(&self) -> Vec<&'static str> {
        let names: BTreeSet<_> = self.processes.iter().map(|one| one.name).collect();
        names.into_iter().collect()
    }

    pub(super) fn unreadable(&self) -> Vec<PathBuf> {
        let unreadable =
            |(path, found): (&PathBuf, &Found)| (*found == Found::Unreadable).then(|| path.clone());
        self.found.iter().filter_map(unreadable).collect()
    }
}

/// The value of `NAME=value` in a file for a shell; the last one counts.
pub(super) fn assigned(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        (key.trim_end() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    });
    values.next_back().filter(|value| !value.is_empty())
}
