//! The timeout that the kernel will give a flow at its next packet.

use crate::flow::{Flow, Protocol, StatusBit, TcpState};
use crate::tunable::{Key, Snapshot};

/// Every timeout of one moment, ready to be looked up for a million flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timeouts([Option<u32>; Key::ALL.len()]);

impl Timeouts {
    /// The timeouts of a snapshot. One that was not read, or is below a second (which ends a flow
    /// at its next packet), counts as unknown.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut timeouts = [None; Key::ALL.len()];
        for (place, key) in timeouts.iter_mut().zip(Key::ALL) {
            let read = snapshot.value(*key).filter(|_| key.is_time());
            *place = read.and_then(|seconds| u32::try_from(seconds).ok());
            *place = place.filter(|seconds| *seconds > 0);
        }
        Timeouts(timeouts)
    }

    /// The seconds of one key, if they are known.
    pub(crate) fn get(&self, key: Key) -> Option<u32> {
        self.0.get(key as usize).copied().flatten()
    }

    /// The key that applies to the flow, and its seconds; none where nothing is known of either.
    ///
    /// GRE has none: it copies its timeouts when the flow is created.
    pub(crate) fn of_flow(&self, flow: &Flow<'_>) -> Option<(Key, u32)> {
        let key = match flow.original.protocol {
            Protocol::TCP => tcp_key(flow.tcp_state()?)?,
            Protocol::SCTP => sctp_key(flow.sctp?)?,
            Protocol::UDP | Protocol::UDPLITE => self.udp_key(flow),
            Protocol::ICMP => Key::IcmpTimeout,
            Protocol::ICMPV6 => Key::Icmpv6Timeout,
            // DCCP had timeouts of its own until about 6.17, by a state that is not decoded.
            Protocol::GRE | Protocol::DCCP => return None,
            _ => Key::GenericTimeout,
        };
        Some((key, self.get(key)?))
    }

    /// Without an answer the next packet of either side gives udp_timeout. A flow that was answered
    /// gets the stream's value at its next packet once it is two seconds old, assured or not: of
    /// the two timeouts the longer one is never too short.
    fn udp_key(&self, flow: &Flow<'_>) -> Key {
        let is_longer = self.get(Key::UdpTimeout) > self.get(Key::UdpTimeoutStream);
        let is_answered = flow.status.has(StatusBit::SeenReply);
        if !is_answered || is_longer && !flow.status.has(StatusBit::Assured) {
            Key::UdpTimeout
        } else {
            Key::UdpTimeoutStream
        }
    }
}

fn tcp_key(state: TcpState) -> Option<Key> {
    match state {
        TcpState::SynSent => Some(Key::TcpTimeoutSynSent),
        TcpState::SynRecv => Some(Key::TcpTimeoutSynRecv),
        TcpState::Established => Some(Key::TcpTimeoutEstablished),
        TcpState::FinWait => Some(Key::TcpTimeoutFinWait),
        TcpState::CloseWait => Some(Key::TcpTimeoutCloseWait),
        TcpState::LastAck => Some(Key::TcpTimeoutLastAck),
        TcpState::TimeWait => Some(Key::TcpTimeoutTimeWait),
        TcpState::Close => Some(Key::TcpTimeoutClose),
        // No sysctl is named for them.
        TcpState::None | TcpState::SynSent2 => None,
    }
}

/// `enum sctp_conntrack`; 9 is gone since about 6.2.
fn sctp_key(state: u8) -> Option<Key> {
    match state {
        1 => Some(Key::SctpTimeoutClosed),
        2 => Some(Key::SctpTimeoutCookieWait),
        3 => Some(Key::SctpTimeoutCookieEchoed),
        4 => Some(Key::SctpTimeoutEstablished),
        5 => Some(Key::SctpTimeoutShutdownSent),
        6 => Some(Key::SctpTimeoutShutdownRecd),
        7 => Some(Key::SctpTimeoutShutdownAckSent),
        8 => Some(Key::SctpTimeoutHeartbeatSent),
        9 => Some(Key::SctpTimeoutHeartbeatAcked),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::tunable::{Access, Reading};

    /// Each timeout has the number of its place in the catalog.
    pub(in super::super) fn timeouts(others: &[(Key, i64)]) -> Timeouts {
        let numbered = |key: &Key| (*key, i64::from(*key as u8));
        let all = Key::ALL.iter().map(numbered).chain(others.iter().copied());
        let access = Access::Writable;
        let readings = all.map(|(key, value)| (key, Reading::Value { value, access }));
        Timeouts::of(&Snapshot::new(readings, None))
    }

    #[test]
    fn each_state_of_tcp_has_the_sysctl_of_its_name() {
        let timeouts = timeouts(&[]);
        let mut flow = Flow::parse(TCP).unwrap();
        for state in TcpState::ALL {
            flow.tcp.as_mut().unwrap().state = Some(*state);
            let name = format!("tcp_timeout_{}", state.name());
            let key = Key::find(&name).ok();
            let found = timeouts.of_flow(&flow);
            assert_eq!(found.map(|(key, _)| key), key, "{name}");
            assert_eq!(found.map(|(_, s)| s), key.map(|key| key as u32), "{name}");
        }
        flow.tcp = None;
        assert_eq!(timeouts.of_flow(&flow), None);
    }

    #[test]
    fn udp_has_the_value_that_its_next_packet_gives_or_the_longer_of_two() {
        let replied = StatusBit::SeenReply.mask();
        let assured = replied | StatusBit::Assured.mask();
        for (udp, stream, status, expected) in [
            (30, 120, 0, 30),
            (20, 180, 0, 20),
            (30, 120, replied, 120),
            (30, 120, assured, 120),
            (120, 30, 0, 120),
            (120, 30, replied, 120),
            (120, 30, assured, 30),
            (0, 30, replied, 30),
        ] {
            let timeouts = timeouts(&[(Key::UdpTimeout, udp), (Key::UdpTimeoutStream, stream)]);
            let mut flow = Flow::parse(UDP).unwrap();
            flow.status.0 = status;
            let found = timeouts.of_flow(&flow).map(|(_, seconds)| seconds);
            assert_eq!(found, Some(expected), "{udp} {stream} {status}");
        }
    }

    #[test]
    fn other_protocols_have_theirs_or_the_generic_one() {
        let timeouts = timeouts(&[]);
        let mut flow = Flow::parse(UDP).unwrap();
        for (protocol, sctp, key) in [
            (Protocol::ICMP, None, Some(Key::IcmpTimeout)),
            (Protocol::ICMPV6, None, Some(Key::Icmpv6Timeout)),
            (Protocol::UDPLITE, None, Some(Key::UdpTimeout)),
            (Protocol::SCTP, Some(4), Some(Key::SctpTimeoutEstablished)),
            (Protocol::SCTP, Some(0), None),
            (Protocol::SCTP, None, None),
            (Protocol(50), None, Some(Key::GenericTimeout)),
            (Protocol::GRE, None, None),
            (Protocol::DCCP, None, None),
        ] {
            flow.original.protocol = protocol;
            flow.sctp = sctp;
            let found = timeouts.of_flow(&flow).map(|(key, _)| key);
            let expected = key.filter(|key| timeouts.get(*key).is_some());
            assert_eq!(found, expected, "{protocol}");
        }
    }

    #[test]
    fn a_timeout_below_a_second_is_unknown() {
        for seconds in [0, -5] {
            let timeouts = timeouts(&[(Key::TcpTimeoutEstablished, seconds)]);
            assert_eq!(timeouts.of_flow(&Flow::parse(TCP).unwrap()), None);
        }
    }
}
