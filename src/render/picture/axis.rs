//! Axes: from a number to a place, and which numbers are written beside them.

use crate::tunable::{format_count, format_seconds};

/// How places follow numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Scale {
    Linear,
    /// From 1 on.
    Logarithmic,
    /// A place for each label.
    Places,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) struct Axis {
    pub(in crate::render) title: String,
    pub(in crate::render) scale: Scale,
    pub(in crate::render) from: f64,
    pub(in crate::render) to: f64,
    /// Numbers that are written beside it.
    pub(in crate::render) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Counts from 0 to at least `most`.
    pub(in crate::render) fn counts(title: &str, most: f64) -> Axis {
        let step = step(most.max(1.0) / 4.0).max(1.0);
        let to = (most.max(1.0) / step).ceil() * step;
        let label = |place: u32| {
            let number = f64::from(place) * step;
            #[expect(clippy::cast_possible_truncation)] // numbers of flows
            let text = format_count(number.round() as i64);
            (number, text)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 10
        let steps = (to / step).round() as u32;
        Axis {
            title: title.to_owned(),
            scale: Scale::Linear,
            from: 0.0,
            to,
            ticks: (0..=steps).map(label).collect(),
        }
    }

    /// Shares from 0 to 100 %.
    pub(in crate::render) fn shares(title: &str) -> Axis {
        let label = |place: u8| {
            (
                f64::from(place) / 4.0,
                format!("{} %", 25 * u32::from(place)),
            )
        };
        Axis {
            title: title.to_owned(),
            scale: Scale::Linear,
            from: 0.0,
            to: 1.0,
            ticks: (0..=4).map(label).collect(),
        }
    }

    /// Seconds from now to `last`.
    pub(in crate::render) fn time(title: &str, last: u32) -> Axis {
        const STEPS: [u32; 16] = [
            1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 172_800,
        ];
        let fits = |step: &&u32| last / **step <= 8;
        let step = STEPS.iter().find(fits).copied().unwrap_or(last / 8).max(1);
        let ticks = (0..=last / step).map(|place| {
            let seconds = place * step;
            let text = match seconds {
                0 => "now".to_owned(),
                _ => format_seconds(seconds.into()),
            };
            (f64::from(seconds), text)
        });
        Axis {
            title: title.to_owned(),
            scale: Scale::Linear,
            from: 0.0,
            to: f64::from(last.max(1)),
            ticks: ticks.collect(),
        }
    }

    /// Timeouts in seconds, each step as wide as the one before in proportion.
    pub(in crate::render) fn timeouts(title: &str, first: u32, last: u32) -> Axis {
        const TICKS: [u32; 14] = [
            1, 5, 30, 60, 300, 600, 1800, 3600, 7440, 28_800, 86_400, 259_200, 432_000, 864_000,
        ];
        let within = TICKS.iter().filter(|at| (first..=last).contains(at));
        Axis {
            title: title.to_owned(),
            scale: Scale::Logarithmic,
            from: f64::from(first.max(1)),
            to: f64::from(last.max(first.max(1) + 1)),
            ticks: within
                .map(|at| (f64::from(*at), format_seconds((*at).into())))
                .collect(),
        }
    }

    /// A place for each of some names.
    pub(in crate::render) fn places(title: &str, names: Vec<String>) -> Axis {
        let count = names.len();
        let middle = |(place, name): (usize, String)| (float(place) + 0.5, name);
        Axis {
            title: title.to_owned(),
            scale: Scale::Places,
            from: 0.0,
            to: float(count.max(1)),
            ticks: names.into_iter().enumerate().map(middle).collect(),
        }
    }

    /// Where a number is, 0 to 1.
    pub(super) fn place(&self, number: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear | Scale::Places => (number - self.from) / (self.to - self.from),
            Scale::Logarithmic => {
                (number.max(self.from) / self.from).ln() / (self.to / self.from).ln()
            }
        };
        place.clamp(0.0, 1.0)
    }
}

/// The next larger of 1, 2, 5, 10, 20, …
fn step(least: f64) -> f64 {
    let mut step = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if step * factor >= least {
                return step * factor;
            }
        }
        step *= 10.0;
    }
}

#[expect(clippy::cast_precision_loss)] // a few places
fn float(place: usize) -> f64 {
    place as f64
}
