//! `cttune plan` and `cttune apply` on a real kernel: what they change, and what they leave alone.
//!
//! Follows "Persisting, truthfully" and "The plan" of the design. The sandbox's max, buckets and
//! expect_max are plain files: nothing rounds or refuses there what the kernel would. That is tried
//! on the host, in host.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use serde_json::Value;
use support::{Told, World, assert_same, live_steps};

const APPLY: [&str; 4] = ["apply", "--profile", "campus-fw", "--yes"];
const ADOPT: [&str; 5] = ["apply", "--profile", "campus-fw", "--yes", "--adopt"];

fn plan(world: &World, args: &[&str]) -> Value {
    let args = [
        &["plan", "--profile", "campus-fw", "--format", "json"],
        args,
    ]
    .concat();
    world.cttune(&args).json()
}

fn paths(plan: &Value) -> Vec<&str> {
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.filter_map(|step| step["path"].as_str()).collect()
}

#[test]
fn a_line_that_would_win_at_boot_stops_apply_before_anything_is_touched() {
    let world = World::story();
    let (state, times) = (world.state(), world.times());
    let line = format!("/etc/sysctl.conf:{}", world.line_by_hand());
    let told = world.cttune(&APPLY).exits(1).briefly();
    let told = told.says(&[
        &line,
        "sets net.netfilter.nf_conntrack_max = 131072",
        "nothing was changed",
        "--adopt",
    ]);
    assert_eq!(told.stdout, "");
    assert_same(&state, &world.state(), "refused");
    assert_same(&times, &world.times(), "refused");

    let refused = world
        .cttune(&[&APPLY[..], &["--format", "json"]].concat())
        .exits(1);
    let error = refused.error();
    assert!(
        error["message"].as_str().unwrap().contains(&line),
        "{error}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("--adopt"),
        "{error}"
    );
    assert_eq!(error["exit_code"], 1);
}

#[test]
fn adopt_puts_the_profile_in_force_and_comments_that_one_line_out() {
    let world = World::story();
    let by_hand = world.line_by_hand();
    let before = world.read("/etc/sysctl.conf");
    let told = world
        .cttune(&[&ADOPT[..], &["--format", "json"]].concat())
        .exits(0);
    let applied = told.json();
    assert_eq!(
        (&applied["schema"], &applied["changed"]),
        (&1.into(), &true.into())
    );
    for step in applied["steps"].as_array().unwrap() {
        assert_eq!(step["result"], "done", "{step}");
    }
    for (name, value) in [
        ("max", 1_048_576),
        ("buckets", 1_048_576),
        ("tcp_timeout_established", 7440),
        ("udp_timeout", 120),
        ("udp_timeout_stream", 180),
    ] {
        assert_eq!(world.sysctl(name), value, "{name}");
    }

    let after = world.read("/etc/sysctl.conf");
    assert_eq!(before.lines().count(), after.lines().count());
    for (index, (old, new)) in before.lines().zip(after.lines()).enumerate() {
        if index + 1 == by_hand {
            assert!(new.starts_with('#') && new.ends_with(old), "{new}");
        } else {
            assert_eq!(old, new);
        }
    }

    let told = world.cttune(&["check"]).exits(0);
    assert!(
        told.stdout.contains("5 of 5 settings of campus-fw match"),
        "{told}"
    );
    world.cttune(&["plan"]).exits(0);
}

#[test]
fn applied_again_it_changes_nothing_and_touches_no_file() {
    let world = World::new();
    world.cttune(&ADOPT).exits(0);
    let (state, times) = (world.state(), world.times());
    for again in [&ADOPT[..], &APPLY, &["apply", "--yes"]] {
        let told = world
            .cttune(&[again, &["--format", "json"]].concat())
            .exits(0);
        assert_eq!(told.json()["changed"], false, "{told}");
        assert_eq!(told.json()["steps"], Value::Array(Vec::new()));
        let told = world.cttune(again).exits(0);
        assert!(told.stdout.contains("nothing to do"), "{told}");
    }
    assert_same(&state, &world.state(), "again");
    assert_same(&times, &world.times(), "again");
}

#[test]
fn an_overridden_value_can_be_let_stand() {
    let world = World::new();
    let before = world.read("/etc/sysctl.conf");
    world
        .cttune(&[&APPLY[..], &["--allow-overridden"]].concat())
        .exits(0);
    assert_eq!(before, world.read("/etc/sysctl.conf"));
    assert_eq!(world.sysctl("max"), 1_048_576);
    // It still is what the next boot brings.
    world.cttune(&["check"]).exits(2);
}

#[test]
fn the_plan_is_the_very_thing_that_apply_does() {
    let world = World::new();
    let state = world.state();
    let planned = plan(&world, &["--adopt"]);
    for args in [
        &["plan", "--profile", "campus-fw", "--adopt"][..],
        &["apply", "--profile", "campus-fw", "--adopt", "--dry-run"],
    ] {
        world.cttune(args).exits(2);
    }
    assert_same(&state, &world.state(), "planned");

    let steps = planned["steps"].as_array().unwrap();
    assert_eq!(planned["changes"], steps.len());
    let applied = world
        .cttune(&[&ADOPT[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    for (planned, applied) in steps.iter().zip(applied["steps"].as_array().unwrap()) {
        for name in ["kind", "key", "path", "from", "to", "why"] {
            assert_eq!(planned[name], applied[name], "{name} of {planned}");
        }
        if let Some(path) = planned["path"].as_str() {
            assert_eq!(planned["to"], world.read(path));
        }
    }
    assert_eq!(
        paths(&planned),
        [
            "/etc/sysctl.d/90-cttune.conf",
            "/etc/sysctl.conf",
            "/etc/cttune/services.nft",
            "/etc/systemd/system/cttune-services.service",
            "/etc/systemd/system/multi-user.target.d/cttune.conf",
            "/etc/systemd/system/nftables.service.d/cttune.conf",
            "/etc/cttune/active.toml"
        ]
    );
}

#[test]
fn limits_come_before_timeouts_and_a_nearly_full_table_gets_room_first() {
    let timeouts = [
        ("tcp_timeout_established", 7440),
        ("udp_timeout", 120),
        ("udp_timeout_stream", 180),
    ];
    for (world, limits) in [
        (
            World::new(),
            &[("buckets", 1_048_576), ("max", 1_048_576)][..],
        ),
        (
            // The present buckets suffice for four entries each.
            World::story(),
            &[("max", 262_144), ("buckets", 1_048_576), ("max", 1_048_576)],
        ),
    ] {
        let wanted = [limits, &timeouts].concat();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(name, to)| ((*name).to_owned(), *to))
            .collect();
        assert_eq!(live_steps(&plan(&world, &[])), wanted);
        // Every step starts from where the one before it on the same key ended.
        let planned = plan(&world, &[]);
        let mut holds = std::collections::HashMap::new();
        for step in planned["steps"].as_array().unwrap() {
            let Some(key) = step["key"].as_str() else {
                continue;
            };
            if let Some(held) = holds.insert(key, &step["to"]) {
                assert_eq!(&step["from"], held, "{step}");
            }
        }
    }
}

#[test]
fn only_live_writes_no_file_and_only_persist_no_sysctl() {
    let world = World::new();
    let (state, times) = (world.state(), world.times());
    let planned = plan(&world, &["--only", "live"]);
    assert_eq!(paths(&planned), Vec::<&str>::new());
    world
        .cttune(&[&APPLY[..], &["--only", "live"]].concat())
        .exits(0);
    assert_same(&times, &world.times(), "--only live");
    assert_eq!(world.sysctl("udp_timeout"), 120);

    let world = World::new();
    world
        .cttune(&[&ADOPT[..], &["--only", "persist"]].concat())
        .exits(0);
    assert_eq!(
        live_steps(&plan(&world, &["--only", "persist"])),
        Vec::new()
    );
    for (name, value) in [("max", 76_800), ("udp_timeout", 30)] {
        assert_eq!(world.sysctl(name), value);
        assert!(state.contains(&format!("nf_conntrack_{name}:{value}\n")));
    }
    assert!(
        world
            .read("/etc/sysctl.d/90-cttune.conf")
            .contains("nf_conntrack_max = 1048576")
    );
    world.cttune(&["plan", "--only", "persist"]).exits(0);
    world.cttune(&["check"]).exits(2);
}

#[test]
fn detailed_exitcode_tells_a_change_from_none() {
    let world = World::new();
    let detailed = [&ADOPT[..], &["--detailed-exitcode"]].concat();
    world.cttune(&detailed).exits(2);
    world.cttune(&detailed).exits(0);
}

#[test]
fn set_overrides_the_profile_and_is_remembered_with_it() {
    let world = World::new();
    let set = [
        "--set",
        "udp_timeout=61",
        "--set",
        "tcp_timeout_established=2h5m",
    ];
    world.cttune(&[&ADOPT[..], &set].concat()).exits(0);
    assert_eq!(
        (
            world.sysctl("udp_timeout"),
            world.sysctl("tcp_timeout_established")
        ),
        (61, 7500)
    );
    let told = world.cttune(&["check", "--format", "json"]).exits(0);
    assert_eq!(told.json()["profile"], "campus-fw");
    // Without them the profile asks for something else.
    world.cttune(&["check", "--profile", "campus-fw"]).exits(2);
    world.cttune(&["check", "--set", "udp_timeout=62"]).exits(2);
    world
        .cttune(&["apply", "--yes", "--set", "udp_timeout=62"])
        .exits(0);
    assert_eq!(
        (
            world.sysctl("udp_timeout"),
            world.sysctl("tcp_timeout_established")
        ),
        (62, 7500)
    );
    world.cttune(&["check"]).exits(0);
}

/// Remembered as a profile of its own it would extend itself, and nothing could read it again.
#[test]
fn what_is_remembered_never_extends_itself() {
    const ACTIVE: &str = "/etc/cttune/active.toml";
    let world = World::new();
    world
        .cttune(&[&ADOPT[..], &["--set", "udp_timeout=61"]].concat())
        .exits(0);
    let remembered = world.read(ACTIVE);
    let told = world.cttune(&["apply", "--yes", "--profile", ACTIVE, "--format", "json"]);
    assert_eq!(told.exits(0).json()["changed"], false);
    assert_eq!(world.read(ACTIVE), remembered);

    for damaged in [
        "",
        "[sysctl]\nudp_timeout = 50\n",
        "extends = \"gone\"\n",
        "x = [",
    ] {
        fs::write(world.path(ACTIVE), damaged).unwrap();
        for command in [&["check"][..], &["plan"], &["apply", "--yes"]] {
            world
                .cttune(command)
                .exits(1)
                .says(&[ACTIVE, "--no-profile"]);
        }
        assert_eq!(world.read(ACTIVE), damaged);
    }
    world.cttune(&["check", "--no-profile"]).exits(0);
    world.cttune(&APPLY).exits(0);
    world.cttune(&["check"]).exits(0);
}

#[test]
fn what_is_added_to_the_remembered_profile_by_hand_counts() {
    let world = World::new();
    world.cttune(&ADOPT).exits(0);
    world.cttune(&["check"]).exits(0);
    let path = world.path("/etc/cttune/active.toml");
    let remembered = fs::read_to_string(&path).unwrap();
    let by_hand = "[sysctl]\nudp_timeout_stream = { at-least = 400 }\n";
    fs::write(&path, format!("{remembered}{by_hand}")).unwrap();
    let told = world.cttune(&["check", "--format", "json"]).exits(2).json();
    assert_eq!(told["profile"], "campus-fw");
    let settings = told["settings"].as_array().unwrap().iter();
    let off: Vec<_> = settings.filter(|one| one["state"] != "ok").collect();
    let [stream] = off[..] else {
        panic!("{off:#?}");
    };
    assert_eq!(stream["wanted"], 400);
}

#[test]
fn a_larger_table_is_never_shrunk() {
    let world = World::new();
    world.sh("cd /proc/sys/net/netfilter
        echo 2000000 >nf_conntrack_max; echo 2000384 >nf_conntrack_buckets");
    let names: Vec<_> = live_steps(&plan(&world, &[]))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "tcp_timeout_established",
            "udp_timeout",
            "udp_timeout_stream"
        ]
    );
    world.cttune(&ADOPT).exits(0);
    assert_eq!(
        (world.sysctl("max"), world.sysctl("buckets")),
        (2_000_000, 2_000_384)
    );
    world.cttune(&["check"]).exits(0);
}

#[test]
fn buckets_are_rounded_up_before_anything_is_compared_or_written() {
    let world = World::new();
    let set = ["--set", "buckets=100000", "--set", "max=100000"];
    let planned = plan(&world, &[&["--adopt"], &set[..]].concat());
    assert_eq!(
        live_steps(&planned)[..2],
        [("buckets".into(), 100_352), ("max".into(), 100_000)]
    );
    world.cttune(&[&ADOPT[..], &set].concat()).exits(0);
    assert_eq!(
        (world.sysctl("buckets"), world.sysctl("max")),
        (100_352, 100_000)
    );
    assert!(
        world
            .read("/etc/sysctl.d/90-cttune.conf")
            .contains("nf_conntrack_buckets = 100352\n")
    );
    world.cttune(&["check"]).exits(0);
    let told = world.cttune(&[
        "apply",
        "--yes",
        "--set",
        "buckets=100001",
        "--format",
        "json",
    ]);
    let names: Vec<_> = live_steps(&told.exits(0).json());
    assert_eq!(names, Vec::new(), "it holds already");
}

#[test]
fn max_below_what_the_table_holds_takes_permission() {
    let world = World::story();
    let state = world.state();
    let lower = [
        "apply",
        "--profile",
        "kernel-defaults",
        "--set",
        "max=50000",
        "--only",
        "live",
        "--yes",
    ];
    let told = world.cttune(&lower).exits(1).briefly();
    told.says(&[
        "nf_conntrack_max = 50000 is below the ",
        "nothing was changed",
        "--allow-max-below-count",
    ]);
    assert_same(&state, &world.state(), "refused");
    world
        .cttune(&[&lower[..], &["--allow-max-below-count"]].concat())
        .exits(0);
    assert_eq!(world.sysctl("max"), 50_000);
}

#[test]
fn lowering_max_comes_last_and_lowering_buckets_after_it() {
    let world = World::new();
    let planned = plan(&world, &["--set", "max=20480", "--set", "buckets=20480"]);
    let names: Vec<_> = live_steps(&planned)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names[names.len() - 2..], ["max", "buckets"]);
    assert_eq!(names.len(), 5);
}

#[test]
fn a_required_key_that_the_kernel_lacks_stops_apply() {
    let world = World::new();
    let text =
        "[sysctl]\nudp_timeout = 45\ndccp_timeout_open = { value = 43200, required = true }\n";
    let profile = world.place.write("small.toml", text);
    let state = world.state();
    let told = world
        .cttune(&["apply", "--profile", &profile, "--yes"])
        .exits(1)
        .briefly();
    told.says(&[
        "dccp_timeout_open",
        "missing on this kernel",
        "nothing was changed",
    ]);
    assert_same(&state, &world.state(), "refused");

    let profile = world
        .place
        .write("small.toml", &text.replace(", required = true", ""));
    world
        .cttune(&["apply", "--profile", &profile, "--yes"])
        .exits(0);
    world.cttune(&["check"]).exits(0);
}

#[test]
fn a_root_is_written_below_it_and_nowhere_else() {
    let world = World::new();
    let conf = "# site\nnet.netfilter.nf_conntrack_max=131072\n";
    world.place.write("image/etc/sysctl.conf", conf);
    let image = world.place.path().join("image");
    let root = ["--root", image.to_str().unwrap()];
    let state = world.state();
    let told = world.cttune(&[&APPLY[..], &root].concat()).exits(1);
    told.says(&["/etc/sysctl.conf:2 sets net.netfilter.nf_conntrack_max = 131072"]);
    assert_eq!(fs::read_dir(image.join("etc")).unwrap().count(), 1);

    let told = world
        .cttune(&[&ADOPT[..], &root, &["--format", "json"]].concat())
        .exits(0);
    assert_eq!(live_steps(&told.json()), Vec::new());
    assert_same(&state, &world.state(), "--root");
    let read = |name: &str| fs::read_to_string(image.join(name)).unwrap();
    assert!(read("etc/sysctl.d/90-cttune.conf").contains("nf_conntrack_max = 1048576"));
    assert!(read("etc/cttune/active.toml").contains("extends = \"campus-fw\""));
    // No kernel is installed in it, so that conntrack may well be a module.
    assert!(read("etc/modules-load.d/cttune.conf").contains("nf_conntrack\n"));
    let lines: Vec<String> = read("etc/sysctl.conf").lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "# site");
    assert!(lines[1].starts_with('#'), "{lines:?}");

    let check = ["check", "--root", root[1]];
    let told = world.cttune(&check).exits(0);
    assert!(told.stdout.contains("campus-fw"), "{told}");
    world
        .cttune(
            &[
                &["plan", "--only", "live", "--profile", "campus-fw"][..],
                &root,
            ]
            .concat(),
        )
        .exits(64);
    let told = world
        .cttune(&[&ADOPT[..], &root, &["--format", "json"]].concat())
        .exits(0);
    assert_eq!(told.json()["changed"], false);
}

#[test]
fn a_root_that_is_none_is_named() {
    let world = World::new();
    let file = world.place.write("file", "");
    for root in ["/no/such/root", &file] {
        let told = world
            .cttune(&[&APPLY[..], &["--root", root]].concat())
            .exits(1);
        told.briefly().says(&[root]);
    }
}

#[test]
fn another_namespace_gets_values_and_no_file_is_written() {
    let world = World::new();
    let (_keeper, pid) = world.netns();
    let cttune = |args: &[&str]| {
        let mut command = world.command_among_processes("cttune");
        Told::by(command.args(args).args(["--netns", &pid]))
    };
    let state = world.state();
    let times = world.times();
    let told = cttune(&[&APPLY[..], &["--format", "json"]].concat()).exits(0);
    let applied = told.json();
    assert_eq!(applied["changed"], true);
    assert_eq!(paths(&applied), Vec::<&str>::new());
    let names: Vec<_> = live_steps(&applied)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "tcp_timeout_established",
            "udp_timeout",
            "udp_timeout_stream"
        ]
    );
    assert_same(
        &state,
        &world.state(),
        "the namespace that cttune was started in",
    );
    assert_same(&times, &world.times(), "--netns");
    cttune(&["check", "--profile", "campus-fw"]).exits(0);
    let told = cttune(&[&APPLY[..], &["--format", "json"]].concat()).exits(0);
    assert_eq!(told.json()["changed"], false);

    let told = cttune(&[&APPLY[..], &["--only", "persist"]].concat())
        .exits(64)
        .briefly();
    told.says(&["--only persist", "--netns"]);
    cttune(&["check", "--explain", "max"]).exits(64).briefly();
    cttune(&["check", "--root", "/"]).exits(64).briefly();
}
