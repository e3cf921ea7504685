//! Acting: carries a plan out step by step, reads it back, and undoes it when something fails.
//!
//! In: a [`Plan`](crate::plan::Plan) without obstacles, the [`Target`] machine, and a question
//! to ask between any two steps: was a signal caught? Out: an [`Outcome`](crate::plan::Outcome) that says of each step
//! what became of it, and of the whole whether it holds, was undone, or what is left.
//! Rule: everything is rehearsed before the first write; undo is computed from the very steps that
//! were done; no undo lowers max below the number of entries and a tenth.

mod engine;
pub(crate) mod expire;
#[cfg(test)]
mod fake;
pub(crate) mod journal;
mod lock;
mod preflight;
mod signal;
mod target;
mod watcher;

pub(crate) use engine::{
    Crew, carry_back, carry_out, carry_out_until, clear_up, folders_to_make, present,
};
pub(crate) use expire::ExpireError;
pub(crate) use lock::Lock;
pub(crate) use preflight::preflight;
pub(crate) use signal::Signals;
pub(crate) use target::{Running, Target};
pub(crate) use watcher::{READY, arm_watcher, close_stdout, leave_session};
