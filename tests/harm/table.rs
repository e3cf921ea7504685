//! That `clamp` gives a flow what its next packet would: shown with packets.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::inside::goes_inside;
use crate::net::{End, Net, SERVERS, until};
use crate::packets::{Packets, SCTP, TCP, left, wait_for};

/// A UDP flow of the client, and the server's end.
struct Talk {
    client: UdpSocket,
    server: UdpSocket,
}

impl Talk {
    fn new(net: &Net, server: &str) -> Self {
        let address = SocketAddr::new(server.parse::<IpAddr>().unwrap(), 0);
        let server = net.on_server(|| UdpSocket::bind(address).unwrap());
        let to = server.local_addr().unwrap();
        let client = net.on_client(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let client = UdpSocket::bind(any).unwrap();
            client.connect(to).unwrap();
            client
        });
        Talk { client, server }
    }

    fn ask(&self) {
        self.client.send(b"?").unwrap();
        let (_, from) = self.server.recv_from(&mut [0]).unwrap();
        assert_eq!(from.port(), self.client.local_addr().unwrap().port());
    }

    fn answer(&self) {
        let to = self.client.local_addr().unwrap();
        self.server.send_to(b"!", to).unwrap();
        self.client.recv(&mut [0]).unwrap();
    }

    /// The seconds that the firewall's flow has left.
    fn left(&self, net: &Net) -> u32 {
        let port = self.client.local_addr().unwrap().port();
        let listed = net.sh(&format!(
            "conntrack -L -p udp --sport {port} 2>/dev/null; conntrack -L -f ipv6 -p udp --sport {port} 2>/dev/null"
        ));
        listed.split_whitespace().nth(2).unwrap().parse().unwrap()
    }
}

#[test]
fn what_clamp_gives_udp_is_what_its_next_packet_gives() {
    if goes_inside("table::what_clamp_gives_udp_is_what_its_next_packet_gives") {
        return;
    }
    let chains = "chain forward { ct state new,established accept; }";
    for (server, (udp, stream)) in SERVERS.iter().zip([(20, 60), (60, 20)]) {
        let net = Net::new(chains);
        net.set("udp_timeout", 180);
        net.set("udp_timeout_stream", 180);
        let [unanswered, answered, assured] = [(); 3].map(|()| Talk::new(&net, server));
        unanswered.ask();
        assured.ask();
        assured.answer();
        let begun = Instant::now();
        // Traffic of both sides that is older than two seconds makes a flow a stream.
        until("it is old enough", || {
            begun.elapsed() > Duration::from_millis(2500)
        });
        assured.ask();
        assured.answer();
        answered.ask();
        answered.answer();
        net.set("udp_timeout", udp);
        net.set("udp_timeout_stream", stream);
        let told = net.expire(&[]);
        assert_eq!(told["clamped"], 3, "{told}");
        let most = udp.max(stream);
        for (talk, clamped, next) in [
            (&unanswered, udp, udp),
            (&assured, stream, stream),
            // Not yet a stream: its next packet gives one of the two.
            (&answered, most, udp),
        ] {
            let left = talk.left(&net);
            assert!(
                (clamped - 5..=clamped).contains(&left),
                "{left} of {clamped}"
            );
            talk.ask();
            let left = talk.left(&net);
            assert!((next - 3..=next).contains(&left), "{left} of {next}");
        }
        let begun = Instant::now();
        until("it is old enough", || {
            begun.elapsed() > Duration::from_millis(2500)
        });
        answered.ask();
        answered.answer();
        let left = answered.left(&net);
        assert!((stream - 3..=stream).contains(&left), "{left} of {stream}");
    }
}

/// A row: a protocol, the timeout, the packets that bring a flow there, and one that leaves it there
/// and refreshes it; none where every packet goes on to another state.
type Row = (u8, &'static str, &'static [(End, u8)], Option<(End, u8)>);

const C: End = End::Client;
const S: End = End::Server;

/// Flags of TCP, and chunks of SCTP.
const FIN: u8 = 0x11;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

const OPEN: [(End, u8); 3] = [(C, SYN), (S, SYN_ACK), (C, ACK)];
const ASSOCIATED: [(End, u8); 4] = [(C, INIT), (S, INIT_ACK), (C, COOKIE_ECHO), (S, COOKIE_ACK)];

const ROWS: [Row; 21] = [
    // A SYN that is sent again does not refresh the flow.
    (TCP, "tcp_timeout_syn_sent", &[(C, SYN)], None),
    (
        TCP,
        "tcp_timeout_syn_recv",
        &[OPEN[0], OPEN[1]],
        Some((S, ACK)),
    ),
    (TCP, "tcp_timeout_established", &OPEN, Some((C, ACK))),
    // Every packet of a connection in FIN_WAIT leaves that state.
    (
        TCP,
        "tcp_timeout_fin_wait",
        &[OPEN[0], OPEN[1], OPEN[2], (C, FIN)],
        None,
    ),
    (
        TCP,
        "tcp_timeout_close_wait",
        &[OPEN[0], OPEN[1], OPEN[2], (C, FIN), (S, ACK)],
        Some((S, ACK)),
    ),
    (
        TCP,
        "tcp_timeout_last_ack",
        &[OPEN[0], OPEN[1], OPEN[2], (C, FIN), (S, ACK), (S, FIN)],
        Some((S, FIN)),
    ),
    (
        TCP,
        "tcp_timeout_time_wait",
        &[
            OPEN[0],
            OPEN[1],
            OPEN[2],
            (C, FIN),
            (S, ACK),
            (S, FIN),
            (C, ACK),
        ],
        Some((C, ACK)),
    ),
    (
        TCP,
        "tcp_timeout_close",
        &[OPEN[0], OPEN[1], OPEN[2], (C, RST)],
        None,
    ),
    // An INIT alone leaves an association closed.
    (SCTP, "sctp_timeout_closed", &[(C, INIT)], None),
    (
        SCTP,
        "sctp_timeout_cookie_wait",
        &[ASSOCIATED[0], ASSOCIATED[1]],
        Some((S, INIT_ACK)),
    ),
    (
        SCTP,
        "sctp_timeout_cookie_echoed",
        &[ASSOCIATED[0], ASSOCIATED[1], ASSOCIATED[2]],
        Some((C, COOKIE_ECHO)),
    ),
    (
        SCTP,
        "sctp_timeout_established",
        &ASSOCIATED,
        Some((C, HEARTBEAT)),
    ),
    (
        SCTP,
        "sctp_timeout_shutdown_sent",
        &[
            ASSOCIATED[0],
            ASSOCIATED[1],
            ASSOCIATED[2],
            ASSOCIATED[3],
            (C, SHUTDOWN),
        ],
        Some((C, SHUTDOWN)),
    ),
    (
        SCTP,
        "sctp_timeout_shutdown_recd",
        &[
            ASSOCIATED[0],
            ASSOCIATED[1],
            ASSOCIATED[2],
            ASSOCIATED[3],
            (S, SHUTDOWN),
        ],
        Some((S, SHUTDOWN)),
    ),
    (
        SCTP,
        "sctp_timeout_shutdown_ack_sent",
        &[
            ASSOCIATED[0],
            ASSOCIATED[1],
            ASSOCIATED[2],
            ASSOCIATED[3],
            (C, SHUTDOWN),
            (S, SHUTDOWN_ACK),
        ],
        Some((S, SHUTDOWN_ACK)),
    ),
    (
        SCTP,
        "sctp_timeout_closed",
        &[
            ASSOCIATED[0],
            ASSOCIATED[1],
            ASSOCIATED[2],
            ASSOCIATED[3],
            (C, ABORT),
        ],
        None,
    ),
    (
        SCTP,
        "sctp_timeout_heartbeat_sent",
        &[(C, HEARTBEAT)],
        Some((C, HEARTBEAT)),
    ),
    // ICMP and ICMPv6 echo, and protocols without a tracker.
    (1, "icmp_timeout", &[(C, 8)], Some((C, 8))),
    (58, "icmpv6_timeout", &[(C, 128)], Some((C, 128))),
    (50, "generic_timeout", &[(C, 0)], Some((C, 0))),
    (253, "generic_timeout", &[(C, 0)], Some((S, 0))),
];

/// What a flow has before, and the timeout that it is brought under.
const OLD: u32 = 3000;
const NEW: u32 = 600;

/// A flow that is clamped gets what its next packet gives, or, where no packet leaves it in its
/// state, what the packet gives that brings a flow there.
#[test]
fn what_clamp_gives_each_row_is_what_packets_give() {
    if goes_inside("table::what_clamp_gives_each_row_is_what_packets_give") {
        return;
    }
    let net =
        Net::new("chain every { type filter hook forward priority -1; ct state new accept; }");
    net.sh("nft add rule inet fw forward accept");
    let packets = Packets::new(&net);
    // They bound the others while data waits to be acknowledged.
    for name in ["tcp_timeout_unacknowledged", "tcp_timeout_max_retrans"] {
        net.set(name, 2 * OLD);
    }
    for (protocol, name, there, stays) in ROWS {
        let has = |seconds| wait_for(&net, protocol, seconds, name);
        let clamp = || {
            let told = net.expire(&[]);
            assert_eq!(told["clamped"], 1, "{name}: {told}");
        };
        net.set(name, OLD);
        for packet in there {
            packets.send(protocol, *packet);
        }
        has(OLD);
        net.set(name, NEW);
        clamp();
        has(NEW);
        if let Some(packet) = stays {
            // Far from what clamp gave, so that a refresh shows.
            net.set(name, NEW / 2);
            clamp();
            has(NEW / 2);
            net.set(name, NEW);
            packets.send(protocol, packet);
            has(NEW);
        }
        net.sh("conntrack -F 2>/dev/null; conntrack -F -f ipv6 2>/dev/null");
        let (last, before) = there.split_last().unwrap();
        net.set(name, OLD);
        for packet in before {
            packets.send(protocol, *packet);
        }
        net.set(name, NEW);
        packets.send(protocol, *last);
        has(NEW);
        net.sh("conntrack -F 2>/dev/null; conntrack -F -f ipv6 2>/dev/null");
    }
}

/// GRE keeps the timeouts of its creation, so clamp leaves it alone.
#[test]
fn the_next_packet_of_gre_gives_what_it_was_created_with() {
    if goes_inside("table::the_next_packet_of_gre_gives_what_it_was_created_with") {
        return;
    }
    let net =
        Net::new("chain every { type filter hook forward priority -1; ct state new accept; }");
    net.sh("nft add rule inet fw forward accept");
    let packets = Packets::new(&net);
    net.set("gre_timeout", OLD);
    packets.send(47, (C, 0));
    wait_for(&net, 47, OLD, "gre_timeout");
    net.set("gre_timeout", NEW);
    let told = net.expire(&[]);
    assert_eq!(
        (&told["clamped"], &told["kept_why"]["gre"]),
        (&0.into(), &1.into()),
        "{told}"
    );
    until("time passes", || left(&net, 47) < Some(OLD - 3));
    packets.send(47, (C, 0));
    until("a packet gives the old time", || {
        left(&net, 47) > Some(OLD - 3)
    });
}
