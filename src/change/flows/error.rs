//! Why flows could not be changed.

use nix::errno::Errno;

use super::log::LogError;
use crate::change::signal::Signal;
use crate::diagnostic::{Advise, Hint, said};
use crate::kernel::ctnetlink::{ChangeError, DumpError, ListError, PolicyError};
use crate::kernel::sysctl::ReadError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowError {
    /// A timeout could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There may be timeout policies, which override the sysctls.
    #[error(transparent)]
    Policies(#[from] PolicyError),
    /// The table could not be read.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// The changes could not be sent.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// What is about to be done could not be written down.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Flows could not be saved before they are ended.
    #[error("cannot write the save file: {}", said(.0))]
    Save(#[source] std::io::Error),
    /// The operator asked to stop.
    #[error("stopped by {}", .0.name())]
    Stopped(Signal),
}

impl FlowError {
    /// Whether permission is denied.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self,
            FlowError::Dump(DumpError::NoRight)
                | FlowError::Policies(PolicyError(ListError::Refused(Errno::EPERM)))
        )
    }
}

impl Advise for FlowError {
    fn hint(&self) -> Option<Hint> {
        match self {
            FlowError::Dump(error) => error.hint(),
            _ => None,
        }
    }
}
