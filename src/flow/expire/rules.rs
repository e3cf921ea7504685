//! The verdict on a flow: how far it is brought down, or why it is left alone.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{History, KeptWhy, Protected, Timeouts};
use crate::flow::{Compared, Flow, Sightings, StatusBit, TcpState};
use crate::tunable::Key;

/// Everything that a verdict depends on beside the flow.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Flows that are left alone in any case.
    pub(crate) protected: Protected,
    /// The timeouts that hold.
    pub(crate) timeouts: Timeouts,
    /// What `tcp_timeout_established` was, and when.
    pub(crate) history: History,
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
    /// The sysctl that holds for it.
    pub(crate) key: Key,
    /// What that sysctl says.
    pub(crate) timeout: u32,
    /// The seconds it gets, fewer than it has.
    pub(crate) seconds: u32,
    /// Whether it has been silent for longer than the timeout, as far as its history tells.
    pub(crate) is_silent: bool,
}

/// When a flow was dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Milliseconds of the clock that two samples share.
    pub(crate) at: u32,
}

impl Rules {
    /// Clamps: a flow that has more time than its timeout gets its timeout, which is what the
    /// kernel gives it at its next packet anyway.
    pub(crate) fn clamp(&self, flow: &Flow<'_>, now: i64) -> Verdict {
        if let Some(why) = self.protected.why(flow) {
            return Verdict::Keep(why);
        }
        let (Some((key, timeout)), Some(remaining)) = (self.timeouts.of_flow(flow), flow.timeout)
        else {
            return Verdict::Unknown;
        };
        let seconds = timeout.saturating_add(self.spread_of(flow));
        if remaining <= seconds {
            return Verdict::Keep(KeptWhy::WithinTimeout);
        }
        let idle = (key == Key::TcpTimeoutEstablished)
            .then(|| self.history.idle(remaining, now))
            .flatten();
        Verdict::Shorten(Shortening {
            key,
            timeout,
            seconds,
            is_silent: idle.is_some_and(|idle| idle >= timeout),
        })
    }

    /// Whether a flow may turn out to be idle, so that a first sample has to hold it.
    pub(crate) fn is_candidate(&self, flow: &Flow<'_>, now: i64) -> bool {
        self.idle(flow, now).is_ok()
    }

    /// Re-ages: the idle time that is proven counts against the timeout, but for a grace. Without
    /// a sample nothing is proven yet, and the verdict is what it would be at most.
    pub(crate) fn re_age(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Verdict {
        let (idle, timeout) = match self.proven_idle(flow, first, moment) {
            Ok(proven) => proven,
            Err(verdict) => return verdict,
        };
        let left = timeout.saturating_sub(idle).max(self.grace);
        let seconds = left.saturating_add(self.spread_of(flow));
        if flow.timeout.is_none_or(|remaining| remaining <= seconds) {
            return Verdict::Keep(KeptWhy::WithinTimeout);
        }
        Verdict::Shorten(shortening(seconds, timeout, idle))
    }

    /// Deletes: a flow that was idle for as long as the timeout ends now. Without a sample as in
    /// [`Rules::re_age`].
    pub(crate) fn delete(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Verdict {
        match self.proven_idle(flow, first, moment) {
            Ok((idle, timeout)) if idle >= timeout => Verdict::Delete(shortening(0, timeout, idle)),
            Ok(_) => Verdict::Keep(KeptWhy::NotStale),
            Err(verdict) => verdict,
        }
    }

    /// The seconds of silence and the timeout, if two samples prove them.
    fn proven_idle(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Result<(u32, u32), Verdict> {
        let proven = self.idle(flow, moment.now)?;
        match first.map(|first| first.compare(flow, moment.at)) {
            None | Some(Compared::Same(..)) => Ok(proven),
            Some(Compared::Moved(_)) => Err(Verdict::Keep(KeptWhy::Spoke)),
            Some(Compared::Unclear | Compared::Unseen) => Err(Verdict::Keep(KeptWhy::Unseen)),
        }
    }

    /// The seconds of silence that one look tells, at least, and the timeout; or why it tells none.
    fn idle(&self, flow: &Flow<'_>, now: i64) -> Result<(u32, u32), Verdict> {
        let keep = |why| Err(Verdict::Keep(why));
        if let Some(why) = self.protected.why(flow) {
            return keep(why);
        }
        let (Some(tcp), Some(remaining)) = (flow.tcp, flow.timeout) else {
            return keep(KeptWhy::NotEstablished);
        };
        if tcp.state != Some(TcpState::Established) {
            return keep(KeptWhy::NotEstablished);
        }
        if !flow.status.has(StatusBit::SeenReply) || !flow.status.has(StatusBit::Assured) {
            return keep(KeptWhy::NotAssured);
        }
        if tcp.has_unacknowledged_data() {
            return keep(KeptWhy::UnacknowledgedData);
        }
        let (Some(timeout), Some(longest)) = (
            self.timeouts.get(Key::TcpTimeoutEstablished),
            self.longest_of_a_stall(),
        ) else {
            return Err(Verdict::Unknown);
        };
        // A stalled connection, or one whose window is closed, was given one of these instead.
        if remaining <= longest.saturating_add(2) {
            return keep(KeptWhy::EndsSoon);
        }
        if self.history.is_unknown() {
            return Err(Verdict::Unknown);
        }
        if self.history.is_ambiguous(remaining) {
            return keep(KeptWhy::Ambiguous);
        }
        let Some(idle) = self.history.idle(remaining, now) else {
            return Err(Verdict::Unknown);
        };
        if is_younger(flow, idle, now) {
            return keep(KeptWhy::Younger);
        }
        Ok((idle, timeout))
    }

    /// The longer of the two timeouts that a connection gets while it waits for an answer.
    fn longest_of_a_stall(&self) -> Option<u32> {
        let unacknowledged = self.timeouts.get(Key::TcpTimeoutUnacknowledged)?;
        let retransmitting = self.timeouts.get(Key::TcpTimeoutMaxRetrans)?;
        Some(unacknowledged.max(retransmitting))
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
}

/// Whether the flow would have been idle for longer than it exists.
fn is_younger(flow: &Flow<'_>, idle: u32, now: i64) -> bool {
    let Some(started) = flow.started else {
        return false;
    };
    let started = i64::try_from(started / 1_000_000_000).unwrap_or(i64::MAX);
    i64::from(idle) > now.saturating_sub(started)
}

fn shortening(seconds: u32, timeout: u32, idle: u32) -> Shortening {
    Shortening {
        key: Key::TcpTimeoutEstablished,
        timeout,
        seconds,
        is_silent: idle >= timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::super::timeouts::tests::timeouts;
    use super::*;
    use crate::flow::captured::{TCP, UDP};

    const NOW: i64 = 1_000_000;
    const MOMENT: Moment = Moment { now: NOW, at: 0 };

    /// Five days until an hour ago, ten minutes since.
    fn rules() -> Rules {
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
            history: History::of(&[change], 600, NOW),
            spread: 0,
            grace: 120,
        }
    }

    /// An established connection with so many seconds left.
    fn established(remaining: u32) -> Flow<'static> {
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
            matches!(udp, Verdict::Shorten(one) if one.seconds == 120 && !one.is_silent),
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
    fn each_of_the_eight_rules_keeps_a_flow() {
        let stale = established(100_000);
        let why = |rules: &Rules, flow: &Flow<'_>| match rules.delete(flow, None, MOMENT) {
            Verdict::Keep(why) => why.name(),
            Verdict::Unknown => "unknown",
            other => panic!("{other:?}"),
        };
        let flow_with = |change: &dyn Fn(&mut Flow<'_>)| {
            let mut flow = stale;
            change(&mut flow);
            why(&rules(), &flow)
        };
        let in_state = |state| flow_with(&|f| f.tcp.as_mut().unwrap().state = Some(state));
        assert_eq!(in_state(TcpState::CloseWait), "not-established");
        assert_eq!(flow_with(&|f| f.tcp = None), "not-established");
        assert_eq!(flow_with(&|f| f.status.0 = 0x8 | 0x2), "not-assured");
        assert_eq!(flow_with(&|f| f.status.0 = 0x8 | 0x4), "not-assured");
        let unacknowledged = flow_with(&|f| f.tcp.as_mut().unwrap().original_flags |= 0x10);
        assert_eq!(unacknowledged, "unacknowledged-data");
        assert_eq!(flow_with(&|f| f.timeout = Some(302)), "ends-soon");
        assert_eq!(flow_with(&|f| f.timeout = Some(431_999)), "unknown");
        let recent = u64::try_from(NOW - 100).unwrap() * 1_000_000_000;
        assert_eq!(flow_with(&|f| f.started = Some(recent)), "younger");

        let unknown = Rules {
            history: History::default(),
            ..rules()
        };
        assert_eq!(why(&unknown, &stale), "unknown");
        let raised = Change {
            at: NOW - 3600,
            before: Some(100_000),
            after: vec![432_000],
        };
        let raised = Rules {
            history: History::of(&[raised], 432_000, NOW),
            ..rules()
        };
        assert_eq!(why(&raised, &stale), "ambiguous");
    }

    #[test]
    fn a_first_sample_has_to_agree() {
        let mut sample = Sightings::default();
        sample.add(&established(100_010), 0, 0);
        let sample = sample.seal();
        for (remaining, at, expected) in [
            (100_000, 10_000, None),
            (100_005, 10_000, Some(KeptWhy::Spoke)),
            (100_000, 20_000, Some(KeptWhy::Spoke)),
        ] {
            let moment = Moment { now: NOW, at };
            let verdict = rules().delete(&established(remaining), Some(&sample), moment);
            let why = match verdict {
                Verdict::Keep(why) => Some(why),
                Verdict::Delete(_) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(why, expected, "{remaining} at {at}");
        }
        let mut other = established(100_000);
        other.id += 1;
        let moment = Moment {
            now: NOW,
            at: 10_000,
        };
        let verdict = rules().delete(&other, Some(&sample), moment);
        assert_eq!(verdict, Verdict::Keep(KeptWhy::Unseen));
        assert!(rules().is_candidate(&established(100_000), NOW));
        assert!(!rules().is_candidate(&established(100), NOW));
    }
}
