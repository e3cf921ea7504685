//! Conntrack entries over netlink: the encoder, the socket and the requests cttune makes.
//!
//! In: tuples and what to do with the flows they name. Out: what the kernel did, an errno where it
//! refused. Rule: a request that acts on a flow goes through `flow_request`, which puts the flow's
//! original tuple first. There is no other way to build one, so a DELETE without a tuple, which the
//! kernel takes as "flush the whole table", cannot be written down.
//! Follows include/uapi/linux/netfilter/nfnetlink_conntrack.h and
//! net/netfilter/nf_conntrack_netlink.c (6.18).

mod create;
mod socket;
mod tuple;
mod wire;

pub use create::{CreateError, NewFlow, Seen, TcpState, create};
pub use socket::Socket;
pub use tuple::{Addresses, Layer4, Tuple};

pub(super) use wire::{Buffer, Head};

use tuple::NamesFlow;

/// What to do with the flow that a request names.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Makes it; a flow that exists already is an error, never an update.
    Create,
}

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const IPCTNL_MSG_CT_NEW: u16 = 0;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// `CTA_*`: the attributes of a conntrack message.
mod cta {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const TIMEOUT: u16 = 7;
}

impl Action {
    fn kind_and_flags(self) -> (u16, u16) {
        match self {
            Action::Create => (
                SUBSYSTEM | IPCTNL_MSG_CT_NEW,
                NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL,
            ),
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
