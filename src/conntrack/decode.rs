//! A conntrack message, decoded into a [`Flow`] that borrows from it.
//!
//! Follows `ctnetlink_fill_info` in the kernel's net/netfilter/nf_conntrack_netlink.c (6.18).

use super::attributes::{Attribute, Attributes, Malformed, cta};
use super::{Counters, Family, Flow, Status, Tcp, TcpState, Tuple};

/// `CTA_PROTOINFO_TCP` and `CTA_PROTOINFO_SCTP`.
const TCP: u16 = 1;
const SCTP: u16 = 3;
/// `CTA_PROTOINFO_TCP_STATE`, `CTA_PROTOINFO_SCTP_STATE`, `CTA_HELP_NAME`, `CTA_TIMESTAMP_START`.
const FIRST: u16 = 1;
/// `CTA_PROTOINFO_TCP_FLAGS_ORIGINAL` and `_REPLY`: a byte of flags, then a mask.
const FLAGS_ORIGINAL: u16 = 4;
const FLAGS_REPLY: u16 = 5;
/// `CTA_PROTOINFO_SCTP_VTAG_ORIGINAL` and `_REPLY`.
const TAG_ORIGINAL: u16 = 2;
const TAG_REPLY: u16 = 3;
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
    #[inline(always)]
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
    sctp_tags: Option<(u32, u32)>,
    counters: Option<Counters>,
    started: Option<u64>,
    helper: Option<&'a [u8]>,
    has_master: bool,
    labels: Option<&'a [u8]>,
    zone: Option<u16>,
}

impl<'a> Found<'a> {
    #[inline(always)]
    fn take(&mut self, attribute: Attribute<'a>) -> Result<(), Malformed> {
        match attribute.kind {
            cta::TUPLE_ORIG => {
                self.original = Some(Tuple::parse(attribute.value)?);
                self.raw_original = attribute.value;
            }
            cta::TUPLE_REPLY => self.reply = Some(Tuple::parse(attribute.value)?),
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
            cta::LABELS => self.labels = Some(attribute.value),
            _ => {}
        }
        Ok(())
    }

    fn take_tracker(&mut self, attribute: Attribute<'a>) -> Result<(), Malformed> {
        for tracker in attribute.nested() {
            let tracker = tracker?;
            match tracker.kind {
                TCP => self.tcp = Some(tcp(tracker)?),
                SCTP => self.take_sctp(tracker)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn take_sctp(&mut self, attribute: Attribute<'a>) -> Result<(), Malformed> {
        let (mut there, mut back) = (None, None);
        for inner in attribute.nested() {
            let inner = inner?;
            match inner.kind {
                FIRST => self.sctp = Some(inner.byte()?),
                TAG_ORIGINAL => there = Some(inner.u32()?),
                TAG_REPLY => back = Some(inner.u32()?),
                _ => {}
            }
        }
        self.sctp_tags = there.zip(back);
        Ok(())
    }

    #[inline(always)]
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
            sctp_tags: self.sctp_tags,
            counters: self.counters,
            started: self.started,
            helper: self.helper,
            has_master: self.has_master,
            labels: self.labels,
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::super::captured::{TCP, UDP};
    use super::super::{Protocol, StatusBit};
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
        let sctp = [
            attribute(1, &[4]),
            attribute(2, &[0, 0, 0, 7]),
            attribute(3, &[0, 0, 0, 9]),
        ];
        let sctp = attribute(3, &sctp.concat());
        let more = [
            attribute(cta::COUNTERS_ORIG, &counters),
            attribute(cta::COUNTERS_REPLY, &number(1, 5)),
            attribute(cta::TIMESTAMP, &number(1, 77)),
            attribute(cta::HELP, &attribute(1, b"ftp\0")),
            attribute(cta::TUPLE_MASTER, &[]),
            attribute(cta::LABELS, &[2; 16]),
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
        assert_eq!((flow.sctp, flow.sctp_tags), (Some(4), Some((7, 9))));
        assert!(flow.has_master);
        assert_eq!(flow.labels, Some(&[2; 16][..]));
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
                // length does, and is checked before this is called.
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

    proptest! {
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
