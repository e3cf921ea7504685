//! The request that makes a flow without traffic: for `cttune sandbox` and for tests, and for
//! nothing else.
//!
//! In: a [`NewFlow`]. Out: a message in a [`Buffer`]. Rule: this file is the one place that sets
//! `NLM_F_CREATE` and writes `CTA_STATUS`. An update with `NLM_F_CREATE` would bring back a flow
//! that just ended, and `CTA_STATUS` can fix a live flow's timeout for good; neither may ever reach
//! a table that carries traffic.

use super::attributes::cta;
use super::request::{IPCTNL_MSG_CT_NEW, put_fixed_part};
use super::{Buffer, Head, NLM_F_REQUEST, StatusBit, TcpState, Tuple};

const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// `CTA_PROTOINFO_TCP` and `CTA_PROTOINFO_TCP_STATE`.
const PROTOINFO_TCP: u16 = 1;
const PROTOINFO_TCP_STATE: u16 = 1;

/// How much of a conversation the table has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Packets one way.
    Request,
    /// Packets both ways.
    Reply,
    /// Enough that a full table will not evict the flow.
    Assured,
}

/// A flow to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewFlow {
    /// Its first packet; the answer's tuple is the reverse.
    pub(crate) original: Tuple,
    /// What the table has seen of it.
    pub(crate) seen: Seen,
    /// Where it is, for TCP.
    pub(crate) tcp: Option<TcpState>,
    /// Remaining time, in seconds.
    pub(crate) timeout: u32,
}

/// Appends a request to make a flow; one that exists already is an error, never an update.
pub(crate) fn put_create(batch: &mut Buffer, flow: &NewFlow) {
    let head = Head {
        kind: IPCTNL_MSG_CT_NEW,
        flags: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL,
    };
    batch.message(head, |message| {
        put_fixed_part(message, Some(flow.original.family()));
        message.nested(cta::TUPLE_ORIG, |tuple| flow.original.put(tuple));
        message.nested(cta::TUPLE_REPLY, |tuple| {
            flow.original.reversed().put(tuple);
        });
        message.attribute(cta::STATUS, &flow.seen.status().to_be_bytes());
        message.attribute(cta::TIMEOUT, &flow.timeout.to_be_bytes());
        if let Some(state) = flow.tcp {
            message.nested(cta::PROTOINFO, |info| {
                info.nested(PROTOINFO_TCP, |tcp| {
                    tcp.attribute(PROTOINFO_TCP_STATE, &[state.number()]);
                });
            });
        }
    });
}

impl Seen {
    fn status(self) -> u32 {
        // The kernel confirms what it creates, and refuses (EBUSY) a status that denies it.
        let bits: &[StatusBit] = match self {
            Seen::Request => &[StatusBit::Confirmed],
            Seen::Reply => &[StatusBit::Confirmed, StatusBit::SeenReply],
            Seen::Assured => &[
                StatusBit::Confirmed,
                StatusBit::SeenReply,
                StatusBit::Assured,
            ],
        };
        bits.iter().fold(0, |status, bit| status | bit.mask())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layer4, Protocol};
    use super::*;

    #[test]
    fn a_request_is_what_conntrack_sends() {
        // `conntrack -I -p tcp -s 2001:db8::1 -d 2a00:1450:400b:c02::bc --sport 1025 --dport 5228
        // --state ESTABLISHED -t 1000 -u ASSURED,SEEN_REPLY` under strace, without the ACK that it
        // asks for, the window scaling that it makes up and the garbage in its padding.
        let expected = b"\xcc\0\0\0\0\x01\x01\x06\0\0\0\0\0\0\0\0\x0a\0\0\0\
            \x4c\0\x01\x80\x2c\0\x01\x80\
            \x14\0\x03\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
            \x14\0\x04\0\x2a\0\x14\x50\x40\x0b\x0c\x02\0\0\0\0\0\0\0\xbc\
            \x1c\0\x02\x80\x05\0\x01\0\x06\0\0\0\x06\0\x02\0\x04\x01\0\0\x06\0\x03\0\x14\x6c\0\0\
            \x4c\0\x02\x80\x2c\0\x01\x80\
            \x14\0\x03\0\x2a\0\x14\x50\x40\x0b\x0c\x02\0\0\0\0\0\0\0\xbc\
            \x14\0\x04\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
            \x1c\0\x02\x80\x05\0\x01\0\x06\0\0\0\x06\0\x02\0\x14\x6c\0\0\x06\0\x03\0\x04\x01\0\0\
            \x08\0\x03\0\0\0\0\x0e\x08\0\x07\0\0\0\x03\xe8\
            \x10\0\x04\x80\x0c\0\x01\x80\x05\0\x01\0\x03\0\0\0";
        let mut batch = Buffer::default();
        let flow = NewFlow {
            original: Tuple {
                src: "2001:db8::1".parse().unwrap(),
                dst: "2a00:1450:400b:c02::bc".parse().unwrap(),
                protocol: Protocol::TCP,
                layer4: Layer4::Ports {
                    src: 1025,
                    dst: 5228,
                },
                zone: None,
            },
            seen: Seen::Assured,
            tcp: Some(TcpState::Established),
            timeout: 1000,
        };
        put_create(&mut batch, &flow);
        assert_eq!(batch.bytes(), expected);
    }

    #[test]
    fn a_status_always_says_confirmed_and_never_more_than_was_seen() {
        for (seen, status) in [(Seen::Request, 8), (Seen::Reply, 10), (Seen::Assured, 14)] {
            assert_eq!(seen.status(), status);
        }
    }
}
