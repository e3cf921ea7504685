//! Bridged packets that are tracked because of br_netfilter.

use super::{Evidence, Finding, Id, Severity};
use crate::diagnostic::Hint;

/// What was read of the bridges of the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bridge {
    /// Whether bridged IPv4 and IPv6 packets go through iptables, and so through conntrack.
    pub(crate) calls: (bool, bool),
    /// Interfaces that are ports of a bridge.
    pub(crate) ports: u64,
}

pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let bridge = evidence.rates?.bridge.filter(|bridge| bridge.ports > 0)?;
    let (keys, off) = match bridge.calls {
        (true, true) => (
            "net.bridge.bridge-nf-call-iptables and -ip6tables are 1",
            "sysctl net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0",
        ),
        (true, false) => (
            "net.bridge.bridge-nf-call-iptables is 1",
            "sysctl net.bridge.bridge-nf-call-iptables=0",
        ),
        (false, true) => (
            "net.bridge.bridge-nf-call-ip6tables is 1",
            "sysctl net.bridge.bridge-nf-call-ip6tables=0",
        ),
        (false, false) => return None,
    };
    let fill = evidence.machine.live?.fill();
    let is_high = fill.is_some_and(|fill| evidence.levels.severity(fill).is_some());
    let ports = if bridge.ports == 1 { "port" } else { "ports" };
    Some(Finding::new(
        Id::BridgeNf,
        if is_high {
            Severity::Warning
        } else {
            Severity::Info
        },
        format!(
            "{keys}: what a bridge carries between its {} {ports} is tracked like routed traffic \
             and fills the table",
            bridge.ports
        ),
        Hint::command(off)
            .to("if no firewall rule is about bridged traffic (Docker and Kubernetes have such)"),
    ))
}
