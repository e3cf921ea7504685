//! Which flows end: whole classes, and of the last class the longest idle.

use super::{Class, Judge, MinIdle};
use crate::flow::Sightings;

/// For each class the milliseconds of silence from which on its flows end; none ends where there
/// is no number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    from: [Option<u32>; Class::ALL.len()],
    /// How many flows that is, if none of them spoke since they were last seen.
    pub(crate) flows: u64,
}

impl Choice {
    /// Whether a flow that was silent for so long ends.
    pub(crate) fn covers(&self, class: Class, silent: u32) -> bool {
        let from = self.from.get(class as usize).copied().flatten();
        from.is_some_and(|from| silent >= from)
    }
}

/// Chooses `wanted` flows, or all that may end if there are fewer.
pub(crate) fn choose(
    sightings: &Sightings,
    judge: &Judge,
    minimum: &MinIdle,
    order: &[Class],
    at: u32,
    wanted: u64,
) -> Choice {
    let mut silent: [Vec<u32>; Class::ALL.len()] = Default::default();
    for sighting in sightings.iter() {
        let Some(class) = Class::of_tag(sighting.tag) else {
            continue;
        };
        let idle = sighting.silent(at, judge.timeouts(class));
        if idle >= minimum.of(class)
            && let Some(of_class) = silent.get_mut(class as usize)
        {
            of_class.push(idle);
        }
    }
    let mut choice = Choice::default();
    for class in order {
        let missing = usize::try_from(wanted - choice.flows).unwrap_or(usize::MAX);
        let Some((idle, from)) = silent
            .get_mut(*class as usize)
            .zip(choice.from.get_mut(*class as usize))
        else {
            continue;
        };
        if missing == 0 {
            break;
        }
        *from = if idle.len() > missing {
            let (_, nth, _) = idle.select_nth_unstable_by(missing - 1, |one, other| other.cmp(one));
            Some(*nth)
        } else {
            (!idle.is_empty()).then(|| minimum.of(*class))
        };
        choice.flows += idle.len().min(missing) as u64;
    }
    choice
}
