//! Switches that change how packets are judged and what is known of a flow.

use super::command::plan;
use super::{Evidence, Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::profile::{ExpireMode, Role};
use crate::tunable::{Key, format_seconds};

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(loose(evidence));
    findings.extend(strict(evidence));
    findings.extend(deletes(evidence));
    findings.extend(liberal(evidence));
    findings.extend(off(evidence, Key::Acct));
    findings.extend(off(evidence, Key::Timestamp));
    findings
}

/// Whether the profile is for a machine that forwards for others.
fn forwards(evidence: &Evidence<'_>) -> bool {
    evidence.role() != Role::Host
}

fn loose(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpLoose;
    (forwards(evidence) && evidence.value(key)? == 1).then(|| {
        Finding::new(
            Id::TcpLoose,
            Severity::Info,
            format!(
                "{} is 1: a TCP packet that belongs to no flow opens one, so a flood of ACKs fills \
             the table as a flood of SYNs does",
                key.file_name()
            ),
            plan(evidence.desired, &[(key, 0)])
                .to("switch it off where no connection has to survive a reboot or failover"),
        )
    })
}

fn strict(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpLoose;
    if evidence.value(key)? != 0 {
        return None;
    }
    let mode = evidence.desired.and_then(|desired| desired.expire.mode);
    let (severity, cause) = match mode {
        Some(mode @ (ExpireMode::ReAge | ExpireMode::Delete)) => (
            Severity::Warning,
            format!(
                "`cttune expire`, which the profile sets to {}, or ",
                mode.name()
            ),
        ),
        Some(ExpireMode::Clamp) | None => (Severity::Info, String::new()),
    };
    Some(Finding::new(
        Id::TcpLooseOff,
        severity,
        format!(
            "{} is 0: after {cause}a timeout, a reboot or a failover the packets of a TCP \
             connection are INVALID, and it never comes back",
            key.file_name()
        ),
        plan(evidence.desired, &[(key, 1)])
            .to("let connections continue without their first packets"),
    ))
}

/// Seen on 6.18: behind masquerade a server that speaks first after its flow is gone is answered
/// by a reset, and a client that speaks first may find its port with another.
fn deletes(evidence: &Evidence<'_>) -> Option<Finding> {
    let mode = evidence.desired?.expire.mode?;
    let established = evidence.value(Key::TcpTimeoutEstablished)?;
    let translates = matches!(evidence.role(), Role::Nat | Role::Cgn);
    (translates && mode == ExpireMode::Delete).then(|| {
        Finding::new(
            Id::ExpireDeletesNat,
            Severity::Warning,
            format!(
                "the profile's [expire] deletes idle flows, and the role translates addresses: an \
             idle connection that is still in use, though its timeout is {}, is reset when the \
             server sends next",
                format_seconds(established)
            ),
            Hint::cttune("expire --mode clamp --dry-run")
                .to("mode = \"clamp\" waits for the timeout; see what it would do"),
        )
    })
}

fn liberal(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpBeLiberal;
    (evidence.value(key)? == 1).then(|| {
        Finding::new(
            Id::TcpBeLiberal,
            Severity::Info,
            format!(
                "{} is 1: TCP windows are not checked, so forged packets of a connection pass as \
             ESTABLISHED; only resets are checked",
                key.file_name()
            ),
            plan(evidence.desired, &[(key, 0)])
                .to("switch it off unless replies take another route"),
        )
    })
}

/// A flow has counters and a start time only if the switch was on at its first packet.
fn off(evidence: &Evidence<'_>, key: Key) -> Option<Finding> {
    let (id, lack) = match key {
        Key::Acct => (Id::AcctOff, "have no packet counters"),
        _ => (Id::TimestampOff, "have no start time"),
    };
    (forwards(evidence) && evidence.value(key)? == 0).then(|| {
        Finding::new(
            id,
            Severity::Info,
            format!(
                "{} is 0: flows {lack}, so `cttune expire --mode re-age` sees only by their time \
             left that they are idle",
                key.file_name()
            ),
            plan(evidence.desired, &[(key, 1)]).to("switch it on for new flows"),
        )
    })
}
