//! What udev's rules write: when the conntrack module is loaded, and when other devices come.

use std::collections::BTreeSet;
use std::path::Path;

use super::facts::{Facts, Found};
use super::scripts::{Runner, Scripts, has_a_word};
use super::{Applier, LaterWrite};
use crate::boot::modules::{ConfFile, MODPROBE_FOLDERS, ModuleFiles, UDEV_FOLDERS};
use crate::boot::shell;
use crate::boot::udev::{self, Match};
use crate::diagnostic::plain::Shown;

/// Who runs an `install` line of modprobe.d.
pub(crate) const MODPROBE: &str = "modprobe";

/// Rules with one of these words in them may write a sysctl.
const WORDS: [&str; 4] = ["sysctl", "SYSCTL", "conntrack", "proc/sys"];

/// What happens whenever the module is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OnLoad {
    /// Values that a rule sets by itself.
    pub(crate) writes: Vec<LaterWrite>,
    pub(crate) appliers: Vec<Applier>,
}

/// Reads the rules: those for the module's own event apart from those for other devices.
pub(super) fn read<'a>(facts: &'a Facts<'a>, scripts: &mut Scripts<'a>) -> OnLoad {
    let mut on_load = Scripts::new(facts);
    // udev looks for a name without a folder in its own.
    let is_there = |run: &udev::Run| {
        let program = run.command.split(' ').next().unwrap_or_default();
        !program.starts_with(udev::OWN_PROGRAMS)
            || *facts.find(Path::new(program)) != Found::Nothing
    };
    for run in udev::programs(&rules(facts)).into_iter().filter(is_there) {
        let words = shell::words(&run.command, &shell::Variables::default());
        let is_own = run.matches != Match::No;
        let runner = Runner {
            who: format!("the rule in {}", run.place.file.shown()),
            when: if is_own {
                "when the module is loaded"
            } else {
                "when udev sees a device"
            }
            .to_owned(),
            is_conditional: !is_own || run.matches == Match::Unknown,
            ..Runner::default()
        };
        if is_own {
            on_load.command(words, &run.place, &runner);
        } else {
            scripts.command(words, &run.place, &runner);
        }
    }
    let modprobe = ModuleFiles {
        modprobe: folder_files(facts, &MODPROBE_FOLDERS, "conf", |_, _| true),
        ..ModuleFiles::default()
    };
    if let Some((line, command)) = modprobe.install_command() {
        let runner = Runner {
            who: MODPROBE.to_owned(),
            when: "when the module is loaded".to_owned(),
            ..Runner::default()
        };
        on_load.line(&command, &line, &runner);
    }
    let Scripts {
        writes,
        appliers,
        asked,
        ..
    } = on_load;
    scripts.asked.extend(asked);
    OnLoad { writes, appliers }
}

/// The rules that are to be evaluated: all of the admin's, of the packages' those that may matter.
fn rules(facts: &Facts<'_>) -> Vec<ConfFile> {
    folder_files(facts, &UDEV_FOLDERS, "rules", |folder, text| {
        folder.starts_with("/etc") || has_a_word(text, &WORDS)
    })
}

/// The files of folders; of one name the first counts. Those that do not matter are empty.
fn folder_files(
    facts: &Facts<'_>,
    folders: &[&str],
    ending: &str,
    matters: impl Fn(&str, &str) -> bool,
) -> Vec<ConfFile> {
    let mut files: Vec<ConfFile> = Vec::new();
    let mut seen = BTreeSet::new();
    for folder in folders {
        for name in facts.names_ending(folder, ending) {
            if !seen.insert(name) {
                continue;
            }
            let path = Path::new(folder).join(name);
            let bytes = match facts.find(&path) {
                Found::File(file) => Some(if matters(folder, &file.text) {
                    file.text.clone().into_bytes()
                } else {
                    Vec::new()
                }),
                Found::Unreadable => None,
                _ => Some(Vec::new()),
            };
            files.push(ConfFile { path, bytes });
        }
    }
    files
}
