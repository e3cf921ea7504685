//! A tuple: what names one direction of a flow, read from the kernel's bytes and written back.
//!
//! In: the value of `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY`. Out: a [`Tuple`], or [`Malformed`].
//! Rule: what is written reads back to the same tuple.

use std::net::IpAddr;

use super::attributes::{
    Attribute, Attributes, Malformed, NESTED, cta_ip, cta_proto, cta_tuple, header,
};
use super::buffer::Buffer;
use super::{Family, Protocol};

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) layer4: Layer4,
    /// The zone that this direction alone belongs to.
    pub(crate) zone: Option<u16>,
}

/// What tells flows of the same addresses and protocol apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layer4 {
    /// Of the sender and of the receiver: ports of TCP, UDP, UDP-Lite, SCTP, DCCP; keys of GRE.
    Ports { src: u16, dst: u16 },
    /// An ICMP or ICMPv6 query: its identifier, type and code.
    Icmp { id: u16, kind: u8, code: u8 },
    /// Nothing: one flow between two addresses (ESP, AH and others).
    Bare,
}

impl Tuple {
    /// The ports, source first, where the protocol has them. GRE has keys instead.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        match self.layer4 {
            Layer4::Ports { src, dst } if self.protocol != Protocol::GRE => Some((src, dst)),
            _ => None,
        }
    }

    /// The family of its addresses.
    pub(crate) fn family(&self) -> Family {
        match self.src {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }

    /// The tuple of the answer, if no address or port is translated.
    #[must_use]
    pub(crate) fn reversed(&self) -> Self {
        let layer4 = match self.layer4 {
            Layer4::Ports { src, dst } => Layer4::Ports { src: dst, dst: src },
            Layer4::Icmp { id, kind, code } => {
                let kind = answering_kind(self.protocol, kind);
                Layer4::Icmp { id, kind, code }
            }
            Layer4::Bare => Layer4::Bare,
        };
        Tuple {
            src: self.dst,
            dst: self.src,
            layer4,
            ..*self
        }
    }

    /// Reads the value of a tuple's attribute.
    #[inline(always)]
    pub(super) fn parse(value: &[u8]) -> Result<Tuple, Malformed> {
        match usual(value) {
            Some(tuple) => Ok(tuple),
            None => by_attributes(value),
        }
    }

    /// Writes what belongs into a tuple's attribute.
    pub(super) fn put(&self, buffer: &mut Buffer) {
        buffer.nested(cta_tuple::IP, |ip| {
            put_address(ip, (cta_ip::V4_SRC, cta_ip::V6_SRC), self.src);
            put_address(ip, (cta_ip::V4_DST, cta_ip::V6_DST), self.dst);
        });
        buffer.nested(cta_tuple::PROTO, |proto| {
            proto.attribute(cta_proto::NUMBER, &[self.protocol.0]);
            match self.layer4 {
                Layer4::Ports { src, dst } => {
                    proto.attribute(cta_proto::SRC_PORT, &src.to_be_bytes());
                    proto.attribute(cta_proto::DST_PORT, &dst.to_be_bytes());
                }
                Layer4::Icmp { id, kind, code } => {
                    let is_v4 = self.protocol == Protocol::ICMP;
                    let first = if is_v4 {
                        cta_proto::ICMP_ID
                    } else {
                        cta_proto::ICMPV6_ID
                    };
                    proto.attribute(first, &id.to_be_bytes());
                    proto.attribute(first + 1, &[kind]);
                    proto.attribute(first + 2, &[code]);
                }
                Layer4::Bare => {}
            }
        });
        if let Some(zone) = self.zone {
            buffer.attribute(cta_tuple::ZONE, &zone.to_be_bytes());
        }
    }
}

/// The type of the answer to a query: `invmap` of the kernel's nf_conntrack_proto_icmp.c and
/// nf_conntrack_proto_icmpv6.c.
fn answering_kind(protocol: Protocol, kind: u8) -> u8 {
    match (protocol, kind) {
        (Protocol::ICMP, 8) => 0,
        (Protocol::ICMP, 0) => 8,
        (Protocol::ICMP, 13 | 15 | 17) | (Protocol::ICMPV6, 128 | 139) => kind + 1,
        (Protocol::ICMP, 14 | 16 | 18) | (Protocol::ICMPV6, 129 | 140) => kind - 1,
        _ => kind,
    }
}

/// `kinds` are the attribute's numbers for IPv4 and IPv6.
fn put_address(buffer: &mut Buffer, kinds: (u16, u16), address: IpAddr) {
    match address {
        IpAddr::V4(address) => buffer.attribute(kinds.0, &address.octets()),
        IpAddr::V6(address) => buffer.attribute(kinds.1, &address.octets()),
    }
}

/// A tuple with ports and without a zone, in the very order in which the kernel writes it, as nearly
/// all are; `None` for any other. Reading attribute by attribute takes three times as many
/// instructions, and there are two tuples in a flow.
#[inline(always)]
fn usual(value: &[u8]) -> Option<Tuple> {
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
#[inline(always)]
fn behind<const N: usize>(header: [u8; 4], bytes: &[u8]) -> Option<(&[u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    if *head == header {
        rest.split_first_chunk()
    } else {
        None
    }
}

fn by_attributes(value: &[u8]) -> Result<Tuple, Malformed> {
    let (mut addresses, mut layer4, mut zone) = (None, None, None);
    for inner in Attributes::new(value) {
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

    use super::super::captured::{TCP, UDP};
    use super::*;

    fn encoded(tuple: &Tuple) -> Vec<u8> {
        let mut buffer = Buffer::default();
        tuple.put(&mut buffer);
        buffer.bytes().to_vec()
    }

    #[test]
    fn the_bytes_are_those_that_conntrack_sends() {
        // `conntrack -I -p icmp -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-id 77`, under
        // strace; it writes type and code before the id, in an order of its own.
        let ip = b"\x14\0\x01\x80\x08\0\x01\0\x0a\0\0\x01\x08\0\x02\0\xc0\0\x02\x01";
        let echo = b"\x24\0\x02\x80\x05\0\x01\0\x01\0\0\0\x06\0\x04\0\0\x4d\0\0\
            \x05\0\x05\0\x08\0\0\0\x05\0\x06\0\0\0\0\0";
        let tuple = Tuple {
            src: [10, 0, 0, 1].into(),
            dst: [192, 0, 2, 1].into(),
            protocol: Protocol::ICMP,
            layer4: Layer4::Icmp {
                id: 77,
                kind: 8,
                code: 0,
            },
            zone: None,
        };
        assert_eq!(encoded(&tuple), [&ip[..], &echo[..]].concat());

        let tcp = b"\x1c\0\x02\x80\x05\0\x01\0\x06\0\0\0\x06\0\x02\0\x04\x01\0\0\
            \x06\0\x03\0\x14\x6c\0\0";
        let tuple = Tuple {
            protocol: Protocol::TCP,
            layer4: Layer4::Ports {
                src: 1025,
                dst: 5228,
            },
            ..tuple
        };
        assert_eq!(encoded(&tuple), [&ip[..], &tcp[..]].concat());
    }

    #[test]
    fn a_query_is_answered_by_the_type_that_the_kernel_expects() {
        for (protocol, query, answer) in [
            (Protocol::ICMP, 8, 0),
            (Protocol::ICMP, 13, 14),
            (Protocol::ICMPV6, 128, 129),
            (Protocol::ICMPV6, 139, 140),
            (Protocol::ICMP, 3, 3),
        ] {
            assert_eq!(answering_kind(protocol, query), answer);
            assert_eq!(answering_kind(protocol, answer), query);
        }
    }

    /// The tuples of the captured flows, and whether they are as nearly all are.
    const TUPLES: [(&[u8], Range<usize>, bool); 4] = [
        (TCP, 8..56, true),
        (TCP, 60..108, true),
        (UDP, 8..88, false),
        (UDP, 92..164, true),
    ];

    #[test]
    fn the_usual_tuple_is_read_as_any_other() {
        for (flow, place, is_usual) in TUPLES {
            let value = &flow[place];
            let tuple = usual(value);
            assert_eq!(tuple.is_some(), is_usual, "{value:?}");
            assert!(tuple.is_none_or(|tuple| by_attributes(value) == Ok(tuple)));
            assert_eq!(encoded(&by_attributes(value).unwrap()), value);
        }
    }

    fn tuple() -> impl Strategy<Value = Tuple> {
        let addresses = prop_oneof![
            any::<[[u8; 4]; 2]>().prop_map(|[src, dst]| (IpAddr::from(src), IpAddr::from(dst))),
            any::<[[u8; 16]; 2]>().prop_map(|[src, dst]| (IpAddr::from(src), IpAddr::from(dst))),
        ];
        let ports = (any::<u8>(), any::<u16>(), any::<u16>())
            .prop_map(|(number, src, dst)| (number, Layer4::Ports { src, dst }));
        let icmp = (
            prop::sample::select(vec![1, 58]),
            any::<u16>(),
            any::<u8>(),
            any::<u8>(),
        )
            .prop_map(|(number, id, kind, code)| (number, Layer4::Icmp { id, kind, code }));
        let bare = any::<u8>().prop_map(|number| (number, Layer4::Bare));
        let layer4 = prop_oneof![ports, icmp, bare];
        let zone = prop::option::of(any::<u16>());
        (addresses, layer4, zone).prop_map(|((src, dst), (number, layer4), zone)| Tuple {
            src,
            dst,
            protocol: Protocol(number),
            layer4,
            zone,
        })
    }

    proptest! {
        #[test]
        fn a_tuple_reads_back_as_it_was_written(tuple in tuple()) {
            prop_assert_eq!(Tuple::parse(&encoded(&tuple)), Ok(tuple));
            prop_assert_eq!(tuple.reversed().reversed(), tuple);
        }

        #[test]
        fn a_tuple_that_is_cut_anywhere_is_an_error_or_lacks_its_zone(tuple in tuple()) {
            let bytes = encoded(&tuple);
            for length in 0..bytes.len() {
                // The padding of the last attribute may be left out.
                if let Ok(read) = Tuple::parse(&bytes[..length]) {
                    let without = Tuple { zone: None, ..tuple };
                    prop_assert!(read == tuple || read == without, "{:?}", read);
                }
            }
        }

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
                if let Some(tuple) = usual(value) {
                    prop_assert_eq!(by_attributes(value), Ok(tuple));
                }
            }
        }
    }
}
