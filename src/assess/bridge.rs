//! Bridged packets that are tracked because of br_netfilter.

use super::{Finding, Id, Severity};
use crate::diagnostic::Hint;

/// What was read of the bridges of the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bridge {
    /// Whether bridged IPv4 and IPv6 packets go through iptables, and so through conntrack.
    pub(crate) calls: (bool, bool),
    /// Interfaces that are ports of a bridge.
    pub(crate) ports: u64,
}

/// `is_high` says whether the table is so full that what fills it matters.
pub(super) fn finding(bridge: Bridge, is_high: bool) -> Option<Finding> {
    if bridge.ports == 0 {
        return None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridged_traffic_is_told_of_where_a_bridge_has_ports() {
        for (calls, ports, is_high, expected) in [
            (
                (true, true),
                2,
                true,
                Some(("bridge-nf", Severity::Warning)),
            ),
            ((true, false), 1, false, Some(("bridge-nf", Severity::Info))),
            ((false, true), 3, false, Some(("bridge-nf", Severity::Info))),
            ((false, false), 2, true, None),
            ((true, true), 0, true, None),
        ] {
            let found = finding(Bridge { calls, ports }, is_high);
            let found = found.map(|finding| (finding.id.name(), finding.severity));
            assert_eq!(found, expected, "{calls:?} {ports} {is_high}");
        }
    }
}
