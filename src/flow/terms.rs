//! `TERM,TERM`: what a flow must be to be selected. All terms of one [`Terms`] must hold.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::{Family, Mark, Protocol, StatusBit, TcpState};
use crate::tunable::nearest_name;

/// The names that a term can begin with.
const NAMES: [&str; 12] = [
    "src",
    "dst",
    "sport",
    "dport",
    "reply-src",
    "reply-dst",
    "proto",
    "state",
    "family",
    "mark",
    "zone",
    "status",
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
    /// The flow belongs to this zone; 0 is the default zone.
    Zone(u16),
    /// The status word has this bit.
    Status(StatusBit),
}

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
        let Some(equals) = whole.find('=') else {
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
        let (before, rest) = whole.split_at(equals);
        let negated = before.ends_with('!');
        let name = before.trim_end_matches('!').trim_end();
        let value = rest.trim_start_matches('=').trim_start();
        let at = whole.len() - value.len();
        let parsed = Test::parse(name, value);
        let test = parsed.map_err(|trouble| match trouble {
            Trouble::Name(help) => {
                TermError::new(0..name.len(), format!("no term is called `{name}`"), help)
            }
            Trouble::Value(problem, help) => TermError::new(at..whole.len(), problem, help),
        })?;
        Ok(Term { test, negated })
    }
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
    fn parse(name: &str, value: &str) -> Result<Test, Trouble> {
        Ok(match name {
            "src" => Test::Src(prefix(value)?),
            "dst" => Test::Dst(prefix(value)?),
            "reply-src" => Test::ReplySrc(prefix(value)?),
            "reply-dst" => Test::ReplyDst(prefix(value)?),
            "sport" => Test::SourcePort(ports(value)?),
            "dport" => Test::DestinationPort(ports(value)?),
            "proto" => Test::Proto(protocol(value)?),
            "state" => Test::State(named(
                value,
                "TCP state",
                TcpState::find(value),
                TcpState::ALL.iter().map(|state| state.name()),
            )?),
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
            "zone" => Test::Zone(value.parse().map_err(|_| {
                Trouble::value(
                    format!("`{value}` is not a zone"),
                    "a zone is a number from 0 to 65535",
                )
            })?),
            _ => return Err(Trouble::Name(offer(name, NAMES.into_iter()))),
        })
    }
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

fn ports(value: &str) -> Result<Ports, Trouble> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Ports { first, last }),
        (Ok(first), Ok(last)) => Err(Trouble::value(
            format!("the range {value} runs downwards"),
            format!("write {}-{}", last.min(first), last.max(first)),
        )),
        _ => Err(Trouble::value(
            format!("`{value}` is not a port"),
            "a port is a number from 0 to 65535, a range is 1000-2000",
        )),
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
        match self.test {
            Test::Src(net) => write!(f, "src{equals}{}", Prefix(net)),
            Test::Dst(net) => write!(f, "dst{equals}{}", Prefix(net)),
            Test::ReplySrc(net) => write!(f, "reply-src{equals}{}", Prefix(net)),
            Test::ReplyDst(net) => write!(f, "reply-dst{equals}{}", Prefix(net)),
            Test::SourcePort(ports) => write!(f, "sport{equals}{ports}"),
            Test::DestinationPort(ports) => write!(f, "dport{equals}{ports}"),
            Test::Proto(protocol) => write!(f, "proto{equals}{protocol}"),
            Test::State(state) => write!(f, "state{equals}{state}"),
            Test::Family(family) => write!(f, "family{equals}{family}"),
            Test::Mark(mark) => write!(f, "mark{equals}{mark}"),
            Test::Zone(zone) => write!(f, "zone{equals}{zone}"),
            Test::Status(bit) => write!(f, "status{equals}{bit}"),
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
            any::<u8>().prop_map(|number| Test::Proto(Protocol(number))),
            proptest::sample::select(TcpState::ALL).prop_map(Test::State),
            proptest::sample::select(Family::ALL).prop_map(Test::Family),
            (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| Test::Mark(Mark {
                value: value & mask,
                mask
            })),
            any::<u16>().prop_map(Test::Zone),
            proptest::sample::select(StatusBit::ALL).prop_map(Test::Status),
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
