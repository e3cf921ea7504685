//! kube-proxy: what it sets when it starts, by its command line or its configuration file.
//!
//! It runs by itself or inside k3s and microk8s, or a unit starts it; the unit counts first, because
//! k3s hides its arguments. Flags count only without `--config`; a value of 0
//! leaves the key alone. Versions before 1.22 and from 1.29 on may lower a larger max, those between
//! do not; from 1.36 the size by CPUs stops at 1,048,576. Follows kube-proxy(8), its configuration
//! kubeproxy.config.k8s.io/v1alpha1, `cmd/kube-proxy/app/conntrack.go`.

use std::path::PathBuf;

use super::facts::{Facts, Process};
use super::{Certainty, LaterWrite};
use crate::boot::SourceLine;
use crate::diagnostic::plain::Shown;
use crate::tunable::{self, Key};

/// The most entries that the size by CPUs gives, from 1.36 on.
const MOST_SCALED: i64 = 1_048_576;
const PER_CORE: i64 = 32768;
const LEAST: i64 = 131_072;
/// Microk8s keeps the flags in a file.
const MICROK8S: &str = "/var/snap/microk8s/current/args/kube-proxy";
const K3S_FILES: [&str; 2] = [
    "/etc/rancher/k3s/config.yaml",
    "/etc/rancher/rke2/config.yaml",
];

/// A flag of kube-proxy's: its name, the same in the configuration file, its default.
struct Flag {
    name: &'static str,
    field: &'static str,
    key: Option<Key>,
    default: i64,
}

const OPTIONS: [Flag; 7] = [
    Flag {
        name: "conntrack-max-per-core",
        field: "maxPerCore",
        key: None,
        default: PER_CORE,
    },
    Flag {
        name: "conntrack-min",
        field: "min",
        key: None,
        default: LEAST,
    },
    Flag {
        name: "conntrack-tcp-timeout-established",
        field: "tcpEstablishedTimeout",
        key: Some(Key::TcpTimeoutEstablished),
        default: 86400,
    },
    Flag {
        name: "conntrack-tcp-timeout-close-wait",
        field: "tcpCloseWaitTimeout",
        key: Some(Key::TcpTimeoutCloseWait),
        default: 3600,
    },
    Flag {
        name: "conntrack-udp-timeout",
        field: "udpTimeout",
        key: Some(Key::UdpTimeout),
        default: 0,
    },
    Flag {
        name: "conntrack-udp-timeout-stream",
        field: "udpStreamTimeout",
        key: Some(Key::UdpTimeoutStream),
        default: 0,
    },
    Flag {
        name: "conntrack-tcp-be-liberal",
        field: "tcpBeLiberal",
        key: Some(Key::TcpBeLiberal),
        default: 0,
    },
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KubeProxy {
    /// The process: `kube-proxy`, or the program that it is a part of.
    pub(crate) program: &'static str,
    /// What tells its values: its command line, or a file.
    pub(crate) told_by: String,
    pub(crate) writes: Vec<LaterWrite>,
    /// Whether the size by CPUs is more than newer versions give.
    pub(crate) is_scaled_past_the_cap: bool,
    /// Whether its configuration is somewhere that cttune cannot read.
    pub(crate) is_unread: bool,
}

pub(super) fn read(facts: &Facts<'_>, by_units: &[Process]) -> Option<KubeProxy> {
    let found = by_units
        .iter()
        .chain(facts.processes())
        .find_map(|process| settings(facts, process));
    found.map(|settings| settings.kube_proxy(facts.cpus()))
}

/// Where the values of a kube-proxy come from.
struct Settings {
    program: &'static str,
    file: PathBuf,
    /// The line of what is a default.
    line: usize,
    /// Values by flag, with the line that has them.
    values: Vec<(&'static str, i64, usize)>,
    is_unread: bool,
}

fn settings(facts: &Facts<'_>, process: &Process) -> Option<Settings> {
    let arguments = process.arguments.get(1..).unwrap_or_default();
    match process.name {
        "kube-proxy" => Some(of_arguments(facts, process, arguments.to_vec())),
        "hyperkube"
            if arguments
                .iter()
                .any(|one| one == "proxy" || one == "kube-proxy") =>
        {
            Some(of_arguments(facts, process, arguments.to_vec()))
        }
        "kubelite" => {
            let file =
                flag(arguments, "kube-proxy-args-file").unwrap_or_else(|| MICROK8S.to_owned());
            Some(of_flags_file(facts, process, file))
        }
        "k3s" | "k3s-server" | "k3s-agent" => k3s(facts, process, arguments),
        _ => None,
    }
}

/// Its own flags, or the file that `--config` names, in its own mount namespace.
fn of_arguments(facts: &Facts<'_>, process: &Process, arguments: Vec<String>) -> Settings {
    let Some(config) = flag(&arguments, "config") else {
        let place = place(process);
        return Settings {
            program: process.name,
            line: place.line,
            values: flags(&arguments, place.line),
            file: place.file,
            is_unread: false,
        };
    };
    let path = match process.unit {
        Some(_) => PathBuf::from(&config),
        None => PathBuf::from(format!("/proc/{}/root{config}", process.pid)),
    };
    let text = facts.text(&path);
    Settings {
        program: process.name,
        line: 1,
        file: PathBuf::from(config),
        values: text.map(fields).unwrap_or_default(),
        is_unread: text.is_none(),
    }
}

/// Where the command line of a process is.
fn place(process: &Process) -> SourceLine {
    process.unit.clone().unwrap_or_else(|| SourceLine {
        file: PathBuf::from(format!("/proc/{}/cmdline", process.pid)),
        line: 1,
    })
}

fn of_flags_file(facts: &Facts<'_>, process: &Process, file: String) -> Settings {
    let text = facts.text(&file);
    let lines = text.unwrap_or_default().lines().zip(1..);
    let values = lines.flat_map(|(line, number)| {
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        flags(&words, number)
    });
    Settings {
        program: process.name,
        line: 1,
        values: values.collect(),
        is_unread: text.is_none(),
        file: PathBuf::from(file),
    }
}

/// `--kube-proxy-arg=NAME=VALUE`, on its command line and in its configuration file.
fn k3s(facts: &Facts<'_>, process: &Process, arguments: &[String]) -> Option<Settings> {
    let more = |path: &&str| {
        let folder = format!("{path}.d");
        let names = facts.names(&folder).iter();
        names
            .map(|name| format!("{folder}/{name}"))
            .collect::<Vec<_>>()
    };
    let own = flag(arguments, "config").or_else(|| flag(arguments, "c"));
    let paths = K3S_FILES
        .into_iter()
        .chain(own.as_deref())
        .flat_map(|path| [vec![path.to_owned()], more(&path)].concat());
    let files = paths.filter_map(|path| Some((path.clone(), facts.text(&path)?)));
    let mut values = Vec::new();
    let SourceLine { mut file, line } = place(process);
    for (path, text) in files {
        if text
            .lines()
            .any(|line| line.replace(['"', '\'', ' '], "") == "disable-kube-proxy:true")
        {
            return None;
        }
        let mut is_inside = false;
        for (line, number) in text.lines().zip(1..) {
            if !line.starts_with([' ', '-', '\t']) {
                is_inside = line.starts_with("kube-proxy-arg");
            }
            let words = line
                .split(['"', '\'', ' ', ',', '[', ']'])
                .filter(|_| is_inside);
            for argument in words.map(|word| word.trim_start_matches('-')) {
                if argument.starts_with("conntrack-") {
                    values.extend(flags(&[format!("--{argument}")], number));
                    file = PathBuf::from(&path);
                }
            }
        }
    }
    if arguments
        .iter()
        .any(|one| one == "--disable-kube-proxy" || one == "--disable-kube-proxy=true")
    {
        return None;
    }
    values.extend(given(arguments, line));
    Some(Settings {
        program: process.name,
        line: if file == place(process).file { line } else { 1 },
        file,
        values,
        is_unread: false,
    })
}

/// The values of `--kube-proxy-arg`, on the line of its command line.
fn given(arguments: &[String], line: usize) -> Vec<(&'static str, i64, usize)> {
    let mut values = Vec::new();
    let mut given = arguments.iter().peekable();
    while let Some(argument) = given.next() {
        let value = match argument.strip_prefix("--kube-proxy-arg") {
            Some("") => given.next().cloned(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        if let Some(value) = value {
            let argument = format!("--{}", value.trim_start_matches('-'));
            values.extend(flags(&[argument], line));
        }
    }
    values
}

/// The value of a flag: `--name=value` or `--name value`; the last one counts.
fn flag(arguments: &[String], name: &str) -> Option<String> {
    let mut found = None;
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        // `--conntrack_min` is the same flag.
        let (option, value) = argument.split_once('=').unwrap_or((argument, ""));
        if !option.starts_with('-') || option.trim_start_matches('-').replace('_', "-") != name {
            continue;
        }
        if option == argument {
            found = rest.peek().map(|value| (*value).clone());
        } else {
            found = Some(value.to_owned());
        }
    }
    found
}

fn flags(arguments: &[String], line: usize) -> Vec<(&'static str, i64, usize)> {
    let value = |option: &Flag| {
        let is_bare = arguments
            .iter()
            .any(|one| one.trim_start_matches('-') == option.name);
        let text = flag(arguments, option.name).filter(|value| !value.starts_with('-'));
        let value = match text {
            Some(text) => number(&text),
            // A switch without a value is on.
            None => (is_bare && option.key == Some(Key::TcpBeLiberal)).then_some(1),
        };
        value.map(|value| (option.name, value, line))
    };
    OPTIONS.iter().filter_map(value).collect()
}

/// The fields below `conntrack:` of a configuration file, which is YAML or JSON.
fn fields(text: &str) -> Vec<(&'static str, i64, usize)> {
    let mut values = Vec::new();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        let pairs = json
            .get("conntrack")
            .and_then(|conntrack| conntrack.as_object());
        let pairs = pairs.into_iter().flatten();
        return pairs
            .filter_map(|(name, value)| field(&format!("{name}: {value}"), 1))
            .collect();
    }
    let mut is_inside = false;
    for (line, number_of_line) in text.lines().zip(1..) {
        let line = line.split(" #").next().unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            is_inside = line.starts_with("conntrack:");
            // `conntrack: {maxPerCore: 0}` in one line.
            let inner = line.strip_prefix("conntrack:").unwrap_or_default();
            for pair in inner.trim().trim_matches(['{', '}']).split(',') {
                values.extend(field(pair, number_of_line));
            }
        } else if is_inside {
            values.extend(field(line, number_of_line));
        }
    }
    values
}

fn field(line: &str, number_of_line: usize) -> Option<(&'static str, i64, usize)> {
    let (name, value) = line.trim().split_once(':')?;
    let name = name.trim_matches(['"', '\'', ' ']);
    let option = OPTIONS.iter().find(|option| option.field == name)?;
    let value = number(value.trim().trim_matches(['"', '\'', ',']))?;
    Some((option.name, value, number_of_line))
}

/// A count, a switch, or a duration as Go writes it: `1h30m`, `60s`, `500ms`.
fn number(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number);
    }
    match text {
        "true" => return Some(1),
        "false" => return Some(0),
        _ => {}
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        seconds += amount
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    #[expect(clippy::cast_possible_truncation)] // kube-proxy drops the fraction too
    let whole = seconds as i64;
    Some(whole)
}

impl Settings {
    /// A value and the line that has it.
    fn value(&self, flag: &str) -> (i64, usize) {
        let set = self.values.iter().rfind(|(name, ..)| *name == flag);
        let default = || {
            OPTIONS
                .iter()
                .find(|option| option.name == flag)
                .map_or(0, |option| option.default)
        };
        let default = || (default(), self.line);
        set.map_or_else(default, |(_, value, line)| (*value, *line))
    }

    fn kube_proxy(self, cpus: u32) -> KubeProxy {
        let mut writes = Vec::new();
        let (per_core, line) = self.value("conntrack-max-per-core");
        let scaled = per_core.saturating_mul(cpus.into());
        if per_core > 0 {
            let max = scaled.min(MOST_SCALED).max(self.value("conntrack-min").0);
            writes.push(self.write(Key::Max, max, line, Certainty::DependsOnVersion));
            let buckets = tunable::as_held(Key::Buckets, max / 4);
            writes.push(self.write(Key::Buckets, buckets, line, Certainty::DependsOnVersion));
        }
        for option in &OPTIONS {
            let (value, line) = self.value(option.name);
            if let Some(key) = option.key.filter(|_| value > 0) {
                writes.push(self.write(key, value, line, Certainty::Sure));
            }
        }
        if self.is_unread {
            for write in &mut writes {
                write.certainty = Certainty::MayRun;
            }
        }
        KubeProxy {
            program: self.program,
            told_by: self.file.shown(),
            writes,
            is_scaled_past_the_cap: scaled > MOST_SCALED,
            is_unread: self.is_unread,
        }
    }

    fn write(&self, key: Key, value: i64, line: usize, certainty: Certainty) -> LaterWrite {
        LaterWrite {
            who: if self.program == "kube-proxy" {
                "kube-proxy".to_owned()
            } else {
                format!("the kube-proxy in {}", self.program)
            },
            when: "when it starts".to_owned(),
            file: self.file.clone(),
            line,
            key: Some(key),
            value: Some(value),
            certainty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Found;
    use std::collections::BTreeMap;

    use super::super::facts::File;
    use super::*;

    /// `key value` of each write, a `~` where it depends on the version.
    fn writes(
        name: &'static str,
        arguments: &str,
        files: &[(&str, &str)],
        cpus: u32,
    ) -> Vec<String> {
        let process = Process {
            name,
            pid: 7,
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            unit: None,
        };
        let mut all = BTreeMap::new();
        for (path, text) in files {
            let file = File {
                text: (*text).to_owned(),
                is_executable: false,
            };
            all.insert(path.into(), Found::File(file));
        }
        let facts = Facts::of_files(vec![process], cpus, all);
        let shown = |write: &LaterWrite| {
            let mark = match write.certainty {
                Certainty::Sure => "",
                Certainty::MayRun => "?",
                Certainty::DependsOnVersion => "~",
            };
            format!("{mark}{:?} {}", write.key.unwrap(), write.value.unwrap())
        };
        let found = read(&facts, &[]);
        found
            .iter()
            .flat_map(|found| &found.writes)
            .map(shown)
            .collect()
    }

    const DEFAULTS: [&str; 4] = [
        "~max 262144",
        "~buckets 65536",
        "tcp_timeout_established 86400",
        "tcp_timeout_close_wait 3600",
    ];

    #[test]
    fn flags_count_without_a_configuration_file() {
        for (arguments, expected) in [
            ("kube-proxy", DEFAULTS.to_vec()),
            (
                "kube-proxy --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait 0",
                vec![],
            ),
            (
                "kube-proxy --conntrack-min=524288 --conntrack-udp-timeout=1m30s --conntrack-tcp-be-liberal",
                vec![
                    "~max 524288",
                    "~buckets 131072",
                    "tcp_timeout_established 86400",
                    "tcp_timeout_close_wait 3600",
                    "udp_timeout 90",
                    "tcp_be_liberal 1",
                ],
            ),
        ] {
            assert_eq!(
                writes("kube-proxy", arguments, &[], 8),
                expected,
                "{arguments}"
            );
        }
        assert_eq!(
            writes("kube-proxy", "kube-proxy", &[], 96)[0],
            "~max 1048576"
        );
        assert_eq!(writes("kube-proxy", "kube-proxy", &[], 1)[0], "~max 131072");
    }

    #[test]
    fn a_configuration_file_counts_instead_of_flags() {
        let path = "/proc/7/root/var/lib/kube-proxy/config.conf";
        let arguments = "kube-proxy --conntrack-min=1 --config=/var/lib/kube-proxy/config.conf";
        for (text, expected) in [
            (
                "kind: x\nconntrack:\n  maxPerCore: 0\n  min: null\n  tcpCloseWaitTimeout: 1m0s\n  tcpEstablishedTimeout: null\nmode: ipvs\n",
                vec!["tcp_timeout_established 86400", "tcp_timeout_close_wait 60"],
            ),
            (
                "conntrack: {maxPerCore: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}\n",
                vec![],
            ),
            ("kind: x\n", DEFAULTS.to_vec()),
        ] {
            assert_eq!(
                writes("kube-proxy", arguments, &[(path, text)], 8),
                expected,
                "{text}"
            );
        }
        let unread = writes("kube-proxy", arguments, &[], 8);
        assert!(
            unread.iter().all(|write| write.starts_with('?')),
            "{unread:?}"
        );
    }

    #[test]
    fn other_programs_have_one_inside() {
        let flags = (MICROK8S, "--x=1\n--conntrack-max-per-core=0\n");
        assert_eq!(
            writes("kubelite", "kubelite --start", &[flags], 8),
            DEFAULTS[2..]
        );
        assert_eq!(writes("k3s-server", "k3s server", &[], 8), DEFAULTS);
        let zero = "k3s server --kube-proxy-arg=conntrack-max-per-core=0 --kube-proxy-arg conntrack-tcp-timeout-close-wait=0s";
        assert_eq!(writes("k3s-server", zero, &[], 8), DEFAULTS[2..3]);
        assert_eq!(
            writes("k3s-server", "k3s server --disable-kube-proxy", &[], 8),
            [""; 0]
        );
        let file = (
            K3S_FILES[0],
            "kube-proxy-arg:\n  - \"conntrack-max-per-core=0\"\nother:\n  - conntrack-min=5\n",
        );
        assert_eq!(writes("k3s-agent", "k3s agent", &[file], 8), DEFAULTS[2..]);
        assert_eq!(writes("dockerd", "dockerd", &[], 8), [""; 0]);
    }
}
