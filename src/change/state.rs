//! The part of a journal entry that changes: status, deadline, and what became of each step.
//!
//! In and out: a [`State`] and its text, which has the same length from the first step to the last,
//! so that it is updated in place: that needs no space on a full disk, and a kill leaves the old
//! text or the new one. Version 0.1.0 kept the same facts in the record itself.

use serde::Deserialize;

use super::status::{Refused, Status};
use crate::plan::StepResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Deadline {
    /// Seconds of `CLOCK_BOOTTIME`, which runs on in suspend and which nobody can set.
    pub(crate) boottime: u64,
    /// How long the operator has, in seconds.
    pub(crate) within: u64,
}

/// What changes in an entry while its change is made, confirmed or undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    status: Status,
    pub(crate) deadline: Option<Deadline>,
    /// What became of each step; `None` for one that was not reached.
    pub(crate) results: Vec<Option<StepResult>>,
    /// What could not be done, or not be undone. Kept beside the text: its length varies.
    pub(crate) remaining: Vec<String>,
}

/// What is wrong with a text that is none of a state.
const FORM: &str = "its state is not in the form that cttune writes";

impl State {
    /// The state of a change of so many steps that is about to start.
    pub(crate) fn new(steps: usize) -> Self {
        State {
            status: Status::Started,
            deadline: None,
            results: vec![None; steps],
            remaining: Vec::new(),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    pub(crate) fn turn(&mut self, to: Status) -> Result<(), Refused> {
        self.status = self.status.turn(to)?;
        Ok(())
    }

    pub(crate) fn reached(&self) -> usize {
        let tried = self.results.iter().take_while(|result| result.is_some());
        tried.count()
    }

    /// The text: status, deadline, and one letter for each step.
    pub(super) fn text(&self) -> String {
        let deadline = self.deadline.map_or_else(
            || format!("{:-<20} {:-<20}", "", ""),
            |deadline| format!("{:020} {:020}", deadline.boottime, deadline.within),
        );
        let letters: String = self.results.iter().map(|result| letter(*result)).collect();
        format!("{:<11} {deadline}\n{letters}\n", self.status.name())
    }

    /// Reads the text of a record with so many steps, or says what is wrong with it.
    pub(super) fn parse(text: &str, steps: usize) -> Result<Self, String> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [head, letters, ""] = lines[..] else {
            return Err(FORM.to_owned());
        };
        let words: Vec<&str> = head.split_ascii_whitespace().collect();
        let [name, boottime, within] = words[..] else {
            return Err(FORM.to_owned());
        };
        let status = Status::from_name(name).ok_or(FORM)?;
        let deadline = match (number(boottime), number(within)) {
            (Some(boottime), Some(within)) => Some(Deadline { boottime, within }),
            _ if is_unset(boottime) && is_unset(within) => None,
            _ => return Err(FORM.to_owned()),
        };
        Ok(State {
            status,
            deadline,
            results: results(letters, steps)?,
            remaining: Vec::new(),
        })
    }
}

fn results(letters: &str, steps: usize) -> Result<Vec<Option<StepResult>>, String> {
    let known = |letter| LETTERS.iter().find(|(known, _)| *known == letter);
    let results = letters.chars().map(|letter| Some(known(letter)?.1));
    let results: Vec<_> = results.collect::<Option<_>>().ok_or(FORM)?;
    match results.len() {
        number if number == steps => Ok(results),
        number => Err(format!(
            "its state is about {number} steps, the record about {steps}"
        )),
    }
}

/// The state within a record of version 0.1.0.
#[derive(Debug, Deserialize)]
pub(super) struct FirstState {
    standing: String,
    progress: String,
    deadline: Option<Deadline>,
    left: Vec<String>,
}

impl FirstState {
    pub(super) fn state(self, steps: usize) -> Result<State, String> {
        Ok(State {
            status: Status::from_first_name(self.standing.trim_end()).ok_or(FORM)?,
            deadline: self.deadline,
            results: results(&self.progress, steps)?,
            remaining: self.left,
        })
    }
}

fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.len() == 20)
}

fn is_unset(digits: &str) -> bool {
    digits.len() == 20 && digits.bytes().all(|byte| byte == b'-')
}

const LETTERS: [(char, Option<StepResult>); 4] = [
    ('.', None),
    ('d', Some(StepResult::Done)),
    ('s', Some(StepResult::Skipped)),
    ('f', Some(StepResult::Failed)),
];

fn letter(result: Option<StepResult>) -> char {
    let known = LETTERS.iter().find(|(_, known)| *known == result);
    known.map_or('.', |(letter, _)| *letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: &str, deadline: Option<Deadline>, letters: &str) -> State {
        State {
            status: Status::from_name(status).unwrap(),
            deadline,
            results: results(letters, letters.len()).unwrap(),
            remaining: Vec::new(),
        }
    }

    const DEADLINE: Option<Deadline> = Some(Deadline {
        boottime: u64::MAX,
        within: 120,
    });

    #[test]
    fn it_reads_back_as_it_was_written_and_keeps_its_length() {
        let lengths: Vec<usize> = [
            state("started", None, "...."),
            state("pending", DEADLINE, "ds.."),
            state("rolled-back", DEADLINE, "ddfd"),
        ]
        .into_iter()
        .map(|state| {
            let text = state.text();
            assert_eq!(State::parse(&text, 4), Ok(state));
            text.len()
        })
        .collect();
        assert!(
            lengths.iter().all(|length| *length == lengths[0]),
            "{lengths:?}"
        );
    }

    #[test]
    fn other_texts_are_refused_wherever_they_differ() {
        let good = state("pending", DEADLINE, "ds..").text();
        let wrong_form = Err(FORM.to_owned());
        for end in 0..good.len() {
            assert_eq!(State::parse(&good[..end], 4), wrong_form, "cut at {end}");
        }
        for (from, to) in [
            ("pending", "begun  "),
            ("ds..", "dx.."),
            ("00000000000000000120", "99999999999999999999"),
            ("00000000000000000120", "--------------------"),
            ("00000000000000000120", "0000000000000000012x"),
            ("\n", " "),
        ] {
            let text = good.replace(from, to);
            assert_eq!(State::parse(&text, 4), wrong_form, "{text}");
        }
        let other = "its state is about 4 steps, the record about 3";
        assert_eq!(State::parse(&good, 3), Err(other.to_owned()));
        assert_eq!(State::parse(&format!("{good}\n"), 4), wrong_form);
    }

    #[test]
    fn the_words_of_version_0_1_0_are_read() {
        for (standing, progress, status, reached) in [
            ("begun      ", "dd..", Status::Started, 2),
            ("complete   ", "dsdd", Status::Applied, 4),
            ("left       ", "f...", Status::Failed, 1),
        ] {
            let first = FirstState {
                standing: standing.to_owned(),
                progress: progress.to_owned(),
                deadline: None,
                left: vec!["x".to_owned()],
            };
            let state = first.state(4).unwrap();
            assert_eq!((state.status(), state.reached()), (status, reached));
            assert_eq!(state.remaining, ["x"]);
        }
    }
}
