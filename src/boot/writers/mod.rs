//! Other writers: programs that set conntrack sysctls after sysctl.d was applied.
//!
//! In: [`Facts`], the texts that a machine has about them and the processes that run. Out: a
//! [`LaterWrite`] for each value that one of them sets, with its file and line.
//! Rule: pure but for the function of [`Facts`] that reads a file, which `files/writers` gives. What
//! cannot be evaluated has no value, and says so.

mod conntrackd;
mod cron;
mod disabled;
mod elsewhere;
mod environment;
mod facts;
mod hooks;
mod interfaces;
mod kube_proxy;
mod printed;
mod requests;
mod scripts;
mod settings;
mod tuned;
mod udev;
mod ufw;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Reader, SourceLine};
use crate::tunable::Key;

pub(crate) use disabled::Disabled;
pub(crate) use facts::{Facts, File, Found, Process};
pub(crate) use kube_proxy::KubeProxy;
pub(crate) use tuned::Tuned;
pub(crate) use udev::{MODPROBE, OnLoad};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaterWrite {
    /// The program: `ufw`, `set-conntrack.service`, `/etc/rc.local`.
    pub(crate) who: String,
    /// When it writes: `at boot`, `when ufw starts`.
    pub(crate) when: String,
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    /// The key; none where cttune sees that conntrack is written to and not which key.
    pub(crate) key: Option<Key>,
    /// The value that the kernel has then; none where it cannot be evaluated.
    pub(crate) value: Option<i64>,
    pub(crate) certainty: Certainty,
}

/// Whether a write happens at the next boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    Sure,
    /// If a condition of its script or unit is met.
    MayRun,
    /// It depends on the program's version, which cttune does not know.
    DependsOnVersion,
}

/// A command that applies sysctl.d again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applier {
    pub(crate) place: SourceLine,
    pub(crate) reader: Reader,
    /// Below which paths alone; everything if there are none.
    pub(crate) prefixes: Vec<String>,
    /// Whether it runs in any case.
    pub(crate) is_sure: bool,
}

impl Applier {
    /// Whether it runs where systemd-sysctl does.
    pub(crate) fn is_early(&self) -> bool {
        self.place.file.starts_with("/etc/rcS.d")
    }
}

impl LaterWrite {
    pub(crate) fn place(&self) -> SourceLine {
        SourceLine {
            file: self.file.clone(),
            line: self.line,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Writers {
    /// What they write, in the order in which they were found.
    pub(crate) writes: Vec<LaterWrite>,
    /// The files with lines like sysctl.d's that one of them applies: ufw's, those of `sysctl -p`.
    pub(crate) plain: BTreeMap<PathBuf, Vec<u8>>,
    /// The programs of [`Facts::PROGRAMS`] that run.
    pub(crate) running: Vec<&'static str>,
    /// A kube-proxy, alone or in another program.
    pub(crate) kube_proxy: Option<KubeProxy>,
    pub(crate) tuned: Option<Tuned>,
    /// Whether conntrackd copies flows to another node; none where its file was not read.
    pub(crate) conntrackd_copies: Option<bool>,
    /// Whether firewalld unloads the module when it stops.
    pub(crate) firewalld_unloads: bool,
    /// What happens whenever the module is loaded.
    pub(crate) on_load: OnLoad,
    /// Scripts and units that apply sysctl.d again.
    pub(crate) appliers: Vec<Applier>,
    /// A file of the admin's that changes how systemd-sysctl starts.
    pub(crate) changed: Option<String>,
    pub(crate) disabled: Disabled,
    pub(crate) unread: Vec<PathBuf>,
}

impl Writers {
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let mut script = scripts::Scripts::new(facts);
        hooks::read(facts, &mut script);
        cron::read(facts, &mut script);
        interfaces::read(facts, &mut script);
        settings::read(facts, &mut script);
        let on_load = udev::read(facts, &mut script);
        let tuned = tuned::read(facts, &mut script);
        units::read(facts, &mut script);
        let scripts::Scripts {
            mut writes,
            appliers,
            loaded,
            programs,
            ..
        } = script;
        let kube_proxy = kube_proxy::read(facts, &programs);
        writes.extend(ufw::writes(facts));
        writes.extend(tuned.iter().flat_map(|tuned| tuned.writes.clone()));
        writes.extend(kube_proxy.iter().flat_map(|found| found.writes.clone()));
        dedup(&mut writes);
        let plain = loaded
            .into_iter()
            .chain(ufw::file(facts).map(PathBuf::from));
        // A file that is no UTF-8 was not read byte by byte.
        let text = |path: PathBuf| {
            let text = facts
                .text(&path)
                .filter(|text| !text.contains('\u{fffd}'))?;
            Some((path, text.as_bytes().to_vec()))
        };
        Writers {
            writes,
            plain: plain.filter_map(text).collect(),
            running: facts.running(),
            kube_proxy,
            tuned,
            conntrackd_copies: conntrackd::copies(facts),
            firewalld_unloads: ufw::firewalld_unloads(facts),
            on_load,
            appliers,
            changed: units::changed(facts, "systemd-sysctl.service"),
            disabled: disabled::read(facts),
            unread: facts.unreadable(),
        }
    }

    pub(crate) fn runs(&self, program: &str) -> bool {
        self.running.contains(&program)
    }

    /// What is written to `key`, writes to an unknown key included.
    pub(crate) fn of_key(&self, key: Key) -> impl Iterator<Item = &LaterWrite> {
        let may_be = move |write: &&LaterWrite| write.key.is_none_or(|own| own == key);
        self.writes.iter().filter(may_be)
    }
}

/// The most lines of a file that may write any key: more of them change no answer.
const MOST_UNKNOWN: usize = 16;

/// One line may be reached by several ways: two interfaces' hooks, a script that two units run, or one
/// that runs twice. Its last write counts, and the last that is sure.
fn dedup(writes: &mut Vec<LaterWrite>) {
    type Place = (PathBuf, usize, Option<Key>, Option<i64>);
    let place = |one: &LaterWrite| -> Place { (one.file.clone(), one.line, one.key, one.value) };
    let mut surest: BTreeMap<Place, Certainty> = BTreeMap::new();
    writes.reverse();
    writes.retain(|one| {
        let Some(surest) = surest.get_mut(&place(one)) else {
            surest.insert(place(one), one.certainty);
            return true;
        };
        let is_surer = one.certainty < *surest;
        *surest = one.certainty.min(*surest);
        is_surer
    });
    writes.reverse();
    let mut last: BTreeMap<Option<Key>, Place> = BTreeMap::new();
    let mut unknown: BTreeMap<PathBuf, usize> = BTreeMap::new();
    writes.retain(|one| {
        // Where nothing came in between, it changes nothing that it may be written again.
        let is_again = last.insert(one.key, place(one)) == Some(place(one));
        if one.key.is_none() && !is_again {
            let count = unknown.entry(one.file.clone()).or_default();
            *count += 1;
            return *count <= MOST_UNKNOWN;
        }
        !is_again
    });
}

#[cfg(test)]
mod tests;
