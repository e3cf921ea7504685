//! What a walk through the table shows, and what else only netlink tells: `check --deep`.

mod nat;
mod unanswered;

pub(crate) use nat::Network;

use ipnet::IpNet;

use super::bridge::Bridge;
use super::command::plan;
use super::table::WARN_FILL;
use super::timeouts::{POOLED, SAFE};
use super::{Evidence, Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::flow::{Estimate, Nat, NatRules, Policies, Pressure, Value};
use crate::profile::Role;
use crate::tunable::{Key, Snapshot, format_count, format_seconds, format_share};

/// The fill, and the share of flows that cannot be evicted, from which a finding is raised.
const HALF_FULL: f64 = 0.5;
/// The share of max that one subscriber of a carrier's NAT may hold.
const SUBSCRIBER: f64 = 0.1;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deep {
    /// Of the flows.
    pub(crate) pressure: Pressure,
    /// Of the flows that are translated.
    pub(crate) nat: Nat,
    /// What the rules say; `None` where they could not be read.
    pub(crate) rules: Option<NatRules>,
    /// The addresses and routes of the namespace.
    pub(crate) network: Network,
    /// Bridges whose packets are tracked, if there are any.
    pub(crate) bridge: Option<Bridge>,
    /// The timeout policies; `None` where they could not be read.
    pub(crate) policies: Option<Policies>,
    /// The flowtables, as `TABLE NAME`; `None` where they could not be read.
    pub(crate) flowtables: Option<Vec<String>>,
}

pub(super) fn findings(deep: &Deep, live: &Snapshot, evidence: &Evidence<'_>) -> Vec<Finding> {
    let pressure = &deep.pressure;
    let mut findings = Vec::new();
    findings.extend(not_reclaimable(pressure, live));
    findings.extend(nat::findings(&deep.nat, &deep.network));
    findings.extend(unanswered::finding(pressure, evidence));
    findings.extend(push(pressure, live, evidence));
    findings.extend(subscriber(pressure, live, evidence));
    findings.extend(deep.rules.as_ref().and_then(tracked_by));
    findings.extend(deep.policies.as_ref().and_then(policies));
    findings.extend(deep.flowtables.as_deref().and_then(flowtables));
    findings
}

/// Their number, and of a sample how far it can be off.
fn flows_and_share(estimate: Estimate) -> String {
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
    (pressure.fixed.share >= HALF_FULL).then(|| {
        Finding::new(
            Id::NotReclaimable,
            if fill >= WARN_FILL {
                Severity::Warning
            } else {
                Severity::Info
            },
            format!(
                "{} are assured and not closing, {} of max: a full table cannot evict them",
                flows_and_share(pressure.fixed),
                format_share(held)
            ),
            Hint::cttune("top --match status=assured")
                .to("see who has them")
                .and(Hint::cttune("expire --dry-run").to("see which could be shortened")),
        )
    })
}

fn push(pressure: &Pressure, live: &Snapshot, evidence: &Evidence<'_>) -> Option<Finding> {
    let key = Key::TcpTimeoutEstablished;
    let value = live.value(key).filter(|value| *value < POOLED)?;
    (pressure.push.flows > 0).then(|| {
        Finding::new(
            Id::PushPorts,
            Severity::Warning,
            format!(
                "{} go to TCP 5228 to 5230, push to phones that are idle for up to 30m, and {} is \
             {}: they are cut off and connect again",
                flows_and_share(pressure.push),
                key.file_name(),
                format_seconds(value)
            ),
            plan(evidence.desired, &[(key, SAFE)])
                .to("lengthen it; each connection gets the new time with its next packet"),
        )
    })
}

/// A subscriber that holds more than a carrier's NAT should allow.
fn subscriber(pressure: &Pressure, live: &Snapshot, evidence: &Evidence<'_>) -> Option<Finding> {
    let (address, held) = pressure.source?;
    let share = of_max(held.flows, live).filter(|share| *share >= SUBSCRIBER)?;
    // As many bits as were counted.
    let prefix = match address {
        Value::Net(IpNet::V6(net)) if net.prefix_len() != 64 => {
            format!(" --prefix {},32", net.prefix_len())
        }
        _ => String::new(),
    };
    (evidence.role() == Role::Cgn).then(|| Finding::new(Id::Rfc6888Req4, Severity::Warning, format!(
            "{} come from {address}, {} of max: RFC 6888 REQ-4 asks for a limit on the ports of a \
             subscriber, REQ-5 for one on its state",
            flows_and_share(held),
            format_share(share)
        ), Hint::cttune(format!("top --by src{prefix} --remedy"))
            .to("print rules that limit each subscriber")))
}

/// Without such a rule nothing would be tracked.
fn tracked_by(rules: &NatRules) -> Option<Finding> {
    let tables: Vec<&str> = rules.trackers.iter().map(String::as_str).collect();
    (!tables.is_empty()).then(|| {
        Finding::new(
            Id::TrackedBy,
            Severity::Info,
            format!(
                "connections are tracked because of rules in {}",
                tables.join(", ")
            ),
            Hint::command("nft list ruleset")
                .to("see them")
                .and(Hint::say(
                    "what needs no tracking can be left out with nft `notrack`",
                )),
        )
    })
}

fn policies(policies: &Policies) -> Option<Finding> {
    let has_own = policies.0.iter().any(|policy| policy.label.is_some());
    // What a service of cttune does to its flows is known.
    let foreign = policies.0.iter().filter(|policy| policy.label.is_none());
    let mut said: Vec<String> = foreign
        .map(|policy| match policy.family {
            Some(family) => format!("{} over {family}", policy.protocol),
            None => policy.protocol.to_string(),
        })
        .collect();
    let mut see = Hint::command("nft list ruleset | grep -A9 'ct timeout'")
        .to("see them")
        .and(Hint::command("nfct list timeout"));
    // nft lists both.
    if has_own {
        let own = "those of table inet cttune are its services, and not counted here";
        see = see.and(Hint::say(own));
    }
    let number = said.len();
    said.sort_unstable();
    said.dedup();
    (number > 0).then(|| {
        Finding::new(
            Id::TimeoutPolicies,
            Severity::Info,
            format!(
                "{number} timeout {} ({}): for flows that a rule assigns one to, it overrides the \
             sysctl on every packet",
                if number == 1 { "policy" } else { "policies" },
                said.join(", ")
            ),
            see.and(Hint::say(
                "expire gives no flow less than one of them may give it, and leaves it alone \
                     where that is not known",
            )),
        )
    })
}

fn flowtables(flowtables: &[String]) -> Option<Finding> {
    let number = flowtables.len();
    (number > 0).then(|| {
        Finding::new(
            Id::Flowtables,
            Severity::Info,
            format!(
                "{number} {} ({}): for an offloaded flow nf_flowtable_tcp_timeout or \
             nf_flowtable_udp_timeout counts, not the conntrack timeout",
                if number == 1 {
                    "flowtable"
                } else {
                    "flowtables"
                },
                flowtables.join(", ")
            ),
            Hint::command("nft list flowtables")
                .to("see them")
                .and(Hint::command("sysctl -a -r nf_flowtable").to("see their timeouts")),
        )
    })
}
