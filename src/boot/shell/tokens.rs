//! The pieces of a script: words, operators, the bodies of here-documents.

use memchr::memchr_iter;

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
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let blanks = self.rest.bytes().take_while(is_blank).count();
        self.rest = &self.rest[blanks..];
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
        let first = self.rest.as_bytes()[0];
        let may_be = matches!(
            first,
            b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>'
        );
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
        self.line += memchr_iter(b'\n', &self.rest.as_bytes()[..length]).count();
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
    // What has a meaning is ASCII: the bytes of another sign are passed by one after the other.
    let bytes = text.as_bytes();
    let mut end = 0;
    while let Some(byte) = bytes.get(end) {
        let rest = &bytes[end + 1..];
        end += match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
            b'\'' | b'`' => {
                1 + rest
                    .iter()
                    .position(|one| one == byte)
                    .map_or(rest.len(), |at| at + 1)
            }
            b'"' => quoted_length(&text[end..]),
            b'\\' => escaped_length(&text[end..]),
            b'$' if rest.first() == Some(&b'(') => 1 + bracket_length(&text[end + 1..], b'(', b')'),
            b'$' if rest.first() == Some(&b'{') => 1 + bracket_length(&text[end + 1..], b'{', b'}'),
            _ => 1,
        };
    }
    // An operator that no rule above takes would stop the scanner for ever.
    let end = if end == 0 {
        text.chars().next().map_or(0, char::len_utf8)
    } else {
        end
    };
    let word = &text[..end];
    // Hardly a word goes on in another line.
    let word = if bytes[..end].contains(&b'\\') {
        word.replace("\\\n", "")
    } else {
        word.to_owned()
    };
    (word, end)
}

/// The length of a text in double quotes, both included.
pub(super) fn quoted_length(text: &str) -> usize {
    quoted_within(text, MOST_NESTED)
}

/// The length of a bracket with all that are inside it.
pub(super) fn bracket_length(text: &str, open: u8, close: u8) -> usize {
    bracket_within(text, (open, close), MOST_NESTED)
}

fn quoted_within(text: &str, left: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => escaped_length(&text[at..]),
            // What is quoted in there does not end the quotes around it.
            b'$' if bytes.get(at + 1) == Some(&b'(') => {
                1 + bracket_within(&text[at + 1..], (b'(', b')'), left.saturating_sub(1))
            }
            _ => 1,
        };
    }
    text.len()
}

fn bracket_within(text: &str, (open, close): (u8, u8), left: usize) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at + 1..];
        at += match byte {
            // Nobody nests so deep.
            _ if left == 0 => return text.len(),
            b'\\' => escaped_length(&text[at..]),
            b'"' => quoted_within(&text[at..], left - 1),
            b'\'' if open == b'(' => {
                1 + rest
                    .iter()
                    .position(|one| one == byte)
                    .map_or(rest.len(), |at| at + 1)
            }
            _ => 1,
        };
        if *byte == open {
            depth += 1;
        } else if *byte == close {
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
