//! The order of live writes that never makes things worse on the way.
//!
//! Raising: buckets, then max, so that chains stay short. Where the table is nearly full,
//! max first rises to the most that suits the present buckets, before the resize, which takes memory
//! and time. Lowering: max last of all but the buckets that it frees.

use super::{Blocked, Comparison, State, Step};
use crate::tunable::{Key, Kind, Snapshot, format_count};

/// Fill at which room is made before the hash table is resized, as the kernel's own garbage
/// collector turns urgent there (`NF_CT_EARLY_DROP`, 95 %, nf_conntrack_core.c).
const NEARLY_FULL: f64 = 0.95;
/// Entries per bucket on average before chains get long; the kernel's default was 4 until
/// 5.15 and is 1 since.
pub(crate) const ENTRIES_PER_BUCKET: i64 = 4;

/// The steps that change the running kernel, and what blocks them.
pub(super) fn live_steps(comparison: &Comparison, live: &Snapshot) -> (Vec<Step>, Vec<Blocked>) {
    let settings = comparison.settings.iter();
    let off = settings.filter(|setting| setting.state == State::Differs);
    let writes = off.filter_map(|setting| {
        let targets = setting.targets.as_ref()?;
        Some(Step::WriteLive {
            key: setting.key,
            from: setting.live_value(),
            to: targets.live.value,
            why: targets.why.clone(),
        })
    });
    let mut writes: Vec<Step> = writes.collect();
    let blocked = blocked(&writes, live);
    // Whether the kernel takes the new high threshold beside the old low one.
    let high = after(&writes, live, Key::Frag6HighThresh);
    let low = live.value(Key::Frag6LowThresh);
    let high_first = high.zip(low).is_none_or(|(high, low)| high >= low);
    // Stable: within a rank the catalog's order stays.
    writes.sort_by_key(|step| rank(step, high_first));
    raise_max_before_resize(&mut writes, live);
    if !writes.is_empty() && !live.is_loaded() {
        let why = "its sysctls exist only once it is loaded".to_owned();
        writes.insert(0, Step::LoadModule { why });
    }
    (writes, blocked)
}

/// The write to a key, and its place among the steps.
fn write_of(writes: &[Step], wanted: Key) -> Option<(usize, Option<i64>, i64)> {
    let mut writes = writes.iter().enumerate();
    writes.find_map(|(index, step)| match step {
        Step::WriteLive { key, from, to, .. } if *key == wanted => Some((index, *from, *to)),
        _ => None,
    })
}

/// What a key will have after these writes.
fn after(writes: &[Step], live: &Snapshot, key: Key) -> Option<i64> {
    let written = write_of(writes, key).map(|(.., to)| to);
    written.or_else(|| live.value(key))
}

/// Splits the rise of max in two where the table is nearly full and the present buckets
/// suffice for some of it.
fn raise_max_before_resize(writes: &mut Vec<Step>, live: &Snapshot) {
    if live.fill().is_none_or(|fill| fill < NEARLY_FULL) || write_of(writes, Key::Buckets).is_none()
    {
        return;
    }
    let (Some(buckets), Some((index, Some(from), to))) =
        (live.value(Key::Buckets), write_of(writes, Key::Max))
    else {
        return;
    };
    let first = to.min(buckets.saturating_mul(ENTRIES_PER_BUCKET));
    if first <= from {
        return;
    }
    let room = Step::WriteLive {
        key: Key::Max,
        from: Some(from),
        to: first,
        why: format!(
            "the most entries for {} buckets until they are resized",
            format_count(buckets)
        ),
    };
    if first == to {
        // The present buckets suffice for all of it: max alone goes first.
        writes.remove(index);
    } else if let Some(Step::WriteLive { from, .. }) = writes.get_mut(index) {
        *from = Some(first);
    }
    writes.insert(0, room);
}

/// When a step's turn comes.
fn rank(step: &Step, high_first: bool) -> u8 {
    let Step::WriteLive { key, from, to, .. } = step else {
        return 0;
    };
    match (key, is_raise(*key, *from, *to)) {
        (Key::Buckets, true) => 1,
        (Key::Max, true) => 2,
        (Key::Frag6HighThresh, _) if high_first => 3,
        (Key::Frag6LowThresh, _) => 4,
        (Key::Max, false) => 8,
        (Key::Buckets, false) => 9,
        (key, _) => match key.tunable().kind {
            Kind::Limit => 5,
            Kind::Timeout => 6,
            Kind::Behaviour => 7,
        },
    }
}

/// Whether a value goes up; a max of 0 is unlimited, and nothing is above it.
pub(super) fn is_raise(key: Key, from: Option<i64>, to: i64) -> bool {
    match from {
        Some(0) if key == Key::Max => false,
        Some(from) => to > from,
        None => true,
    }
}

fn blocked(writes: &[Step], live: &Snapshot) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    if let (Some((_, from, max)), Some(count)) = (write_of(writes, Key::Max), live.count)
        && !is_raise(Key::Max, from, max)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fake::{World, live};
    use Key::{Acct, Buckets, Frag6HighThresh, Frag6LowThresh, Max, UdpTimeout};

    /// A profile, what is live, the entries, and the writes in their order.
    type Row<'a> = (&'a str, &'a [(Key, i64)], i64, &'a [(Key, i64)]);

    #[test]
    fn the_order_never_makes_things_worse_on_the_way() {
        let table: &[Row<'_>] = &[
            (
                "acct = 1\nudp_timeout = 60\nmax = 2048\nbuckets = 2048",
                &[(Acct, 0), (UdpTimeout, 30), (Max, 1024), (Buckets, 1024)],
                0,
                &[(Buckets, 2048), (Max, 2048), (UdpTimeout, 60), (Acct, 1)],
            ),
            (
                "acct = 1\nudp_timeout = 60\nmax = 1024\nbuckets = 1024",
                &[(Acct, 0), (UdpTimeout, 30), (Max, 2048), (Buckets, 2048)],
                0,
                &[(UdpTimeout, 60), (Acct, 1), (Max, 1024), (Buckets, 1024)],
            ),
            // Nearly full: first what the present buckets suffice for.
            (
                "max = 8192\nbuckets = 8192",
                &[(Max, 1024), (Buckets, 512)],
                1000,
                &[(Max, 2048), (Buckets, 8192), (Max, 8192)],
            ),
            (
                "max = 2000\nbuckets = 8192",
                &[(Max, 1024), (Buckets, 512)],
                1000,
                &[(Max, 2000), (Buckets, 8192)],
            ),
            // Nothing is above unlimited.
            ("max = 2048", &[(Max, 0), (Buckets, 512)], 0, &[(Max, 2048)]),
            // The kernel refuses a high threshold below the low one, on the way too.
            (
                "frag6_high_thresh = 100\nfrag6_low_thresh = 50",
                &[(Frag6HighThresh, 400), (Frag6LowThresh, 300)],
                0,
                &[(Frag6LowThresh, 50), (Frag6HighThresh, 100)],
            ),
            (
                "frag6_high_thresh = 600\nfrag6_low_thresh = 500",
                &[(Frag6HighThresh, 400), (Frag6LowThresh, 300)],
                0,
                &[(Frag6HighThresh, 600), (Frag6LowThresh, 500)],
            ),
        ];
        for (profile, before, count, expected) in table {
            let mut world = World::of(profile).count(*count);
            for (key, value) in *before {
                world = world.reading(*key, live(*value));
            }
            let (steps, blocked) = live_steps(&world.comparison(), world.live.as_ref().unwrap());
            let written = steps.iter().filter_map(|step| match step {
                Step::WriteLive { key, to, .. } => Some((*key, *to)),
                _ => None,
            });
            assert_eq!(&written.collect::<Vec<_>>(), expected, "{profile}");
            assert_eq!(blocked, [], "{profile}");
        }
    }

    #[test]
    fn a_max_below_the_entries_is_blocked() {
        for (max, is_blocked) in [(900, true), (1000, false), (5000, false)] {
            let world = World::of(&format!("max = {max}"))
                .reading(Max, live(4000))
                .count(1000);
            let (_, blocked) = live_steps(&world.comparison(), world.live.as_ref().unwrap());
            let expected = is_blocked.then_some(Blocked::MaxBelowCount { max, count: 1000 });
            assert_eq!(blocked, Vec::from_iter(expected), "{max}");
        }
    }
}
