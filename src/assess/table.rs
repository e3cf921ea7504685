//! The table itself: how full it is, how its hash fits, and values that cannot be right.

use super::command::plan;
use super::{Evidence, Finding, Id, Rates, Severity, memory};
use crate::diagnostic::{Advise, Hint};
use crate::plan::ENTRIES_PER_BUCKET;
use crate::profile::Desired;
use crate::tunable::{Counter, Key, Snapshot, format_count, format_share};

/// Fill at which munin's plugin and this one warn, and call it critical.
pub(super) const WARN_FILL: f64 = 0.8;
const CRITICAL_FILL: f64 = 0.9;
/// Entries per bucket above which chains are long.
const LONG_CHAIN: i64 = 8;
/// A timeout in seconds that harms no protocol.
const ANY_TIME: i64 = 60;

pub(super) fn findings(live: &Snapshot, evidence: &Evidence<'_>) -> Vec<Finding> {
    if !live.is_loaded() {
        return vec![not_loaded()];
    }
    let mut findings = Vec::new();
    findings.extend(fill(live, evidence));
    findings.extend(unlimited(live));
    findings.extend(hash(live, evidence.desired));
    findings.extend(dead_timeouts(live, evidence.desired));
    findings
}

/// The shares of max at which fill is a warning, and critical.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Levels {
    /// From here on it is a warning.
    pub(crate) warning: f64,
    /// From here on it is critical.
    pub(crate) critical: f64,
}

impl Default for Levels {
    /// Those of munin's plugin.
    fn default() -> Self {
        Levels {
            warning: WARN_FILL,
            critical: CRITICAL_FILL,
        }
    }
}

/// Why `--warn` and `--crit` were not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LevelsError {
    /// One of them is not a share.
    #[error("{option} {text}: not a percentage")]
    NotAPercentage {
        /// Which option.
        option: &'static str,
        /// What was typed.
        text: String,
    },
    /// The warning would come after the alarm.
    #[error("--warn is above --crit")]
    Crossed,
}

impl Advise for LevelsError {
    fn hint(&self) -> Option<Hint> {
        Some(Hint::say(match self {
            LevelsError::NotAPercentage { .. } => "write 80%, or a number from 0 to 100",
            LevelsError::Crossed => "without them they are 80% and 90%",
        }))
    }
}

impl Levels {
    /// From what was typed, with or without `%`.
    pub(crate) fn parse(warn: Option<&str>, crit: Option<&str>) -> Result<Self, LevelsError> {
        let usual = Levels::default();
        let levels = Levels {
            warning: percentage("--warn", warn)?.unwrap_or(usual.warning),
            critical: percentage("--crit", crit)?.unwrap_or(usual.critical),
        };
        if levels.warning > levels.critical {
            return Err(LevelsError::Crossed);
        }
        Ok(levels)
    }

    /// How severe this fill is, if at all.
    pub(super) fn severity(self, fill: f64) -> Option<Severity> {
        if fill >= self.critical {
            Some(Severity::Critical)
        } else if fill >= self.warning {
            Some(Severity::Warning)
        } else {
            None
        }
    }
}

/// Reads `80%` or `80` as a share of one.
fn percentage(option: &'static str, text: Option<&str>) -> Result<Option<f64>, LevelsError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    let number = number.ok().filter(|number| (0.0..=100.0).contains(number));
    let wrong = || LevelsError::NotAPercentage {
        option,
        text: text.to_owned(),
    };
    // -0 is in the range, and is printed as 0.
    let share = |number: f64| Some(number.abs() / 100.0);
    number.map(share).ok_or_else(wrong)
}

fn not_loaded() -> Finding {
    Finding::new(
        Id::NotLoaded,
        Severity::Info,
        "the module nf_conntrack is not loaded: no flow is tracked and no sysctl exists",
        Hint::on_host("modprobe nf_conntrack").to("apply loads it, or, as root"),
    )
}

fn fill(live: &Snapshot, evidence: &Evidence<'_>) -> Option<Finding> {
    let fill = live.fill()?;
    let severity = evidence.levels.severity(fill)?;
    let (entries, max) = (live.count?, live.value(Key::Max)?);
    let effect = effect(entries >= max, evidence.rates);
    let hint = Hint::cttune("top")
        .to("see who fills it")
        .and(Hint::cttune("expire --dry-run").to("see which flows could be shortened"));
    Some(Finding::new(
        Id::TableFill,
        severity,
        format!(
            "the table holds {} of {} entries ({}): {effect}",
            format_count(entries),
            format_count(max),
            format_share(fill)
        ),
        match larger(live, evidence) {
            Some(larger) => hint.and(larger),
            None => hint,
        },
    ))
}

/// What a full table does: it evicts a flow that is not assured for each new one, and drops the
/// packet where it finds none. The counters tell which of the two it did.
fn effect(is_full: bool, rates: Option<&Rates>) -> &'static str {
    let seen = |counter| {
        let rates = rates?;
        let total = rates.total(counter)?;
        // Where two looks were taken, what happens now counts.
        let grows = rates.rate(counter).map(|rate| rate > 0.0);
        Some(grows.unwrap_or(total > 0))
    };
    let (drops, evicts) = (seen(Counter::Drop), seen(Counter::EarlyDrop));
    match (is_full, drops, evicts) {
        (true, Some(false), Some(true)) => {
            "the kernel evicts a flow that is not assured for each new one; no packet was dropped"
        }
        (true, Some(true), Some(true)) => {
            "the kernel evicts flows that are not assured, and drops packets of new flows"
        }
        (true, Some(true), _) => "packets of new flows are dropped",
        (true, _, _) => {
            "for each new flow the kernel evicts one that is not assured, or drops the packet"
        }
        (false, _, _) => {
            "when it is full, the kernel evicts flows that are not assured, or drops packets of \
             new flows"
        }
    }
}

/// A plan for a table twice as large, where max can be set here and memory allows it; no smaller than
/// that of the next boot.
pub(super) fn larger(live: &Snapshot, evidence: &Evidence<'_>) -> Option<Hint> {
    let files = evidence.machine.files;
    let at_boot = files.and_then(|files| files.next_boot().answer(Key::Max).value);
    let max = live.value(Key::Max)?.checked_mul(2)?;
    let max = max.max(at_boot.unwrap_or(0));
    let flow_size = evidence.rates.and_then(|rates| rates.flow_size);
    let fits = memory::fits(max, evidence.machine.host, flow_size);
    let values = [(Key::Max, max), (Key::Buckets, max)];
    (fits && live.is_writable(Key::Max))
        .then(|| plan(evidence.desired, &values).to("memory allows a larger table"))
}

fn unlimited(live: &Snapshot) -> Option<Finding> {
    (live.value(Key::Max)? == 0).then(|| {
        Finding::new(
            Id::MaxUnlimited,
            Severity::Critical,
            format!(
                "{} is 0: the table can grow until memory runs out",
                Key::Max
            ),
            Hint::cttune("plan --profile campus-fw").to("set a limit that memory allows"),
        )
    })
}

/// Chains that are long now are critical; a max that would make them long is a warning.
fn hash(live: &Snapshot, desired: Option<&Desired>) -> Option<Finding> {
    let (max, buckets) = (
        live.value(Key::Max)?,
        live.value(Key::Buckets).filter(|n| *n > 0)?,
    );
    let entries = live.count.unwrap_or(0);
    let is_long = entries > buckets.saturating_mul(LONG_CHAIN);
    if !is_long && max <= buckets.saturating_mul(ENTRIES_PER_BUCKET) {
        return None;
    }
    let (severity, number, what) = if is_long {
        (Severity::Critical, entries, "make")
    } else {
        (Severity::Warning, max, "would make")
    };
    #[allow(clippy::cast_precision_loss)] // both are below 2^31
    let chain = 2.0 * number as f64 / buckets as f64;
    let hint = if live.is_writable(Key::Buckets) {
        plan(desired, &[(Key::Buckets, max.max(entries))]).to("set as many buckets as entries")
    } else {
        Hint::say("set nf_conntrack_buckets on the host")
    };
    Some(Finding::new(
        Id::HashLoad,
        severity,
        format!(
            "{} entries in {} buckets {what} chains of {chain:.1}, since each entry is in two: \
             long chains cost time on every packet, and past 50 to 79 packets are dropped",
            format_count(number),
            format_count(buckets)
        ),
        hint,
    ))
}

fn dead_timeouts(live: &Snapshot, desired: Option<&Desired>) -> Option<Finding> {
    let dead: Vec<(Key, i64)> = Key::ALL
        .iter()
        .filter(|key| key.is_time())
        .filter_map(|key| Some((*key, live.value(*key)?)))
        .filter(|(_, value)| *value < 1)
        .collect();
    if dead.is_empty() {
        return None;
    }
    let said = dead.iter().map(|(key, value)| format!("{key} is {value}"));
    let set: Vec<(Key, i64)> = dead.iter().map(|(key, _)| (*key, ANY_TIME)).collect();
    Some(Finding::new(
        Id::TimeoutBelowOne,
        Severity::Critical,
        format!(
            "{}: such a flow expires before its next packet",
            said.collect::<Vec<_>>().join(", ")
        ),
        plan(desired, &set).to("set one minute"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::Rates;
    use crate::diagnostic::Place;
    use crate::plan::{Comparison, Machine};
    use crate::tunable::{Access, Conntrack, Host, Reading};

    fn table(count: i64, values: &[(Key, i64)]) -> Snapshot {
        let reading = |value| Reading::Value {
            value,
            access: Access::Writable,
        };
        Snapshot::new(
            values.iter().map(|(key, value)| (*key, reading(*value))),
            Some(count),
        )
    }

    const HOST: Host = Host {
        cpus: 2,
        memory: 4 << 30,
        conntrack: Conntrack::BuiltIn,
    };

    fn found(snapshot: &Snapshot, levels: Levels) -> Vec<Finding> {
        with_rates(snapshot, levels, None)
    }

    fn with_rates(snapshot: &Snapshot, levels: Levels, rates: Option<&Rates>) -> Vec<Finding> {
        let machine = Machine {
            host: &HOST,
            live: Some(snapshot),
            files: None,
            table: None,
        };
        let comparison = Comparison::without_profile(&machine);
        let evidence = Evidence {
            levels,
            rates,
            ..Evidence::of(machine, &comparison)
        };
        findings(snapshot, &evidence)
    }

    fn ids(snapshot: &Snapshot) -> Vec<(&'static str, Severity)> {
        found(snapshot, Levels::default())
            .iter()
            .map(|finding| (finding.id.name(), finding.severity))
            .collect()
    }

    #[test]
    fn fill_warns_at_eighty_and_is_critical_at_ninety_percent() {
        for (count, expected) in [
            (799, vec![]),
            (800, vec![("table-fill", Severity::Warning)]),
            (899, vec![("table-fill", Severity::Warning)]),
            (900, vec![("table-fill", Severity::Critical)]),
            (1000, vec![("table-fill", Severity::Critical)]),
        ] {
            assert_eq!(ids(&table(count, &[(Key::Max, 1000)])), expected, "{count}");
        }
    }

    #[test]
    fn levels_can_be_others() {
        let levels = Levels {
            warning: 0.5,
            critical: 1.0,
        };
        for (count, severity) in [
            (499, None),
            (500, Some(Severity::Warning)),
            (999, Some(Severity::Warning)),
            (1000, Some(Severity::Critical)),
        ] {
            let found = found(&table(count, &[(Key::Max, 1000)]), levels);
            let found = found.first().map(|finding| finding.severity);
            assert_eq!(found, severity, "{count}");
        }
    }

    #[test]
    fn the_hash_is_judged_by_the_entries_there_are_and_by_max() {
        for (entries, max, expected) in [
            (0, 4096, vec![]),
            (0, 4097, vec![("hash-load", Severity::Warning)]),
            (0, 1 << 20, vec![("hash-load", Severity::Warning)]),
            (8192, 1 << 20, vec![("hash-load", Severity::Warning)]),
            (8193, 1 << 20, vec![("hash-load", Severity::Critical)]),
        ] {
            let snapshot = table(entries, &[(Key::Max, max), (Key::Buckets, 1024)]);
            assert_eq!(ids(&snapshot), expected, "{entries} of {max}");
        }
    }

    #[test]
    fn a_larger_table_is_offered_where_memory_allows_it() {
        let quarter = (1 << 30) / 384 / 2;
        for (max, offers) in [(1000, true), (quarter / 2, true), (quarter, false)] {
            let snapshot = table(max, &[(Key::Max, max), (Key::Buckets, max)]);
            let found = found(&snapshot, Levels::default());
            let hint = found[0].hint.text(&Place::default());
            assert!(hint.contains("cttune top") && hint.contains("cttune expire --dry-run"));
            let command = format!("--set max={} --set buckets={}", 2 * max, 2 * max);
            assert_eq!(hint.contains(&command), offers, "{hint}");
        }
    }

    #[test]
    fn levels_are_percentages_with_or_without_a_sign() {
        for (warn, crit, shares) in [
            (None, None, Some((0.8, 0.9))),
            (Some("50"), Some("75%"), Some((0.5, 0.75))),
            (Some("-0"), Some(" 29 %"), Some((0.0, 0.29))),
            (Some("95%"), None, None),
            (Some("x"), None, None),
            (Some("NaN"), None, None),
            (None, Some("101"), None),
        ] {
            let levels = Levels::parse(warn, crit).ok();
            let found = levels.map(|levels| (levels.warning, levels.critical));
            assert_eq!(found, shares, "{warn:?} {crit:?}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_critical() {
        let unlimited = table(5, &[(Key::Max, 0)]);
        assert_eq!(ids(&unlimited), [("max-unlimited", Severity::Critical)]);
        let dead = table(
            5,
            &[
                (Key::UdpTimeout, 0),
                (Key::IcmpTimeout, -3),
                (Key::GreTimeout, 1),
            ],
        );
        assert_eq!(ids(&dead), [("timeout-below-one", Severity::Critical)]);
        let message = &found(&dead, Levels::default())[0].message;
        assert!(message.contains("udp_timeout is 0") && message.contains("icmp_timeout is -3"));
    }

    #[test]
    fn a_full_table_evicts_or_drops_by_its_counters() {
        let counters = |drop: u32, early: u32| {
            crate::tunable::Counters::parse(&format!(
                "entries drop early_drop\n0 {drop:x} {early:x}\n"
            ))
        };
        for (drop, early, said, not_said) in [
            (0, 5, "no packet was dropped", "drops"),
            (7, 0, "packets of new flows are dropped", "evicts"),
            (
                7,
                5,
                "evicts flows that are not assured, and drops",
                "no packet",
            ),
            (
                0,
                0,
                "evicts one that is not assured, or drops",
                "no packet",
            ),
        ] {
            let rates = Rates {
                counters: counters(drop, early),
                ..Rates::default()
            };
            let message = effect(true, Some(&rates));
            assert!(message.contains(said), "{message}");
            assert!(!message.contains(not_said), "{message}");
        }
    }

    #[test]
    fn a_machine_without_conntrack_has_nothing_else_to_say() {
        assert_eq!(
            ids(&Snapshot::not_loaded()),
            [("not-loaded", Severity::Info)]
        );
    }
}
