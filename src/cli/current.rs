//! Reads what is current, before anything is decided: the kernel, the files, other writers.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::Global;
use super::failure::{FAILED, Failure};
use super::place;
use crate::boot::writers::Facts;
use crate::files::{ReadError, Root, boot_files};
use crate::kernel::ahead::Ahead;
use crate::kernel::{host, nft, processes, sysctl};
use crate::plan::{Comparison, Files, Machine};
use crate::service::Found;
use crate::tunable::{Host, Reading, Snapshot};

/// The files, which another thread reads; none with `--netns`.
pub(super) type FilesAhead = Option<Ahead<Result<Files, ReadError>>>;

#[derive(Debug)]
pub(super) struct Current {
    pub(super) host: Host,
    pub(super) live: Option<Snapshot>,
    pub(super) files: Option<Files>,
    /// nft's table of cttune, once it was asked for.
    table: Option<Found>,
    /// What to call the machine: its name, or the root.
    pub(super) name: String,
}

impl Current {
    /// Reads what the global options allow: with `--root` no kernel, with `--netns` no files.
    pub(super) fn read(global: &Global, root: &Root) -> anyhow::Result<Self> {
        let (mut current, files) = Current::start(global, root)?;
        current.finish(files)?;
        Ok(current)
    }

    /// The same, the files apart: they are still being read, and are not known before `finish`.
    pub(super) fn start(global: &Global, root: &Root) -> anyhow::Result<(Self, FilesAhead)> {
        let host = host::read_host()?;
        let has_processes = global.root.is_none();
        let read_files = {
            let (root, host) = (root.clone(), host.clone());
            move || {
                let processes = if has_processes {
                    processes::running(&Facts::PROGRAMS)
                } else {
                    Vec::new()
                };
                let files = boot_files::read(&root, &host, processes)?;
                Ok(files.run_by_systemd(root.is_machine() && host::is_systemds()))
            }
        };
        let files = (global.netns.is_none()).then(|| Ahead::start("files", read_files));
        let live = match global.root {
            Some(_) => None,
            None => Some(sysctl::read_snapshot()?),
        };
        let current = Current {
            host,
            live,
            files: None,
            table: None,
            name: place::name(global),
        };
        Ok((current, files))
    }

    /// Waits for the files.
    pub(super) fn finish(&mut self, files: FilesAhead) -> Result<(), Failure> {
        let files = files.map(Ahead::finish).transpose();
        self.files = files.map_err(|error| Failure::of(FAILED, &error))?;
        Ok(())
    }

    /// All of it, with nft's table.
    pub(super) fn with_table(global: &Global, root: &Root) -> anyhow::Result<Self> {
        let mut current = Current::read(global, root)?;
        current.read_table();
        Ok(current)
    }

    /// Asks for nft's table of cttune; an image has none.
    pub(super) fn read_table(&mut self) {
        if self.live.is_some() {
            self.table = Some(nft::read_table());
        }
    }

    pub(super) fn machine(&self) -> Machine<'_> {
        Machine {
            host: &self.host,
            live: self.live.as_ref(),
            files: self.files.as_ref(),
            table: self.table.as_ref(),
        }
    }

    /// Files that could not be read, so that what they set is not known.
    pub(super) fn unread(&self) -> BTreeSet<&Path> {
        let files = self.files.as_ref();
        files.map_or_else(BTreeSet::new, |files| files.next_boot().unread())
    }
}

/// Refuses to judge what could not be read.
pub(super) fn demand_readings(comparison: &Comparison) -> anyhow::Result<()> {
    let is_denied = |live| live == Some(Reading::Denied);
    let mut settings = comparison.settings.iter();
    match settings.find(|setting| is_denied(setting.live)) {
        Some(setting) => {
            let message = format!("cannot read {}: permission denied", setting.key);
            Err(Failure::new(FAILED, message).hint("run it as root").into())
        }
        None => Ok(()),
    }
}
