//! Results as text, as JSON, and as monitors read them.
//!
//! In: plain values of the pure rooms. Out: strings, with ANSI colours that the writer strips where
//! nobody wants them, and JSON with the names that design and monitors rely on.
//! Rule: pure, and nothing is worked out here: what is shown was computed elsewhere.

pub mod check;
pub mod expire;
pub mod explain;
pub mod failure;
pub mod history;
pub mod metrics;
pub mod mistakes;
pub mod munin;
pub mod nagios;
pub mod outcome;
pub mod plan;
pub mod profile;
pub mod prometheus;
pub mod remedy;
mod style;
pub mod top;

/// The version of every JSON object; it grows when a name changes its meaning.
pub const SCHEMA: u32 = 1;
