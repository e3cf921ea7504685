//! What a plan is applied to: the running machine, or a simulated one in tests.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::expire::{Expired, Expiry};
use super::flows::{FlowContext, FlowError, Past};
use crate::diagnostic::plain::Shown;
use crate::diagnostic::{Advise, Hint};
use crate::files::{FileError, ReadError, Root, is_full};
use crate::flow::expire::Tally;
use crate::flow::{Filter, Selection};
use crate::kernel::ctnetlink::{Answer, Changes, each_flow};
use crate::kernel::module::{self, ModuleError};
use crate::kernel::nft::{self, NftError};
use crate::kernel::sysctl::{self, WriteError};
use crate::kernel::units::{self, UnitError};
use crate::profile::{ExpireMode, ExpireParameters};
use crate::service::{Found, Lifeline};
use crate::tunable::Key;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemError {
    #[error(transparent)]
    Read(#[from] sysctl::ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Module(#[from] ModuleError),
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A file that was written, or removed, is not as it should be.
    #[error("{} was written, but {what} when it was read back", path.shown())]
    ReadBack { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Nft(#[from] NftError),
    /// nft took the table, and it is another one.
    #[error("nft took the table inet cttune, but {0} when it was read back")]
    TableReadBack(String),
    #[error("ending the old entries of the lifeline: {0}")]
    Tracked(String),
    #[error("systemd did not start cttune-services.service: {0}")]
    Units(String),
    /// A step for a running kernel, and the files are those of an image.
    #[error("an image has no running kernel")]
    Image,
    /// Flows could not be shortened, or not all of them.
    #[error("{source}")]
    Expire {
        source: FlowError,
        /// Flows that were changed before.
        changed: u64,
    },
}

impl SystemError {
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, SystemError::File(FileError::Io { source, .. }) if is_full(source))
    }
}

impl From<ReadError> for SystemError {
    fn from(error: ReadError) -> Self {
        SystemError::File(error.into())
    }
}

impl Advise for SystemError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            _ if self.is_full() => {
                Hint::say("free some space, or apply to the running kernel alone: --only live")
            }
            SystemError::File(FileError::Io { source, .. })
                if source.kind() == ErrorKind::ReadOnlyFilesystem =>
            {
                Hint::say("remount it writable, or apply to the running kernel alone: --only live")
            }
            SystemError::File(error) => return error.hint(),
            SystemError::Module(_) => Hint::on_host("modinfo nf_conntrack")
                .to("see whether the module is installed for the running kernel"),
            SystemError::Unit(error) => return error.hint(),
            SystemError::ReadBack { .. } => {
                Hint::say("another program writes this file too: find it, then try again")
            }
            SystemError::Expire { source, .. } => return source.hint(),
            SystemError::Nft(NftError::NotInstalled) => Hint::say("install nftables"),
            SystemError::TableReadBack(_) => {
                Hint::on_host("nft monitor").to("see which program changes the ruleset")
            }
            SystemError::Units(_) => {
                Hint::on_host("systemctl status cttune-services").to("see why")
            }
            SystemError::Image => Hint::say("the record is not one that cttune wrote"),
            SystemError::Nft(_) | SystemError::Tracked(_) | SystemError::Read(_) => return None,
            SystemError::Write(error) => return error.hint(),
        })
    }
}

pub(crate) trait System {
    /// Reads one sysctl; `None` where it does not exist.
    fn read(&mut self, key: Key) -> Result<Option<i64>, SystemError>;
    /// Reads the number of entries; `None` where conntrack is not loaded.
    fn count(&mut self) -> Result<Option<i64>, SystemError>;
    fn rehearse_write(&mut self, key: Key) -> Result<(), SystemError>;
    /// Writes one sysctl and reads it back.
    fn write(&mut self, key: Key, value: i64) -> Result<(), SystemError>;
    fn load_module(&mut self) -> Result<(), SystemError>;
    fn unload_module(&mut self) -> Result<(), SystemError>;
    /// Enables a unit of systemd and starts it, or stops it and disables it, and reads that back.
    fn enable_unit(&mut self, unit: &str, to: bool) -> Result<(), SystemError>;
    fn read_file(&mut self, path: &Path) -> Result<Option<Vec<u8>>, SystemError>;
    fn file_mode(&mut self, path: &Path) -> Result<Option<u32>, SystemError>;
    fn rehearse_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError>;
    /// Writes a file whole; folders are made as needed.
    fn replace_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError>;
    /// The folders on the way to a file that do not exist, outermost first.
    fn missing_folders(&mut self, path: &Path) -> Vec<PathBuf>;
    /// Overwrites a file in place, where there is no space for a second copy.
    fn overwrite_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError>;
    fn remove_file(&mut self, path: &Path) -> Result<(), SystemError>;
    /// Removes what a killed run left beside these files, and those of the folders that are empty.
    fn clear_up(&mut self, files: &[&Path], folders: &[PathBuf]);
    /// Reads nft's table.
    fn read_table(&mut self) -> Result<Found, SystemError>;
    /// Has a text for nft judged.
    fn rehearse_table(&mut self, text: &str) -> Result<(), SystemError>;
    fn load_table(&mut self, text: &str) -> Result<(), SystemError>;
    /// Ends the entries of sessions that a lifeline does not track any more.
    fn end_tracked(&mut self, lifeline: &Lifeline) -> Result<(), SystemError>;
    /// Has systemd read its units again, and run the one of services if there is one.
    fn reload_units(&mut self) -> Result<(), SystemError>;
    /// Takes the first of two samples of the flows that will be changed, where that takes two.
    fn look_at_flows(
        &mut self,
        parameters: &ExpireParameters,
        context: &mut FlowContext<'_>,
    ) -> Result<(), SystemError>;
    /// Shortens flows to the current timeouts, and gives what became of them.
    fn expire(
        &mut self,
        parameters: &ExpireParameters,
        context: &mut FlowContext<'_>,
    ) -> Result<Tally, SystemError>;
}

#[derive(Debug)]
pub(crate) struct Running {
    root: Root,
    past: Past,
    looked: Option<Expiry>,
    expired: Option<(ExpireMode, Tally)>,
}

impl Running {
    pub(crate) fn new(root: Root) -> Self {
        Running {
            root,
            past: Past::default(),
            looked: None,
            expired: None,
        }
    }

    #[must_use]
    pub(crate) fn with_past(self, past: Past) -> Self {
        Running { past, ..self }
    }

    pub(crate) fn into_expired(self) -> Option<(ExpireMode, Tally)> {
        self.expired
    }

    /// Whatever the record of an image says, the kernel that runs is not the image's.
    fn demand_kernel(&self) -> Result<(), SystemError> {
        let is_machine = self.root.is_machine();
        is_machine.then_some(()).ok_or(SystemError::Image)
    }

    fn prepare(&self, parameters: &ExpireParameters) -> Result<Expiry, SystemError> {
        self.demand_kernel()?;
        Expiry::prepare(parameters, &self.past).map_err(unchanged)
    }
}

impl System for Running {
    fn read(&mut self, key: Key) -> Result<Option<i64>, SystemError> {
        self.demand_kernel()?;
        Ok(sysctl::read(key)?.value())
    }

    fn count(&mut self) -> Result<Option<i64>, SystemError> {
        if !self.root.is_machine() {
            return Ok(None);
        }
        Ok(sysctl::read_count()?)
    }

    fn rehearse_write(&mut self, key: Key) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(sysctl::rehearse(key)?)
    }

    fn write(&mut self, key: Key, value: i64) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(sysctl::write(key, value)?)
    }

    fn load_module(&mut self) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(module::load()?)
    }

    fn unload_module(&mut self) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(module::unload()?)
    }

    fn enable_unit(&mut self, unit: &str, to: bool) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(units::enable(unit, to)?)
    }

    fn read_file(&mut self, path: &Path) -> Result<Option<Vec<u8>>, SystemError> {
        Ok(self.root.read(path)?)
    }

    fn file_mode(&mut self, path: &Path) -> Result<Option<u32>, SystemError> {
        let Some(file) = self.root.open(path)? else {
            return Ok(None);
        };
        let failed = |source| FileError::io("look at", self.root.outside(path), source);
        Ok(Some(file.metadata().map_err(failed)?.mode() & 0o7777))
    }

    fn rehearse_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError> {
        Ok(self.root.rehearse(path, bytes)?)
    }

    fn replace_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError> {
        Ok(self.root.replace(path, bytes)?)
    }

    fn missing_folders(&mut self, path: &Path) -> Vec<PathBuf> {
        self.root.missing_folders(path)
    }

    fn overwrite_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SystemError> {
        Ok(self.root.overwrite(path, bytes)?)
    }

    fn remove_file(&mut self, path: &Path) -> Result<(), SystemError> {
        Ok(self.root.remove(path)?)
    }

    fn clear_up(&mut self, files: &[&Path], folders: &[PathBuf]) {
        for file in files {
            self.root.sweep(file);
        }
        self.root.remove_empty(folders);
    }

    fn read_table(&mut self) -> Result<Found, SystemError> {
        self.demand_kernel()?;
        Ok(nft::read_table())
    }

    fn rehearse_table(&mut self, text: &str) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(nft::check(text)?)
    }

    fn load_table(&mut self, text: &str) -> Result<(), SystemError> {
        self.demand_kernel()?;
        Ok(nft::load(text)?)
    }

    fn end_tracked(&mut self, lifeline: &Lifeline) -> Result<(), SystemError> {
        self.demand_kernel()?;
        end_flows(&lifeline.tracked()).map_err(SystemError::Tracked)
    }

    fn reload_units(&mut self) -> Result<(), SystemError> {
        self.demand_kernel()?;
        units::reload().map_err(|error| SystemError::Units(error.to_string()))
    }

    fn look_at_flows(
        &mut self,
        parameters: &ExpireParameters,
        context: &mut FlowContext<'_>,
    ) -> Result<(), SystemError> {
        let mut expiry = self.prepare(parameters)?;
        if expiry.needs_sample() {
            expiry.sample(context).map_err(unchanged)?;
        }
        self.looked = Some(expiry);
        Ok(())
    }

    fn expire(
        &mut self,
        parameters: &ExpireParameters,
        context: &mut FlowContext<'_>,
    ) -> Result<Tally, SystemError> {
        let mut expiry = self.prepare(parameters)?;
        if let Some(looked) = self.looked.take() {
            expiry = expiry.after(looked);
        }
        let Expired { tally, broken_off } = expiry.run(context);
        self.expired = Some((parameters.mode, tally.clone()));
        let changed = tally.selected();
        match broken_off {
            None => Ok(tally),
            Some(source) => Err(SystemError::Expire { source, changed }),
        }
    }
}

fn unchanged(source: FlowError) -> SystemError {
    SystemError::Expire { source, changed: 0 }
}

/// Passes over the table, where the answers to one were lost or the table was resized under way.
const PASSES: usize = 3;
/// Requests that wait at most before they are sent.
const AT_ONCE: usize = 4096;

/// Ends the flows of a selection, each by its tuple.
fn end_flows(selection: &Selection) -> Result<(), String> {
    // No terms at all would mean every flow.
    if selection.matching.is_empty() {
        return Ok(());
    }
    for _ in 0..PASSES {
        if end_found(selection)? {
            return Ok(());
        }
    }
    Err("some may be left: answers of the kernel were lost".to_owned())
}

/// Ends those that are there, and tells whether all were seen and answered.
fn end_found(selection: &Selection) -> Result<bool, String> {
    let mut changes = Changes::open().map_err(|error| error.to_string())?;
    let (mut is_whole, mut refused) = (true, None);
    let mut note = |(), answer| match answer {
        // One that is in a flowtable stays there until it is let out; it harms nobody.
        Answer::Done | Answer::Gone | Answer::Refused(Errno::EBUSY) => {}
        Answer::Unknown => is_whole = false,
        Answer::Refused(errno) => refused = Some(errno),
    };
    let mut sent = Ok(());
    let read = each_flow(&Filter::default(), |flow| {
        if selection.matches(flow) {
            changes.delete(flow, ());
            if changes.waiting() == AT_ONCE {
                sent = changes.send(&mut note);
            }
        }
        match sent {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let sent = sent.and_then(|()| changes.send(&mut note));
    let sent = sent.and_then(|()| changes.finish(&mut note));
    sent.map_err(|error| error.to_string())?;
    match (read, refused) {
        (_, Some(errno)) => Err(format!("the kernel refuses: {}", errno.desc())),
        (Err(error), _) if !error.is_passing() => Err(error.to_string()),
        (read, None) => Ok(read.is_ok() && is_whole),
    }
}
