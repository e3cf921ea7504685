//! The verdict on a flow: how far it is shortened, or why it is left alone.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::proof::Idle;
use super::{History, KeptWhy, Proof, Protected, Timeouts};
use crate::flow::{ByPolicy, Flow, Policies, Sightings};
use crate::tunable::Key;

/// Everything that a verdict depends on beside the flow.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Flows that are left alone in any case.
    pub(crate) protected: Protected,
    /// The sysctls.
    pub(crate) timeouts: Timeouts,
    /// Values that apply to some flows in place of the sysctls.
    pub(crate) policies: Policies,
    /// What `tcp_timeout_established` was, and when.
    pub(crate) history: History,
    /// What counts as proof of idle time.
    pub(crate) proof: Proof,
    /// Seconds over which the ends of flows are spread.
    pub(crate) spread: u32,
    /// Seconds that a re-aged flow keeps at least.
    pub(crate) grace: u32,
}

/// What is to become of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays as it is.
    Keep(KeptWhy),
    /// It stays as it is, because too little is known of it.
    Unknown,
    /// It gets less time.
    Shorten(Shortening),
    /// It ends.
    Delete(Shortening),
}

/// Less time for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortening {
    /// The sysctl that applies to it.
    pub(crate) key: Key,
    /// What that sysctl says, or a policy or service in its place.
    pub(crate) timeout: u32,
    /// The seconds it gets, fewer than it has.
    pub(crate) seconds: u32,
    /// Whether it is likely idle for longer than the timeout, by the timeout's history.
    pub(crate) is_silent: bool,
}

/// When a flow was dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since 1970, for the history alone.
    pub(crate) now: i64,
    /// Milliseconds of the clock that two looks share.
    pub(crate) at: u32,
}

impl Rules {
    /// Clamps: a flow that has more time than its timeout gets its timeout, which is what the
    /// kernel gives it at its next packet anyway.
    pub(crate) fn clamp(&self, flow: &Flow<'_>, now: i64) -> Verdict {
        if let Some(why) = self.protected.why(flow) {
            return Verdict::Keep(why);
        }
        let (Some((key, timeout)), Some(left)) = (self.timeouts.of_flow(flow), flow.timeout) else {
            return Verdict::Unknown;
        };
        // Of a service the operator says how long is long enough, also for flows that are older
        // than its rule and get more from the kernel at their next packet.
        let of_service = self.policies.of_service(flow);
        let Some(longest) = of_service.or_else(|| self.longest(flow, timeout)) else {
            return Verdict::Keep(KeptWhy::Policy);
        };
        let spread = self.spread_of(flow);
        let seconds = longest.saturating_add(spread);
        if left <= seconds {
            let is_within = left <= timeout.saturating_add(spread);
            return Verdict::Keep(if is_within {
                KeptWhy::WithinTimeout
            } else {
                KeptWhy::Policy
            });
        }
        Verdict::Shorten(Shortening {
            key,
            timeout: longest,
            seconds,
            is_silent: key == Key::TcpTimeoutEstablished && self.is_likely_idle(flow, now),
        })
    }

    /// Re-ages: the idle time that is proven counts against the timeout, but for a grace. Before
    /// the first look nothing is proven yet, and the verdict is what it would be at most.
    pub(crate) fn re_age(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Verdict {
        self.by_idle(flow, first, moment, |idle| {
            let left = idle.timeout.saturating_sub(idle.seconds).max(self.grace);
            let seconds = left.saturating_add(self.spread_of(flow));
            if flow.timeout.is_none_or(|left| left <= seconds) {
                return Verdict::Keep(KeptWhy::WithinTimeout);
            }
            Verdict::Shorten(self.shortening(flow, seconds, idle, moment))
        })
    }

    /// Deletes: a flow that was watched and silent for the whole time ends now; with a trusted
    /// history, one that was idle for as long as the timeout. Before the first look as in
    /// [`Rules::re_age`].
    pub(crate) fn delete(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Verdict {
        self.by_idle(flow, first, moment, |idle| {
            let minimum = match self.proof {
                Proof::Watched { minimum, .. } => minimum,
                Proof::Nothing | Proof::History => idle.timeout,
            };
            if idle.seconds < minimum {
                return Verdict::Keep(KeptWhy::NotStale);
            }
            Verdict::Delete(self.shortening(flow, 0, idle, moment))
        })
    }

    /// What follows from the idle time that is proven; where none is, the flow is kept.
    fn by_idle(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
        then: impl FnOnce(Idle) -> Verdict,
    ) -> Verdict {
        self.idle(flow, first, moment)
            .map_or_else(|kept| kept, then)
    }

    /// The longest time that the sysctl and policies may give a flow; none where a policy's is not
    /// known.
    pub(super) fn longest(&self, flow: &Flow<'_>, timeout: u32) -> Option<u32> {
        match self.policies.longest_for(flow) {
            ByPolicy::Nothing => Some(timeout),
            ByPolicy::Seconds(seconds) => Some(timeout.max(seconds)),
            ByPolicy::Unknown => None,
        }
    }

    /// The flow's own part of the spread: always the same, so that no later look changes it again.
    fn spread_of(&self, flow: &Flow<'_>) -> u32 {
        if self.spread == 0 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        flow.raw_original().hash(&mut hasher);
        let part = hasher.finish() % (u64::from(self.spread) + 1);
        u32::try_from(part).unwrap_or(self.spread)
    }

    fn shortening(&self, flow: &Flow<'_>, seconds: u32, idle: Idle, moment: Moment) -> Shortening {
        Shortening {
            key: Key::TcpTimeoutEstablished,
            timeout: idle.timeout,
            seconds,
            is_silent: self.is_likely_idle(flow, moment.now),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Change;
    use super::super::timeouts::tests::timeouts;
    use super::*;
    use crate::flow::TcpState;
    use crate::flow::captured::{TCP, UDP};

    pub(in super::super) const NOW: i64 = 1_000_000;
    pub(in super::super) const MOMENT: Moment = Moment { now: NOW, at: 0 };

    /// Five days until an hour ago, ten minutes since.
    pub(in super::super) fn rules() -> Rules {
        let change = Change {
            at: NOW - 3600,
            before: Some(432_000),
            after: vec![600],
        };
        Rules {
            protected: Protected::default(),
            timeouts: timeouts(&[
                (Key::TcpTimeoutEstablished, 600),
                (Key::TcpTimeoutUnacknowledged, 300),
                (Key::TcpTimeoutMaxRetrans, 300),
                (Key::UdpTimeout, 30),
                (Key::UdpTimeoutStream, 120),
            ]),
            policies: Policies::default(),
            history: History::of(&[change], 600, NOW),
            proof: Proof::History,
            spread: 0,
            grace: 120,
        }
    }

    /// An established connection with so many seconds left.
    pub(in super::super) fn established(remaining: u32) -> Flow<'static> {
        let mut flow = Flow::parse(TCP).unwrap();
        flow.timeout = Some(remaining);
        flow
    }

    #[test]
    fn clamp_brings_down_what_has_more_than_its_timeout() {
        for (remaining, expected) in [
            (432_000, Some((600, false))),
            (100_000, Some((600, true))),
            (601, Some((600, true))),
            (600, None),
            (0, None),
        ] {
            let verdict = rules().clamp(&established(remaining), NOW);
            let got = match verdict {
                Verdict::Shorten(one) => Some((one.seconds, one.is_silent)),
                Verdict::Keep(KeptWhy::WithinTimeout) => None,
                other => panic!("{remaining}: {other:?}"),
            };
            assert_eq!(got, expected, "{remaining}");
        }
        let udp = rules().clamp(&Flow::parse(UDP).unwrap(), NOW);
        assert!(
            matches!(udp, Verdict::Shorten(one) if one.seconds == 30 && !one.is_silent),
            "{udp:?}"
        );
        let mut flow = established(5000);
        flow.tcp.as_mut().unwrap().state = Some(TcpState::SynSent2);
        assert_eq!(rules().clamp(&flow, NOW), Verdict::Unknown);
    }

    #[test]
    fn a_spread_gives_each_flow_always_the_same_and_never_more_than_it_has() {
        let spread = Rules {
            spread: 60,
            ..rules()
        };
        let first = spread.clamp(&established(5000), NOW);
        let Verdict::Shorten(one) = first else {
            panic!("{first:?}")
        };
        assert!((600..=660).contains(&one.seconds), "{one:?}");
        assert_eq!(spread.clamp(&established(5000), NOW), first);
        let again = spread.clamp(&established(one.seconds), NOW);
        assert_eq!(again, Verdict::Keep(KeptWhy::WithinTimeout));
    }

    #[test]
    fn re_age_counts_the_idle_time_that_the_history_tells() {
        for (remaining, seconds) in [
            // Silent for an hour or more: nothing is left but the grace.
            (428_000, Some(120)),
            (100_000, Some(120)),
            (601, Some(120)),
            // Within the minute that the change may have come later: five days held then still.
            (428_450, Some(120)),
        ] {
            let verdict = rules().re_age(&established(remaining), None, MOMENT);
            let got = match verdict {
                Verdict::Shorten(one) => Some(one.seconds),
                _ => None,
            };
            assert_eq!(got, seconds, "{remaining}: {verdict:?}");
        }
        // No value that held explains these.
        for remaining in [431_999, 430_000] {
            let verdict = rules().re_age(&established(remaining), None, MOMENT);
            assert_eq!(verdict, Verdict::Unknown, "{remaining}");
        }
        // Under the new value: silent for 200 s, so 400 are left already.
        let fits = rules().re_age(&established(400), None, MOMENT);
        assert_eq!(fits, Verdict::Keep(KeptWhy::WithinTimeout));
        let long = Rules {
            grace: 5000,
            ..rules()
        };
        let kept = long.re_age(&established(4000), None, MOMENT);
        assert_eq!(kept, Verdict::Keep(KeptWhy::WithinTimeout));
    }

    #[test]
    fn delete_ends_only_what_was_idle_for_the_whole_timeout() {
        let stale = rules().delete(&established(100_000), None, MOMENT);
        assert!(matches!(stale, Verdict::Delete(_)), "{stale:?}");
        let idle = rules().delete(&established(400), None, MOMENT);
        assert_eq!(idle, Verdict::Keep(KeptWhy::NotStale));
    }

    #[test]
    fn a_policy_bounds_what_clamp_gives() {
        use crate::flow::{Policy, Protocol, Selection};
        let with = |seconds: Option<u32>, left| {
            let mut policy = Policy {
                family: None,
                protocol: Protocol::TCP,
                seconds: [None; Policy::STATES],
                selection: Selection::default(),
                label: None,
            };
            policy.seconds[3] = seconds;
            let rules = Rules {
                policies: Policies(vec![policy]),
                ..rules()
            };
            match rules.clamp(&established(left), NOW) {
                Verdict::Shorten(one) => one.seconds.to_string(),
                Verdict::Keep(why) => why.name().to_owned(),
                other => format!("{other:?}"),
            }
        };
        for (seconds, left, expected) in [
            (Some(100), 5000, "600"),
            (Some(1000), 5000, "1000"),
            (Some(1000), 900, "policy"),
            (Some(1000), 600, "within-timeout"),
            (None, 5000, "policy"),
        ] {
            assert_eq!(with(seconds, left), expected, "{seconds:?} {left}");
        }
    }
}
