//! What `check --root` says of an image's next boot and of the agents in it, as machines read it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const MAX: (&str, &str) = (
    "etc/sysctl.d/50-site.conf",
    "net.netfilter.nf_conntrack_max = 200000\n",
);
/// A kernel in which conntrack is a module, and nf_nat needs it.
const MODULE: (&str, &str) = (
    "lib/modules/6.1.0-9-amd64/modules.dep",
    "kernel/net/netfilter/nf_nat.ko: kernel/net/netfilter/nf_conntrack.ko\n",
);
const BUILT_IN: (&str, &str) = (
    "lib/modules/6.1.0-9-amd64/modules.builtin",
    "kernel/net/netfilter/nf_conntrack.ko\n",
);
const HASH_SIZE: (&str, &str) = (
    "etc/modprobe.d/site.conf",
    "options nf_conntrack hashsize=16384\n",
);

/// `severity id: message` of each finding about an image with these files.
fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let image = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = image.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    check(image.path())
}

fn check(image: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(["check", "--no-profile", "--format", "json", "--root"])
        .arg(image)
        .output()
        .unwrap();
    let checked: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let told = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("severity"), text("id"), text("message"))
    };
    let findings = checked["findings"].as_array().unwrap();
    findings.iter().map(told).collect()
}

#[track_caller]
fn one(findings: &[String], start: &str) {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].starts_with(start), "{findings:#?}");
}

#[test]
fn values_are_lost_where_nothing_loads_the_module() {
    let lost = "warning lost-at-boot: lost: nothing loads nf_conntrack before sysctl.d is applied; \
                1 value of sysctl.d";
    one(&findings(&[MAX, MODULE]), lost);
    for loads in ["nf_conntrack\n", "nf_nat\n"] {
        let early = ("usr/lib/modules-load.d/firewall.conf", loads);
        assert_eq!(findings(&[MAX, MODULE, early]), [""; 0]);
    }
    assert_eq!(findings(&[MAX, BUILT_IN]), [""; 0]);
    assert_eq!(findings(&[MODULE]), [""; 0]);
}

#[test]
fn what_apply_writes_takes_the_finding_away() {
    let image = tempfile::tempdir().unwrap();
    let conf = image.path().join(MAX.0);
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::write(conf, MAX.1).unwrap();
    assert_eq!(check(image.path()).len(), 1);
    let applied = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(["apply", "--yes", "--profile", "rfc-nat", "--root"])
        .arg(image.path())
        .output()
        .unwrap();
    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(check(image.path()), [""; 0]);
}

#[test]
fn a_hash_size_is_named_with_the_max_that_it_brings() {
    one(
        &findings(&[HASH_SIZE, MODULE]),
        "warning hashsize-option: /etc/modprobe.d/site.conf:1 loads nf_conntrack with \
         hashsize=16384: the next boot brings net.netfilter.nf_conntrack_max = 131072 = 8 × 16384",
    );
    assert_eq!(findings(&[HASH_SIZE, BUILT_IN]), [""; 0]);
}

#[test]
fn agents_are_found_by_their_files() {
    let ufw = [
        ("etc/ufw/ufw.conf", "ENABLED=yes\n"),
        ("etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
        ("etc/ufw/sysctl.conf", "net/netfilter/nf_conntrack_max=5\n"),
    ];
    one(
        &findings(&ufw),
        "info agent-ufw: /etc/ufw/sysctl.conf:1 sets net.netfilter.nf_conntrack_max = 5",
    );
    let tuned = [
        ("etc/tuned/active_profile", "site\n"),
        (
            "usr/lib/tuned/profiles/site/tuned.conf",
            "[sysctl]\nnet.netfilter.nf_conntrack_max=5\n",
        ),
    ];
    one(
        &findings(&tuned),
        "info agent-tuned: tuned's active profile site sets net.netfilter.nf_conntrack_max = 5 \
         (/usr/lib/tuned/profiles/site/tuned.conf:2)",
    );
}
