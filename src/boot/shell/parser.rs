//! Reads a script token by token: what is assigned, which loops run, what decides about a command.

use std::collections::BTreeSet;

use super::expand::{expand, expand_quoted};
use super::tokens::{Token, tokens};
use super::{Budget, Command, Dialect, Files, Variables, Word};

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
