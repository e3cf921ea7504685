//! How the reading of a table is split, so that two dumps tell of it side by side.
//!
//! In: the first flows of a dump, which are a random sample. Out: two filters of which every flow
//! passes one. Rule: by family where that halves the table, since no flow changes it; else by the
//! bit of the status that halves it best. A flow whose bit changes while both dumps go on may be
//! told of twice or not at all, as one that comes or goes: who changes flows reads otherwise.

use std::time::Duration;

use crate::conntrack::StatusFilter;

use super::{Family, Filter, Flow, Gather};

/// Bits of the status.
const BITS: usize = 16;

/// Less than this share in the smaller part is not worth a second dump: it walks the whole hash.
const LEAST: f64 = 0.15;
/// From this share on the family is taken, whatever the bits are.
const BALANCED: f64 = 0.25;

/// What the first flows are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Split {
    flows: u32,
    v6: u32,
    /// Flows in which each bit of the status is set.
    set: [u32; BITS],
}

impl Gather for Split {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        self.flows += 1;
        self.v6 += u32::from(flow.family == Family::Ipv6);
        for (bit, set) in self.set.iter_mut().enumerate() {
            *set += (flow.status.0 >> bit) & 1;
        }
    }

    fn part(&self) -> Self {
        Split::default()
    }

    fn merge(&mut self, part: Self) {
        self.flows += part.flows;
        self.v6 += part.v6;
        for (set, more) in self.set.iter_mut().zip(part.set) {
            *set += more;
        }
    }
}

impl Split {
    /// Two filters for the flows of `filter`, the one with more flows first; none where no split is
    /// worth it.
    pub(crate) fn halves(&self, filter: &Filter) -> Option<[Filter; 2]> {
        let by_family = |family| Filter {
            family: Some(family),
            ..*filter
        };
        let family = (self.v6, [by_family(Family::Ipv6), by_family(Family::Ipv4)]);
        let is_balanced = self.smaller(self.v6) >= BALANCED;
        let bits = self.set.iter().enumerate().map(|(bit, set)| {
            let mask = 1 << bit;
            (
                *set,
                [mask, 0].map(|value| with_status(filter, value, mask)),
            )
        });
        let bits = bits.filter(|_| !is_balanced);
        let best = bits
            .chain([family])
            .max_by(|one, other| self.smaller(one.0).total_cmp(&self.smaller(other.0)));
        let (flows, [with, without]) = best.filter(|best| self.smaller(best.0) >= LEAST)?;
        Some(if flows >= self.flows / 2 {
            [with, without]
        } else {
            [without, with]
        })
    }

    /// The share of the smaller part.
    fn smaller(&self, flows: u32) -> f64 {
        f64::from(flows.min(self.flows - flows)) / f64::from(self.flows.max(1))
    }
}

fn with_status(filter: &Filter, value: u32, mask: u32) -> Filter {
    Filter {
        status: StatusFilter {
            value: (filter.status.value & !mask) | value,
            mask: filter.status.mask | mask,
        },
        ..*filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::{Status, StatusBit};

    /// So many flows of each family and of each kind: assured or not.
    fn split(v4: [u32; 2], v6: [u32; 2]) -> Option<[Filter; 2]> {
        let mut split = Split::default();
        for (bytes, [assured, others]) in [(TCP, v4), (UDP, v6)] {
            for n in 0..assured + others {
                let mut flow = Flow::parse(bytes).unwrap();
                let bit = if n < assured {
                    StatusBit::Assured.mask()
                } else {
                    0
                };
                flow.status = Status(StatusBit::Confirmed.mask() | bit);
                split.add(&flow, Duration::ZERO);
            }
        }
        split.halves(&Filter::default())
    }

    #[test]
    fn by_family_if_that_is_balanced_else_by_what_halves_best_else_not_at_all() {
        let family = |family| Filter {
            family: Some(family),
            ..Filter::default()
        };
        let (v4, v6) = (family(Family::Ipv4), family(Family::Ipv6));
        let assured = StatusBit::Assured.mask();
        let (with, without) = (
            with_status(&Filter::default(), assured, assured),
            with_status(&Filter::default(), 0, assured),
        );
        for (of_v4, of_v6, filters) in [
            ([50, 0], [50, 0], Some([v6, v4])),
            // The family never changes, so that it comes first.
            ([50, 20], [0, 30], Some([v4, v6])),
            ([40, 40], [10, 10], Some([with, without])),
            ([20, 80], [0, 0], Some([without, with])),
            ([80, 0], [20, 0], Some([v4, v6])),
            ([90, 0], [10, 0], None),
            ([90, 10], [0, 0], None),
            ([0, 0], [0, 0], None),
        ] {
            assert_eq!(split(of_v4, of_v6), filters, "{of_v4:?} {of_v6:?}");
        }
    }

    #[test]
    fn what_the_filter_asks_is_asked_of_both_halves() {
        let mut split = Split::default();
        let mut flow = Flow::parse(TCP).unwrap();
        for status in [0x0e, 0x0a] {
            flow.status = Status(status);
            split.add(&flow, Duration::ZERO);
        }
        let filter = with_status(&Filter::default(), 2, 2);
        let [one, other] = split.halves(&filter).unwrap();
        assert_eq!((one.status.value, one.status.mask), (6, 6));
        assert_eq!((other.status.value, other.status.mask), (2, 6));
    }
}
