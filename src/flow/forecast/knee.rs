//! The knee of the curve: the timeout above which more time keeps hardly more flows.
//!
//! The point that lies farthest above the straight line between the ends of the curve, over the
//! logarithm of the timeout (Satopaa and others, "Finding a Kneedle in a Haystack", 2011).

/// A curve that bends by less than this share of its height has no knee.
const BEND: f64 = 0.1;

/// The place of the knee on a curve of timeouts, in rising order, and the flows that each keeps.
pub(super) fn knee(curve: &[(u32, u64)]) -> Option<usize> {
    let ((shortest, fewest), (longest, most)) = (curve.first()?, curve.last()?);
    let logarithm = |seconds: u32| f64::from(seconds.max(1)).ln();
    let width = logarithm(*longest) - logarithm(*shortest);
    let height = super::as_f64(most.saturating_sub(*fewest));
    if curve.len() < 3 || width <= 0.0 || height <= 0.0 {
        return None;
    }
    let bend = |(seconds, kept): &(u32, u64)| {
        let along = (logarithm(*seconds) - logarithm(*shortest)) / width;
        super::as_f64(kept.saturating_sub(*fewest)) / height - along
    };
    let bends = curve.iter().map(bend).enumerate();
    let (place, bend) = bends.max_by(|one, other| one.1.total_cmp(&other.1))?;
    (bend >= BEND).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_knee_is_where_more_time_keeps_hardly_more_flows() {
        for (curve, expected) in [
            (&[][..], None),
            (&[(300, 10), (600, 20)], None),
            // Flows that send every half hour at most, and a few that are idle for days.
            (
                &[(300, 100), (1800, 900), (7440, 930), (86_400, 1000)],
                Some(1),
            ),
            // Evenly spread idle times: the longer the timeout, the more flows stay.
            (
                &[(300, 3), (3600, 36), (86_400, 864), (432_000, 4320)],
                None,
            ),
            (&[(300, 7), (3600, 7), (86_400, 7)], None),
        ] {
            assert_eq!(knee(curve), expected, "{curve:?}");
        }
    }
}
