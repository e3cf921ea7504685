//! `cttune fleet`: what fleet tools collect, in one table; whatever is no check is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout)] // what ten thousand hosts took

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use support::{Place, Told, World};

/// A check of a host that has a limit of its own and compares with a profile.
fn check(max: i64) -> Value {
    let world = World::with_flows(100);
    world.agree();
    world.sh(&format!(
        "echo {max} >/proc/sys/net/netfilter/nf_conntrack_max"
    ));
    let profile = world
        .place
        .write("site.toml", "[sysctl]\nmax = { at-least = 70000 }\n");
    world.cttune(&["check", &profile, "--json"]).json()
}

fn fleet(args: &[&str], stdin: &str) -> Told {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .arg("fleet")
        .args(args)
        .env("COLUMNS", "80")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = pipe.write_all(text.as_bytes());
    });
    let told = Told::from(&child.wait_with_output().unwrap());
    writer.join().unwrap();
    told
}

#[test]
fn every_way_to_collect_gives_the_same_table() {
    let (mut good, bad) = (check(76_800), check(60_000));
    good["profile"] = bad["profile"].clone();
    assert_eq!(good["in_line"], true);
    assert_eq!(bad["in_line"], false);
    let place = Place::new();
    let folder = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    place.write("flat/fw1.json", &pretty(&good));
    place.write("flat/fw2.json", &bad.to_string());
    place.write("fetched/fw1/tmp/check.json", &pretty(&good));
    place.write("fetched/fw2/tmp/check.json", &pretty(&bad));
    let result = |one: &Value, rc: i64| {
        json!({ "changed": true, "rc": rc, "stdout": pretty(one), "stderr": "" }).to_string()
    };
    place.write("tree/fw1", &result(&good, 0));
    place.write("tree/fw2", &result(&bad, 2));
    let named = |mut one: Value, host: &str| {
        one["host"] = json!(host);
        one
    };
    let (own, other) = (named(good.clone(), "fw1"), named(bad.clone(), "fw2"));
    let lines = format!("{own}\n{other}\n");
    let objects = format!("{own:#}\n{other:#}\n");
    let plain = format!(
        "fw1 | CHANGED | rc=0 >>\n{good:#}\nfw2 | FAILED | rc=2 >>\n{bad:#}non-zero return code\n"
    );
    let one_line = |one: &Value| pretty(one).replace('\n', "\\n");
    let short = format!(
        "fw1 | CHANGED | rc=0 | (stdout) {}\nfw2 | FAILED | rc=2 | (stdout) {} (stderr) note: x\n",
        one_line(&good),
        one_line(&bad)
    );
    let salt = salt_forms(&good, &bad);
    let mut seen = Vec::new();
    for (args, stdin) in [
        (folder("flat"), ""),
        (folder("fetched"), ""),
        (folder("tree"), ""),
        ("-".to_owned(), lines.as_str()),
        ("-".to_owned(), objects.as_str()),
        ("-".to_owned(), plain.as_str()),
        ("-".to_owned(), short.as_str()),
    ]
    .into_iter()
    .chain(salt.iter().map(|text| ("-".to_owned(), text.as_str())))
    {
        let told = fleet(&[&args, "--json"], stdin).exits(2);
        assert_eq!(told.stderr, "", "{told}");
        seen.push(told.json());
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    assert_the_second_differs(&seen[0]);
}

fn pretty(one: &Value) -> String {
    format!("{one:#}\n")
}

/// What Salt prints of two minions: `--static` or each by itself, of `cmd.run`, of cttune's module and
/// with all that Salt returns.
fn salt_forms(good: &Value, bad: &Value) -> Vec<String> {
    let salt = json!({ "fw1": pretty(good), "fw2": pretty(bad) });
    let module = json!({ "fw1": good, "fw2": bad });
    let (fw1, fw2) = (json!({ "fw1": pretty(good) }), json!({ "fw2": bad }));
    let ran = json!({ "retcode": 0, "stdout": pretty(good), "stderr": "" });
    let returns = json!({ "fw1": ran, "fw2": { "ret": pretty(bad), "retcode": 2 } });
    vec![
        format!("{salt:#}"),
        format!("{salt}"),
        format!("{module:#}"),
        format!("{fw1:#}\n{fw2:#}\n"),
        format!("{fw1}\n{fw2}\n"),
        format!("{fw1}{fw2}"),
        format!("{returns:#}"),
    ]
}

fn assert_the_second_differs(first: &Value) {
    assert_eq!((&first["hosts"], &first["differ"]), (&json!(2), &json!(1)));
    let key = "net.netfilter.nf_conntrack_max";
    assert_eq!(first["keys"][0]["name"], key);
    assert_eq!(first["keys"][0]["among"], json!(["fw2"]));
    let rows: Vec<&Value> = first["rows"].as_array().unwrap().iter().collect();
    assert_eq!(
        (rows[0]["host"].as_str(), rows[1]["host"].as_str()),
        (Some("fw1"), Some("fw2"))
    );
    assert_eq!(rows[1]["drifted"], json!([key]));
    assert_eq!(rows[1]["max"], 60_000);
    assert_eq!(rows[1]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn text_html_and_csv_say_the_same_and_fit_the_screen() {
    let (good, bad) = (check(76_800), check(60_000));
    let place = Place::new();
    place.write("checks/fw1.json", &good.to_string());
    place.write("checks/fw2.json", &bad.to_string());
    let file = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (html, csv) = (file("fleet.html"), file("fleet.csv"));
    let told = fleet(&[&file("checks"), "--html", &html, "--csv", &csv], "").exits(2);
    assert!(told.stdout.starts_with("2 hosts: "), "{told}");
    for said in ["fw2", "site.toml", "Keys that differ", "max"] {
        assert!(told.stdout.contains(said), "{said}: {told}");
    }
    for line in told.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let html = fs::read_to_string(html).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("fw2"));
    let csv = fs::read_to_string(csv).unwrap();
    let printed = fleet(&[&file("checks"), "--csv", "-"], "").exits(2);
    assert_eq!(printed.stdout, csv);
    fleet(&[&file("checks"), "--csv", "-", "--json"], "").exits(64);
    let printed = fleet(&[&file("checks"), "--html", "-"], "").exits(2);
    assert!(printed.stdout.starts_with("<!DOCTYPE html>"));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[2].starts_with("fw2,") && lines[2].contains(",false,"),
        "{csv}"
    );
}

#[test]
fn what_is_no_check_is_named_and_the_rest_is_shown() {
    let good = check(76_800);
    let place = Place::new();
    let text = good.to_string();
    place.write("checks/fw1.json", &text);
    place.write("checks/broken.json", &text[..text.len() / 2]);
    place.write("checks/README", "hello\n");
    place.write("checks/plan.json", "{\"schema\":1,\"steps\":[]}");
    place.write(
        "checks/failed.json",
        "{\"schema\":1,\"error\":{\"message\":\"no profile `x`\"}}",
    );
    place.write("checks/.hidden", "x");
    let deep = "[".repeat(1_000_000);
    place.write("checks/deep.json", &deep);
    fs::write(place.path().join("checks/latin.json"), b"\xe4").unwrap();
    let made = Command::new("mkfifo")
        .arg(place.path().join("checks/fifo"))
        .status();
    assert!(made.unwrap().success());
    let checks = place.path().join("checks");
    let told = fleet(&[checks.to_str().unwrap(), "--json"], "").exits(1);
    let told_json = told.json();
    assert_eq!(told_json["hosts"], 1);
    let unread: Vec<String> = told_json["unread"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let source = Path::new(one["source"].as_str().unwrap());
            let name = source.file_name().unwrap().to_str().unwrap();
            format!("{name}: {}", one["why"].as_str().unwrap())
        })
        .collect();
    for (name, why) in [
        ("README", "it is no JSON object: hello"),
        ("broken.json", "EOF"),
        ("deep.json", "it is no JSON object: [[["),
        ("failed.json", "no profile `x`"),
        ("fifo", "FIFO"),
        ("latin.json", "not UTF-8"),
        ("plan.json", "it is no output of cttune check"),
    ] {
        let is_named = |one: &&String| one.starts_with(name) && one.contains(why);
        assert!(
            unread.iter().any(|one| is_named(&one)),
            "{name}: {unread:?}"
        );
        assert!(told.stderr.contains(name), "{told}");
    }
    assert_eq!(unread.len(), 7);
    for args in [&["/nowhere"][..], &["-"]] {
        fleet(args, "").exits(1).says(&["error: "]);
    }
    fleet(&["-", "--root", "/"], "").exits(64);
}

/// Reports as other versions, other programs and somebody with bad intentions write them.
fn hostile_records(place: &Place, good: &Value) {
    let with = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut one = good.clone();
        change(&mut one);
        place.write(&format!("checks/{name}"), &one.to_string());
    };
    with("fw1.json", &|_| {});
    with("older.json", &|one| {
        for name in ["version", "host", "deep", "guard", "namespaces"] {
            one.as_object_mut().unwrap().remove(name);
        }
    });
    with("newer.json", &|one| one["later"] = json!({ "a": [1] }));
    with("script.json", &|one| {
        one["profile"] = json!("=1+1\u{1b}[31m\u{202e}\n<script>");
        one["table"]["fill"] = json!(-1e308);
    });
    with("schema.json", &|one| one["schema"] = json!(2));
    with("typed.json", &|one| one["table"]["count"] = json!("7"));
    with("long.json", &|one| one["host"] = json!("h".repeat(4 << 20)));
    with("many.json", &|one| {
        let setting = |key| json!({ "key": format!("k{key}"), "state": "differs" });
        one["in_line"] = json!(false);
        one["settings"] = (0..100_000).map(setting).collect();
    });
    with("range.json", &|_| {});
}

fn hostile_files(folder: &Path, good: &Value) {
    let file = folder.join("range.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replacen("\"count\":", "\"count\":1e999,\"x\":", 1),
    )
    .unwrap();
    fs::write(folder.join("twice.json"), format!("{good}\n{good}\n")).unwrap();
    let sparse = fs::File::create(folder.join("sparse.json")).unwrap();
    sparse.set_len(8 << 30).unwrap();
    for (target, name) in [
        (".", "loop"),
        ("/dev/zero", "zero.json"),
        ("/etc/passwd", "passwd.json"),
        ("nowhere", "dangling.json"),
    ] {
        std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
    }
}

/// The file part of what every element of a list has under this name.
fn names(told: &Value, list: &str, name: &str) -> Vec<String> {
    let file = |one: &Value| {
        one[name]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    told[list].as_array().unwrap().iter().map(file).collect()
}

#[test]
fn a_hostile_record_costs_no_more_than_itself() {
    let good = check(76_800);
    let place = Place::new();
    let folder = place.path().join("checks");
    hostile_records(&place, &good);
    hostile_files(&folder, &good);
    let (html, csv) = (place.path().join("f.html"), place.path().join("f.csv"));
    let told = fleet(
        &[
            folder.to_str().unwrap(),
            "--json",
            "--html",
            html.to_str().unwrap(),
            "--csv",
            csv.to_str().unwrap(),
        ],
        "",
    );
    let told = told.exits(1).json();
    let own = good["host"].as_str().unwrap();
    let mut hosts = names(&told, "rows", "host");
    let mut expected = ["fw1", "newer", "older", "script", own].map(str::to_owned);
    hosts.sort();
    expected.sort();
    assert_eq!(hosts, expected);
    let unread = names(&told, "unread", "source");
    assert_eq!(
        unread,
        [
            "dangling.json",
            "long.json",
            "many.json",
            "passwd.json",
            "range.json",
            "schema.json",
            "sparse.json",
            "twice.json: 2",
            "typed.json",
            "zero.json"
        ]
    );
    let script = told["rows"].as_array().unwrap().iter();
    let script = script
        .filter(|row| row["host"] == "script")
        .collect::<Vec<_>>();
    assert_eq!(script[0]["fill"], Value::Null);
    let html = fs::read_to_string(html).unwrap();
    let csv = fs::read_to_string(csv).unwrap();
    for text in [&html, &csv] {
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    }
    assert!(!html.contains("<script"), "{html}");
    assert!(csv.contains(",\"'=1+1"), "{csv}");
    assert_eq!(csv.lines().count(), 6, "{csv}");
}

/// Runs a command and says on stderr how much memory it had at most, in KiB.
const PEAK: &str = "\
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(done.returncode)";

#[test]
fn ten_thousand_hosts_take_little_time_and_memory() {
    let mut good = check(76_800);
    let setting = good["settings"][0].clone();
    // As many as the largest shipped profile has, and more.
    good["settings"] = Value::Array(vec![setting; 20]);
    let place = Place::new();
    let folder = place.path().join("checks");
    fs::create_dir(&folder).unwrap();
    for host in 0..10_000 {
        good["table"]["fill"] = json!(f64::from(host) / 10_000.0);
        let text = good.to_string();
        fs::write(folder.join(format!("fw{host}.json")), text).unwrap();
    }
    // The child of another process: the memory of this one and of other tests is none of its own.
    let mut command = Command::new("python3");
    let program = place.program();
    command
        .args(["-c", PEAK])
        .arg(program)
        .args(["fleet", folder.to_str().unwrap(), "--json"])
        .stdin(Stdio::null());
    let start = Instant::now();
    let told = Told::from(&command.output().unwrap());
    let took = start.elapsed();
    let told = told.exits(0);
    let peak = told.stderr.trim().parse::<u64>().unwrap() / 1024;
    let told = told.json();
    assert_eq!(told["hosts"], 10_000);
    assert_eq!(told["fullest"][0]["host"], "fw9999");
    println!("{took:?}, {peak} MiB");
    // A debug build is slow, and more so under load.
    let most = if cfg!(debug_assertions) { 60 } else { 2 };
    assert!(took.as_secs() < most, "{took:?}");
    assert!(peak <= 64, "{peak} MiB");
}
