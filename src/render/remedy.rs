//! `cttune top --remedy`: an nftables fragment, to be read and loaded by the operator.
//!
//! Follows nft(8): CONNTRACK TIMEOUT, SETS and CT COUNT. A timeout is attached when a flow begins,
//! at a priority behind conntrack's own (-200).

use crate::flow::{Family, Field, Means, Prefix, Protocol, Remedy, Target};
use crate::tunable::format_seconds;

/// The fragment. `sentence` says what it is for.
pub(crate) fn text(remedy: &Remedy, sentence: &str) -> String {
    let mut text = format!("# {sentence}\n#\n");
    match remedy.means {
        Means::Timeout(seconds) => text.push_str(&timeout(&remedy.target, seconds)),
        Means::Limit(flows) => text.push_str(&limit(&remedy.target, flows)),
    }
    if !remedy.left_out.is_empty() {
        let names: Vec<&str> = remedy
            .left_out
            .iter()
            .map(|field| Field::name(*field))
            .collect();
        text.insert_str(
            0,
            &format!(
                "# No rule for new flows can ask for {}: this is about more flows than that.\n",
                names.join(", ")
            ),
        );
    }
    text
}

fn timeout(target: &Target, seconds: u32) -> String {
    let spoken = format_seconds(i64::from(seconds));
    let family = table_family(target);
    let rule = asks(target).join(" ");
    format!(
        "\
# New connections like these end after {spoken} of silence, others as before.
# RFC 5382 allows no less for any destination; a client that keeps alive less often is cut off.
# Those that stand already keep their time: `cttune expire` is for them.
# Check with `nft -c -f FILE`, load with `nft -f FILE`, undo with `nft delete table {family} cttune`.
table {family} cttune {{
    ct timeout quiet {{
        protocol tcp
        policy = {{ established : {seconds} }}
    }}

    chain forwarded {{
        type filter hook prerouting priority filter; policy accept;
        {rule} ct timeout set \"quiet\"
    }}

    chain own {{
        type filter hook output priority filter; policy accept;
        {rule} ct timeout set \"quiet\"
    }}
}}
"
    )
}

fn limit(target: &Target, flows: u64) -> String {
    let family = table_family(target);
    let families = match target.family {
        Some(family) => vec![family],
        None => Family::ALL.to_vec(),
    };
    let sets: String = families
        .iter()
        .map(|family| {
            let (name, kind, _) = names(*family);
            format!("    set {name} {{\n        type {kind}\n        size 65535\n        flags dynamic\n    }}\n\n")
        })
        .collect();
    let rules: String = families
        .iter()
        .map(|family| {
            let (name, _, header) = names(*family);
            let asks = asks(target).into_iter().map(|ask| format!("{ask} ")).collect::<String>();
            let asks = if target.family.is_none() {
                format!("meta nfproto {family} {asks}")
            } else {
                asks
            };
            format!("        {asks}ct state new add @{name} {{ {header} saddr ct count over {flows} }} drop\n")
        })
        .collect();
    format!(
        "\
# A source that holds more than {flows} flows like these gets no new one; choose your own number.
# Flows that stand already are not touched, and are counted from their next new one on.
# Check with `nft -c -f FILE`, load with `nft -f FILE`, undo with `nft delete table {family} cttune`.
table {family} cttune {{
{sets}    chain limited {{
        type filter hook prerouting priority filter; policy accept;
{rules}    }}
}}
"
    )
}

fn table_family(target: &Target) -> &'static str {
    match target.family {
        Some(Family::Ipv4) => "ip",
        Some(Family::Ipv6) => "ip6",
        None => "inet",
    }
}

/// The name of the set of sources, the type of its elements, the header that they are in.
fn names(family: Family) -> (&'static str, &'static str, &'static str) {
    match family {
        Family::Ipv4 => ("sources4", "ipv4_addr", "ip"),
        Family::Ipv6 => ("sources6", "ipv6_addr", "ip6"),
    }
}

/// What the rule asks of a packet, in nft's words.
fn asks(target: &Target) -> Vec<String> {
    let header = table_family(target);
    let mut asks = Vec::new();
    asks.extend(
        target
            .src
            .map(|net| format!("{header} saddr {}", Prefix(net))),
    );
    asks.extend(
        target
            .dst
            .map(|net| format!("{header} daddr {}", Prefix(net))),
    );
    let Some(protocol) = target.protocol else {
        return asks;
    };
    if target.sport.is_none() && target.dport.is_none() {
        asks.push(format!("meta l4proto {}", nft_protocol(protocol)));
    }
    let name = nft_protocol(protocol);
    asks.extend(target.sport.map(|port| format!("{name} sport {port}")));
    asks.extend(target.dport.map(|port| format!("{name} dport {port}")));
    asks
}

/// A name that nft knows without /etc/protocols, or the number.
fn nft_protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP | Protocol::DCCP => {
            protocol.to_string()
        }
        Protocol(number) => number.to_string(),
    }
}
