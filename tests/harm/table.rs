//! That `clamp` gives a flow what its next packet would: shown with packets.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::inside::goes_inside;
use crate::net::{Net, SERVERS, until};

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
