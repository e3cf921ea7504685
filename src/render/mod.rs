//! Results as text, as JSON, and as monitors read them.
//!
//! In: plain values of the pure rooms. Out: strings, with ANSI colours that the writer strips where
//! nobody wants them, and JSON with the names that design and monitors rely on.
//! Rule: pure, and nothing is worked out here: what is shown was computed elsewhere.

mod advice;
pub(crate) mod check;
pub(crate) mod expire;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod failure;
pub(crate) mod fleet;
pub(crate) mod forecast;
pub(crate) mod guard;
pub(crate) mod history;
pub(crate) mod kill;
pub(crate) mod layout;
pub(crate) mod metrics;
pub(crate) mod mistakes;
pub(crate) mod munin;
pub(crate) mod nagios;
pub(crate) mod npd;
pub(crate) mod outcome;
mod picture;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod prometheus;
pub(crate) mod remedy;
pub(crate) mod report;
pub(crate) mod salt;
pub(crate) mod shape;
mod style;
pub(crate) mod top;
pub(crate) mod watch;

/// The version of every JSON object; it grows when a name changes its meaning.
pub(crate) const SCHEMA: u32 = 1;
