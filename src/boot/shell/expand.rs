//! What a word expands to, as far as that is known without running the script.

use std::collections::BTreeMap;

use super::tokens::quoted_length;

/// The value of a word, quotes removed and variables put in.
pub(super) fn expand(raw: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut value = String::new();
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        match c {
            '\'' => {
                let end = rest[1..].find('\'')? + 1;
                value.push_str(&rest[1..end]);
                rest = &rest[end + 1..];
            }
            '"' => {
                let length = quoted_length(rest);
                let inner = rest.get(1..length.checked_sub(1)?)?;
                expand_quoted(inner, variables, &mut value)?;
                rest = &rest[length..];
            }
            '\\' => {
                let next = rest[1..].chars().next()?;
                value.push(next);
                rest = &rest[1 + next.len_utf8()..];
            }
            '`' => return None,
            '$' => rest = variable(rest, variables, &mut value)?,
            other => {
                value.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    Some(value)
}

pub(super) fn expand_quoted(
    inner: &str,
    variables: &BTreeMap<String, String>,
    value: &mut String,
) -> Option<()> {
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        match c {
            '\\' if rest[1..].starts_with(['$', '`', '"', '\\']) => {
                value.push_str(&rest[1..2]);
                rest = &rest[2..];
            }
            '`' => return None,
            '$' => rest = variable(rest, variables, value)?,
            other => {
                value.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    Some(())
}

/// Puts a variable's value in, and gives what follows it.
fn variable<'a>(
    text: &'a str,
    variables: &BTreeMap<String, String>,
    value: &mut String,
) -> Option<&'a str> {
    let rest = &text[1..];
    if let Some(arithmetic) = rest.strip_prefix("((") {
        let (inner, rest) = arithmetic.split_once("))")?;
        value.push_str(&product(inner, variables)?.to_string());
        return Some(rest);
    }
    if rest.starts_with('(') {
        return None;
    }
    if let Some(inside) = rest.strip_prefix('{') {
        let (inside, rest) = inside.split_once('}')?;
        let (name, default) = match inside.split_once(":-").or_else(|| inside.split_once('-')) {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let known = variables.get(name).map(String::as_str);
        value.push_str(known.or(default)?);
        return Some(rest);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
    if end == 0 {
        // A lone dollar is one; `$1`, `$?`, `$@` are known to a running shell alone.
        if rest.starts_with(['?', '@', '*', '#', '!', '$', '-']) {
            return None;
        }
        value.push('$');
        return Some(rest);
    }
    value.push_str(variables.get(&rest[..end])?);
    Some(&rest[end..])
}

/// A product, the arithmetic that sizes are written with: `4 * 65536`.
fn product(text: &str, variables: &BTreeMap<String, String>) -> Option<i64> {
    let factor = |part: &str| {
        let part = part.trim();
        let name = part.trim_start_matches('$');
        let known = variables.get(name).map_or(part, String::as_str);
        known.parse::<i64>().ok()
    };
    text.split('*')
        .map(factor)
        .try_fold(1_i64, |all, one| all.checked_mul(one?))
}
