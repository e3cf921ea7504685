//! What is written down of a change before it is made, enough to undo it without anything else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Plan, Present, Step, StepResult};
use crate::tunable::{Key, Snapshot};

/// How a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Its steps are being carried out, or were when cttune was killed.
    Begun,
    /// It holds now and waits for `cttune confirm`; its files are not written yet.
    Pending,
    /// Every step was carried out.
    Complete,
    /// It was carried out but for what [`Record::left`] says.
    Partly,
    /// It failed, or was stopped, and everything was put back.
    Undone,
    /// It failed, and what [`Record::left`] says could not be put back.
    Left,
    /// It was undone later.
    RolledBack,
    /// It was never confirmed, and a reboot brought the old values back.
    Rebooted,
    /// It was not confirmed in time, and was undone.
    Expired,
    /// cttune was killed in the middle of it, and a later change went on from there.
    Resumed,
}

impl Standing {
    /// The word for people and machines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Standing::Begun => "begun",
            Standing::Pending => "pending",
            Standing::Complete => "complete",
            Standing::Partly => "partly",
            Standing::Undone => "undone",
            Standing::Left => "left",
            Standing::RolledBack => "rolled-back",
            Standing::Rebooted => "rebooted",
            Standing::Expired => "expired",
            Standing::Resumed => "resumed",
        }
    }

    /// The word, padded with blanks to the length of the longest.
    fn padded(self) -> String {
        format!("{:<11}", self.name())
    }

    /// How a record stands whose first bytes, [`Record::head`], are these.
    pub(crate) fn from_head(head: &[u8]) -> Option<Self> {
        let word = std::str::from_utf8(head)
            .ok()?
            .split('"')
            .nth(3)?
            .trim_end();
        let word = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word);
        Standing::deserialize(word).ok()
    }

    /// Whether something is to come: its steps, or somebody's word.
    pub(crate) fn is_unfinished(self) -> bool {
        matches!(self, Standing::Begun | Standing::Pending)
    }

    /// Whether some of its steps may be in force.
    pub(crate) fn can_be_rolled_back(self) -> bool {
        !matches!(
            self,
            Standing::Undone | Standing::RolledBack | Standing::Rebooted | Standing::Expired
        )
    }
}

/// What made the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// `cttune apply`.
    Apply,
    /// `cttune rollback`.
    Rollback,
}

/// Where and when a change was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occasion {
    /// RFC 3339, in UTC.
    pub(crate) time: String,
    /// The kernel's id of the boot: live values last no longer.
    pub(crate) boot_id: String,
    /// The machine's name.
    pub(crate) host: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The namespace that `--netns` named; `None` for the one that cttune was started in.
    pub(crate) netns: Option<String>,
    /// The inode of the network namespace, by which the kernel log names it; `None` where the
    /// process does not show in the /proc that is mounted.
    pub(crate) netns_inode: Option<u64>,
    /// The folder that `--root` named; `/` for the machine.
    pub(crate) root: PathBuf,
}

/// When a pending change is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deadline {
    /// Seconds of `CLOCK_BOOTTIME`, which neither stops in suspend nor is set by hand.
    pub(crate) boottime: u64,
    /// How long the operator has, in seconds.
    pub(crate) within: u64,
}

/// A change, as the journal keeps it.
///
/// The two fields that are brought up to date while the change is made come first and keep their
/// length, so that progress is one small write in place: it needs no space on a full disk, and the
/// file is valid at every moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// How it stands, padded with blanks to a fixed length.
    #[serde(with = "padded")]
    pub(crate) standing: Standing,
    /// One letter a step: `.` not reached, `d` done, `s` skipped, `f` failed.
    pub(crate) progress: String,
    /// The version of this format.
    pub(crate) schema: u32,
    /// What `cttune rollback` calls it.
    pub(crate) id: u64,
    /// What made it.
    pub(crate) origin: Origin,
    /// The change that it undid.
    pub(crate) undoes: Option<u64>,
    /// Where and when.
    pub(crate) occasion: Occasion,
    /// The profile.
    pub(crate) profile: String,
    /// What was set beside the profile, by full name.
    pub(crate) overrides: BTreeMap<String, i64>,
    /// Entries in the table before.
    pub(crate) count: Option<i64>,
    /// Every value before, by full name, in base units.
    pub(crate) readings: BTreeMap<String, i64>,
    /// Until when it waits to be confirmed.
    pub(crate) deadline: Option<Deadline>,
    /// The steps, each with before and after.
    pub(crate) steps: Vec<Step>,
    /// Folders that did not exist before.
    pub(crate) folders: Vec<PathBuf>,
    /// What could not be done, or put back.
    pub(crate) left: Vec<String>,
}

impl Record {
    /// A record of a plan that is about to be carried out.
    pub(crate) fn new(plan: &Plan, occasion: Occasion, before: Option<&Snapshot>) -> Self {
        let value = |key: &Key| Some((key.name(), before?.value(*key)?));
        Record {
            standing: Standing::Begun,
            progress: ".".repeat(plan.steps.len()),
            schema: 1,
            id: 0,
            origin: Origin::Apply,
            undoes: None,
            occasion,
            profile: plan.profile.clone(),
            overrides: plan
                .overrides
                .iter()
                .map(|(key, value)| (key.name(), *value))
                .collect(),
            count: before.and_then(|before| before.count),
            readings: Key::ALL.iter().filter_map(value).collect(),
            deadline: None,
            steps: plan.steps.clone(),
            folders: Vec::new(),
            left: Vec::new(),
        }
    }

    /// The first bytes of the record's pretty JSON: the two fields that are brought up to date in
    /// place.
    pub(crate) fn head(&self) -> String {
        format!(
            "{{\n  \"standing\": \"{}\",\n  \"progress\": \"{}\"",
            self.standing.padded(),
            self.progress
        )
    }

    /// The letter of a step's result.
    pub(crate) fn letter(result: StepResult) -> char {
        match result {
            StepResult::Done => 'd',
            StepResult::Skipped => 's',
            StepResult::Failed => 'f',
        }
    }

    /// Steps that were reached.
    pub(crate) fn reached(&self) -> usize {
        self.progress
            .chars()
            .take_while(|letter| *letter != '.')
            .count()
    }

    /// The steps that may be in force: those done or tried, and the one that was under way when
    /// cttune was killed.
    pub(super) fn perhaps_in_force(&self) -> impl DoubleEndedIterator<Item = &Step> {
        let under_way = usize::from(matches!(self.standing, Standing::Begun | Standing::Resumed));
        let reached = (self.reached() + under_way).min(self.steps.len());
        let tried = self.steps.iter().zip(self.progress.chars()).take(reached);
        let tried: Vec<&Step> = tried
            .filter(|(_, letter)| *letter != 's')
            .map(|(step, _)| step)
            .collect();
        tried.into_iter()
    }

    /// The record as it stands in this boot: what was about the running kernel alone ended with
    /// the boot that it was made in.
    #[must_use]
    pub(crate) fn in_boot(self, boot_id: &str) -> Self {
        let is_live = self.deadline.is_some() && self.reached() <= self.live_steps();
        let standing = match self.standing {
            Standing::Pending | Standing::Begun if is_live && self.occasion.boot_id != boot_id => {
                Standing::Rebooted
            }
            standing => standing,
        };
        Record { standing, ..self }
    }

    /// How many steps at the beginning are about the running kernel alone.
    pub(crate) fn live_steps(&self) -> usize {
        self.steps
            .iter()
            .take_while(|step| step.file().is_none() && !matches!(step, Step::Expire { .. }))
            .count()
    }

    /// Whether it brought flows down, or was about to.
    pub(crate) fn is_about_flows(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Expire { .. }))
    }

    /// The plan that it is a record of.
    pub(crate) fn plan(&self) -> Plan {
        Plan::of(self.profile.clone(), self.steps.clone())
    }

    /// Whether everything that it changed holds now.
    pub(crate) fn holds(&self, present: &Present) -> bool {
        let mut last: BTreeMap<Key, i64> = BTreeMap::new();
        let mut files: BTreeMap<&std::path::Path, Option<&[u8]>> = BTreeMap::new();
        for step in self.perhaps_in_force() {
            if let Step::WriteLive { key, to, .. } = step {
                last.insert(*key, *to);
            }
            if let Some(change) = step.file() {
                files.insert(change.path, change.to);
            }
        }
        self.standing.can_be_rolled_back()
            && last
                .iter()
                .all(|(key, to)| present.values.get(key) == Some(to))
            && files
                .iter()
                .all(|(path, to)| present.files.get(*path).map(Vec::as_slice) == *to)
    }
}

/// The standing as a word of fixed length.
mod padded {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Standing;

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's `with` passes the field by reference
    pub(super) fn serialize<S: Serializer>(
        standing: &Standing,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&standing.padded())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Standing, D::Error> {
        let word = String::deserialize(deserializer)?;
        Standing::deserialize(serde::de::value::StrDeserializer::new(word.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(steps: Vec<Step>) -> Record {
        let plan = Plan::of("p", steps);
        let occasion = Occasion {
            time: "2026-11-23T12:00:00Z".into(),
            boot_id: "b".into(),
            host: "h".into(),
            kernel: "6.18".into(),
            netns: None,
            netns_inode: Some(1),
            root: "/".into(),
        };
        Record::new(&plan, occasion, None)
    }

    #[test]
    fn it_reads_back_as_it_was_written_whatever_the_bytes() {
        let steps = vec![
            Step::LoadModule { why: "w".into() },
            Step::WriteLive {
                key: Key::Max,
                from: None,
                to: 5,
                why: String::new(),
            },
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
        let record = record(steps);
        let text = serde_json::to_string_pretty(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn every_standing_takes_the_same_room() {
        let mut record = record(Vec::new());
        let standings = [
            Standing::Begun,
            Standing::Pending,
            Standing::Complete,
            Standing::Partly,
            Standing::Undone,
            Standing::Left,
            Standing::RolledBack,
            Standing::Rebooted,
            Standing::Expired,
            Standing::Resumed,
        ];
        let lengths = standings.map(|standing| {
            record.standing = standing;
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(
                serde_json::from_str::<Record>(&text).unwrap().standing,
                standing
            );
            let pretty = serde_json::to_string_pretty(&record).unwrap();
            assert!(pretty.starts_with(&record.head()), "{pretty}");
            let head = pretty.as_bytes().get(..64).unwrap();
            assert_eq!(Standing::from_head(head), Some(standing));
            text.len()
        });
        assert!(
            lengths.iter().all(|length| *length == lengths[0]),
            "{lengths:?}"
        );
    }
}
