//! What holds after the next boot: for each key the value, the line that it comes from, and how sure
//! that is.
//!
//! In: [`BootFiles`], everything that was read. Out: an [`Answer`] a key.
//! Rule: the order is the machine's: the kernel command line, the module's options, the readers of
//! sysctl.d, what udev runs when the module is loaded, later writers. A value is `Known` only if
//! nothing that was read can change it; what could not be read or evaluated is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::command_line::CommandLine;
use super::dead_lines::{self, DeadLine};
use super::effective::{effective, effective_below};
use super::modules::{ConfFile, HashSize, Loading, ModuleFiles, hash_size_of};
use super::storage::{self, StorageFacts, Volatile};
use super::writers::{Applier, Certainty, LaterWrite, MODPROBE, Writers};
use super::{Effective, Reader, SourceLine, Tree, Winner, drop_in};
use crate::diagnostic::Hint;
use crate::diagnostic::plain::Shown;
use crate::tunable::{self, Key};

/// Everything that decides what the next boot brings, as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct BootFiles {
    pub(crate) tree: Tree,
    /// The programs of this machine that apply sysctl.d; none where that is not known.
    pub(crate) readers: Vec<Reader>,
    /// A program that applies sysctl.d and that cttune does not know.
    pub(crate) other_reader: Option<&'static str>,
    /// How the module is loaded; none where conntrack is built in.
    pub(crate) module: Option<ModuleFiles>,
    /// The files of modprobe.d where conntrack is built in and they reach nothing.
    pub(crate) modprobe: Vec<ConfFile>,
    pub(crate) command_line: CommandLine,
    pub(crate) writers: Writers,
    pub(crate) storage: StorageFacts,
    /// Files beside those of sysctl.d and modprobe.d that no reader reads for their names.
    pub(crate) strays: Vec<ConfFile>,
    /// Others that were to be read and could not be.
    pub(crate) unread: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sure {
    #[default]
    Known,
    Depends,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// The value; none where the kernel's default stays or nothing can be told.
    pub(crate) value: Option<i64>,
    pub(crate) from: Option<SourceLine>,
    pub(crate) sure: Sure,
    /// What it depends on, or why it is unknown.
    pub(crate) reasons: Vec<String>,
    /// Whether a value is set for the key and lost, because nothing surely sets it when the key
    /// exists.
    pub(crate) is_lost: bool,
    /// Whether another program sets it after sysctl.d was applied.
    pub(crate) is_of_writer: bool,
}

/// What keeps sysctl.d from being applied at boot, or modules-load.d.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotApplied {
    /// A whole clause.
    pub(crate) why: String,
    pub(crate) fix: Hint,
}

#[derive(Debug, Clone)]
pub(crate) struct NextBoot {
    files: BootFiles,
    effective: BTreeMap<Reader, Effective>,
    /// What tuned makes of sysctl.d, where it applies it again.
    by_tuned: Option<Effective>,
    /// What each program that udev runs when the module is loaded makes of sysctl.d.
    on_load: Vec<(Applier, Effective)>,
    /// The same of each program that applies sysctl.d later in a boot.
    again: Vec<(Applier, Effective)>,
    loading: Option<Loading>,
    volatile: Option<Volatile>,
    answers: BTreeMap<Key, Answer>,
}

impl NextBoot {
    pub(crate) fn new(mut files: BootFiles) -> Self {
        let idle = loads_nothing(&files);
        if let Some(module) = &mut files.module {
            module.idle = idle;
        }
        let tree = &files.tree;
        let mut all: Vec<Reader> = Reader::ALL.to_vec();
        all.extend(
            files
                .readers
                .iter()
                .copied()
                .filter(|reader| !Reader::ALL.contains(reader)),
        );
        let effective = all
            .into_iter()
            .map(|reader| (reader, effective(tree, reader)))
            .collect();
        let reapplies = files
            .writers
            .tuned
            .as_ref()
            .is_some_and(|tuned| tuned.reapplies);
        let by_tuned = reapplies.then(|| super::effective(tree, Reader::Tuned));
        let each = |appliers: &[Applier]| {
            let of = |applier: &Applier| {
                let effective = effective_below(tree, applier.reader, &applier.prefixes);
                (applier.clone(), effective)
            };
            let late = appliers.iter().filter(|applier| !applier.is_early());
            late.map(of).collect::<Vec<_>>()
        };
        let mut next_boot = NextBoot {
            effective,
            by_tuned,
            on_load: each(&files.writers.on_load.appliers),
            again: each(&files.writers.appliers),
            loading: files.module.as_ref().map(ModuleFiles::loading),
            volatile: storage::volatile(&files.storage, &files.command_line),
            files,
            answers: BTreeMap::new(),
        };
        let answers = Key::ALL.iter().map(|key| (*key, next_boot.work_out(*key)));
        next_boot.answers = answers.collect();
        next_boot
    }

    /// The model once the files that a plan writes are there: the tree is as given, and, where
    /// `loads` says so, cttune's own files load the module and bring every key back.
    #[must_use]
    pub(crate) fn with(&self, tree: Tree, loads: bool) -> Self {
        let mut files = self.files.clone();
        files.tree = tree;
        if let (true, Some(module)) = (loads, &mut files.module) {
            let path = PathBuf::from(super::at_boot::MODULES_LOAD);
            module
                .modules_load
                .retain(|file| file.path.file_name() != path.file_name());
            module.modules_load.insert(
                0,
                ConfFile {
                    path,
                    bytes: Some(super::at_boot::modules_load().into_bytes()),
                },
            );
        }
        NextBoot::new(files)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.files.tree
    }

    /// The programs that apply sysctl.d here: both that most machines have where none was found.
    pub(crate) fn readers(&self) -> &[Reader] {
        if self.files.readers.is_empty() {
            &Reader::ALL
        } else {
            &self.files.readers
        }
    }

    pub(crate) fn other_reader(&self) -> Option<&'static str> {
        self.files.other_reader
    }

    pub(crate) fn module(&self) -> Option<&ModuleFiles> {
        self.files.module.as_ref()
    }

    /// What loads the module before sysctl.d is applied; none where conntrack is built in.
    pub(crate) fn loading(&self) -> Option<&Loading> {
        self.loading.as_ref()
    }

    pub(crate) fn writers(&self) -> &Writers {
        &self.files.writers
    }

    pub(crate) fn volatile(&self) -> Option<&Volatile> {
        self.volatile.as_ref()
    }

    /// Whether tuned applies sysctl.d again, in its own order.
    pub(crate) fn applies_by_tuned(&self) -> bool {
        self.by_tuned.is_some()
    }

    /// Whether systemd-sysctl was found on the machine.
    pub(crate) fn has_systemd(&self) -> bool {
        self.files.readers.contains(&Reader::Systemd)
    }

    pub(crate) fn winner(&self, reader: Reader, key: Key) -> Option<&Winner> {
        self.effective.get(&reader)?.winner(key)
    }

    /// The hash size that the module, or a built-in conntrack, is given.
    pub(crate) fn hash_size(&self) -> Option<HashSize> {
        match self.module() {
            Some(module) => module.hash_size(),
            None => hash_size_of(&self.files.command_line),
        }
    }

    /// Lines that are meant for conntrack and do nothing.
    pub(crate) fn dead_lines(&self) -> Vec<DeadLine> {
        let mut found = dead_lines::in_sysctl_d(self.tree(), self.readers());
        found.extend(dead_lines::in_strays(&self.files.strays));
        if let Some(module) = self.module() {
            found.extend(dead_lines::in_modprobe_d(module));
            found.extend(dead_lines::in_modules_load(module));
        }
        found.extend(dead_lines::without_module(&self.files.modprobe));
        found.extend(dead_lines::in_command_line(
            &self.files.command_line,
            self.module().is_some(),
        ));
        found
    }

    /// Files that could not be read, so that what they set is unknown.
    pub(crate) fn unread(&self) -> BTreeSet<&Path> {
        let readers = self
            .readers()
            .iter()
            .filter_map(|reader| self.effective.get(reader));
        let of_tree = readers.flat_map(Effective::unread);
        let module = self.module().into_iter();
        let of_module =
            module.flat_map(|module| module.modules_load.iter().chain(&module.modprobe));
        let of_module = of_module.filter(|file| file.bytes.is_none());
        of_tree
            .chain(&self.files.writers.unread)
            .chain(&self.files.unread)
            .chain(of_module.map(|file| &file.path))
            .map(PathBuf::as_path)
            .collect()
    }

    /// Later writes to `key`, each with what it comes to now: tuned's own values count only where
    /// it does not apply sysctl.d over them.
    pub(crate) fn later(&self, key: Key) -> Vec<LaterWrite> {
        let reapplied = self.by_tuned.as_ref();
        let reapplied = reapplied.and_then(|effective| effective.winner(key));
        let writes = self.files.writers.of_key(key);
        let counts = |write: &&LaterWrite| write.who != "tuned" || reapplied.is_none();
        let mut writes: Vec<LaterWrite> = writes.filter(counts).cloned().collect();
        // Where a reader ends with the same line, tuned changes nothing.
        let is_same = |winner: &&Winner| {
            let readers = self.readers().iter();
            let mut winners = readers.filter_map(|reader| self.winner(*reader, key));
            winners.any(|own| own.real == winner.real && own.line == winner.line)
        };
        let is_own = |winner: &&Winner| winner.real == Path::new(drop_in::PATH);
        let other = reapplied.filter(|winner| !is_own(winner) && !is_same(winner));
        writes.extend(other.map(|winner| LaterWrite {
            who: "tuned".to_owned(),
            when: "when tuned starts and applies sysctl.d in its own order".to_owned(),
            file: winner.file.clone(),
            line: winner.line,
            key: Some(key),
            value: Some(winner.value),
            certainty: Certainty::Sure,
        }));
        writes
    }

    /// Whether something sets the key, in whatever way.
    pub(crate) fn is_set(&self, key: Key) -> bool {
        let answer = self.answer(key);
        answer.value.is_some() || answer.is_lost
    }

    pub(crate) fn answer(&self, key: Key) -> Answer {
        self.answers.get(&key).cloned().unwrap_or_default()
    }

    fn work_out(&self, key: Key) -> Answer {
        let mut answer = Answer::default();
        self.kernel(key, &mut answer);
        self.sysctl_d(key, &mut answer);
        self.module_timing(key, &mut answer);
        self.later_writes(key, &mut answer);
        self.doubts(&mut answer);
        answer
    }

    /// The kernel command line and the options of the module.
    fn kernel(&self, key: Key, answer: &mut Answer) {
        if self.module().is_none()
            && let Some(from) = self.files.command_line.from()
        {
            for (_, own, text) in self.files.command_line.sysctls() {
                if own == Some(key)
                    && let Some(number) = tunable::kernel_number(key, text)
                {
                    answer.set(tunable::as_held(key, number), from.clone());
                }
            }
        }
        let size = self.hash_size();
        match (key, size) {
            (Key::Buckets, Some(size)) => answer.set(size.buckets(), size.line),
            (Key::Max, Some(size)) if answer.value.is_none() => answer.set(size.max(), size.line),
            _ => {}
        }
    }

    fn sysctl_d(&self, key: Key, answer: &mut Answer) {
        let winners: Vec<(Reader, Option<&Winner>)> = self
            .readers()
            .iter()
            .map(|reader| (*reader, self.winner(*reader, key)))
            .collect();
        // systemd-sysctl is what runs at boot; `sysctl --system` is run by hand and by packages.
        let first = winners
            .iter()
            .find(|(reader, _)| *reader != Reader::Procps)
            .or(winners.first());
        if let Some((_, Some(winner))) = first {
            if let Some(not_applied) = self.not_applied() {
                answer.is_lost = true;
                return answer.depends(not_applied.why);
            }
            let from = SourceLine {
                file: winner.real.clone(),
                line: winner.line,
            };
            answer.set(winner.value, from);
        }
        let value = |winner: Option<&Winner>| winner.map(|winner| winner.value);
        let disagreeing = winners
            .iter()
            .find(|(_, winner)| winner.is_some() && value(*winner) != answer.value);
        if let Some((reader, Some(winner))) = disagreeing {
            answer.depends(format!(
                "{reader} sets {} by {}:{}",
                winner.value,
                winner.file.shown(),
                winner.line
            ));
        }
    }

    /// Why nothing applies sysctl.d at boot, if that is so.
    pub(crate) fn not_applied(&self) -> Option<NotApplied> {
        if self.has_systemd() {
            let (place, fix) = masked(&self.files, "systemd-sysctl")?;
            let why = format!("{place} masks systemd-sysctl, which applies sysctl.d");
            return Some(NotApplied { why, fix });
        }
        let disabled = &self.files.writers.disabled;
        let (script, command) = match self.files.readers.as_slice() {
            [Reader::OpenRc] if disabled.openrc => ("sysctl", "rc-update add sysctl boot"),
            [Reader::Procps] if disabled.procps => ("procps", "update-rc.d procps defaults"),
            _ => return None,
        };
        Some(NotApplied {
            why: format!("no runlevel starts {script}, which applies sysctl.d"),
            fix: Hint::on_host(command).to("start it at boot"),
        })
    }

    /// Whether what sysctl.d sets is set while the key exists.
    fn module_timing(&self, key: Key, answer: &mut Answer) {
        let brought_back = self.brought_back(key);
        // Later than what udev sets while the module is loaded early.
        let is_applied = self.not_applied().is_none();
        let Some(loading) = &self.loading else {
            return answer.may_be_set(brought_back);
        };
        let is_set_by_sysctl_d = self
            .readers()
            .iter()
            .any(|reader| self.winner(*reader, key).is_some());
        if let Some((write, is_sure)) = &brought_back
            && !matches!(loading, Loading::Never(_) | Loading::Soft(_))
            && !(is_applied && matches!(loading, Loading::Early(_)))
            && *is_sure
        {
            *answer = Answer::default();
            answer.set(write.0, write.1.clone());
            return;
        }
        if !matches!(loading, Loading::Never(_)) {
            answer.may_be_set(brought_back);
            self.unknown_on_load(key, answer);
        }
        if !is_set_by_sysctl_d {
            if let Loading::Never(line) = loading {
                answer.lose(format!("{line} keeps nf_conntrack from being loaded"));
                answer.is_lost = false;
            }
            return;
        }
        match loading {
            Loading::Early(_) => {}
            Loading::Nothing => {
                // Whatever loads it may do so in time, as a firewall sometimes does.
                let reason = "nothing loads nf_conntrack before sysctl.d is applied";
                answer.is_lost = true;
                answer.depends(reason.to_owned());
            }
            Loading::Idle(idle) => {
                answer.is_lost = true;
                answer.depends(idle.why.clone());
            }
            Loading::Denied(line) => {
                answer.lose(format!(
                    "{line} keeps nf_conntrack from being loaded before sysctl.d is applied"
                ));
            }
            Loading::Never(line) => {
                answer.lose(format!("{line} keeps nf_conntrack from being loaded"));
            }
            unclear => answer.unknown(unclear.unclear().unwrap_or_default()),
        }
    }

    /// What is written when the module is loaded. Where that is before sysctl.d is applied, an
    /// `install` line runs before too.
    fn writes_on_load(&self, key: Key) -> impl Iterator<Item = &LaterWrite> {
        let is_early = matches!(self.loading, Some(Loading::Early(_)));
        let writes = self.files.writers.on_load.writes.iter();
        writes.filter(move |write| {
            write.key.is_none_or(|own| own == key) && !(is_early && write.who == MODPROBE)
        })
    }

    /// Where cttune cannot tell the value.
    fn unknown_on_load(&self, key: Key, answer: &mut Answer) {
        self.writes_on_load(key)
            .filter(|write| write.value.is_none())
            .for_each(|write| answer.unknown(write.told()));
    }

    /// The value that udev's rules set when the module is loaded, and whether they surely do.
    fn brought_back(&self, key: Key) -> Option<((i64, SourceLine), bool)> {
        let writes = self.writes_on_load(key);
        let writes = writes.filter(|write| write.key == Some(key));
        let by_write = writes.filter_map(|write| {
            let from = write.place();
            Some(((write.value?, from), write.certainty == Certainty::Sure))
        });
        let by_reader = self.on_load.iter().filter_map(|(applier, effective)| {
            let winner = effective.winner(key)?;
            let from = SourceLine {
                file: winner.real.clone(),
                line: winner.line,
            };
            Some(((winner.value, from), applier.is_sure))
        });
        let all: Vec<_> = by_reader.chain(by_write).collect();
        let sure = all.iter().rfind(|(_, is_sure)| *is_sure);
        let (write, is_sure) = sure.or(all.last())?.clone();
        let is_alone = all.iter().all(|((value, _), _)| *value == write.0);
        Some((write, is_sure && is_alone))
    }

    fn later_writes(&self, key: Key, answer: &mut Answer) {
        if let Some(Loading::Never(_)) = self.loading {
            return;
        }
        let writes = self.later(key);
        let (sure, open): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .partition(|write| write.certainty == Certainty::Sure && write.value.is_some());
        if let Some(last) = sure.last() {
            let values: BTreeSet<i64> = sure.iter().filter_map(|write| write.value).collect();
            let before = answer.value;
            answer.value = last.value;
            answer.from = Some(last.place());
            answer.is_lost = false;
            answer.is_of_writer = true;
            answer.sure = Sure::Known;
            answer.reasons.clear();
            if matches!(&self.loading, Some(loading) if !matches!(loading, Loading::Early(_))) {
                answer.depends(format!(
                    "{}, if nf_conntrack is loaded by then",
                    last.told()
                ));
            }
            let is_unordered = matches!(last.who.as_str(), "ufw" | "systemd-tmpfiles");
            if is_unordered && before.is_some_and(|before| last.value != Some(before)) {
                let who = &last.who;
                answer.depends(format!(
                    "nothing orders {who} against what applies sysctl.d"
                ));
            }
            // Nothing orders udev against them.
            if let Some(((value, from), _)) = self.brought_back(key)
                && Some(value) != answer.value
            {
                answer.depends(format!("{from} sets {value}, perhaps after that"));
            }
            if values.len() > 1 {
                let others: Vec<String> = sure.iter().map(LaterWrite::told).collect();
                answer.depends(others.join(", "));
            }
        }
        for write in open {
            if write.value.is_some() && write.value == answer.value {
                continue;
            }
            match write.value {
                Some(_) => answer.depends(write.told()),
                None => answer.unknown(write.told()),
            }
        }
        for (applier, effective) in &self.again {
            let value = effective.winner(key).map(|winner| winner.value);
            if answer.is_lost && value.is_some() {
                answer.depends(format!("{} applies sysctl.d again", applier.place));
            } else if value.is_some() && value != answer.value {
                let sets = value.map_or_else(String::new, |value| format!(" and may set {value}"));
                answer.depends(format!("{} applies sysctl.d again{sets}", applier.place));
            }
        }
    }

    /// What stands against every answer alike.
    fn doubts(&self, answer: &mut Answer) {
        if let Some(other) = self.files.other_reader {
            answer.unknown(format!(
                "{other} applies sysctl.d here, which cttune does not know"
            ));
        }
        if let Some(place) = self.files.command_line.open_at() {
            answer.depends(format!(
                "the boot loader has other entries, or words that cttune cannot work out, beside \
                 {place}"
            ));
        }
        if let Some(unit) = &self.files.writers.changed {
            answer.unknown(format!(
                "{unit} changes systemd-sysctl, which cttune does not follow"
            ));
        }
        if let Some(path) = self.unread().first() {
            answer.unknown(format!("{} cannot be read", path.shown()));
        }
        if let Some(volatile) = &self.volatile {
            answer.depends(volatile.why.clone());
        }
    }
}

/// Why nothing loads the modules that modules-load.d and /etc/modules name, if that is so.
fn loads_nothing(files: &BootFiles) -> Option<NotApplied> {
    if files.readers == [Reader::OpenRc] && files.writers.disabled.modules {
        return Some(NotApplied {
            why: "no runlevel starts modules, which would load nf_conntrack in time".to_owned(),
            fix: Hint::on_host("rc-update add modules boot").to("start it at boot"),
        });
    }
    let (place, fix) = masked(files, "systemd-modules-load")?;
    let why = format!("{place} masks systemd-modules-load, which would load nf_conntrack in time");
    Some(NotApplied { why, fix })
}

/// Where a service of systemd's is masked, and what helps.
fn masked(files: &BootFiles, service: &str) -> Option<(String, Hint)> {
    let disabled = &files.writers.disabled;
    let link = match service {
        "systemd-sysctl" => &disabled.sysctl,
        _ => &disabled.modules_load,
    };
    if let Some(link) = link {
        let unmask = Hint::on_host(format!("systemctl unmask {service}"));
        return Some((link.shown(), unmask.to("start it at boot")));
    }
    let place = files.command_line.from()?;
    let remove = Hint::say(format!(
        "remove `systemd.mask={service}` from the kernel command line"
    ));
    files
        .command_line
        .masks(service)
        .then(|| (place.to_string(), remove))
}

impl Answer {
    fn set(&mut self, value: i64, from: SourceLine) {
        self.value = Some(value);
        self.from = Some(from);
    }

    fn depends(&mut self, reason: String) {
        self.sure = self.sure.max(Sure::Depends);
        self.reasons.push(reason);
    }

    /// What udev sets when it sees the module, which it does of a built-in one too.
    fn may_be_set(&mut self, brought_back: Option<((i64, SourceLine), bool)>) {
        if let Some(((value, from), is_sure)) = brought_back
            && Some(value) != self.value
        {
            let sets = if is_sure { "sets" } else { "may set" };
            self.depends(format!("{from} {sets} {value} when the module is loaded"));
        }
    }

    fn unknown(&mut self, reason: String) {
        self.sure = Sure::Unknown;
        self.reasons.push(reason);
    }

    fn lose(&mut self, reason: String) {
        self.value = None;
        self.from = None;
        self.is_lost = true;
        self.depends(reason);
    }
}

impl LaterWrite {
    /// `FILE:LINE (ufw) sets 5 when ufw starts`.
    pub(crate) fn told(&self) -> String {
        let may = match self.certainty {
            Certainty::Sure => "sets",
            Certainty::MayRun | Certainty::DependsOnVersion => "may set",
        };
        let value = self.value.map_or_else(
            || "a value that cttune cannot evaluate".to_owned(),
            |value| value.to_string(),
        );
        format!(
            "{} ({}) {may} {value} {}",
            self.place(),
            self.who,
            self.when
        )
    }
}
