//! How long a flow was idle: what its time left tells, and what was watched.
//!
//! Rule: a flow that was given C seconds at its last packet and has L left was idle for C − L. It
//! may have been given less: while data waits to be acknowledged, by a policy, by somebody's
//! update. Or more: before the timeout was lowered. What is not known widens the range.

use crate::flow::expire::{History, Moment, Timeouts};
use crate::flow::guard::Lent;
use crate::flow::{Compared, Flow, Policies, Protocol, StatusBit};
use crate::tunable::Key;

/// Seconds that a flow was idle for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) least: u32,
    pub(super) most: u32,
}

/// What a second look tells of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// There was no first look, or the two disagree.
    Nothing,
    /// It was silent for so many seconds; then it had this time left.
    Silent { seconds: u32, left: u32 },
    /// It sent, began or changed its state in the last so many seconds.
    Active { seconds: u32 },
}

/// What is known of the timeouts.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The timeouts now.
    pub(crate) timeouts: Timeouts,
    /// Values that apply to some flows in place of the sysctls.
    pub(crate) policies: Policies,
    /// What the timeout in question was, and when.
    pub(crate) history: History,
    /// What a guard has watched of established connections.
    pub(crate) lent: Option<Borrowed>,
}

/// What a guard has watched.
#[derive(Debug, Clone)]
pub(crate) struct Borrowed {
    pub(crate) lent: Lent<'static>,
    /// Milliseconds of its clock at which the clock of this look began.
    pub(crate) began: u32,
}

/// Seconds by which a time left may be off: it is rounded down, and a look takes its time.
const ROUNDING: u32 = 2;

/// The timeouts that a TCP connection gets while it waits for an answer.
const STALLS: [Key; 2] = [Key::TcpTimeoutUnacknowledged, Key::TcpTimeoutMaxRetrans];

impl Idle {
    /// Nothing is known.
    pub(super) const UNKNOWN: Idle = Idle {
        least: 0,
        most: u32::MAX,
    };

    /// Whether it is known but for the rounding of a dump.
    pub(super) fn is_known(self) -> bool {
        self.most - self.least <= 1
    }

    /// Narrowed by what was watched.
    pub(super) fn watched(self, seen: Seen) -> Idle {
        match seen {
            Seen::Nothing => self,
            Seen::Silent { seconds, .. } if self.most < seconds => Idle {
                least: seconds,
                most: u32::MAX,
            },
            Seen::Silent { seconds, .. } => Idle {
                least: self.least.max(seconds),
                ..self
            },
            Seen::Active { seconds } if self.least > seconds => Idle {
                least: 0,
                most: seconds,
            },
            Seen::Active { seconds } => Idle {
                most: self.most.min(seconds),
                ..self
            },
        }
    }
}

impl Known {
    /// What the time left of a flow tells of its idle time. `timeout` is that of its key now.
    pub(super) fn idle(&self, flow: &Flow<'_>, timeout: u32, now: i64) -> Idle {
        let Some(left) = flow.timeout else {
            return Idle::UNKNOWN;
        };
        // No packet refreshes one, and no one knows who set its time.
        if flow.status.has(StatusBit::FixedTimeout) || self.policies.may_apply_to(flow) {
            return Idle::UNKNOWN;
        }
        let Some((least, most)) = self.history.idle_range(left, now) else {
            return Idle::UNKNOWN;
        };
        let least = match self.shorter(flow, timeout, left) {
            Some(shorter) => least.min(shorter.saturating_sub(left)),
            None => least,
        };
        match age(flow, now) {
            Some(age) if age < least => Idle {
                least: 0,
                most: age,
            },
            Some(age) => Idle {
                least,
                most: most.min(age),
            },
            None => Idle { least, most },
        }
    }

    /// What a guard has watched of a flow.
    pub(super) fn lent(&self, flow: &Flow<'_>, moment: Moment) -> Seen {
        let Some(Borrowed { lent, began }) = &self.lent else {
            return Seen::Nothing;
        };
        let at = began.saturating_add(moment.at);
        match lent.sightings.compare(flow, at) {
            Compared::Same(then, _) => Seen::Silent {
                seconds: then.silent(at, &lent.timeouts) / 1000,
                left: then.left,
            },
            Compared::Moved(then) => Seen::Active {
                seconds: (at.saturating_sub(then.at()) / 1000).saturating_add(1),
            },
            Compared::Unclear | Compared::Unseen => Seen::Nothing,
        }
    }

    /// What was seen of a flow, unless a packet may have hidden: one that comes when a flow has just
    /// the time left that it is given does not move its expected end.
    pub(super) fn proven(&self, flow: &Flow<'_>, timeout: u32, seen: Seen) -> Seen {
        let (Seen::Silent { left: most, .. }, Some(least)) = (seen, flow.timeout) else {
            return seen;
        };
        let stalls = STALLS.iter().filter_map(|key| self.timeouts.get(*key));
        let mut given = stalls.chain([timeout]);
        let hides = given.any(|given| {
            least <= given.saturating_add(ROUNDING) && given <= most.saturating_add(ROUNDING)
        });
        if hides { Seen::Nothing } else { seen }
    }

    /// A shorter timeout than that of its key which may have set the time left of a flow.
    fn shorter(&self, flow: &Flow<'_>, timeout: u32, left: u32) -> Option<u32> {
        let may_have_set = |seconds: &u32| *seconds < timeout && left <= seconds + ROUNDING;
        match flow.original.protocol {
            Protocol::TCP => {
                let stalls = STALLS.iter().filter_map(|key| self.timeouts.get(*key));
                stalls.filter(may_have_set).min()
            }
            // An answered flow gets the stream's timeout once it is two seconds old.
            Protocol::UDP | Protocol::UDPLITE if !flow.status.has(StatusBit::Assured) => {
                let short = self.timeouts.get(Key::UdpTimeout);
                let stream = self.timeouts.get(Key::UdpTimeoutStream);
                short.into_iter().chain(stream).filter(may_have_set).min()
            }
            _ => None,
        }
    }
}

/// The seconds since a flow began, where that is noted.
fn age(flow: &Flow<'_>, now: i64) -> Option<u32> {
    let began = i64::try_from(flow.started? / 1_000_000_000).ok()?;
    u32::try_from(now.saturating_sub(began).max(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::expire::{Change, OwnUpdate};
    use crate::flow::{Policy, Selection};
    use crate::tunable::{Access, Reading, Snapshot};

    const NOW: i64 = 1_000_000;
    const FIVE_DAYS: u32 = 432_000;

    fn known(history: History) -> Known {
        let values = [
            (Key::TcpTimeoutEstablished, i64::from(FIVE_DAYS)),
            (Key::TcpTimeoutUnacknowledged, 300),
            (Key::TcpTimeoutMaxRetrans, 200),
            (Key::UdpTimeout, 30),
            (Key::UdpTimeoutStream, 120),
        ];
        let access = Access::Writable;
        let readings = values.map(|(key, value)| (key, Reading::Value { value, access }));
        Known {
            timeouts: Timeouts::of(&Snapshot::new(readings, None)),
            policies: Policies::default(),
            history,
            lent: None,
        }
    }

    fn always(seconds: u32) -> History {
        History::told(seconds.into(), None, seconds.into(), NOW)
    }

    fn idle_of(known: &Known, flow: &Flow<'_>, timeout: u32, left: u32) -> (u32, u32) {
        let mut flow = *flow;
        flow.timeout = Some(left);
        let Idle { least, most } = known.idle(&flow, timeout, NOW);
        (least, most)
    }

    const UNKNOWN: (u32, u32) = (0, u32::MAX);

    #[test]
    fn what_is_gone_of_the_timeout_is_idle_time_unless_a_shorter_one_may_have_set_it() {
        let flow = Flow::parse(TCP).unwrap();
        let known = known(always(FIVE_DAYS));
        for (left, expected) in [
            (432_000, (0, 0)),
            (431_000, (1000, 1000)),
            (303, (431_697, 431_697)),
            (302, (0, 431_698)),
            (202, (0, 431_798)),
            (0, (200, 432_000)),
            // More than any timeout that is known.
            (432_001, UNKNOWN),
        ] {
            assert_eq!(idle_of(&known, &flow, FIVE_DAYS, left), expected, "{left}");
        }
    }

    #[test]
    fn a_timeout_below_those_of_a_stall_is_set_by_no_other() {
        let flow = Flow::parse(TCP).unwrap();
        let known = known(always(150));
        assert_eq!(idle_of(&known, &flow, 150, 50), (100, 100));
    }

    #[test]
    fn a_timeout_that_was_lowered_explains_more() {
        let flow = Flow::parse(TCP).unwrap();
        let change = Change {
            at: NOW - 1000,
            before: Some(FIVE_DAYS.into()),
            after: vec![7440],
        };
        let lowered = || History::of(std::slice::from_ref(&change), 7440, NOW);
        let known_lowered = known(lowered());
        for (left, expected) in [
            (400_000, (32_000, 32_000)),
            // It sent before the change or after it.
            (7000, (440, 425_000)),
            (431_990, UNKNOWN),
        ] {
            assert_eq!(
                idle_of(&known_lowered, &flow, 7440, left),
                expected,
                "{left}"
            );
        }
        // cttune set its time a hundred seconds ago: how long it was idle before is not known.
        let update = OwnUpdate {
            until: NOW - 100,
            highest: 7440,
        };
        let known = known(lowered().with_updates(&[update]));
        for (left, expected) in [(7340, (99, u32::MAX)), (7400, (40, 424_600))] {
            assert_eq!(idle_of(&known, &flow, 7440, left), expected, "{left}");
        }
    }

    #[test]
    fn of_fixed_flows_and_those_of_a_policy_nothing_is_known() {
        let mut flow = Flow::parse(TCP).unwrap();
        let mut known = known(always(FIVE_DAYS));
        known.policies = Policies(vec![Policy {
            family: None,
            protocol: Protocol::TCP,
            seconds: [Some(9); Policy::STATES],
            selection: Selection::default(),
            label: None,
        }]);
        assert_eq!(idle_of(&known, &flow, FIVE_DAYS, 400_000), UNKNOWN);
        known.policies = Policies::default();
        flow.status.0 |= StatusBit::FixedTimeout.mask();
        assert_eq!(idle_of(&known, &flow, FIVE_DAYS, 400_000), UNKNOWN);
    }

    #[test]
    fn no_flow_is_idle_for_longer_than_it_exists() {
        let mut flow = Flow::parse(TCP).unwrap();
        let known = known(always(FIVE_DAYS));
        for (age, expected) in [(5000, (1000, 1000)), (500, (0, 500))] {
            flow.started = u64::try_from((NOW - age) * 1_000_000_000).ok();
            assert_eq!(
                idle_of(&known, &flow, FIVE_DAYS, 431_000),
                expected,
                "{age}"
            );
        }
    }

    #[test]
    fn an_answered_udp_flow_may_have_either_timeout_until_it_is_assured() {
        let mut flow = Flow::parse(UDP).unwrap();
        let known = known(always(120));
        let replied = StatusBit::SeenReply.mask();
        for (status, left, expected) in [
            (replied, 20, (10, 100)),
            (replied, 100, (20, 20)),
            (replied | StatusBit::Assured.mask(), 20, (100, 100)),
        ] {
            flow.status.0 = status;
            assert_eq!(
                idle_of(&known, &flow, 120, left),
                expected,
                "{status} {left}"
            );
        }
    }

    #[test]
    fn what_was_watched_narrows_what_the_time_left_tells() {
        let range = |least, most| Idle { least, most };
        let silent = Seen::Silent {
            seconds: 30,
            left: 500,
        };
        let active = Seen::Active { seconds: 31 };
        for (idle, seen, expected) in [
            (range(0, 1000), silent, range(30, 1000)),
            (range(0, 10), silent, range(30, u32::MAX)),
            (range(90, 90), silent, range(90, 90)),
            (Idle::UNKNOWN, active, range(0, 31)),
            (range(90, 90), active, range(0, 31)),
            (range(5, 5), active, range(5, 5)),
            (range(5, 9), Seen::Nothing, range(5, 9)),
        ] {
            assert_eq!(idle.watched(seen), expected, "{idle:?} {seen:?}");
        }
    }

    #[test]
    fn time_left_that_passed_a_timeout_proves_nothing() {
        let mut flow = Flow::parse(TCP).unwrap();
        let known = known(always(FIVE_DAYS));
        let seen = |left| Seen::Silent { seconds: 30, left };
        for (left, then, proves) in [
            (400_000, 400_030, true),
            (431_970, 432_000, false),
            (290, 320, false),
            (100, 130, true),
            (180, 210, false),
        ] {
            flow.timeout = Some(left);
            let proven = known.proven(&flow, FIVE_DAYS, seen(then));
            assert_eq!(proven == seen(then), proves, "{left}");
        }
    }
}
