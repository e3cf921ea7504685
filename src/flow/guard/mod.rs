//! What `guard` decides: which flows may end, how many, in which order, and when to look again.
//!
//! In: flows, [`Sightings`](super::Sightings) of them, the table's fill, and [`GuardParameters`]. Out: a [`Class`] for
//! each flow that may ever be ended, a [`Choice`] of the flows to end now, the time until the next
//! poll. Rule: a flow is ended only if it was silent for the minimum of its class, the most harmless
//! class first (Linux 6.18: which entries a firewall can lose without breaking a connection was
//! measured), and in a class the longest idle first.

mod choice;
mod class;
mod decide;
mod event;
mod fill;
mod lent;
mod parameters;
mod status;
#[cfg(test)]
mod testing;

pub(crate) use choice::{Choice, Ripe, choose};
pub(crate) use class::{Class, Judge};
pub(crate) use decide::{decide, spared};
pub(crate) use event::{Ended, Event, What};
pub(crate) use fill::{Fill, Growth};
pub(crate) use lent::Lent;
pub(crate) use parameters::{ESTABLISHED_FLOOR, GuardParameters, Mark, MinIdle};
pub(crate) use status::{GuardSeen, GuardStatus, LastPass};
