//! The table itself: how full it is, how its hash fits, and values that cannot be right.

use super::command::plan;
use super::{Finding, Id, Rates, Severity};
use crate::diagnostic::Hint;
use crate::plan::ENTRIES_PER_BUCKET;
use crate::profile::Desired;
use crate::tunable::{Counter, Key, Snapshot, format_count, format_share};

/// Fill at which munin's plugin and this one warn, and call it critical.
pub(super) const WARN_FILL: f64 = 0.8;
const CRITICAL_FILL: f64 = 0.9;
/// Entries per bucket above which it is a mistake.
const ABSURD_PER_BUCKET: i64 = 8;
/// A timeout in seconds that harms no protocol.
const ANY_TIME: i64 = 60;

pub(super) fn findings(
    live: &Snapshot,
    levels: Levels,
    desired: Option<&Desired>,
    rates: Option<&Rates>,
) -> Vec<Finding> {
    if !live.is_loaded() {
        return vec![not_loaded()];
    }
    let mut findings = Vec::new();
    findings.extend(fill(live, levels, desired, rates));
    findings.extend(unlimited(live));
    findings.extend(hash(live, desired));
    findings.extend(dead_timeouts(live, desired));
    findings
}

/// How full a table is worth a warning, and how full it is critical: shares of max.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Levels {
    /// From here on it is worth a warning.
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

impl Levels {
    /// How bad this fill is, if it is worth a word.
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

fn not_loaded() -> Finding {
    Finding::new(
        Id::NotLoaded,
        Severity::Info,
        "the module nf_conntrack is not loaded: no flow is tracked and no sysctl exists",
        Hint::on_host("modprobe nf_conntrack").to("apply loads it, or, as root"),
    )
}

fn fill(
    live: &Snapshot,
    levels: Levels,
    desired: Option<&Desired>,
    rates: Option<&Rates>,
) -> Option<Finding> {
    let fill = live.fill()?;
    let severity = levels.severity(fill)?;
    let (entries, max) = (live.count?, live.value(Key::Max)?);
    let effect = effect(entries >= max, rates);
    Some(Finding::new(
        Id::TableFill,
        severity,
        format!(
            "the table holds {} of {} entries ({}): {effect}",
            format_count(entries),
            format_count(max),
            format_share(fill)
        ),
        Hint::cttune("top")
            .to("see who fills it")
            .and(plan(desired, &[]).to("see what the profile would change")),
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

fn hash(live: &Snapshot, desired: Option<&Desired>) -> Option<Finding> {
    let (max, buckets) = (
        live.value(Key::Max)?,
        live.value(Key::Buckets).filter(|n| *n > 0)?,
    );
    if max <= buckets.saturating_mul(ENTRIES_PER_BUCKET) {
        return None;
    }
    let absurd = max > buckets.saturating_mul(ABSURD_PER_BUCKET);
    #[allow(clippy::cast_precision_loss)] // both are below 2^31
    let chain = 2.0 * max as f64 / buckets as f64;
    Some(Finding::new(
        Id::HashLoad,
        if absurd {
            Severity::Critical
        } else {
            Severity::Warning
        },
        format!(
            "{} entries in {} buckets make chains of {chain:.1}, since each entry is in two: long \
             chains cost time on every packet, and past 50 to 79 packets are dropped",
            format_count(max),
            format_count(buckets)
        ),
        plan(desired, &[(Key::Buckets, max)]).to("set as many buckets as entries"),
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
    use crate::tunable::{Access, Reading};

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

    fn ids(snapshot: &Snapshot) -> Vec<(&'static str, Severity)> {
        findings(snapshot, Levels::default(), None, None)
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
            let found = fill(&table(count, &[(Key::Max, 1000)]), levels, None, None);
            assert_eq!(found.map(|finding| finding.severity), severity, "{count}");
        }
    }

    #[test]
    fn the_hash_is_judged_by_entries_per_bucket() {
        for (max, expected) in [
            (4096, vec![]),
            (4097, vec![("hash-load", Severity::Warning)]),
            (8192, vec![("hash-load", Severity::Warning)]),
            (8193, vec![("hash-load", Severity::Critical)]),
        ] {
            let snapshot = table(0, &[(Key::Max, max), (Key::Buckets, 1024)]);
            assert_eq!(ids(&snapshot), expected, "{max}");
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
        let message = &findings(&dead, Levels::default(), None, None)[0].message;
        assert!(message.contains("udp_timeout is 0") && message.contains("icmp_timeout is -3"));
    }

    #[test]
    fn a_machine_without_conntrack_has_nothing_else_to_say() {
        assert_eq!(
            ids(&Snapshot::not_loaded()),
            [("not-loaded", Severity::Info)]
        );
    }
}
