//! tuned: what its active profile, and the profiles that this one includes, set.
//! Follows tuned.conf(5), tuned-main.conf(5), and tuned's plugins sysctl and net.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::{Facts, setting};
use super::scripts::{HASH_SIZE, Runner, Scripts, TOO_MUCH, first_line};
use super::{Certainty, LaterWrite, units};
use crate::boot::shell::MOST_LENGTH;
use crate::tunable::{self, Key, kernel_number};

const ACTIVE: &str = "/etc/tuned/active_profile";
const UNIT: &str = "tuned.service";
const MAIN: &str = "/etc/tuned/tuned-main.conf";
/// Where profiles are, the first that has one counts: since tuned 2.23 in a folder of their own.
const FOLDERS: [&str; 4] = [
    "/etc/tuned/profiles",
    "/etc/tuned",
    "/usr/lib/tuned/profiles",
    "/usr/lib/tuned",
];
/// Profiles that may include one another in a row, and all of them.
const MOST_INCLUDES: usize = 16;
const MOST_PROFILES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tuned {
    /// The active profiles, as its file names them.
    pub(crate) profile: String,
    /// Whether it applies sysctl.d again after its own values, which its plugin sysctl does unless
    /// `reapply_sysctl` is off.
    pub(crate) reapplies: bool,
    pub(crate) writes: Vec<LaterWrite>,
}

pub(super) fn read<'a>(facts: &'a Facts<'a>, scripts: &mut Scripts<'a>) -> Option<Tuned> {
    let profile = facts.text(ACTIVE)?.trim().to_owned();
    if profile.is_empty() || units::is_masked(facts, UNIT) {
        return None;
    }
    let runner = Runner {
        who: "tuned".to_owned(),
        when: "when tuned starts".to_owned(),
        is_conditional: true,
        ..Runner::default()
    };
    let (profiles, is_whole) = profiles(facts, &profile);
    if !is_whole {
        scripts.unfollowed(&first_line(Path::new(ACTIVE)), &runner, TOO_MUCH);
    }
    for path in profiles.iter().flat_map(|name| scripts_of(facts, name)) {
        scripts.script(&path, &runner);
    }
    let main = facts.text(MAIN).unwrap_or_default();
    let reapplies = setting(main, "reapply_sysctl");
    let is_off =
        |value: String| matches!(value.to_lowercase().as_str(), "0" | "false" | "no" | "off");
    Some(Tuned {
        writes: writes(facts, &profiles),
        reapplies: has_sysctl(facts, &profiles) && !reapplies.is_some_and(is_off),
        profile,
    })
}

/// The active profiles and those that they include, and whether these are all; what comes later
/// wins.
fn profiles(facts: &Facts<'_>, active: &str) -> (Vec<String>, bool) {
    let mut names = Vec::new();
    let include = |name| include(facts, name, &mut names, &mut Vec::new());
    let is_whole = active.split_ascii_whitespace().try_for_each(include);
    (names, is_whole.is_some())
}

/// Puts what a profile includes before the profile itself; `above` are those that include it. None
/// where that is too much to be followed.
fn include(
    facts: &Facts<'_>,
    name: &str,
    names: &mut Vec<String>,
    above: &mut Vec<String>,
) -> Option<()> {
    let is_circle = above.iter().any(|one| one == name);
    if is_circle || name.contains('/') {
        return Some(());
    }
    if above.len() > MOST_INCLUDES || names.len() >= MOST_PROFILES {
        return None;
    }
    above.push(name.to_owned());
    if let Some((_, text)) = profile(facts, name) {
        facts.budget().spend(text.len())?;
        for line in lines(text).filter(|line| line.section == "main" && line.name == "include") {
            let parents = line.value.split([',', ';', ' ']);
            // One with a dash in front may be missing.
            let parents = parents.map(|parent| parent.trim_start_matches('-'));
            for parent in parents.filter(|parent| !parent.is_empty()) {
                include(facts, parent, names, above)?;
            }
        }
    }
    above.pop();
    names.push(name.to_owned());
    Some(())
}

fn profile<'a>(facts: &'a Facts<'a>, name: &str) -> Option<(PathBuf, &'a str)> {
    let path = |folder| Path::new(folder).join(name).join("tuned.conf");
    FOLDERS
        .into_iter()
        .map(path)
        .find_map(|path| facts.text(&path).map(|text| (path.clone(), text)))
}

/// The scripts that a profile's plugin script runs.
fn scripts_of(facts: &Facts<'_>, name: &str) -> Vec<PathBuf> {
    let Some((path, text)) = profile(facts, name) else {
        return Vec::new();
    };
    let folder = path.parent().unwrap_or(&path).to_string_lossy();
    let own = lines(text).filter(|line| line.name == "script" && line.is_of("script"));
    own.map(|line| PathBuf::from(line.value.replace("${i:PROFILE_DIR}", &folder)))
        .collect()
}

/// What the profiles set, each key by the line that wins.
fn writes(facts: &Facts<'_>, profiles: &[String]) -> Vec<LaterWrite> {
    let mut writes: Vec<LaterWrite> = Vec::new();
    let mut variables = BTreeMap::new();
    // The unit is there and nothing starts it, or a section leaves out what cttune does not follow.
    let mut may_differ = units::is_there(facts, UNIT) && !units::starts(facts, UNIT);
    for name in profiles {
        let Some((path, text)) = profile(facts, name) else {
            continue;
        };
        for line in lines(text) {
            if line.section == "variables" {
                variables.insert(line.name, with_variables(line.value, &variables));
            }
            may_differ |= matches!(line.name, "drop" | "enabled" | "replace");
            let Some((key, value)) = set_by(&line) else {
                continue;
            };
            let value = with_variables(value, &variables);
            // A value may begin with `>` or `<`: at least, at most this.
            let number = value.trim_start_matches(['>', '<']);
            let is_bound = number != value;
            // What only a running tuned can put in: `${f:calc:…}`.
            let is_open = number.contains("${");
            let number = kernel_number(key, number);
            if number.is_none() && !is_open {
                continue;
            }
            writes.retain(|write| write.key != Some(key));
            writes.push(LaterWrite {
                who: "tuned".to_owned(),
                when: "when tuned starts".to_owned(),
                file: path.clone(),
                line: line.number,
                key: Some(key),
                value: number.map(|number| tunable::as_held(key, number)),
                certainty: if is_bound {
                    Certainty::MayRun
                } else {
                    Certainty::Sure
                },
            });
        }
    }
    for write in writes.iter_mut().filter(|_| may_differ) {
        write.certainty = Certainty::MayRun;
    }
    writes
}

/// Puts in the variables that were set before; where that makes too long a text, the text stays.
fn with_variables(text: &str, variables: &BTreeMap<&str, String>) -> String {
    let mut pieces = text.split("${");
    let mut all = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let named = piece.split_once('}');
        match named.and_then(|(name, rest)| Some((variables.get(name)?, rest))) {
            Some((value, _)) if all.len() + value.len() > MOST_LENGTH => return text.to_owned(),
            Some((value, rest)) => {
                all.push_str(value);
                all.push_str(rest);
            }
            None => {
                all.push_str("${");
                all.push_str(piece);
            }
        }
    }
    all
}

/// Whether a profile uses the plugin sysctl.
fn has_sysctl(facts: &Facts<'_>, profiles: &[String]) -> bool {
    profiles.iter().any(|name| {
        let text = profile(facts, name)
            .map(|(_, text)| text)
            .unwrap_or_default();
        lines(text).any(|line| line.section.starts_with("sysctl") || line.is_of("sysctl"))
    })
}

/// The key that a line of a profile sets, and its value: in a section of the plugin sysctl, or the
/// hash size in one of the plugins net and sysfs.
fn set_by<'a>(line: &Line<'a>) -> Option<(Key, &'a str)> {
    if line.is_of("sysctl") || line.section.starts_with("sysctl") {
        return Key::find(line.name).ok().map(|key| (key, line.value));
    }
    let is_size = line.is_of("net") && line.name == "nf_conntrack_hashsize"
        || line.is_of("sysfs") && line.name == HASH_SIZE;
    is_size.then_some((Key::Buckets, line.value))
}

struct Line<'a> {
    section: &'a str,
    /// What `type=` in the section says that it is.
    kind: &'a str,
    number: usize,
    name: &'a str,
    value: &'a str,
}

impl Line<'_> {
    fn is_of(&self, plugin: &str) -> bool {
        self.section == plugin || self.kind == plugin
    }
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let (mut section, mut kind) = ("", "");
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return None;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().unwrap_or_default();
            kind = "";
            return None;
        }
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name == "type" {
            kind = value;
        }
        Some(Line {
            section,
            kind,
            number,
            name,
            value,
        })
    })
}
