//! The census behind `cttune top`: flows counted by group, in one pass and bounded memory.
//!
//! In: every flow that was looked at, once. Out: [`Top`]: the groups by size, and which one to speak
//! of, with its sources and the time that it has left.
//! Rule: the first few thousand flows are held back. They choose the columns (`--by auto`) and the
//! groups to look into, so that one pass counts the sources and times of these as well.

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::Duration;

use super::field::{Facts, Seen, Told};
use super::frequent::{Frequent, Summed, Sums};
use super::remaining::Remaining;
use super::sample::{Sample, as_f64, margin, scaled};
use super::{Column, Field, Flow, Gather, Prefixes, Query, Services, Value, Values, auto};

/// Flows that are held back: 360 kB.
const HELD_BACK: usize = 2048;

/// Groups that are looked into, since the largest of the first flows may not stay the largest.
const LOOKED_INTO: usize = 3;

/// Sources that are counted of each group which is looked into.
const OTHERS: usize = 16_384;

/// Sources that wait to be counted together.
const WAITING: usize = 4096;

/// Flows that wait to be counted together: 25 kB by two columns.
const FLOWS_WAITING: usize = 256;

/// How flows are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// By the fields that say most.
    Auto,
    /// By these.
    Fields(Vec<Field>),
    /// By those of an earlier census.
    Columns(Vec<Column>),
}

/// Flows under count.
#[derive(Debug)]
pub(crate) struct Census {
    by: By,
    prefixes: Option<Prefixes>,
    /// Fields that `--match` fixes.
    given: Vec<Field>,
    services: Services,
    held_back: Vec<Facts>,
    counts: Option<Counts>,
    flows: u64,
}

/// Who has the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Top {
    /// Flows that match, in the whole table; estimated from the sample if there is one.
    pub(crate) total: u64,
    /// Flows that were looked at, if not all were.
    pub(crate) sampled: Option<u64>,
    /// The fields that groups differ in.
    pub(crate) columns: Vec<Column>,
    /// The largest groups, as many as were asked for, the largest first.
    pub(crate) groups: Vec<Group>,
    /// The other groups.
    pub(crate) smaller: Smaller,
    /// The group to speak of: the one that stands out, else the largest; none of an empty table.
    pub(crate) cause: Option<Group>,
    /// Whether the columns were to be chosen, and no group stands out.
    pub(crate) nothing_stands_out: bool,
    /// By how many of the flows counted a group may be larger; 0 unless there were more groups
    /// than are counted.
    pub(crate) uncounted: u64,
    /// What else is known of that group.
    pub(crate) lead: Option<Lead>,
}

/// Groups that are counted, but not told one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Smaller {
    pub(crate) groups: u64,
    /// Flows in them.
    pub(crate) flows: u64,
}

/// Flows that have the same value under every column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// One for each column.
    pub(crate) values: Values,
    /// In the whole table; estimated from the sample if there is one.
    pub(crate) flows: u64,
    /// Of all flows that match, 0 to 1.
    pub(crate) share: f64,
    /// How far the share can be off at 95 %; 0 without a sample.
    pub(crate) margin: f64,
    /// Packets and bytes, both directions, of the flows that have counters; none without such.
    pub(crate) traffic: Option<(u64, u64)>,
    /// The mean time left, in seconds; none where no flow has a time.
    pub(crate) left: Option<u32>,
}

/// The group that is spoken of, seen from the other side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lead {
    /// Who shares it, by the first field of address or port that the columns leave open.
    pub(crate) others: Option<Others>,
    /// Half of its flows have this many seconds left, or less.
    pub(crate) half_life: Option<u32>,
}

/// Who shares a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Others {
    /// The field that they differ in.
    pub(crate) field: Field,
    /// How many were seen.
    pub(crate) count: u64,
    /// Whether there are more: in the table behind a sample, or past what is counted.
    pub(crate) or_more: bool,
    /// The share of the group that the largest of them has, 0 to 1.
    pub(crate) largest: f64,
}

impl Census {
    /// An empty census of what is asked.
    pub(crate) fn new(query: &Query) -> Self {
        Census {
            by: query.by.clone(),
            prefixes: query.prefixes,
            given: query.given(),
            services: query.services.clone(),
            held_back: Vec::new(),
            counts: None,
            flows: 0,
        }
    }

    /// An empty census of all flows by these fields.
    pub(crate) fn by(fields: &[Field]) -> Self {
        Census {
            by: By::Fields(fields.to_vec()),
            prefixes: None,
            given: Vec::new(),
            services: Services::default(),
            held_back: Vec::new(),
            counts: None,
            flows: 0,
        }
    }

    /// Counts a flow.
    pub(crate) fn add(&mut self, flow: &Flow<'_>) {
        self.flows += 1;
        let service = self.services.of(flow);
        self.count(&Seen { flow, service });
    }

    #[inline(always)]
    fn count(&mut self, flow: &impl Told) {
        if let Some(counts) = &mut self.counts {
            counts.add(flow);
            return;
        }
        self.held_back.push(Facts::of(flow));
        if self.held_back.len() == HELD_BACK {
            self.decide();
        }
    }

    /// Ends the census, and tells of so many groups. `sample` is none where the whole table was read.
    pub(crate) fn finish(mut self, sample: Option<Sample>, groups: usize) -> Top {
        let counts = match self.counts.take() {
            Some(counts) => counts,
            None => self.decided(),
        };
        counts.into_top(self.flows, sample, groups)
    }

    fn decide(&mut self) {
        let counts = self.decided();
        self.counts = Some(counts);
    }

    /// Chooses the columns and the group to look into, and counts what was held back.
    fn decided(&mut self) -> Counts {
        let sample = std::mem::take(&mut self.held_back);
        let choice = match &self.by {
            By::Auto => auto::choose(&sample, self.prefixes, &self.given),
            By::Columns(columns) => auto::Choice {
                columns: columns.clone(),
                cause: None,
            },
            By::Fields(fields) => {
                // A host of IPv6 has a /64; a server is known by its address.
                let usual = |field| match field {
                    Field::Src => Prefixes::HOST,
                    _ => Prefixes::WHOLE,
                };
                let column = |field: &Field| Column {
                    field: *field,
                    prefixes: self.prefixes.unwrap_or(usual(*field)),
                };
                auto::Choice {
                    columns: fields.iter().map(column).collect(),
                    cause: None,
                }
            }
        };
        let mut counts = Counts::new(choice, self.by == By::Auto, &sample);
        for facts in &sample {
            counts.add(facts);
        }
        counts
    }
}

impl Gather for Census {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        Census::add(self, flow);
    }

    fn part(&self) -> Self {
        Census {
            by: self.by.clone(),
            given: self.given.clone(),
            services: self.services.clone(),
            held_back: Vec::new(),
            counts: self.counts.as_ref().map(Counts::part),
            flows: 0,
            ..*self
        }
    }

    fn merge(&mut self, part: Self) {
        self.flows += part.flows;
        match (&mut self.counts, part.counts) {
            (Some(counts), Some(part)) => counts.merge(part),
            (None, Some(part)) => {
                self.counts = Some(part);
                for facts in &std::mem::take(&mut self.held_back) {
                    self.count(facts);
                }
            }
            (_, None) => part.held_back.iter().for_each(|facts| self.count(facts)),
        }
    }

    fn is_decided(&self) -> bool {
        self.counts.is_some()
    }
}

#[derive(Debug)]
struct Counts {
    columns: Vec<Column>,
    /// The group that stands out.
    cause: Option<Values>,
    /// Whether the columns were to be chosen, and nothing stands out.
    nothing_stands_out: bool,
    /// Those that are not looked into.
    groups: Frequent<Values, Sums>,
    /// Flows of these: the hash of their values, and what they add. They are counted many in a row,
    /// as `Focus` does.
    waiting: Vec<(u64, Sums)>,
    /// The values of flows, one for each column, in the order of those that wait. There is room
    /// for as many as wait at most.
    values: Vec<Value>,
    focus: Vec<Focus>,
}

/// A group that is looked into.
#[derive(Debug)]
struct Focus {
    values: Values,
    /// That of the values.
    hash: u64,
    other: Option<Column>,
    /// How often each came, without its name: a small map spares most of the cache misses.
    others: Frequent<()>,
    /// Hashes that wait to be counted: many in a row find the counts in the processor's cache,
    /// where the kernel's work on the next chunk would have driven them out in between.
    waiting: Vec<u64>,
    remaining: Remaining,
    sums: Sums,
    flows: u64,
}

impl Counts {
    fn new(choice: auto::Choice, chosen: bool, sample: &[Facts]) -> Self {
        let auto::Choice { columns, cause } = choice;
        let groups = Frequent::default();
        let mut first = groups.part();
        for facts in sample {
            let values: Values = columns.iter().map(|column| column.of(facts)).collect();
            let hash = hash_values(&values, &groups);
            first.add_hashed(hash, || values, Sums::default());
        }
        let largest = largest(first.sums(), LOOKED_INTO);
        let others = largest.into_iter().map(|(values, ..)| values.clone());
        let others = others.filter(|values| cause.as_ref() != Some(values));
        let looked_into = cause.clone().into_iter().chain(others).take(LOOKED_INTO);
        let focus = looked_into
            .map(|values| Focus::new(hash_values(&values, &groups), values, &columns))
            .collect();
        Counts {
            nothing_stands_out: chosen && cause.is_none(),
            cause,
            values: waiting_values(&columns),
            columns,
            groups,
            waiting: Vec::with_capacity(FLOWS_WAITING),
            focus,
        }
    }

    fn part(&self) -> Self {
        Counts {
            columns: self.columns.clone(),
            cause: self.cause.clone(),
            groups: self.groups.part(),
            waiting: Vec::with_capacity(FLOWS_WAITING),
            values: waiting_values(&self.columns),
            focus: self.focus.iter().map(Focus::part).collect(),
            ..*self
        }
    }

    fn merge(&mut self, mut part: Self) {
        self.count_waiting();
        part.count_waiting();
        self.groups.merge(part.groups);
        for (focus, part) in self.focus.iter_mut().zip(part.focus) {
            focus.merge(part);
        }
    }

    /// Most flows are of a group that is looked into: comparing finds them, and no key is made.
    #[inline]
    fn add(&mut self, flow: &impl Told) {
        let mut hasher = self.groups.hasher().build_hasher();
        let first = self.waiting.len() * self.columns.len();
        for (column, value) in self.columns.iter().zip(&mut self.values[first..]) {
            *value = column.of(flow);
            Value::hash(value, &mut hasher);
        }
        let hash = hasher.finish();
        if let Some(focus) = self.focus.iter_mut().find(|focus| focus.hash == hash) {
            focus.add(flow);
            return;
        }
        self.waiting.push((hash, sums_of(flow)));
        if self.waiting.len() == FLOWS_WAITING {
            self.count_waiting();
        }
    }

    fn count_waiting(&mut self) {
        self.groups
            .fetch(self.waiting.iter().map(|(hash, _)| *hash));
        let mut rest = &self.values[..];
        for (hash, sums) in self.waiting.drain(..) {
            let (values, others) = rest.split_at(self.columns.len());
            rest = others;
            self.groups
                .add_hashed(hash, || Values::from_slice(values), sums);
        }
    }

    fn into_top(mut self, flows: u64, sample: Option<Sample>, most: usize) -> Top {
        self.count_waiting();
        let scale = Scale::new(flows, sample);
        let looked_into = self.focus.iter().filter(|focus| focus.flows > 0);
        let looked_into = looked_into.map(|focus| (&focus.values, focus.flows, &focus.sums));
        let counted = self.groups.sums().chain(looked_into);
        let known = counted
            .clone()
            .fold(Smaller::default(), |known, one| Smaller {
                groups: known.groups + 1,
                flows: known.flows + one.1,
            });
        let told = largest(counted, most.max(1));
        let cause = self
            .focus
            .iter()
            .find(|focus| Some(&focus.values) == self.cause.as_ref());
        let cause = cause.filter(|cause| cause.flows > 0);
        let cause = cause.map(|cause| (&cause.values, cause.flows, &cause.sums));
        let cause = cause.or(told.first().copied()).map(|one| scale.group(one));
        let told = told.get(..most.min(told.len())).unwrap_or_default();
        let groups: Vec<Group> = told.iter().map(|one| scale.group(*one)).collect();
        let in_told: u64 = told.iter().map(|(_, flows, _)| flows).sum();
        let smaller = Smaller {
            groups: known.groups - groups.len() as u64,
            flows: scale.of(known.flows - in_told),
        };
        let uncounted = scale.of(self.groups.floor());
        let is_cause = |focus: &Focus| cause.as_ref().is_some_and(|one| one.values == focus.values);
        let focus = self.focus.into_iter().find(is_cause);
        Top {
            total: scale.total,
            sampled: scale.sample.map(|sample| sample.looked_at),
            columns: self.columns,
            groups,
            smaller,
            nothing_stands_out: self.nothing_stands_out,
            uncounted,
            lead: focus.map(|focus| focus.into_lead(scale.sample.is_some())),
            cause,
        }
    }
}

/// What was counted, as part of the whole table.
struct Scale {
    /// None where the whole table was read.
    sample: Option<Sample>,
    /// Flows that were counted, and those that match in the whole table.
    counted: u64,
    total: u64,
}

impl Scale {
    fn new(counted: u64, sample: Option<Sample>) -> Self {
        let mut scale = Scale {
            sample: sample.filter(|sample| sample.is_part()),
            counted,
            total: 0,
        };
        scale.total = scale.of(counted);
        scale
    }

    fn of(&self, counted: u64) -> u64 {
        scaled(counted, self.sample.map_or(1.0, Sample::scale))
    }

    fn group(&self, (values, counted, sums): Counted<'_>) -> Group {
        let share = as_f64(counted) / as_f64(self.counted.max(1));
        Group {
            values: values.clone(),
            flows: self.of(counted),
            share,
            margin: self
                .sample
                .map_or(0.0, |_| margin(share, self.counted, self.total)),
            traffic: (sums.counted > 0).then(|| (self.of(sums.packets), self.of(sums.bytes))),
            left: mean_left(*sums),
        }
    }
}

impl Focus {
    fn new(hash: u64, values: Values, columns: &[Column]) -> Self {
        let whole = |field| {
            let fixed = |column: &Column| {
                column.field == field
                    && [Prefixes::WHOLE, Prefixes::HOST].contains(&column.prefixes)
            };
            !columns.iter().any(fixed)
        };
        let open = [Field::Src, Field::Dst, Field::Sport, Field::Dport];
        let other = open.into_iter().find(|field| whole(*field));
        Focus {
            values,
            hash,
            other: other.map(|field| Column {
                field,
                prefixes: match field {
                    Field::Src => Prefixes::HOST,
                    _ => Prefixes::WHOLE,
                },
            }),
            others: Frequent::with_limit(OTHERS),
            waiting: Vec::with_capacity(WAITING),
            remaining: Remaining::default(),
            sums: Sums::default(),
            flows: 0,
        }
    }

    fn part(&self) -> Self {
        Focus {
            values: self.values.clone(),
            others: self.others.part(),
            waiting: Vec::with_capacity(WAITING),
            remaining: Remaining::default(),
            sums: Sums::default(),
            flows: 0,
            ..*self
        }
    }

    fn merge(&mut self, mut part: Self) {
        self.count_waiting();
        part.count_waiting();
        self.others.merge(part.others);
        self.remaining.merge(&part.remaining);
        self.sums.add(part.sums);
        self.flows += part.flows;
    }

    fn add(&mut self, flow: &impl Told) {
        self.flows += 1;
        self.sums.add(sums_of(flow));
        let other = self.other.map(|other| other.of(flow));
        // ICMP and GRE have no ports to be told.
        if let Some(value) = other.filter(|value| *value != Value::Absent) {
            self.waiting.push(self.others.hasher().hash_one(value));
            if self.waiting.len() == WAITING {
                self.count_waiting();
            }
        }
        if let Some(seconds) = flow.timeout() {
            self.remaining.add(seconds);
        }
    }

    fn count_waiting(&mut self) {
        self.others.fetch(self.waiting.iter().copied());
        for hash in self.waiting.drain(..) {
            self.others.add_hashed(hash, || (), ());
        }
    }

    fn into_lead(mut self, sampled: bool) -> Lead {
        self.count_waiting();
        let other = self.other.filter(|_| self.others.len() > 0);
        let others = other.map(|column| Others {
            field: column.field,
            count: u64::try_from(self.others.len()).unwrap_or(u64::MAX),
            or_more: sampled || self.others.floor() > 0,
            largest: as_f64(self.others.largest()) / as_f64(self.flows.max(1)),
        });
        Lead {
            others,
            half_life: self.remaining.median(),
        }
    }
}

/// A group, how often it came, and what its flows add up to.
type Counted<'a> = (&'a Values, u64, &'a Sums);

/// The largest, the largest first; of equals the one with the lower values, so that the order is
/// stable.
fn largest<'a>(counted: impl Iterator<Item = Counted<'a>>, most: usize) -> Vec<Counted<'a>> {
    // What nearly always decides comes first, and is small.
    let rank = |one: Counted<'a>| (Reverse(one.1), one.0.first().map_or(0, Value::leading), one);
    let mut ranked: Vec<_> = counted.map(rank).collect();
    let order = |one: &(_, u64, Counted<'_>), other: &(_, u64, Counted<'_>)| {
        let known = (one.0, one.1).cmp(&(other.0, other.1));
        known.then_with(|| one.2.0.cmp(other.2.0))
    };
    if most < ranked.len() {
        ranked.select_nth_unstable_by(most, order);
        ranked.truncate(most);
    }
    ranked.sort_unstable_by(order);
    ranked.into_iter().map(|(.., one)| one).collect()
}

/// What a flow adds to its group.
#[inline(always)]
fn sums_of(flow: &impl Told) -> Sums {
    let (traffic, left) = (flow.traffic(), flow.timeout());
    let (packets, bytes) = traffic.unwrap_or_default();
    Sums {
        packets,
        bytes,
        counted: u32::from(traffic.is_some()),
        left: left.map_or(0, u64::from),
        timed: u32::from(left.is_some()),
    }
}

fn mean_left(sums: Sums) -> Option<u32> {
    let mean = sums.left.checked_div(u64::from(sums.timed))?;
    u32::try_from(mean).ok()
}

/// Room for the values of the flows that wait.
fn waiting_values(columns: &[Column]) -> Vec<Value> {
    vec![Value::Absent; FLOWS_WAITING * columns.len()]
}

fn hash_values(values: &Values, groups: &Frequent<Values, Sums>) -> u64 {
    let mut hasher = groups.hasher().build_hasher();
    values.iter().for_each(|value| value.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::flow::captured::TCP;
    use crate::flow::{Layer4, Selection};

    /// A TCP flow from a client to a server, with so many seconds left.
    fn flow(client: u32, server: u32, port: u16, left: u32) -> Flow<'static> {
        let mut flow = Flow::parse(TCP).unwrap();
        flow.original.src = Ipv4Addr::from_bits(0x0a00_0000 + client).into();
        flow.original.dst = Ipv4Addr::from_bits(0xc000_0200 + server).into();
        flow.original.layer4 = Layer4::Ports {
            src: u16::try_from(1024 + client % 60_000).unwrap(),
            dst: port,
        };
        flow.timeout = Some(left);
        flow
    }

    fn census(by: By) -> Census {
        Census::new(&Query {
            by,
            prefixes: None,
            selection: Selection::default(),
            extent: None,
            services: Services::default(),
        })
    }

    fn count(
        by: By,
        flows: impl IntoIterator<Item = Flow<'static>>,
        sample: Option<Sample>,
    ) -> Top {
        let mut census = census(by);
        for flow in flows {
            census.add(&flow);
        }
        census.finish(sample, usize::MAX)
    }

    fn sizes(top: &Top) -> Vec<(String, u64)> {
        let groups = top.groups.iter();
        let named = |group: &Group| {
            let values: Vec<String> = group.values.iter().map(ToString::to_string).collect();
            (values.join(" "), group.flows)
        };
        groups.map(named).collect()
    }

    #[test]
    fn groups_are_counted_exactly_before_and_after_the_columns_are_decided() {
        let by = || By::Fields(vec![Field::Dst, Field::Dport]);
        for flows in [9, 3000_u32] {
            let made = (0..flows).map(|n| flow(n, n % 3 % 2, 80, n));
            let top = count(by(), made, None);
            assert_eq!(top.total, u64::from(flows));
            let third = u64::from(flows / 3);
            let expected = [
                ("192.0.2.0 80".to_owned(), 2 * third),
                ("192.0.2.1 80".to_owned(), third),
            ];
            assert_eq!(sizes(&top), expected);
            assert!((top.groups[0].share - 2.0 / 3.0).abs() < 0.001);
        }
    }

    #[test]
    fn the_group_that_is_spoken_of_has_its_sources_and_its_time_left() {
        // Twelve clients, the first with half of the flows.
        let client = |n: u32| if n.is_multiple_of(2) { 0 } else { n % 12 };
        let top = count(
            By::Fields(vec![Field::Dst]),
            (0..600).map(|n| flow(client(n), 1, 80, 100 + n)),
            None,
        );
        let lead = top.lead.unwrap();
        assert_eq!(lead.half_life, Some(399));
        let others = lead.others.unwrap();
        assert_eq!((others.field, others.count), (Field::Src, 7));
        assert!(!others.or_more && (others.largest - 0.5).abs() < 0.01);
    }

    #[test]
    fn groups_that_are_not_asked_for_are_added_up_and_the_cause_is_told_all_the_same() {
        // Server n has n flows; of server 1 and 2 there are two each.
        let servers = (1..=60_u32).flat_map(|server| std::iter::repeat_n(server, server as usize));
        let made = || {
            servers
                .clone()
                .chain([1])
                .map(|server| flow(server, server, 80, 60))
        };
        for most in [0, 1, 2, 59, 60, 1000] {
            let mut census = census(By::Fields(vec![Field::Dst]));
            made().for_each(|flow| census.add(&flow));
            let top = census.finish(None, most);
            let told = sizes(&top);
            assert_eq!(told.len(), most.min(60));
            assert!(
                told.first()
                    .is_none_or(|first| *first == ("192.0.2.60".to_owned(), 60))
            );
            if most == 59 {
                // Of equals the one with the lower address comes first.
                assert_eq!(told[58], ("192.0.2.1".to_owned(), 2));
            }
            let in_told: u64 = told.iter().map(|(_, flows)| flows).sum();
            let smaller = Smaller {
                groups: 60 - told.len() as u64,
                flows: 1831 - in_told,
            };
            assert_eq!((top.smaller, top.total), (smaller, 1831));
            assert_eq!(top.cause.unwrap().flows, 60);
        }
    }

    #[test]
    fn the_cause_is_spoken_of_though_another_group_is_larger() {
        // A fifth goes to one unusual port, a third to HTTPS, all to different servers.
        let port = |n: u32| match n % 15 {
            0..3 => 6881,
            3..8 => 443,
            other => u16::try_from(1024 + 15 * (n % 4000) + other).unwrap(),
        };
        let top = count(By::Auto, (0..3000).map(|n| flow(n, n, port(n), 60)), None);
        assert_eq!(
            top.columns,
            [Field::Proto, Field::State, Field::Dport].map(Column::whole)
        );
        assert_eq!(sizes(&top)[0], ("tcp established 443".to_owned(), 1000));
        assert_eq!(top.cause.unwrap().flows, 600);
        assert!(!top.nothing_stands_out);
    }

    #[test]
    fn a_sample_is_scaled_to_the_table() {
        let sample = Sample {
            looked_at: 200,
            table: 2000,
        };
        // Half of what was looked at matched.
        let made = (0..100).map(|n| flow(n, 1, 80, 60));
        let top = count(By::Fields(vec![Field::Dst]), made, Some(sample));
        assert_eq!((top.total, top.sampled), (1000, Some(200)));
        assert_eq!(sizes(&top), [("192.0.2.1".to_owned(), 1000)]);
        assert!(top.groups[0].margin > 0.01);
        assert!(top.lead.unwrap().others.unwrap().or_more);
    }

    #[test]
    fn packets_and_bytes_add_up_where_they_are_counted() {
        let made = |n: u32| {
            let mut flow = flow(n, n % 2, 80, 10 * n);
            flow.counters = (n % 2 == 1).then_some(crate::flow::Counters {
                original_packets: 1,
                original_bytes: 100,
                reply_packets: 2,
                reply_bytes: 1000,
            });
            flow
        };
        let top = count(By::Fields(vec![Field::Dst]), (0..8).map(made), None);
        let told: Vec<_> = top
            .groups
            .iter()
            .map(|one| (one.traffic, one.left))
            .collect();
        assert_eq!(told, [(None, Some(30)), (Some((12, 4400)), Some(40))]);
    }

    #[test]
    fn helpers_and_labels_are_fields() {
        let made = |n: u32| {
            let mut flow = flow(n, 1, 80, 60);
            if n.is_multiple_of(2) {
                flow.helper = Some(b"sip\0");
                flow.labels = Some(&[0b10_0001]);
            }
            flow
        };
        let by = By::Fields(vec![Field::Helper, Field::Label]);
        let expected = [("- -".to_owned(), 2), ("sip 0+5".to_owned(), 2)];
        assert_eq!(sizes(&count(by, (0..4).map(made), None)), expected);
    }

    #[test]
    fn two_parts_count_what_one_census_counts() {
        for (by, flows) in [
            (By::Auto, 5000_u32),
            (By::Fields(vec![Field::Dst, Field::Dport]), 5000),
            (By::Auto, 100),
        ] {
            let made = || (0..flows).map(|n| flow(n % 700, n % 9, 80, n));
            let whole = count(by.clone(), made(), None);
            let mut first = census(by);
            for flow in made().take(3000) {
                first.add(&flow);
            }
            let mut one = first.part();
            let mut other = one.part();
            for (n, flow) in made().enumerate() {
                let part = if n % 3 == 0 { &mut one } else { &mut other };
                part.add(&flow);
            }
            one.merge(other);
            assert_eq!(one.finish(None, usize::MAX), whole);
        }
    }

    #[test]
    fn an_empty_table_has_no_group() {
        let top = count(By::Auto, [], None);
        assert_eq!(
            (top.total, top.groups.len(), top.lead.clone()),
            (0, 0, None)
        );
        assert_eq!(top.cause, None);
    }
}
