//! Numbers of a flow that a term can ask for: ports, zones, ids, times, bytes.
//!
//! In: the value of a term, with ranges, `<` and `>`. Out: [`Numbers`], and of a flow the numbers
//! that it has.

use super::{Flow, Layer4, Protocol, Tuple};

/// What a term can ask the number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    SourcePort,
    DestinationPort,
    ReplySourcePort,
    ReplyDestinationPort,
    /// The zone, or its original or reply part; 0 is the default zone.
    Zone,
    OriginalZone,
    ReplyZone,
    /// Of the first packet, for ICMP and ICMPv6.
    IcmpType,
    IcmpId,
    /// Either of the two keys.
    GreKey,
    /// A connection label that is set.
    Label,
    /// Seconds for which the flow was watched and silent.
    Idle,
    /// Seconds.
    Left,
    /// Both directions, where they are counted.
    Bytes,
}

use Quantity as Q;

/// Every quantity, the name of its term, and its unit.
const ALL: [(Quantity, &str, Unit); 14] = [
    (Q::SourcePort, "sport", PORT),
    (Q::DestinationPort, "dport", PORT),
    (Q::ReplySourcePort, "reply-sport", PORT),
    (Q::ReplyDestinationPort, "reply-dport", PORT),
    (Q::Zone, "zone", ZONE),
    (Q::OriginalZone, "orig-zone", ZONE),
    (Q::ReplyZone, "reply-zone", ZONE),
    (Q::IcmpType, "icmp-type", Unit::Count("an ICMP type", 255)),
    (Q::IcmpId, "icmp-id", Unit::Count("an ICMP id", 65535)),
    (Q::GreKey, "gre-key", Unit::Count("a GRE key", 65535)),
    (Q::Label, "label", Unit::Count("a label", 127)),
    (Q::Idle, "idle", Unit::Time),
    (Q::Left, "left", Unit::Time),
    (Q::Bytes, "bytes", Unit::Bytes),
];
const PORT: Unit = Unit::Port;
const ZONE: Unit = Unit::Count("a zone", 65535);

/// What a number counts.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// A plain number: what it is called, and its highest.
    Count(&'static str, u64),
    Port,
    Time,
    Bytes,
}

/// Numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Equal,
    Below,
    Above,
    AtMost,
    AtLeast,
}

impl Sign {
    /// The sign that a text begins with, and the rest.
    pub(super) fn split(text: &str) -> (Sign, &str) {
        let signs = [
            ("<=", Sign::AtMost),
            (">=", Sign::AtLeast),
            ("<", Sign::Below),
            (">", Sign::Above),
            ("=", Sign::Equal),
        ];
        let found = signs
            .into_iter()
            .find_map(|(written, sign)| Some((sign, text.strip_prefix(written)?)));
        found.unwrap_or((Sign::Equal, text))
    }
}

impl Quantity {
    pub(super) fn find(name: &str) -> Option<Quantity> {
        let found = ALL.iter().find(|(_, other, _)| *other == name);
        found.map(|(quantity, ..)| *quantity)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
        ALL.iter().map(|(_, name, _)| *name)
    }

    pub(super) fn name(self) -> &'static str {
        ALL.get(self as usize).map_or("", |(_, name, _)| name)
    }

    fn unit(self) -> Unit {
        ALL.get(self as usize).map_or(PORT, |(.., unit)| *unit)
    }

    /// The numbers that a value and its sign stand for; or what is wrong, and what is allowed.
    pub(super) fn read(self, sign: Sign, value: &str) -> Result<Numbers, (String, String)> {
        let unit = self.unit();
        let number = |text: &str| unit.read(text.trim()).ok_or_else(|| unit.refuse(value));
        let none = || {
            (
                format!("no number is meant by `{value}`"),
                "`<` and `>` leave the number itself out".to_owned(),
            )
        };
        let (first, last) = match sign {
            Sign::AtMost => (0, number(value)?),
            Sign::AtLeast => (number(value)?, unit.most()),
            Sign::Below => (0, number(value)?.checked_sub(1).ok_or_else(none)?),
            Sign::Above => {
                let first = number(value)?.checked_add(1);
                let first = first.filter(|first| *first <= unit.most());
                (first.ok_or_else(none)?, unit.most())
            }
            Sign::Equal => {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                (number(first)?, number(last)?)
            }
        };
        if first > last {
            let (first, last) = value.split_once('-').unwrap_or((value, value));
            return Err((
                format!("the range {value} runs downwards"),
                format!("write {}-{}", last.trim(), first.trim()),
            ));
        }
        Ok(Numbers { first, last })
    }

    /// Whether the flow has one of these numbers. Of what is not known, as bytes that are not
    /// counted, it has none.
    pub(super) fn is_among(self, numbers: Numbers, flow: &Flow<'_>) -> bool {
        let (original, reply) = (&flow.original, &flow.reply);
        let from = |tuple: &Tuple| tuple.ports().map(|(src, _)| src.into());
        let to = |tuple: &Tuple| tuple.ports().map(|(_, dst)| dst.into());
        let number = match self {
            Q::SourcePort => from(original),
            Q::DestinationPort => to(original),
            Q::ReplySourcePort => from(reply),
            Q::ReplyDestinationPort => to(reply),
            Q::Zone => Some(flow.zone().into()),
            Q::OriginalZone => Some(flow.zone_of(original).into()),
            Q::ReplyZone => Some(flow.zone_of(reply).into()),
            Q::IcmpType | Q::IcmpId => match original.layer4 {
                Layer4::Icmp { kind, .. } if self == Q::IcmpType => Some(kind.into()),
                Layer4::Icmp { id, .. } => Some(id.into()),
                _ => None,
            },
            Q::GreKey => match original.layer4 {
                Layer4::Ports { src, dst } if original.protocol == Protocol::GRE => {
                    return numbers.hold(src.into()) || numbers.hold(dst.into());
                }
                _ => None,
            },
            Q::Label => return (0..=127).any(|n| numbers.hold(n.into()) && flow.has_label(n)),
            // Answered where it is known what was watched.
            Q::Idle => None,
            Q::Left => flow.timeout.map(u64::from),
            Q::Bytes => flow
                .counters
                .map(|counters| counters.original_bytes.saturating_add(counters.reply_bytes)),
        };
        number.is_some_and(|number| numbers.hold(number))
    }
}

impl Unit {
    /// The highest number.
    fn most(self) -> u64 {
        match self {
            Unit::Count(_, most) => most,
            Unit::Port => 65535,
            Unit::Time | Unit::Bytes => u64::MAX,
        }
    }

    fn read(self, text: &str) -> Option<u64> {
        let number = match self {
            Unit::Count(..) => text.parse().ok()?,
            Unit::Port => text.parse().ok().or_else(|| service(text))?,
            Unit::Time => seconds(&text.to_ascii_lowercase())?,
            Unit::Bytes => bytes(&text.to_ascii_lowercase())?,
        };
        (number <= self.most()).then_some(number)
    }

    /// What is wrong with a value that cannot be read, and what is allowed.
    fn refuse(self, value: &str) -> (String, String) {
        let (name, help) = match self {
            Unit::Count(name, most) => {
                let help = format!("{name} is a number from 0 to {most}; a range is 10-20");
                (name, help)
            }
            Unit::Port => (
                "a port",
                "a port is a number from 0 to 65535, a range 1000-2000, or a name such as https"
                    .to_owned(),
            ),
            Unit::Time => (
                "a time",
                "write seconds or a time as 2h4m; a range is 1m-5m".to_owned(),
            ),
            Unit::Bytes => (
                "a number of bytes",
                "write bytes or 10KiB, 2MiB, 1GiB; a range is 1MiB-1GiB".to_owned(),
            ),
        };
        (format!("`{value}` is not {name}"), help)
    }
}

impl Numbers {
    pub(crate) fn one(number: u16) -> Self {
        let number = number.into();
        Numbers {
            first: number,
            last: number,
        }
    }

    /// The number that it is, if it is one.
    pub(crate) fn only(self) -> Option<u16> {
        let one = Some(self.first).filter(|first| *first == self.last)?;
        u16::try_from(one).ok()
    }

    pub(super) fn hold(self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// Whether it has no highest number.
    pub(super) fn is_above(self) -> bool {
        self.first > 0 && self.last == u64::MAX
    }
}

/// Services that operators name, with the port that they are registered for.
const SERVICES: [(&str, u16); 30] = [
    ("bgp", 179),
    ("dns", 53),
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("isakmp", 500),
    ("kerberos", 88),
    ("ldap", 389),
    ("ldaps", 636),
    ("mdns", 5353),
    ("mqtt", 1883),
    ("mysql", 3306),
    ("ntp", 123),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("rdp", 3389),
    ("sip", 5060),
    ("smtp", 25),
    ("snmp", 161),
    ("ssh", 22),
    ("submission", 587),
    ("syslog", 514),
    ("telnet", 23),
    ("tftp", 69),
    ("wireguard", 51820),
];

/// The port of a service, whatever its case.
fn service(name: &str) -> Option<u64> {
    let mut services = SERVICES.iter();
    let found = services.find(|(service, _)| service.eq_ignore_ascii_case(name));
    found.map(|(_, port)| u64::from(*port))
}

/// `90`, `2h4m`, `5d`.
fn seconds(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(end);
        let size = match unit.as_bytes().first()? {
            b'd' => 86400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(size)?)?;
        rest = unit.get(1..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// `1500`, `10kib`, `2mib`.
fn bytes(text: &str) -> Option<u64> {
    let sizes = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("", 1),
    ];
    let with = |(unit, size): (&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(size)
    };
    sizes.into_iter().find_map(with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quantity_has_the_place_of_its_number() {
        for (place, (quantity, name, _)) in ALL.iter().enumerate() {
            assert_eq!((*quantity as usize, quantity.name()), (place, *name));
            assert_eq!(Quantity::find(name), Some(*quantity));
        }
    }
}
