//! What udev runs when the conntrack module is loaded, by its rules.
//!
//! In: the texts of rules files. Out: the programs of `RUN` for the event `add` of
//! `/module/nf_conntrack`, each with its place and whether its rule surely matches; and those of
//! rules for other devices. What a rule sets by itself (SYSCTL, ATTR) and the units that it wants
//! are given as the commands that would do so. What only a running udev could know (ATTR, PROGRAM, IMPORT, TEST)
//! leaves it open whether a rule matches. Follows udev(7).

use std::collections::BTreeMap;

use super::SourceLine;
use super::modules::{ConfFile, in_reading_order, lines};
use super::pattern::matches_text;

/// Where udev has programs of its own.
pub(super) const OWN_PROGRAMS: &str = "/usr/lib/udev/";

/// A program that a rule runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) place: SourceLine,
    pub(super) command: String,
    /// Whether the rule matches the loading of the module.
    pub(super) matches: Match,
}

/// Whether something matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    Unknown,
}

/// One `KEY{attribute}OPERATOR"value"` of a rule.
struct Pair {
    key: String,
    attribute: String,
    operator: String,
    value: String,
}

/// The programs of `RUN`, of rules that match the event and of others.
pub(super) fn programs(files: &[ConfFile]) -> Vec<Run> {
    let mut event = Event::default();
    for file in in_reading_order(files) {
        event.file(file);
    }
    event.runs
}

/// The event, and what the rules so far made of it.
#[derive(Default)]
struct Event {
    environment: BTreeMap<String, String>,
    runs: Vec<Run>,
}

impl Event {
    fn file(&mut self, file: &ConfFile) {
        // A jump that is surely or perhaps taken: the label where it ends.
        let mut jump: Option<(String, Match)> = None;
        for (place, text) in lines(file) {
            if text.starts_with('#') {
                continue;
            }
            let Some(pairs) = parse(&text) else {
                continue;
            };
            let label = pairs.iter().find(|pair| pair.key == "LABEL");
            if let (Some(label), Some((target, _))) = (label, &jump)
                && label.value == *target
            {
                jump = None;
            }
            let matches = match &jump {
                Some((_, Match::Yes)) => Match::No,
                Some(_) => self.matches(&pairs).min(Match::Unknown),
                None => self.matches(&pairs),
            };
            if matches != Match::No {
                self.assign(&pairs, matches);
                let goto = pairs.iter().find(|pair| pair.key == "GOTO");
                if let (Some(goto), None) = (goto, &jump) {
                    jump = Some((goto.value.clone(), matches));
                }
            }
            self.run(&pairs, &place, matches);
        }
    }

    fn matches(&self, pairs: &[Pair]) -> Match {
        let tests = pairs
            .iter()
            .filter(|pair| matches!(pair.operator.as_str(), "==" | "!="));
        let mut all = Match::Yes;
        for pair in tests {
            all = all.min(self.test(pair));
        }
        let imports = pairs
            .iter()
            .any(|pair| matches!(pair.key.as_str(), "IMPORT" | "PROGRAM") && pair.operator == "=");
        if imports {
            all.min(Match::Unknown)
        } else {
            all
        }
    }

    fn test(&self, pair: &Pair) -> Match {
        let known = match (pair.key.as_str(), pair.attribute.as_str()) {
            ("ACTION", _) | ("ENV", "ACTION") => "add",
            ("SUBSYSTEM" | "SUBSYSTEMS", _) | ("ENV", "SUBSYSTEM") => "module",
            ("KERNEL" | "KERNELS", _) => "nf_conntrack",
            ("DEVPATH", _) | ("ENV", "DEVPATH") => "/module/nf_conntrack",
            ("DRIVER" | "DRIVERS" | "NAME" | "SYMLINK" | "TAG" | "TAGS", _) => "",
            ("ENV", name) => self.environment.get(name).map_or("", String::as_str),
            _ => return Match::Unknown,
        };
        let fits = pair
            .value
            .split('|')
            .any(|pattern| matches_text(pattern, known));
        if fits == (pair.operator == "==") {
            Match::Yes
        } else {
            Match::No
        }
    }

    fn assign(&mut self, pairs: &[Pair], matches: Match) {
        for pair in pairs
            .iter()
            .filter(|pair| pair.key == "ENV" && matches!(pair.operator.as_str(), "=" | ":="))
        {
            if matches == Match::Yes {
                self.environment
                    .insert(pair.attribute.clone(), pair.value.clone());
            }
        }
    }

    fn run(&mut self, pairs: &[Pair], place: &SourceLine, matches: Match) {
        let programs = pairs
            .iter()
            .filter(|pair| pair.key == "RUN" && pair.attribute != "builtin");
        for pair in programs.filter(|pair| matches!(pair.operator.as_str(), "=" | "+=" | ":=")) {
            if matches == Match::Yes && pair.operator != "+=" {
                self.runs.retain(|run| run.matches == Match::No);
            }
            let command = substituted(&pair.value);
            // A name without a folder is one of udev's own programs.
            let folder = if command.starts_with(['/', '\'']) {
                ""
            } else {
                OWN_PROGRAMS
            };
            self.runs.push(Run {
                place: place.clone(),
                command: format!("{folder}{command}"),
                matches,
            });
        }
        let own = pairs.iter().filter_map(|pair| pair.command(matches));
        self.runs.extend(own.map(|command| Run {
            place: place.clone(),
            command,
            matches,
        }));
    }
}

impl Pair {
    /// The command that does what the pair does without `RUN`.
    fn command(&self, matches: Match) -> Option<String> {
        let is_set = matches!(self.operator.as_str(), "=" | "+=" | ":=");
        let (name, value) = (&self.attribute, substituted(&self.value));
        match self.key.as_str() {
            "SYSCTL" if is_set => Some(format!("/sbin/sysctl -w '{name}={value}'")),
            "ATTR" if is_set && matches != Match::No && name.starts_with("parameters/") => Some(
                format!("/bin/sh -c 'echo {value} > /sys/module/nf_conntrack/{name}'"),
            ),
            "ENV" if is_set && name == "SYSTEMD_WANTS" => {
                Some(format!("/bin/systemctl start {value}"))
            }
            _ => None,
        }
    }
}

impl Match {
    /// The weaker of two: both must match.
    fn min(self, other: Match) -> Match {
        match (self, other) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::Unknown, _) | (_, Match::Unknown) => Match::Unknown,
            (Match::Yes, Match::Yes) => Match::Yes,
        }
    }
}

/// What udev puts in for the module's own names.
fn substituted(command: &str) -> String {
    if !command.contains(['%', '$']) {
        return command.to_owned();
    }
    let pairs = [
        ("%k", "nf_conntrack"),
        ("$kernel", "nf_conntrack"),
        ("$name", "nf_conntrack"),
        ("%p", "/module/nf_conntrack"),
        ("$devpath", "/module/nf_conntrack"),
        ("%S", "/sys"),
        ("$sys", "/sys"),
        ("%%", "%"),
        ("$$", "$"),
    ];
    pairs.iter().fold(command.to_owned(), |text, (from, to)| {
        text.replace(from, to)
    })
}

/// The pairs of a rule; `None` for a line that udev refuses.
fn parse(text: &str) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() && !rest.starts_with('#') {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let (key, after) = rest.split_at(end);
        let (attribute, after) = match after.strip_prefix('{') {
            Some(inside) => inside.split_once('}')?,
            None => ("", after),
        };
        let after = after.trim_start();
        let operator = ["==", "!=", "+=", "-=", ":=", "="]
            .into_iter()
            .find(|one| after.starts_with(one))?;
        let after = after[operator.len()..].trim_start();
        let is_escaped = after.starts_with("e\"");
        let after = after.trim_start_matches(['e', 'i']).strip_prefix('"')?;
        let (value, behind) = quoted(after, is_escaped)?;
        pairs.push(Pair {
            key: key.to_owned(),
            attribute: attribute.to_owned(),
            operator: operator.to_owned(),
            value,
        });
        rest = behind.trim_start_matches([' ', '\t', ',']);
    }
    let is_valid =
        |pair: &Pair| pair.operator == "==" || pair.operator == "!=" || !is_a_match(pair);
    (!key_is_missing(&pairs) && pairs.iter().all(is_valid)).then_some(pairs)
}

/// Whether a key can only be compared: udev refuses a rule that assigns it.
fn is_a_match(pair: &Pair) -> bool {
    const MATCHES: [&str; 13] = [
        "ACTION",
        "ATTRS",
        "CONST",
        "DEVPATH",
        "DRIVER",
        "DRIVERS",
        "KERNEL",
        "KERNELS",
        "RESULT",
        "SUBSYSTEM",
        "SUBSYSTEMS",
        "TAGS",
        "TEST",
    ];
    MATCHES.contains(&pair.key.as_str())
}

fn key_is_missing(pairs: &[Pair]) -> bool {
    pairs.is_empty() || pairs.iter().any(|pair| pair.key.is_empty())
}

/// A value up to its closing quote; a backslash keeps a quote inside.
fn quoted(text: &str, is_escaped: bool) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if text[at + 1..].starts_with('"') => {
                value.push('"');
                chars.next();
            }
            '\\' if is_escaped => {
                let (_, next) = chars.next()?;
                value.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
            }
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line match command` of each program.
    fn read(text: &str) -> Vec<String> {
        let file = ConfFile {
            path: "/etc/udev/rules.d/50-x.rules".into(),
            bytes: Some(text.into()),
        };
        let shown = |run: Run| {
            let command = run.command.trim_start_matches("/usr/lib/udev/");
            format!("{} {:?} {command}", run.place.line, run.matches)
        };
        programs(&[file]).into_iter().map(shown).collect()
    }

    #[test]
    fn a_rule_that_udev_refuses_runs_nothing() {
        for rule in [
            r#"ACTION=="add", SUBSYSTEM="module", KERNEL=="nf_conntrack", RUN+="x""#,
            r#"ACTION=="add", KERNEL+="nf_conntrack", RUN+="x""#,
            r#"ACTION:="add", RUN+="x""#,
        ] {
            assert_eq!(read(rule), [""; 0], "{rule}");
        }
    }

    #[test]
    fn a_rule_counts_only_if_all_its_matches_fit() {
        for (rule, matches) in [
            (
                r#"ACTION=="add", SUBSYSTEM=="module", KERNEL=="nf_conntrack", RUN+="x""#,
                "Yes",
            ),
            (
                r#"ACTION=="add|change",SUBSYSTEM=="mod*",DEVPATH=="/module/nf_conntrack",RUN+="x""#,
                "Yes",
            ),
            (r#"KERNEL=="nf_conntrack" RUN{program}+="x""#, "Yes"),
            (
                r#"ACTION!="remove", KERNEL=="nf_conntrac[k]", RUN="x""#,
                "Yes",
            ),
            (
                r#"ACTION=="remove", KERNEL=="nf_conntrack", RUN+="x""#,
                "No",
            ),
            (
                r#"SUBSYSTEM=="net", KERNEL=="nf_conntrack", RUN+="x""#,
                "No",
            ),
            (r#"KERNEL=="nf_conntrack_ftp", RUN+="x""#, "No"),
            (r#"KERNEL=="br_netfilter|ip_conntrack", RUN+="x""#, "No"),
            (
                r#"KERNEL=="nf_conntrack", ENV{NOTHING}=="1", RUN+="x""#,
                "No",
            ),
            (
                r#"KERNEL=="nf_conntrack", ENV{NOTHING}!="1", RUN+="x""#,
                "Yes",
            ),
            (
                r#"KERNEL=="nf_conntrack", ATTR{refcnt}=="0", RUN+="x""#,
                "Unknown",
            ),
            (
                r#"KERNEL=="nf_conntrack", PROGRAM="/bin/x", RUN+="x""#,
                "Unknown",
            ),
            (r#"RUN+="x""#, "Yes"),
        ] {
            assert_eq!(read(rule), [format!("1 {matches} x")], "{rule}");
        }
        for nothing in [
            r#"# KERNEL=="nf_conntrack", RUN+="x""#,
            r#"KERNEL=="nf_conntrack", RUN{builtin}+="kmod load x""#,
            r#"KERNEL=="nf_conntrack", RUN+=x"#,
            "",
        ] {
            assert_eq!(read(nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn jumps_joined_lines_and_the_environment_are_followed() {
        for (text, expected) in [
            (
                "ACTION==\"add\", GOTO=\"end\"\nRUN+=\"x\"\nLABEL=\"end\"\nRUN+=\"y\"\n",
                vec!["2 No x", "4 Yes y"],
            ),
            (
                "SUBSYSTEM!=\"module\", GOTO=\"end\"\nRUN+=\"x\"\nLABEL=\"end\"\n",
                vec!["2 Yes x"],
            ),
            (
                "ATTR{a}==\"1\", GOTO=\"end\"\nRUN+=\"x\"\nLABEL=\"end\"\nRUN+=\"y\"",
                vec!["2 Unknown x", "4 Yes y"],
            ),
            (
                "KERNEL==\"nf_conntrack\", \\\n  RUN+=\"x \\\"a b\\\" %k\"\n",
                vec!["1 Yes x \"a b\" nf_conntrack"],
            ),
            (
                "KERNEL==\"nf_conntrack\", ENV{m}=\"1\"\nENV{m}==\"1\", RUN+=\"x\"",
                vec!["2 Yes x"],
            ),
            (
                "RUN+=\"x\"\nKERNEL==\"nf_conntrack\", RUN=\"y\"",
                vec!["2 Yes y"],
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_a_rule_does_besides_is_a_command() {
        const MODULE: &str = r#"SUBSYSTEM=="module", KERNEL=="nf_conntrack", "#;
        for (start, what, expected) in [
            (
                MODULE,
                "RUN+=\"sysctl -w a=1\"",
                "/usr/lib/udev/sysctl -w a=1",
            ),
            (
                MODULE,
                "RUN+=\"/sbin/sysctl -w a=1\"",
                "/sbin/sysctl -w a=1",
            ),
            (MODULE, "SYSCTL{net/a}=\"1\"", "/sbin/sysctl -w 'net/a=1'"),
            (MODULE, "SYSCTL{net/a}==\"1\"", ""),
            (
                MODULE,
                "ATTR{parameters/hashsize}=\"512\"",
                "/bin/sh -c 'echo 512 > /sys/module/nf_conntrack/parameters/hashsize'",
            ),
            (
                "SUBSYSTEM==\"net\", ",
                "ATTR{parameters/hashsize}=\"512\"",
                "",
            ),
            (
                "SUBSYSTEM==\"net\", ",
                "ENV{SYSTEMD_WANTS}+=\"a.service\"",
                "/bin/systemctl start a.service",
            ),
        ] {
            let file = ConfFile {
                path: "/etc/udev/rules.d/50-x.rules".into(),
                bytes: Some(format!("{start}{what}\n").into_bytes()),
            };
            let found = programs(&[file]).into_iter().map(|run| run.command);
            assert_eq!(found.collect::<Vec<_>>().concat(), expected, "{what}");
        }
    }
}
