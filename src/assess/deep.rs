//! What a walk through the table shows, and what else only netlink tells: `check --deep`.

use super::table::WARN_FILL;
use super::timeouts::{POOLED, SAFE};
use super::{Evidence, Finding, Severity, set_command};
use crate::flow::{Estimate, NAT_PORTS, Policies, Pressure};
use crate::profile::Role;
use crate::tunable::{Key, Snapshot, format_count, format_seconds, format_share};

/// Fill from which it matters what could be evicted, and the share of the flows that cannot.
const HALF_FULL: f64 = 0.5;
/// Shares of the ports in use above which new flows soon find none.
const PORTS_WARN: f64 = 0.8;
const PORTS_CRITICAL: f64 = 0.95;
/// The share of max that one subscriber of a carrier's NAT may hold.
const SUBSCRIBER: f64 = 0.1;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deep {
    /// Of the flows.
    pub(crate) pressure: Pressure,
    /// The timeout policies; `None` where they could not be read.
    pub(crate) policies: Option<Policies>,
    /// The flowtables, as `TABLE NAME`; `None` where they could not be read.
    pub(crate) flowtables: Option<Vec<String>>,
}

pub(super) fn findings(deep: &Deep, live: &Snapshot, evidence: &Evidence<'_>) -> Vec<Finding> {
    let pressure = &deep.pressure;
    let mut findings = Vec::new();
    findings.extend(not_reclaimable(pressure, live));
    findings.extend(nat_ports(pressure));
    findings.extend(push(pressure, live, evidence));
    findings.extend(subscriber(pressure, live, evidence));
    findings.extend(deep.policies.as_ref().and_then(policies));
    findings.extend(deep.flowtables.as_deref().and_then(flowtables));
    findings
}

/// Their number, and of a sample how far it can be off.
fn spoken(estimate: Estimate) -> String {
    let flows = format_count(estimate.flows);
    let share = format_share(estimate.share);
    if estimate.margin > 0.0 {
        let margin = format!("{:.1}", estimate.margin * 100.0);
        format!("about {flows} flows ({share}, ± {margin})")
    } else {
        format!("{flows} flows ({share})")
    }
}

#[expect(clippy::cast_precision_loss)] // below 2^31
fn of_max(flows: u64, live: &Snapshot) -> Option<f64> {
    let max = live.value(Key::Max).filter(|max| *max > 0)?;
    Some(flows as f64 / max as f64)
}

fn not_reclaimable(pressure: &Pressure, live: &Snapshot) -> Option<Finding> {
    let fill = live.fill().filter(|fill| *fill >= HALF_FULL)?;
    let held = of_max(pressure.fixed.flows, live)?;
    (pressure.fixed.share >= HALF_FULL).then(|| Finding {
        id: "not-reclaimable",
        severity: if fill >= WARN_FILL {
            Severity::Warning
        } else {
            Severity::Info
        },
        message: format!(
            "{} are assured and not closing, {} of max: a full table cannot evict them to make \
             room",
            spoken(pressure.fixed),
            format_share(held)
        ),
        hint: "see who has them: cttune top --match status=assured; end those that are stale by \
               a lower timeout and: cttune expire"
            .to_owned(),
        source: "kernel: early_drop_list and gc_worker_can_early_drop in \
                 net/netfilter/nf_conntrack_core.c",
        accepted: None,
    })
}

fn nat_ports(pressure: &Pressure) -> Option<Finding> {
    let nat = pressure.nat.as_ref()?;
    #[expect(clippy::cast_precision_loss)] // below 2^31
    let used = nat.used.flows as f64 / NAT_PORTS as f64;
    (used >= PORTS_WARN).then(|| Finding {
        id: "nat-ports",
        severity: if used >= PORTS_CRITICAL {
            Severity::Critical
        } else {
            Severity::Warning
        },
        message: format!(
            "{} are translated to {} and go to {} by {}, {} of {} ports: without a free one the \
             next is dropped",
            spoken(nat.used),
            nat.address,
            nat.server,
            nat.protocol,
            format_share(used),
            format_count(NAT_PORTS)
        ),
        hint: format!(
            "see who has them: cttune top --by src --match reply-dst={},reply-src={}; translate to more \
             addresses: nft `snat to ADDRESS-ADDRESS`",
            nat.address,
            nat.server.ip()
        ),
        source: "kernel: nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c, ports 1024 \
                 to 65535",
        accepted: None,
    })
}

fn push(pressure: &Pressure, live: &Snapshot, evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpTimeoutEstablished;
    let value = live.value(key).filter(|value| *value < POOLED)?;
    (pressure.push.flows > 0).then(|| Finding {
        id: "push-ports",
        severity: Severity::Warning,
        message: format!(
            "{} go to TCP 5228 to 5230, push to phones that are silent for up to 30m, and {} is \
             {}: they are cut off, and come again",
            spoken(pressure.push),
            key.file_name(),
            format_seconds(value)
        ),
        hint: format!(
            "connections get more with their next packet: {}",
            set_command(evidence.desired, &[(key, SAFE)])
        ),
        source: "Firebase: Configure your network for FCM, 30 minutes or more",
        accepted: None,
    })
}

/// What a carrier's NAT must be able to limit, and evidently does not.
fn subscriber(pressure: &Pressure, live: &Snapshot, evidence: &Evidence<'_>) -> Option<Finding> {
    let (address, held) = pressure.source?;
    let share = of_max(held.flows, live).filter(|share| *share >= SUBSCRIBER)?;
    (evidence.role() == Role::Cgn).then(|| Finding {
        id: "rfc6888-req4",
        severity: Severity::Warning,
        message: format!(
            "{} come from {address}, {} of max: RFC 6888 REQ-4 asks for a limit to the ports of a \
             subscriber, REQ-5 for one to its state",
            spoken(held),
            format_share(share)
        ),
        hint: "limit each subscriber in the firewall, with nft `ct count`: cttune top --by src \
               --remedy prints the rules"
            .to_owned(),
        source: "RFC 6888 REQ-4 and REQ-5",
        accepted: None,
    })
}

fn policies(policies: &Policies) -> Option<Finding> {
    let mut said: Vec<String> = policies
        .0
        .iter()
        .map(|policy| match policy.family {
            Some(family) => format!("{} over {family}", policy.protocol),
            None => policy.protocol.to_string(),
        })
        .collect();
    let number = said.len();
    said.sort();
    said.dedup();
    (number > 0).then(|| Finding {
        id: "timeout-policies",
        severity: Severity::Info,
        message: format!(
            "{number} timeout {} ({}): for flows that a rule gives one, it beats the sysctl on \
             every packet",
            if number == 1 { "policy" } else { "policies" },
            said.join(", ")
        ),
        hint:
            "see them: nft list ruleset | grep -A9 'ct timeout'; nfct list timeout. cttune expire \
               leaves flows of these protocols alone"
                .to_owned(),
        source: "kernel: nf_ct_timeout_lookup in include/net/netfilter/nf_conntrack_timeout.h",
        accepted: None,
    })
}

fn flowtables(flowtables: &[String]) -> Option<Finding> {
    let number = flowtables.len();
    (number > 0).then(|| Finding {
        id: "flowtables",
        severity: Severity::Info,
        message: format!(
            "{number} {} ({}): a flow that is offloaded to one lives by nf_flowtable_tcp_timeout \
             or nf_flowtable_udp_timeout, whatever the other sysctls say",
            if number == 1 {
                "flowtable"
            } else {
                "flowtables"
            },
            flowtables.join(", ")
        ),
        hint: "see them: nft list flowtables; how long they live: sysctl -a -r nf_flowtable"
            .to_owned(),
        source: "kernel: Documentation/networking/nf_flowtable.rst",
        accepted: None,
    })
}
