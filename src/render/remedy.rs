//! `cttune top --remedy`: an nftables fragment, to be read and loaded by the operator.
//!
//! Follows nft(8): CONNTRACK TIMEOUT, SETS and CT COUNT. Rules ask for the original tuple of the
//! flow, so that they mean the same before and behind NAT, for packets that arrive and for the
//! machine's own.

use super::layout::command;
use crate::flow::{Family, Means, Rules, families};
use crate::service::asks;
use crate::tunable::{format_count, format_seconds};

/// The fragment. `sentence` says what it is for, `tried` what it did when it was tried.
pub(crate) fn text(rules: &Rules, sentence: &str, tried: &str) -> String {
    let mut text = format!("# {sentence}\n# {tried}\n");
    if !rules.left_out.is_empty() {
        text.push_str(&format!(
            "# A rule cannot ask a new flow for {}: this is about more flows than those.\n",
            rules.left_out.join(", ")
        ));
    }
    text.push_str(&match &rules.means {
        Means::Timeout(policy) => timeout_comment(policy),
        Means::Limit(flows) => limit_comment(*flows),
    });
    text.push_str(
        "# To check it: nft -c -f FILE\n# To load it: nft -f FILE\n\
         # To undo it: nft delete table inet cttune_remedy\n",
    );
    text.push_str(&fragment(rules));
    text
}

fn timeout_comment(policy: &[(&str, u32)]) -> String {
    let idle = policy.first().map_or(0, |(_, seconds)| *seconds);
    format!(
        "# New connections like these end when they are idle for {}, others as before.\n\
         # RFC 5382 allows no less; a client with longer keepalives is cut off.\n\
         # Existing flows keep their time left: `cttune expire` shortens them.\n",
        format_seconds(i64::from(idle))
    )
}

fn limit_comment(flows: u64) -> String {
    format!(
        "# A host with {} flows like these gets no new one; an IPv6 host is a /64.\n\
         # Existing flows go on and are not counted.\n",
        format_count(flows)
    )
}

/// The fragment as a screen shows it: a rule that is too long goes on behind a backslash, so that
/// nft reads what is pasted.
pub(crate) fn laid(fragment: &str) -> String {
    let laid = fragment.lines().map(|line| {
        let rule = line.trim_start();
        let (indent, _) = line.split_at(line.len() - rule.len());
        if rule.starts_with('#') {
            format!("{line}\n")
        } else {
            format!("{indent}{}\n", command(rule))
        }
    });
    laid.collect()
}

/// The rules alone.
pub(crate) fn fragment(rules: &Rules) -> String {
    let objects: String = match &rules.means {
        Means::Timeout(policy) => timeout_object(policy),
        Means::Limit(flows) => Family::ALL
            .iter()
            .map(|family| limit(*family, *flows))
            .collect(),
    };
    let mut lines = String::new();
    for terms in &rules.spared {
        for family in families(terms) {
            lines.push_str(&format!(
                "        {} accept\n",
                asks(terms, Some(family)).join(" ")
            ));
        }
    }
    for terms in &rules.about {
        for family in families(terms) {
            let mut rule = asks(terms, Some(family));
            rule.push("ct state new".to_owned());
            rule.push(action(family, &rules.means).to_owned());
            lines.push_str(&format!("        {}\n", rule.join(" ")));
        }
    }
    format!(
        "\
table inet cttune_remedy {{
{objects}    chain arriving {{
        type filter hook prerouting priority filter; policy accept;
{lines}    }}

    chain own {{
        type filter hook output priority filter; policy accept;
{lines}    }}
}}
"
    )
}

/// The hosts of a family, and the chain that counts. A flow goes there once, or it would be counted
/// by each rule that it meets.
fn limit(family: Family, flows: u64) -> String {
    let (number, kind, host) = match family {
        Family::Ipv4 => (4, "ipv4_addr", "ct original ip saddr"),
        Family::Ipv6 => (
            6,
            "ipv6_addr",
            "ct original ip6 saddr and ffff:ffff:ffff:ffff::",
        ),
    };
    format!(
        "    set hosts{number} {{\n        type {kind}\n        size 65535\n        flags dynamic\n    }}\n\n    chain limit{number} {{\n        add @hosts{number} {{ {host} ct count over {flows} }} drop\n    }}\n\n"
    )
}

fn timeout_object(policy: &[(&str, u32)]) -> String {
    let states = policy
        .iter()
        .map(|(state, seconds)| format!("{state} : {seconds}"));
    let states = states.collect::<Vec<_>>().join(", ");
    format!(
        "    ct timeout quiet {{\n        protocol tcp\n        policy = {{ {states} }}\n    }}\n\n"
    )
}

fn action(family: Family, means: &Means) -> &'static str {
    match (means, family) {
        (Means::Timeout(_), _) => "ct timeout set \"quiet\"",
        (Means::Limit(_), Family::Ipv4) => "goto limit4",
        (Means::Limit(_), Family::Ipv6) => "goto limit6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Terms;

    fn rules(about: &[&str], spared: &[&str], means: Means) -> String {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Terms::parse(text).unwrap())
                .collect()
        };
        fragment(&Rules {
            about: parse(about),
            spared: parse(spared),
            means,
            left_out: Vec::new(),
        })
    }

    #[test]
    fn rules_ask_for_the_original_tuple() {
        for (about, means, rule) in [
            (
                "proto=udp,src=198.18.0.2,dport=27015",
                Means::Limit(2000),
                "meta nfproto ipv4 meta l4proto udp ct original ip saddr 198.18.0.2 ct original \
                 proto-dst 27015 ct state new goto limit4",
            ),
            (
                "src=2001:db8::/32,dst!=2001:db8:1::7,sport=1024-2047",
                Means::Limit(100),
                "meta nfproto ipv6 meta l4proto { tcp, udp, udplite, sctp, dccp } ct original ip6 \
                 saddr 2001:db8::/32 ct original ip6 daddr != 2001:db8:1::7 ct original proto-src \
                 1024-2047 ct state new goto limit6",
            ),
            (
                "dst=10.0.0.9,zone=3,proto=tcp",
                Means::Timeout(vec![("established", 7440)]),
                "meta nfproto ipv4 meta l4proto tcp ct original ip daddr 10.0.0.9 ct zone 3 ct \
                 state new ct timeout set \"quiet\"",
            ),
        ] {
            let text = rules(&[about], &[], means);
            // Once for what arrives, once for the machine's own.
            assert_eq!(text.matches(rule).count(), 2, "{rule}\nis not in\n{text}");
        }
    }

    #[test]
    fn what_is_kept_is_accepted_first_and_alternatives_are_rules_of_their_own() {
        let text = rules(
            &["proto=udp,dport=53", "proto=icmp"],
            &["src=10.0.0.0/8"],
            Means::Limit(100),
        );
        let chain: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.contains("own"))
            .collect();
        assert!(chain[2].ends_with("ip saddr 10.0.0.0/8 accept"), "{text}");
        assert!(chain[3].contains("nfproto ipv4 meta l4proto udp"), "{text}");
        assert!(chain[4].contains("nfproto ipv6 meta l4proto udp"), "{text}");
        assert!(chain[5].contains("nfproto ipv4 meta l4proto 1 "), "{text}");
        assert!(chain[6].ends_with('}'), "{text}");
    }
}
