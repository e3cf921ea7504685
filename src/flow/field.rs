//! What flows can be grouped by: the names that terms have, and a flow's value under each.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::terms::offer;
use super::{Family, Flow, Protocol, Status, StatusBit, TcpState};
use crate::diagnostic::{Advise, Hint};

macro_rules! fields {
    ($( $variant:ident $name:literal $doc:literal, )*) => {
        /// Something that flows can be grouped by, named as in a term.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Field {
            $( #[doc = $doc] $variant, )*
        }

        impl Field {
            /// Every one of them, in the order in which a listing shows them.
            pub(crate) const ALL: &'static [Field] = &[ $( Field::$variant, )* ];

            /// The name that terms and listings use.
            pub(crate) fn name(self) -> &'static str {
                match self { $( Field::$variant => $name, )* }
            }
        }
    };
}

fields! {
    Family "family" "IPv4 or IPv6.",
    Proto "proto" "The protocol.",
    State "state" "Where a TCP connection stands.",
    Src "src" "The source of the original direction.",
    Sport "sport" "The source port of the original direction.",
    Dst "dst" "The destination of the original direction.",
    Dport "dport" "The destination port of the original direction.",
    ReplySrc "reply-src" "The source of replies.",
    ReplyDst "reply-dst" "The destination of replies.",
    Zone "zone" "The zone.",
    Mark "mark" "The mark.",
    Status "status" "The status bits.",
    Helper "helper" "The helper.",
    Label "label" "The labels.",
    Service "service" "The service of the profile that has it.",
}

/// How many bits of an address tell groups apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Prefixes {
    /// Of IPv6 addresses, 0 to 128.
    pub(crate) v6: u8,
    /// Of IPv4 addresses, 0 to 32.
    pub(crate) v4: u8,
}

/// A field and, for an address, how much of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    /// The field.
    pub(crate) field: Field,
    /// Without effect on fields that are no address.
    pub(crate) prefixes: Prefixes,
}

/// A flow's value under a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    /// The flow has none: a port of an ESP flow, a TCP state of a UDP flow.
    Absent,
    /// An address.
    Address(IpAddr),
    /// The part of an address that counts.
    Net(IpNet),
    /// A port.
    Port(u16),
    /// A protocol.
    Protocol(Protocol),
    /// A TCP state.
    State(TcpState),
    /// A family.
    Family(Family),
    /// A mark.
    Mark(u32),
    /// A zone.
    Zone(u16),
    /// A status word.
    Status(u32),
    /// The name of a helper, filled up with zeros.
    Helper([u8; 16]),
    /// Labels, by their bits, the highest first.
    Labels([u8; 16]),
    /// A service.
    Service(&'static str),
}

/// The values of a group, one under each column. Up to two take no memory of their own: a large
/// table has hundreds of thousands of groups.
pub(crate) type Values = SmallVec<[Value; 2]>;

/// Why `--by` or `--prefix` was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct FieldError {
    problem: String,
    help: String,
}

impl Advise for FieldError {
    fn hint(&self) -> Option<Hint> {
        Some(Hint::say(self.help.clone()))
    }
}

impl Field {
    /// Reads `dst,dport`; each field once.
    ///
    /// # Errors
    /// For the first name that is no field, or comes twice.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Field>, FieldError> {
        let mut fields = Vec::new();
        for name in text.split(',').map(str::trim) {
            let field = name.parse()?;
            if fields.contains(&field) {
                return Err(FieldError {
                    problem: format!("`{name}` comes twice"),
                    help: "name each field once".to_owned(),
                });
            }
            fields.push(field);
        }
        Ok(fields)
    }
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(name: &str) -> Result<Self, FieldError> {
        let named = Field::ALL.iter().find(|field| field.name() == name);
        named.copied().ok_or_else(|| FieldError {
            problem: format!("flows cannot be grouped by `{name}`"),
            help: offer(name, Field::ALL.iter().map(|field| field.name())),
        })
    }
}

impl Prefixes {
    /// Whole addresses.
    pub(crate) const WHOLE: Prefixes = Prefixes { v6: 128, v4: 32 };
    /// What one host has: every IPv6 host has a /64 of addresses to choose from.
    pub(crate) const HOST: Prefixes = Prefixes { v6: 64, v4: 32 };
    /// A network of hosts.
    pub(crate) const USUAL: Prefixes = Prefixes { v6: 64, v4: 24 };
    /// A site of several IPv6 networks, or one IPv4 network.
    pub(crate) const SITE: Prefixes = Prefixes { v6: 48, v4: 24 };
}

impl FromStr for Prefixes {
    type Err = FieldError;

    /// Reads `64,24`: IPv6 first.
    fn from_str(text: &str) -> Result<Self, FieldError> {
        let read = text.split_once(',').and_then(|(v6, v4)| {
            let prefixes = Prefixes {
                v6: v6.trim().parse().ok()?,
                v4: v4.trim().parse().ok()?,
            };
            (prefixes.v6 <= 128 && prefixes.v4 <= 32).then_some(prefixes)
        });
        read.ok_or_else(|| FieldError {
            problem: format!("`{text}` is not a pair of prefix lengths"),
            help: "write 64,24: bits of IPv6 addresses, then of IPv4 ones".to_owned(),
        })
    }
}

impl Column {
    /// A column of whole values.
    pub(crate) const fn whole(field: Field) -> Column {
        let prefixes = Prefixes::WHOLE;
        Column { field, prefixes }
    }

    /// The flow's value.
    #[inline(always)]
    pub(super) fn of(self, flow: &impl Told) -> Value {
        let port = |port: Option<u16>| port.map_or(Value::Absent, Value::Port);
        match self.field {
            Field::Family => Value::Family(flow.family()),
            Field::Proto => Value::Protocol(flow.protocol()),
            Field::State => flow.state().map_or(Value::Absent, Value::State),
            Field::Src => self.prefixes.of(flow.src()),
            Field::Dst => self.prefixes.of(flow.dst()),
            Field::ReplySrc => self.prefixes.of(flow.reply_src()),
            Field::ReplyDst => self.prefixes.of(flow.reply_dst()),
            Field::Sport => port(flow.ports().map(|(src, _)| src)),
            Field::Dport => port(flow.ports().map(|(_, dst)| dst)),
            Field::Zone => Value::Zone(flow.zone()),
            Field::Mark => Value::Mark(flow.mark()),
            Field::Status => Value::Status(flow.status().0),
            Field::Helper => flow.helper().map_or(Value::Absent, Value::Helper),
            Field::Label => flow.labels().map_or(Value::Absent, Value::Labels),
            Field::Service => flow.service().map_or(Value::Absent, Value::Service),
        }
    }
}

impl Prefixes {
    #[inline(always)]
    pub(super) fn of(self, address: IpAddr) -> Value {
        let length = match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        };
        if self == Prefixes::WHOLE {
            return Value::Address(address);
        }
        match IpNet::new(address, length) {
            Ok(net) if net.prefix_len() < net.max_prefix_len() => Value::Net(net.trunc()),
            _ => Value::Address(address),
        }
    }
}

macro_rules! told {
    ($( $(#[$doc:meta])* $name:ident: $kind:ty, )*) => {
        /// What a listing wants to know of a flow.
        pub(super) trait Told {
            $( $(#[$doc])* fn $name(&self) -> $kind; )*
        }

        /// The same, without the bytes that told of it.
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Facts {
            $( pub(super) $name: $kind, )*
        }

        impl Facts {
            pub(super) fn of(flow: &impl Told) -> Self {
                Facts { $( $name: flow.$name(), )* }
            }
        }

        impl Told for Facts {
            $( #[inline(always)] fn $name(&self) -> $kind { self.$name } )*
        }
    };
}

told! {
    src: IpAddr,
    dst: IpAddr,
    reply_src: IpAddr,
    reply_dst: IpAddr,
    ports: Option<(u16, u16)>,
    protocol: Protocol,
    state: Option<TcpState>,
    family: Family,
    mark: u32,
    zone: u16,
    status: Status,
    /// Remaining seconds.
    timeout: Option<u32>,
    /// Packets and bytes of both directions, where they are counted.
    traffic: Option<(u64, u64)>,
    helper: Option<[u8; 16]>,
    labels: Option<[u8; 16]>,
    service: Option<&'static str>,
}

/// A flow while its bytes are there, and the service that it is of, if flows are counted by
/// services.
pub(super) struct Seen<'a> {
    pub(super) flow: &'a Flow<'a>,
    pub(super) service: Option<&'static str>,
}

#[rustfmt::skip] // one line for each
impl Told for Seen<'_> {
    #[inline(always)] fn src(&self) -> IpAddr { self.flow.original.src }
    #[inline(always)] fn dst(&self) -> IpAddr { self.flow.original.dst }
    #[inline(always)] fn reply_src(&self) -> IpAddr { self.flow.reply.src }
    #[inline(always)] fn reply_dst(&self) -> IpAddr { self.flow.reply.dst }
    #[inline(always)] fn ports(&self) -> Option<(u16, u16)> { self.flow.original.ports() }
    #[inline(always)] fn protocol(&self) -> Protocol { self.flow.original.protocol }
    #[inline(always)] fn state(&self) -> Option<TcpState> { self.flow.tcp_state() }
    #[inline(always)] fn family(&self) -> Family { self.flow.family }
    #[inline(always)] fn mark(&self) -> u32 { self.flow.mark }
    #[inline(always)] fn zone(&self) -> u16 { self.flow.zone() }
    #[inline(always)] fn status(&self) -> Status { self.flow.status }
    #[inline(always)] fn timeout(&self) -> Option<u32> { self.flow.timeout }
    #[inline(always)] fn traffic(&self) -> Option<(u64, u64)> { Some(self.flow.counters?.both()) }
    #[inline(always)] fn helper(&self) -> Option<[u8; 16]> { self.flow.helper.map(filled) }
    #[inline(always)] fn labels(&self) -> Option<[u8; 16]> {
        let bits = |labels| u128::from_le_bytes(filled(labels)).to_be_bytes();
        self.flow.labels.map(bits)
    }
    #[inline(always)] fn service(&self) -> Option<&'static str> { self.service }
}

impl<'a> From<&'a Flow<'a>> for Seen<'a> {
    fn from(flow: &'a Flow<'a>) -> Self {
        let service = None;
        Seen { flow, service }
    }
}

#[cfg(test)]
impl From<&Flow<'_>> for Facts {
    fn from(flow: &Flow<'_>) -> Self {
        Facts::of(&Seen::from(flow))
    }
}

/// Two values of a column differ in what is hashed. The derived hash takes three times as long.
impl Hash for Value {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bits = |address| match address {
            IpAddr::V4(address) => (1, u128::from(address.to_bits())),
            IpAddr::V6(address) => (2, address.to_bits()),
        };
        let (kind, number) = match *self {
            Value::Absent => (0, 0),
            Value::Address(address) => bits(address),
            Value::Net(net) => {
                let (kind, number) = bits(net.addr());
                (kind + 2 * (1 + net.prefix_len()), number)
            }
            Value::Port(number) | Value::Zone(number) => (1, number.into()),
            Value::Protocol(Protocol(number)) => (1, number.into()),
            Value::State(state) => (1, state as u128),
            Value::Family(family) => (1, family.number().into()),
            Value::Mark(number) | Value::Status(number) => (1, number.into()),
            Value::Helper(name) => (1, u128::from_le_bytes(name)),
            Value::Labels(bits) => (1, u128::from_be_bytes(bits)),
            Value::Service(name) => {
                name.hash(state);
                (1, 0)
            }
        };
        state.write_u128(number);
        state.write_u8(kind);
    }
}

impl Value {
    /// A number that is not larger where the value is not: of addresses the bits in front.
    pub(super) fn leading(&self) -> u64 {
        let bits = |address| match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            // Behind all of IPv4.
            IpAddr::V6(address) => (1 << 63) | (address.to_bits() >> 65) as u64,
        };
        match *self {
            Value::Address(address) => bits(address),
            Value::Port(number) => number.into(),
            _ => 0,
        }
    }

    /// The family of an address.
    pub(crate) fn family(self) -> Option<Family> {
        match self {
            Value::Address(IpAddr::V4(_)) | Value::Net(IpNet::V4(_)) => Some(Family::Ipv4),
            Value::Address(IpAddr::V6(_)) | Value::Net(IpNet::V6(_)) => Some(Family::Ipv6),
            Value::Family(family) => Some(family),
            _ => None,
        }
    }
}

/// The first bytes, filled up with zeros.
fn filled(bytes: &[u8]) -> [u8; 16] {
    let mut filled = [0; 16];
    for (to, from) in filled.iter_mut().zip(bytes) {
        *to = *from;
    }
    filled
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent => f.pad("-"),
            Value::Address(address) => f.pad(&address.to_string()),
            Value::Net(net) => f.pad(&net.to_string()),
            Value::Port(number) | Value::Zone(number) => f.pad(&number.to_string()),
            Value::Protocol(protocol) => protocol.fmt(f),
            Value::State(state) => state.fmt(f),
            Value::Family(family) => family.fmt(f),
            Value::Mark(mark) => f.pad(&format!("{mark:#x}")),
            Value::Status(word) => f.pad(&status_names(*word)),
            Value::Helper(name) => {
                let name = String::from_utf8_lossy(name);
                let printable = |c: &char| c.is_ascii_graphic();
                f.pad(&name.chars().filter(printable).collect::<String>())
            }
            Value::Labels(bits) => f.pad(&label_numbers(u128::from_be_bytes(*bits))),
            Value::Service(name) => f.pad(name),
        }
    }
}

/// The numbers of the bits that are set, joined by `+`.
fn label_numbers(bits: u128) -> String {
    let set = (0..u128::BITS).filter(|number| bits >> number & 1 == 1);
    let numbers: Vec<String> = set.map(|number| number.to_string()).collect();
    if numbers.is_empty() {
        "-".to_owned()
    } else {
        numbers.join("+")
    }
}

/// The bits that have a name, joined by `+`.
fn status_names(word: u32) -> String {
    let set = |bit: &&StatusBit| Status(word).has(**bit);
    let names: Vec<_> = StatusBit::ALL
        .iter()
        .filter(set)
        .map(|b| b.name())
        .collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join("+")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leading_number_of_values_has_their_order() {
        let address = |text: &str| Value::Address(text.parse().unwrap());
        let values = [
            Value::Absent,
            address("0.0.0.1"),
            address("9.255.0.1"),
            address("10.0.0.1"),
            address("255.255.255.255"),
            address("::"),
            address("::1"),
            address("2001:db8::1"),
            address("2001:db8:0:1::"),
            address("ffff::"),
        ];
        assert!(values.is_sorted());
        assert!(values.map(|value| value.leading()).is_sorted());
        let ports = [0, 80, 256, 65_535].map(Value::Port);
        assert!(ports.is_sorted() && ports.map(|port| port.leading()).is_sorted());
        assert!(address("10.0.0.1").leading() < address("10.0.0.2").leading());
    }
}
