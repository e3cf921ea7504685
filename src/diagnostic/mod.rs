//! What went wrong, and what to do about it.
//!
//! In: what was being done, to which file or key, what the system said. Out: one sentence, and
//! advice whose commands are about the place that the operator named (`--netns`, `--root`).
//! Rule: errors carry their advice as a [`Hint`], never inside their text; [`Hint::text`] is the
//! only way to turn advice into words.

mod hint;
mod mask;
mod place;
pub(crate) mod plain;

pub(crate) use hint::{Advise, Hint};
pub(crate) use mask::Mask;
pub(crate) use place::{Place, quoted};

use std::io;

/// One sentence, and advice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Diagnostic {
    pub(crate) message: String,
    pub(crate) hint: Option<Hint>,
}

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
    fn an_error_of_the_system_is_told_without_its_number() {
        let denied = io::Error::from_raw_os_error(13);
        assert_eq!(said(&denied), "Permission denied");
        assert_eq!(said(&io::Error::other("no terminal")), "no terminal");
    }
}
