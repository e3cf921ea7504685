//! Conntrack entries over netlink sockets: the dump loop, the send loop, and what else is asked.
//!
//! In: a [`Filter`](crate::conntrack::Filter), flows and what to do with them. Out: each
//! [`Flow`](crate::conntrack::Flow) over the bytes that were received; what the kernel did with each
//! request, an errno where it refused. Rule: bytes are read and written by
//! [`conntrack`](crate::conntrack) alone.

mod change;
mod create;
mod dump;
mod expectations;
mod flowtables;
mod gather;
mod listeners;
mod listing;
mod policies;
mod rules;
mod socket;
mod statistics;
mod table;
mod walk;

pub(crate) use change::{Answer, ChangeError, Changes};
pub(crate) use create::{CreateError, create};
pub(crate) use dump::DumpError;
pub(crate) use expectations::count_expectations;
pub(crate) use flowtables::read_flowtables;
pub(crate) use gather::{Reading, gather};
pub(crate) use listeners::read_listeners;
pub(crate) use listing::ListError;
pub(super) use listing::list_route;
#[cfg(feature = "internals")]
pub(crate) use policies::policies_in;
pub(crate) use policies::{PolicyError, read_policies};
pub(crate) use socket::Socket;
pub(crate) use statistics::read_statistics;
pub(crate) use table::read_table;
#[cfg(feature = "internals")]
pub(crate) use table::table_parts_in;
pub(crate) use walk::{Visitor, each_flow, is_tracked, undisturbed, walk};
