//! `TERM,TERM`: what a flow must be to be selected. All terms of one [`Terms`] must hold.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::{Family, Mark, Protocol, StatusBit, TcpState};
use crate::tunable::nearest_name;

/// The names that a term can begin with.
const NAMES: [&str; 24] = [
    "src",
    "dst",
    "sport",
    "dport",
    "reply-src",
    "reply-dst",
    "reply-sport",
    "reply-dport",
    "proto",
    "state",
    "family",
    "mark",
    "zone",
    "orig-zone",
    "reply-zone",
    "status",
    "icmp-type",
    "icmp-id",
    "gre-key",
    "helper",
    "label",
    "idle",
    "left",
    "bytes",
];

/// Which flows to act on: those of any `matching`, none of any `keep`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Selection {
    /// Any of these selects a flow; none at all selects every flow.
    pub(crate) matching: Vec<Terms>,
    /// Any of these protects a flow, whatever else selects it.
    pub(crate) keep: Vec<Terms>,
}

/// Terms that must all hold. Prints as `TERM,TERM`, which parses to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms(pub(crate) Vec<Term>);

/// One test and whether it must hold (`=`) or must not (`!=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    /// The test.
    pub(crate) test: Test,
    /// Whether the test must fail.
    pub(crate) negated: bool,
}

/// What is asked of a flow. Addresses and ports are those of the original direction, unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    /// The source lies in this prefix.
    Src(IpNet),
    /// The destination lies in this prefix.
    Dst(IpNet),
    /// The source port is one of these.
    SourcePort(Ports),
    /// The destination port is one of these.
    DestinationPort(Ports),
    /// The source of replies lies in this prefix.
    ReplySrc(IpNet),
    /// The destination of replies lies in this prefix.
    ReplyDst(IpNet),
    /// The protocol is this one.
    Proto(Protocol),
    /// The flow is TCP and in this state.
    State(TcpState),
    /// The addresses are of this family.
    Family(Family),
    /// The mark, masked, is this one.
    Mark(Mark),
    /// The flow belongs to one of these zones; 0 is the default zone.
    Zone(Ports),
    /// The status word has this bit.
    Status(StatusBit),
    ReplySourcePort(Ports),
    ReplyDestinationPort(Ports),
    /// The flow is SCTP and in this state: `enum sctp_conntrack`.
    SctpState(u8),
    /// The zone of the original direction is one of these.
    OriginalZone(Ports),
    /// The zone of the reply direction is one of these.
    ReplyZone(Ports),
    /// The type of the first packet, for ICMP and ICMPv6.
    IcmpType(Ports),
    IcmpId(Ports),
    /// One of the two keys is among these, for GRE.
    GreKey(Ports),
    /// This helper reads the flow.
    Helper(HelperName),
    /// The connection label with this number is set.
    Label(u8),
    /// The flow was watched, and silent, for so many seconds.
    Idle(Numbers),
    /// So many seconds are left.
    Left(Numbers),
    /// So many bytes in both directions, where they are counted.
    Bytes(Numbers),
}

/// Numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The name of a helper, which the kernel limits to 15 bytes; filled with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HelperName([u8; 16]);

impl HelperName {
    fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut name = [0; 16];
        name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let is_one = !text.is_empty() && text.len() < 16 && is_plain;
        is_one.then_some(HelperName(name))
    }

    /// The bytes of the name.
    pub(super) fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        self.0
            .get(..end.unwrap_or(self.0.len()))
            .unwrap_or_default()
    }
}

/// The names of SCTP's states, in the kernel's order.
const SCTP_STATES: [&str; 10] = [
    "none",
    "closed",
    "cookie_wait",
    "cookie_echoed",
    "established",
    "shutdown_sent",
    "shutdown_recd",
    "shutdown_ack_sent",
    "heartbeat_sent",
    "heartbeat_acked",
];

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The lowest.
    pub(crate) first: u16,
    /// The highest; not below `first`.
    pub(crate) last: u16,
}

/// Part of a term that does not parse, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct TermError {
    /// Bytes of the text that was parsed.
    pub(crate) at: Range<usize>,
    /// What is wrong with that part.
    pub(crate) problem: String,
    /// What is allowed there.
    pub(crate) help: Option<String>,
}

impl Terms {
    /// Parses `TERM,TERM`; blanks around a term are ignored.
    ///
    /// # Errors
    /// One for every term that does not parse, in order.
    pub(crate) fn parse(text: &str) -> Result<Terms, Vec<TermError>> {
        let mut terms = Vec::new();
        let mut errors = Vec::new();
        let mut start = 0;
        for piece in text.split(',') {
            let trimmed = piece.trim();
            let lead = piece.len() - piece.trim_start().len();
            match Term::parse(trimmed) {
                Ok(term) => terms.push(term),
                Err(error) => errors.push(error.moved(start + lead)),
            }
            start += piece.len() + 1;
        }
        // `established` is a state of both: with proto=sctp it is SCTP's.
        let is_sctp = |term: &Term| term.test == Test::Proto(Protocol::SCTP) && !term.negated;
        if terms.iter().any(is_sctp) {
            for term in &mut terms {
                if let Test::State(state) = term.test
                    && let Some(state) = sctp_state(state.name())
                {
                    term.test = Test::SctpState(state);
                }
            }
        }
        if errors.is_empty() {
            Ok(Terms(terms))
        } else {
            Err(errors)
        }
    }
}

impl TermError {
    fn new(at: Range<usize>, problem: impl Into<String>, help: impl Into<String>) -> Self {
        TermError {
            at,
            problem: problem.into(),
            help: Some(help.into()),
        }
    }

    fn moved(mut self, by: usize) -> Self {
        self.at = self.at.start + by..self.at.end + by;
        self
    }
}

impl Term {
    fn parse(whole: &str) -> Result<Term, TermError> {
        let Some(place) = whole.find(['=', '<', '>']) else {
            let problem = if whole.is_empty() {
                "a term is empty".to_owned()
            } else {
                format!("`{whole}` lacks `=` or `!=`")
            };
            return Err(TermError::new(
                0..whole.len(),
                problem,
                "a term is written dst=10.1.0.0/16 or state!=established",
            ));
        };
        let (before, rest) = whole.split_at(place);
        let sign = match rest.as_bytes().first() {
            Some(b'<') => Sign::Below,
            Some(b'>') => Sign::Above,
            _ => Sign::Equal,
        };
        let negated = before.ends_with('!');
        let name = before.trim_end_matches('!').trim_end();
        let value = rest.trim_start_matches(['=', '<', '>']).trim_start();
        let at = whole.len() - value.len();
        let parsed = Test::parse(name, sign, value);
        let test = parsed.map_err(|trouble| match trouble {
            Trouble::Name(help) => {
                TermError::new(0..name.len(), format!("no term is called `{name}`"), help)
            }
            Trouble::Value(problem, help) => TermError::new(at..whole.len(), problem, help),
        })?;
        Ok(Term { test, negated })
    }
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Equal,
    Below,
    Above,
}

/// What is wrong with a term: its name, or its value and why.
enum Trouble {
    Name(String),
    Value(String, String),
}

impl Trouble {
    fn value(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Trouble::Value(problem.into(), help.into())
    }
}

impl Test {
    fn parse(name: &str, sign: Sign, value: &str) -> Result<Test, Trouble> {
        let name = name.to_ascii_lowercase();
        if let Some(test) = Test::of_number(&name, sign, value)? {
            return Ok(test);
        }
        if !NAMES.contains(&name.as_str()) {
            return Err(Trouble::Name(offer(&name, NAMES.into_iter())));
        }
        if sign != Sign::Equal {
            return Err(Trouble::value(
                format!("`{name}` has no order"),
                "`<` and `>` are for numbers",
            ));
        }
        Ok(match name.as_str() {
            "src" => Test::Src(prefix(value)?),
            "dst" => Test::Dst(prefix(value)?),
            "reply-src" => Test::ReplySrc(prefix(value)?),
            "reply-dst" => Test::ReplyDst(prefix(value)?),
            "proto" => Test::Proto(protocol(value)?),
            "state" => state(value)?,
            "family" => Test::Family(named(
                value,
                "address family",
                Family::find(value),
                Family::ALL.iter().map(|family| family.name()),
            )?),
            "status" => Test::Status(named(
                value,
                "status bit",
                StatusBit::find(value),
                StatusBit::ALL.iter().map(|bit| bit.name()),
            )?),
            "mark" => Test::Mark(mark(value)?),
            _ => Test::Helper(HelperName::parse(value).ok_or_else(|| {
                Trouble::value(
                    format!("`{value}` is not a helper"),
                    "a helper is named ftp, sip, tftp, …: 15 letters at most",
                )
            })?),
        })
    }

    /// The tests of numbers, which take ranges, `<` and `>`.
    fn of_number(name: &str, sign: Sign, value: &str) -> Result<Option<Test>, Trouble> {
        let small = |what: Unit| within(what, sign, value, u64::from(what.most())).map(small);
        let large = |what: Unit| within(what, sign, value, u64::MAX);
        Ok(Some(match name {
            "sport" => Test::SourcePort(small(Unit::Port)?),
            "dport" => Test::DestinationPort(small(Unit::Port)?),
            "reply-sport" => Test::ReplySourcePort(small(Unit::Port)?),
            "reply-dport" => Test::ReplyDestinationPort(small(Unit::Port)?),
            "zone" => Test::Zone(small(Unit::Zone)?),
            "orig-zone" => Test::OriginalZone(small(Unit::Zone)?),
            "reply-zone" => Test::ReplyZone(small(Unit::Zone)?),
            "icmp-type" => Test::IcmpType(small(Unit::IcmpType)?),
            "icmp-id" => Test::IcmpId(small(Unit::IcmpId)?),
            "gre-key" => Test::GreKey(small(Unit::GreKey)?),
            "label" => match small(Unit::Label)? {
                Ports { first, last } if first == last => {
                    Test::Label(u8::try_from(first).unwrap_or(u8::MAX))
                }
                _ => {
                    return Err(Trouble::value(
                        format!("`{value}` is several labels"),
                        "name one label; repeat the option for others",
                    ));
                }
            },
            "idle" => Test::Idle(large(Unit::Time)?),
            "left" => Test::Left(large(Unit::Time)?),
            "bytes" => Test::Bytes(large(Unit::Bytes)?),
            _ => return Ok(None),
        }))
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Port,
    Zone,
    IcmpType,
    IcmpId,
    GreKey,
    Label,
    Time,
    Bytes,
}

impl Unit {
    /// The message for a value that cannot be read.
    fn help(self) -> &'static str {
        match self {
            Unit::Port => {
                "a port is a number from 0 to 65535, a range 1000-2000, or a name such as https"
            }
            Unit::Zone => "a zone is a number from 0 to 65535",
            Unit::IcmpType => "an ICMP type is a number from 0 to 255",
            Unit::IcmpId => "an ICMP id is a number from 0 to 65535",
            Unit::GreKey => "a GRE key is a number from 0 to 65535",
            Unit::Label => "a label is a number from 0 to 127",
            Unit::Time => "write seconds or a time as 2h4m; a range is 1m-5m",
            Unit::Bytes => "write bytes or 10KiB, 2MiB, 1GiB; a range is 1MiB-1GiB",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Port => "a port",
            Unit::Zone => "a zone",
            Unit::IcmpType => "an ICMP type",
            Unit::IcmpId => "an ICMP id",
            Unit::GreKey => "a GRE key",
            Unit::Label => "a label",
            Unit::Time => "a time",
            Unit::Bytes => "a number of bytes",
        }
    }

    /// The highest of the small numbers.
    fn most(self) -> u16 {
        match self {
            Unit::IcmpType => 255,
            Unit::Label => 127,
            _ => u16::MAX,
        }
    }

    fn read(self, text: &str) -> Option<u64> {
        match self {
            Unit::Time => seconds(text),
            Unit::Bytes => bytes(text),
            Unit::Port => text.parse().ok().or_else(|| service(text)),
            _ => text.parse().ok(),
        }
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

/// `1500`, `10KiB`, `2MiB`.
fn bytes(text: &str) -> Option<u64> {
    let sizes = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("", 1),
    ];
    let with = |(unit, size): (&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(size)
    };
    sizes.into_iter().find_map(with)
}

/// The numbers that a value and its sign stand for, none above `most`.
fn within(unit: Unit, sign: Sign, value: &str, most: u64) -> Result<Numbers, Trouble> {
    let wrong = || Trouble::value(format!("`{value}` is not {}", unit.name()), unit.help());
    let number = |text: &str| {
        let number = unit.read(text.trim()).filter(|number| *number <= most);
        number.ok_or_else(wrong)
    };
    let none = || {
        Trouble::value(
            format!("no number is meant by `{value}`"),
            "`<` and `>` leave the number itself out",
        )
    };
    let (first, last) = match sign {
        Sign::Below => (0, number(value)?.checked_sub(1).ok_or_else(none)?),
        Sign::Above => {
            let first = number(value)?.checked_add(1).filter(|first| *first <= most);
            (first.ok_or_else(none)?, most)
        }
        Sign::Equal => {
            let (first, last) = value.split_once('-').unwrap_or((value, value));
            (number(first)?, number(last)?)
        }
    };
    if first > last {
        return Err(Trouble::value(
            format!("the range {value} runs downwards"),
            format!("write {last}-{first}"),
        ));
    }
    Ok(Numbers { first, last })
}

fn small(numbers: Numbers) -> Ports {
    let number = |number| u16::try_from(number).unwrap_or(u16::MAX);
    Ports {
        first: number(numbers.first),
        last: number(numbers.last),
    }
}

/// A state of TCP, or one that only SCTP has.
fn state(value: &str) -> Result<Test, Trouble> {
    match (TcpState::find(value), sctp_state(value)) {
        (Some(state), _) => Ok(Test::State(state)),
        (None, Some(state)) => Ok(Test::SctpState(state)),
        (None, None) => Err(Trouble::value(
            format!("no TCP state is called `{value}`"),
            offer(value, TcpState::ALL.iter().map(|state| state.name())),
        )),
    }
}

/// The name of a state of SCTP.
pub(super) fn sctp_name(state: u8) -> &'static str {
    SCTP_STATES
        .get(usize::from(state))
        .copied()
        .unwrap_or("none")
}

fn sctp_state(text: &str) -> Option<u8> {
    let plain = text.to_ascii_lowercase().replace('-', "_");
    let place = SCTP_STATES.iter().position(|name| *name == plain)?;
    u8::try_from(place).ok()
}

/// The nearest of the names, or all of them.
pub(super) fn offer<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let candidates = names.clone().map(str::to_owned);
    match nearest_name(&name.to_ascii_lowercase(), candidates, 0.8) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", names.collect::<Vec<_>>().join(", ")),
    }
}

fn named<'a, T>(
    value: &str,
    what: &str,
    found: Option<T>,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<T, Trouble> {
    found.ok_or_else(|| {
        Trouble::value(
            format!("no {what} is called `{value}`"),
            offer(value, names),
        )
    })
}

fn protocol(value: &str) -> Result<Protocol, Trouble> {
    Protocol::find(value).ok_or_else(|| {
        let names = Protocol::NAMES.iter().map(|(name, _)| *name);
        Trouble::value(
            format!("no protocol is called `{value}`"),
            format!("{}, or a number from 0 to 255", offer(value, names)),
        )
    })
}

/// An address, which is a prefix of full length, or a prefix with no bit behind its length: with
/// one, `10.1.2.3/16` could mean a host or a network, and a selection must not be a guess.
fn prefix(value: &str) -> Result<IpNet, Trouble> {
    if let Ok(address) = value.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet = value.parse().map_err(|_| {
        Trouble::value(
            format!("`{value}` is neither an address nor a prefix"),
            "write 192.0.2.1, 10.1.0.0/16, 2001:db8::1 or 2001:db8::/32",
        )
    })?;
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(Trouble::value(
            format!("`{value}` has bits behind its length"),
            format!(
                "write {} for the network or {} for the host",
                net.trunc(),
                net.addr()
            ),
        ))
    }
}

fn mark(value: &str) -> Result<Mark, Trouble> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let (bits, mask) = match value.split_once('/') {
        Some((bits, mask)) => (number(bits), number(mask)),
        None => (number(value), Some(u32::MAX)),
    };
    match (bits, mask) {
        (Some(value), Some(mask)) if value & !mask == 0 => Ok(Mark { value, mask }),
        (Some(_), Some(_)) => Err(Trouble::value(
            format!("no mark can match `{value}`: it has bits outside its mask"),
            "every bit of MARK in MARK/MASK must be in MASK",
        )),
        _ => Err(Trouble::value(
            format!("`{value}` is not a mark"),
            "a mark is 7, 0x10 or 0x10/0xf0",
        )),
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equals = if self.negated { "!=" } else { "=" };
        let (name, value): (&str, &dyn fmt::Display) = match &self.test {
            Test::Src(net) => ("src", &Prefix(*net)),
            Test::Dst(net) => ("dst", &Prefix(*net)),
            Test::ReplySrc(net) => ("reply-src", &Prefix(*net)),
            Test::ReplyDst(net) => ("reply-dst", &Prefix(*net)),
            Test::SourcePort(ports) => ("sport", ports),
            Test::DestinationPort(ports) => ("dport", ports),
            Test::ReplySourcePort(ports) => ("reply-sport", ports),
            Test::ReplyDestinationPort(ports) => ("reply-dport", ports),
            Test::Proto(protocol) => ("proto", protocol),
            Test::State(state) => ("state", state),
            Test::SctpState(state) => return write!(f, "state{equals}{}", sctp_name(*state)),
            Test::Family(family) => ("family", family),
            Test::Mark(mark) => ("mark", mark),
            Test::Zone(zones) => ("zone", zones),
            Test::OriginalZone(zones) => ("orig-zone", zones),
            Test::ReplyZone(zones) => ("reply-zone", zones),
            Test::Status(bit) => ("status", bit),
            Test::IcmpType(numbers) => ("icmp-type", numbers),
            Test::IcmpId(numbers) => ("icmp-id", numbers),
            Test::GreKey(numbers) => ("gre-key", numbers),
            Test::Label(number) => ("label", number),
            Test::Helper(name) => {
                let name = String::from_utf8_lossy(name.bytes());
                return write!(f, "helper{equals}{name}");
            }
            Test::Idle(numbers) => return numbers.written(f, "idle", self.negated),
            Test::Left(numbers) => return numbers.written(f, "left", self.negated),
            Test::Bytes(numbers) => return numbers.written(f, "bytes", self.negated),
        };
        write!(f, "{name}{equals}{value}")
    }
}

impl Numbers {
    /// Whether it is one of these.
    pub(super) fn hold(self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }

    fn written(self, f: &mut fmt::Formatter<'_>, name: &str, negated: bool) -> fmt::Result {
        let not = if negated { "!" } else { "" };
        let Numbers { first, last } = self;
        match (first.checked_sub(1), last) {
            (Some(below), u64::MAX) => write!(f, "{name}{not}>{below}"),
            _ if first == last => write!(f, "{name}{not}={first}"),
            _ => write!(f, "{name}{not}={first}-{last}"),
        }
    }
}

/// A prefix that prints as the address it is where its length is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix(pub(crate) IpNet);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mask == u32::MAX {
            write!(f, "{:#x}", self.value)
        } else {
            write!(f, "{:#x}/{:#x}", self.value, self.mask)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terms_parse_and_print_in_one_form() {
        for (text, printed) in [
            ("dst=10.1.0.0/16,dport=5432", "dst=10.1.0.0/16,dport=5432"),
            (
                " src = 192.0.2.1/32 , state != ESTABLISHED ",
                "src=192.0.2.1,state!=established",
            ),
            ("sport=1000-2000", "sport=1000-2000"),
            ("dport=5228-5228", "dport=5228"),
            ("dport=HTTPS,sport!=ssh", "dport=443,sport!=22"),
            (
                "reply-src=2001:DB8::1,reply-dst!=2001:db8::/32",
                "reply-src=2001:db8::1,reply-dst!=2001:db8::/32",
            ),
            (
                "proto=6,proto=253,family=ipv6",
                "proto=tcp,proto=253,family=ipv6",
            ),
            (
                "mark=16,mark=0x10/0xf0,zone=7",
                "mark=0x10,mark=0x10/0xf0,zone=7",
            ),
            (
                "REPLY-sport=53,reply-dport<1024,orig-zone=1-3,reply-zone>65000",
                "reply-sport=53,reply-dport=0-1023,orig-zone=1-3,reply-zone=65001-65535",
            ),
            (
                "icmp-type=8,icmp-id=7,gre-key!=9,label=127,helper=ftp",
                "icmp-type=8,icmp-id=7,gre-key!=9,label=127,helper=ftp",
            ),
            (
                "left>1h,left<2h,bytes=1KiB-1MiB,idle>10m",
                "left>3600,left=0-7199,bytes=1024-1048576,idle>600",
            ),
            (
                "state=established,proto=SCTP",
                "state=established,proto=sctp",
            ),
            ("state=COOKIE-WAIT", "state=cookie_wait"),
            (
                "status=assured,status!=SEEN_REPLY",
                "status=assured,status!=seen-reply",
            ),
        ] {
            assert_eq!(Terms::parse(text).unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_located_and_what_is_allowed_is_said() {
        for (text, part, problem, help) in [
            (
                "dst=10.1.0.0/16,dprt=1",
                "dprt",
                "no term is called `dprt`",
                "did you mean `dport`?",
            ),
            (
                "xyzzy=1",
                "xyzzy",
                "no term is called `xyzzy`",
                "one of src, dst",
            ),
            ("dport", "dport", "lacks `=`", "dst=10.1.0.0/16"),
            ("", "", "a term is empty", "a term is written"),
            ("dport=1,", "", "a term is empty", "a term is written"),
            (
                "dst=10.1.2",
                "10.1.2",
                "neither an address nor a prefix",
                "192.0.2.1",
            ),
            (
                "dst=10.1.2.3/16",
                "10.1.2.3/16",
                "bits behind its length",
                "10.1.0.0/16 for the network or 10.1.2.3",
            ),
            ("dport=70000", "70000", "not a port", "65535"),
            ("dport=htps", "htps", "not a port", "https"),
            ("icmp-type=256", "256", "not an ICMP type", "255"),
            ("label=128", "128", "not a label", "127"),
            ("left=soon", "soon", "not a time", "2h4m"),
            ("bytes>1MB", "1MB", "not a number of bytes", "MiB"),
            ("src<10.0.0.1", "10.0.0.1", "has no order", "numbers"),
            ("sport<0", "0", "no number is meant", "leave the number"),
            ("helper=", "", "is not a helper", "ftp"),
            ("dport=20-10", "20-10", "runs downwards", "10-20"),
            (
                "proto=udpp",
                "udpp",
                "no protocol is called `udpp`",
                "did you mean `udp`?",
            ),
            (
                "state!=establishd",
                "establishd",
                "no TCP state",
                "did you mean `established`?",
            ),
            ("family=inet", "inet", "no address family", "ipv4, ipv6"),
            ("mark=0x10/0x0f", "0x10/0x0f", "outside its mask", "MASK"),
            ("zone=-1", "-1", "not a zone", "0 to 65535"),
            (
                "status=asured",
                "asured",
                "no status bit",
                "did you mean `assured`?",
            ),
        ] {
            let errors = Terms::parse(text).unwrap_err();
            assert_eq!(errors.len(), 1, "{text}");
            let error = errors.first().unwrap();
            assert_eq!(&text[error.at.clone()], part, "{text}");
            assert!(error.problem.contains(problem), "{text}: {}", error.problem);
            let said = error.help.as_deref().unwrap();
            assert!(said.contains(help), "{text}: {said}");
        }
    }

    #[test]
    fn every_wrong_term_is_reported() {
        assert_eq!(
            Terms::parse("dprt=1,dst=10.0.0.0/8,zone=x")
                .unwrap_err()
                .len(),
            2
        );
    }

    fn net() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, len)| IpNet::new(ip.into(), len)),
            (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, len)| IpNet::new(ip.into(), len)),
        ]
        .prop_map(|net| net.unwrap().trunc())
    }

    fn number_test() -> impl Strategy<Value = Test> {
        let kinds = [
            Test::Zone as fn(Ports) -> Test,
            Test::OriginalZone,
            Test::ReplyZone,
            Test::ReplySourcePort,
            Test::ReplyDestinationPort,
            Test::IcmpId,
            Test::GreKey,
        ];
        let small = (
            proptest::sample::select(kinds.to_vec()),
            any::<u16>(),
            any::<u16>(),
        )
            .prop_map(|(kind, a, b)| {
                kind(Ports {
                    first: a.min(b),
                    last: a.max(b),
                })
            });
        let kinds = [Test::Idle as fn(Numbers) -> Test, Test::Left, Test::Bytes];
        let large = (
            proptest::sample::select(kinds.to_vec()),
            any::<u64>(),
            any::<u64>(),
        )
            .prop_map(|(kind, a, b)| {
                kind(Numbers {
                    first: a.min(b),
                    last: a.max(b),
                })
            });
        prop_oneof![small, large]
    }

    fn test() -> impl Strategy<Value = Test> {
        let ports = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Ports {
            first: a.min(b),
            last: a.max(b),
        });
        prop_oneof![
            net().prop_map(Test::Src),
            net().prop_map(Test::Dst),
            net().prop_map(Test::ReplySrc),
            net().prop_map(Test::ReplyDst),
            ports.clone().prop_map(Test::SourcePort),
            ports.prop_map(Test::DestinationPort),
            // With proto=sctp a state is SCTP's.
            any::<u8>()
                .prop_filter("sctp", |number| *number != 132)
                .prop_map(|number| Test::Proto(Protocol(number))),
            proptest::sample::select(TcpState::ALL).prop_map(Test::State),
            proptest::sample::select(Family::ALL).prop_map(Test::Family),
            (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| Test::Mark(Mark {
                value: value & mask,
                mask
            })),
            proptest::sample::select(StatusBit::ALL).prop_map(Test::Status),
            any::<u8>().prop_map(|number| Test::Label(number % 128)),
            "[a-zA-Z0-9._-]{1,15}".prop_map(|name| Test::Helper(HelperName::parse(&name).unwrap())),
            number_test(),
        ]
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_identity(
            list in proptest::collection::vec((test(), any::<bool>()), 1..6)
        ) {
            let terms = Terms(list.into_iter().map(|(test, negated)| Term { test, negated }).collect());
            prop_assert_eq!(Terms::parse(&terms.to_string()), Ok(terms));
        }

        #[test]
        fn no_text_panics_and_errors_lie_inside_it(text in ".{0,40}|[a-z=!,0-9./ -]{0,40}") {
            if let Err(errors) = Terms::parse(&text) {
                for error in errors {
                    prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error.at);
                }
            }
        }
    }
}
