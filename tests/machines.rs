//! What machines rely on: every command's JSON is as its JSON Schema says, `--format salt` is what
//! Salt reads, and without a terminal nothing depends on the locale or asks.
//!
//! tests/schemas compares with Python's jsonschema; `tests/run` gives it what all other tests saw.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use support::terminal::Terminal;
use support::{Keeper, Told, World, collect};

/// Two of them, so that both sides of most choices are printed.
const PROFILES: [(&str, &str); 2] = [
    (
        "site.toml",
        "description = \"A site\"\nrole = \"firewall\"\n\
         [sysctl]\nmax = { at-least = 70_000, memory-cap = \"50%\" }\nudp_timeout = 45\n\
         tcp_timeout_established = { value = \"2h4m\", why = \"it is enough\" }\n\
         [expire]\nmode = \"clamp\"\n[accept]\n\"rfc4787-req5\" = \"only DNS here\"\n",
    ),
    ("wrong.toml", "[sysctl]\nudp_timeuot = 45\nmax = \"many\"\n"),
];

/// Everything that prints JSON, in an order in which there is something to print; DIR is a folder,
/// ID a process in another network namespace.
const COMMANDS: &str = "
check
check DIR/site.toml --deep --all-netns --interval 1s
check DIR/site.toml --set udp_timeout=50
check --bundle DIR/bundle.txt
check --explain max
check --explain tcp_timeout_established
check DIR/wrong.toml
plan
plan DIR/site.toml
plan DIR/site.toml --adopt --expire --set max=80000
apply DIR/site.toml --yes
apply DIR/site.toml --dry-run
plan DIR/site.toml --adopt --expire --out DIR/tonight.json
apply DIR/site.toml --adopt --yes --expire --set udp_timeout=50
apply --set udp_timeout=55 --yes --adopt --confirm-within 10m
check
confirm
history
history 1
check
check --netns ID
plan DIR/site.toml --netns ID
rollback --dry-run
rollback --yes
rollback 77 --yes
top
guard --dry-run --once --trust-history --high 0.2% --low 0.1%
top --by dst,dport
top --by mark,src --match proto=tcp
forecast
forecast --observe 1s --after 1h,1d
metrics
metrics --flows all
metrics --all-netns
expire --dry-run
expire --yes
expire --mode re-age --observe 1s --yes
kill --match proto=tcp,dport=443 --dry-run
kill --match proto=tcp --max-flows 900 --yes --save DIR/saved
guard --install --dry-run
report
report --mask
profile list
profile show campus-fw
profile show DIR/site.toml
profile check DIR/site.toml
profile check DIR/wrong.toml
profile diff campus-fw home-router
profile diff campus-fw campus-fw
profile export campus-fw --to talos
profile copy campus-fw DIR/copy.toml
profile set DIR/copy.toml udp_timeout=40
profile capture DIR/captured.toml
profile capture
profile suggest --observe 1s
fleet DIR/hosts
apply DIR/nowhere.toml --yes
nonsense
";

/// A sandbox with files for the commands.
struct Stage {
    world: World,
    _other: Keeper,
    other: String,
}

impl Stage {
    fn new() -> Self {
        let world = World::with_flows(500);
        for (name, text) in PROFILES {
            world.place.write(name, text);
        }
        let check = world.cttune(&["check", "--json"]).json();
        world.place.write("hosts/fw1.json", &check.to_string());
        world.place.write("hosts/fw2.json", "no JSON");
        let (other, pid) = world.netns();
        Stage {
            world,
            _other: other,
            other: pid,
        }
    }

    /// The commands as they are typed.
    fn lines(&self) -> Vec<Vec<String>> {
        let folder = self.world.place.path().to_str().unwrap();
        let typed = |line: &str| {
            let line = line.replace("ID", &self.other).replace("DIR", folder);
            line.split(' ').map(str::to_owned).collect()
        };
        let lines = COMMANDS.lines().filter(|line| !line.is_empty());
        lines.map(typed).collect()
    }

    /// What `kill` prints when its question is answered with no.
    fn answer_no(&self) -> Value {
        let mut command = self.world.command("sh");
        let kill = "cttune kill --match proto=udp --json >\"$1\"";
        let file = self.world.place.path().join("no.json");
        let mut terminal = Terminal::start(command.args(["-c", kill, "sh"]).arg(&file));
        terminal.wait_for("[y/N]");
        terminal.send("n\r");
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{screen}");
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }
}

#[test]
fn every_output_is_as_its_schema_says_and_a_damaged_one_is_not() {
    let stage = Stage::new();
    let outputs = stage.world.place.path().join("outputs");
    fs::create_dir(&outputs).unwrap();
    let keep = |name: &str, args: &[String], output: Value| {
        let record = json!({ "args": args, "output": output });
        fs::write(
            outputs.join(name).with_extension("json"),
            record.to_string(),
        )
        .unwrap();
        collect(args, &output);
    };
    for (number, line) in stage.lines().into_iter().enumerate() {
        let formats: &[&str] = match line[0].as_str() {
            "expire" => &["json", "salt"],
            _ => &["json"],
        };
        for format in formats {
            let args = [&line[..], &["--format".to_owned(), (*format).to_owned()]].concat();
            let mut command = stage.world.command_among_processes("cttune");
            let told = Told::by(command.args(&args));
            keep(&format!("{number:03}{format}"), &args, told_object(&told));
        }
    }
    let saved = fs::read_to_string(stage.world.place.path().join("tonight.json")).unwrap();
    let saved = serde_json::from_str(&saved).unwrap();
    keep("saved", &["saved-plan".to_owned()], saved);
    let unchanged = stage.answer_no();
    keep("no", &["unchanged".to_owned()], unchanged);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
    Told::by(Command::new(script).arg("--damage").arg(&outputs)).exits(0);
}

/// What was printed: an object, or of a command that failed its error.
fn told_object(told: &Told) -> Value {
    let text = match told.stdout.as_str() {
        "" => told.stderr.lines().last().unwrap_or_default(),
        text => text,
    };
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// How a command is started: the locale, what the terminal is said to be, and where stdin is.
#[derive(Clone, Copy, Debug)]
struct Start {
    locale: &'static str,
    set: &'static [(&'static str, &'static str)],
    closes_stdin: bool,
}

/// Commands that name flows or groups of flows.
const LIST_FLOWS: [&str; 4] = ["top", "kill", "report", "guard"];

const STARTS: [Start; 4] = [
    Start {
        locale: "C.UTF-8",
        set: &[("TERM", "xterm-256color")],
        closes_stdin: false,
    },
    Start {
        locale: "C",
        set: &[("TERM", "dumb"), ("NO_COLOR", "1")],
        closes_stdin: true,
    },
    Start {
        locale: "de_DE.UTF-8",
        set: &[("CLICOLOR_FORCE", "1"), ("COLORTERM", "truecolor")],
        closes_stdin: true,
    },
    Start {
        locale: "tr_TR.UTF-8",
        set: &[("TERM", ""), ("LANGUAGE", "tr:de")],
        closes_stdin: false,
    },
];

/// Every command in a sandbox of its own, as text and as JSON; the first word of each is what was
/// typed.
fn run_all(start: Start) -> Vec<(String, i32, String)> {
    let stage = Stage::new();
    let mut all = Vec::new();
    for line in stage.lines() {
        // Each changes something once, so each has one format, in turn.
        for format in ["text", "json"] {
            let is_change = line.iter().any(|word| word == "--yes") || line[0] == "confirm";
            if is_change && (all.len() % 2 == 0) != (format == "text") {
                continue;
            }
            let mut command = stage.world.command_among_processes("sh");
            let run = if start.closes_stdin {
                "exec \"$@\" <&-"
            } else {
                "exec \"$@\""
            };
            command
                .args(["-c", run, "sh", "timeout", "60", "cttune"])
                .args(&line)
                .args(["--format", format])
                .env("LC_ALL", start.locale)
                .envs(start.set.iter().copied());
            let told = Told::by(&mut command);
            let typed = line.join(" ");
            assert!(!told.stdout.contains('\x1b'), "{start:?} {typed}: {told}");
            assert!(
                !told.stderr.contains(['\x1b', '\r', '\x08']),
                "{start:?} {typed}: {told}"
            );
            assert_ne!(told.code, 124, "{start:?} {typed} does not end: {told}");
            let folder = stage.world.place.path().to_str().unwrap();
            let alike = |text: &str| text.replace(folder, "DIR").replace(&stage.other, "ID");
            let mut stdout = skeleton(&alike(&told.stdout));
            if LIST_FLOWS.contains(&line[0].as_str()) {
                // Which ones, is by chance.
                stdout.truncate(8);
            }
            all.push((alike(&typed) + " " + format, told.code, stdout));
        }
    }
    all
}

/// Words and decimal points: numbers and the time left of flows are others at every run, and where
/// the locale has no UTF-8, text is ASCII.
fn skeleton(text: &str) -> String {
    let mut skeleton = String::new();
    let mut last = ' ';
    for (place, char) in text.char_indices() {
        let next = text[place + char.len_utf8()..].chars().next();
        let is_number = last == '#';
        match char {
            '0'..='9' => last = '#',
            // `2h4m`, `172.16.0.1`, `1,024`, `67.7`
            'a'..='z' if is_number => {}
            '.' | ',' if is_number && next.is_some_and(|next| next.is_ascii_digit()) => {
                skeleton.push(char);
            }
            char if char.is_ascii_alphabetic() => {
                skeleton.push(char);
                last = char;
            }
            _ => last = ' ',
        }
    }
    skeleton
}

#[test]
fn without_a_terminal_nothing_is_asked_or_coloured_and_no_locale_matters() {
    let all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = STARTS
            .into_iter()
            .map(|start| scope.spawn(move || run_all(start)))
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (first, others) = all.split_first().unwrap();
    for (start, other) in STARTS[1..].iter().zip(others) {
        for (one, other) in first.iter().zip(other) {
            assert_eq!(one, other, "{start:?}");
        }
    }
}

/// All of stdout, which `cmd.run` with `stateful` reads as one object.
fn salt_answer(told: &Told) -> (bool, String) {
    let answer: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{told}"));
    assert_eq!(answer.as_object().unwrap().len(), 2, "{told}");
    let comment = answer["comment"].as_str().unwrap().to_owned();
    (answer["changed"].as_bool().unwrap(), comment)
}

#[test]
fn salt_is_told_what_changed_what_did_not_and_what_failed() {
    let world = World::with_flows(100);
    let profile = world
        .place
        .write("site.toml", "[sysctl]\nudp_timeout = 45\n");
    let apply = ["apply", &profile, "--yes", "--format", "salt"];
    let (changed, comment) = salt_answer(&world.cttune(&apply).exits(0));
    assert!(
        changed && comment.contains("to undo: cttune rollback 1"),
        "{comment}"
    );
    let (changed, comment) = salt_answer(&world.cttune(&apply).exits(0));
    assert!(!changed && comment.contains("nothing to do"), "{comment}");
    let rollback = ["rollback", "--yes", "--format", "salt"];
    assert!(salt_answer(&world.cttune(&rollback).exits(0)).0);
    let told = world.cttune(&["apply", "nowhere", "--yes", "--format", "salt"]);
    let told = told.exits(1).says(&["error: no profile `nowhere`"]);
    assert_eq!(
        salt_answer(&told),
        (
            false,
            told.stderr
                .trim()
                .trim_start_matches("error: ")
                .replace('\n', "; ")
        )
    );
    let kill = ["kill", "--match", "proto=tcp", "--yes", "--format", "salt"];
    assert!(salt_answer(&world.cttune(&kill).exits(0)).0);
    let (changed, comment) = salt_answer(&world.cttune(&kill).exits(1));
    assert!(
        !changed && comment.starts_with("no flow matches --match;"),
        "{comment}"
    );
}

#[test]
fn salt_gets_one_object_of_every_command_whatever_becomes_of_it() {
    let world = World::with_flows(100);
    let profile = world
        .place
        .write("site.toml", "[sysctl]\nudp_timeout = 45\n");
    let site = profile.as_str();
    let line = "net.netfilter.nf_conntrack_udp_timeout = 46";
    world.sh(&format!("echo '{line}' >/etc/sysctl.d/99-other.conf"));
    let (changed, kept) = (true, false);
    for (args, code, expected, said) in [
        (&["plan", site][..], 1, kept, "overrides our drop-in"),
        (&["plan", site, "--allow-overridden"], 0, changed, "1 live"),
        (&["plan", site, "--adopt"], 0, changed, "1 live"),
        (
            &["apply", site, "--adopt", "--dry-run"],
            0,
            changed,
            "1 live",
        ),
        (&["apply", site, "--yes"], 1, kept, "overrides our drop-in"),
        (&["apply", site, "--adopt", "--yes"], 0, changed, "to undo"),
        (&["plan", site, "--adopt"], 0, kept, "nothing to do"),
        (&["rollback", "--dry-run"], 0, changed, "to undo change 1"),
        (&["rollback", "--yes"], 0, changed, "undone"),
        (
            &["rollback", "7", "--yes"],
            1,
            kept,
            "hint: see all changes",
        ),
        (&["confirm"], 1, kept, "no change is pending"),
        (&["expire", "--dry-run"], 0, kept, "no flow has more time"),
        (&["expire", "--yes"], 0, kept, "clamped 0 flows"),
        (
            &["kill", "--match", "proto=tcp", "--dry-run"],
            0,
            changed,
            "",
        ),
        (
            &["plan", "--set", "maxx=5"],
            64,
            kept,
            "did you mean `max`?",
        ),
        (&["plan"], 64, kept, "no profile is named"),
        (&["apply", "--nonsense"], 64, kept, "unexpected argument"),
        (&["check"], 64, kept, "does not have that format"),
        (&["history"], 64, kept, "does not have that format"),
    ] {
        let told = world.cttune(&[args, &["--format", "salt"]].concat());
        let (is_changed, comment) = salt_answer(&told.exits(code));
        assert_eq!(is_changed, expected, "{args:?}: {comment}");
        assert!(comment.contains(said), "{args:?}: {comment}");
    }
}
