//! The first pass over a large table whose history is trusted: a sample tells which flows end, so
//! that one walk is enough.

use std::ops::ControlFlow;
use std::time::Duration;

use super::{Guard, GuardError, read_fill};
use crate::change::flows::{FlowError, unix_seconds};
use crate::conntrack::Filter;
use crate::flow::guard::{Choice, Judge, choose};
use crate::flow::{Flow, Gather, Sightings};
use crate::kernel::ctnetlink::{Reading, gather, undisturbed};

/// Flows of the sample, and of a table that is worth one.
const SAMPLE: u64 = 10_000;
const LARGE: u64 = 4 * SAMPLE;

/// What to end if nothing was observed yet; none where a walk has to come first.
pub(super) fn choice(guard: &Guard, wanted: u64) -> Result<Option<Choice>, GuardError> {
    let count = read_fill()?.count;
    let is_first = guard.sightings.iter().next().is_none();
    if !is_first || !guard.judge.trusts_history || count < LARGE {
        return Ok(None);
    }
    let reading = Reading {
        filter: &Filter::default(),
        clock: guard.clock,
        sample: Some(SAMPLE),
        threads: Some(1),
    };
    // One time for all, as a walk compares a new flow with the moment at which it sees it.
    let at = guard.at();
    let seen = || Seen {
        judge: &guard.judge,
        sightings: Sightings::default(),
        now: unix_seconds(),
        at,
    };
    let read = undisturbed(|| gather(&reading, seen(), &mut |_| ControlFlow::Continue(())));
    let read = read.map_err(FlowError::from)?;
    let parameters = &guard.parameters;
    let (choice, _) = choose(
        &read.gather.sightings.end_round(),
        &guard.judge,
        parameters,
        at,
        (wanted * read.looked_at).div_ceil(count),
    );
    let of_all = choice.of_all(count.div_ceil(read.looked_at.max(1)), wanted, parameters);
    Ok(Some(of_all).filter(|choice| choice.flows() > 0))
}

/// Notes flows as a walk does.
struct Seen<'a> {
    judge: &'a Judge,
    sightings: Sightings,
    now: i64,
    at: u32,
}

impl Gather for Seen<'_> {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        if let Some(class) = self.judge.class(flow) {
            let before = self.judge.idle_before(flow, class, self.now);
            self.sightings.see(flow, self.at, class.tag(), before);
        }
    }

    fn part(&self) -> Self {
        Seen {
            sightings: self.sightings.alike(),
            ..*self
        }
    }

    fn merge(&mut self, part: Self) {
        self.sightings.merge(part.sightings);
    }
}
