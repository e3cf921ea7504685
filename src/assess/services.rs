//! Timeouts for services: what of them is not as the profile asks, and what would take them away.

use super::command::{command, plan};
use super::{Evidence, Finding, Id, Levels, Severity};
use crate::diagnostic::Hint;
use crate::tunable::{format_share, plural};

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let drift = drift(evidence);
    let flush = flush(evidence).filter(|_| drift.is_none());
    let lifeline = no_lifeline(evidence);
    drift.into_iter().chain(flush).chain(lifeline).collect()
}

/// The next session cannot begin while the table is full.
fn no_lifeline(evidence: &Evidence<'_>) -> Option<Finding> {
    let has_one = evidence
        .desired
        .is_some_and(|desired| desired.lifeline.is_some());
    let fill = evidence.machine.live?.fill()?;
    let is_near = fill >= Levels::default().warning && evidence.own_session && !has_one;
    is_near.then(|| {
        Finding::new(
            Id::NoLifeline,
            Severity::Info,
            format!(
                "your SSH session has an entry of this table, which is {} full: once it is full, \
                 nobody can log in",
                format_share(fill)
            ),
            Hint::say(
                "keep management out of it: write [lifeline] into the profile, cttune-profile(5)",
            ),
        )
    })
}

fn drift(evidence: &Evidence<'_>) -> Option<Finding> {
    let services = &evidence.comparison.services;
    let differences = services.differences();
    let see = || plan(evidence.desired, &[]).to("see what changes");
    let hint = match services.blocked() {
        Some(blocked) => blocked.hint(),
        None if services.is_lost() => {
            see().and(command("apply", evidence.desired, &[]).to("load them again"))
        }
        None => see(),
    };
    // Settings of a profile that was never applied are no finding either.
    let severity = if services.is_new() {
        Severity::Info
    } else {
        Severity::Warning
    };
    (!differences.is_empty())
        .then(|| Finding::new(Id::ServiceDrift, severity, differences.join("; "), hint))
}

/// Who empties the ruleset, of those that are seen here, and who does not.
fn flush(evidence: &Evidence<'_>) -> Option<Finding> {
    let wanted = evidence.comparison.services.wanted();
    let files = evidence.machine.files?;
    let timeouts = format!(
        "the timeouts of {}",
        plural(wanted.services().len(), "service")
    );
    let lifeline = wanted.lifeline.as_ref();
    let lifeline = lifeline.map(|one| {
        let networks = plural(one.from.len(), "network");
        format!("the lifeline of {networks}")
    });
    let what = match (wanted.rules.is_empty(), lifeline) {
        (true, lifeline) => lifeline?,
        (false, None) => timeouts,
        (false, Some(lifeline)) => format!("{timeouts} and {lifeline}"),
    };
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
    let back = if files.has_systemd() {
        "nftables.service, which does it too, brings them back when it is reloaded or started"
    } else {
        "nothing loads them when the system starts: let it run `nft -f /etc/cttune/services.nft`"
    };
    Some(Finding::new(
        Id::ServiceFlush,
        Severity::Info,
        format!("`nft flush ruleset` by hand takes {what} away; {back}{spares}"),
        command("apply", evidence.desired, &[]).to("load them again"),
    ))
}
