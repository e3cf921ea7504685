//! Programs that write by themselves: ufw, tuned, conntrackd, kube-proxy and what starts it.

use super::*;

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
