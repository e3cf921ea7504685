//! `--by auto`: the group that explains most flows with the fewest words.
//!
//! In: a sample of flows. Out: the columns of the group that tells most, and whether it stands out.
//! A group of share p whose values tell b bits scores p · (log₂ p + b). The bits are fixed for each
//! kind of value (an address 10, a port 8, a usual protocol next to nothing), so that a cause that
//! all flows share scores highest, not lowest. The share counted is the lower end of its 95 %
//! interval, so that a few flows of a small sample prove nothing.
//! Rule: pure arithmetic, the same for the same sample.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::field::Facts;
use super::sample::lower_bound;
use super::{Column, Field, Prefixes, Protocol, TcpState, Value};

/// What is tried. Of two that score the same the earlier wins, hence hosts before networks.
const CANDIDATES: [Column; 10] = [
    Column::whole(Field::Proto),
    Column::whole(Field::State),
    Column::whole(Field::Dst),
    Column::whole(Field::Dport),
    prefixed(Field::Src, Prefixes::HOST),
    Column::whole(Field::Sport),
    Column::whole(Field::Zone),
    Column::whole(Field::Mark),
    prefixed(Field::Dst, Prefixes::USUAL),
    prefixed(Field::Src, Prefixes::SITE),
];

/// The columns of a table in which nothing stands out.
const OTHERWISE: [Field; 3] = [Field::Proto, Field::Dst, Field::Dport];

/// A group with a lower score does not stand out.
const STANDS_OUT: f64 = 0.015;
/// Fewer flows are no group.
const LEAST_FLOWS: usize = 3;
/// Columns with less than this say how a group is described, never why it stands out.
const EVIDENCE: f64 = 1.0;
/// A value is like the others if it has less than twice its even share and so many values, it
/// among them, have more than half of its flows.
const EVEN: usize = 5;
/// The same for TCP states, of which a busy table has several.
const EVEN_STATES: usize = 3;
/// A network is the cause only where none of its hosts has more than one in so many of its flows.
const MANY_HOSTS: usize = 5;
/// A group of fewer than one in so many flows of a network is chance, not the cause.
const LITTLE: usize = 8;
/// Ports of services that most tables have many flows of.
const BUSY_PORTS: [u16; 4] = [53, 80, 123, 443];

const fn prefixed(field: Field, prefixes: Prefixes) -> Column {
    Column { field, prefixes }
}

/// What to group by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// In the order in which a listing shows them.
    pub(super) columns: Vec<Column>,
    /// The group that stands out, a value for each column; none where nothing does.
    pub(super) cause: Option<Vec<Value>>,
}

/// Chooses the columns. `prefixes` are those that the operator wants, and then the only ones;
/// `given` are fields that `--match` fixes, so that they tell nothing new.
pub(super) fn choose(sample: &[Facts], prefixes: Option<Prefixes>, given: &[Field]) -> Choice {
    let mut candidates = candidates(sample, prefixes, given);
    let only = best(&candidates, sample.len());
    candidates.iter_mut().for_each(Candidate::weigh_networks);
    let mut best = best(&candidates, sample.len());
    // Where nothing else stands out, or hardly a part of it, the network that all flows share does.
    if best.score < STANDS_OUT || best.flows.len() * LITTLE < only.flows.len() {
        best = only;
    }
    if best.score < STANDS_OUT {
        let prefixes = prefixes.unwrap_or(Prefixes::WHOLE);
        return Choice {
            columns: OTHERWISE.map(|field| prefixed(field, prefixes)).into(),
            cause: None,
        };
    }
    let mut chosen = best.chosen;
    let has = |field| chosen.iter().any(|(column, _)| column.field == field);
    // A port means little without its protocol.
    if !has(Field::Proto) && (has(Field::Sport) || has(Field::Dport)) {
        let proto = Candidate::new(Column::whole(Field::Proto), sample);
        let counts = proto.counts(&best.flows).into_iter().zip(&proto.values);
        let most = counts.reduce(|one, other| if other.0 > one.0 { other } else { one });
        chosen.extend(most.map(|(_, (value, _))| (proto.column, *value)));
    }
    let place = |column: &Column| Field::ALL.iter().position(|field| *field == column.field);
    chosen.sort_by_key(|(column, _)| place(column));
    let (columns, values) = chosen.into_iter().unzip();
    Choice {
        columns,
        cause: Some(values),
    }
}

/// The columns that may be chosen, with the sample's values.
fn candidates(sample: &[Facts], prefixes: Option<Prefixes>, given: &[Field]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for column in columns(prefixes) {
        if given.contains(&column.field) {
            continue;
        }
        let mut candidate = Candidate::new(column, sample);
        let mut earlier = candidates.iter();
        if let Some(hosts) = earlier.find(|hosts| hosts.column.field == column.field) {
            candidate.is_network = true;
            candidate.leave_out_few_hosts(hosts);
        }
        candidates.push(candidate);
    }
    candidates
}

/// The group that tells most: grown from each column in turn.
fn best(candidates: &[Candidate], of: usize) -> Guess {
    let mut best = Guess::default();
    for start in candidates {
        let everything = Guess::everything(of);
        let first = everything.step(start, of);
        let Some(first) = first.filter(|first| first.bits >= EVIDENCE) else {
            continue;
        };
        let guess = everything.narrowed(&first).grown(candidates, of);
        if guess.score > best.score {
            best = guess;
        }
    }
    best
}

fn columns(prefixes: Option<Prefixes>) -> Vec<Column> {
    let Some(prefixes) = prefixes else {
        return CANDIDATES.into();
    };
    let mut columns: Vec<Column> = Vec::new();
    for Column { field, .. } in CANDIDATES {
        if !columns.iter().any(|column| column.field == field) {
            columns.push(prefixed(field, prefixes));
        }
    }
    columns
}

/// How much a value tells, in bits: little where most tables have it.
fn bits(value: Value, is_only_one: bool) -> f64 {
    match value {
        Value::Net(net) if net.prefix_len() == Prefixes::HOST.v6 => 10.0,
        Value::Address(_) => 10.0,
        Value::Port(port) if BUSY_PORTS.contains(&port) => 2.0,
        Value::Net(_) | Value::Port(_) => 8.0,
        Value::Protocol(Protocol::TCP | Protocol::UDP) | Value::State(TcpState::Established) => {
            0.01
        }
        Value::Protocol(_) => 5.0,
        Value::State(_) => 7.0,
        // A value that all flows share is how the machine is set up.
        Value::Mark(number) if number != 0 && !is_only_one => 6.0,
        Value::Zone(number) if number != 0 && !is_only_one => 6.0,
        _ => 0.0,
    }
}

/// A column with the sample's values, numbered.
struct Candidate {
    column: Column,
    /// The number of each flow's value; 0 where it has none.
    numbers: Vec<u16>,
    /// Each value and the bits that it tells, by its number.
    values: Vec<(Value, f64)>,
    /// The share below which a value is like the others.
    even: f64,
    /// Whether hosts of the same field are tried as well.
    is_network: bool,
}

impl Candidate {
    fn new(column: Column, sample: &[Facts]) -> Self {
        let mut known: HashMap<Value, u16, RandomState> = HashMap::default();
        let mut values = vec![Value::Absent];
        let numbers = sample.iter().map(|flow| match column.of(flow) {
            Value::Absent => 0,
            value => *known.entry(value).or_insert_with(|| {
                values.push(value);
                u16::try_from(values.len() - 1).unwrap_or(u16::MAX)
            }),
        });
        let numbers: Vec<u16> = numbers.collect();
        let different = values.len() - 1;
        let mut flows = vec![0; values.len()];
        for number in &numbers {
            if let Some(flows) = flows.get_mut(usize::from(*number)) {
                *flows += 1;
            }
        }
        let many = match column.field {
            Field::State => EVEN_STATES,
            _ => EVEN,
        };
        Candidate {
            column,
            numbers,
            values: values
                .into_iter()
                .map(|value| (value, bits(value, different == 1)))
                .collect(),
            even: like_others(flows.get(1..).unwrap_or_default(), many, sample.len()),
            is_network: false,
        }
    }

    /// Takes the weight from networks of which a few hosts have most flows: these are the cause.
    fn leave_out_few_hosts(&mut self, hosts: &Candidate) {
        let mut of_host: Vec<(u16, u16)> = self
            .numbers
            .iter()
            .copied()
            .zip(hosts.numbers.iter().copied())
            .collect();
        of_host.sort_unstable();
        let mut largest = vec![0; self.values.len()];
        for same in of_host.chunk_by(|one, other| one == other) {
            let network = same.first().map_or(0, |(network, _)| usize::from(*network));
            if let Some(largest) = largest.get_mut(network) {
                *largest = same.len().max(*largest);
            }
        }
        let mut flows = vec![0; self.values.len()];
        for (network, _) in of_host {
            if let Some(flows) = flows.get_mut(usize::from(network)) {
                *flows += 1;
            }
        }
        let shares = largest.into_iter().zip(flows);
        for ((_, bits), (largest, flows)) in self.values.iter_mut().zip(shares) {
            if largest * MANY_HOSTS > flows {
                *bits = 0.0;
            }
        }
    }

    /// A network tells no more than which of those it is that flows are of: a machine with three
    /// networks has a third of its flows from each.
    fn weigh_networks(&mut self) {
        let different = as_f64(self.values.len().saturating_sub(1).max(1));
        for (_, bits) in self.values.iter_mut().filter(|_| self.is_network) {
            *bits = bits.min(different.log2());
        }
    }

    /// How often each value comes among these flows, by its number.
    fn counts(&self, flows: &[u16]) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        for flow in flows {
            if let Some(count) = counts.get_mut(self.number(*flow)) {
                *count += 1;
            }
        }
        counts
    }

    /// The number of a flow's value.
    fn number(&self, flow: u16) -> usize {
        let number = self.numbers.get(usize::from(flow));
        number.copied().unwrap_or(0).into()
    }
}

/// The share below which a value is like the others. `flows` are those of each value, `many` is how
/// many similar values make one of them ordinary. A few rare values besides change nothing.
fn like_others(flows: &[usize], many: usize, of: usize) -> f64 {
    let mut largest = flows.to_vec();
    largest.sort_unstable_by(|one, other| other.cmp(one));
    let similar = largest.get(many - 1).copied().unwrap_or(0);
    let even = 2.0 / as_f64(flows.len().max(1));
    even.min(2.0 * as_f64(similar) / as_f64(of.max(1)))
}

/// What a group would become with a column more.
struct Step<'a> {
    with: &'a Candidate,
    number: usize,
    value: Value,
    bits: f64,
    score: f64,
}

/// A group under construction.
#[derive(Default)]
struct Guess {
    chosen: Vec<(Column, Value)>,
    /// The flows in it, by their place in the sample.
    flows: Vec<u16>,
    is_network: bool,
    bits: f64,
    score: f64,
}

impl Guess {
    fn everything(flows: usize) -> Self {
        let flows = (0..u16::try_from(flows).unwrap_or(u16::MAX)).collect();
        Guess {
            flows,
            ..Guess::default()
        }
    }

    /// What the value of another column that tells most would make of it. Which flows have it is
    /// left for [`Guess::narrowed`]: most steps are only weighed.
    fn step<'a>(&self, with: &'a Candidate, of: usize) -> Option<Step<'a>> {
        let here = as_f64(self.flows.len());
        let values = with.counts(&self.flows).into_iter().zip(&with.values);
        let steps = values
            .enumerate()
            .skip(1)
            .filter_map(|(number, (flows, (value, bits)))| {
                let is_group = flows >= LEAST_FLOWS && as_f64(flows) >= with.even * here;
                let share = lower_bound(as_f64(flows), as_f64(of));
                is_group.then(|| Step {
                    with,
                    number,
                    value: *value,
                    bits: *bits,
                    score: share * (self.bits + bits + share.log2()),
                })
            });
        // The first of equals, so that the same sample gives the same answer.
        steps.reduce(|one, other| if other.score > one.score { other } else { one })
    }

    /// The group after a step.
    fn narrowed(mut self, step: &Step<'_>) -> Guess {
        self.flows
            .retain(|flow| step.with.number(*flow) == step.number);
        self.chosen.push((step.with.column, step.value));
        self.is_network |= step.with.is_network;
        self.bits += step.bits;
        self.score = step.score;
        self
    }

    /// The group with columns added, the best first, for as long as they tell more.
    ///
    /// A network is a cause by itself or not at all: most flows of a table come from its own.
    fn grown(self, candidates: &[Candidate], of: usize) -> Guess {
        let mut guess = self;
        loop {
            let taken = |field| guess.chosen.iter().any(|(column, _)| column.field == field);
            let free = candidates.iter().filter(|next| {
                let is_address = matches!(next.column.field, Field::Src | Field::Dst);
                let is_excluded = next.is_network || (guess.is_network && is_address);
                !taken(next.column.field) && !is_excluded
            });
            let best = free
                .filter_map(|next| guess.step(next, of))
                .reduce(|one, other| if other.score > one.score { other } else { one });
            match best {
                Some(best) if best.score > guess.score + 1e-9 => guess = guess.narrowed(&best),
                _ => return guess,
            }
        }
    }
}

#[expect(clippy::cast_precision_loss)] // a sample is far below 2^52
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::Flow;
    use crate::flow::captured::{TCP, UDP};

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

    /// Numbers that look random, the same for the same seed.
    struct Numbers(u64);

    impl Numbers {
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
        let (mut from, mut to) = (numbers.port(), numbers.port());
        match planted {
            None => {}
            Some(Planted::Source) => tuple.src = server(v6, 1),
            Some(Planted::Destination) => tuple.dst = server(v6, 1),
            Some(Planted::Service) => (tuple.dst, to) = (server(v6, 1), 5228),
            Some(Planted::Port) => to = 6881,
            Some(Planted::Network) if v6 => {
                let std::net::IpAddr::V6(source) = tuple.src else {
                    panic!("{}", tuple.src)
                };
                let [_, _, _, subnet, rest @ ..] = source.segments();
                let [a, b, c, d] = rest;
                tuple.src = std::net::Ipv6Addr::new(0x2a00, 1, 2, subnet, a, b, c, d).into();
            }
            Some(Planted::Network) => {
                tuple.src = server(false, u16::try_from(numbers.below(256)).unwrap());
            }
            Some(Planted::State) => flow.tcp.as_mut().unwrap().state = Some(TcpState::SynSent),
            Some(Planted::Pair) => (tuple.src, tuple.dst) = (server(v6, 1), server(v6, 2)),
            Some(Planted::Halves) => {
                tuple.dst = server(v6, u16::try_from(numbers.below(2)).unwrap());
            }
            Some(Planted::Quarters) => {
                tuple.dst = server(v6, u16::try_from(numbers.below(4)).unwrap());
            }
        }
        from = if from == 6881 { 1024 } else { from };
        tuple.layer4 = crate::flow::Layer4::Ports { src: from, dst: to };
        flow.original = tuple;
        Facts::from(&flow)
    }

    /// Whether the cause says what was planted.
    fn names(choice: &Choice, planted: Planted, v6: bool) -> bool {
        let Some(cause) = &choice.cause else {
            return false;
        };
        let of = |field| {
            let place = choice
                .columns
                .iter()
                .position(|column| column.field == field);
            place.and_then(|place| cause.get(place).copied())
        };
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

    #[test]
    fn a_few_rare_values_do_not_hide_equal_causes() {
        // The flows of each value, and whether the first is like the others.
        let tables: [(&[usize], bool); 7] = [
            (&[48, 48, 48, 47], false),
            (&[48, 48, 48, 47, 1, 1], false),
            (&[240, 240, 240, 240, 10, 10, 10, 10], false),
            (&[40, 40, 40, 40, 40], true),
            (&[40, 40, 40, 40, 40, 1], true),
            (&[38, 20, 20, 20, 20], true),
            (&[42, 20, 20, 20, 20], false),
        ];
        for (flows, is_like_others) in tables {
            let of: usize = flows.iter().sum();
            let share = as_f64(flows[0]) / as_f64(of);
            let least = like_others(flows, EVEN, of);
            assert_eq!(share < least, is_like_others, "{flows:?} {least}");
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
            let parts = match planted {
                Planted::Halves => 2,
                Planted::Quarters => 4,
                _ => 1,
            };
            // Fewer than a dozen flows of a part are within what chance makes of a sample.
            prop_assume!(flows * (100 - noise) / 100 >= 12 * parts);
            let sample = table(seed, planted, noise, flows, v6);
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
            prop_assert_eq!(choice.cause, None);
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
}
