//! Asks the programs of a real boot what they make of random trees: systemd-sysctl of sysctl.d with
//! dead lines, systemd of units, udevadm of rules, modprobe of modprobe.d; and compares what the
//! kernel then holds with the values that cttune calls known.
//!
//! One shell in namespaces of its own does it all, with a `/proc/sys` that holds nothing but a fresh
//! network namespace's `net/netfilter`. Nothing is loaded: modprobe only says what it would do, to
//! a folder of modules that was made up. What no program orders is done in one order or the other:
//! udev before systemd-sysctl or after the units, the module before the units or after them.
//!
//! `CTTUNE_SEED` repeats a run, `CTTUNE_TREES` says how many trees (200). Needs root, systemd,
//! udev, kmod and procps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use cttune::internals::{as_the_kernel_holds_it, next_boot};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const KEYS: [&str; 4] = [
    "nf_conntrack_udp_timeout",
    "nf_conntrack_generic_timeout",
    "nf_conntrack_log_invalid",
    "nf_conntrack_tcp_loose",
];

/// Texts in which `KEY` and `VALUE` are put in.
#[derive(Debug, Clone)]
struct Case {
    /// Whether conntrack is a module.
    is_module: bool,
    /// Path and text; a text that is a path is a link's target.
    files: Vec<(String, String)>,
}

fn filled(texts: Vec<&'static str>) -> impl Strategy<Value = String> {
    let values = vec![
        "1", "2", "61", "77", "0x10", "many", "\"5\"", "1h", "6e1", "7 # x",
    ];
    let plain = vec!["1", "2", "61", "77"];
    let value = prop_oneof![1 => select(values), 3 => select(plain)];
    (select(texts), select(KEYS.to_vec()), value)
        .prop_map(|(text, key, value)| text.replace("KEY", key).replace("VALUE", value))
}

fn lines(texts: Vec<&'static str>, most: usize) -> impl Strategy<Value = String> {
    let line = filled(texts).prop_map(|line| line + "\n");
    prop::collection::vec(line, 0..most).prop_map(|lines| lines.concat())
}

fn sysctl_d() -> impl Strategy<Value = Vec<(String, String)>> {
    let texts = vec![
        "net.netfilter.KEY = VALUE",
        "net/netfilter/KEY=VALUE",
        "-net.netfilter.KEY=VALUE",
        "net.netfilter.nf_conntrack_udp_* = VALUE",
        "net.ipv4.netfilter.ip_conntrack_max = 5",
        "net.netfilter.KEYS = VALUE",
        "net.netfilter.KEY VALUE",
        "# net.netfilter.KEY = VALUE",
        "-net.netfilter.KEY",
    ];
    let names = vec![
        "10-a.conf",
        "50-b.conf",
        "99-c.conf",
        "60-d",
        "70-e.conf.bak",
    ];
    let file = (select(names), lines(texts, 5));
    let placed = |(name, text): (&str, String)| (format!("etc/sysctl.d/{name}"), text);
    prop::collection::vec(file.prop_map(placed), 0..4)
}

/// What makes a unit and where it is.
#[derive(Debug, Clone)]
struct Unit {
    /// `ExecStart` and its like, with a command.
    starts: Vec<(&'static str, String)>,
    /// Another command in a drop-in, and whether that drops those before it.
    more: Option<(bool, String)>,
    /// `Type=`, perhaps with more lines.
    kind: &'static str,
    ignores_failures: bool,
    has_condition: bool,
    is_masked: bool,
    /// The folder with its link, and where the unit itself is.
    wants: &'static str,
    place: &'static str,
}

impl Unit {
    /// Its name tells the judge what it needs: `-i` ignores failures, `-c` has a condition.
    fn files(self) -> Vec<(String, String)> {
        let (sign, mark) = if self.ignores_failures {
            ("-", "-i")
        } else {
            ("", "")
        };
        let (condition, other_mark) = if self.has_condition {
            ("ConditionPathExists=/nothing\n", "-c")
        } else {
            ("", "")
        };
        let name = format!("uCASE{mark}{other_mark}-x.service");
        let path = format!("{}/systemd/system/{name}", self.place);
        let mut text = format!("[Unit]\n{condition}[Service]\n{}", self.kind);
        for (start, command) in self.starts {
            text += &format!("{start}={sign}{command}\n");
        }
        let mut files = vec![(path.clone(), text)];
        if let Some((resets, command)) = self.more {
            let reset = if resets { "ExecStart=\n" } else { "" };
            let text = format!("[Service]\n{reset}ExecStart={sign}{command}\n");
            files.push((format!("etc/systemd/system/{name}.d/more.conf"), text));
        }
        if self.is_masked {
            files.push((format!("etc/systemd/system/{name}"), "/dev/null".to_owned()));
        }
        if self.wants != "etc/systemd/system" {
            files.push((format!("{}/{name}", self.wants), format!("/{path}")));
        }
        files
    }
}

fn commands() -> Vec<&'static str> {
    vec![
        "/sbin/sysctl -w net.netfilter.KEY=VALUE",
        "/usr/sbin/sysctl -q net/netfilter/KEY=VALUE",
        "/bin/sh -c 'echo VALUE > /proc/sys/net/netfilter/KEY'",
        "/bin/sh -ec '[ -e /nothing ]; sysctl -w net.netfilter.KEY=VALUE'",
        "/bin/sh -c '[ -e /nothing ] && sysctl -w net.netfilter.KEY=VALUE'",
        "/bin/sh -c '[ -e /nothing ] || exit 0; sysctl -w net.netfilter.KEY=VALUE'",
        "/bin/sh -c 'if [ -e /proc ]; then exit; fi; echo VALUE >/proc/sys/net/netfilter/KEY'",
        "/bin/sh -c 'exec sysctl -w net.netfilter.KEY=VALUE; sysctl -w net.netfilter.KEY=9'",
        "/bin/sh -c 'x=VALUE; [ $x = 77 ] || echo $x | tee /proc/sys/net/netfilter/KEY'",
        "/bin/sh -c \"sysctl -w net.netfilter.KEY=VALUE; exit 0; sysctl -w net.netfilter.KEY=9\"",
        "/bin/sh -c 'for x in 9 VALUE; do sysctl -w net.netfilter.KEY=$x; done'",
        "/bin/sh -c 'for x in nf_conntrack_tcp_loose KEY; do [ -e /nothing ] || sysctl -w net.netfilter.$x=VALUE; done'",
        "/bin/sh -c 'for f in /etc/sysctl.d/*.conf; do sysctl -p $f; done'",
        "/sbin/sysctl -p /etc/sysctl.d/*.conf",
        "/bin/sh -c 'cat /etc/sysctl.d/50-b.conf | sysctl -p -'",
        "/bin/sh -c 'sysctl -p - < /etc/sysctl.d/99-c.conf'",
        "/bin/sh -c '. /etc/sysctl.d/no-such; sysctl -w net.netfilter.KEY=VALUE'",
        "/bin/sh -c 'x=5; echo VALUE | while read x; do :; done; sysctl -w net.netfilter.KEY=$x'",
        "/bin/sh -c 'printf VALUE > /proc/sys/net/netfilter/KEY'",
        "/bin/sh -c 'echo -n VALUE | cat > /proc/sys/net/netfilter/KEY'",
        "/bin/sh -c 'echo VALUE &> /proc/sys/net/netfilter/KEY'",
        "/bin/sh -c 'echo -e VALUE > /proc/sys/net/netfilter/KEY'",
        "/bin/echo -n VALUE > /proc/sys/net/netfilter/KEY",
        "/bin/sh -c 'set -n; sysctl -w net.netfilter.KEY=VALUE'",
        "/bin/true",
        "/bin/false",
    ]
}

fn unit() -> impl Strategy<Value = Vec<(String, String)>> {
    let keys = vec![
        "ExecStart",
        "ExecStart",
        "ExecStart",
        "ExecStartPre",
        "ExecStartPost",
        "ExecStop",
    ];
    let start = (select(keys), filled(commands()));
    let more = (
        any::<bool>(),
        filled(vec!["/sbin/sysctl -w net.netfilter.KEY=VALUE"]),
    );
    let kinds = vec![
        "Type=oneshot\n",
        "Type=oneshot\n",
        "Type=oneshot\nRemainAfterExit=yes\n",
        "Type=forking\n",
        "",
    ];
    let folders = vec![
        "etc/systemd/system/multi-user.target.wants",
        "etc/systemd/system/sysinit.target.wants",
        "etc/systemd/system/network.target.requires",
        "etc/systemd/system/shutdown.target.wants",
        "etc/systemd/system",
    ];
    let often = prop::bool::weighted;
    let commands = (
        prop::collection::vec(start, 1..4),
        prop::option::weighted(0.3, more),
        select(kinds),
    );
    let marks = (often(0.3), often(0.15), often(0.1));
    let places = (select(folders), select(vec!["etc", "run"]));
    (commands, marks, places).prop_map(|(commands, marks, (wants, place))| {
        let (starts, more, kind) = commands;
        let (ignores_failures, has_condition, is_masked) = marks;
        Unit {
            starts,
            more,
            kind,
            ignores_failures,
            has_condition,
            is_masked,
            wants,
            place,
        }
        .files()
    })
}

fn rules() -> impl Strategy<Value = String> {
    let module = "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", ";
    let runs = [
        "RUN+=\"/lib/systemd/systemd-sysctl --prefix=/net/netfilter\"",
        "RUN+=\"/lib/systemd/systemd-sysctl --prefix=/net/netfilter/KEY\"",
        "RUN+=\"/sbin/sysctl -w net.netfilter.KEY=VALUE\"",
        "RUN+=\"/bin/sh -c 'echo VALUE > /proc/sys/net/netfilter/KEY'\"",
    ];
    let mut texts: Vec<&'static str> = Vec::new();
    for run in runs {
        for matches in [
            module,
            "SUBSYSTEM==\"module\", KERNEL==\"nf_*\", ",
            "ACTION==\"add|change\", DEVPATH==\"/module/nf_conntrack\", ",
            "ACTION==\"remove\", KERNEL==\"nf_conntrack\", ",
            "SUBSYSTEM==\"net\", ",
            "KERNEL==\"nf_conntrack_ftp\", ",
            "KERNEL==\"nf_conntrack\", ENV{never}==\"1\", ",
            "KERNEL==\"nf_conntrack\", ENV{set}==\"1\", ",
        ] {
            texts.push(format!("{matches}{run}").leak());
        }
    }
    texts.extend([
        "ACTION!=\"add\", GOTO=\"end\"",
        "SUBSYSTEM==\"module\", GOTO=\"end\"",
        "LABEL=\"end\"",
        "KERNEL==\"nf_conntrack\", ENV{set}=\"1\"",
        "KERNEL==\"nf_conntrack\", RUN=\"/bin/true\"",
        "# nothing",
    ]);
    lines(texts, 4)
}

fn modules() -> impl Strategy<Value = Vec<(String, String)>> {
    let load = vec![
        "nf_conntrack",
        "nf_nat",
        "ip_conntrack",
        "nf-conntrack",
        "veth",
        "# nf_conntrack",
        ";nf_nat",
    ];
    let probe = vec![
        "options nf_conntrack hashsize=16384",
        "options nf-conntrack hashsize=4096 acct=1",
        "options ip_conntrack hashsize=512",
        "options nf_conntrack hashsiz=7",
        "blacklist nf_conntrack",
        "blacklist nf_nat",
        "install nf_conntrack /bin/true",
        "install nf_conntrack /sbin/modprobe --ignore-install nf_conntrack",
        "install nf_nat /bin/false",
        "alias nf_conntrack off",
        "alias net-pf-99 nf_conntrack",
        "# options nf_conntrack hashsize=1",
        "options nf_conntrack \\\n  hashsize=8192",
        "softdep veth pre: nf_conntrack",
        "softdep veth post: nf_nat",
        "softdep nf_conntrack pre: veth",
        "softdep nf_nat post: veth",
    ];
    let names = vec!["a.conf", "b.conf", "c.conf", "d.disabled"];
    let probes = (select(names), lines(probe, 3));
    let placed = |(name, text): (&str, String)| (format!("etc/modprobe.d/{name}"), text);
    let loaded = |text| ("etc/modules-load.d/m.conf".to_owned(), text);
    (
        prop::collection::vec(probes.prop_map(placed), 0..3),
        lines(load, 4).prop_map(loaded),
    )
        .prop_map(|(mut files, load)| {
            files.push(load);
            files
        })
}

fn case() -> impl Strategy<Value = Case> {
    let rules = prop::option::weighted(0.5, rules());
    let units = prop::option::weighted(0.5, unit());
    (any::<bool>(), sysctl_d(), units, rules, modules()).prop_map(
        |(is_module, mut files, units, rules, modules)| {
            files.extend(units.into_iter().flatten());
            files.extend(rules.map(|text| ("etc/udev/rules.d/90-x.rules".to_owned(), text)));
            files.extend(modules);
            Case { is_module, files }
        },
    )
}

/// Lays a case out as the image of a machine.
fn lay(case: &Case, number: usize, root: &Path) {
    let folders = [
        "sysctl.d",
        "systemd/system",
        "udev/rules.d",
        "modprobe.d",
        "modules-load.d",
    ];
    for folder in folders {
        fs::create_dir_all(root.join("etc").join(folder)).unwrap();
    }
    for folder in ["run/systemd/system", "usr/lib/systemd", "lib/modules/6.1.0"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("usr/lib/systemd/systemd-sysctl"), "").unwrap();
    let (list, text) = if case.is_module {
        fs::write(root.join("module"), "").unwrap();
        (
            "modules.dep",
            "kernel/nf_nat.ko: kernel/nf_conntrack.ko\nkernel/nf_conntrack.ko:\n",
        )
    } else {
        ("modules.builtin", "kernel/net/netfilter/nf_conntrack.ko\n")
    };
    fs::write(root.join("lib/modules/6.1.0").join(list), text).unwrap();
    for (path, text) in &case.files {
        let at = |text: &str| text.replace("CASE", &number.to_string());
        let path = root.join(at(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Of one name the first stays.
        if path.symlink_metadata().is_ok() {
            continue;
        }
        if text.starts_with('/') && !text.contains('\n') {
            symlink(at(text), path).unwrap();
        } else {
            fs::write(path, text).unwrap();
        }
    }
}

/// The shell that asks: arguments are the work directory, the number of cases and the keys.
const JUDGE: &str = r#"
set -eu
work=$1 cases=$2; shift 2
keys=$*
mkdir -p "$work/real" "$work/bin" "$work/modules/lib/modules/6.1.0/kernel"
# Modules that depmod understands: names, an alias, and one that needs a symbol of the other.
tree=$work/modules/lib/modules/6.1.0
module() { printf "$2" | cc -c -x assembler -o "$tree/kernel/$1.ko" -; }
module nf_conntrack '.section .modinfo,"a"\n.asciz "alias=ip_conntrack"\n.data\n.globl __ksymtab_ct\n__ksymtab_ct: .long 1\n.section __ksymtab_strings,"a"\n.asciz "ct"\n'
module nf_nat '.data\n.quad ct\n'
module nft_ct '.data\n.quad ct\n'
module veth '.data\n.quad 1\n'
touch "$tree/modules.order" "$tree/modules.builtin" "$tree/modules.builtin.modinfo"
depmod -b "$work/modules" 6.1.0
grep -q nf_nat.ko:.*nf_conntrack.ko "$tree/modules.dep"
printf '#!/bin/sh\nexec /sbin/modprobe -n -v -d %s -S 6.1.0 "$@"\n' "$work/modules" >"$work/bin/modprobe"
chmod 755 "$work/bin/modprobe"
mount --bind /proc/sys/net/netfilter "$work/real"
mount -t tmpfs tmpfs /proc/sys
mkdir -p /proc/sys/net/netfilter
mount --bind "$work/real" /proc/sys/net/netfilter
netfilter=/proc/sys/net/netfilter
for folder in /run /usr/lib/sysctl.d /usr/lib/udev/rules.d /usr/lib/modprobe.d; do
    [ ! -d $folder ] || mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p /run/systemd/system /run/upper /run/etc
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/etc /etc
rm -rf /etc/systemd /etc/udev
mkdir -p /etc/systemd/system /etc/udev
for folder in sysctl.d udev/rules.d modprobe.d modules-load.d; do
    rm -rf /etc/$folder
    ln -s "$work/now/etc/$folder" /etc/$folder
done
defaults=$(cd $netfilter; grep -H '' $keys | tr : ' ')
reset() { set -- $defaults; while [ $# -gt 0 ]; do echo "$2" >$netfilter/$1; shift 2; done; }

# Which commands systemd would start at boot, a line each: the unit, a tab, the command.
read_units() {
    rm -rf /etc/systemd/system/* /run/systemd/system/*
    n=$1
    while [ $n -lt $cases ] && [ $n -lt $(($1 + 200)) ]; do
        cp -a "$work/$n/etc/systemd/system/." /etc/systemd/system/
        cp -a "$work/$n/run/systemd/system/." /run/systemd/system/
        n=$((n + 1))
    done
    setpriv --reuid=65534 --regid=65534 --clear-groups /lib/systemd/systemd --test --system \
        --unit=multi-user.target </dev/null >/run/dump 2>&1 || { tail -5 /run/dump >&2; exit 1; }
    sed -n 's/^\t*Action: \(u[0-9].*\) -> start$/\1/p' /run/dump >/run/started
    awk 'FNR == NR { starts[$1] = 1; next }
        $1 == "->" && $2 == "Unit" { unit = $3; sub(/:$/, "", unit); next }
        $1 == "->" { kind = $2; next }
        $1 == "Command" && starts[unit] && kind !~ /Stop|Reload/ { sub(/^\t*Command Line: /, ""); print unit "\t" $0 }
    ' /run/started /run/dump >/run/commands
}
# What a list of commands of modprobe's comes to: what `install` lines run is asked in their place.
follow() {
    while read -r word rest; do
        case $word in
        insmod) echo "insmod $rest" ;;
        install)
            echo "$rest" | sed 's#/sbin/modprobe#modprobe#g' >/run/install
            PATH=$work/bin:$PATH sh /run/install 2>/dev/null </dev/null | follow
            ;;
        esac
    done
}
# Whether modprobe would load conntrack, asked like that; its options for the module go to a file.
loads() {
    "$work/bin/modprobe" "$@" 2>/dev/null >/run/said || return 1
    follow </run/said >/run/done
    grep '^insmod .*/nf_conntrack.ko' /run/done >/run/insmod
}
udev() {
    [ -e "$at/etc/udev/rules.d/90-x.rules" ] || return 0
    udevadm test -a add /sys/module/nf_conntrack 2>/dev/null |
        sed -n "s/^run: '\(.*\)'\$/\1/p" >/run/runs
    while read -r line; do sh -c "$line" >/dev/null 2>&1 </dev/null || :; done </run/runs
}
units() {
    failed=
    grep "^u$case-" /run/commands >/run/mine || return 0
    while IFS='	' read -r unit line; do
        case $unit in *-c*) [ $((case % 3)) = 0 ] || continue ;; esac
        [ "$failed" != "$unit" ] || continue
        sh -c "$line" >/dev/null 2>&1 </dev/null || case $unit in *-i*) ;; *) failed=$unit ;; esac
    done </run/mine
}
case=0
while [ $case -lt $cases ]; do
    [ $((case % 200)) != 0 ] || read_units $case
    at=$work/$case
    ln -sfn "$at" "$work/now"
    reset
    early=yes never=
    if [ -e "$at/module" ]; then
        early=
        for name in $(sed '/^[#;]/d' /etc/modules-load.d/*.conf); do
            [ -n "$early" ] || ! loads -b "$name" || early=yes
        done
        # Later a firewall needs it.
        [ -n "$early" ] || loads nft_ct || never=yes
    fi
    echo "ran $case"
    if [ -n "$early" ]; then
        [ $((case % 2)) = 0 ] || udev
        /lib/systemd/systemd-sysctl >/dev/null 2>&1 || :
        units
        [ $((case % 2)) = 1 ] || udev
    elif [ -z "$never" ]; then
        udev
        [ $((case % 2)) = 0 ] || units
    fi
    if [ -z "$never" ]; then
        (cd $netfilter; grep -H -m1 '' $keys)
        [ ! -e "$at/module" ] || sed -n 's/.*hashsize=\([0-9]*\).*/nf_conntrack_buckets:\1/p' /run/insmod
    fi
    case=$((case + 1))
done
echo done
"#;

fn number_from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
    )
}

/// What the kernel held after each case; nothing where conntrack would never be loaded.
fn ask(work: &Path, cases: usize) -> Vec<BTreeMap<String, Option<i64>>> {
    let output = Command::new("unshare")
        .args([
            "-mn",
            "--propagation",
            "private",
            "bash",
            "-c",
            JUDGE,
            "judge",
        ])
        .arg(work)
        .arg(cases.to_string())
        .args(KEYS)
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("this test needs unshare of util-linux");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        report.ends_with("done\n"),
        "the judge stopped early ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let mut held: Vec<BTreeMap<String, Option<i64>>> = Vec::new();
    for line in report.lines() {
        if line.starts_with("ran ") {
            held.push(BTreeMap::new());
        } else if let Some((key, text)) = line.split_once(':') {
            let number = as_the_kernel_holds_it(key, text);
            held.last_mut().unwrap().insert(key.to_owned(), number);
        }
    }
    held
}

#[test]
fn no_value_is_called_known_that_a_real_boot_does_not_leave() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number_from_env("CTTUNE_SEED").unwrap_or(now.subsec_nanos().into());
    let trees = usize::try_from(number_from_env("CTTUNE_TREES").unwrap_or(200)).unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases: Vec<Case> = (0..trees)
        .map(|_| case().new_tree(&mut runner).unwrap().current())
        .collect();
    for (number, case) in cases.iter().enumerate() {
        lay(case, number, &work.path().join(number.to_string()));
    }
    let held = ask(work.path(), trees);
    assert_eq!(held.len(), trees);
    let (mut known, mut wrong) = (0, Vec::new());
    for (number, (case, held)) in cases.iter().zip(&held).enumerate() {
        for (key, value, is_known) in next_boot(&work.path().join(number.to_string())).unwrap() {
            let is_asked = KEYS.contains(&key) || key == "nf_conntrack_buckets";
            let Some(value) = value.filter(|_| is_known && is_asked) else {
                continue;
            };
            known += 1;
            let now = held.get(key).copied().flatten();
            if now != Some(value) {
                wrong.push(format!(
                    "{number}: {key} is {now:?}, not the known {value}: {case:#?}"
                ));
            }
        }
    }
    assert!(
        known > trees / 6,
        "cttune knows next to nothing: {known} values"
    );
    assert!(
        wrong.is_empty(),
        "CTTUNE_SEED={seed}: {} known values are wrong; the first: {}",
        wrong.len(),
        wrong[..wrong.len().min(3)].join("\n")
    );
}
