//! A failure as text and as JSON.

use serde::Serialize;

use super::advice::marked;
use super::layout::HANG;
use super::shape::Schema;
use super::style::{BAD, HINT};
use crate::diagnostic::plain::one_line;
use crate::diagnostic::{Hint, Place};
use crate::profile::Mistake;

/// What there is to say about a failure.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// What went wrong.
    pub(crate) messages: Vec<String>,
    /// What to do next, and the place it is about.
    pub(crate) advice: Option<(&'a Hint, &'a Place)>,
    /// The mistakes of a profile.
    pub(crate) mistakes: &'a [Mistake],
}

impl Parts<'_> {
    /// The advice in words.
    pub(super) fn hint(&self) -> Option<String> {
        self.advice.map(|(hint, place)| hint.text(place))
    }
}

/// `error: …`, one line for each thing that went wrong, then `hint: …`.
pub(crate) fn text(parts: &Parts<'_>) -> String {
    let mut text = String::new();
    if !parts.mistakes.is_empty() {
        text.push_str(&super::mistakes::mistakes(parts.mistakes, true));
        text.push_str("\n\n");
    }
    for message in &parts.messages {
        let message = one_line(message);
        text.push_str(&format!("{BAD}error{BAD:#}: {HANG}{message}\n"));
    }
    if let Some((hint, place)) = parts.advice {
        let hint = marked(hint, place);
        text.push_str(&format!("{HINT}hint{HINT:#}: {HANG}{hint}\n"));
    }
    text
}

/// As machines read it, on one line.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    error: Wrong<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Wrong<'a> {
    message: String,
    hint: Option<String>,
    exit_code: u8,
    /// Mistakes that are not listed.
    more_mistakes: usize,
    mistakes: Vec<MistakeNow<'a>>,
}

/// A mistake of a profile, and where it is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct MistakeNow<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    label: &'a str,
    help: Option<&'a str>,
}

pub(crate) fn json<'a>(parts: &'a Parts<'_>, exit_code: u8) -> Output<'a> {
    let shown = parts.mistakes.iter().take(super::mistakes::SHOWN);
    let mistakes: Vec<MistakeNow<'_>> = shown.map(mistake).collect();
    Output {
        schema: Schema,
        error: Wrong {
            message: parts.messages.join("\n"),
            hint: parts.hint(),
            exit_code,
            more_mistakes: parts.mistakes.len() - mistakes.len(),
            mistakes,
        },
    }
}

fn mistake(mistake: &Mistake) -> MistakeNow<'_> {
    let position = mistake.position();
    MistakeNow {
        file: &mistake.source.name,
        line: position.line,
        column: position.column,
        message: &mistake.title,
        label: &mistake.label,
        help: mistake.help.as_deref(),
    }
}
