//! What a word expands to, as far as that is known without running the script.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::quoted_length;

/// The variables of a shell, as far as they can be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::boot) struct Variables {
    /// The value of each that was set; none where it cannot be known.
    set: BTreeMap<String, Option<String>>,
    /// Whether others may be set too, as by a file that cannot be read.
    has_others: bool,
}

impl Variables {
    pub(in crate::boot) fn set(&mut self, name: &str, value: Option<String>) {
        self.set.insert(name.to_owned(), value);
    }

    /// Takes over what somebody else has set.
    pub(in crate::boot) fn extend(&mut self, others: &Variables) {
        self.set.extend(others.set.clone());
        self.has_others |= others.has_others;
    }

    /// Makes unknown what somebody else has changed, which may have happened or not.
    pub(super) fn doubt(&mut self, others: &Variables) {
        for (name, value) in &others.set {
            if self.set.get(name) != Some(value) {
                self.set.insert(name.clone(), None);
            }
        }
        self.has_others |= others.has_others;
    }

    /// From here on everything may be set, to anything.
    pub(in crate::boot) fn forget(&mut self) {
        self.set.clear();
        self.has_others = true;
    }

    /// Those of these names alone.
    pub(super) fn only(&self, names: &BTreeSet<String>) -> Variables {
        let own = self.set.iter().filter(|(name, _)| names.contains(*name));
        Variables {
            set: own
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            has_others: self.has_others,
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.set.get(name)?.as_deref()
    }

    /// The value, or the default of one that is surely not set or empty.
    pub(in crate::boot) fn or<'a>(
        &'a self,
        name: &str,
        default: &'a str,
        takes_empty: bool,
    ) -> Option<&'a str> {
        match self.set.get(name) {
            Some(None) => None,
            Some(Some(value)) if takes_empty || !value.is_empty() => Some(value),
            None if self.has_others => None,
            // A default that has to be expanded itself is not.
            _ => (!default.contains(['$', '`'])).then_some(default),
        }
    }
}

/// The value of a word, quotes removed and variables put in.
pub(super) fn expand(raw: &str, variables: &Variables) -> Option<String> {
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

pub(super) fn expand_quoted(inner: &str, variables: &Variables, value: &mut String) -> Option<()> {
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
fn variable<'a>(text: &'a str, variables: &Variables, value: &mut String) -> Option<&'a str> {
    let rest = &text[1..];
    if let Some(arithmetic) = rest.strip_prefix("((") {
        let (inner, rest) = arithmetic.split_once("))")?;
        value.push_str(&product(inner, variables)?.to_string());
        return Some(rest);
    }
    // A command's output, or `$'…'`, which dash takes for a dollar and a word.
    if rest.starts_with(['(', '\'', '"']) {
        return None;
    }
    if let Some(inside) = rest.strip_prefix('{') {
        let (inside, rest) = inside.split_once('}')?;
        let known = match (inside.split_once(":-"), inside.split_once('-')) {
            (Some((name, default)), _) => variables.or(name, default, false),
            (None, Some((name, default))) => variables.or(name, default, true),
            (None, None) => variables.value(inside),
        };
        value.push_str(known?);
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
    value.push_str(variables.value(&rest[..end])?);
    Some(&rest[end..])
}

/// A product, the arithmetic that sizes are written with: `4 * 65536`.
fn product(text: &str, variables: &Variables) -> Option<i64> {
    let factor = |part: &str| {
        let part = part.trim();
        let name = part.trim_start_matches('$');
        let known = variables.value(name).unwrap_or(part);
        known.parse::<i64>().ok()
    };
    text.split('*')
        .map(factor)
        .try_fold(1_i64, |all, one| all.checked_mul(one?))
}
