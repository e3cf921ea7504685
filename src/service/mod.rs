//! Timeouts for the flows of one service, and the lifeline, as a table of nft.
//!
//! In: `[service.NAME]` and `[lifeline]` of a profile, and the value of a sysctl for each state that
//! they leave out. Out: a [`Table`], which is the whole of nft's table `inet cttune`, as text, as
//! what is read back, and as the difference of two. Rule: one table is one value; each flow is
//! decided by its first packet alone, and by one rule.
//! Follows nft(8), CT TIMEOUT; the kernel's net/netfilter/nft_ct.c and nf_conntrack_timeout.c.

mod lifeline;
mod listing;
mod nft;
mod packet;
mod reading;
mod state;
mod table;

use std::collections::BTreeMap;

pub(crate) use lifeline::Lifeline;
pub(crate) use listing::edited;
pub(crate) use nft::{LONGEST_COMMENT, asks};
pub(crate) use packet::{Overlap, can_match, overlaps, packet};
pub(crate) use reading::{Found, Listed, Part, Reading};
pub(crate) use state::{Layer, State};
pub(crate) use table::{NAME, Object, Rule, Table, service_of};

use crate::flow::{Protocol, Terms, Test};

/// More services than there are labels for.
pub(crate) const MOST: usize = 64;

/// Timeouts for the flows that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Any of these; none at all is no service, and takes a parent's away.
    pub(crate) matching: Vec<Terms>,
    /// Seconds.
    pub(crate) timeouts: BTreeMap<State, u32>,
    pub(crate) why: Option<String>,
    /// The profile that says so.
    pub(crate) origin: String,
}

impl Service {
    /// Whether it has a timeout of this protocol.
    pub(crate) fn has(&self, layer: Layer) -> bool {
        self.timeouts.keys().any(|state| state.layer() == layer)
    }
}

/// Whether terms allow flows of this protocol.
fn allows(terms: &Terms, layer: Layer) -> bool {
    terms.0.iter().all(|term| match term.test {
        Test::Proto(protocol) => (protocol == layer.protocol()) != term.negated,
        _ => true,
    })
}

/// The protocols that terms leave open, of those that have timeouts here.
pub(crate) fn layers(terms: &Terms) -> impl Iterator<Item = Layer> + '_ {
    Layer::ALL.into_iter().filter(|layer| allows(terms, *layer))
}

impl Layer {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Layer::Tcp => Protocol::TCP,
            Layer::Udp => Protocol::UDP,
        }
    }
}
