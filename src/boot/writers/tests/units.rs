//! Units, and what asks for them.

use super::*;

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

#[test]
fn sysctl_d_is_surely_applied_again_where_its_service_is_restarted() {
    let rule = |what: &str| format!("KERNEL==\"nf_conntrack\", {what}\n");
    let applied = |path: &str, text: &str, has_systemd: bool| {
        let script = format!("#!/bin/sh\n{text}");
        let text = if path == "/etc/rc.local" {
            script.as_str()
        } else {
            text
        };
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
        let line = format!("#!/bin/sh\nsystemctl {verb}\n");
        assert_eq!(
            writes(&[("/etc/rc.local", &line), unit]).concat(),
            expected,
            "{verb}"
        );
    }
}
