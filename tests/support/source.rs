//! Rust source as the tests of the house read it: without comments, strings and test modules.

#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder whose name ends like this, sorted; a file is itself.
pub fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.to_str().unwrap().ends_with(ending) {
            files.extend(self::files(&path, ending));
        }
    }
    files.sort();
    files
}

/// The source with every comment, string and character as spaces; lines stay lines.
pub fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_a_name = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !after_a_name => prefixed_string(rest).unwrap_or(0),
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let hidden = rest[..length].chars();
            code.extend(hidden.map(|one| if one == '\n' { one } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().unwrap().len_utf8();
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, one) in text.char_indices().skip(1) {
        match one {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `b"…"`, `r"…"`, `br#"…"#`, `b'x'`.
fn prefixed_string(text: &str) -> Option<usize> {
    let prefix = text.len() - text.trim_start_matches(['b', 'c']).len();
    let (raw, after) = match text[prefix..].strip_prefix('r') {
        Some(after) => (true, after),
        None => (false, &text[prefix..]),
    };
    if prefix > 1 {
        return None;
    }
    if !raw {
        let length = match after.chars().next()? {
            '"' => string(after),
            '\'' => character(after)?,
            _ => return None,
        };
        return Some(prefix + length);
    }
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - after.len() + hashes + 1;
    let found = text[start..].find(&end);
    Some(found.map_or(text.len(), |at| start + at + end.len()))
}

/// `'x'` and `'\n'`, but no lifetime.
fn character(text: &str) -> Option<usize> {
    let mut inside = text.char_indices().skip(1);
    let (_, first) = inside.next()?;
    if first == '\\' {
        inside.next()?;
        return text[3..].find('\'').map(|at| 3 + at + 1);
    }
    let (at, quote) = inside.next()?;
    (quote == '\'').then_some(at + 1)
}

const TEST: &str = "#[cfg(test)]";

/// The code without the items behind `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(TEST) {
        kept.push_str(&rest[..at]);
        let item = &rest[at + TEST.len()..];
        let end = match (item.find('{'), item.find(';')) {
            (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => {
                brace + block(&item[brace..])
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => item.len(),
        };
        kept.extend(item[..end].chars().filter(|one| *one == '\n'));
        rest = &item[end..];
    }
    kept + rest
}

/// The length of the block that starts here.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, one) in code.char_indices() {
        match one {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The names of the modules that are files of their own and only there for tests.
pub fn test_modules(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(TEST) {
        let item = code[at + TEST.len()..].split(['{', ';']).next().unwrap();
        let mut words = item.split_whitespace();
        if words.any(|word| word == "mod") && code[at + TEST.len()..][item.len()..].starts_with(';')
        {
            names.extend(words.next().map(str::to_owned));
        }
    }
    names
}
