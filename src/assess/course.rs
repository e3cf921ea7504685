//! What the table went through: the counters, their growth, and what the kernel logged.

use std::time::Duration;

use super::kernel_log::{KernelLog, Lines};
use super::{Finding, Severity};
use crate::tunable::{Counter, Counters, Key, Snapshot, format_count, format_seconds};

const STAT: &str = "kernel: struct ip_conntrack_stat in include/uapi/linux/netfilter/\
                    nfnetlink_conntrack.h; net/netfilter/nf_conntrack_core.c";
const FULL: &str = "kernel: __nf_conntrack_alloc in net/netfilter/nf_conntrack_core.c";
/// Times until full below which it is worth a word, and below which it is urgent.
const SOON: f64 = 3600.0;
const VERY_SOON: f64 = 600.0;
/// Packets a second above which it is worth a word; a few are always there.
const MANY: f64 = 1.0;

/// What was read, as far as it could be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Course {
    /// Since the namespace was made.
    pub(crate) counters: Option<Counters>,
    /// An earlier look, where there was one.
    pub(crate) trend: Option<Trend>,
    /// The kernel log.
    pub(crate) log: Option<KernelLog>,
    /// By which the kernel log names the namespace.
    pub(crate) netns_inode: Option<u64>,
    /// Bytes that the kernel allocates for one flow.
    pub(crate) flow_size: Option<u64>,
    /// What could not be read.
    pub(crate) unread: Vec<Unread>,
}

/// Something that could not be read, so that nothing is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    /// What.
    pub(crate) what: &'static str,
    /// What the kernel said.
    pub(crate) why: String,
}

impl Unread {
    /// Because of this.
    pub(crate) fn new(what: &'static str, why: &impl ToString) -> Self {
        let why = why.to_string();
        Unread { what, why }
    }
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

impl Course {
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

pub(super) fn findings(course: &Course, live: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(filling(course, live));
    findings.extend(logged(course));
    findings.extend(dropped(course));
    findings.extend(evicted(course));
    findings.extend(chains(course));
    findings.extend(failed_inserts(course));
    findings.extend(invalid(course));
    findings.extend(restarts(course));
    findings
}

/// When the table is full, if it goes on growing as it did.
fn filling(course: &Course, live: &Snapshot) -> Option<Finding> {
    let growth = course.growth(live).filter(|growth| *growth > 0.0)?;
    let max = live.value(Key::Max).filter(|max| *max > 0)?;
    let free = max.saturating_sub(live.count?).max(0);
    #[allow(clippy::cast_precision_loss)] // below 2^31
    let left = free as f64 / growth;
    if left >= SOON {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)] // below an hour
    let spoken = format_seconds(left as i64);
    Some(Finding {
        id: "table-filling",
        severity: if left < VERY_SOON {
            Severity::Critical
        } else {
            Severity::Warning
        },
        message: format!(
            "the table grew by {growth:.1} entries a second; at that rate its {} free ones last \
             {spoken}",
            format_count(free)
        ),
        hint: "see who fills it: cttune top".to_owned(),
        source: FULL,
        accepted: None,
    })
}

fn logged(course: &Course) -> Option<Finding> {
    let log = course.log.as_ref()?;
    let here = course.netns_inode.and_then(|inode| log.about(inode));
    let (lines, whose) = match (here, log.unnamed()) {
        (Some(lines), _) => (lines, "this namespace"),
        (None, Some(lines)) => (lines, "a namespace of this machine"),
        (None, None) => return None,
    };
    let Lines {
        number,
        first,
        last,
    } = lines;
    let times = match number {
        1 => format!("once, at {first:.0}"),
        _ => format!(
            "{} times{}, first at {first:.0} and last at {last:.0}",
            format_count(number),
            if log.is_cut { " or more" } else { "" }
        ),
    };
    Some(Finding {
        id: "table-full-log",
        severity: Severity::Warning,
        message: format!(
            "the kernel logged that the table of {whose} was full and packets were dropped: {times}"
        ),
        hint: "see who fills it: cttune top; a larger table: cttune plan --profile PROFILE"
            .to_owned(),
        source: FULL,
        accepted: None,
    })
}

/// A finding about a counter that says something as soon as it is not zero.
struct Count {
    counter: Counter,
    id: &'static str,
    /// What it counts, before the number.
    what: &'static str,
    hint: &'static str,
    /// While it grows, and when it has grown.
    severities: [Severity; 2],
}

impl Count {
    fn finding(self, course: &Course) -> Option<Finding> {
        let total = course.counted(self.counter);
        let rate = course.rate(self.counter);
        self.finding_of(total, rate)
    }

    /// Where not all that is counted is meant.
    fn finding_of(self, total: u64, rate: Option<f64>) -> Option<Finding> {
        let [growing, grown] = self.severities;
        (total > 0).then(|| Finding {
            id: self.id,
            severity: if rate.is_some_and(|rate| rate > 0.0) {
                growing
            } else {
                grown
            },
            message: format!("{}: {}{}", self.what, format_count(total), now(rate)),
            hint: self.hint.to_owned(),
            source: STAT,
            accepted: None,
        })
    }
}

/// `; now 12.0 a second`, where two looks tell.
fn now(rate: Option<f64>) -> String {
    rate.map_or_else(String::new, |rate| format!("; now {rate:.1} a second"))
}

fn dropped(course: &Course) -> Option<Finding> {
    let count = Count {
        counter: Counter::Drop,
        id: "packets-dropped",
        what: "packets dropped by connection tracking, because the table was full or a flow \
               could not be set up",
        hint: "see whether it goes on: cttune check --interval 10s; who fills the table: cttune \
               top",
        severities: [Severity::Critical, Severity::Warning],
    };
    // Each that another flow was quicker than is counted here as well, and told below.
    let (clashes, clash_rate) = clashes(course);
    let total = course.counted(Counter::Drop).saturating_sub(clashes);
    let rate = course.rate(Counter::Drop);
    count.finding_of(total, less(rate, clash_rate))
}

fn evicted(course: &Course) -> Option<Finding> {
    let count = Count {
        counter: Counter::EarlyDrop,
        id: "early-drops",
        what: "flows evicted to make room for new ones, because the table was full",
        hint: "see whether it goes on: cttune check --interval 10s; who fills the table: cttune \
               top",
        severities: [Severity::Critical, Severity::Warning],
    };
    count.finding(course)
}

fn chains(course: &Course) -> Option<Finding> {
    let count = Count {
        counter: Counter::ChainTooLong,
        id: "chain-too-long",
        what: "packets dropped because the chain of their bucket was too long, the hash table \
               being too small or addresses chosen so that they collide",
        hint: "as many buckets as entries: cttune plan --profile PROFILE --set buckets=N; the \
               limit is between 50 and 79 entries of all namespaces",
        severities: [Severity::Critical, Severity::Warning],
    };
    count.finding(course)
}

fn failed_inserts(course: &Course) -> Option<Finding> {
    let count = Count {
        counter: Counter::InsertFailed,
        id: "insert-failed",
        what: "packets dropped because another flow had taken their place, by two packets of \
               one UDP socket at once (DNS) or NAT without a free port",
        hint: "with NAT, see the ports in use: cttune check --deep; with DNS, it is answered by \
               the client's next try",
        severities: [Severity::Warning, Severity::Info],
    };
    let (total, rate) = clashes(course);
    count.finding_of(total, rate)
}

/// Packets that another flow was quicker than, and how many a second: of the failed inserts those
/// whose chain was not too long.
fn clashes(course: &Course) -> (u64, Option<f64>) {
    let total = course.counted(Counter::InsertFailed);
    let total = total.saturating_sub(course.counted(Counter::ChainTooLong));
    let rate = course.rate(Counter::InsertFailed);
    (total, less(rate, course.rate(Counter::ChainTooLong)))
}

fn less(rate: Option<f64>, part: Option<f64>) -> Option<f64> {
    Some((rate? - part.unwrap_or(0.0)).max(0.0))
}

fn invalid(course: &Course) -> Option<Finding> {
    let rate = course.rate(Counter::Invalid).filter(|rate| *rate >= MANY)?;
    let total = course.counted(Counter::Invalid);
    Some(Finding {
        id: "invalid-packets",
        severity: Severity::Info,
        message: format!(
            "{} packets were invalid{}: they belong to no flow, or do not fit theirs",
            format_count(total),
            now(Some(rate))
        ),
        hint: "have the kernel log them for a minute: sysctl \
               net.netfilter.nf_conntrack_log_invalid=255"
            .to_owned(),
        source: STAT,
        accepted: None,
    })
}

fn restarts(course: &Course) -> Option<Finding> {
    let rate = course
        .rate(Counter::SearchRestart)
        .filter(|rate| *rate >= MANY)?;
    let total = course.counted(Counter::SearchRestart);
    Some(Finding {
        id: "search-restarts",
        severity: Severity::Info,
        message: format!(
            "{} lookups were begun again{}: flows come and go faster than their chains are walked",
            format_count(total),
            now(Some(rate))
        ),
        hint: "more buckets shorten the chains: cttune plan --profile PROFILE --set buckets=N"
            .to_owned(),
        source: STAT,
        accepted: None,
    })
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
    fn course(then: Option<Counters>, now: Option<Counters>) -> Course {
        Course {
            counters: now,
            trend: Some(Trend {
                interval: Duration::from_secs(10),
                count: None,
                counters: then,
            }),
            ..Course::default()
        }
    }

    fn told(course: &Course) -> Vec<(&'static str, Severity)> {
        let findings = findings(course, &Snapshot::default());
        findings.iter().map(|one| (one.id, one.severity)).collect()
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
            assert_eq!(told(&course(then.clone(), now)), expected);
        }
        let once = Course {
            trend: None,
            ..course(None, counters(0, 0, 0, 1000))
        };
        assert_eq!(told(&once), []);
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
            assert_eq!(told(&course(counters(0, 0, 0, 0), now)), expected);
        }
        let long_ago = course(counters(5, 4, 0, 0), counters(5, 4, 0, 0));
        let expected = [("packets-dropped", Warning), ("insert-failed", Info)];
        assert_eq!(told(&long_ago), expected);
    }
}
