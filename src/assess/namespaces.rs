//! Every network namespace of the machine: each may hold max entries on its own.

use super::{Finding, Id, Levels};
use crate::diagnostic::{Hint, quoted};
use crate::tunable::{format_count, format_share};

/// Namespaces that one finding names.
const NAMED: usize = 5;

/// The table of one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// By which the kernel log names it.
    pub(crate) inode: u64,
    /// The name that `ip netns` knows.
    pub(crate) name: Option<String>,
    /// Processes that are in it, ascending.
    pub(crate) pids: Vec<u32>,
    /// Whether it is the one that everything else in the check is about.
    pub(crate) is_own: bool,
    /// Its entries.
    pub(crate) count: i64,
    /// How many it may hold; 0 for no limit.
    pub(crate) max: i64,
    /// Packets dropped since it was made; `None` where that could not be read.
    pub(crate) drop: Option<u64>,
}

impl Namespace {
    /// Share of max that is in use; none where there is no limit.
    pub(crate) fn fill(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // both are below 2^31
        (self.max > 0).then(|| self.count as f64 / self.max as f64)
    }

    /// What to call it, as `--netns` takes it.
    pub(crate) fn spoken(&self) -> String {
        let process = || self.pids.first().map(|pid| format!("pid:{pid}"));
        let named = self.name.clone().or_else(process);
        named.unwrap_or_else(|| format!("inode {}", self.inode))
    }
}

/// Those that are near full, but for our own, which has a finding of its own.
pub(super) fn finding(namespaces: &[Namespace], levels: Levels) -> Option<Finding> {
    let mut near: Vec<(f64, &Namespace)> = namespaces
        .iter()
        .filter(|one| !one.is_own)
        .filter_map(|one| Some((one.fill()?, one)))
        .filter(|(fill, _)| levels.severity(*fill).is_some())
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let (fullest, first) = near.first()?;
    let said = near.iter().take(NAMED).map(|(fill, one)| {
        format!(
            "{} holds {} of {} entries ({})",
            one.spoken(),
            format_count(one.count),
            format_count(one.max),
            format_share(*fill)
        )
    });
    let said: Vec<String> = said.collect();
    let more = if near.len() > NAMED { "; …" } else { "" };
    Some(Finding::new(
        Id::NetnsNearFull,
        levels.severity(*fullest)?,
        format!(
            "{} of {} network namespaces {} nearly full: {}{more}",
            near.len(),
            namespaces.len(),
            if near.len() == 1 { "is" } else { "are" },
            said.join("; ")
        ),
        Hint::cttune(format!("top --netns {}", quoted(&first.spoken()))).to("see who fills it"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::Severity;

    fn namespace(name: Option<&str>, count: i64, is_own: bool) -> Namespace {
        Namespace {
            inode: 1,
            name: name.map(str::to_owned),
            pids: vec![7, 8],
            is_own,
            count,
            max: 1000,
            drop: Some(0),
        }
    }

    #[test]
    fn the_fullest_decides_and_our_own_is_left_to_table_fill() {
        let blue = namespace(Some("blue"), 800, false);
        let nameless = namespace(None, 900, false);
        let levels = Levels::default();
        let near = |all: &[Namespace]| finding(all, levels).map(|one| (one.severity, one.hint));
        for (all, found) in [
            (vec![namespace(Some("blue"), 799, false)], None),
            (vec![namespace(Some("blue"), 1000, true)], None),
            (vec![blue.clone()], Some((Severity::Warning, "blue"))),
            (vec![blue, nameless], Some((Severity::Critical, "pid:7"))),
        ] {
            let hint = |name| Hint::cttune(format!("top --netns {name}")).to("see who fills it");
            let found = found.map(|(severity, name)| (severity, hint(name)));
            assert_eq!(near(&all), found, "{all:?}");
        }
        let unlimited = Namespace {
            max: 0,
            ..namespace(None, 1000, false)
        };
        assert_eq!(finding(&[unlimited], levels), None);
    }

    #[test]
    fn levels_that_were_asked_for_hold_in_every_namespace() {
        let levels = Levels {
            warning: 0.5,
            critical: 0.6,
        };
        for (count, severity) in [
            (499, None),
            (500, Some(Severity::Warning)),
            (600, Some(Severity::Critical)),
        ] {
            let found = finding(&[namespace(Some("blue"), count, false)], levels);
            assert_eq!(found.map(|one| one.severity), severity, "{count}");
        }
    }
}
