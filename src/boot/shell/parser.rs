//! Reads a script token by token: what is assigned, which loops run, what decides about a command.

use std::collections::BTreeSet;

use super::expand::{expand, expand_quoted, is_of_name};
use super::tokens::{Token, bracket_length, tokens};
use super::{Budget, Command, Dialect, Files, Shell, Variables, Word};

/// Files that may read one another in a row by `.`.
const MOST_FILES: usize = 4;
/// The words that a loop may have, the loops around it, and the commands of a script, if loops are
/// to be run.
const MOST_WORDS: usize = 64;
const MOST_LOOPS: usize = 8;
const MOST_COMMANDS: usize = 10_000;
/// What a command costs of the budget, a word of it, and what is only read.
const COMMAND: usize = 256;
pub(super) const WORD: usize = 64;
const TOKEN: usize = 4;
/// They set variables; those of `local` and its like are unknown.
const DECLARES: [&str; 5] = ["export", "readonly", "local", "declare", "typeset"];

/// The commands of a text in their order; none where the budget does not allow all of it.
pub(super) fn parse(
    text: &str,
    variables: Variables,
    files: &dyn Files,
    budget: &Budget,
    dialect: Dialect,
) -> Option<Vec<Command>> {
    let mut parser = Parser::new(variables, files, budget, MOST_FILES);
    parser.dialect = dialect;
    parser.read(text)?;
    Some(parser.done)
}

struct Parser<'a> {
    files: &'a dyn Files,
    budget: &'a Budget,
    variables: Variables,
    exports_all: bool,
    done: Vec<Command>,
    /// How many of `if`, `while`, `for`, `case` and functions are open.
    depth: usize,
    /// How many of them are `case`.
    cases: usize,
    /// For each `{` that is open, whether it is a function's.
    braces: Vec<bool>,
    /// Whether the next command comes after `&&` or `||`.
    is_guarded: bool,
    next: Next,
    /// How many functions in `{ … }` are open.
    inside: usize,
    functions: Functions,
    /// For each `(` that is open, the variables before it, and whether it is a function's.
    subshells: Vec<(Variables, bool)>,
    dialect: Dialect,
    /// Loops that are open and run.
    loops: usize,
    /// How many more files and texts in `$(…)` may be read in a row.
    left: usize,
    /// Whether something may have ended the shell.
    may_have_ended: bool,
}

/// What the next `{` or `(` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    #[default]
    Group,
    Function,
}

/// The functions so far.
#[derive(Debug, Default)]
struct Functions {
    names: BTreeSet<String>,
    /// The variables that they set; what to does not matter.
    set: Variables,
    /// Whether one may end the shell.
    may_leave: bool,
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
            cases: 0,
            braces: Vec::new(),
            is_guarded: false,
            next: Next::Group,
            inside: 0,
            functions: Functions::default(),
            subshells: Vec::new(),
            dialect: Dialect::Posix,
            loops: 0,
            left,
            may_have_ended: false,
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
                Token::Word(raw) => at += self.word(&mut current, raw, *line, &tokens[at..]),
                Token::Body(body, is_expanded) => {
                    current.input = Some(self.body(body, *is_expanded));
                }
                Token::Operator("<" | ">") if next == Some(&OPENED) => {
                    // `<(…)` is a file.
                    current.words.push(Word::default());
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
                Token::Operator("(") if is_first => {
                    // `((N *= 2))` in bash.
                    if next == Some(&OPENED) {
                        self.forget();
                    }
                    self.enter();
                }
                Token::Operator(operator) => self.finish(&mut current, operator),
            }
        }
        self.finish(&mut current, "\n");
    }

    /// Takes a word, and tells how many tokens behind it belong to it.
    fn word(
        &mut self,
        current: &mut Command,
        raw: &str,
        line: usize,
        rest: &[(usize, Token)],
    ) -> usize {
        self.look_inside(raw, line);
        if raw != "{" && std::mem::take(&mut self.next) == Next::Function {
            // `f() for …`: where that ends is not worked out.
            self.depth += 1;
        }
        let next = rest.first().map(|(_, next)| next);
        // `case … in done)`
        let is_pattern = self.cases > 0 && next == Some(&CLOSED);
        match raw {
            _ if !current.words.is_empty() => {}
            "for" => {
                let length = self.repeat(rest);
                self.depth += usize::from(length.is_none());
                return length.unwrap_or_default();
            }
            // `function NAME`, perhaps with `()` behind it.
            "function" => {
                if let Some(Token::Word(name)) = next {
                    self.define(name);
                }
                return 1;
            }
            _ if !is_pattern && self.is_keyword(raw) => return 0,
            _ => current.line = line,
        }
        current.words.extend(self.words(raw));
        0
    }

    /// The text of a here-document.
    fn body(&self, body: &str, is_expanded: bool) -> Word {
        let value = if is_expanded {
            self.expand_text(body)
        } else {
            Some(body.to_owned())
        };
        let cost = WORD + body.len() + value.as_ref().map_or(0, String::len);
        Word {
            raw: body.to_owned(),
            value: value.filter(|_| self.budget.spend(cost).is_some()),
        }
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
        self.functions.names.insert(function.to_owned());
        self.next = Next::Function;
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
            self.functions.set.assign(name, None);
        }
    }

    fn forget(&mut self) {
        self.variables.forget();
        if self.inside > 0 {
            self.functions.set.forget();
        }
    }

    fn enter(&mut self) {
        let is_function = std::mem::take(&mut self.next) == Next::Function;
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
            ">&" if !raw.starts_with(is_fd) => {
                current.into.push(self.expand(raw));
            }
            _ => {}
        }
        // dash takes the `&` of `&>` for the end of the command: what it prints goes elsewhere. It
        // refuses `>& FILE`.
        current.is_conditional |=
            self.dialect == Dialect::Posix && operator.contains('&') && !raw.starts_with(is_fd);
    }

    /// Whether a word at the start of a command only says how the next ones are run.
    fn is_keyword(&mut self, word: &str) -> bool {
        match word {
            "if" | "while" | "until" | "case" | "select" => {
                self.depth += 1;
                self.cases += usize::from(word == "case");
            }
            "fi" | "done" | "esac" => {
                self.depth = self.depth.saturating_sub(1);
                self.cases = self.cases.saturating_sub(usize::from(word == "esac"));
            }
            "{" => {
                let is_function = std::mem::take(&mut self.next) == Next::Function;
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
        if command.is_piped || matches!(operator, "&" | "|") {
            command.shell = Shell::Child;
        }
        let ends_subshell = !self.subshells.is_empty() && command.leaves();
        let first = command.words.first().map_or("", |word| word.raw.as_str());
        let is_function = self.functions.names.contains(first);
        self.functions.may_leave |= self.depth > 0 && command.leaves();
        let may_print_elsewhere =
            command.is_conditional && command.into.iter().any(|file| file.raw != "/dev/null");
        command.is_conditional =
            self.depth > 0 || self.is_guarded || ends_subshell || may_print_elsewhere;
        // One that has the name of a function is that.
        command.is_conditional |= is_function || self.may_have_ended;
        self.may_have_ended |= is_function && self.functions.may_leave;
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
                // `declare -i N=5*2`
                self.set(name, value.clone().filter(|_| is_sure && keeps));
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
            Some(&("eval" | "let")) => self.forget(),
            Some(&"printf") if words.get(1) == Some(&"-v") => {
                if let Some(name) = words.get(2) {
                    self.set(name, None);
                }
            }
            Some(&"cd") => {
                let folder = command.words.get(1).and_then(|word| word.value.clone());
                let is_sure = command.words.len() == 2 && !command.is_conditional;
                let folder = folder.filter(|folder| is_sure && folder.starts_with('/'));
                self.set("PWD", folder);
            }
            Some(&("pushd" | "popd")) => self.set("PWD", None),
            // `N[0]=5`
            Some(word) if word.contains("]=") => {
                if let Some((name, _)) = word.split_once('[') {
                    self.set(name, None);
                }
            }
            Some(&("." | "source")) => self.source(command),
            Some(&"set") => {
                self.exports_all |= words.iter().any(|word| matches!(*word, "-a" | "allexport"));
            }
            Some(name)
                if self.functions.names.contains(*name)
                    && self.budget.spend(self.functions.set.weight()).is_some() =>
            {
                self.variables.lose(&self.functions.set);
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
        let weight = inner.variables.weight() + inner.functions.set.weight();
        if !has_all || self.budget.spend(weight).is_none() {
            return self.forget();
        }
        self.functions.names.extend(inner.functions.names);
        self.functions.may_leave |= inner.functions.may_leave;
        let ends = |one: &Command| {
            one.leaves() || one.may_end_the_shell() || one.sets('e', "errexit") == Some(true)
        };
        self.may_have_ended |= inner.may_have_ended || inner.done.iter().any(ends);
        self.functions.set.lose(&inner.functions.set);
        if self.inside > 0 {
            self.functions.set.forget();
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
        if may_split && self.variables.names("IFS") {
            return vec![Word {
                value: None,
                ..word
            }];
        }
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

    /// What a word runs in a shell of its own, `$(…)`, runs too, and what it sets is not known:
    /// `${N:=5}`.
    fn look_inside(&mut self, raw: &str, line: usize) {
        for piece in raw.split("${").skip(1) {
            let length = piece.find(|c| !is_of_name(c)).unwrap_or(piece.len());
            let (name, operation) = piece.split_at(length);
            if operation.starts_with('=') || operation.starts_with(":=") {
                self.set(name, None);
            }
        }
        for text in substituted(raw) {
            let variables = self.variables.clone();
            if self.left == 0 || self.budget.spend(variables.cost()).is_none() {
                continue;
            }
            let mut inner = Parser::new(variables, self.files, self.budget, self.left - 1);
            inner.dialect = self.dialect;
            if inner.read(text).is_some() {
                let done = inner.done.into_iter().map(|one| Command {
                    line: line + one.line.saturating_sub(1),
                    is_conditional: true,
                    ..one
                });
                self.done.extend(done);
            }
        }
    }

    fn expand(&self, raw: &str) -> Word {
        let value = expand(raw, &self.variables).filter(|_| !self.is_braced(raw));
        let cost = WORD + raw.len() + value.as_ref().map_or(0, String::len);
        Word {
            raw: raw.to_owned(),
            value: value.filter(|_| self.budget.spend(cost).is_some()),
        }
    }

    /// Whether bash makes several words of it: `{a,b}`.
    fn is_braced(&self, raw: &str) -> bool {
        let is_quoted = raw.contains(['"', '\'']);
        let inside = raw
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'));
        self.dialect != Dialect::Posix
            && !is_quoted
            && inside.is_some_and(|(inside, _)| inside.contains(',') || inside.contains(".."))
    }

    fn expand_text(&self, text: &str) -> Option<String> {
        let mut value = String::new();
        expand_quoted(text, &self.variables, &mut value)?;
        Some(value)
    }
}

/// The texts in `$(…)` and between backquotes; not what is in one another.
fn substituted(raw: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = raw;
    while let Some(at) = rest.find(['\'', '\\', '`', '$']) {
        let (sign, behind) = rest[at..].split_at(1);
        rest = match sign {
            "\\" => behind.get(1..).unwrap_or_default(),
            "'" if !rest[..at].contains('"') => {
                behind.split_once('\'').map_or("", |(_, rest)| rest)
            }
            "`" => match behind.split_once('`') {
                Some((text, rest)) => {
                    found.push(text);
                    rest
                }
                None => "",
            },
            "$" if behind.starts_with('(') && !behind.starts_with("((") => {
                let end = bracket_length(behind, b'(', b')');
                found.extend(behind.get(1..end.saturating_sub(1)));
                behind.get(end..).unwrap_or_default()
            }
            _ => behind,
        };
    }
    found
}

/// Whether a file descriptor follows: `>&2`, `>&-`.
fn is_fd(c: char) -> bool {
    c == '-' || c.is_ascii_digit()
}

const OPENED: Token = Token::Operator("(");
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
