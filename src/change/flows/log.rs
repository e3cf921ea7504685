//! What cttune itself did to flows, in the state directory.
//!
//! In: what is about to be done, then that it is done. Out: the updates of this boot and network
//! namespace, for the history of idle time; all of them, for people. Rule: written before the first
//! flow is touched. Times are those of `CLOCK_MONOTONIC`, which nobody can set.

use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::diagnostic::said;
use crate::files::state::{self, StateError};
use crate::files::{FileError, Root};
use crate::flow::expire::OwnUpdate;
use crate::kernel::host;

/// The file in the state directory.
const FILE: &str = "/flows.json";

/// Entries that are kept.
const MOST: usize = 200;

/// The mode of what was done before the file was damaged.
const UNKNOWN: &str = "unknown";

/// The log cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}/flows.json: {why}", .folder.display())]
pub(crate) struct LogError {
    doing: &'static str,
    folder: PathBuf,
    why: String,
    is_damage: bool,
}

/// The log of a state directory.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    folder: PathBuf,
}

/// One act on flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Act {
    /// `clamp`, `re-age`, `delete` or `kill`; `unknown` for what a damaged file said.
    pub(crate) mode: String,
    /// When, for people: RFC 3339, in UTC.
    pub(crate) time: String,
    /// Seconds of `CLOCK_MONOTONIC`.
    pub(crate) began: u64,
    /// The same; none where it was interrupted.
    pub(crate) ended: Option<u64>,
    pub(crate) boot_id: String,
    pub(crate) netns_inode: Option<u64>,
    /// The selections of `--match`.
    #[serde(rename = "match")]
    pub(crate) matching: Vec<String>,
    /// The highest value that an established flow was given, in seconds; none where none was.
    pub(crate) highest: Option<u32>,
    /// Flows that were changed.
    pub(crate) flows: u64,
}

impl Act {
    /// An act that begins now, in the calling thread's network namespace.
    pub(crate) fn new(mode: &str, matching: Vec<String>, highest: Option<u32>) -> Self {
        Act {
            mode: mode.to_owned(),
            time: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
            began: monotonic_seconds(),
            ended: None,
            boot_id: host::read_boot_id().unwrap_or_default(),
            netns_inode: host::read_netns_inode(),
            matching,
            highest,
            flows: 0,
        }
    }

    /// Nobody knows what was done until now.
    fn unknown() -> Self {
        Act {
            ended: Some(monotonic_seconds()),
            ..Act::new(UNKNOWN, Vec::new(), Some(u32::MAX))
        }
    }
}

impl Log {
    /// The log of a root. Nothing is made or read yet.
    pub(crate) fn of(root: &Root) -> Self {
        Log {
            folder: state::directory(root),
        }
    }

    /// Writes an act down before anything of it is done.
    pub(crate) fn begin(&self, act: &Act) -> Result<(), LogError> {
        let mut acts = self.rewritable()?;
        acts.push(act.clone());
        self.write(&acts)
    }

    /// Writes down that the act is done, and to how many flows.
    pub(crate) fn end(&self, act: &Act, flows: u64) -> Result<(), LogError> {
        let mut acts = self.rewritable()?;
        if let Some(last) = acts.iter_mut().rfind(|one| *one == act) {
            last.ended = Some(monotonic_seconds());
            last.flows = flows;
        }
        self.write(&acts)
    }

    /// Every act, oldest first.
    pub(crate) fn read(&self) -> Result<Vec<Act>, LogError> {
        let folder = state::open(&Root::machine(), &self.folder);
        let Some(folder) = folder.map_err(|error| self.failed("read", &error))? else {
            return Ok(Vec::new());
        };
        let bytes = folder.read(Path::new(FILE)).map_err(FileError::from);
        let bytes = bytes.map_err(|error| self.refused("read", error.to_string()))?;
        let Some(bytes) = bytes else {
            return Ok(Vec::new());
        };
        serde_json::from_slice(&bytes).map_err(|error| LogError {
            is_damage: true,
            ..self.refused("read", format!("it is damaged: {error}"))
        })
    }

    /// What was set in this boot and network namespace, as of `now` of the wall clock. Where that
    /// cannot be read, any time may have been set until now.
    pub(crate) fn updates(&self, now: i64) -> Vec<OwnUpdate> {
        let boot_id = host::read_boot_id().unwrap_or_default();
        let (netns, clock) = (host::read_netns_inode(), monotonic_seconds());
        let acts = self.read().unwrap_or_else(|_| vec![Act::unknown()]);
        let here = acts.into_iter().filter(|act| {
            act.boot_id == boot_id && (act.netns_inode == netns || act.mode == UNKNOWN)
        });
        here.filter_map(|act| update(&act, clock, now)).collect()
    }

    /// Every act, to be written again. What a damaged file said is not known from then on.
    fn rewritable(&self) -> Result<Vec<Act>, LogError> {
        match self.read() {
            Err(error) if error.is_damage => Ok(vec![Act::unknown()]),
            read => read,
        }
    }

    fn write(&self, acts: &[Act]) -> Result<(), LogError> {
        let folder = state::create(&Root::machine(), &self.folder)
            .map_err(|error| self.failed("write", &error))?;
        let kept = acts
            .get(acts.len().saturating_sub(MOST)..)
            .unwrap_or_default();
        let text = serde_json::to_vec_pretty(kept);
        let text = text.map_err(|error| self.refused("write", error.to_string()))?;
        folder
            .replace(Path::new(FILE), &text)
            .map_err(|error| self.refused("write", error.to_string()))
    }

    fn failed(&self, doing: &'static str, error: &StateError) -> LogError {
        let why = match error {
            StateError::Io(error) => said(error),
            error @ StateError::Untrusted(_) => error.to_string(),
        };
        self.refused(doing, why)
    }

    fn refused(&self, doing: &'static str, why: String) -> LogError {
        LogError {
            doing,
            folder: self.folder.clone(),
            why,
            is_damage: false,
        }
    }
}

/// The update of an act, in seconds of the wall clock as it is now.
fn update(act: &Act, clock: u64, now: i64) -> Option<OwnUpdate> {
    // One that was interrupted may have been under way until a moment ago.
    let ago = clock.saturating_sub(act.ended.unwrap_or(clock));
    Some(OwnUpdate {
        until: now.saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)),
        highest: act.highest?.into(),
    })
}

fn monotonic_seconds() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |time| u64::try_from(time.tv_sec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_read_back_and_told_by_a_clock_that_nobody_can_set() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::of(&Root::at(root.path()).unwrap());
        assert_eq!(log.read().unwrap(), []);
        let act = Act::new("clamp", vec!["dport=80".to_owned()], Some(7440));
        log.begin(&act).unwrap();
        assert_eq!(log.read().unwrap(), std::slice::from_ref(&act));
        // The wall clock says whatever it likes.
        for now in [0, 1_000_000_000] {
            assert_eq!(
                log.updates(now),
                [OwnUpdate {
                    until: now,
                    highest: 7440
                }]
            );
        }
        log.end(&act, 12).unwrap();
        let read = log.read().unwrap();
        assert_eq!((read[0].flows, read[0].ended.is_some()), (12, true));
        for _ in 0..=MOST {
            log.begin(&Act::new("kill", Vec::new(), None)).unwrap();
        }
        assert_eq!(log.read().unwrap().len(), MOST);
        assert_eq!(log.updates(0), []);
    }

    #[test]
    fn after_damage_any_time_may_have_been_set() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::of(&Root::at(root.path()).unwrap());
        log.begin(&Act::new("clamp", Vec::new(), Some(600)))
            .unwrap();
        let file = log.folder.join("flows.json");
        for damage in ["", "[{", "{}", "[{\"mode\": 7}]"] {
            std::fs::write(&file, damage).unwrap();
            assert!(log.read().unwrap_err().to_string().contains("damaged"));
            let is_unknown = || match log.updates(1000).as_slice() {
                [one] => (990..=1000).contains(&one.until) && one.highest == i64::from(u32::MAX),
                _ => false,
            };
            assert!(is_unknown(), "{damage}");
            // The next act is written, and what was lost stays unknown.
            let act = Act::new("kill", Vec::new(), None);
            log.begin(&act).unwrap();
            log.end(&act, 7).unwrap();
            let modes: Vec<String> = log.read().unwrap().into_iter().map(|a| a.mode).collect();
            assert_eq!(modes, ["unknown", "kill"], "{damage}");
            assert!(is_unknown(), "{damage}");
        }
    }

    #[test]
    fn an_update_was_over_when_it_ended_or_just_now() {
        let mut act = Act::new("re-age", Vec::new(), Some(600));
        for (ended, until) in [(Some(90), 990), (Some(100), 1000), (None, 1000)] {
            act.ended = ended;
            let update = update(&act, 100, 1000).unwrap();
            assert_eq!((update.until, update.highest), (until, 600));
        }
    }
}
