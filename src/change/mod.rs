//! Acting: the life of a change, from the plan to its rollback.
//!
//! In: a [`Plan`](crate::plan::Plan), and the [`Here`] that it is for. A [`Session`] applies it now
//! or until it is confirmed, confirms it, and rolls it back; the journal lists what became of each
//! change. Pure: [`status`], [`state`], [`record`], [`revert`], [`past`], [`outcome`]. The engine
//! acts on a [`system`]. Rule: everything is checked before the first write, and written to the
//! journal before it is done; what was done is read back; an undo is computed from the very steps
//! that were done, and never lowers max to less than the number of entries and a tenth.

mod engine;
mod error;
pub(crate) mod expire;
#[cfg(test)]
mod fake;
pub(crate) mod flows;
mod here;
mod history;
mod journal;
pub(crate) mod kill;
mod lock;
mod outcome;
mod past;
mod pending;
mod preflight;
mod present;
mod record;
mod restore;
mod revert;
mod rollback;
mod session;
mod signal;
mod state;
mod status;
mod system;
mod watcher;

pub(crate) use error::{ChangeError, Effect};
pub(crate) use flows::FlowError;
pub(crate) use here::Here;
pub(crate) use history::{list, unfinished};
pub(crate) use lock::{Lock, LockError};
pub(crate) use outcome::{Ending, Outcome};
pub(crate) use pending::watch;
pub(crate) use record::{Entry, Kind, Record};
pub(crate) use revert::{Conflict, Revert};
pub(crate) use rollback::Which;
pub(crate) use session::{
    Applied, Consent, Console, Done, Request, Session, refuse_blocked, remaining, undo_rest,
};
pub(crate) use signal::{Signal, Signals};
pub(crate) use status::Status;
pub(crate) use watcher::{READY, close_stdout, leave_session};

/// Whether bytes are a record of the journal, or the state of a change with one step.
#[cfg(feature = "internals")]
pub(crate) fn can_be_read(bytes: &[u8]) -> bool {
    serde_json::from_slice::<record::Record>(bytes).is_ok()
        || state::State::parse(&String::from_utf8_lossy(bytes), 1).is_ok()
}
