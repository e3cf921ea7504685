//! Which flows are shortened to the current timeouts, how far, and why the others are kept.
//!
//! In: a flow of a dump, the sysctls as [`Timeouts`], what the operator selects and protects, and
//! for the modes that count idle time a [`Proof`]: an earlier look at the same flows, or the
//! [`History`] of the timeout if the operator trusts it. Out: a [`Verdict`] for each flow, and a
//! [`Tally`] of them.
//! Rule: what is not known for sure is kept, and no verdict gives a flow more time than it has.
//! Follows `nf_conntrack_tcp_packet` and its siblings in the kernel's net/netfilter/ (6.18), which
//! refresh a flow at each packet it accepts.

mod history;
mod kept;
mod proof;
mod protected;
mod rules;
mod session;
mod tally;
mod timeouts;

pub(crate) use history::{Change, History, OwnUpdate};
pub(crate) use kept::KeptWhy;
pub(crate) use proof::Proof;
pub(crate) use protected::Protected;
pub(crate) use rules::{Moment, Rules, Shortening, Verdict};
pub(crate) use session::{Session, session_tuple};
pub(crate) use tally::{Preview, Share, Tally};
pub(crate) use timeouts::Timeouts;
