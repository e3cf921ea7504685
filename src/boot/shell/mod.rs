//! As much of the shell's language as tells which commands a script runs, with which words.
//!
//! In: the text of a script. Out: its simple [`Command`]s with their words, where their output goes
//! and what they read, and whether they run in any case. A word with a part that only a running
//! shell could know (`$(…)`, an unset variable) has no value.
//! Follows POSIX.1-2017, Shell Command Language; functions and loops are not run, only read.

mod expand;
mod tokens;

use std::collections::BTreeMap;

use expand::{expand, expand_quoted};
use tokens::{Token, raw_word, tokens};

/// A word, if its value can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Whether it reads the output of the command before it.
    pub(super) is_piped: bool,
    /// Whether something decides that it runs at all: `if`, `&&`, a loop, a function.
    pub(super) is_conditional: bool,
    /// Whether the script may end with it where it fails: after `set -e`.
    pub(super) ends_on_failure: bool,
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

    /// Whether a word has an expansion that ends the shell where it fails: arithmetic that is wrong,
    /// or `${name?}` of a variable that is not set.
    fn may_end_the_shell(&self) -> bool {
        let mut words = self.words.iter().chain(&self.into);
        words.any(|word| {
            let raw = &word.raw;
            word.value.is_none() && (raw.contains("$((") || raw.contains("${") && raw.contains('?'))
        })
    }

    /// `set -e`, `set +eu`, `set -o errexit`: whether it is on then.
    fn sets_errexit(&self) -> Option<bool> {
        let mut words = self.words.iter().map(|word| word.raw.as_str());
        let options: Vec<&str> = (words.next() == Some("set")).then(|| words.collect())?;
        let one = |at: usize| {
            let word: &str = options[at];
            let is_named = word.ends_with('o') && options.get(at + 1) == Some(&"errexit");
            let is_it = is_named || word.starts_with(['-', '+']) && word.contains('e');
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

/// The commands of a script, in the order of the text.
pub(super) fn commands(text: &str, variables: &BTreeMap<String, String>) -> Vec<Command> {
    let mut parser = Parser {
        tokens: tokens(text),
        variables: variables.clone(),
        done: Vec::new(),
        depth: 0,
        braces: Vec::new(),
        is_guarded: false,
        begins_function: false,
    };
    parser.run();
    let mut may_have_ended = false;
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!"));
    let mut ends_on_failure = first.is_some_and(|line| {
        let mut options = line.split_ascii_whitespace().skip(1);
        options.any(|one| one.starts_with('-') && one.contains('e'))
    });
    for command in &mut parser.done {
        if let Some(is_on) = command.sets_errexit() {
            ends_on_failure = is_on || ends_on_failure && command.is_conditional;
        }
        command.ends_on_failure = ends_on_failure;
        command.is_conditional |= may_have_ended;
        may_have_ended |= command.may_end_the_shell() || command.is_conditional && command.leaves();
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
pub(super) fn words(text: &str, variables: &BTreeMap<String, String>) -> Vec<Word> {
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

struct Parser {
    tokens: Vec<(usize, Token)>,
    variables: BTreeMap<String, String>,
    done: Vec<Command>,
    /// How many of `if`, `while`, `for`, `case` and functions are open.
    depth: usize,
    /// For each `{` that is open, whether it is a function's.
    braces: Vec<bool>,
    /// Whether the next command comes after `&&` or `||`.
    is_guarded: bool,
    /// Whether the next `{` is a function's.
    begins_function: bool,
}

impl Parser {
    fn run(&mut self) {
        let mut current = Command::default();
        let mut tokens = std::mem::take(&mut self.tokens).into_iter().peekable();
        while let Some((line, token)) = tokens.next() {
            match token {
                Token::Word(raw) if current.words.is_empty() && self.is_keyword(&raw) => {}
                Token::Word(raw) => {
                    if current.words.is_empty() {
                        current.line = line;
                    }
                    current.words.push(self.expand(&raw));
                }
                Token::Body(body, is_expanded) => {
                    let expanded = is_expanded.then(|| self.expand_text(&body));
                    let value = expanded.unwrap_or_else(|| Some(body.clone()));
                    current.input = Some(Word { raw: body, value });
                }
                Token::Operator(operator) if operator.contains(['<', '>']) => {
                    let file = tokens.next_if(|(_, next)| matches!(next, Token::Word(_)));
                    if let Some((_, Token::Word(raw))) = file {
                        self.redirect(&mut current, operator, &raw);
                    }
                }
                Token::Operator("(") if current.words.len() == 1 => {
                    current = Command::default();
                    self.begins_function = true;
                }
                Token::Operator(operator) => self.finish(&mut current, operator),
            }
        }
        self.finish(&mut current, "\n");
    }

    fn redirect(&self, current: &mut Command, operator: &str, raw: &str) {
        match operator {
            "<<<" => current.input = Some(self.expand(raw)),
            ">" | ">>" | ">|" | "&>" | "&>>" => current.into.push(self.expand(raw)),
            _ => {}
        }
    }

    /// Whether a word at the start of a command only says how the next ones are run.
    fn is_keyword(&mut self, word: &str) -> bool {
        match word {
            "if" | "while" | "until" | "for" | "case" | "select" => self.depth += 1,
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
        command.is_conditional = self.depth > 0 || self.is_guarded;
        if !command.words.is_empty() || !command.into.is_empty() {
            self.assign(&mut command);
            if !command.words.is_empty() || !command.into.is_empty() {
                self.done.push(command);
            }
            self.is_guarded = false;
        }
        match operator {
            "&&" | "||" => self.is_guarded = true,
            "|" => {
                current.is_piped = true;
                // Both sides of a pipe run, or neither does.
                self.is_guarded = self.done.last().is_some_and(|one| one.is_conditional);
            }
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
            match value {
                Some((_, value)) if lasts && self.depth == 0 => {
                    self.variables.insert(name.to_owned(), value.to_owned());
                }
                // Set where it cannot be known when, or to what cannot be known.
                _ if lasts => drop(self.variables.remove(name)),
                _ => {}
            }
        }
        if command.words.first().is_some_and(|word| {
            matches!(
                word.raw.as_str(),
                "export" | "readonly" | "local" | "declare"
            )
        }) {
            command.words.remove(0);
            self.assign(command);
        }
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

/// `NAME=value` with a name that a variable may have.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts_well && name.chars().all(is_name)).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            if let Some(input) = &command.input {
                text.push_str(&format!(" < {}", shown(input)));
            }
            let pipe = if command.is_piped { "| " } else { "" };
            let condition = if command.is_conditional { "if " } else { "" };
            format!("{condition}{pipe}{text}")
        };
        commands(text, &BTreeMap::new())
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
            ("tee /x <<< 5\n", vec!["1: tee_/x < 5"]),
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
                vec!["if 1: x_in_1_2", "if 1: a_?", "1: b"],
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
