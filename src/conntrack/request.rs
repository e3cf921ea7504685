//! Requests: a dump with the conditions that the kernel checks, an update, a delete.
//!
//! In: a [`Filter`], or a [`Flow`] that a dump told of. Out: a message in a [`Buffer`]. Rule: a
//! request about a flow starts with the bytes that name it, and never carries a status, which could
//! fix its timeout for good, nor `NLM_F_CREATE`, which would bring back a flow that just ended. No
//! acknowledgement is asked for: the kernel is silent on success and answers a failure.

use super::attributes::{cta, cta_filter, cta_proto, cta_tuple};
use super::{Buffer, Family, Flow, Head, Protocol, Tuple};

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
pub(super) const IPCTNL_MSG_CT_NEW: u16 = SUBSYSTEM;
const IPCTNL_MSG_CT_GET: u16 = SUBSYSTEM | 1;
const IPCTNL_MSG_CT_DELETE: u16 = SUBSYSTEM | 2;
pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_DUMP: u16 = 0x300;

/// The type of a message that tells of a flow.
pub(crate) const IS_FLOW: u16 = IPCTNL_MSG_CT_NEW;

/// Conditions that the kernel can check while it dumps.
///
/// They spare work and decide nothing: older kernels pass over conditions silently, so each flow is
/// matched again. Addresses are left out, since the kernel's filter for IPv6 ones is inverted (6.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    pub(crate) family: Option<Family>,
    pub(crate) protocol: Option<Protocol>,
    /// Of the original direction.
    pub(crate) source_port: Option<u16>,
    /// Of the original direction.
    pub(crate) destination_port: Option<u16>,
    pub(crate) mark: Option<Mark>,
    pub(crate) zone: Option<u16>,
    pub(crate) status: StatusFilter,
}

/// What some bits of the status must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StatusFilter {
    /// The bits that must be set; none outside the mask.
    pub(crate) value: u32,
    /// The bits that are looked at.
    pub(crate) mask: u32,
}

/// A mark under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// What the masked mark must be; no bit outside the mask.
    pub(crate) value: u32,
    /// The bits that are looked at.
    pub(crate) mask: u32,
}

/// Less time for a flow, or as much as it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shorter<'a> {
    flow: &'a Flow<'a>,
    seconds: u32,
}

impl<'a> Shorter<'a> {
    /// The flow with `seconds` to live, or with what the dump told where that is less. None for a
    /// flow whose time the dump did not tell (an offloaded one).
    pub(crate) fn new(flow: &'a Flow<'a>, seconds: u32) -> Option<Self> {
        let dumped = flow.timeout?;
        let seconds = seconds.min(dumped);
        Some(Shorter { flow, seconds })
    }
}

impl Filter {
    /// Whether the flow has the family and the status that are asked for: a kernel before 5.15
    /// passes over the status.
    pub(crate) fn tells_of(&self, flow: &Flow<'_>) -> bool {
        self.family.is_none_or(|family| family == flow.family)
            && flow.status.0 & self.status.mask == self.status.value
    }
}

/// Appends a request to give a flow less time: its tuple, its zone and the time.
pub(crate) fn put_update(buffer: &mut Buffer, shorter: Shorter<'_>) {
    put_about(buffer, IPCTNL_MSG_CT_NEW, shorter.flow, |message| {
        message.attribute(cta::TIMEOUT, &shorter.seconds.to_be_bytes());
    });
}

/// Appends a request to end a flow, if it is the one that was dumped, as far as its id tells.
pub(crate) fn put_delete(buffer: &mut Buffer, flow: &Flow<'_>) {
    put_about(buffer, IPCTNL_MSG_CT_DELETE, flow, |message| {
        message.attribute(cta::ID, &flow.id.to_be_bytes());
    });
}

fn put_about(buffer: &mut Buffer, kind: u16, flow: &Flow<'_>, rest: impl FnOnce(&mut Buffer)) {
    let flags = NLM_F_REQUEST;
    buffer.message(Head { kind, flags }, |message| {
        put_fixed_part(message, Some(flow.family));
        message.nested(cta::TUPLE_ORIG, |tuple| tuple.raw(flow.raw_original()));
        // Without its zone a flow of another one is meant, and ENOENT would look like success.
        if let Some(zone) = flow.both_zone() {
            message.attribute(cta::ZONE, &zone.to_be_bytes());
        }
        rest(message);
    });
}

/// `struct nfgenmsg`: the family (a request about a flow needs the flow's own), version 0, no
/// resource id.
pub(super) fn put_fixed_part(message: &mut Buffer, family: Option<Family>) {
    message.raw(&[family.map_or(0, Family::number), 0, 0, 0]);
}

/// Appends the question for the flow that has this tuple, or this one as that of its replies.
pub(crate) fn put_get(buffer: &mut Buffer, tuple: &Tuple, of_replies: bool) {
    let head = Head {
        kind: IPCTNL_MSG_CT_GET,
        flags: NLM_F_REQUEST,
    };
    buffer.message(head, |message| {
        put_fixed_part(message, Some(tuple.family()));
        let kind = if of_replies {
            cta::TUPLE_REPLY
        } else {
            cta::TUPLE_ORIG
        };
        message.nested(kind, |bytes| tuple.put(bytes));
    });
}

/// The dumps, one after the other, that together tell of all flows that pass the filter.
///
/// One, but for a protocol of both families: the kernel checks protocols only within one family
/// (0 is EOPNOTSUPP), and walking twice costs a ninth of dumping flows that nobody asked for.
pub(crate) fn dump_filters(filter: &Filter) -> Vec<Filter> {
    match (filter.family, filter.protocol) {
        (None, Some(_)) => Family::ALL
            .iter()
            .map(|family| Filter {
                family: Some(*family),
                ..*filter
            })
            .collect(),
        _ => vec![*filter],
    }
}

/// Writes the request for one dump.
pub(crate) fn put_dump(buffer: &mut Buffer, filter: &Filter) {
    let head = Head {
        kind: IPCTNL_MSG_CT_GET,
        flags: NLM_F_REQUEST | NLM_F_DUMP,
    };
    buffer.message(head, |message| {
        put_fixed_part(message, filter.family);
        if let Some(mark) = filter.mark {
            message.attribute(cta::MARK, &mark.value.to_be_bytes());
            message.attribute(cta::MARK_MASK, &mark.mask.to_be_bytes());
        }
        if filter.status.mask != 0 {
            message.attribute(cta::STATUS, &filter.status.value.to_be_bytes());
            message.attribute(cta::STATUS_MASK, &filter.status.mask.to_be_bytes());
        }
        if let Some(zone) = filter.zone {
            message.attribute(cta::ZONE, &zone.to_be_bytes());
        }
        if let (Some(_), Some(protocol)) = (filter.family, filter.protocol) {
            put_protocol(message, filter, protocol);
        }
    });
}

/// Writes `CTA_FILTER` and the tuple that it is about (5.8).
fn put_protocol(message: &mut Buffer, filter: &Filter, protocol: Protocol) {
    let mut flags = cta_filter::PROTO_NUMBER;
    message.nested(cta::TUPLE_ORIG, |tuple| {
        tuple.nested(cta_tuple::PROTO, |proto| {
            proto.attribute(cta_proto::NUMBER, &[protocol.0]);
            if !matches!(protocol, Protocol::TCP | Protocol::UDP) {
                return;
            }
            if let Some(port) = filter.source_port {
                flags |= cta_filter::PROTO_SRC_PORT;
                proto.attribute(cta_proto::SRC_PORT, &port.to_be_bytes());
            }
            if let Some(port) = filter.destination_port {
                flags |= cta_filter::PROTO_DST_PORT;
                proto.attribute(cta_proto::DST_PORT, &port.to_be_bytes());
            }
        });
    });
    message.nested(cta::FILTER, |filter| {
        // In the machine's byte order, other than all numbers around them.
        filter.attribute(cta_filter::ORIG_FLAGS, &flags.to_ne_bytes());
        filter.attribute(cta_filter::REPLY_FLAGS, &[0; 4]);
    });
}

#[cfg(test)]
mod tests {
    use super::super::buffer::HEADER;
    use super::*;

    /// udp \[fd00::1\]:1000 > \[fd00::2\]:53 with a zone of its original direction, 999 s to live.
    const ORIGINAL: &[u8] = b"\x2c\0\x01\x80\
        \x14\0\x03\0\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
        \x14\0\x04\0\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\
        \x1c\0\x02\x80\x05\0\x01\0\x11\0\0\0\x06\0\x02\0\x03\xe8\0\0\x06\0\x03\0\0\x35\0\0\
        \x06\0\x03\0\0\x05\0\0";
    const TUPLE: &[u8] = b"\x54\0\x01\x80";
    const REPLY: &[u8] = b"\x4c\0\x02\x80";
    const ID: &[u8] = b"\x08\0\x0c\0\x29\x69\xaa\xa5";
    const ZONE: &[u8] = b"\x06\0\x12\0\0\x03\0\0";
    const TIMEOUT: &[u8] = b"\x08\0\x07\0\0\0\x03\xe7";

    fn message(more: &[&[u8]]) -> Vec<u8> {
        let reply = &ORIGINAL[..ORIGINAL.len() - 8];
        let start: &[&[u8]] = &[b"\x0a\0\0\0", TUPLE, ORIGINAL, REPLY, reply, ID];
        [start, more].concat().concat()
    }

    fn body(put: impl FnOnce(&mut Buffer)) -> (Vec<u8>, Vec<u8>) {
        let mut buffer = Buffer::default();
        put(&mut buffer);
        let (head, body) = buffer.bytes().split_at(HEADER);
        (head[4..8].to_vec(), body.to_vec())
    }

    #[test]
    fn an_update_is_the_tuple_the_zone_and_the_time_and_nothing_else() {
        let bytes = message(&[ZONE, TIMEOUT]);
        let flow = Flow::parse(&bytes).unwrap();
        let shorter = Shorter::new(&flow, 600).unwrap();
        let (head, body) = body(|buffer| put_update(buffer, shorter));
        // IPCTNL_MSG_CT_NEW; NLM_F_REQUEST without NLM_F_CREATE.
        assert_eq!(head, [0, 1, 1, 0]);
        let time = b"\x08\0\x07\0\0\0\x02\x58";
        assert_eq!(body, [b"\x0a\0\0\0", TUPLE, ORIGINAL, ZONE, time].concat());
    }

    #[test]
    fn a_delete_is_the_tuple_the_zone_and_the_id() {
        let bytes = message(&[ZONE]);
        let flow = Flow::parse(&bytes).unwrap();
        let (head, with_zone) = body(|buffer| put_delete(buffer, &flow));
        assert_eq!(head, [2, 1, 1, 0]);
        assert_eq!(
            with_zone,
            [b"\x0a\0\0\0", TUPLE, ORIGINAL, ZONE, ID].concat()
        );
        let bytes = message(&[]);
        let flow = Flow::parse(&bytes).unwrap();
        let (_, without) = body(|buffer| put_delete(buffer, &flow));
        assert_eq!(without, [b"\x0a\0\0\0", TUPLE, ORIGINAL, ID].concat());
    }

    #[test]
    fn no_more_time_is_asked_for_than_was_dumped() {
        let bytes = message(&[TIMEOUT]);
        let flow = Flow::parse(&bytes).unwrap();
        for (asked, seconds) in [(0, 0), (600, 600), (999, 999), (1000, 999), (u32::MAX, 999)] {
            assert_eq!(Shorter::new(&flow, asked).unwrap().seconds, seconds);
        }
        let bytes = message(&[]);
        assert!(Shorter::new(&Flow::parse(&bytes).unwrap(), 1).is_none());
    }
}
