//! What services and the lifeline need: nft's table now, and the files that bring it back at boot.

use std::path::Path;

use super::persist::{Files, write_step};
use super::{Blocked, Compared, Machine, Step};
use crate::diagnostic::plain::Shown;
use crate::profile::{Desired, Target, Targets};
use crate::service::{Found, Table};
use crate::tunable::Key;

/// nft's text.
pub(crate) const SERVICES: &str = "/etc/cttune/services.nft";
/// Loads it.
pub(crate) const UNIT: &str = "/etc/systemd/system/cttune-services.service";
/// Start the unit at boot, and again with nftables.service, which begins with an empty ruleset.
const WANTS: [(&str, &str); 2] = [
    (
        "/etc/systemd/system/multi-user.target.d/cttune.conf",
        "starts it at boot",
    ),
    (
        "/etc/systemd/system/nftables.service.d/cttune.conf",
        "starts it with nftables.service",
    ),
];
pub(crate) const NO_NFT: &str = "nft is not installed (package nftables)";
/// All of these.
pub(crate) const SERVICE_FILES: [&str; 4] = [SERVICES, UNIT, WANTS[0].0, WANTS[1].0];

/// How the table and its files are to what is desired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Services {
    /// The table for new flows.
    wanted: Table,
    /// What is there; `None` where no kernel was asked.
    found: Option<Found>,
    /// What is written so that it is there after a boot.
    pub(super) files: Vec<Step>,
    /// Whether the file that loads it at boot is there.
    is_persisted: bool,
    /// Why none of it is done here.
    pub(crate) left_out: Option<String>,
}

impl Services {
    pub(super) fn new(desired: &Desired, settings: &[Compared], machine: &Machine<'_>) -> Services {
        let table = |value: &dyn Fn(Key) -> Option<i64>| {
            Table::of(&desired.services, desired.lifeline.as_ref(), value)
        };
        let target = |key: Key, which: fn(&Targets) -> &Target| {
            let mut settings = settings.iter();
            let setting = settings.find(|setting| setting.key == key)?;
            Some(which(setting.targets.as_ref()?).value)
        };
        let live = |key: Key| machine.live.and_then(|live| live.value(key));
        let wanted = table(&|key| target(key, |targets| &targets.live).or_else(|| live(key)));
        let no_nft = machine.files.is_some_and(|files| files.nft().is_none());
        if no_nft && !wanted.is_empty() {
            return Services::without(NO_NFT.to_owned());
        }
        if let (Some(Found::Unread(why)), false) = (machine.table, wanted.is_empty()) {
            return Services::without(format!("nft's tables cannot be read: {why}"));
        }
        let files = machine.files.map(|files| {
            let at_boot = |key| files.next_boot().answer(key).value;
            let boot = table(&|key| {
                let target = target(key, |targets| &targets.boot);
                target.or_else(|| at_boot(key)).or_else(|| live(key))
            });
            file_steps(&desired.name, &boot, files)
        });
        Services {
            wanted,
            found: machine.table.cloned(),
            files: files.unwrap_or_default(),
            is_persisted: machine
                .files
                .is_some_and(|files| files.bytes(SERVICES).is_some()),
            left_out: None,
        }
    }

    /// None of them, and why.
    pub(crate) fn without(why: String) -> Services {
        Services {
            left_out: Some(why),
            ..Services::default()
        }
    }

    /// The step that makes the table what is desired. With `replace` no flow keeps an object that
    /// new flows do not get.
    pub(super) fn step(&self, replace: bool) -> Option<Step> {
        let Some(Found::Ours(now)) = &self.found else {
            return None;
        };
        let wanted = self.wanted.clone();
        let to = if replace { wanted } else { wanted.keeping(now) };
        if to == *now {
            return None;
        }
        let why = why(now, &to, replace);
        let some = |table: Table| Some(table).filter(|table| !table.is_empty());
        Some(Step::Service {
            from: some(now.clone()),
            to: some(to),
            replace,
            why,
        })
    }

    /// A table of our name that is not ours, where one is wanted.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        match &self.found {
            Some(Found::Foreign(part)) if !self.wanted.is_empty() => {
                Some(Blocked::ForeignTable { part: part.clone() })
            }
            _ => None,
        }
    }

    /// What is not as it is wanted, each in a sentence.
    pub(crate) fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        match &self.found {
            Some(Found::Foreign(part)) if !self.wanted.is_empty() => {
                differences.push(part.to_string());
            }
            Some(Found::Ours(now)) if now.is_empty() && !self.wanted.is_empty() => {
                let now = if self.is_persisted {
                    "is missing"
                } else {
                    "is not there yet"
                };
                let effect = self.wanted.without_effect();
                let told = format!("nft table inet cttune {now}: {effect}");
                if !self.is_persisted {
                    return vec![told];
                }
                differences.push(told);
            }
            Some(Found::Ours(now)) if self.step(false).is_some() => {
                differences.push(now.told(&self.wanted));
            }
            _ => {}
        }
        let files = self.files.iter().filter_map(Step::file);
        let files = files.map(|change| match change.from {
            None => format!("{} is missing", change.path.shown()),
            Some(_) => format!("{} differs", change.path.shown()),
        });
        differences.extend(files);
        differences
    }

    /// Whether the table that was applied was flushed or deleted since.
    pub(crate) fn is_lost(&self) -> bool {
        let has_no_rule = |found: &Found| match found {
            Found::Ours(now) => self.wanted.is_lost_in(now),
            Found::Foreign(_) | Found::Unread(_) => false,
        };
        self.is_persisted && self.found.as_ref().is_some_and(has_no_rule)
    }

    /// Whether nothing of them was ever applied here.
    pub(crate) fn is_new(&self) -> bool {
        let is_empty = |found: &Found| matches!(found, Found::Ours(now) if now.is_empty());
        !self.is_persisted && self.found.as_ref().is_some_and(is_empty)
    }

    /// What nft is asked for; nothing where the table is as it is wanted.
    pub(crate) fn transaction(&self) -> Option<String> {
        self.step(false)?.transaction()
    }

    pub(crate) fn wanted(&self) -> &Table {
        &self.wanted
    }

    /// Whether new flows have what is desired, now and after a boot.
    pub(crate) fn in_line(&self) -> bool {
        self.step(false).is_none() && self.files.is_empty() && self.blocked().is_none()
    }
}

/// What becomes of flows that have an object which goes.
fn why(now: &Table, to: &Table, replace: bool) -> String {
    if now.edited.is_some() {
        return "somebody else changed the table: it is written again".to_owned();
    }
    let kept = to.objects.len() - to.in_use().count();
    let gone: Vec<&str> = now
        .services()
        .into_iter()
        .filter(|name| !to.services().contains(name))
        .collect();
    if now.lifeline.is_some() && to.lifeline.is_none() {
        return "sessions of the lifeline are tracked from now on and may hang: reconnect them"
            .to_owned();
    }
    if !gone.is_empty() {
        let names = gone.join(", ");
        format!("flows of {names} return to the sysctls at their next packet")
    } else if replace {
        "flows with other timeouts return to the sysctls at their next packet".to_owned()
    } else if kept > 0 {
        "flows that have other timeouts of a service keep them; --replace ends that".to_owned()
    } else if now.lifeline != to.lifeline && to.objects.is_empty() {
        "management is not tracked: a full table does not lock it out".to_owned()
    } else {
        "new flows of a service have timeouts of their own".to_owned()
    }
}

fn file_steps(profile: &str, table: &Table, files: &Files) -> Vec<Step> {
    if table.is_empty() {
        let present = SERVICE_FILES
            .iter()
            .filter(|path| files.bytes(path).is_some());
        let removed = present.map(|path| Step::WriteFile {
            path: Path::new(path).to_owned(),
            from: files.bytes(path).map(<[u8]>::to_vec),
            to: None,
            why: "the profile has no services".to_owned(),
        });
        return with_reload(removed.collect(), files);
    }
    let text = format!(
        "#!/usr/sbin/nft -f\n# Written by cttune for {profile}; `cttune apply` writes it again.\n\
         # It replaces the rules of its own table alone.\n{}",
        table.file()
    );
    let nft = files.nft().unwrap_or(Path::new("/usr/sbin/nft")).display();
    let has_systemd = files.has_systemd();
    let why = if has_systemd {
        "the timeouts of services after the next boot"
    } else {
        "nothing loads it at boot here: run `nft -f` with it when the system starts"
    };
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(write_step(files, SERVICES, text, why.to_owned()));
    if has_systemd {
        let why = "loads that file, again whenever nftables.service empties the ruleset";
        steps.extend(write_step(
            files,
            UNIT,
            unit(&nft.to_string()),
            why.to_owned(),
        ));
        for (path, why) in WANTS {
            let text = "# Written by cttune.\n[Unit]\nWants=cttune-services.service\n".to_owned();
            steps.extend(write_step(files, path, text, why.to_owned()));
        }
    }
    with_reload(steps, files)
}

fn with_reload(mut steps: Vec<Step>, files: &Files) -> Vec<Step> {
    if !steps.is_empty() && files.systemd_runs() {
        let why = "systemd knows the unit only then".to_owned();
        steps.push(Step::ReloadUnits { why });
    }
    steps
}

/// It follows nftables.service in all that that does: reload, restart, stop and start.
fn unit(nft: &str) -> String {
    format!(
        "# Written by cttune; `cttune rollback` undoes it.\n\
         [Unit]\n\
         Description=Timeouts for single services (cttune)\n\
         Documentation=man:cttune-profile(5)\n\
         After=nftables.service\n\
         PartOf=nftables.service\n\
         ReloadPropagatedFrom=nftables.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={nft} -f {SERVICES}\n\
         ExecReload={nft} -f {SERVICES}\n\
         ExecStop=-{nft} delete table inet cttune\n"
    )
}
