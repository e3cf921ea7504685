//! Timeouts that cut connections which are still wanted, or that fit ill together.

use super::command::plan;
use super::{Evidence, Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::tunable::{Key, format_seconds};

/// The first probe of Linux's keepalive comes after this, the last of nine at 7875.
const FIRST_PROBE: i64 = 7200;
/// What RFC 5382 and every shipped profile ask for at least.
pub(super) const SAFE: i64 = 7440;
/// What pools of connections, and push services, keep a silent connection for.
pub(super) const POOLED: i64 = 1800;

/// A close_wait that is longer than any RFC or profile asks for; kube-proxy's is an hour.
const LONG_CLOSE_WAIT: i64 = 1800;

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(established(evidence));
    findings.extend(stream(evidence));
    findings.extend(close_wait(evidence));
    findings
}

/// Zero and less are another finding.
fn held(evidence: &Evidence<'_>, key: Key) -> Option<i64> {
    evidence.value(key).filter(|value| *value > 0)
}

fn established(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpTimeoutEstablished;
    let value = held(evidence, key).filter(|value| *value <= FIRST_PROBE)?;
    let (name, time) = (key.file_name(), format_seconds(value));
    let hint = plan(evidence.desired, &[(key, SAFE)])
        .to("lengthen it; each connection gets the new time with its next packet");
    Some(if value < POOLED {
        Finding::new(
            Id::EstablishedShort,
            Severity::Warning,
            format!(
                "{name} is {time}: pools of database connections, SSH and push to phones are \
                 silent for 30m and more, and are cut off"
            ),
            hint,
        )
    } else {
        Finding::new(
            Id::EstablishedBeforeKeepalive,
            Severity::Info,
            format!(
                "{name} is {time}: a silent connection expires before its first keepalive, which \
                 comes after 2h"
            ),
            hint,
        )
    })
}

/// A connection that one side has closed waits for a program that may never close the other.
fn close_wait(evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpTimeoutCloseWait;
    let value = held(evidence, key).filter(|value| *value >= LONG_CLOSE_WAIT)?;
    Some(Finding::new(
        Id::CloseWaitLong,
        Severity::Warning,
        format!(
            "{} is {}: connections that a program does not close fill the table for so long; the \
             kernel's default is 1m",
            key.file_name(),
            format_seconds(value)
        ),
        plan(evidence.desired, &[(key, 60)])
            .to("shorten it")
            .and(Hint::say(
                "kube-proxy sets an hour unless its conntrack.tcpCloseWaitTimeout says otherwise",
            )),
    ))
}

fn stream(evidence: &Evidence<'_>) -> Option<Finding> {
    let [udp, stream] = [Key::UdpTimeout, Key::UdpTimeoutStream];
    let (short, long) = (held(evidence, stream)?, held(evidence, udp)?);
    (short < long).then(|| {
        Finding::new(
            Id::UdpStreamShort,
            Severity::Warning,
            format!(
                "{} is {}, less than {} with {}: an answered UDP flow expires before an unanswered \
             one",
                stream.file_name(),
                format_seconds(short),
                udp.file_name(),
                format_seconds(long)
            ),
            plan(evidence.desired, &[(stream, long)]).to("set at least as much"),
        )
    })
}
