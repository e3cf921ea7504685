//! Each writer where it is there and sets another value, where it does no harm, where it is not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::boot::modules::ModuleFiles;
use crate::boot::writers::{Facts, File, Found, Process, Writers};
use crate::boot::{BootFiles, Tree};
use crate::plan::{Comparison, Files, Machine, Scope, plan};
use crate::profile::{self, Source};
use crate::tunable::{Conntrack, Host};

const DROP_IN: &str = "/etc/sysctl.d/90-cttune.conf";
const PROFILE: &str = "sysctl.nf_conntrack_max = 1048576";

/// A machine: its profile, sysctl.d, the files of writers, what runs.
#[derive(Default)]
struct World<'a> {
    profile: Option<&'a str>,
    sysctl: &'a [(&'a str, &'a str)],
    files: &'a [(&'a str, &'a str)],
    running: &'a [&'static str],
}

impl World<'_> {
    fn facts(&self) -> Facts<'static> {
        let process = |name: &&'static str| Process {
            name,
            pid: 7,
            arguments: vec![(*name).to_owned()],
            unit: None,
        };
        let mut all = BTreeMap::new();
        let mut folders: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for (path, text) in self.files {
            let path = Path::new(path);
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            folders
                .entry(path.parent().unwrap().to_owned())
                .or_default()
                .push(name);
            let file = File {
                text: (*text).to_owned(),
                is_executable: true,
            };
            all.insert(path.to_owned(), Found::File(file));
        }
        all.extend(
            folders
                .into_iter()
                .map(|(folder, names)| (folder, Found::Folder(names))),
        );
        Facts::of_files(self.running.iter().map(process).collect(), 8, all)
    }

    fn files(&self) -> Files {
        let mut tree = Tree::default();
        for (path, text) in self.sysctl {
            tree = tree.with_file(Path::new(path), Some((*text).into()));
        }
        let next_boot = NextBoot::new(BootFiles {
            tree,
            module: Some(ModuleFiles::default()),
            writers: Writers::of(&self.facts()),
            ..BootFiles::default()
        });
        Files::new(next_boot, BTreeMap::new(), None)
    }

    /// `severity id: message` of every finding.
    fn findings(&self) -> Vec<String> {
        let host = Host {
            cpus: 8,
            memory: 16 << 30,
            conntrack: Conntrack::NotLoaded,
        };
        let files = self.files();
        let machine = Machine {
            host: &host,
            live: None,
            files: Some(&files),
            table: None,
        };
        let desired = self.profile.map(|text| {
            let profile = profile::parse(&Source::new("test", text)).unwrap();
            profile::inherit(&[profile])
        });
        let scope = Scope {
            live: false,
            persist: true,
            adopt: false,
            replace: false,
        };
        let (comparison, blocked) = match &desired {
            None => (Comparison::without_profile(&machine), Vec::new()),
            Some(desired) => {
                let comparison = Comparison::new(desired, &machine).unwrap();
                let blocked = plan(desired, &comparison, &machine, scope).blocked;
                (comparison, blocked)
            }
        };
        let evidence = Evidence {
            blocked: &blocked,
            desired: desired.as_ref(),
            ..Evidence::of(machine, &comparison)
        };
        let told = |one: Finding| format!("{:?} {}: {}", one.severity, one.id.name(), one.message);
        findings(&evidence).into_iter().map(told).collect()
    }
}

/// Asserts that there is one finding, and that it begins and ends so.
#[track_caller]
fn one(world: &World<'_>, start: &str, end: &str) {
    let findings = world.findings();
    let [finding] = findings.as_slice() else {
        panic!("{findings:#?}");
    };
    assert!(
        finding.starts_with(start) && finding.ends_with(end),
        "{finding}"
    );
}

#[test]
fn a_machine_with_no_other_writer_has_no_finding() {
    let quiet = World {
        profile: Some(PROFILE),
        files: &[
            ("/etc/ufw/ufw.conf", "ENABLED=no\n"),
            ("/etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
            ("/etc/ufw/sysctl.conf", "net/netfilter/nf_conntrack_max=1\n"),
        ],
        ..World::default()
    };
    assert_eq!(quiet.findings(), [""; 0]);
}

#[test]
fn kube_proxy_is_a_warning_only_where_its_defaults_are_not_what_is_wanted() {
    let world = |profile| World {
        profile: Some(profile),
        running: &["kube-proxy"],
        ..World::default()
    };
    one(
        &world(PROFILE),
        "Warning agent-kube-proxy: kube-proxy runs here",
        "those before 1.36 have no upper bound",
    );
    assert!(world(PROFILE).findings()[0].contains("nf_conntrack_max = 262144, not 1048576"));
    one(
        &world("sysctl.nf_conntrack_max = 262144"),
        "Info agent-kube-proxy",
        "",
    );
    one(
        &world("sysctl.nf_conntrack_udp_timeout = 60"),
        "Info agent-kube-proxy",
        "",
    );
}

#[test]
fn ufw_is_named_with_the_line_that_it_applies() {
    let world = |conf| World {
        profile: Some(PROFILE),
        files: conf,
        ..World::default()
    };
    let with = |text| {
        [
            ("/etc/ufw/ufw.conf", "# on\nENABLED=yes\n"),
            ("/etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
            ("/etc/ufw/sysctl.conf", text),
        ]
    };
    let lower = with("#\nnet/netfilter/nf_conntrack_max=65536\n");
    one(
        &world(&lower),
        "Warning agent-ufw: /etc/ufw/sysctl.conf:2 (ufw) sets",
        "nf_conntrack_max = 65536 when ufw starts, not 1048576",
    );
    let same = with("net/netfilter/nf_conntrack_max=1048576\n");
    one(&world(&same), "Info agent-ufw", "when ufw starts");
    let comment = with("#net/netfilter/nf_conntrack_max=65536\n");
    assert_eq!(world(&comment).findings(), [""; 0]);
}

/// A tuned whose active profile includes one that sets max.
const TUNED: [(&str, &str); 3] = [
    ("/etc/tuned/active_profile", "site\n"),
    (
        "/etc/tuned/profiles/site/tuned.conf",
        "[main]\nsummary=x\ninclude=big\n",
    ),
    (
        "/usr/lib/tuned/big/tuned.conf",
        "[main]\ninclude=site\n[sysctl]\n# as many as fit\nnet.netfilter.nf_conntrack_max=>65536\n",
    ),
];

#[test]
fn tuned_is_named_by_the_line_of_the_profile_that_is_included() {
    let world = World {
        profile: Some(PROFILE),
        files: &TUNED,
        ..World::default()
    };
    one(
        &world,
        "Warning agent-tuned: tuned's active profile site sets",
        "= 65536 (/usr/lib/tuned/big/tuned.conf:5), not 1048576",
    );
}

#[test]
fn tuned_does_no_harm_where_it_applies_sysctl_d_again() {
    let kept = [(DROP_IN, "net.netfilter.nf_conntrack_max = 1048576\n")];
    let world = |files| World {
        profile: Some(PROFILE),
        sysctl: &kept,
        files,
        ..World::default()
    };
    one(&world(&TUNED), "Info agent-tuned", "applied again after it");
    let [active, site, big] = TUNED;
    let off = ("/etc/tuned/tuned-main.conf", "reapply_sysctl = 0\n");
    one(
        &world(&[active, site, big, off]),
        "Warning agent-tuned",
        "not 1048576",
    );
}

#[test]
fn firewalld_is_a_warning_where_it_unloads_the_module_for_good() {
    let unloads = (
        "/etc/firewalld/firewalld.conf",
        "CleanupModulesOnExit=yes\n",
    );
    let rule = (
        "/etc/udev/rules.d/x.rules",
        "KERNEL==\"nf_conntrack\", RUN+=\"/lib/systemd/systemd-sysctl\"",
    );
    for (files, start) in [
        (vec![unloads], "Warning agent-firewalld"),
        (vec![unloads, rule], "Info agent-firewalld"),
        (vec![], "Info agent-firewalld"),
    ] {
        let world = World {
            files: &files,
            running: &["firewalld"],
            ..World::default()
        };
        one(&world, start, "");
    }
}

#[test]
fn scripts_and_units_are_named_with_their_line() {
    let script = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=65535\n";
    let world = |profile, text| World {
        profile,
        files: Box::leak(Box::new([("/etc/rc.local", text)])),
        ..World::default()
    };
    one(
        &world(Some(PROFILE), script),
        "Warning later-writer: /etc/rc.local:2 (/etc/rc.local) sets",
        "nf_conntrack_max = 65535 at boot, not 1048576",
    );
    one(&world(None, script), "Info later-writer", "at boot");
    let same = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=1048576\n";
    one(&world(Some(PROFILE), same), "Info later-writer", "at boot");
    let unknown = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=$(size)\n";
    one(
        &world(Some(PROFILE), unknown),
        "Warning later-writer",
        "a value that cttune cannot tell",
    );
}

#[test]
fn docker_and_conntrackd_are_worth_knowing() {
    let world = |running| World {
        running,
        ..World::default()
    };
    one(&world(&["dockerd"]), "Info agent-docker", "");
    one(&world(&["conntrackd"]), "Info agent-conntrackd", "");
}

#[test]
fn a_managed_file_matters_only_where_one_of_its_lines_overrides_the_drop_in() {
    let world = |sysctl| World {
        profile: Some(PROFILE),
        sysctl,
        ..World::default()
    };
    let file = "/etc/sysctl.d/99-site.conf";
    let overrides = [(
        file,
        "# Ansible managed\nnet.netfilter.nf_conntrack_max = 5\n",
    )];
    one(
        &world(&overrides),
        "Warning managed-file: /etc/sysctl.d/99-site.conf is managed by Ansible",
        "",
    );
    let agrees = [(
        file,
        "# Ansible managed\nnet.netfilter.nf_conntrack_max = 1048576\n",
    )];
    assert_eq!(world(&agrees).findings(), [""; 0]);
    let by_hand = [(file, "net.netfilter.nf_conntrack_max = 5\n")];
    assert_eq!(world(&by_hand).findings(), [""; 0]);
}
