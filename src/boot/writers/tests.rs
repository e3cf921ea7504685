//! What each kind of writer sets, and what only looks like one.

use std::collections::BTreeMap;

use super::*;
use crate::boot::writers::facts::File;

/// Facts with these files, the folders that they make up, and links to `/dev/null` where the text
/// says so. Every file is executable but those whose path ends in `!`.
fn facts(files: &[(&str, &str)]) -> Facts<'static> {
    let mut all = BTreeMap::new();
    let mut folders: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (path, text) in files {
        let plain = path.trim_end_matches('!');
        let path = PathBuf::from(plain);
        let mut child = path.as_path();
        while let (Some(folder), Some(name)) = (child.parent(), child.file_name()) {
            let names = folders.entry(folder.to_owned()).or_default();
            let name = name.to_str().unwrap().to_owned();
            if !names.contains(&name) {
                names.push(name);
                names.sort();
            }
            child = folder;
        }
        let found = match *text {
            "/dev/null" => Found::Masked,
            text => Found::File(File {
                text: text.to_owned(),
                is_executable: !files.iter().any(|(one, _)| *one == format!("{plain}!")),
            }),
        };
        all.insert(path, found);
    }
    all.extend(
        folders
            .into_iter()
            .map(|(folder, names)| (folder, Found::Folder(names))),
    );
    Facts::of_files(Vec::new(), 8, all)
}

/// `FILE:LINE key value` of each write, `?` for what is unknown, `if` in front of what may not run.
fn writes(files: &[(&str, &str)]) -> Vec<String> {
    let shown = |write: &LaterWrite| {
        let key = write.key.map_or("?", Key::short_name);
        let value = write
            .value
            .map_or_else(|| "?".to_owned(), |value| value.to_string());
        let condition = if write.certainty == Certainty::Sure {
            ""
        } else {
            "if "
        };
        format!("{condition}{} {key} {value}", write.place())
    };
    Writers::of(&facts(files))
        .writes
        .iter()
        .map(shown)
        .collect()
}

#[test]
fn every_way_to_write_a_sysctl_is_known() {
    for (line, expected) in [
        ("sysctl -w net.netfilter.nf_conntrack_max=5", "max 5"),
        ("/sbin/sysctl -qw net/netfilter/nf_conntrack_max=5", "max 5"),
        ("sysctl net.nf_conntrack_max=5 >/dev/null 2>&1", "max 5"),
        ("sysctl -e -w 'net.netfilter.nf_conntrack_max = 5'", "max 5"),
        (
            "sudo nice -n 5 sysctl -w net.netfilter.nf_conntrack_max=5",
            "max 5",
        ),
        (
            "busybox sysctl -w net.netfilter.nf_conntrack_max=5",
            "max 5",
        ),
        ("echo 5 > /proc/sys/net/netfilter/nf_conntrack_max", "max 5"),
        (
            "echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct",
            "acct 1",
        ),
        ("echo -n \"5\">/proc/sys/net/nf_conntrack_max", "max 5"),
        (
            "printf '%s\\n' 5 > /proc/sys/net/netfilter/nf_conntrack_max",
            "max 5",
        ),
        (
            "printf 5 > /proc/sys/net/netfilter/nf_conntrack_max",
            "max 5",
        ),
        (
            "echo 5 | tee /proc/sys/net/netfilter/nf_conntrack_max",
            "max 5",
        ),
        (
            "echo 5 | sudo tee -a /proc/sys/net/netfilter/nf_conntrack_max > /dev/null",
            "max 5",
        ),
        (
            "tee /proc/sys/net/netfilter/nf_conntrack_max <<< 5",
            "max ?",
        ),
        (
            "echo 16384 > /sys/module/nf_conntrack/parameters/hashsize",
            "buckets 16384",
        ),
        ("N=4; sysctl -w net.netfilter.nf_conntrack_max=$N", "max 4"),
        ("sysctl -w net.netfilter.nf_conntrack_max=$(nproc)", "max ?"),
        (
            "sh -c 'echo 5 > /proc/sys/net/netfilter/nf_conntrack_max'",
            "max 5",
        ),
        (
            "bash -ec \"sysctl -w net.netfilter.nf_conntrack_max=5\"",
            "max 5",
        ),
        (
            "for k in $(ls /x); do sysctl -w net.netfilter.nf_conntrack_$k=5; done",
            "if ? ?",
        ),
        (
            "[ -d /x ] && sysctl -w net.netfilter.nf_conntrack_max=5",
            "if max 5",
        ),
        ("modprobe nf_conntrack hashsize=512", "if buckets 512"),
    ] {
        let condition = if expected.starts_with("if ") {
            "if "
        } else {
            ""
        };
        let expected = format!(
            "{condition}/etc/rc.local:2 {}",
            expected.trim_start_matches("if ")
        );
        let script = format!("#!/bin/sh\n{line}\n");
        assert_eq!(writes(&[("/etc/rc.local", &script)]), [expected], "{line}");
    }
}

/// Other programs run it, or the shell gets there in ways of its own.
#[test]
fn a_write_that_is_not_worked_out_is_in_doubt() {
    for (text, expected) in [
        ("chrt -o 0 SET", "if 2 max 5"),
        ("flock /run/l SET", "if 2 max 5"),
        ("flock -n /run/l -c 'SET'", "if 2 max 5"),
        ("su root -s /bin/sh -c 'SET'", "if 2 max 5"),
        ("sudo -u root SET", "if 2 max 5"),
        ("runuser -u root -- SET", "if 2 max 5"),
        (
            "start-stop-daemon -S -x /sbin/sysctl -- -w net.netfilter.nf_conntrack_max=5",
            "if 2 max 5",
        ),
        ("env -i PATH=$PATH SET", "if 2 max 5"),
        ("eval \"SET\"", "if 2 max 5"),
        ("trap 'SET' EXIT", "if 2 max 5"),
        ("chroot / SET", "if 2 max 5"),
        ("unshare -m SET", "if 2 max 5"),
        ("unshare -rn SET", ""),
        ("unshare -mn SET", ""),
        ("nsenter -t 7 -n SET", ""),
        ("nsenter -t 1 -n SET", "if 2 max 5"),
        ("nsenter -t $(pidof x) -n SET", "if 2 max 5"),
        ("sudo docker run image SET", ""),
        ("docker run --privileged --net=host image SET", "if 2 max 5"),
        ("docker exec x SET", "if 2 max 5"),
        ("ip vrf exec blue SET", "if 2 max 5"),
        ("flock /run/l ip netns exec blue SET", ""),
        ("set -n\nSET", "if 3 max 5"),
        ("kill $$\nSET", "if 3 max 5"),
        ("C='SET'; $C", "2 max 5"),
        (
            "SYSCTL=$(which sysctl); $SYSCTL -w net.netfilter.nf_conntrack_max=5",
            "2 max 5",
        ),
        (
            "alias s='sysctl -w'\ns net.netfilter.nf_conntrack_max=5",
            "if 3 max ?",
        ),
        ("echo SET | sh", "2 max 5"),
        ("sh << E\nSET\nE", "2 max 5"),
        (
            "cd /proc/sys/net; echo 5 > netfilter/nf_conntrack_max",
            "if 2 max 5",
        ),
        (
            "exec 3> /proc/sys/net/nf_conntrack_max; echo 5 >&3",
            "2 max ?",
        ),
        (
            "cp /root/v /proc/sys/net/netfilter/nf_conntrack_max",
            "if 2 max ?",
        ),
        (
            "dd if=/root/v of=/sys/module/nf_conntrack/parameters/hashsize",
            "if 2 buckets ?",
        ),
        (
            "{ echo net.netfilter.nf_conntrack_max=5; echo a=1; } | sysctl -p -",
            "2 ? ?",
        ),
        (
            "echo net.netfilter.nf_conntrack_max=5 > /root/c; sysctl -p /root/c",
            "2 ? ?",
        ),
        ("sysctl -p /tmp/c", "2 ? ?"),
        ("find /root -name c -exec sysctl -p {} \\;", "if 2 ? ?"),
        ("sysctl -p/opt/c", "/opt/c:1 max 6"),
        ("echo -e 5 > /proc/sys/net/nf_conntrack_max", "2 max ?"),
        ("function f { SET; }\nf", "if 2 max 5"),
        ("/opt/not-executable", ""),
        ("test -e /proc/sys/net/netfilter/nf_conntrack_max", ""),
    ] {
        let set = "sysctl -w net.netfilter.nf_conntrack_max=5";
        let script = format!("#!/bin/sh\n{}\n", text.replace("SET", set));
        let found = writes(&[
            ("/etc/rc.local", &script),
            ("/opt/c!", "net.netfilter.nf_conntrack_max=6\n"),
            ("/opt/not-executable!", SET),
        ]);
        let found = found.join(" ").replace("/etc/rc.local:", "");
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_sets_nothing_here_is_no_write() {
    for line in [
        "# sysctl -w net.netfilter.nf_conntrack_max=5",
        "sysctl net.netfilter.nf_conntrack_max",
        "sysctl -n net.netfilter.nf_conntrack_count",
        "sysctl -w net.core.somaxconn=5",
        "echo 'sysctl -w net.netfilter.nf_conntrack_max=5'",
        "echo 5 > /tmp/nf_conntrack_max",
        "cat /proc/sys/net/netfilter/nf_conntrack_max",
        "sysctl -w net.netfilter.nf_conntrack_max=many",
        "ip netns exec blue sysctl -w net.netfilter.nf_conntrack_max=5",
        "exit 0\nsysctl -w net.netfilter.nf_conntrack_max=5",
        "sysctl --system",
        "logger nf_conntrack_max=5",
    ] {
        let script = format!("#!/bin/sh\n{line}\n");
        assert_eq!(writes(&[("/etc/rc.local", &script)]), [""; 0], "{line}");
    }
    let script = "sysctl -w net.netfilter.nf_conntrack_max=5\n";
    assert_eq!(
        writes(&[("/etc/rc.local!", script)]),
        [""; 0],
        "not executable"
    );
}

#[test]
fn files_that_a_script_reads_or_runs_are_followed() {
    let set = "net.netfilter.nf_conntrack_max = 5\nnet.netfilter.nf_conntrack_max = 6\n";
    for (line, path) in [
        ("sysctl -p /opt/x.conf", "/opt/x.conf:2 max 6"),
        ("sysctl --load=/opt/x.conf", "/opt/x.conf:2 max 6"),
        ("sysctl -qp /opt/x.conf", "/opt/x.conf:2 max 6"),
        ("/opt/tune --fast", "/opt/tune:1 max 7"),
        ("sh /opt/tune", "/opt/tune:1 max 7"),
        (". /opt/tune", "/opt/tune:1 max 7"),
        ("sysctl -p /etc/sysctl.d/90-cttune.conf", ""),
        ("/opt/python", "/opt/python:3 max ?"),
    ] {
        let script = format!("#!/bin/sh\n{line}\n");
        let found = writes(&[
            ("/etc/rc.local", &script),
            ("/opt/x.conf", set),
            (
                "/opt/tune",
                "echo 7 > /proc/sys/net/netfilter/nf_conntrack_max",
            ),
            (
                "/opt/python",
                "#!/usr/bin/python3\n# nf_conntrack_acct\nopen('/proc/sys/net/netfilter/nf_conntrack_max', 'w')\n",
            ),
            ("/etc/sysctl.d/90-cttune.conf", set),
        ]);
        assert_eq!(found.concat(), path, "{line}");
    }
    let circle = "#!/bin/sh\n/etc/rc.local\n";
    assert_eq!(writes(&[("/etc/rc.local", circle)]), [""; 0]);
}

const SET: &str = "sysctl -w net.netfilter.nf_conntrack_max=5\n";
const UNIT: &str =
    "[Service]\nType=oneshot\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n";

#[test]
fn units_count_if_they_start() {
    let unit = "/etc/systemd/system/a.service";
    let enabled = (
        "/etc/systemd/system/multi-user.target.wants/a.service",
        UNIT,
    );
    let set = ["/etc/systemd/system/a.service:3 max 5"];
    assert_eq!(writes(&[(unit, UNIT)]), [""; 0], "not enabled");
    assert_eq!(writes(&[(unit, UNIT), enabled]), set);
    assert_eq!(writes(&[(unit, "/dev/null"), enabled]), [""; 0], "masked");
    let vendor = "/usr/lib/systemd/system/a.service";
    assert_eq!(
        writes(&[(vendor, UNIT), enabled]),
        ["/usr/lib/systemd/system/a.service:3 max 5"]
    );
    let required = (
        "/usr/lib/systemd/system/sysinit.target.requires/a.service",
        "",
    );
    assert_eq!(writes(&[(unit, UNIT), required]), set);
    let asked = (
        "/etc/systemd/system/b.service",
        "[Unit]\nWants=c.service a.service\n",
    );
    let b = ("/etc/systemd/system/multi-user.target.wants/b.service", "");
    assert_eq!(writes(&[(unit, UNIT), asked, b]), set);
    let timer = ("/etc/systemd/system/a.timer", "[Timer]\nOnBootSec=5\n");
    let timers = ("/etc/systemd/system/timers.target.wants/a.timer", "");
    assert_eq!(writes(&[(unit, UNIT), timer, timers]), set);
    let template = ("/etc/systemd/system/a@.service", UNIT);
    let instance = (
        "/etc/systemd/system/multi-user.target.wants/a@eth0.service",
        "",
    );
    assert_eq!(
        writes(&[template, instance]),
        ["/etc/systemd/system/a@.service:3 max 5"]
    );
}

#[test]
fn folders_that_cron_runs_are_followed() {
    let table = "17 * * * * root cd / && run-parts --report /etc/cron.hourly\n";
    let found = writes(&[
        ("/etc/crontab!", table),
        ("/etc/cron.hourly/tune", SET),
        ("/etc/cron.hourly/tune.off", SET),
        ("/etc/cron.hourly/later!", SET),
    ]);
    assert_eq!(found, ["if /etc/cron.hourly/tune:1 max 5"]);
}

#[test]
fn units_that_a_usual_boot_does_not_start_or_that_are_systemd_s_do_not_count() {
    let unit = ("/etc/systemd/system/a.service", UNIT);
    let asleep = ("/etc/systemd/system/sleep.target.wants/a.service", "");
    assert_eq!(writes(&[unit, asleep]), [""; 0]);
    let own = ("/usr/lib/systemd/system/systemd-x.service", UNIT);
    let wanted = (
        "/usr/lib/systemd/system/sysinit.target.wants/systemd-x.service",
        "",
    );
    assert_eq!(writes(&[own, wanted]), [""; 0]);
    let changed = ("/etc/systemd/system/systemd-x.service.d/a.conf", UNIT);
    assert_eq!(writes(&[own, wanted, changed]).len(), 2);
}

#[test]
fn a_unit_s_lines_are_read_as_systemd_reads_them() {
    let link = ("/etc/systemd/system/multi-user.target.wants/a.service", "");
    for (text, expected) in [
        (
            "[Service]\nExecStart=-/bin/sh -c 'sysctl -w net.netfilter.nf_conntrack_max=5'\n",
            "2 max 5",
        ),
        (
            "[Service]\nType=oneshot\nExecStart=/bin/true ; /sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "3 max 5",
        ),
        // systemd refuses these.
        (
            "[Service]\nExecStart=/bin/true ; /sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "[Service]\nType=oneshot\nExecStartPre=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "[Service]\nUser=nobody\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "if 3 max 5",
        ),
        (
            "[Service]\n# x\nExecStartPre=/sbin/sysctl \\\n  -w net.netfilter.nf_conntrack_max=5\nExecStart=/bin/x\n",
            "3 max 5",
        ),
        (
            "[Service]\nEnvironment=N=7\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=${N}\n",
            "3 max 7",
        ),
        (
            "[Unit]\nConditionPathExists=/x\n[Service]\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "if 4 max 5",
        ),
        (
            "[Service]\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\nExecStart=\nExecStart=/bin/true\n",
            "",
        ),
        (
            "[Service]\nExecStart=/bin/echo 5 > /proc/sys/net/netfilter/nf_conntrack_max\n",
            "",
        ),
        (
            "[Service]\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=%i\n",
            "2 max ?",
        ),
        (
            "[Service]\nPrivateNetwork=yes\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "[Service]\nExecStop=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
    ] {
        let found = writes(&[("/etc/systemd/system/a.service", text), link]).concat();
        assert_eq!(
            found.replace("/etc/systemd/system/a.service:", ""),
            expected,
            "{text}"
        );
    }
    let found = writes(&[
        (
            "/etc/systemd/system/a.service",
            "[Service]\nExecStart=/bin/true\n",
        ),
        ("/etc/systemd/system/a.service.d/x.conf", UNIT),
        link,
    ]);
    assert_eq!(found, ["/etc/systemd/system/a.service.d/x.conf:3 max 5"]);
}

#[test]
fn hooks_cron_and_interfaces_count_as_their_programs_read_them() {
    for (path, text, expected) in [
        ("/etc/network/if-up.d/tune", SET, "if 1 max 5"),
        ("/etc/network/if-up.d/tune.sh", SET, ""),
        (
            "/etc/NetworkManager/dispatcher.d/50-tune.sh",
            SET,
            "if 1 max 5",
        ),
        ("/etc/NetworkManager/dispatcher.d/50-tune~", SET, ""),
        (
            "/etc/networkd-dispatcher/routable.d/tune",
            SET,
            "if 1 max 5",
        ),
        ("/etc/local.d/tune.start", SET, "1 max 5"),
        ("/etc/local.d/tune.stop", SET, ""),
        ("/var/lib/cloud/scripts/per-boot/tune.sh", SET, "1 max 5"),
        ("/etc/rc2.d/S20tune", SET, "1 max 5"),
        ("/etc/rc2.d/K20tune", SET, ""),
        (
            "/etc/crontab!",
            "# x\n@reboot root /sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "2 max 5",
        ),
        (
            "/etc/cron.d/tune!",
            "*/5 * * * * root echo 5 > /proc/sys/net/netfilter/nf_conntrack_max\n",
            "if 1 max 5",
        ),
        (
            "/etc/cron.d/tune!",
            "@reboot nobody sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "/etc/cron.d/tune.x!",
            "@reboot root sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "if 1 max 5",
        ),
        (
            "/var/spool/cron/crontabs/root!",
            "@reboot sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "1 max 5",
        ),
        (
            "/var/spool/cron/root!",
            "@reboot sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "1 max 5",
        ),
        (
            "/var/spool/cron/crontabs/joe!",
            "@reboot sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "/etc/network/interfaces!",
            "iface eth0 inet dhcp\n  post-up sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "if 2 max 5",
        ),
        (
            "/etc/network/interfaces!",
            "  down sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "/etc/udev/rules.d/a.rules!",
            "SUBSYSTEM==\"net\", RUN+=\"/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\"\n",
            "if 1 max 5",
        ),
    ] {
        let place = path.trim_end_matches('!');
        let found = writes(&[(path, text)]).concat();
        let found = found.replace(&format!("{place}:"), "");
        assert_eq!(found, expected, "{path}: {text}");
    }
}

#[test]
fn ufw_s_file_counts_while_ufw_is_enabled() {
    let with = |enabled: &str, path: &str| {
        let default = format!("# x\nIPT_SYSCTL={path}\n");
        writes(&[
            ("/etc/ufw/ufw.conf", &format!("ENABLED={enabled}\n")),
            ("/etc/default/ufw", &default),
            (
                "/etc/ufw/sysctl.conf",
                "net/netfilter/nf_conntrack_max=5\nnet.netfilter.nf_conntrack_acct=1\n",
            ),
        ])
    };
    let both = [
        "/etc/ufw/sysctl.conf:1 max 5",
        "/etc/ufw/sysctl.conf:2 acct 1",
    ];
    assert_eq!(with("yes", "/etc/ufw/sysctl.conf"), both);
    assert_eq!(with("YES", "\"/etc/ufw/sysctl.conf\""), both);
    assert_eq!(with("no", "/etc/ufw/sysctl.conf"), [""; 0]);
    assert_eq!(with("yes", "/etc/nothing"), [""; 0]);
    assert_eq!(with("yes", ""), [""; 0]);
}

#[test]
fn tuned_s_profile_and_those_that_it_includes_count() {
    let tuned = |main: &str, own: &str| {
        Writers::of(&facts(&[
            ("/etc/tuned/active_profile", "site\n"),
            ("/etc/tuned/tuned-main.conf", main),
            ("/etc/tuned/profiles/site/tuned.conf", own),
            (
                "/usr/lib/tuned/big/tuned.conf",
                "[main]\ninclude=site\n[sysctl]\nnet.netfilter.nf_conntrack_max=>65536\n",
            ),
        ]))
        .tuned
        .unwrap()
    };
    let included = tuned("", "[main]\ninclude=big\n");
    assert_eq!(
        included.writes[0].place().to_string(),
        "/usr/lib/tuned/big/tuned.conf:4"
    );
    assert_eq!(
        (included.writes[0].value, included.reapplies),
        (Some(65536), true)
    );
    let hash = tuned(
        "reapply_sysctl = 0\n",
        "[net]\nnf_conntrack_hashsize=131072\n",
    );
    assert_eq!(
        (hash.writes[0].key, hash.writes[0].value),
        (Some(Key::Buckets), Some(131_072))
    );
    assert!(!hash.reapplies);
    let typed = tuned(
        "",
        "[limits]\ntype=sysctl\nnet.netfilter.nf_conntrack_max=5\n[n]\ntype=net\nnf_conntrack_hashsize=512\n",
    );
    assert_eq!(typed.writes.len(), 2);
    assert!(typed.reapplies);
}

#[test]
fn conntrackd_copies_flows_only_with_a_section_sync() {
    let copies = |text: &str| {
        Writers::of(&facts(&[("/etc/conntrackd/conntrackd.conf", text)])).conntrackd_copies
    };
    assert_eq!(copies("# Sync {\nStats {\n}\nGeneral {\n}\n"), Some(false));
    assert_eq!(
        copies("General {\n}\nSync {\n  Mode FTFW {\n}\n}\n"),
        Some(true)
    );
    assert_eq!(Writers::of(&facts(&[])).conntrackd_copies, None);
}

#[test]
fn what_is_read_and_not_evaluated_is_called_unknown() {
    let set = "sysctl -w net.netfilter.nf_conntrack_max=5";
    for (path, text, line) in [
        ("/etc/wireguard/wg0.conf", "[Interface]\nPostUp = SET", 2),
        ("/etc/keepalived/notify.sh", "#!/bin/sh\nSET\n", 2),
        ("/etc/shorewall/started", "SET", 1),
        ("/etc/cloud/cloud.cfg.d/9.cfg", "bootcmd:\n- SET", 2),
        ("/etc/dhcp/dhclient-exit-hooks.d/x", "SET", 1),
        ("/etc/anacrontab", "1 5 x SET", 1),
        ("/etc/shorewall/modules", "loadmodule nf_conntrack", 0),
        ("/etc/ferm/ferm.conf", "# SET", 0),
    ] {
        let found = writes(&[(path, &text.replace("SET", set))]).concat();
        let expected = (line > 0).then(|| format!("if {path}:{line} max ?"));
        assert_eq!(found, expected.unwrap_or_default(), "{path}");
    }
    for (line, expected) in [
        ("python3 -c 'x(\"nf_conntrack_max\", 5)'", "max ?"),
        ("perl /opt/x.pl", ""),
        ("xargs -n1 sysctl -w < /opt/x", "? ?"),
        ("for f in $(ls /opt); do sysctl -p $f; done", "if ? ?"),
        ("sysctl -p /opt/*/x.conf", "? ?"),
        ("while read l; do sysctl -w \"$l\"; done < /opt/x", "if ? ?"),
        ("sysctl -w net.core.$x=5", ""),
        ("sysctl -w net.$x=5", "? ?"),
        (
            "sh -c \"sysctl -w net.netfilter.nf_conntrack_max=$(x)\"",
            "max ?",
        ),
        (
            "cd /proc/sys/net/netfilter; echo 5 > nf_conntrack_max",
            "if max 5",
        ),
        ("echo nf_conntrack_max > note", ""),
    ] {
        let found = writes(&[("/etc/rc.local", line)]).concat();
        let found = found.replace("/etc/rc.local:1 ", "");
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn what_starts_a_service_and_what_is_added_to_many_is_followed() {
    let set = "[Service]\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n";
    let service = ("/etc/systemd/system/a-b.service", set);
    for kind in ["path", "socket", "timer"] {
        let unit = format!("/etc/systemd/system/a-b.{kind}");
        let link = format!("/etc/systemd/system/sockets.target.wants/a-b.{kind}");
        let files = [
            (unit.as_str(), "[Unit]\nDescription=x\n"),
            (link.as_str(), ""),
            service,
        ];
        let found = writes(&files).concat();
        assert_eq!(
            found, "if /etc/systemd/system/a-b.service:2 max 5",
            "{kind}"
        );
    }
    let link = (
        "/etc/systemd/system/multi-user.target.wants/a-b.service",
        "",
    );
    let reset = "[Service]\nExecStart=\nExecStart=/bin/true\n";
    for folder in ["a-b.service.d", "a-.service.d", "service.d"] {
        let path = format!("/etc/systemd/system/{folder}/x.conf");
        assert_eq!(
            writes(&[service, link, (&path, reset)]),
            [""; 0],
            "{folder}"
        );
    }
}

/// `FILE`s that make up a program which is in use, and a hook of it.
#[test]
fn a_hook_surely_runs_only_where_its_program_is_in_use() {
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let networking = "/usr/lib/systemd/system/networking.service";
    let unit = "[Service]\nType=oneshot\nExecStart=/sbin/ifup -a\n";
    let enabled = format!("{wants}/networking.service");
    let ifupdown = [(networking, unit), (enabled.as_str(), "")];
    let manager = format!("{wants}/NetworkManager.service");
    let dispatcher = format!("{wants}/networkd-dispatcher.service");
    let hook = "/etc/network/if-up.d/tune";
    let of_manager = "/etc/NetworkManager/dispatcher.d/tune";
    let lo = (
        "/etc/network/interfaces!",
        "auto lo\niface lo inet loopback\n",
    );
    let hotplug = ("/etc/network/interfaces!", "allow-hotplug eth0\n");
    let by_hand = ("/etc/network/interfaces!", "iface eth0 inet dhcp\n");
    let masked = ("/etc/systemd/system/networking.service", "/dev/null");
    let no_dispatcher = (
        "/etc/systemd/system/NetworkManager-dispatcher.service",
        "/dev/null",
    );
    for (hook, files, is_sure) in [
        (hook, vec![], false),
        (hook, ifupdown.to_vec(), false),
        (hook, [&ifupdown[..], &[lo]].concat(), true),
        (hook, [&ifupdown[..], &[hotplug]].concat(), true),
        (hook, [&ifupdown[..], &[by_hand]].concat(), false),
        (hook, [&ifupdown[..], &[lo, masked]].concat(), false),
        (hook, vec![lo, ("/etc/rcS.d/S10networking", "")], true),
        (hook, vec![lo, ("/etc/runlevels/boot/networking", "")], true),
        (of_manager, vec![], false),
        (of_manager, vec![(manager.as_str(), "")], true),
        (
            of_manager,
            vec![(manager.as_str(), ""), no_dispatcher],
            false,
        ),
        (
            "/usr/lib/networkd-dispatcher/carrier.d/tune",
            vec![(dispatcher.as_str(), "")],
            true,
        ),
        (
            "/etc/networkd-dispatcher/routable.d/tune",
            vec![(manager.as_str(), "")],
            false,
        ),
        ("/etc/ppp/ip-up.d/tune", vec![lo], false),
        ("/sbin/ifup-local", vec![lo], false),
    ] {
        let found = writes(&[&files[..], &[(hook, SET)]].concat());
        let condition = if is_sure { "" } else { "if " };
        assert_eq!(found, [format!("{condition}{hook}:1 max 5")], "{files:?}");
    }
}

#[test]
fn commands_of_an_interface_surely_run_where_it_comes_up_at_boot() {
    let unit = ("/usr/lib/systemd/system/networking.service", UNIT);
    let link = (
        "/etc/systemd/system/network-online.target.wants/networking.service",
        "",
    );
    let sure = (
        "/etc/systemd/system/multi-user.target.wants/networking.service",
        "",
    );
    let text = |named: &str, iface: &str| {
        format!(
            "{named}\niface {iface} inet static\n\tup echo 9 > /proc/sys/net/netfilter/nf_conntrack_max\n"
        )
    };
    for (named, iface, link, is_sure) in [
        ("auto eth0", "eth0", sure, true),
        ("auto lo eth1", "eth1", sure, true),
        ("allow-hotplug wan", "wan", sure, true),
        ("auto eth0", "eth1", sure, false),
        ("# auto eth0", "eth0", sure, false),
        ("auto eth0", "eth0", link, false),
    ] {
        let text = text(named, iface);
        let found = writes(&[("/etc/network/interfaces!", &text), unit, link]);
        let condition = if is_sure { "" } else { "if " };
        let expected = format!("{condition}/etc/network/interfaces:3 max 9");
        assert!(found.contains(&expected), "{named} {iface}: {found:?}");
    }
}

#[test]
fn files_that_are_given_to_sysctl_in_a_row_are_read() {
    for (line, expected) in [
        (
            "for f in /etc/sysctl.d/*.conf; do sysctl -p \"$f\"; done",
            "if /etc/sysctl.d/10-a.conf:1 max 5 /etc/sysctl.d/99-c.conf:1 acct 1",
        ),
        (
            "for f in /etc/sysctl.d/*.conf; do [ -r $f ] && sysctl -q -p $f; done",
            "if /etc/sysctl.d/10-a.conf:1 max 5 if /etc/sysctl.d/99-c.conf:1 acct 1",
        ),
        (
            "sysctl -p /etc/sysctl.d/*.conf",
            "if /etc/sysctl.d/10-a.conf:1 max 5 /etc/sysctl.d/99-c.conf:1 acct 1",
        ),
        (
            "sysctl -p /etc/sysctl.d/10-a.conf",
            "/etc/sysctl.d/10-a.conf:1 max 5",
        ),
        ("cat /opt/x.conf | sysctl -p -", "/opt/x.conf:2 max 7"),
        (
            "cat /opt/x.conf /etc/sysctl.d/99-c.conf | sysctl -p /dev/stdin",
            "/opt/x.conf:2 max 7 /etc/sysctl.d/99-c.conf:1 acct 1",
        ),
        ("sysctl -p - < /opt/x.conf", "/opt/x.conf:2 max 7"),
        (
            "grep conntrack /opt/x.conf | sysctl -p -",
            "/etc/rc.local:1 ? ?",
        ),
        (
            "for n in 3 4; do sysctl -w net.netfilter.nf_conntrack_max=$n; done",
            "/etc/rc.local:1 max 3 /etc/rc.local:1 max 4",
        ),
        (
            "cd /opt; for f in *.conf; do sysctl -p $f; done",
            "/etc/rc.local:1 ? ?",
        ),
    ] {
        let found = writes(&[
            ("/etc/rc.local", line),
            (
                "/etc/sysctl.d/10-a.conf!",
                "net.netfilter.nf_conntrack_max=5\n",
            ),
            (
                "/etc/sysctl.d/90-cttune.conf!",
                "net.netfilter.nf_conntrack_max=6\n",
            ),
            (
                "/etc/sysctl.d/99-c.conf!",
                "net.netfilter.nf_conntrack_acct=1\n",
            ),
            ("/opt/x.conf!", "# x\nnet.netfilter.nf_conntrack_max=7\n"),
        ]);
        assert_eq!(found.join(" "), expected, "{line}");
    }
}

#[test]
fn what_a_script_is_given_in_its_environment_counts() {
    let link = ("/etc/systemd/system/multi-user.target.wants/a.service", "");
    let set = "sysctl -w net.netfilter.nf_conntrack_max=${N:-5}\n";
    let default = ("/etc/default/a!", "# x\nN=\"9\"\n");
    let tune = ("/opt/tune", set);
    for (lines, files, expected) in [
        ("ExecStart=/opt/tune", vec![tune], "/opt/tune:1 max 5"),
        (
            "Environment=N=7\nExecStart=/opt/tune",
            vec![tune],
            "/opt/tune:1 max 7",
        ),
        (
            "Environment=N=7\nEnvironmentFile=/etc/default/a\nExecStart=/opt/tune",
            vec![tune, default],
            "/opt/tune:1 max 9",
        ),
        (
            "Environment=N=7\nEnvironmentFile=-/etc/default/b\nExecStart=/opt/tune",
            vec![tune, default],
            "/opt/tune:1 max 7",
        ),
        (
            "EnvironmentFile=/etc/default/b\nExecStart=/opt/tune",
            vec![tune],
            "if /opt/tune:1 max 5",
        ),
        (
            "EnvironmentFile=/etc/default/*\nExecStart=/opt/tune",
            vec![tune, default],
            "/opt/tune:1 max ?",
        ),
        (
            "PassEnvironment=N\nExecStart=/opt/tune",
            vec![tune],
            "/opt/tune:1 max ?",
        ),
        (
            "Environment=N=7\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=$N",
            vec![],
            "/etc/systemd/system/a.service:3 max ?",
        ),
        (
            "ExecStart=/bin/sh -c 'N=7; sysctl -w net.netfilter.nf_conntrack_max=$N'",
            vec![],
            "/etc/systemd/system/a.service:2 max 7",
        ),
        // systemd puts nothing in for `${N}`, and the kernel refuses nothing.
        (
            "ExecStart=/bin/sh -c 'N=7; sysctl -w net.netfilter.nf_conntrack_max=${N}'",
            vec![],
            "",
        ),
    ] {
        let unit = format!("[Service]\n{lines}\n");
        let unit = ("/etc/systemd/system/a.service", unit.as_str());
        let found = writes(&[&files[..], &[unit, link]].concat());
        assert_eq!(found.join(" "), expected, "{lines}");
    }
    for (line, expected) in [
        ("export N=8; /opt/tune", "8"),
        ("N=8 /opt/tune", "8"),
        ("N=8; /opt/tune", "5"),
        (". /etc/default/a; . /opt/tune", "9"),
        ("set -a; . /etc/default/a; /opt/tune", "9"),
        ("N=8; export N; sh /opt/tune", "8"),
        ("export N=$(nproc); /opt/tune", "?"),
    ] {
        let found = writes(&[("/etc/rc.local", line), default, tune]);
        assert_eq!(found, [format!("/opt/tune:1 max {expected}")], "{line}");
    }
}

#[test]
fn other_ways_to_write_at_boot_are_known() {
    let wants = ("/etc/systemd/system/multi-user.target.wants/a.service", "");
    let echo =
        "[Service]\nStandardOutput=file:/proc/sys/net/nf_conntrack_max\nExecStart=/bin/echo 5\n";
    let start = "#!/bin/sh\nsystemctl --no-block start a\n";
    let rule = |what: &str| format!("ACTION==\"add\", SUBSYSTEM==\"net\", {what}\n");
    let sysctl = rule("SYSCTL{net/nf_conntrack_max}=\"5\"");
    let wanted = rule("ENV{SYSTEMD_WANTS}+=\"a.service\"");
    let tune = "#!/bin/sh\nstart() {\nsysctl -w net.nf_conntrack_max=5\n}\nprocess $@\n";
    for (files, expected) in [
        (
            vec![("/lib/systemd/system/a.service", UNIT), wants],
            "/lib/systemd/system/a.service:3 max 5",
        ),
        (
            vec![("/run/systemd/generator/a.service", UNIT), wants],
            "/run/systemd/generator/a.service:3 max 5",
        ),
        (
            vec![("/etc/systemd/system/a.service", echo), wants],
            "/etc/systemd/system/a.service:3 max ?",
        ),
        (
            vec![
                ("/etc/systemd/system/a.service", UNIT),
                ("/etc/rc.local", start),
            ],
            "if /etc/systemd/system/a.service:3 max 5",
        ),
        (
            vec![("/etc/credstore/sysctl.extra", "net.nf_conntrack_max=5\n")],
            "/etc/credstore/sysctl.extra:1 max 5",
        ),
        (
            vec![("/etc/udev/rules.d/a.rules", sysctl.as_str())],
            "if /etc/udev/rules.d/a.rules:1 max 5",
        ),
        (
            vec![
                ("/etc/udev/rules.d/a.rules", wanted.as_str()),
                ("/etc/systemd/system/a.service", UNIT),
            ],
            "if /etc/systemd/system/a.service:3 max 5",
        ),
        (
            vec![
                (
                    "/etc/anacrontab",
                    "1 5 cron.daily run-parts /etc/cron.daily\n",
                ),
                ("/etc/cron.daily/tune", SET),
            ],
            "if /etc/cron.daily/tune:1 max 5",
        ),
        (
            vec![(
                "/etc/cron.d/tune",
                "@reboot admin sudo sysctl -w net.nf_conntrack_max=5\n",
            )],
            "/etc/cron.d/tune:1 max 5",
        ),
        (
            vec![(
                "/var/spool/cron/crontabs/admin",
                "@reboot sysctl -w net.nf_conntrack_max=5\n",
            )],
            "",
        ),
        (
            vec![
                ("/etc/network/interfaces", "source /etc/network/my/*\n"),
                (
                    "/etc/network/my/eth0",
                    "iface eth0 inet dhcp\n up sysctl -w net.nf_conntrack_max=5\n",
                ),
            ],
            "if /etc/network/my/eth0:2 max 5",
        ),
        (
            vec![("/etc/libvirt/hooks/qemu.d/tune", SET)],
            "if /etc/libvirt/hooks/qemu.d/tune:1 max ?",
        ),
        (
            vec![
                ("/etc/tuned/active_profile", "own\n"),
                (
                    "/etc/tuned/own/tuned.conf",
                    "[script]\nscript=${i:PROFILE_DIR}/tune.sh\n",
                ),
                ("/etc/tuned/own/tune.sh", tune),
            ],
            "if /etc/tuned/own/tune.sh:3 max 5",
        ),
        (
            vec![
                ("/etc/tuned/active_profile", "own\n"),
                (
                    "/etc/tuned/own/tuned.conf",
                    "[sysfs]\n/sys/module/nf_conntrack/parameters/hashsize=512\n",
                ),
            ],
            "/etc/tuned/own/tuned.conf:2 buckets 512",
        ),
        (
            vec![
                ("/etc/tuned/active_profile", "own\n"),
                (
                    "/etc/tuned/own/tuned.conf",
                    "[main]\ninclude=-old\n[sysctl]\nreplace=1\n",
                ),
                (
                    "/etc/tuned/old/tuned.conf",
                    "[sysctl]\nnet.nf_conntrack_max=5\n",
                ),
            ],
            "if /etc/tuned/old/tuned.conf:2 max 5",
        ),
        (
            vec![
                ("/etc/tuned/active_profile", "own\n"),
                (
                    "/etc/tuned/own/tuned.conf",
                    "[sysctl]\nnet.nf_conntrack_max=5\n",
                ),
                ("/etc/systemd/system/tuned.service", "/dev/null"),
            ],
            "",
        ),
        (
            vec![
                ("/etc/ufw/ufw.conf", "ENABLED=yes # on\n"),
                (
                    "/etc/default/ufw",
                    "IPT_SYSCTL=/etc/ufw/sysctl.conf # own\n",
                ),
                ("/etc/ufw/sysctl.conf", "net.nf_conntrack_max=5\n"),
            ],
            "/etc/ufw/sysctl.conf:1 max 5",
        ),
        (
            vec![
                ("/etc/ufw/ufw.conf", "ENABLED=yes\n"),
                ("/etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
                ("/etc/ufw/sysctl.conf", "net.nf_conntrack_max=5\n"),
                ("/etc/systemd/system/ufw.service", "/dev/null"),
            ],
            "",
        ),
    ] {
        assert_eq!(writes(&files).join(" "), expected, "{files:?}");
    }
}

#[test]
fn a_unit_that_starts_kube_proxy_says_what_it_sets() {
    let wants = (
        "/etc/systemd/system/multi-user.target.wants/k3s.service",
        "",
    );
    let unit = "[Service]\nExecStart=/usr/local/bin/k3s \\\n server \\\n '--kube-proxy-arg=conntrack-tcp-timeout-close-wait=99s' \\\n";
    let found = writes(&[("/etc/systemd/system/k3s.service", unit), wants]);
    let has = |text: &str| found.iter().any(|one| one == text);
    assert!(
        has("/etc/systemd/system/k3s.service:2 tcp_timeout_close_wait 99"),
        "{found:?}"
    );
    assert!(
        has("/etc/systemd/system/k3s.service:2 tcp_timeout_established 86400"),
        "{found:?}"
    );
    let config = "conntrack:\n  tcpCloseWaitTimeout: 98s\n";
    let unit = "[Service]\nExecStart=/usr/bin/kube-proxy --config=/var/lib/kube-proxy/c.yaml\n";
    let wants = ("/etc/systemd/system/multi-user.target.wants/p.service", "");
    let found = writes(&[
        ("/etc/systemd/system/p.service", unit),
        ("/var/lib/kube-proxy/c.yaml", config),
        wants,
    ]);
    let own = "/var/lib/kube-proxy/c.yaml:2 tcp_timeout_close_wait 98";
    assert!(found.iter().any(|one| one == own), "{found:?}");
}

#[test]
fn a_script_that_is_not_followed_may_write_anything() {
    let loops = "for a in 1 2 3 4 5 6 7 8 9; do ".repeat(8);
    let ends = "done; ".repeat(8);
    let twice = format!("#!/bin/sh\nV=net.nf_conntrack_max=5; {loops} V=$V$V; {ends}\n");
    let again = format!("#!/bin/sh\n{loops} sysctl -p /opt/x.conf; {ends}\n");
    let itself = "#!/bin/sh\nexport A='sh -c \"$A\"'; sh -c \"$A\"\n".to_owned();
    let conf = "net.core.somaxconn=5\n".repeat(1000);
    for (script, place) in [
        (twice.clone(), "/etc/rc.local:1"),
        (again, "/opt/x.conf:1"),
        (itself, "/etc/rc.local:2"),
    ] {
        let found = writes(&[("/etc/rc.local", &script), ("/opt/x.conf!", &conf)]);
        assert_eq!(found, [format!("if {place} ? ?")], "{script}");
    }
    // What comes behind it is not followed either.
    let unit = "/etc/systemd/system/a.service";
    let link = ("/etc/systemd/system/multi-user.target.wants/a.service", "");
    let found = writes(&[
        ("/etc/rc.local", &twice),
        (unit, "[Service]\nExecStart=/opt/tune\n"),
        link,
        ("/opt/tune", SET),
    ]);
    assert_eq!(found, ["if /etc/rc.local:1 ? ?", "if /opt/tune:1 ? ?"]);
}

#[test]
fn many_lines_that_may_write_any_key_are_told_a_few_times() {
    let script = "sysctl -w net.$x=5\n".repeat(1000) + SET;
    let found = writes(&[("/etc/rc.local", &script)]);
    assert_eq!(found.len(), MOST_UNKNOWN + 1);
    assert_eq!(found[MOST_UNKNOWN], "/etc/rc.local:1001 max 5");
}

#[test]
fn profiles_of_tuned_that_make_much_of_little_are_not_followed() {
    let name = |at: usize| format!("/etc/tuned/p{at}/tuned.conf");
    let includes = |at: usize| format!("[main]\ninclude={}\n", format!("p{} ", at + 1).repeat(9));
    let paths: Vec<(String, String)> = (0..12).map(|at| (name(at), includes(at))).collect();
    let mut files = vec![("/etc/tuned/active_profile", "p0\n")];
    files.extend(
        paths
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    assert_eq!(writes(&files), ["if /etc/tuned/active_profile:1 ? ?"]);
    let twice: String = (1..40)
        .map(|at| format!("v{at}=${{v{}}}${{v{0}}}\n", at - 1))
        .collect();
    let text = format!("[variables]\nv0=5\n{twice}[sysctl]\nnet.nf_conntrack_max=${{v39}}\n");
    let found = writes(&[
        ("/etc/tuned/active_profile", "p\n"),
        ("/etc/tuned/p/tuned.conf", &text),
    ]);
    assert_eq!(found, ["/etc/tuned/p/tuned.conf:43 max ?"]);
}

#[test]
fn included_descriptions_are_read_at_the_place_of_their_line() {
    let unit = ("/usr/lib/systemd/system/networking.service", UNIT);
    let link = (
        "/etc/systemd/system/multi-user.target.wants/networking.service",
        "",
    );
    let up = |name: &str, key: &str, value: u32| {
        format!(
            "iface {name} inet static\n up sysctl -w net.netfilter.nf_conntrack_{key}={value}\n"
        )
    };
    let (first, second) = (up("eth0", "max", 1), up("eth1", "max", 2));
    let pre_up = second.replace(" up", " pre-up");
    for (main, files, expected) in [
        (
            "source interfaces.d/*\nauto eth0 eth1\nIFACE",
            vec![("interfaces.d/b", second.as_str())],
            "interfaces:4 max 1, interfaces.d/b:2 max 2",
        ),
        (
            "source interfaces.d/*\nauto eth1 eth0\nIFACE",
            vec![("interfaces.d/b", second.as_str())],
            "interfaces.d/b:2 max 2, interfaces:4 max 1",
        ),
        // Nothing includes it.
        (
            "auto eth0 eth1\nIFACE",
            vec![("interfaces.d/b", second.as_str())],
            "interfaces:3 max 1",
        ),
        (
            "source-directory interfaces.d\nIFACE",
            vec![
                ("interfaces.d/a", "auto eth0\nauto eth1\nsource c\n"),
                ("interfaces.d/b.x", &second),
                ("interfaces.d/c", &pre_up),
            ],
            "interfaces:3 max 1, interfaces.d/c:2 max 2",
        ),
        (
            "auto eth0\nIFACE\n pre-up sysctl \\\n -w net.nf_conntrack_max=7\n",
            vec![],
            "interfaces:4 max 7, interfaces:3 max 1",
        ),
        // What follows the line belongs to no interface.
        (
            "auto eth0\nsource b\n up sysctl -w net.nf_conntrack_max=3\n",
            vec![("b", &first)],
            "b:2 max 1, if interfaces:3 max 3",
        ),
        (
            "auto eth0\nsource interfaces\nIFACE",
            vec![],
            "interfaces:4 max 1",
        ),
    ] {
        let main = main.replace("IFACE", first.trim_end());
        let files = files.into_iter().chain([("interfaces", main.as_str())]);
        let files: Vec<(String, &str)> = files
            .map(|(name, text)| (format!("/etc/network/{name}"), text))
            .collect();
        let files = files.iter().map(|(path, text)| (path.as_str(), *text));
        let found = writes(&files.chain([unit, link]).collect::<Vec<_>>());
        let own = |one: &&String| one.contains("/etc/network/");
        let found: Vec<&str> = found.iter().filter(own).map(String::as_str).collect();
        let found = found.join(", ").replace("/etc/network/", "");
        assert_eq!(found, expected, "{main}");
    }
}

#[test]
fn what_is_printed_into_a_sysctl_is_known_in_every_form() {
    for (shell, line, expected) in [
        ("sh", "printf '%s' 5 > MAX", "max 5"),
        ("sh", "printf '5\\n' >> MAX", "max 5"),
        ("sh", "/bin/echo -e '5\\n' > MAX", "max 5"),
        ("sh", "echo -e 5 > MAX", "max ?"),
        ("bash", "echo -e '5\\n' > MAX", "max 5"),
        ("bash", "echo -ne 5 | sudo tee -a /run/x MAX", "max 5"),
        ("sh", "echo 5 | cat > MAX", "max 5"),
        ("sh", "echo 5 | tee /run/x > MAX", "max 5"),
        ("sh", "cat /opt/v > MAX", "max 7"),
        ("sh", "cat < /opt/v > MAX", "max 7"),
        ("sh", "cat /opt/v | tee MAX > /dev/null", "max 7"),
        ("sh", "tee MAX < /opt/v", "max 7"),
        ("sh", "cat /opt/none > MAX", "max ?"),
        ("sh", "echo 8 > /opt/v; cat /opt/v > MAX", "max ?"),
        ("sh", "cat /run/v > MAX", "max ?"),
        ("sh", "cat /proc/cmdline > MAX", "max ?"),
        ("bash", "echo 5 &> MAX", "max 5"),
        ("sh", "echo 5 &> MAX", "if max 5"),
        ("sh", "echo 5 &> /dev/null > MAX", "if max 5"),
        (
            "sh",
            "sysctl -w net.nf_conntrack_max=5 &> /run/log",
            "if max 5",
        ),
        ("sh", "echo -- 5 > MAX", ""),
        ("sh", "printf 'five' > MAX", ""),
    ] {
        let line = line.replace("MAX", "/proc/sys/net/nf_conntrack_max");
        let script = format!("#!/bin/{shell}\n{line}\n");
        let found = writes(&[
            ("/etc/rc.local", &script),
            ("/opt/v!", "7\n"),
            ("/run/v!", "7\n"),
        ]);
        let found = found.concat().replace("/etc/rc.local:2 ", "");
        assert_eq!(found, expected, "{shell}: {line}");
    }
}

#[test]
fn sysctl_d_is_surely_applied_again_where_its_service_is_restarted() {
    let rule = |what: &str| format!("KERNEL==\"nf_conntrack\", {what}\n");
    let applied = |path: &str, text: &str, has_systemd: bool| {
        let mut files = vec![(path, text)];
        if has_systemd {
            files.push(("/usr/lib/systemd/system/systemd-sysctl.service", ""));
        }
        let writers = Writers::of(&facts(&files));
        let all = writers.appliers.iter().chain(&writers.on_load.appliers);
        let shown = all.map(|one| format!("{:?} {}", one.reader, one.is_sure));
        shown.collect::<Vec<_>>().join(", ")
    };
    for (line, expected) in [
        ("systemctl restart systemd-sysctl", "Systemd true"),
        (
            "systemctl -q restart a systemd-sysctl.service",
            "Systemd true",
        ),
        ("systemctl start systemd-sysctl", "Systemd false"),
        ("systemctl try-restart systemd-sysctl", "Systemd false"),
        ("systemctl stop systemd-sysctl", ""),
        ("systemctl status systemd-sysctl start", ""),
        ("systemctl --user restart systemd-sysctl", ""),
        ("service procps restart", "Systemd true"),
        ("service procps start", "Systemd false"),
        ("service procps stop", ""),
    ] {
        assert_eq!(applied("/etc/rc.local", line, true), expected, "{line}");
    }
    let by_init = |line| applied("/etc/rc.local", line, false);
    assert_eq!(by_init("service procps start"), "Procps true");
    assert_eq!(by_init("invoke-rc.d procps start"), "Procps true");
    for (what, expected) in [
        (
            "RUN+=\"/bin/systemctl restart systemd-sysctl\"",
            "Systemd true",
        ),
        (
            "RUN+=\"/bin/systemctl start systemd-sysctl\"",
            "Systemd false",
        ),
        (
            "ENV{SYSTEMD_WANTS}=\"systemd-sysctl.service\"",
            "Systemd false",
        ),
    ] {
        let found = applied("/etc/udev/rules.d/a.rules", &rule(what), true);
        assert_eq!(found, expected, "{what}");
    }
    let unit = ("/etc/systemd/system/a.service", UNIT);
    for (verb, expected) in [
        ("restart a", "/etc/systemd/system/a.service:3 max 5"),
        (
            "start a.service",
            "if /etc/systemd/system/a.service:3 max 5",
        ),
        ("enable --now a", "if /etc/systemd/system/a.service:3 max 5"),
        ("stop a", ""),
        ("restart b", ""),
    ] {
        let line = format!("systemctl {verb}\n");
        assert_eq!(
            writes(&[("/etc/rc.local", &line), unit]).concat(),
            expected,
            "{verb}"
        );
    }
}

#[test]
fn ufw_s_settings_are_what_a_shell_makes_of_them() {
    let conf = "/etc/ufw/sysctl.conf";
    for (enabled, default, is_on) in [
        ("ENABLED=yes", "IPT_SYSCTL=/etc/ufw/sysctl.conf", true),
        (
            "ENABLED=\"yes\" # on",
            "IPT_SYSCTL='/etc/ufw/sysctl.conf' # own",
            true,
        ),
        (
            "export ENABLED=yes",
            "D=/etc/ufw; IPT_SYSCTL=$D/sysctl.conf",
            true,
        ),
        (
            "ENABLED=no\nENABLED=yes",
            "IPT_SYSCTL=/x\nIPT_SYSCTL=/etc/ufw/sysctl.conf",
            true,
        ),
        (
            "ENABLED=yes\nENABLED=no",
            "IPT_SYSCTL=/etc/ufw/sysctl.conf",
            false,
        ),
        (
            "ENABLED=yes",
            "IPT_SYSCTL=/etc/ufw/sysctl.conf\nIPT_SYSCTL=",
            false,
        ),
        ("#ENABLED=yes", "IPT_SYSCTL=/etc/ufw/sysctl.conf", false),
        ("ENABLED = yes", "IPT_SYSCTL=/etc/ufw/sysctl.conf", false),
    ] {
        let found = writes(&[
            ("/etc/ufw/ufw.conf", enabled),
            ("/etc/default/ufw", default),
            (conf, "net.nf_conntrack_max=5\n"),
        ]);
        assert_eq!(!found.is_empty(), is_on, "{enabled}; {default}: {found:?}");
    }
}

#[test]
fn a_kube_proxy_surely_writes_where_its_unit_surely_starts() {
    let unit = "/etc/systemd/system/p.service";
    let text = "[Service]\nExecStart=/usr/bin/kube-proxy --conntrack-max-per-core=0\n";
    let wanted = |target: &str| format!("/etc/systemd/system/{target}.wants/p.service");
    let own = |files: &[(&str, &str)]| {
        let found = writes(files);
        let own = found.iter().find(|one| one.contains("close_wait"));
        own.cloned().unwrap_or_default()
    };
    let sure = format!("{unit}:2 tcp_timeout_close_wait 3600");
    let perhaps = format!("if {sure}");
    let at_boot = wanted("multi-user.target");
    assert_eq!(own(&[(unit, text), (&at_boot, "")]), sure);
    assert_eq!(own(&[(unit, text), (&wanted("x.target"), "")]), perhaps);
    let condition = format!("{text}[Unit]\nConditionPathExists=/x\n");
    assert_eq!(own(&[(unit, &condition), (&at_boot, "")]), perhaps);
    assert_eq!(own(&[(unit, text)]), "", "nothing starts it");
    assert_eq!(own(&[("/usr/bin/kube-proxy", "")]), "", "a program alone");
}

#[test]
fn a_value_of_k3s_names_the_line_that_sets_it() {
    let k3s = "/etc/rancher/k3s/config.yaml";
    let more = "/etc/rancher/k3s/config.yaml.d/a.yaml";
    let close_wait = "kube-proxy-arg:\n- conntrack-tcp-timeout-close-wait=9s\n";
    let both = "# x\nkube-proxy-arg:\n  - conntrack-tcp-timeout-established=8s\n  - \"conntrack-tcp-timeout-close-wait=7s\"\n";
    let added = close_wait.replace("arg:", "arg+:");
    for (command, files, established, of_close_wait) in [
        ("k3s server", vec![], "UNIT:3 86400", "UNIT:3 3600"),
        ("k3s server", vec![(k3s, both)], "CONF:3 8", "CONF:4 7"),
        (
            "k3s agent",
            vec![(k3s, both), (more, close_wait)],
            "UNIT:3 86400",
            "MORE:2 9",
        ),
        (
            "k3s agent",
            vec![(k3s, both), (more, &added)],
            "CONF:3 8",
            "MORE:2 9",
        ),
        (
            "k3s agent --kube-proxy-arg=conntrack-tcp-timeout-close-wait=6s",
            vec![(k3s, both)],
            "UNIT:3 86400",
            "UNIT:3 6",
        ),
        (
            "k3s server -c /opt/c.yaml",
            vec![(k3s, both), ("/opt/c.yaml", close_wait)],
            "UNIT:3 86400",
            "/opt/c.yaml:2 9",
        ),
        (
            "rke2 server",
            vec![(k3s, both)],
            "UNIT:3 86400",
            "UNIT:3 3600",
        ),
        (
            "rke2 server",
            vec![("/etc/rancher/rke2/config.yaml", both)],
            "/etc/rancher/rke2/config.yaml:3 8",
            "/etc/rancher/rke2/config.yaml:4 7",
        ),
        ("k0s worker", vec![], "if UNIT:3 86400", "if UNIT:3 3600"),
        ("k0s controller", vec![], "", ""),
        ("k3s server --disable-kube-proxy", vec![], "", ""),
        (
            "k3s server",
            vec![(k3s, "disable-kube-proxy: true\n")],
            "",
            "",
        ),
        (
            "k0s controller --single",
            vec![(
                "/etc/k0s/k0s.yaml",
                "spec:\n  kubeProxy:\n    disabled: true\n",
            )],
            "",
            "",
        ),
    ] {
        let unit = format!("[Unit]\n[Service]\nExecStart=/usr/local/bin/{command}\n");
        let place = "/etc/systemd/system/k.service";
        let link = ("/etc/systemd/system/multi-user.target.wants/k.service", "");
        let found = writes(&[&files[..], &[(place, unit.as_str()), link]].concat());
        let own = |key: &str| {
            let one = found.iter().find(|one| one.contains(key));
            let one = one.map(|one| one.replace(&format!("{key} "), ""));
            let one = one.unwrap_or_default().replace(place, "UNIT");
            one.replace(k3s, "CONF").replace("CONF.d/a.yaml", "MORE")
        };
        assert_eq!(
            own("tcp_timeout_established"),
            established,
            "{command} {files:?}"
        );
        assert_eq!(
            own("tcp_timeout_close_wait"),
            of_close_wait,
            "{command} {files:?}"
        );
    }
}
