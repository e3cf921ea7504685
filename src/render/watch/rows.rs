//! The groups on the screen: in a steady order, and fading where their flows are gone.

use std::time::Duration;

use crate::flow::{Column, Top, Values};

/// Groups that are followed.
pub(crate) const GROUPS: usize = 100;
/// How long a group without flows is shown.
const FADE: Duration = Duration::from_secs(10);
/// A group that has so many times the flows of the one above it changes places with it.
const OVERTAKES: f64 = 1.2;

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(super) values: Values,
    pub(super) flows: u64,
    pub(super) share: f64,
    pub(super) margin: f64,
    /// Since when none of its flows is seen.
    pub(super) gone: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

impl Rows {
    /// Takes what was read at a time. Other columns are another listing.
    pub(super) fn update(&mut self, top: &Top, at: Duration) {
        if self.columns != top.columns {
            self.columns.clone_from(&top.columns);
            self.rows.clear();
        }
        for row in &mut self.rows {
            (row.flows, row.share) = (0, 0.0);
        }
        for group in &top.groups {
            let row = Row {
                values: group.values.clone(),
                flows: group.flows,
                share: group.share,
                margin: group.margin,
                gone: None,
            };
            if let Some(known) = self.rows.iter_mut().find(|one| one.values == row.values) {
                *known = row;
            } else {
                let place = self.rows.iter().position(|one| one.flows < row.flows);
                self.rows.insert(place.unwrap_or(self.rows.len()), row);
            }
        }
        for row in self.rows.iter_mut().filter(|row| row.flows == 0) {
            row.gone.get_or_insert(at);
        }
        let is_shown = |row: &Row| row.gone.is_none_or(|gone| at.saturating_sub(gone) < FADE);
        self.rows.retain(is_shown);
        self.settle();
        self.rows.truncate(GROUPS);
    }

    /// Moves a row up past those that it clearly has more flows than. One that fades keeps its
    /// place.
    fn settle(&mut self) {
        #[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
        let flows = |row: &Row| row.flows as f64;
        for end in 1..self.rows.len() {
            for place in (1..=end).rev() {
                let [above, below] = [place - 1, place].map(|at| self.rows.get(at));
                let moves = above.zip(below).is_some_and(|(above, below)| {
                    above.gone.is_none() && flows(below) > OVERTAKES * flows(above)
                });
                if !moves {
                    break;
                }
                self.rows.swap(place - 1, place);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::flow::{Field, Group, Smaller, Value};

    /// What was read: ports and their flows, the largest first.
    pub(in crate::render::watch) fn top(groups: &[(u16, u64)]) -> Top {
        let total = groups.iter().map(|(_, flows)| flows).sum();
        let group = |(port, flows): &(u16, u64)| Group {
            values: Values::from_elem(Value::Port(*port), 1),
            flows: *flows,
            share: f64::from(u32::try_from(*flows).unwrap())
                / f64::from(u32::try_from(total).unwrap()),
            margin: 0.0,
            traffic: None,
            left: None,
        };
        Top {
            total,
            sampled: None,
            columns: vec![Column::whole(Field::Dport)],
            groups: groups.iter().map(group).collect(),
            smaller: Smaller::default(),
            cause: None,
            nothing_stands_out: false,
            uncounted: 0,
            lead: None,
        }
    }

    #[test]
    fn rows_keep_their_order_and_fade() {
        let mut rows = Rows::default();
        for (at, read, shown) in [
            (0, &[(1, 100), (2, 90), (3, 10)][..], "1 2 3"),
            // A little more is no reason to move.
            (2, &[(2, 110), (1, 100), (3, 10)], "1 2 3"),
            (4, &[(2, 130), (1, 100), (3, 10)], "2 1 3"),
            (6, &[(3, 500), (2, 130), (4, 110), (1, 100)], "3 2 4 1"),
            // 2 is gone: it stays for ten seconds, where it was.
            (8, &[(3, 500), (4, 110), (1, 100)], "3 (2) 4 1"),
            (17, &[(3, 500), (4, 110), (1, 100)], "3 (2) 4 1"),
            (18, &[(3, 500), (4, 110), (1, 100)], "3 4 1"),
            // And comes back as a new one.
            (20, &[(3, 500), (2, 130), (4, 110), (1, 100)], "3 2 4 1"),
            (22, &[], "(3) (2) (4) (1)"),
            (24, &[(9, 5), (1, 1)], "9 (3) (2) (4) 1"),
        ] {
            let read = top(read);
            rows.update(&read, Duration::from_secs(at));
            let told = rows.rows.iter().map(|row| match row.gone {
                None => row.values[0].to_string(),
                Some(_) => format!("({})", row.values[0]),
            });
            assert_eq!(told.collect::<Vec<_>>().join(" "), shown, "after {at}");
        }
        let mut other = top(&[(1, 1)]);
        other.columns = vec![Column::whole(Field::Sport)];
        rows.update(&other, Duration::from_secs(26));
        assert_eq!(rows.rows.len(), 1);
    }
}
