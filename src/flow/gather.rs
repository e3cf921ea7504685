//! What is gathered from the flows of a table, in parts that threads read side by side.
//!
//! In: each flow once. Out: whatever the gatherer counts. Rule: parts that saw different flows add
//! up to what one that saw all of them would have.

use std::time::Duration;

use super::{Flow, Selection};

/// Somebody who is shown flows.
pub(crate) trait Gather: Send {
    /// A flow, and how far the clock of the reading was when the kernel told of it, at most.
    fn add(&mut self, flow: &Flow<'_>, at: Duration);

    /// The same without flows. What the first flows decided stays decided.
    fn part(&self) -> Self
    where
        Self: Sized;

    /// Adds what a part has gathered.
    fn merge(&mut self, part: Self)
    where
        Self: Sized;

    /// Whether the first flows have decided what there is to decide.
    fn is_decided(&self) -> bool {
        true
    }
}

impl<A: Gather, B: Gather> Gather for (A, B) {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        self.0.add(flow, at);
        self.1.add(flow, at);
    }

    fn part(&self) -> Self {
        (self.0.part(), self.1.part())
    }

    fn merge(&mut self, part: Self) {
        self.0.merge(part.0);
        self.1.merge(part.1);
    }

    fn is_decided(&self) -> bool {
        self.0.is_decided() && self.1.is_decided()
    }
}

/// Shows only the flows of a selection to another.
pub(crate) struct Selected<'a, G> {
    pub(crate) selection: &'a Selection,
    pub(crate) gather: G,
}

impl<G: Gather> Gather for Selected<'_, G> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        if self.selection.matches(flow) {
            self.gather.add(flow, at);
        }
    }

    fn part(&self) -> Self {
        Selected {
            selection: self.selection,
            gather: self.gather.part(),
        }
    }

    fn merge(&mut self, part: Self) {
        self.gather.merge(part.gather);
    }

    fn is_decided(&self) -> bool {
        self.gather.is_decided()
    }
}
