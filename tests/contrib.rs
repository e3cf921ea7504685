//! What contrib/ has is understood by the programs that it is for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Told, World};

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}

/// A unit, of the program that is tested: it is not installed here.
fn unit(name: &str) -> String {
    let text = read(&format!("systemd/{name}"));
    text.replace("/usr/bin/cttune", env!("CARGO_BIN_EXE_cttune"))
}

/// What `systemd-analyze verify` says of the first of these units, and whether it takes it.
fn verify(units: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in units {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(folder.path().join(units[0].0))
        .output()
        .expect("systemd-analyze is part of the package systemd");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn systemd_understands_the_unit_for_a_namespace() {
    let unit = unit("cttune-netns@.service");
    assert!(unit.contains("/cttune apply --netns %I "));
    // systemd makes this one itself, of the mount.
    let mount = "[Mount]\nWhat=nsfs\nWhere=/run/netns/blue\n";
    let verify = |unit: &str| {
        // An instance: of a template alone the specifiers are not looked at.
        let units = [
            ("cttune-netns@blue.service", unit),
            ("run-netns-blue.mount", mount),
        ];
        verify(&units)
    };
    let (taken, said) = verify(&unit);
    assert!(taken && said.is_empty(), "{said}");

    let (_, said) = verify(&unit.replace("BindsTo=", "BoundTo="));
    assert!(said.contains("BoundTo"), "a mistake is not seen: {said}");
}

#[test]
fn systemd_understands_the_timer_and_what_it_starts() {
    let (service, timer) = (unit("cttune-metrics.service"), unit("cttune-metrics.timer"));
    let verify = |timer: &str| {
        let units = [
            ("cttune-metrics.timer", timer),
            ("cttune-metrics.service", &service),
        ];
        verify(&units)
    };
    let (taken, said) = verify(&timer);
    assert!(taken && said.is_empty(), "{said}");
    let (taken, said) = verify(&timer.replace("minutely", "minutly"));
    assert!(!taken || !said.is_empty(), "a mistake is not seen");
}

#[test]
fn the_service_runs_a_command_that_there_is() {
    let service = unit("cttune-metrics.service");
    let line = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let world = World::new();
    world.sh("mkdir -p /run/node-exporter");
    let line = line.unwrap().replace("/var/lib/prometheus/", "/run/");
    let told = Told::by(world.command_among_processes("sh").args(["-ec", &line])).exits(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
    assert!(
        world
            .read("/run/node-exporter/cttune.prom")
            .contains("cttune_table_entries 0\n")
    );
}

/// What promtool says, which must succeed.
#[track_caller]
fn promtool(args: &[&str], file: &Path) -> String {
    let mut command = Command::new("promtool");
    Told::by(command.args(args).arg(file)).exits(0).stdout
}

#[test]
fn promtool_takes_the_alerts_and_each_fires_when_it_should() {
    promtool(&["check", "rules"], &path("prometheus/cttune.rules.yml"));
    promtool(&["test", "rules"], &path("prometheus/cttune.test.yml"));
    let tests = read("prometheus/cttune.test.yml");
    for alert in alerts() {
        let name = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&name), "no test shows that {alert} fires");
    }
}

/// The names of the alerts.
fn alerts() -> Vec<String> {
    let rules = read("prometheus/cttune.rules.yml");
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Entries and their limit, as they are told.
fn fill(world: &World) -> [String; 2] {
    let text = world
        .cttune(&["metrics", "--flows", "none"])
        .exits(0)
        .stdout;
    ["cttune_table_entries ", "cttune_table_max_entries "].map(|name| {
        let number = text.lines().find_map(|line| line.strip_prefix(name));
        number.unwrap().to_owned()
    })
}

#[test]
fn an_alert_fires_on_what_a_filling_table_tells() {
    let world = World::new();
    world.sh("echo 1000 >/proc/sys/net/netfilter/nf_conntrack_max");
    let [few, max] = fill(&world);
    world.sh(
        "flow='-A -p udp -t 90000 -s 10.0.0.1 -d 192.0.2.1 --dport 53 --sport'
        seq -f \"$flow %.0f\" 2001 2990 >/run/flows
        conntrack -R /run/flows",
    );
    let [many, _] = fill(&world);
    assert_eq!(
        (few.as_str(), many.as_str(), max.as_str()),
        ("0", "990", "1000")
    );
    let rules = path("prometheus/cttune.rules.yml");
    let rules = rules.display();
    for (at, fires) in [(9, false), (12, true)] {
        // That none fires is what promtool is to expect.
        let test = format!(
            "rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: cttune_table_entries
        values: {few}x9 {many}x9
      - series: cttune_table_max_entries
        values: {max}x19
    alert_rule_test:
      - {{eval_time: {at}m, alertname: ConntrackTableFull, exp_alerts: []}}
"
        );
        let test = world.place.write("filling.yml", &test);
        let told = Told::by(Command::new("promtool").args(["test", "rules", &test]));
        assert_eq!(told.code != 0, fires, "{told}");
        assert_eq!(
            told.to_string().contains("severity=\"critical\""),
            fires,
            "{told}"
        );
    }
}

/// Every `cttune_…` in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c));
    let names = words.filter(|word| word.starts_with("cttune_"));
    names.map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_name_numbers_that_there_are() {
    let world = World::with_flows(100);
    let apply = ["apply", "--profile", "campus-fw", "--yes", "--adopt"];
    world.cttune(&apply).exits(0);
    // A guard has numbers of its own.
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args([
        "-ec",
        "cttune guard >/run/guard 2>&1 & guard=$!
         until cttune metrics | grep -q guard_running; do sleep 0.1; kill -0 $guard; done
         cttune metrics; kill -TERM $guard; wait $guard",
    ]));
    let told = names(&told.exits(0).stdout);
    for file in [
        "prometheus/cttune.rules.yml",
        "prometheus/cttune.test.yml",
        "grafana/cttune.json",
    ] {
        let named = names(&read(file));
        assert!(named.len() >= 5, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&told).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_one_object_whose_panels_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&read("grafana/cttune.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(number(&panel["id"])), "{panel:#}");
        let place = &panel["gridPos"];
        let (x, y) = (number(&place["x"]), number(&place["y"]));
        for x in x..x + number(&place["w"]) {
            for y in y..y + number(&place["h"]) {
                assert!(x < 24 && taken.insert((x, y)), "{panel:#}");
            }
        }
    }
}

#[test]
fn the_shell_takes_the_munin_plugin_and_nagios_is_told_a_command_that_there_is() {
    let told = Told::by(Command::new("sh").arg("-n").arg(path("munin/cttune")));
    told.exits(0);
    let world = World::new();
    let config = read("nagios/cttune.cfg");
    let line = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("command_line"));
    let line = line.unwrap().trim().replace("/usr/bin/", "");
    let line = line.replace("$ARG1$", "80%").replace("$ARG2$", "90%");
    // A warning: the line in /etc/sysctl.conf sets another max at the next boot.
    let told = world.try_sh(&line).exits(1);
    assert!(told.stdout.starts_with("CTTUNE WARNING - "), "{told}");
}

/// The share of max from which an alert, or a field of munin's, counts.
fn level(text: &str, before: &str, start: &str) -> f64 {
    let (_, text) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    let (_, text) = text.split_once(start).unwrap();
    let number = text.split([' ', ';', '\n']).next().unwrap();
    number.parse().unwrap()
}

#[test]
fn alerts_plugins_and_check_have_the_same_levels() {
    let world = World::with_flows(10);
    let alerts = read("prometheus/cttune.rules.yml");
    let nagios = world.cttune(&["check", "--format", "nagios"]).stdout;
    let munin = world
        .cttune(&["metrics", "--format", "munin", "config"])
        .exits(0)
        .stdout;
    #[allow(clippy::cast_precision_loss)] // small
    let max = world.sysctl("max") as f64;
    for (alert, place, field) in [
        ("ConntrackTableFilling", 1, "total.warning"),
        ("ConntrackTableFull\n", 2, "total.critical"),
    ] {
        let by_alert = level(&alerts, alert, ">= ");
        let perfdata = nagios.split("'fill'=").nth(1).unwrap();
        let by_check: f64 = perfdata.split(';').nth(place).unwrap().parse().unwrap();
        let by_munin = level(&munin, field, " ") / max;
        for other in [by_check / 100.0, by_munin] {
            assert!(
                (by_alert - other).abs() < 1e-4,
                "{alert}: {by_alert}, {other}"
            );
        }
    }
    let service = read("nagios/cttune.cfg");
    assert!(service.contains("check_conntrack!80%!90%"), "{service}");
}
