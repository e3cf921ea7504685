//! `profile export`: what other programs read is what the profile asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::World;

const PROFILE: &str = "[sysctl]\nmax = { at-least = 70000, per-cpu = 100 }\n\
    udp_timeout = 45\nacct = 1\n[expire]\nmode = \"delete\"\n";

#[test]
fn sysctl_sets_what_was_exported_and_the_rest_is_said() {
    let world = World::new();
    let profile = world.place.write("site.toml", PROFILE);
    let told = world.cttune(&["profile", "export", &profile, "--to", "sysctl.d"]);
    let told = told.exits(0).says(&[
        "note: not said there: net.netfilter.nf_conntrack_max = 70000 is a bound",
        "the table [expire]",
        "the module: add nf_conntrack to /etc/modules-load.d",
    ]);
    let file = world.place.write("exported.conf", &told.stdout);
    world.sh(&format!("sysctl -p {file}"));
    assert_eq!(world.sysctl("udp_timeout"), 45);
    assert_eq!(world.sysctl("acct"), 1);
    assert_eq!(world.sysctl("max"), 70_000);
    world
        .cttune(&["apply", &profile, "--only", "live", "--yes"])
        .exits(0)
        .says(&[]);
    assert_eq!(world.sysctl("max"), 70_000);
}

#[test]
fn every_shipped_profile_has_every_form() {
    let world = World::new();
    let list = world.cttune(&["profile", "list", "--json"]).json();
    let names = list["profiles"].as_array().unwrap();
    assert!(names.len() >= 10);
    for name in names.iter().map(|one| one["name"].as_str().unwrap()) {
        for to in [
            "sysctl.d",
            "kube-proxy",
            "openshift-tuned",
            "talos",
            "ansible-vars",
        ] {
            let export = ["profile", "export", name, "--to", to];
            let told = world.cttune(&export).exits(0);
            assert!(
                told.stdout
                    .starts_with(&format!("# cttune profile export {name} --to {to}\n")),
                "{told}"
            );
            let json = [&export[..], &["--json"]].concat();
            let told_json = world.cttune(&json).exits(0).json();
            assert_eq!(told_json["text"], told.stdout.as_str());
            assert_eq!(told_json["to"], to);
            let unsaid = told_json["cannot_say"].as_array().unwrap();
            assert_eq!(
                unsaid.len(),
                told.stderr.matches("note: not said there").count()
            );
        }
    }
    world
        .cttune(&["profile", "export", "--to", "talos"])
        .exits(64)
        .says(&["none is active"]);
    world
        .cttune(&["profile", "export", "campus-fw", "--to", "puppet"])
        .exits(64);
}
