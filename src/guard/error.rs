//! Why the guard cannot go on.

use crate::change::{FlowError, LockError};
use crate::diagnostic::{Advise, Hint};

#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    #[error(transparent)]
    Flows(#[from] FlowError),
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The kernel has no table here.
    #[error("there is no connection-tracking table: nf_conntrack is not loaded")]
    NoTable,
}

impl GuardError {
    /// Whether another try may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, GuardError::Flows(FlowError::Dump(error)) if error.is_passing())
    }
}

impl Advise for GuardError {
    fn hint(&self) -> Option<Hint> {
        match self {
            GuardError::Flows(error) => error.hint(),
            GuardError::Lock(error) => error.hint(),
            GuardError::NoTable => None,
        }
    }
}
