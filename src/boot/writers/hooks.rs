//! Scripts that run at each boot or whenever an interface comes up: rc.local, init scripts, the
//! hooks of ifupdown, NetworkManager and networkd-dispatcher.
//! Follows rc.local's unit and generator, run-parts(8), interfaces(5), NetworkManager-dispatcher(8),
//! networkd-dispatcher(8), OpenRC's local.d.

use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::scripts::{Runner, Scripts};
use crate::diagnostic::plain::Shown;

/// Scripts with names of their own.
const RC_LOCAL: [&str; 5] = [
    "/etc/rc.local",
    "/etc/rc.d/rc.local",
    "/etc/init.d/boot.local",
    "/etc/init.d/after.local",
    "/sbin/ifup-local",
];

#[derive(Clone, Copy)]
enum Names {
    /// run-parts(8): letters, digits, `_` and `-`.
    RunParts,
    /// All but hidden files and backups.
    Any,
    /// Those that end so.
    Ending(&'static str),
    /// Links of init for a runlevel: `S20name`.
    Started,
}

const AT_BOOT: &str = "at boot";
const INTERFACE_UP: &str = "when an interface comes up";

/// Folders of scripts, and when a program runs what is in them.
const FOLDERS: [(&str, Names, &str); 13] = [
    ("/etc/rcS.d", Names::Started, AT_BOOT),
    ("/etc/rc2.d", Names::Started, AT_BOOT),
    ("/etc/rc3.d", Names::Started, AT_BOOT),
    ("/etc/rc5.d", Names::Started, AT_BOOT),
    ("/etc/rc.d/rc3.d", Names::Started, AT_BOOT),
    ("/etc/local.d", Names::Ending(".start"), AT_BOOT),
    ("/etc/runlevels/boot", Names::Any, AT_BOOT),
    ("/etc/runlevels/default", Names::Any, AT_BOOT),
    ("/var/lib/cloud/scripts/per-boot", Names::Any, AT_BOOT),
    ("/etc/runit/core-services", Names::Ending(".sh"), AT_BOOT),
    ("/etc/network/if-pre-up.d", Names::RunParts, INTERFACE_UP),
    ("/etc/network/if-up.d", Names::RunParts, INTERFACE_UP),
    ("/etc/ppp/ip-up.d", Names::RunParts, INTERFACE_UP),
];
/// Those of programs that look below /etc and below /usr/lib.
const DISPATCHERS: [&str; 7] = [
    "NetworkManager/dispatcher.d",
    "NetworkManager/dispatcher.d/pre-up.d",
    "NetworkManager/dispatcher.d/no-wait.d",
    "networkd-dispatcher/carrier.d",
    "networkd-dispatcher/configured.d",
    "networkd-dispatcher/degraded.d",
    "networkd-dispatcher/routable.d",
];

/// Folders of programs that run commands from files of their own, and when.
const SETTINGS: [(&str, &str); 9] = [
    ("/etc/cloud/cloud.cfg.d", "when cloud-init runs"),
    ("/etc/dhcp/dhclient-enter-hooks.d", INTERFACE_UP),
    ("/etc/dhcp/dhclient-exit-hooks.d", INTERFACE_UP),
    ("/etc/ferm", "when ferm starts"),
    ("/etc/keepalived", "when keepalived changes its state"),
    ("/etc/shorewall", "when shorewall starts"),
    ("/etc/shorewall6", "when shorewall6 starts"),
    ("/etc/wireguard", "when wg-quick starts"),
    ("/var/lib/cloud/instance", "when cloud-init runs"),
];
const ANACRONTAB: &str = "/etc/anacrontab";

/// What is found there is said as unknown: whether and how often it runs is up to the program.
fn settings(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let in_folder = |(folder, when): (&'static str, &'static str)| {
        let names = facts
            .names(folder)
            .iter()
            .filter(|name| Names::Any.has(name));
        names.map(move |name| (Path::new(folder).join(name), when))
    };
    let files = SETTINGS.into_iter().flat_map(in_folder);
    let anacron = (PathBuf::from(ANACRONTAB), "when anacron runs");
    for (path, when) in files.chain([anacron]) {
        let runner = Runner {
            who: path.shown(),
            when: when.to_owned(),
            is_conditional: true,
        };
        scripts.settings(&path, &runner);
    }
}

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    settings(facts, scripts);
    for path in RC_LOCAL {
        run(facts, Path::new(path), AT_BOOT, scripts);
    }
    let at = |base: &'static str| DISPATCHERS.map(|folder| format!("{base}/{folder}"));
    let dispatchers = ["/etc", "/usr/lib"].into_iter().flat_map(at);
    let dispatchers = dispatchers.map(|folder| (folder, Names::Any, INTERFACE_UP));
    let folders = FOLDERS.map(|(folder, names, when)| (folder.to_owned(), names, when));
    for (folder, names, when) in folders.into_iter().chain(dispatchers) {
        for name in facts.names(&folder).iter().filter(|name| names.has(name)) {
            run(facts, &Path::new(&folder).join(name), when, scripts);
        }
    }
}

/// A script counts only if it is executable.
fn run(facts: &Facts<'_>, path: &Path, when: &str, scripts: &mut Scripts<'_>) {
    if facts.file(path).is_some_and(|file| file.is_executable) {
        let runner = Runner {
            who: path.shown(),
            when: when.to_owned(),
            is_conditional: false,
        };
        scripts.script(path, &runner);
    }
}

impl Names {
    fn has(self, name: &str) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let is_backup = [
            "~",
            ".rpmsave",
            ".rpmorig",
            ".rpmnew",
            ".swp",
            ".dpkg-old",
            ".bak",
        ]
        .iter()
        .any(|ending| name.ends_with(ending));
        match self {
            Names::RunParts => name.chars().all(is_plain),
            Names::Any => !name.starts_with('.') && !is_backup,
            Names::Ending(ending) => name.ends_with(ending),
            Names::Started => {
                name.starts_with('S') && name[1..].starts_with(|c: char| c.is_ascii_digit())
            }
        }
    }
}
