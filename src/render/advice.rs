//! Advice as lines that are read and pasted: a line for each thing that can be done.
//!
//! Rule: nothing is advised twice on one screen.

use std::collections::HashSet;

use super::layout::{HANG, command};
use super::style::HINT;
use crate::diagnostic::{Hint, Place};

/// What was advised already on this screen.
#[derive(Debug)]
pub(super) struct Advice<'a> {
    place: &'a Place,
    told: HashSet<String>,
}

impl<'a> Advice<'a> {
    pub(super) fn new(place: &'a Place) -> Self {
        Advice {
            place,
            told: HashSet::new(),
        }
    }

    /// Leaves a command out from here on: another place says it.
    pub(super) fn leave_out(&mut self, hint: &Hint) {
        self.told.extend(hint.command_line(self.place));
    }

    /// What was not advised before, a line each behind the label.
    pub(super) fn lines(&mut self, label: &str, hint: &Hint) -> String {
        let mut text = String::new();
        for one in hint.each() {
            let line = one.command_line(self.place);
            if self
                .told
                .insert(line.unwrap_or_else(|| one.text(self.place)))
            {
                let told = marked(one, self.place);
                text.push_str(&format!("{HINT}{label}{HINT:#}: {HANG}{told}\n"));
            }
        }
        text
    }
}

/// Advice with each command in one piece.
pub(super) fn marked(hint: &Hint, place: &Place) -> String {
    let one = |one: &Hint| match (one, one.command_line(place)) {
        (Hint::To(purpose, _), Some(line)) => format!("{purpose}: {}", command(&line)),
        (_, Some(line)) => command(&line),
        (Hint::Lines(purpose, commands), None) => {
            let lines = commands.iter().map(|one| one.text(place));
            let lines = lines.map(|line| format!("\n{}", command(&line)));
            format!("{purpose}:{}", lines.collect::<String>())
        }
        (sentence, None) => sentence.text(place),
    };
    let all: Vec<String> = hint.each().iter().map(one).collect();
    all.join("; ")
}
