//! What `cttune top` is asked: which flows to count, by which fields, how much of the table to read.
//!
//! In: the options as typed. Out: a [`Query`], which knows what the kernel may leave out and which
//! fields a selection fixes, so that they tell nothing of its flows.

use std::time::Duration;

use super::{By, Extent, Field, Filter, Prefixes, Quantity, Selection, Services, Terms, Test};

/// What is asked of the table.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) by: By,
    pub(crate) prefixes: Option<Prefixes>,
    pub(crate) selection: Selection,
    /// How much to read; none leaves it to the size of the table.
    pub(crate) extent: Option<Extent>,
    /// For who groups by them.
    pub(crate) services: Services,
}

impl Query {
    /// Whether `--match` or `--keep` leave flows out.
    pub(crate) fn is_selection(&self) -> bool {
        !self.selection.matching.is_empty() || !self.selection.keep.is_empty()
    }

    /// How much of a table with so many entries to read. What `--match` selects is read in full:
    /// the kernel leaves out much of the rest, and few flows may be left.
    pub(crate) fn extent(&self, entries: u64) -> Extent {
        let usual = if self.selection.matching.is_empty() {
            Extent::for_table(entries)
        } else {
            Extent::Exact
        };
        self.extent.unwrap_or(usual)
    }

    /// What the kernel may leave out: of a sample nothing, since how much was looked at counts.
    pub(crate) fn filter(&self, extent: Extent) -> Filter {
        match extent {
            Extent::Exact => Filter::of(&self.selection),
            Extent::Sample(_) | Extent::Budget(_) => Filter::default(),
        }
    }

    /// The fields that `--match` fixes to one value.
    pub(super) fn given(&self) -> Vec<Field> {
        match self.selection.matching.as_slice() {
            [Terms(terms)] => {
                let fixing = terms.iter().filter(|term| !term.negated);
                fixing.filter_map(|term| fixed(&term.test)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The field that a test fixes to one value, if it does.
fn fixed(test: &Test) -> Option<Field> {
    match test {
        Test::Src(net) if net.prefix_len() == net.max_prefix_len() => Some(Field::Src),
        Test::Dst(net) if net.prefix_len() == net.max_prefix_len() => Some(Field::Dst),
        Test::Proto(_) => Some(Field::Proto),
        Test::State(_) => Some(Field::State),
        Test::Number(quantity, numbers) if numbers.only().is_some() => match quantity {
            Quantity::SourcePort => Some(Field::Sport),
            Quantity::DestinationPort => Some(Field::Dport),
            Quantity::Zone => Some(Field::Zone),
            _ => None,
        },
        Test::Mark(mark) if mark.mask == u32::MAX => Some(Field::Mark),
        _ => None,
    }
}

/// Reads `200ms`, `2s`; none where it is no time or no time at all.
pub(crate) fn parse_budget(text: &str) -> Option<Extent> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit)?.parse().ok()?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return None,
    };
    (!time.is_zero()).then_some(Extent::Budget(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(matching: &[&str]) -> Query {
        let matching = matching.iter().map(|text| Terms::parse(text).unwrap());
        Query {
            by: By::Auto,
            prefixes: None,
            selection: Selection {
                matching: matching.collect(),
                keep: Vec::new(),
            },
            extent: None,
            services: Services::default(),
        }
    }

    #[test]
    fn a_match_fixes_the_fields_that_it_gives_one_value() {
        for (matching, given) in [
            (&[][..], &[][..]),
            (&["dst=10.0.0.1,dport=80"], &[Field::Dst, Field::Dport]),
            (
                &["src=2001:db8::1,state=time_wait"],
                &[Field::Src, Field::State],
            ),
            (&["dst=10.0.0.0/8,dport=80-81,mark=1/3"], &[]),
            (&["proto!=tcp,zone=4,mark=7"], &[Field::Zone, Field::Mark]),
            (&["dport=80", "dport=443"], &[]),
        ] {
            assert_eq!(query(matching).given(), given, "{matching:?}");
        }
    }

    #[test]
    fn a_selection_is_read_in_full_and_a_large_table_sampled() {
        for (matching, entries, extent) in [
            (&[][..], 1000, Extent::Exact),
            (&[], 1_000_000, Extent::Sample(50_000)),
            (&["proto=tcp"], 1_000_000, Extent::Exact),
        ] {
            assert_eq!(query(matching).extent(entries), extent, "{matching:?}");
        }
    }

    #[test]
    fn a_budget_is_a_number_of_seconds_or_milliseconds() {
        let time = |millis| Some(Extent::Budget(Duration::from_millis(millis)));
        for (text, budget) in [
            ("200ms", time(200)),
            ("2s", time(2000)),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("1.5s", None),
        ] {
            assert_eq!(parse_budget(text), budget, "{text}");
        }
    }
}
