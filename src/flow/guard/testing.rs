//! A judge for tests: the kernel's timeouts, nothing protected.

use super::Judge;
use crate::flow::Policies;
use crate::flow::expire::{History, Proof, Protected, Rules, Timeouts};
use crate::tunable::{Access, Key, Reading, Snapshot};

pub(super) fn judge() -> Judge {
    let readings = [
        (Key::TcpTimeoutEstablished, 432_000),
        (Key::TcpTimeoutUnacknowledged, 300),
        (Key::TcpTimeoutMaxRetrans, 300),
        (Key::TcpTimeoutTimeWait, 120),
        (Key::UdpTimeout, 30),
        (Key::UdpTimeoutStream, 120),
    ];
    let access = Access::Writable;
    let readings = readings.map(|(key, value)| (key, Reading::Value { value, access }));
    let rules = Rules {
        protected: Protected::default(),
        timeouts: Timeouts::of(&Snapshot::new(readings, None)),
        policies: Policies::default(),
        history: History::default(),
        proof: Proof::Nothing,
        spread: 0,
        grace: 0,
    };
    Judge::new(rules, false)
}
