//! A change with services and a lifeline that is ended, or fails, at each of its steps: what was
//! before is there again, in nft too.
//!
//! Each step of a change is bracketed by the journal, which is written to the disk.

use crate::support::World;
use crate::{PROFILE, listed, sorted};

/// What brings files and the journal to the disk.
const CALLS: [&str; 3] = ["renameat", "fsync", "fdatasync"];

const MORE: &str = "[sysctl]\nudp_timeout = 77\n\
                    [lifeline]\nfrom = [\"192.0.2.0/24\"]\nports = [22]\n";

fn at_each_step(fault: &str, may_need_rollback: bool) {
    let world = World::new();
    let first = world.place.write("first.toml", PROFILE);
    // Another object, a rule that goes, a lifeline that comes, a value.
    let text = PROFILE.replace("30m", "40m");
    let text = text.replace(", \"proto=udp,dport=5353,dst!=10.0.0.0/8\"", "");
    let second = world.place.write("second.toml", &(text + MORE));
    world.cttune(&["apply", &first, "--yes"]).exits(0);
    let now = || (sorted(&world.state()), sorted(&listed(&world)));
    let before = now();
    let run = |more: &[&str]| {
        let trace = format!("trace={}", CALLS.join(","));
        let options = [&["-e", &trace], more].concat();
        world.strace(&options, &["apply", &second, "--yes"])
    };
    let (told, trace) = run(&[]);
    told.exits(0);
    let numbered = |call| (1..=trace.matches(&format!(" {call}(")).count()).map(move |n| (call, n));
    let moments: Vec<(&str, usize)> = CALLS.into_iter().flat_map(numbered).collect();
    world.cttune(&["rollback"]).exits(0);
    let mut interrupted = 0;
    for (call, number) in &moments {
        let when = format!("{fault} at {call} {number}");
        let (told, _) = run(&["-e", &format!("inject={call}:{fault}:when={number}")]);
        let is_made = told.code == 0;
        interrupted += usize::from(!is_made);
        if now() != before {
            assert!(is_made || may_need_rollback, "{when}: {told}");
            world.cttune(&["rollback"]).exits(0);
        }
        assert!(now() == before, "{when}: {:#?} and not {before:#?}", now());
        world.cttune(&["check", &first]).exits(0);
    }
    assert!(interrupted > 15, "only {interrupted} of {moments:?}");
}

#[test]
fn killed_at_any_step_rollback_brings_the_table_and_the_files_before() {
    at_each_step("signal=KILL", true);
}

#[test]
fn without_space_at_any_step_the_table_and_the_files_are_as_before() {
    at_each_step("error=ENOSPC", false);
}
