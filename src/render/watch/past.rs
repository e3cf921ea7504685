//! The last hour: rates between readings, bins for sparklines, the time until the table is full.

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds that are remembered.
const HOUR: f64 = 3600.0;
/// Spans that sparklines show, the shortest that holds everything first.
const SPANS: [(f64, &str); 4] = [(60.0, "1m"), (300.0, "5m"), (900.0, "15m"), (HOUR, "1h")];
/// Seconds whose growth tells when the table is full, at least and at most.
const TREND: (f64, f64) = (5.0, 60.0);
/// A table that fills later than this many seconds is not said to fill.
const FAR: f64 = 30.0 * 86_400.0;

/// What was read at one moment; rates since the moment before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Seconds since the watch began.
    pub(super) at: f64,
    pub(super) count: f64,
    pub(super) began: Option<f64>,
    pub(super) drops: Option<f64>,
}

/// What a sparkline shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line {
    Count,
    Began,
    Drops,
}

#[derive(Debug, Default)]
pub(super) struct Past {
    points: VecDeque<Point>,
}

impl Past {
    pub(super) fn add(&mut self, point: Point) {
        self.points.push_back(point);
        while self
            .points
            .front()
            .is_some_and(|first| point.at - first.at > HOUR)
        {
            self.points.pop_front();
        }
    }

    /// The seconds that sparklines show, and how to call them.
    pub(super) fn span(&self) -> (f64, &'static str) {
        let seconds = match (self.points.front(), self.points.back()) {
            (Some(first), Some(last)) => last.at - first.at,
            _ => 0.0,
        };
        let fits = SPANS.into_iter().find(|(span, _)| seconds <= *span);
        fits.unwrap_or((HOUR, "1h"))
    }

    /// The highest value in each of so many parts of the span, the last part last. A part in which
    /// nothing was read has the value of the next one; what is before the first reading has none.
    pub(super) fn bins(&self, line: Line, number: usize) -> Vec<Option<f64>> {
        let mut bins = vec![None; number];
        let Some(end) = self.points.back().map(|last| last.at) else {
            return bins;
        };
        let (span, _) = self.span();
        let place = |point: &Point| number.checked_sub(bin((end - point.at) / span, number) + 1);
        let first = self.points.front().and_then(place).unwrap_or(0);
        for point in &self.points {
            let value = match line {
                Line::Count => Some(point.count),
                Line::Began => point.began,
                Line::Drops => point.drops,
            };
            let bin: Option<&mut Option<f64>> = place(point).and_then(|place| bins.get_mut(place));
            if let (Some(bin), Some(value)) = (bin, value) {
                *bin = Some(bin.unwrap_or(0.0).max(value));
            }
        }
        let mut next = None;
        for bin in bins.iter_mut().skip(first).rev() {
            *bin = bin.or(next);
            next = *bin;
        }
        bins
    }

    /// Flows that come more than go, a second.
    pub(super) fn growth(&self) -> Option<f64> {
        let last = self.points.back()?;
        let within = |point: &&Point| last.at - point.at <= TREND.1;
        let first = self.points.iter().find(within)?;
        let seconds = last.at - first.at;
        (seconds > 0.0).then(|| (last.count - first.count) / seconds)
    }

    /// How soon there are `max` flows, if it goes on like this.
    pub(super) fn full_in(&self, max: f64) -> Option<Duration> {
        let last = self.points.back()?;
        let first = self.points.front()?;
        let growth = self.growth()?;
        let is_known = last.at - first.at >= TREND.0;
        let left = (max - last.count).max(0.0);
        let seconds = left / growth;
        (is_known && growth > 0.0 && seconds < FAR).then(|| Duration::from_secs_f64(seconds))
    }
}

/// A share of some bins.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are small
#[expect(clippy::cast_precision_loss)]
fn bin(share: f64, number: usize) -> usize {
    (share * number as f64).floor() as usize
}

/// Characters as high as the values are, with the highest as high as `most`.
pub(super) fn spark(values: &[Option<f64>], most: f64, is_utf8: bool) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', '-', '=', '+', '*', '%', '#'];
    let levels = if is_utf8 { BLOCKS } else { ASCII };
    let one = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if *value <= 0.0 || most <= 0.0 => levels[0],
        Some(value) => {
            let level = bin((value / most).min(1.0), levels.len() - 1).max(1);
            levels.get(level).copied().unwrap_or(' ')
        }
    };
    values.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(points: &[(f64, f64)]) -> Past {
        let mut past = Past::default();
        for (at, count) in points {
            past.add(Point {
                at: *at,
                count: *count,
                began: Some(count / 10.0),
                drops: None,
            });
        }
        past
    }

    #[test]
    fn a_sparkline_ends_now_and_is_empty_where_nothing_was_read() {
        let past = past(&[(0.0, 10.0), (20.0, 40.0), (40.0, 80.0)]);
        assert_eq!(past.span().1, "1m");
        let bins = past.bins(Line::Count, 6);
        let [low, middle, high] = [10.0, 40.0, 80.0].map(Some);
        assert_eq!(bins, [None, low, middle, middle, high, high]);
        assert_eq!(spark(&bins, 80.0, true), " ▂▄▄██");
        assert_eq!(spark(&bins, 80.0, false), " .==##");
        assert_eq!(past.bins(Line::Began, 1), [Some(8.0)]);
        assert_eq!(spark(&past.bins(Line::Drops, 3), 0.0, true), "   ");
        assert_eq!(spark(&[Some(0.0)], 0.0, true), "▁");
    }

    #[test]
    fn an_hour_is_remembered() {
        let points: Vec<(f64, f64)> = (0..8000).map(|at| (f64::from(at), 1.0)).collect();
        let past = past(&points);
        assert_eq!((past.points.len(), past.span().1), (3601, "1h"));
        assert_eq!(past.bins(Line::Count, 60), [Some(1.0); 60]);
    }

    #[test]
    fn a_table_is_full_when_its_growth_of_the_last_minute_gets_there() {
        for (points, expected) in [
            (&[(0.0, 100.0), (10.0, 200.0)][..], Some(80)),
            // What grew before the last minute does not count.
            (&[(0.0, 0.0), (100.0, 900.0), (110.0, 900.0)], None),
            (&[(0.0, 200.0), (10.0, 100.0)], None),
            // Too short to tell, too slow to matter.
            (&[(0.0, 100.0), (2.0, 200.0)], None),
            (&[(0.0, 0.0), (60.0, 0.001)], None),
            (&[(0.0, 900.0), (10.0, 1000.0)], Some(0)),
            (&[], None),
        ] {
            let told = past(points).full_in(1000.0).map(|time| time.as_secs());
            assert_eq!(told, expected, "{points:?}");
        }
    }
}
