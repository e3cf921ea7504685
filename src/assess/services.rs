//! Timeouts for services: what of them is not as the profile asks, and what would take them away.

use super::{Evidence, Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::tunable::plural;

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let drift = drift(evidence);
    let flush = flush(evidence).filter(|_| drift.is_none());
    drift.into_iter().chain(flush).collect()
}

fn drift(evidence: &Evidence<'_>) -> Option<Finding> {
    let differences = evidence.comparison.services.differences();
    let plan = Hint::cttune("plan").to("see what changes");
    (!differences.is_empty()).then(|| {
        let message = differences.join("; ");
        Finding::new(Id::ServiceDrift, Severity::Warning, message, plan)
    })
}

/// Who empties the ruleset, of those that are seen here, and who does not.
fn flush(evidence: &Evidence<'_>) -> Option<Finding> {
    let services = evidence.comparison.services.wanted().services().len();
    let files = evidence.machine.files?;
    if services == 0 {
        return None;
    }
    let writers = files.next_boot().writers();
    let runs = [("firewalld", "firewalld"), ("dockerd", "docker")].into_iter();
    let runs = runs.filter(|(program, _)| writers.runs(program));
    let mut others: Vec<&str> = runs.map(|(_, name)| name).collect();
    others.extend(
        writers
            .writes
            .iter()
            .any(|write| write.who == "ufw")
            .then_some("ufw"),
    );
    let spares = match others.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} changes its own tables alone"),
        names => format!("; {} change their own tables alone", names.join(", ")),
    };
    let services = plural(services, "service");
    Some(Finding::new(
        Id::ServiceFlush,
        Severity::Info,
        format!(
            "`nft flush ruleset` by hand takes the timeouts of {services} away; nftables.service \
             brings them back when it is reloaded or started{spares}"
        ),
        Hint::cttune("apply").to("load them again"),
    ))
}
