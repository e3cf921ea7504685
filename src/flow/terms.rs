//! `TERM,TERM`: what a flow must be to be selected. All terms of one [`Terms`] must hold.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::quantity::{Numbers, Quantity, Sign};
use super::{Family, Mark, Protocol, StatusBit, TcpState};
use crate::tunable::nearest_name;

/// The names of terms that are no numbers.
const NAMES: [&str; 10] = [
    "src",
    "dst",
    "reply-src",
    "reply-dst",
    "proto",
    "state",
    "family",
    "mark",
    "status",
    "helper",
];

/// What a term can begin with.
pub(crate) fn term_names() -> impl Iterator<Item = &'static str> + Clone {
    NAMES.into_iter().chain(Quantity::names())
}

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
    pub(crate) test: Test,
    pub(crate) negated: bool,
}

/// What is asked of a flow. Source and destination are those of the original direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    /// The address lies in this prefix.
    Src(IpNet),
    Dst(IpNet),
    ReplySrc(IpNet),
    ReplyDst(IpNet),
    Proto(Protocol),
    /// The flow is TCP and in this state.
    State(TcpState),
    /// The flow is SCTP and in this state: `enum sctp_conntrack`.
    SctpState(u8),
    Family(Family),
    /// The mark, masked, is this one.
    Mark(Mark),
    /// The status word has this bit.
    Status(StatusBit),
    /// This helper reads the flow.
    Helper(HelperName),
    /// A number of the flow is among these.
    Number(Quantity, Numbers),
}

/// The name of a helper, which the kernel limits to 15 bytes; filled with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HelperName([u8; 16]);

impl HelperName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut name = [0; 16];
        name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let is_one = !text.is_empty() && text.len() < 16 && is_plain;
        is_one.then_some(HelperName(name))
    }

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
    fn moved(mut self, by: usize) -> Self {
        self.at = self.at.start + by..self.at.end + by;
        self
    }
}

impl Term {
    fn parse(whole: &str) -> Result<Term, TermError> {
        let error = |at, problem, help| TermError {
            at,
            problem,
            help: Some(help),
        };
        let Some(place) = whole.find(['=', '<', '>']) else {
            let problem = if whole.is_empty() {
                "a term is empty".to_owned()
            } else {
                format!("`{whole}` lacks `=` or `!=`")
            };
            let help = "a term is written dst=10.1.0.0/16 or state!=established";
            return Err(error(0..whole.len(), problem, help.to_owned()));
        };
        let (before, rest) = whole.split_at(place);
        let (sign, value) = Sign::split(rest);
        let negated = before.ends_with('!');
        let name = before.strip_suffix('!').unwrap_or(before).trim_end();
        let value = value.trim_start();
        let test = Test::parse(name, sign, value).map_err(|trouble| match trouble {
            Trouble::Name(help) => {
                error(0..name.len(), format!("no term is called `{name}`"), help)
            }
            Trouble::Value(problem, help) => {
                error(whole.len() - value.len()..whole.len(), problem, help)
            }
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
    fn parse(name: &str, sign: Sign, value: &str) -> Result<Test, Trouble> {
        let name = name.to_ascii_lowercase();
        if let Some(quantity) = Quantity::find(&name) {
            let numbers = quantity.read(sign, value);
            let numbers = numbers.map_err(|(problem, help)| Trouble::Value(problem, help))?;
            return Ok(Test::Number(quantity, numbers));
        }
        if !NAMES.contains(&name.as_str()) {
            let names = term_names();
            return Err(Trouble::Name(offer(&name, names)));
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
    match nearest_name(name, candidates) {
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
            offer(value, names.chain(["a number from 0 to 255"])),
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
    let number = |text: &str| match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
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
                "left>1h,LEFT<2H,bytes=1KiB-1mib,idle>10M",
                "left>3600,left=0-7199,bytes=1024-1048576,idle>600",
            ),
            (
                "dport<=1023,left>=1m,zone !>= 5,bytes>=1",
                "dport=0-1023,left>59,zone!=5-65535,bytes>0",
            ),
            (
                "label=3-5,mark=0X10,sport = 1 - 2,left!>1m",
                "label=3-5,mark=0x10,sport=1-2,left!>60",
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
            ("dport=sshd", "sshd", "not a port", "0 to 65535"),
            ("dport=>22", ">22", "not a port", "0 to 65535"),
            ("src>=10.0.0.1", "10.0.0.1", "has no order", "numbers"),
            ("dport==22", "=22", "not a port", "0 to 65535"),
            ("dport!!=22", "dport!", "no term is called", "dport"),
            ("left=2m-1m", "2m-1m", "runs downwards", "1m-2m"),
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
        let names: Vec<&str> = Quantity::names().collect();
        let numbers = (any::<u64>(), any::<u64>(), 0..64_u32);
        (proptest::sample::select(names), numbers).prop_map(|(name, (a, b, shift))| {
            let quantity = Quantity::find(name).unwrap();
            let most = match name {
                "idle" | "left" | "bytes" => u64::MAX,
                "icmp-type" => 255,
                "label" => 127,
                _ => 65535,
            };
            let (a, b) = ((a >> shift).min(most), b.min(most));
            let (first, last) = (a.min(b), a.max(b));
            Test::Number(quantity, Numbers { first, last })
        })
    }

    fn test() -> impl Strategy<Value = Test> {
        prop_oneof![
            net().prop_map(Test::Src),
            net().prop_map(Test::Dst),
            net().prop_map(Test::ReplySrc),
            net().prop_map(Test::ReplyDst),
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
