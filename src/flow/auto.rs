//! `--by auto`: the fields that say most about most flows.
//!
//! In: a sample of flows. Out: the columns of the group that carries the most information: its
//! share of the flows, times the bits that its values save over guessing (p · log₂(p/q), where q
//! is its share if every value of each field were as likely as any other). A field that all flows
//! of the group share adds bits for nothing; one that scatters them costs more than it tells.
//! Rule: pure arithmetic, the same for the same sample.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::field::Facts;
use super::{Column, Field, Prefixes, Value};

/// What is tried. Of two that say the same the earlier wins, hence whole addresses before
/// networks.
const CANDIDATES: [Column; 10] = [
    whole(Field::Proto),
    whole(Field::State),
    whole(Field::Dst),
    whole(Field::Dport),
    whole(Field::Src),
    whole(Field::Sport),
    whole(Field::Zone),
    whole(Field::Mark),
    network(Field::Dst),
    network(Field::Src),
];

/// What is shown of a table in which nothing stands out.
const OTHERWISE: [Field; 3] = [Field::Proto, Field::Dst, Field::Dport];

const fn whole(field: Field) -> Column {
    Column {
        field,
        prefixes: Prefixes::WHOLE,
    }
}

const fn network(field: Field) -> Column {
    Column {
        field,
        prefixes: Prefixes::USUAL,
    }
}

/// Chooses the columns, in the order in which a listing shows them. `prefixes` are those that the
/// operator wants, and then the only ones.
pub(super) fn choose(sample: &[Facts], prefixes: Option<Prefixes>) -> Vec<Column> {
    let candidates: Vec<Candidate> = columns(prefixes)
        .into_iter()
        .map(|column| Candidate::new(column, sample))
        .collect();
    let mut best = Guess::default();
    for start in &candidates {
        let everything = Guess::everything(sample.len());
        let guess = match everything.step(start, sample.len()) {
            Some(first) => everything.narrowed(&first).grown(&candidates, sample.len()),
            None => everything,
        };
        if guess.score > best.score {
            best = guess;
        }
    }
    let mut columns = best.columns;
    if columns.is_empty() {
        let desired = prefixes.unwrap_or(Prefixes::WHOLE);
        columns.extend(OTHERWISE.map(|field| Column {
            field,
            prefixes: desired,
        }));
    }
    // Ports mean little without it.
    if !columns.iter().any(|column| column.field == Field::Proto) {
        columns.push(whole(Field::Proto));
    }
    columns.sort_by_key(|column| Field::ALL.iter().position(|field| *field == column.field));
    columns
}

fn columns(prefixes: Option<Prefixes>) -> Vec<Column> {
    let candidates = CANDIDATES.into_iter();
    match prefixes {
        None => candidates.collect(),
        Some(prefixes) => candidates
            .filter(|column| column.prefixes == Prefixes::WHOLE)
            .map(|column| Column { prefixes, ..column })
            .collect(),
    }
}

/// A column with the sample's values, numbered.
struct Candidate {
    column: Column,
    /// The number of each flow's value; 0 where it has none.
    numbers: Vec<u16>,
    /// Numbers that were given, with 0.
    given: usize,
    /// What knowing the value saves.
    bits: f64,
}

impl Candidate {
    fn new(column: Column, sample: &[Facts]) -> Self {
        let mut known: HashMap<Value, u16, RandomState> = HashMap::default();
        let numbers = sample.iter().map(|flow| match column.of(flow) {
            Value::Absent => 0,
            value => {
                let next = u16::try_from(known.len() + 1).unwrap_or(u16::MAX);
                *known.entry(value).or_insert(next)
            }
        });
        let numbers: Vec<u16> = numbers.collect();
        let some_have_none = usize::from(numbers.contains(&0));
        Candidate {
            column,
            numbers,
            given: known.len() + 1,
            bits: as_f64(known.len() + some_have_none).max(1.0).log2(),
        }
    }

    /// The number of the most frequent value among these flows, and how many have it.
    fn most_frequent(&self, flows: &[u16]) -> Option<(usize, usize)> {
        let mut counts = vec![0; self.given];
        for flow in flows {
            if let Some(count) = counts.get_mut(self.number(*flow)) {
                *count += 1;
            }
        }
        let values = counts.into_iter().enumerate().skip(1);
        // The first of equals, so that the same sample gives the same answer.
        values.rev().max_by_key(|(_, count)| *count)
    }

    /// The number of a flow's value.
    fn number(&self, flow: u16) -> usize {
        let number = self.numbers.get(usize::from(flow));
        number.copied().unwrap_or(0).into()
    }
}

/// What a group would become with a column more.
struct Step<'a> {
    with: &'a Candidate,
    value: usize,
    score: f64,
}

/// A group under construction.
#[derive(Default)]
struct Guess {
    columns: Vec<Column>,
    /// The flows in it, by their place in the sample.
    flows: Vec<u16>,
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

    /// What the most frequent value of another column would make of it. Which flows have it is
    /// left for [`Guess::narrowed`]: most steps are only weighed.
    fn step<'a>(&self, with: &'a Candidate, of: usize) -> Option<Step<'a>> {
        let (value, flows) = with.most_frequent(&self.flows)?;
        let share = as_f64(flows) / as_f64(of);
        let score = match flows {
            0 => 0.0,
            _ => share * (self.bits + with.bits + share.log2()),
        };
        Some(Step { with, value, score })
    }

    /// The group after a step.
    fn narrowed(mut self, step: &Step<'_>) -> Guess {
        let Step { with, value, score } = *step;
        self.flows.retain(|flow| with.number(*flow) == value);
        self.columns.push(with.column);
        self.bits += with.bits;
        self.score = score;
        self
    }

    /// The group with columns added, the best first, for as long as they tell more.
    fn grown(self, candidates: &[Candidate], of: usize) -> Guess {
        let mut guess = self;
        loop {
            let taken = |field| guess.columns.iter().any(|column| column.field == field);
            let free = candidates.iter().filter(|next| !taken(next.column.field));
            let best = free
                .filter_map(|next| guess.step(next, of))
                .reduce(
                    |one, other| {
                        if other.score > one.score { other } else { one }
                    },
                );
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
        let columns = choose(sample, None);
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
        let mut sample = tcp((0..1000).map(|n| (n, n + 1024, 5228)));
        sample.extend(others());
        assert_eq!(
            chosen(&sample),
            ["proto", "state", "dst", "dport", "zone", "mark"]
        );
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
    fn one_network_of_many_sources_is_told_by_the_network() {
        // Half of the flows from 192.168.1.0/24, one for each address, the rest from anywhere.
        let near = (0..500).map(|n| (0x100 + n % 250, n + 1024, n));
        let far = (0..500).map(|n| (0x1000 + 16 * n, n + 1024, n));
        let columns = choose(&tcp(near.chain(far)), None);
        let src = columns
            .iter()
            .find(|column| column.field == Field::Src)
            .unwrap();
        assert_eq!(src.prefixes, Prefixes::USUAL);
    }

    #[test]
    fn a_table_without_a_pattern_is_shown_by_service() {
        assert_eq!(chosen(&[]), ["proto", "dst", "dport"]);
        assert_eq!(chosen(&tcp([(1, 2, 3)])), ["proto", "dst", "dport"]);
    }

    #[test]
    fn the_operator_s_prefixes_are_the_only_ones() {
        let prefixes = Prefixes { v6: 48, v4: 16 };
        let sample = tcp((0..1000).map(|n| (n, n + 1024, n)));
        for column in choose(&sample, Some(prefixes)) {
            assert!(column.field == Field::Proto || column.prefixes == prefixes);
        }
    }

    proptest! {
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
