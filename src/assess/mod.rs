//! Findings: what is wrong with a table, how bad it is, and what to do about it.
//!
//! In: the readings, the comparison with a profile, what the profile accepts. Out: [`Finding`]s
//! with a stable id, a sentence of evidence with its numbers, a sentence of advice, and the source
//! of the rule.
//! Rule: pure; a finding is raised on what was read alone, and says the numbers it was raised on.

mod agents;
mod at_boot;
mod course;
pub mod kernel_log;
mod memory;
mod table;

pub use agents::Traces;
pub use course::{Course, Trend, Unread};
pub use memory::Memory;
pub use table::Levels;

use crate::plan::{Comparison, Files, Obstacle};
use crate::profile::Wanted;
use crate::tunable::{Host, Snapshot};

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
}

/// What was read, as far as there was anything to read.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The kernel's values; `None` for an image.
    pub live: Option<&'a Snapshot>,
    /// How full is too full.
    pub levels: Levels,
    /// The machine.
    pub host: &'a Host,
    /// What the table went through; `None` for an image.
    pub course: Option<&'a Course>,
    /// What can be seen of other agents; `None` where they are not looked for.
    pub traces: Option<&'a Traces>,
    /// The files that the next boot will read; `None` for another network namespace.
    pub files: Option<&'a Files>,
    /// How everything stands to the profile.
    pub comparison: &'a Comparison,
    /// What stands in the way of persisting the profile.
    pub obstacles: &'a [Obstacle],
    /// The profile.
    pub wanted: Option<&'a Wanted>,
}

/// Every finding, the worst first, those that the profile accepts last.
pub fn assess(evidence: Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(live) = evidence.live {
        findings.extend(table::findings(live, evidence.levels, evidence.wanted));
        if let Some(course) = evidence.course {
            findings.extend(course::findings(course, live));
            findings.extend(memory::finding(live, evidence.host, course.flow_size));
        }
    }
    findings.extend(at_boot::findings(&evidence));
    findings.extend(agents::findings(&evidence));
    for finding in &mut findings {
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
