//! Random services and random flows on a real kernel: each flow's timeout is what the profile means.
//!
//! What a profile means is worked out here a second time, in a few lines. One namespace sends from
//! any address, one answers on every address and port, and the world between them is the router.
//! `CTTUNE_TEST_SETS` says how many sets of services are tried.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network;
use crate::support::World;
use crate::{apply, world};

/// Sets of services, and flows of each.
const SETS: u64 = 2;
const FLOWS: u64 = 200;

/// Two values differ by more than a test takes.
const APART: u64 = 97;

const TCP: [(&str, u64); 4] = [
    ("established", 432_000),
    ("syn_sent", 120),
    ("close_wait", 60),
    ("close", 10),
];
const UDP: [(&str, u64); 2] = [("unreplied", 30), ("replied", 120)];

/// Reads flows, a line each, and makes them; an address in the last network of a family answers
/// nothing.
const MAKE: &str = r"
import socket, struct, sys, time
# A packet may be lost while the neighbours are not known yet.
def ask(one):
    for _ in range(30):
        one.settimeout(1)
        try:
            one.send(b'x')
            one.recv(9)
            return
        except TimeoutError:
            pass
    raise SystemExit('no answer')
# Then they are known: what is not answered is sent once.
for family, src, dst in ((socket.AF_INET, '10.11.0.250', '10.12.0.250'),
                         (socket.AF_INET6, '2001:db8:11::fa', '2001:db8:12::fa')):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind((src, 0))
    one.connect((dst, 9))
    ask(one)
flows = [line.split() for line in sys.stdin]
kept, again = [], []
for flow in flows:
    kind, src, sport, dst, dport = flow[0], flow[1], int(flow[2]), flow[3], int(flow[4])
    family = socket.AF_INET6 if ':' in src else socket.AF_INET
    is_udp = kind in ('unreplied', 'replied')
    one = socket.socket(family, socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((src, sport))
    one.settimeout(30)
    if kind == 'syn_sent':
        one.setblocking(False)
        one.connect_ex((dst, dport))
    else:
        one.connect((dst, dport))
    if kind == 'unreplied':
        one.send(b'x')
    if kind == 'replied':
        ask(one)
        again.append((one, time.monotonic()))
    if kind == 'close_wait':
        one.shutdown(socket.SHUT_WR)
    if kind == 'close':
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        one.close()
    kept.append(one)
# Two seconds after the first packet an answered flow is a stream.
for one, answered in again:
    time.sleep(max(0, answered + 2.3 - time.monotonic()))
    ask(one)
    ask(one)
print('made', flush=True)
for _ in range(600):
    time.sleep(0.05)
    try:
        open('/run/listed')
        break
    except OSError:
        pass
";

const ANSWER: &str = r"
import select, socket
tcp = socket.create_server(('::', 9999), family=socket.AF_INET6, dualstack_ipv6=True, backlog=500)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(('::', 9998))
print('up', flush=True)
kept = []
while True:
    for one in select.select([tcp, udp], [], [])[0]:
        if one is tcp:
            kept.append(tcp.accept()[0])
        else:
            data, peer = udp.recvfrom(9)
            udp.sendto(data, peer)
";

/// Both ends have all addresses of their networks, and the far end all ports but in a part that
/// answers nothing.
const ENDS: &str = r#"
$C ip route add local 10.11.0.0/16 dev lo; $C ip -6 route add local 2001:db8:11::/48 dev lo
$S ip route add local 10.12.0.0/16 dev lo; $S ip -6 route add local 2001:db8:12::/48 dev lo
ip route add 10.11.0.0/16 via 10.1.0.2; ip route add 10.12.0.0/16 via 10.2.0.2
ip -6 route add 2001:db8:11::/48 via 2001:db8:1::2
ip -6 route add 2001:db8:12::/48 via 2001:db8:2::2
$C sh -c 'echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind'
$S nft 'table inet n {
    chain d { type filter hook prerouting priority -250;
        ip daddr 10.12.255.0/24 drop; ip6 daddr 2001:db8:12:dead::/64 drop; }
    chain r { type nat hook prerouting priority -100;
        meta l4proto tcp redirect to :9999; meta l4proto udp redirect to :9998; }
}'
$S python3 /run/answer.py > /run/answers & PIDS="$PIDS $!"
for _ in $(seq 600); do grep -q up /run/answers && break; sleep 0.05; done
cut -d' ' -f1 /proc/uptime
$C python3 /run/make.py < /run/flows > /run/made & MAKER=$!
for _ in $(seq 1200); do grep -q made /run/made && break; sleep 0.05; done
for family in ipv4 ipv6; do conntrack -L -f $family 2>/dev/null; done
cut -d' ' -f1 /proc/uptime; : > /run/listed; wait $MAKER
"#;

/// Numbers that are always the same for a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    /// A range below this end, from a first number on.
    fn range(&mut self, first: u64, end: u64) -> (u64, u64) {
        let start = self.below(end);
        (first + start, first + start + self.below(end - start))
    }

    fn within(&mut self, (first, last): (u64, u64)) -> u64 {
        first + self.below(last - first + 1)
    }
}

/// What a selection asks for; the halves are those of a family's network.
#[derive(Debug, Clone)]
struct Asked {
    is_udp: Option<bool>,
    to: (u64, u64),
    from: Option<(u64, u64)>,
    source: Option<Half>,
    not_destination: Option<Half>,
    is_v6: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Half {
    is_v6: bool,
    is_high: bool,
}

#[derive(Debug, Clone)]
struct Service {
    asked: Vec<Asked>,
    seconds: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone)]
struct Flow {
    kind: &'static str,
    source: (Half, u64),
    destination: (Half, u64),
    ports: (u64, u64),
}

impl Half {
    fn random(numbers: &mut Numbers) -> Half {
        Half {
            is_v6: numbers.one_in(2),
            is_high: numbers.one_in(2),
        }
    }

    fn network(self, end: u64) -> String {
        match (self.is_v6, self.is_high) {
            (false, false) => format!("10.{end}.0.0/17"),
            (false, true) => format!("10.{end}.128.0/17"),
            (true, false) => format!("2001:db8:{end}::/49"),
            (true, true) => format!("2001:db8:{end}:8000::/49"),
        }
    }

    /// One of its hosts; none of the networks that answer nothing.
    fn host(self, end: u64, host: u64) -> IpAddr {
        let (end, high) = (u16::try_from(end).unwrap(), u16::from(self.is_high));
        let host = u16::try_from(host).unwrap();
        if self.is_v6 {
            let end = u16::from_str_radix(&end.to_string(), 16).unwrap();
            Ipv6Addr::new(0x2001, 0xdb8, end, high << 15, 0, 0, 0, 16 + host).into()
        } else {
            let [end, _] = end.to_le_bytes();
            let [low, more] = (256 + host).to_le_bytes();
            Ipv4Addr::new(10, end, (u8::from(self.is_high) << 7) + more, low).into()
        }
    }
}

impl Asked {
    fn random(numbers: &mut Numbers, first: u64) -> Asked {
        let source = numbers.one_in(3).then(|| Half::random(numbers));
        let has_family = source.is_none() && numbers.one_in(4);
        Asked {
            is_udp: [None, Some(false), Some(true)][usize::try_from(numbers.below(3)).unwrap()],
            to: numbers.range(first, 100),
            from: numbers.one_in(4).then(|| numbers.range(20_000, 10_000)),
            source,
            not_destination: numbers.one_in(3).then(|| Half::random(numbers)),
            is_v6: has_family.then(|| numbers.one_in(2)),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("dport={}-{}", self.to.0, self.to.1);
        if let Some(is_udp) = self.is_udp {
            write!(text, ",proto={}", if is_udp { "udp" } else { "tcp" }).unwrap();
        }
        if let Some((first, last)) = self.from {
            write!(text, ",sport={first}-{last}").unwrap();
        }
        if let Some(half) = self.source {
            write!(text, ",src={}", half.network(11)).unwrap();
        }
        if let Some(half) = self.not_destination {
            write!(text, ",dst!={}", half.network(12)).unwrap();
        }
        if let Some(is_v6) = self.is_v6 {
            write!(text, ",family={}", if is_v6 { "ipv6" } else { "ipv4" }).unwrap();
        }
        text
    }

    fn is_met_by(&self, flow: &Flow) -> bool {
        let within = |(first, last): (u64, u64), port| (first..=last).contains(&port);
        self.is_udp.is_none_or(|is_udp| is_udp == flow.is_udp())
            && within(self.to, flow.ports.1)
            && self.from.is_none_or(|from| within(from, flow.ports.0))
            && self.source.is_none_or(|half| half == flow.source.0)
            && self.not_destination != Some(flow.destination.0)
            && self.is_v6.is_none_or(|is_v6| is_v6 == flow.source.0.is_v6)
    }
}

impl Service {
    fn random(numbers: &mut Numbers, first: u64) -> Service {
        let asked: Vec<Asked> = (0..=numbers.below(3))
            .map(|_| Asked::random(numbers, first))
            .collect();
        let mut seconds = BTreeMap::new();
        for (is_udp, states) in [(false, &TCP[..]), (true, &UDP[..])] {
            if asked.iter().all(|one| one.is_udp == Some(!is_udp)) {
                continue;
            }
            let sure = usize::try_from(numbers.below(states.len() as u64)).unwrap();
            for (place, (state, _)) in states.iter().enumerate() {
                if place == sure || numbers.one_in(2) {
                    // Never one of the sysctls.
                    seconds.insert(*state, APART * (2 + numbers.below(2000)));
                }
            }
        }
        Service { asked, seconds }
    }

    fn text(&self, name: &str) -> String {
        let matching: Vec<String> = self
            .asked
            .iter()
            .map(|asked| format!("\"{}\"", asked.text()))
            .collect();
        let mut text = format!("[service.{name}]\nmatch = [{}]\n", matching.join(", "));
        for (state, seconds) in &self.seconds {
            writeln!(text, "{state} = {seconds}").unwrap();
        }
        text
    }
}

impl Flow {
    fn random(numbers: &mut Numbers, services: &[Service], number: u64) -> Flow {
        let service = &services[usize::try_from(numbers.below(services.len() as u64)).unwrap()];
        let asked =
            &service.asked[usize::try_from(numbers.below(service.asked.len() as u64)).unwrap()];
        let is_udp = asked.is_udp.unwrap_or_else(|| numbers.one_in(2));
        let states = if is_udp { &UDP[..] } else { &TCP[..] };
        let (kind, _) = states[usize::try_from(numbers.below(states.len() as u64)).unwrap()];
        let mut source = asked.source.unwrap_or_else(|| Half::random(numbers));
        source.is_v6 = asked.is_v6.unwrap_or(source.is_v6);
        let mut destination = Half {
            is_v6: source.is_v6,
            is_high: numbers.one_in(2) || matches!(kind, "syn_sent" | "unreplied"),
        };
        if asked.not_destination == Some(destination) && !numbers.one_in(4) {
            destination.is_high ^= !matches!(kind, "syn_sent" | "unreplied");
        }
        let mut ports = (
            numbers.within(asked.from.unwrap_or((20_000, 29_999))),
            numbers.within(asked.to),
        );
        // Some are for nobody, or for somebody else.
        match numbers.below(8) {
            0 => ports.1 = numbers.within((1000, 1000 + 100 * services.len() as u64)),
            1 => ports.0 = numbers.within((20_000, 29_999)),
            2 => source.is_high ^= true,
            _ => {}
        }
        Flow {
            kind,
            // A source of its own, so that no two flows are one.
            source: (source, number),
            destination: (destination, numbers.below(50)),
            ports,
        }
    }

    fn is_udp(&self) -> bool {
        UDP.iter().any(|(state, _)| *state == self.kind)
    }

    fn ends(&self) -> (IpAddr, IpAddr) {
        let (source, number) = self.source;
        let (destination, host) = self.destination;
        let silent: IpAddr = if destination.is_v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0xdead, 0, 0, 0, 1).into()
        } else {
            Ipv4Addr::new(10, 12, 255, 1).into()
        };
        let is_silent = matches!(self.kind, "syn_sent" | "unreplied");
        let to = if is_silent {
            silent
        } else {
            destination.host(12, host)
        };
        (source.host(11, number), to)
    }

    fn wanted(&self, services: &[Service]) -> u64 {
        let mut services = services.iter();
        let service = services.find(|one| one.asked.iter().any(|asked| asked.is_met_by(self)));
        let own = service.and_then(|service| service.seconds.get(self.kind));
        let states = TCP.iter().chain(&UDP);
        let mut usual = states.filter(|(state, _)| *state == self.kind);
        own.copied().unwrap_or_else(|| usual.next().unwrap().1)
    }
}

/// The times left of the flows that conntrack lists, by their ends.
fn listed(told: &str) -> BTreeMap<(IpAddr, u64, IpAddr, u64), u64> {
    let mut flows = BTreeMap::new();
    for line in told.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        if let (Some(src), Some(dst)) = (value("src="), value("dst=")) {
            let port = |name| value(name).map_or(0, |port| port.parse().unwrap());
            let ends = (
                src.parse().unwrap(),
                port("sport="),
                dst.parse().unwrap(),
                port("dport="),
            );
            flows.insert(ends, words[2].parse().unwrap());
        }
    }
    flows
}

/// One set of services; how many of its flows had one.
fn try_set(seed: u64) -> usize {
    let mut numbers = Numbers(seed);
    let services: Vec<Service> = (0..=numbers.below(11))
        .map(|number| Service::random(&mut numbers, 1000 + 100 * number))
        .collect();
    let mut profile = "description = \"random\"\nextends = \"kernel-defaults\"\n".to_owned();
    for (number, service) in services.iter().enumerate() {
        profile += &service.text(&format!("s{number}"));
    }
    let world: World = world(&profile);
    apply(&world, &[]).exits(0);
    let flows: Vec<Flow> = (0..FLOWS)
        .map(|number| Flow::random(&mut numbers, &services, number))
        .collect();
    let lines = flows.iter().map(|flow| {
        let (src, dst) = flow.ends();
        format!(
            "{} {src} {} {dst} {}\n",
            flow.kind, flow.ports.0, flow.ports.1
        )
    });
    for (name, text) in [
        ("flows", &*lines.collect::<String>()),
        ("make.py", MAKE),
        ("answer.py", ANSWER),
    ] {
        std::fs::write(world.path(&format!("/run/{name}")), text).unwrap();
    }
    let told = network::with_network(&world, ENDS);
    let times: Vec<f64> = told.lines().filter_map(|line| line.parse().ok()).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // seconds of a test
    let passed = (times[1] - times[0]).ceil() as u64 + 2;
    let listed = listed(&told);
    for flow in &flows {
        let (src, dst) = flow.ends();
        let wanted = flow.wanted(&services);
        let left = listed.get(&(src, flow.ports.0, dst, flow.ports.1));
        let range = wanted.saturating_sub(passed)..=wanted;
        assert!(
            left.map_or(wanted <= passed, |left| range.contains(left)),
            "set {seed}: {left:?} and not {wanted} less {passed}: {flow:?} {:?}\n{profile}",
            flow.ends()
        );
    }
    let met = |flow: &&Flow| {
        let mut services = services.iter();
        services.any(|one| one.asked.iter().any(|asked| asked.is_met_by(flow)))
    };
    flows.iter().filter(met).count()
}

#[test]
fn the_timeout_of_every_flow_is_what_the_profile_means() {
    let sets = std::env::var("CTTUNE_TEST_SETS").map_or(SETS, |sets| sets.parse().unwrap());
    for seed in 1..=sets {
        let met = try_set(seed);
        println!("set {seed}: {FLOWS} flows, {met} of a service");
        assert!(met > 60, "set {seed}: only {met} flows of a service");
    }
}
