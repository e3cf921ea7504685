//! How a command fails: what to say, what to do next, and the exit code.

use std::fmt;

use crate::change::{Effect, FlowError};
use crate::diagnostic::{Advise, Diagnostic, Hint, Place, told};
use crate::files::FileError;
use crate::kernel::ctnetlink::DumpError;
use crate::kernel::netns::NetnsError;
use crate::profile::Mistake;
use crate::render::failure::Parts;

/// Done, or the operator said no.
pub(super) const DONE: u8 = 0;
/// Failed or refused; nothing is changed.
pub(super) const FAILED: u8 = 1;
/// Something differs.
pub(super) const DIFFERS: u8 = 2;
/// Failed, and something is left.
pub(super) const LEFT: u8 = 3;
/// The command line is wrong.
pub(super) const USAGE: u8 = 64;
/// For Nagios: a warning, something critical, or nothing that could be measured.
pub(super) const WARNING: u8 = 1;
pub(super) const CRITICAL: u8 = 2;
pub(super) const UNKNOWN: u8 = 3;
/// For node-problem-detector: a problem, or nothing that could be measured.
pub(super) const NPD_PROBLEM: u8 = 1;
pub(super) const NPD_UNKNOWN: u8 = 2;
/// The sandbox itself failed.
pub(super) const SANDBOX: u8 = 125;

/// A failure as the operator gets to see it. Everything else that goes wrong is an `anyhow::Error`
/// and ends with exit code 1.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// What went wrong; one line for each thing that did.
    pub(super) messages: Vec<String>,
    pub(super) hint: Option<Hint>,
    pub(super) mistakes: Vec<Mistake>,
    /// What is said of the machine after the last message.
    pub(super) effect: Effect,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Failure {
            code,
            messages: vec![message.into()],
            hint: None,
            mistakes: Vec::new(),
            effect: Effect::ReadOnly,
        }
    }

    /// A failure from an error that has its own advice.
    pub(super) fn of(code: u8, error: &impl Advise) -> Self {
        Failure::new(code, error.to_string()).maybe_hint(error.hint())
    }

    /// A failure from whatever went wrong, with the advice of the first cause that has any.
    pub(super) fn from_error(code: u8, error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Failure::new(code, told(&error)).maybe_hint(advice(&error)),
        }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Failure::new(USAGE, message)
    }

    #[must_use]
    pub(super) fn hint(self, hint: impl Into<Hint>) -> Self {
        self.maybe_hint(Some(hint.into()))
    }

    #[must_use]
    pub(super) fn maybe_hint(mut self, hint: Option<Hint>) -> Self {
        self.hint = hint;
        self
    }

    #[must_use]
    pub(super) fn unchanged(mut self) -> Self {
        self.effect = Effect::Unchanged;
        self
    }

    /// As it is printed.
    pub(super) fn parts<'a>(&'a self, place: &'a Place) -> Parts<'a> {
        Parts {
            messages: self.lines(),
            advice: self.hint.as_ref().map(|hint| (hint, place)),
            mistakes: &self.mistakes,
        }
    }

    /// The messages, the last one with what is said of the machine.
    fn lines(&self) -> Vec<String> {
        let effect = match self.effect {
            Effect::ReadOnly | Effect::Remaining => return self.messages.clone(),
            Effect::Unchanged => "nothing was changed".to_owned(),
            Effect::Undone => "everything is as it was".to_owned(),
            Effect::Pending(id) => format!("change {id} is still pending"),
        };
        let mut lines = self.messages.clone();
        match lines.last_mut() {
            Some(last) => last.push_str(&format!("; {effect}")),
            None => lines.push(effect),
        }
        lines
    }
}

/// The operator said no: that ends the command, and is no error.
pub(super) fn declined() -> Failure {
    Failure {
        messages: Vec::new(),
        ..Failure::new(DONE, "").unchanged()
    }
}

/// The advice of the first cause that has any.
fn advice(error: &anyhow::Error) -> Option<Hint> {
    type Cause<'a> = &'a (dyn std::error::Error + 'static);
    fn of<E: Advise + 'static>(cause: Cause<'_>) -> Option<Hint> {
        cause.downcast_ref::<E>()?.hint()
    }
    let known = [
        of::<Diagnostic>,
        of::<DumpError>,
        of::<FlowError>,
        of::<FileError>,
        of::<NetnsError>,
    ];
    let mut causes = error.chain();
    causes.find_map(|cause| known.iter().find_map(|of| of(cause)))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let file = crate::files::FileError::Io {
            doing: "read",
            path: "/x".into(),
            source: std::io::Error::from_raw_os_error(13),
        };
        let error = anyhow::Error::new(file);
        let once = "cannot read /x: Permission denied";
        assert_eq!(told(&error), once);
        assert_eq!(told(&error.context("no news")), format!("no news: {once}"));
    }

    #[test]
    fn the_effect_is_told_with_the_last_message() {
        let mut two = Failure::new(FAILED, "one").unchanged();
        two.messages.push("two".to_owned());
        for (failure, text) in [
            (Failure::new(FAILED, "one"), "one"),
            (
                Failure {
                    effect: Effect::Undone,
                    ..Failure::new(FAILED, "one")
                },
                "one; everything is as it was",
            ),
            (two, "one\ntwo; nothing was changed"),
            (declined(), "nothing was changed"),
        ] {
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn advice_comes_from_the_cause_that_has_it() {
        let cause = Diagnostic {
            message: "no table".to_owned(),
            hint: Some(Hint::on_host("modprobe nf_conntrack")),
        };
        let error = anyhow::Error::new(cause).context("cannot count");
        let failure = Failure::from_error(FAILED, error);
        assert_eq!(failure.messages, ["cannot count: no table"]);
        assert_eq!(failure.hint, Some(Hint::on_host("modprobe nf_conntrack")));
    }
}
