//! Rates: the counters, how fast they grow, and what the kernel logged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::plan;
use super::kernel_log::{KernelLog, Lines};
use super::{Finding, Id, Severity};
use crate::diagnostic::{Hint, quoted};
use crate::profile::Desired;
use crate::tunable::{Counter, Counters, Key, Snapshot, format_count, format_seconds};

/// Seconds until full below which it is a warning, and below which it is critical.
const SOON: f64 = 3600.0;
const VERY_SOON: f64 = 600.0;
/// From this fill on, growth is a finding by itself; below, only more growth than flows with short
/// timeouts make while the table fills to its usual level.
const HALF_FULL: f64 = 0.5;
/// Packets a second above which it is a finding; a few are normal.
const MANY: f64 = 1.0;

/// What was read, as far as it could be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rates {
    /// Since the namespace was made.
    pub(crate) counters: Option<Counters>,
    /// An earlier look, where there was one.
    pub(crate) trend: Option<Trend>,
    /// Connections that helpers have announced; `None` where they could not be read.
    pub(crate) expectations: Option<u64>,
    /// The kernel log.
    pub(crate) log: Option<KernelLog>,
    /// By which the kernel log names the namespace.
    pub(crate) netns_inode: Option<u64>,
    /// Bytes that the kernel allocates for one flow.
    pub(crate) flow_size: Option<u64>,
    /// What to call the other namespaces that the log names: by their inodes. None for one that
    /// nothing leads to.
    pub(crate) names: BTreeMap<u64, Option<String>>,
}

/// An earlier look at a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trend {
    /// How long before the later one.
    pub(crate) interval: Duration,
    /// The number of entries then.
    pub(crate) count: Option<i64>,
    /// The counters then.
    pub(crate) counters: Option<Counters>,
}

impl Rates {
    /// How much a counter grew a second between the two looks.
    pub(crate) fn rate(&self, counter: Counter) -> Option<f64> {
        let trend = self.trend.as_ref()?;
        let grown = self
            .counters
            .as_ref()?
            .since(trend.counters.as_ref()?, counter)?;
        #[allow(clippy::cast_precision_loss)] // packets of a few seconds
        Some(grown as f64 / trend.interval.as_secs_f64())
    }

    /// By how many entries a second the table grew between the two looks; below zero it shrank.
    pub(crate) fn growth(&self, live: &Snapshot) -> Option<f64> {
        let trend = self.trend.as_ref()?;
        #[allow(clippy::cast_precision_loss)] // below 2^31
        Some((live.count? - trend.count?) as f64 / trend.interval.as_secs_f64())
    }

    /// What a counter has come to; `None` where this kernel does not count it, or it was not read.
    pub(crate) fn total(&self, counter: Counter) -> Option<u64> {
        self.counters.as_ref()?.total(counter)
    }

    /// The same for a finding, which is about what was counted.
    fn counted(&self, counter: Counter) -> u64 {
        self.total(counter).unwrap_or(0)
    }
}

pub(super) fn findings(
    rates: &Rates,
    live: &Snapshot,
    desired: Option<&Desired>,
    is_deep: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(filling(rates, live));
    findings.extend(logged(rates));
    findings.extend(logged_elsewhere(rates));
    findings.extend(dropped(rates));
    findings.extend(evicted(rates));
    findings.extend(chains(rates, live, desired));
    findings.extend(failed_inserts(rates, is_deep));
    findings.extend(invalid(rates));
    findings.extend(restarts(rates, live, desired));
    findings
}

/// When the table is full, if it keeps growing at this rate.
fn filling(rates: &Rates, live: &Snapshot) -> Option<Finding> {
    let growth = rates.growth(live).filter(|growth| *growth > 0.0)?;
    let max = live.value(Key::Max).filter(|max| *max > 0)?;
    let free = max.saturating_sub(live.count?).max(0);
    #[allow(clippy::cast_precision_loss)] // below 2^31
    let left = free as f64 / growth;
    #[allow(clippy::cast_precision_loss)] // below 2^31
    let level = live.count? as f64 + growth * short_lived(live);
    #[allow(clippy::cast_precision_loss)] // below 2^31
    let levels_off = level < max as f64 && live.fill().is_some_and(|fill| fill < HALF_FULL);
    if left >= SOON || levels_off {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)] // below an hour
    let spoken = format_seconds(left as i64);
    Some(Finding::new(
        Id::TableFilling,
        if left < VERY_SOON {
            Severity::Critical
        } else {
            Severity::Warning
        },
        format!(
            "the table grew by {growth:.1} entries a second; at that rate its {} free entries \
             last {spoken}",
            format_count(free)
        ),
        top(),
    ))
}

/// Seconds after which flows that are not established TCP have ended: so long the table grows after
/// it was flushed, and no longer.
fn short_lived(live: &Snapshot) -> f64 {
    let keys = [
        Key::UdpTimeout,
        Key::UdpTimeoutStream,
        Key::TcpTimeoutSynSent,
        Key::TcpTimeoutFinWait,
        Key::TcpTimeoutTimeWait,
        Key::IcmpTimeout,
    ];
    let longest = keys.into_iter().filter_map(|key| live.value(key)).max();
    #[allow(clippy::cast_precision_loss)] // seconds
    let seconds = longest.unwrap_or(120) as f64;
    seconds
}

fn logged(rates: &Rates) -> Option<Finding> {
    let log = rates.log.as_ref()?;
    let here = rates.netns_inode.and_then(|inode| log.about(inode));
    let (lines, whose) = match (here, log.unnamed()) {
        (Some(lines), _) => (lines, "this namespace"),
        (None, Some(lines)) => (lines, "a namespace of this machine"),
        (None, None) => return None,
    };
    Some(Finding::new(
        Id::TableFullLog,
        Severity::Warning,
        format!(
            "the kernel logged that the table of {whose} was full and packets were dropped: {}",
            times(lines, log.is_cut)
        ),
        top(),
    ))
}

fn top() -> Hint {
    Hint::cttune("top").to("see who fills it")
}

/// As many buckets as entries.
fn more_buckets(live: &Snapshot, desired: Option<&Desired>) -> Hint {
    let buckets = live.value(Key::Max).filter(|max| *max > 0);
    let values: Vec<(Key, i64)> = buckets.map(|max| (Key::Buckets, max)).into_iter().collect();
    plan(desired, &values).to("more buckets shorten the chains")
}

/// Whether it goes on, where one look cannot tell, and who fills the table.
fn watch(rates: &Rates) -> Hint {
    match rates.trend {
        Some(_) => top(),
        None => Hint::cttune("check --interval 10s")
            .to("see whether it goes on")
            .and(top()),
    }
}

/// The same for other namespaces, which have tables of their own.
fn logged_elsewhere(rates: &Rates) -> Vec<Finding> {
    let Some(log) = &rates.log else {
        return Vec::new();
    };
    let others = rates
        .names
        .iter()
        .filter(|(inode, _)| rates.netns_inode != Some(**inode));
    let (named, gone): (Vec<_>, Vec<_>) = others.partition(|(_, name)| name.is_some());
    let said = |of: &[(&u64, &Option<String>)]| {
        let one = |(inode, name): &(&u64, &Option<String>)| {
            let name = Option::clone(name).unwrap_or_else(|| format!("inode {inode}"));
            Some(format!("{name} {}", times(log.about(**inode)?, log.is_cut)))
        };
        of.iter().filter_map(one).collect::<Vec<_>>().join("; ")
    };
    let first = named.first().and_then(|(_, name)| name.as_deref());
    let there = first.map(|first| Finding::new(
        Id::TableFullLog,
        Severity::Warning,
        format!(
            "the kernel logged that the tables of other network namespaces were full and packets \
             were dropped: {}",
            said(&named)
        ),
        Hint::cttune(format!("top --netns {}", quoted(first))).to("see who fills it"),
    ));
    let gone = (!gone.is_empty()).then(|| Finding::new(
        Id::TableFullLog,
        Severity::Info,
        format!(
            "the kernel logged that tables of network namespaces were full which cttune does not \
             find now: {}",
            said(&gone)
        ),
        Hint::cttune("check --all-netns").to("see the tables that there are, as root"),
    ));
    there.into_iter().chain(gone).collect()
}

fn times(lines: Lines, is_cut: bool) -> String {
    let Lines {
        number,
        first,
        last,
    } = lines;
    match number {
        1 => format!("once, at {first:.0}"),
        _ => format!(
            "{} times{}, first at {first:.0} and last at {last:.0}",
            format_count(number),
            if is_cut { " or more" } else { "" }
        ),
    }
}

/// A finding about a counter that matters as soon as it is not zero.
struct Count {
    counter: Counter,
    id: Id,
    /// What it counts, before the number.
    what: &'static str,
    hint: Hint,
    /// While it grows, and when it has grown.
    severities: [Severity; 2],
}

impl Count {
    fn finding(self, rates: &Rates) -> Option<Finding> {
        let total = rates.counted(self.counter);
        let rate = rates.rate(self.counter);
        self.finding_of(total, rate)
    }

    /// With another total and rate than the counter's own.
    fn finding_of(self, total: u64, rate: Option<f64>) -> Option<Finding> {
        let [growing, grown] = self.severities;
        (total > 0).then(|| {
            Finding::new(
                self.id,
                if rate.is_some_and(|rate| rate > 0.0) {
                    growing
                } else {
                    grown
                },
                format!("{}: {}{}", self.what, format_count(total), now(rate)),
                self.hint,
            )
        })
    }
}

/// `; now 12.0 a second`, where two looks tell.
fn now(rate: Option<f64>) -> String {
    rate.map_or_else(String::new, |rate| format!("; now {rate:.1} a second"))
}

fn dropped(rates: &Rates) -> Option<Finding> {
    let count = Count {
        counter: Counter::Drop,
        id: Id::PacketsDropped,
        what: "packets dropped by connection tracking, because the table was full or a flow \
               could not be set up",
        hint: watch(rates),
        severities: [Severity::Critical, Severity::Warning],
    };
    // The kernel counts failed inserts here as well; they have a finding of their own.
    let (clashes, clash_rate) = clashes(rates);
    let total = rates.counted(Counter::Drop).saturating_sub(clashes);
    let rate = rates.rate(Counter::Drop);
    count.finding_of(total, less(rate, clash_rate))
}

fn evicted(rates: &Rates) -> Option<Finding> {
    let count = Count {
        counter: Counter::EarlyDrop,
        id: Id::EarlyDrops,
        what: "flows evicted to make room for new ones, because the table was full",
        hint: watch(rates),
        severities: [Severity::Critical, Severity::Warning],
    };
    count.finding(rates)
}

fn chains(rates: &Rates, live: &Snapshot, desired: Option<&Desired>) -> Option<Finding> {
    let count = Count {
        counter: Counter::ChainTooLong,
        id: Id::ChainTooLong,
        what: "packets dropped because their hash chain was too long: the hash table is too \
               small, or somebody chose addresses that collide",
        hint: more_buckets(live, desired).and(watch(rates)),
        severities: [Severity::Critical, Severity::Warning],
    };
    count.finding(rates)
}

fn failed_inserts(rates: &Rates, is_deep: bool) -> Option<Finding> {
    let count = Count {
        counter: Counter::InsertFailed,
        id: Id::InsertFailed,
        what: "packets dropped because another flow was set up first: two packets of one UDP \
               socket at once (DNS), or NAT without a free port",
        hint: if is_deep {
            Hint::say(
                "with NAT, nat-ports says which ports run out; with DNS, the client tries again",
            )
        } else {
            Hint::cttune("check --deep")
                .to("with NAT, see the ports in use")
                .and(Hint::say("with DNS, the client tries again"))
        },
        severities: [Severity::Warning, Severity::Info],
    };
    let (total, rate) = clashes(rates);
    count.finding_of(total, rate)
}

/// Failed inserts, and how many a second, without those whose chain was too long.
fn clashes(rates: &Rates) -> (u64, Option<f64>) {
    let total = rates.counted(Counter::InsertFailed);
    let total = total.saturating_sub(rates.counted(Counter::ChainTooLong));
    let rate = rates.rate(Counter::InsertFailed);
    (total, less(rate, rates.rate(Counter::ChainTooLong)))
}

fn less(rate: Option<f64>, part: Option<f64>) -> Option<f64> {
    Some((rate? - part.unwrap_or(0.0)).max(0.0))
}

fn invalid(rates: &Rates) -> Option<Finding> {
    let rate = rates.rate(Counter::Invalid).filter(|rate| *rate >= MANY)?;
    let total = rates.counted(Counter::Invalid);
    Some(Finding::new(
        Id::InvalidPackets,
        Severity::Info,
        format!(
            "{} packets were invalid{}: they belong to no flow, or do not fit their flow",
            format_count(total),
            now(Some(rate))
        ),
        Hint::command("sysctl net.netfilter.nf_conntrack_log_invalid=255")
            .to("log them for a minute, then set it to 0 again"),
    ))
}

fn restarts(rates: &Rates, live: &Snapshot, desired: Option<&Desired>) -> Option<Finding> {
    let rate = rates
        .rate(Counter::SearchRestart)
        .filter(|rate| *rate >= MANY)?;
    let total = rates.counted(Counter::SearchRestart);
    Some(Finding::new(
        Id::SearchRestarts,
        Severity::Info,
        format!(
            "{} lookups were repeated{}: flows come and go while their chains are read",
            format_count(total),
            now(Some(rate))
        ),
        more_buckets(live, desired),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters of one CPU.
    fn counters(drop: u32, insert_failed: u32, chain: u32, restarts: u32) -> Option<Counters> {
        Counters::parse(&format!(
            "entries drop insert_failed chainlength search_restart\n\
             0 {drop:x} {insert_failed:x} {chain:x} {restarts:x}\n"
        ))
    }

    /// Ten seconds, from these counters to those.
    fn rates(then: Option<Counters>, now: Option<Counters>) -> Rates {
        Rates {
            counters: now,
            trend: Some(Trend {
                interval: Duration::from_secs(10),
                count: None,
                counters: then,
            }),
            ..Rates::default()
        }
    }

    fn told(rates: &Rates) -> Vec<(&'static str, Severity)> {
        let findings = findings(rates, &Snapshot::default(), None, false);
        findings
            .iter()
            .map(|one| (one.id.name(), one.severity))
            .collect()
    }

    #[test]
    fn a_full_table_is_told_by_the_name_of_its_namespace() {
        let line = |inode| format!("nf_conntrack: table full in netns {inode}, dropping packet");
        let mut log = KernelLog::default();
        for inode in [7, 8, 8, 9] {
            log.add(&line(inode), jiff::Timestamp::UNIX_EPOCH);
        }
        let names = [(7, "own"), (8, "router"), (9, "pid:42")];
        let names = names.map(|(inode, name)| (inode, Some(name.to_owned())));
        let gone = [(8, None)];
        for (own, names, messages) in [
            (7, &[][..], ["of this namespace was full"].as_slice()),
            (7, &names, &["of this namespace was full", "router 2 times"]),
            (
                5,
                &names[2..],
                &["full and packets were dropped: pid:42 once, at"],
            ),
            (5, &[], &[]),
            (
                5,
                &gone,
                &["which cttune does not find now: inode 8 2 times, first"],
            ),
        ] {
            let rates = Rates {
                log: Some(log.clone()),
                netns_inode: Some(own),
                names: names.iter().cloned().collect(),
                ..Rates::default()
            };
            let findings = findings(&rates, &Snapshot::default(), None, false);
            assert_eq!(findings.len(), messages.len(), "{findings:?}");
            for (finding, message) in findings.iter().zip(messages) {
                assert_eq!(finding.id, Id::TableFullLog);
                assert!(finding.message.contains(message), "{}", finding.message);
            }
        }
    }

    #[test]
    fn lookups_that_are_begun_again_are_told_by_their_rate() {
        let then = counters(0, 0, 0, 5);
        for (now, expected) in [
            (counters(0, 0, 0, 14), vec![]),
            (
                counters(0, 0, 0, 15),
                vec![("search-restarts", Severity::Info)],
            ),
        ] {
            assert_eq!(told(&rates(then.clone(), now)), expected);
        }
        let once = Rates {
            trend: None,
            ..rates(None, counters(0, 0, 0, 1000))
        };
        assert_eq!(told(&once), []);
    }

    #[test]
    fn growth_is_told_where_it_does_not_level_off() {
        use Severity::{Critical, Warning};
        let access = crate::tunable::Access::Writable;
        let reading = |value| crate::tunable::Reading::Value { value, access };
        for (then, now, udp, expected) in [
            // A flushed table fills again: 150 a second that live for 120 s make 18,000.
            (0, 1_500, 30, None),
            (3_000, 4_500, 30, None),
            // The same with flows that live for 10 minutes does not level off below max.
            (3_000, 4_500, 600, Some(Critical)),
            (0, 20_000, 30, Some(Critical)),
            (39_800, 40_000, 30, Some(Warning)),
            (39_000, 40_000, 30, Some(Critical)),
            (40_000, 40_000, 30, None),
            (40_000, 39_000, 30, None),
        ] {
            let rates = Rates {
                trend: Some(Trend {
                    interval: Duration::from_secs(10),
                    count: Some(then),
                    counters: None,
                }),
                ..Rates::default()
            };
            let readings = [
                (Key::Max, reading(65_536)),
                (Key::UdpTimeout, reading(udp)),
                (Key::UdpTimeoutStream, reading(120)),
            ];
            let live = Snapshot::new(readings, Some(now));
            let found = filling(&rates, &live).map(|finding| finding.severity);
            assert_eq!(found, expected, "{then} {now} {udp}");
        }
    }

    #[test]
    fn a_failed_insert_is_told_once_and_by_its_cause() {
        use Severity::{Critical, Info, Warning};
        for (now, expected) in [
            (counters(0, 0, 0, 0), vec![]),
            // The kernel counts a packet that another flow was quicker than under both.
            (counters(4, 4, 0, 0), vec![("insert-failed", Warning)]),
            (counters(0, 4, 4, 0), vec![("chain-too-long", Critical)]),
            (
                counters(9, 6, 2, 0),
                vec![
                    ("packets-dropped", Critical),
                    ("chain-too-long", Critical),
                    ("insert-failed", Warning),
                ],
            ),
        ] {
            assert_eq!(told(&rates(counters(0, 0, 0, 0), now)), expected);
        }
        let long_ago = rates(counters(5, 4, 0, 0), counters(5, 4, 0, 0));
        let expected = [("packets-dropped", Warning), ("insert-failed", Info)];
        assert_eq!(told(&long_ago), expected);
    }
}
