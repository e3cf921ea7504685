//! The values that commands set, and the files that have them: `sysctl -w`, `sysctl -p FILE`,
//! `systemd-sysctl`, `modprobe nf_conntrack hashsize=N`, what is written to `/proc/sys`.

use std::path::{Path, PathBuf};

use super::{
    HASH_SIZE, Input, READ, Runner, Scripts, Source, TOO_LARGE, TOO_MUCH, first_line, is_packaged,
};
use crate::boot::effective;
use crate::boot::pattern;
use crate::boot::shell::{Command, Files, Word};
use crate::boot::statement;
use crate::boot::writers::facts::Found;
use crate::boot::writers::{Applier, LaterWrite};
use crate::boot::{Reader, SourceLine, Tree, drop_in, modules};
use crate::tunable::{self, Key};

impl Scripts<'_> {
    /// A file with commands that no shell reads as they are: what they set is not evaluated.
    pub(in crate::boot::writers) fn settings(&mut self, path: &Path, runner: &Runner) {
        let text = self.facts.text(path).unwrap_or_default();
        if self.facts.budget().spend(text.len() * READ).is_none() {
            return self.unfollowed(&first_line(path), runner, TOO_MUCH);
        }
        for (line, number) in text.lines().zip(1..) {
            if names_key(line) && !line.trim_start().starts_with(['#', ';']) {
                let place = SourceLine {
                    line: number,
                    ..first_line(path)
                };
                self.unknown(line, &place, runner);
            }
        }
    }

    pub(super) fn sysctl(
        &mut self,
        arguments: &[Option<&str>],
        input: &Input,
        command: &Command,
        place: &SourceLine,
        runner: &Runner,
    ) {
        let mut loads = false;
        let mut files = Vec::new();
        let mut pairs = Vec::new();
        for argument in arguments {
            match argument {
                Some("--dry-run") => return,
                Some("--system") => return self.apply(Reader::Procps, Vec::new(), place, runner),
                Some("--load") => loads = true,
                Some(option) if option.starts_with("--load=") => {
                    loads = true;
                    files.extend(option.strip_prefix("--load="));
                }
                Some(option)
                    if option.len() > 1 && option.starts_with('-') && !option.contains('=') =>
                {
                    loads |= !option.starts_with("--") && option.contains(['p', 'f']);
                    // `-p/etc/my.conf`
                    let attached = option.find('/').filter(|_| !option.starts_with("--"));
                    files.extend(attached.map(|at| &option[at..]));
                }
                Some(pair) => pairs.push(*pair),
                None => {}
            }
        }
        if loads {
            files.extend(pairs);
            return self.load(&files, input, command, place, runner);
        }
        let is_own = !is_packaged(&place.file);
        // The program itself may be `$SYSCTL`.
        let is_program = |word: &Word| word.raw.to_lowercase().contains("sysctl");
        let words = command.words.iter().filter(|word| !is_program(word));
        let unknown = words.filter(|word| word.value.is_none());
        if unknown
            .clone()
            .any(|word| is_own && may_name_conntrack(&word.raw))
        {
            self.unknown("nf_conntrack", place, runner);
        } else if unknown.count() > 0 {
            self.unknown(&command.raw(), place, runner);
        }
        for pair in pairs {
            if let Some((name, value)) = pair.trim_start_matches('-').split_once('=') {
                self.set(name.trim(), Some(value), place, runner);
            }
        }
    }

    /// `sysctl -p FILE…`, where a file may be a pattern, and `-` is what the command reads.
    fn load(
        &mut self,
        files: &[&str],
        input: &Input,
        command: &Command,
        place: &SourceLine,
        runner: &Runner,
    ) {
        // A file that the script finds out by itself.
        let is_known = command.words.iter().all(|word| word.value.is_some());
        if !is_known && !is_packaged(&place.file) {
            self.unknown("nf_conntrack", place, runner);
        }
        let mut paths = Vec::new();
        for file in files {
            match (*file, &input.text, &input.files) {
                ("-" | "/dev/stdin", Some(text), _) => self.lines(text, place, runner),
                ("-" | "/dev/stdin", None, Some(read)) => {
                    let found = read.iter().map(|one| self.paths(one, place, runner));
                    paths.extend(found.collect::<Vec<_>>().concat());
                }
                ("-" | "/dev/stdin", None, None) => self.unknown("nf_conntrack", place, runner),
                (file, _, _) => paths.extend(self.paths(file, place, runner)),
            }
        }
        if files.is_empty() && is_known {
            paths.push(Tree::SYSCTL_CONF.to_owned());
        }
        let is_row = command.loops > 0 || paths.len() > 1;
        for path in paths.iter().map(Path::new) {
            if path
                .parent()
                .is_some_and(|folder| pattern::is_glob(&folder.to_string_lossy()))
            {
                self.unknown("nf_conntrack", place, runner);
            }
            if self.is_made(path) {
                self.unknown("nf_conntrack", place, runner);
            }
            // In a row with the drop-in, what comes before it has no effect on a key that it sets.
            let drop_in = Path::new(drop_in::PATH);
            let is_before = is_row && path.parent() == drop_in.parent() && path < drop_in;
            self.loaded(path, &runner.if_also(is_before));
        }
    }

    /// `systemd-sysctl --prefix=PATH`, which sets only what lies there, or files by their names.
    pub(super) fn systemd_sysctl(
        &mut self,
        arguments: &[Option<&str>],
        place: &SourceLine,
        runner: &Runner,
    ) {
        let mut prefixes = Vec::new();
        for argument in arguments {
            match argument {
                // What is left out cannot be known: it may be everything.
                Some("--cat-config" | "--tldr" | "--help" | "--version") | None => return,
                Some(option) if option.starts_with("--prefix=") => {
                    let prefix = option.trim_start_matches("--prefix=");
                    let path = statement::path_of(Reader::Systemd, prefix.trim_start_matches('/'));
                    prefixes.push(path.trim_start_matches("proc/sys/").to_owned());
                }
                Some(option) if option.starts_with('-') => {}
                Some(file) => return self.loaded(Path::new(file), runner),
            }
        }
        self.apply(Reader::Systemd, prefixes, place, runner);
    }

    pub(super) fn apply(
        &mut self,
        reader: Reader,
        prefixes: Vec<String>,
        place: &SourceLine,
        runner: &Runner,
    ) {
        let is_read = |path: &PathBuf| {
            let folder = path.parent().unwrap_or(path);
            folder.ends_with("sysctl.d") || path.ends_with("sysctl.conf")
        };
        if self.made.iter().any(is_read) {
            self.unknown("nf_conntrack", place, runner);
        }
        self.appliers.push(Applier {
            place: place.clone(),
            reader,
            prefixes,
            is_sure: !runner.is_conditional,
        });
    }

    /// The lines of a file that `sysctl -p` reads.
    pub(in crate::boot::writers) fn loaded(&mut self, path: &Path, runner: &Runner) {
        // cttune writes this one: it says whatever is to hold.
        if path == Path::new(drop_in::PATH) {
            return;
        }
        let text = match self.facts.find(path) {
            Found::File(file) => &file.text,
            Found::Unfollowed { .. } => {
                return self.unfollowed(&first_line(path), runner, TOO_LARGE);
            }
            _ => return,
        };
        if self.facts.budget().spend(text.len() * READ).is_none() {
            return self.unfollowed(&first_line(path), runner, TOO_MUCH);
        }
        self.loaded.insert(path.to_owned());
        for (key, winner) in effective::of_file(text.as_bytes()) {
            let place = SourceLine {
                line: winner.line,
                ..first_line(path)
            };
            self.push(Some(key), Some(winner.value), &place, runner);
        }
    }

    /// The files that a word stands for.
    fn paths(&mut self, word: &str, place: &SourceLine, runner: &Runner) -> Vec<String> {
        let paths = self.facts.paths(word, self.facts.budget());
        paths.unwrap_or_else(|| {
            self.unfollowed(place, runner, TOO_MUCH);
            Vec::new()
        })
    }

    /// Lines that a script itself gives to `sysctl -p -`.
    fn lines(&mut self, text: &str, place: &SourceLine, runner: &Runner) {
        for (key, winner) in effective::of_file(text.as_bytes()) {
            self.push(Some(key), Some(winner.value), place, runner);
        }
    }

    /// `modprobe nf_conntrack hashsize=N`, which counts if the module is not loaded yet.
    pub(super) fn modprobe(
        &mut self,
        arguments: &[Option<&str>],
        place: &SourceLine,
        runner: &Runner,
    ) {
        let mut words = arguments.iter().flatten();
        if !words.any(|word| modules::is_conntrack(word)) {
            return;
        }
        let runner = runner.perhaps();
        for value in words.filter_map(|word| word.strip_prefix("hashsize=")) {
            self.push(
                Some(Key::Buckets),
                value_of(Key::Buckets, value),
                place,
                &runner,
            );
        }
    }

    /// A file that a command's output goes to.
    pub(in crate::boot::writers) fn written(
        &mut self,
        file: &Word,
        text: Option<&str>,
        place: &SourceLine,
        runner: &Runner,
    ) {
        let Some(path) = &file.value else {
            return self.unknown(&file.raw, place, runner);
        };
        let path = &path.replace("//", "/");
        if path == HASH_SIZE {
            let value = text.map(|text| value_of(Key::Buckets, text));
            return self.push(Some(Key::Buckets), value.flatten(), place, runner);
        }
        if let Some(name) = path.strip_prefix("/proc/sys/") {
            self.set(name, text, place, runner);
        } else if path.starts_with('/') {
            self.made.insert(PathBuf::from(path));
        } else {
            // Behind a `cd`, perhaps one to net or to net/netfilter.
            let name = path.rsplit('/').next().unwrap_or(path);
            let name = format!("net/netfilter/{name}");
            self.set(&name, text, place, &runner.perhaps());
        }
    }

    /// A value for a sysctl, by the name that somebody gave.
    fn set(&mut self, name: &str, value: Option<&str>, place: &SourceLine, runner: &Runner) {
        let path = statement::path_of(Reader::Procps, name);
        if pattern::is_glob(&path) {
            return self.unknown(name, place, runner);
        }
        let Some(key) = pattern::resolve(Reader::Procps, &path) else {
            return;
        };
        match value {
            None => self.push(Some(key), None, place, runner),
            Some(text) => match value_of(key, text) {
                // The kernel refuses it, and nothing changes.
                None => {}
                value => self.push(Some(key), value, place, runner),
            },
        }
    }

    /// A command with a part that is not known: it matters if it speaks of conntrack.
    pub(super) fn unknown(&mut self, raw: &str, place: &SourceLine, runner: &Runner) {
        if !mentions_conntrack(raw) {
            return;
        }
        // `nf_conntrack_max=$SIZE`: the key is known and the value is not.
        let key = Key::ALL.iter().copied().find(|key| {
            let after = raw.split(key.file_name()).nth(1);
            after.is_some_and(|rest| {
                !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric() || c == '$')
            })
        });
        let key = key.or(raw.contains(HASH_SIZE).then_some(Key::Buckets));
        self.push(key, None, place, runner);
    }

    /// A program in another language that names a conntrack sysctl.
    pub(super) fn mentions(&mut self, text: &str, source: &Source<'_>, runner: &Runner) {
        let code = |line: &&str| !line.trim_start().starts_with(['#', '"', '/']);
        let mut lines = text.lines().zip(source.line..);
        let found = lines.find(|(line, _)| code(line) && mentions_conntrack(line));
        if let Some((line, number)) = found {
            let place = SourceLine {
                file: source.file.to_owned(),
                line: number,
            };
            self.unknown(line, &place, runner);
        }
    }

    pub(super) fn push(
        &mut self,
        key: Option<Key>,
        value: Option<i64>,
        place: &SourceLine,
        runner: &Runner,
    ) {
        self.writes.push(LaterWrite {
            who: runner.who.clone(),
            when: runner.when.clone(),
            file: place.file.clone(),
            line: place.line,
            key,
            value,
            certainty: runner.certainty(),
        });
    }
}

/// Whether a word that is not known may be the name of a conntrack sysctl: `$key`, `net.$key`.
fn may_name_conntrack(raw: &str) -> bool {
    let start = raw.trim_start_matches(['"', '-']).split(['$', '`']).next();
    let start = start.unwrap_or_default().replace('/', ".");
    "net.netfilter.nf_conntrack".starts_with(&start)
}

pub(super) fn names_key(text: &str) -> bool {
    let is_named = |key: &Key| text.contains(key.file_name());
    mentions_conntrack(text) && (text.contains(HASH_SIZE) || Key::ALL.iter().any(is_named))
}

/// What the kernel has after this text was written; none where it refuses.
fn value_of(key: Key, text: &str) -> Option<i64> {
    let number = tunable::kernel_number(key, text)?;
    Some(tunable::as_held(key, number))
}

fn mentions_conntrack(text: &str) -> bool {
    ["netfilter", "nf_conntrack", "nf_flowtable"]
        .iter()
        .any(|name| text.contains(name))
}
