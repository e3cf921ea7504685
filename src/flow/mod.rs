//! Conntrack entries: what the kernel tells of one, the terms that select them, who has most.
//!
//! In: the bytes of a ctnetlink message; `--match` and `--keep` on the command line, `match` and
//! `keep` in a profile. Out: a [`Flow`] over the borrowed bytes; [`Terms`], typed, that print back
//! to the text they came from, or every [`TermError`] with its place; a [`Filter`] of what the
//! kernel can check by itself; a [`Census`] of flows by group, and what can be done about the
//! largest one.
//! Rule: pure, nothing allocated for a flow, no bytes that panic, memory that no table can make
//! grow, and one grammar for a selection wherever it is written.
//! Names and numbers follow linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h and
//! nf_conntrack_tcp.h.

mod attributes;
mod auto;
mod census;
mod decode;
pub(crate) mod expire;
mod field;
mod filter;
mod frequent;
mod kinds;
mod matches;
mod model;
mod names;
pub(crate) mod observe;
mod policies;
mod pressure;
mod remaining;
mod remedy;
mod sample;
mod terms;

pub(crate) use attributes::Malformed;
pub(crate) use attributes::{Attributes, cta, cta_filter, cta_ip, cta_proto, cta_tuple};
pub(crate) use census::{By, Census, Group, Lead, Others, Top};
pub(crate) use field::{Column, Field, FieldError, Prefixes, Value};
pub(crate) use filter::Filter;
pub(crate) use kinds::{Kind, Kinds, Population};
pub(crate) use model::{Counters, Flow, Layer4, Status, Tcp, Tuple};
pub(crate) use names::{Family, Protocol, StatusBit, TcpState};
pub(crate) use observe::{FirstLook, Observed, SecondLook, Silence};
pub(crate) use policies::{Policies, Policy};
pub(crate) use pressure::{Estimate, NAT_PORTS, Pressure, PressureCount};
pub(crate) use remedy::{Means, Remedy, Target};
pub(crate) use sample::{Extent, Sample};
pub(crate) use terms::{Mark, Ports, Prefix, Selection, Term, Terms, Test};

#[cfg(test)]
mod captured;
