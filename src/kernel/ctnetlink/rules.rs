//! Which flows the rules of nft can attach a timeout policy to.
//!
//! In: the rules of all tables. Out: for each policy a selection that covers every flow which a rule
//! could have attached it to. Rule: what is not understood of a rule (sets, marks, interfaces) is
//! left out, so that the selection is too wide rather than too narrow. A rule sees a flow's first
//! packet before or after its addresses are translated: both are covered.
//! Follows linux/netfilter/nf_tables.h.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::conntrack::{Attribute, Attributes, Family, Malformed, Protocol};
use crate::flow::{Numbers, Quantity, Selection, Term, Terms, Test};

use super::listing::{ListError, list};
use super::policies::CT_TIMEOUT;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETRULE`.
const GET_RULE: u16 = 0x0a07;
/// `NFTA_RULE_TABLE` and `NFTA_RULE_EXPRESSIONS`.
const RULE_TABLE: u16 = 1;
const RULE_EXPRESSIONS: u16 = 4;
/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA` and `NFTA_DATA_VALUE`.
const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;

/// What the rules attach, by family and table.
#[derive(Debug, Default)]
pub(super) struct Attachments(BTreeMap<(u8, String), Vec<Attachment>>);

/// The name of a policy, or none for a map of names; and what the rule asks of a flow.
type Attachment = (Option<String>, Match);

impl Attachments {
    /// Reads the rules of the calling thread's network namespace.
    pub(super) fn read() -> Result<Self, ListError> {
        let mut attachments = Attachments::default();
        list(GET_RULE, |family, attributes| {
            attachments.take(family, attributes)
        })?;
        Ok(attachments)
    }

    pub(super) fn take(&mut self, family: u8, attributes: Attributes<'_>) -> Result<(), Malformed> {
        let (mut table, mut rule) = (String::new(), Rule::default());
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                RULE_TABLE => table = text(attribute),
                RULE_EXPRESSIONS => rule.take(attribute)?,
                _ => {}
            }
        }
        let attached = rule
            .attaches
            .into_iter()
            .map(|name| (name, rule.matches.clone()));
        self.0.entry((family, table)).or_default().extend(attached);
        Ok(())
    }

    /// The flows that the policy of this name can be attached to; all where no rule names it, since
    /// a rule that is gone may have.
    pub(super) fn of(&self, family: u8, table: &str, policy: &str) -> Selection {
        let rules = self.0.get(&(family, table.to_owned()));
        let rules = rules.into_iter().flatten();
        let naming = rules.filter(|(name, _)| name.as_deref().is_none_or(|name| name == policy));
        Selection {
            matching: naming
                .flat_map(|(_, matches)| matches.selections())
                .collect(),
            keep: Vec::new(),
        }
    }
}

/// A string of netfilter: it may end with a zero.
pub(super) fn text(attribute: Attribute<'_>) -> String {
    let text = String::from_utf8_lossy(attribute.value);
    text.trim_end_matches('\0').to_owned()
}

/// A part of a packet that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Protocol,
    /// So many first bytes of an address, the family, and whether it is the original direction's
    /// for sure.
    Source(usize, Family, bool),
    Destination(usize, Family, bool),
    SourcePort(bool),
    DestinationPort(bool),
}

/// What a rule asks of a flow, as far as it is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Match {
    protocol: Option<Protocol>,
    source: Option<(IpNet, bool)>,
    destination: Option<(IpNet, bool)>,
    source_port: Option<(Numbers, bool)>,
    destination_port: Option<(Numbers, bool)>,
}

/// A rule while its expressions are read.
#[derive(Debug, Default)]
struct Rule {
    /// What each register holds.
    registers: BTreeMap<u32, (Part, Option<Vec<u8>>)>,
    matches: Match,
    attaches: Vec<Option<String>>,
}

impl Rule {
    fn take(&mut self, expressions: Attribute<'_>) -> Result<(), Malformed> {
        for expression in expressions.nested() {
            let (mut name, mut fields) = (String::new(), Fields::default());
            for attribute in expression?.nested() {
                let attribute = attribute?;
                match attribute.kind {
                    NAME => name = text(attribute),
                    DATA => fields = Fields::of(attribute)?,
                    _ => {}
                }
            }
            self.expression(&name, &fields);
        }
        Ok(())
    }

    fn expression(&mut self, name: &str, fields: &Fields<'_>) {
        match name {
            "meta" => self.load(
                fields.number(1),
                (fields.number(2) == Some(16)).then_some(Part::Protocol),
            ),
            "payload" => self.load(fields.number(1), payload(fields)),
            "ct" => self.load(fields.number(1), ct(fields)),
            "bitwise" => {
                let part = self.held(fields.number(1)).map(|(part, _)| part);
                let mask = fields.value(4);
                self.registers
                    .retain(|register, _| Some(*register) != fields.number(2));
                if let (Some(part), Some(mask), Some(into)) = (part, mask, fields.number(2)) {
                    self.registers.insert(into, (part, Some(mask.to_vec())));
                }
            }
            // Equal to a value.
            "cmp" if fields.number(2) == Some(0) => {
                if let (Some((part, mask)), Some(value)) =
                    (self.held(fields.number(1)), fields.value(3))
                {
                    self.matches.narrow(part, mask.as_deref(), value, value);
                }
            }
            // nft writes a range as two bounds: at most, at least.
            "cmp" if matches!(fields.number(2), Some(3 | 5)) => {
                if let (Some((part, None)), Some(value)) =
                    (self.held(fields.number(1)), fields.value(3))
                {
                    self.matches.bound(part, fields.number(2) == Some(3), value);
                }
            }
            "range" if fields.number(2) == Some(0) => {
                if let (Some((part, None)), Some(from), Some(to)) = (
                    self.held(fields.number(1)),
                    fields.value(3),
                    fields.value(4),
                ) {
                    self.matches.narrow(part, None, from, to);
                }
            }
            "objref" if fields.number(1) == Some(CT_TIMEOUT) => {
                self.attaches.push(fields.get(2).map(text));
            }
            // A map of names: which of them a flow gets is not worked out.
            "objref" if fields.get(4).is_some() => self.attaches.push(None),
            _ => {}
        }
    }

    fn load(&mut self, register: Option<u32>, part: Option<Part>) {
        let Some(register) = register else { return };
        self.registers.remove(&register);
        if let Some(part) = part {
            self.registers.insert(register, (part, None));
        }
    }

    fn held(&self, register: Option<u32>) -> Option<(Part, Option<Vec<u8>>)> {
        self.registers.get(&register?).cloned()
    }
}

/// A part of the packet's headers; nothing for one that is not understood.
fn payload(fields: &Fields<'_>) -> Option<Part> {
    let (base, offset) = (fields.number(2)?, fields.number(3)?);
    let length = fields.number(4)? as usize;
    match (base, offset, length) {
        (1, 6 | 9, 1) => Some(Part::Protocol),
        // Of IPv4 an address begins at 12 and 16, of IPv6 at 8 and 24.
        (1, 12, 1..=4) => Some(Part::Source(length, Family::Ipv4, false)),
        (1, 8, 2..=16) => Some(Part::Source(length, Family::Ipv6, false)),
        (1, 16, 1..=4) => Some(Part::Destination(length, Family::Ipv4, false)),
        (1, 24, 1..=16) => Some(Part::Destination(length, Family::Ipv6, false)),
        (2, 0, 2) => Some(Part::SourcePort(false)),
        (2, 2, 2) => Some(Part::DestinationPort(false)),
        _ => None,
    }
}

/// A part of the flow's original direction.
fn ct(fields: &Fields<'_>) -> Option<Part> {
    const ORIGINAL: u8 = 0;
    let is_original = fields.get(3)?.byte().ok()? == ORIGINAL;
    match fields.number(2)? {
        10 if is_original => Some(Part::Protocol),
        11 if is_original => Some(Part::SourcePort(true)),
        12 if is_original => Some(Part::DestinationPort(true)),
        19 if is_original => Some(Part::Source(4, Family::Ipv4, true)),
        20 if is_original => Some(Part::Destination(4, Family::Ipv4, true)),
        21 if is_original => Some(Part::Source(16, Family::Ipv6, true)),
        22 if is_original => Some(Part::Destination(16, Family::Ipv6, true)),
        _ => None,
    }
}

impl Match {
    /// Takes a condition in: the part lies between two values, under a mask.
    fn narrow(&mut self, part: Part, mask: Option<&[u8]>, from: &[u8], to: &[u8]) {
        match part {
            Part::Protocol if mask.is_none() && from == to => {
                self.protocol = from.first().copied().map(Protocol);
            }
            Part::Source(length, family, sure) => {
                self.source = net((length, family), mask, from, to).map(|net| (net, sure));
            }
            Part::Destination(length, family, sure) => {
                self.destination = net((length, family), mask, from, to).map(|net| (net, sure));
            }
            Part::SourcePort(sure) if mask.is_none() => {
                self.source_port = ports(from, to).map(|ports| (ports, sure));
            }
            Part::DestinationPort(sure) if mask.is_none() => {
                self.destination_port = ports(from, to).map(|ports| (ports, sure));
            }
            _ => {}
        }
    }

    /// Takes in that a port is at most, or at least, a value.
    fn bound(&mut self, part: Part, is_upper: bool, value: &[u8]) {
        let (place, sure) = match part {
            Part::SourcePort(sure) => (&mut self.source_port, sure),
            Part::DestinationPort(sure) => (&mut self.destination_port, sure),
            _ => return,
        };
        let Some(Numbers { first: limit, .. }) = ports(value, value) else {
            return;
        };
        let mut held = place.map_or(
            Numbers {
                first: 0,
                last: 65535,
            },
            |(ports, _)| ports,
        );
        *(if is_upper {
            &mut held.last
        } else {
            &mut held.first
        }) = limit;
        *place = Some((held, sure));
    }

    /// The terms that together cover every flow whose first packet may match, translated or not.
    fn selections(&self) -> Vec<Terms> {
        let mut selections: Vec<Terms> = Vec::new();
        for (source, destination) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut tests = Vec::new();
            tests.extend(self.protocol.map(Test::Proto));
            tests.extend(either(self.source, source, Test::Src, Test::ReplyDst));
            let port = |quantity| move |ports| Test::Number(quantity, ports);
            let here = port(Quantity::SourcePort);
            let back = port(Quantity::ReplyDestinationPort);
            tests.extend(either(self.source_port, source, here, back));
            tests.extend(either(
                self.destination,
                destination,
                Test::Dst,
                Test::ReplySrc,
            ));
            let here = port(Quantity::DestinationPort);
            let back = port(Quantity::ReplySourcePort);
            tests.extend(either(self.destination_port, destination, here, back));
            let terms = tests.into_iter().map(|test| Term {
                test,
                negated: false,
            });
            let terms = Terms(terms.collect());
            if !selections.contains(&terms) {
                selections.push(terms);
            }
        }
        selections
    }
}

/// The test of a value: of the original direction, or where it may be translated of the reply's.
fn either<T>(
    value: Option<(T, bool)>,
    is_translated: bool,
    original: impl FnOnce(T) -> Test,
    reply: impl FnOnce(T) -> Test,
) -> Option<Test> {
    let (value, sure) = value?;
    Some(if is_translated && !sure {
        reply(value)
    } else {
        original(value)
    })
}

/// The prefix that the first bytes of an address make.
fn net(part: (usize, Family), mask: Option<&[u8]>, from: &[u8], to: &[u8]) -> Option<IpNet> {
    let (length, family) = part;
    if from != to {
        return None;
    }
    let bits = match mask {
        None => length * 8,
        Some(mask) => mask.iter().map(|byte| byte.leading_ones() as usize).sum(),
    };
    let mut bytes = [0; 16];
    bytes
        .get_mut(..length)?
        .copy_from_slice(from.get(..length)?);
    let address = match family {
        Family::Ipv4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        Family::Ipv6 => IpAddr::from(bytes),
    };
    let net = IpNet::new(address, u8::try_from(bits).ok()?).ok()?;
    Some(net.trunc())
}

fn ports(from: &[u8], to: &[u8]) -> Option<Numbers> {
    let port = |bytes: &[u8]| bytes.first_chunk().copied().map(u16::from_be_bytes);
    Some(Numbers {
        first: port(from)?.into(),
        last: port(to)?.into(),
    })
}

/// The attributes of an expression, by number.
#[derive(Default)]
struct Fields<'a>(Vec<Attribute<'a>>);

impl<'a> Fields<'a> {
    fn of(data: Attribute<'a>) -> Result<Self, Malformed> {
        data.nested().collect::<Result<_, _>>().map(Fields)
    }

    fn get(&self, number: u16) -> Option<Attribute<'a>> {
        self.0.iter().copied().find(|field| field.kind == number)
    }

    fn number(&self, number: u16) -> Option<u32> {
        self.get(number)?.u32().ok()
    }

    fn value(&self, number: u16) -> Option<&'a [u8]> {
        let inner = self.get(number)?.nested().next()?.ok()?;
        (inner.kind == VALUE).then_some(inner.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part, its mask, and the values between which it lies.
    type Condition<'a> = (Part, Option<&'a [u8]>, &'a [u8], &'a [u8]);

    fn with(parts: &[Condition<'_>]) -> Vec<String> {
        let mut matches = Match::default();
        for (part, mask, from, to) in parts {
            matches.narrow(*part, *mask, from, to);
        }
        matches
            .selections()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_rule_covers_the_flows_that_it_can_see_translated_or_not() {
        let port = [0x14, 0x6c];
        let tcp = (Part::Protocol, None, &[6_u8][..], &[6_u8][..]);
        assert_eq!(
            with(&[tcp, (Part::DestinationPort(false), None, &port, &port)]),
            ["proto=tcp,dport=5228", "proto=tcp,reply-sport=5228"]
        );
        assert_eq!(
            with(&[
                tcp,
                (Part::DestinationPort(true), None, &port, &[0x14, 0x6e])
            ]),
            ["proto=tcp,dport=5228-5230"]
        );
        let client = [10, 1, 0, 0];
        assert_eq!(
            with(&[(
                Part::Source(4, Family::Ipv4, false),
                Some(&[255, 255, 0, 0]),
                &client,
                &client
            )]),
            ["src=10.1.0.0/16", "reply-dst=10.1.0.0/16"]
        );
        let server = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0];
        assert_eq!(
            with(&[(
                Part::Destination(8, Family::Ipv6, true),
                None,
                &server,
                &server
            )]),
            ["dst=2001:db8::/64"]
        );
    }

    #[test]
    fn what_is_not_understood_covers_every_flow() {
        assert_eq!(with(&[]), [""]);
        let odd = [1, 2];
        assert_eq!(
            with(&[(Part::SourcePort(false), Some(&[0, 1]), &odd, &odd)]),
            [""]
        );
    }
}
