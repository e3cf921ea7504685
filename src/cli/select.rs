//! `--match` and `--keep`: which flows are meant.

use super::failure::{Failure, USAGE};
use crate::diagnostic::Hint;
use crate::flow::Terms;

/// Reads every `TERM,TERM` that was given to `option`, for a command that watches no flow.
///
/// # Errors
/// As [`watched_terms`]; and for a term about idle time, which is known only of watched flows.
pub(super) fn terms(option: &str, texts: &[String]) -> anyhow::Result<Vec<Terms>> {
    let terms = watched_terms(option, texts)?;
    if terms.iter().any(Terms::is_about_idle) {
        return Err(
            Failure::usage("`idle` is known only of flows that were watched")
                .hint("cttune kill watches them; cttune expire has --observe")
                .into(),
        );
    }
    Ok(terms)
}

/// Reads every `TERM,TERM` that was given to `option`.
///
/// Every term that does not parse is reported, with what is allowed in its place.
pub(super) fn watched_terms(option: &str, texts: &[String]) -> anyhow::Result<Vec<Terms>> {
    let mut read = Vec::new();
    let mut messages = Vec::new();
    let mut hint = None;
    for text in texts {
        match Terms::parse(text) {
            Ok(terms) => read.push(terms),
            Err(errors) => {
                for error in errors {
                    messages.push(format!("{option} {text}: {}", error.problem));
                    hint = hint.or(error.help.map(Hint::say));
                }
            }
        }
    }
    if messages.is_empty() {
        return Ok(read);
    }
    let failure = Failure {
        messages,
        ..Failure::new(USAGE, "")
    };
    Err(failure.maybe_hint(hint).into())
}
