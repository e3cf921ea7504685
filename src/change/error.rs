//! Why a change was not made, confirmed or undone, and what that leaves on the machine.

use std::fmt;

use super::signal::Signal;
use super::status::Refused;
use crate::diagnostic::{Advise, Hint};

/// What a command that failed leaves on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Unchanged,
    Undone,
    Pending(u64),
    /// Something is changed; the message says what.
    Remaining,
    /// The command never changes anything.
    ReadOnly,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeError {
    /// What went wrong, one sentence each.
    pub(crate) messages: Vec<String>,
    pub(crate) hint: Option<Hint>,
    pub(crate) effect: Effect,
    pub(crate) signal: Option<Signal>,
}

impl ChangeError {
    /// A failure that changed nothing.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        ChangeError::of(vec![message.into()])
    }

    pub(crate) fn of(messages: Vec<String>) -> Self {
        ChangeError {
            messages,
            hint: None,
            effect: Effect::Unchanged,
            signal: None,
        }
    }

    /// A signal that came before anything was changed.
    pub(crate) fn stopped(signal: Signal) -> Self {
        ChangeError {
            signal: Some(signal),
            ..ChangeError::new(format!("stopped by {}", signal.name()))
        }
    }

    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<Hint>) -> Self {
        ChangeError {
            hint: Some(hint.into()),
            ..self
        }
    }

    #[must_use]
    pub(crate) fn effect(self, effect: Effect) -> Self {
        ChangeError { effect, ..self }
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join("\n"))
    }
}

impl std::error::Error for ChangeError {}

/// An error that changed nothing, with its own advice.
impl<E: Advise> From<E> for ChangeError {
    fn from(error: E) -> Self {
        ChangeError {
            hint: error.hint(),
            ..ChangeError::new(error.to_string())
        }
    }
}

impl From<Refused> for ChangeError {
    fn from(error: Refused) -> Self {
        ChangeError::new(error.to_string())
    }
}
