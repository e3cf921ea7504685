//! How a command fails: what to say, what to do next, and the exit code.

use std::fmt;

use crate::profile::Mistake;

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
/// The sandbox itself failed.
pub(super) const SANDBOX: u8 = 125;

/// A failure as the operator gets to see it. Everything else that goes wrong is an `anyhow::Error`
/// and ends with exit code 1.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) code: u8,
    /// What went wrong; one line for each thing that did.
    pub(super) messages: Vec<String>,
    /// What to do next.
    pub(super) hint: Option<String>,
    /// The mistakes of a profile, each with its place.
    pub(super) mistakes: Vec<Mistake>,
}

impl Failure {
    /// A failure with one message.
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Failure {
            code,
            messages: vec![message.into()],
            hint: None,
            mistakes: Vec::new(),
        }
    }

    /// The same with advice.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with advice, if there is any.
    #[must_use]
    pub(super) fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// A failure from an error that carries its advice after `hint: ` on a line of its own.
    pub(super) fn from_text(code: u8, text: &str) -> Self {
        match text.split_once("\nhint: ") {
            Some((message, hint)) => Failure::new(code, message).hint(hint),
            None => Failure::new(code, text),
        }
    }

    /// A wrong command line, from an error that carries its advice as in [`Failure::from_text`].
    pub(super) fn usage_text(text: &str) -> Self {
        Failure::from_text(USAGE, text)
    }

    /// A wrong command line.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Failure::new(USAGE, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join("\n"))
    }
}

impl std::error::Error for Failure {}

/// What went wrong, and below it why, but for what is said already: many an error names its cause.
pub(super) fn told(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .reduce(|told, cause| {
            if told.contains(&cause) {
                told
            } else {
                format!("{told}: {cause}")
            }
        })
        .unwrap_or_default()
}

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
        let once = "cannot read /x: Permission denied (os error 13)";
        assert_eq!(told(&error), once);
        assert_eq!(told(&error.context("no news")), format!("no news: {once}"));
    }
}
