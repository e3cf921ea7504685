//! The format in which ctnetlink tells of flows and takes requests about them, both directions.
//!
//! In: the bytes of a netlink message, or what is to be asked. Out: a [`Flow`] over the borrowed
//! bytes with its [`Tuple`]s, the bytes of a request. Rule: nothing is allocated for a flow, no
//! bytes panic, and what is written reads back the same. A request that acts on a flow echoes the
//! tuple that a dump told ([`put_update`], [`put_delete`]): the kernel takes a DELETE without a
//! tuple as "flush the whole table", and none can be written. Only [`create`](put_create) sets
//! `NLM_F_CREATE` and `CTA_STATUS`.
//! Follows include/uapi/linux/netfilter/nfnetlink_conntrack.h and
//! net/netfilter/nf_conntrack_netlink.c (6.18).

// A release is built for size, which would call a function for each attribute of each flow.
#![allow(clippy::inline_always)]

mod attributes;
mod buffer;
#[cfg(test)]
pub(crate) mod captured;
mod create;
mod decode;
mod flow;
mod messages;
mod names;
mod request;
mod tuple;

pub(crate) use attributes::{Attribute, Attributes, Malformed};
pub(crate) use buffer::{Buffer, Head};
pub(crate) use create::{NewFlow, Seen, put_create};
pub(crate) use flow::{Counters, Flow, Status, Tcp};
pub(crate) use messages::Messages;
pub(crate) use names::{Family, Protocol, StatusBit, TcpState};
pub(crate) use request::{
    Filter, IS_FLOW, Mark, NLM_F_DUMP, NLM_F_REQUEST, Shorter, StatusFilter, dump_filters,
    put_delete, put_dump, put_get, put_update,
};
pub(crate) use tuple::{Layer4, Tuple};
