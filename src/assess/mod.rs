//! Findings: what is wrong with a table, how bad it is, and what to do about it.
//!
//! In: the readings, the comparison with a profile, what the profile accepts. Out: [`Finding`]s
//! with a stable id, a sentence of evidence with its numbers, a sentence of advice, and the source
//! of the rule.
//! Rule: pure; a finding is raised on what was read alone, and says the numbers it was raised on.

mod agents;
mod at_boot;
mod behaviour;
mod command;
mod course;
mod deep;
mod ids;
pub mod kernel_log;
mod memory;
mod namespaces;
mod rfc;
mod table;
mod timeouts;

pub use agents::Traces;
pub use command::quoted;
pub use course::{Course, Trend, Unread};
pub use deep::Deep;
pub use ids::{IDS, strange_id};
pub use memory::Memory;
pub use namespaces::Namespace;
pub use table::Levels;

use self::command::set_command;
use crate::plan::{Comparison, Machine, Obstacle};
use crate::profile::{Role, Wanted};
use crate::tunable::Key;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will hurt.
    Warning,
    /// Hurts now.
    Critical,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable, for `[accept]` and for monitors.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen, with numbers.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Where the rule comes from.
    pub source: &'static str,
    /// The reason for which the profile accepts it.
    pub accepted: Option<String>,
}

impl Finding {
    /// Whether it counts: is of this severity or worse, and not accepted.
    pub fn counts_as(&self, severity: Severity) -> bool {
        self.severity >= severity && self.accepted.is_none()
    }

    /// Whether it is a choice that can be made either way, which people are told of on request.
    pub fn is_choice(&self) -> bool {
        CHOICES.contains(&self.id)
    }
}

/// Findings about what most machines rightly have as it is.
const CHOICES: [&str; 4] = ["acct-off", "rfc7857-opening", "tcp-loose", "timestamp-off"];

/// What was read, as far as there was anything to read.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The machine: its kernel, its files.
    pub machine: Machine<'a>,
    /// How full is too full.
    pub levels: Levels,
    /// What the table went through; `None` for an image.
    pub course: Option<&'a Course>,
    /// What a walk through the table showed; `None` where none was asked for.
    pub deep: Option<&'a Deep>,
    /// Every network namespace that was looked into; `None` where that was not asked for.
    pub namespaces: Option<&'a [Namespace]>,
    /// What can be seen of other agents; `None` where they are not looked for.
    pub traces: Option<&'a Traces>,
    /// How everything stands to the profile.
    pub comparison: &'a Comparison,
    /// What stands in the way of persisting the profile.
    pub obstacles: &'a [Obstacle],
    /// The profile.
    pub wanted: Option<&'a Wanted>,
    /// The options by which a command speaks of the same place: ` --netns NAME`.
    pub place: &'a str,
}

impl Evidence<'_> {
    /// The value that holds, or in an image the one that will.
    fn value(&self, key: Key) -> Option<i64> {
        let Some(live) = self.machine.live else {
            let persisted = self.machine.files?.persisted(key);
            let winner = persisted.systemd.or(persisted.procps)?;
            return Some(winner.value);
        };
        live.value(key)
    }

    /// What the profile is for; a host where none says so.
    fn role(&self) -> Role {
        let role = self.wanted.and_then(|wanted| wanted.role);
        role.unwrap_or(Role::Host)
    }
}

/// Every finding, the worst first, those that the profile accepts last.
pub fn assess(evidence: Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(live) = evidence.machine.live {
        findings.extend(table::findings(live, evidence.levels, evidence.wanted));
        if let Some(course) = evidence.course {
            findings.extend(course::findings(course, live));
            let host = evidence.machine.host;
            findings.extend(memory::finding(live, host, course.flow_size));
        }
    }
    findings.extend(rfc::findings(&evidence));
    findings.extend(timeouts::findings(&evidence));
    findings.extend(behaviour::findings(&evidence));
    let namespaces = evidence.namespaces.unwrap_or_default();
    findings.extend(namespaces::finding(namespaces, evidence.levels));
    if let (Some(deep), Some(live)) = (evidence.deep, evidence.machine.live) {
        findings.extend(deep::findings(deep, live, &evidence));
    }
    findings.extend(at_boot::findings(&evidence));
    findings.extend(agents::findings(&evidence));
    for finding in &mut findings {
        finding.hint = command::at(&finding.hint, evidence.place);
        finding.accepted = evidence
            .wanted
            .and_then(|wanted| wanted.accept.get(finding.id))
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
