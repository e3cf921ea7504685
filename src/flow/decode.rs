//! A conntrack message, decoded into a [`Flow`] that borrows from it.
//!
//! Follows `ctnetlink_fill_info` in the kernel's net/netfilter/nf_conntrack_netlink.c (6.18).

use std::net::IpAddr;

use super::attributes::{
    Attribute, Attributes, Malformed, NESTED, cta, cta_ip, cta_proto, cta_tuple, header,
};
use super::{Counters, Family, Flow, Layer4, Protocol, Status, Tcp, TcpState, Tuple};

/// `CTA_PROTOINFO_TCP` and `CTA_PROTOINFO_SCTP`.
const TCP: u16 = 1;
const SCTP: u16 = 3;
/// `CTA_PROTOINFO_TCP_STATE`, `CTA_PROTOINFO_SCTP_STATE`, `CTA_HELP_NAME`, `CTA_TIMESTAMP_START`.
const FIRST: u16 = 1;
/// `CTA_PROTOINFO_TCP_FLAGS_ORIGINAL` and `_REPLY`: a byte of flags, then a mask.
const FLAGS_ORIGINAL: u16 = 4;
const FLAGS_REPLY: u16 = 5;
/// `CTA_COUNTERS_PACKETS` and `CTA_COUNTERS_BYTES`.
const PACKETS: u16 = 1;
const BYTES: u16 = 2;

impl<'a> Flow<'a> {
    /// Decodes a message from behind its netlink header: `struct nfgenmsg`, then attributes.
    ///
    /// What is not known is passed over.
    ///
    /// # Errors
    /// If the bytes end too early, or lack a tuple, the id or a family that conntrack has.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Flow<'a>, Malformed> {
        let (&[family, ..], attributes) = message
            .split_first_chunk::<4>()
            .ok_or(Malformed("its fixed part"))?;
        let family = Family::from_number(family).ok_or(Malformed("an address family"))?;
        let mut found = Found::default();
        for attribute in Attributes::new(attributes) {
            found.take(attribute?)?;
        }
        found.into_flow(family)
    }
}

/// What was found in a message so far.
#[derive(Default)]
struct Found<'a> {
    original: Option<Tuple>,
    raw_original: &'a [u8],
    reply: Option<Tuple>,
    status: u32,
    timeout: Option<u32>,
    mark: u32,
    id: Option<u32>,
    tcp: Option<Tcp>,
    sctp: Option<u8>,
    counters: Option<Counters>,
    started: Option<u64>,
    helper: Option<&'a [u8]>,
    has_master: bool,
    zone: Option<u16>,
}

impl<'a> Found<'a> {
    fn take(&mut self, attribute: Attribute<'a>) -> Result<(), Malformed> {
        match attribute.kind {
            cta::TUPLE_ORIG => {
                self.original = Some(tuple(attribute)?);
                self.raw_original = attribute.value;
            }
            cta::TUPLE_REPLY => self.reply = Some(tuple(attribute)?),
            cta::STATUS => self.status = attribute.u32()?,
            cta::TIMEOUT => self.timeout = Some(attribute.u32()?),
            cta::MARK => self.mark = attribute.u32()?,
            cta::ID => self.id = Some(attribute.u32()?),
            cta::ZONE => self.zone = Some(attribute.u16()?),
            cta::PROTOINFO => self.take_tracker(attribute)?,
            cta::COUNTERS_ORIG => {
                let (packets, bytes) = counted(attribute)?;
                let counters = self.counters.get_or_insert_default();
                (counters.original_packets, counters.original_bytes) = (packets, bytes);
            }
            cta::COUNTERS_REPLY => {
                let (packets, bytes) = counted(attribute)?;
                let counters = self.counters.get_or_insert_default();
                (counters.reply_packets, counters.reply_bytes) = (packets, bytes);
            }
            cta::TIMESTAMP => {
                self.started = first(attribute)?.map(Attribute::u64).transpose()?;
            }
            cta::HELP => {
                let name = first(attribute)?.map_or(&[][..], |name| name.value);
                // The kernel sends a C string.
                self.helper = Some(name.strip_suffix(&[0]).unwrap_or(name));
            }
            cta::TUPLE_MASTER => self.has_master = true,
            _ => {}
        }
        Ok(())
    }

    fn take_tracker(&mut self, attribute: Attribute<'a>) -> Result<(), Malformed> {
        for tracker in attribute.nested() {
            let tracker = tracker?;
            match tracker.kind {
                TCP => self.tcp = Some(tcp(tracker)?),
                SCTP => self.sctp = first(tracker)?.map(Attribute::byte).transpose()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn into_flow(self, family: Family) -> Result<Flow<'a>, Malformed> {
        Ok(Flow {
            family,
            original: self.original.ok_or(Malformed("the original tuple"))?,
            raw_original: self.raw_original,
            reply: self.reply.ok_or(Malformed("the reply tuple"))?,
            status: Status(self.status),
            timeout: self.timeout,
            mark: self.mark,
            id: self.id.ok_or(Malformed("the id"))?,
            tcp: self.tcp,
            sctp: self.sctp,
            counters: self.counters,
            started: self.started,
            helper: self.helper,
            has_master: self.has_master,
            both_zone: self.zone,
        })
    }
}

/// The nested attribute with the number 1.
fn first(attribute: Attribute<'_>) -> Result<Option<Attribute<'_>>, Malformed> {
    for inner in attribute.nested() {
        let inner = inner?;
        if inner.kind == FIRST {
            return Ok(Some(inner));
        }
    }
    Ok(None)
}

fn counted(attribute: Attribute<'_>) -> Result<(u64, u64), Malformed> {
    let (mut packets, mut bytes) = (0, 0);
    for inner in attribute.nested() {
        let inner = inner?;
        match inner.kind {
            PACKETS => packets = inner.u64()?,
            BYTES => bytes = inner.u64()?,
            _ => {}
        }
    }
    Ok((packets, bytes))
}

fn tcp(attribute: Attribute<'_>) -> Result<Tcp, Malformed> {
    let mut tcp = Tcp {
        state: None,
        original_flags: 0,
        reply_flags: 0,
    };
    for inner in attribute.nested() {
        let inner = inner?;
        match inner.kind {
            FIRST => tcp.state = TcpState::from_number(inner.byte()?),
            FLAGS_ORIGINAL => tcp.original_flags = inner.byte()?,
            FLAGS_REPLY => tcp.reply_flags = inner.byte()?,
            _ => {}
        }
    }
    Ok(tcp)
}

fn tuple(attribute: Attribute<'_>) -> Result<Tuple, Malformed> {
    match usual_tuple(attribute.value) {
        Some(tuple) => Ok(tuple),
        None => any_tuple(attribute),
    }
}

/// A tuple with ports and without a zone, in the very order in which the kernel writes it, as nearly
/// all are; `None` for any other. Reading attribute by attribute takes three times as many
/// instructions, and there are two tuples in a flow.
fn usual_tuple(value: &[u8]) -> Option<Tuple> {
    const V4: [u8; 4] = header(4 + 2 * 8, NESTED | cta_tuple::IP);
    const V6: [u8; 4] = header(4 + 2 * 20, NESTED | cta_tuple::IP);
    const PROTO: [u8; 4] = header(4 + 3 * 8, NESTED | cta_tuple::PROTO);
    let (head, rest) = value.split_first_chunk()?;
    let (src, dst, rest) = match *head {
        V4 => {
            let (src, rest) = behind::<4>(header(8, cta_ip::V4_SRC), rest)?;
            let (dst, rest) = behind::<4>(header(8, cta_ip::V4_DST), rest)?;
            (IpAddr::from(*src), IpAddr::from(*dst), rest)
        }
        V6 => {
            let (src, rest) = behind::<16>(header(20, cta_ip::V6_SRC), rest)?;
            let (dst, rest) = behind::<16>(header(20, cta_ip::V6_DST), rest)?;
            (IpAddr::from(*src), IpAddr::from(*dst), rest)
        }
        _ => return None,
    };
    let ([], rest) = behind(PROTO, rest)?;
    // What follows a number is padding.
    let ([number, _, _, _], rest) = behind(header(5, cta_proto::NUMBER), rest)?;
    let ([from, port, _, _], rest) = behind(header(6, cta_proto::SRC_PORT), rest)?;
    let src_port = u16::from_be_bytes([*from, *port]);
    let ([to, port, _, _], rest) = behind(header(6, cta_proto::DST_PORT), rest)?;
    let dst_port = u16::from_be_bytes([*to, *port]);
    rest.is_empty().then_some(Tuple {
        src,
        dst,
        protocol: Protocol(*number),
        layer4: Layer4::Ports {
            src: src_port,
            dst: dst_port,
        },
        zone: None,
    })
}

/// The bytes behind an attribute's header, if it is this one, and the rest.
fn behind<const N: usize>(header: [u8; 4], bytes: &[u8]) -> Option<(&[u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    if *head == header {
        rest.split_first_chunk()
    } else {
        None
    }
}

fn any_tuple(attribute: Attribute<'_>) -> Result<Tuple, Malformed> {
    let (mut addresses, mut layer4, mut zone) = (None, None, None);
    for inner in attribute.nested() {
        let inner = inner?;
        match inner.kind {
            cta_tuple::IP => addresses = Some(ip(inner)?),
            cta_tuple::PROTO => layer4 = Some(proto(inner)?),
            cta_tuple::ZONE => zone = Some(inner.u16()?),
            _ => {}
        }
    }
    let (src, dst) = addresses.ok_or(Malformed("a tuple's addresses"))?;
    let (protocol, layer4) = layer4.ok_or(Malformed("a tuple's protocol"))?;
    Ok(Tuple {
        src,
        dst,
        protocol,
        layer4,
        zone,
    })
}

fn ip(attribute: Attribute<'_>) -> Result<(IpAddr, IpAddr), Malformed> {
    let (mut src, mut dst) = (None, None);
    for inner in attribute.nested() {
        let inner = inner?;
        match inner.kind {
            cta_ip::V4_SRC => src = Some(IpAddr::from(inner.bytes::<4>()?)),
            cta_ip::V4_DST => dst = Some(IpAddr::from(inner.bytes::<4>()?)),
            cta_ip::V6_SRC => src = Some(IpAddr::from(inner.bytes::<16>()?)),
            cta_ip::V6_DST => dst = Some(IpAddr::from(inner.bytes::<16>()?)),
            _ => {}
        }
    }
    src.zip(dst).ok_or(Malformed("an address"))
}

fn proto(attribute: Attribute<'_>) -> Result<(Protocol, Layer4), Malformed> {
    let mut number = None;
    let (mut ports, mut icmp) = ((None, None), (None, 0, 0));
    for inner in attribute.nested() {
        let inner = inner?;
        match inner.kind {
            cta_proto::NUMBER => number = Some(inner.byte()?),
            cta_proto::SRC_PORT => ports.0 = Some(inner.u16()?),
            cta_proto::DST_PORT => ports.1 = Some(inner.u16()?),
            cta_proto::ICMP_ID | cta_proto::ICMPV6_ID => icmp.0 = Some(inner.u16()?),
            cta_proto::ICMP_TYPE | cta_proto::ICMPV6_TYPE => icmp.1 = inner.byte()?,
            cta_proto::ICMP_CODE | cta_proto::ICMPV6_CODE => icmp.2 = inner.byte()?,
            _ => {}
        }
    }
    let layer4 = match (ports, icmp) {
        ((Some(src), Some(dst)), _) => Layer4::Ports { src, dst },
        (_, (Some(id), kind, code)) => Layer4::Icmp { id, kind, code },
        _ => Layer4::Bare,
    };
    let number = number.ok_or(Malformed("a tuple's protocol"))?;
    Ok((Protocol(number), layer4))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::super::StatusBit;
    use super::super::captured::{TCP, UDP};
    use super::*;

    /// An attribute, padded.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_message_of_the_kernel_is_read_in_full() {
        let flow = Flow::parse(TCP).unwrap();
        let client: IpAddr = "192.168.1.1".parse().unwrap();
        let server: IpAddr = "10.0.0.2".parse().unwrap();
        assert_eq!(flow.family, Family::Ipv4);
        assert_eq!((flow.original.src, flow.original.dst), (client, server));
        assert_eq!(flow.original.ports(), Some((1000, 80)));
        assert_eq!((flow.reply.src, flow.reply.dst), (server, client));
        assert_eq!(flow.reply.ports(), Some((80, 1000)));
        assert_eq!(flow.original.protocol, Protocol::TCP);
        assert_eq!((flow.zone(), flow.both_zone(), flow.mark), (3, Some(3), 7));
        assert_eq!((flow.timeout, flow.id), (Some(999), 0x7290_0060));
        assert_eq!(flow.tcp_state(), Some(TcpState::Established));
        assert!(!flow.tcp.unwrap().has_unacknowledged_data());
        assert!(flow.status.has(StatusBit::Assured) && !flow.status.has(StatusBit::Dying));
        assert!(!flow.is_translated() && !flow.has_master);
        assert_eq!(
            (flow.counters, flow.started, flow.helper),
            (None, None, None)
        );
        assert_eq!(flow.raw_original(), &TCP[8..56]);
    }

    #[test]
    fn a_zone_of_one_direction_stays_in_its_tuple() {
        let flow = Flow::parse(UDP).unwrap();
        assert_eq!(flow.family, Family::Ipv6);
        assert_eq!((flow.original.zone, flow.reply.zone), (Some(5), None));
        assert_eq!((flow.zone(), flow.both_zone()), (5, None));
        assert_eq!((flow.tcp, flow.tcp_state()), (None, None));
        assert!(flow.raw_original().ends_with(b"\x06\0\x03\0\0\x05\0\0"));
    }

    #[test]
    fn what_only_some_flows_have_is_read_where_it_is() {
        let number = |kind, value: u64| attribute(kind, &value.to_be_bytes());
        let counters = [number(1, 3), number(2, 400)].concat();
        let sctp = attribute(3, &attribute(1, &[4]));
        let more = [
            attribute(cta::COUNTERS_ORIG, &counters),
            attribute(cta::COUNTERS_REPLY, &number(1, 5)),
            attribute(cta::TIMESTAMP, &number(1, 77)),
            attribute(cta::HELP, &attribute(1, b"ftp\0")),
            attribute(cta::TUPLE_MASTER, &[]),
            attribute(cta::PROTOINFO, &sctp),
            attribute(999, b"nobody knows this one"),
        ];
        let bytes = [UDP, &more.concat()].concat();
        let flow = Flow::parse(&bytes).unwrap();
        let counters = Counters {
            original_packets: 3,
            original_bytes: 400,
            reply_packets: 5,
            reply_bytes: 0,
        };
        assert_eq!(flow.counters, Some(counters));
        assert_eq!(flow.started, Some(77));
        assert_eq!(flow.helper, Some(&b"ftp"[..]));
        assert_eq!(flow.sctp, Some(4));
        assert!(flow.has_master);
    }

    #[test]
    fn data_that_waits_to_be_acknowledged_shows_in_either_direction() {
        for (place, flags) in [(4_u16, 0x1a_u8), (5, 0x10)] {
            let info = attribute(1, &attribute(place, &[flags, 0]));
            let bytes = [UDP, &attribute(cta::PROTOINFO, &info)].concat();
            let flow = Flow::parse(&bytes).unwrap();
            assert!(flow.tcp.unwrap().has_unacknowledged_data());
        }
    }

    #[test]
    fn a_message_that_is_cut_has_an_error_or_lacks_what_came_last() {
        for whole in [TCP, UDP] {
            let full = Flow::parse(whole).unwrap();
            for length in 0..whole.len() {
                // Between two attributes nothing tells that more was to come: the message's own
                // length does, and is checked where messages are told apart.
                if let Ok(flow) = Flow::parse(&whole[..length]) {
                    assert_eq!(flow.raw_original(), full.raw_original());
                    assert_eq!((flow.reply, flow.id), (full.reply, full.id));
                }
            }
        }
    }

    #[test]
    fn a_flow_without_a_tuple_an_id_or_a_known_family_is_none() {
        assert_eq!(Flow::parse(&[]), Err(Malformed("its fixed part")));
        for (bytes, lacks) in [
            (&TCP[..4], "the original tuple"),
            (&TCP[..56], "the reply tuple"),
            (&TCP[..108], "the id"),
        ] {
            assert_eq!(Flow::parse(bytes), Err(Malformed(lacks)));
        }
        let mut bytes = TCP.to_vec();
        bytes[0] = 7;
        assert_eq!(Flow::parse(&bytes), Err(Malformed("an address family")));
    }

    /// The tuples of the captured flows, and whether they are as nearly all are.
    const TUPLES: [(&[u8], Range<usize>, bool); 4] = [
        (TCP, 8..56, true),
        (TCP, 60..108, true),
        (UDP, 8..88, false),
        (UDP, 92..164, true),
    ];

    fn slowly(value: &[u8]) -> Result<Tuple, Malformed> {
        any_tuple(Attribute { kind: 0, value })
    }

    #[test]
    fn the_usual_tuple_is_read_as_any_other() {
        for (flow, place, is_usual) in TUPLES {
            let value = &flow[place];
            let tuple = usual_tuple(value);
            assert_eq!(tuple.is_some(), is_usual, "{value:?}");
            assert!(tuple.is_none_or(|tuple| slowly(value) == Ok(tuple)));
            assert!(slowly(value).is_ok());
        }
    }

    proptest! {
        #[test]
        fn what_is_read_as_a_usual_tuple_is_one(
            which in 0..TUPLES.len(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            length in 0..80_usize,
        ) {
            let (flow, range, _) = TUPLES[which].clone();
            let mut value = flow[range].to_vec();
            let place = place.index(value.len());
            value[place] = byte;
            for value in [&value[..], &value[..length.min(value.len())]] {
                if let Some(tuple) = usual_tuple(value) {
                    prop_assert_eq!(slowly(value), Ok(tuple));
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Flow::parse(&bytes);
        }

        #[test]
        fn no_damage_to_a_message_panics(
            place in 0..TCP.len(),
            byte in any::<u8>(),
            length in 0..=TCP.len(),
        ) {
            for whole in [TCP, UDP] {
                let mut bytes = whole.to_vec();
                bytes[place.min(whole.len() - 1)] = byte;
                bytes.truncate(length);
                if let Ok(flow) = Flow::parse(&bytes) {
                    prop_assert!(!flow.raw_original().is_empty());
                }
            }
        }
    }
}
