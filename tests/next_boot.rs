//! What `check --root` says of an image's next boot and of the other writers in it, as machines
//! read it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

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
const LOADS: (&str, &str) = ("etc/modules-load.d/site.conf", "nf_conntrack\n");
const SYSTEMD: (&str, &str) = ("usr/lib/systemd/systemd-sysctl", "");

struct Image(TempDir);

impl Image {
    /// An image with these files; those of `etc/rc.local` and of folders of scripts can be run.
    fn with(files: &[(&str, &str)]) -> Self {
        let image = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = image.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(target) = text.strip_prefix("-> ") {
                symlink(target, path).unwrap();
                continue;
            }
            fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
            }
        }
        Image(image)
    }

    fn cttune(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cttune"))
            .arg("--root")
            .arg(self.0.path())
            .args(arguments)
            .env("COLUMNS", "1000")
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.cttune(&[arguments, &["--format", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// `severity id: message` of each finding.
    fn findings(&self) -> Vec<String> {
        let checked = self.json(&["check", "--no-profile"]);
        let told = |finding: &Value| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            format!("{} {}: {}", text("severity"), text("id"), text("message"))
        };
        checked["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(told)
            .collect()
    }

    /// What nf_conntrack_max will be: the value, and how sure that is.
    fn max(&self) -> (Option<i64>, String) {
        let explained = self.json(&["check", "--explain", "max"]);
        let next = &explained["next_boot"];
        (
            next["value"].as_i64(),
            next["sure"].as_str().unwrap().to_owned(),
        )
    }
}

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    Image::with(files).findings()
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
    let image = Image::with(&[MAX]);
    assert_eq!(image.findings().len(), 1);
    let applied = image.cttune(&["apply", "--yes", "--profile", "rfc-nat"]);
    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(image.findings(), [""; 0]);
}

#[test]
fn a_hash_size_is_named_with_the_max_that_it_makes() {
    one(
        &findings(&[HASH_SIZE, MODULE]),
        "warning hashsize-option: /etc/modprobe.d/site.conf:1 loads nf_conntrack with \
         hashsize=16384: after the next boot net.netfilter.nf_conntrack_max is 131072 = 8 × 16384",
    );
    one(
        &findings(&[HASH_SIZE, BUILT_IN]),
        "warning dead-line: /etc/modprobe.d/site.conf:1 does nothing: conntrack is built into",
    );
}

#[test]
fn other_writers_are_found_by_their_files() {
    let ufw = [
        ("etc/ufw/ufw.conf", "ENABLED=yes\n"),
        ("etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
        ("etc/ufw/sysctl.conf", "net/netfilter/nf_conntrack_max=5\n"),
    ];
    one(
        &findings(&ufw),
        "info agent-ufw: /etc/ufw/sysctl.conf:1 (ufw) sets net.netfilter.nf_conntrack_max = 5",
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

/// A unit that an admin wrote, enabled as `systemctl enable` does.
const UNIT: [(&str, &str); 2] = [
    (
        "etc/systemd/system/tune.service",
        "[Service]\nType=oneshot\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=70000\n",
    ),
    (
        "etc/systemd/system/multi-user.target.wants/tune.service",
        "-> ../tune.service",
    ),
];

const HOOK: &[(&str, &str)] = &[
    (
        "etc/network/if-up.d/tune",
        "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=70000\n",
    ),
    (
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\n",
    ),
    (
        "etc/systemd/system/multi-user.target.wants/networking.service",
        "",
    ),
];

#[test]
fn a_later_writer_is_named_wins_and_blocks_apply() {
    let rc_local = (
        "etc/rc.local",
        "#!/bin/sh\necho 70000 > /proc/sys/net/netfilter/nf_conntrack_max\nexit 0\n",
    );
    let cron = (
        "etc/cron.d/tune",
        "@reboot root sysctl -w net.netfilter.nf_conntrack_max=70000\n",
    );
    let ufw = [
        ("etc/ufw/ufw.conf", "ENABLED=yes\n"),
        ("etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
        ("etc/ufw/sysctl.conf", "# x\nnet/nf_conntrack_max=70000\n"),
    ];
    let tmpfiles = (
        "usr/lib/tmpfiles.d/tune.conf",
        "d /run/x\nw /proc/sys/net/netfilter/nf_conntrack_max - - - - 70000\n",
    );
    for (writer, place) in [
        (vec![tmpfiles], "/usr/lib/tmpfiles.d/tune.conf:2"),
        (UNIT.to_vec(), "/etc/systemd/system/tune.service:3"),
        (vec![rc_local], "/etc/rc.local:2"),
        (vec![cron], "/etc/cron.d/tune:1"),
        (HOOK.to_vec(), "/etc/network/if-up.d/tune:2"),
        (ufw.to_vec(), "/etc/ufw/sysctl.conf:2"),
    ] {
        let image = Image::with(&[vec![MAX, BUILT_IN, SYSTEMD], writer].concat());
        let found = image.findings();
        assert!(found[0].starts_with("warning "), "{found:#?}");
        assert!(found[0].contains(place), "{found:#?}");
        let is_unordered = place.contains("ufw") || place.contains("tmpfiles");
        let sure = if is_unordered { "depends" } else { "known" };
        assert_eq!(image.max(), (Some(70000), sure.to_owned()), "{place}");
        let apply = [
            "apply",
            "--yes",
            "--profile",
            "kernel-defaults",
            "--set",
            "max=200000",
        ];
        let refused = image.cttune(&apply);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(place), "{said}");
        let allowed = image.cttune(&[&apply[..], &["--allow-overridden"]].concat());
        assert!(allowed.status.success(), "{allowed:?}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_not_called_known() {
    for (files, sure) in [
        (
            vec![(
                "etc/rc.local",
                "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=$(size)\n",
            )],
            "unknown",
        ),
        (
            vec![(
                "etc/rc.local",
                "#!/bin/sh\nif [ -e /x ]; then sysctl -w net.netfilter.nf_conntrack_max=5; fi\n",
            )],
            "depends",
        ),
        (
            vec![
                ("etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 5\n"),
                ("usr/sbin/sysctl", ""),
            ],
            "depends",
        ),
        (
            vec![("etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 5\n")],
            "known",
        ),
        (vec![("etc/os-release", "ID=talos\n")], "depends"),
        (vec![("etc/rc.local", "#!/bin/sh\nexit 0\n")], "known"),
    ] {
        let image = Image::with(&[vec![MAX, BUILT_IN, SYSTEMD], files.clone()].concat());
        assert_eq!(image.max().1, sure, "{files:?}");
    }
    let installed = ("etc/modprobe.d/x.conf", "install nf_conntrack /opt/load\n");
    assert_eq!(
        Image::with(&[MAX, MODULE, LOADS, installed]).max().1,
        "unknown"
    );
    let runit = [("etc/runit/1", ""), ("usr/sbin/sysctl", ""), MAX, BUILT_IN];
    let image = Image::with(&runit);
    assert_eq!(image.max().1, "unknown");
    one(&image.findings(), "warning next-boot-unknown: ");
}

#[test]
fn the_module_s_options_and_deny_lists_are_understood() {
    for (modprobe, value) in [
        ("install nf_conntrack /bin/true\n", None),
        ("install nf_conntrack* /bin/false\n", None),
        ("blacklist nf_conntrack\n", None),
        ("install nf_conntrack_ftp /bin/true\n", Some(200_000)),
        ("# install nf_conntrack /bin/true\n", Some(200_000)),
    ] {
        let image = Image::with(&[MAX, MODULE, LOADS, ("etc/modprobe.d/x.conf", modprobe)]);
        assert_eq!(image.max().0, value, "{modprobe}");
        assert_eq!(
            image.findings().len(),
            usize::from(value.is_none()),
            "{modprobe}"
        );
    }
}

#[test]
fn the_boot_loader_s_command_line_is_read() {
    let grub = |options: &str| {
        format!("menuentry 'x' {{\n\tlinux /vmlinuz root=/dev/sda1 {options}\n}}\n")
    };
    let set = grub("sysctl.net.netfilter.nf_conntrack_max=300000");
    for (path, text) in [
        ("boot/grub/grub.cfg", set.as_str()),
        (
            "boot/loader/entries/a.conf",
            "options sysctl.net.netfilter.nf_conntrack_max=300000\n",
        ),
        (
            "etc/kernel/cmdline",
            "sysctl.net/netfilter/nf_conntrack_max=300000\n",
        ),
        (
            "etc/default/grub",
            "GRUB_CMDLINE_LINUX=\"sysctl.net.netfilter.nf_conntrack_max=300000\"\n",
        ),
    ] {
        let image = Image::with(&[BUILT_IN, (path, text)]);
        assert_eq!(image.max(), (Some(300_000), "known".to_owned()), "{path}");
        assert_eq!(
            Image::with(&[BUILT_IN, MAX, (path, text)]).max().0,
            Some(200_000),
            "{path}"
        );
        let dead = Image::with(&[MODULE, (path, text)]).findings();
        one(&dead, "warning dead-line: ");
    }
    let size = grub("nf_conntrack.hashsize=16384");
    let image = Image::with(&[BUILT_IN, ("boot/grub/grub.cfg", &size)]);
    assert_eq!(image.max().0, Some(131_072));
    let refused = grub("module_blacklist=nf_conntrack");
    let image = Image::with(&[MODULE, MAX, LOADS, ("boot/grub/grub.cfg", &refused)]);
    one(&image.findings(), "warning lost-at-boot: ");
}

/// Files, max after the next boot, why it is lost, and whether the values of a plan are.
type Lost<'a> = (Vec<(&'a str, &'a str)>, Option<i64>, Option<&'a str>, bool);

#[track_caller]
fn values_are_lost(cases: Vec<Lost<'_>>) {
    for (files, max, cause, is_lost) in cases {
        let image = Image::with(&[&[MAX][..], &files].concat());
        assert_eq!(image.max().0, max, "{files:?}");
        let findings = image.findings();
        let lost = findings.iter().find(|one| one.contains(" lost-at-boot: "));
        let is_told = |cause| lost.is_some_and(|lost| lost.contains(cause));
        assert_eq!(lost.is_some(), cause.is_some(), "{files:?}: {findings:?}");
        assert!(cause.is_none_or(is_told), "{files:?}: {findings:?}");
        let planned = image.json(&["plan", "--no-profile", "--set", "max=300000"]);
        let told = planned["lost_at_boot"].is_string();
        assert_eq!(told, is_lost, "{files:?}: {planned}");
    }
}

#[test]
fn where_systemd_sysctl_is_masked_its_values_are_lost() {
    let off = "-> /dev/null";
    let sysctl = ("etc/systemd/system/systemd-sysctl.service", off);
    let until_boot = ("run/systemd/system/systemd-sysctl.service", off);
    let load = ("etc/systemd/system/systemd-modules-load.service", off);
    let by_word = ("boot/cmdline.txt", "systemd.mask=systemd-sysctl\n");
    let reload = "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \
                  RUN+=\"/usr/lib/systemd/systemd-sysctl\"\n";
    let rule = ("etc/udev/rules.d/50.rules", reload);
    let link = "/etc/systemd/system/systemd-sysctl.service masks systemd-sysctl";
    let run = "/run/systemd/system/systemd-sysctl.service masks systemd-sysctl";
    let word = "/boot/cmdline.txt:1 masks";
    let loading = "systemd-modules-load.service masks systemd-modules-load";
    let loads = |more: &[_]| [&[MODULE, LOADS, SYSTEMD][..], more].concat();
    values_are_lost(vec![
        (loads(&[sysctl]), None, Some(link), false),
        (vec![BUILT_IN, SYSTEMD, until_boot], None, Some(run), true),
        (vec![BUILT_IN, SYSTEMD, by_word], None, Some(word), true),
        // What the module's option sets stays.
        (
            loads(&[HASH_SIZE, sysctl]),
            Some(131_072),
            Some(link),
            false,
        ),
        // udev applies them when the module comes.
        (loads(&[sysctl, rule]), Some(200_000), None, false),
        (loads(&[load]), Some(200_000), Some(loading), false),
    ]);
}

#[test]
fn where_no_runlevel_applies_sysctl_d_its_values_are_lost() {
    let procps = |link| {
        let script = ("etc/init.d/procps", "#!/bin/sh\n");
        vec![BUILT_IN, ("usr/sbin/sysctl", ""), script, (link, "")]
    };
    let openrc = |script| vec![BUILT_IN, ("sbin/openrc", ""), (script, "")];
    let (no_procps, no_sysctl) = ("no runlevel starts procps", "no runlevel starts sysctl");
    let max = Some(200_000);
    values_are_lost(vec![
        (procps("etc/rc2.d/K01procps"), None, Some(no_procps), true),
        (procps("etc/rcS.d/S01procps"), max, None, false),
        (
            openrc("etc/runlevels/boot/hostname"),
            None,
            Some(no_sysctl),
            true,
        ),
        (openrc("etc/runlevels/boot/sysctl"), max, None, false),
    ]);
}

#[test]
fn where_no_runlevel_loads_modules_the_values_are_lost() {
    let sysctl = ("etc/runlevels/boot/sysctl", "");
    let modules = ("etc/runlevels/boot/modules", "");
    let list = ("etc/modules", "nf_conntrack\n");
    let machine =
        |more: &[(&'static str, &'static str)]| [&[("sbin/openrc", ""), sysctl][..], more].concat();
    let max = Some(200_000);
    let (idle, unnamed) = ("no runlevel starts modules", "nothing loads nf_conntrack");
    values_are_lost(vec![
        (machine(&[list]), max, Some(idle), false),
        (machine(&[list, modules]), max, None, false),
        (machine(&[modules]), max, Some(unnamed), false),
    ]);
}

#[test]
fn a_boot_loader_s_words_count_as_it_reads_them() {
    let size = "nf_conntrack.hashsize=4096";
    let limine = format!("timeout: 5\n/a\n  # cmdline: {size}\n  cmdline: quiet\n");
    let refind = format!("\"a\" \"root=x\"\n\"b\" \"single {size}\"\n");
    let other = format!("\"a\" \"root=x\"\n\"b\" \"{size}\"\n");
    let grub = format!("GRUB_CMDLINE_LINUX=\"{size}\"\n");
    let entry = "options root=x $kernelopts\n";
    let environment = format!("# GRUB Environment Block\nkernelopts={size}\n");
    let branch = format!("{grub}if true; then GRUB_CMDLINE_LINUX=\"$(x) y\"; fi\n");
    let (grub, limine, refind) = (grub.as_str(), limine.as_str(), refind.as_str());
    let of_all = [
        (vec![("boot/limine.conf", limine)], None, "known"),
        (vec![("boot/refind_linux.conf", refind)], None, "known"),
        (
            vec![("boot/refind_linux.conf", other.as_str())],
            None,
            "depends",
        ),
        (vec![("etc/default/grub", grub)], Some(32_768), "known"),
        (
            vec![
                ("etc/default/grub", "\n"),
                ("etc/default/grub.d/a.cfg", grub),
            ],
            Some(32_768),
            "known",
        ),
        (
            vec![
                ("etc/default/grub", "\n"),
                ("etc/default/grub.d/a.cfg.dpkg-old", grub),
            ],
            None,
            "known",
        ),
        (vec![("etc/default/grub", branch.as_str())], None, "depends"),
        (
            vec![
                ("boot/loader/entries/a.conf", entry),
                ("boot/grub2/grubenv", environment.as_str()),
            ],
            Some(32_768),
            "known",
        ),
    ];
    for (files, max, sure) in of_all {
        let image = Image::with(&[&[MODULE, LOADS, SYSTEMD][..], &files].concat());
        assert_eq!(image.max(), (max, sure.to_owned()), "{files:?}");
    }
}

#[test]
fn lines_that_do_nothing_are_named() {
    for (files, place) in [
        (
            [(
                "etc/sysctl.d/a.conf",
                "net.netfilter.nf_conntrack_max = \"5\"\n",
            )],
            "/etc/sysctl.d/a.conf:1",
        ),
        (
            [(
                "etc/sysctl.d/a.conf",
                "#\nnet.ipv4.netfilter.ip_conntrack_udp_timeout = 5\n",
            )],
            "/etc/sysctl.d/a.conf:2",
        ),
        (
            [(
                "etc/sysctl.d/60-site",
                "net.netfilter.nf_conntrack_max = 5\n",
            )],
            "/etc/sysctl.d/60-site:1",
        ),
        (
            [("etc/modprobe.d/a.conf", "options nf_conntrack max=5\n")],
            "/etc/modprobe.d/a.conf:1",
        ),
    ] {
        one(
            &findings(&[&files[..], &[MODULE, LOADS]].concat()),
            &format!("warning dead-line: {place} does nothing"),
        );
    }
}

#[test]
fn a_refused_value_that_replaces_the_drop_in_s_blocks_apply_and_can_be_adopted() {
    let later = (
        "etc/sysctl.d/99-site.conf",
        "net.netfilter.nf_conntrack_max = \"5\"\n",
    );
    let image = Image::with(&[later, BUILT_IN, SYSTEMD]);
    let apply = [
        "apply",
        "--yes",
        "--profile",
        "kernel-defaults",
        "--set",
        "max=200000",
    ];
    let refused = image.cttune(&apply);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("/etc/sysctl.d/99-site.conf:1"), "{said}");
    let adopted = image.cttune(&[&apply[..], &["--adopt"]].concat());
    assert!(adopted.status.success(), "{adopted:?}");
    assert_eq!(image.max(), (Some(200_000), "known".to_owned()));
}

#[test]
fn other_readers_have_their_own_order() {
    let openrc = [
        ("sbin/openrc", ""),
        (
            "etc/sysctl.d/90-a.conf",
            "net.netfilter.nf_conntrack_max = 5\n",
        ),
        (
            "usr/lib/sysctl.d/99-z.conf",
            "net.netfilter.nf_conntrack_max = 6\n",
        ),
        BUILT_IN,
    ];
    assert_eq!(Image::with(&openrc).max(), (Some(5), "known".to_owned()));
    let conf = ("etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 7\n");
    assert_eq!(
        Image::with(&[&openrc[..], &[conf]].concat()).max().0,
        Some(7)
    );
    let tuned = [
        ("etc/tuned/active_profile", "site\n"),
        ("etc/tuned/site/tuned.conf", "[sysctl]\nvm.swappiness=10\n"),
        SYSTEMD,
        MAX,
        conf,
        BUILT_IN,
    ];
    // systemd-sysctl does not read /etc/sysctl.conf; tuned does, and comes later.
    assert_eq!(Image::with(&tuned).max().0, Some(7));
}

#[test]
fn many_lines_about_one_key_are_adopted() {
    let lines: String = (1..=20_000)
        .map(|n| format!("net.netfilter.nf_conntrack_max = {n}\n"))
        .collect();
    let image = Image::with(&[("etc/sysctl.d/99-z.conf", &lines), BUILT_IN, SYSTEMD]);
    assert_eq!(image.max().0, Some(20_000));
    let apply = [
        "apply",
        "--yes",
        "--adopt",
        "--profile",
        "kernel-defaults",
        "--set",
        "max=200000",
    ];
    let adopted = image.cttune(&apply);
    assert!(adopted.status.success(), "{adopted:?}");
    assert_eq!(image.max().0, Some(200_000));
    let path: &Path = &image.0.path().join("etc/sysctl.d/99-z.conf");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.lines().all(|line| line.starts_with('#')));
}

#[test]
fn plain_lines_that_a_later_program_applies_are_adopted_and_come_back() {
    let ufw = [
        ("etc/ufw/ufw.conf", "ENABLED=yes\n"),
        ("etc/default/ufw", "IPT_SYSCTL=\"/etc/ufw/sysctl.conf\"\n"),
        (
            "etc/ufw/sysctl.conf",
            "net/nf_conntrack_max=5\nnet/ipv4/ip_forward=1\nnet/netfilter/nf_conntrack_max=70000\n",
        ),
    ];
    let rc_local = [
        ("etc/rc.local", "#!/bin/sh\nsysctl -q -p /opt/tune.conf\n"),
        (
            "opt/tune.conf",
            "# ours\nnet.netfilter.nf_conntrack_max = 70000\n",
        ),
    ];
    for (files, place, marked) in [
        (&ufw[..], "etc/ufw/sysctl.conf", &[1, 3][..]),
        (&rc_local, "opt/tune.conf", &[2]),
    ] {
        let image = Image::with(&[&[MAX, BUILT_IN, SYSTEMD][..], files].concat());
        let set = [
            "--yes",
            "--profile",
            "kernel-defaults",
            "--set",
            "max=200000",
        ];
        let refused = image.cttune(&[&["apply"][..], &set].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("--adopt comments that line out"), "{said}");
        let adopted = image.cttune(&[&["apply", "--adopt"][..], &set].concat());
        assert!(adopted.status.success(), "{adopted:?}");
        let text = fs::read_to_string(image.0.path().join(place)).unwrap();
        let found: Vec<usize> = text
            .lines()
            .zip(1..)
            .filter(|(line, _)| line.starts_with("# commented out by cttune: "))
            .map(|(_, number)| number)
            .collect();
        assert_eq!(found, marked, "{text}");
        assert_eq!(image.max(), (Some(200_000), "known".to_owned()), "{place}");
        let undone = image.cttune(&["rollback", "--yes"]);
        assert!(undone.status.success(), "{undone:?}");
        assert_eq!(image.max().0, Some(70000), "{place}");
    }
}

#[test]
fn what_lasts_no_longer_than_the_boot_is_said_by_plan_and_apply() {
    let image = Image::with(&[BUILT_IN, SYSTEMD, ("etc/os-release", "ID=talos\n")]);
    let set = ["--profile", "kernel-defaults", "--set", "max=200000"];
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let told = image.cttune(&[command, &set].concat());
        let text = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        assert!(
            text.contains("lost at the next boot: talos makes /etc anew")
                && text.contains("machine.sysctls"),
            "{text}"
        );
    }
}

#[test]
fn what_follows_a_command_that_may_end_the_script_may_not_run() {
    for (script, sure) in [
        (
            "#!/bin/sh -e\ntouch /x\nsysctl -w net.netfilter.nf_conntrack_max=5\n",
            "depends",
        ),
        (
            "#!/bin/bash\nset -eu\nmodprobe x\necho 5 > /proc/sys/net/netfilter/nf_conntrack_max\n",
            "depends",
        ),
        (
            "#!/bin/sh\nset -o errexit\n/opt/x\nsysctl -w net.netfilter.nf_conntrack_max=5\n",
            "depends",
        ),
        (
            "#!/bin/sh -e\necho hello\nsysctl -w net.netfilter.nf_conntrack_acct=1\nsysctl -w net.netfilter.nf_conntrack_max=5\n",
            "known",
        ),
        (
            "#!/bin/sh\nset -e\nset +e\nfalse\nsysctl -w net.netfilter.nf_conntrack_max=5\n",
            "known",
        ),
        (
            "#!/bin/sh\nfalse\nsysctl -w net.netfilter.nf_conntrack_max=5\n",
            "known",
        ),
    ] {
        let image = Image::with(&[MAX, BUILT_IN, SYSTEMD, ("etc/rc.local", script)]);
        assert_eq!(image.max().1, sure, "{script}");
    }
    let unit = |starts: &str| {
        format!(
            "[Service]\nType=oneshot\n{starts}ExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n"
        )
    };
    for (starts, sure) in [
        ("ExecStartPre=/opt/x\n", "depends"),
        ("ExecStart=/usr/bin/test -e /x\n", "depends"),
        ("ExecCondition=/usr/bin/test -e /x\n", "depends"),
        ("ExecStartPre=-/opt/x\n", "known"),
        ("ExecStartPost=/opt/x\n", "known"),
    ] {
        let text = unit(starts);
        let image = Image::with(&[
            MAX,
            BUILT_IN,
            SYSTEMD,
            ("etc/systemd/system/tune.service", &text),
            (
                "etc/systemd/system/multi-user.target.wants/tune.service",
                "-> ../tune.service",
            ),
        ]);
        assert_eq!(image.max().1, sure, "{starts}");
    }
}
