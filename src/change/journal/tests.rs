use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::record::tests::{entry, live};
use super::super::status::Status;
use std::fs;
use std::fs::OpenOptions;

use super::*;
use crate::tunable::Key;

fn journal() -> (tempfile::TempDir, Journal) {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::create(&Root::at(root.path()).unwrap()).unwrap();
    let is_image = false;
    (
        root,
        Journal {
            is_image,
            ..journal
        },
    )
}

/// Where a file of an entry is on the machine.
fn file(journal: &Journal, id: u64, ending: &str) -> PathBuf {
    journal.outside(&name(id, ending))
}

/// An entry that was written, with these statuses.
fn written(journal: &Journal, statuses: &[Status]) -> Entry {
    let mut entry = entry(vec![live(Key::Max, 1, 2)]);
    journal.begin(&mut entry).unwrap();
    for status in statuses {
        entry.state.turn(*status).unwrap();
        journal.save(&entry).unwrap();
    }
    entry
}

#[test]
fn an_entry_reads_back_whatever_happened_and_its_record_stays_as_it_was() {
    let (_state, journal) = journal();
    let mut entry = written(&journal, &[]);
    let record = fs::read(file(&journal, 1, "json")).unwrap();
    entry.state.remaining = vec!["x".to_owned()];
    for status in [
        Status::Pending,
        Status::Started,
        Status::Partial,
        Status::RolledBack,
    ] {
        entry.state.turn(status).unwrap();
        journal.save(&entry).unwrap();
        assert_eq!(journal.entry(1).unwrap(), entry, "{status:?}");
        let unfinished = entry.state.status().is_unfinished();
        assert_eq!(journal.unfinished().unwrap().len(), usize::from(unfinished));
        assert_eq!(file(&journal, 1, "open").exists(), unfinished);
    }
    assert_eq!(fs::read(file(&journal, 1, "json")).unwrap(), record);
}

#[test]
fn only_the_newest_records_stay_and_the_unfinished_ones() {
    let (_state, journal) = journal();
    let pending = [1, 2];
    let statuses = [
        &[Status::Pending][..],
        &[Status::Pending],
        &[Status::Applied],
    ];
    for statuses in statuses {
        written(&journal, statuses);
    }
    // Copies of the third, since nothing of a finished one is read.
    let newest = MOST_RECORDS as u64 + 20;
    for id in 4..=newest {
        for ending in ["json", "state"] {
            fs::copy(file(&journal, 3, ending), file(&journal, id, ending)).unwrap();
        }
    }
    assert_eq!(written(&journal, &[Status::Applied]).record.id, newest + 1);
    let numbers: Vec<u64> = journal.records().unwrap().into_keys().collect();
    assert_eq!(numbers[..3], [1, 2, 22]);
    assert_eq!(numbers.len(), MOST_RECORDS + 2);
    let unfinished = journal.unfinished().unwrap();
    let unfinished: Vec<u64> = unfinished.iter().map(|entry| entry.record.id).collect();
    assert_eq!(unfinished, pending);
}

#[test]
fn the_bytes_of_all_records_are_limited_too() {
    let (_state, journal) = journal();
    for _ in 0..5 {
        written(&journal, &[Status::Applied]);
    }
    // Sparse, so that it costs nothing.
    for id in [2, 3] {
        let file = OpenOptions::new()
            .write(true)
            .open(file(&journal, id, "json"));
        file.unwrap().set_len(MOST_BYTES / 2).unwrap();
    }
    written(&journal, &[Status::Applied]);
    let numbers: Vec<u64> = journal.records().unwrap().into_keys().collect();
    assert_eq!(numbers, [3, 4, 5, 6]);
}

#[test]
fn an_entry_belongs_to_its_owner_alone_and_what_a_kill_left_is_swept() {
    let (_state, journal) = journal();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    written(&journal, &[]);
    for litter in [".000002.json.cttune-7~", "000009.state", "000008.open"] {
        fs::write(journal.path.join(litter), "half").unwrap();
    }
    fs::write(journal.path.join("7.json"), "not ours").unwrap();
    written(&journal, &[]);
    let names: Vec<_> = fs::read_dir(&journal.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("00000"))
        .collect();
    assert_eq!(names, ["7.json"]);
    assert!(!file(&journal, 8, "open").exists());
    assert_eq!(mode(&journal.path), 0o700);
    for ending in ["json", "open"] {
        assert_eq!(mode(&file(&journal, 1, ending)), 0o600);
    }
}

/// What makes a file of entry 1 unusable, by name.
type Damaging = (&'static str, fn(&Journal));

#[test]
fn a_damaged_entry_is_named_and_stops_no_reader() {
    let cases: [Damaging; 10] = [
        ("000001.json is a FIFO, not a file", |journal| {
            fs::remove_file(file(journal, 1, "json")).unwrap();
            nix::unistd::mkfifo(&file(journal, 1, "json"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        }),
        (
            "000001.json is damaged: it is a link that leads nowhere",
            |journal| {
                fs::remove_file(file(journal, 1, "json")).unwrap();
                symlink("/dev/zero", file(journal, 1, "json")).unwrap();
            },
        ),
        ("000001.open is a directory, not a file", |journal| {
            fs::remove_file(file(journal, 1, "open")).unwrap();
            fs::create_dir(file(journal, 1, "open")).unwrap();
        }),
        ("000001.json: it is larger than 16 MiB", |journal| {
            let file = OpenOptions::new()
                .write(true)
                .open(file(journal, 1, "json"));
            file.unwrap().set_len(1 << 40).unwrap();
        }),
        (
            "000001.json is damaged: it says that its id is 2",
            |journal| {
                fs::copy(file(journal, 2, "json"), file(journal, 1, "json")).unwrap();
            },
        ),
        (
            "000001.json is damaged: the file with its state is missing",
            |journal| {
                fs::remove_file(file(journal, 1, "open")).unwrap();
            },
        ),
        (
            "000001.open is damaged: its state is about 2 steps, the record about 1",
            |journal| {
                let text = fs::read_to_string(file(journal, 1, "open")).unwrap();
                fs::write(file(journal, 1, "open"), text.replace("\n.", "\n..")).unwrap();
            },
        ),
        (
            "000001.json is damaged: format 3 is not known to this version",
            |journal| {
                let text = fs::read_to_string(file(journal, 1, "json")).unwrap();
                let text = text.replace("\"schema\": 2", "\"schema\": 3");
                fs::write(file(journal, 1, "json"), text).unwrap();
            },
        ),
        (
            "000001.json is damaged: it says that it undid change 1",
            |journal| {
                let text = fs::read_to_string(file(journal, 1, "json")).unwrap();
                let text = text.replace("\"undoes\": null", "\"undoes\": 1");
                fs::write(file(journal, 1, "json"), text).unwrap();
            },
        ),
        ("000001.json is damaged: EOF while parsing", |journal| {
            fs::write(file(journal, 1, "json"), "{\"half").unwrap();
        }),
    ];
    for (said, damage) in cases {
        let (_state, journal) = journal();
        written(&journal, &[]);
        written(&journal, &[Status::Applied]);
        damage(&journal);
        let (entries, damaged) = journal.read().unwrap();
        assert_eq!(entries.len(), 1, "{said}");
        assert!(damaged[0].1.to_string().contains(said), "{}", damaged[0].1);
        assert!(journal.unfinished().is_err(), "{said}");
    }
}

#[test]
fn the_last_number_and_a_record_that_is_too_large_are_refused() {
    let (_state, journal) = journal();
    written(&journal, &[]);
    let mut large = entry(vec![live(Key::Max, 1, 2)]);
    large.record.profile = "x".repeat(LARGEST);
    assert!(matches!(
        journal.begin(&mut large),
        Err(JournalError::TooLarge { .. })
    ));
    assert_eq!(journal.list().unwrap().len(), 1);
    fs::write(file(&journal, u64::MAX, "json"), "{}").unwrap();
    let refused = journal.begin(&mut entry(Vec::new()));
    assert!(matches!(refused, Err(JournalError::NoNumber(_))));
}

#[test]
fn records_of_version_0_1_0_are_read_and_get_a_state_when_something_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-0.1.0");
    for (kind, statuses, remaining) in [
        ("complete", &[Status::Applied][..], 0),
        ("adopted", &[Status::Applied], 0),
        ("expire", &[Status::Applied], 0),
        ("not-utf8", &[Status::Applied], 0),
        ("begun", &[Status::Started], 0),
        ("pending", &[Status::Pending], 0),
        ("expired", &[Status::Expired], 0),
        ("rebooted", &[Status::Rebooted], 0),
        ("undone", &[Status::Undone], 0),
        ("partly", &[Status::Partial], 1),
        ("left", &[Status::Failed], 1),
        ("resumed", &[Status::Resumed, Status::Applied], 0),
        ("rollback", &[Status::RolledBack, Status::Applied], 0),
    ] {
        let (_state, journal) = journal();
        for file in fs::read_dir(folder.join(kind)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), journal.path.join(file.file_name())).unwrap();
        }
        let (before, damaged) = journal.read().unwrap();
        assert!(damaged.is_empty(), "{kind}: {damaged:?}");
        let read: Vec<Status> = before.iter().map(|entry| entry.state.status()).collect();
        assert_eq!(read, statuses, "{kind}");
        assert_eq!(before[0].state.remaining.len(), remaining, "{kind}");
        let unfinished = journal.unfinished().unwrap().len();
        written(&journal, &[Status::Applied]);
        let first = journal.list().unwrap().remove(&1).unwrap();
        assert_eq!(is_finished(&first), unfinished == 0, "{kind}");
        let (after, _) = journal.read().unwrap();
        assert_eq!(after[..before.len()], before, "{kind}");
    }
}

#[test]
fn a_record_of_an_image_has_no_step_for_a_running_kernel() {
    let (_root, journal) = journal();
    written(&journal, &[Status::Applied]);
    let of_image = Journal {
        is_image: true,
        ..journal
    };
    let (entries, damaged) = of_image.read().unwrap();
    assert!(entries.is_empty());
    assert!(damaged[0].1.to_string().contains("an image has not"));
}
