//! The classes of flows that may end, and what may bring a flow of each back to life unseen.

use crate::flow::expire::{Protected, Rules};
use crate::flow::{ByPolicy, Flow, Protocol, StatusBit, TcpState};
use crate::tunable::Key;

/// Flows of one kind, the most harmless to end first.
///
/// SYN_RECV, CLOSE_WAIT and FIN_WAIT are none: without their entry a handshake or the rest of a
/// download is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// TCP that was reset.
    Close,
    /// TCP that both sides closed.
    TimeWait,
    /// TCP that nobody answered; a client that lives sends its SYN again.
    SynSent,
    /// UDP that nobody answered.
    Unanswered,
    /// TCP that waits for the last acknowledgement.
    LastAck,
    /// UDP in both directions.
    Answered,
    /// Assured, established TCP without unacknowledged data.
    Established,
}

impl Class {
    pub(crate) const ALL: [Class; 7] = [
        Class::Close,
        Class::TimeWait,
        Class::SynSent,
        Class::Unanswered,
        Class::LastAck,
        Class::Answered,
        Class::Established,
    ];

    /// The name in profiles and in what machines read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Close => "close",
            Class::TimeWait => "time-wait",
            Class::SynSent => "syn-sent",
            Class::Unanswered => "unanswered",
            Class::LastAck => "last-ack",
            Class::Answered => "answered",
            Class::Established => "established",
        }
    }

    /// The class that a sighting is tagged with.
    pub(crate) fn of_tag(tag: u8) -> Option<Class> {
        Class::ALL.get(usize::from(tag)).copied()
    }

    pub(crate) fn tag(self) -> u8 {
        self as u8
    }

    fn of(flow: &Flow<'_>) -> Option<Class> {
        let is_answered = flow.status.has(StatusBit::SeenReply);
        match flow.original.protocol {
            Protocol::TCP => match flow.tcp_state()? {
                TcpState::Close => Some(Class::Close),
                TcpState::TimeWait => Some(Class::TimeWait),
                TcpState::SynSent => Some(Class::SynSent),
                TcpState::LastAck => Some(Class::LastAck),
                TcpState::Established => Some(Class::Established),
                _ => None,
            },
            Protocol::UDP | Protocol::UDPLITE if is_answered => Some(Class::Answered),
            Protocol::UDP | Protocol::UDPLITE => Some(Class::Unanswered),
            _ => None,
        }
    }

    /// The sysctls that a packet may give a flow of this class. nf_conntrack_proto_tcp.c gives the
    /// last two to connections in any state.
    fn keys(self) -> &'static [Key] {
        match self {
            Class::Close => TCP_CLOSE,
            Class::TimeWait => TCP_TIME_WAIT,
            Class::SynSent => TCP_SYN_SENT,
            Class::LastAck => TCP_LAST_ACK,
            Class::Established => TCP_ESTABLISHED,
            Class::Unanswered | Class::Answered => &[Key::UdpTimeout, Key::UdpTimeoutStream],
        }
    }
}

macro_rules! tcp {
    ($key:ident) => {
        &[
            Key::$key,
            Key::TcpTimeoutUnacknowledged,
            Key::TcpTimeoutMaxRetrans,
        ]
    };
}
const TCP_CLOSE: &[Key] = tcp!(TcpTimeoutClose);
const TCP_TIME_WAIT: &[Key] = tcp!(TcpTimeoutTimeWait);
const TCP_SYN_SENT: &[Key] = tcp!(TcpTimeoutSynSent);
const TCP_LAST_ACK: &[Key] = tcp!(TcpTimeoutLastAck);
const TCP_ESTABLISHED: &[Key] = tcp!(TcpTimeoutEstablished);

/// Says of each flow whether it may ever be ended.
#[derive(Debug)]
pub(crate) struct Judge {
    rules: Rules,
    pub(crate) trusts_history: bool,
    /// For each class every timeout that held since the guard began.
    timeouts: [Vec<u32>; Class::ALL.len()],
}

impl Judge {
    pub(crate) fn new(rules: Rules, trusts_history: bool) -> Self {
        let mut judge = Judge {
            timeouts: Default::default(),
            rules: rules.clone(),
            trusts_history,
        };
        judge.renew(rules);
        judge
    }

    /// Takes the rules of now; the timeouts that held before stay known.
    pub(crate) fn renew(&mut self, rules: Rules) {
        let by_policy = rules.policies.0.iter();
        let by_policy = by_policy.flat_map(|policy| policy.seconds.iter().copied().flatten());
        let by_policy: Vec<u32> = by_policy.collect();
        for (class, known) in Class::ALL.iter().zip(&mut self.timeouts) {
            let by_sysctl = class
                .keys()
                .iter()
                .filter_map(|key| rules.timeouts.get(*key));
            known.extend(by_sysctl.chain(by_policy.iter().copied()));
            known.sort_unstable();
            known.dedup();
        }
        self.rules = rules;
    }

    /// Whether anything is known of how the timeout of established TCP changed.
    pub(crate) fn is_history_known(&self) -> bool {
        !self.rules.history.is_unknown()
    }

    /// Every timeout that may have been given to a flow of the class.
    pub(crate) fn timeouts(&self, class: Class) -> &[u32] {
        self.timeouts.get(class as usize).map_or(&[], Vec::as_slice)
    }

    /// How many timeouts are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.timeouts.iter().map(Vec::len).sum()
    }

    /// The class of a flow that may be ended once it is idle for long enough.
    pub(crate) fn class(&self, flow: &Flow<'_>) -> Option<Class> {
        let class = Class::of(flow)?;
        if class == Class::Established {
            return self.rules.may_be_idle(flow).is_ok().then_some(class);
        }
        let is_unknown = self.rules.policies.longest_for(flow) == ByPolicy::Unknown;
        (!is_unknown && self.protected().why(flow).is_none()).then_some(class)
    }

    /// The milliseconds for which a flow was idle by the history of the timeout, if the operator
    /// trusts it.
    pub(crate) fn idle_before(&self, flow: &Flow<'_>, class: Class, now: i64) -> u32 {
        if class != Class::Established || !self.trusts_history {
            return 0;
        }
        let idle = self.rules.inferred_idle(flow, now);
        idle.unwrap_or(0).saturating_mul(1000)
    }

    fn protected(&self) -> &Protected {
        &self.rules.protected
    }
}
