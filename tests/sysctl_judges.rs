//! Asks the real `sysctl --system` and `systemd-sysctl` what they make of random trees, and
//! compares what the kernel then holds with what cttune says.
//!
//! Everything happens in one shell inside namespaces of its own. Its `/proc/sys` holds nothing but
//! `net/netfilter` of a fresh network namespace, so no case can touch the machine; the keys that
//! such a namespace may not write (max, buckets, expect_max and the old name of max) are plain
//! files there. Those neither validate nor round: only values that the kernel would take are
//! written to them, and their first line is the last write.
//!
//! `CTTUNE_SEED` repeats a run, `CTTUNE_TREES` says how many trees (1000).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use cttune::internals::{SysctlTree, Winner, as_the_kernel_holds_it, keys, next_boot};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The directories that a case may fill; `/lib` is `/usr/lib` on the machine that judges.
const DIRECTORIES: [&str; 4] = [
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
];

/// The keys that a namespace may not write: plain files here, empty until a reader writes them.
const GLOBAL: [&str; 3] = [
    "nf_conntrack_max",
    "nf_conntrack_buckets",
    "nf_conntrack_expect_max",
];

/// What a case puts under a name.
#[derive(Debug, Clone)]
enum Item {
    Text(String),
    Link(&'static str),
    Directory,
}

#[derive(Debug, Clone)]
struct Case {
    entries: Vec<(&'static str, &'static str, Item)>,
    sysctl_conf: Option<Item>,
    /// What runs once sysctl.d was applied.
    rc_local: Option<String>,
}

/// Values that the kernel takes for every key that is not a switch, fragment thresholds included.
fn harmless_value() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..200_u32).prop_map(|n| n.to_string()),
        (0..4_u32).prop_map(|n| n.to_string()),
        select(vec!["600 # x", "7 8", "010", "0x20", "1 ; y", "4\t5"]).prop_map(str::to_owned),
    ]
    // 0 is no number of buckets.
    .prop_filter("buckets", |value| value != "0")
}

fn any_value() -> impl Strategy<Value = String> {
    let odd = vec![
        "",
        "12# x",
        "7x",
        "+5",
        "-1",
        "-0",
        "08",
        "x",
        "99999999999",
        "5 = 6",
        "\u{b}9",
        "9\u{b}",
        "0",
        "\u{e9}",
        "0x",
        "9\r",
        "- 5",
        "0000000000000000000007",
        "00000000000000000000000007",
    ];
    prop_oneof![4 => harmless_value(), 2 => select(odd).prop_map(str::to_owned)]
}

/// `net.netfilter.x` as people and programs write it.
fn spelling(name: &'static str) -> impl Strategy<Value = String> {
    let dotted = ["net.netfilter.", ".net.netfilter.", "net..netfilter."];
    let slashed = ["net/netfilter/", "/net/netfilter/", "net//netfilter/./"];
    let odd = [
        "net/netfilter/../netfilter/",
        "net.netfilter/",
        "proc.sys.net.netfilter.",
        "net.",
    ];
    prop_oneof![
        12 => Just(dotted[0]),
        4 => Just(slashed[0]),
        1 => select(dotted.to_vec()),
        1 => select(slashed.to_vec()),
        1 => select(odd.to_vec()),
    ]
    .prop_flat_map(move |prefix| {
        let end = prop_oneof![30 => Just(""), 1 => Just("/"), 1 => Just(".")];
        end.prop_map(move |end| format!("{prefix}{name}{end}"))
    })
}

fn dash() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 2 => Just("-"), 1 => select(vec!["--", "- ", " -", "\t", "\u{b}"])]
}

fn equals() -> impl Strategy<Value = &'static str> {
    select(vec!["=", " = ", " =", "\t=\t", "= "])
}

fn assignment<V: Strategy<Value = String>>(
    key: impl Strategy<Value = String>,
    value: V,
) -> impl Strategy<Value = String> {
    (dash(), key, equals(), value)
        .prop_map(|(dash, key, equals, value)| format!("{dash}{key}{equals}{value}"))
}

/// A line that names one key of the namespace's own, with any value.
fn namespace_line() -> impl Strategy<Value = String> {
    let names = vec![
        "nf_conntrack_udp_timeout",
        "nf_conntrack_udp_timeout_stream",
        "nf_conntrack_tcp_timeout_established",
        "nf_conntrack_generic_timeout",
        "nf_conntrack_log_invalid",
        "nf_conntrack_tcp_loose",
        "nf_conntrack_events",
        "nf_conntrack_dccp_loose",
        "nf_conntrack_count",
        "ip_conntrack_max",
    ];
    assignment(select(names).prop_flat_map(spelling), any_value())
}

fn fragment_line() -> impl Strategy<Value = String> {
    let names = vec![
        "nf_conntrack_frag6_high_thresh",
        "nf_conntrack_frag6_low_thresh",
    ];
    let bytes = (1..8_u32).prop_map(|mib| (mib << 20).to_string());
    assignment(select(names).prop_flat_map(spelling), bytes)
}

/// A line that names a key of the machine's, which here is a plain file.
fn machine_line() -> impl Strategy<Value = String> {
    let names = vec![
        "nf_conntrack_max",
        "nf_conntrack_buckets",
        "nf_conntrack_expect_max",
    ];
    let key = prop_oneof![
        3 => select(names).prop_flat_map(spelling).boxed(),
        1 => Just("net.nf_conntrack_max".to_owned()).boxed(),
    ];
    assignment(key, harmless_value())
}

fn glob() -> impl Strategy<Value = String> {
    select(vec![
        "net.netfilter.*",
        "net.netfilter.nf_conntrack_udp_*",
        "net/netfilter/nf_conntrack_udp_timeout*",
        "net.*.nf_conntrack_tcp_*",
        "net.netfilter.nf_conntrack_[tu]*",
        "net.netfilter.nf_conntrack_[!a-t]*",
        "net.nf_conntrack_ma?",
        "*/*k_max",
        "net.netfilter.nf_conntrack_{udp,tcp}_*",
        "net.n{f_conntrack_max,etfilter.nf_conntrack_max}*",
        "net.netfilter.nf_conntrack_frag6_*",
        "[[:lower:]]et.netfilter.nf_conntrack_gen*",
        "net..netfilter.nf_conntrack_udp*",
        "net.netfilter.nf_conntrack_\\udp_timeou[t]",
        "net.netfilter.nf_conntrack_[udp*",
    ])
    .prop_map(str::to_owned)
}

/// One line with its end. A value of a plain file is never followed by a lone carriage return,
/// which procps would make a part of it.
fn line() -> impl Strategy<Value = String> {
    let noise = vec![
        "# x",
        " ; net.netfilter.nf_conntrack_acct = 1",
        "",
        "  ",
        "word",
        "=",
        "-=1",
    ];
    let exclusions = prop_oneof![
        glob(),
        Just("net.netfilter.nf_conntrack_max".to_owned()),
        spelling("nf_conntrack_udp_timeout"),
    ];
    let free = prop_oneof![
        6 => namespace_line(),
        2 => fragment_line(),
        1 => select(noise).prop_map(str::to_owned),
    ];
    // A lone carriage return and `=` behind an exclusion would make an empty value of it, which the
    // kernel ignores and a plain file does not.
    let guarded = prop_oneof![
        2 => machine_line().boxed(),
        2 => assignment(glob(), harmless_value()).boxed(),
        1 => (select(vec!["-", "--", "- "]), exclusions)
            .prop_map(|(dash, key)| dash.to_owned() + &key)
            .boxed(),
    ];
    let end = prop_oneof![20 => Just("\n"), 3 => Just("\r\n"), 1 => Just("\0\n"), 1 => Just("\0")];
    let any_end =
        prop_oneof![20 => Just("\n"), 3 => Just("\r\n"), 1 => select(vec!["\r", "\n\r", "\0"])];
    prop_oneof![
        3 => (free, any_end).prop_map(|(line, end)| line + end),
        2 => (guarded, end).prop_map(|(line, end)| line + end),
    ]
}

/// Globs that overlap, with few values, so that a glob is often said again with the value it had.
fn overlapping_globs() -> impl Strategy<Value = Vec<String>> {
    let globs = vec![
        "net.netfilter.nf_conntrack_udp_*",
        "net.netfilter.*_udp_timeout*",
        "-net.netfilter.*",
        "net.netfilter.nf_conntrack_log_invali?",
    ];
    let line = (select(globs), 1..3_u8).prop_map(|(glob, value)| format!("{glob} = {value}\n"));
    prop::collection::vec(line, 2..7)
}

fn text() -> impl Strategy<Value = Item> {
    let lines = prop_oneof![
        4 => prop::collection::vec(line(), 0..9).boxed(),
        1 => overlapping_globs().boxed(),
    ];
    (lines, prop::bool::weighted(0.2)).prop_map(|(lines, cut)| {
        let mut text = lines.concat();
        if cut && text.ends_with('\n') {
            text.pop();
        }
        Item::Text(text)
    })
}

fn item() -> impl Strategy<Value = Item> {
    let links = vec![
        "/dev/null",
        "../sysctl.conf",
        "/etc/sysctl.conf",
        "/nowhere",
        "a.conf",
    ];
    prop_oneof![
        8 => text(),
        2 => select(links).prop_map(Item::Link),
        1 => Just(Item::Directory),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let names = vec![
        "10-b.conf",
        "9-a.conf",
        "99-sysctl.conf",
        "a.conf",
        "Z.conf",
        "a.conf.conf",
        ".h.conf",
        ".conf",
        "README",
        "\u{e9}.conf",
    ];
    let entry = (select(DIRECTORIES.to_vec()), select(names), item());
    let conf = prop_oneof![6 => text(), 1 => Just(Item::Link("/dev/null")), 1 => Just(Item::Directory),
        1 => Just(Item::Link("sysctl.d/a.conf"))];
    (
        prop::collection::vec(entry, 0..7),
        prop::option::of(conf),
        prop::option::of(rc_local()),
    )
        .prop_map(|(entries, sysctl_conf, rc_local)| Case {
            entries,
            sysctl_conf,
            rc_local,
        })
}

/// A command of a script that sets a key of the namespace's own, in the ways that people use.
fn command() -> impl Strategy<Value = String> {
    let names = vec![
        "nf_conntrack_udp_timeout",
        "nf_conntrack_generic_timeout",
        "nf_conntrack_log_invalid",
        "nf_conntrack_tcp_loose",
    ];
    let ways = vec![
        "sysctl -q -w net.netfilter.KEY=VALUE",
        "/usr/sbin/sysctl net/netfilter/KEY='VALUE' >/dev/null",
        "sysctl -qe -w \"net.netfilter.KEY=VALUE\" 2>&1",
        "echo VALUE > /proc/sys/net/netfilter/KEY",
        "echo VALUE >/proc/sys/net/netfilter/KEY 2>/dev/null || echo failed",
        "printf '%s\\n' VALUE > /proc/sys/net/netfilter/KEY",
        "echo VALUE | tee /proc/sys/net/netfilter/KEY >/dev/null",
        "N=VALUE; echo $N > \"/proc/sys/net/netfilter/KEY\"",
        "D=/proc/sys/net/netfilter\necho \"VALUE\" >${D}/KEY",
        "sh -c 'echo VALUE > /proc/sys/net/netfilter/KEY'",
        "f() {\n  echo VALUE > /proc/sys/net/netfilter/KEY\n}",
        "if [ -e /nothing ]; then echo VALUE > /proc/sys/net/netfilter/KEY; fi",
        "[ -e /nothing ] && echo VALUE > /proc/sys/net/netfilter/KEY",
        "for n in VALUE; do echo $n > /proc/sys/net/netfilter/KEY; done",
        "cat > /proc/sys/net/netfilter/KEY <<END\nVALUE\nEND",
        "# sysctl -w net.netfilter.KEY=VALUE",
        "echo 'sysctl -w net.netfilter.KEY=VALUE'",
        "sysctl -n net.netfilter.KEY",
        "echo VALUE > /tmp/KEY",
        "echo $((VALUE * 2)) > /proc/sys/net/netfilter/KEY",
        "exit 0",
    ];
    let values = vec!["1", "2", "7", "61", "0x10", "+5", "many", "7x"];
    (select(ways), select(names), select(values))
        .prop_map(|(way, key, value)| way.replace("KEY", key).replace("VALUE", value))
}

fn rc_local() -> impl Strategy<Value = String> {
    prop::collection::vec(command(), 0..5)
        .prop_map(|commands| format!("#!/bin/sh\n{}\n", commands.join("\n")))
}

/// Lays the case out as a machine's root.
fn lay(case: &Case, root: &Path) {
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (directory, name, item) in &case.entries {
        lay_item(item, &root.join(directory).join(name));
    }
    if let Some(item) = &case.sysctl_conf {
        lay_item(item, &root.join("etc/sysctl.conf"));
    }
    if let Some(text) = &case.rc_local {
        let path = root.join("etc/rc.local");
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    // What makes it the image of a machine: systemd, and a kernel with conntrack built in.
    for (path, text) in [
        ("usr/lib/systemd/systemd-sysctl", ""),
        (
            "lib/modules/6.1/modules.builtin",
            "kernel/net/netfilter/nf_conntrack.ko\n",
        ),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn lay_item(item: &Item, path: &Path) {
    // The same name may come twice; the first stays.
    if path.symlink_metadata().is_ok() {
        return;
    }
    match item {
        Item::Text(text) => fs::write(path, text).unwrap(),
        Item::Link(target) => symlink(target, path).unwrap(),
        Item::Directory => fs::create_dir(path).unwrap(),
    }
}

/// The shell that asks: arguments are the work directory, the number of cases and the keys.
const JUDGE: &str = r#"
set -eu
work=$1 cases=$2; shift 2
keys=$*
mkdir "$work/real" "$work/plain"
mount --bind /proc/sys/net/netfilter "$work/real"
mount -t tmpfs tmpfs /proc/sys
mkdir -p /proc/sys/net/netfilter
mount --bind "$work/real" /proc/sys/net/netfilter
netfilter=/proc/sys/net/netfilter
for key in max buckets expect_max; do
    : > "$work/plain/$key"
    mount --bind "$work/plain/$key" $netfilter/nf_conntrack_$key
done
: > /proc/sys/net/nf_conntrack_max
mount --bind "$work/plain/max" /proc/sys/net/nf_conntrack_max
for directory in /etc /run /usr/local/lib /usr/lib/sysctl.d; do
    mount -t tmpfs tmpfs $directory
done
mkdir /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d

reset() {
    for key in max buckets expect_max; do : > "$work/plain/$key"; done
    # So that no order of the two thresholds can be refused.
    echo 999999999 > $netfilter/nf_conntrack_frag6_high_thresh
    echo 1 > $netfilter/nf_conntrack_frag6_low_thresh
    set -- $defaults
    while [ $# -gt 0 ]; do echo "$2" > $netfilter/$1; shift 2; done
}
# One grep for all: the shell reads byte by byte, and a sysctl answers only the first read.
report() {
    echo "ran $1 $2"
    cd $netfilter
    grep -H -m1 '' $keys || :
    cd /
}
defaults=$(cd $netfilter; grep -H '' $keys | tr : ' ')
report start default
case=0
while [ $case -lt $cases ]; do
    find /etc/ /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d -mindepth 1 -delete
    cp -a "$work/$case/etc/." /etc/
    cp -a "$work/$case/run/sysctl.d/." /run/sysctl.d/
    cp -a "$work/$case/usr/local/lib/sysctl.d/." /usr/local/lib/sysctl.d/
    cp -a "$work/$case/usr/lib/sysctl.d/." /usr/lib/sysctl.d/
    reset; sysctl --system > /dev/null 2>&1 || :; report $case procps
    reset; /lib/systemd/systemd-sysctl > /dev/null 2>&1 || :; report $case systemd
    [ ! -x /etc/rc.local ] || /etc/rc.local > /dev/null 2>&1 || :; report $case later
    case=$((case + 1))
done
echo done
"#;

/// Runs the judge and returns its report.
fn ask(work: &Path, cases: usize, keys: &[&str]) -> String {
    let namespaces: &[&str] = if nix::unistd::geteuid().is_root() {
        &["-mn"]
    } else {
        &["-Urmn"]
    };
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["--propagation", "private", "sh", "-c", JUDGE, "judge"])
        .arg(work)
        .arg(cases.to_string())
        .args(keys)
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("this test needs unshare of util-linux");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        report.ends_with("done\n"),
        "the judge stopped early ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    report
}

/// An empty simulated file has no value and is not here.
type Held = BTreeMap<String, Option<i64>>;

/// What the kernel held after each run, by the run's name.
fn parse_report(report: &str) -> BTreeMap<String, Held> {
    let mut runs: BTreeMap<String, Held> = BTreeMap::new();
    let mut run = String::new();
    for line in report.lines() {
        let (word, rest) = line.split_once([' ', ':']).unwrap_or((line, ""));
        if word == "ran" {
            rest.clone_into(&mut run);
        } else {
            let number = as_the_kernel_holds_it(word, rest);
            let held = runs.entry(run.clone()).or_default();
            held.insert(word.to_owned(), number);
        }
    }
    runs
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
    )
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), rng)
}

/// `check --explain` names the line that wins.
fn assert_explained(tree: &SysctlTree, reader: &str, winners: &BTreeMap<&str, Winner>) {
    for key in [
        "nf_conntrack_max",
        "nf_conntrack_udp_timeout",
        "nf_conntrack_frag6_low_thresh",
    ] {
        let explained = tree.explained_winners(reader, key);
        let winner = winners.get(key);
        let wins: Vec<_> = winner
            .map(|one| (one.file.clone(), one.line))
            .into_iter()
            .collect();
        assert_eq!(explained, wins, "{reader} {key} in {tree:#?}");
    }
}

/// How many values cttune is sure of; those that the kernel does not have once systemd-sysctl and
/// rc.local ran are `wrong`.
fn count_known(
    cases: &[Case],
    work: &Path,
    runs: &BTreeMap<String, Held>,
    keys: &[&str],
    wrong: &mut Vec<String>,
) -> usize {
    let mut sure = 0;
    for (number, case) in cases.iter().enumerate() {
        let held = &runs[&format!("{number} later")];
        for (key, value, is_known) in next_boot(&work.join(number.to_string())).unwrap() {
            let is_here = keys.contains(&key);
            let Some(value) = value.filter(|_| is_known && is_here) else {
                continue;
            };
            sure += 1;
            let now = held.get(key).copied().flatten();
            if now != Some(value) {
                wrong.push(format!(
                    "{key} is {now:?} and not the known {value} in {case:#?}"
                ));
            }
        }
    }
    sure
}

#[test]
fn the_real_readers_leave_what_effective_says() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number_from_env("CTTUNE_SEED").unwrap_or(now.subsec_nanos().into());
    let trees = number_from_env("CTTUNE_TREES").unwrap_or(1000);
    let trees = usize::try_from(trees).unwrap();
    let netfilter = Path::new("/proc/sys/net/netfilter");
    let mut keys = keys();
    keys.retain(|key| netfilter.join(key).exists());
    assert!(keys.len() > 20, "this test needs a kernel with conntrack");

    let work = tempfile::tempdir().unwrap();
    let mut runner = runner(seed);
    let cases: Vec<Case> = (0..trees)
        .map(|_| case().new_tree(&mut runner).unwrap().current())
        .collect();
    for (number, case) in cases.iter().enumerate() {
        lay(case, &work.path().join(number.to_string()));
    }
    let runs = parse_report(&ask(work.path(), trees, &keys));
    let defaults = &runs["start default"];

    let mut wrong = Vec::new();
    let mut set = 0;
    for (number, case) in cases.iter().enumerate() {
        let tree = SysctlTree::read(&work.path().join(number.to_string())).unwrap();
        for reader in ["procps", "systemd"] {
            let winners: BTreeMap<_, _> = tree.winners(reader).into_iter().collect();
            let held = &runs[&format!("{number} {reader}")];
            assert_explained(&tree, reader, &winners);
            for key in keys.iter().copied() {
                let winner = winners.get(key);
                set += usize::from(winner.is_some());
                let default = defaults.get(key).copied().flatten();
                let default = default.filter(|_| !GLOBAL.contains(&key));
                let expected = winner.map_or(default, |winner| Some(winner.value));
                if held.get(key).copied().flatten() != expected {
                    wrong.push(format!(
                        "{reader}: {key} holds {:?}, expected {expected:?} from {winner:?} in {case:#?}",
                        held.get(key)
                    ));
                }
            }
        }
    }
    let sure = count_known(&cases, work.path(), &runs, &keys, &mut wrong);
    assert!(
        sure > trees,
        "cttune is sure of next to nothing: {sure} values"
    );
    assert!(
        wrong.is_empty(),
        "CTTUNE_SEED={seed}: {} of {trees} trees' readings differ; the first: {}",
        wrong.len(),
        wrong[0]
    );
    assert!(set > trees, "the trees set next to nothing: {set} winners");
}

#[test]
fn with_file_foresees_what_a_write_does() {
    let mut runner = runner(7);
    let mut seen = 0;
    for _ in 0..300 {
        let root = tempfile::tempdir().unwrap();
        lay(
            &case().new_tree(&mut runner).unwrap().current(),
            root.path(),
        );
        for path in [
            "etc/sysctl.conf",
            "etc/sysctl.d/a.conf",
            "etc/sysctl.d/90-cttune.conf",
        ] {
            let there = root.path().join(path);
            // A link would be followed out of the root, and a directory cannot be written.
            if there.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                continue;
            }
            seen += 1;
            let before = SysctlTree::read(root.path()).unwrap();
            let path = Path::new("/").join(path);
            fs::write(&there, "new").unwrap();
            let written = SysctlTree::read(root.path()).unwrap();
            assert_eq!(before.with_file(&path, Some(b"new".to_vec())), written);
            fs::remove_file(&there).unwrap();
            let removed = SysctlTree::read(root.path()).unwrap();
            assert_eq!(written.with_file(&path, None), removed);
        }
    }
    assert!(seen > 300, "only {seen} writes were tried");
}
