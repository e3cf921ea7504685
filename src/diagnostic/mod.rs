//! What went wrong, and what to do about it.
//!
//! In: what was being done, to which file or key, what the system said. Out: one sentence, and
//! advice whose commands are about the place that the operator named (`--netns`, `--root`).
//! Rule: errors carry their advice as a [`Hint`], never inside their text; [`Hint::text`] is the
//! only way to turn advice into words.

mod hint;
mod place;
pub(crate) mod plain;

pub(crate) use hint::{Advise, Hint, Text};
pub(crate) use place::{Place, quoted};

use std::fmt;
use std::io;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    doing: Text,
    subject: Option<String>,
    said: Option<String>,
    hint: Option<Hint>,
}

impl Diagnostic {
    /// What was being done, such as `cannot read`, or the whole sentence.
    pub(crate) fn new(doing: impl Into<Text>) -> Self {
        Diagnostic {
            doing: doing.into(),
            subject: None,
            said: None,
            hint: None,
        }
    }

    /// The file or key it was done to.
    #[must_use]
    pub(crate) fn to(mut self, subject: impl fmt::Display) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// What the system answered.
    #[must_use]
    pub(crate) fn because(mut self, said: impl fmt::Display) -> Self {
        self.said = Some(said.to_string());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<Option<Hint>>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }
        if let Some(said) = &self.said {
            write!(f, ": {said}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

impl Advise for Diagnostic {
    fn hint(&self) -> Option<Hint> {
        self.hint.clone()
    }
}

/// The system's own words for an error, without its number.
pub(crate) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error
        .raw_os_error()
        .map(|number| format!(" (os error {number})"));
    let words = number.and_then(|number| Some(text.strip_suffix(&number)?.to_owned()));
    words.unwrap_or(text)
}

/// What went wrong, and below it why, but for what is said already: many an error names its cause.
pub(crate) fn told(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(|cause| match cause.downcast_ref::<io::Error>() {
            Some(error) => said(error),
            None => cause.to_string(),
        })
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
    fn a_diagnostic_says_what_was_done_to_what_and_what_was_answered() {
        let denied = io::Error::from_raw_os_error(13);
        for (diagnostic, text) in [
            (Diagnostic::new("the table is empty"), "the table is empty"),
            (Diagnostic::new("cannot read").to("/x"), "cannot read /x"),
            (
                Diagnostic::new("cannot read")
                    .to("/x")
                    .because(said(&denied)),
                "cannot read /x: Permission denied",
            ),
            (
                Diagnostic::new("cannot ask").because(said(&io::Error::other("no terminal"))),
                "cannot ask: no terminal",
            ),
        ] {
            assert_eq!(diagnostic.to_string(), text);
        }
    }
}
