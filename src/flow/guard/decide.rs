//! What becomes of one flow that a walk sees.

use super::{Choice, Class, Judge};
use crate::flow::expire::Moment;
use crate::flow::{Flow, Sightings, StatusBit};

/// The tag of a flow that a dry run would have ended.
const SPARED: u8 = u8::MAX;

/// Notes a flow, and takes it from the choice if it is one to end. A dry run notes that it did.
pub(crate) fn decide(
    flow: &Flow<'_>,
    moment: Moment,
    judge: &Judge,
    sightings: &mut Sightings,
    choice: &mut Choice,
    dry_run: bool,
) -> Option<Class> {
    if flow.status.has(StatusBit::Dying) {
        return None;
    }
    let class = judge.class(flow)?;
    let before = judge.idle_before(flow, class, moment.now);
    let known = sightings.see(flow, moment.at, class.tag(), before)?;
    if known.tag == SPARED {
        return None;
    }
    let silent = known.silent(moment.at, judge.timeouts(class));
    if !choice.take(class, silent) {
        return None;
    }
    if dry_run {
        known.tag = SPARED;
    } else {
        known.forget();
    }
    Some(class)
}

/// Flows that a dry run would have ended, and that are still there.
pub(crate) fn spared(sightings: &Sightings, at: u32) -> u64 {
    let spared = sightings.iter();
    let spared = spared.filter(|one| one.tag == SPARED && one.expected_end() > i64::from(at));
    spared.count() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::guard::testing::judge;
    use crate::flow::guard::{Fill, GuardParameters, Mark, choose};

    /// A table in fast motion: a flow is its number, when it began, when it speaks last, and whether
    /// it is UDP. It speaks every half a minute until then.
    struct Day {
        flows: BTreeMap<u32, (u32, u32, bool)>,
        sightings: Sightings,
        parameters: GuardParameters,
        dry_run: bool,
        named: Vec<u32>,
    }

    const MAX: u64 = 600;

    /// Seconds between two looks.
    const STEP: u32 = 240;

    impl Day {
        fn new(dry_run: bool) -> Self {
            let mut parameters = GuardParameters {
                high: Mark::Share(850),
                low: Mark::Share(750),
                ..GuardParameters::default()
            };
            parameters.min_idle.set(Class::Established, 7200);
            Day {
                flows: BTreeMap::new(),
                sightings: Sightings::default().seal(),
                parameters,
                dry_run,
                named: Vec::new(),
            }
        }

        /// The flow as the kernel tells of it, unless its time is over.
        fn told(
            number: u32,
            (began, last, is_udp): (u32, u32, bool),
            now: u32,
        ) -> Option<Flow<'static>> {
            let spoke = if now < last {
                began.max(now - (now - began) % 30)
            } else {
                last
            };
            let timeout = if is_udp { 120 } else { 432_000 };
            let mut flow = Flow::parse(if is_udp { UDP } else { TCP }).unwrap();
            flow.id = number;
            flow.timeout = Some((spoke + timeout).checked_sub(now)?);
            Some(flow)
        }

        fn count(&self, at: u32) -> u64 {
            let spared = if self.dry_run {
                spared(&self.sightings, at)
            } else {
                0
            };
            self.flows.len() as u64 - spared
        }

        fn step(&mut self, now: u32) {
            self.flows.retain(|number, flow| {
                Day::told(*number, *flow, now).is_some_and(|told| told.timeout != Some(0))
            });
            let at = now * 1000;
            let fill = Fill {
                count: self.count(at),
                max: MAX,
            };
            let parameters = &self.parameters;
            let excess = fill.excess(parameters);
            let (mut choice, _) = choose(&self.sightings, &judge(), parameters, at, excess);
            let moment = Moment {
                now: i64::from(now),
                at,
            };
            let mut ended = Vec::new();
            for (number, flow) in &self.flows {
                let flow = Day::told(*number, *flow, now).unwrap();
                let decided = decide(
                    &flow,
                    moment,
                    &judge(),
                    &mut self.sightings,
                    &mut choice,
                    self.dry_run,
                );
                ended.extend(decided.map(|_| *number));
            }
            // Nobody is ended who has spoken in the last ten seconds.
            let last = |number: &u32| self.flows[number].1;
            assert!(ended.iter().all(|number| last(number) + 10 <= now));
            self.sightings = std::mem::take(&mut self.sightings).end_round();
            if !self.dry_run {
                self.flows.retain(|number, _| !ended.contains(number));
            }
            self.named.extend(ended);
        }
    }

    #[test]
    fn a_dry_run_of_a_day_names_exactly_the_flows_that_a_real_one_ends() {
        let (mut real, mut dry) = (Day::new(false), Day::new(true));
        for now in (0..86_400).step_by(STEP as usize) {
            for one in 0..12 {
                let number = now / STEP * 12 + one;
                // Most are short, some speak for hours, one in three is UDP.
                let lives = [5, 400, 90, 7, 20_000, 40, 3][number as usize % 7];
                let flow = (now, now + lives, number.is_multiple_of(3));
                real.flows.insert(number, flow);
                dry.flows.insert(number, flow);
            }
            real.step(now);
            dry.step(now);
            assert_eq!(real.named, dry.named, "{now}");
        }
        assert!(real.named.len() > 1000, "{}", real.named.len());
        assert!(dry.flows.len() > real.flows.len());
        let once: BTreeSet<u32> = real.named.iter().copied().collect();
        assert_eq!(once.len(), real.named.len());
    }
}
