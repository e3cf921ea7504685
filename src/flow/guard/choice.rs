//! Which flows end: whole classes, and of the last class the longest idle.

use super::{Class, GuardParameters, Judge};
use crate::flow::Sightings;

/// The flows to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice([Part; Class::ALL.len()]);

/// The flows of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    /// How many.
    flows: usize,
    /// Milliseconds for which they were silent at least.
    from: u32,
}

impl Choice {
    /// How many flows it is, if none of them spoke since they were last seen.
    pub(crate) fn flows(&self) -> usize {
        self.0.iter().map(|part| part.flows).sum()
    }

    /// The same shares of a table that is so many times as large, `most` flows in all.
    pub(crate) fn of_all(mut self, times: u64, most: u64, parameters: &GuardParameters) -> Self {
        let whole = |flows: u64| usize::try_from(flows).unwrap_or(usize::MAX);
        let mut missing = whole(most);
        for class in &parameters.order {
            if let Some(part) = self.0.get_mut(*class as usize) {
                part.flows = part.flows.saturating_mul(whole(times)).min(missing);
                missing -= part.flows;
            }
        }
        self
    }

    /// Takes a flow that was silent for so long, if it is one of those to end.
    pub(crate) fn take(&mut self, class: Class, silent: u32) -> bool {
        let Some(part) = self.0.get_mut(class as usize) else {
            return false;
        };
        let is_chosen = part.flows > 0 && silent >= part.from;
        part.flows -= usize::from(is_chosen);
        is_chosen
    }
}

/// When flows may end that may not yet, in milliseconds, if they stay silent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ripe {
    /// The first of them.
    pub(crate) next: Option<u32>,
    /// As many as are wanted, if that is within [`SOON`].
    pub(crate) enough: Option<u32>,
}

/// Milliseconds that are worth waiting for.
const SOON: u32 = 1000;

/// Chooses `wanted` flows, or all that may end if there are fewer.
pub(crate) fn choose(
    sightings: &Sightings,
    judge: &Judge,
    parameters: &GuardParameters,
    at: u32,
    wanted: u64,
) -> (Choice, Ripe) {
    let (mut choice, mut ripe) = (Choice::default(), Ripe::default());
    if wanted == 0 {
        return (choice, ripe);
    }
    let (minimum, order) = (&parameters.min_idle, &parameters.order);
    let (mut soon, mut last) = (0, 0);
    let mut silent: [Vec<u32>; Class::ALL.len()] = Default::default();
    for sighting in sightings.iter() {
        let Some(class) = Class::of_tag(sighting.tag) else {
            continue;
        };
        if !order.contains(&class) {
            continue;
        }
        let idle = sighting.silent(at, judge.timeouts(class));
        match minimum.of(class).checked_sub(idle).filter(|left| *left > 0) {
            Some(left) => {
                ripe.next = Some(ripe.next.unwrap_or(left).min(left));
                if left <= SOON {
                    (soon, last) = (soon + 1, left.max(last));
                }
            }
            None => {
                if let Some(of_class) = silent.get_mut(class as usize) {
                    of_class.push(idle);
                }
            }
        }
    }
    let mut missing = usize::try_from(wanted).unwrap_or(usize::MAX);
    for class in order {
        let places = silent.get_mut(*class as usize);
        let Some((idle, part)) = places.zip(choice.0.get_mut(*class as usize)) else {
            continue;
        };
        part.flows = idle.len().min(missing);
        part.from = minimum.of(*class);
        if idle.len() > missing && missing > 0 {
            let (_, nth, _) = idle.select_nth_unstable_by(missing - 1, |one, other| other.cmp(one));
            part.from = *nth;
        }
        missing -= part.flows;
    }
    ripe.enough = (missing > 0 && soon >= missing).then_some(last);
    (choice, ripe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::guard::testing::judge;
    use crate::flow::{Flow, TcpState};

    /// 30 flows of each of three classes, the first one seen a second before the next.
    fn seen() -> Sightings {
        let mut sightings = Sightings::default();
        for id in 0..30 {
            let mut tcp = Flow::parse(TCP).unwrap();
            tcp.timeout = Some(100_000);
            tcp.id = id;
            sightings.add(&tcp, id * 1000, Class::Established.tag());
            tcp.id += 100;
            tcp.tcp.as_mut().unwrap().state = Some(TcpState::TimeWait);
            sightings.add(&tcp, id * 1000, Class::TimeWait.tag());
            let mut udp = Flow::parse(UDP).unwrap();
            udp.timeout = Some(100_000);
            udp.id = id + 200;
            sightings.add(&udp, id * 1000, Class::Unanswered.tag());
        }
        sightings.seal()
    }

    #[test]
    fn whole_classes_end_in_order_and_the_longest_idle_of_the_last() {
        let mut parameters = GuardParameters {
            order: vec![Class::TimeWait, Class::Unanswered, Class::Established],
            ..GuardParameters::default()
        };
        parameters.min_idle.set(Class::Established, 25);
        let at = 40_000;
        for (wanted, expected) in [
            (10, [(30_000, 10), (0, 0), (0, 0)]),
            (30, [(1000, 30), (0, 0), (0, 0)]),
            (45, [(1000, 30), (26_000, 15), (0, 0)]),
            // All UDP, and of the established those that were silent for 25 s at least.
            (75, [(1000, 30), (10_000, 30), (26_000, 15)]),
            (90, [(1000, 30), (10_000, 30), (25_000, 16)]),
        ] {
            let (choice, ripe) = choose(&seen(), &judge(), &parameters, at, wanted);
            // An established flow that was silent for 24 s.
            assert!(ripe.next.is_some_and(|next| next <= 2000), "{ripe:?}");
            assert_eq!(ripe.enough, None);
            for (class, (from, flows)) in parameters.order.iter().zip(expected) {
                let class = *class;
                let part = choice.0[class as usize];
                assert_eq!(part.flows, flows, "{wanted} {class:?}");
                assert!(
                    flows == 0 || part.from.abs_diff(from) <= 1000,
                    "{wanted} {class:?} {part:?}"
                );
            }
        }
    }

    #[test]
    fn as_many_as_are_wanted_may_be_ripe_soon() {
        let mut parameters = GuardParameters::default();
        parameters.min_idle.set(Class::Established, 3600);
        parameters.min_idle.set(Class::Unanswered, 39);
        // At 40 s two of UDP were silent for long enough, the third one is a second later.
        for (wanted, is_soon) in [(31, false), (33, true), (60, false)] {
            let (choice, ripe) = choose(&seen(), &judge(), &parameters, 40_000, wanted);
            assert!(choice.flows() >= 31, "{choice:?}");
            let enough = ripe.enough.filter(|enough| (1..=1000).contains(enough));
            assert_eq!(enough.is_some(), is_soon, "{wanted} {choice:?} {ripe:?}");
        }
    }

    #[test]
    fn a_sample_speaks_for_the_whole_table() {
        let parameters = GuardParameters {
            order: vec![Class::TimeWait, Class::Unanswered],
            ..GuardParameters::default()
        };
        for (most, expected) in [(1000, [300, 150]), (400, [300, 100]), (200, [200, 0])] {
            let (choice, _) = choose(&seen(), &judge(), &parameters, 40_000, 45);
            let choice = choice.of_all(10, most, &parameters);
            let flows =
                [Class::TimeWait, Class::Unanswered].map(|class| choice.0[class as usize].flows);
            assert_eq!(flows, expected, "{most}");
        }
    }

    #[test]
    fn no_more_are_taken_than_were_chosen() {
        let parameters = GuardParameters {
            order: vec![Class::TimeWait],
            ..GuardParameters::default()
        };
        let (mut choice, _) = choose(&seen(), &judge(), &parameters, 40_000, 5);
        assert!(!choice.take(Class::TimeWait, 5000));
        assert!(!choice.take(Class::Established, 900_000));
        let taken = (0..9)
            .filter(|_| choice.take(Class::TimeWait, 40_000))
            .count();
        assert_eq!(taken, 5);
    }
}
