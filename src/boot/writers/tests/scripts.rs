//! Scripts and their commands.

use super::*;

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
        ("/opt/tune --fast", "/opt/tune:2 max 7"),
        ("sh /opt/tune", "/opt/tune:2 max 7"),
        (". /opt/tune", "/opt/tune:2 max 7"),
        ("sysctl -p /etc/sysctl.d/90-cttune.conf", ""),
        ("/opt/python", "/opt/python:3 max ?"),
    ] {
        let script = format!("#!/bin/sh\n{line}\n");
        let found = writes(&[
            ("/etc/rc.local", &script),
            ("/opt/x.conf", set),
            (
                "/opt/tune",
                "#!/bin/sh\necho 7 > /proc/sys/net/netfilter/nf_conntrack_max",
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
        let script = format!("#!/bin/sh\n{line}");
        let found = writes(&[("/etc/rc.local", &script)]).concat();
        let found = found.replace("/etc/rc.local:2 ", "");
        assert_eq!(found, expected, "{line}");
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
            "/etc/rc.local:2 ? ?",
        ),
        (
            "for n in 3 4; do sysctl -w net.netfilter.nf_conntrack_max=$n; done",
            "/etc/rc.local:2 max 3 /etc/rc.local:2 max 4",
        ),
        (
            "cd /opt; for f in *.conf; do sysctl -p $f; done",
            "/etc/rc.local:2 ? ?",
        ),
    ] {
        let script = format!("#!/bin/sh\n{line}");
        let found = writes(&[
            ("/etc/rc.local", &script),
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
    let set = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=${N:-5}\n";
    let default = ("/etc/default/a!", "# x\nN=\"9\"\n");
    let tune = ("/opt/tune", set);
    for (lines, files, expected) in [
        ("ExecStart=/opt/tune", vec![tune], "/opt/tune:2 max 5"),
        (
            "Environment=N=7\nExecStart=/opt/tune",
            vec![tune],
            "/opt/tune:2 max 7",
        ),
        (
            "Environment=N=7\nEnvironmentFile=/etc/default/a\nExecStart=/opt/tune",
            vec![tune, default],
            "/opt/tune:2 max 9",
        ),
        (
            "Environment=N=7\nEnvironmentFile=-/etc/default/b\nExecStart=/opt/tune",
            vec![tune, default],
            "/opt/tune:2 max 7",
        ),
        (
            "EnvironmentFile=/etc/default/b\nExecStart=/opt/tune",
            vec![tune],
            "if /opt/tune:2 max 5",
        ),
        (
            "EnvironmentFile=/etc/default/*\nExecStart=/opt/tune",
            vec![tune, default],
            "/opt/tune:2 max ?",
        ),
        (
            "PassEnvironment=N\nExecStart=/opt/tune",
            vec![tune],
            "/opt/tune:2 max ?",
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
        let script = format!("#!/bin/sh\n{line}");
        let found = writes(&[("/etc/rc.local", &script), default, tune]);
        assert_eq!(found, [format!("/opt/tune:2 max {expected}")], "{line}");
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
            "if /etc/cron.daily/tune:2 max 5",
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
            "if /etc/libvirt/hooks/qemu.d/tune:2 max ?",
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
    let script = format!("#!/bin/sh\n{}{SET}", "sysctl -w net.$x=5\n".repeat(1000));
    let found = writes(&[("/etc/rc.local", &script)]);
    assert_eq!(found.len(), MOST_UNKNOWN + 1);
    assert_eq!(found[MOST_UNKNOWN], "/etc/rc.local:1003 max 5");
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
fn what_runs_in_a_shell_of_its_own_or_from_elsewhere_is_not_missed() {
    for (shell, lines, expected) in [
        ("sh", "OUT=$(SET 2>&1)", "if max 5"),
        ("sh", "echo \"$(SET)\"", "if max 5"),
        ("sh", "if [ -n \"`SET`\" ]; then x; fi", "if max 5"),
        ("sh", "a \"$(b \"$(SET)\")\"", "if max 5 if max ?"),
        ("sh", "echo '$(SET)'", ""),
        ("sh", "N=$(sysctl -n net.netfilter.nf_conntrack_max)", ""),
        ("sh", "exec /opt/d & SET", "max 5"),
        ("sh", "exit 0 | true; SET", "max 5"),
        ("bash", "exec {fd}>/tmp/x; SET", "max 5"),
        ("sh", "cd /opt && ./tune", "if max 7"),
        ("sh", "cd /opt; ./tune", "max 7"),
        ("sh", "cd /opt; sh tune", "max 7"),
        ("sh", "cd $X; ./tune", "if ? ?"),
        ("sh", "own", "if max 8"),
        (
            "bash",
            "sysctl -w net.netfilter.nf_conntrack_{max,acct}=5",
            "? ?",
        ),
        ("bash", "echo 5 >& MAX", "max 5"),
        (
            "bash",
            "sysctl -p <(echo net.netfilter.nf_conntrack_max=5)",
            "? ?",
        ),
        ("sh", "echo 'SET' | at now", "if max 5"),
        (
            "sh",
            "find /proc/sys/net -name nf_conntrack_max -exec sh -c 'echo 5 > {}' ';'",
            "if max ?",
        ),
        (
            "sh",
            "IFS=,; V=net.netfilter.nf_conntrack_max=5; sysctl -w $V",
            "? ?",
        ),
        (
            "sh",
            "echo 5 > /proc//sys/net/netfilter/nf_conntrack_max",
            "max 5",
        ),
        (
            "sh",
            "echo x > /etc/sysctl.d/99-x.conf; sysctl --system",
            "? ?",
        ),
        ("sh", "cp /opt/x /etc/sysctl.d/; sysctl --system", "? ?"),
        ("sh", "pct exec 100 -- SET", ""),
        ("sh", "command -v SET", ""),
        (
            "sh",
            "if x; then cd /; fi; start-stop-daemon --startas /bin/sh --oknodo --chuid man $y -- -c \"find /x -name '*.gz'\"",
            "",
        ),
        (
            "sh",
            "start-stop-daemon --startas /bin/sh --oknodo --chuid man $y -- -c 'SET'",
            "if max ?",
        ),
    ] {
        let set = "sysctl -w net.netfilter.nf_conntrack_max=5";
        let lines = lines.replace("SET", set);
        let lines = lines.replace("MAX", "/proc/sys/net/netfilter/nf_conntrack_max");
        let found = writes(&[
            ("/etc/rc.local", &format!("#!/bin/{shell}\n{lines}\n")),
            (
                "/opt/tune",
                "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=7\n",
            ),
            (
                "/usr/local/bin/own",
                "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=8\n",
            ),
        ]);
        let found = found.join(" ");
        let places = ["/etc/rc.local:2 ", "/opt/tune:2 ", "/usr/local/bin/own:2 "];
        let found = places
            .iter()
            .fold(found, |found, place| found.replace(place, ""));
        assert_eq!(found, expected, "{lines}");
    }
}

#[test]
fn what_may_have_been_left_out_is_not_sure() {
    let set = "sysctl -w net.netfilter.nf_conntrack_max=5";
    for (text, expected) in [
        ("SET\n", "if 5"),
        ("#!/bin/sh\r\nSET\r\n", "if 5"),
        ("#!/bin/sh\n. /etc/leaves\nSET\n", "if 5"),
        ("#!/bin/sh\n. /etc/strict\nSET\n", "if 5"),
        ("#!/bin/sh\ndie() { exit 1; }\nfalse || die\nSET\n", "if 5"),
        (
            "#!/bin/sh\ncase $1 in done) true ;; stop) SET ;; esac\n",
            "if 5",
        ),
        ("#!/bin/bash\nf() for i in 1 2; do SET; done\n", "if 5"),
        ("#!/bin/sh\ncommand exit\nSET\n", "if 5"),
        ("#!/bin/sh\neval exit\nSET\n", "if 5"),
        ("#!/bin/sh\nsysctl() { logger x; }\nSET\n", "if 5"),
        ("#!/bin/sh\nset -C\nSET\n", "if 5"),
        ("#!/bin/sh\nSET\n", "5"),
        ("#!/bin/sh\ndie() { echo x; }\ndie\nSET\n", "5"),
    ] {
        let found = writes(&[
            ("/etc/rc.local", &text.replace("SET", set)),
            ("/etc/leaves!", "[ -f /x ] && exit 0\n"),
            ("/etc/strict!", "set -e\n"),
        ]);
        let shown = found.iter().map(|one| {
            let condition = if one.starts_with("if ") { "if " } else { "" };
            format!("{condition}{}", one.rsplit(' ').next().unwrap())
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{text}");
    }
}

#[test]
fn an_expansion_that_is_not_worked_out_has_no_value() {
    for (lines, expected) in [
        ("S=max-9; echo ${S#max-} > MAX", "?"),
        ("N=5-x; echo ${N%-x} > MAX", "?"),
        ("N=13-10; echo ${N/-/} > MAX", "?"),
        ("N=1200005; echo ${N:0:-1} > MAX", "?"),
        ("N=1200005; echo ${N: -6} > MAX", "?"),
        ("A=7; echo ${A:-${B:-5}} > MAX", "?"),
        ("A=7; echo ${A:-5} > MAX", "7"),
        ("A=7; echo ${A-5} > MAX", "7"),
        ("echo ${A-5} > MAX", "5"),
        ("echo $((0200000 * 2)) > MAX", "?"),
        ("N=; : ${N:=6}; echo ${N:-9} > MAX", "?"),
        ("N=5; let N=N*2; echo $N > MAX", "?"),
        ("N=5; ((N*=2)); echo $N > MAX", "?"),
        ("N=5; printf -v N %d 6; echo $N > MAX", "?"),
        ("N=4; N[0]=5; echo $N > MAX", "?"),
        ("declare -i N=5*2; echo $N > MAX", "?"),
    ] {
        let lines = lines.replace("MAX", "/proc/sys/net/netfilter/nf_conntrack_max");
        let found = writes(&[("/etc/rc.local", &format!("#!/bin/bash\n{lines}\n"))]);
        let expected = format!("/etc/rc.local:2 max {expected}");
        assert_eq!(found.concat(), expected, "{lines}");
    }
}

#[test]
fn of_a_line_that_runs_again_the_last_write_counts() {
    let a = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=5\n";
    let b = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=6\n";
    let run = |rc_local: &str| {
        writes(&[
            ("/etc/rc.local", &format!("#!/bin/sh\n{rc_local}")),
            ("/opt/a", a),
            ("/opt/b", b),
        ])
    };
    let (first, then) = ("/opt/a:2 max 5", "/opt/b:2 max 6");
    assert_eq!(run("/opt/a\n/opt/b\n/opt/a\n"), [then, first]);
    assert_eq!(run("/opt/a\n/opt/a\n/opt/b\n"), [first, then]);
    // It may run again, and surely ran before.
    let perhaps = "if /opt/a:2 max 5";
    let again = "[ -e /x ] && /opt/a\n";
    assert_eq!(
        run(&format!("/opt/a\n/opt/b\n{again}")),
        [first, then, perhaps]
    );
    assert_eq!(run(&format!("/opt/a\n{again}/opt/b\n")), [first, then]);
    assert_eq!(run(&format!("{again}/opt/b\n/opt/a\n")), [then, first]);
    // With other variables it writes something else.
    let with = |rc_local: &str| {
        let own = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=$MAX\n";
        let files = [
            ("/etc/rc.local", &*format!("#!/bin/sh\n{rc_local}")),
            ("/opt/a", own),
            ("/opt/b", b),
        ];
        writes(&files).pop()
    };
    for lines in [
        "MAX=50 /opt/a\nMAX=60 /opt/a\n",
        "export MAX=50\n/opt/a\nexport MAX=60\n/opt/a\n",
        "MAX=60\n. /opt/a\nMAX=50\n. /opt/a\nMAX=60\n. /opt/a\n",
        "MAX=50 /opt/a\n/opt/b\nMAX=60 /opt/a\n",
    ] {
        assert_eq!(with(lines).as_deref(), Some("/opt/a:2 max 60"), "{lines}");
    }
    // A script that runs itself is read once.
    let own = "/opt/a\n/etc/rc.local\n/opt/b\n";
    assert_eq!(run(own), [first, then]);
}

#[test]
fn scripts_that_run_others_again_and_again_are_given_up() {
    let name = |at: usize| format!("/opt/{at}");
    let last = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=5\n".to_owned();
    let twice = |at: usize| format!("#!/bin/sh\n{}", format!("{}\n", name(at + 1)).repeat(60));
    let texts: Vec<_> = (0..5).map(twice).chain([last]).collect();
    let paths: Vec<_> = (0..6).map(name).collect();
    let mut files: Vec<_> = paths
        .iter()
        .map(String::as_str)
        .zip(texts.iter().map(String::as_str))
        .collect();
    files.push(("/etc/rc.local", "#!/bin/sh\n/opt/0\n"));
    let found = writes(&files);
    assert!(found.contains(&"/opt/5:2 max 5".to_owned()), "{found:?}");
    assert!(found.iter().any(|one| one.ends_with("? ?")), "{found:?}");
}
