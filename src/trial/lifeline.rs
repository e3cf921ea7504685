//! Whether the present ruleset lets the packets of a lifeline pass: a copy of it in a private
//! namespace, a packet for each way, and counters behind all of its chains.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::network::{OWN, feed};
use super::{Traffic, TrialError, is_routed, run};
use crate::flow::{Layer4, Member, Protocol, Tuple};
use crate::kernel::nft;
use crate::service::{Lifeline, Table};

/// A hook, and the counter behind its chains.
const HOOKS: [&str; 3] = ["input", "forward", "output"];
/// What passes at all is behind the chains after this time.
const ARRIVED: Duration = Duration::from_millis(500);

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
    let operators = lifeline.from.iter().filter_map(operator);
    let packets: Vec<(Tuple, bool)> = operators
        .flat_map(|operator| packets(operator, lifeline))
        .collect();
    let members: Vec<Member> = packets.iter().map(|(tuple, _)| member(*tuple)).collect();
    let is_local: Vec<bool> = packets.iter().map(|(_, is_local)| *is_local).collect();
    let traffic = Traffic {
        members: &members,
        is_local: &is_local,
        established: false,
    };
    let (rules, each) = (loadable(&listed), packets.len() as u64 / 4);
    let rules = format!("{rules}\n{}\n{}", table.file(), counters(lifeline));
    let sent = [each, 2 * each, each];
    let passed = run(Some(&rules), traffic, |_| count(sent))?;
    let hooks = HOOKS.iter().zip(passed.into_iter().zip(sent));
    let dropping: Vec<&str> = hooks
        .filter(|(_, (passed, sent))| passed < sent)
        .map(|(hook, _)| *hook)
        .collect();
    if dropping.is_empty() {
        return Ok(());
    }
    let add = rules_to_add(&listed, &dropping);
    Err(if add.is_empty() {
        TrialError::Refused {
            doing: "trying the lifeline",
            said: "its packets did not pass, and no filter chain of nft drops them".to_owned(),
        }
    } else {
        TrialError::LifelineDropped(add)
    })
}

/// An address of the network that a router passes packets of; none of one link's.
fn operator(net: &IpNet) -> Option<IpAddr> {
    let usual: [IpAddr; 3] = [
        [198, 51, 100, 1].into(),
        [1, 0, 0, 1].into(),
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
    ];
    let own = net.hosts().next().unwrap_or(net.addr());
    let mut candidates = usual.into_iter().chain([own]);
    candidates.find(|address| net.contains(address) && is_routed(*address))
}

/// The ruleset without what nft lists and does not take: extensions of iptables. Their rules are
/// taken to accept nothing, and to drop the lifeline where they are not about accepting.
fn loadable(ruleset: &str) -> String {
    let line = |line: &str| {
        let is_of = |part: &str| line.split_whitespace().any(|word| word == part);
        if !is_of("xt") {
            return line.to_owned() + "\n";
        }
        let ends = [
            "drop", "reject", "jump", "goto", "return", "queue", "target",
        ];
        if ends.into_iter().any(is_of) {
            "ct state untracked drop\n".to_owned()
        } else {
            String::new()
        }
    };
    ruleset.lines().map(line).collect()
}

/// The first packet of a session to another machine and its answer, of one to this machine, and
/// this machine's answer; each with whether it begins here.
fn packets(operator: IpAddr, lifeline: &Lifeline) -> Vec<(Tuple, bool)> {
    let port = lifeline.ports.first().copied().unwrap_or(22);
    let mut free = (40_000..u16::MAX).filter(|port| !lifeline.ports.contains(port));
    let free = free.next().unwrap_or(40_000);
    let (here, other): (IpAddr, IpAddr) = match operator {
        IpAddr::V4(_) => (OWN.0.into(), [203, 0, 113, 7].into()),
        IpAddr::V6(_) => (OWN.1.into(), [0x2001, 0xdb8, 7, 0, 0, 0, 0, 7].into()),
    };
    let packet = |src, dst, from, to| Tuple {
        src,
        dst,
        protocol: Protocol::TCP,
        layer4: Layer4::Ports { src: from, dst: to },
        zone: None,
    };
    vec![
        (packet(operator, other, free, port), false),
        (packet(other, operator, port, free), false),
        (packet(operator, here, free, port), false),
        (packet(here, operator, port, free), true),
    ]
}

fn member(original: Tuple) -> Member {
    Member {
        original,
        reply: original.reversed(),
        state: None,
        zone: 0,
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

/// Packets that came through each hook, once all have or none comes any more.
fn count(sent: [u64; 3]) -> Result<[u64; 3], TrialError> {
    let start = Instant::now();
    loop {
        let passed = counted()?;
        let are_all = passed
            .iter()
            .zip(sent)
            .all(|(passed, sent)| *passed >= sent);
        if are_all || start.elapsed() > ARRIVED {
            return Ok(passed);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn counted() -> Result<[u64; 3], TrialError> {
    let table = ["list", "counters", "table", "inet", "trial_lifeline"];
    let text = feed("nft", &table, "")?;
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
fn rules_to_add(ruleset: &str, hooks: &[&str]) -> Vec<String> {
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
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_iptables_that_nft_does_not_take_accept_nothing() {
        assert_eq!(
            loadable(
                "chain a {\n\ttcp dport 1 accept\n\txt match recent counter accept\n\
                 \txt match limit drop\n\txt target \"LOG\"\n}\n"
            ),
            "chain a {\n\ttcp dport 1 accept\n\
             ct state untracked drop\nct state untracked drop\n}\n"
        );
    }

    #[test]
    fn an_operator_is_one_whose_packets_are_routed() {
        for (net, address) in [
            ("0.0.0.0/0", Some("198.51.100.1")),
            ("10.0.0.0/8", Some("10.0.0.1")),
            ("192.0.2.7/32", Some("192.0.2.7")),
            ("::/0", Some("2001:db8::1")),
            ("127.0.0.0/8", None),
            ("fe80::/10", None),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            assert_eq!(operator(&net.parse().unwrap()), address, "{net}");
        }
    }

    #[test]
    fn the_rules_to_add_name_every_chain_that_filters() {
        let ruleset = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority \
                       filter; policy drop;\n\t}\n\tchain x {\n\t}\n}\ntable inet cttune {\n\tchain \
                       lifeline_own {\n\t\ttype filter hook output priority raw; policy accept;\n\t}\n}\n";
        assert_eq!(
            rules_to_add(ruleset, &["input", "output"]),
            [
                "nft insert rule ip filter INPUT ct state untracked accept",
                "nft insert rule ip filter INPUT icmp type destination-unreachable accept"
            ]
        );
    }
}
