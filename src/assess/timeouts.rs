//! Timeouts that cut connections which are still wanted, or that fit ill together.

use super::{Evidence, Finding, Severity, set_command};
use crate::tunable::{Key, format_seconds};

/// The first probe of Linux's keepalive comes after this, the last of nine at 7875.
const FIRST_PROBE: i64 = 7200;
/// What RFC 5382 and every shipped profile ask for at least.
pub(super) const SAFE: i64 = 7440;
/// What pools of connections, and push services, keep a silent connection for.
pub(super) const POOLED: i64 = 1800;

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(established(evidence));
    findings.extend(stream(evidence));
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
    let hint = format!(
        "connections get more with their next packet: {}",
        set_command(evidence.desired, &[(key, SAFE)])
    );
    Some(if value < POOLED {
        Finding {
            id: "established-short",
            severity: Severity::Warning,
            message: format!(
                "{name} is {time}: pools of database connections, SSH and push to phones stay \
                 silent for 30m and more, and are cut off"
            ),
            hint,
            source: "HikariCP: maxLifetime, 30 minutes; Firebase: Configure your network for FCM",
            accepted: None,
        }
    } else {
        Finding {
            id: "established-before-keepalive",
            severity: Severity::Info,
            message: format!(
                "{name} is {time}: a silent connection is forgotten before the first keepalive, \
                 which comes after 2h"
            ),
            hint,
            source: "RFC 1122 4.2.3.6; tcp(7): tcp_keepalive_time",
            accepted: None,
        }
    })
}

fn stream(evidence: &Evidence<'_>) -> Option<Finding> {
    let [udp, stream] = [Key::UdpTimeout, Key::UdpTimeoutStream];
    let (short, long) = (held(evidence, stream)?, held(evidence, udp)?);
    (short < long).then(|| Finding {
        id: "udp-stream-short",
        severity: Severity::Warning,
        message: format!(
            "{} is {}, less than {} with {}: a UDP flow that is answered is forgotten before one \
             that is not",
            stream.file_name(),
            format_seconds(short),
            udp.file_name(),
            format_seconds(long)
        ),
        hint: format!(
            "as long at least: {}",
            set_command(evidence.desired, &[(stream, long)])
        ),
        source: "kernel: nf_conntrack_udp_packet in net/netfilter/nf_conntrack_proto_udp.c",
        accepted: None,
    })
}
