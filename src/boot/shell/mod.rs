//! As much of the shell's language as tells which commands a script runs, with which words.
//!
//! In: the text of a script, and the files that it may read. Out: its simple [`Command`]s with their
//! words, where their output goes and what they read, and whether they run in any case. A word with
//! a part that only a running shell could know (`$(…)`, an unset variable) has no value.
//! Follows POSIX.1-2017, Shell Command Language. A `for` loop over words that are known is run;
//! functions and other loops are only read.

mod expand;
mod tokens;

use std::collections::BTreeSet;

use super::pattern;
pub(super) use expand::Variables;
use expand::{expand, expand_quoted};
use tokens::{Token, raw_word, tokens};

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
    /// The loops that run it once for each of their words.
    pub(super) loops: usize,
    /// What the shell passes on to it in its environment.
    pub(super) exports: Variables,
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
    /// fits, stands for itself.
    fn paths(&self, word: &str) -> Vec<String> {
        let Some((folder, name)) = word.rsplit_once('/').filter(|_| pattern::is_glob(word)) else {
            return vec![word.to_owned()];
        };
        let names = self.names(folder).iter();
        let is_meant = |one: &&String| {
            let is_hidden = one.starts_with('.') && !name.starts_with('.');
            !is_hidden && pattern::matches_text(name, one)
        };
        let paths: Vec<String> = names
            .filter(is_meant)
            .map(|one| format!("{folder}/{one}"))
            .collect();
        if paths.is_empty() {
            vec![word.to_owned()]
        } else {
            paths
        }
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
            Some("exit") => true,
            Some("exec") => words.next().is_some(),
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
        lacks_file || self.words.iter().chain(&self.into).any(ends)
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

/// The commands of a script, in the order in which they run.
pub(super) fn commands(text: &str, variables: &Variables, files: &dyn Files) -> Vec<Command> {
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!"));
    let mut parser = Parser::new(variables.clone(), files, MOST_FILES);
    let knows_more = |line: &str| ["bash", "ksh", "zsh"].iter().any(|one| line.contains(one));
    if first.is_some_and(knows_more) {
        parser.dialect = Dialect::Bash;
    }
    parser.run(tokens(text));
    let mut may_have_ended = false;
    let mut ends_on_unset = false;
    let mut ends_on_failure = first.is_some_and(|line| {
        let mut options = line.split_ascii_whitespace().skip(1);
        options.any(|one| one.starts_with('-') && one.contains('e'))
    });
    for command in &mut parser.done {
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
        may_have_ended |= command.may_end_the_shell() || may_leave;
    }
    // What follows an `exit` never runs: an rc.local often ends with one.
    let mut commands = parser.done.iter();
    let end = commands.position(|one| !one.is_conditional && one.leaves());
    let is_program = |at: usize| parser.done[at].words[0].raw == "exec";
    let end = end.map(|at| at + usize::from(is_program(at)));
    parser.done.truncate(end.unwrap_or(parser.done.len()));
    parser.done
}

/// The words of a text in which no operator has a meaning.
pub(super) fn words(text: &str, variables: &Variables) -> Vec<Word> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut length = 0;
        while rest[length..].starts_with(|c: char| !c.is_whitespace()) {
            length += raw_word(&rest[length..]).1;
        }
        let raw = rest[..length].to_owned();
        let value = expand(&raw, variables);
        found.push(Word { raw, value });
        rest = rest[length..].trim_start();
    }
    found
}

/// Files that may read one another in a row by `.`.
const MOST_FILES: usize = 4;
/// The words that a loop may have, and the commands of a script, if loops are to be run.
const MOST_WORDS: usize = 64;
const MOST_COMMANDS: usize = 10_000;

/// What the shell knows: dash refuses `<<<`.
#[derive(PartialEq, Eq)]
enum Dialect {
    Posix,
    Bash,
}

struct Parser<'a> {
    files: &'a dyn Files,
    variables: Variables,
    /// The names that are passed on to other programs.
    exported: BTreeSet<String>,
    exports_all: bool,
    done: Vec<Command>,
    /// How many of `if`, `while`, `for`, `case` and functions are open.
    depth: usize,
    /// For each `{` that is open, whether it is a function's.
    braces: Vec<bool>,
    /// Whether the next command comes after `&&` or `||`.
    is_guarded: bool,
    /// Whether the next `{` or `(` is a function's.
    begins_function: bool,
    /// The functions so far, and the variables that they set.
    functions: BTreeSet<String>,
    set_by_functions: BTreeSet<String>,
    /// For each `(` that is open, the variables before it, and whether it is a function's.
    subshells: Vec<(Variables, bool)>,
    dialect: Dialect,
    /// Loops that are open and run.
    loops: usize,
    /// How many more files may be read in a row.
    left: usize,
}

impl<'a> Parser<'a> {
    fn new(variables: Variables, files: &'a dyn Files, left: usize) -> Self {
        Parser {
            files,
            variables,
            exported: BTreeSet::new(),
            exports_all: false,
            done: Vec::new(),
            depth: 0,
            braces: Vec::new(),
            is_guarded: false,
            begins_function: false,
            functions: BTreeSet::new(),
            set_by_functions: BTreeSet::new(),
            subshells: Vec::new(),
            dialect: Dialect::Posix,
            loops: 0,
            left,
        }
    }

    fn run(&mut self, tokens: Vec<(usize, Token)>) {
        let mut current = Command::default();
        let mut tokens = tokens.into_iter().peekable();
        while let Some((line, token)) = tokens.next() {
            match token {
                Token::Word(raw) if current.words.is_empty() && raw == "for" => {
                    let mut rest: Vec<_> = tokens.collect();
                    let length = self.repeat(&rest).unwrap_or_else(|| {
                        self.depth += 1;
                        0
                    });
                    tokens = rest.split_off(length).into_iter().peekable();
                }
                Token::Word(raw) if current.words.is_empty() && self.is_keyword(&raw) => {}
                // `function NAME`, perhaps with `()` behind it.
                Token::Word(raw) if current.words.is_empty() && raw == "function" => {
                    if let Some((_, Token::Word(name))) = tokens.next() {
                        self.define(name);
                    }
                }
                Token::Word(raw) => {
                    if current.words.is_empty() {
                        current.line = line;
                    }
                    current.words.extend(self.words(&raw));
                }
                Token::Body(body, is_expanded) => {
                    let expanded = is_expanded.then(|| self.expand_text(&body));
                    let value = expanded.unwrap_or_else(|| Some(body.clone()));
                    current.input = Some(Word { raw: body, value });
                }
                Token::Operator(operator) if operator.contains(['<', '>']) => {
                    let file = tokens.next_if(|(_, next)| matches!(next, Token::Word(_)));
                    if let Some((_, Token::Word(raw))) = file {
                        current.line = if current.words.is_empty() {
                            line
                        } else {
                            current.line
                        };
                        self.redirect(&mut current, operator, &raw);
                    }
                }
                Token::Operator("(")
                    if current.words.len() == 1
                        && tokens
                            .next_if(|(_, next)| *next == Token::Operator(")"))
                            .is_some() =>
                {
                    self.define(std::mem::take(&mut current).words.remove(0).raw);
                }
                Token::Operator("(") if current.words.is_empty() => {
                    let is_end = |next: &(usize, Token)| next.1 == Token::Operator(")");
                    if tokens.next_if(is_end).is_none() {
                        self.enter();
                    }
                }
                Token::Operator(operator) => self.finish(&mut current, operator),
            }
        }
        self.finish(&mut current, "\n");
    }

    /// Runs a `for` loop whose words are known, and tells how many tokens it took. None where it is
    /// only read: what its variable is then is not known.
    fn repeat(&mut self, tokens: &[(usize, Token)]) -> Option<usize> {
        if let Some((_, Token::Word(name))) = tokens.first() {
            self.variables.set(name, None);
        }
        let found = Loop::read(tokens)?;
        let each = |word: &&str| self.each(word);
        let values: Option<Vec<Vec<String>>> = found.words.iter().map(each).collect();
        let values = values?.concat();
        let fits = values.len() <= MOST_WORDS && self.done.len() <= MOST_COMMANDS;
        if !fits || found.leaves() {
            return None;
        }
        let is_guarded = usize::from(self.is_guarded);
        self.depth += is_guarded;
        self.loops += 1;
        for value in values {
            self.variables.set(found.name, Some(value));
            self.run(found.body.to_vec());
        }
        self.loops -= 1;
        self.depth = self.depth.saturating_sub(is_guarded);
        self.is_guarded = false;
        Some(found.length)
    }

    /// The words that one word of a loop makes; none where that cannot be known.
    fn each(&self, raw: &str) -> Option<Vec<String>> {
        if raw.contains(['\'', '"', '\\']) {
            return expand(raw, &self.variables).map(|value| vec![value]);
        }
        let is_one = !raw.contains(['$', '`', '{', '~']);
        is_one.then(|| self.files.paths(raw))
    }

    fn define(&mut self, function: String) {
        self.functions.insert(function);
        self.begins_function = true;
    }

    fn enter(&mut self) {
        let is_function = std::mem::take(&mut self.begins_function);
        self.depth += usize::from(is_function);
        self.subshells.push((self.variables.clone(), is_function));
    }

    /// What a subshell sets ends with it.
    fn leave(&mut self) {
        if let Some((variables, is_function)) = self.subshells.pop() {
            self.variables = variables;
            self.depth = self.depth.saturating_sub(usize::from(is_function));
        }
    }

    fn redirect(&self, current: &mut Command, operator: &str, raw: &str) {
        match operator {
            "<<<" => {
                let word = self.expand(raw);
                let value = word.value.filter(|_| self.dialect == Dialect::Bash);
                current.input = Some(Word { value, ..word });
            }
            "<" => current.from = Some(self.expand(raw)),
            ">" | ">>" | ">|" | "&>" | "&>>" => current.into.push(self.expand(raw)),
            _ => {}
        }
    }

    /// Whether a word at the start of a command only says how the next ones are run.
    fn is_keyword(&mut self, word: &str) -> bool {
        match word {
            "if" | "while" | "until" | "case" | "select" => self.depth += 1,
            "fi" | "done" | "esac" => self.depth = self.depth.saturating_sub(1),
            "{" => {
                let is_function = std::mem::take(&mut self.begins_function);
                self.braces.push(is_function);
                self.depth += usize::from(is_function);
            }
            "}" => {
                let is_function = self.braces.pop().unwrap_or(false);
                self.depth = self.depth.saturating_sub(usize::from(is_function));
            }
            "then" | "do" | "else" | "elif" | "!" | "time" => {}
            _ => return false,
        }
        true
    }

    /// Takes a command that ends with this operator.
    fn finish(&mut self, current: &mut Command, operator: &str) {
        let mut command = std::mem::take(current);
        let is_group = command.words.is_empty();
        // What ends a subshell does not end the script; what follows inside may not run.
        let ends_subshell = !self.subshells.is_empty() && command.leaves();
        command.is_conditional = self.depth > 0 || self.is_guarded || ends_subshell;
        command.loops = self.loops;
        if !command.words.is_empty() || !command.into.is_empty() {
            self.assign(&mut command);
            if !command.words.is_empty() || !command.into.is_empty() {
                self.set_by(&mut command);
                self.done.push(command);
            }
            self.is_guarded = false;
        }
        match operator {
            "&&" | "||" => self.is_guarded = true,
            "|" => {
                current.is_piped = true;
                // What all the commands of `{ … }` print together is not worked out.
                current.input = is_group.then(Word::default);
                // Both sides of a pipe run, or neither does.
                self.is_guarded = self.done.last().is_some_and(|one| one.is_conditional);
            }
            ")" => self.leave(),
            _ => {}
        }
    }

    /// Takes the assignments in front of a command away; without a command they last.
    fn assign(&mut self, command: &mut Command) {
        let is_assignment = |word: &Word| assignment(&word.raw).is_some();
        let before = command.words.iter().take_while(|word| is_assignment(word));
        let count = before.count();
        let lasts = count == command.words.len();
        for word in command.words.drain(..count) {
            let Some((name, _)) = assignment(&word.raw) else {
                continue;
            };
            let value = word.value.as_deref().and_then(|text| text.split_once('='));
            let before = match word.raw.split_once('=') {
                Some((name, _)) if name.ends_with('+') => {
                    self.variables.or(name.trim_end_matches('+'), "", true)
                }
                _ => Some(""),
            };
            let value = value.and_then(|(_, value)| Some(format!("{}{value}", before?)));
            if lasts {
                // Where something decides about it, either value may be there then.
                let is_sure = !command.is_conditional && !command.is_piped;
                self.variables.set(name, value.filter(|_| is_sure));
                if self.braces.contains(&true) {
                    self.set_by_functions.insert(name.to_owned());
                }
            } else {
                command.exports.set(name, value);
            }
        }
        let first = command.words.first().map(|word| word.raw.as_str());
        let declares = ["export", "readonly", "local", "declare", "typeset"];
        if first.is_some_and(|word| declares.contains(&word)) {
            if first == Some("export") {
                let names = command.words[1..]
                    .iter()
                    .map(|word| assignment(&word.raw).map_or(word.raw.as_str(), |(name, _)| name));
                self.exported.extend(names.map(str::to_owned));
            }
            command.words.remove(0);
            self.assign(command);
        }
    }

    /// What a command does to the variables, and which of them it gets.
    fn set_by(&mut self, command: &mut Command) {
        let words: Vec<&str> = command.words.iter().map(|word| word.raw.as_str()).collect();
        let names = words.iter().skip(1).filter(|word| !word.starts_with('-'));
        let own = std::mem::take(&mut command.exports);
        command.exports = self.variables.only(&self.exported);
        match words.first() {
            Some(&("read" | "unset" | "getopts" | "mapfile")) => {
                names.for_each(|name| self.variables.set(name, None));
            }
            Some(&"eval") => self.variables.forget(),
            Some(&("." | "source")) => {
                command.exports = self.variables.clone();
                self.source(command);
            }
            Some(&"set") => {
                self.exports_all |= words.iter().any(|word| matches!(*word, "-a" | "allexport"));
            }
            Some(name) if self.functions.contains(*name) => {
                for name in &self.set_by_functions {
                    self.variables.set(name, None);
                }
            }
            _ if self.exports_all => command.exports = self.variables.clone(),
            _ => {}
        }
        command.exports.extend(&own);
    }

    /// Takes over the variables of a file that the shell reads by `.`.
    fn source(&mut self, command: &mut Command) {
        let path = command.words.get(1).and_then(|word| word.value.as_deref());
        if path.is_some_and(|path| self.files.is_packaged(path)) {
            return self.variables.forget();
        }
        let text = path.and_then(|path| self.files.text(path));
        let (Some(text), true) = (text, self.left > 0) else {
            // `[ -r FILE ] && . FILE`
            let is_tested = self.done.last().is_some_and(|before| {
                let mut words = before.words.iter().map(|word| word.value.as_deref());
                matches!(words.next(), Some(Some("[" | "test"))) && words.any(|word| word == path)
            });
            if !command.is_conditional || path.is_none() || !is_tested {
                command
                    .words
                    .iter_mut()
                    .skip(1)
                    .for_each(|word| word.value = None);
                self.variables.forget();
            }
            return;
        };
        let mut inner = Parser::new(self.variables.clone(), self.files, self.left - 1);
        inner.run(tokens(text));
        self.functions.extend(inner.functions);
        self.set_by_functions.extend(inner.set_by_functions);
        if command.is_conditional {
            self.variables.doubt(&inner.variables);
        } else {
            self.variables.extend(&inner.variables);
        }
    }

    /// What a word becomes: a variable's value without quotes may be several words.
    fn words(&self, raw: &str) -> Vec<Word> {
        let word = self.expand(raw);
        let may_split = raw.contains('$') && !raw.contains(['"', '\'', '\\', '=']);
        let pieces = word.value.as_deref().unwrap_or_default();
        if !may_split || !pieces.contains(char::is_whitespace) {
            return vec![word];
        }
        let piece = |piece: &str| Word {
            raw: piece.to_owned(),
            value: Some(piece.to_owned()),
        };
        pieces.split_ascii_whitespace().map(piece).collect()
    }

    fn expand(&self, raw: &str) -> Word {
        Word {
            raw: raw.to_owned(),
            value: expand(raw, &self.variables),
        }
    }

    fn expand_text(&self, text: &str) -> Option<String> {
        let mut value = String::new();
        expand_quoted(text, &self.variables, &mut value)?;
        Some(value)
    }
}

/// A `for` loop over words.
struct Loop<'a> {
    name: &'a str,
    words: Vec<&'a str>,
    body: &'a [(usize, Token)],
    /// How many tokens there are between `for` and what follows its `done`.
    length: usize,
}

impl<'a> Loop<'a> {
    /// Reads the tokens behind a `for`; none where they are no `NAME in WORDS; do … done`.
    fn read(tokens: &'a [(usize, Token)]) -> Option<Self> {
        let word = |at: usize| match &tokens.get(at)?.1 {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        };
        let name = word(0)?;
        let words: Vec<&str> = (2..).map_while(word).collect();
        let is_end = |at: &usize| word(*at).is_some();
        let begin = (2 + words.len()..tokens.len()).find(is_end)?;
        if word(1) != Some("in") || word(begin) != Some("do") {
            return None;
        }
        let mut open = 1;
        let mut is_start = true;
        for at in begin + 1..tokens.len() {
            let own = word(at);
            match own.filter(|_| is_start) {
                Some("for" | "while" | "until" | "select") => open += 1,
                Some("done") => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Some(Loop {
                    name,
                    words,
                    body: &tokens[begin + 1..at],
                    length: at + 1,
                });
            }
            // A word behind these begins a command as well.
            let opens = [
                "do", "then", "else", "elif", "if", "while", "until", "{", "!",
            ];
            is_start = own.is_none_or(|word| is_start && opens.contains(&word));
        }
        None
    }

    /// Whether something in it ends a round early.
    fn leaves(&self) -> bool {
        self.body.iter().any(|(_, token)| {
            matches!(token, Token::Word(word) if ["break", "continue", "return"].contains(&word.as_str()))
        })
    }
}

/// `NAME=value`, or `NAME+=value`, with a name that a variable may have.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts_well && name.chars().all(is_name)).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Disk;

    impl Files for Disk {
        fn text(&self, path: &str) -> Option<&str> {
            (path == "/etc/default/x").then_some("N=9 # x\nM=${N}0\n")
        }

        fn names(&self, folder: &str) -> &[String] {
            static NAMES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
                [".h.conf", "a.conf", "b.conf", "c"]
                    .map(String::from)
                    .into()
            });
            if folder == "/etc/x.d" { &NAMES } else { &[] }
        }

        fn is_packaged(&self, path: &str) -> bool {
            path.starts_with("/lib/")
        }
    }

    /// `line: words > files < input`, a `?` for each word that is not known, `if` in front of a
    /// command that may not run.
    fn read(text: &str) -> Vec<String> {
        let shown = |word: &Word| word.value.clone().unwrap_or_else(|| "?".to_owned());
        let one = |command: Command| {
            let words: Vec<String> = command.words.iter().map(shown).collect();
            let mut text = format!("{}: {}", command.line, words.join("_"));
            for file in &command.into {
                text.push_str(&format!(" > {}", shown(file)));
            }
            if let Some(input) = command.input.as_ref().or(command.from.as_ref()) {
                text.push_str(&format!(" < {}", shown(input)));
            }
            let pipe = if command.is_piped { "| " } else { "" };
            let condition = if command.is_conditional { "if " } else { "" };
            format!("{condition}{pipe}{text}")
        };
        commands(text, &Variables::default(), &Disk)
            .into_iter()
            .map(one)
            .collect()
    }

    #[test]
    fn commands_are_divided_and_words_unquoted() {
        for (text, expected) in [
            ("a b 'c d' \"e f\" g\\ h\n", vec!["1: a_b_c d_e f_g h"]),
            ("#!/bin/sh\n# x\na # y\nb;c\n", vec!["3: a", "4: b", "4: c"]),
            ("a \\\n  b\nc\n", vec!["1: a_b", "3: c"]),
            ("echo 5 > /x\n", vec!["1: echo_5 > /x"]),
            ("echo 5 >/x 2>/dev/null\n", vec!["1: echo_5 > /x"]),
            ("echo 5 1>> /x\n", vec!["1: echo_5 > /x"]),
            ("echo 1 > /x\n", vec!["1: echo_1 > /x"]),
            ("echo 5 2>&1 >/x", vec!["1: echo_5 > /x"]),
            (
                "echo 5 | tee -a /x >/dev/null\n",
                vec!["1: echo_5", "| 1: tee_-a_/x > /dev/null"],
            ),
            ("tee /x <<< 5\n", vec!["1: tee_/x < ?"]),
            ("#!/bin/bash\ntee /x <<< 5\n", vec!["2: tee_/x < 5"]),
            ("exec 3> /x; a 3>&1", vec!["1: exec > /x", "1: a"]),
            ("{ a; b; } | c", vec!["1: a", "1: b", "| 1: c < ?"]),
            ("> /x | c", vec!["1:  > /x", "| 1: c < ?"]),
            ("a <(b)", vec!["1: a", "1: b"]),
            ("a < /x >/y\n", vec!["1: a > /y < /x"]),
            (
                "cat > /x <<'E'\n$5\nE\nb\n",
                vec!["1: cat > /x < $5\n", "4: b"],
            ),
            ("a 'b", vec!["1: a_?"]),
            ("", vec![]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn variables_that_are_set_before_are_put_in() {
        for (text, expected) in [
            ("N=5\na $N ${N}x \"$N\" '$N'", vec!["2: a_5_5x_5_$N"]),
            ("export N=5; a $N", vec!["1: a_5"]),
            ("a ${N:-7} $N", vec!["1: a_7_?"]),
            ("N=$(nproc)\na $N", vec!["2: a_?"]),
            ("if x; then N=5; fi\na $N", vec!["if 1: x", "2: a_?"]),
            ("N=4\na $((N * 65536)) $((1+1))", vec!["2: a_262144_?"]),
            ("N=5 a", vec!["1: a"]),
            ("N=; a ${N:-7} ${N-7} ${M:-$N}", vec!["1: a_7__?"]),
            ("if x; then N=5; fi; a ${N:-7}", vec!["if 1: x", "1: a_?"]),
            ("N=5; read N; a $N ${N:-6}", vec!["1: read_N", "1: a_?_?"]),
            ("N=5; x && N=6; a $N", vec!["1: x", "1: a_?"]),
            (
                ". /etc/default/x; a $N $M",
                vec!["1: ._/etc/default/x", "1: a_9_90"],
            ),
            ("N=5; . /etc/none; a ${N:-6}", vec!["1: ._?", "if 1: a_?"]),
            (
                "N=5; [ -r /etc/none ] && . /etc/none; a $N ${M:-6}",
                vec!["1: [_-r_/etc/none_]", "if 1: ._/etc/none", "1: a_5_6"],
            ),
            (
                "N=5; P=1; [ -r y ] && . /etc/default/x; a $N ${M:-3} $P",
                vec!["1: [_-r_y_]", "if 1: ._/etc/default/x", "1: a_?_?_1"],
            ),
            (
                "N=5; . /lib/x; M=1; a $N $M",
                vec!["1: ._/lib/x", "1: a_?_1"],
            ),
            ("N=5; eval $x; a $N", vec!["1: eval_?", "1: a_?"]),
            ("N=5; N+=6; a $N", vec!["1: a_56"]),
            ("N='b c'; a $N \"$N\"", vec!["1: a_b_c_b c"]),
            ("N=5; (N=6; a $N); a $N", vec!["1: a_6", "1: a_5"]),
            (
                "f() { N=$1; }\nN=5; a $N; f 6; a $N",
                vec!["2: a_5", "2: f_6", "2: a_?"],
            ),
            ("function f { b; }\nf", vec!["if 1: b", "2: f"]),
            (
                "function f() (\nN=6; b\n)\nN=5; f; a $N",
                vec!["if 2: b", "4: f", "4: a_5"],
            ),
            ("echo $'5'", vec!["1: echo_?"]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_may_end_a_script_puts_the_rest_in_doubt() {
        for (text, expected) in [
            ("(a; exit 0)\nb", vec!["1: a", "if 1: exit_0", "if 2: b"]),
            ("return 0; b", vec!["1: return_0", "if 1: b"]),
            (
                "set -eu\na $N\nb",
                vec!["1: set_-eu", "if 2: a_?", "if 3: b"],
            ),
            ("set -u\nN=5\na $N", vec!["1: set_-u", "3: a_5"]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_loop_over_known_words_is_run() {
        for (text, expected) in [
            (
                "for f in /etc/x.d/*.conf; do\na \"$f\"\ndone\nb",
                vec!["2: a_/etc/x.d/a.conf", "2: a_/etc/x.d/b.conf", "4: b"],
            ),
            (
                "for f in /etc/none/*; do a $f; done",
                vec!["1: a_/etc/none/*"],
            ),
            (
                "x && for f in 1; do a $f; b; done; c",
                vec!["1: x", "if 1: a_1", "if 1: b", "1: c"],
            ),
            (
                "for i in 1 2; do for k in a; do echo done $i$k; done; done; c $i",
                vec!["1: echo_done_1a", "1: echo_done_2a", "1: c_2"],
            ),
            (
                "for f in $LIST; do a $f; done; b ${f:-1}",
                vec!["if 1: f_in_?", "if 1: a_?", "1: b_?"],
            ),
            (
                "for f in 1 2; do [ -r $f ] || continue; a $f; done",
                vec![
                    "if 1: f_in_1_2",
                    "if 1: [_-r_?_]",
                    "if 1: continue",
                    "if 1: a_?",
                ],
            ),
            (
                "for f in {1,2}; do a $f; done; b",
                vec!["if 1: f_in_{1,2}", "if 1: a_?", "1: b"],
            ),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_may_not_run_is_marked() {
        for (text, expected) in [
            ("a && b\nc", vec!["1: a", "if 1: b", "2: c"]),
            ("a || b", vec!["1: a", "if 1: b"]),
            ("if a; then\nb\nfi\nc", vec!["if 1: a", "if 2: b", "4: c"]),
            (
                "for x in 1 2; do a $x; done; b",
                vec!["1: a_1", "1: a_2", "1: b"],
            ),
            ("while a; do b; done\nc", vec!["if 1: a", "if 1: b", "2: c"]),
            ("f() {\na\n}\nb", vec!["if 2: a", "4: b"]),
            ("{ a; }\nb", vec!["1: a", "2: b"]),
            (
                "case x in\ny) a ;;\nesac\nb",
                vec!["if 1: x_in", "if 2: y", "if 2: a", "4: b"],
            ),
            ("a\nexit 0\nb", vec!["1: a"]),
            ("a $((7x * 2))\nb", vec!["1: a_?", "if 2: b"]),
            (
                "a ${N?}\nexit 0\nb",
                vec!["1: a_?", "if 2: exit_0", "if 3: b"],
            ),
            ("a || exit 1\nb", vec!["1: a", "if 1: exit_1", "if 2: b"]),
            ("exec a\nb", vec!["1: exec_a"]),
            ("exec > /x\nb", vec!["1: exec > /x", "2: b"]),
            (
                "a && b | c\nd",
                vec!["1: a", "if 1: b", "if | 1: c", "2: d"],
            ),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
