//! The plan that undoes a recorded change, and what somebody else changed since.
//!
//! In: an [`Entry`] of the journal and what is [`Present`] now. Out: a [`Revert`]: a plan, the
//! conflicts, and what cannot be restored. Rule: pure; it computes, a rollback acts. Each thing is
//! restored once, whatever number of steps changed it, and what is as it was is left alone. max is
//! never lowered to less than the number of entries and a tenth.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::record::Entry;
use crate::diagnostic::plain::Shown;
use crate::plan::{ENTRIES_PER_BUCKET, Plan, Step, StepResult, lowest_safe_max};
use crate::service::{Found, Table};
use crate::tunable::{Key, as_held};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Count {
    #[default]
    NotLoaded,
    Entries(i64),
    /// There is a table, and its number of entries could not be read.
    Unread,
}

/// What is read of the machine before a change is undone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) values: BTreeMap<Key, i64>,
    /// Keys that exist and could not be read.
    pub(crate) unread: BTreeSet<Key>,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Files that could not be read, and why.
    pub(crate) unread_files: BTreeMap<PathBuf, String>,
    pub(crate) count: Count,
    /// nft's table, if a change was about it.
    pub(crate) table: Option<Found>,
}

impl Present {
    /// The bytes of a file, or why they could not be read.
    pub(crate) fn file(&self, path: &Path) -> Result<Option<&[u8]>, &str> {
        match self.unread_files.get(path) {
            Some(why) => Err(why),
            None => Ok(self.files.get(path).map(Vec::as_slice)),
        }
    }

    /// What is present once a plan was applied.
    #[must_use]
    pub(crate) fn after(mut self, plan: &Plan) -> Present {
        for step in &plan.steps {
            if let Step::WriteLive { key, to, .. } = step {
                self.values.insert(*key, *to);
            }
            if let Step::Service { to, .. } = step {
                self.table = Some(Found::Ours(to.clone().unwrap_or_default()));
            }
            match step.file().map(|change| (change.path, change.to)) {
                Some((path, Some(bytes))) => {
                    self.files.insert(path.to_owned(), bytes.to_vec());
                }
                Some((path, None)) => drop(self.files.remove(path)),
                None => {}
            }
        }
        self
    }
}

/// Something that is neither as it was before the change nor as the change left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conflict {
    Value {
        key: Key,
        before: i64,
        after: i64,
        now: i64,
    },
    File(PathBuf),
    Table,
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
                "{key} was {before}, the change set it to {after}, and now it is {now}: somebody \
                 else changed it since"
            ),
            Conflict::Table => f.write_str(
                "nft table inet cttune differs from what the change left: somebody edited it",
            ),
            Conflict::File(path) => {
                write!(
                    f,
                    "{} differs from what the change left: somebody edited it",
                    path.shown()
                )
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revert {
    /// The steps that restore everything that can be restored, last change first.
    pub(crate) plan: Plan,
    pub(crate) conflicts: Vec<Conflict>,
    /// What is not restored, and why.
    pub(crate) kept: Vec<String>,
}

/// What to do with what somebody else changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Overwrite,
    Keep,
}

/// What a change did to one thing: before, and every state that it led to.
struct Net<T> {
    before: T,
    after: Vec<T>,
}

impl<T> Net<T> {
    fn new(before: T) -> Self {
        Net {
            before,
            after: Vec::new(),
        }
    }
}

pub(crate) fn revert(entry: &Entry, present: &Present, foreign: Foreign) -> Revert {
    let values = net_values(entry);
    let files = net_files(entry);
    let max_stays = values.get(&Key::Max).and_then(|net| {
        let now = present.values.get(&Key::Max).copied()?;
        keeps_max(Key::Max, net.before?, now, present.count).map(|_| now)
    });
    let mut computing = Computing {
        present,
        foreign,
        max_stays,
        revert: Revert {
            plan: Plan::of(entry.record.profile.clone(), Vec::new()),
            conflicts: Vec::new(),
            kept: Vec::new(),
        },
    };
    let tables = net_tables(entry);
    let (mut seen_keys, mut seen_files) = (BTreeSet::new(), BTreeSet::new());
    for step in entry.perhaps_applied().rev() {
        match step {
            // Without a table conntrack is not there: loading it is what failed.
            Step::LoadModule { .. } if present.count == Count::NotLoaded => {}
            Step::LoadModule { .. } => computing.revert.plan.steps.push(Step::UnloadModule {
                why: "the change loaded it".to_owned(),
            }),
            Step::WriteLive { key, .. } if seen_keys.insert(*key) => {
                if let Some(net) = values.get(key) {
                    computing.value(*key, net);
                }
            }
            Step::WriteFile { path, .. } | Step::EditLine { path, .. } => {
                if let (true, Some(net)) = (seen_files.insert(path), files.get(path.as_path())) {
                    computing.file(path, net);
                }
            }
            Step::Service { .. } => computing.table(tables.as_ref()),
            Step::EnableUnit { unit, to, .. } => {
                computing.revert.plan.steps.push(Step::EnableUnit {
                    unit: unit.clone(),
                    to: !to,
                    why: "as before the change".to_owned(),
                });
            }
            // A rollback that is itself undone leaves the module unloaded: nothing needs it.
            // Flows have what their next packet would have given them anyway.
            // Units are read again at the end.
            Step::WriteLive { .. }
            | Step::UnloadModule { .. }
            | Step::Expire { .. }
            | Step::ReloadUnits { .. } => {}
        }
    }
    // Once their files are as they were.
    let mut steps = entry.perhaps_applied();
    if let Some(step) = steps.find(|step| matches!(step, Step::ReloadUnits { .. })) {
        computing.revert.plan.steps.push(step.clone());
    }
    computing.revert
}

fn net_values(entry: &Entry) -> BTreeMap<Key, Net<Option<i64>>> {
    let mut values: BTreeMap<Key, Net<Option<i64>>> = BTreeMap::new();
    for step in entry.perhaps_applied() {
        if let Step::WriteLive { key, from, to, .. } = step {
            let net = values.entry(*key).or_insert_with(|| Net::new(*from));
            net.after.extend([Some(*to), Some(as_held(*key, *to))]);
        }
    }
    // Where the hash table could not grow, max went as far as the old one allows.
    let steps = entry.record.steps.iter().zip(&entry.state.results);
    let unresized = steps.filter_map(|(step, result)| match step {
        Step::WriteLive {
            key: Key::Buckets,
            from,
            ..
        } if *result == Some(StepResult::Failed) => *from,
        _ => None,
    });
    for buckets in unresized {
        if let Some(unresized) = values.get_mut(&Key::Buckets) {
            unresized.after.insert(0, Some(buckets));
        }
        if let Some(max) = values.get_mut(&Key::Max) {
            let cap = buckets.saturating_mul(ENTRIES_PER_BUCKET);
            let cap = max.before.map_or(cap, |before| cap.max(before));
            max.after.insert(0, Some(cap));
        }
    }
    values
}

/// What a change did to nft's table, if anything.
fn net_tables(entry: &Entry) -> Option<Net<Table>> {
    let mut net: Option<Net<Table>> = None;
    for step in entry.perhaps_applied() {
        if let Step::Service { from, to, .. } = step {
            let net = net.get_or_insert_with(|| Net::new(from.clone().unwrap_or_default()));
            net.after.push(to.clone().unwrap_or_default());
        }
    }
    net
}

fn net_files(entry: &Entry) -> BTreeMap<&Path, Net<Option<&[u8]>>> {
    let steps: Vec<&Step> = entry.perhaps_applied().collect();
    let mut files: BTreeMap<&Path, Net<Option<&[u8]>>> = BTreeMap::new();
    for change in steps.into_iter().filter_map(Step::file) {
        let net = files
            .entry(change.path)
            .or_insert_with(|| Net::new(change.from));
        net.after.push(change.to);
    }
    files
}

/// The values that somebody else changed since a change set them.
pub(super) fn overwritten(entry: &Entry, present: &Present) -> Vec<Conflict> {
    let values = net_values(entry).into_iter();
    let overwritten = values.filter_map(|(key, net)| {
        let now = present.values.get(&key).copied()?;
        let (before, after) = (net.before?, net.after.last().copied().flatten()?);
        (!net.after.contains(&Some(now))).then_some(Conflict::Value {
            key,
            before,
            after,
            now,
        })
    });
    overwritten.collect()
}

struct Computing<'a> {
    present: &'a Present,
    foreign: Foreign,
    /// What max stays at, if it cannot be restored.
    max_stays: Option<i64>,
    revert: Revert,
}

impl Computing<'_> {
    fn value(&mut self, key: Key, net: &Net<Option<i64>>) {
        let why = "as before the change".to_owned();
        let (Some(before), Some(now)) = (net.before, self.present.values.get(&key).copied()) else {
            // Not there before, or not there now: the module comes or goes with it.
            if let (Some(to), true) = (net.before, self.present.unread.contains(&key)) {
                let from = None;
                let step = Step::WriteLive { key, from, to, why };
                self.revert.plan.steps.push(step);
            }
            return;
        };
        if now == before {
            return;
        }
        if !net.after.contains(&Some(now)) {
            let after = net.after.last().copied().flatten().unwrap_or(before);
            let conflict = Conflict::Value {
                key,
                before,
                after,
                now,
            };
            if !self.goes_on(conflict) {
                return;
            }
        }
        let kept = keeps_max(key, before, now, self.present.count)
            .or_else(|| keeps_buckets(key, before, now, self.max_stays?));
        match kept {
            Some(why) => self.revert.kept.push(why),
            None => self.revert.plan.steps.push(Step::WriteLive {
                key,
                from: Some(now),
                to: before,
                why,
            }),
        }
    }

    fn table(&mut self, net: Option<&Net<Table>>) {
        let Some(net) = net else { return };
        let now = match &self.present.table {
            Some(Found::Ours(now)) => now,
            Some(Found::Foreign(part)) => {
                let kept = format!("nft table inet cttune was not restored: {part}");
                self.revert.kept.push(kept);
                return;
            }
            Some(Found::Unread(why)) => {
                let kept = format!("nft table inet cttune was not restored: {why}");
                self.revert.kept.push(kept);
                return;
            }
            None => return,
        };
        let is_ours = net.after.iter().any(|after| after.is_same(now));
        // What somebody edited before the change is not written: only cttune's own rules are.
        let before = net.before.unedited();
        let is_before = now.is_same(&net.before) || now.is_same(&before);
        if is_before || (!is_ours && !self.goes_on(Conflict::Table)) {
            return;
        }
        let some = |table: &Table| Some(table.clone()).filter(|table| !table.is_empty());
        self.revert.plan.steps.push(Step::Service {
            from: some(now),
            to: some(&before),
            replace: false,
            why: "as before the change".to_owned(),
        });
    }

    fn file(&mut self, path: &Path, net: &Net<Option<&[u8]>>) {
        let now = match self.present.file(path) {
            Ok(now) => now,
            Err(why) => {
                let kept = format!("{} was not restored: {why}", path.shown());
                self.revert.kept.push(kept);
                return;
            }
        };
        if now == net.before
            || (!net.after.contains(&now) && !self.goes_on(Conflict::File(path.to_owned())))
        {
            return;
        }
        self.revert.plan.steps.push(Step::WriteFile {
            path: path.to_owned(),
            from: now.map(<[u8]>::to_vec),
            to: net.before.map(<[u8]>::to_vec),
            why: "as before the change".to_owned(),
        });
    }

    /// Notes a conflict; whether it is overwritten.
    fn goes_on(&mut self, conflict: Conflict) -> bool {
        self.revert.conflicts.push(conflict);
        self.foreign == Foreign::Overwrite
    }
}

/// Why restoring buckets would make chains long, if it would: max stays, so the entries are still
/// to come.
pub(super) fn keeps_buckets(key: Key, before: i64, now: i64, max: i64) -> Option<String> {
    let is_fewer = key == Key::Buckets && before < now;
    (is_fewer && before.saturating_mul(ENTRIES_PER_BUCKET) < max).then(|| {
        format!(
            "{key} stays at {now} instead of {before}, since {} stays at {max}",
            Key::Max
        )
    })
}

/// Why restoring max would drop flows, if it would; with both numbers.
pub(super) fn keeps_max(key: Key, before: i64, now: i64, count: Count) -> Option<String> {
    // A max of 0 is unlimited: restoring it lowers nothing.
    if key != Key::Max || before == 0 || (now != 0 && now <= before) {
        return None;
    }
    let stays = format!("{key} stays at {now} instead of {before}");
    match count {
        Count::NotLoaded => None,
        Count::Unread => Some(format!(
            "{stays}: the number of entries could not be read, and a lower max could drop flows"
        )),
        Count::Entries(count) => {
            let lowest = lowest_safe_max(count);
            (before < lowest).then(|| {
                format!("{stays}: the table holds {count} entries, and no undo goes below {lowest}")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{entry, file, live, loaded};
    use super::super::status::Status;
    use super::*;

    const DONE: Option<StepResult> = Some(StepResult::Done);

    /// An applied change of these steps.
    fn applied(steps: Vec<Step>) -> Entry {
        let mut entry = entry(steps);
        entry.state.results.fill(DONE);
        entry.state.turn(Status::Applied).unwrap();
        entry
    }

    fn present(values: &[(Key, i64)], files: &[(&str, &str)], count: i64) -> Present {
        let files = files.iter();
        Present {
            values: values.iter().copied().collect(),
            files: files
                .map(|(path, text)| (path.into(), text.as_bytes().to_vec()))
                .collect(),
            count: Count::Entries(count),
            ..Present::default()
        }
    }

    /// The steps as `key=to`, `path=text` or `path=-`.
    fn told(revert: &Revert) -> Vec<String> {
        let steps = revert.plan.steps.iter();
        steps
            .map(|step| match (step, step.file()) {
                (Step::WriteLive { key, to, .. }, _) => format!("{}={to}", key.short_name()),
                (_, Some(change)) => {
                    let to = change.to.map_or("-".into(), String::from_utf8_lossy);
                    format!("{}={to}", change.path.display())
                }
                _ => step.kind().to_owned(),
            })
            .collect()
    }

    #[test]
    fn each_thing_is_restored_once_last_change_first() {
        let entry = applied(vec![
            live(Key::Max, 10, 40),
            live(Key::Buckets, 10, 512),
            live(Key::Max, 40, 80),
            file("/a", None, Some("1")),
            file("/b", Some("old"), Some("2")),
        ]);
        let now = present(
            &[(Key::Max, 80), (Key::Buckets, 512)],
            &[("/a", "1"), ("/b", "2")],
            0,
        );
        let revert = revert(&entry, &now, Foreign::Keep);
        let expected = ["/b=old", "/a=-", "max=10", "buckets=10"];
        assert_eq!(told(&revert), expected);
        assert!(revert.conflicts.is_empty() && revert.kept.is_empty());
        let entry_of_undo = applied(revert.plan.steps.clone());
        let restored = now.after(&revert.plan);
        assert_eq!(
            told(&super::revert(&entry, &restored, Foreign::Keep)),
            [""; 0]
        );
        let redo = super::revert(&entry_of_undo, &restored, Foreign::Keep);
        assert_eq!(redo.plan.steps.len(), 4);
    }

    #[test]
    fn what_somebody_else_changed_is_a_conflict_and_what_is_as_it_was_is_not() {
        for (udp, text, foreign, steps, conflicts, kept) in [
            (30, Some("old"), Foreign::Keep, &[][..], 0, 0),
            (
                120,
                Some("new"),
                Foreign::Keep,
                &["/f=old", "udp_timeout=30"],
                0,
                0,
            ),
            (77, Some("new"), Foreign::Keep, &["/f=old"], 1, 0),
            (77, Some("x"), Foreign::Keep, &[], 2, 0),
            (
                77,
                None,
                Foreign::Overwrite,
                &["/f=old", "udp_timeout=30"],
                2,
                0,
            ),
        ] {
            let entry = applied(vec![
                live(Key::UdpTimeout, 30, 120),
                file("/f", Some("old"), Some("new")),
            ]);
            let files: Vec<(&str, &str)> = text.map(|text| ("/f", text)).into_iter().collect();
            let revert = revert(
                &entry,
                &present(&[(Key::UdpTimeout, udp)], &files, 0),
                foreign,
            );
            assert_eq!(told(&revert), steps, "{udp} {text:?}");
            assert_eq!(
                (revert.conflicts.len(), revert.kept.len()),
                (conflicts, kept)
            );
        }
    }

    #[test]
    fn a_value_that_is_not_as_the_change_set_it_was_overwritten() {
        for (now, count) in [(120, 0), (77, 1), (30, 1)] {
            let entry = applied(vec![live(Key::UdpTimeout, 30, 120), live(Key::Max, 1, 2)]);
            let present = present(&[(Key::UdpTimeout, now), (Key::Max, 2)], &[], 0);
            assert_eq!(overwritten(&entry, &present).len(), count, "{now}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_is_never_taken_for_a_missing_one() {
        for before in [None, Some("old")] {
            let entry = applied(vec![file("/f", before, Some("new"))]);
            let mut now = present(&[], &[], 0);
            now.unread_files
                .insert("/f".into(), "it is a directory".into());
            for foreign in [Foreign::Keep, Foreign::Overwrite] {
                let revert = revert(&entry, &now, foreign);
                assert_eq!(told(&revert), [""; 0]);
                assert_eq!(revert.kept, ["/f was not restored: it is a directory"]);
            }
        }
    }

    #[test]
    fn max_is_not_restored_where_that_would_drop_flows() {
        for (before, now, count, kept) in [
            (100, 200, Count::Entries(90), None),
            (
                100,
                200,
                Count::Entries(91),
                Some("91 entries, and no undo goes below 101"),
            ),
            (100, 200, Count::Unread, Some("could not be read")),
            (100, 200, Count::NotLoaded, None),
            (0, 200, Count::Entries(500), None),
            (200, 100, Count::Entries(500), None),
            (
                100,
                0,
                Count::Entries(500),
                Some("stays at 0 instead of 100"),
            ),
        ] {
            let entry = applied(vec![live(Key::Max, before, now)]);
            let present = Present {
                count,
                ..present(&[(Key::Max, now)], &[], 0)
            };
            let revert = revert(&entry, &present, Foreign::Keep);
            match kept {
                None => assert!(revert.kept.is_empty(), "{revert:?}"),
                Some(part) => assert!(revert.kept[0].contains(part), "{revert:?}"),
            }
            assert_eq!(revert.plan.steps.len(), usize::from(kept.is_none()));
        }
    }

    #[test]
    fn buckets_stay_where_max_stays() {
        let entry = applied(vec![
            live(Key::Buckets, 100, 512),
            live(Key::Max, 100, 2048),
        ]);
        let now = [(Key::Buckets, 512), (Key::Max, 2048)];
        let revert = revert(&entry, &present(&now, &[], 1000), Foreign::Keep);
        assert_eq!(told(&revert), [""; 0]);
        assert_eq!(revert.kept.len(), 2, "{revert:?}");
    }

    #[test]
    fn a_max_that_was_capped_is_no_conflict() {
        let mut entry = entry(vec![
            live(Key::Buckets, 100, 512),
            live(Key::Max, 100, 2048),
        ]);
        entry.state.results = vec![Some(StepResult::Failed), DONE];
        entry.state.turn(Status::Partial).unwrap();
        let now = present(&[(Key::Buckets, 100), (Key::Max, 400)], &[], 0);
        let revert = revert(&entry, &now, Foreign::Keep);
        assert_eq!(told(&revert), ["max=100"]);
        assert!(revert.conflicts.is_empty());
        assert_eq!(overwritten(&entry, &now), []);
    }

    #[test]
    fn a_module_that_was_loaded_is_unloaded_and_an_unread_value_is_written_all_the_same() {
        let entry = applied(vec![
            Step::LoadModule { why: String::new() },
            loaded(Key::UdpTimeout, 120),
            live(Key::IcmpTimeout, 30, 60),
        ]);
        let mut now = present(&[(Key::UdpTimeout, 120)], &[], 0);
        now.unread.insert(Key::IcmpTimeout);
        let revert = super::revert(&entry, &now, Foreign::Keep);
        assert_eq!(told(&revert), ["icmp_timeout=30", "unload-module"]);
        now.count = Count::NotLoaded;
        let revert = super::revert(&entry, &now, Foreign::Keep);
        assert_eq!(told(&revert), ["icmp_timeout=30"]);
    }
}
