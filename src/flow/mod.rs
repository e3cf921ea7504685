//! Conntrack entries: the terms that select them.
//!
//! In: `--match` and `--keep` on the command line, `match` and `keep` in a profile. Out: [`Terms`],
//! typed, that print back to the text they came from, or every [`TermError`] with its place.
//! Rule: pure, and one grammar for a selection of flows wherever it is written.
//! Names and numbers follow linux/netfilter/nf_conntrack_common.h and nf_conntrack_tcp.h.

mod names;
mod terms;

pub use names::{Family, Protocol, StatusBit, TcpState};
pub use terms::{Mark, Ports, Selection, Term, TermError, Terms, Test};
