//! A failure as text and as JSON.

use serde_json::{Value, json};

use super::advice::marked;
use super::layout::HANG;
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

/// `{"schema": 1, "error": {…}}` on one line.
pub(crate) fn json(parts: &Parts<'_>, exit_code: u8) -> Value {
    let shown = parts.mistakes.iter().take(super::mistakes::SHOWN);
    let mistakes: Vec<Value> = shown.map(mistake).collect();
    json!({
        "schema": super::SCHEMA,
        "error": {
            "message": parts.messages.join("\n"),
            "hint": parts.hint(),
            "exit_code": exit_code,
            "more_mistakes": parts.mistakes.len() - mistakes.len(),
            "mistakes": mistakes,
        }
    })
}

fn mistake(mistake: &Mistake) -> Value {
    let position = mistake.position();
    json!({
        "file": mistake.source.name,
        "line": position.line,
        "column": position.column,
        "message": mistake.title,
        "label": mistake.label,
        "help": mistake.help,
    })
}
