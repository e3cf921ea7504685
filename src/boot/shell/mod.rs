//! As much of the shell's language as tells which commands a script runs, with which words.
//!
//! In: the text of a script, and the files that it may read. Out: its simple [`Command`]s with their
//! words, where their output goes and what they read, and whether they run in any case. A word with
//! a part that only a running shell could know (`$(…)`, an unset variable) has no value.
//! Follows POSIX.1-2017, Shell Command Language. A `for` loop over words that are known is run;
//! functions and other loops are only read. A script that makes too much of its text is given up.

mod expand;
mod tokens;

use std::collections::BTreeSet;

use super::pattern;
pub(super) use expand::{Budget, MOST_LENGTH, Variables};
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
    /// What runs it.
    pub(super) dialect: Dialect,
    /// The loops that run it once for each of their words.
    pub(super) loops: usize,
    /// The variables of the shell, with those that are set for it alone; other programs get those
    /// that are exported.
    pub(super) variables: Variables,
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
        // `kill $$`
        let kills = |word: &Word| word.raw.contains("$$") || word.raw == "0";
        let kills_itself = self.words.first().is_some_and(|word| word.raw == "kill")
            && self.words.iter().any(kills);
        lacks_file || kills_itself || self.words.iter().chain(&self.into).any(ends)
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
    let mut parser = Parser::new(variables, files, budget, MOST_FILES);
    let is_one =
        |names: &[&str]| first.is_some_and(|line| names.iter().any(|name| line.contains(name)));
    if is_one(&["bash"]) {
        parser.dialect = Dialect::Bash;
    } else if is_one(&["ksh", "zsh"]) {
        parser.dialect = Dialect::Other;
    }
    parser.read(text)?;
    mark_doubts(&mut parser.done, first);
    // What follows an `exit` never runs: an rc.local often ends with one.
    let mut commands = parser.done.iter();
    let end = commands.position(|one| !one.is_conditional && one.leaves());
    let is_program = |at: usize| parser.done[at].words[0].raw == "exec";
    let end = end.map(|at| at + usize::from(is_program(at)));
    parser.done.truncate(end.unwrap_or(parser.done.len()));
    Some(parser.done)
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
        // After `set -n`, dash runs nothing.
        let runs_nothing = command.sets('n', "noexec") == Some(true);
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

/// Files that may read one another in a row by `.`.
const MOST_FILES: usize = 4;
/// The words that a loop may have, the loops around it, and the commands of a script, if loops are
/// to be run.
const MOST_WORDS: usize = 64;
const MOST_LOOPS: usize = 8;
const MOST_COMMANDS: usize = 10_000;
/// What a command costs of the budget, a word of it, and what is only read.
const COMMAND: usize = 256;
const WORD: usize = 64;
const TOKEN: usize = 4;
/// They set variables; those of `local` and its like are unknown.
const DECLARES: [&str; 5] = ["export", "readonly", "local", "declare", "typeset"];

struct Parser<'a> {
    files: &'a dyn Files,
    budget: &'a Budget,
    variables: Variables,
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
    /// How many functions in `{ … }` are open.
    inside: usize,
    /// The functions so far, and the variables that they set, whose values do not matter.
    functions: BTreeSet<String>,
    set_by_functions: Variables,
    /// For each `(` that is open, the variables before it, and whether it is a function's.
    subshells: Vec<(Variables, bool)>,
    dialect: Dialect,
    /// Loops that are open and run.
    loops: usize,
    /// How many more files may be read in a row.
    left: usize,
}

impl<'a> Parser<'a> {
    fn new(variables: Variables, files: &'a dyn Files, budget: &'a Budget, left: usize) -> Self {
        Parser {
            files,
            budget,
            variables,
            exports_all: false,
            done: Vec::new(),
            depth: 0,
            braces: Vec::new(),
            is_guarded: false,
            begins_function: false,
            inside: 0,
            functions: BTreeSet::new(),
            set_by_functions: Variables::default(),
            subshells: Vec::new(),
            dialect: Dialect::Posix,
            loops: 0,
            left,
        }
    }

    /// Reads a text; none where the budget does not allow all of it.
    fn read(&mut self, text: &str) -> Option<()> {
        self.budget.spend(text.len())?;
        self.run(&tokens(text));
        (!self.budget.is_spent()).then_some(())
    }

    fn run(&mut self, tokens: &[(usize, Token)]) {
        let mut current = Command::default();
        let mut at = 0;
        while let Some((line, token)) = tokens.get(at) {
            if self.budget.spend(TOKEN).is_none() {
                return;
            }
            at += 1;
            let next = tokens.get(at).map(|(_, next)| next);
            let is_first = current.words.is_empty();
            match token {
                Token::Word(raw) if is_first && raw == "for" => {
                    let length = self.repeat(&tokens[at..]);
                    self.depth += usize::from(length.is_none());
                    at += length.unwrap_or_default();
                }
                Token::Word(raw) if is_first && self.is_keyword(raw) => {}
                // `function NAME`, perhaps with `()` behind it.
                Token::Word(raw) if is_first && raw == "function" => {
                    if let Some(Token::Word(name)) = next {
                        self.define(name);
                    }
                    at += 1;
                }
                Token::Word(raw) => {
                    if is_first {
                        current.line = *line;
                    }
                    current.words.extend(self.words(raw));
                }
                Token::Body(body, is_expanded) => {
                    let value = if *is_expanded {
                        self.expand_text(body)
                    } else {
                        Some(body.clone())
                    };
                    let cost = WORD + body.len() + value.as_ref().map_or(0, String::len);
                    let value = value.filter(|_| self.budget.spend(cost).is_some());
                    let raw = body.clone();
                    current.input = Some(Word { raw, value });
                }
                Token::Operator(operator) if operator.contains(['<', '>']) => {
                    if let Some(Token::Word(raw)) = next {
                        at += 1;
                        if is_first {
                            current.line = *line;
                        }
                        self.redirect(&mut current, operator, raw);
                    }
                }
                Token::Operator("(") if current.words.len() == 1 && next == Some(&CLOSED) => {
                    at += 1;
                    self.define(&std::mem::take(&mut current).words[0].raw);
                }
                Token::Operator("(") if is_first && next == Some(&CLOSED) => at += 1,
                Token::Operator("(") if is_first => self.enter(),
                Token::Operator(operator) => self.finish(&mut current, operator),
            }
        }
        self.finish(&mut current, "\n");
    }

    /// Runs a `for` loop whose words are known, and tells how many tokens it took. None where it is
    /// only read: what its variable is then is not known.
    fn repeat(&mut self, tokens: &[(usize, Token)]) -> Option<usize> {
        if let Some((_, Token::Word(name))) = tokens.first() {
            self.set(name, None);
        }
        let found = Loop::read(tokens);
        let length = found.as_ref().map_or(tokens.len(), |found| found.length);
        self.budget.spend(length * TOKEN)?;
        let found = found?;
        let fits = self.loops < MOST_LOOPS
            && found.words.len() <= MOST_WORDS
            && self.done.len() <= MOST_COMMANDS;
        if !fits || found.leaves() {
            return None;
        }
        let each = |word: &&str| self.each(word);
        let values: Option<Vec<Vec<String>>> = found.words.iter().map(each).collect();
        let values = values?.concat();
        if values.len() > MOST_WORDS {
            return None;
        }
        let is_guarded = usize::from(self.is_guarded);
        self.depth += is_guarded;
        self.loops += 1;
        for value in values {
            self.set(found.name, Some(value));
            self.run(found.body);
        }
        self.loops -= 1;
        if self.depth > 0 {
            self.set(found.name, None);
        }
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
        self.files.paths(raw, self.budget).filter(|_| is_one)
    }

    fn define(&mut self, function: &str) {
        self.functions.insert(function.to_owned());
        self.begins_function = true;
    }

    /// Sets a variable; none where the value is not known.
    fn set(&mut self, name: &str, value: Option<String>) {
        let cost = self.variables.cost();
        if self.budget.spend(cost).is_none() {
            return self.forget();
        }
        self.variables.assign(name, value);
        if self.exports_all {
            self.variables.export(name);
        }
        if self.inside > 0 {
            self.set_by_functions.assign(name, None);
        }
    }

    fn forget(&mut self) {
        self.variables.forget();
        if self.inside > 0 {
            self.set_by_functions.forget();
        }
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
                let value = word.value.filter(|_| self.dialect != Dialect::Posix);
                current.input = Some(Word { value, ..word });
            }
            "<" => current.from = Some(self.expand(raw)),
            ">" | ">>" | ">|" | "&>" | "&>>" => current.into.push(self.expand(raw)),
            _ => {}
        }
        // dash takes the `&` of `&>` for the end of the command: what it prints goes elsewhere.
        current.is_conditional |= self.dialect == Dialect::Posix && operator.starts_with('&');
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
                self.inside += usize::from(is_function);
            }
            "}" => {
                let is_function = usize::from(self.braces.pop().unwrap_or(false));
                self.depth = self.depth.saturating_sub(is_function);
                self.inside = self.inside.saturating_sub(is_function);
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
        let may_print_elsewhere =
            command.is_conditional && command.into.iter().any(|file| file.raw != "/dev/null");
        command.is_conditional =
            self.depth > 0 || self.is_guarded || ends_subshell || may_print_elsewhere;
        command.loops = self.loops;
        command.dialect = self.dialect;
        if !command.words.is_empty() || !command.into.is_empty() {
            let own = self.assign(&mut command);
            if !command.words.is_empty() || !command.into.is_empty() {
                self.set_by(&mut command, own);
                // It fails for all that follows, too.
                let _ = self.budget.spend(COMMAND);
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

    /// Takes the assignments in front of a command away; without a command they last. Gives those
    /// that are for the command alone.
    fn assign(&mut self, command: &mut Command) -> Vec<(String, Option<String>)> {
        let is_assignment = |word: &&Word| assignment(&word.raw).is_some();
        let count = command.words.iter().take_while(is_assignment).count();
        let rest = command.words.split_off(count);
        let words = std::mem::replace(&mut command.words, rest);
        let own: Vec<_> = words
            .iter()
            .filter_map(|word| self.assigned(word))
            .collect();
        // Where something decides about it, either value may be there then.
        let is_sure = !command.is_conditional && !command.is_piped;
        let first = command.words.first().map(|word| word.raw.as_str());
        if first.is_none() {
            for (name, value) in own {
                self.set(&name, value.filter(|_| is_sure));
            }
            return Vec::new();
        }
        let Some(declares) = first.filter(|word| DECLARES.contains(word)) else {
            return own;
        };
        let exports =
            declares == "export" || command.words.iter().any(|word| word.raw.contains("-x"));
        let keeps = declares == "export" || declares == "readonly";
        for word in std::mem::take(&mut command.words).iter().skip(1) {
            let pair = self.assigned(word);
            let name = pair.as_ref().map_or(word.raw.as_str(), |(name, _)| name);
            if let Some((name, value)) = &pair {
                self.set(name, value.clone().filter(|_| is_sure));
            } else if !keeps {
                self.set(name, None);
            }
            if exports && !name.starts_with('-') {
                self.variables.export(name);
            }
        }
        for (name, _) in own {
            self.set(&name, None);
        }
        Vec::new()
    }

    /// The name and the value of an assignment.
    fn assigned(&self, word: &Word) -> Option<(String, Option<String>)> {
        let (name, _) = assignment(&word.raw)?;
        let value = word.value.as_deref().and_then(|text| text.split_once('='));
        let before = match word.raw.split_once('=') {
            Some((name, _)) if name.ends_with('+') => {
                self.variables.or(name.trim_end_matches('+'), "", true)
            }
            _ => Some(""),
        };
        let value = value.and_then(|(_, value)| Some(format!("{}{value}", before?)));
        Some((name.to_owned(), value))
    }

    /// What a command does to the variables, and which of them it gets.
    fn set_by(&mut self, command: &mut Command, own: Vec<(String, Option<String>)>) {
        command.variables = self.variables.clone();
        for (name, value) in own {
            if self.budget.spend(command.variables.cost()).is_none() {
                return;
            }
            command.variables.set(&name, value);
        }
        let words: Vec<&str> = command.words.iter().map(|word| word.raw.as_str()).collect();
        let names = words.iter().skip(1).filter(|word| !word.starts_with('-'));
        match words.first() {
            Some(&("read" | "unset" | "getopts" | "mapfile")) => {
                names.for_each(|name| self.set(name, None));
            }
            Some(&"eval") => self.forget(),
            Some(&("." | "source")) => self.source(command),
            Some(&"set") => {
                self.exports_all |= words.iter().any(|word| matches!(*word, "-a" | "allexport"));
            }
            Some(name)
                if self.functions.contains(*name)
                    && self.budget.spend(self.set_by_functions.weight()).is_some() =>
            {
                self.variables.lose(&self.set_by_functions);
            }
            _ => {}
        }
    }

    /// Takes over the variables of a file that the shell reads by `.`.
    fn source(&mut self, command: &mut Command) {
        let path = command.words.get(1).and_then(|word| word.value.as_deref());
        if path.is_some_and(|path| self.files.is_packaged(path)) {
            return self.forget();
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
                self.forget();
            }
            return;
        };
        let variables = self.variables.clone();
        let mut inner = Parser::new(variables, self.files, self.budget, self.left - 1);
        inner.exports_all = self.exports_all;
        inner.dialect = self.dialect;
        let has_all = inner.read(text).is_some();
        let weight = inner.variables.weight() + inner.set_by_functions.weight();
        if !has_all || self.budget.spend(weight).is_none() {
            return self.forget();
        }
        self.functions.extend(inner.functions);
        self.set_by_functions.lose(&inner.set_by_functions);
        if self.inside > 0 {
            self.set_by_functions.forget();
        }
        if command.is_conditional {
            self.variables.doubt(&inner.variables);
        } else {
            self.variables = inner.variables;
            self.exports_all = inner.exports_all;
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
        let pieces = pieces.split_ascii_whitespace().map(piece);
        pieces
            .take_while(|_| self.budget.spend(WORD).is_some())
            .collect()
    }

    fn expand(&self, raw: &str) -> Word {
        let value = expand(raw, &self.variables);
        let cost = WORD + raw.len() + value.as_ref().map_or(0, String::len);
        Word {
            raw: raw.to_owned(),
            value: value.filter(|_| self.budget.spend(cost).is_some()),
        }
    }

    fn expand_text(&self, text: &str) -> Option<String> {
        let mut value = String::new();
        expand_quoted(text, &self.variables, &mut value)?;
        Some(value)
    }
}

/// What makes a function of a name and a `(`.
const CLOSED: Token = Token::Operator(")");

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

    /// Scripts that make much of a text of about this size.
    fn nasty(size: usize) -> Vec<String> {
        let times = |text: &str| text.repeat(size / text.len() + 1);
        let words = "1 2 3 4 5 6 7 8 9 10 ".repeat(6);
        let open = format!("for a in {words}; do ").repeat(8);
        let long = "x".repeat(4000);
        let variables: String = (0..size / 40)
            .map(|at| format!("export V{at}=$L; a\n"))
            .collect();
        let sets: String = (0..size / 20)
            .map(|at| format!("V{}=1\n", at % 1000))
            .collect();
        vec![
            times("V=$V$V; a $V\n"),
            format!(
                "V=x; {open} V=$V$V; {} {}",
                times("a $V; "),
                "done; ".repeat(8)
            ),
            times("for a in b c; do "),
            format!("L={long}; {variables}"),
            format!("f() {{\n{sets}}}\n{sets}{}", times("f; V=1\n")),
            format!("V='{words}'; {}", times("a $V $V $V $V\n")),
            format!("L={long}\n{}", times("a << E\n$L\nE\n")),
            format!(
                "{open} {} {}",
                times("a '\"b\"' \"c\"; "),
                "done; ".repeat(8)
            ),
            times(". /etc/default/x\n"),
            times("(V=1; "),
            times("for f in /etc/x.d/*; do a $f; done\n"),
            times("a b c\n"),
        ]
    }

    #[test]
    fn what_is_made_of_a_script_has_a_bound() {
        let size_of = |word: &Word| {
            let value = word.value.as_ref().map_or(0, String::len);
            size_of::<Word>() + word.raw.len() + value
        };
        for size in [1_000, 50_000] {
            for script in nasty(size) {
                let budget = Budget::default();
                let found = commands_within(&script, Variables::default(), &Disk, &budget);
                let commands = found.as_deref().unwrap_or_default();
                let words = commands
                    .iter()
                    .flat_map(|one| one.words.iter().chain(&one.input));
                let size: usize = words.map(size_of).sum();
                let start = &script[..script.len().min(60)];
                assert!(size <= 2 * budget.spent(), "{start}: {size}");
                assert_eq!(found.is_none(), budget.is_spent(), "{start}");
            }
        }
    }

    #[test]
    fn a_plain_script_costs_in_proportion() {
        let spent = |times: usize| {
            let budget = Budget::default();
            let script = "a b 'c d' > /x\nN=5; e $N && f\n".repeat(times);
            let found = commands_within(&script, Variables::default(), &Disk, &budget);
            assert_eq!(found.unwrap().len(), 3 * times);
            budget.spent()
        };
        assert!(spent(8000) <= 9 * spent(1000));
    }

    #[test]
    fn of_a_script_that_is_given_up_nothing_is_known() {
        let script = nasty(30_000).remove(1);
        let found = commands(&script, &Variables::default(), &Disk);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].values(), [None, None]);
    }
}
