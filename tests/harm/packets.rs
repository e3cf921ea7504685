//! Packets of any protocol, from either end, and what the firewall's flow has left after them.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendmsg, socket,
};

use crate::net::{End, Net, until};

pub(crate) const TCP: u8 = 6;
pub(crate) const SCTP: u8 = 132;
const GRE: u8 = 47;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Sockets of both ends that send whole packets. Neither end answers by itself.
pub(crate) struct Packets {
    client: [OwnedFd; 2],
    server: [OwnedFd; 2],
}

impl Packets {
    pub(crate) fn new(net: &Net) -> Self {
        net.sh("echo 0 > /proc/sys/net/netfilter/nf_conntrack_checksum
                echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal");
        let raw = || {
            let silent = std::process::Command::new("nft")
                .arg("table inet silent { chain in { type filter hook input priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }; }")
                .status();
            assert!(silent.unwrap().success());
            let open = |family| {
                socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).unwrap()
            };
            [open(AddressFamily::Inet), open(AddressFamily::Inet6)]
        };
        Packets {
            client: net.on_client(raw),
            server: net.on_server(raw),
        }
    }

    /// Sends one from an end. `what` is a flag of TCP, a chunk of SCTP, a type of ICMP.
    pub(crate) fn send(&self, protocol: u8, (end, what): (End, u8)) {
        let ports: [u16; 2] = match end {
            End::Client => [2000, 9],
            End::Server => [9, 2000],
        };
        let ports = ports.map(u16::to_be_bytes).concat();
        let body = match protocol {
            TCP => {
                // Both ends count from 1; a SYN, and a FIN, take a number.
                let number: u32 = if what & 0x02 == 0 { 2 } else { 1 };
                let numbers = [number.to_be_bytes(), 2_u32.to_be_bytes()].concat();
                [&ports[..], &numbers, &[0x50, what, 0xff, 0xff, 0, 0, 0, 0]].concat()
            }
            SCTP => sctp(&ports, what),
            // Version 1 of PPTP: a key of a length and a call.
            GRE => [&[0, 0, 8, 0][..], &[0; 4]].concat(),
            ICMP | ICMPV6 => [&[what, 0, 0, 0][..], &[0, 7, 0, 1]].concat(),
            _ => vec![0; 16],
        };
        let v6 = protocol == ICMPV6;
        let (from, to) = match end {
            End::Client => (CLIENT, SERVER),
            End::Server => (SERVER, CLIENT),
        };
        let length = u16::try_from(body.len()).unwrap();
        let six = |address: Ipv4Addr| -> Ipv6Addr {
            let [.., net, _] = address.octets();
            format!("fd00:{net}::2").parse().unwrap()
        };
        let (header, to): (Vec<u8>, IpAddr) = if v6 {
            let length = length.to_be_bytes();
            let start = [0x60, 0, 0, 0, length[0], length[1], protocol, 64];
            (
                [&start[..], &six(from).octets(), &six(to).octets()].concat(),
                six(to).into(),
            )
        } else {
            let length = (20 + length).to_be_bytes();
            let start = [
                0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0,
            ];
            (
                [&start[..], &from.octets(), &to.octets()].concat(),
                to.into(),
            )
        };
        let packet = [header, body].concat();
        let sockets = match end {
            End::Client => &self.client,
            End::Server => &self.server,
        };
        let to = SockaddrStorage::from(SocketAddr::new(to, 0));
        let socket = sockets[usize::from(v6)].as_raw_fd();
        let whole = [IoSlice::new(&packet)];
        sendmsg(socket, &whole, &[], MsgFlags::empty(), Some(&to)).unwrap();
    }
}

/// The seconds that the firewall's flow of a protocol has left, if there is one.
pub(crate) fn left(net: &Net, protocol: u8) -> Option<u32> {
    let listed = net.sh("conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null");
    let is_of = |line: &&str| line.split_whitespace().nth(1) == Some(&protocol.to_string());
    let line = listed.lines().find(is_of)?;
    line.split_whitespace().nth(2)?.parse().ok()
}

/// Waits until it has about so many.
#[track_caller]
pub(crate) fn wait_for(net: &Net, protocol: u8, seconds: u32, what: &str) {
    let about = seconds.saturating_sub(20)..=seconds;
    until(&format!("{what}: {seconds} s left"), || {
        left(net, protocol).is_some_and(|left| about.contains(&left))
    });
}

/// A header with one chunk. Each end asks for the other's tag to be 7.
fn sctp(ports: &[u8], chunk: u8) -> Vec<u8> {
    let is_first = chunk == 1;
    let tag: u32 = if is_first { 0 } else { 7 };
    let body: Vec<u8> = match chunk {
        1 | 2 => [
            &7_u32.to_be_bytes()[..],
            &[0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1],
        ]
        .concat(),
        _ => vec![0; 4],
    };
    let length = u16::try_from(4 + body.len()).unwrap().to_be_bytes();
    [
        ports,
        &tag.to_be_bytes(),
        &[0; 4],
        &[chunk, 0, length[0], length[1]],
        &body,
    ]
    .concat()
}
