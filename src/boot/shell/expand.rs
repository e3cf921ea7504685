//! What a word expands to, as far as that is known without running the script.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::tokens::quoted_length;

/// A shell with more variables is not followed: all of them are unknown then.
const MOST_VARIABLES: usize = 1024;
/// What one costs of the budget.
const VARIABLE: usize = 64;
/// A longer value is unknown.
pub(in crate::boot) const MOST_LENGTH: usize = 4096;

/// Some hundred thousand words.
const MOST_WORK: usize = 1 << 24;

/// How much may still be worked out, in bytes of words, more or less: what a script makes of its
/// own text may be far larger than the text.
#[derive(Debug)]
pub(in crate::boot) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Budget(Cell::new(MOST_WORK))
    }
}

impl Budget {
    /// Takes this much; none, now and later, where there is less.
    pub(in crate::boot) fn spend(&self, amount: usize) -> Option<()> {
        let left = self.0.get().checked_sub(amount);
        self.0.set(left.unwrap_or_default());
        left.map(|_| ())
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> usize {
        MOST_WORK - self.0.get()
    }
}

/// The variables of a shell, as far as they can be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::boot) struct Variables {
    set: Rc<BTreeMap<Rc<str>, Variable>>,
    /// Whether others may be set too, as by a file that cannot be read.
    has_others: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Variable {
    /// None where it cannot be known.
    value: Option<Rc<str>>,
    /// Whether other programs get it in their environment.
    is_exported: bool,
}

impl Variables {
    /// Sets one, which is exported if it was before.
    pub(super) fn assign(&mut self, name: &str, value: Option<String>) {
        if let Some(variable) = self.place(name) {
            variable.value = value.filter(|one| one.len() <= MOST_LENGTH).map(Rc::from);
        }
    }

    /// Sets one that other programs get too.
    pub(in crate::boot) fn set(&mut self, name: &str, value: Option<String>) {
        self.assign(name, value);
        self.export(name);
    }

    /// From here on other programs get it; it is unknown if it was not set.
    pub(super) fn export(&mut self, name: &str) {
        if let Some(variable) = self.place(name) {
            variable.is_exported = true;
        }
    }

    fn place(&mut self, name: &str) -> Option<&mut Variable> {
        if !self.set.contains_key(name) {
            if self.set.len() >= MOST_VARIABLES {
                self.forget();
                return None;
            }
            Rc::make_mut(&mut self.set).insert(name.into(), Variable::default());
        }
        Rc::make_mut(&mut self.set).get_mut(name)
    }

    /// What setting one costs: all are copied where somebody else has them too.
    pub(super) fn cost(&self) -> usize {
        if Rc::strong_count(&self.set) > 1 {
            self.weight()
        } else {
            VARIABLE
        }
    }

    /// What going through all of them costs.
    pub(in crate::boot) fn weight(&self) -> usize {
        VARIABLE * (8 + self.set.len())
    }

    /// Makes unknown what differs in a shell that began with these variables and that may have run
    /// or not.
    pub(super) fn doubt(&mut self, others: &Variables) {
        let names = self.set.keys().chain(others.set.keys());
        let differs = |name: &&Rc<str>| self.set.get(*name) != others.set.get(*name);
        let names: Vec<Rc<str>> = names.filter(differs).cloned().collect();
        for name in names {
            self.assign(&name, None);
        }
        self.has_others |= others.has_others;
    }

    /// Makes those unknown that these have, whatever their value.
    pub(super) fn lose(&mut self, others: &Variables) {
        for name in others.set.keys() {
            self.assign(name, None);
        }
        if others.has_others {
            self.forget();
        }
    }

    /// From here on everything may be set, to anything.
    pub(in crate::boot) fn forget(&mut self) {
        self.set = Rc::default();
        self.has_others = true;
    }

    /// Those that other programs get.
    pub(in crate::boot) fn exported(&self) -> Variables {
        let own = self.set.iter().filter(|(_, variable)| variable.is_exported);
        Variables {
            set: Rc::new(
                own.map(|(name, variable)| (name.clone(), variable.clone()))
                    .collect(),
            ),
            has_others: self.has_others,
        }
    }

    /// Whether a command that was read sets one.
    pub(super) fn names(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// Whether one was set, or may have been.
    pub(in crate::boot) fn has(&self, name: &str) -> bool {
        self.has_others || self.set.contains_key(name)
    }

    pub(in crate::boot) fn value(&self, name: &str) -> Option<&str> {
        self.set.get(name)?.value.as_deref()
    }

    /// The value, or the default of one that is surely not set or empty.
    pub(in crate::boot) fn or<'a>(
        &'a self,
        name: &str,
        default: &'a str,
        takes_empty: bool,
    ) -> Option<&'a str> {
        match self.set.get(name).map(|variable| variable.value.as_deref()) {
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
        let length = inside.find(|c| !is_of_name(c)).unwrap_or(inside.len());
        let (name, operation) = inside.split_at(length);
        // What is cut off or put in place of a part is not worked out, nor is one in another.
        let known = match (operation.strip_prefix(":-"), operation.strip_prefix('-')) {
            _ if operation.contains(['$', '`', '{', '\'', '"', '\\']) => None,
            (Some(default), _) => variables.or(name, default, false),
            (None, Some(default)) => variables.or(name, default, true),
            (None, None) if operation.is_empty() => variables.value(name),
            (None, None) => None,
        };
        put(known?, value)?;
        return Some(rest);
    }
    let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
    if end == 0 {
        // A lone dollar is one; `$1`, `$?`, `$@` are known to a running shell alone.
        if rest.starts_with(['?', '@', '*', '#', '!', '$', '-']) {
            return None;
        }
        value.push('$');
        return Some(rest);
    }
    put(variables.value(&rest[..end])?, value)?;
    Some(&rest[end..])
}

pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Appends what a variable has, where that does not make too long a text.
fn put(known: &str, value: &mut String) -> Option<()> {
    (value.len() + known.len() <= MOST_LENGTH).then(|| value.push_str(known))
}

/// A product, the arithmetic that sizes are written with: `4 * 65536`.
fn product(text: &str, variables: &Variables) -> Option<i64> {
    let factor = |part: &str| {
        let part = part.trim();
        let name = part.trim_start_matches('$');
        let known = variables.value(name).unwrap_or(part);
        // A zero in front makes it octal.
        let is_octal = known.len() > 1 && known.starts_with('0');
        known.parse::<i64>().ok().filter(|_| !is_octal)
    };
    text.split('*')
        .map(factor)
        .try_fold(1_i64, |all, one| all.checked_mul(one?))
}
