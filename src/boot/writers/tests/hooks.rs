//! Hooks of interfaces, descriptions of interfaces, cron.

use super::*;

#[test]
fn folders_that_cron_runs_are_followed() {
    let table = "17 * * * * root cd / && run-parts --report /etc/cron.hourly\n";
    let found = writes(&[
        ("/etc/crontab!", table),
        ("/etc/cron.hourly/tune", SET),
        ("/etc/cron.hourly/tune.off", SET),
        ("/etc/cron.hourly/later!", SET),
    ]);
    assert_eq!(found, ["if /etc/cron.hourly/tune:2 max 5"]);
}

#[test]
fn a_script_of_several_runlevels_counts_once_by_its_own_name() {
    let own = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=7\n";
    let found = writes(&[
        ("/etc/init.d/tune", SET),
        ("/etc/rcS.d/S01tune", SET),
        ("/etc/rc2.d/S01tune", SET),
        ("/etc/rc3.d/S20tune", SET),
        ("/etc/rc5.d/S01tune", own),
        ("/etc/rc.d/init.d/tune", SET),
        ("/etc/rc.d/rc3.d/S10tune", SET),
    ]);
    let expected = [
        "/etc/rcS.d/S01tune:2 max 5",
        "/etc/init.d/tune:2 max 5",
        "/etc/rc5.d/S01tune:2 max 7",
        "/etc/rc.d/init.d/tune:2 max 5",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_order_of_scripts_is_that_of_the_last_runlevel() {
    let other = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=7\n";
    let found = writes(&[
        ("/etc/init.d/first", SET),
        ("/etc/init.d/then", other),
        ("/etc/rc2.d/S02then", other),
        ("/etc/rc3.d/S01first", SET),
        ("/etc/rc3.d/S02then", other),
    ]);
    assert_eq!(
        found,
        ["/etc/init.d/first:2 max 5", "/etc/init.d/then:2 max 7"]
    );
}

#[test]
fn hooks_cron_and_interfaces_count_as_their_programs_read_them() {
    for (path, text, expected) in [
        ("/etc/network/if-up.d/tune", SET, "if 2 max 5"),
        ("/etc/network/if-up.d/tune.sh", SET, ""),
        (
            "/etc/NetworkManager/dispatcher.d/50-tune.sh",
            SET,
            "if 2 max 5",
        ),
        ("/etc/NetworkManager/dispatcher.d/50-tune~", SET, ""),
        (
            "/etc/networkd-dispatcher/routable.d/tune",
            SET,
            "if 2 max 5",
        ),
        ("/etc/local.d/tune.start", SET, "2 max 5"),
        ("/etc/local.d/tune.stop", SET, ""),
        ("/var/lib/cloud/scripts/per-boot/tune.sh", SET, "2 max 5"),
        ("/etc/rc2.d/S20tune", SET, "2 max 5"),
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
            "@reboot root logger $(date +\\%s); sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "1 max 5",
        ),
        (
            "/etc/cron.d/tune!",
            "@reboot root echo a\\\\%; sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
        ),
        (
            "/etc/cron.d/tune!",
            "@reboot root cat >/dev/null%sysctl -w net.netfilter.nf_conntrack_max=5\n",
            "",
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
        assert_eq!(found, [format!("{condition}{hook}:2 max 5")], "{files:?}");
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
