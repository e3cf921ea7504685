//! Terms as text: what [`Terms::parse`] reads.

use std::fmt;

use ipnet::IpNet;

use super::terms::sctp_name;
use super::{Mark, Numbers, Term, Terms, Test};

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
        let (name, value): (&str, &dyn fmt::Display) = match &self.test {
            Test::Src(net) => ("src", &Prefix(*net)),
            Test::Dst(net) => ("dst", &Prefix(*net)),
            Test::ReplySrc(net) => ("reply-src", &Prefix(*net)),
            Test::ReplyDst(net) => ("reply-dst", &Prefix(*net)),
            Test::Proto(protocol) => ("proto", protocol),
            Test::State(state) => ("state", state),
            Test::SctpState(state) => ("state", &sctp_name(*state)),
            Test::Family(family) => ("family", family),
            Test::Mark(mark) => ("mark", mark),
            Test::Status(bit) => ("status", bit),
            Test::Helper(name) => ("helper", &String::from_utf8_lossy(name.bytes())),
            Test::Number(quantity, numbers) => (quantity.name(), numbers),
        };
        let not = if self.negated { "!" } else { "" };
        let is_above = matches!(self.test, Test::Number(_, numbers) if numbers.is_above());
        let equals = if is_above { "" } else { "=" };
        write!(f, "{name}{not}{equals}{value}")
    }
}

impl fmt::Display for Numbers {
    /// With the sign, where it is `>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Numbers { first, last } = self;
        if self.is_above() {
            write!(f, ">{}", first.saturating_sub(1))
        } else if first == last {
            write!(f, "{first}")
        } else {
            write!(f, "{first}-{last}")
        }
    }
}

/// A prefix that prints as the address it is where its length is full.
#[derive(Debug, Clone, Copy)]
struct Prefix(IpNet);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
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
