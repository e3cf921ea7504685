//! The order of live writes that never makes things worse on the way.
//!
//! Raising: buckets, then max, so that chains stay short. A table that is nearly full gets room
//! first: max goes up to what the present buckets can bear before the resize, which takes memory
//! and time. Lowering: max last of all but the buckets it frees.

use super::{Blocked, Comparison, Step};
use crate::tunable::{Key, Kind, Snapshot};

/// Fill at which room is made before the hash table is resized, as the kernel's own garbage
/// collector turns urgent there (`NF_CT_EARLY_DROP`, 95 %, nf_conntrack_core.c).
const NEARLY_FULL: f64 = 0.95;
/// Entries a bucket can bear on average before chains get long; the kernel's default was 4 until
/// 5.15 and is 1 since.
pub(crate) const ENTRIES_PER_BUCKET: i64 = 4;

/// The steps that change the running kernel, and what stands in their way.
pub(super) fn live_steps(comparison: &Comparison, live: &Snapshot) -> (Vec<Step>, Vec<Blocked>) {
    let mut writes: Vec<Step> = comparison
        .settings
        .iter()
        .filter(|setting| setting.live_is_off() && setting.state == super::State::Differs)
        .filter_map(|setting| {
            let target = setting.target.as_ref()?;
            Some(Step::WriteLive {
                key: setting.key,
                from: setting.live_value(),
                to: target.desired,
                why: target.why.clone(),
            })
        })
        .collect();
    let blocked = blocked(&writes, live);
    // Stable: within a rank the catalog's order stays.
    let thresholds = Thresholds::new(&writes, live);
    writes.sort_by_key(|step| rank(step, &thresholds));
    make_room_first(&mut writes, live);
    if !writes.is_empty() && !live.is_loaded() {
        let why = "its sysctls exist only once it is loaded".to_owned();
        writes.insert(0, Step::LoadModule { why });
    }
    (writes, blocked)
}

/// What decides which of the two fragment thresholds moves first.
struct Thresholds {
    high_after: Option<i64>,
    low_before: Option<i64>,
}

impl Thresholds {
    fn new(writes: &[Step], live: &Snapshot) -> Self {
        Thresholds {
            high_after: after(writes, live, Key::Frag6HighThresh),
            low_before: live.value(Key::Frag6LowThresh),
        }
    }

    /// Whether the kernel accepts the new high threshold beside the old low one.
    fn high_first(&self) -> bool {
        match (self.high_after, self.low_before) {
            (Some(high), Some(low)) => high >= low,
            _ => true,
        }
    }
}

/// What a key will hold after these writes.
fn after(writes: &[Step], live: &Snapshot, desired: Key) -> Option<i64> {
    let written = writes.iter().find_map(|step| match step {
        Step::WriteLive { key, to, .. } if *key == desired => Some(*to),
        _ => None,
    });
    written.or_else(|| live.value(desired))
}

/// Splits the rise of max in two where the table is nearly full and the present buckets can bear
/// some of it.
fn make_room_first(writes: &mut Vec<Step>, live: &Snapshot) {
    if live.fill().is_none_or(|fill| fill < NEARLY_FULL) {
        return;
    }
    let resized = writes.iter().any(|step| {
        matches!(
            step,
            Step::WriteLive {
                key: Key::Buckets,
                ..
            }
        )
    });
    let Some(buckets) = live.value(Key::Buckets).filter(|_| resized) else {
        return;
    };
    let bearable = buckets.saturating_mul(ENTRIES_PER_BUCKET);
    for index in 0..writes.len() {
        let Some(Step::WriteLive {
            key: Key::Max,
            from: Some(from),
            to,
            ..
        }) = writes.get_mut(index)
        else {
            continue;
        };
        let first = (*to).min(bearable);
        if first <= *from {
            return;
        }
        let room = Step::WriteLive {
            key: Key::Max,
            from: Some(*from),
            to: first,
            why: format!("room first: what {buckets} buckets can bear"),
        };
        if first == *to {
            // The present buckets can bear all of it: max alone goes first.
            writes.remove(index);
        } else {
            *from = first;
        }
        writes.insert(0, room);
        return;
    }
}

/// When a step's turn comes.
fn rank(step: &Step, thresholds: &Thresholds) -> u8 {
    let Step::WriteLive { key, from, to, .. } = step else {
        return 0;
    };
    let raises = is_raise(*key, *from, *to);
    match key {
        Key::Buckets if raises => 1,
        Key::Max if raises => 2,
        Key::Frag6HighThresh => {
            if thresholds.high_first() {
                3
            } else {
                5
            }
        }
        Key::Frag6LowThresh => 4,
        Key::Max => 8,
        Key::Buckets => 9,
        key => match key.tunable().kind {
            Kind::Limit => 5,
            Kind::Timeout => 6,
            Kind::Behaviour => 7,
        },
    }
}

/// Whether a limit goes up; a max of 0 is unlimited, and nothing is above it.
fn is_raise(key: Key, from: Option<i64>, to: i64) -> bool {
    match from {
        Some(0) if key == Key::Max => false,
        Some(from) => to > from,
        None => true,
    }
}

fn blocked(writes: &[Step], live: &Snapshot) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    let lowered_max = writes.iter().find_map(|step| match step {
        Step::WriteLive {
            key: Key::Max,
            from,
            to,
            ..
        } => (!is_raise(Key::Max, *from, *to)).then_some(*to),
        _ => None,
    });
    if let (Some(max), Some(count)) = (lowered_max, live.count)
        && max < count
    {
        blocked.push(Blocked::MaxBelowCount { max, count });
    }
    let high = after(writes, live, Key::Frag6HighThresh);
    let low = after(writes, live, Key::Frag6LowThresh);
    if let (Some(high), Some(low)) = (high, low)
        && high < low
    {
        blocked.push(Blocked::ThresholdsCross { high, low });
    }
    blocked
}
