//! Which flows are brought under the timeouts that hold, how far, and why the others are kept.
//!
//! In: a flow of a dump, the sysctls as [`Timeouts`], what the operator selects and protects, and
//! for the modes that count idle time the [`History`] of a timeout and the first [`Sightings`](crate::flow::Sightings). Out: a
//! [`Verdict`] for each flow, and a [`Tally`] of them.
//! Rule: what is not known for sure is kept, and no verdict gives a flow more time than it has.
//! Follows `nf_conntrack_tcp_packet` and its siblings in the kernel's net/netfilter/ (6.18), which
//! refresh a flow at each packet it accepts.

mod history;
mod kept;
mod protected;
mod rules;
mod session;
mod tally;
mod timeouts;

pub(crate) use history::{Change, History};
pub(crate) use kept::KeptWhy;
pub(crate) use protected::Protected;
pub(crate) use rules::{Moment, Rules, Shortening, Verdict};
pub(crate) use session::Session;
pub(crate) use tally::{Share, Tally};
pub(crate) use timeouts::Timeouts;
