//! Counts over all hosts.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Fleet, Row};
use crate::assess::Severity;

/// Hosts that a group names.
const NAMED: usize = 3;
/// Hosts among the fullest.
const FULLEST: usize = 10;

/// What hosts have in common: a name, which may be none, and the severity of a finding.
type Name = (Option<Arc<str>>, Option<Severity>);

/// The hosts that have something in common.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Group {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) severity: Option<Severity>,
    pub(crate) hosts: usize,
    pub(crate) differ: usize,
    pub(crate) critical: usize,
    pub(crate) warning: usize,
    pub(crate) worst_fill: Option<f64>,
    /// Some of them.
    pub(crate) among: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) hosts: usize,
    pub(crate) differ: usize,
    pub(crate) critical: usize,
    pub(crate) warning: usize,
    pub(crate) pending: usize,
    pub(crate) profiles: Vec<Group>,
    pub(crate) keys: Vec<Group>,
    pub(crate) findings: Vec<Group>,
    pub(crate) versions: Vec<Group>,
    pub(crate) fullest: Vec<&'a Row>,
    /// The hosts to look at, the worst first.
    pub(crate) work: Vec<&'a Row>,
}

impl<'a> Summary<'a> {
    pub(crate) fn of(fleet: &'a Fleet) -> Self {
        let hosts = &fleet.hosts;
        let count = |is: &dyn Fn(&Row) -> bool| hosts.iter().filter(|row| is(row)).count();
        let mut fullest: Vec<&Row> = hosts.iter().filter(|row| row.fill.is_some()).collect();
        let fill = |row: &Row| row.fill.unwrap_or(-1.0);
        fullest.sort_by(|a, b| fill(b).total_cmp(&fill(a)).then(a.host.cmp(&b.host)));
        fullest.truncate(FULLEST);
        let mut work: Vec<&Row> = hosts.iter().filter(|row| row.needs_work()).collect();
        work.sort_by(|a, b| {
            let critical = |row: &Row| row.found(Severity::Critical);
            critical(b)
                .cmp(&critical(a))
                .then(fill(b).total_cmp(&fill(a)))
                .then(b.drifted.len().cmp(&a.drifted.len()))
                .then(a.host.cmp(&b.host))
        });
        let named = |(id, severity): &(Arc<str>, Severity)| (Some(Arc::clone(id)), Some(*severity));
        let mut findings = groups(hosts, |row| row.findings.iter().map(named).collect());
        // The worst first, then those of most hosts.
        findings.sort_by_key(|group| Reverse(group.severity));
        let key = |key: &Arc<str>| (Some(Arc::clone(key)), None);
        Summary {
            hosts: hosts.len(),
            differ: count(&|row| row.in_line == Some(false)),
            critical: count(&|row| row.found(Severity::Critical) > 0),
            warning: count(&|row| row.found(Severity::Warning) > 0),
            pending: count(&|row| row.pending),
            profiles: groups(hosts, |row| vec![(row.profile.clone(), None)]),
            keys: groups(hosts, |row| row.drifted.iter().map(key).collect()),
            findings,
            versions: groups(hosts, |row| vec![(row.version.clone(), None)]),
            fullest,
            work,
        }
    }
}

/// The hosts by the names that each has, the largest group first.
fn groups(rows: &[Row], names: impl Fn(&Row) -> Vec<Name>) -> Vec<Group> {
    let mut groups: HashMap<Name, Group> = HashMap::new();
    for row in rows {
        // A record may have a name twice.
        let unique: HashSet<Name> = names(row).into_iter().collect();
        for name in unique {
            let group = groups.entry(name).or_default();
            group.hosts += 1;
            group.differ += usize::from(row.in_line == Some(false));
            group.critical += usize::from(row.found(Severity::Critical) > 0);
            group.warning += usize::from(row.found(Severity::Warning) > 0);
            let fills = [group.worst_fill, row.fill].into_iter().flatten();
            group.worst_fill = fills.max_by(f64::total_cmp);
            if group.among.len() < NAMED {
                group.among.push(row.host.clone());
            }
        }
    }
    let whole = |((name, severity), group)| Group {
        name,
        severity,
        ..group
    };
    let mut groups: Vec<Group> = groups.into_iter().map(whole).collect();
    groups.sort_by(|a, b| b.hosts.cmp(&a.hosts).then_with(|| a.name.cmp(&b.name)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Record;

    #[test]
    fn hosts_are_counted_by_profile_key_finding_and_version() {
        let mut fleet = Fleet::default();
        for (host, profile, drifted, finding, fill) in [
            ("a", "p", &["k"][..], Some(Severity::Critical), 0.5),
            ("b", "p", &["k", "l", "k"], Some(Severity::Warning), 0.9),
            ("c", "q", &[], None, 0.1),
        ] {
            let record = Record {
                profile: Some(profile.to_owned()),
                in_line: Some(drifted.is_empty()),
                drifted: drifted.iter().map(|key| (*key).to_owned()).collect(),
                findings: finding
                    .map(|one| ("f".to_owned(), one))
                    .into_iter()
                    .collect(),
                fill: Some(fill),
                ..Record::default()
            };
            fleet.add(host, Some(host), record);
        }
        let summary = Summary::of(&fleet);
        assert_eq!(
            (
                summary.hosts,
                summary.differ,
                summary.critical,
                summary.warning
            ),
            (3, 2, 1, 1)
        );
        let keys: Vec<(&str, usize)> = summary
            .keys
            .iter()
            .map(|group| (group.name.as_deref().unwrap(), group.hosts))
            .collect();
        assert_eq!(keys, [("k", 2), ("l", 1)]);
        let profiles: Vec<(usize, usize, Option<f64>)> = summary
            .profiles
            .iter()
            .map(|group| (group.hosts, group.differ, group.worst_fill))
            .collect();
        assert_eq!(profiles, [(2, 2, Some(0.9)), (1, 0, Some(0.1))]);
        let severities: Vec<Severity> = summary
            .findings
            .iter()
            .map(|group| group.severity.unwrap())
            .collect();
        assert_eq!(severities, [Severity::Critical, Severity::Warning]);
        let order =
            |rows: &[&Row]| -> Vec<String> { rows.iter().map(|row| row.host.clone()).collect() };
        assert_eq!(order(&summary.fullest), ["b", "a", "c"]);
        assert_eq!(order(&summary.work), ["a", "b"]);
    }
}
