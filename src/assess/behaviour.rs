//! Switches that change how packets are judged and what is known of a flow.

use super::{Evidence, Finding, Severity, set_command};
use crate::profile::{ExpireMode, Role};
use crate::tunable::{Key, format_seconds};

const SYSCTL_DOC: &str = "kernel: Documentation/networking/nf_conntrack-sysctl.rst";
const TCP: &str = "kernel: net/netfilter/nf_conntrack_proto_tcp.c";

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
    (forwards(evidence) && evidence.value(key)? == 1).then(|| Finding {
        id: "tcp-loose",
        severity: Severity::Info,
        message: format!(
            "{} is 1: a TCP packet that belongs to no flow opens one, so that a flood of ACKs \
             fills the table as one of SYNs does",
            key.file_name()
        ),
        hint: format!(
            "where no connection must survive a reboot or failover: {}",
            set_command(evidence.desired, &[(key, 0)])
        ),
        source: SYSCTL_DOC,
        accepted: None,
    })
}

fn strict(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpLoose;
    if evidence.value(key)? != 0 {
        return None;
    }
    let mode = evidence.desired.and_then(|desired| desired.expire.mode);
    let (severity, whence) = match mode {
        Some(mode @ (ExpireMode::ReAge | ExpireMode::Delete)) => (
            Severity::Warning,
            format!(
                "`cttune expire`, which the profile sets to {}, or ",
                mode.name()
            ),
        ),
        Some(ExpireMode::Clamp) | None => (Severity::Info, String::new()),
    };
    Some(Finding {
        id: "tcp-loose-off",
        severity,
        message: format!(
            "{} is 0: a TCP connection that was forgotten, by {whence}a timeout, a reboot or a \
             failover, is INVALID and never comes back",
            key.file_name()
        ),
        hint: format!(
            "pick connections up in the middle: {}",
            set_command(evidence.desired, &[(key, 1)])
        ),
        source: TCP,
        accepted: None,
    })
}

/// Seen on 6.18: behind masquerade a server that speaks first after its flow is gone is answered
/// by a reset, and a client that speaks first may find its port with another.
fn deletes(evidence: &Evidence<'_>) -> Option<Finding> {
    let mode = evidence.desired?.expire.mode?;
    let established = evidence.value(Key::TcpTimeoutEstablished)?;
    let translates = matches!(evidence.role(), Role::Nat | Role::Cgn);
    (translates && mode == ExpireMode::Delete).then(|| Finding {
        id: "expire-deletes-nat",
        severity: Severity::Warning,
        message: format!(
            "the profile's [expire] deletes stale flows, and the role translates addresses: a \
             silent connection that is still wanted, though it has {}, is reset when the server \
             speaks next",
            format_seconds(established)
        ),
        hint: "mode = \"clamp\" waits for the timeout: cttune expire --mode clamp --dry-run"
            .to_owned(),
        source: "kernel: nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c; RFC 5382 REQ-5",
        accepted: None,
    })
}

fn liberal(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpBeLiberal;
    (evidence.value(key)? == 1).then(|| Finding {
        id: "tcp-be-liberal",
        severity: Severity::Info,
        message: format!(
            "{} is 1: TCP windows are not checked, and forged packets of a connection pass as \
             ESTABLISHED; only resets are still checked",
            key.file_name()
        ),
        hint: format!(
            "unless packets take another way back: {}",
            set_command(evidence.desired, &[(key, 0)])
        ),
        source: SYSCTL_DOC,
        accepted: None,
    })
}

/// What a flow carries from its first packet on, or never.
fn off(evidence: &Evidence<'_>, key: Key) -> Option<Finding> {
    let (id, lack) = match key {
        Key::Acct => ("acct-off", "carry no counters"),
        _ => ("timestamp-off", "do not know when they began"),
    };
    (forwards(evidence) && evidence.value(key)? == 0).then(|| Finding {
        id,
        severity: Severity::Info,
        message: format!(
            "{} is 0: flows {lack}, so that `cttune expire --mode re-age` proves them idle by \
             their countdown alone",
            key.file_name()
        ),
        hint: format!(
            "for flows that begin from then on: {}",
            set_command(evidence.desired, &[(key, 1)])
        ),
        source: SYSCTL_DOC,
        accepted: None,
    })
}
