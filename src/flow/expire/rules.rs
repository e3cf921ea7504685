//! The verdict on a flow: how far it is shortened, or why it is left alone.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{History, KeptWhy, Protected, Timeouts};
use crate::flow::{ByPolicy, Compared, Flow, Policies, Sightings, StatusBit, TcpState};
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
    /// What that sysctl says.
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

/// How long a flow was idle, at least, and the longest time that its next packet may give it.
#[derive(Debug, Clone, Copy)]
struct Idle {
    seconds: u32,
    timeout: u32,
}

/// Seconds by which a time left may be off: it is rounded down, and a look takes its time.
const ROUNDING: u32 = 2;

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
        let Some(longest) = self.longest(flow, timeout) else {
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
            timeout,
            seconds,
            is_silent: key == Key::TcpTimeoutEstablished && self.is_likely_idle(flow, now),
        })
    }

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

    /// Re-ages: the idle time that is proven counts against the timeout, but for a grace. Before
    /// the first look nothing is proven yet, and the verdict is what it would be at most.
    pub(crate) fn re_age(
        &self,
        flow: &Flow<'_>,
        first: Option<&Sightings>,
        moment: Moment,
    ) -> Verdict {
        let idle = match self.idle(flow, first, moment) {
            Ok(idle) => idle,
            Err(verdict) => return verdict,
        };
        let left = idle.timeout.saturating_sub(idle.seconds).max(self.grace);
        let seconds = left.saturating_add(self.spread_of(flow));
        if flow.timeout.is_none_or(|left| left <= seconds) {
            return Verdict::Keep(KeptWhy::WithinTimeout);
        }
        Verdict::Shorten(self.shortening(flow, seconds, idle, moment))
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
        let idle = match self.idle(flow, first, moment) {
            Ok(idle) => idle,
            Err(verdict) => return verdict,
        };
        let minimum = match self.proof {
            Proof::Watched { minimum, .. } => minimum,
            Proof::Nothing | Proof::History => idle.timeout,
        };
        if idle.seconds < minimum {
            return Verdict::Keep(KeptWhy::NotStale);
        }
        Verdict::Delete(self.shortening(flow, 0, idle, moment))
    }

    /// How long the flow was idle for sure, or why that is not known.
    fn idle(
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

    /// The longest time that the sysctl and policies may give a flow; none where a policy's is not
    /// known.
    fn longest(&self, flow: &Flow<'_>, timeout: u32) -> Option<u32> {
        match self.policies.longest_for(flow) {
            ByPolicy::Nothing => Some(timeout),
            ByPolicy::Seconds(seconds) => Some(timeout.max(seconds)),
            ByPolicy::Unknown => None,
        }
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

    fn shortening(&self, flow: &Flow<'_>, seconds: u32, idle: Idle, moment: Moment) -> Shortening {
        Shortening {
            key: Key::TcpTimeoutEstablished,
            timeout: idle.timeout,
            seconds,
            is_silent: self.is_likely_idle(flow, moment.now),
        }
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
            policies: Policies::default(),
            history: History::of(&[change], 600, NOW),
            proof: Proof::History,
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

    #[test]
    fn a_policy_bounds_what_clamp_gives() {
        use crate::flow::{Policy, Protocol, Selection};
        let with = |seconds: Option<u32>, left| {
            let mut policy = Policy {
                family: None,
                protocol: Protocol::TCP,
                seconds: [None; Policy::STATES],
                selection: Selection::default(),
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
