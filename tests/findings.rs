//! Every finding of `cttune check`: provoked on the kernel that runs, and absent without its cause.
//!
//! Needs the packages conntrack, iproute2, nftables and util-linux. What takes a small max or few
//! buckets of its own is provoked in guests, by tests/guests; what files alone provoke is tested
//! beside the code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::too_many_lines)] // tables of cases

mod inside;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cttune::internals::finding_ids;
use inside::{goes_inside, path, sh};
use serde_json::Value;
use support::World;

/// Every finding, and the test or the guest that provokes it.
const FINDINGS: &[(&str, &str)] = &[
    ("acct-off", "a_choice_is_told_on_request"),
    (
        "agent-conntrackd",
        "docker_and_conntrackd_are_worth_knowing",
    ),
    ("agent-docker", "docker_and_conntrackd_are_worth_knowing"),
    (
        "agent-firewalld",
        "firewalld_is_a_warning_where_it_unloads_the_module_for_good",
    ),
    (
        "agent-kube-proxy",
        "kube_proxy_is_a_warning_only_where_its_defaults_are_not_what_is_wanted",
    ),
    (
        "agent-tuned",
        "tuned_is_named_by_the_line_of_the_profile_that_is_included",
    ),
    ("agent-ufw", "ufw_is_named_with_the_line_that_it_applies"),
    ("beaten-at-boot", "files_that_the_next_boot_reads_otherwise"),
    (
        "bridge-nf",
        "bridged_traffic_is_told_of_where_a_bridge_has_ports",
    ),
    ("chain-too-long", "guest chains"),
    ("close-wait-long", "a_value_provokes_its_finding"),
    ("dead-line", "lines_that_do_nothing_are_named"),
    ("early-drops", "guest full"),
    (
        "established-before-keepalive",
        "a_value_provokes_its_finding",
    ),
    ("established-short", "a_value_provokes_its_finding"),
    ("etc-volatile", "an_etc_in_memory_is_named"),
    ("expectations-full", "the_table_of_expectations_fills_up"),
    (
        "expire-deletes-nat",
        "expiry_that_deletes_is_a_warning_behind_nat",
    ),
    ("flowtables", "guest full"),
    (
        "guard-gone",
        "check_and_metrics_see_a_guard_and_what_it_did",
    ),
    (
        "guard-helpless",
        "check_and_metrics_see_a_guard_and_what_it_did",
    ),
    ("hash-load", "a_value_provokes_its_finding"),
    ("hashsize-option", "a_hash_size_names_the_max_that_it_makes"),
    (
        "insert-failed",
        "flows_that_find_no_free_port_are_failed_inserts",
    ),
    ("invalid-packets", "packets_that_fit_no_flow_are_invalid"),
    (
        "later-writer",
        "scripts_and_units_are_named_with_their_line",
    ),
    (
        "live-not-persisted",
        "live_values_are_compared_with_the_next_boot",
    ),
    (
        "lost-at-boot",
        "values_are_lost_where_nothing_loads_the_module_in_time",
    ),
    (
        "managed-file",
        "a_managed_file_matters_only_where_one_of_its_lines_overrides_the_drop_in",
    ),
    ("max-unlimited", "a_value_provokes_its_finding"),
    (
        "mostly-unanswered",
        "what_was_never_answered_is_told_with_its_cause",
    ),
    (
        "nat-address-gone",
        "flows_to_an_address_that_is_gone_are_told_of",
    ),
    ("nat-ports", "ports_of_an_address_run_out"),
    (
        "nat-target-dead",
        "flows_to_a_target_that_is_down_are_told_of",
    ),
    (
        "netns-near-full",
        "a_namespace_near_full_is_found_from_another",
    ),
    (
        "next-boot-unknown",
        "what_cannot_be_evaluated_is_not_called_known",
    ),
    (
        "no-lifeline",
        "the_operators_session_is_told_of_where_the_table_fills",
    ),
    ("not-loaded", "guest stock"),
    (
        "not-reclaimable",
        "a_full_table_that_nothing_can_be_evicted_from",
    ),
    ("packets-dropped", "guest full"),
    (
        "persisted-not-live",
        "live_values_are_compared_with_the_next_boot",
    ),
    ("push-ports", "push_connections_under_a_short_timeout"),
    (
        "readers-disagree",
        "files_that_the_next_boot_reads_otherwise",
    ),
    ("rfc4787-req5", "a_value_provokes_its_finding"),
    ("rfc5382-req5", "a_value_provokes_its_finding"),
    ("rfc5382-req5-transitory", "a_value_provokes_its_finding"),
    ("rfc5508-req2", "a_value_provokes_its_finding"),
    ("rfc6888-req4", "ports_of_an_address_run_out"),
    ("rfc6888-req8", "a_value_provokes_its_finding"),
    ("rfc7857-opening", "a_choice_is_told_on_request"),
    ("rfc7857-rst", "a_value_provokes_its_finding"),
    (
        "search-restarts",
        "lookups_that_come_out_in_another_chain_are_begun_again",
    ),
    ("service-drift", "services_that_are_gone_or_can_go_are_told"),
    ("service-flush", "services_that_are_gone_or_can_go_are_told"),
    (
        "sysctl-conf-unread",
        "files_that_the_next_boot_reads_otherwise",
    ),
    (
        "table-fill",
        "a_full_table_that_nothing_can_be_evicted_from",
    ),
    ("table-filling", "a_table_that_grows_tells_when_it_is_full"),
    ("table-full-log", "guest full"),
    ("table-memory", "a_value_provokes_its_finding"),
    ("tcp-be-liberal", "a_value_provokes_its_finding"),
    ("tcp-loose", "a_choice_is_told_on_request"),
    ("tcp-loose-off", "a_value_provokes_its_finding"),
    ("timeout-below-one", "a_value_provokes_its_finding"),
    ("timeout-policies", "timeout_policies_are_counted"),
    ("timestamp-off", "a_choice_is_told_on_request"),
    (
        "tracked-by",
        "what_makes_the_kernel_track_is_told_on_request",
    ),
    ("udp-stream-short", "a_value_provokes_its_finding"),
    (
        "untranslated",
        "private_sources_that_leave_untranslated_are_told_of",
    ),
];

/// The finding of this id, which must be well-formed and cite its source.
fn find<'a>(checked: &'a Value, id: &str) -> Option<&'a Value> {
    let findings = checked["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == id)?;
    let text = |name: &str| finding[name].as_str().unwrap();
    assert!(!text("source").is_empty(), "{finding}");
    assert!(
        text("message").contains(|c: char| c.is_ascii_digit()),
        "{finding}"
    );
    let commands = ["cttune ", "sysctl ", "nft ", "ln -s ", "modprobe "];
    assert!(
        commands.iter().any(|one| text("hint").contains(one)),
        "{finding}"
    );
    Some(finding)
}

#[track_caller]
fn severity(checked: &Value, id: &str) -> String {
    let finding = find(checked, id).unwrap_or_else(|| panic!("no {id} in {checked:#}"));
    finding["severity"].as_str().unwrap().to_owned()
}

fn check(world: &World, args: &[&str]) -> Value {
    let all = [&["check", "--format", "json"], args].concat();
    world.cttune(&all).json()
}

fn set(world: &World, name: &str, value: &str) {
    world.sh(&format!(
        "echo {value} >/proc/sys/net/netfilter/nf_conntrack_{name}"
    ));
}

/// `rfc4787-req5` as code spells it: `Rfc4787Req5`.
fn variant(id: &str) -> String {
    let id = id
        .replace("agent-", "writer-")
        .replace("beaten", "overridden");
    let words = id
        .split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_finding_has_a_test_that_provokes_it() {
    let mut known = finding_ids();
    known.sort_unstable();
    let ids: Vec<&str> = FINDINGS.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, known);
    let files = rust_files(&root().join("tests"));
    let files = files.into_iter().chain(rust_files(&root().join("src")));
    let tests: String = files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let guests = fs::read_to_string(root().join("tests/guests")).unwrap();
    for (id, test) in FINDINGS {
        let is_there = if let Some(case) = test.strip_prefix("guest ") {
            guests.contains(&format!("\n    {case})\n")) && guests.contains(id)
        } else {
            let start = tests.find(&format!("fn {test}() {{"));
            // To the next test, of the same file or not.
            let body = start.and_then(|start| tests[start..].split("#[test]").next());
            body.is_some_and(|body| body.contains(id) || body.contains(&variant(id)))
        };
        assert!(is_there, "{id}: there is no {test} that names it");
    }
}

/// What is well leaves nothing to say.
#[test]
fn a_machine_that_is_well_has_no_finding() {
    let world = World::with_flows(1000);
    world.agree();
    for args in [&[][..], &["--deep", "--all-netns"]] {
        let checked = check(&world, args);
        assert_eq!(checked["findings"], Value::Array(Vec::new()), "{checked:#}");
    }
}

#[test]
fn a_value_provokes_its_finding() {
    let world = World::new();
    for (profile, key, bad, good, id, wanted) in [
        (
            "rfc-nat",
            "tcp_timeout_established",
            "7439",
            "7440",
            "rfc5382-req5",
            "warning",
        ),
        (
            "cgn",
            "tcp_timeout_established",
            "7439",
            "7440",
            "rfc5382-req5",
            "critical",
        ),
        (
            "campus-fw",
            "tcp_timeout_established",
            "7439",
            "7440",
            "rfc5382-req5",
            "info",
        ),
        (
            "cgn",
            "tcp_timeout_close",
            "239",
            "240",
            "rfc7857-rst",
            "warning",
        ),
        (
            "rfc-nat",
            "udp_timeout",
            "119",
            "300",
            "rfc4787-req5",
            "warning",
        ),
        (
            "rfc-nat",
            "udp_timeout",
            "299",
            "300",
            "rfc4787-req5",
            "info",
        ),
        (
            "campus-fw",
            "udp_timeout_stream",
            "119",
            "120",
            "rfc4787-req5",
            "info",
        ),
        (
            "dns-udp",
            "udp_timeout",
            "30",
            "120",
            "rfc4787-req5",
            "info",
        ),
        (
            "rfc-nat",
            "icmp_timeout",
            "59",
            "60",
            "rfc5508-req2",
            "warning",
        ),
        (
            "cgn",
            "tcp_timeout_time_wait",
            "119",
            "120",
            "rfc6888-req8",
            "info",
        ),
        (
            "",
            "tcp_timeout_established",
            "1799",
            "1800",
            "established-short",
            "warning",
        ),
        (
            "",
            "tcp_timeout_established",
            "7200",
            "7201",
            "established-before-keepalive",
            "info",
        ),
        (
            "",
            "tcp_timeout_close_wait",
            "1800",
            "1799",
            "close-wait-long",
            "warning",
        ),
        (
            "",
            "udp_timeout_stream",
            "29",
            "30",
            "udp-stream-short",
            "warning",
        ),
        ("", "tcp_be_liberal", "1", "0", "tcp-be-liberal", "info"),
        ("", "tcp_loose", "0", "1", "tcp-loose-off", "info"),
        ("", "gre_timeout", "0", "1", "timeout-below-one", "critical"),
        ("", "max", "0", "76800", "max-unlimited", "critical"),
        ("", "buckets", "10240", "65536", "hash-load", "warning"),
        ("", "max", "2147483647", "76800", "table-memory", "warning"),
    ] {
        let args: &[&str] = if profile.is_empty() {
            &[]
        } else {
            &["--profile", profile]
        };
        // What another key of the requirement has.
        for udp in ["udp_timeout", "udp_timeout_stream"] {
            let well = if id.starts_with("rfc") { "300" } else { "30" };
            set(&world, udp, well);
        }
        set(&world, key, good);
        let checked = check(&world, args);
        assert_eq!(find(&checked, id), None, "{key} is {good}");
        set(&world, key, bad);
        let checked = check(&world, args);
        assert_eq!(severity(&checked, id), wanted, "{profile} {key}={bad}");
        set(&world, key, good);
    }
    // One key is enough.
    let closing = ["fin_wait", "close_wait", "last_ack", "time_wait"];
    for state in closing {
        set(&world, &format!("tcp_timeout_{state}"), "240");
    }
    let nat = ["--profile", "rfc-nat"];
    let id = "rfc5382-req5-transitory";
    assert_eq!(find(&check(&world, &nat), id), None);
    for state in closing {
        set(&world, &format!("tcp_timeout_{state}"), "239");
        assert_eq!(severity(&check(&world, &nat), id), "warning", "{state}");
        set(&world, &format!("tcp_timeout_{state}"), "240");
    }
}

#[test]
fn expiry_that_forgets_connections_makes_tcp_loose_a_warning() {
    let world = World::new();
    set(&world, "tcp_loose", "0");
    for (mode, wanted) in [
        ("clamp", "info"),
        ("re-age", "warning"),
        ("delete", "warning"),
    ] {
        let text = format!("[expire]\nmode = \"{mode}\"\n");
        let profile = world.place.write("own.toml", &text);
        let checked = check(&world, &["--profile", &profile]);
        assert_eq!(severity(&checked, "tcp-loose-off"), wanted, "{mode}");
    }
}

#[test]
fn expiry_that_deletes_is_a_warning_behind_nat() {
    let world = World::new();
    for (role, mode, wanted) in [
        ("nat", "delete", true),
        ("cgn", "delete", true),
        ("nat", "clamp", false),
        ("firewall", "delete", false),
    ] {
        let text = format!("role = \"{role}\"\n[expire]\nmode = \"{mode}\"\n");
        let profile = world.place.write("own.toml", &text);
        let checked = check(&world, &["--profile", &profile]);
        let found = find(&checked, "expire-deletes-nat");
        assert_eq!(found.is_some(), wanted, "{role} {mode}");
    }
}

#[test]
fn a_choice_is_told_on_request() {
    let world = World::new();
    let nat = ["check", "--profile", "rfc-nat"];
    for (key, other, id) in [
        ("acct", "1", "acct-off"),
        ("timestamp", "1", "timestamp-off"),
        ("tcp_loose", "0", "tcp-loose"),
        ("tcp_timeout_syn_sent", "240", "rfc7857-opening"),
    ] {
        assert_eq!(
            find(&check(&world, &[]), id),
            None,
            "a host need not choose"
        );
        assert_eq!(severity(&check(&world, &nat[1..]), id), "info");
        let shown = |args: &[&str]| {
            let told = world.cttune(&[&nat, args].concat()).exits(2);
            told.stdout.contains(&format!("[{id}]"))
        };
        assert!(!shown(&[]), "{id}");
        assert!(shown(&["-v"]), "{id}");
        set(&world, key, other);
        set(&world, "tcp_timeout_syn_recv", "240");
        assert_eq!(
            find(&check(&world, &nat[1..]), id),
            None,
            "{key} is {other}"
        );
    }
}

#[test]
fn what_a_profile_accepts_is_told_with_its_reason_and_counts_for_nothing() {
    let world = World::new();
    set(&world, "tcp_timeout_established", "600");
    let own = "[sysctl]\ntcp_timeout_established = 600\n";
    let accept = "[accept]\n\"established-short\" = \"every client keeps alive\"\n";
    for (text, accepted) in [(own.to_owned(), false), (format!("{own}{accept}"), true)] {
        let profile = world.place.write("own.toml", &text);
        let checked = check(&world, &["--profile", &profile]);
        let finding = find(&checked, "established-short").unwrap();
        assert_eq!(finding["accepted"], accepted);
        let told = world.cttune(&["check", "--profile", &profile]);
        let reason = "accepted because every client keeps alive";
        assert_eq!(told.stdout.contains(reason), accepted, "{told}");
    }
}

#[test]
fn files_that_the_next_boot_reads_otherwise() {
    let world = World::new();
    let campus = ["--profile", "campus-fw"];
    let checked = check(&world, &campus);
    assert_eq!(find(&checked, "sysctl-conf-unread"), None);
    assert_eq!(find(&checked, "readers-disagree"), None);
    assert_eq!(severity(&checked, "beaten-at-boot"), "warning");
    let hint = find(&checked, "beaten-at-boot").unwrap()["hint"].to_string();
    assert!(hint.contains("apply --adopt --profile campus-fw"), "{hint}");
    // Debian 13 has no such link.
    world.sh("rm /etc/sysctl.d/99-sysctl.conf");
    let checked = check(&world, &[]);
    assert_eq!(severity(&checked, "sysctl-conf-unread"), "warning");
    world.sh("echo net.netfilter.nf_conntrack_max=5 >/etc/sysctl.d/10-own.conf");
    let checked = check(&world, &[]);
    assert_eq!(find(&checked, "sysctl-conf-unread"), None);
    assert_eq!(severity(&checked, "readers-disagree"), "warning");
    world.sh("sed -i /nf_conntrack_max/d /etc/sysctl.conf; rm /etc/sysctl.d/10-own.conf");
    assert_eq!(find(&check(&world, &campus), "beaten-at-boot"), None);
}

#[test]
fn a_full_table_that_nothing_can_be_evicted_from() {
    let world = World::story();
    let checked = check(&world, &["--deep"]);
    assert_eq!(severity(&checked, "table-fill"), "critical");
    let listed = world.sh("conntrack -L -u ASSURED 2>/dev/null | grep -cvE 'WAIT|CLOSE|LAST_ACK'");
    let listed: u64 = listed.trim().parse().unwrap();
    let deep = &checked["deep"]["not_reclaimable"];
    let told = deep["flows"].as_u64().unwrap();
    assert!(
        told.abs_diff(listed) < 100,
        "{told}, and conntrack lists {listed}"
    );
    assert_eq!(deep["margin"], 0.0, "so few flows are all looked at");
    assert_eq!(severity(&checked, "not-reclaimable"), "warning");
    set(&world, "max", "110000");
    let checked = check(&world, &["--deep"]);
    assert_eq!(severity(&checked, "not-reclaimable"), "info");
    // Without the walk it is not known, and half a table is no trouble yet.
    assert_eq!(find(&check(&world, &[]), "not-reclaimable"), None);
    set(&world, "max", "200000");
    let checked = check(&world, &["--deep"]);
    assert_eq!(find(&checked, "not-reclaimable"), None);
    assert_eq!(find(&checked, "table-fill"), None);
}

#[test]
fn push_connections_under_a_short_timeout() {
    let world = World::new();
    set(&world, "tcp_timeout_established", "600");
    assert_eq!(find(&check(&world, &["--deep"]), "push-ports"), None);
    world.sh(
        "for port in 5228 5230 5231; do conntrack -I -p tcp --state ESTABLISHED -t 500 \
         -s 10.0.0.1 -d 192.0.2.1 --sport 1025 --dport $port >/dev/null 2>&1; done",
    );
    let checked = check(&world, &["--deep"]);
    assert_eq!(severity(&checked, "push-ports"), "warning");
    assert_eq!(checked["deep"]["push"]["flows"], 2);
    assert_eq!(find(&check(&world, &[]), "push-ports"), None);
    set(&world, "tcp_timeout_established", "1800");
    assert_eq!(find(&check(&world, &["--deep"]), "push-ports"), None);
}

#[test]
fn timeout_policies_are_counted() {
    let world = World::new();
    assert_eq!(check(&world, &["--deep"])["deep"]["timeout_policies"], 0);
    world.sh(
        "nft 'table inet a { ct timeout t { protocol tcp; policy = { established: 100 }; }; }'",
    );
    let checked = check(&world, &["--deep"]);
    assert_eq!(severity(&checked, "timeout-policies"), "info");
    let hint = find(&checked, "timeout-policies").unwrap()["hint"].as_str();
    let (_, way) = hint.unwrap().split_once("see them: ").unwrap();
    let (nft, _) = way.split_once("; ").unwrap();
    assert!(world.sh(nft).contains("established : 100"), "{nft}");
    // The sandbox's own check asks no netlink.
    assert_eq!(find(&check(&world, &[]), "timeout-policies"), None);
    // Those of services are no surprise.
    world.sh("nft delete table inet a");
    let apply = ["apply", "--profile", "campus-fw", "--adopt", "--yes"];
    world.cttune(&apply).exits(0);
    assert_eq!(find(&check(&world, &["--deep"]), "timeout-policies"), None);
}

#[test]
fn services_that_are_gone_or_can_go_are_told() {
    let world = World::new();
    world.sh("mkdir -p /etc/cttune/profiles");
    let text = "[service.dns]\nmatch = [\"proto=udp,dport=53\"]\nreplied = 9\n";
    let lifeline = "[lifeline]\nfrom = [\"192.0.2.0/24\"]\nports = [22]\n";
    let keep = "[service.dns]\nmatch = []\n";
    for (text, what) in [
        (
            format!("{keep}{lifeline}"),
            "takes the lifeline of 1 network away",
        ),
        (
            format!("{text}{lifeline}"),
            "takes the timeouts of 1 service and the lifeline of 1 network away",
        ),
        (text.to_owned(), "takes the timeouts of 1 service away"),
    ] {
        fs::write(world.path("/etc/cttune/profiles/own.toml"), text).unwrap();
        world.cttune(&["apply", "own", "--yes"]).exits(0);
        let checked = check(&world, &["own"]);
        assert_eq!(severity(&checked, "service-flush"), "info");
        let told = find(&checked, "service-flush").unwrap()["message"]
            .as_str()
            .unwrap();
        assert!(
            told.contains(what) && told.contains("nftables.service"),
            "{told}"
        );
        assert_eq!(find(&checked, "service-drift"), None);
    }
    world.sh("nft flush ruleset");
    let checked = check(&world, &["own"]);
    assert_eq!(severity(&checked, "service-drift"), "warning");
    assert_eq!(find(&checked, "service-flush"), None);
}

#[test]
fn a_namespace_near_full_is_found_from_another() {
    let world = World::story();
    let (_keeper, pid) = world.netns();
    let from = |pid: &str, args: &[&str]| -> Value {
        let mut command = world.command_among_processes("nsenter");
        command.args([
            "-t",
            pid.trim_start_matches("pid:"),
            "-n",
            "cttune",
            "check",
        ]);
        command.args(["--format", "json"]).args(args);
        support::Told::by(&mut command).json()
    };
    let checked = from(&pid, &["--all-netns"]);
    assert_eq!(severity(&checked, "netns-near-full"), "critical");
    let namespaces = checked["namespaces"].as_array().unwrap();
    assert_eq!(namespaces.len(), 2, "{namespaces:#?}");
    let of = |own: bool| namespaces.iter().find(|one| one["own"] == own).unwrap();
    assert_eq!(of(true)["count"], 0);
    assert_eq!(of(false)["max"], 76_800);
    assert_eq!(of(false)["drop"], 0);
    assert_eq!(of(false)["pids"][0], 1);
    // From inside it is the table itself that is full.
    let checked = from("1", &["--all-netns"]);
    assert_eq!(find(&checked, "netns-near-full"), None);
    assert_eq!(severity(&checked, "table-fill"), "critical");
    assert_eq!(from(&pid, &[])["namespaces"], Value::Null);
}

#[test]
fn a_namespace_with_a_name_is_listed_by_it() {
    let world = World::new();
    let inside = |program: &str, args: &[&str]| {
        let mut command = world.command_among_processes(program);
        support::Told::by(command.args(args)).exits(0)
    };
    inside("sh", &["-ec", "ip netns add blue; ip netns add red"]);
    let told = inside("cttune", &["check", "--all-netns", "--format", "json"]);
    let checked = told.json();
    let namespaces = checked["namespaces"].as_array().unwrap();
    let names: Vec<Value> = namespaces.iter().map(|one| one["name"].clone()).collect();
    // Ours, which has none, comes last.
    assert_eq!(names, ["blue".into(), "red".into(), Value::Null]);
    assert_eq!(namespaces[2]["own"], true);
    // What a hint says to do is done there.
    inside("ip", &["netns", "exec", "red", "sysctl", "-qw", SHORT]);
    let told = inside("cttune", &["check", "--netns", "red"]);
    let hint =
        "cttune --netns red plan --profile kernel-defaults --set tcp_timeout_established=7440";
    assert!(told.stdout.contains(hint), "{told}");
}

const SHORT: &str = "net.netfilter.nf_conntrack_tcp_timeout_established=600";

#[test]
fn an_image_is_judged_by_what_it_will_bring() {
    let place = support::Place::new();
    let check = |value: &str| {
        let line = format!("net.netfilter.nf_conntrack_udp_timeout={value}\n");
        place.write("image/etc/sysctl.d/20-udp.conf", &line);
        let mut command = Command::new(place.program());
        command.args(["check", "--profile", "rfc-nat", "--format", "json"]);
        let image = place.path().join("image");
        support::Told::by(command.arg("--root").arg(image)).json()
    };
    assert_eq!(severity(&check("60"), "rfc4787-req5"), "warning");
    assert_eq!(find(&check("300"), "rfc4787-req5"), None);
}

#[test]
fn what_asks_a_kernel_cannot_be_asked_of_an_image() {
    let world = World::new();
    for option in ["--deep", "--all-netns"] {
        let told = world.cttune(&["check", option, "--root", "/"]).exits(64);
        told.briefly().says(&[option, "--root"]);
    }
    let told = world.cttune(&["check", "--all-netns", "--netns", "pid:1"]);
    told.exits(64).briefly().says(&["--all-netns", "--netns"]);
}

// ---- with traffic, inside a sandbox --------------------------------------------------------------

fn check_inside(args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
    command.args(["check", "--format", "json"]).args(args);
    let output = command.env("PATH", path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The check of an interval, while something goes on.
fn check_while(mut work: impl FnMut()) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
    command.args(["check", "--format", "json", "--interval", "2s"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        work();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Tracks what comes and goes, without judging it.
const TRACK: &str = "
    ip link set lo up
    nft 'table inet guest { chain input { type filter hook input priority 0; ct state established accept; }; }'";

#[test]
fn packets_that_fit_no_flow_are_invalid() {
    if goes_inside("packets_that_fit_no_flow_are_invalid") {
        return;
    }
    sh(TRACK);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut talk = || {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    };
    assert_eq!(find(&check_while(&mut talk), "invalid-packets"), None);
    sh("echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose
        conntrack -D -p tcp >/dev/null 2>&1");
    let checked = check_while(&mut talk);
    assert_eq!(severity(&checked, "invalid-packets"), "info");
    assert!(
        checked["counters"]["invalid"]["per_second"]
            .as_f64()
            .unwrap()
            > 1.0
    );
}

/// A flow whose timeout is 0 is freed by its next packet, and its memory taken at once for another
/// flow, of another chain: a lookup that was just there on another processor ends in that one. It
/// is a race, won a few times a second by two processors (6.18), so it is tried until it is seen.
#[test]
fn lookups_that_come_out_in_another_chain_are_begun_again() {
    // It takes half a minute where two processors are idle.
    const LONGEST: Duration = Duration::from_secs(300);
    if goes_inside("lookups_that_come_out_in_another_chain_are_begun_again") {
        return;
    }
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!(processors > 1, "the race takes two processors");
    sh(TRACK);
    // Nobody listens, and nobody is to be told so.
    sh("nft add rule inet guest input udp dport 9-40 drop
        echo 0 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    assert_eq!(find(&check_while(|| {}), "search-restarts"), None);
    let sockets: Vec<UdpSocket> = (9..=40)
        .map(|port| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(("127.0.0.1", port)).unwrap();
            socket
        })
        .collect();
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    // A test that fails must not leave them at it.
    let goes_on = || !is_over.load(Ordering::Relaxed) && start.elapsed() < 2 * LONGEST;
    let send = |socket: &UdpSocket| drop(socket.send(b"x"));
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            while goes_on() {
                sockets.iter().for_each(send);
            }
        });
        scope.spawn(|| {
            while goes_on() {
                sockets.iter().rev().for_each(send);
            }
        });
        let tries = std::iter::repeat_with(|| check_inside(&["--interval", "2s"]));
        let found = tries
            .take_while(|_| start.elapsed() < LONGEST)
            .find(|checked| find(checked, "search-restarts").is_some());
        is_over.store(true, Ordering::Relaxed);
        found
    });
    let checked = found.expect("the race was never seen");
    assert_eq!(severity(&checked, "search-restarts"), "info");
}

#[test]
fn a_table_that_grows_tells_when_it_is_full() {
    if goes_inside("a_table_that_grows_tells_when_it_is_full") {
        return;
    }
    sh(TRACK);
    // Full in ten minutes, however slow this machine is.
    sh("echo 5000 >/proc/sys/net/netfilter/nf_conntrack_max");
    assert_eq!(find(&check_while(|| {}), "table-filling"), None);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut port = 20_000;
    let checked = check_while(|| {
        port += 1;
        // Nobody listens: the next send may be told so.
        let _ = socket.send_to(b"x", ("127.0.0.1", port));
    });
    assert_eq!(severity(&checked, "table-filling"), "critical");
}

#[test]
fn flows_that_find_no_free_port_are_failed_inserts() {
    if goes_inside("flows_that_find_no_free_port_are_failed_inserts") {
        return;
    }
    sh(ADDRESSES);
    sh(
        "nft 'table ip t { chain post { type nat hook postrouting priority srcnat;
            ip saddr 10.0.0.1 meta l4proto udp snat to 10.0.0.3:5000; }; }'",
    );
    let send = |port: u16| {
        let socket = UdpSocket::bind(("10.0.0.1", port)).unwrap();
        socket.send_to(b"x", "10.0.0.2:53").is_ok()
    };
    assert!(send(4001), "the first gets the port");
    assert_eq!(find(&check_inside(&[]), "insert-failed"), None);
    assert!(!send(4002) && !send(4003), "there is no other port");
    let checked = check_inside(&[]);
    assert_eq!(severity(&checked, "insert-failed"), "info");
    assert_eq!(checked["counters"]["insert_failed"]["total"], 2);
    // The kernel counts them as dropped too; once told is enough.
    assert_eq!(checked["counters"]["drop"]["total"], 2);
    assert_eq!(find(&checked, "packets-dropped"), None);
}

const ADDRESSES: &str = "
    ip link set lo up
    for n in 1 2 3; do ip addr add 10.0.0.$n/32 dev lo; done";

#[test]
fn ports_of_an_address_run_out() {
    if goes_inside("ports_of_an_address_run_out") {
        return;
    }
    sh(ADDRESSES);
    sh(
        "nft 'table ip t { chain post { type nat hook postrouting priority srcnat;
            ip saddr 10.0.0.1 snat to 10.0.0.3; }; }'
        echo 300 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout",
    );
    let server = UdpSocket::bind("10.0.0.2:53").unwrap();
    let send = |ports: std::ops::Range<u16>| {
        for port in ports {
            let socket = UdpSocket::bind(("10.0.0.1", port)).unwrap();
            socket.send_to(b"x", server.local_addr().unwrap()).unwrap();
        }
    };
    // 80 % of 64,512 ports are 51,610 flows, 95 % are 61,287.
    send(2000..53_000);
    let deep = ["--deep", "--profile", "cgn"];
    let checked = check_inside(&deep);
    assert_eq!(checked["deep"]["nat"]["used"]["flows"], 51_000);
    assert_eq!(checked["deep"]["nat"]["address"], "10.0.0.3");
    assert_eq!(checked["deep"]["nat"]["server"], "10.0.0.2:53");
    assert_eq!(find(&checked, "nat-ports"), None);
    assert_eq!(severity(&checked, "rfc6888-req4"), "warning");
    assert_eq!(
        find(&check_inside(&["--deep"]), "rfc6888-req4"),
        None,
        "no carrier"
    );
    send(53_000..53_700);
    assert_eq!(severity(&check_inside(&deep), "nat-ports"), "warning");
    send(53_700..63_300);
    assert_eq!(severity(&check_inside(&deep), "nat-ports"), "critical");
}
