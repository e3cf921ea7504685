//! The files that make a profile hold at the next boot, judged as both readers will see them
//! after the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Blocked, Comparison, Persisted, State, Step};
use crate::boot::modules::ModuleFiles;
use crate::boot::{self, Effective, Reader, Tree, Winner, adopt, at_boot, drop_in, managed};
use crate::profile::{Desired, active};
use crate::tunable::Key;

/// Our sysctl.d file.
pub(crate) const DROP_IN: &str = drop_in::PATH;
/// Loads the module before sysctl.d is applied.
pub(crate) const MODULES_LOAD: &str = at_boot::MODULES_LOAD;
/// Applies sysctl.d again whenever the module is loaded later.
pub(crate) const UDEV_RULE: &str = at_boot::UDEV_RULES;
/// What apply last put in force: a profile like any other.
pub(crate) const ACTIVE: &str = "/etc/cttune/active.toml";

/// The files that the next boot will read, and what they come to.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    tree: Tree,
    procps: Effective,
    systemd: Effective,
    others: BTreeMap<PathBuf, Vec<u8>>,
    /// Where conntrack is a module, so that something must load it: what does.
    module: Option<ModuleFiles>,
    /// systemd-sysctl, where the system has it.
    systemd_sysctl: Option<PathBuf>,
}

impl Files {
    /// The files as they were read: the sysctl.d tree, and those of [`MODULES_LOAD`],
    /// [`UDEV_RULE`] and [`ACTIVE`] that exist, and, where conntrack is a module, how it comes.
    pub(crate) fn new(
        tree: Tree,
        others: BTreeMap<PathBuf, Vec<u8>>,
        module: Option<ModuleFiles>,
        systemd_sysctl: Option<PathBuf>,
    ) -> Self {
        let procps = boot::effective(&tree, Reader::Procps);
        let systemd = boot::effective(&tree, Reader::Systemd);
        Files {
            tree,
            procps,
            systemd,
            others,
            module,
            systemd_sysctl,
        }
    }

    /// The sysctl.d tree.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How the module comes at the next boot; `None` where conntrack is built in.
    pub(crate) fn module(&self) -> Option<&ModuleFiles> {
        self.module.as_ref()
    }

    /// Whether the next boot applies sysctl.d by systemd.
    pub(crate) fn has_systemd_sysctl(&self) -> bool {
        self.systemd_sysctl.is_some()
    }

    /// The files whose text could not be read, so that what they set is not known.
    pub(crate) fn unread(&self) -> BTreeSet<&Path> {
        let unread = self.procps.unread().iter().chain(self.systemd.unread());
        unread.map(PathBuf::as_path).collect()
    }

    /// What the next boot brings for a key, for each reader.
    pub(crate) fn persisted(&self, key: Key) -> Persisted {
        Persisted {
            procps: self.procps.winner(key).cloned(),
            systemd: self.systemd.winner(key).cloned(),
        }
    }

    /// The bytes of a file that is ours to write.
    fn bytes(&self, path: &str) -> Option<&[u8]> {
        if path == DROP_IN {
            self.tree.file(Path::new(path))
        } else {
            self.others.get(Path::new(path)).map(Vec::as_slice)
        }
    }

    /// The values that our drop-in holds; none where it is absent or not ours.
    pub(super) fn our_values(&self) -> BTreeMap<Key, i64> {
        let ours = self
            .bytes(DROP_IN)
            .and_then(|bytes| drop_in::parse(bytes).ok());
        ours.map(|ours| ours.values).unwrap_or_default()
    }
}

/// The steps that make the comparison's settings hold at the next boot.
pub(super) fn file_steps(
    desired: &Desired,
    comparison: &Comparison,
    files: &Files,
    adopt: bool,
) -> (Vec<Step>, Vec<Blocked>) {
    if let Some(Err(foreign)) = files.bytes(DROP_IN).map(drop_in::parse) {
        let file = PathBuf::from(DROP_IN);
        let blocked = Blocked::NotOurs {
            file,
            line: foreign.line,
            text: foreign.text,
        };
        return (Vec::new(), vec![blocked]);
    }
    let mut steps = Vec::new();
    let mut future = files.tree.clone();
    if let Some(text) = drop_in_text(desired, comparison, files) {
        future = future.with_file(Path::new(DROP_IN), Some(text.clone().into_bytes()));
        let why = "holds the profile's values for the next boot".to_owned();
        steps.extend(write_step(files, DROP_IN, text, why));
    }
    let mut blocked = Vec::new();
    if adopt {
        steps.extend(adopt_steps(comparison, &mut future));
    }
    blocked.extend(overridden(comparison, &future));
    steps.extend(at_boot_steps(comparison, files));
    let active = active::render(&desired.name, &desired.overrides);
    let why = "check and plan compare with it when no profile is named".to_owned();
    steps.extend(write_step(files, ACTIVE, active, why));
    (steps, blocked)
}

/// The text of our drop-in; `None` where nothing needs it, because others persist every value.
fn drop_in_text(desired: &Desired, comparison: &Comparison, files: &Files) -> Option<String> {
    let exists = files.bytes(DROP_IN).is_some();
    if !exists
        && !comparison
            .settings
            .iter()
            .any(super::Setting::persisted_is_off)
    {
        return None;
    }
    let present = comparison
        .settings
        .iter()
        .filter(|setting| setting.state != State::Missing);
    let entries: Vec<drop_in::Entry<'_>> = present
        .filter_map(|setting| setting.target_at_boot.as_ref())
        .map(|target| drop_in::Entry {
            key: target.key,
            value: target.desired,
            why: desired.why(target.key),
        })
        .collect();
    Some(drop_in::render(&desired.name, &entries))
}

/// A step that writes `text`, unless that very text stands there.
fn write_step(files: &Files, path: &str, text: String, why: String) -> Option<Step> {
    let from = files.bytes(path);
    if from == Some(text.as_bytes()) {
        return None;
    }
    Some(Step::WriteFile {
        path: PathBuf::from(path),
        from: from.map(<[u8]>::to_vec),
        to: Some(text.into_bytes()),
        why,
    })
}

/// What makes sysctl.d hold for a module, which systemd-sysctl does not wait for.
fn at_boot_steps(comparison: &Comparison, files: &Files) -> Vec<Step> {
    if files.module.is_none() || comparison.settings.is_empty() {
        return Vec::new();
    }
    let why = "sysctl.d is applied before the module would be loaded".to_owned();
    let load = write_step(files, MODULES_LOAD, at_boot::modules_load(), why);
    let why = "the values are lost when the module is unloaded and loaded again".to_owned();
    let rule = files
        .systemd_sysctl
        .as_deref()
        .and_then(|program| write_step(files, UDEV_RULE, at_boot::udev_rules(program), why));
    load.into_iter().chain(rule).collect()
}

/// A line of somebody else's that wins over what is wanted.
struct Rival {
    key: Key,
    winner: Winner,
    reader: Reader,
}

/// The lines that would bring another value than is wanted.
fn rivals(comparison: &Comparison, tree: &Tree) -> Vec<Rival> {
    let readers =
        [Reader::Procps, Reader::Systemd].map(|reader| (reader, boot::effective(tree, reader)));
    let mut rivals = Vec::new();
    for setting in comparison
        .settings
        .iter()
        .filter(|setting| setting.state != State::Missing)
    {
        let Some(target) = &setting.target_at_boot else {
            continue;
        };
        for (reader, effective) in &readers {
            let Some(winner) = effective.winner(setting.key) else {
                continue;
            };
            if !target.allows(winner.value) && winner.real != Path::new(DROP_IN) {
                rivals.push(Rival {
                    key: setting.key,
                    winner: winner.clone(),
                    reader: *reader,
                });
            }
        }
    }
    rivals
}

fn overridden(comparison: &Comparison, tree: &Tree) -> Vec<Blocked> {
    let mut found: BTreeMap<(Key, PathBuf, usize), (i64, Vec<Reader>)> = BTreeMap::new();
    for rival in rivals(comparison, tree) {
        let place = (rival.key, rival.winner.real.clone(), rival.winner.line);
        let entry = found
            .entry(place)
            .or_insert((rival.winner.value, Vec::new()));
        entry.1.push(rival.reader);
    }
    found
        .into_iter()
        .map(
            |((key, file, line), (value, readers))| Blocked::Overridden {
                key,
                file,
                line,
                value,
                readers,
            },
        )
        .collect()
}

/// Comments out, in `tree`, every line that beats ours, and then those that win in its place,
/// until ours wins. Gives a step for each file.
fn adopt_steps(comparison: &Comparison, tree: &mut Tree) -> Vec<Step> {
    let mut edits: BTreeMap<PathBuf, (Vec<u8>, Vec<usize>)> = BTreeMap::new();
    loop {
        let mut found = false;
        for rival in rivals(comparison, tree) {
            let Some(now) = tree.file(&rival.winner.real).map(<[u8]>::to_vec) else {
                continue;
            };
            let (original, lines) = edits
                .entry(rival.winner.real.clone())
                .or_insert_with(|| (now, Vec::new()));
            if lines.contains(&rival.winner.line) {
                continue;
            }
            lines.push(rival.winner.line);
            found = true;
            let edited = adopt::comment_out(original, lines);
            *tree = tree.with_file(&rival.winner.real, Some(edited));
        }
        if !found {
            break;
        }
    }
    let step = |(path, (from, mut lines)): (PathBuf, (Vec<u8>, Vec<usize>))| {
        lines.sort_unstable();
        let to = adopt::comment_out(&from, &lines);
        let why = match managed::manager(&from) {
            // hier(7): /usr is the packages', but for /usr/local.
            None if path.starts_with("/usr") && !path.starts_with("/usr/local") => {
                "it would beat ours at the next boot; an upgrade of its package may bring it back"
                    .to_owned()
            }
            None => "it would beat ours at the next boot".to_owned(),
            Some(tool) => format!(
                "it would beat ours at the next boot; {tool} manages this file and may bring it back"
            ),
        };
        Step::EditLine {
            path,
            lines,
            from,
            to,
            why,
        }
    };
    edits.into_iter().map(step).collect()
}
