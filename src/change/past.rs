//! What the journal says about the values that a key had. Pure.

use super::record::Entry;
use super::status::Status;
use crate::flow::expire::Change;
use crate::plan::Step;
use crate::tunable::Key;

/// How a key changed since the boot in a network namespace, oldest first, as far as the journal
/// knows. An entry that did not change the key says what it was at that time.
pub(crate) fn changes_of(
    key: Key,
    entries: &[Entry],
    boot_id: &str,
    netns_inode: u64,
) -> Vec<Change> {
    entries
        .iter()
        .filter(|entry| {
            let origin = &entry.record.origin;
            origin.boot_id == boot_id && origin.netns_inode == Some(netns_inode)
        })
        .filter_map(|entry| change_of(key, entry))
        .collect()
}

fn change_of(key: Key, entry: &Entry) -> Option<Change> {
    let record = &entry.record;
    let time: jiff::Timestamp = record.origin.time.parse().ok()?;
    let mut before = record.readings.get(&key.name()).copied();
    let mut after = Vec::new();
    for step in entry.perhaps_applied() {
        if let Step::WriteLive {
            key: written,
            from,
            to,
            ..
        } = step
            && *written == key
        {
            before = before.or(*from);
            after = vec![*to];
        }
    }
    // Otherwise the change was undone by itself, or killed before the value was read back.
    let status = entry.state.status();
    let is_sure = status.is_applied() || status == Status::RolledBack;
    if after.is_empty() || !is_sure {
        after.extend(before);
    }
    (!after.is_empty()).then(|| Change {
        at: time.as_second(),
        before,
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{entry, live};
    use super::*;
    use crate::plan::StepResult;

    const KEY: Key = Key::TcpTimeoutEstablished;
    const DONE: Option<StepResult> = Some(StepResult::Done);
    const SKIPPED: Option<StepResult> = Some(StepResult::Skipped);

    fn made(statuses: &[Status], result: Option<StepResult>, to: Option<i64>) -> Entry {
        let steps = to.map(|to| live(KEY, 432_000, to));
        let mut entry = entry(steps.into_iter().collect());
        entry.record.origin.time = "1970-01-01T00:01:40Z".into();
        entry.record.readings.insert(KEY.name(), 432_000);
        entry.state.results.fill(result);
        for status in statuses {
            entry.state.turn(*status).unwrap();
        }
        entry
    }

    #[test]
    fn an_entry_says_which_values_a_key_may_have_had_from_its_time_on() {
        use Status::{Applied, Pending, RolledBack, Undone};
        for (statuses, result, to, after) in [
            (&[Applied][..], DONE, Some(600), &[600][..]),
            (&[Applied, RolledBack], DONE, Some(600), &[600]),
            (&[Pending], DONE, Some(600), &[600]),
            (&[Undone], DONE, Some(600), &[600, 432_000]),
            (&[], None, Some(600), &[600, 432_000]),
            (&[Applied], SKIPPED, Some(600), &[432_000]),
            (&[Applied], None, None, &[432_000]),
        ] {
            let entries = [made(statuses, result, to)];
            let expected = Change {
                at: 100,
                before: Some(432_000),
                after: after.to_vec(),
            };
            let changes = changes_of(KEY, &entries, "b", 1);
            assert_eq!(changes, [expected], "{statuses:?} {result:?}");
        }
    }

    #[test]
    fn another_boot_or_namespace_says_nothing() {
        let entries = [made(&[Status::Applied], DONE, Some(600))];
        assert_eq!(changes_of(KEY, &entries, "c", 1), []);
        assert_eq!(changes_of(KEY, &entries, "b", 8), []);
        assert_eq!(changes_of(Key::UdpTimeout, &entries, "b", 1), []);
    }
}
