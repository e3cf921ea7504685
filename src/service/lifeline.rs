//! The lifeline: traffic of the operators that is kept out of connection tracking, so that a full
//! table cannot lock them out.
//!
//! Each network and port has rules for both directions, where packets arrive and where the machine
//! sends its own, at the priority of raw: connection tracking looks at packets later.

use std::collections::BTreeSet;

use crate::flow::{Selection, Terms};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Whom and which TCP ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lifeline {
    #[cfg_attr(test, schemars(with = "BTreeSet<String>"))]
    pub(crate) from: BTreeSet<IpNet>,
    pub(crate) ports: BTreeSet<u16>,
}

impl Lifeline {
    /// The rules of one chain.
    pub(super) fn rules(&self) -> impl Iterator<Item = String> + '_ {
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        let (set, list) = (ports.join(", "), ports.join(","));
        self.from.iter().flat_map(move |net| {
            let header = match net {
                IpNet::V4(_) => "ip",
                IpNet::V6(_) => "ip6",
            };
            let rule = |end: &str, port: &str| {
                format!(
                    "{header} {end}addr {net} tcp {port}port {{ {set} }} notrack comment \
                     \"{net} {list}\""
                )
            };
            [rule("s", "d"), rule("d", "s")]
        })
    }

    /// Takes in what the comment of a rule says; whether it says anything.
    pub(super) fn add(&mut self, comment: &str) -> bool {
        let Some((net, ports)) = comment.split_once(' ') else {
            return false;
        };
        let ports: Result<Vec<u16>, _> = ports.split(',').map(str::parse).collect();
        let (Ok(net), Ok(ports)) = (net.parse(), ports) else {
            return false;
        };
        self.from.insert(net);
        self.ports.extend(ports);
        true
    }

    /// The flows that it does not track any more.
    pub(crate) fn tracked(&self) -> Selection {
        let terms = |net: &IpNet, end: &str, port: &str, number: &u16| {
            Terms::parse(&format!("proto=tcp,{end}={net},{port}={number}")).ok()
        };
        let of = |net, number| {
            [
                terms(net, "src", "dport", number),
                terms(net, "dst", "sport", number),
            ]
        };
        let nets = self.from.iter();
        let matching = nets.flat_map(|net| self.ports.iter().flat_map(move |port| of(net, port)));
        Selection {
            matching: matching.flatten().collect(),
            keep: Vec::new(),
        }
    }

    /// More ports than the comment of a rule names.
    pub(crate) const MOST_PORTS: usize = 12;
}
