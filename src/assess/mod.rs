//! Findings: what is wrong with a table, how bad it is, and what to do about it.
//!
//! In: the readings, the comparison with a profile, what the profile accepts. Out: [`Finding`]s
//! with a stable id, a sentence of evidence with its numbers, a sentence of advice, and the source
//! of the rule.
//! Rule: pure; a finding is raised on what was read alone, and says the numbers it was raised on.

mod at_boot;
mod behaviour;
mod bridge;
mod command;
mod deep;
mod expectations;
mod guard;
mod ids;
pub(crate) mod kernel_log;
mod memory;
mod namespaces;
mod rates;
mod rfc;
mod services;
#[cfg(test)]
mod shipped;
mod table;
mod timeouts;
mod unread;
mod writers;

pub(crate) use bridge::Bridge;
pub(crate) use deep::{Deep, Network};
pub(crate) use ids::{Id, unknown_id};
pub(crate) use memory::Memory;
pub(crate) use namespaces::Namespace;
pub(crate) use rates::{Rates, Trend};
pub(crate) use rfc::demands;
pub(crate) use table::Levels;
pub(crate) use unread::Unread;

use crate::diagnostic::Hint;
use crate::flow::guard::GuardSeen;
use crate::plan::{Blocked, Comparison, Machine};
use crate::profile::{Desired, Role};
use crate::tunable::{Key, Snapshot};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Info,
    /// Will hurt.
    Warning,
    /// Hurts now.
    Critical,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Stable, for `[accept]` and for monitors.
    pub(crate) id: Id,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What was seen, with numbers.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Hint,
    /// The reason for which the profile accepts it.
    pub(crate) accepted: Option<String>,
}

impl Finding {
    /// A finding that no profile accepts yet.
    fn new(id: Id, severity: Severity, message: impl Into<String>, hint: impl Into<Hint>) -> Self {
        Finding {
            id,
            severity,
            message: message.into(),
            hint: hint.into(),
            accepted: None,
        }
    }

    /// Whether it counts: is of this severity or worse, and not accepted.
    pub(crate) fn counts_as(&self, severity: Severity) -> bool {
        self.severity >= severity && self.accepted.is_none()
    }
}

/// What was read, as far as there was anything to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// The machine: its kernel, its files.
    pub(crate) machine: Machine<'a>,
    /// How full is too full.
    pub(crate) levels: Levels,
    /// What the table went through; `None` for an image.
    pub(crate) rates: Option<&'a Rates>,
    /// What a walk through the table showed; `None` where none was asked for.
    pub(crate) deep: Option<&'a Deep>,
    /// The guard of this network namespace; none where none runs or ran.
    pub(crate) guard: Option<&'a GuardSeen>,
    /// Whether the operator's own session has an entry; it is asked where the table is nearly full.
    pub(crate) own_session: bool,
    /// What a change has set that nobody has confirmed yet.
    pub(crate) pending: &'a [(Key, i64)],
    /// Every network namespace that was looked into; `None` where that was not asked for.
    pub(crate) namespaces: Option<&'a [Namespace]>,
    /// How everything stands to the profile.
    pub(crate) comparison: &'a Comparison,
    /// What blocks persisting the profile.
    pub(crate) blocked: &'a [Blocked],
    /// The profile.
    pub(crate) desired: Option<&'a Desired>,
    /// What could not be read.
    pub(crate) unread: &'a [Unread],
}

impl<'a> Evidence<'a> {
    /// Of a machine and its comparison; everything else was not looked for.
    pub(crate) fn of(machine: Machine<'a>, comparison: &'a Comparison) -> Self {
        Evidence {
            machine,
            levels: Levels::default(),
            rates: None,
            deep: None,
            guard: None,
            own_session: false,
            pending: &[],
            namespaces: None,
            comparison,
            blocked: &[],
            desired: None,
            unread: &[],
        }
    }

    /// The value that holds, or in an image the one that will.
    fn value(&self, key: Key) -> Option<i64> {
        let Some(live) = self.machine.live else {
            return self.machine.files?.next_boot().answer(key).value;
        };
        live.value(key)
    }

    /// What the profile is for; a host where none says so.
    fn role(&self) -> Role {
        let role = self.desired.and_then(|desired| desired.role);
        role.unwrap_or(Role::Host)
    }
}

/// The worst finding from this severity on that the profile does not accept.
pub(crate) fn worst(findings: &[Finding], from: Severity) -> Option<Severity> {
    let counted = findings.iter().filter(|finding| finding.counts_as(from));
    counted.map(|finding| finding.severity).max()
}

/// Every finding, the worst first, those that the profile accepts last.
pub(crate) fn assess(evidence: Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(live) = evidence.machine.live {
        findings.extend(table::findings(live, &evidence));
        if let Some(rates) = evidence.rates {
            findings.extend(rates::findings(
                rates,
                live,
                evidence.desired,
                evidence.deep.is_some(),
            ));
            let host = evidence.machine.host;
            findings.extend(memory::finding(live, host, rates.flow_size));
        }
    }
    findings.extend(rfc::findings(&evidence));
    findings.extend(timeouts::findings(&evidence));
    findings.extend(behaviour::findings(&evidence));
    let live = evidence.machine.live;
    let fill = live.and_then(Snapshot::fill);
    let is_high = fill.is_some_and(|fill| evidence.levels.severity(fill).is_some());
    findings.extend(expectations::finding(&evidence));
    findings.extend(guard::finding(&evidence));
    let bridge = evidence.deep.and_then(|deep| deep.bridge);
    findings.extend(bridge.and_then(|bridge| bridge::finding(bridge, is_high)));
    let namespaces = evidence.namespaces.unwrap_or_default();
    findings.extend(namespaces::finding(namespaces, evidence.levels));
    if let (Some(deep), Some(live)) = (evidence.deep, evidence.machine.live) {
        findings.extend(deep::findings(deep, live, &evidence));
    }
    findings.extend(services::findings(&evidence));
    findings.extend(at_boot::findings(&evidence));
    findings.extend(writers::findings(&evidence));
    for finding in &mut findings {
        finding.accepted = evidence
            .desired
            .and_then(|desired| desired.accept.get(finding.id.name()))
            .map(|accepted| accepted.reason.clone());
    }
    findings.sort_by_key(|finding| {
        (
            finding.accepted.is_some(),
            std::cmp::Reverse(finding.severity),
        )
    });
    findings
}
