//! Scripts that run at each boot or whenever an interface comes up: rc.local, init scripts, the
//! hooks of ifupdown, NetworkManager and networkd-dispatcher. A hook surely runs only where files
//! show that its program is in use; packages install hooks for programs that are not.
//! Follows rc.local's unit and generator, run-parts(8), interfaces(5), NetworkManager-dispatcher(8),
//! networkd-dispatcher(8), OpenRC's local.d.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::{Facts, Found};
use super::interfaces;
use super::scripts::{Runner, Scripts, first_line};
use super::{ufw, units};
use crate::diagnostic::plain::Shown;

/// Scripts with names of their own.
const SCRIPTS: [(&str, By); 7] = [
    ("/etc/rc.local", By::Boot),
    ("/etc/rc.d/rc.local", By::Boot),
    ("/etc/init.d/boot.local", By::Boot),
    ("/etc/init.d/after.local", By::Boot),
    ("/etc/ufw/after.init", By::Ufw),
    ("/etc/ufw/before.init", By::Ufw),
    ("/sbin/ifup-local", By::NetworkScripts),
];

/// What runs a script.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Boot,
    Ifupdown,
    NetworkManager,
    NetworkdDispatcher,
    NetworkScripts,
    Ppp,
    Cron,
    Ufw,
}

impl By {
    fn when(self) -> &'static str {
        match self {
            By::Boot => "at boot",
            By::Ifupdown | By::NetworkScripts => "when ifup brings an interface up",
            By::NetworkManager => "when NetworkManager brings an interface up",
            By::NetworkdDispatcher => "when networkd-dispatcher sees an interface come up",
            By::Ppp => "when ppp brings a link up",
            By::Cron => "when cron or anacron runs its folder",
            By::Ufw => "when ufw starts",
        }
    }

    /// Whether files show that it runs scripts at boot.
    fn is_in_use(self, facts: &Facts<'_>) -> bool {
        match self {
            By::Boot => true,
            By::Ifupdown => interfaces::brings_some_up(facts),
            By::NetworkManager => {
                units::starts(facts, "NetworkManager.service")
                    && !units::is_masked(facts, "NetworkManager-dispatcher.service")
            }
            By::NetworkdDispatcher => units::starts(facts, "networkd-dispatcher.service"),
            By::NetworkScripts | By::Ppp | By::Cron => false,
            By::Ufw => ufw::file(facts).is_some(),
        }
    }
}

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

/// Folders of scripts, and what runs them.
const FOLDERS: [(&str, Names, By); 17] = [
    ("/etc/rcS.d", Names::Started, By::Boot),
    ("/etc/rc2.d", Names::Started, By::Boot),
    ("/etc/rc3.d", Names::Started, By::Boot),
    ("/etc/rc5.d", Names::Started, By::Boot),
    ("/etc/rc.d/rc3.d", Names::Started, By::Boot),
    ("/etc/local.d", Names::Ending(".start"), By::Boot),
    ("/etc/runlevels/boot", Names::Any, By::Boot),
    ("/etc/runlevels/default", Names::Any, By::Boot),
    ("/var/lib/cloud/scripts/per-boot", Names::Any, By::Boot),
    ("/etc/runit/core-services", Names::Ending(".sh"), By::Boot),
    ("/etc/network/if-pre-up.d", Names::RunParts, By::Ifupdown),
    ("/etc/network/if-up.d", Names::RunParts, By::Ifupdown),
    ("/etc/ppp/ip-up.d", Names::RunParts, By::Ppp),
    ("/etc/cron.hourly", Names::RunParts, By::Cron),
    ("/etc/cron.daily", Names::RunParts, By::Cron),
    ("/etc/cron.weekly", Names::RunParts, By::Cron),
    ("/etc/cron.monthly", Names::RunParts, By::Cron),
];
/// Those of programs that look below /etc and below /usr/lib.
const DISPATCHERS: [(&str, By); 7] = [
    ("NetworkManager/dispatcher.d", By::NetworkManager),
    ("NetworkManager/dispatcher.d/pre-up.d", By::NetworkManager),
    ("NetworkManager/dispatcher.d/no-wait.d", By::NetworkManager),
    ("networkd-dispatcher/carrier.d", By::NetworkdDispatcher),
    ("networkd-dispatcher/configured.d", By::NetworkdDispatcher),
    ("networkd-dispatcher/degraded.d", By::NetworkdDispatcher),
    ("networkd-dispatcher/routable.d", By::NetworkdDispatcher),
];

/// Folders of programs that run commands from files of their own, and when.
const SETTINGS: [(&str, &str); 13] = [
    ("/etc/cloud/cloud.cfg.d", "when cloud-init runs"),
    (
        "/etc/dhcp/dhclient-enter-hooks.d",
        "when dhclient gets an address",
    ),
    (
        "/etc/dhcp/dhclient-exit-hooks.d",
        "when dhclient gets an address",
    ),
    ("/etc/ferm", "when ferm starts"),
    ("/etc/keepalived", "when keepalived changes its state"),
    ("/etc/libvirt/hooks", "when libvirt runs its hooks"),
    (
        "/etc/libvirt/hooks/network.d",
        "when libvirt runs its hooks",
    ),
    ("/etc/libvirt/hooks/qemu.d", "when libvirt runs its hooks"),
    ("/etc/openvpn", "when openvpn brings a tunnel up"),
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
            ..Runner::default()
        };
        scripts.settings(&path, &runner);
    }
}

pub(super) fn read<'a>(facts: &'a Facts<'a>, scripts: &mut Scripts<'a>) {
    settings(facts, scripts);
    let mut hooks = Hooks {
        facts,
        scripts,
        in_use: BTreeMap::new(),
    };
    let at = |base: &'static str| DISPATCHERS.map(|(folder, by)| (format!("{base}/{folder}"), by));
    let dispatchers = ["/etc", "/usr/lib"].into_iter().flat_map(at);
    let dispatchers = dispatchers.map(|(folder, by)| (folder, Names::Any, by));
    let folders = FOLDERS.map(|(folder, names, by)| (folder.to_owned(), names, by));
    let mut all: Vec<_> = SCRIPTS.map(|(path, by)| (PathBuf::from(path), by)).into();
    for (folder, names, by) in folders.into_iter().chain(dispatchers) {
        for name in facts.names(&folder).iter().filter(|name| names.has(name)) {
            let path = Path::new(&folder).join(name);
            let script = match names {
                Names::Started => init_script(facts, &path),
                _ => None,
            };
            all.push((script.unwrap_or(path), by));
        }
    }
    // Of several runlevels the last tells the order.
    let places = all.iter().enumerate();
    let last: BTreeMap<&Path, usize> = places.map(|(at, (path, _))| (path.as_path(), at)).collect();
    for (at, (path, by)) in all.iter().enumerate() {
        if last.get(path.as_path()) == Some(&at) {
            hooks.run(path, *by);
        }
    }
}

/// The script of init.d that a runlevel starts, to which several of them have a link: the one of that
/// name with the same text. Those of rcS.d keep their names, which tell that they run early.
fn init_script(facts: &Facts<'_>, link: &Path) -> Option<PathBuf> {
    let folder = link.parent().filter(|folder| !folder.ends_with("rcS.d"))?;
    let name = link.file_name()?.to_str()?;
    let name = name[1..].trim_start_matches(|c: char| c.is_ascii_digit());
    let script = folder.parent()?.join("init.d").join(name);
    let linked = facts.file(link)?;
    (facts.file(&script) == Some(linked)).then_some(script)
}

struct Hooks<'a, 'b> {
    facts: &'a Facts<'a>,
    scripts: &'b mut Scripts<'a>,
    in_use: BTreeMap<By, bool>,
}

impl Hooks<'_, '_> {
    /// A script counts only if it is executable; of a program in its place nothing is known.
    fn run(&mut self, path: &Path, by: By) {
        let is_program = match self.facts.find(path) {
            Found::File(file) if file.is_executable => false,
            Found::Unfollowed {
                is_program,
                is_executable: true,
            } => *is_program,
            _ => return,
        };
        let in_use = self.in_use.entry(by);
        let runner = Runner {
            who: path.shown(),
            when: by.when().to_owned(),
            is_conditional: !*in_use.or_insert_with(|| by.is_in_use(self.facts)),
            ..Runner::default()
        };
        if is_program {
            self.scripts
                .unfollowed(&first_line(path), &runner, "a program, no script");
        } else {
            self.scripts.script(path, &runner);
        }
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
