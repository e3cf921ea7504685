//! What of the table is asked: which flows, grouped by what.

use crate::flow::{By, Field, Selection, Terms};

/// What one key goes through.
const GROUPINGS: [&str; 7] = [
    "auto",
    "src",
    "dst,dport",
    "dst",
    "dport",
    "proto,state",
    "src,dst",
];

/// Which flows, grouped by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// As it was typed.
    pub(super) grouping: String,
    pub(super) by: By,
    /// As they were typed, one `TERM,TERM` each.
    pub(super) matching: Vec<String>,
    pub(super) selection: Selection,
}

impl Ask {
    /// Reads both; the error says what is wrong.
    pub(crate) fn parse(grouping: &str, matching: &[String]) -> Result<Self, String> {
        let by = match grouping.trim() {
            "auto" | "" => By::Auto,
            fields => By::Fields(Field::parse_list(fields).map_err(|error| error.to_string())?),
        };
        let mut terms = Vec::new();
        for text in matching {
            let one = Terms::parse(text).map_err(|errors| {
                let problems = errors.into_iter().map(|error| error.problem);
                problems.collect::<Vec<_>>().join("; ")
            })?;
            if one.is_about_idle() {
                return Err("`idle` is known only of flows that were watched".to_owned());
            }
            terms.push(one);
        }
        Ok(Ask {
            grouping: match by {
                By::Auto => "auto".to_owned(),
                _ => grouping.trim().to_owned(),
            },
            by,
            matching: matching.to_vec(),
            selection: Selection {
                matching: terms,
                keep: Vec::new(),
            },
        })
    }

    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The same of flows that these terms select as well.
    pub(super) fn narrowed(&self, terms: &str) -> Result<Self, String> {
        Ask::parse("auto", &self.and(terms))
    }

    /// What the filter and these terms select, one `TERM,TERM` each.
    pub(super) fn and(&self, terms: &str) -> Vec<String> {
        match self.matching.as_slice() {
            [] => vec![terms.to_owned()],
            all => all.iter().map(|one| format!("{one},{terms}")).collect(),
        }
    }

    /// The same flows grouped by the next of the list, or the one before.
    pub(super) fn regrouped(&self, is_back: bool) -> Result<Self, String> {
        let known = GROUPINGS.iter().position(|one| *one == self.grouping);
        let number = GROUPINGS.len();
        let place = match (known, is_back) {
            (None, _) => 0,
            (Some(at), false) => (at + 1) % number,
            (Some(at), true) => (at + number - 1) % number,
        };
        let grouping = GROUPINGS.get(place).copied().unwrap_or("auto");
        Ask::parse(grouping, &self.matching)
    }
}
