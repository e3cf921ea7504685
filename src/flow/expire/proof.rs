//! What proves that a flow is idle, and for how long.
//!
//! Idle time is what was watched. What the history of the timeout tells is inferred, and counts as
//! proof only where the operator trusts it.

use super::{KeptWhy, Moment, Rules, Verdict};
use crate::flow::{Compared, Flow, Sightings, StatusBit, TcpState};
use crate::tunable::Key;

/// What counts as proof that a flow is idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing does.
    Nothing,
    /// It was seen to be silent.
    Watched {
        /// For so many seconds at least.
        minimum: u32,
        /// Every timeout that held meanwhile. A packet that comes when a flow has just this time
        /// left does not move its expected end.
        timeouts: Vec<u32>,
    },
    /// The history of the timeout, which the operator trusts, and a short idle time.
    History,
}

/// How long a flow was idle, at least, and the longest time that its next packet may give it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    pub(super) seconds: u32,
    pub(super) timeout: u32,
}

/// Seconds by which a time left may be off: it is rounded down, and a look takes its time.
const ROUNDING: u32 = 2;

impl Rules {
    /// Whether a flow may turn out to be idle, so that the first look has to note it.
    pub(crate) fn is_candidate(&self, flow: &Flow<'_>, now: i64) -> bool {
        match self.proof {
            Proof::History => self.inferred(flow, now).is_ok(),
            Proof::Watched { .. } | Proof::Nothing => self.may_be_idle(flow).is_ok(),
        }
    }

    /// Whether the history of the timeout tells that a flow is idle for longer than the timeout.
    /// That is no proof.
    pub(crate) fn is_likely_idle(&self, flow: &Flow<'_>, now: i64) -> bool {
        let timeout = self.timeouts.get(Key::TcpTimeoutEstablished);
        let (Some(timeout), Some(left)) = (timeout, flow.timeout) else {
            return false;
        };
        let idle = self.history.idle(left, now);
        idle.is_some_and(|idle| idle >= timeout)
    }

    /// The seconds for which a flow was idle by the history of the timeout, if that tells.
    pub(crate) fn inferred_idle(&self, flow: &Flow<'_>, now: i64) -> Option<u32> {
        self.inferred(flow, now).ok().map(|idle| idle.seconds)
    }

    /// How long the flow was idle for sure, or why that is not known.
    pub(super) fn idle(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Result<Idle, Verdict> {
        match &self.proof {
            Proof::Nothing => {
                self.may_be_idle(flow)?;
                Err(Verdict::Keep(KeptWhy::NotProven))
            }
            Proof::History => {
                let idle = self.inferred(flow, moment.now)?;
                first.map_or(Ok(()), |first| silent_since(first, flow, moment).map(drop))?;
                Ok(idle)
            }
            Proof::Watched { minimum, timeouts } => {
                let timeout = self.may_be_idle(flow)?;
                let seconds = match first {
                    None => *minimum,
                    Some(first) => watched(first, flow, moment, timeouts)?,
                };
                Ok(Idle { seconds, timeout })
            }
        }
    }

    /// The longest time that the next packet may give a flow that may be idle, or why it cannot be.
    pub(crate) fn may_be_idle(&self, flow: &Flow<'_>) -> Result<u32, Verdict> {
        let keep = |why| Err(Verdict::Keep(why));
        if let Some(why) = self.protected.why(flow) {
            return keep(why);
        }
        let Some(tcp) = flow
            .tcp
            .filter(|tcp| tcp.state == Some(TcpState::Established))
        else {
            return keep(KeptWhy::NotEstablished);
        };
        if !flow.status.has(StatusBit::SeenReply) || !flow.status.has(StatusBit::Assured) {
            return keep(KeptWhy::NotAssured);
        }
        if tcp.has_unacknowledged_data() {
            return keep(KeptWhy::UnacknowledgedData);
        }
        let Some(timeout) = self.timeouts.get(Key::TcpTimeoutEstablished) else {
            return Err(Verdict::Unknown);
        };
        match self.longest(flow, timeout) {
            Some(longest) => Ok(longest),
            None => keep(KeptWhy::Policy),
        }
    }

    /// The seconds that it was idle, at least, by the history of the timeout.
    fn inferred(&self, flow: &Flow<'_>, now: i64) -> Result<Idle, Verdict> {
        let keep = |why| Err(Verdict::Keep(why));
        let timeout = self.may_be_idle(flow)?;
        if self.policies.may_apply_to(flow) {
            return keep(KeptWhy::Policy);
        }
        let (Some(longest), Some(left)) = (self.longest_of_a_stall(), flow.timeout) else {
            return Err(Verdict::Unknown);
        };
        // A stalled connection, or one whose window is closed, was given one of these instead.
        if left <= longest.saturating_add(ROUNDING) {
            return keep(KeptWhy::EndsSoon);
        }
        if self.history.is_unknown() {
            return Err(Verdict::Unknown);
        }
        if self.history.is_ambiguous(left) {
            return keep(KeptWhy::Ambiguous);
        }
        let Some(seconds) = self.history.idle(left, now) else {
            return Err(Verdict::Unknown);
        };
        if is_younger(flow, seconds, now) {
            return keep(KeptWhy::Younger);
        }
        Ok(Idle { seconds, timeout })
    }

    /// The longer of the two timeouts that a connection gets while it waits for an answer.
    fn longest_of_a_stall(&self) -> Option<u32> {
        let unacknowledged = self.timeouts.get(Key::TcpTimeoutUnacknowledged)?;
        let retransmitting = self.timeouts.get(Key::TcpTimeoutMaxRetrans)?;
        Some(unacknowledged.max(retransmitting))
    }
}

/// For how many milliseconds a flow was silent since it was seen, and the time it had left then.
fn silent_since(first: &Sightings, flow: &Flow<'_>, moment: Moment) -> Result<(u32, u32), Verdict> {
    match first.compare(flow, moment.at) {
        Compared::Same(then, millis) => Ok((millis, then.left)),
        Compared::Moved(_) => Err(Verdict::Keep(KeptWhy::Spoke)),
        Compared::Unclear | Compared::Unseen => Err(Verdict::Keep(KeptWhy::Unseen)),
    }
}

/// For how many seconds a flow was seen to be silent.
fn watched(
    first: &Sightings,
    flow: &Flow<'_>,
    moment: Moment,
    timeouts: &[u32],
) -> Result<u32, Verdict> {
    let (millis, most) = silent_since(first, flow, moment)?;
    let least = flow.timeout.unwrap_or(0);
    let passed = |timeout: &u32| {
        least <= timeout.saturating_add(ROUNDING) && *timeout <= most.saturating_add(ROUNDING)
    };
    if timeouts.iter().any(passed) {
        return Err(Verdict::Keep(KeptWhy::Ambiguous));
    }
    Ok(millis / 1000)
}

/// Whether the flow would have been idle for longer than it exists.
fn is_younger(flow: &Flow<'_>, idle: u32, now: i64) -> bool {
    let Some(started) = flow.started else {
        return false;
    };
    let started = i64::try_from(started / 1_000_000_000).unwrap_or(i64::MAX);
    i64::from(idle) > now.saturating_sub(started)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rules::tests::{MOMENT, NOW, established, rules};
    use super::super::{Change, History};
    use super::*;

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

    /// One look at a flow with so many seconds left at 0 ms, and a verdict at a later one.
    fn watched_verdict(left: (u32, u32), at: u32, timeouts: &[u32]) -> Verdict {
        let rules = Rules {
            proof: Proof::Watched {
                minimum: 10,
                timeouts: timeouts.to_vec(),
            },
            history: History::default(),
            ..rules()
        };
        let mut first = Sightings::default();
        first.add(&established(left.0), 0, 0);
        let moment = Moment { now: NOW, at };
        rules.delete(&established(left.1), Some(&first.seal()), moment)
    }

    #[test]
    fn a_flow_is_deleted_for_the_idle_time_that_was_watched_and_for_no_other() {
        let keep = |why: KeptWhy| Some(why);
        for (left, at, timeouts, why) in [
            ((5000, 4990), 10_000, &[600, 300][..], None),
            ((200, 190), 10_000, &[600, 300], None),
            ((5000, 4991), 9_999, &[600, 300], keep(KeptWhy::NotStale)),
            ((5000, 4995), 10_000, &[600, 300], keep(KeptWhy::Spoke)),
            // It may have sent when it had just this left: then nothing shows.
            ((600, 590), 10_000, &[600, 300], keep(KeptWhy::Ambiguous)),
            ((602, 592), 10_000, &[600, 300], keep(KeptWhy::Ambiguous)),
            ((603, 593), 10_000, &[600, 300], keep(KeptWhy::Ambiguous)),
            ((606, 596), 10_000, &[590], None),
            ((305, 295), 10_000, &[600, 300], keep(KeptWhy::Ambiguous)),
            ((5000, 4990), 10_000, &[600, 4995], keep(KeptWhy::Ambiguous)),
        ] {
            let verdict = watched_verdict(left, at, timeouts);
            let got = match verdict {
                Verdict::Keep(why) => Some(why),
                Verdict::Delete(_) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(got, why, "{left:?} {at} {timeouts:?}");
        }
    }

    #[test]
    fn without_proof_no_flow_is_touched_however_idle_it_likely_is() {
        let rules = Rules {
            proof: Proof::Nothing,
            ..rules()
        };
        let stale = established(100_000);
        let kept = Verdict::Keep(KeptWhy::NotProven);
        assert_eq!(rules.delete(&stale, None, MOMENT), kept);
        assert_eq!(rules.re_age(&stale, None, MOMENT), kept);
        assert!(rules.is_likely_idle(&stale, NOW));
    }

    /// What happens to a flow.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Packet,
        /// The timeout is set by hand.
        Timeout(u32),
        /// Somebody sets the flow's time: `conntrack -U`, or an earlier run of cttune.
        Update(u32),
        /// The wall clock is stepped.
        Step(i64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let timeouts = prop::sample::select(vec![30_u32, 300, 600, 7440, 432_000]);
        prop_oneof![
            3 => Just(Event::Packet),
            2 => timeouts.prop_map(Event::Timeout),
            1 => (20_u32..500_000).prop_map(Event::Update),
            1 => (-1_000_000_i64..1_000_000).prop_map(Event::Step),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        /// Whatever happened, a flow that sent within the minimum is not chosen.
        #[test]
        fn no_flow_that_sent_within_the_minimum_is_chosen(
            before in prop::collection::vec((0_i64..5_000_000, event()), 0..6),
            during in prop::collection::vec((0_i64..20_000, event()), 0..4),
            minimum in 1_u32..20,
            late in 0_i64..1500,
        ) {
            let (mut timeout, mut wall) = (432_000_u32, NOW);
            let (mut at, mut end, mut sent) = (0_i64, 432_000_000_i64, 0_i64);
            let mut happens = |at: i64, event: Event, end: &mut i64, sent: &mut i64| {
                match event {
                    Event::Packet => (*end, *sent) = (at + 1000 * i64::from(timeout), at),
                    Event::Timeout(seconds) => timeout = seconds,
                    Event::Update(seconds) => *end = at + 1000 * i64::from(seconds),
                    Event::Step(seconds) => wall += seconds,
                }
                (timeout, wall)
            };
            for (gap, event) in before {
                at += gap;
                happens(at, event, &mut end, &mut sent);
            }
            let start = at + 1;
            let left = |at: i64, end: i64| u32::try_from((end - at) / 1000).ok();
            let Some(first_left) = left(start, end) else { return Ok(()) };
            let mut held = vec![300];
            held.push(happens(start, Event::Step(0), &mut end, &mut sent).0);
            let mut sorted = during;
            sorted.sort_by_key(|(at, _)| *at);
            let span = i64::from(minimum) * 1000;
            for (offset, event) in sorted.into_iter().filter(|(offset, _)| *offset <= span) {
                held.push(happens(start + offset, event, &mut end, &mut sent).0);
            }
            let second = start + span + late;
            let (_, now) = happens(second, Event::Step(0), &mut end, &mut sent);
            let Some(second_left) = left(second, end) else { return Ok(()) };
            let rules = Rules {
                proof: Proof::Watched { minimum, timeouts: held },
                ..rules()
            };
            let mut sightings = Sightings::default();
            sightings.add(&established(first_left), 0, 0);
            let moment = Moment { now, at: u32::try_from(second - start).unwrap() };
            let verdict = rules.delete(&established(second_left), Some(&sightings.seal()), moment);
            if matches!(verdict, Verdict::Delete(_)) {
                prop_assert!(sent <= start, "sent {} ms after the first look", sent - start);
            }
        }
    }
}
