//! `--by auto`: the group that explains most flows with the fewest words.
//!
//! In: a sample of flows. Out: the columns of the group that tells most, and whether it stands out.
//! A value with a share q of an ordinary table tells log₂ 1/q bits about a flow. A group of share p
//! whose values tell b bits scores p · (log₂ p + b): the bits that naming it saves. What is ordinary
//! is known of protocols, states and busy ports; of a host or port, the next smaller one of the same
//! table shows it. Up to four that are like each other are one cause, and share what they score.
//! The share counted is the lower end of its 95 % interval, so that chance scores nothing.
//! Rule: pure arithmetic, the same for the same flows in any order.

use super::field::Facts;
use super::sample::lower_bound;
use super::{Column, Field, Prefixes, Protocol, TcpState, Value, Values};

/// What is tried. Of two that score the same the earlier wins. A network comes behind the hosts of
/// the same field.
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
const STANDS_OUT: f64 = 0.05;
/// Fewer flows are no group.
const LEAST_FLOWS: usize = 3;
/// Nor is less than one in so many of the table, 4 %, though it may be rare.
const ONE_IN: usize = 24;
/// A value is as ordinary as so many times the next smaller one.
const MORE: f64 = 1.5;
/// Hosts or ports that may be one cause.
const TOGETHER: usize = 4;
/// The largest values of a column that a group may start from, and groups that are grown.
const STARTS: usize = 8;
const GROWN: usize = 8;

const fn prefixed(field: Field, prefixes: Prefixes) -> Column {
    Column { field, prefixes }
}

/// What to group by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// In the order in which a listing shows them.
    pub(super) columns: Vec<Column>,
    /// The group that stands out, a value for each column; none where nothing does.
    pub(super) cause: Option<Values>,
}

/// Chooses the columns. `prefixes` are those that the operator wants, and then the only ones;
/// `given` are fields that `--match` fixes, so that they tell nothing new.
pub(super) fn choose(sample: &[Facts], prefixes: Option<Prefixes>, given: &[Field]) -> Choice {
    let mut candidates: Vec<Candidate> = Vec::new();
    for column in columns(prefixes, given) {
        let earlier = |other: &Candidate| other.column.field == column.field;
        let hosts = candidates.iter().position(earlier);
        candidates.push(Candidate::new(column, hosts, sample));
    }
    let mut best = best(&candidates, Candidate::starts);
    // Where nothing else stands out, the network that nearly all flows share does.
    if best.score < STANDS_OUT {
        best = self::best(&candidates, Candidate::shared_network);
    }
    if best.score < STANDS_OUT {
        let prefixes = prefixes.unwrap_or(Prefixes::WHOLE);
        return Choice {
            columns: OTHERWISE.map(|field| prefixed(field, prefixes)).into(),
            cause: None,
        };
    }
    best.describe(&candidates);
    let mut chosen = best.chosen;
    let has = |field| chosen.iter().any(|(column, _)| column.field == field);
    // A port means little without its protocol.
    if !has(Field::Proto) && (has(Field::Sport) || has(Field::Dport)) {
        let proto = Candidate::new(Column::whole(Field::Proto), None, sample);
        let most = proto.ranked(&best.flows).into_iter().next();
        chosen.extend(most.map(|(number, _)| (proto.column, proto.value(number))));
    }
    let place = |column: &Column| Field::ALL.iter().position(|field| *field == column.field);
    chosen.sort_by_key(|(column, _)| place(column));
    let (columns, values) = chosen.into_iter().unzip();
    Choice {
        columns,
        cause: Some(values),
    }
}

/// The columns that may be chosen.
fn columns(prefixes: Option<Prefixes>, given: &[Field]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for column in CANDIDATES {
        let wanted = prefixed(column.field, prefixes.unwrap_or(column.prefixes));
        if !columns.contains(&wanted) && !given.contains(&column.field) {
            columns.push(wanted);
        }
    }
    columns
}

/// The bits of a value, as far as it is known how ordinary it is.
fn known_bits(value: Value) -> Option<f64> {
    Some(match value {
        Value::Protocol(Protocol::TCP | Protocol::UDP) | Value::State(TcpState::Established) => {
            0.01
        }
        Value::State(TcpState::TimeWait) => 2.0,
        Value::State(TcpState::SynSent | TcpState::SynRecv) => 7.0,
        Value::Port(443) => 0.5,
        Value::Port(53 | 80) => 2.5,
        Value::Protocol(_) | Value::State(_) | Value::Port(..1024) => 5.0,
        Value::Mark(0) | Value::Zone(0) => 0.0,
        _ => return None,
    })
}

/// The bits of a value of which the next smaller one shows how ordinary it is, at most.
fn most_bits(value: Value) -> f64 {
    match value {
        Value::Net(net) if net.prefix_len() == Prefixes::HOST.v6 => 12.0,
        Value::Address(_) => 12.0,
        Value::Net(_) | Value::Port(_) => 8.0,
        _ => 6.0,
    }
}

/// A column with the sample's values, numbered in their order: of equals, the smaller value comes first.
struct Candidate {
    column: Column,
    /// The place of the column of hosts, of which this one has the networks.
    hosts: Option<usize>,
    /// The number of each flow's value; 0 where it has none.
    numbers: Vec<u16>,
    /// Each value and the bits that it tells, by its number.
    values: Vec<(Value, f64)>,
    /// The values of which nothing is known, by number, with their flows; that with most first.
    ranks: Vec<(usize, usize)>,
    /// How many bits it takes to tell which value a flow has.
    entropy: f64,
}

impl Candidate {
    fn new(column: Column, hosts: Option<usize>, sample: &[Facts]) -> Self {
        let of_flows: Vec<Value> = sample.iter().map(|flow| column.of(flow)).collect();
        let mut values = vec![Value::Absent];
        values.extend(&of_flows);
        values.sort_unstable();
        values.dedup();
        let number = |value| u16::try_from(values.binary_search(value).unwrap_or(0));
        let numbers = of_flows.iter().map(|value| number(value).unwrap_or(0));
        let mut candidate = Candidate {
            column,
            hosts,
            numbers: numbers.collect(),
            values: values
                .iter()
                .map(|value| (*value, known_bits(*value).unwrap_or(0.0)))
                .collect(),
            ranks: Vec::new(),
            entropy: 0.0,
        };
        let ranks = candidate.ranked(&everything(sample.len()));
        for (_, flows) in &ranks {
            let share = as_f64(*flows) / as_f64(sample.len());
            candidate.entropy -= share * share.log2();
        }
        let is_unknown =
            |(number, _): &(usize, usize)| known_bits(candidate.value(*number)).is_none();
        candidate.ranks = ranks.into_iter().filter(is_unknown).collect();
        for rank in 0..candidate.ranks.len() {
            let bits = candidate.bits(rank, 1);
            let number = candidate.ranks[rank].0;
            candidate.values[number].1 = bits;
        }
        candidate
    }

    fn value(&self, number: usize) -> Value {
        self.values
            .get(number)
            .map_or(Value::Absent, |(value, _)| *value)
    }

    /// Whether its values are how a machine is set up: that there are few of them tells nothing.
    fn is_setup(&self) -> bool {
        self.hosts.is_some() || matches!(self.column.field, Field::Zone | Field::Mark)
    }

    /// What each of so many values from a rank on tells: at most how much rarer the next one is.
    fn bits(&self, rank: usize, together: usize) -> f64 {
        let flows = |rank| self.ranks.get(rank).map_or(0, |(_, flows)| *flows);
        let next = MORE * as_f64(flows(rank + together)) / as_f64(self.numbers.len());
        let most = self
            .ranks
            .get(rank)
            .map_or(0.0, |(number, _)| most_bits(self.value(*number)));
        let bits = most.min(-next.log2());
        if self.is_setup() {
            bits.min(self.entropy)
        } else {
            bits
        }
    }

    /// The values that these flows have, by number, with their flows; that with most first.
    fn ranked(&self, flows: &[u16]) -> Vec<(usize, usize)> {
        let counts = self.counts(flows).into_iter().enumerate().skip(1);
        let mut ranks: Vec<_> = counts.filter(|(_, flows)| *flows > 0).collect();
        ranks.sort_by_key(|(_, flows)| std::cmp::Reverse(*flows));
        ranks
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

    /// The groups of one value, or of a few that are like each other, which may be a cause.
    fn starts(&self, candidates: &[Candidate]) -> Vec<Guess> {
        let known = self.values.iter().enumerate().skip(1);
        let known = known.filter(|(_, (value, _))| known_bits(*value).is_some());
        let known = known.filter_map(|(number, (_, bits))| self.start(&[number], *bits));
        let together = if self.is_setup() { 1 } else { TOGETHER };
        let sets = (0..STARTS).flat_map(|rank| (1..=together).map(move |size| (rank, size)));
        let sets = sets.filter_map(|(rank, size)| {
            let set = self.ranks.get(rank..rank + size)?;
            let (most, least) = (set.first()?.1, set.last()?.1);
            let numbers: Vec<_> = set.iter().map(|(number, _)| *number).collect();
            are_alike(most, least).then(|| self.start(&numbers, self.bits(rank, size)))?
        });
        let mut starts: Vec<Guess> = known.chain(sets).collect();
        starts.retain(|start| !self.is_few_hosts(start, candidates));
        starts
    }

    /// The network that nearly all flows share: it tells little of why they are there.
    fn shared_network(&self, candidates: &[Candidate]) -> Option<Guess> {
        let (number, flows) = self.ranks.first().filter(|_| self.hosts.is_some())?;
        let is_shared = *flows * 10 >= self.numbers.len() * 9;
        let bits = most_bits(self.value(*number));
        let shared = is_shared.then(|| self.start(&[*number], bits))??;
        (!self.is_few_hosts(&shared, candidates)).then_some(shared)
    }

    /// Whether a few hosts have most of these flows: then these are the cause and not their network.
    fn is_few_hosts(&self, network: &Guess, candidates: &[Candidate]) -> bool {
        let hosts = self.hosts.and_then(|place| candidates.get(place));
        hosts.is_some_and(|hosts| {
            let ranks = hosts.ranked(&network.flows).into_iter();
            let few: usize = ranks.take(TOGETHER).map(|(_, flows)| flows).sum();
            few * 5 > network.flows.len() * 4
        })
    }

    /// The group of the flows that have one of these values, each of which tells so many bits; none
    /// if that is no more than chance and the usual.
    fn start(&self, numbers: &[usize], bits: f64) -> Option<Guess> {
        let all = self.numbers.len();
        let of_these = |flow: &u16| numbers.contains(&self.number(*flow));
        let mut guess = Guess {
            bits: bits - as_f64(numbers.len()).log2(),
            is_network: self.hosts.is_some(),
            flows: everything(all).into_iter().filter(of_these).collect(),
            ..Guess::default()
        };
        guess.score = guess.scored(guess.flows.len(), 0.0, all);
        guess.is_first_of_many = numbers.len() > 1;
        guess
            .chosen
            .push((self.column, self.value(*numbers.first()?)));
        (guess.score > 0.0).then_some(guess)
    }
}

/// Whether two groups of flows are of about the same size, or differ by chance: three deviations.
fn are_alike(most: usize, least: usize) -> bool {
    let is_chance = (most - least).pow(2) <= 9 * (most + least);
    least >= LEAST_FLOWS && (least * 2 >= most || is_chance)
}

/// The group that tells most, of those that grow from the best starts.
fn best<S: IntoIterator<Item = Guess>>(
    candidates: &[Candidate],
    starts: fn(&Candidate, &[Candidate]) -> S,
) -> Guess {
    let all = candidates
        .iter()
        .flat_map(|start| starts(start, candidates));
    let mut all: Vec<Guess> = all.collect();
    all.sort_by(|one, other| other.score.total_cmp(&one.score));
    let grown = all
        .into_iter()
        .take(GROWN)
        .map(|start| start.grown(candidates));
    let best = grown.reduce(|one, other| if other.score > one.score { other } else { one });
    best.unwrap_or_default()
}

/// A group under construction.
#[derive(Default)]
struct Guess {
    /// Of a few values that are like each other, the first.
    chosen: Vec<(Column, Value)>,
    /// The flows in it, by their place in the sample.
    flows: Vec<u16>,
    is_network: bool,
    is_first_of_many: bool,
    bits: f64,
    score: f64,
}

impl Guess {
    /// The score of so many of its flows, with so many bits more.
    fn scored(&self, flows: usize, bits: f64, of: usize) -> f64 {
        if flows < LEAST_FLOWS || flows * ONE_IN < of {
            return 0.0;
        }
        let share = lower_bound(as_f64(flows), as_f64(of));
        share * (share.log2() + self.bits + bits)
    }

    /// The group with columns added, the best first, for as long as they tell more.
    ///
    /// A network is a cause by itself or not at all: most flows of a table come from its own.
    fn grown(mut self, candidates: &[Candidate]) -> Guess {
        loop {
            let taken = |field| self.chosen.iter().any(|(column, _)| column.field == field);
            let free = candidates.iter().filter(|next| {
                let is_address = matches!(next.column.field, Field::Src | Field::Dst);
                let is_excluded = next.hosts.is_some() || (self.is_network && is_address);
                !taken(next.column.field) && !is_excluded
            });
            let steps = free.flat_map(|next| {
                let counts = next.counts(&self.flows).into_iter().enumerate().skip(1);
                counts.map(move |(number, flows)| (next, number, flows))
            });
            let scored = steps.map(|(next, number, flows)| {
                let (_, bits) = next.values[number];
                (self.scored(flows, bits, next.numbers.len()), next, number)
            });
            // The first of equals, so that the same sample gives the same answer.
            let best = scored.reduce(|one, other| if other.0 > one.0 { other } else { one });
            match best {
                Some((score, next, number)) if score > self.score + 1e-9 => {
                    let (value, bits) = next.values[number];
                    self.flows.retain(|flow| next.number(*flow) == number);
                    self.chosen.push((next.column, value));
                    (self.bits, self.score) = (self.bits + bits, score);
                }
                _ => return self,
            }
        }
    }
}

impl Guess {
    /// Of hosts that are one cause the first is shown: with the service that nearly all of its own
    /// flows have.
    fn describe(&mut self, candidates: &[Candidate]) {
        if !self.is_first_of_many {
            return;
        }
        for next in candidates {
            if let Some((_, value)) = self
                .chosen
                .iter()
                .find(|(column, _)| *column == next.column)
            {
                self.flows
                    .retain(|flow| next.value(next.number(*flow)) == *value);
            }
        }
        let service = [Field::Proto, Field::State, Field::Dst, Field::Dport];
        for next in candidates.iter().filter(|next| next.hosts.is_none()) {
            let field = next.column.field;
            let is_told = self.chosen.iter().any(|(column, _)| column.field == field);
            let most = next.ranked(&self.flows).into_iter().next();
            let nearly_all = most.filter(|(_, flows)| flows * 20 >= self.flows.len() * 19);
            if let Some((number, _)) = nearly_all.filter(|_| service.contains(&field) && !is_told) {
                self.chosen.push((next.column, next.value(number)));
            }
        }
    }
}

/// All flows of a sample, by their places.
fn everything(flows: usize) -> Vec<u16> {
    (0..u16::try_from(flows).unwrap_or(u16::MAX)).collect()
}

#[expect(clippy::cast_precision_loss)] // a sample is far below 2^52
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
