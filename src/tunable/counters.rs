//! The counters that conntrack keeps for each CPU, as `/proc/net/stat/nf_conntrack` prints them.
//!
//! Columns have been renamed and reused over time, so each is found by its name in the header.
//! Follows seq_file output of `ct_cpu_seq_show` in net/netfilter/nf_conntrack_standalone.c.

use std::collections::BTreeMap;

/// What conntrack counts. All but [`Counter::EarlyDrop`] count packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Counter {
    /// Packets that no flow could be made of, or that do not fit their flow.
    Invalid,
    /// Packets dropped because their flow could not be entered into the table: another packet had
    /// just entered the same, or the chain of its bucket was too long.
    InsertFailed,
    /// Packets dropped, most often because the table was full.
    Drop,
    /// Flows evicted to make room in a full table.
    EarlyDrop,
    /// ICMP errors that could not be assigned.
    IcmpError,
    /// Lookups begun again because the table changed below them.
    SearchRestart,
    /// Packets that lost a race to enter the same flow and were let through nevertheless.
    ClashResolve,
    /// Packets dropped because the chain of their bucket was too long; older kernels have no limit.
    ChainTooLong,
}

impl Counter {
    /// Every counter, in the order in which they are shown.
    pub(crate) const ALL: [Counter; 8] = [
        Counter::Drop,
        Counter::EarlyDrop,
        Counter::InsertFailed,
        Counter::ChainTooLong,
        Counter::ClashResolve,
        Counter::Invalid,
        Counter::IcmpError,
        Counter::SearchRestart,
    ];

    /// Its name, as ctnetlink and `conntrack -S` have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Counter::Invalid => "invalid",
            Counter::InsertFailed => "insert_failed",
            Counter::Drop => "drop",
            Counter::EarlyDrop => "early_drop",
            Counter::IcmpError => "icmp_error",
            Counter::SearchRestart => "search_restart",
            Counter::ClashResolve => "clash_resolve",
            Counter::ChainTooLong => "chain_toolong",
        }
    }

    /// What the header calls its column. `clashres` was once `searched`, and `chainlength` once
    /// `delete_list`: under the old names they counted something else.
    fn column(self) -> &'static str {
        match self {
            Counter::ClashResolve => "clashres",
            Counter::ChainTooLong => "chainlength",
            other => other.name(),
        }
    }
}

/// One reading of every counter, for each CPU: 32 bits each, which wrap. A counter that this kernel
/// does not have is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    cpus: Vec<BTreeMap<Counter, u32>>,
}

impl Counters {
    /// Reads the text of `/proc/net/stat/nf_conntrack`; `None` where it is no such text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next()?.split_whitespace().collect();
        if header.first() != Some(&"entries") {
            return None;
        }
        let mut counters = Counters::default();
        for line in lines {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let mut cpu = BTreeMap::new();
            for counter in Counter::ALL {
                let column = header.iter().position(|name| *name == counter.column());
                if let Some(cell) = column.and_then(|column| cells.get(column)) {
                    cpu.insert(counter, u32::from_str_radix(cell, 16).ok()?);
                }
            }
            counters.cpus.push(cpu);
        }
        Some(counters)
    }

    pub(crate) fn add_cpu(&mut self, value: impl Fn(Counter) -> Option<u32>) {
        let counters = Counter::ALL.into_iter();
        let counted = counters.filter_map(|counter| Some((counter, value(counter)?)));
        self.cpus.push(counted.collect());
    }

    /// The sum over all CPUs since the namespace was made, each wrapped at 2³²; `None` where this
    /// kernel does not count it.
    pub(crate) fn total(&self, counter: Counter) -> Option<u64> {
        sum(self.cpus.iter().map(|cpu| cpu.get(&counter).copied()))
    }

    /// How much it grew since `earlier`, a counter of a CPU that wrapped meanwhile included.
    pub(crate) fn since(&self, earlier: &Counters, counter: Counter) -> Option<u64> {
        let cpus = self.cpus.iter().zip(&earlier.cpus);
        sum(cpus.map(|(now, then)| Some(now.get(&counter)?.wrapping_sub(*then.get(&counter)?))))
    }
}

/// The sum of those that are there; `None` where none is.
fn sum(counts: impl Iterator<Item = Option<u32>>) -> Option<u64> {
    let there = counts.flatten().map(u64::from);
    there.reduce(|sum, count| sum + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18, two CPUs.
    const RECENT: &str = "\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
0000012c  00000001 00000000 00000000 0000000a 00000000 00000000 00000003 00000000 00000014 00000064 00000001 00000000  00000000 00000000 00000000 00000002
0000012c  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 ffffffff 00000001 00000000  00000000 00000000 00000000 00000000
";

    /// Linux 5.4: two columns had other names and another meaning.
    const OLD: &str = "\
entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
00000001  0000000f 00000000 00000000 00000002 00000000 00000000 0000000e 00000000 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000000
";

    #[test]
    fn counters_are_summed_over_cpus_by_the_names_of_their_columns() {
        let counters = Counters::parse(RECENT).unwrap();
        for (counter, total) in [
            (Counter::Invalid, 11),
            (Counter::InsertFailed, 20),
            (Counter::Drop, 0x64 + 0xffff_ffff),
            (Counter::EarlyDrop, 2),
            (Counter::SearchRestart, 2),
            (Counter::ClashResolve, 1),
            (Counter::ChainTooLong, 3),
            (Counter::IcmpError, 0),
        ] {
            assert_eq!(counters.total(counter), Some(total), "{}", counter.name());
        }
    }

    #[test]
    fn a_cpu_can_be_added_by_counter() {
        let mut counters = Counters::default();
        for number in [7, 8] {
            counters.add_cpu(|counter| (counter == Counter::Drop).then_some(number));
        }
        assert_eq!(counters.total(Counter::Drop), Some(15));
        assert_eq!(counters.total(Counter::Invalid), None);
    }

    #[test]
    fn a_column_that_meant_something_else_is_not_counted() {
        let counters = Counters::parse(OLD).unwrap();
        assert_eq!(counters.total(Counter::ChainTooLong), None);
        assert_eq!(counters.total(Counter::ClashResolve), None);
        assert_eq!(counters.total(Counter::Invalid), Some(2));
    }

    #[test]
    fn growth_is_right_where_a_counter_wrapped() {
        let earlier = Counters::parse(RECENT).unwrap();
        let text = RECENT.replace("ffffffff", "00000004");
        let later = Counters::parse(&text).unwrap();
        assert_eq!(later.since(&earlier, Counter::Drop), Some(5));
        assert_eq!(later.since(&earlier, Counter::Invalid), Some(0));
        let old = Counters::parse(OLD).unwrap();
        assert_eq!(old.since(&old, Counter::ChainTooLong), None);
    }

    #[test]
    fn what_is_no_such_text_is_told() {
        for text in ["", "nonsense\n1 2 3\n", &RECENT.replace("00000014", "zz")] {
            assert_eq!(Counters::parse(text), None, "{text}");
        }
    }
}
