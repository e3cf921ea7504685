//! `plan --out FILE`, then `apply FILE`: the plan that was looked at is applied, or none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Told, World, assert_same};

const PROFILE: &str = "[sysctl]\nmax = 100000\nudp_timeout = 45\n";

struct Planned {
    world: World,
    file: String,
}

impl Planned {
    fn new() -> Self {
        let world = World::new();
        world.agree();
        let profile = world.place.write("site.toml", PROFILE);
        let file = world.place.path().join("tonight.json");
        let file = file.to_str().unwrap().to_owned();
        let told = world.cttune(&["plan", &profile, "--adopt", "--out", &file]);
        told.exits(2)
            .says(&["saved; to apply this plan: cttune apply"]);
        Planned { world, file }
    }

    fn apply(&self, more: &[&str]) -> Told {
        let args = ["apply", &self.file, "--yes"];
        self.world.cttune(&[&args[..], more].concat())
    }
}

#[test]
fn a_saved_plan_is_applied_from_any_folder_and_can_be_undone() {
    let planned = Planned::new();
    let world = &planned.world;
    let before = world.state();
    let show = world.cttune(&["apply", &planned.file, "--dry-run"]);
    show.exits(2);
    assert_same(&before, &world.state(), "--dry-run");
    planned.apply(&[]).exits(0);
    assert_eq!(world.sysctl("max"), 100_000);
    assert_eq!(world.sysctl("udp_timeout"), 45);
    world.cttune(&["check"]).exits(0);
    world.cttune(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &world.state(), "rollback");
}

#[test]
fn whatever_changed_since_is_named_and_nothing_is_done() {
    let max = "net.netfilter.nf_conntrack_max";
    let udp = "net.netfilter.nf_conntrack_udp_timeout";
    for (change, named) in [
        (
            "echo 44 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout",
            format!("{udp} was 30, and is 44 now"),
        ),
        // It is as the profile asks by now, so that nothing would be left to do for it.
        (
            "echo 45 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout",
            format!("{udp} was 30, and is 45 now"),
        ),
        (
            "echo '# a note' >>/etc/sysctl.conf",
            "/etc/sysctl.conf differs".to_owned(),
        ),
        (
            "echo hello >/etc/sysctl.d/90-cttune.conf",
            "blocked now: /etc/sysctl.d/90-cttune.conf:1 was not written by cttune".to_owned(),
        ),
        (
            "echo 'net.netfilter.nf_conntrack_max = 5' >/etc/sysctl.d/99-z.conf",
            "/etc/sysctl.d/99-z.conf differs".to_owned(),
        ),
        // The drop-in overrides it, so that the steps stay the same.
        (
            "echo 'net.netfilter.nf_conntrack_udp_timeout = 600' >/etc/sysctl.d/30-a.conf",
            format!("the plan would now lower {udp} from 600 to 45 at the next boot"),
        ),
        (
            "echo 'net.netfilter.nf_conntrack_udp_timeout = 10' >/etc/sysctl.d/30-a.conf",
            format!("{udp} at the next boot, without the plan: was not set, is 10 now"),
        ),
        (
            "sed -i s/100000/90000/ PROFILE",
            format!("the plan would now set {max} to 90000, not to 100000"),
        ),
    ] {
        let planned = Planned::new();
        let world = &planned.world;
        let profile = world.place.path().join("site.toml");
        world.sh(&change.replace("PROFILE", profile.to_str().unwrap()));
        let before = world.state();
        for more in [&[][..], &["--dry-run"][..]] {
            let args = ["apply", &planned.file];
            let more = if more.is_empty() { &["--yes"] } else { more };
            let told = world.cttune(&[&args[..], more].concat()).exits(1);
            told.says(&["refusing", "is out of date", &named, "--adopt --out"]);
        }
        let told = planned.apply(&["--json"]).exits(1);
        let message = told.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&named), "{message}");
        assert_same(&before, &world.state(), change);
    }
}

#[test]
fn a_plan_is_applied_once() {
    let planned = Planned::new();
    planned.apply(&[]).exits(0);
    planned
        .apply(&[])
        .exits(1)
        .says(&["nf_conntrack_max was 76800, and is 100000 now"]);
}

#[test]
fn a_file_that_others_may_write_or_that_is_no_plan_is_refused() {
    let planned = Planned::new();
    let world = &planned.world;
    let before = world.state();
    let text = fs::read_to_string(&planned.file).unwrap();
    fs::set_permissions(&planned.file, fs::Permissions::from_mode(0o666)).unwrap();
    // Only root asks who else could have written it.
    planned
        .apply(&[])
        .exits(1)
        .says(&["refusing the saved plan", "others may write it (mode 0666)"]);
    fs::set_permissions(&planned.file, fs::Permissions::from_mode(0o644)).unwrap();
    for (damaged, said) in [
        (text[..text.len() / 2].to_owned(), "is no saved plan: EOF"),
        ("[]".to_owned(), "is no saved plan"),
        ("{}".to_owned(), "missing field `schema`"),
        (
            text.replacen("\"schema\": 1", "\"schema\": 2", 1),
            "it has schema 2, this cttune reads schema 1",
        ),
        // A step of somebody's own is no step of the plan.
        (
            text.replacen("/etc/cttune/active.toml", "/etc/passwd", 1),
            "is out of date",
        ),
        (
            text.replacen("\"to\": 100000", "\"to\": 7", 1),
            "to 100000, not to 7",
        ),
    ] {
        assert!(damaged != text, "{said}");
        fs::write(&planned.file, &damaged).unwrap();
        planned.apply(&[]).exits(1).says(&[said]);
    }
    let other = text.replacen("\"host\": \"", "\"host\": \"other-", 1);
    fs::write(&planned.file, other).unwrap();
    planned
        .apply(&[])
        .exits(1)
        .says(&["it is a plan for the host other-"]);
    assert_same(&before, &world.state(), "refused");
}

#[test]
fn options_belong_to_the_plan_and_the_place_must_be_the_same() {
    let planned = Planned::new();
    let world = &planned.world;
    let (file, before) = (&planned.file, world.state());
    for (args, said) in [
        (
            vec!["apply", file, "--yes", "--set", "udp_timeout=9"],
            "--set cannot go with a saved plan",
        ),
        (
            vec!["apply", file, "--yes", "--adopt"],
            "--adopt cannot go with a saved plan",
        ),
        (vec!["plan", file], "is the name of a saved plan"),
        (vec!["check", file], "is the name of a saved plan"),
        (
            vec!["plan", "campus-fw", "--out", "plan.txt"],
            "write --out plan.txt.json",
        ),
    ] {
        world.cttune(&args).exits(64).says(&[said]);
    }
    let image = world.place.path().join("image");
    fs::create_dir_all(image.join("etc")).unwrap();
    let root = ["--root", image.to_str().unwrap()];
    planned.apply(&root).exits(1).says(&["leave --root out"]);
    let (_keeper, pid) = world.netns();
    let inside = ["apply", file, "--yes", "--netns", &pid];
    let told = Told::by(world.command_among_processes("cttune").args(inside));
    told.exits(1).says(&["leave --netns out"]);
    let saved = world.place.path().join("image.json");
    let saved = saved.to_str().unwrap();
    let plan = ["plan", "campus-fw", "--out", saved];
    world.cttune(&[&plan[..], &root].concat()).exits(2);
    world
        .cttune(&["apply", saved, "--yes"])
        .exits(1)
        .says(&["add --root"]);
    world
        .cttune(&[&["apply", saved, "--yes"][..], &root].concat())
        .exits(0);
    assert!(image.join("etc/sysctl.d/90-cttune.conf").exists());
    assert_same(&before, &world.state(), "refused");
}
