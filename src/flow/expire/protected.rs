//! Flows that are left alone in every mode.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use super::{KeptWhy, Session};
use crate::flow::{Flow, Protocol, Selection, StatusBit};

/// What the operator selects, and what nobody may touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protected {
    /// Which flows to look at, and which the operator keeps.
    pub(crate) selection: Selection,
    /// Of operators; a search takes no longer where there are many.
    pub(crate) sessions: HashSet<Session, RandomState>,
}

/// `IPS_TEMPLATE` and bit 12, `IPS_NAT_CLASH` (`IPS_UNTRACKED` before 4.12).
const INTERNAL: u32 = 1 << 11 | 1 << 12;

impl Protected {
    /// Why the flow is left alone whatever its time, if it is.
    pub(crate) fn why(&self, flow: &Flow<'_>) -> Option<KeptWhy> {
        let has = |bit| flow.status.has(bit);
        let reasons = [
            (self.selection.keeps(flow), KeptWhy::Keep),
            (self.is_a_session(flow), KeptWhy::SshSession),
            (!has(StatusBit::Confirmed), KeptWhy::Unconfirmed),
            (has(StatusBit::Dying), KeptWhy::Dying),
            (has(StatusBit::FixedTimeout), KeptWhy::FixedTimeout),
            (is_offloaded(flow), KeptWhy::Offloaded),
            (flow.status.0 & INTERNAL != 0, KeptWhy::Internal),
            (flow.helper.is_some(), KeptWhy::Helper),
            (flow.has_master, KeptWhy::Master),
            (flow.original.protocol == Protocol::GRE, KeptWhy::Gre),
        ];
        reasons
            .into_iter()
            .find(|(holds, _)| *holds)
            .map(|(_, why)| why)
    }

    fn is_a_session(&self, flow: &Flow<'_>) -> bool {
        !self.sessions.is_empty()
            && Session::possible(flow).any(|session| self.sessions.contains(&session))
    }
}

/// The dump tells no time of an offloaded flow.
fn is_offloaded(flow: &Flow<'_>) -> bool {
    flow.status.has(StatusBit::Offload)
        || flow.status.has(StatusBit::HwOffload)
        || flow.timeout.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Terms;
    use crate::flow::captured::TCP;

    #[test]
    fn each_protection_is_told_by_its_name() {
        let plain = Flow::parse(TCP).unwrap();
        let nothing = Protected::default();
        assert_eq!(nothing.why(&plain), None);
        let with = |change: &dyn Fn(&mut Flow<'_>)| {
            let mut flow = plain;
            change(&mut flow);
            nothing.why(&flow).map(KeptWhy::name)
        };
        let bit = |bit: u32| with(&|flow| flow.status.0 |= 1 << bit);
        assert_eq!(with(&|flow| flow.status.0 = 6), Some("unconfirmed"));
        assert_eq!(bit(9), Some("dying"));
        assert_eq!(bit(10), Some("fixed-timeout"));
        assert_eq!(bit(11), Some("internal"));
        assert_eq!(bit(12), Some("internal"));
        assert_eq!(bit(14), Some("offloaded"));
        assert_eq!(bit(15), Some("offloaded"));
        assert_eq!(with(&|flow| flow.timeout = None), Some("offloaded"));
        assert_eq!(with(&|flow| flow.helper = Some(b"ftp")), Some("helper"));
        assert_eq!(with(&|flow| flow.has_master = true), Some("master"));
        let gre = with(&|flow| flow.original.protocol = Protocol::GRE);
        assert_eq!(gre, Some("gre"));
    }

    #[test]
    fn what_the_operator_keeps_is_protected() {
        let flow = Flow::parse(TCP).unwrap();
        let keep = Protected {
            selection: Selection {
                matching: Vec::new(),
                keep: vec![Terms::parse("dport=80").unwrap()],
            },
            ..Protected::default()
        };
        assert_eq!(keep.why(&flow), Some(KeptWhy::Keep));
        let session = Protected {
            sessions: ["192.168.1.1 1000 10.0.0.2 80".parse().unwrap()]
                .into_iter()
                .collect(),
            ..Protected::default()
        };
        assert_eq!(session.why(&flow), Some(KeptWhy::SshSession));
    }
}
