//! The pieces of a script: words, operators, the bodies of here-documents.

/// A piece of a script: a word as it is written, an operator, or the end of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Operator(&'static str),
    /// The body of a here-document, whether it is expanded, before its operator's line goes on.
    Body(String, bool),
}

/// Longer ones first.
const OPERATORS: [&str; 21] = [
    "<<<", "<<-", "&>>", "&&", "||", ";;", ">>", ">|", ">&", "<<", "<&", "<>", "&>", "\n", ";",
    "&", "|", "(", ")", "<", ">",
];

/// How deep quotes and `$(…)` in one another are looked into.
const MOST_NESTED: usize = 32;

/// The tokens of a script with the line of each.
pub(super) fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut scanner = Scanner {
        rest: text,
        line: 1,
        found: Vec::new(),
        bodies: Vec::new(),
    };
    while scanner.step() {}
    scanner.found
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<(usize, Token)>,
    /// Here-documents whose bodies begin after this line: the terminator, whether tabs in front of
    /// it are dropped, and the place of the token to fill in.
    bodies: Vec<(String, bool, usize)>,
}

impl Scanner<'_> {
    fn step(&mut self) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
        if let Some(rest) = self.rest.strip_prefix("\\\n") {
            self.rest = rest;
            self.line += 1;
            return true;
        }
        if self.rest.starts_with('#') {
            self.rest = self.rest.find('\n').map_or("", |at| &self.rest[at..]);
        }
        if self.rest.is_empty() {
            return false;
        }
        let may_be = self
            .rest
            .starts_with(['\n', ';', '&', '|', '(', ')', '<', '>']);
        let operator = OPERATORS
            .iter()
            .find(|one| may_be && self.rest.starts_with(**one));
        match operator {
            Some(operator) => self.operator(operator),
            None => self.word(),
        }
        true
    }

    fn operator(&mut self, operator: &'static str) {
        self.rest = &self.rest[operator.len()..];
        self.found.push((self.line, Token::Operator(operator)));
        match operator {
            "\n" => {
                self.line += 1;
                for (terminator, strips_tabs, at) in std::mem::take(&mut self.bodies) {
                    self.body(&terminator, strips_tabs, at);
                }
            }
            "<<" | "<<-" => {
                self.rest = self.rest.trim_start_matches([' ', '\t']);
                let (word, length) = raw_word(self.rest);
                let is_quoted = word.contains(['\'', '"', '\\']);
                self.rest = &self.rest[length..];
                let at = self.found.len();
                let body = Token::Body(String::new(), !is_quoted);
                self.found.push((self.line, body));
                let terminator = word.replace(['\'', '"', '\\'], "");
                self.bodies.push((terminator, operator == "<<-", at));
            }
            _ => {}
        }
    }

    fn body(&mut self, terminator: &str, strips_tabs: bool, at: usize) {
        let mut text = String::new();
        while !self.rest.is_empty() {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            self.line += 1;
            let line = if strips_tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if line == terminator {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        if let Some((_, Token::Body(body, _))) = self.found.get_mut(at) {
            *body = text;
        }
    }

    fn word(&mut self) {
        let (word, length) = raw_word(self.rest);
        let line = self.line;
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
        if !self.rest.starts_with(['<', '>']) || !word.bytes().all(|one| one.is_ascii_digit()) {
            self.found.push((line, Token::Word(word)));
        } else if word != "1" {
            // The number of a descriptor, right before its operator: `2> /dev/null`. What is
            // written to another one later goes to that file too.
            let operator = OPERATORS.iter().find(|one| self.rest.starts_with(**one));
            self.rest = &self.rest[operator.map_or(0, |one| one.len())..];
            let is_own = word != "0" && word != "2";
            let operator = operator.filter(|one| is_own && matches!(**one, ">" | ">>"));
            self.found
                .push((line, Token::Operator(operator.copied().unwrap_or("<>"))));
        }
    }
}

/// The word at the start of a text, quotes kept, and its length: it ends at a blank or an operator
/// outside of quotes and brackets.
pub(super) fn raw_word(text: &str) -> (String, usize) {
    let mut end = 0;
    while let Some(c) = text[end..].chars().next() {
        let rest = &text[end..];
        end += match c {
            ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
            '\'' => rest[1..].find('\'').map_or(rest.len(), |at| at + 2),
            '"' => quoted_length(rest),
            '`' => rest[1..].find('`').map_or(rest.len(), |at| at + 2),
            '\\' => escaped_length(rest),
            '$' if rest[1..].starts_with('(') => 1 + bracket_length(&rest[1..], '(', ')'),
            '$' if rest[1..].starts_with('{') => 1 + bracket_length(&rest[1..], '{', '}'),
            other => other.len_utf8(),
        };
    }
    // An operator that no rule above takes would stop the scanner for ever.
    let end = if end == 0 {
        text.chars().next().map_or(0, char::len_utf8)
    } else {
        end
    };
    (text[..end].replace("\\\n", ""), end)
}

/// The length of a text in double quotes, both included.
pub(super) fn quoted_length(text: &str) -> usize {
    quoted_within(text, MOST_NESTED)
}

/// The length of a bracket with all that are inside it.
pub(super) fn bracket_length(text: &str, open: char, close: char) -> usize {
    bracket_within(text, (open, close), MOST_NESTED)
}

fn quoted_within(text: &str, left: usize) -> usize {
    let mut at = 1;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &text[at..];
        at += match c {
            '"' => return at + 1,
            '\\' => escaped_length(rest),
            // What is quoted in there does not end the quotes around it.
            '$' if rest[1..].starts_with('(') => {
                1 + bracket_within(&rest[1..], ('(', ')'), left.saturating_sub(1))
            }
            other => other.len_utf8(),
        };
    }
    text.len()
}

fn bracket_within(text: &str, (open, close): (char, char), left: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &text[at..];
        at += match c {
            // Nobody nests so deep.
            _ if left == 0 => return text.len(),
            '\\' => escaped_length(rest),
            '"' => quoted_within(rest, left - 1),
            '\'' if open == '(' => rest[1..].find('\'').map_or(rest.len(), |at| at + 2),
            other => other.len_utf8(),
        };
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

/// The length of a backslash and what is behind it.
fn escaped_length(text: &str) -> usize {
    1 + text[1..].chars().next().map_or(0, char::len_utf8)
}
