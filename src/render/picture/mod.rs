//! Pictures of numbers: a few lines or bars over an axis.
//!
//! In: a [`Picture`], plain values with their titles and units. Out: SVG that a page can theme and a
//! screen reader can read, text for a terminal, and rows for a table.
//! Rule: what a colour tells, a dash, a letter or a word tells as well. No text runs into another:
//! widths are estimated on the large side, and a label that has no place is left out.

mod axis;
mod escape;
mod svg;
mod text;

use axis::Scale;

pub(super) use axis::Axis;
pub(super) use escape::escaped;
pub(super) use svg::{STYLE, document, inline};
pub(super) use text::text;

/// One picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// Unique on a page, of lower-case letters.
    pub(super) name: &'static str,
    pub(super) title: String,
    /// What it shows, in a sentence, for who cannot see it.
    pub(super) about: String,
    pub(super) across: Axis,
    pub(super) up: Axis,
    pub(super) series: Vec<Series>,
    /// Lines across the picture.
    pub(super) marks: Vec<Mark>,
}

/// A line, or bars.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A line at a value, with what it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) name: String,
    /// Whether `at` is on the axis that goes up.
    pub(super) is_level: bool,
}

impl Picture {
    /// Whether there is anything to see.
    pub(super) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// Whether the axis has a place for each bar.
    fn is_bars(&self) -> bool {
        self.across.scale == Scale::Places
    }
}
