//! The live screen of `cttune watch` as a model: readings and keys go in, a frame comes out.
//!
//! In: what was read of the table, what is wrong with it, what the operator types. Out: what to
//! read next, what to do, and the lines of a frame of any size. Rule: nothing here reads, waits or
//! draws, so that whatever the screen does is tested as a table.

mod ask;
mod frame;
mod keys;
mod past;
mod rows;

use std::time::Duration;

pub(crate) use ask::Ask;
pub(crate) use frame::{Look, frame};
pub(crate) use keys::{Action, Key, Verb};
pub(crate) use rows::GROUPS;

use past::{Past, Point};
use rows::Rows;

use crate::assess::{Finding, Severity};
use crate::flow::{By, Top, Values};

/// How long columns that were chosen by `auto` stay.
const CHOSEN_FOR: Duration = Duration::from_secs(20);

/// What was read at one moment.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Since the watch began.
    pub(crate) at: Duration,
    /// The operator's clock.
    pub(crate) clock: String,
    pub(crate) count: u64,
    pub(crate) max: Option<u64>,
    /// Packets and flows a second since the reading before; none where this is the first, or the
    /// kernel does not count them.
    pub(crate) drops: Option<f64>,
    pub(crate) early_drops: Option<f64>,
    /// What the flows tell, or why they could not be read.
    pub(crate) flows: Result<Flows, String>,
}

/// What a sample of the flows tells.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) top: Top,
    /// By protocol and state.
    pub(crate) kinds: Top,
    /// Flows a second, estimated; none where there is nothing to compare with.
    pub(crate) began: Option<f64>,
    pub(crate) ended: Option<f64>,
}

/// One thing that is wrong, and when it was first seen; none where it was so from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    id: &'static str,
    severity: Severity,
    message: String,
    since: Option<String>,
}

/// What the keyboard goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Table,
    Help,
    /// The terms of the filter, or the fields of the grouping, as they are typed.
    Typing {
        is_filter: bool,
        text: String,
        wrong: Option<String>,
    },
}

/// Everything that the screen shows.
#[derive(Debug)]
pub(crate) struct Watch {
    host: String,
    interval: Duration,
    ask: Ask,
    /// What was asked before a group was opened.
    opened: Vec<Ask>,
    last: Option<Reading>,
    past: Past,
    rows: Rows,
    /// When `auto` chose the columns.
    chosen: Option<Duration>,
    selected: Option<Values>,
    findings: Option<Vec<Found>>,
    mode: Mode,
    is_frozen: bool,
    /// Why the last key did nothing.
    said: Option<String>,
}

impl Watch {
    pub(crate) fn new(host: String, interval: Duration, ask: Ask) -> Self {
        Watch {
            host,
            interval,
            ask,
            opened: Vec::new(),
            last: None,
            past: Past::default(),
            rows: Rows::default(),
            chosen: None,
            selected: None,
            findings: None,
            mode: Mode::Table,
            is_frozen: false,
            said: None,
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// How to group what is read next: columns that were chosen stay for a while.
    pub(crate) fn by(&self, now: Duration) -> By {
        match (&self.ask.by, self.chosen) {
            (By::Auto, Some(chosen)) if now.saturating_sub(chosen) < CHOSEN_FOR => {
                By::Columns(self.rows.columns.clone())
            }
            (by, _) => by.clone(),
        }
    }

    pub(crate) fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Takes a reading; `by` as it was grouped.
    pub(crate) fn read(&mut self, reading: Reading, by: &By) {
        if let Ok(flows) = &reading.flows {
            if *by == By::Auto {
                self.chosen = Some(reading.at);
            }
            self.rows.update(&flows.top, reading.at);
        }
        #[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
        let count = reading.count as f64;
        self.past.add(Point {
            at: reading.at.as_secs_f64(),
            count,
            began: reading.flows.as_ref().ok().and_then(|flows| flows.began),
            drops: reading.drops,
        });
        self.last = Some(reading);
    }

    /// Takes what is wrong now, the worst first. What was not wrong before has the time beside it.
    pub(crate) fn find(&mut self, findings: &[Finding], clock: &str) {
        let before = self.findings.take();
        let is_first = before.is_none();
        let before = before.unwrap_or_default();
        let counted = findings.iter().filter(|one| one.accepted.is_none());
        let found = counted.map(|one| {
            let known = before.iter().find(|known| known.id == one.id.name());
            Found {
                id: one.id.name(),
                severity: one.severity,
                message: one.message.clone(),
                since: match known {
                    Some(known) => known.since.clone(),
                    None => (!is_first).then(|| clock.to_owned()),
                },
            }
        });
        let mut found: Vec<Found> = found.collect();
        // What is new comes first among those that are as bad.
        found.sort_by_key(|one| std::cmp::Reverse((one.severity, one.since.clone())));
        self.findings = Some(found);
    }

    /// The place of the selected row; the first one where none is.
    fn place(&self) -> usize {
        let selected = self.selected.as_ref();
        let mut rows = self.rows.rows.iter();
        let place = selected.and_then(|values| rows.position(|row| row.values == *values));
        place.unwrap_or(0)
    }

    /// Another question: what was shown of the last one says nothing of it.
    fn asks(&mut self, ask: Ask) {
        self.ask = ask;
        self.rows = Rows::default();
        self.chosen = None;
        self.selected = None;
        self.said = None;
    }
}

#[cfg(test)]
mod tests;
