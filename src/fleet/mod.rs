//! Many hosts' `cttune check --format json` in one: who differs, where, and how badly.
//!
//! In: what a fleet tool collected, as text ([`record`], [`Frames`]). Out: a [`Fleet`]: a row for
//! each host, and what was not read; a [`Summary`] counts it.
//! Rule: pure; everything here was written by other hosts. Text that is no record is named and left
//! out, and what is kept of a host is a row, however long its record was.

mod ansible;
mod frames;
mod record;
mod summary;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::assess::Severity;

pub(crate) use frames::{Frame, Frames, MOST};
pub(crate) use record::{Record, parse};
pub(crate) use summary::{Group, Summary};

/// What is kept of a host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) host: String,
    pub(crate) profile: Option<Arc<str>>,
    /// Nothing where the host has no profile.
    pub(crate) in_line: Option<bool>,
    /// Keys that differ from the profile, live or at the next boot.
    pub(crate) drifted: Vec<Arc<str>>,
    /// Findings that are not accepted, by severity.
    pub(crate) findings: Vec<(Arc<str>, Severity)>,
    pub(crate) fill: Option<f64>,
    pub(crate) count: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) version: Option<Arc<str>>,
    /// Whether a change waits to be confirmed.
    pub(crate) pending: bool,
}

impl Row {
    pub(crate) fn found(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings.filter(|(_, one)| *one == severity).count()
    }

    /// Whether somebody has to look at it.
    pub(crate) fn needs_work(&self) -> bool {
        self.in_line == Some(false) || self.found(Severity::Critical) > 0
    }
}

/// What was collected and is no check of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) source: String,
    pub(crate) why: String,
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) hosts: Vec<Row>,
    pub(crate) unread: Vec<Unread>,
    index: HashMap<String, usize>,
    names: BTreeSet<Arc<str>>,
}

impl Fleet {
    /// Adds a record. The host has the name that the fleet tool gave it, else its own; of two records
    /// with one name the later counts, and the earlier is named.
    pub(crate) fn add(&mut self, source: &str, named: Option<&str>, record: Record) {
        let host = named.map(str::to_owned).or_else(|| record.host.clone());
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return self.skip(source, "it names no host");
        };
        let row = self.row(host, record);
        if let Some(at) = self.index.get(&row.host).copied() {
            let why = format!("another record of {} came later", row.host);
            self.skip(source, why);
            if let Some(old) = self.hosts.get_mut(at) {
                *old = row;
            }
            return;
        }
        self.index.insert(row.host.clone(), self.hosts.len());
        self.hosts.push(row);
    }

    pub(crate) fn skip(&mut self, source: &str, why: impl Into<String>) {
        self.unread.push(Unread {
            source: source.to_owned(),
            why: why.into(),
        });
    }

    fn row(&mut self, host: String, record: Record) -> Row {
        let drifted = record.drifted.into_iter();
        let drifted = drifted.map(|key| self.name(key)).collect();
        let findings = record.findings.into_iter();
        let findings = findings.map(|(id, severity)| (self.name(id), severity));
        let findings = findings.collect();
        Row {
            host,
            profile: record.profile.map(|name| self.name(name)),
            in_line: record.in_line,
            drifted,
            findings,
            fill: record.fill.filter(|fill| fill.is_finite()),
            count: record.count,
            max: record.max,
            version: record.version.map(|name| self.name(name)),
            pending: record.pending,
        }
    }

    /// One copy of a name that many hosts have.
    fn name(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.names.get(name.as_str()) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_records_of_a_host_the_later_counts_and_both_are_known() {
        let mut fleet = Fleet::default();
        let record = |version: &str| Record {
            host: Some("fw1".to_owned()),
            version: Some(version.to_owned()),
            ..Record::default()
        };
        fleet.add("a.json", None, record("0.1.0"));
        fleet.add("b.json", None, record("0.2.0"));
        fleet.add("c.json", Some("fw2"), record("0.2.0"));
        fleet.add("d.json", None, Record::default());
        let hosts: Vec<(&str, Option<&str>)> = fleet
            .hosts
            .iter()
            .map(|row| (row.host.as_str(), row.version.as_deref()))
            .collect();
        assert_eq!(hosts, [("fw1", Some("0.2.0")), ("fw2", Some("0.2.0"))]);
        let unread: Vec<&str> = fleet.unread.iter().map(|one| one.why.as_str()).collect();
        assert_eq!(
            unread,
            ["another record of fw1 came later", "it names no host"]
        );
    }
}
