//! What could be done about the group that a listing speaks of: rules for a firewall, or advice
//! where no rule helps.
//!
//! In: the listing, the selection that was asked for, the flows of the group. Out: a [`Remedy`].
//! Rule: rules ask for the original tuple, which is the same before and behind NAT; they repeat
//! `--match` and spare what `--keep` names; a limit is lower than what the largest hosts hold now.

mod members;

pub(crate) use members::{Member, Members};

use super::{
    Family, Field, Numbers, Protocol, Quantity, Selection, TcpState, Term, Terms, Test, Top, Value,
};
use crate::diagnostic::Hint;
use crate::tunable::{Key, Snapshot, format_seconds};

/// RFC 5382 REQ-5, the least that an idle TCP connection may be given: 2 h 4 min.
const ESTABLISHED: u32 = 7440;
/// One host with this share of the group is a cause of it.
const DOMINATES: f64 = 0.1;
/// The least limit that is proposed: a browser opens as many flows.
const LEAST: u64 = 100;
/// A limit that stops a smaller share of the group does not help.
const HELPS: f64 = 0.2;
/// Fewer flows a host, and hardly one of them answered: sources are forged, or countless.
const FEW_A_HOST: f64 = 2.0;
const UNANSWERED: f64 = 0.9;

/// What could be done about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Rules for nftables.
    Rules(Rules),
    /// No rule helps: why, and what does.
    Advice { why: &'static str, help: Vec<Hint> },
}

/// Rules about new flows like those of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A flow that meets all terms of any of these is meant.
    pub(crate) about: Vec<Terms>,
    /// A flow that meets all terms of any of these is spared.
    pub(crate) spared: Vec<Terms>,
    pub(crate) means: Means,
    /// What describes the group and cannot be asked of a new flow, so that the rules are about more
    /// flows than the group has.
    pub(crate) left_out: Vec<String>,
}

/// How a group is kept small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Means {
    /// Idle TCP connections end sooner: many hosts hold a few each. Seconds by the name that nft
    /// has for the state; nft fills in its own defaults for what is left out, not the sysctls.
    Timeout(Vec<(&'static str, u32)>),
    /// A host may hold so many flows.
    Limit(u64),
}

impl Means {
    fn is_timeout(&self) -> bool {
        matches!(self, Means::Timeout(_))
    }
}

impl Rules {
    /// The same about `part` of `whole` flows: a limit is as much smaller as they are fewer.
    #[must_use]
    pub(crate) fn in_proportion(&self, part: u64, whole: u64) -> Rules {
        let mut rules = self.clone();
        if let Means::Limit(flows) = &mut rules.means {
            *flows = (*flows * part / whole.max(1)).max(1);
        }
        rules
    }
}

impl Remedy {
    /// The remedy for the group that the listing speaks of; none for an empty table.
    pub(crate) fn new(
        top: &Top,
        selection: &Selection,
        members: &Members,
        live: &Snapshot,
    ) -> Option<Remedy> {
        let group = top.cause.as_ref().filter(|_| !members.kept().is_empty())?;
        if let Some(advice) = long_timeout(top, members, live).or_else(|| forged(members)) {
            return Some(advice);
        }
        let means = means(group.flows, members, live);
        let Some(means) = means else {
            return Some(Remedy::Advice {
                why: "many hosts hold a few flows each: a limit for each host would stop next to \
                      none",
                help: vec![
                    Hint::cttune("plan campus-fw").to("a larger table and shorter timeouts"),
                    Hint::cttune("expire").to("shorten existing flows to the current timeouts"),
                ],
            });
        };
        let (terms, mut left_out) = group_terms(top, &group.values);
        if means.is_timeout() {
            // The timeout is that of this state alone.
            left_out.retain(|term| *term != format!("state={}", TcpState::Established));
        }
        let is_tcp = members.state().is_some();
        let any = [Terms(Vec::new())];
        let matching = match selection.matching.as_slice() {
            [] => &any,
            matching => matching,
        };
        let mut about = Vec::new();
        for alternative in matching {
            let (asked, not): (Vec<Term>, Vec<Term>) =
                alternative.0.iter().partition(|term| can_ask(&term.test));
            left_out.extend(not.iter().map(ToString::to_string));
            let mut all = asked;
            all.extend(terms.iter().filter(|term| !alternative.0.contains(term)));
            let is_state = |term: &Term| matches!(term.test, Test::State(_)) && !term.negated;
            let is_proto = |term: &Term| matches!(term.test, Test::Proto(_));
            if (is_tcp || alternative.0.iter().any(is_state)) && !all.iter().any(is_proto) {
                all.push(asked_for(Test::Proto(Protocol::TCP)));
            }
            about.push(Terms(all));
        }
        let can_spare = |terms: &&Terms| terms.0.iter().all(|term| can_ask(&term.test));
        let (spared, not): (Vec<&Terms>, Vec<&Terms>) = selection.keep.iter().partition(can_spare);
        left_out.extend(not.iter().map(|terms| format!("--keep {terms}")));
        left_out.sort_unstable();
        left_out.dedup();
        Some(Remedy::Rules(Rules {
            about,
            spared: spared.into_iter().cloned().collect(),
            means,
            left_out,
        }))
    }
}

/// Connections that close and wait for a long timeout are better mended there.
fn long_timeout(top: &Top, members: &Members, live: &Snapshot) -> Option<Remedy> {
    let (key, usual) = match members.state()? {
        TcpState::SynSent => (Key::TcpTimeoutSynSent, 120),
        TcpState::SynRecv => (Key::TcpTimeoutSynRecv, 60),
        TcpState::FinWait => (Key::TcpTimeoutFinWait, 120),
        TcpState::CloseWait => (Key::TcpTimeoutCloseWait, 60),
        TcpState::LastAck => (Key::TcpTimeoutLastAck, 30),
        TcpState::TimeWait => (Key::TcpTimeoutTimeWait, 120),
        TcpState::Close => (Key::TcpTimeoutClose, 10),
        _ => return None,
    };
    let now = live.value(key)?;
    let left = top.lead.as_ref().and_then(|lead| lead.half_life);
    let mut help = Vec::new();
    if now > usual {
        let name = key.file_name().trim_start_matches("nf_conntrack_");
        let usual = format_seconds(usual);
        help.push(Hint::cttune(format!("apply --set {name}={usual}")).to("shorten the timeout"));
    } else if left.is_none_or(|left| i64::from(left) <= now) {
        return None;
    }
    help.push(Hint::cttune("expire").to("shorten existing flows to the timeout"));
    Some(Remedy::Advice {
        why: "these connections are closing and have more time left than they need",
        help,
    })
}

/// Against sources that hold one flow each and are never answered no limit for each helps.
fn forged(members: &Members) -> Option<Remedy> {
    let hosts = as_f64(members.by_host().len() as u64);
    let flows = as_f64(members.kept().len() as u64);
    let unanswered = members.share(|member| !member.is_answered);
    if flows < as_f64(LEAST) || flows >= FEW_A_HOST * hosts || unanswered < UNANSWERED {
        return None;
    }
    let is_tcp = |member: &Member| member.original.protocol == Protocol::TCP;
    let help = if members.share(is_tcp) > DOMINATES {
        vec![
            Hint::say(
                "let SYN cookies answer for the server: nft `synproxy` here, or on the server \
                 net.ipv4.tcp_syncookies=1",
            ),
            Hint::cttune("apply --set tcp_timeout_syn_sent=20s --set tcp_timeout_syn_recv=20s")
                .to("end half-open connections sooner"),
            Hint::say("do not track the service: nft `notrack` in both directions"),
        ]
    } else {
        vec![
            Hint::say("do not track the service: nft `notrack` in both directions"),
            Hint::cttune("apply --set udp_timeout=10s").to("end unanswered UDP flows sooner"),
        ]
    };
    Some(Remedy::Advice {
        why: "nearly every flow has a source of its own and was never answered: the sources are \
              probably forged, and a limit for each would stop none",
        help,
    })
}

/// A timeout for idle connections of many hosts, a limit for hosts with many flows, or none.
fn means(flows: u64, members: &Members, live: &Snapshot) -> Option<Means> {
    let hosts = members.by_host();
    let kept = as_f64(members.kept().len() as u64);
    let largest = hosts.values().copied().max().unwrap_or(0);
    let is_idle_tcp = members.share(|member| {
        member.original.protocol == Protocol::TCP && member.state == Some(TcpState::Established)
    }) >= UNANSWERED;
    let now = live.value(Key::TcpTimeoutEstablished);
    if is_idle_tcp
        && as_f64(largest) < DOMINATES * kept
        && now.is_none_or(|now| now > i64::from(ESTABLISHED))
    {
        return Some(Means::Timeout(policy(live)));
    }
    let scale = as_f64(flows) / kept;
    let level = level(hosts.values().copied().collect());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of a table, below 2^31
    let limit = ((as_f64(level) * scale).round() as u64).max(LEAST);
    let over = |flows: &u64| (as_f64(*flows) * scale - as_f64(limit)).max(0.0);
    let stopped: f64 = hosts.values().map(over).sum();
    (stopped >= HELPS * as_f64(flows)).then_some(Means::Limit(limit))
}

/// The timeouts that connections have now, but for the established ones.
fn policy(live: &Snapshot) -> Vec<(&'static str, u32)> {
    let others = [
        ("syn_sent", Key::TcpTimeoutSynSent),
        ("syn_recv", Key::TcpTimeoutSynRecv),
        ("fin_wait", Key::TcpTimeoutFinWait),
        ("close_wait", Key::TcpTimeoutCloseWait),
        ("last_ack", Key::TcpTimeoutLastAck),
        ("time_wait", Key::TcpTimeoutTimeWait),
        ("close", Key::TcpTimeoutClose),
        ("retrans", Key::TcpTimeoutMaxRetrans),
        ("unack", Key::TcpTimeoutUnacknowledged),
    ];
    let mut policy = vec![("established", ESTABLISHED)];
    policy.extend(others.into_iter().filter_map(|(name, key)| {
        let seconds = u32::try_from(live.value(key)?).ok()?;
        Some((name, seconds))
    }));
    policy
}

/// The limit for each host under which half of the flows are left.
fn level(mut flows: Vec<u64>) -> u64 {
    flows.sort_unstable();
    let mut left = flows.iter().sum::<u64>() / 2;
    let mut hosts = flows.len() as u64;
    for number in flows {
        if number * hosts >= left {
            return left / hosts;
        }
        left -= number;
        hosts -= 1;
    }
    0
}

/// What the group is described by, as terms; the rest by name.
fn group_terms(top: &Top, values: &[Value]) -> (Vec<Term>, Vec<String>) {
    let mut terms = Vec::new();
    let mut left_out = Vec::new();
    for (column, value) in top.columns.iter().zip(values) {
        if *value == Value::Absent {
            continue;
        }
        match term(column.field, *value).filter(|term| can_ask(&term.test)) {
            Some(term) => terms.push(term),
            None => left_out.push(format!("{}={value}", column.field.name())),
        }
    }
    (terms, left_out)
}

fn asked_for(test: Test) -> Term {
    Term {
        test,
        negated: false,
    }
}

fn term(field: Field, value: Value) -> Option<Term> {
    let net = match value {
        Value::Address(address) => Some(address.into()),
        Value::Net(net) => Some(net),
        _ => None,
    };
    let test = match (field, value) {
        (Field::Src, _) => Test::Src(net?),
        (Field::Dst, _) => Test::Dst(net?),
        (Field::Sport, Value::Port(port)) => Test::Number(Quantity::SourcePort, Numbers::one(port)),
        (Field::Dport, Value::Port(port)) => {
            Test::Number(Quantity::DestinationPort, Numbers::one(port))
        }
        (Field::Proto, Value::Protocol(protocol)) => Test::Proto(protocol),
        (Field::Family, Value::Family(family)) => Test::Family(family),
        (Field::Zone, Value::Zone(zone)) => Test::Number(Quantity::Zone, Numbers::one(zone)),
        _ => return None,
    };
    Some(asked_for(test))
}

/// Whether a rule can ask it of the first packet of a flow.
pub(crate) fn can_ask(test: &Test) -> bool {
    matches!(
        test,
        Test::Src(_)
            | Test::Dst(_)
            | Test::Proto(_)
            | Test::Family(_)
            | Test::Number(
                Quantity::SourcePort | Quantity::DestinationPort | Quantity::Zone,
                _
            )
    )
}

/// The families of flows that can meet these terms.
pub(crate) fn families(terms: &Terms) -> Vec<Family> {
    let of = |term: &Term| match term.test {
        _ if term.negated => None,
        Test::Src(net) | Test::Dst(net) => Value::Net(net).family(),
        Test::Family(family) => Some(family),
        Test::Proto(Protocol::ICMP) => Some(Family::Ipv4),
        Test::Proto(Protocol::ICMPV6) => Some(Family::Ipv6),
        _ => None,
    };
    match terms.0.iter().find_map(of) {
        Some(family) => vec![family],
        None => Family::ALL.to_vec(),
    }
}

#[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_leaves_half_of_the_flows() {
        for (flows, expected) in [
            (&[4000][..], 2000),
            (&[100, 100], 50),
            (&[10, 10, 980], 480),
            (&[1, 2, 3, 994], 494),
            (&[], 0),
        ] {
            let limit = level(flows.to_vec());
            assert_eq!(limit, expected, "{flows:?}");
            let left: u64 = flows.iter().map(|flows| limit.min(*flows)).sum();
            assert!(left <= flows.iter().sum::<u64>() / 2, "{flows:?}");
        }
    }
}
