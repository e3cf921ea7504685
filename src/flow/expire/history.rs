//! The values that a timeout had, and when: what a remaining time says of idleness.
//!
//! A flow that was given T seconds at its last packet and has r left was idle for T − r. Which T
//! it was is not written on the flow. So every value that the timeout had counts, as far as it held
//! when that last packet would have come; of what fits, the shortest idle time is believed.

/// Seconds by which a change may have come later than it was written down.
const SLACK: i64 = 60;

/// A change of a timeout, as a journal tells it. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// When; not later than the change itself.
    pub(crate) at: i64,
    /// The value before.
    pub(crate) before: Option<i64>,
    /// The values that may have held from then on; more than one if it was restored.
    pub(crate) after: Vec<i64>,
}

/// A time in which cttune itself set the time left of flows. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnUpdate {
    /// When it ended.
    pub(crate) until: i64,
    /// The highest value that it gave a flow, in seconds.
    pub(crate) highest: i64,
}

/// What is known of a timeout's past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History {
    held: Vec<Held>,
    updates: Vec<OwnUpdate>,
}

/// A value and when it may have held: from `from`, before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    seconds: i64,
    from: i64,
    until: i64,
}

impl History {
    /// The history that changes tell, oldest first, up to the value that holds `now`. No change
    /// tells nothing. Where a value is another than the change before it left, somebody changed it
    /// by hand, nobody knows when: then both count for all of that time.
    pub(crate) fn of(changes: &[Change], present: i64, now: i64) -> History {
        let mut history = History::default();
        let mut since = i64::MIN;
        let mut values: Vec<i64> = Vec::new();
        for change in changes {
            values.extend(change.before);
            history.add(&values, since, change.at.saturating_add(SLACK));
            since = change.at;
            values.clone_from(&change.after);
        }
        if changes.is_empty() {
            return history;
        }
        values.push(present);
        history.add(&values, since, now.saturating_add(SLACK));
        history
    }

    /// The history that the operator tells: `was` held until `changed_at`, or until some time that
    /// nobody knows.
    pub(crate) fn told(was: i64, changed_at: Option<i64>, present: i64, now: i64) -> History {
        let at = changed_at.unwrap_or(i64::MIN);
        let mut history = History::default();
        let until = changed_at.unwrap_or(now).saturating_add(SLACK);
        history.add(&[was], i64::MIN, until);
        history.add(&[present], at, now.saturating_add(SLACK));
        history
    }

    /// What is known where a timeout was never changed.
    pub(crate) fn unchanged(present: i64, now: i64) -> History {
        let mut history = History::default();
        history.add(&[present], i64::MIN, now.saturating_add(SLACK));
        history
    }

    /// The same with what cttune itself set.
    #[must_use]
    pub(crate) fn with_updates(mut self, updates: &[OwnUpdate]) -> History {
        self.updates = updates.to_vec();
        self
    }

    /// Whether nothing is known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.held.is_empty()
    }

    /// The seconds that a flow with `remaining` seconds was idle for, at least; none if no known
    /// value explains them.
    pub(crate) fn idle(&self, remaining: u32, now: i64) -> Option<u32> {
        // The dump rounds down: the last packet came in this second or the one before.
        let held = self.explained(remaining, now).map(|idle| idle - 1);
        let least = held.chain(self.since_updates(remaining, now)).min()?;
        u32::try_from(least.max(0)).ok()
    }

    /// The seconds that it was idle for, at least and at most; none if no known value explains
    /// them. How long a flow was idle before cttune set its time is not known.
    pub(crate) fn idle_range(&self, remaining: u32, now: i64) -> Option<(u32, u32)> {
        let seconds = |idle: i64| u32::try_from(idle.max(0)).unwrap_or(u32::MAX);
        let least = self.explained(remaining, now).min();
        let most = self.explained(remaining, now).max();
        match self.since_updates(remaining, now).min() {
            Some(since) => Some((
                seconds(least.map_or(since, |idle| idle.min(since))),
                u32::MAX,
            )),
            None => Some((seconds(least?), seconds(most?))),
        }
    }

    /// The idle times that the values which held then explain.
    fn explained(&self, remaining: u32, now: i64) -> impl Iterator<Item = i64> {
        self.held.iter().filter_map(move |held| {
            let idle = held.seconds.checked_sub(remaining.into());
            let idle = idle.filter(|idle| *idle >= 0)?;
            let spoke = now.saturating_sub(idle);
            let fits = spoke.saturating_add(1) >= held.from && spoke < held.until;
            fits.then_some(idle)
        })
    }

    /// A flow that cttune gave its time was silent since, whatever it did before.
    fn since_updates(&self, remaining: u32, now: i64) -> impl Iterator<Item = i64> {
        self.updates.iter().filter_map(move |update| {
            let since = now.saturating_sub(update.until).max(0);
            (i64::from(remaining) + since <= update.highest + 1).then(|| (since - 1).max(0))
        })
    }

    /// [`History::idle`] where one value alone explains it: the timeout was not raised, and cttune
    /// did not set the time.
    pub(crate) fn known_idle(&self, remaining: u32, now: i64) -> Option<u32> {
        let is_set = self.since_updates(remaining, now).next().is_some();
        let is_unclear = is_set || self.is_ambiguous(remaining);
        self.idle(remaining, now).filter(|_| !is_unclear)
    }

    /// Whether the timeout was raised from a value that explains these seconds too: a flow that
    /// speaks all the time looks idle then, until its next packet.
    pub(crate) fn is_ambiguous(&self, remaining: u32) -> bool {
        let remaining = i64::from(remaining);
        let is_raised = |low: &Held| {
            let later = |high: &Held| high.from >= low.from && high.seconds > low.seconds;
            self.held.iter().any(later)
        };
        self.held
            .iter()
            .any(|low| remaining <= low.seconds && is_raised(low))
    }

    fn add(&mut self, values: &[i64], from: i64, until: i64) {
        for seconds in values.iter().copied() {
            let held = Held {
                seconds,
                from,
                until,
            };
            if !self.held.contains(&held) {
                self.held.push(held);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn change(at: i64, before: i64, after: &[i64]) -> Change {
        Change {
            at,
            before: Some(before),
            after: after.to_vec(),
        }
    }

    #[test]
    fn idle_time_is_the_shortest_that_a_value_of_its_time_explains() {
        // Five days until a thousand seconds ago, ten minutes since.
        let lowered = History::of(&[change(NOW - 1000, 432_000, &[600])], 600, NOW);
        for (remaining, idle) in [
            (431_500, None),
            // The old value was set until 1000 s ago, and a minute more for caution.
            (430_999, Some(1000)),
            (100_000, Some(331_999)),
            (601, Some(431_398)),
            (600, Some(0)),
            (500, Some(99)),
            (432_001, None),
        ] {
            assert_eq!(lowered.idle(remaining, NOW), idle, "{remaining}");
        }
    }

    #[test]
    fn after_a_raise_what_fits_the_older_value_is_ambiguous() {
        let raised = History::of(&[change(NOW - 1000, 600, &[432_000])], 432_000, NOW);
        for (remaining, ambiguous) in [(599, true), (600, true), (601, false), (431_900, false)] {
            assert_eq!(raised.is_ambiguous(remaining), ambiguous, "{remaining}");
        }
        // Five idle days do not fit into the thousand seconds since.
        assert_eq!(raised.idle(599, NOW), None);
        let lowered = History::of(&[change(NOW - 1000, 432_000, &[600])], 600, NOW);
        assert!(!lowered.is_ambiguous(500) && !lowered.is_ambiguous(5000));
    }

    #[test]
    fn a_change_by_hand_counts_for_all_the_time_in_which_it_may_have_been() {
        // The journal left 7440, and 600 holds now.
        let by_hand = History::of(&[change(NOW - 9000, 432_000, &[7440])], 600, NOW);
        assert_eq!(by_hand.idle(500, NOW), Some(99));
        assert_eq!(by_hand.idle(5000, NOW), Some(2439));
        assert!(by_hand.is_ambiguous(500));
    }

    #[test]
    fn what_was_restored_counts_as_well() {
        let undone = History::of(&[change(NOW - 900, 432_000, &[600, 432_000])], 432_000, NOW);
        assert_eq!(undone.idle(400, NOW), Some(199));
        assert_eq!(undone.idle(431_900, NOW), Some(99));
    }

    #[test]
    fn without_a_change_nothing_is_known() {
        let nothing = History::of(&[], 600, NOW);
        assert!(nothing.is_unknown());
        assert_eq!(nothing.idle(500, NOW), None);
    }

    #[test]
    fn the_operator_may_tell_the_value_and_the_time() {
        let told = History::told(432_000, Some(NOW - 1000), 600, NOW);
        assert_eq!(
            told,
            History::of(&[change(NOW - 1000, 432_000, &[600])], 600, NOW)
        );
        let vague = History::told(432_000, None, 600, NOW);
        assert_eq!(vague.idle(431_900, NOW), Some(99));
        assert_eq!(vague.idle(500, NOW), Some(99));
        assert!(vague.is_ambiguous(600) && !vague.is_ambiguous(601));
    }

    #[test]
    fn what_cttune_set_itself_is_not_taken_for_idle_time() {
        let lowered = History::of(&[change(NOW - 9000, 432_000, &[600])], 600, NOW);
        let update = OwnUpdate {
            until: NOW - 100,
            highest: 7800,
        };
        let known = lowered.with_updates(&[update]);
        for (remaining, idle) in [
            (5000, Some(99)),
            (7700, Some(99)),
            // More than the update can have left.
            (7702, Some(424_297)),
            (500, Some(99)),
            (590, Some(9)),
        ] {
            assert_eq!(known.idle(remaining, NOW), idle, "{remaining}");
        }
    }

    proptest! {
        /// The idle time that is believed is never longer than the true one.
        #[test]
        fn no_flow_is_taken_for_idler_than_it_is(
            values in proptest::collection::vec(1_i64..500_000, 2..5),
            gaps in proptest::collection::vec(1_i64..300_000, 4),
            idle in 0_i64..600_000,
        ) {
            let mut changes = Vec::new();
            let mut at = NOW;
            for (pair, gap) in values.windows(2).zip(&gaps) {
                at += gap;
                changes.push(change(at, pair[0], &[pair[1]]));
            }
            let now = at + gaps[3];
            let present = *values.last().unwrap();
            let spoke = now - idle;
            let held = changes.iter().rev().find(|change| change.at <= spoke);
            let timeout = held.map_or(values[0], |change| change.after[0]);
            // Both roundings of a dump.
            for remaining in [timeout - idle, timeout - idle - 1] {
                if let Ok(remaining) = u32::try_from(remaining) {
                    let history = History::of(&changes, present, now);
                    let believed = history.idle(remaining, now);
                    prop_assert!(believed.is_some_and(|believed| i64::from(believed) <= idle));
                }
            }
        }
    }
}
