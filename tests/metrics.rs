//! `cttune metrics` as Prometheus and machines read it, judged by promtool and a real
//! node_exporter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inside;
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use inside::FLOWS;
use support::{Place, Told, World, ordinary_user};

/// In the namespaces of a world, its processes included: the counters are in /proc.
fn metrics(world: &World, args: &[&str]) -> Told {
    let mut command = world.command_among_processes("cttune");
    Told::by(command.arg("metrics").args(args))
}

/// The value of a series, written as Prometheus writes it.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let start = format!("cttune_{series} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    line.parse().unwrap()
}

fn is(text: &str, series: &str, wanted: f64) -> bool {
    (value(text, series) - wanted).abs() < f64::EPSILON
}

/// What `promtool check metrics` has to say: nothing, if all is well.
fn promtool(text: &str) -> String {
    let mut command = Command::new("promtool");
    let command = command.args(["check", "metrics"]);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("promtool is part of prometheus");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let told = Told::from(&child.wait_with_output().unwrap());
    told.stdout + &told.stderr
}

#[test]
fn promtool_finds_nothing_to_say() {
    let world = World::story();
    world.sh(FLOWS);
    let apply = ["apply", "--profile", "campus-fw", "--yes", "--adopt"];
    world.cttune(&apply).exits(0);
    let text = metrics(&world, &[]).exits(0).stdout;
    assert_eq!(promtool(&text), "");
    // No line of it is wrapped for a narrow screen.
    let mut narrow = world.command_among_processes("cttune");
    let narrow = Told::by(narrow.arg("metrics").env("COLUMNS", "40"));
    assert_eq!(promtool(&narrow.exits(0).stdout), "");
    // The same by its name.
    let named = metrics(&world, &["--format", "prometheus", "--quiet"]);
    assert!(named.exits(0).stdout.contains("cttune_table_entries "));
    // And promtool would say something.
    let wrong = text.replace("cttune_drop_total", "cttune_drop");
    assert!(promtool(&wrong).contains("cttune_drop"));
}

#[test]
fn the_numbers_are_those_of_the_table() {
    let world = World::new();
    world.sh(FLOWS);
    let text = metrics(&world, &[]).exits(0).stdout;
    for (series, wanted) in [
        ("loaded", 1),
        ("table_entries", 16),
        ("table_max_entries", world.sysctl("max")),
        ("table_buckets", world.sysctl("buckets")),
        ("drop_total", 0),
        (
            "flows{family=\"ipv4\",protocol=\"tcp\",state=\"established\"}",
            3,
        ),
        (
            "flows{family=\"ipv6\",protocol=\"tcp\",state=\"established\"}",
            3,
        ),
        (
            "flows{family=\"ipv4\",protocol=\"tcp\",state=\"syn_sent\"}",
            1,
        ),
        (
            "flows{family=\"ipv4\",protocol=\"tcp\",state=\"time_wait\"}",
            0,
        ),
        ("flows{family=\"ipv4\",protocol=\"udp\",state=\"\"}", 1),
        ("flows{family=\"ipv6\",protocol=\"icmpv6\",state=\"\"}", 1),
        ("flows{family=\"ipv4\",protocol=\"sctp\",state=\"\"}", 1),
        ("flows_nated", 1),
        ("flows_sampled", 16),
        ("flows_margin_ratio", 0),
        (
            "setting_value{key=\"net.netfilter.nf_conntrack_udp_timeout\"}",
            world.sysctl("udp_timeout"),
        ),
    ] {
        #[allow(clippy::cast_precision_loss)] // small
        let wanted = wanted as f64;
        assert!(
            is(&text, series, wanted),
            "{series} is not {wanted}: {text}"
        );
    }
    for source in ["counters", "flows", "files", "profile", "journal"] {
        assert!(is(&text, &format!("source_up{{source=\"{source}\"}}"), 1.0));
    }
    assert!(
        !text.contains("cttune_setting_drift"),
        "nothing was compared"
    );
    let none = metrics(&world, &["--flows", "none"]).exits(0);
    assert!(!none.stdout.contains("cttune_flows"), "{none}");
    assert!(!none.stdout.contains("source=\"flows\""), "{none}");
}

#[test]
fn drift_and_the_last_apply_are_told() {
    let world = World::new();
    let before = jiff_now();
    let apply = ["apply", "--profile", "campus-fw", "--yes", "--adopt"];
    world.cttune(&apply).exits(0);
    let text = metrics(&world, &[]).exits(0).stdout;
    let drift = "setting_drift{key=\"net.netfilter.nf_conntrack_udp_timeout\"}";
    assert!(is(&text, drift, 0.0));
    assert!(is(&text, "profile_info{profile=\"campus-fw\"}", 1.0));
    let applied = value(&text, "last_apply_timestamp_seconds");
    assert!(before <= applied && applied <= jiff_now(), "{applied}");

    world.sh("echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    let text = metrics(&world, &[]).exits(0).stdout;
    assert!(is(&text, drift, 1.0));
    // Another profile than the one in force.
    let profile = world
        .place
        .write("udp.toml", "[sysctl]\nudp_timeout = 77\n");
    let other = metrics(&world, &["--profile", &profile]).exits(0).stdout;
    assert!(is(&other, drift, 1.0), "no file brings it at the next boot");

    world
        .cttune(&["rollback", "--yes", "--overwrite-changed"])
        .exits(0);
    let text = metrics(&world, &[]).exits(0).stdout;
    assert!(!text.contains("last_apply"), "{text}");
}

/// Whole seconds since 1970.
fn jiff_now() -> f64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs_f64().floor()
}

#[test]
fn json_has_the_same_numbers() {
    let world = World::story();
    let json = metrics(&world, &["--format", "json"]).exits(0).json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["table"]["max"], 76_800);
    assert_eq!(json["counters"]["drop"]["total"], 0);
    let flows = &json["flows"];
    let kinds = flows["kinds"].as_array().unwrap().iter();
    let sum: u64 = kinds.map(|kind| kind["flows"].as_u64().unwrap()).sum();
    assert_eq!(flows["total"], sum);
    let first = &flows["destinations"][0];
    assert_eq!(first["dst"], "2a00:1450:400b:c02::bc");
    assert!(flows["sampled"].is_null() && first["margin"] == 0.0);
    assert_eq!(json["settings"][0]["key"], "net.netfilter.nf_conntrack_max");
    assert!(json["settings"][0]["drift"].is_null() && json["last_apply"].is_null());
    assert_eq!(json["unread"].as_array().unwrap().len(), 0);
}

#[test]
fn an_ordinary_user_gets_the_cheap_numbers_and_is_told_what_is_missing() {
    let place = Place::new();
    let user = |args: &[&str]| {
        let mut command = ordinary_user();
        command.arg(place.program()).current_dir(place.path());
        Told::by(command.arg("metrics").args(args))
    };
    let told = user(&[]).exits(0).says(&["note: flows not read: "]);
    assert!(value(&told.stdout, "table_max_entries") > 0.0);
    assert!(is(&told.stdout, "source_up{source=\"flows\"}", 0.0));
    assert!(!told.stdout.contains("cttune_flows"), "{told}");
    assert_eq!(promtool(&told.stdout), "");
    let json = user(&["--format", "json"]).exits(0).json();
    assert!(json["flows"].is_null() && json["table"]["count"].is_i64());
    let unread = json["unread"].as_array().unwrap();
    assert!(unread.iter().any(|one| one["source"] == "flows"), "{json}");
    let told = user(&["--flows", "none"]).exits(0);
    assert!(!told.stderr.contains("flows"), "{told}");
}

#[test]
fn what_is_damaged_costs_its_own_numbers_alone() {
    let world = World::new();
    let apply = ["apply", "--profile", "campus-fw", "--yes", "--adopt"];
    world.cttune(&apply).exits(0);
    world.sh("echo nonsense >/etc/cttune/active.toml
        echo nonsense >/run/cttune-sandbox/state/journal/000001.json");
    let told = metrics(&world, &[]).exits(0);
    let told = told.says(&["note: profile not read: ", "note: journal not read: "]);
    assert!(is(&told.stdout, "table_entries", 0.0));
    assert!(is(&told.stdout, "source_up{source=\"profile\"}", 0.0));
    assert!(is(&told.stdout, "source_up{source=\"journal\"}", 0.0));
    assert!(is(&told.stdout, "source_up{source=\"flows\"}", 1.0));
    // A profile that was asked for is another matter.
    metrics(&world, &["--profile", "no-such"]).exits(1);
}

#[test]
fn a_machine_without_conntrack_says_so() {
    let world = World::new();
    world.sh("mount -t tmpfs none /proc/sys/net/netfilter");
    let text = world.cttune(&["metrics"]).exits(0).stdout;
    assert!(
        is(&text, "loaded", 0.0) && !text.contains("cttune_table"),
        "{text}"
    );
    assert_eq!(promtool(&text), "");
}

#[test]
fn a_textfile_is_put_in_place_whole() {
    let world = World::new();
    let folder = world.place.path().join("collector");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("cttune.prom");
    let path = file.to_str().unwrap();
    let write = |umask: &str| {
        let script = format!("umask {umask}; cttune metrics --textfile {path}");
        let told = Told::by(world.command_among_processes("sh").args(["-ec", &script])).exits(0);
        assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
    };
    write("077");
    let first = fs::metadata(&file).unwrap();
    assert_eq!(first.permissions().mode() & 0o7777, 0o644);
    fs::write(&file, "older, and longer than any numbers\n".repeat(1000)).unwrap();
    write("022");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# HELP cttune_build_info ") && text.ends_with(" 1\n"));
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        1,
        "something is left beside it"
    );
}

#[test]
fn a_textfile_goes_nowhere_else() {
    let world = World::new();
    let folder = world.place.path().to_str().unwrap().to_owned();
    world.sh(&format!(
        "cd {folder}; mkdir real; ln -s real link; ln -s real/x.prom x.prom"
    ));
    for (textfile, code, says) in [
        (format!("{folder}/x.prom"), 1, "is a symbolic link"),
        (format!("{folder}/link/y.prom"), 1, "is a symbolic link"),
        (format!("{folder}/none/y.prom"), 1, "none does not exist"),
        (format!("{folder}/y.txt"), 64, "must end in .prom"),
        (format!("{folder}/real"), 64, "must end in .prom"),
    ] {
        let told = metrics(&world, &["--textfile", &textfile]);
        told.exits(code).briefly().says(&[says]);
    }
    assert_eq!(
        fs::read_dir(world.place.path().join("real"))
            .unwrap()
            .count(),
        0
    );
    assert!(!world.place.path().join("none").exists());
}

#[test]
fn what_does_not_go_together_is_refused() {
    let world = World::new();
    for (args, says) in [
        (
            &["metrics", "--root", "/"][..],
            "--root cannot go with metrics",
        ),
        (&["metrics", "config"], "--format munin"),
        (
            &["metrics", "--format", "munin", "--textfile", "/x.prom"],
            "--textfile",
        ),
        (
            &["check", "--format", "prometheus"],
            "it belongs to: cttune metrics",
        ),
        (
            &["top", "--format", "munin"],
            "it belongs to: cttune metrics",
        ),
    ] {
        world.cttune(args).exits(64).briefly().says(&[says]);
    }
}

#[test]
fn node_exporter_serves_the_textfile() {
    let world = World::story();
    let folder = world.place.path().join("collector");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("cttune.prom");
    let textfile = ["--textfile", file.to_str().unwrap()];
    metrics(&world, &textfile).exits(0);
    world.sh("ip link set lo up");
    let mut command = world.command("prometheus-node-exporter");
    let mut exporter = command
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg("--collector.textfile.directory")
        .arg(&folder)
        .arg("--web.listen-address=127.0.0.1:9100")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus-node-exporter is installed");
    let mut ask = world.command("bash");
    let served = Told::by(ask.args([
        "-ec",
        "for try in $(seq 200); do
            (exec 3<>/dev/tcp/127.0.0.1/9100) 2>/dev/null && break; sleep 0.05
        done
        exec 3<>/dev/tcp/127.0.0.1/9100
        printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3
        cat <&3",
    ]));
    let _ = exporter.kill();
    let _ = exporter.wait();
    let served = served.exits(0).stdout;
    let written = fs::read_to_string(&file).unwrap();
    assert!(served.contains("node_textfile_scrape_error 0"), "{served}");
    for line in written.lines().filter(|line| !line.starts_with('#')) {
        let (series, number) = line.rsplit_once(' ').unwrap();
        // Prometheus writes large numbers as 4.194304e+06, and leaves empty labels out.
        let series = series.replace(",state=\"\"", "");
        let same = served.lines().any(|line| {
            let told = line.rsplit_once(' ');
            told.is_some_and(|(name, told)| {
                name.replace(",state=\"\"", "") == series
                    && told.parse::<f64>().ok() == number.parse::<f64>().ok()
            })
        });
        assert!(same, "{line} is not served: {served}");
    }
}

#[test]
fn numbers_of_namespaces_have_a_label_and_do_not_collide() {
    let world = World::with_flows(10);
    let inside = |script: &str| {
        let mut command = world.command_among_processes("sh");
        Told::by(command.args(["-ec", script])).exits(0).stdout
    };
    inside("ip netns add blue; ip netns add red");
    let blue = metrics(&world, &["--netns", "blue"]).exits(0).stdout;
    let numbers = blue.lines().filter(|line| !line.starts_with('#'));
    for line in numbers {
        assert!(line.contains("netns=\"blue\""), "{line}");
    }
    assert_eq!(promtool(&blue), "");
    let own = metrics(&world, &[]).exits(0).stdout;
    assert!(!own.contains("netns="), "{own}");

    let all = metrics(&world, &["--all-netns"]).exits(0).stdout;
    assert_eq!(promtool(&all), "");
    // A flow of the sandbox may have ended by now.
    assert!(
        (1.0..=10.0).contains(&value(&all, "table_entries")),
        "{all}"
    );
    for name in ["blue", "red"] {
        assert!(
            is(&all, &format!("table_entries{{netns=\"{name}\"}}"), 0.0),
            "{all}"
        );
        assert!(value(&all, &format!("table_max_entries{{netns=\"{name}\"}}")) > 0.0);
        assert!(is(&all, &format!("drop_total{{netns=\"{name}\"}}"), 0.0));
    }
    assert!(is(&all, "source_up{source=\"namespaces\"}", 1.0));
    let json = metrics(&world, &["--all-netns", "--format", "json"]).json();
    let names: Vec<&str> = json["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert!(names.contains(&"blue") && names.contains(&"red"), "{json}");
    let json = metrics(&world, &["--netns", "blue", "--format", "json"]).json();
    assert_eq!(json["netns"], "blue");
    for args in [&["--netns", "blue"][..], &["--format", "munin"]] {
        metrics(&world, &[&["--all-netns"], args].concat()).exits(64);
    }
}
