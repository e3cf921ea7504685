//! Packets that begin a flow like another one: an IP header, and as much of the protocol's header
//! as conntrack reads.

use std::net::IpAddr;

use crate::flow::{Layer4, Member, Protocol, Tuple};

/// Flags of a TCP header.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// The rest of an SCTP packet with an INIT chunk: verification tag 0, no checksum, tag 1.
const INIT: [u8; 28] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 255, 255, 0, 1, 0, 1, 0, 0, 0, 1,
];
/// An IP packet and where to send it.
type Packet = (Vec<u8>, IpAddr);

/// The first packet of a flow; of a TCP connection that is to be established, all three.
pub(super) fn packets(member: &Member, established: bool) -> Vec<Packet> {
    let there = &member.original;
    let Some(first) = packet(there, SYN, 1, 0) else {
        return Vec::new();
    };
    if !established || there.protocol != Protocol::TCP {
        return vec![first];
    }
    // The answer comes from where a translated destination really is, to the client.
    let mut back = member.reply;
    back.dst = there.src;
    if let (Layer4::Ports { src, .. }, Layer4::Ports { src: client, .. }) =
        (back.layer4, there.layer4)
    {
        back.layer4 = Layer4::Ports { src, dst: client };
    }
    let answer = packet(&back, SYN | ACK, 1, 2);
    let third = packet(there, ACK, 2, 2);
    [Some(first), answer, third].into_iter().flatten().collect()
}

fn packet(tuple: &Tuple, flags: u8, sequence: u32, acknowledged: u32) -> Option<Packet> {
    let protocol = tuple.protocol;
    let body = match tuple.layer4 {
        Layer4::Ports { src, dst } => {
            let ports = [src.to_be_bytes(), dst.to_be_bytes()].concat();
            match protocol {
                Protocol::TCP => tcp(&ports, flags, sequence, acknowledged),
                Protocol::UDP | Protocol::UDPLITE => [&ports[..], &[0, 8, 0, 0]].concat(),
                Protocol::SCTP => [&ports[..], &INIT].concat(),
                Protocol::GRE => gre(dst),
                _ => return None,
            }
        }
        Layer4::Icmp { id, kind, code } => {
            [&[kind, code, 0, 0][..], &id.to_be_bytes(), &[0, 1]].concat()
        }
        Layer4::Bare => vec![0; 16],
    };
    let header = match (tuple.src, tuple.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let length = u16::try_from(20 + body.len()).ok()?.to_be_bytes();
            let start = [
                0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol.0, 0, 0,
            ];
            [&start[..], &src.octets(), &dst.octets()].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            let start = [0x60, 0, 0, 0, length[0], length[1], protocol.0, 64];
            [&start[..], &src.octets(), &dst.octets()].concat()
        }
        _ => return None,
    };
    Some(([header, body].concat(), tuple.dst))
}

/// A packet of PPTP with this call, or of plain GRE: only the first has keys.
fn gre(key: u16) -> Vec<u8> {
    match key.to_be_bytes() {
        [0, 0] => vec![0, 0, 8, 0],
        [high, low] => vec![0x30, 1, 0x88, 0x0b, 0, 0, high, low, 0, 0, 0, 1],
    }
}

fn tcp(ports: &[u8], flags: u8, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let rest = [0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    let numbers = [sequence.to_be_bytes(), acknowledged.to_be_bytes()].concat();
    [ports, &numbers, &rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(protocol: Protocol, layer4: Layer4, v6: bool) -> Member {
        let address = |last: u16| -> IpAddr {
            if v6 {
                std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
            } else {
                [192, 0, 2, last.to_be_bytes()[1]].into()
            }
        };
        let original = Tuple {
            src: address(1),
            dst: address(2),
            protocol,
            layer4,
            zone: None,
        };
        let mut reply = original;
        (reply.src, reply.dst) = (address(3), address(1));
        if let Layer4::Ports { src, .. } = layer4 {
            reply.layer4 = Layer4::Ports {
                src: 8080,
                dst: src,
            };
        }
        Member {
            original,
            reply,
            state: None,
            zone: 0,
            is_answered: false,
        }
    }

    #[test]
    fn a_connection_is_established_with_the_server_behind_the_translation() {
        let ports = Layer4::Ports { src: 999, dst: 80 };
        let sent = packets(&member(Protocol::TCP, ports, false), true);
        let said: Vec<(&[u8], &[u8], u8)> = sent
            .iter()
            .map(|(bytes, _)| (&bytes[12..20], &bytes[20..24], bytes[33]))
            .collect();
        let there = [192, 0, 2, 1, 192, 0, 2, 2];
        let back = [192, 0, 2, 3, 192, 0, 2, 1];
        assert_eq!(
            said,
            [
                (&there[..], &[3, 231, 0, 80][..], 0x02),
                (&back, &[31, 144, 3, 231], 0x12),
                (&there, &[3, 231, 0, 80], 0x10),
            ]
        );
    }

    #[test]
    fn lengths_and_protocols_are_those_of_the_headers() {
        for (protocol, layer4, length) in [
            (Protocol::TCP, Layer4::Ports { src: 1, dst: 2 }, 20),
            (Protocol::UDP, Layer4::Ports { src: 1, dst: 2 }, 8),
            (
                Protocol::ICMP,
                Layer4::Icmp {
                    id: 7,
                    kind: 8,
                    code: 0,
                },
                8,
            ),
            (Protocol::SCTP, Layer4::Ports { src: 1, dst: 2 }, 32),
            (Protocol::GRE, Layer4::Ports { src: 0, dst: 2 }, 12),
            (Protocol::GRE, Layer4::Ports { src: 0, dst: 0 }, 4),
            (Protocol(50), Layer4::Bare, 16),
        ] {
            let v4 = packets(&member(protocol, layer4, false), false);
            assert_eq!((v4.len(), v4[0].0.len()), (1, 20 + length), "{protocol}");
            assert_eq!(usize::from(v4[0].0[3]), 20 + length, "{protocol}");
            assert_eq!(v4[0].0[9], protocol.0);
            let v6 = packets(&member(protocol, layer4, true), false);
            assert_eq!(v6[0].0.len(), 40 + length, "{protocol}");
            assert_eq!(usize::from(v6[0].0[5]), length, "{protocol}");
        }
        let dccp = member(Protocol::DCCP, Layer4::Ports { src: 1, dst: 2 }, false);
        assert!(packets(&dccp, false).is_empty());
    }
}
