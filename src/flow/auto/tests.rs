//! Planted causes are named, among random flows and among ordinary ones.

use proptest::prelude::*;

use super::*;
use crate::flow::Flow;
use crate::flow::captured::{TCP, UDP};
use crate::flow::sample::as_f64 as float;

/// TCP flows from 192.168.0.0/16 to 10.0.0.2: client, client port, server port.
fn tcp(flows: impl IntoIterator<Item = (u16, u16, u16)>) -> Vec<Facts> {
    let fact = |(client, from, to): (u16, u16, u16)| {
        let mut bytes = TCP.to_vec();
        bytes[18..20].copy_from_slice(&client.to_be_bytes());
        bytes[44..46].copy_from_slice(&from.to_be_bytes());
        bytes[52..54].copy_from_slice(&to.to_be_bytes());
        Facts::from(&Flow::parse(&bytes).unwrap())
    };
    flows.into_iter().map(fact).collect()
}

fn chosen(sample: &[Facts]) -> Vec<&'static str> {
    let columns = choose(sample, None, &[]).columns;
    columns.iter().map(|column| column.field.name()).collect()
}

/// A few flows of another protocol, each from and to somewhere else.
fn others() -> Vec<Facts> {
    let fact = |n: u16| {
        let mut bytes = UDP.to_vec();
        for place in [30, 50, 68, 76] {
            bytes[place..place + 2].copy_from_slice(&(n + 1024).to_be_bytes());
        }
        Facts::from(&Flow::parse(&bytes).unwrap())
    };
    (0..300).map(fact).collect()
}

#[test]
fn many_sources_at_one_service_are_told_by_the_service() {
    for noise in [Vec::new(), others()] {
        let mut sample = tcp((0..1000).map(|n| (n, n + 1024, 5228)));
        sample.extend(noise);
        let chosen = chosen(&sample);
        assert_eq!(
            chosen[..4],
            ["proto", "state", "dst", "dport"],
            "{chosen:?}"
        );
    }
}

#[test]
fn one_source_at_many_ports_is_told_by_the_source() {
    let mut sample = tcp((0..1000).map(|n| (7, n + 1024, n)));
    sample.extend(others());
    let chosen = chosen(&sample);
    assert!(
        chosen.contains(&"src") && !chosen.contains(&"dport"),
        "{chosen:?}"
    );
    assert!(!chosen.contains(&"sport"), "{chosen:?}");
}

#[test]
fn the_networks_that_a_machine_serves_are_not_the_cause() {
    // Three networks of 200 clients each; every third flow of them is a SYN.
    for networks in 1..=3 {
        let mut numbers = Numbers(7);
        let mut flow = |number: u16, planted| {
            let mut flow = made(&mut numbers, false, planted);
            let client = 0x0a01_0000 + u32::from(number % networks) * 256;
            let host = u32::from(number / networks % 200);
            flow.src = std::net::Ipv4Addr::from_bits(client + host).into();
            flow
        };
        let sample: Vec<Facts> = (0..1200)
            .map(|number| flow(number, (number % 7 < 2).then_some(Planted::State)))
            .collect();
        let choice = choose(&sample, None, &[]);
        assert!(
            names(&choice, Planted::State, false),
            "{networks} {choice:?}"
        );
    }
}

#[test]
fn a_table_without_a_pattern_is_shown_by_service() {
    for sample in [Vec::new(), tcp([(1, 2, 3)]), tcp([(1, 2, 3), (1, 2, 3)])] {
        let choice = choose(&sample, None, &[]);
        let fields = choice.columns.iter().map(|column| column.field.name());
        assert_eq!(fields.collect::<Vec<_>>(), ["proto", "dst", "dport"]);
        assert_eq!(choice.cause, None);
    }
}

#[test]
fn what_the_selection_fixes_is_not_told_again() {
    // Half of the flows to port 5228 of one server come from one client.
    let sample =
        tcp((0..1000_u16).map(|n| (if n.is_multiple_of(2) { 7 } else { n + 100 }, n, 5228)));
    let given = [Field::Dst, Field::Dport, Field::Proto];
    let cause = choose(&sample, None, &given);
    let fields = cause.columns.iter().map(|column| column.field);
    assert_eq!(fields.collect::<Vec<_>>(), [Field::State, Field::Src]);
}

#[test]
fn the_operator_s_prefixes_are_the_only_ones() {
    let prefixes = Prefixes { v6: 48, v4: 16 };
    let sample = tcp((0..1000).map(|n| (n, n + 1024, n)));
    for column in choose(&sample, Some(prefixes), &[]).columns {
        assert!(column.field == Field::Proto || column.prefixes == prefixes);
    }
}

/// What a table is filled by, for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Source,
    Destination,
    Service,
    Port,
    Network,
    State,
    Pair,
    Halves,
    Quarters,
}

const PLANTED: [Planted; 9] = [
    Planted::Source,
    Planted::Destination,
    Planted::Service,
    Planted::Port,
    Planted::Network,
    Planted::State,
    Planted::Pair,
    Planted::Halves,
    Planted::Quarters,
];

impl Planted {
    /// How many hosts share the flows.
    fn parts(self) -> u64 {
        match self {
            Planted::Halves => 2,
            Planted::Quarters => 4,
            _ => 1,
        }
    }
}

/// Tables of ordinary flows that are tried.
const CASES: u64 = 1600;

/// Numbers that look random, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64) -> Self {
        let mut numbers = Numbers(seed.wrapping_mul(7_777_777_777) + 3);
        numbers.next();
        numbers
    }

    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.0 >> 24
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn port(&mut self) -> u16 {
        u16::try_from(1024 + self.below(60_000)).unwrap()
    }

    fn address(&mut self, v6: bool) -> std::net::IpAddr {
        let (high, low) = (u128::from(self.next()), u128::from(self.next()));
        if v6 {
            std::net::Ipv6Addr::from(0x2001_u128 << 112 | high << 64 | low).into()
        } else {
            std::net::Ipv4Addr::from_bits(u32::try_from(low % (1 << 32)).unwrap()).into()
        }
    }
}

fn server(v6: bool, number: u16) -> std::net::IpAddr {
    if v6 {
        std::net::Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0, 0, number).into()
    } else {
        std::net::Ipv4Addr::from_bits(0xc633_6400 + u32::from(number)).into()
    }
}

fn planted_network(numbers: &mut Numbers, v6: bool, source: std::net::IpAddr) -> std::net::IpAddr {
    let std::net::IpAddr::V6(source) = source else {
        return server(v6, u16::try_from(numbers.below(256)).unwrap());
    };
    let [_, _, _, subnet, a, b, c, d] = source.segments();
    std::net::Ipv6Addr::new(0x2a00, 1, 2, subnet, a, b, c, d).into()
}

/// Gives a flow what is planted, but for its state and network.
fn plant(
    numbers: &mut Numbers,
    v6: bool,
    planted: Option<Planted>,
    tuple: &mut crate::flow::Tuple,
    ports: &mut (u16, u16),
) {
    match planted {
        None | Some(Planted::Network | Planted::State) => {}
        Some(Planted::Source) => tuple.src = server(v6, 1),
        Some(Planted::Destination) => tuple.dst = server(v6, 1),
        Some(Planted::Service) => (tuple.dst, ports.1) = (server(v6, 1), 5228),
        Some(Planted::Port) => ports.1 = 6881,
        Some(Planted::Pair) => (tuple.src, tuple.dst) = (server(v6, 1), server(v6, 2)),
        Some(Planted::Halves) => {
            tuple.dst = server(v6, u16::try_from(numbers.below(2)).unwrap());
        }
        Some(Planted::Quarters) => {
            tuple.dst = server(v6, u16::try_from(numbers.below(4)).unwrap());
        }
    }
}

/// A flow of noise, or one that was planted.
fn made(numbers: &mut Numbers, v6: bool, planted: Option<Planted>) -> Facts {
    let is_tcp = numbers.below(2) == 0 || planted == Some(Planted::State);
    let mut flow = Flow::parse(UDP).unwrap();
    let mut tuple = flow.original;
    tuple.zone = None;
    if is_tcp {
        flow.tcp = Flow::parse(TCP).unwrap().tcp;
        tuple.protocol = Protocol::TCP;
    }
    (tuple.src, tuple.dst) = (numbers.address(v6), numbers.address(v6));
    let mut ports = (numbers.port(), numbers.port());
    plant(numbers, v6, planted, &mut tuple, &mut ports);
    if planted == Some(Planted::State) {
        flow.tcp.as_mut().unwrap().state = Some(TcpState::SynSent);
    }
    if planted == Some(Planted::Network) {
        tuple.src = planted_network(numbers, v6, tuple.src);
    }
    let (mut from, to) = ports;
    from = if from == 6881 { 1024 } else { from };
    tuple.layer4 = crate::flow::Layer4::Ports { src: from, dst: to };
    flow.original = tuple;
    Facts::from(&flow)
}

/// What the cause says of a field.
fn value(choice: &Choice, field: Field) -> Option<Value> {
    let mut columns = choice.columns.iter();
    let place = columns.position(|column| column.field == field)?;
    choice.cause.as_ref()?.get(place).copied()
}

/// Whether the cause says what was planted.
fn names(choice: &Choice, planted: Planted, v6: bool) -> bool {
    let of = |field| value(choice, field);
    let address = |field, number| {
        let prefixes = if v6 && field == Field::Src {
            Prefixes::HOST
        } else {
            Prefixes::WHOLE
        };
        of(field) == Some(prefixes.of(server(v6, number)))
    };
    let port = |number| of(Field::Dport) == Some(Value::Port(number));
    match planted {
        Planted::Source => address(Field::Src, 1),
        Planted::Destination => address(Field::Dst, 1),
        Planted::Service => address(Field::Dst, 1) && port(5228),
        Planted::Port => port(6881),
        Planted::Network => of(Field::Src) == Some(Prefixes::SITE.of(server(v6, 0))),
        Planted::State => of(Field::State) == Some(Value::State(TcpState::SynSent)),
        Planted::Pair => address(Field::Src, 1) && address(Field::Dst, 2),
        Planted::Halves => (0..2).any(|number| address(Field::Dst, number)),
        Planted::Quarters => (0..4).any(|number| address(Field::Dst, number)),
    }
}

/// A table of which `noise` in a hundred flows are not planted.
fn table(seed: u64, planted: Planted, noise: u64, flows: u64, v6: bool) -> Vec<Facts> {
    let mut numbers = Numbers(seed);
    let flow = |n| {
        let is_noise = n * 100 < noise * flows;
        made(&mut numbers, v6, (!is_noise).then_some(planted))
    };
    (0..flows).map(flow).collect()
}

/// Whether the hosts that share what was planted have about as many flows.
fn has_equal_parts(sample: &[Facts], planted: Planted, v6: bool) -> bool {
    let dst = Column::whole(Field::Dst);
    let flows = |number| {
        let host = Value::Address(server(v6, number));
        sample.iter().filter(|flow| dst.of(*flow) == host).count()
    };
    let parts = 0..u16::try_from(planted.parts()).unwrap();
    let parts: Vec<usize> = parts.map(flows).collect();
    let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
    planted.parts() == 1 || are_alike(*most, *least)
}

#[test]
fn a_host_with_a_few_more_flows_does_not_hide_its_network() {
    let sample = table(7_345_003_448_115_586_838, Planted::Network, 0, 64, false);
    let choice = choose(&sample, None, &[]);
    assert!(names(&choice, Planted::Network, false), "{choice:?}");
}

#[test]
fn four_equal_destinations_stand_out_among_a_little_noise() {
    for (seed, noise, flows, v6) in [
        (2_995_901_442_494_990_290, 1, 193, false),
        (6_979_286_100_323_458_599, 2, 135, false),
        (2_309_228_366_722_129_957, 1, 168, true),
    ] {
        let sample = table(seed, Planted::Quarters, noise, flows, v6);
        let choice = choose(&sample, None, &[]);
        assert!(names(&choice, Planted::Quarters, v6), "{flows} {choice:?}");
    }
}

/// What flows through an ordinary firewall: clients of a few networks, servers of which some are
/// asked more than others, and their services.
#[derive(Debug, Clone, Copy)]
struct Ordinary {
    networks: u64,
    clients: u64,
    servers: u64,
    /// How uneven clients and servers are: 0 to 2.
    skew: [u64; 2],
}

/// A host of a network: /24, or /48.
fn address(v6: bool, net: u64, host: u64) -> std::net::IpAddr {
    if v6 {
        let net = 0x2001_0db8_0000_0000 + u128::from(net << 16) + u128::from(host);
        std::net::Ipv6Addr::from_bits(net << 64 | 1).into()
    } else {
        let bits = (10 << 24) + (net << 8) + host;
        std::net::Ipv4Addr::from_bits(u32::try_from(bits).unwrap()).into()
    }
}

/// Whether a server speaks UDP, and its port.
fn service(server: u64, spread: u64) -> (bool, u16) {
    match spread % 100 {
        _ if server < 20 && spread.is_multiple_of(3) => (true, 53),
        _ if server < 20 => (false, 443),
        0..60 => (spread.is_multiple_of(10), 443),
        60..70 => (false, 80),
        70..85 => (true, 53),
        85..88 => (true, 123),
        88..90 => (false, 22),
        90..93 => (false, 993),
        _ => {
            let port = 1024 + u16::try_from(spread % 50_000).unwrap();
            (spread.is_multiple_of(2), port)
        }
    }
}

fn state(numbers: &mut Numbers) -> TcpState {
    match numbers.below(100) {
        0..68 => TcpState::Established,
        68..88 => TcpState::TimeWait,
        88..91 => TcpState::SynSent,
        91..94 => TcpState::FinWait,
        94..97 => TcpState::CloseWait,
        97..99 => TcpState::Close,
        _ => TcpState::LastAck,
    }
}

impl Ordinary {
    fn random(numbers: &mut Numbers) -> Self {
        Ordinary {
            networks: 1 + numbers.below(6),
            clients: 50 + numbers.below(200),
            servers: 300 + numbers.below(3000),
            skew: [numbers.below(3), numbers.below(3)],
        }
    }

    /// The share that the largest of so many has.
    fn largest(of: u64, skew: u64) -> f64 {
        let of = float(of);
        match skew {
            0 => 1.0 / of,
            1 => of.sqrt().recip(),
            _ => 2_f64.ln() / of.ln(),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
    fn one(numbers: &mut Numbers, of: u64, skew: u64) -> u64 {
        let chance = float(numbers.below(1 << 32)) / float(1 << 32);
        let of = float(of);
        let rank = match skew {
            0 => of * chance,
            1 => of * chance * chance,
            _ => of.powf(chance) - 1.0,
        };
        rank as u64
    }

    fn flow(self, numbers: &mut Numbers, v6: bool, planted: Option<Planted>) -> Facts {
        let mut network = numbers.below(self.networks);
        if planted == Some(Planted::Network) {
            network = 0;
        }
        let client = Ordinary::one(numbers, self.clients, self.skew[0]);
        let server = Ordinary::one(numbers, self.servers, self.skew[1]);
        let spread = (server + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let (udp, port) = service(server, spread);
        let mut flow = Flow::parse(UDP).unwrap();
        let mut tuple = flow.original;
        tuple.zone = None;
        tuple.src = address(v6, network, client);
        tuple.dst = address(v6, 0x10_0000 + spread % 0x4_0000, server % 250);
        let mut ports = (numbers.port(), port);
        if !udp || planted == Some(Planted::State) {
            tuple.protocol = Protocol::TCP;
            flow.tcp = Flow::parse(TCP).unwrap().tcp;
            flow.tcp.as_mut().unwrap().state = Some(state(numbers));
        }
        plant(numbers, v6, planted, &mut tuple, &mut ports);
        if planted == Some(Planted::State) {
            flow.tcp.as_mut().unwrap().state = Some(TcpState::SynSent);
        }
        tuple.layer4 = crate::flow::Layer4::Ports {
            src: ports.0,
            dst: ports.1,
        };
        flow.original = tuple;
        Facts::from(&flow)
    }

    /// Whether so many of so many flows are more than twice what is ordinary, also where chance
    /// took two deviations of each.
    fn is_exceeded(self, planted: Planted, flows: u64, of: u64) -> bool {
        let client = Ordinary::largest(self.clients, self.skew[0]) / float(self.networks);
        let largest = client.max(Ordinary::largest(self.servers, self.skew[1]));
        let (one, usual) = (float(flows) / float(planted.parts()), largest * float(of));
        match planted {
            // A host that has much of its network comes before it.
            Planted::Network => self.networks > 1 && flows * 3 > of && largest < 0.04,
            _ => one - 2.0 * one.sqrt() > 2.0 * (usual + 2.0 * usual.sqrt()),
        }
    }
}

/// The same of an ordinary table, which has networks of its own.
fn names_among(choice: &Choice, planted: Planted, v6: bool) -> bool {
    match planted {
        Planted::Network => {
            let network = Prefixes::SITE.of(address(v6, 0, 1));
            value(choice, Field::Src) == Some(network)
        }
        _ => names(choice, planted, v6),
    }
}

#[test]
fn a_planted_cause_is_named_among_ordinary_flows() {
    let mut tried = 0;
    for seed in 0..CASES {
        let mut numbers = Numbers::of(seed);
        let ordinary = Ordinary::random(&mut numbers);
        let planted = PLANTED[usize::try_from(numbers.below(9)).unwrap()];
        let (noise, v6) = (numbers.below(96), numbers.below(3) == 0);
        let flows = (40 << numbers.below(6)) + numbers.below(40);
        let planted_flows = flows * (100 - noise) / 100;
        if planted_flows < 12 * planted.parts()
            || !ordinary.is_exceeded(planted, planted_flows, flows)
        {
            continue;
        }
        tried += 1;
        let flow = |n| {
            let is_planted = n < planted_flows;
            ordinary.flow(&mut numbers, v6, is_planted.then_some(planted))
        };
        let sample: Vec<Facts> = (0..flows).map(flow).collect();
        let choice = choose(&sample, None, &[]);
        assert!(
            names_among(&choice, planted, v6),
            "{seed}: {planted:?} {planted_flows} of {flows} {v6} {ordinary:?}: {choice:?}"
        );
    }
    assert!(tried >= 1000, "{tried}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_planted_cause_is_named(
        seed in any::<u64>(),
        kind in 0..PLANTED.len(),
        noise in 0..=95_u64,
        flows in 40..2048_u64,
        v6 in any::<bool>(),
    ) {
        let planted = PLANTED[kind];
        // Fewer than a dozen flows of a part are within what chance makes of a sample.
        prop_assume!(flows * (100 - noise) / 100 >= 12 * planted.parts());
        let sample = table(seed, planted, noise, flows, v6);
        // Now and then chance makes no quarters of quarters.
        prop_assume!(has_equal_parts(&sample, planted, v6));
        let choice = choose(&sample, None, &[]);
        prop_assert!(names(&choice, planted, v6), "{:?} {:?}", planted, choice);
    }

    #[test]
    fn noise_alone_does_not_stand_out(
        seed in any::<u64>(),
        flows in 0..2048_u64,
        v6 in any::<bool>(),
    ) {
        let mut numbers = Numbers(seed);
        let sample: Vec<Facts> = (0..flows).map(|_| made(&mut numbers, v6, None)).collect();
        let choice = choose(&sample, None, &[]);
        prop_assert_eq!(&choice.cause, &None, "{:?}", choice);
    }

    #[test]
    fn no_sample_panics_and_no_field_comes_twice(
        flows in proptest::collection::vec(any::<(u16, u16, u16)>(), 0..60)
    ) {
        let chosen = chosen(&tcp(flows));
        let mut once = chosen.clone();
        once.dedup();
        prop_assert_eq!(&once, &chosen);
        prop_assert!(!chosen.is_empty());
    }
}
