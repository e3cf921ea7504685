use std::cell::Cell;

use super::super::fake::Fake;
use super::super::record::tests::{entry, file as write, live, loaded};
use super::super::status::Status;
use super::*;
use crate::service::{Layer, Object, Rule, Table};

fn file(path: &str, from: Option<&str>, to: &str) -> Step {
    write(path, from, Some(to))
}

fn machine() -> Fake {
    Fake {
        values: [
            (Key::Max, 65536),
            (Key::Buckets, 16384),
            (Key::TcpTimeoutEstablished, 432_000),
            (Key::UdpTimeout, 30),
        ]
        .into(),
        files: [(
            "/etc/sysctl.conf".into(),
            b"net.netfilter.nf_conntrack_max=1\n".to_vec(),
        )]
        .into(),
        count: 1000,
        is_loaded: true,
        tables: vec![table(5), table(10)],
        ..Fake::default()
    }
}

/// A service with one timeout.
fn table(seconds: u32) -> Table {
    let name = format!("service_dns_udp_{seconds}");
    Table {
        objects: vec![Object {
            name: name.clone(),
            protocol: Layer::Udp,
            seconds: vec![seconds; 2],
        }],
        rules: vec![Rule {
            object: name,
            label: 64,
            terms: "proto=udp,dport=53".to_owned(),
        }],
        ..Table::default()
    }
}

fn service(from: Option<Table>) -> Step {
    Step::Service {
        from,
        to: Some(table(10)),
        replace: false,
        why: String::new(),
    }
}

fn long_plan() -> Vec<Step> {
    vec![
        live(Key::Buckets, 16384, 65536),
        live(Key::Max, 65536, 262_144),
        live(Key::TcpTimeoutEstablished, 432_000, 7440),
        live(Key::UdpTimeout, 30, 120),
        service(None),
        file("/etc/sysctl.d/90-cttune.conf", None, "ours\n"),
        file("/etc/cttune/services.nft", None, "its table\n"),
        Step::EditLine {
            path: "/etc/sysctl.conf".into(),
            lines: vec![1],
            from: b"net.netfilter.nf_conntrack_max=1\n".to_vec(),
            to: b"# net.netfilter.nf_conntrack_max=1\n".to_vec(),
            why: String::new(),
        },
        file("/etc/cttune/active.toml", None, "active\n"),
    ]
}

fn run_until(
    steps: &[Step],
    machine: &mut Fake,
    stop: &dyn Fn() -> Option<Signal>,
) -> (Outcome, Entry) {
    let mut context = Context {
        system: machine,
        save: &mut |_| Ok(()),
        stop,
        step: &mut |_, _| {},
        flows: &mut |_| {},
    };
    let mut entry = entry(steps.to_vec());
    let outcome = apply(&mut entry, Until::End, &mut context);
    (outcome, entry)
}

fn run(steps: &[Step], machine: &mut Fake) -> Outcome {
    run_until(steps, machine, &|| None).0
}

#[test]
fn every_step_is_done_in_order() {
    let mut machine = machine();
    let outcome = run(&long_plan(), &mut machine);
    assert_eq!(outcome.ending, Ending::Complete);
    assert!(outcome.changed());
    assert!(
        outcome
            .reports
            .iter()
            .all(|report| report.result == StepResult::Done)
    );
    assert_eq!(machine.values[&Key::Max], 262_144);
    assert_eq!(machine.table, table(10));
    assert_eq!(machine.files.len(), 4);
}

#[test]
fn a_failure_at_any_step_undoes_everything() {
    let steps = long_plan().len();
    for (fails_at, fails_late) in (0..steps).flat_map(|n| [(n, false), (n, true)]) {
        let before = machine();
        let mut machine = Fake {
            fails_at: Some(fails_at),
            fails_late,
            ..machine()
        };
        let outcome = run(&long_plan(), &mut machine);
        assert!(
            matches!(
                outcome.ending,
                Ending::Undone(ChangeError { signal: None, .. })
            ),
            "{fails_at}"
        );
        assert_eq!(
            machine.state(),
            before.state(),
            "at step {fails_at}, late {fails_late}"
        );
        assert!(!outcome.changed());
        assert_eq!(outcome.reports.len(), steps);
        assert_eq!(outcome.reports[fails_at].result, StepResult::Failed);
    }
}

#[test]
fn a_disk_that_is_full_from_any_step_on_does_not_stop_the_undo() {
    for fails_at in 5..long_plan().len() {
        let before = machine();
        let mut machine = Fake {
            fails_at: Some(fails_at),
            fills_up: true,
            ..machine()
        };
        let outcome = run(&long_plan(), &mut machine);
        assert!(matches!(outcome.ending, Ending::Undone(_)), "{outcome:?}");
        assert_eq!(machine.state(), before.state(), "full at step {fails_at}");
    }
}

#[test]
fn a_signal_between_any_two_steps_undoes_everything() {
    for signal in [Signal::Interrupt, Signal::Terminate, Signal::HangUp] {
        for after in 0..long_plan().len() {
            let (before, mut machine) = (machine(), machine());
            let asked = Cell::new(0);
            let stop = || {
                asked.set(asked.get() + 1);
                (asked.get() > after).then_some(signal)
            };
            let (outcome, entry) = run_until(&long_plan(), &mut machine, &stop);
            assert_eq!(entry.state.status(), Status::Undone);
            assert_eq!(outcome.ending, Ending::Undone(ChangeError::stopped(signal)));
            assert_eq!(
                machine.state(),
                before.state(),
                "{} after {after}",
                signal.name()
            );
        }
    }
}

#[test]
fn no_undo_lowers_max_below_what_the_table_holds() {
    let mut machine = Fake {
        count: 60_000,
        fails_at: Some(3),
        ..machine()
    };
    let outcome = run(&long_plan(), &mut machine);
    let Ending::Failed(_, left) = &outcome.ending else {
        panic!("{outcome:?}")
    };
    assert_eq!(machine.values[&Key::Max], 262_144);
    assert_eq!(machine.values[&Key::TcpTimeoutEstablished], 432_000);
    assert!(
        left[0].contains("262144") && left[0].contains("65536"),
        "{left:?}"
    );
    assert!(
        left[0].contains("60000") && left[0].contains("66000"),
        "{left:?}"
    );
    assert!(outcome.changed());
}

#[test]
fn buckets_stay_where_the_table_has_grown_past_max_since_the_undo_was_computed() {
    let undo = [live(Key::Max, 4096, 2048), live(Key::Buckets, 1024, 512)];
    for (count, max, buckets) in [(1000, 2048, 512), (3000, 4096, 1024)] {
        let values = [(Key::Max, 4096), (Key::Buckets, 1024)];
        let mut machine = Fake {
            values: values.into(),
            count,
            is_loaded: true,
            ..Fake::default()
        };
        let mut context = Context {
            system: &mut machine,
            save: &mut |_| Ok(()),
            stop: &|| None,
            step: &mut |_, _| {},
            flows: &mut |_| {},
        };
        let mut entry = entry(undo.to_vec());
        let outcome = apply_revert(&mut entry, &mut context);
        assert_eq!(
            (machine.values[&Key::Max], machine.values[&Key::Buckets]),
            (max, buckets)
        );
        let stays = usize::from(max != 2048) * 2;
        assert_eq!(entry.state.remaining.len(), stays, "{outcome:?}");
    }
}

#[test]
fn without_memory_for_the_hash_table_max_is_capped() {
    let mut machine = Fake {
        no_memory: true,
        ..machine()
    };
    let steps = vec![
        live(Key::Buckets, 16384, 65536),
        live(Key::Max, 32768, 262_144),
        live(Key::UdpTimeout, 30, 120),
    ];
    machine.values.insert(Key::Max, 32768);
    let outcome = run(&steps, &mut machine);
    assert!(matches!(outcome.ending, Ending::Partial(_)), "{outcome:?}");
    assert_eq!(machine.values[&Key::Max], 65536);
    assert_eq!(machine.values[&Key::Buckets], 16384);
    assert_eq!(machine.values[&Key::UdpTimeout], 120);
    assert_eq!(outcome.reports[0].result, StepResult::Failed);
}

#[test]
fn a_module_that_was_loaded_is_unloaded_again() {
    let steps = [
        Step::LoadModule { why: String::new() },
        loaded(Key::UdpTimeout, 120),
        loaded(Key::DccpLoose, 0),
        loaded(Key::TcpTimeoutEstablished, 7440),
    ];
    let unloaded = Fake {
        is_loaded: false,
        ..machine()
    };
    let mut works = unloaded.clone();
    let outcome = run(&steps, &mut works);
    assert_eq!(outcome.ending, Ending::Complete);
    assert_eq!(
        outcome.reports[2].note.as_deref(),
        Some("missing on this kernel")
    );
    for fails_at in 0..3 {
        let mut fails = Fake {
            fails_at: Some(fails_at),
            ..unloaded.clone()
        };
        let outcome = run(&steps, &mut fails);
        assert!(
            matches!(outcome.ending, Ending::Undone(_)),
            "{fails_at}: {outcome:?}"
        );
        assert!(!fails.is_loaded);
    }
}

#[test]
fn what_an_undo_cannot_restore_is_named() {
    let mut machine = Fake {
        sticks: Some(Key::UdpTimeout),
        ..machine()
    };
    let steps = [
        live(Key::UdpTimeout, 30, 120),
        live(Key::TcpTimeoutEstablished, 432_000, 7440),
    ];
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        (asked.get() > 1).then_some(Signal::Terminate)
    };
    let (outcome, entry) = run_until(&steps, &mut machine, &stop);
    assert_eq!(entry.state.status(), Status::Failed);
    let Ending::Failed(
        ChangeError {
            signal: Some(Signal::Terminate),
            ..
        },
        left,
    ) = &outcome.ending
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(left.len(), 1);
    assert!(left[0].contains("stays at 120 instead of 30"), "{left:?}");
}

#[test]
fn flows_come_last_and_what_was_done_to_them_is_left_when_all_else_is_undone() {
    let expire = Step::Expire {
        parameters: crate::profile::ExpireSettings::default().into(),
        flows: Some(9),
        why: String::new(),
    };
    let plan = [live(Key::UdpTimeout, 30, 60), expire];
    let mut done = machine();
    let before = done.clone();
    let outcome = run(&plan, &mut done);
    assert_eq!(outcome.ending, Ending::Complete);
    let mut stopped = Fake {
        fails_at: Some(1),
        ..before.clone()
    };
    let outcome = run(&plan, &mut stopped);
    assert!(
        matches!(
            &outcome.ending,
            Ending::Failed(ChangeError { signal: Some(Signal::Interrupt), .. }, left) if left.len() == 1
        ),
        "{outcome:?}"
    );
    assert_eq!(stopped.values, before.values);
}

#[test]
fn a_file_that_does_not_hold_what_was_written_undoes_everything() {
    let drop_in = "/etc/sysctl.d/90-cttune.conf";
    for (path, loses, what) in [
        (drop_in, true, "it was not there"),
        ("/etc/sysctl.conf", true, "its bytes differed"),
        ("/etc/sysctl.conf", false, "its mode differed"),
        (drop_in, false, "its mode differed"),
    ] {
        let other = Some(path.into());
        let (before, mut machine) = (machine(), machine());
        if loses {
            machine.loses = other;
        } else {
            machine.chmods = other;
        }
        let (outcome, _) = run_until(&long_plan(), &mut machine, &|| None);
        let cause = match &outcome.ending {
            Ending::Undone(cause) | Ending::Failed(cause, _) => cause,
            other => panic!("{other:?}"),
        };
        let message = cause.to_string();
        assert!(
            message.contains(path) && message.contains(what),
            "{message}"
        );
        assert_eq!(machine.state(), before.state(), "{path} {what}");
    }
}

#[test]
fn a_change_that_waits_is_live_alone_and_its_rest_comes_with_the_confirmation() {
    let mut machine = machine();
    let mut entry = entry(long_plan());
    for (until, files, status) in [
        (Until::Pending, 1, Status::Pending),
        (Until::End, 4, Status::Applied),
    ] {
        let mut saved = 0;
        let mut context = Context {
            system: &mut machine,
            save: &mut |_| {
                saved += 1;
                Ok(())
            },
            stop: &|| None,
            step: &mut |_, _| {},
            flows: &mut |_| {},
        };
        let outcome = apply(&mut entry, until, &mut context);
        assert_eq!(outcome.ending, Ending::Complete);
        assert_eq!(saved, outcome.reports.len() + 1);
        assert_eq!((machine.files.len(), entry.state.status()), (files, status));
        let _ = entry.state.turn(Status::Started);
    }
}

#[test]
fn a_ruleset_flushed_at_any_moment_leaves_no_half_of_a_change() {
    for from in [None, Some(table(5))] {
        let steps = [
            live(Key::UdpTimeout, 30, 120),
            service(from.clone()),
            file("/etc/cttune/services.nft", None, "ours\n"),
        ];
        let mut undone = 0;
        for at in 0.. {
            let before = Fake {
                table: from.clone().unwrap_or_default(),
                ..machine()
            };
            let mut machine = Fake {
                flushes_at: Some(at),
                ..before.clone()
            };
            let outcome = run(&steps, &mut machine);
            match outcome.ending {
                Ending::Complete => assert_eq!(machine.files.len(), 2, "at {at}"),
                Ending::Undone(cause) => {
                    assert!(
                        cause
                            .to_string()
                            .contains("it was gone when it was read back"),
                        "{cause}"
                    );
                    assert_eq!(machine.state(), before.state(), "at {at}");
                    undone += 1;
                }
                other => panic!("at {at}: {other:?}"),
            }
            if machine.moments <= at {
                break;
            }
        }
        assert_eq!(undone, 1);
    }
}
