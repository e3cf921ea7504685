//! Conntrack entries: what the kernel tells of one, the terms that select them, who has most.
//!
//! In: flows as [`conntrack`](crate::conntrack) reads them; `--match` and `--keep` on the command
//! line, `match` and `keep` in a profile. Out: [`Terms`], typed, that print back to the text they
//! came from, or every `TermError` with its place; a [`Filter`] of what the kernel can check by
//! itself; a [`Census`] of flows by group, and what can be done about the largest one; verdicts of
//! [`expire`].
//! Rule: nothing is allocated for a flow, no table makes memory grow, and a selection has one
//! grammar wherever it is written.

// A release is built for size: what runs for each flow is inlined by hand.
#![allow(clippy::inline_always)]

mod auto;
mod census;
pub(crate) mod expire;
mod field;
mod filter;
pub(crate) mod forecast;
mod frequent;
mod gather;
pub(crate) mod guard;
mod kinds;
mod matches;
mod named;
mod nat;
mod nat_rules;
pub(crate) mod observe;
mod policies;
mod pressure;
mod quantity;
mod query;
mod remaining;
mod remedy;
mod returns;
mod sample;
mod save;
mod sightings;
mod split;
mod terms;
pub(crate) mod turnover;
mod written;

pub(crate) use crate::conntrack::{
    Family, Filter, Flow, Layer4, Mark, Protocol, Status, StatusBit, Tcp, TcpState, Tuple,
};
#[cfg(test)]
pub(crate) use census::Smaller;
pub(crate) use census::{By, Census, Group, Lead, Others, Top};
pub(crate) use field::{Column, Field, FieldError, Prefixes, Value, Values};
pub(crate) use gather::{Gather, Selected};
pub(crate) use kinds::{Kind, Kinds, Population};
pub(crate) use named::terms_of;
pub(crate) use nat::{Nat, NatCount, NatPorts, private_block};
pub(crate) use nat_rules::{NatRules, PortRange};
pub(crate) use observe::{
    FirstLook, IdleTimes, Observed, PastTimeouts, Port, PortTimes, SecondLook,
};
pub(crate) use policies::{ByPolicy, Policies, Policy, Services};
pub(crate) use pressure::{Estimate, Pressure, PressureCount};
pub(crate) use quantity::{Numbers, Quantity};
pub(crate) use query::{Query, parse_budget};
pub(crate) use remedy::{Means, Member, Members, Remedy, Rules, can_ask, families};
pub(crate) use returns::{Returned, Returns};
pub(crate) use sample::{Extent, Sample};
pub(crate) use save::{save_line, summary_line};
pub(crate) use sightings::{Compared, Sightings};
pub(crate) use split::Split;
pub(crate) use terms::{Selection, Term, Terms, Test, term_names};

#[cfg(test)]
pub(crate) use crate::conntrack::{Counters, captured};
