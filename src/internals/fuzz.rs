//! What fuzz targets give bytes to: each reads one kind of foreign text or kernel message, and
//! asks where two ways must give the same.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{FlowData, SysctlTree};
use crate::assess::kernel_log::{KernelLog, parse_journal, parse_kmsg, parse_syslog};
use crate::boot::command_line::CommandLine;
use crate::boot::modules::{ConfFile, ModuleFiles};
use crate::boot::writers::{Facts, File, Found, Process, Writers};
use crate::boot::{BootFiles, NextBoot, SourceLine};
use crate::conntrack::{Flow, Messages};
use crate::diagnostic::plain;
use crate::flow::{Field, NatRules, Terms};
use crate::kernel::ctnetlink;
use crate::profile::{self, Source};
use crate::render;
use crate::tunable::{Counters, Key};

/// What two ways must have in common.
fn must(is_so: bool) {
    assert!(is_so, "two ways differ");
}

/// Messages of a dump.
pub fn netlink(bytes: &[u8]) {
    for message in Messages(bytes).flatten() {
        if let Ok(flow) = Flow::parse(message.body) {
            black_box(FlowData::from(&flow));
        }
    }
}

/// Messages about timeout policies and about the rules that attach them.
pub fn rules(bytes: &[u8]) {
    for message in Messages(bytes).flatten() {
        black_box(ctnetlink::policies_in(message.body));
        black_box(ctnetlink::table_parts_in(message.body));
    }
}

/// A profile, the report of its mistakes, and the profile that `apply` would write.
pub fn profile(text: &str) {
    match profile::parse(&Source::new("fuzz.toml", text)) {
        Ok(_) => {
            let (values, _) = profile::active::set_beside(text);
            let active = profile::active::render("fuzz", &values, Some(text));
            let (again, _) = profile::active::set_beside(&active);
            must(
                values
                    .iter()
                    .all(|set| again.get_key_value(set.0) == Some(set)),
            );
        }
        Err(mistakes) => drop(black_box(render::mistakes::mistakes(&mistakes, true))),
    }
}

/// A file of sysctl.d, as both readers see it: `check --explain` names the line that wins.
pub fn sysctl(bytes: &[u8]) {
    let path = Path::new("/etc/sysctl.d/50-fuzz.conf");
    let tree = SysctlTree::empty().with_file(path, Some(bytes.to_vec()));
    for reader in ["procps", "systemd"] {
        let winners = tree.winners(reader);
        for (key, winner) in winners.iter().take(1) {
            let explained = tree.explained_winners(reader, key);
            must(explained.contains(&(winner.file.clone(), winner.line)));
        }
    }
}

/// What loads the module and with which options: modules-load.d, modprobe.d, the rules of udev, a
/// kernel command line, each with the same text.
pub fn boot(text: &str) {
    let file = |path: &str| {
        vec![ConfFile {
            path: PathBuf::from(path),
            bytes: Some(text.as_bytes().to_vec()),
        }]
    };
    let from = SourceLine {
        file: PathBuf::from("/proc/cmdline"),
        line: 1,
    };
    let command_line = CommandLine::new(text, from);
    let next_boot = NextBoot::new(BootFiles {
        module: Some(ModuleFiles {
            modules_load: file("/etc/modules-load.d/fuzz.conf"),
            modprobe: file("/etc/modprobe.d/fuzz.conf"),
            command_line: command_line.clone(),
            ..ModuleFiles::default()
        }),
        command_line,
        strays: file("/etc/sysctl.d/fuzz"),
        ..BootFiles::default()
    });
    for key in Key::ALL {
        black_box(next_boot.answer(*key));
    }
    black_box(next_boot.dead_lines());
}

/// Files of other programs that write sysctls. The first byte says which file has the rest.
const WRITERS: [&str; 14] = [
    "/etc/rc.local",
    "/etc/cron.d/fuzz",
    "/etc/crontab",
    "/etc/network/interfaces",
    "/etc/systemd/system/multi-user.target.wants/fuzz.service",
    "/etc/udev/rules.d/fuzz.rules",
    "/etc/ufw/sysctl.conf",
    "/etc/default/ufw",
    "/etc/tuned/active_profile",
    "/etc/tuned/fuzz/tuned.conf",
    "/etc/firewalld/firewalld.conf",
    "/etc/conntrackd/conntrackd.conf",
    "/var/lib/kube-proxy/config.conf",
    "/etc/rancher/k3s/config.yaml",
];

/// A script, unit, table of cron or configuration of a program that writes sysctls.
pub fn writers(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let own = Path::new(WRITERS[usize::from(*first) % WRITERS.len()]);
    let text = String::from_utf8_lossy(rest).into_owned();
    let proxy = Process {
        name: "kube-proxy",
        pid: 7,
        arguments: text.split('\0').map(str::to_owned).collect(),
        unit: None,
    };
    let facts = Facts::new(vec![proxy], 2, |path| {
        let path = path.strip_prefix("/proc/7/root").unwrap_or(path);
        let path = Path::new("/").join(path);
        if path == own {
            return Found::File(File {
                text: text.clone(),
                is_executable: true,
            });
        }
        match own
            .strip_prefix(&path)
            .ok()
            .and_then(|rest| rest.iter().next())
        {
            Some(name) => Found::Folder(vec![name.to_string_lossy().into_owned()]),
            None if path == Path::new("/etc/tuned/active_profile") => Found::File(File {
                text: "fuzz".to_owned(),
                is_executable: false,
            }),
            None => Found::Nothing,
        }
    });
    black_box(Writers::of(&facts));
}

/// What `nft -j list ruleset` and iptables-save print.
pub fn nft(text: &str) {
    let mut rules = NatRules::default();
    rules.add_nft(text);
    rules.add_iptables(text, "iptables");
    black_box(rules);
}

/// Records of /dev/kmsg, of journalctl, and lines of a kern.log.
pub fn kernel_log(text: &str) {
    let mut log = KernelLog::default();
    for line in text.lines() {
        if let Some((_, _, message)) = parse_kmsg(line) {
            log.add(message, Timestamp::UNIX_EPOCH);
        }
        if let Some((time, message)) = parse_journal(line) {
            log.add(&message, time);
        }
        if let Some((_, message)) = parse_syslog(line) {
            log.add(message, Timestamp::UNIX_EPOCH);
        }
    }
    black_box(log.unnamed());
}

/// The text of /proc/net/stat/nf_conntrack.
pub fn counters(text: &str) {
    black_box(Counters::parse(text));
}

/// A record of the journal, and the same bytes as the state of a change.
pub fn journal(bytes: &[u8]) {
    black_box(crate::change::can_be_read(bytes));
}

/// Terms of `--match`, which print as they are typed, and fields of `--by`.
pub fn terms(text: &str) {
    if let Ok(terms) = Terms::parse(text) {
        let again = Terms::parse(&terms.to_string());
        must(again.is_ok_and(|again| again == terms));
    }
    let _ = black_box(Field::parse_list(text));
}

/// The writer's escapes: what a terminal would obey is gone, and JSON says the same as before.
pub fn escapes(text: &str) {
    let (terminal, monitor) = (plain::for_terminal(text), plain::for_monitor(text));
    must(plain::for_monitor(&terminal) == monitor);
    must(!monitor.contains(['\u{1b}', '\r', '\u{202e}']));
    let json = serde_json::Value::from(text);
    let safe = plain::for_json(&json.to_string()).into_owned();
    must(serde_json::from_str::<serde_json::Value>(&safe).is_ok_and(|again| again == json));
}
