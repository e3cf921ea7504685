//! What the journal tells of the values that a key had.

use super::{Record, Standing, Step};
use crate::flow::expire::Change;
use crate::tunable::Key;

/// How a key changed since the boot in a network namespace, as far as records tell, oldest first.
///
/// A record that left the key alone tells what it was at that time.
pub(crate) fn changes_of(
    key: Key,
    records: &[Record],
    boot_id: &str,
    netns_inode: u64,
) -> Vec<Change> {
    records
        .iter()
        .filter(|record| {
            let occasion = &record.occasion;
            occasion.boot_id == boot_id && occasion.netns_inode == Some(netns_inode)
        })
        .filter_map(|record| change_of(key, record))
        .collect()
}

fn change_of(key: Key, record: &Record) -> Option<Change> {
    let time: jiff::Timestamp = record.occasion.time.parse().ok()?;
    let mut before = record.readings.get(&key.name()).copied();
    let mut after = Vec::new();
    for step in record.perhaps_in_force() {
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
    // Put back by the change itself, or killed before it was sure.
    let is_sure = matches!(
        record.standing,
        Standing::Complete | Standing::Partly | Standing::Pending | Standing::RolledBack
    );
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
    use super::*;
    use crate::plan::{Occasion, Plan};

    const KEY: Key = Key::TcpTimeoutEstablished;

    fn record(standing: Standing, progress: &str, to: Option<i64>) -> Record {
        let write = |to| Step::WriteLive {
            key: KEY,
            from: Some(432_000),
            to,
            why: String::new(),
        };
        let occasion = Occasion {
            time: "1970-01-01T00:01:40Z".into(),
            boot_id: "b".into(),
            host: "h".into(),
            kernel: "6.18".into(),
            netns: None,
            netns_inode: Some(7),
            root: "/".into(),
        };
        let mut record = Record::new(
            &Plan::of("p", to.map(write).into_iter().collect()),
            occasion,
            None,
        );
        record.standing = standing;
        progress.clone_into(&mut record.progress);
        record.readings.insert(KEY.name(), 432_000);
        record
    }

    #[test]
    fn a_record_tells_what_may_have_held_from_its_time_on() {
        for (standing, progress, to, after) in [
            (Standing::Complete, "d", Some(600), &[600][..]),
            (Standing::RolledBack, "d", Some(600), &[600]),
            (Standing::Pending, "d", Some(600), &[600]),
            (Standing::Undone, "d", Some(600), &[600, 432_000]),
            (Standing::Begun, ".", Some(600), &[600, 432_000]),
            (Standing::Complete, "s", Some(600), &[432_000]),
            (Standing::Complete, "", None, &[432_000]),
        ] {
            let records = [record(standing, progress, to)];
            let expected = Change {
                at: 100,
                before: Some(432_000),
                after: after.to_vec(),
            };
            let changes = changes_of(KEY, &records, "b", 7);
            assert_eq!(changes, [expected], "{standing:?} {progress}");
        }
    }

    #[test]
    fn another_boot_or_namespace_tells_nothing() {
        let records = [record(Standing::Complete, "d", Some(600))];
        assert_eq!(changes_of(KEY, &records, "c", 7), []);
        assert_eq!(changes_of(KEY, &records, "b", 8), []);
        assert_eq!(changes_of(Key::UdpTimeout, &records, "b", 7), []);
    }
}
