//! What a plan promises: nothing gets smaller unsaid, what blocks it tells, and what somebody set
//! beside a profile is neither lost nor hidden.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{Told, World};

const MAX: &str = "net.netfilter.nf_conntrack_max";

/// What each reader will leave in the kernel at the next boot.
fn at_boot(world: &World, root: &[&str], key: &str) -> Vec<Value> {
    let explain = ["check", "--explain", key, "--format", "json"];
    let told = world.cttune(&[root, &explain].concat()).json();
    ["procps", "systemd"]
        .map(|reader| told[reader]["value"].clone())
        .into()
}

fn drop_in(plan: &Value) -> String {
    let steps = plan["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["path"] == "/etc/sysctl.d/90-cttune.conf");
    step.map(|step| step["to"].as_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[test]
fn a_larger_persisted_value_is_kept_at_the_next_boot() {
    for (profile, file, live, kept) in [
        (
            "max = { at-least = 200000 }",
            "/etc/sysctl.d/60-site.conf",
            76_800,
            524_288,
        ),
        (
            "max = { at-least = 200000 }",
            "/run/sysctl.d/10-early.conf",
            300_000,
            524_288,
        ),
        (
            "max = { per-cpu = 1000 }",
            "/run/sysctl.d/50-vendor.conf",
            76_800,
            524_288,
        ),
        (
            "max = { at-most = 900000 }",
            "/etc/sysctl.d/60-site.conf",
            700_000,
            524_288,
        ),
        (
            "max = { at-least = 200000 }",
            "/etc/sysctl.d/60-site.conf",
            600_000,
            600_000,
        ),
    ] {
        let world = World::new();
        world.sh(&format!(
            "sed -i /conntrack/d /etc/sysctl.conf
             mkdir -p $(dirname {file})
             echo '{MAX} = 524288' >{file}
             echo {live} >/proc/sys/net/netfilter/nf_conntrack_max"
        ));
        // Another key is why a drop-in is written at all.
        let text = format!("[sysctl]\n{profile}\nudp_timeout = 45\n");
        let profile = world.place.write("site.toml", &text);
        let plan = ["plan", "--profile", &profile, "--format", "json"];
        let plan = world.cttune(&plan).exits(2).json();
        assert_eq!(plan["lowers"], json!([]), "{text}");
        world
            .cttune(&["apply", "--profile", &profile, "--yes"])
            .exits(0);
        assert_eq!(
            at_boot(&world, &[], "max"),
            [kept, kept],
            "{text} {file} {live}"
        );
        world.cttune(&["check"]).exits(0);
        world.cttune(&["plan"]).exits(0);
    }
}

#[test]
fn an_image_keeps_its_larger_values_too() {
    for (sysctl, key, text, kept) in [
        (
            "max = { at-least = 200000 }",
            "max",
            format!("{MAX} = 1048576\n"),
            1_048_576,
        ),
        (
            "max = { at-least = 200000 }\nbuckets = { follow = \"max\" }",
            "buckets",
            "net.netfilter.nf_conntrack_buckets = 2097152\n".to_owned(),
            2_097_152,
        ),
    ] {
        let world = World::new();
        world.place.write("image/etc/sysctl.d/60-site.conf", &text);
        let image = world.place.path().join("image");
        let root = ["--root", image.to_str().unwrap()];
        let text = format!("[sysctl]\n{sysctl}\nudp_timeout = 45\n");
        let profile = world.place.write("site.toml", &text);
        let plan = ["plan", "--profile", &profile, "--format", "json"];
        let plan = world.cttune(&[&root[..], &plan].concat()).exits(2).json();
        let line = format!("net.netfilter.nf_conntrack_{key} = {kept}\n");
        assert!(drop_in(&plan).contains(&line), "{plan:#}");
        let apply = ["apply", "--profile", &profile, "--yes"];
        world.cttune(&[&root[..], &apply].concat()).exits(0);
        assert_eq!(at_boot(&world, &root, key), [kept, kept]);
    }
}

/// The module's options and rules of udev give a size as well.
#[test]
fn a_size_that_no_line_of_sysctl_d_sets_is_not_made_smaller_unsaid() {
    let rule = format!(
        "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \
         SYSCTL{{{MAX}}}=\"1048576\"\n"
    );
    for (path, text) in [
        (
            "etc/modprobe.d/site.conf",
            "options nf_conntrack hashsize=131072\n",
        ),
        (
            "boot/grub/grub.cfg",
            "linux /vmlinuz nf-conntrack.hashsize=131072\n",
        ),
        ("etc/udev/rules.d/site.rules", rule.as_str()),
    ] {
        let world = World::new();
        world.place.write(&format!("image/{path}"), text);
        let image = world.place.path().join("image");
        let image = image.to_str().unwrap();
        let plan = |profile: &str| {
            let text = format!("[sysctl]\n{profile}\nudp_timeout = 45\n");
            let profile = world.place.write("site.toml", &text);
            let plan = [
                "--root",
                image,
                "plan",
                "--profile",
                &profile,
                "--format",
                "json",
            ];
            world.cttune(&plan).exits(2).json()
        };
        let kept = plan("max = { at-least = 1000 }");
        let line = format!("{MAX} = 1048576\n");
        assert!(drop_in(&kept).contains(&line), "{path}: {kept:#}");
        assert_eq!(kept["lowers"], json!([]), "{path}");
        let lowered = plan("max = 1000");
        let expected = json!([{ "key": MAX, "when": "next-boot", "from": 1_048_576, "to": 1000 }]);
        assert_eq!(lowered["lowers"], expected, "{path}");
    }
}

#[test]
fn what_gets_smaller_is_in_the_first_lines() {
    let world = World::new();
    world.sh(&format!(
        "sed -i /conntrack/d /etc/sysctl.conf
         echo '{MAX} = 524288' >/etc/sysctl.d/60-site.conf
         echo 45 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout"
    ));
    let profile = world
        .place
        .write("site.toml", "[sysctl]\nmax = 76000\nudp_timeout = 30\n");
    let plan = ["plan", "--profile", &profile, "--color", "never"];
    let told = world.cttune(&plan).exits(2);
    let lines: Vec<&str> = told.stdout.lines().skip(1).take(3).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "lowers udp_timeout 45s → 30s live",
            "lowers max 76,800 → 76,000 live",
            "lowers max 524,288 → 76,000 at the next boot",
        ],
        "{told}"
    );
    let last = told.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("2 live values, 2 new files; lowers "),
        "{told}"
    );
    let lowers = world
        .cttune(&[&plan[..], &["--format", "json"]].concat())
        .json()["lowers"]
        .clone();
    let at_boot = json!({ "key": MAX, "when": "next-boot", "from": 524_288, "to": 76_000 });
    assert!(lowers.as_array().unwrap().contains(&at_boot), "{lowers}");
    let told = world
        .cttune(&["apply", "--profile", &profile, "--yes"])
        .exits(0);
    told.says(&["note: lowers max 524,288 → 76,000 at the next boot"]);
}

#[test]
fn a_blocked_plan_exits_with_2_and_says_so_first() {
    let world = World::new();
    let read_only = |args: &str| -> Told {
        world.try_sh(&format!(
            "exec unshare -m sh -ec 'mount --bind /proc/sys /proc/sys
             mount -o remount,ro,bind /proc/sys; exec cttune {args} --color never'"
        ))
    };
    let required = world.place.write(
        "required.toml",
        "[sysctl]\ndccp_timeout_open = { value = 43200, required = true }\n",
    );
    let below = world
        .place
        .write("below.toml", "[sysctl]\nmax = 900000\nudp_timeout = 31\n");
    for told in [
        read_only(&format!("plan --profile {below} --only live")),
        read_only(&format!("apply --dry-run --profile {below} --only live")),
        world.cttune(&[
            "plan",
            "--profile",
            &required,
            "--only",
            "live",
            "--color",
            "never",
        ]),
    ] {
        let told = told.exits(2);
        let first = told.stdout.lines().nth(1).unwrap();
        assert!(first.starts_with("blocked: net.netfilter."), "{told}");
        assert!(
            told.stdout.lines().next().unwrap().ends_with(" 0 steps"),
            "{told}"
        );
    }
    read_only(&format!("apply --yes --profile {below} --only live")).exits(1);
    world
        .cttune(&["apply", "--yes", "--profile", &required, "--only", "live"])
        .exits(1);
}

#[test]
fn what_is_set_beside_a_profile_is_shown_and_said_where_it_is_dropped() {
    for (set, name, value, other) in [
        (
            "udp_timeout=1_00",
            "udp_timeout",
            100,
            "udp_timeout_stream=200",
        ),
        ("max=1_048_576", "max", 1_048_576, "acct=1"),
    ] {
        let world = World::new();
        world.sh("sed -i /conntrack/d /etc/sysctl.conf");
        let profile = world
            .place
            .write("site.toml", "[sysctl]\nicmp_timeout = 45\n");
        let apply = ["apply", "--yes", "--profile", &profile];
        world
            .cttune(&[&apply[..], &["--set", set]].concat())
            .exits(0);
        assert_eq!(world.sysctl(name), value);
        let checked = world.cttune(&["check", "--color", "never"]).exits(0);
        let profile_line = format!("profile: {profile}, with --set {name}={value}");
        assert!(
            checked.stdout.lines().any(|line| line == profile_line),
            "{checked}"
        );
        let key = format!("net.netfilter.nf_conntrack_{name}");
        let checked = world.cttune(&["check", "--format", "json"]).json();
        assert_eq!(checked["overrides"], json!({ &key: value }));
        let plan = [
            "plan",
            "--profile",
            &profile,
            "--set",
            other,
            "--format",
            "json",
        ];
        let plan = world.cttune(&plan).json();
        assert_eq!(plan["dropped_overrides"], json!([key]));
        let told = world
            .cttune(&[&apply[..], &["--set", other]].concat())
            .exits(0);
        told.says(&[&format!(
            "drops what an earlier apply set beside the profile: {name}"
        )]);
        let history = world.cttune(&["history", "--format", "json"]).json();
        let overrides = |index: usize| history["changes"][index]["overrides"].clone();
        assert!(
            [overrides(0), overrides(1)].contains(&json!({ &key: value })),
            "{history:#}"
        );
    }
}

#[test]
fn what_somebody_wrote_into_the_active_profile_counts_and_stays() {
    for (line, key, now, wanted) in [
        (
            "icmp_timeout = { at-least = 50 } # two sites",
            "icmp_timeout",
            30,
            50,
        ),
        (
            "max = { at-least = 200_000, why = \"growth\" }",
            "max",
            76_800,
            200_000,
        ),
    ] {
        let world = World::new();
        world.sh("sed -i /conntrack/d /etc/sysctl.conf");
        let profile = world
            .place
            .write("site.toml", "[sysctl]\nudp_timeout = 45\n");
        world
            .cttune(&["apply", "--yes", "--profile", &profile])
            .exits(0);
        world.sh(&format!(
            "printf '[sysctl]\\n%s\\n' '{line}' >>/etc/cttune/active.toml"
        ));
        assert_eq!(world.sysctl(key), now);
        world.cttune(&["check"]).exits(2);
        world.cttune(&["apply", "--yes"]).exits(0);
        assert_eq!(world.sysctl(key), wanted);
        let active = world.read("/etc/cttune/active.toml");
        assert!(active.contains(line), "{active}");
        world
            .cttune(&["apply", "--yes", "--set", "acct=1"])
            .exits(0);
        let active = world.read("/etc/cttune/active.toml");
        assert!(
            active.contains(line) && active.contains("nf_conntrack_acct = 1"),
            "{active}"
        );
        world.cttune(&["check"]).exits(0);
    }
}
