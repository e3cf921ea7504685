//! Conntrack entries over netlink: the dump, the changes to flows, and what else is asked.
//!
//! In: a [`Filter`](crate::flow::Filter), flows and what to do with them. Out: each
//! [`Flow`](crate::flow::Flow) over the bytes that were received; what the kernel did with each
//! request, an errno where it refused.
//! Rule: a request that acts on a flow goes through `flow_request`, which puts the flow's original
//! tuple first. There is no other way to build one, so a DELETE without a tuple, which the kernel
//! takes as "flush the whole table", cannot be written down. Nor can an update that gives a flow
//! more time than the dump told ([`Shorter`]).
//! Follows include/uapi/linux/netfilter/nfnetlink_conntrack.h and
//! net/netfilter/nf_conntrack_netlink.c (6.18).

mod change;
mod create;
mod dump;
mod flowtables;
mod listeners;
mod listing;
mod messages;
mod policies;
mod request;
mod socket;
mod tuple;
mod wire;

pub(crate) use change::{Answer, ChangeError, Changes, Shorter};
pub(crate) use create::{CreateError, NewFlow, Seen, create};
pub(crate) use dump::{Chunk, Dump, DumpError, undisturbed};
pub(crate) use flowtables::read_flowtables;
pub(crate) use listeners::read_listeners;
pub(crate) use listing::ListError;
pub(crate) use policies::{PolicyError, read_policies};
pub(crate) use socket::Socket;
pub(crate) use tuple::{Addresses, Layer4, Tuple};

pub(super) use wire::{Buffer, Head};

use tuple::NamesFlow;

use crate::flow::cta;

/// What to do with the flow that a request names.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Makes it; a flow that exists already is an error, never an update.
    Create,
    /// Changes one that exists; without `NLM_F_CREATE`, so that one which just ended stays gone.
    Update,
    /// Ends it.
    Delete,
}

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const IPCTNL_MSG_CT_NEW: u16 = 0;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;

impl Action {
    fn kind_and_flags(self) -> (u16, u16) {
        match self {
            Action::Create => (
                SUBSYSTEM | IPCTNL_MSG_CT_NEW,
                NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL,
            ),
            Action::Update => (SUBSYSTEM | IPCTNL_MSG_CT_NEW, NLM_F_REQUEST),
            Action::Delete => (SUBSYSTEM | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST),
        }
    }
}

/// Appends a request to do `action` with `flow`; `rest` adds the attributes after the tuple.
///
/// No acknowledgement is asked for: the kernel is silent on success and answers a failure.
fn flow_request(
    buffer: &mut Buffer,
    action: Action,
    flow: &impl NamesFlow,
    rest: impl FnOnce(&mut Buffer),
) {
    let (kind, flags) = action.kind_and_flags();
    buffer.message(Head { kind, flags }, |message| {
        // struct nfgenmsg: the flow's own family, version 0, no resource id.
        message.raw(&[flow.family(), 0, 0, 0]);
        message.nested(cta::TUPLE_ORIG, |tuple| flow.put_tuple(tuple));
        rest(message);
    });
}
