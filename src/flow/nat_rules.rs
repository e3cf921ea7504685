//! What the rules of a firewall say about NAT and tracking: the ports that a rule lets the kernel
//! choose from, and the tables because of which connections are tracked at all.
//!
//! In: the output of `nft -j list ruleset` and of iptables-save. Out: [`NatRules`]. Rule: what is
//! not understood is left out; of a map every value counts.
//! Follows libnftables-json(5) and iptables-extensions(8): SNAT, MASQUERADE.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::Protocol;

/// What was found in all rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NatRules {
    /// Ports that rules name, in their order.
    pub(crate) ranges: Vec<PortRange>,
    /// Tables with a rule that needs connection tracking, as `ip nat`.
    pub(crate) trackers: BTreeSet<String>,
}

/// The ports that a rule translates to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRange {
    /// The addresses that it translates to; none for those of the interface.
    pub(crate) addresses: Option<RangeInclusive<IpAddr>>,
    /// None for any protocol that has ports.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) ports: RangeInclusive<u16>,
}

impl PortRange {
    /// Whether a flow that was translated so may have met the rule.
    pub(super) fn holds(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.ports.contains(&port)
            && self.protocol.is_none_or(|own| own == protocol)
            && self
                .addresses
                .as_ref()
                .is_none_or(|addresses| addresses.contains(&address))
    }
}

impl NatRules {
    /// Adds what `nft -j list ruleset` printed; false where it is no such text.
    pub(crate) fn add_nft(&mut self, text: &str) -> bool {
        let Ok(parsed) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        let Some(objects) = parsed.get("nftables").and_then(Value::as_array) else {
            return false;
        };
        let of = |object: &Value, key: &str| {
            let text = object.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let maps = objects.iter().filter_map(|object| object.get("map"));
        for rule in objects.iter().filter_map(|object| object.get("rule")) {
            let expressions = rule.get("expr").and_then(Value::as_array);
            let expressions = expressions.map(Vec::as_slice).unwrap_or_default();
            let name = |key: &str| of(rule, key);
            let map = |called: &str| {
                let mut maps = maps.clone();
                let is_of = |key| move |map: &&Value| of(map, key) == of(rule, key);
                maps.find(|map| {
                    of(map, "name") == called && is_of("family")(map) && is_of("table")(map)
                })?
                .get("elem")
            };
            if expressions.iter().any(needs_tracking) {
                let table = format!("{} {}", name("family"), name("table"));
                self.trackers.insert(table);
            }
            let ranges = expressions.iter().flat_map(|one| translations(one, &map));
            self.ranges
                .extend(ranges.map(|(addresses, ports)| PortRange {
                    addresses,
                    protocol: protocol_of(expressions),
                    ports,
                }));
        }
        true
    }

    /// Adds what iptables-save or ip6tables-save printed.
    pub(crate) fn add_iptables(&mut self, text: &str, program: &str) {
        let mut table = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first() != Some(&"-A") {
                continue;
            }
            let after = |option: &str| {
                let place = words.iter().position(|word| *word == option)?;
                words.get(place + 1).copied()
            };
            let matches = ["conntrack", "state", "ctstate", "connmark", "connlimit"];
            let is_match = |word: &&str| matches.contains(word);
            if table == "nat" || words.iter().any(is_match) {
                self.trackers.insert(format!("{program} {table}"));
            }
            let (addresses, ports) = match after("-j") {
                Some("MASQUERADE") => (None, after("--to-ports")),
                Some("SNAT") => {
                    let to = after("--to-source").unwrap_or_default();
                    let (addresses, ports) = split_source(to);
                    (addresses, ports)
                }
                _ => continue,
            };
            let Some(ports) = ports.and_then(port_range) else {
                continue;
            };
            self.ranges.push(PortRange {
                addresses,
                protocol: after("-p").and_then(Protocol::find),
                ports,
            });
        }
    }
}

/// Whether an expression of nft makes the kernel track connections.
fn needs_tracking(expression: &Value) -> bool {
    let names = [
        "ct",
        "snat",
        "dnat",
        "masquerade",
        "redirect",
        "flow",
        "synproxy",
    ];
    match expression {
        Value::Object(object) => object.iter().any(|(name, inner)| {
            names.contains(&name.as_str()) || name.starts_with("ct ") || needs_tracking(inner)
        }),
        Value::Array(list) => list.iter().any(needs_tracking),
        _ => false,
    }
}

type Translation = (Option<RangeInclusive<IpAddr>>, RangeInclusive<u16>);

/// The addresses and ports of a `snat` or `masquerade` that names ports, be it in a map.
fn translations<'a>(
    expression: &'a Value,
    map: &dyn Fn(&str) -> Option<&'a Value>,
) -> Vec<Translation> {
    let to = expression
        .get("snat")
        .or_else(|| expression.get("masquerade"));
    let Some(to) = to else {
        return Vec::new();
    };
    let port = to.get("port").and_then(ports);
    let Some(to) = to.get("addr") else {
        return port.map(|ports| (None, ports)).into_iter().collect();
    };
    // Of a map every value counts: an address, or one with ports.
    let elements = match to.pointer("/map/data") {
        Some(Value::String(name)) => map(name.trim_start_matches('@')),
        Some(data) => data.get("set"),
        None => None,
    };
    let values: Vec<&Value> = match elements.and_then(Value::as_array) {
        Some(elements) => elements.iter().filter_map(|pair| pair.get(1)).collect(),
        None => vec![to],
    };
    let translation = |value: &Value| match value.get("concat").and_then(Value::as_array) {
        Some(parts) => Some((addresses(parts.first()?), ports(parts.get(1)?)?)),
        None => Some((addresses(value), port.clone()?)),
    };
    values.into_iter().filter_map(translation).collect()
}

/// `6000`, or a range.
fn ports(value: &Value) -> Option<RangeInclusive<u16>> {
    let number = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match value.get("range").and_then(Value::as_array) {
        Some(range) => Some(number(range.first()?)?..=number(range.last()?)?),
        None => Some(number(value)?..=number(value)?),
    }
}

fn addresses(value: &Value) -> Option<RangeInclusive<IpAddr>> {
    let read = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(range) = value.get("range").and_then(Value::as_array) {
        return Some(read(range.first()?)?..=read(range.last()?)?);
    }
    if let Some(prefix) = value.get("prefix") {
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        let net = ipnet::IpNet::new(read(prefix.get("addr")?)?, length).ok()?;
        return Some(net.network()..=net.broadcast());
    }
    let address = read(value)?;
    Some(address..=address)
}

/// The protocol that a rule asks for, by name or by a header's field.
fn protocol_of(expressions: &[Value]) -> Option<Protocol> {
    expressions.iter().find_map(|expression| {
        let asked = expression.get("match")?;
        let left = asked.get("left")?;
        let of_field = left.pointer("/payload/protocol").and_then(Value::as_str);
        let of_field = of_field.filter(|name| ["tcp", "udp", "sctp", "udplite"].contains(name));
        let keys = ["/meta/key", "/payload/field"];
        let is_protocol = keys.iter().any(|key| {
            let name = left.pointer(key).and_then(Value::as_str);
            matches!(name, Some("l4proto" | "protocol" | "nexthdr"))
        });
        let named = is_protocol.then(|| asked.get("right").and_then(Value::as_str));
        Protocol::find(of_field.or(named.flatten())?)
    })
}

/// `203.0.113.4-203.0.113.9:6000-6999`, `[2001:db8::1]:5000`, or no ports.
fn split_source(to: &str) -> (Option<RangeInclusive<IpAddr>>, Option<&str>) {
    let (hosts, ports) = if let Some((hosts, ports)) = to.rsplit_once("]:") {
        (hosts, Some(ports))
    } else if to.matches(':').count() == 1 {
        to.split_once(':')
            .map_or((to, None), |(hosts, ports)| (hosts, Some(ports)))
    } else {
        (to, None)
    };
    let hosts = hosts.replace(['[', ']'], "");
    let (first, last) = hosts.split_once('-').unwrap_or((&hosts, &hosts));
    let addresses = first.parse().ok().zip(last.parse().ok());
    (addresses.map(|(first, last)| first..=last), ports)
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn range(
        addresses: Option<(&str, &str)>,
        protocol: Option<Protocol>,
        ports: RangeInclusive<u16>,
    ) -> PortRange {
        PortRange {
            addresses: addresses.map(|(first, last)| address(first)..=address(last)),
            protocol,
            ports,
        }
    }

    #[test]
    fn ranges_of_nft_are_read_from_its_json() {
        for (expressions, expected) in [
            (
                r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 443}}, {"snat": {"addr": "203.0.113.1", "port": {"range": [5000, 5499]}}}"#,
                Some(range(
                    Some(("203.0.113.1", "203.0.113.1")),
                    Some(Protocol::UDP),
                    5000..=5499,
                )),
            ),
            (
                r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, {"snat": {"addr": {"range": ["203.0.113.4", "203.0.113.9"]}, "port": {"range": [6000, 6999]}}}"#,
                Some(range(
                    Some(("203.0.113.4", "203.0.113.9")),
                    Some(Protocol::TCP),
                    6000..=6999,
                )),
            ),
            (
                r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["tcp", "udp"]}}}, {"masquerade": {"port": 77, "flags": "random"}}"#,
                Some(range(None, None, 77..=77)),
            ),
            (
                r#"{"snat": {"addr": {"prefix": {"addr": "2001:db8::", "len": 126}}, "port": {"range": [1, 9]}}}"#,
                Some(range(Some(("2001:db8::", "2001:db8::3")), None, 1..=9)),
            ),
            (r#"{"masquerade": null}"#, None),
            (r#"{"snat": {"addr": "203.0.113.1"}}"#, None),
        ] {
            let text = format!(
                r#"{{"nftables": [{{"metainfo": {{}}}}, {{"rule": {{"family": "ip", "table": "nat", "chain": "x", "expr": [{expressions}]}}}}]}}"#
            );
            let mut rules = NatRules::default();
            assert!(rules.add_nft(&text), "{text}");
            assert_eq!(
                rules.ranges,
                expected.into_iter().collect::<Vec<_>>(),
                "{text}"
            );
            assert_eq!(
                rules.trackers,
                BTreeSet::from(["ip nat".to_owned()]),
                "{text}"
            );
        }
        assert!(!NatRules::default().add_nft("nft: not found"));
    }

    #[test]
    fn every_value_of_a_map_is_a_range() {
        let text = r#"{"nftables": [
            {"map": {"family": "ip", "name": "pool", "table": "n", "elem": [
                ["10.0.0.1", {"concat": ["203.0.113.1", {"range": [6000, 6099]}]}],
                ["10.0.0.2", {"concat": ["203.0.113.2", 7000]}]]}},
            {"map": {"family": "ip", "name": "pool", "table": "other", "elem": [
                ["10.0.0.1", {"concat": ["203.0.113.9", 1]}]]}},
            {"rule": {"family": "ip", "table": "n", "expr": [
                {"snat": {"addr": {"map": {"key": {}, "data": "@pool"}}}}]}},
            {"rule": {"family": "ip", "table": "n", "expr": [
                {"snat": {"addr": {"map": {"key": {}, "data": {"set": [["10.0.0.4", "203.0.113.4"]]}}},
                    "port": {"range": [5000, 5099]}, "flags": ["random", "persistent"]}}]}},
            {"rule": {"family": "ip", "table": "n", "expr": [
                {"snat": {"addr": {"map": {"key": {}, "data": "@gone"}}, "port": 9}}]}}
        ]}"#;
        let mut rules = NatRules::default();
        assert!(rules.add_nft(text));
        let one = |address, ports| range(Some((address, address)), None, ports);
        let expected = [
            one("203.0.113.1", 6000..=6099),
            one("203.0.113.2", 7000..=7000),
            one("203.0.113.4", 5000..=5099),
            // Of a map that is not there nothing is known but the port.
            range(None, None, 9..=9),
        ];
        assert_eq!(rules.ranges, expected);
    }

    #[test]
    fn ranges_of_iptables_are_read_from_what_it_saves() {
        let mut rules = NatRules::default();
        rules.add_iptables(
            "*nat\n:POSTROUTING ACCEPT [0:0]\n\
             -A POSTROUTING -p udp -m udp -j MASQUERADE --to-ports 5000-5499\n\
             -A POSTROUTING -p tcp -j SNAT --to-source 203.0.113.4-203.0.113.9:6000-6999\n\
             -A POSTROUTING -o eth0 -j MASQUERADE\n\
             -A POSTROUTING -j SNAT --to-source 203.0.113.8\nCOMMIT\n\
             *filter\n-A INPUT -s 10.0.0.0/8 -j DROP\nCOMMIT\n",
            "iptables",
        );
        rules.add_iptables(
            "*filter\n-A INPUT -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n*nat\n\
             -A POSTROUTING -p tcp -j SNAT --to-source [2001:db8::1]:700\nCOMMIT\n",
            "ip6tables",
        );
        assert_eq!(
            rules.ranges,
            [
                range(None, Some(Protocol::UDP), 5000..=5499),
                range(
                    Some(("203.0.113.4", "203.0.113.9")),
                    Some(Protocol::TCP),
                    6000..=6999
                ),
                range(
                    Some(("2001:db8::1", "2001:db8::1")),
                    Some(Protocol::TCP),
                    700..=700
                ),
            ]
        );
        let trackers: Vec<&str> = rules.trackers.iter().map(String::as_str).collect();
        assert_eq!(
            trackers,
            ["ip6tables filter", "ip6tables nat", "iptables nat"]
        );
    }

    #[test]
    fn only_rules_about_connections_make_the_kernel_track() {
        for (expression, tracks) in [
            (
                r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}"#,
                true,
            ),
            (r#"{"ct timeout": "quiet"}"#, true),
            (
                r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "ct"}}"#,
                false,
            ),
            (r#"{"notrack": null}"#, false),
        ] {
            let text = format!(
                r#"{{"nftables": [{{"rule": {{"family": "inet", "table": "f", "expr": [{expression}, {{"accept": null}}]}}}}]}}"#
            );
            let mut rules = NatRules::default();
            rules.add_nft(&text);
            assert_eq!(!rules.trackers.is_empty(), tracks, "{expression}");
        }
    }
}
