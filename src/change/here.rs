//! Where a command acts, and which changes of the journal were made there.

use super::error::ChangeError;
use super::journal::{Journal, JournalError};
use super::lock::Lock;
use super::past::changes_of;
use super::record::{Entry, Kind, Origin, Record};
use super::status::Status;
use crate::diagnostic::quoted;
use crate::files::Root;
use crate::flow::expire::Change;
use crate::kernel::host;
use crate::tunable::Key;

/// A root, a network namespace and a boot.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    root: Root,
    /// As `--netns` named it.
    netns: Option<String>,
    /// `None` where it cannot be read: nothing is taken for another boot then.
    boot_id: Option<String>,
    netns_inode: Option<u64>,
}

impl Here {
    /// Where the calling thread is.
    pub(crate) fn read(root: Root, netns: Option<String>) -> Self {
        Here {
            root,
            netns,
            boot_id: host::read_boot_id().ok(),
            netns_inode: host::read_netns_inode(),
        }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn journal(&self) -> Result<Journal, JournalError> {
        Journal::open(&self.root)
    }

    pub(super) fn origin(&self) -> Origin {
        Origin {
            time: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            boot_id: self.boot_id.clone().unwrap_or_default(),
            host: host::read_name(),
            kernel: host::read_release(),
            netns: self.netns.clone(),
            netns_inode: self.netns_inode,
            root: self.root.base().to_owned(),
        }
    }

    pub(super) fn in_boot(&self, entry: Entry) -> Entry {
        entry.in_boot(self.boot_id.as_deref())
    }

    pub(crate) fn is_of(&self, record: &Record) -> bool {
        self.demand(record).is_ok()
    }

    /// Refuses a change that was made elsewhere.
    pub(super) fn demand(&self, record: &Record) -> Result<(), ChangeError> {
        let (made, id) = (&record.origin, record.id);
        if made.root != self.root.base() {
            let root = made.root.display().to_string();
            let refused = ChangeError::new(format!("change {id} was made below {root}"));
            return Err(refused.hint(format!("add --root {}", quoted(&root))));
        }
        // An image has no network namespace.
        if !self.root.is_machine() || self.is_namespace_of(made) {
            return Ok(());
        }
        let refused =
            ChangeError::new(format!("change {id} was made in another network namespace"));
        Err(refused.hint(match &made.netns {
            Some(netns) if made.netns == self.netns => {
                format!("{netns} is another namespace now, and what the change did is gone")
            }
            Some(netns) => format!("add --netns {}", quoted(netns)),
            None => "run it where the change was made, without --netns".to_owned(),
        }))
    }

    /// Within one boot the kernel's number decides, whatever the namespace is called; after it only
    /// the name is left.
    fn is_namespace_of(&self, made: &Origin) -> bool {
        let boot_id = self.boot_id.as_ref();
        let is_another = boot_id.is_some_and(|id| !made.boot_id.is_empty() && *id != made.boot_id);
        match (made.netns_inode, self.netns_inode) {
            (Some(then), Some(now)) if !is_another => then == now,
            _ => made.netns == self.netns,
        }
    }

    /// The unfinished changes that were made here, oldest first. Those that ended with their boot
    /// are not among them.
    pub(crate) fn unfinished(&self) -> Result<Vec<Entry>, JournalError> {
        let entries = self.journal()?.unfinished()?.into_iter();
        Ok(entries
            .map(|entry| self.in_boot(entry))
            .filter(|entry| entry.state.status().is_unfinished() && self.is_of(&entry.record))
            .collect())
    }

    pub(crate) fn interrupted_apply(&self) -> Option<Record> {
        let mut unfinished = self.unfinished().unwrap_or_default().into_iter();
        let interrupted = |entry: &Entry| {
            entry.state.status() == Status::Started && entry.record.kind == Kind::Apply
        };
        unfinished.rfind(interrupted).map(|entry| entry.record)
    }

    /// The newest change that apply made here and that was not undone: its id, and when in seconds
    /// since 1970.
    pub(crate) fn last_apply(&self) -> anyhow::Result<Option<(u64, i64)>> {
        let newest = self.journal()?.find_newest(|entry| {
            let is_applied = entry.state.status().is_applied();
            entry.record.kind == Kind::Apply && is_applied && self.is_of(&entry.record)
        })?;
        newest
            .map(|entry| {
                let time: jiff::Timestamp = entry.record.origin.time.parse()?;
                Ok((entry.record.id, time.as_second()))
            })
            .transpose()
    }

    /// How a key changed here since the boot, as far as the journal knows; nothing where that cannot
    /// be read.
    pub(crate) fn changes_of(&self, key: Key) -> Vec<Change> {
        match (&self.boot_id, self.netns_inode) {
            (Some(boot_id), Some(netns)) => {
                let journal = self.journal().and_then(|journal| journal.read());
                let (entries, _) = journal.unwrap_or_default();
                changes_of(key, &entries, boot_id, netns)
            }
            _ => Vec::new(),
        }
    }

    /// Whether another cttune is changing something right now.
    pub(crate) fn is_locked(&self) -> bool {
        Lock::is_held(&self.root)
    }
}
