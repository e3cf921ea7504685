//! What the journal keeps of a change: the record, which is written once and is enough to undo the
//! change without anything else, and its [`State`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::revert::Present;
use super::state::State;
use super::status::Status;
use crate::plan::{Plan, Step, StepResult};
use crate::service::{Found, Table};
use crate::tunable::{Key, Snapshot};

/// The version of the format: 1 kept the state in the record.
pub(super) const SCHEMA: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Apply,
    Rollback,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// RFC 3339, in UTC.
    pub(crate) time: String,
    /// The kernel's id of the boot, which live values do not outlast; empty if it was not readable.
    pub(crate) boot_id: String,
    pub(crate) host: String,
    pub(crate) kernel: String,
    /// The namespace that `--netns` named; `None` for the one that cttune was started in.
    pub(crate) netns: Option<String>,
    /// The inode of the network namespace, by which the kernel log names it; `None` where the
    /// process does not show in the /proc that is mounted.
    pub(crate) netns_inode: Option<u64>,
    /// The folder that `--root` named; `/` for the machine.
    pub(crate) root: PathBuf,
}

/// A change as it was when it started.
///
/// The names in the file are those of version 0.1.0, where `origin` was what made the change, and
/// `"occasion"` where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) schema: u32,
    /// What `cttune rollback` calls it.
    pub(crate) id: u64,
    #[serde(rename = "origin")]
    pub(crate) kind: Kind,
    pub(crate) undoes: Option<u64>,
    #[serde(rename = "occasion")]
    pub(crate) origin: Origin,
    pub(crate) profile: String,
    /// What was set beside the profile, by full name.
    pub(crate) overrides: BTreeMap<String, i64>,
    /// Entries in the table before.
    pub(crate) count: Option<i64>,
    /// Every value before, by full name, in base units.
    pub(crate) readings: BTreeMap<String, i64>,
    pub(crate) steps: Vec<Step>,
    /// Folders that did not exist before.
    pub(crate) folders: Vec<PathBuf>,
    /// Whether the operator knows that other lines override some of it at boot.
    #[serde(default)]
    pub(crate) allow_overridden: bool,
}

/// A change in the journal: its record, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) state: State,
}

impl Entry {
    pub(crate) fn new(plan: &Plan, origin: Origin, before: Option<&Snapshot>) -> Self {
        let value = |key: &Key| Some((key.name(), before?.value(*key)?));
        let record = Record {
            schema: SCHEMA,
            id: 0,
            kind: Kind::Apply,
            undoes: None,
            origin,
            profile: plan.profile.clone(),
            overrides: by_name(&plan.overrides),
            count: before.and_then(|before| before.count),
            readings: Key::ALL.iter().filter_map(value).collect(),
            steps: plan.steps.clone(),
            folders: Vec::new(),
            allow_overridden: false,
        };
        let state = State::new(record.steps.len());
        Entry { record, state }
    }

    /// The steps that may be effective: those done or tried, and the one that a kill interrupted.
    pub(super) fn perhaps_applied(&self) -> impl DoubleEndedIterator<Item = &Step> {
        let interrupted = usize::from(self.state.status().was_interrupted());
        let reached = self.state.reached().saturating_add(interrupted);
        let tried = self.record.steps.iter().zip(&self.state.results);
        let tried: Vec<&Step> = tried
            .take(reached)
            .filter(|(_, result)| **result != Some(StepResult::Skipped))
            .map(|(step, _)| step)
            .collect();
        tried.into_iter()
    }

    /// The entry in this boot: what was live alone ended with the boot that it was made in. A boot
    /// whose id is unknown is taken for the same one: the deadline is kept then.
    #[must_use]
    pub(crate) fn in_boot(mut self, boot_id: Option<&str>) -> Self {
        let made_in = &self.record.origin.boot_id;
        let is_another = boot_id.is_some_and(|id| !made_in.is_empty() && id != made_in);
        let is_live =
            self.state.deadline.is_some() && self.state.reached() <= self.record.live_steps();
        if is_another && is_live && self.state.status().is_unfinished() {
            // Both unfinished statuses have this transition.
            let _ = self.state.turn(Status::Rebooted);
        }
        self
    }

    /// Whether everything that it changed is as it left it.
    pub(crate) fn is_effective(&self, present: &Present) -> bool {
        let mut last: BTreeMap<Key, i64> = BTreeMap::new();
        let mut files: BTreeMap<&Path, Option<&[u8]>> = BTreeMap::new();
        for step in self.perhaps_applied() {
            if let Step::WriteLive { key, to, .. } = step {
                last.insert(*key, *to);
            }
            if let Some(change) = step.file() {
                files.insert(change.path, change.to);
            }
        }
        let mut tables = self.perhaps_applied().filter_map(|step| match step {
            Step::Service { to, .. } => Some(to.clone().unwrap_or_default()),
            _ => None,
        });
        let is_there =
            |table: Table| matches!(&present.table, Some(Found::Ours(now)) if now.is_same(&table));
        let mut values = last.iter();
        self.state.status().can_be_rolled_back()
            && values.all(|(key, to)| present.values.get(key) == Some(to))
            && tables.next_back().is_none_or(is_there)
            && files.iter().all(|(path, to)| present.file(path) == Ok(*to))
    }
}

pub(super) fn by_name(values: &BTreeMap<Key, i64>) -> BTreeMap<String, i64> {
    let values = values.iter();
    values.map(|(key, value)| (key.name(), *value)).collect()
}

impl Record {
    /// How many steps at the beginning are about the running kernel alone.
    pub(crate) fn live_steps(&self) -> usize {
        self.steps.iter().take_while(|step| step.is_live()).count()
    }

    /// The steps that `cttune confirm` applies.
    pub(crate) fn rest(&self) -> Plan {
        let rest = self.steps.get(self.live_steps()..).unwrap_or_default();
        Plan::of(self.profile.clone(), rest.to_vec())
    }

    /// Whether it shortened flows, or was about to.
    pub(crate) fn is_about_flows(&self) -> bool {
        self.steps.iter().any(Step::is_expire)
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::of(self.profile.clone(), self.steps.clone())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::change::status::Status;

    /// An entry made on the machine in boot `b`.
    pub(in crate::change) fn entry(steps: Vec<Step>) -> Entry {
        let origin = Origin {
            time: "2026-11-23T12:00:00Z".into(),
            boot_id: "b".into(),
            host: "h".into(),
            kernel: "6.18".into(),
            netns: None,
            netns_inode: Some(1),
            root: "/".into(),
        };
        Entry::new(&Plan::of("p", steps), origin, None)
    }

    pub(in crate::change) fn live(key: Key, from: i64, to: i64) -> Step {
        Step::WriteLive {
            key,
            from: Some(from),
            to,
            why: String::new(),
        }
    }

    /// A value of a module that the change loads.
    pub(in crate::change) fn loaded(key: Key, to: i64) -> Step {
        Step::WriteLive {
            key,
            from: None,
            to,
            why: String::new(),
        }
    }

    pub(in crate::change) fn file(path: &str, from: Option<&str>, to: Option<&str>) -> Step {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Step::WriteFile {
            path: path.into(),
            from: from.map(bytes),
            to: to.map(bytes),
            why: String::new(),
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_whatever_the_bytes() {
        let steps = vec![
            Step::LoadModule { why: "w".into() },
            loaded(Key::Max, 5),
            Step::WriteFile {
                path: "/etc/x".into(),
                from: None,
                to: Some(vec![0xff, 0, 10]),
                why: String::new(),
            },
            Step::EditLine {
                path: "/etc/y".into(),
                lines: vec![3],
                from: b"text\n".to_vec(),
                to: vec![0xe4],
                why: String::new(),
            },
        ];
        let record = entry(steps).record;
        let text = serde_json::to_string_pretty(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn the_steps_that_may_be_effective_are_those_reached_and_one_that_was_interrupted() {
        let (done, skipped, failed) = (
            Some(StepResult::Done),
            Some(StepResult::Skipped),
            Some(StepResult::Failed),
        );
        for (statuses, results, expected) in [
            (&[][..], [None, None, None], &[Key::Max][..]),
            (&[], [done, None, None], &[Key::Max, Key::Buckets]),
            (&[Status::Pending], [done, None, None], &[Key::Max]),
            (
                &[Status::Resumed],
                [done, None, None],
                &[Key::Max, Key::Buckets],
            ),
            (
                &[Status::Applied],
                [done, skipped, failed],
                &[Key::Max, Key::UdpTimeout],
            ),
        ] {
            let mut entry = entry(vec![
                live(Key::Max, 1, 2),
                live(Key::Buckets, 1, 2),
                live(Key::UdpTimeout, 1, 2),
            ]);
            entry.state.results = results.to_vec();
            for status in statuses {
                entry.state.turn(*status).unwrap();
            }
            let keys: Vec<Key> = entry
                .perhaps_applied()
                .filter_map(|step| match step {
                    Step::WriteLive { key, .. } => Some(*key),
                    _ => None,
                })
                .collect();
            assert_eq!(keys, expected, "{statuses:?} {results:?}");
        }
    }

    #[test]
    fn only_a_boot_that_is_known_to_be_another_ends_a_pending_change() {
        for (made_in, now, confirmed, expected) in [
            ("b", Some("b"), false, Status::Pending),
            ("b", Some("c"), false, Status::Rebooted),
            ("b", None, false, Status::Pending),
            ("", Some("c"), false, Status::Pending),
            ("b", Some("c"), true, Status::Started),
        ] {
            let steps = vec![live(Key::Max, 1, 2), file("/x", None, Some("y"))];
            let mut entry = entry(steps);
            made_in.clone_into(&mut entry.record.origin.boot_id);
            entry.state.deadline = Some(super::super::state::Deadline {
                boottime: 1,
                within: 1,
            });
            entry.state.results[0] = Some(StepResult::Done);
            entry.state.turn(Status::Pending).unwrap();
            if confirmed {
                entry.state.turn(Status::Started).unwrap();
                entry.state.results[1] = Some(StepResult::Done);
            }
            let status = entry.in_boot(now).state.status();
            assert_eq!(status, expected, "{made_in} {now:?} {confirmed}");
        }
    }
}
