//! The way back from a recorded change: what to put back, and what somebody else changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::{ENTRIES_PER_BUCKET, Plan, Record, Step, lowest_safe_max};
use crate::tunable::Key;

/// What holds now, as far as a way back needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Present {
    /// Values, where they could be read.
    pub(crate) values: BTreeMap<Key, i64>,
    /// Keys that exist and could not be read.
    pub(crate) unread: BTreeSet<Key>,
    /// Bytes of files that exist.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Entries in the table.
    pub(crate) count: Option<i64>,
}

impl Present {
    /// What will hold once a way back was gone.
    #[must_use]
    pub(crate) fn after(mut self, back: &Plan) -> Present {
        for step in &back.steps {
            if let Step::WriteLive { key, to, .. } = step {
                self.values.insert(*key, *to);
            }
            match step
                .file()
                .map(|change| (change.path.to_owned(), change.to))
            {
                Some((path, Some(bytes))) => drop(self.files.insert(path, bytes.to_vec())),
                Some((path, None)) => drop(self.files.remove(&path)),
                None => {}
            }
        }
        self
    }
}

/// Something that is neither as it was before the change nor as the change left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// A sysctl.
    Value {
        /// Which.
        key: Key,
        /// Before the change.
        before: i64,
        /// After it.
        after: i64,
        /// Now.
        now: i64,
    },
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conflict::Value {
                key,
                before,
                after,
                now,
            } => write!(
                f,
                "{key} was {before}, the change made it {after}, and now it is {now}: somebody \
                 else changed it since"
            ),
            Conflict::File(path) => {
                write!(f, "{} was changed by somebody else since", path.display())
            }
        }
    }
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// The steps that put everything back that can be, last change first.
    pub(crate) plan: Plan,
    /// What somebody else changed since; the plan overwrites it all the same.
    pub(crate) conflicts: Vec<Conflict>,
    /// What is not put back, because it would cut flows off.
    pub(crate) kept: Vec<String>,
}

/// What a change did to one thing: before, after, and on the way.
struct Net<T> {
    before: T,
    held: Vec<T>,
}

/// Works out the way back from a record and what holds now. Each thing is put back once, whatever
/// number of steps changed it; what is as it was already is left alone.
pub(crate) fn way_back(record: &Record, present: &Present) -> WayBack {
    let mut values: BTreeMap<Key, Net<Option<i64>>> = BTreeMap::new();
    let mut files: BTreeMap<&Path, Net<Option<&[u8]>>> = BTreeMap::new();
    for step in record.perhaps_in_force() {
        if let Step::WriteLive { key, from, to, .. } = step {
            let net = values.entry(*key).or_insert(Net {
                before: *from,
                held: Vec::new(),
            });
            net.held.push(Some(*to));
        }
        if let Some(change) = step.file() {
            let net = files.entry(change.path).or_insert(Net {
                before: change.from,
                held: Vec::new(),
            });
            net.held.push(change.to);
        }
    }
    let mut back = WayBack {
        plan: Plan::of(record.profile.clone(), Vec::new()),
        conflicts: Vec::new(),
        kept: Vec::new(),
    };
    let max_stays = values.get(&Key::Max).and_then(|net| {
        let now = present.values.get(&Key::Max).copied()?;
        cuts_flows_off(Key::Max, net.before?, now, present.count).map(|_| now)
    });
    let (mut seen_keys, mut seen_files) = (BTreeSet::new(), BTreeSet::new());
    for step in record.perhaps_in_force().rev() {
        match step {
            // Without a count conntrack is not there: loading it is what failed.
            Step::LoadModule { .. } if present.count.is_none() => {}
            Step::LoadModule { .. } => back.plan.steps.push(Step::UnloadModule {
                why: "the change had loaded it".to_owned(),
            }),
            Step::WriteLive { key, .. } if seen_keys.insert(*key) => {
                if let Some(net) = values.get(key) {
                    back.value(*key, net, present, max_stays);
                }
            }
            Step::WriteFile { path, .. } | Step::EditLine { path, .. } => {
                if let (true, Some(net)) = (seen_files.insert(path), files.get(path.as_path())) {
                    back.file(path, net, present);
                }
            }
            // A rollback that is itself undone leaves the module unloaded: nothing needs it.
            // Flows have what their next packet would have given them, and no memory of before.
            Step::WriteLive { .. } | Step::UnloadModule { .. } | Step::Expire { .. } => {}
        }
    }
    back
}

impl WayBack {
    fn value(
        &mut self,
        key: Key,
        net: &Net<Option<i64>>,
        present: &Present,
        max_stays: Option<i64>,
    ) {
        let why = "as it was before the change".to_owned();
        let (Some(before), Some(now)) = (net.before, present.values.get(&key).copied()) else {
            // Not there before, or not there now: the module comes or goes with it.
            if let (Some(to), true) = (net.before, present.unread.contains(&key)) {
                let from = None;
                self.plan.steps.push(Step::WriteLive { key, from, to, why });
            }
            return;
        };
        if now == before {
            return;
        }
        if !net.held.contains(&Some(now)) {
            let after = net.held.last().copied().flatten().unwrap_or(before);
            self.conflicts.push(Conflict::Value {
                key,
                before,
                after,
                now,
            });
        }
        let why_not = cuts_flows_off(key, before, now, present.count)
            .or_else(|| overloads_the_hash(key, before, now, max_stays?));
        if let Some(why) = why_not {
            self.kept.push(why);
            return;
        }
        self.plan.steps.push(Step::WriteLive {
            key,
            from: Some(now),
            to: before,
            why,
        });
    }

    fn file(&mut self, path: &Path, net: &Net<Option<&[u8]>>, present: &Present) {
        let now = present.files.get(path).map(Vec::as_slice);
        if now == net.before {
            return;
        }
        if !net.held.contains(&now) {
            self.conflicts.push(Conflict::File(path.to_owned()));
        }
        self.plan.steps.push(Step::WriteFile {
            path: path.to_owned(),
            from: now.map(<[u8]>::to_vec),
            to: net.before.map(<[u8]>::to_vec),
            why: "as it was before the change".to_owned(),
        });
    }
}

/// Why putting buckets back would make chains long, if it would: where max stays, its entries are
/// still to come.
fn overloads_the_hash(key: Key, before: i64, now: i64, max: i64) -> Option<String> {
    let is_fewer = key == Key::Buckets && before < now;
    (is_fewer && before.saturating_mul(ENTRIES_PER_BUCKET) < max).then(|| {
        format!(
            "{key} stays at {now} instead of {before}, since {} stays at {max}",
            Key::Max
        )
    })
}

/// Why putting max back would cut flows off, if it would; with both numbers.
pub(crate) fn cuts_flows_off(
    key: Key,
    before: i64,
    now: i64,
    count: Option<i64>,
) -> Option<String> {
    // A max of 0 is unlimited: putting it back lowers nothing.
    if key != Key::Max || before == 0 || (now != 0 && now <= before) {
        return None;
    }
    let count = count?;
    let floor = lowest_safe_max(count);
    (before < floor).then(|| {
        format!(
            "{key} stays at {now} instead of {before}: the table holds {count} entries, and no \
             undo goes below {floor}"
        )
    })
}
