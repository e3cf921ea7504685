//! What the commands of scripts do: which run others, which write a file, which set sysctls.
//!
//! In: scripts, lines and commands of units, hooks and rules, each with who runs it and when. Out:
//! what they write, in [`Scripts`]. Rule: what cannot be followed may write anything.

mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::elsewhere::is_elsewhere;
use super::facts::{Facts, Found, Process};
use super::printed::printed;
use super::requests::{self, Request};
use super::{Applier, Certainty, LaterWrite, units};
use crate::boot::shell::{self, Command, Variables, Word};
use crate::boot::{Reader, SourceLine};
use values::names_key;

/// Scripts and texts that may run one another in a row.
const MOST_SCRIPTS: usize = 8;
/// Why something is not followed.
const TOO_LARGE: &str = "too large to be read";
pub(super) const TOO_MUCH: &str = "too much to be followed";
const NOWHERE: &str = "runs a file from an unknown folder";
/// Where packages have hooks beside those of the admin.
const HOOKS: [&str; 9] = [
    "/etc/NetworkManager",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/cron.monthly",
    "/etc/cron.weekly",
    "/etc/dhcp",
    "/etc/network",
    "/etc/ppp",
];
/// Where programs are that no package brings.
const OWN_PROGRAMS: [&str; 2] = ["/usr/local/sbin", "/usr/local/bin"];
/// What a byte of a file that is read line by line costs of the budget.
const READ: usize = 8;
/// What a write of a script that runs again costs of it.
const AGAIN: usize = 256;
/// Programs that run the command after them.
const WRAPPERS: [&str; 13] = [
    "sudo", "nice", "ionice", "exec", "command", "env", "timeout", "nohup", "setsid", "busybox",
    "chronic", "taskset", "time",
];
/// Programs that only read or print their words.
const PRINT: [&str; 16] = [
    ":", "[", "[[", "cat", "echo", "export", "false", "grep", "hash", "logger", "ls", "printf",
    "set", "test", "true", "which",
];
/// Commands that programs such as `flock` and `su` run.
const RUN_BY_OTHERS: [&str; 6] = ["bash", "modprobe", "sh", "sysctl", "systemd-sysctl", "tee"];
/// Long options of shells that take no word.
const LONG_OPTIONS: [&str; 5] = ["--", "--login", "--noprofile", "--norc", "--posix"];
/// What is there is made anew by something at each boot.
const PASSING: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/run"];
/// systemd's own programs write no conntrack sysctl.
const OF_SYSTEMD: [&str; 2] = ["/lib/systemd/", "/usr/lib/systemd/"];
/// Where packages have their scripts, which are many: those without one of [`WORDS`] are not
/// followed further.
const OF_PACKAGES: [&str; 6] = [
    "/bin/",
    "/etc/init.d/",
    "/etc/rc",
    "/lib/",
    "/sbin/",
    "/usr/",
];
const WORDS: [&str; 4] = ["sysctl", "proc/sys", "conntrack", "hashsize"];
/// Programs that run a text in another language.
const INTERPRETERS: [&str; 7] = ["awk", "lua", "node", "perl", "php", "python", "ruby"];
pub(super) const HASH_SIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// Who runs a script, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Runner {
    pub(super) who: String,
    pub(super) when: String,
    pub(super) is_conditional: bool,
    /// The variables of the shell that runs it. It gets those that are exported.
    pub(super) variables: Variables,
    /// Whether that shell reads it itself, with all of its variables.
    pub(super) is_sourced: bool,
}

impl Runner {
    /// The same, where it also depends on something else whether it runs.
    fn if_also(&self, is_conditional: bool) -> Self {
        Runner {
            is_conditional: self.is_conditional || is_conditional,
            ..self.clone()
        }
    }

    /// The same, where it is not known whether it runs.
    fn perhaps(&self) -> Self {
        self.if_also(true)
    }

    fn certainty(&self) -> Certainty {
        if self.is_conditional {
            Certainty::MayRun
        } else {
            Certainty::Sure
        }
    }
}

/// Collects what scripts write.
pub(super) struct Scripts<'a> {
    facts: &'a Facts<'a>,
    pub(super) writes: Vec<LaterWrite>,
    /// Commands that apply sysctl.d again.
    pub(super) appliers: Vec<Applier>,
    /// The files that `sysctl -p` reads.
    pub(super) loaded: BTreeSet<PathBuf>,
    /// Units that a command starts, when, and whether it surely does.
    pub(super) asked: Vec<(String, String, bool)>,
    /// Programs that a unit starts, of those of [`Facts::PROGRAMS`], and whether it surely does.
    pub(super) programs: Vec<(Process, bool)>,
    /// Files that are not followed, and who runs them.
    unfollowed: BTreeSet<(PathBuf, String)>,
    /// The files that scripts write themselves.
    made: BTreeSet<PathBuf>,
    /// How many scripts and texts led to the one that is read.
    above: usize,
    /// Scripts that were read, and whether something decides that they run.
    seen: BTreeMap<(PathBuf, bool), Visit>,
}

/// A script that was read.
enum Visit {
    /// It is being read.
    Open,
    /// With these variables, sourced or not, it wrote these of the writes.
    Done((Variables, bool), Range<usize>),
}

/// A file and the line in it from which its text was taken.
struct Source<'a> {
    file: &'a Path,
    line: usize,
}

impl Source<'_> {
    /// The place of a line of its text.
    fn place(&self, line: usize) -> SourceLine {
        SourceLine {
            file: self.file.to_owned(),
            line: self.line + line.saturating_sub(1),
        }
    }
}

impl<'a> Scripts<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        Scripts {
            facts,
            writes: Vec::new(),
            appliers: Vec::new(),
            loaded: BTreeSet::new(),
            asked: Vec::new(),
            programs: Vec::new(),
            unfollowed: BTreeSet::new(),
            made: BTreeSet::new(),
            above: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Reads a script that somebody runs. One without `#!` is run by shells, not by init.
    pub(super) fn script(&mut self, path: &Path, runner: &Runner) {
        let text = self.facts.text(path).unwrap_or_default();
        self.read(path, &runner.if_also(!text.starts_with("#!")));
    }

    /// Reads a script that a shell is given. One that was read before with the same variables writes
    /// the same once more.
    fn read(&mut self, path: &Path, runner: &Runner) {
        let visit = (path.to_owned(), runner.is_conditional);
        if OF_SYSTEMD.iter().any(|folder| path.starts_with(folder)) {
            return;
        }
        let weight = runner.variables.weight();
        if self.facts.budget().spend(weight).is_none() {
            return self.unfollowed(&first_line(path), runner, TOO_MUCH);
        }
        let given = if runner.is_sourced {
            (runner.variables.clone(), true)
        } else {
            (runner.variables.exported(), false)
        };
        match self.seen.get(&visit) {
            // One that runs itself ends somewhere.
            Some(Visit::Open) => return,
            Some(Visit::Done(before, known)) if *before == given => {
                let known = known.clone();
                match self.facts.budget().spend(known.len() * AGAIN) {
                    Some(()) => self.writes.extend_from_within(known),
                    None => self.unfollowed(&first_line(path), runner, TOO_MUCH),
                }
                return;
            }
            _ => {}
        }
        let before = self.writes.len();
        self.seen.insert(visit.clone(), Visit::Open);
        self.read_anew(path, runner);
        let done = Visit::Done(given, before..self.writes.len());
        self.seen.insert(visit, done);
    }

    fn read_anew(&mut self, path: &Path, runner: &Runner) {
        let file = match self.facts.find(path) {
            Found::File(file) => file,
            Found::Unfollowed { is_program, .. } if !is_program => {
                return self.unfollowed(&first_line(path), runner, TOO_LARGE);
            }
            _ => return,
        };
        if is_packaged(path) && !has_a_word(&file.text, &WORDS) {
            return;
        }
        let source = Source {
            file: path,
            line: 1,
        };
        if is_shell(&file.text) {
            self.text(&file.text, &source, runner);
        } else {
            self.mentions(&file.text, &source, runner);
        }
    }

    /// Reads commands of a shell that are written in a line of another file.
    pub(super) fn line(&mut self, text: &str, place: &SourceLine, runner: &Runner) {
        let source = Source {
            file: &place.file,
            line: place.line,
        };
        self.text(text, &source, runner);
    }

    /// Reads one command that no shell reads: its words, and nowhere that its output goes. Tells
    /// whether it surely succeeds.
    pub(super) fn command(
        &mut self,
        words: Vec<Word>,
        place: &SourceLine,
        runner: &Runner,
    ) -> bool {
        let known = self.writes.len();
        let program = program(&words, place);
        let program = program.map(|program| (program, !runner.is_conditional));
        self.programs.extend(program);
        let command = Command {
            line: 1,
            words,
            variables: runner.variables.clone(),
            ..Command::default()
        };
        let source = Source {
            file: &place.file,
            line: place.line,
        };
        self.run(&command, None, &source, runner);
        self.succeeds(&command, known)
    }

    /// Runs what a shell reads. What is too much to be followed may write anything.
    fn text(&mut self, text: &str, source: &Source<'_>, runner: &Runner) {
        let mut runner = runner.clone();
        if !std::mem::take(&mut runner.is_sourced) {
            runner.variables = runner.variables.exported();
        }
        // A sign at the end of a line that no shell takes for one.
        runner.is_conditional |= text.contains('\r');
        let budget = self.facts.budget();
        let commands = budget
            .spend(runner.variables.weight())
            .filter(|()| self.above < MOST_SCRIPTS)
            .and_then(|()| {
                shell::commands_within(text, runner.variables.clone(), self.facts, budget)
            });
        let Some(commands) = commands else {
            return self.unfollowed(&source.place(1), &runner, TOO_MUCH);
        };
        self.above += 1;
        for (at, command) in commands.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| commands.get(at));
            let before = before.filter(|_| command.is_piped);
            let known = self.writes.len();
            self.run(command, before, source, &runner);
            runner.is_conditional |= command.ends_on_failure && !self.succeeds(command, known);
        }
        self.above -= 1;
    }

    /// What is not followed may write anything: one write for each file says so.
    pub(super) fn unfollowed(&mut self, place: &SourceLine, runner: &Runner, why: &str) {
        let runner = Runner {
            who: format!("{}, {why}", runner.who),
            ..runner.perhaps()
        };
        if self
            .unfollowed
            .insert((place.file.clone(), runner.who.clone()))
        {
            self.push(None, None, place, &runner);
        }
    }

    /// Whether a command that was read surely succeeds: it only prints, or what it wrote, behind the
    /// `known` writes, is one value that the kernel takes.
    fn succeeds(&self, command: &Command, known: usize) -> bool {
        let raw = |word: &Word| word.raw.rsplit('/').next().map(str::to_owned);
        let name = command.words.first().and_then(raw).unwrap_or_default();
        let is_print = matches!(
            name.as_str(),
            "echo" | "printf" | ":" | "true" | "set" | "export" | "umask"
        );
        let targets = command
            .into
            .iter()
            .filter(|file| file.raw != "/dev/null")
            .count();
        let is_taken = |new: &[LaterWrite]| new.len() == 1 && new[0].value.is_some();
        let has_one_pair = || {
            command
                .words
                .iter()
                .filter(|word| word.raw.contains('='))
                .count()
                == 1
        };
        match name.as_str() {
            _ if is_print && targets == 0 => true,
            "sysctl" if has_one_pair() => is_taken(&self.writes[known..]),
            "echo" | "printf" if targets == 1 => is_taken(&self.writes[known..]),
            _ => false,
        }
    }

    fn run(
        &mut self,
        command: &Command,
        before: Option<&Command>,
        source: &Source<'_>,
        runner: &Runner,
    ) {
        let values = command.values();
        let place = source.place(command.line);
        let mut runner = Runner {
            variables: command.variables.clone(),
            ..runner.if_also(command.is_conditional)
        };
        self.redirected(command, before, &place, &runner);
        let Some(at) = unwrapped(&values) else {
            return;
        };
        let Some((program, arguments)) = values[at..].split_first() else {
            return;
        };
        // `SYSCTL=$(which sysctl); $SYSCTL -w …`
        let raw = command.words[at].raw.to_lowercase();
        let program = program.or_else(|| raw.contains("sysctl").then_some("sysctl"));
        let program = program.unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or(program);
        match name {
            "cp" | "install" | "ln" | "mv" => self.copied(arguments, command, &place, &runner),
            "sysctl" => {
                let input = Input::of(command, before);
                self.sysctl(arguments, &input, command, &place, &runner);
            }
            "tee" => {
                let input = self.input(command, before);
                self.tee(&command.words[at + 1..], input.as_deref(), &place, &runner);
            }
            "modprobe" | "insmod" => self.modprobe(arguments, &place, &runner),
            "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" => {
                let input = self.input(command, before);
                self.shell(command, arguments, input, &place, &runner);
            }
            "run-parts" => self.run_parts(arguments, &runner),
            "." | "source" => {
                runner.is_sourced = true;
                if let Some(Some(path)) = arguments.first() {
                    self.given(path, &place, &runner);
                }
            }
            "at" | "batch" => {
                runner.is_conditional = true;
                let input = self.input(command, before).unwrap_or_default();
                self.line(&input, &place, &runner);
            }
            "systemd-sysctl" => self.systemd_sysctl(arguments, &place, &runner),
            "systemctl" => self.start(requests::of_systemctl(arguments), &place, &runner),
            "service" | "invoke-rc.d" | "rc-service" => {
                let request = requests::of_service(arguments, self.has_systemd());
                self.start(request, &place, &runner);
            }
            _ if INTERPRETERS.iter().any(|one| name.starts_with(one)) => {
                self.script(Path::new(program), &runner);
                self.other_language(command, arguments, &place, &runner);
            }
            _ if PRINT.contains(&name) => {}
            _ => self.other(&command.words[at..], &place, &runner),
        }
    }

    fn tee(&mut self, words: &[Word], text: Option<&str>, place: &SourceLine, runner: &Runner) {
        for file in words.iter().filter(|word| !word.raw.starts_with('-')) {
            self.written(file, text, place, runner);
        }
    }

    /// Writes what a command prints to the files that it goes to.
    fn redirected(
        &mut self,
        command: &Command,
        before: Option<&Command>,
        place: &SourceLine,
        runner: &Runner,
    ) {
        let into = command.into.iter().filter(|file| file.raw != "/dev/null");
        let mut into = into.peekable();
        if into.peek().is_some() {
            let text = self.output(command, before);
            into.for_each(|file| self.written(file, text.as_deref(), place, runner));
        }
    }

    /// What a command prints, where that is known.
    fn output(&self, command: &Command, before: Option<&Command>) -> Option<String> {
        match command.words.split_first() {
            Some((cat, files)) if cat.raw == "cat" && !files.is_empty() => {
                let files = files.iter().map(|word| word.value.as_deref());
                self.contents(files)
            }
            Some((copies, _)) if copies.raw == "cat" || copies.raw == "tee" => {
                self.input(command, before)
            }
            _ => printed(&command.values(), command.dialect),
        }
    }

    /// What a command reads, where that is known.
    fn input(&self, command: &Command, before: Option<&Command>) -> Option<String> {
        let Input { text, files } = Input::of(command, before);
        let files = files.as_deref();
        text.or_else(|| self.contents(files?.iter().map(|file| Some(file.as_str()))))
    }

    /// The texts of files, one behind the other, where nothing makes them anew.
    fn contents<'f>(&self, files: impl Iterator<Item = Option<&'f str>>) -> Option<String> {
        let text = |file: Option<&str>| {
            let path = Path::new(file?);
            let text = (!self.is_made(path)).then(|| self.facts.text(path))??;
            self.facts.budget().spend(text.len())?;
            Some(text)
        };
        files.map(text).collect()
    }

    /// Whether a script makes the file, or something at each boot.
    fn is_made(&self, path: &Path) -> bool {
        let is_passing = PASSING.iter().any(|folder| path.starts_with(folder));
        is_passing || !path.is_absolute() || self.made.contains(path)
    }

    /// Files that are made of others.
    fn copied(
        &mut self,
        arguments: &[Option<&str>],
        command: &Command,
        place: &SourceLine,
        runner: &Runner,
    ) {
        if names_key(&command.raw()) {
            self.unknown(&command.raw(), place, &runner.perhaps());
        }
        let mut files = arguments
            .iter()
            .flatten()
            .filter(|word| !word.starts_with('-'));
        if let Some(to) = files.next_back().map(Path::new) {
            let names = files.filter_map(|from| Path::new(from).file_name());
            self.made.extend(names.map(|name| to.join(name)));
            self.made.insert(to.to_owned());
        }
    }

    /// A script that a shell reads, by the name that it is given.
    fn given(&mut self, path: &str, place: &SourceLine, runner: &Runner) {
        match resolved(path, &runner.variables) {
            Some(path) => self.read(&path, runner),
            None => self.nowhere(place, runner),
        }
    }

    /// A script or program in a folder that is not known. What packages bring runs its own.
    fn nowhere(&mut self, place: &SourceLine, runner: &Runner) {
        let is_hook = HOOKS.iter().any(|folder| place.file.starts_with(folder));
        if !is_hook && !is_packaged(&place.file) {
            self.unfollowed(place, runner, NOWHERE);
        }
    }

    /// The file of a program: by its path, or in the folders of the admin's own programs.
    fn program_file(&self, name: &str, variables: &Variables) -> Option<PathBuf> {
        if name.contains('/') {
            return resolved(name, variables);
        }
        let mut folders = OWN_PROGRAMS.iter();
        let folder = folders.find(|folder| self.facts.has(folder, name))?;
        Some(Path::new(folder).join(name))
    }

    /// A program that cttune does not know, and its words: a script, or one that may run what is
    /// named behind it, a command or a text for a shell.
    fn other(&mut self, words: &[Word], place: &SourceLine, runner: &Runner) {
        let value = |at: usize| words.get(at)?.value.as_deref();
        let name = value(0).unwrap_or_default();
        if name == "xargs" && words.iter().any(|word| word.raw == "sysctl") {
            return self.unknown("nf_conntrack", place, runner);
        }
        let path = self.program_file(name, &runner.variables);
        if path.is_none() && name.contains('/') {
            self.nowhere(place, runner);
        }
        let path = path.unwrap_or_default();
        // Where a name is looked for may have been changed.
        let runner = &runner.if_also(!name.contains('/'));
        let path = path.as_path();
        let found = path.is_absolute().then(|| self.facts.find(path));
        match found {
            Some(Found::File(file)) => {
                if file.is_executable {
                    self.script(path, runner);
                }
                return;
            }
            Some(Found::Unfollowed {
                is_program: false,
                is_executable: true,
            }) => return self.script(path, runner),
            _ => {}
        }
        self.other_words(words, place, runner);
    }

    /// The words of a program that cttune does not know: a command or a text for a shell may be
    /// among them.
    fn other_words(&mut self, words: &[Word], place: &SourceLine, runner: &Runner) {
        let value = |at: usize| words.get(at)?.value.as_deref();
        let mut runner = runner.perhaps();
        runner.variables.forget();
        let runs = |at: &usize| {
            let name = value(*at).and_then(|word| word.rsplit('/').next());
            name.is_some_and(|name| RUN_BY_OTHERS.contains(&name))
        };
        if let Some(at) = (1..words.len()).find(runs) {
            let values: Vec<Option<&str>> =
                words.iter().map(|word| word.value.as_deref()).collect();
            let leads_away = |place: usize| {
                let name = values[place].and_then(|word| word.rsplit('/').next());
                name.is_some_and(|name| is_elsewhere(name, &values[place + 1..]))
            };
            if (1..at).any(leads_away) {
                return;
            }
            let known = self.writes.len();
            self.command(words[at..].to_vec(), place, &runner);
            if self.writes.len() > known {
                return;
            }
        }
        let texts = (1..words.len()).filter_map(value);
        let is_text = |text: &&str| {
            text.contains(' ')
                && ["sysctl", "/proc/sys", HASH_SIZE]
                    .iter()
                    .any(|one| text.contains(one))
        };
        let texts: Vec<&str> = texts.filter(is_text).collect();
        for text in &texts {
            self.line(text, place, &runner);
        }
        let raw: Vec<&str> = words.iter().map(|word| word.raw.as_str()).collect();
        let raw = raw.join(" ");
        if texts.is_empty() && names_key(&raw) && !is_packaged(&place.file) {
            self.unknown(&raw, place, &runner);
        }
    }

    /// Starts what a command asks of init. A service that is active already stays as it is, as
    /// systemd-sysctl does, unless it is restarted.
    fn start(&mut self, request: Option<Request<'_>>, place: &SourceLine, runner: &Runner) {
        let Some(request) = request else {
            return;
        };
        let runner = runner.if_also(!request.is_restart);
        for name in request.units {
            let reader = match name.trim_end_matches(".service") {
                "systemd-sysctl" => Reader::Systemd,
                // systemd's own by another name.
                "procps" if self.has_systemd() => Reader::Systemd,
                "procps" => Reader::Procps,
                "sysctl" if self.facts.has("/etc/init.d", "sysctl") => Reader::OpenRc,
                _ => {
                    let ending = if name.contains('.') { "" } else { ".service" };
                    let unit = format!("{name}{ending}");
                    let is_sure = !runner.is_conditional;
                    self.asked.push((unit, runner.when.clone(), is_sure));
                    continue;
                }
            };
            self.apply(reader, Vec::new(), place, &runner);
        }
    }

    fn has_systemd(&self) -> bool {
        units::is_there(self.facts, "systemd-sysctl.service")
    }

    /// `python3 -c TEXT`, `perl FILE`.
    fn other_language(
        &mut self,
        command: &Command,
        arguments: &[Option<&str>],
        place: &SourceLine,
        runner: &Runner,
    ) {
        if names_key(&command.raw()) {
            return self.unknown(&command.raw(), place, runner);
        }
        let is_file = |word: &&&str| word.starts_with('/');
        if let Some(file) = arguments.iter().flatten().find(is_file) {
            self.settings(Path::new(file), runner);
        }
    }

    /// run-parts(8): the executable files of a folder whose names have no dot.
    fn run_parts(&mut self, arguments: &[Option<&str>], runner: &Runner) {
        let Some(Some(folder)) = arguments.last() else {
            return;
        };
        for name in self.facts.names(folder) {
            let path = Path::new(folder).join(name);
            let file = self.facts.file(&path);
            if !name.contains('.') && file.is_some_and(|file| file.is_executable) {
                self.script(&path, runner);
            }
        }
    }

    /// `sh -c TEXT`, `sh FILE`, or what it reads.
    fn shell(
        &mut self,
        command: &Command,
        arguments: &[Option<&str>],
        input: Option<String>,
        place: &SourceLine,
        runner: &Runner,
    ) {
        let options = arguments
            .iter()
            .take_while(|word| word.is_some_and(|word| word.starts_with('-')))
            .count();
        let is_its_own = |option: &&str| !option.starts_with("--") || LONG_OPTIONS.contains(option);
        if !arguments[..options].iter().flatten().all(is_its_own) {
            // `start-stop-daemon --startas /bin/sh --chuid man -- -c TEXT`
            if names_key(&command.raw()) {
                self.unknown(&command.raw(), place, runner);
            }
            return;
        }
        let takes_text = arguments[..options]
            .iter()
            .flatten()
            .any(|one| !one.starts_with("--") && one.contains('c'));
        let first = match arguments.get(options) {
            Some(Some(first)) => first,
            Some(None) => return self.unknown(&command.raw(), place, runner),
            None => return self.line(&input.unwrap_or_default(), place, runner),
        };
        if takes_text {
            let source = Source {
                file: &place.file,
                line: place.line,
            };
            let is_strict = arguments[..options]
                .iter()
                .flatten()
                .any(|one| !one.starts_with("--") && one.contains('e'));
            let strict = if is_strict { "set -e;" } else { "" };
            self.text(&format!("{strict}{first}"), &source, runner);
        } else {
            self.given(first, place, runner);
        }
    }
}

/// What a command reads.
#[derive(Default)]
struct Input {
    /// By a here-document, or from the command before it.
    text: Option<String>,
    /// The files that it comes from: `< FILE`, `cat FILE… |`.
    files: Option<Vec<String>>,
}

impl Input {
    fn of(command: &Command, before: Option<&Command>) -> Self {
        let text = |text| Input { text, files: None };
        let files = |files| Input { text: None, files };
        let known = |word: &Word| word.value.clone();
        match (&command.input, &command.from, before) {
            (Some(input), _, _) => text(input.value.clone()),
            (None, Some(file), _) => files(known(file).map(|file| vec![file])),
            (None, None, Some(before)) => match before.words.split_first() {
                Some((cat, named)) if cat.raw == "cat" && !named.is_empty() => {
                    files(named.iter().map(known).collect())
                }
                _ => text(printed(&before.values(), before.dialect)),
            },
            (None, None, None) => Input::default(),
        }
    }
}

/// The command as a process, if it is a program of [`Facts::PROGRAMS`].
fn program(words: &[Word], place: &SourceLine) -> Option<Process> {
    let text = |word: &Word| word.value.clone().unwrap_or_else(|| word.raw.clone());
    let arguments: Vec<String> = words.iter().map(text).collect();
    let name = arguments.first()?.rsplit('/').next()?;
    Facts::PROGRAMS
        .iter()
        .find(|one| **one == name)
        .map(|name| Process {
            name,
            pid: 0,
            arguments,
            unit: Some(place.clone()),
        })
}

/// Where a file begins.
pub(super) fn first_line(path: &Path) -> SourceLine {
    SourceLine {
        file: path.to_owned(),
        line: 1,
    }
}

/// Whether one of the words is in a text.
pub(super) fn has_a_word(text: &str, words: &[&str]) -> bool {
    let has = |word: &&str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    words.iter().any(has)
}

pub(super) fn is_packaged(path: &Path) -> bool {
    let name = path.to_string_lossy();
    let in_folder = OF_PACKAGES.iter().any(|folder| name.starts_with(folder));
    in_folder && !path.starts_with("/usr/local") && !path.ends_with("rc.local")
}

/// A path from where a script is, if that is known: `cd FOLDER` may have come before. init begins at
/// the root.
fn resolved(path: &str, variables: &Variables) -> Option<PathBuf> {
    let folder = if variables.has("PWD") {
        variables.value("PWD")
    } else {
        Some("/")
    };
    let plain = path.trim_start_matches("./");
    if path.starts_with('/') {
        return Some(PathBuf::from(path));
    }
    folder.map(|folder| Path::new(folder).join(plain))
}

/// Where the command begins behind the programs that only run it: `sudo`, `nice -n 5`, `env A=b`.
/// None for one in another network namespace, which has values of its own.
fn unwrapped(words: &[Option<&str>]) -> Option<usize> {
    let mut at = 0;
    while let Some(Some(program)) = words.get(at) {
        let name = program.rsplit('/').next().unwrap_or(program);
        if is_elsewhere(name, &words[at + 1..]) {
            return None;
        }
        if !WRAPPERS.contains(&name) {
            break;
        }
        let is_asked = matches!(words.get(at + 1), Some(Some("-v" | "-V")));
        if name == "command" && is_asked {
            return None;
        }
        let is_its_own = |word: &str| {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            word.starts_with('-') || word.contains('=') || is_number
        };
        let own = words[at + 1..]
            .iter()
            .take_while(|word| word.is_some_and(is_its_own))
            .count();
        at += 1 + own;
    }
    Some(at)
}

/// A text that a shell runs: without a line that names another interpreter.
fn is_shell(text: &str) -> bool {
    let Some(first) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return true;
    };
    let words = first.split(['/', ' ', '\t']);
    words.into_iter().any(|word| {
        matches!(
            word,
            "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" | "openrc-run"
        )
    })
}
