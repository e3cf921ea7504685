//! What could be done about the largest group: rules for a firewall, to be read before use.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Family, Field, Protocol, TcpState, Top, Value};

/// RFC 5382 REQ-5, the least that an idle TCP connection may be given: 2 h 4 min.
const ESTABLISHED: u32 = 7440;

/// One source with this share of the group is taken for the cause of it.
const DOMINATES: f64 = 0.1;

/// The least limit that is proposed: fewer flows are what one browser opens.
const LEAST: u64 = 100;

/// What could be done about the largest group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remedy {
    /// The flows that it is about.
    pub(crate) target: Target,
    /// What it does with them.
    pub(crate) means: Means,
    /// Fields that tell the group apart and that no rule can ask for when a flow begins, so that
    /// the rules are about more flows than the group has.
    pub(crate) left_out: Vec<Field>,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Target {
    /// The family, if an address or the protocol tells.
    pub(crate) family: Option<Family>,
    /// Source addresses.
    pub(crate) src: Option<IpNet>,
    /// Destination addresses.
    pub(crate) dst: Option<IpNet>,
    /// The protocol.
    pub(crate) protocol: Option<Protocol>,
    /// Source port.
    pub(crate) sport: Option<u16>,
    /// Destination port.
    pub(crate) dport: Option<u16>,
}

/// How a group is kept small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// Idle TCP connections end after so many seconds: many sources hold a few each.
    Timeout(u32),
    /// A source may hold so many flows: a few hold many each, or flows end soon anyway.
    Limit(u64),
}

impl Remedy {
    /// The remedy for the largest group; none for an empty table.
    pub(crate) fn new(top: &Top) -> Option<Remedy> {
        let group = top.groups.first()?;
        let mut target = Target::default();
        let mut left_out = Vec::new();
        let mut state = None;
        for (column, value) in top.columns.iter().zip(&group.values) {
            match (column.field, *value) {
                (Field::State, Value::State(found)) => state = Some(found),
                (_, Value::Absent) => {}
                (field, value) if target.take(field, value) => {}
                (field, _) => left_out.push(field),
            }
        }
        if state.is_some() {
            target.protocol = Some(Protocol::TCP);
        }
        if target.ports_need_a_protocol() {
            // A port alone is no rule.
            (target.sport, target.dport) = (None, None);
            left_out.extend([Field::Sport, Field::Dport]);
        }
        let idle_tcp = target.protocol == Some(Protocol::TCP)
            && matches!(state, None | Some(TcpState::Established));
        let sources = top.lead.as_ref().and_then(|lead| lead.others.as_ref());
        let sources = sources.filter(|others| others.field == Field::Src);
        let one_dominates = sources.is_none_or(|others| others.largest >= DOMINATES);
        let means = if idle_tcp && !one_dominates {
            Means::Timeout(ESTABLISHED)
        } else {
            let count = sources.map_or(1, |others| others.count.max(1));
            // Four times what a source has on average; of one source alone, half of what it has.
            let usual = if count == 1 {
                group.flows / 2
            } else {
                4 * group.flows / count
            };
            Means::Limit(usual.max(LEAST))
        };
        Some(Remedy {
            target,
            means,
            left_out,
        })
    }
}

impl Target {
    /// Takes a value into account; false if no rule can ask for it.
    fn take(&mut self, field: Field, value: Value) -> bool {
        match (field, value) {
            (Field::Family, Value::Family(family)) => self.family = Some(family),
            (Field::Proto, Value::Protocol(protocol)) => {
                self.protocol = Some(protocol);
                match protocol {
                    Protocol::ICMP => self.family = Some(Family::Ipv4),
                    Protocol::ICMPV6 => self.family = Some(Family::Ipv6),
                    _ => {}
                }
            }
            (Field::Src, value) => self.src = self.net(value),
            (Field::Dst, value) => self.dst = self.net(value),
            (Field::Sport, Value::Port(port)) => self.sport = Some(port),
            (Field::Dport, Value::Port(port)) => self.dport = Some(port),
            _ => return false,
        }
        true
    }

    fn net(&mut self, value: Value) -> Option<IpNet> {
        let net = match value {
            Value::Address(address) => IpNet::from(address),
            Value::Net(net) => net,
            _ => return None,
        };
        self.family = Some(match net.addr() {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        });
        Some(net)
    }

    fn ports_need_a_protocol(&self) -> bool {
        let has_ports = matches!(
            self.protocol,
            Some(
                Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP | Protocol::DCCP
            )
        );
        !has_ports && (self.sport.is_some() || self.dport.is_some())
    }
}
