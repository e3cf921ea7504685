//! Whether the present ruleset lets the packets of a lifeline pass: a copy of it in a private
//! namespace, a packet for each way, and counters behind all of its chains.

use std::net::IpAddr;

use ipnet::IpNet;

use super::network::{OWN, feed};
use super::{Traffic, TrialError, run};
use crate::flow::{Family, Layer4, Member, Protocol, Tuple};
use crate::kernel::nft;
use crate::service::{Lifeline, Table};

/// A hook, and the counter behind its chains.
const HOOKS: [&str; 3] = ["input", "forward", "output"];

/// Sends a packet each way: through the machine, to it, and from it.
///
/// # Errors
/// If a chain of the ruleset drops one of them; with the rules to add.
pub(crate) fn passes(table: &Table) -> Result<(), TrialError> {
    let Some(lifeline) = &table.lifeline else {
        return Ok(());
    };
    let listed = nft::list().map_err(|error| TrialError::Refused {
        doing: "reading the ruleset",
        said: error.to_string(),
    })?;
    let mut dropping = Vec::new();
    for net in first_of_families(lifeline) {
        let packets = packets(net, lifeline);
        let members: Vec<Member> = packets.iter().map(|(tuple, _)| member(*tuple)).collect();
        let is_local: Vec<bool> = packets.iter().map(|(_, is_local)| *is_local).collect();
        let traffic = Traffic {
            members: &members,
            is_local: &is_local,
            established: false,
        };
        let rules = format!("{listed}\n{}\n{}", table.file(), counters(lifeline));
        let passed = run(Some(&rules), traffic, |_| count())?;
        for (hook, (passed, sent)) in HOOKS.iter().zip(passed.into_iter().zip([1, 2, 1])) {
            if passed < sent && !dropping.contains(hook) {
                dropping.push(*hook);
            }
        }
    }
    if dropping.is_empty() {
        return Ok(());
    }
    Err(TrialError::LifelineDropped(rules_to_add(
        &listed, &dropping,
    )))
}

fn first_of_families(lifeline: &Lifeline) -> Vec<IpNet> {
    let of = |family: Family| {
        let mut nets = lifeline.from.iter();
        nets.find(|net| net.addr().is_ipv4() == (family == Family::Ipv4))
            .copied()
    };
    Family::ALL
        .iter()
        .filter_map(|family| of(*family))
        .collect()
}

/// The first packet of a session to another machine and its answer, of one to this machine, and
/// this machine's answer; each with whether it begins here.
fn packets(net: IpNet, lifeline: &Lifeline) -> Vec<(Tuple, bool)> {
    let port = lifeline.ports.first().copied().unwrap_or(22);
    let operator = net.hosts().next().unwrap_or(net.addr());
    let (here, other): (IpAddr, IpAddr) = match net {
        IpNet::V4(_) => (OWN.0.into(), [203, 0, 113, 7].into()),
        IpNet::V6(_) => (OWN.1.into(), [0x2001, 0xdb8, 7, 0, 0, 0, 0, 7].into()),
    };
    let packet = |src, dst, from, to| Tuple {
        src,
        dst,
        protocol: Protocol::TCP,
        layer4: Layer4::Ports { src: from, dst: to },
        zone: None,
    };
    vec![
        (packet(operator, other, 40_000, port), false),
        (packet(other, operator, port, 40_000), false),
        (packet(operator, here, 40_000, port), false),
        (packet(here, operator, port, 40_000), true),
    ]
}

fn member(original: Tuple) -> Member {
    Member {
        original,
        reply: original.reversed(),
        state: None,
        is_answered: false,
    }
}

/// Counters in chains behind all others.
fn counters(lifeline: &Lifeline) -> String {
    let ports: Vec<String> = lifeline.ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(", ");
    let mut text = "table inet trial_lifeline {\n".to_owned();
    for hook in HOOKS {
        text.push_str(&format!(
            "counter passed_{hook} {{ }}\n\
             chain {hook} {{ type filter hook {hook} priority 2147483640;\n\
             ct state untracked tcp dport {{ {ports} }} counter name \"passed_{hook}\"\n\
             ct state untracked tcp sport {{ {ports} }} counter name \"passed_{hook}\"\n}}\n"
        ));
    }
    text + "}\n"
}

/// Packets that came through each hook.
fn count() -> Result<[u64; 3], TrialError> {
    let text = feed(
        "nft",
        &["list", "counters", "table", "inet", "trial_lifeline"],
        "",
    )?;
    Ok(HOOKS.map(|hook| {
        let (_, after) = text
            .split_once(&format!("passed_{hook} {{"))
            .unwrap_or_default();
        let mut words = after.split_whitespace();
        let number = words.by_ref().skip_while(|word| *word != "packets").nth(1);
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }))
}

/// A command for each chain of these hooks that comes before the filter of `nft list ruleset`.
fn rules_to_add(ruleset: &str, hooks: &[&str]) -> String {
    let (mut table, mut chain) = ("", "");
    let mut commands = Vec::new();
    for line in ruleset.lines().map(str::trim) {
        let name = line.strip_suffix(" {").unwrap_or_default();
        if let Some(name) = name.strip_prefix("table ") {
            table = name;
        } else if let Some(name) = name.strip_prefix("chain ") {
            chain = name;
        } else if let Some(rest) = line.strip_prefix("type filter hook ") {
            let is_meant = hooks.iter().any(|hook| rest.starts_with(hook));
            if is_meant && !table.ends_with(" cttune") {
                let insert = format!("nft insert rule {table} {chain}");
                commands.push(format!("{insert} ct state untracked accept"));
                // Errors about packets that are not tracked are invalid, and path MTU needs them.
                if rest.starts_with("input") || rest.starts_with("forward") {
                    if !table.starts_with("ip6 ") {
                        commands.push(format!("{insert} icmp type destination-unreachable accept"));
                    }
                    if !table.starts_with("ip ") {
                        commands.push(format!("{insert} icmpv6 type packet-too-big accept"));
                    }
                }
            }
        }
    }
    commands.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_to_add_name_every_chain_that_filters() {
        let ruleset = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority \
                       filter; policy drop;\n\t}\n\tchain x {\n\t}\n}\ntable inet cttune {\n\tchain \
                       lifeline_own {\n\t\ttype filter hook output priority raw; policy accept;\n\t}\n}\n";
        assert_eq!(
            rules_to_add(ruleset, &["input", "output"]),
            "nft insert rule ip filter INPUT ct state untracked accept\n\
             nft insert rule ip filter INPUT icmp type destination-unreachable accept"
        );
    }
}
