//! Lines that are meant for conntrack and do nothing at the next boot.
//!
//! In: sysctl.d, the files beside it that no reader reads, modprobe.d, the kernel command line. Out:
//! a [`DeadLine`] for each, with the reason and what to write instead.
//! Rule: a number is offered only if it is the one that was meant.

use std::path::{Path, PathBuf};

use super::command_line::CommandLine;
use super::effective::Targets;
use super::meant::{meant_key, meant_value};
use super::modules::{self, ConfFile, MODULE, ModuleFiles};
use super::pattern::SysctlFile;
use super::statement::{self, Statement};
use super::tree::{Content, Tree};
use super::{Reader, SourceLine};
use crate::diagnostic::plain::Shown;
use crate::tunable::{self, Key, nearest_name};

/// The parameters of the module, in 5.10 to 6.18.
const PARAMETERS: [&str; 6] = [
    "acct",
    "enable_hooks",
    "expect_hashsize",
    "hashsize",
    "nf_conntrack_helper",
    "tstamp",
];
/// Names of files that somebody put aside.
const PUT_ASIDE: [&str; 14] = [
    "~",
    ".bak",
    ".backup",
    ".disabled",
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-old",
    ".off",
    ".old",
    ".orig",
    ".rpmnew",
    ".rpmsave",
    ".save",
    ".swp",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLine {
    pub(crate) place: SourceLine,
    pub(crate) text: String,
    pub(crate) why: String,
    /// What to write instead, where that can be told.
    pub(crate) instead: Option<String>,
}

/// So many dead lines of one file are named, each with what to write instead.
const MOST_OF_A_FILE: usize = 20;

/// Those of sysctl.d, as the readers of this machine understand it.
pub(super) fn in_sysctl_d(tree: &Tree, readers: &[Reader]) -> Vec<DeadLine> {
    let mut found = Vec::new();
    for source in tree.sources(Reader::Procps) {
        let Content::File { bytes, .. } = source.content else {
            continue;
        };
        // A line that is only hidden or overridden is explained by --explain.
        if source.shadowed_by.is_some() || !mentions(bytes) {
            continue;
        }
        found.extend(in_text(&source.path, bytes, readers));
    }
    found
}

/// The first such line of each file that no reader reads for its name.
pub(super) fn in_strays(strays: &[ConfFile]) -> Vec<DeadLine> {
    let dead = |file: &ConfFile| {
        let bytes = file.bytes.as_deref()?;
        let name = file.path.file_name()?.to_str()?;
        let is_put_aside = PUT_ASIDE.iter().any(|ending| name.ends_with(ending))
            || name.starts_with('.')
            || name.starts_with("README");
        if is_put_aside || !mentions(bytes) {
            return None;
        }
        let is_modprobe = file
            .path
            .parent()
            .is_some_and(|folder| folder.ends_with("modprobe.d"));
        let (line, text) = if is_modprobe {
            let mut lines = modules::lines(file).into_iter();
            let (place, text) = lines.find(|(_, text)| is_options(text))?;
            (place.line, text)
        } else {
            let mut statements = statement::parse(Reader::Procps, bytes).into_iter();
            let mut targets = Targets::new(Reader::Procps);
            let is_set = |one: &Statement| {
                let targets = targets.of(&one.path).unwrap_or_default();
                one.value.is_some() && !targets.is_empty()
            };
            let statement = statements.find(is_set)?;
            (statement.line, line_of(bytes, statement.line))
        };
        let mut renamed = file.path.clone().into_os_string();
        renamed.push(".conf");
        Some(DeadLine {
            place: SourceLine {
                file: file.path.clone(),
                line,
            },
            text,
            why: "nothing reads this file, because its name does not end in .conf".to_owned(),
            instead: Some(format!("rename it to {}", PathBuf::from(renamed).shown())),
        })
    };
    strays.iter().filter_map(dead).collect()
}

/// `options` lines of modprobe.d with parameters that the module does not have.
/// Those for an alias count where the module is loaded by that name.
pub(super) fn in_modprobe_d(module_files: &ModuleFiles) -> Vec<DeadLine> {
    let mut found = Vec::new();
    let alias = module_files.alias();
    for file in modules::in_reading_order(&module_files.modprobe) {
        for (place, text) in modules::lines(file) {
            let mut words = text.split_ascii_whitespace();
            let command = words.next().unwrap_or_default();
            if command != "options" {
                found.extend(
                    unknown_command(command, &text).map(|(why, instead)| DeadLine {
                        place,
                        text: text.clone(),
                        why,
                        instead,
                    }),
                );
                continue;
            }
            let Some(module) = words.next() else {
                continue;
            };
            let plain = module.replace('-', "_");
            let why = if plain == MODULE || alias.as_ref() == Some(&plain) {
                words.find_map(|word| {
                    let (name, value) = word.split_once('=').unwrap_or((word, ""));
                    parameter(name, value)
                })
            } else if modules::is_conntrack(module) {
                let rest: Vec<&str> = words.collect();
                let why = format!("nothing loads the module by the name {module}");
                Some((why, Some(format!("options {MODULE} {}", rest.join(" ")))))
            } else {
                misspelt_module(module).filter(|_| words.any(|word| word.starts_with("hashsize=")))
            };
            found.extend(why.map(|(why, instead)| DeadLine {
                place,
                text,
                why,
                instead,
            }));
        }
    }
    found
}

/// A line about conntrack that modprobe does not know: `option nf_conntrack hashsize=5`.
fn unknown_command(command: &str, text: &str) -> Option<(String, Option<String>)> {
    // Those of modprobe.d(5).
    const KNOWN: [&str; 8] = [
        "alias",
        "blacklist",
        "config",
        "include",
        "install",
        "remove",
        "softdep",
        "weakdep",
    ];
    let is_known = command.starts_with('#') || KNOWN.contains(&command);
    let mut words = text.split_ascii_whitespace();
    let is_about = words.any(|word| word.replace('-', "_") == MODULE);
    let sizes: Vec<&str> = words.filter(|word| word.contains('=')).collect();
    (!is_known && is_about).then(|| {
        let instead = format!("options {MODULE} {}", sizes.join(" "));
        (
            format!("modprobe knows no command `{command}`"),
            (!sizes.is_empty()).then_some(instead),
        )
    })
}

/// Lines of modules-load.d with more than a name: systemd takes all of it for the name.
pub(super) fn in_modules_load(module_files: &ModuleFiles) -> Vec<DeadLine> {
    let files = modules::in_reading_order(&module_files.modules_load);
    let lines = files.into_iter().flat_map(modules::lines);
    let dead = lines.filter_map(|(place, text)| {
        let (name, rest) = text.trim().split_once([' ', '\t'])?;
        let is_name = modules::is_conntrack(name) && place.file != Path::new(modules::LIST);
        is_name.then(|| DeadLine {
            place,
            why: "modules-load.d takes names alone, a line each".to_owned(),
            instead: rest
                .contains('=')
                .then(|| format!("options {MODULE} {} in modprobe.d", rest.trim())),
            text: text.clone(),
        })
    });
    dead.collect()
}

/// Options for a module that is built into the kernel.
pub(super) fn without_module(files: &[ConfFile]) -> Vec<DeadLine> {
    let mut found = Vec::new();
    for file in modules::in_reading_order(files) {
        let options = modules::lines(file).into_iter();
        for (place, text) in options.filter(|(_, text)| is_options(text)) {
            let words: Vec<String> = text
                .split_ascii_whitespace()
                .skip(2)
                .filter(|word| PARAMETERS.contains(&word.split('=').next().unwrap_or_default()))
                .map(|word| format!("nf_conntrack.{word}"))
                .collect();
            let command_line = format!("{} on the kernel command line", words.join(" "));
            found.push(DeadLine {
                place,
                text,
                why: "conntrack is built into the kernel, which modprobe.d does not reach"
                    .to_owned(),
                instead: (!words.is_empty()).then_some(command_line),
            });
        }
    }
    found
}

/// Those of the kernel command line. The kernel sets `sysctl.…=` before init runs, when a module is
/// not loaded yet.
pub(super) fn in_command_line(line: &CommandLine, is_module: bool) -> Vec<DeadLine> {
    let Some(place) = line.from() else {
        return Vec::new();
    };
    let dead = |text: String, (why, instead): (String, Option<String>)| DeadLine {
        place: place.clone(),
        text,
        why,
        instead,
    };
    let mut found = Vec::new();
    for (name, key, value) in line.sysctls() {
        let text = format!("sysctl.{name}={value}");
        match key {
            Some(key) if is_module => {
                let instead = tunable::kernel_number(key, value)
                    .map(|number| format!("{key} = {number} in sysctl.d"));
                let why = "the kernel sets it before nf_conntrack is loaded, when the key does not exist yet";
                found.push(dead(text, (why.to_owned(), instead)));
            }
            Some(key) => found.extend(refused(key, value).map(|reason| dead(text, reason))),
            None if is_about(name) => {
                let (why, instead) = unknown_key(name, value);
                found.push(dead(
                    text,
                    (
                        why,
                        instead.map(|line| format!("sysctl.{}", line.replace(" = ", "="))),
                    ),
                ));
            }
            None => {}
        }
    }
    let options = line.options().filter_map(|(name, value)| {
        let text = format!("nf_conntrack.{name}={value}");
        parameter(name, value).map(|reason| dead(text, reason))
    });
    found.extend(options);
    for word in line.strays() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let instead = unknown_key(name, value).1;
        let why = "nothing reads it from the kernel command line".to_owned();
        found.push(dead(
            word.to_owned(),
            (why, instead.map(|line| format!("{line} in sysctl.d"))),
        ));
    }
    found
}

fn mentions(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    ["conntrack", "contrack", "netfilter", "flowtable"]
        .iter()
        .any(|word| text.contains(word))
}

/// Whether a key, known or not, is meant for conntrack.
fn is_about(name: &str) -> bool {
    let name = name.replace('/', ".").to_lowercase();
    let other = ["nf_log", "nf_hooks"].iter().any(|one| name.contains(one));
    let own = ["conntrack", "contrack", "nf_flowtable", "net.netfilter."];
    !other && own.iter().any(|one| name.contains(one))
}

fn line_of(bytes: &[u8], line: usize) -> String {
    let lines = bytes.split(|byte| *byte == b'\n');
    let text = lines.into_iter().nth(line - 1).unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

fn in_text(path: &Path, bytes: &[u8], readers: &[Reader]) -> Vec<DeadLine> {
    let mut targets: Vec<Targets> = readers.iter().copied().map(Targets::new).collect();
    let mut does_something = |line: &[u8]| {
        targets.iter_mut().any(|targets| {
            let mut statements = statement::parse(targets.reader(), line).into_iter();
            statements.any(|one| does_something(targets.of(&one.path), &one))
        })
    };
    let mut found = Vec::new();
    for (bytes, line) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_matches([' ', '\t', '\r', '\u{feff}']);
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value.trim())));
        let name = name.trim().trim_start_matches(['-', ' ']);
        if !is_about(name) || does_something(bytes) {
            continue;
        }
        let is_last = found.len() == MOST_OF_A_FILE;
        let (why, instead) = if is_last {
            (
                "it means nothing, as the 20 before it; those behind it were not looked at"
                    .to_owned(),
                None,
            )
        } else {
            reason(name, value)
        };
        found.push(DeadLine {
            place: SourceLine {
                file: path.to_owned(),
                line,
            },
            text: text.to_owned(),
            why,
            instead,
        });
        if is_last {
            break;
        }
    }
    found
}

fn does_something(targets: Option<&[SysctlFile]>, statement: &Statement) -> bool {
    let Some(targets) = targets else {
        return true;
    };
    let Some(value) = &statement.value else {
        return !targets.is_empty();
    };
    targets
        .iter()
        .any(|target| tunable::kernel_number(target.key, value).is_some())
}

/// Why a line does nothing, and what to write instead.
fn reason(name: &str, value: Option<&str>) -> (String, Option<String>) {
    let Some(value) = value else {
        let parts = name.split_once([' ', '\t', ':']);
        let instead = parts.and_then(|(name, value)| {
            let key = meant_key(name)?;
            Some(format!("{key} = {}", meant_value(key, value.trim())?))
        });
        return ("it has no `=`".to_owned(), instead);
    };
    match Key::find(name) {
        Ok(key) if name.contains(['.', '/']) => refused(key, value).unwrap_or_else(|| {
            let instead = meant_value(key, value).map(|number| format!("{key} = {number}"));
            (
                "no reader takes it for a line about this key".to_owned(),
                instead,
            )
        }),
        _ => unknown_key(name, value),
    }
}

/// Why the kernel does not take a value; none where it does.
fn refused(key: Key, value: &str) -> Option<(String, Option<String>)> {
    if tunable::kernel_number(key, value).is_some() {
        return None;
    }
    let instead = meant_value(key, value).map(|number| format!("{key} = {number}"));
    let why = if value.is_empty() {
        "it has no value".to_owned()
    } else {
        format!("the kernel refuses the value {value}")
    };
    Some((why, instead))
}

fn unknown_key(name: &str, value: &str) -> (String, Option<String>) {
    if name.ends_with("nf_conntrack_count") {
        return ("nf_conntrack_count can only be read".to_owned(), None);
    }
    let why = format!("no kernel since 3.0 has a key {name}");
    let instead = meant_key(name).map(|key| match meant_value(key, value) {
        Some(number) => format!("{key} = {number}"),
        None => format!("{key}"),
    });
    (why, instead)
}

fn is_options(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    words.next() == Some("options") && words.next().is_some_and(modules::is_conntrack)
}

/// What is wrong with a parameter of the module; none where it counts.
fn parameter(name: &str, value: &str) -> Option<(String, Option<String>)> {
    if name.ends_with("hashsize") && PARAMETERS.contains(&name) {
        let number = tunable::kernel_number(Key::Buckets, value);
        return number.is_none().then(|| {
            let instead = meant_value(Key::Buckets, value).map(|number| format!("{name}={number}"));
            (format!("the module does not take {name}={value}"), instead)
        });
    }
    if PARAMETERS.contains(&name) {
        return None;
    }
    let plain = name
        .replace("nf_conntrack_", "")
        .replace("ip_conntrack_", "");
    let instead =
        meant_key(&format!("nf_conntrack_{plain}")).map(|key| match meant_value(key, value) {
            Some(number) => format!("{key} = {number} in sysctl.d"),
            None => format!("{key} in sysctl.d"),
        });
    Some((format!("nf_conntrack has no parameter {name}"), instead))
}

fn misspelt_module(module: &str) -> Option<(String, Option<String>)> {
    let name = module.replace('-', "_");
    if name.starts_with("nf_conntrack") {
        return None;
    }
    nearest_name(&name, ["nf_conntrack".to_owned()].into_iter()).map(|nearest| {
        (
            format!("no module is called {module}"),
            Some(format!("options {nearest} …")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::tree::tests::tree;

    fn file(path: &str, text: &str) -> ConfFile {
        ConfFile {
            path: path.into(),
            bytes: Some(text.into()),
        }
    }

    /// `why -> instead` of a line in sysctl.d; empty where it does something.
    fn told(line: &str) -> String {
        let tree = tree(&[("/etc/sysctl.d/a.conf", line)]);
        let dead = in_sysctl_d(&tree, &Reader::ALL);
        let shown =
            |one: &DeadLine| format!("{} -> {}", one.why, one.instead.clone().unwrap_or_default());
        dead.iter().map(shown).collect()
    }

    #[test]
    fn values_that_the_kernel_refuses_are_told_with_the_number_that_was_meant() {
        for (key, value, instead) in [
            ("tcp_timeout_established", "\"86400\"", Some(86400)),
            ("tcp_timeout_established", "'7440'", Some(7440)),
            ("tcp_timeout_close_wait", "1h", Some(3600)),
            ("tcp_timeout_close_wait", "2h4m", Some(7440)),
            ("udp_timeout", "6e+01", Some(60)),
            ("udp_timeout", "+60", Some(60)),
            ("udp_timeout", "60.0", Some(60)),
            ("udp_timeout", "60s", Some(60)),
            ("udp_timeout", "60# seconds", Some(60)),
            ("max", "1_048_576", Some(1_048_576)),
            ("max", "1,048,576", Some(1_048_576)),
            ("max", "1e6", Some(1_000_000)),
            ("max", "0900", Some(900)),
            ("max", "1,5", None),
            ("max", "131072,", Some(131_072)),
            ("max", "256k", None),
            ("max", "many", None),
            ("max", "99999999999", None),
            ("acct", "on", Some(1)),
            ("frag6_high_thresh", "4MiB", Some(4 << 20)),
        ] {
            let name = format!("net.netfilter.nf_conntrack_{key}");
            let instead = instead
                .map(|number| format!("{name} = {number}"))
                .unwrap_or_default();
            let expected = format!("the kernel refuses the value {value} -> {instead}");
            assert_eq!(told(&format!("{name} = {value}\n")), expected);
        }
    }

    #[test]
    fn keys_that_no_kernel_has_are_told_with_the_one_that_was_meant() {
        for (name, value, instead) in [
            (
                "net.ipv4.netfilter.ip_conntrack_max",
                "5",
                "nf_conntrack_max = 5",
            ),
            ("net.ipv4.ip_conntrack_max", "5", "nf_conntrack_max = 5"),
            (
                "NET.NETFILTER.NF_CONNTRACK_MAX",
                "5",
                "nf_conntrack_max = 5",
            ),
            (
                "net/ipv4/netfilter/ip_conntrack_udp_timeout",
                "5",
                "nf_conntrack_udp_timeout = 5",
            ),
            (
                "net.ipv4.netfilter.nf_conntrack_max",
                "5",
                "nf_conntrack_max = 5",
            ),
            (
                "net.netfilter.nf_conntrack.max",
                "5",
                "nf_conntrack_max = 5",
            ),
            (
                "net.netfilter.nf_conntrack_hashsize",
                "512",
                "nf_conntrack_buckets = 512",
            ),
            ("net.netfilter.nf_contrack_max", "5", "nf_conntrack_max = 5"),
            (
                "net.netfilter.nf_conntrack_tcp_timeout_establised",
                "1h",
                "nf_conntrack_tcp_timeout_established = 3600",
            ),
            ("nf_conntrack_max", "5", "nf_conntrack_max = 5"),
            (
                "net.nf_conntrack_buckets",
                "512",
                "nf_conntrack_buckets = 512",
            ),
        ] {
            let expected =
                format!("no kernel since 3.0 has a key {name} -> net.netfilter.{instead}");
            assert_eq!(told(&format!("{name}={value}")), expected);
        }
        assert_eq!(
            told("net.netfilter.nf_conntrack_count = 5"),
            "nf_conntrack_count can only be read -> "
        );
        assert_eq!(
            told("net.netfilter.nf_conntrack_max 5"),
            "it has no `=` -> net.netfilter.nf_conntrack_max = 5"
        );
        assert_eq!(
            told("net.netfilter.nf_conntrack_max ="),
            "it has no value -> "
        );
    }

    #[test]
    fn lines_that_do_something_and_lines_of_others_are_not_told() {
        for line in [
            "net.netfilter.nf_conntrack_max = 5",
            "net/netfilter/nf_conntrack_max = 5 # x",
            "-net.netfilter.nf_conntrack_max = 0x10",
            "net.nf_conntrack_max = 5",
            "net.netfilter.nf_conntrack_* = 5",
            "-net.netfilter.nf_conntrack_max",
            "# net.ipv4.netfilter.ip_conntrack_max = 5",
            "net.netfilter.nf_log.2 = nfnetlink_log",
            "net.netfilter.nf_log_all_netns = 1",
            "net.bridge.bridge-nf-call-iptables = 1",
            "kernel.panic = 1h",
        ] {
            assert_eq!(told(line), "", "{line}");
        }
    }

    #[test]
    fn files_that_nothing_reads_are_told_unless_they_were_put_aside() {
        let line = "# x\nnet.netfilter.nf_conntrack_generic_timeout = 120\n";
        let found = in_strays(&[
            file("/etc/sysctl.d/70-generic", line),
            file("/etc/sysctl.d/70-generic.cfg", line),
            file("/etc/sysctl.d/70.conf.bak", line),
            file("/etc/sysctl.d/README", line),
            file(
                "/etc/sysctl.d/x",
                "kernel.panic = 1\n# net.netfilter.nf_conntrack_max = 5\n",
            ),
            file(
                "/etc/modprobe.d/conntrack",
                "options nf_conntrack hashsize=512\n",
            ),
        ]);
        let places: Vec<String> = found.iter().map(|one| one.place.to_string()).collect();
        assert_eq!(
            places,
            [
                "/etc/sysctl.d/70-generic:2",
                "/etc/sysctl.d/70-generic.cfg:2",
                "/etc/modprobe.d/conntrack:1"
            ]
        );
        assert_eq!(
            found[0].instead.as_deref(),
            Some("rename it to /etc/sysctl.d/70-generic.conf")
        );
    }

    #[test]
    fn options_do_nothing_where_conntrack_is_built_in() {
        let text = "options nf_conntrack hashsize=512 max=5\noptions loop max_loop=1\n";
        let dead = without_module(&[file("/etc/modprobe.d/a.conf", text)]);
        assert_eq!(dead.len(), 1);
        let instead = "nf_conntrack.hashsize=512 on the kernel command line";
        assert_eq!(dead[0].instead.as_deref(), Some(instead));
    }

    #[test]
    fn parameters_that_the_module_lacks_are_told() {
        for (options, why) in [
            ("nf_conntrack hashsize=512", None),
            ("nf_conntrack acct=1 tstamp=1", None),
            (
                "nf_conntrack max=512",
                Some(
                    "nf_conntrack has no parameter max -> net.netfilter.nf_conntrack_max = 512 in sysctl.d",
                ),
            ),
            (
                "nf-conntrack nf_conntrack_max=512",
                Some(
                    "nf_conntrack has no parameter nf_conntrack_max -> net.netfilter.nf_conntrack_max = 512 in sysctl.d",
                ),
            ),
            (
                "nf_conntrack hash_size=512",
                Some(
                    "nf_conntrack has no parameter hash_size -> net.netfilter.nf_conntrack_buckets = 512 in sysctl.d",
                ),
            ),
            (
                "nf_conntrack hashsize=1_024",
                Some("the module does not take hashsize=1_024 -> hashsize=1024"),
            ),
            (
                "nf_contrack hashsize=512",
                Some("no module is called nf_contrack -> options nf_conntrack …"),
            ),
            (
                "ip_conntrack hashsize=512",
                Some(
                    "nothing loads the module by the name ip_conntrack -> options nf_conntrack hashsize=512",
                ),
            ),
            ("nf_conntrack_ftp ports=21", None),
            ("loop max_loop=1", None),
        ] {
            let text = format!("options {options}\n");
            let dead = in_modprobe_d(&ModuleFiles {
                modprobe: vec![file("/etc/modprobe.d/a.conf", &text)],
                ..ModuleFiles::default()
            });
            let told = dead
                .first()
                .map(|one| format!("{} -> {}", one.why, one.instead.clone().unwrap_or_default()));
            assert_eq!(told.as_deref(), why, "{options}");
        }
    }

    #[test]
    fn the_command_line_is_judged_by_how_the_kernel_has_conntrack() {
        let from = SourceLine {
            file: "/proc/cmdline".into(),
            line: 1,
        };
        let told = |text: &str, is_module| {
            let line = CommandLine::new(text, from.clone());
            let dead = in_command_line(&line, is_module);
            dead.into_iter()
                .map(|one| format!("{} -> {}", one.text, one.instead.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let set = "sysctl.net.netfilter.nf_conntrack_max=5";
        assert_eq!(told(set, false), [""; 0]);
        assert_eq!(
            told(set, true),
            [format!(
                "{set} -> net.netfilter.nf_conntrack_max = 5 in sysctl.d"
            )]
        );
        let wrong = "sysctl.net.ipv4.netfilter.ip_conntrack_max=5 nf_conntrack.max=6 nf_conntrack_max=7 nf_conntrack.hashsize=512 quiet";
        assert_eq!(
            told(wrong, false),
            [
                "sysctl.net.ipv4.netfilter.ip_conntrack_max=5 -> sysctl.net.netfilter.nf_conntrack_max=5",
                "nf_conntrack.max=6 -> net.netfilter.nf_conntrack_max = 6 in sysctl.d",
                "nf_conntrack_max=7 -> net.netfilter.nf_conntrack_max = 7 in sysctl.d",
            ]
        );
    }
}
