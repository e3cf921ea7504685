//! kube-proxy: what it sets when it starts, by its command line or its configuration file.
//!
//! It runs by itself or inside k3s, rke2, k0s and microk8s, or a unit starts it; the unit counts
//! first, because k3s hides its arguments. One that a unit surely starts, or that runs beside a
//! kubelet which one starts, is there after the next boot, another perhaps. Flags count only without
//! `--config`; a value of 0 leaves the key alone. Versions before 1.22 and from 1.29 on may lower a larger max, those between
//! do not; from 1.36 the size by CPUs stops at 1,048,576. Follows kube-proxy(8), its configuration
//! kubeproxy.config.k8s.io/v1alpha1, `cmd/kube-proxy/app/conntrack.go`.

use std::path::{Path, PathBuf};

use super::facts::{Facts, Process};
use super::scripts::first_line;
use super::{Certainty, LaterWrite, units};
use crate::boot::SourceLine;
use crate::diagnostic::plain::Shown;
use crate::tunable::{self, Key};

/// The most entries that the size by CPUs gives, from 1.36 on.
const MOST_SCALED: i64 = 1_048_576;
const PER_CORE: i64 = 32768;
const LEAST: i64 = 131_072;
/// Microk8s keeps the flags in a file.
const MICROK8S: &str = "/var/snap/microk8s/current/args/kube-proxy";
const K3S: &str = "/etc/rancher/k3s/config.yaml";
const RKE2: &str = "/etc/rancher/rke2/config.yaml";
const K0S: &str = "/etc/k0s/k0s.yaml";
/// Units that start what keeps a kube-proxy running.
const KEEPERS: [&str; 9] = [
    "k0scontroller.service",
    "k0sworker.service",
    "k3s-agent.service",
    "k3s.service",
    "kube-proxy.service",
    "kubelet.service",
    "rke2-agent.service",
    "rke2-server.service",
    "snap.microk8s.daemon-kubelite.service",
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

/// `by_units` are programs that units start, and whether they surely do.
pub(super) fn read(facts: &Facts<'_>, by_units: &[(Process, bool)]) -> Option<KubeProxy> {
    let is_kept = KEEPERS.iter().any(|unit| units::starts(facts, unit));
    let started = |sure: bool| by_units.iter().filter(move |(_, is_sure)| *is_sure == sure);
    let running = facts.processes().iter().map(|process| (process, is_kept));
    let units = |sure| started(sure).map(move |(process, _)| (process, sure));
    let mut all: Vec<(&Process, bool)> = units(true).chain(running).chain(units(false)).collect();
    // What k0s makes of its cluster's settings is best known by the kube-proxy that runs.
    all.sort_by_key(|(process, _)| process.name == "k0s");
    all.into_iter().find_map(|(process, is_sure)| {
        let settings = settings(facts, process)?;
        Some(settings.kube_proxy(facts.cpus(), is_sure))
    })
}

/// The value of a flag, and where it is.
struct Value {
    flag: &'static str,
    number: i64,
    place: SourceLine,
}

/// Where the values of a kube-proxy come from.
struct Settings {
    program: &'static str,
    /// The place of what is a default.
    place: SourceLine,
    values: Vec<Value>,
    is_unread: bool,
    /// Whether a cluster may have other settings.
    is_open: bool,
}

impl Settings {
    fn new(process: &Process, place: SourceLine, values: Vec<Value>) -> Self {
        Settings {
            program: process.name,
            place,
            values,
            is_unread: false,
            is_open: false,
        }
    }
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
            let file = flag(arguments, "kube-proxy-args-file");
            let file = file.as_deref().unwrap_or(MICROK8S);
            Some(of_flags_file(facts, process, file))
        }
        "k3s" | "k3s-server" | "k3s-agent" => k3s(facts, process, arguments, K3S),
        "rke2" => k3s(facts, process, arguments, RKE2),
        "k0s" => k0s(facts, process, arguments),
        _ => None,
    }
}

/// Its own flags, or the file that `--config` names, in its own mount namespace.
fn of_arguments(facts: &Facts<'_>, process: &Process, arguments: Vec<String>) -> Settings {
    let Some(config) = flag(&arguments, "config") else {
        let place = place(process);
        let values = flags(&arguments, &place);
        return Settings::new(process, place, values);
    };
    let path = match process.unit {
        Some(_) => PathBuf::from(&config),
        None => PathBuf::from(format!("/proc/{}/root{config}", process.pid)),
    };
    let text = facts.text(&path);
    let place = first_line(Path::new(&config));
    let values = text.map(|text| fields(text, &place)).unwrap_or_default();
    Settings {
        is_unread: text.is_none(),
        ..Settings::new(process, place, values)
    }
}

/// Where the command line of a process is.
fn place(process: &Process) -> SourceLine {
    process.unit.clone().unwrap_or_else(|| SourceLine {
        file: PathBuf::from(format!("/proc/{}/cmdline", process.pid)),
        line: 1,
    })
}

fn of_flags_file(facts: &Facts<'_>, process: &Process, file: &str) -> Settings {
    let text = facts.text(file);
    let place = first_line(Path::new(file));
    let lines = text.unwrap_or_default().lines().zip(1..);
    let values = lines.flat_map(|(line, number)| {
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        flags(&words, &place.at(number))
    });
    Settings {
        is_unread: text.is_none(),
        ..Settings::new(process, place.clone(), values.collect())
    }
}

/// `--kube-proxy-arg=NAME=VALUE` on its command line, or else in its configuration: a file's list
/// takes the place of those before it, unless a `+` is behind its name.
fn k3s(facts: &Facts<'_>, process: &Process, arguments: &[String], file: &str) -> Option<Settings> {
    let own = flag(arguments, "config").or_else(|| flag(arguments, "c"));
    let file = own.as_deref().unwrap_or(file);
    let folder = format!("{file}.d");
    let more = facts.names(&folder).iter();
    let more = more.map(|name| format!("{folder}/{name}"));
    let mut values = Vec::new();
    let mut is_disabled = false;
    for path in std::iter::once(file.to_owned()).chain(more) {
        let place = first_line(Path::new(&path));
        let mut is_inside = false;
        for (line, number) in facts.text(&path).unwrap_or_default().lines().zip(1..) {
            if !line.starts_with([' ', '-', '\t', '#']) {
                let (name, value) = line.split_once(':').unwrap_or_default();
                let name = name.trim_matches(['"', '\'', ' ']);
                is_inside = name.trim_end_matches('+') == "kube-proxy-arg";
                if is_inside && !name.ends_with('+') {
                    values.clear();
                }
                if name == "disable-kube-proxy" {
                    is_disabled = value.trim_matches(['"', '\'', ' ']) == "true";
                }
            }
            let words = line.split(['"', '\'', ' ', ',', '[', ']']);
            let words = words.filter(|_| is_inside && !line.trim_start().starts_with('#'));
            for argument in words.map(|word| word.trim_start_matches('-')) {
                values.extend(flags(&[format!("--{argument}")], &place.at(number)));
            }
        }
    }
    let mut switches = arguments
        .iter()
        .filter_map(|one| one.strip_prefix("--disable-kube-proxy"));
    if switches
        .next_back()
        .map_or(is_disabled, |value| value != "=false")
    {
        return None;
    }
    let place = place(process);
    let given = given(arguments);
    if !given.is_empty() {
        values = flags(&given, &place);
    }
    Some(Settings::new(process, place, values))
}

/// The flags in `--kube-proxy-arg`.
fn given(arguments: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = match argument.strip_prefix("--kube-proxy-arg") {
            Some("") => rest.next().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        found.extend(value.map(|value| format!("--{}", value.trim_start_matches('-'))));
    }
    found
}

/// A worker of k0s: the kube-proxy that it starts leaves max alone and has its own timeouts.
fn k0s(facts: &Facts<'_>, process: &Process, arguments: &[String]) -> Option<Settings> {
    let has = |word: &str| arguments.iter().any(|one| one == word);
    if !has("worker") && !has("--enable-worker") && !has("--single") {
        return None;
    }
    let own = flag(arguments, "config").or_else(|| flag(arguments, "c"));
    let text = facts
        .text(own.as_deref().unwrap_or(K0S))
        .unwrap_or_default();
    let mut inside = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        inside = inside.filter(|outer| depth > *outer);
        if line.trim() == "kubeProxy:" {
            inside = Some(depth);
        } else if inside.is_some() && line.trim() == "disabled: true" {
            return None;
        }
    }
    let place = place(process);
    let none = Value {
        flag: "conntrack-max-per-core",
        number: 0,
        place: place.clone(),
    };
    Some(Settings {
        is_open: true,
        ..Settings::new(process, place, vec![none])
    })
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

fn flags(arguments: &[String], place: &SourceLine) -> Vec<Value> {
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
        value.map(|value| option.value(value, place.clone()))
    };
    OPTIONS.iter().filter_map(value).collect()
}

/// The fields below `conntrack:` of a configuration file, which is YAML or JSON.
fn fields(text: &str, place: &SourceLine) -> Vec<Value> {
    let mut values = Vec::new();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        let pairs = json
            .get("conntrack")
            .and_then(|conntrack| conntrack.as_object());
        let pairs = pairs.into_iter().flatten();
        return pairs
            .filter_map(|(name, value)| field(&format!("{name}: {value}"), place.clone()))
            .collect();
    }
    let mut is_inside = false;
    for (line, number) in text.lines().zip(1..) {
        let line = line.split(" #").next().unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            is_inside = line.starts_with("conntrack:");
            // `conntrack: {maxPerCore: 0}` in one line.
            let inner = line.strip_prefix("conntrack:").unwrap_or_default();
            for pair in inner.trim().trim_matches(['{', '}']).split(',') {
                values.extend(field(pair, place.at(number)));
            }
        } else if is_inside {
            values.extend(field(line, place.at(number)));
        }
    }
    values
}

fn field(line: &str, place: SourceLine) -> Option<Value> {
    let (name, value) = line.trim().split_once(':')?;
    let name = name.trim_matches(['"', '\'', ' ']);
    let option = OPTIONS.iter().find(|option| option.field == name)?;
    let value = number(value.trim().trim_matches(['"', '\'', ',']))?;
    Some(option.value(value, place))
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

impl Flag {
    fn value(&self, number: i64, place: SourceLine) -> Value {
        Value {
            flag: self.name,
            number,
            place,
        }
    }
}

impl Settings {
    /// A value and its place.
    fn value(&self, flag: &str) -> (i64, &SourceLine) {
        if let Some(set) = self.values.iter().rfind(|value| value.flag == flag) {
            return (set.number, &set.place);
        }
        let option = OPTIONS.iter().find(|option| option.name == flag);
        (option.map_or(0, |option| option.default), &self.place)
    }

    fn kube_proxy(self, cpus: u32, is_sure: bool) -> KubeProxy {
        let mut writes = Vec::new();
        let (per_core, place) = self.value("conntrack-max-per-core");
        let scaled = per_core.saturating_mul(cpus.into());
        if per_core > 0 {
            let (least, of_least) = self.value("conntrack-min");
            let by_cpus = scaled.min(MOST_SCALED);
            let place = if least > by_cpus { of_least } else { place };
            let max = by_cpus.max(least);
            writes.push(self.write(Key::Max, max, place, Certainty::DependsOnVersion));
            let buckets = tunable::as_held(Key::Buckets, max / 4);
            writes.push(self.write(Key::Buckets, buckets, place, Certainty::DependsOnVersion));
        }
        let certainty = if is_sure && !self.is_open {
            Certainty::Sure
        } else {
            Certainty::MayRun
        };
        for option in &OPTIONS {
            let (value, place) = self.value(option.name);
            if let Some(key) = option.key.filter(|_| value > 0) {
                writes.push(self.write(key, value, place, certainty));
            }
        }
        if self.is_unread {
            for write in &mut writes {
                write.certainty = Certainty::MayRun;
            }
        }
        KubeProxy {
            program: self.program,
            told_by: self.place.file.shown(),
            writes,
            is_scaled_past_the_cap: scaled > MOST_SCALED,
            is_unread: self.is_unread,
        }
    }

    fn write(&self, key: Key, value: i64, place: &SourceLine, certainty: Certainty) -> LaterWrite {
        LaterWrite {
            who: if self.program == "kube-proxy" {
                "kube-proxy".to_owned()
            } else {
                format!("the kube-proxy in {}", self.program)
            },
            when: "when it starts".to_owned(),
            file: place.file.clone(),
            line: place.line,
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
        let wants = "multi-user.target.wants";
        let folders = [("", wants), ("/multi-user.target.wants", "kubelet.service")];
        all.extend(folders.map(|(folder, name)| {
            let path = PathBuf::from(format!("/etc/systemd/system{folder}"));
            (path, Found::Folder(vec![name.to_owned()]))
        }));
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
            K3S,
            "kube-proxy-arg:\n  - \"conntrack-max-per-core=0\"\nother:\n  - conntrack-min=5\n",
        );
        assert_eq!(writes("k3s-agent", "k3s agent", &[file], 8), DEFAULTS[2..]);
        assert_eq!(writes("dockerd", "dockerd", &[], 8), [""; 0]);
    }
}
