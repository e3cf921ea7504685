//! The census behind `cttune top`: flows counted by group, in one pass and bounded memory.
//!
//! In: every flow that was looked at, once. Out: [`Top`], the groups by size, and of the largest
//! one who has it and how long it lives. Rule: the first few thousand flows are held back; they
//! choose the columns (`--by auto`) and foretell the largest groups, so that their sources and
//! times are counted in the same pass. Counts are then as exact as those of a second dump would be.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::field::Facts;
use super::frequent::Frequent;
use super::remaining::Remaining;
use super::sample::{Sample, as_f64, margin, scaled};
use super::{Column, Field, Flow, Prefixes, Value, auto};

/// Flows that are held back: a quarter of a megabyte.
const HELD_BACK: usize = 2048;

/// Groups that are looked into, since the largest of the first flows may not stay the largest.
const LOOKED_INTO: usize = 3;

/// Sources that are counted of each group which is looked into.
const OTHERS: usize = 16_384;

/// Sources that wait to be counted together.
const WAITING: usize = 4096;

/// How flows are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// By the fields that say most.
    Auto,
    /// By these.
    Fields(Vec<Field>),
}

/// Flows under count.
#[derive(Debug)]
pub(crate) struct Census {
    by: By,
    prefixes: Option<Prefixes>,
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
    /// What the groups are told apart by.
    pub(crate) columns: Vec<Column>,
    /// The groups, largest first.
    pub(crate) groups: Vec<Group>,
    /// By how many of the flows counted a group may be larger; 0 unless there were more groups
    /// than are counted.
    pub(crate) uncounted: u64,
    /// What else is known of the largest group.
    pub(crate) lead: Option<Lead>,
}

/// Flows that have the same value under every column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// One for each column.
    pub(crate) values: Vec<Value>,
    /// In the whole table; estimated from the sample if there is one.
    pub(crate) flows: u64,
    /// Of all flows that match, 0 to 1.
    pub(crate) share: f64,
    /// How far the share can be off at 95 %; 0 without a sample.
    pub(crate) margin: f64,
}

/// The largest group, seen from the other side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lead {
    /// Who shares it, by the first field of address or port that the columns leave open.
    pub(crate) others: Option<Others>,
    /// The seconds that half of its flows live for if they stay silent.
    pub(crate) half_life: Option<u32>,
}

/// Who shares a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Others {
    /// What tells them apart.
    pub(crate) field: Field,
    /// How many were seen.
    pub(crate) count: u64,
    /// Whether there are more: in the table behind a sample, or past what is counted.
    pub(crate) or_more: bool,
    /// The share of the group that the largest of them has, 0 to 1.
    pub(crate) largest: f64,
}

impl Census {
    /// A census of nothing yet. `prefixes` cut addresses; without them they count whole.
    pub(crate) fn new(by: By, prefixes: Option<Prefixes>) -> Self {
        Census {
            by,
            prefixes,
            held_back: Vec::new(),
            counts: None,
            flows: 0,
        }
    }

    /// Counts a flow.
    pub(crate) fn add(&mut self, flow: &Flow<'_>) {
        self.flows += 1;
        let facts = Facts::from(flow);
        if let Some(counts) = &mut self.counts {
            counts.add(&facts);
            return;
        }
        self.held_back.push(facts);
        if self.held_back.len() == HELD_BACK {
            self.decide();
        }
    }

    /// Ends the census. `sample` tells of a sample what it was taken from.
    pub(crate) fn finish(mut self, sample: Option<Sample>) -> Top {
        let counts = match self.counts.take() {
            Some(counts) => counts,
            None => self.decided(),
        };
        counts.into_top(self.flows, sample)
    }

    fn decide(&mut self) {
        let counts = self.decided();
        self.counts = Some(counts);
    }

    /// Chooses the columns and the group to look into, and counts what was held back.
    fn decided(&mut self) -> Counts {
        let sample = std::mem::take(&mut self.held_back);
        let columns = match &self.by {
            By::Auto => auto::choose(&sample, self.prefixes),
            By::Fields(fields) => {
                let prefixes = self.prefixes.unwrap_or(Prefixes::WHOLE);
                let column = |field: &Field| Column {
                    field: *field,
                    prefixes,
                };
                fields.iter().map(column).collect()
            }
        };
        let mut counts = Counts::new(columns, &sample);
        for facts in &sample {
            counts.add(facts);
        }
        counts
    }
}

#[derive(Debug)]
struct Counts {
    columns: Vec<Column>,
    /// Those that are not looked into.
    groups: Frequent<Vec<Value>>,
    /// The values of the flow at hand.
    values: Vec<Value>,
    focus: Vec<Focus>,
}

/// A group that is looked into.
#[derive(Debug)]
struct Focus {
    values: Vec<Value>,
    other: Option<Column>,
    /// How often each came, by a seeded hash of its value: which ones they are is not told, and
    /// counts that lie close together spare most of the cache misses.
    others: Frequent<u64>,
    /// Hashes that wait to be counted: many in a row find the counts in the processor's cache,
    /// where the kernel's work on the next chunk would have driven them out in between.
    waiting: Vec<u64>,
    hasher: RandomState,
    remaining: Remaining,
    flows: u64,
}

impl Counts {
    fn new(columns: Vec<Column>, sample: &[Facts]) -> Self {
        let mut groups = Frequent::<Vec<Value>>::new();
        let mut values = Vec::with_capacity(columns.len());
        for facts in sample {
            values_of(&columns, facts, &mut values);
            groups.add(values.as_slice());
        }
        let largest = ranked(groups.into_counted()).into_iter().take(LOOKED_INTO);
        let focus = largest
            .map(|(values, _)| Focus::new(values, &columns))
            .collect();
        Counts {
            columns,
            groups: Frequent::new(),
            values,
            focus,
        }
    }

    /// Most flows are of a group that is looked into: they are told by comparing, and no key is
    /// made for them.
    fn add(&mut self, facts: &Facts) {
        let is_of = |focus: &&mut Focus| {
            let mut values = self.columns.iter().zip(&focus.values);
            values.all(|(column, value)| column.of(facts) == *value)
        };
        if let Some(focus) = self.focus.iter_mut().find(is_of) {
            focus.add(facts);
            return;
        }
        values_of(&self.columns, facts, &mut self.values);
        self.groups.add(self.values.as_slice());
    }

    fn into_top(self, flows: u64, sample: Option<Sample>) -> Top {
        let sample = sample.filter(|sample| sample.is_part());
        let scale = sample.map_or(1.0, Sample::scale);
        let total = scaled(flows, scale);
        let uncounted = self.groups.floor();
        let mut counted = self.groups.into_counted();
        let looked_into = self.focus.iter().filter(|focus| focus.flows > 0);
        counted.extend(looked_into.map(|focus| (focus.values.clone(), focus.flows)));
        let groups: Vec<Group> = ranked(counted)
            .into_iter()
            .map(|(values, counted)| {
                let share = as_f64(counted) / as_f64(flows.max(1));
                Group {
                    values,
                    flows: scaled(counted, scale),
                    share,
                    margin: sample.map_or(0.0, |_| margin(share, flows, total)),
                }
            })
            .collect();
        let lead = self
            .focus
            .into_iter()
            .find(|focus| groups.first().is_some_and(|g| g.values == focus.values))
            .map(|focus| focus.into_lead(sample.is_some()));
        Top {
            total,
            sampled: sample.map(|sample| sample.looked_at),
            columns: self.columns,
            groups,
            uncounted: scaled(uncounted, scale),
            lead,
        }
    }
}

impl Focus {
    fn new(values: Vec<Value>, columns: &[Column]) -> Self {
        let whole = |field| {
            let fixed =
                |column: &Column| column.field == field && column.prefixes == Prefixes::WHOLE;
            !columns.iter().any(fixed)
        };
        let open = [Field::Src, Field::Dst, Field::Sport, Field::Dport];
        let other = open.into_iter().find(|field| whole(*field));
        Focus {
            values,
            other: other.map(Column::whole),
            others: Frequent::with_limit(OTHERS),
            waiting: Vec::with_capacity(WAITING),
            hasher: RandomState::default(),
            remaining: Remaining::default(),
            flows: 0,
        }
    }

    fn add(&mut self, facts: &Facts) {
        self.flows += 1;
        if let Some(other) = self.other {
            self.waiting.push(self.hasher.hash_one(other.of(facts)));
            if self.waiting.len() == WAITING {
                self.count_waiting();
            }
        }
        if let Some(seconds) = facts.timeout {
            self.remaining.add(seconds);
        }
    }

    fn count_waiting(&mut self) {
        for hash in self.waiting.drain(..) {
            self.others.add(&hash);
        }
    }

    fn into_lead(mut self, sampled: bool) -> Lead {
        self.count_waiting();
        let others = self.other.map(|column| Others {
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

/// The largest first; of equals the one with the lower values, so that the order is always the same.
fn ranked(mut counted: Vec<(Vec<Value>, u64)>) -> Vec<(Vec<Value>, u64)> {
    counted.sort_unstable_by(|(one, more), (other, less)| less.cmp(more).then(one.cmp(other)));
    counted
}

fn values_of(columns: &[Column], facts: &Facts, values: &mut Vec<Value>) {
    values.clear();
    values.extend(columns.iter().map(|column| column.of(facts)));
}
