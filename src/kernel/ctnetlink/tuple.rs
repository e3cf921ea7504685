//! What names a flow: the tuple of its first packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::flow::{Family, Protocol, cta_ip, cta_proto, cta_tuple};

use super::wire::Buffer;

/// Something that names one flow and so can stand in a request.
///
/// The kernel takes a DELETE without a tuple as a flush, so an implementation always writes one:
/// it is built from parts that cannot be empty, or echoes bytes that a dump delivered.
pub(super) trait NamesFlow {
    /// `nfgen_family`: it must be the flow's own (0 is EOPNOTSUPP, the other one EINVAL).
    fn family(&self) -> u8;

    /// Writes what belongs into `CTA_TUPLE_ORIG`.
    fn put_tuple(&self, buffer: &mut Buffer);
}

/// Source and destination, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Addresses {
    /// IPv4 source, then destination.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6 source, then destination.
    V6(Ipv6Addr, Ipv6Addr),
}

/// What tells the flows between two addresses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layer4 {
    /// TCP source port, then destination port.
    Tcp(u16, u16),
    /// UDP source port, then destination port.
    Udp(u16, u16),
    /// An echo request with this id, of ICMP or ICMPv6 as the addresses say.
    EchoRequest(u16),
    /// The answer to one.
    EchoReply(u16),
}

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    /// From where to where.
    pub(crate) addresses: Addresses,
    /// Protocol and ports, or id.
    pub(crate) layer4: Layer4,
}

impl Tuple {
    /// The tuple of the answer, with nothing translated on the way.
    #[must_use]
    pub(crate) fn reversed(&self) -> Self {
        Tuple {
            addresses: match self.addresses {
                Addresses::V4(src, dst) => Addresses::V4(dst, src),
                Addresses::V6(src, dst) => Addresses::V6(dst, src),
            },
            layer4: match self.layer4 {
                Layer4::Tcp(src, dst) => Layer4::Tcp(dst, src),
                Layer4::Udp(src, dst) => Layer4::Udp(dst, src),
                Layer4::EchoRequest(id) => Layer4::EchoReply(id),
                Layer4::EchoReply(id) => Layer4::EchoRequest(id),
            },
        }
    }
}

impl NamesFlow for Tuple {
    fn family(&self) -> u8 {
        match self.addresses {
            Addresses::V4(..) => Family::Ipv4.number(),
            Addresses::V6(..) => Family::Ipv6.number(),
        }
    }

    fn put_tuple(&self, buffer: &mut Buffer) {
        buffer.nested(cta_tuple::IP, |ip| match self.addresses {
            Addresses::V4(src, dst) => {
                ip.attribute(cta_ip::V4_SRC, &src.octets());
                ip.attribute(cta_ip::V4_DST, &dst.octets());
            }
            Addresses::V6(src, dst) => {
                ip.attribute(cta_ip::V6_SRC, &src.octets());
                ip.attribute(cta_ip::V6_DST, &dst.octets());
            }
        });
        buffer.nested(cta_tuple::PROTO, |proto| match self.layer4 {
            Layer4::Tcp(src, dst) => put_ports(proto, Protocol::TCP, src, dst),
            Layer4::Udp(src, dst) => put_ports(proto, Protocol::UDP, src, dst),
            Layer4::EchoRequest(id) => put_echo(proto, self.addresses, (8, 128), id),
            Layer4::EchoReply(id) => put_echo(proto, self.addresses, (0, 129), id),
        });
    }
}

fn put_ports(buffer: &mut Buffer, protocol: Protocol, src: u16, dst: u16) {
    buffer.attribute(cta_proto::NUMBER, &[protocol.0]);
    buffer.attribute(cta_proto::SRC_PORT, &src.to_be_bytes());
    buffer.attribute(cta_proto::DST_PORT, &dst.to_be_bytes());
}

/// `types` are ICMP's and ICMPv6's number for the same message.
fn put_echo(buffer: &mut Buffer, addresses: Addresses, types: (u8, u8), id: u16) {
    let (protocol, first, kind) = match addresses {
        Addresses::V4(..) => (Protocol::ICMP, cta_proto::ICMP_ID, types.0),
        Addresses::V6(..) => (Protocol::ICMPV6, cta_proto::ICMPV6_ID, types.1),
    };
    buffer.attribute(cta_proto::NUMBER, &[protocol.0]);
    buffer.attribute(first, &id.to_be_bytes());
    buffer.attribute(first + 1, &[kind]);
    buffer.attribute(first + 2, &[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(tuple: &Tuple) -> Vec<u8> {
        let mut buffer = Buffer::default();
        tuple.put_tuple(&mut buffer);
        buffer.bytes().to_vec()
    }

    const V4: Addresses = Addresses::V4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn the_bytes_are_those_that_conntrack_sends() {
        // `conntrack -I -p icmp -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-id 77`, under
        // strace; it writes type and code before the id, in an order of its own.
        let ip = b"\x14\0\x01\x80\x08\0\x01\0\x0a\0\0\x01\x08\0\x02\0\xc0\0\x02\x01";
        let echo = b"\x24\0\x02\x80\x05\0\x01\0\x01\0\0\0\x06\0\x04\0\0\x4d\0\0\
            \x05\0\x05\0\x08\0\0\0\x05\0\x06\0\0\0\0\0";
        let tuple = Tuple {
            addresses: V4,
            layer4: Layer4::EchoRequest(77),
        };
        assert_eq!(encoded(&tuple), [&ip[..], &echo[..]].concat());

        let tcp = b"\x1c\0\x02\x80\x05\0\x01\0\x06\0\0\0\x06\0\x02\0\x04\x01\0\0\
            \x06\0\x03\0\x14\x6c\0\0";
        let tuple = Tuple {
            layer4: Layer4::Tcp(1025, 5228),
            ..tuple
        };
        assert_eq!(encoded(&tuple), [&ip[..], &tcp[..]].concat());
    }

    #[test]
    fn an_answer_comes_back_the_same_way() {
        let v6 = Addresses::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        for addresses in [V4, v6] {
            for layer4 in [
                Layer4::Tcp(1, 2),
                Layer4::Udp(3, 4),
                Layer4::EchoRequest(5),
                Layer4::EchoReply(6),
            ] {
                let tuple = Tuple { addresses, layer4 };
                assert_ne!(tuple.reversed(), tuple);
                assert_eq!(tuple.reversed().reversed(), tuple);
                assert_eq!(encoded(&tuple).len(), encoded(&tuple.reversed()).len());
            }
        }
    }
}
