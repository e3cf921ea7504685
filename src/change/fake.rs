//! A simulated machine for tests, which fails where a test wants it to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::signal::Signal;
use super::system::{System, SystemError};
use crate::change::flows::{FlowContext, FlowError};
use crate::files::FileError;
use crate::flow::expire::Tally;
use crate::kernel::nft::NftError;
use crate::kernel::sysctl::WriteError;
use crate::profile::ExpireParameters;
use crate::service::{Found, Lifeline, Table};
use crate::tunable::{Key, as_held};

/// The state of a machine, and how it fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a failure of its own
pub(super) struct Fake {
    pub(super) values: BTreeMap<Key, i64>,
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) count: i64,
    pub(super) is_loaded: bool,
    /// Changes that were asked for so far.
    pub(super) asked: usize,
    /// The change that fails, counted from 0; later ones work.
    pub(super) fails_at: Option<usize>,
    /// Whether the change that fails takes effect all the same.
    pub(super) fails_late: bool,
    /// Whether no file can be written any more after that.
    pub(super) fills_up: bool,
    /// A key that can be written once and never again.
    pub(super) sticks: Option<Key>,
    /// A file that never holds what was written to it.
    pub(super) loses: Option<PathBuf>,
    /// A file whose mode another program changes.
    pub(super) chmods: Option<PathBuf>,
    /// Modes of files that were written.
    pub(super) modes: BTreeMap<PathBuf, u32>,
    pub(super) table: Table,
    /// Before which look at the machine, or change of it, somebody flushes the ruleset, from 0.
    pub(super) flushes_at: Option<usize>,
    /// Looks and changes so far.
    pub(super) moments: usize,
    /// Tables that may be loaded: a simulated machine knows them by their text.
    pub(super) tables: Vec<Table>,
    /// Units that are enabled.
    pub(super) units: BTreeSet<String>,
    /// Whether no memory is found for a larger hash table.
    pub(super) no_memory: bool,
}

impl Fake {
    /// Whether this change is the one that fails.
    fn fails(&mut self) -> bool {
        self.asked += 1;
        self.fails_at == Some(self.asked - 1)
    }

    /// Somebody else may act now.
    fn moment(&mut self) {
        if self.flushes_at == Some(self.moments) {
            self.table = Table::default();
        }
        self.moments += 1;
    }

    /// What can be seen of the machine from outside.
    pub(super) fn state(&self) -> impl PartialEq + std::fmt::Debug {
        (&self.values, &self.files, &self.table, self.is_loaded)
    }
}

fn refused(path: &Path) -> SystemError {
    let source = io::Error::from(io::ErrorKind::StorageFull);
    FileError::Io {
        doing: "write",
        path: path.to_owned(),
        source,
    }
    .into()
}

impl System for Fake {
    fn read(&mut self, key: Key) -> Result<Option<i64>, SystemError> {
        Ok(self.values.get(&key).copied().filter(|_| self.is_loaded))
    }

    fn count(&mut self) -> Result<Option<i64>, SystemError> {
        Ok(Some(self.count).filter(|_| self.is_loaded))
    }

    fn rehearse_write(&mut self, _: Key) -> Result<(), SystemError> {
        Ok(())
    }

    fn write(&mut self, key: Key, value: i64) -> Result<(), SystemError> {
        self.moment();
        let fails = self.fails();
        if key == Key::Buckets && self.no_memory {
            return Err(WriteError::NoMemory { key, value }.into());
        }
        let sticks = self.sticks == Some(key) && self.asked > 1;
        if sticks {
            return Err(WriteError::Denied(key).into());
        }
        if !fails || self.fails_late {
            self.values.insert(key, as_held(key, value));
        }
        if fails {
            Err(WriteError::Refused { key, value }.into())
        } else {
            Ok(())
        }
    }

    fn load_module(&mut self) -> Result<(), SystemError> {
        if self.fails() {
            let failed = crate::kernel::module::ModuleError::Failed {
                arguments: "nf_conntrack".to_owned(),
                said: "not found".to_owned(),
            };
            return Err(failed.into());
        }
        self.is_loaded = true;
        Ok(())
    }

    fn enable_unit(&mut self, unit: &str, to: bool) -> Result<(), SystemError> {
        if self.fails() {
            return Err(refused(Path::new(unit)));
        }
        if to {
            self.units.insert(unit.to_owned());
        } else {
            self.units.remove(unit);
        }
        Ok(())
    }

    fn unload_module(&mut self) -> Result<(), SystemError> {
        self.is_loaded = false;
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<Option<Vec<u8>>, SystemError> {
        Ok(self.files.get(path).cloned())
    }

    fn rehearse_file(&mut self, _: &Path, _: &[u8]) -> Result<(), SystemError> {
        Ok(())
    }

    fn replace_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError> {
        self.moment();
        if self.fails() || (self.fills_up && self.asked > self.fails_at.unwrap_or(usize::MAX)) {
            return Err(refused(path));
        }
        if self.chmods.as_deref() == Some(path) {
            self.modes.insert(path.to_owned(), 0o666);
        }
        if self.loses.as_deref() != Some(path) {
            self.files.insert(path.to_owned(), bytes.to_vec());
        }
        Ok(())
    }

    fn file_mode(&mut self, path: &Path) -> Result<Option<u32>, SystemError> {
        let mode = self.modes.get(path).copied().unwrap_or(0o644);
        Ok(self.files.contains_key(path).then_some(mode))
    }

    fn missing_folders(&mut self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    fn overwrite_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError> {
        self.files.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove_file(&mut self, path: &Path) -> Result<(), SystemError> {
        if self.fails() {
            return Err(refused(path));
        }
        self.files.remove(path);
        Ok(())
    }

    fn clear_up(&mut self, _: &[&Path], _: &[PathBuf]) {}

    fn read_table(&mut self) -> Result<Found, SystemError> {
        self.moment();
        Ok(Found::Ours(self.table.clone()))
    }

    fn rehearse_table(&mut self, _: &str) -> Result<(), SystemError> {
        Ok(())
    }

    fn load_table(&mut self, text: &str) -> Result<(), SystemError> {
        self.moment();
        let fails = self.fails();
        if !fails || self.fails_late {
            let mut tables = self.tables.iter();
            let loaded = tables.find(|table| text.contains(&table.text()));
            self.table = loaded.cloned().unwrap_or_default();
        }
        if fails {
            Err(NftError::NotInstalled.into())
        } else {
            Ok(())
        }
    }

    fn end_tracked(&mut self, _: &Lifeline) -> Result<(), SystemError> {
        Ok(())
    }

    fn reload_units(&mut self) -> Result<(), SystemError> {
        Ok(())
    }

    fn look_at_flows(
        &mut self,
        _: &ExpireParameters,
        _: &mut FlowContext<'_>,
    ) -> Result<(), SystemError> {
        Ok(())
    }

    fn expire(
        &mut self,
        _: &ExpireParameters,
        _: &mut FlowContext<'_>,
    ) -> Result<Tally, SystemError> {
        if self.fails() {
            let source = FlowError::Stopped(Signal::Interrupt);
            return Err(SystemError::Expire { source, changed: 7 });
        }
        Ok(Tally {
            clamped: 9,
            ..Tally::default()
        })
    }
}
