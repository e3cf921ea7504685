//! As much of the shell's language as tells which commands a script runs, with which words.
//!
//! In: the text of a script, and the files that it may read. Out: its simple [`Command`]s with their
//! words, where their output goes and what they read, and whether they run in any case. A word with
//! a part that only a running shell could know (`$(…)`, an unset variable) has no value.
//! Follows POSIX.1-2017, Shell Command Language. A `for` loop over words that are known is run;
//! functions and other loops are only read. A script that makes too much of its text is given up.

mod expand;
mod parser;
#[cfg(test)]
mod tests;
mod tokens;

use super::pattern;
use expand::expand;
pub(super) use expand::{Budget, MOST_LENGTH, Variables};
use parser::{WORD, parse};
use tokens::raw_word;

/// A word, if its value can be known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Word {
    /// As it is written.
    pub(super) raw: String,
    /// What it expands to.
    pub(super) value: Option<String>,
}

/// One simple command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    /// Number of the line where it begins, from 1.
    pub(super) line: usize,
    pub(super) words: Vec<Word>,
    /// The files that its output is written to.
    pub(super) into: Vec<Word>,
    /// What it reads from a here-document or a here-string.
    pub(super) input: Option<Word>,
    /// The file that it reads: `< FILE`.
    pub(super) from: Option<Word>,
    /// Whether it reads the output of the command before it.
    pub(super) is_piped: bool,
    /// Whether something decides that it runs at all: `if`, `&&`, a loop, a function.
    pub(super) is_conditional: bool,
    /// Whether the script may end with it where it fails: after `set -e`.
    pub(super) ends_on_failure: bool,
    /// What runs it.
    pub(super) dialect: Dialect,
    pub(super) shell: Shell,
    /// The loops that run it once for each of their words.
    pub(super) loops: usize,
    /// The variables of the shell, with those that are set for it alone; other programs get those
    /// that are exported.
    pub(super) variables: Variables,
}

/// Which shell runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shell {
    /// The one that reads the script.
    #[default]
    Own,
    /// A child of it: `&`, a side of a pipe.
    Child,
}

/// What the shell knows: one that is called `sh` may be dash, which refuses `<<<`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Dialect {
    #[default]
    Posix,
    Bash,
    Other,
}

/// The files that a script may read.
pub(super) trait Files {
    /// The text of a file; none where it is not there or cannot be read.
    fn text(&self, path: &str) -> Option<&str>;
    /// The names in a folder, sorted.
    fn names(&self, folder: &str) -> &[String];
    /// Whether a file is a package's, of which the variables are not read.
    fn is_packaged(&self, path: &str) -> bool;

    /// The paths that a pattern stands for: `FOLDER/*.conf`. A word without one, or that no file
    /// fits, stands for itself. None where the budget does not allow to look for them.
    fn paths(&self, word: &str, budget: &Budget) -> Option<Vec<String>> {
        let Some((folder, name)) = word.rsplit_once('/').filter(|_| pattern::is_glob(word)) else {
            return Some(vec![word.to_owned()]);
        };
        let names = self.names(folder).iter();
        budget.spend(names.len() * (WORD + name.len()))?;
        let is_meant = |one: &&String| {
            let is_hidden = one.starts_with('.') && !name.starts_with('.');
            !is_hidden && pattern::matches_text(name, one)
        };
        let paths: Vec<String> = names
            .filter(is_meant)
            .map(|one| format!("{folder}/{one}"))
            .collect();
        Some(if paths.is_empty() {
            vec![word.to_owned()]
        } else {
            paths
        })
    }
}

impl Command {
    /// The values of the words, an unknown one as `None`.
    pub(super) fn values(&self) -> Vec<Option<&str>> {
        self.words
            .iter()
            .map(|word| word.value.as_deref())
            .collect()
    }

    /// Whether the shell ends with it: `exit`, `exec PROGRAM`.
    fn leaves(&self) -> bool {
        let mut words = self.words.iter().map(|word| word.raw.as_str());
        match words.next() {
            _ if self.shell == Shell::Child => false,
            Some("exit") => true,
            // `exec {fd}>FILE` names a descriptor.
            Some("exec") => words.next().is_some_and(|word| !word.starts_with('{')),
            _ => false,
        }
    }

    /// Whether it ends the shell where it fails: with a word that is wrong arithmetic, or `${name?}`
    /// of a variable that is not set.
    fn may_end_the_shell(&self) -> bool {
        // A file that is not there has no value.
        let mut words = self.words.iter();
        let sources =
            matches!(words.next(), Some(word) if matches!(word.raw.as_str(), "." | "source"));
        let lacks_file = sources && words.next().is_some_and(|file| file.value.is_none());
        let ends = |word: &Word| {
            let raw = &word.raw;
            word.value.is_none() && (raw.contains("$((") || raw.contains("${") && raw.contains('?'))
        };
        // `kill $$`
        let kills = |word: &Word| word.raw.contains("$$") || word.raw == "0";
        let kills_itself = self.words.first().is_some_and(|word| word.raw == "kill")
            && self.words.iter().any(kills);
        // `command exit`
        let leads = ["builtin", "command", "eval"];
        let may_lead_to_exit = self
            .words
            .first()
            .is_some_and(|word| leads.contains(&&*word.raw))
            && self.words[1..].iter().any(|word| {
                word.value.is_none() || word.raw.contains("exit") || word.raw.contains("exec")
            });
        lacks_file
            || kills_itself
            || may_lead_to_exit
            || self.words.iter().chain(&self.into).any(ends)
    }

    /// `set -e`, `set +eu`, `set -o errexit`: whether the option is on then.
    fn sets(&self, letter: char, name: &str) -> Option<bool> {
        let mut words = self.words.iter().map(|word| word.raw.as_str());
        let options: Vec<&str> = (words.next() == Some("set")).then(|| words.collect())?;
        let one = |at: usize| {
            let word: &str = options[at];
            let is_named = word.ends_with('o') && options.get(at + 1) == Some(&name);
            let is_it = is_named || word.starts_with(['-', '+']) && word.contains(letter);
            is_it.then(|| word.starts_with('-'))
        };
        (0..options.len()).rev().find_map(one)
    }

    /// The command as it is written.
    pub(super) fn raw(&self) -> String {
        let words = self.words.iter().chain(&self.into);
        words
            .map(|word| word.raw.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The commands of a text that a shell with these variables reads, in the order in which they run.
/// Of a text that is given up there is one, of which nothing is known.
pub(super) fn commands(text: &str, variables: &Variables, files: &dyn Files) -> Vec<Command> {
    let commands = commands_within(text, variables.clone(), files, &Budget::default());
    commands.unwrap_or_else(|| {
        let unknown = Word::default();
        vec![Command {
            words: vec![unknown.clone(), unknown],
            is_conditional: true,
            ..Command::default()
        }]
    })
}

/// The same; none if that is more than the budget allows.
pub(super) fn commands_within(
    text: &str,
    variables: Variables,
    files: &dyn Files,
    budget: &Budget,
) -> Option<Vec<Command>> {
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!"));
    let is_one =
        |names: &[&str]| first.is_some_and(|line| names.iter().any(|name| line.contains(name)));
    let dialect = if is_one(&["bash"]) {
        Dialect::Bash
    } else if is_one(&["ksh", "zsh"]) {
        Dialect::Other
    } else {
        Dialect::Posix
    };
    let mut done = parse(text, variables, files, budget, dialect)?;
    mark_doubts(&mut done, first);
    // What follows an `exit` never runs: an rc.local often ends with one.
    let mut commands = done.iter();
    let end = commands.position(|one| !one.is_conditional && one.leaves());
    let is_program = |at: usize| done[at].words[0].raw == "exec";
    let end = end.map(|at| at + usize::from(is_program(at)));
    done.truncate(end.unwrap_or(done.len()));
    Some(done)
}

/// Marks what may not run because the script, whose interpreter is this, may have ended before.
fn mark_doubts(commands: &mut [Command], interpreter: Option<&str>) {
    let mut may_have_ended = false;
    let mut ends_on_unset = false;
    let mut ends_on_failure = interpreter.is_some_and(|line| {
        let mut options = line.split_ascii_whitespace().skip(1);
        options.any(|one| one.starts_with('-') && one.contains('e'))
    });
    for command in commands {
        if let Some(is_on) = command.sets('e', "errexit") {
            ends_on_failure = is_on || ends_on_failure && command.is_conditional;
        }
        ends_on_unset |= command.sets('u', "nounset") == Some(true);
        let lacks = |word: &Word| word.value.is_none() && word.raw.contains('$');
        may_have_ended |= ends_on_unset && command.words.iter().any(lacks);
        command.ends_on_failure = ends_on_failure;
        command.is_conditional |= may_have_ended;
        // dash ends a script that returns outside of a function, bash does not.
        let may_leave = if command.is_conditional {
            command.leaves()
        } else {
            command
                .words
                .first()
                .is_some_and(|word| word.raw == "return")
        };
        // After `set -n`, dash runs nothing; after `set -C` no file is written that is there.
        let runs_nothing = command.sets('n', "noexec") == Some(true)
            || command.sets('C', "noclobber") == Some(true);
        may_have_ended |= command.may_end_the_shell() || may_leave || runs_nothing;
    }
}

/// The words of a text in which no operator has a meaning. What they are of variables that are put
/// in again and again is not known.
pub(super) fn words(text: &str, variables: &Variables) -> Vec<Word> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    let mut left = MOST_LENGTH + 2 * text.len();
    while !rest.is_empty() {
        let mut length = 0;
        while rest[length..].starts_with(|c: char| !c.is_whitespace()) {
            length += raw_word(&rest[length..]).1;
        }
        let raw = rest[..length].to_owned();
        let value = expand(&raw, variables).filter(|value| value.len() <= left);
        left -= value.as_ref().map_or(0, String::len);
        found.push(Word { raw, value });
        rest = rest[length..].trim_start();
    }
    found
}
