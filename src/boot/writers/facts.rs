//! What is known of a machine: the processes that run, and each file that the evaluation asks for.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use foldhash::fast::RandomState;

use super::scripts;
use crate::boot::{SourceLine, shell};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// One of [`Facts::PROGRAMS`].
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    /// Its command line, the program first.
    pub(crate) arguments: Vec<String>,
    /// The unit that starts it, where it does not run.
    pub(crate) unit: Option<SourceLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) is_executable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or nothing that a program would read there.
    Nothing,
    File(File),
    /// A program that is no text, or a text that is too large for a script.
    Unfollowed {
        is_program: bool,
        is_executable: bool,
    },
    /// The names in a folder, sorted.
    Folder(Vec<String>),
    /// A link to `/dev/null`.
    Masked,
    /// Something that cttune may not read.
    Unreadable,
}

/// What is known of a machine: a file is read when the evaluation first asks for it.
pub(crate) struct Facts<'a> {
    processes: Vec<Process>,
    cpus: u32,
    /// For all scripts of the machine together.
    budget: shell::Budget,
    read: Box<dyn Fn(&Path) -> Found + 'a>,
    /// What was read, in lists by the hash of the path: what is in a list never moves, so that
    /// texts can be lent while more is read.
    lists: [Place; LISTS],
    hasher: RandomState,
    /// What `units` finds first and asks for again: the units that some folder wants, and whether
    /// that is surely at boot.
    pub(super) wanted: OnceCell<BTreeMap<String, bool>>,
}

const LISTS: usize = 256;
/// A place of a list, which is filled once.
type Place = OnceCell<Box<Node>>;

struct Node {
    path: PathBuf,
    found: Found,
    next: Place,
}

impl<'a> Facts<'a> {
    /// The programs to look for among the processes.
    pub(crate) const PROGRAMS: [&'static str; 11] = [
        "conntrackd",
        "dockerd",
        "firewalld",
        "hyperkube",
        "k0s",
        "k3s",
        "k3s-agent",
        "k3s-server",
        "kube-proxy",
        "kubelite",
        "rke2",
    ];

    /// `read` tells what is at a path of the machine.
    pub(crate) fn new(
        processes: Vec<Process>,
        cpus: u32,
        read: impl Fn(&Path) -> Found + 'a,
    ) -> Self {
        Facts {
            processes,
            cpus,
            budget: shell::Budget::default(),
            read: Box::new(read),
            lists: std::array::from_fn(|_| Place::new()),
            hasher: RandomState::default(),
            wanted: OnceCell::new(),
        }
    }

    /// A machine that has these files and folders.
    #[cfg(test)]
    pub(crate) fn of_files(
        processes: Vec<Process>,
        cpus: u32,
        files: BTreeMap<PathBuf, Found>,
    ) -> Facts<'static> {
        Facts::new(processes, cpus, move |path| {
            files.get(path).cloned().unwrap_or(Found::Nothing)
        })
    }

    pub(super) fn find(&self, path: &Path) -> &Found {
        let hash = self.hasher.hash_one(path.as_os_str());
        let list = usize::try_from(hash % LISTS as u64).unwrap_or_default();
        let mut place = &self.lists[list];
        loop {
            let node = place.get_or_init(|| {
                Box::new(Node {
                    path: path.to_owned(),
                    found: (self.read)(path),
                    next: Place::new(),
                })
            });
            if node.path.as_os_str() == path.as_os_str() {
                return &node.found;
            }
            place = &node.next;
        }
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

    /// Whether a folder has a name.
    pub(super) fn has(&self, folder: &str, name: &str) -> bool {
        let names = self.names(folder);
        names.binary_search_by(|one| one.as_str().cmp(name)).is_ok()
    }

    /// The names in a folder that end in a dot and `ending`.
    pub(super) fn names_ending<'b>(
        &'b self,
        folder: impl AsRef<Path>,
        ending: &'b str,
    ) -> impl Iterator<Item = &'b String> {
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

    pub(super) fn budget(&self) -> &shell::Budget {
        &self.budget
    }

    pub(super) fn running(&self) -> Vec<&'static str> {
        let names: BTreeSet<_> = self.processes.iter().map(|one| one.name).collect();
        names.into_iter().collect()
    }

    /// The files and folders that cttune may not read, sorted.
    pub(super) fn unreadable(&self) -> Vec<PathBuf> {
        let nodes = self
            .lists
            .iter()
            .flat_map(|first| std::iter::successors(first.get(), |node| node.next.get()));
        let unreadable = nodes.filter(|node| node.found == Found::Unreadable);
        let mut paths: Vec<PathBuf> = unreadable.map(|node| node.path.clone()).collect();
        paths.sort_unstable();
        paths
    }
}

impl shell::Files for Facts<'_> {
    fn text(&self, path: &str) -> Option<&str> {
        Facts::text(self, path)
    }

    fn names(&self, folder: &str) -> &[String] {
        Facts::names(self, folder)
    }

    fn is_packaged(&self, path: &str) -> bool {
        scripts::is_packaged(Path::new(path))
    }
}

/// What a file that a shell reads leaves in a variable; none where that is nothing, or is not known.
pub(super) fn assigned(facts: &Facts<'_>, path: &str, name: &str) -> Option<String> {
    let text = format!("{}\n: \"${name}\"\n", facts.text(path)?);
    let variables = shell::Variables::default();
    let commands = shell::commands_within(&text, variables, facts, facts.budget())?;
    let [asks, word] = commands.last()?.words.as_slice() else {
        return None;
    };
    let value = word.value.clone().filter(|_| asks.raw == ":");
    value.filter(|value| !value.is_empty())
}

/// The value of `NAME = value` in a file that its program reads by itself; the last one counts.
pub(super) fn setting(text: &str, name: &str) -> Option<String> {
    let values = text.lines().filter_map(|line| line.split_once('='));
    let mut own = values.filter(|(own, _)| own.trim() == name);
    let (_, value) = own.next_back()?;
    let words = shell::words(value, &shell::Variables::default());
    words.into_iter().next()?.value
}
