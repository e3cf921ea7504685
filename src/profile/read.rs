//! Reads a whole profile: syntax and meaning together, every mistake in one run.
//!
//! The time grows with the size of the text alone, however many mistakes there are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::foreign;
use super::service::Places;
use super::setting::ROOTS;
use super::value::Written;
use super::{Accepted, Desired, Extends, Mistake, Profile, Role, Source, Wrong};
use crate::tunable::{Key, nearest_name};

/// Mistakes that are shown with help; nobody reads more of them.
pub(crate) const TOLD_WITH_HELP: usize = 200;

pub(super) const PARTS: [&str; 9] = [
    "description",
    "role",
    "extends",
    "sysctl",
    "service",
    "expire",
    "guard",
    "lifeline",
    "accept",
];

const SYSCTL: &str = "sysctl keys belong under [sysctl]";

/// A value in the tree, with its bytes.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a profile. The error lists every mistake that can be told apart, in the order of the text.
pub(crate) fn parse(source: &Source) -> Result<Profile, Vec<Mistake>> {
    match read(source) {
        (profile, mistakes) if mistakes.is_empty() => Ok(profile),
        (_, mistakes) => Err(mistakes),
    }
}

/// What can be read of a profile, and every mistake in it.
pub(crate) fn read(source: &Source) -> (Profile, Vec<Mistake>) {
    let mut reader = Reader {
        source: Arc::new(source.clone()),
        mistakes: Vec::new(),
    };
    if let Some((span, wrong)) = foreign::kind(&source.text) {
        return reader.nothing(&span, wrong);
    }
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    let mut profile = reader.profile(tree.get_ref());
    let mut mistakes = reader.syntax(&errors, tree.get_ref());
    if let Some(first) = mistakes.first()
        && let Some(wrong) = foreign::many_errors(&source.text, mistakes.len())
    {
        let span = first.span.clone();
        reader.mistakes.clear();
        return reader.nothing(&span, wrong);
    }
    // What the parser made up to get past a syntax error is not the author's mistake: neither is
    // what touches one. The furthest end so far tells in one look whether anything does.
    let ends: Vec<usize> = mistakes
        .iter()
        .scan(0, |furthest, mistake| {
            *furthest = mistake.span.end.max(*furthest);
            Some(*furthest)
        })
        .collect();
    let is_free = |meant: &Mistake| {
        let before = mistakes.partition_point(|error| error.span.start <= meant.span.end);
        let end = before.checked_sub(1).and_then(|last| ends.get(last));
        end.is_none_or(|end| *end < meant.span.start)
    };
    // The same for a parent that is only half there.
    profile.extends = profile.extends.take().filter(|extends| {
        let touches = |one: &Mistake| {
            one.span.start <= extends.span.end && extends.span.start <= one.span.end
        };
        !mistakes.iter().any(touches)
    });
    reader.mistakes.retain(is_free);
    mistakes.append(&mut reader.mistakes);
    mistakes.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
    (profile, mistakes)
}

/// Walks the tree and collects what is wrong on the way.
pub(super) struct Reader {
    source: Arc<Source>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn fault(&mut self, span: &Range<usize>, wrong: Wrong) {
        let mistake = Mistake::new(&self.source, span.clone(), wrong);
        self.mistakes.push(mistake);
    }

    /// Reports a mistake between two places.
    pub(super) fn clash(
        &mut self,
        (span, label): (&Range<usize>, impl Into<String>),
        (other, there): (&Range<usize>, impl Into<String>),
        title: impl Into<String>,
    ) {
        let mistake = Mistake::new(&self.source, span.clone(), Wrong::new(title, label));
        self.mistakes.push(mistake.also(other.clone(), there));
    }

    /// The answer about a text that is no profile at all.
    fn nothing(mut self, span: &Range<usize>, wrong: Wrong) -> (Profile, Vec<Mistake>) {
        self.fault(span, wrong);
        let profile = Profile {
            source: self.source,
            extends: None,
            desired: Desired::default(),
            places: Places::new(),
        };
        (profile, self.mistakes)
    }

    /// How many mistakes there are so far.
    pub(super) fn found(&self) -> usize {
        self.mistakes.len()
    }

    /// Whether a further mistake is shown without help.
    pub(super) fn is_full(&self) -> bool {
        self.mistakes.len() >= TOLD_WITH_HELP
    }

    /// The number, or what is wrong with it, at the part of the value that is.
    pub(super) fn number(
        &mut self,
        value: &Value<'_>,
        read: impl FnOnce(Written<'_>) -> Result<i64, Wrong>,
    ) -> Option<i64> {
        let wrong = match read(written(value)) {
            Ok(number) => return Some(number),
            Err(wrong) => wrong,
        };
        let part = wrong.part.clone().map(|part| self.part(value, part));
        self.fault(&part.unwrap_or_else(|| value.span()), wrong);
        None
    }

    /// Where a part of a text value is in the file. Escapes make the text in the file differ from
    /// the text that is meant; the whole value is pointed at then.
    pub(super) fn part(&self, value: &Value<'_>, part: Range<usize>) -> Range<usize> {
        let span = value.span();
        let inside = value.get_ref().as_str().and_then(|text| {
            let raw = self.source.text.get(span.clone())?;
            let mut quotes = ["\"\"\"", "'''", "\"", "'"].into_iter();
            let quote = quotes.find(|quote| raw.starts_with(quote))?;
            let is_plain = raw.get(quote.len()..)?.starts_with(text);
            is_plain.then_some(span.start + quote.len())
        });
        match inside {
            Some(start) => start + part.start..start + part.end,
            None => span,
        }
    }

    fn profile(&mut self, tree: &DeTable<'_>) -> Profile {
        let mut desired = Desired::default();
        let mut extends = None;
        let mut places = Places::new();
        for (name, value) in in_order(tree) {
            match name.get_ref().as_ref() {
                "description" => desired.description = self.text("description", value),
                "role" => {
                    let roles = Role::ALL.map(|role| (role.name(), role));
                    desired.role = self.one_of("role", value, &roles);
                }
                "extends" => {
                    extends = self.text("extends", value).map(|name| Extends {
                        name,
                        span: value.span(),
                    });
                }
                part @ ("sysctl" | "service" | "expire" | "guard" | "lifeline" | "accept") => {
                    if let Some(table) = self.table(part, value) {
                        match part {
                            "sysctl" => desired.settings = self.settings(table),
                            "expire" => desired.expire = self.expire(table),
                            "guard" => desired.guard = self.guard(table),
                            "service" => (desired.services, places) = self.services(table),
                            "lifeline" => {
                                desired.lifeline = Some(self.lifeline(&name.span(), table));
                            }
                            _ => desired.accept = self.accept(table),
                        }
                    }
                }
                unknown => {
                    let help = match Key::lookup(unknown) {
                        Some(_) => SYSCTL.to_owned(),
                        None if ROOTS.contains(&unknown) => SYSCTL.to_owned(),
                        None => self.offer(unknown, &PARTS),
                    };
                    let wrong = Wrong::new(format!("a profile has no `{unknown}`"), "unknown");
                    self.fault(&name.span(), wrong.help(help));
                }
            }
        }
        Profile {
            source: Arc::clone(&self.source),
            extends,
            desired,
            places,
        }
    }

    fn accept(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Accepted> {
        let mut accepted = BTreeMap::new();
        for (id, value) in in_order(table) {
            if let Some(reason) = self.text("a reason", value) {
                let origin = self.origin();
                accepted.insert(on_one_line(id.get_ref()), Accepted { reason, origin });
            }
        }
        accepted
    }

    pub(super) fn origin(&self) -> String {
        self.source.name.clone()
    }

    /// A text that is not empty, on one line: it is shown among lines that are not the profile's.
    pub(super) fn text(&mut self, what: &str, value: &Value<'_>) -> Option<String> {
        let wrong = match value.get_ref().as_str() {
            Some(text) if !text.trim().is_empty() => return Some(on_one_line(text)),
            Some(_) => Wrong::new(format!("{what} is empty"), "nothing here"),
            None => {
                let title = format!("{what} must be text in quotes");
                Wrong::new(title, value.get_ref().type_str())
            }
        };
        self.fault(&value.span(), wrong);
        None
    }

    /// What the name stands for.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        what: &str,
        value: &Value<'_>,
        known: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(what, value)?;
        if let Some((_, found)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*found);
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let wrong = Wrong::new(format!("no {what} is called `{text}`"), "unknown");
        self.fault(&value.span(), wrong.help(self.offer(&text, &names)));
        None
    }

    pub(super) fn table<'v, 't>(
        &mut self,
        name: &str,
        value: &'v Value<'t>,
    ) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let label = value.get_ref().type_str();
            let wrong = Wrong::new(format!("`{name}` must be a table"), label);
            let help = format!("write [{name}] on a line of its own");
            self.fault(&value.span(), wrong.help(help));
        }
        table
    }

    /// The nearest of the names, and where none is near all of them.
    pub(super) fn offer(&self, name: &str, names: &[&str]) -> String {
        match nearest(name, names).filter(|_| !self.is_full()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {}", names.join(", ")),
        }
    }

    /// Syntax errors, the first of each line: those behind it are most often its echo.
    fn syntax(&self, errors: &[toml::de::Error], tree: &DeTable<'_>) -> Vec<Mistake> {
        let text = &self.source.text;
        let span = |error: &toml::de::Error| error.span().unwrap_or(text.len()..text.len());
        let mut errors: Vec<_> = errors.iter().map(|error| (span(error), error)).collect();
        errors.sort_by_key(|(span, _)| span.start);
        errors.dedup_by(|(later, _), (first, _)| {
            let between = text.get(first.start..later.start);
            between.is_some_and(|between| !between.contains('\n'))
        });
        let tell = |(index, (span, error)): (usize, (Range<usize>, &toml::de::Error))| {
            let tree = (index < TOLD_WITH_HELP).then_some(tree);
            self.syntax_error(span, error.message(), tree)
        };
        errors.into_iter().enumerate().map(tell).collect()
    }

    /// Says in the operator's words what the TOML parser says in a grammar's.
    fn syntax_error(
        &self,
        span: Range<usize>,
        message: &str,
        tree: Option<&DeTable<'_>>,
    ) -> Mistake {
        let there = self.source.text.get(span.clone()).unwrap_or_default();
        // `nat` fails as a misspelt `nan`, the one float that begins with a letter.
        let word = message.starts_with("invalid float") && there.starts_with(char::is_alphabetic);
        let is_twice = message.starts_with("duplicate key");
        let wrong = if is_twice {
            Wrong::new(format!("`{there}` is given twice"), "the second time")
        } else if word || message.starts_with("string values must be quoted") {
            match there {
                "" => Wrong::new("a value is missing", "nothing here"),
                _ => Wrong::new("text must be in quotes", "no quotes")
                    .help(format!("write \"{there}\"")),
            }
        } else if message.starts_with("invalid boolean") {
            Wrong::new("neither true nor false", "no quotes")
                .help(format!("write true, false or \"{there}\""))
        } else {
            Wrong::new(message, "not TOML")
        };
        let first = tree.filter(|_| is_twice);
        let first = first.and_then(|tree| first_of(tree, there, span.start));
        let mistake = Mistake::new(&self.source, span.clone(), wrong);
        match first {
            Some(first) => mistake.also(first, "the first time"),
            None => mistake,
        }
    }
}

/// The entries of a table in the order of the text.
pub(super) fn in_order<'v, 't>(
    table: &'v DeTable<'t>,
) -> Vec<(&'v Spanned<std::borrow::Cow<'t, str>>, &'v Value<'t>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| name.span().start);
    entries
}

/// The only key of this name before `end`, anywhere in the tree.
fn first_of(tree: &DeTable<'_>, name: &str, end: usize) -> Option<Range<usize>> {
    let mut found = None;
    let mut tables = vec![tree];
    while let Some(table) = tables.pop() {
        for (key, value) in table {
            if key.get_ref() == name && key.span().end <= end && found.replace(key.span()).is_some()
            {
                return None;
            }
            tables.extend(value.get_ref().as_table());
        }
    }
    found
}

/// The nearest of the names, as a profile spells them.
pub(super) fn nearest(name: &str, names: &[&str]) -> Option<String> {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    nearest_name(&plain, names.iter().map(|name| (*name).to_owned()))
}

/// A value as the rules of values see it.
fn written<'v>(value: &'v Value<'_>) -> Written<'v> {
    match value.get_ref() {
        DeValue::Integer(number) => {
            Written::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(number) => Written::Fraction(number.as_str()),
        DeValue::String(text) => Written::Text(text),
        DeValue::Boolean(truth) => Written::Truth(*truth),
        other => Written::Other(other.type_str()),
    }
}

fn on_one_line(text: &str) -> String {
    let lines = text.split(char::is_control).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::mistake::Position;
    use crate::profile::{Bounds, ExpireMode, Goal};
    use proptest::prelude::*;

    /// What is pointed at, the title and the help of each mistake.
    fn told(text: &str) -> Vec<(String, String, String)> {
        let mistakes = parse(&Source::new("p.toml", text))
            .err()
            .unwrap_or_default();
        mistakes
            .into_iter()
            .map(|mistake| {
                (
                    text[mistake.span.clone()].to_owned(),
                    mistake.title,
                    mistake.help.unwrap_or_default(),
                )
            })
            .collect()
    }

    #[test]
    fn every_kind_of_mistake_is_told_at_its_place() {
        for (text, part, title, help) in [
            ("description = ", "", "a value is missing", ""),
            (
                "role = nat",
                "nat",
                "text must be in quotes",
                "write \"nat\"",
            ),
            (
                "role = firewall",
                "firewall",
                "neither true nor false",
                "write true, false or \"firewall\"",
            ),
            (
                "role = host",
                "host",
                "text must be in quotes",
                "write \"host\"",
            ),
            ("[sysctl", "", "unclosed table", ""),
            (
                "role = \"nat\"\nrole = \"cgn\"",
                "role",
                "`role` is given twice",
                "",
            ),
            (
                "descripton = \"x\"",
                "descripton",
                "a profile has no `descripton`",
                "`description`",
            ),
            (
                "nf_conntrack_max = 5",
                "nf_conntrack_max",
                "a profile has no `nf_conntrack_max`",
                "under [sysctl]",
            ),
            (
                "colour = 1",
                "colour",
                "a profile has no `colour`",
                "one of description, role",
            ),
            (
                "description = 1",
                "1",
                "description must be text in quotes",
                "",
            ),
            (
                "role = \"frewall\"",
                "\"frewall\"",
                "no role is called `frewall`",
                "`firewall`",
            ),
            (
                "role = \"xyz\"",
                "\"xyz\"",
                "no role is called `xyz`",
                "host, firewall, nat, cgn",
            ),
            ("extends = 5", "5", "extends must be text in quotes", ""),
            ("extends = \"\"", "\"\"", "extends is empty", ""),
            ("sysctl = 5", "5", "`sysctl` must be a table", "[sysctl]"),
            (
                "[[sysctl]]",
                "[[sysctl]]",
                "`sysctl` must be a table",
                "[sysctl]",
            ),
            ("[accept]\na = \"\"", "\"\"", "a reason is empty", ""),
            (
                "[accept]\na = true",
                "true",
                "a reason must be text in quotes",
                "",
            ),
            (
                "[expire]\nmode = \"clam\"",
                "\"clam\"",
                "no mode is called `clam`",
                "`clamp`",
            ),
            (
                "[expire]\nmax_flows = 1",
                "max_flows",
                "[expire] has no `max_flows`",
                "`max-flows`",
            ),
            (
                "[expire]\ngrace = \"10min\"",
                "min",
                "no unit of time is called `min`",
                "write 10m",
            ),
            ("[expire]\nrate = 0", "0", "out of range", "allowed: 1"),
            (
                "[expire]\nkeep = \"dst=::1\"",
                "\"dst=::1\"",
                "`keep` must be a list of selections",
                "[\"dst",
            ),
            (
                "[expire]\nkeep = [7]",
                "7",
                "keep must be text in quotes",
                "",
            ),
            (
                "[expire]\nkeep = [\"dst=::1,dprt=5\"]",
                "dprt",
                "no term is called `dprt`",
                "`dport`",
            ),
            (
                "[expire]\nmatch = ['dst=10.0.0.1/8']",
                "10.0.0.1/8",
                "`10.0.0.1/8` has bits behind its length",
                "10.0.0.0/8",
            ),
        ] {
            check(text, part, title, help);
        }
    }

    #[test]
    fn every_kind_of_mistake_in_a_setting_is_told_at_its_place() {
        for (body, part, title, help) in [
            (
                "tcp_timeout_establishd = 5",
                "tcp_timeout_establishd",
                "no conntrack sysctl is called",
                "`tcp_timeout_established`",
            ),
            (
                "net.core.somaxconn = 5",
                "somaxconn",
                "`net.core.somaxconn` is not a conntrack sysctl",
                "sysctl.d",
            ),
            (
                "\"vm/swappiness\" = 5",
                "\"vm/swappiness\"",
                "is not a conntrack sysctl",
                "sysctl.d",
            ),
            (
                "nf_conntrack_count = 5",
                "nf_conntrack_count",
                "is a reading of the kernel's",
                "nf_conntrack_max",
            ),
            (
                "udp_timeout = \"10\"",
                "\"10\"",
                "a number in quotes",
                "write 10 or \"10s\"",
            ),
            (
                "udp_timeout = \"5h10min\"",
                "min",
                "no unit of time is called `min`",
                "write 10m",
            ),
            (
                "udp_timeout = \"4m2h\"",
                "2h",
                "groups of a time must descend",
                "",
            ),
            ("udp_timeout = 1.5", "1.5", "a fraction for a time", ""),
            ("udp_timeout = -5", "-5", "a negative value", ""),
            ("udp_timeout = 0", "0", "a timeout of zero", ""),
            (
                "max = 99999999999999999999999",
                "99999999999999999999999",
                "out of range",
                "",
            ),
            ("acct = 2", "2", "a switch is on or off", "true or false"),
            ("max = true", "true", "true or false for a count", ""),
            ("max = \"10s\"", "s", "a time for a count", ""),
            (
                "frag6_high_thresh = \"8MB\"",
                "MB",
                "no unit of bytes is called `MB`",
                "write 8MiB",
            ),
            ("udp_timeout = \"8MiB\"", "MiB", "bytes for a time", ""),
            (
                "max = 5\nnf_conntrack_max = 6",
                "nf_conntrack_max",
                "nf_conntrack_max is set twice",
                "",
            ),
            (
                "max = { value = 5, at-least = 6 }",
                "value",
                "a value and bounds together",
                "",
            ),
            (
                "max = { atleast = 6 }",
                "atleast",
                "a setting has no `atleast`",
                "`at-least`",
            ),
            (
                "max = { why = \"x\" }",
                "max",
                "nf_conntrack_max is set to nothing",
                "at-least",
            ),
            (
                "max = {}",
                "max",
                "nf_conntrack_max is set to nothing",
                "value",
            ),
            (
                "max = { at-least = 6, at-most = 5 }",
                "at-least",
                "`at-least` is above `at-most`",
                "",
            ),
            (
                "max = { at-least = 6, memory-cap = 10 }",
                "10",
                "a memory cap is a percentage in quotes",
                "\"1%\"",
            ),
            (
                "max = { at-least = 6, memory-cap = \"10\" }",
                "\"10\"",
                "a memory cap is a percentage",
                "\"1%\"",
            ),
            (
                "max = { at-least = 6, memory-cap = \"0%\" }",
                "\"0%\"",
                "no such share of memory",
                "\"1%\"",
            ),
            (
                "max = { at-least = 6, memory-cap = \"150%\" }",
                "\"150%\"",
                "no such share of memory",
                "\"1%\"",
            ),
            (
                "max = { memory-cap = \"10%\" }",
                "memory-cap",
                "a memory cap with nothing to lower",
                "at-least",
            ),
            (
                "max = { at-most = 5, memory-cap = \"10%\" }",
                "memory-cap",
                "a memory cap with nothing to lower",
                "at-least",
            ),
            (
                "buckets = { at-least = 5, memory-cap = \"10%\" }",
                "memory-cap",
                "`memory-cap` is for nf_conntrack_max alone",
                "",
            ),
            (
                "buckets = { follow = \"maxx\" }",
                "\"maxx\"",
                "no conntrack sysctl is called `maxx`",
                "`max`",
            ),
            (
                "buckets = { follow = \"buckets\" }",
                "\"buckets\"",
                "a key cannot follow itself",
                "",
            ),
            (
                "buckets = { follow = \"udp_timeout\" }",
                "\"udp_timeout\"",
                "nf_conntrack_buckets cannot follow nf_conntrack_udp_timeout",
                "",
            ),
            (
                "buckets = { follow = \"max\" }\nmax = { follow = \"buckets\" }",
                "\"max\"",
                "keys that follow each other",
                "nf_conntrack_buckets → nf_conntrack_max → nf_conntrack_buckets",
            ),
            (
                "udp_timeout = { per-cpu = 5 }",
                "per-cpu",
                "`per-cpu` is for counts",
                "",
            ),
            (
                "acct = { at-least = 1 }",
                "at-least",
                "a switch has no `at-least`",
                "true or false",
            ),
            (
                "max = { value = 5, required = \"yes\" }",
                "\"yes\"",
                "`required` must be true or false",
                "",
            ),
            (
                "max = { value = 5, why = 7 }",
                "7",
                "why must be text in quotes",
                "",
            ),
            (
                "max = { value = 5, why = \" \" }",
                "\" \"",
                "why is empty",
                "",
            ),
            (
                "at-least = 5",
                "at-least",
                "no conntrack sysctl is called `at-least`",
                "table of its key",
            ),
            (
                "frag6_high_thresh = \"1MiB\"\nfrag6_low_thresh = \"3MiB\"",
                "frag6_high_thresh",
                "the high threshold is below the low one, which the kernel refuses",
                "",
            ),
        ] {
            check(&format!("[sysctl]\n{body}\n"), part, title, help);
        }
    }

    fn check(text: &str, part: &str, title: &str, help: &str) {
        let told = told(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        let (pointed, said, offered) = told.first().unwrap();
        assert_eq!(pointed, part, "{text}");
        assert!(said.contains(title), "{text}: {said}");
        assert!(offered.contains(help), "{text}: {offered}");
    }

    #[test]
    fn two_places_are_shown_where_two_are_to_blame() {
        for (text, part) in [
            ("[sysctl]\nmax = 5\nnf_conntrack_max = 6", "max"),
            ("role = \"nat\"\nrole = \"cgn\"", "role"),
            ("[sysctl]\nmax = { at-most = 5, at-least = 6 }", "at-most"),
            ("[sysctl]\nmax = { value = 5, at-least = 6 }", "at-least"),
        ] {
            let mistakes = parse(&Source::new("p", text)).unwrap_err();
            let (span, _) = mistakes.first().unwrap().also.clone().unwrap();
            assert_eq!(&text[span], part, "{text}");
        }
    }

    #[test]
    fn syntax_and_meaning_are_told_in_one_run_in_the_order_of_the_text() {
        let text = "\u{feff}rol = 1\n[sysctl]\nmax = \nudp_timeout = \"10min\"\nudp_timeout_stream = 3m\nacct = 2\n[expire]\nmode = 1\n";
        let mistakes = parse(&Source::new("p", text)).unwrap_err();
        let places: Vec<_> = mistakes.iter().map(Mistake::position).collect();
        let expected = [(1, 1), (3, 7), (4, 18), (5, 22), (6, 8), (8, 8)];
        assert_eq!(
            places,
            expected.map(|(line, column)| Position { line, column })
        );
    }

    #[test]
    fn a_profile_says_what_it_says_in_every_form() {
        let text = r#"
description = "d"
role = "cgn"
extends = "rfc-nat"
[sysctl]
nf_conntrack_udp_timeout_stream = "180s"
net.netfilter.nf_conntrack_acct = true
"net.netfilter.nf_conntrack_checksum" = 0
"net/netfilter/nf_conntrack_events" = 2
nf_conntrack_max     = { at-least = 1048576, memory-cap = "10%" }
nf_conntrack_buckets = { follow = "max", required = true }
[sysctl.nf_conntrack_tcp_timeout_established]
value = "2h4m"
why   = "RFC 5382 REQ-5"
[expire]
mode = "re-age"
keep = ["dst=10.1.0.0/16,dport=5432"]
grace = "2h4m"
spread = 0
max-flows = 50000
[accept]
"rfc4787-req5" = "only DNS on this host"
"#;
        let profile = parse(&Source::new("p", text)).unwrap();
        assert_eq!(profile.desired.role, Some(Role::Cgn));
        assert_eq!(
            profile.extends.map(|extends| extends.name).as_deref(),
            Some("rfc-nat")
        );
        let goals: Vec<_> = profile
            .desired
            .settings
            .iter()
            .map(|(key, setting)| (*key, setting.goal.clone()))
            .collect();
        let max = Bounds {
            at_least: Some(1_048_576),
            memory_cap: Some(10),
            ..Bounds::default()
        };
        let buckets = Bounds {
            follow: Some(Key::Max),
            ..Bounds::default()
        };
        assert_eq!(
            goals,
            [
                (Key::Max, Goal::Bounds(max)),
                (Key::Buckets, Goal::Bounds(buckets)),
                (Key::TcpTimeoutEstablished, Goal::Exact(7440)),
                (Key::UdpTimeoutStream, Goal::Exact(180)),
                (Key::Acct, Goal::Exact(1)),
                (Key::Checksum, Goal::Exact(0)),
                (Key::Events, Goal::Exact(2)),
            ]
        );
        assert_eq!(profile.desired.expire.mode, Some(ExpireMode::ReAge));
        assert_eq!(
            (
                profile.desired.expire.grace,
                profile.desired.expire.spread,
                profile.desired.expire.max_flows
            ),
            (Some(7440), Some(0), Some(50000))
        );
        let keep: Vec<_> = profile
            .desired
            .expire
            .keep
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(keep, ["dst=10.1.0.0/16,dport=5432"]);
        assert_eq!(profile.desired.accept.len(), 1);
    }

    /// Pieces of profiles, so that generated text gets past the first line.
    fn text() -> impl Strategy<Value = String> {
        let pieces = [
            "[sysctl]\n",
            "[expire]\n",
            "[accept]\n",
            "[sysctl.nf_conntrack_max]\n",
            "max",
            "udp_timeout",
            "buckets",
            "follow",
            "at-least",
            "memory-cap",
            "value",
            "why",
            "keep",
            "mode",
            "role",
            "net.netfilter.nf_conntrack_max",
            " = ",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "'''",
            ",",
            ".",
            "\n",
            "\r\n",
            "\u{feff}",
            "#",
            "10",
            "2h4m",
            "-1",
            "1.5",
            "true",
            "\"10%\"",
            "\"dst=10.0.0.0/8\"",
            "é",
            "\\u00e9",
            "\u{1b}[31m",
            "\t",
        ];
        proptest::collection::vec(
            prop_oneof![
                9 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
                1 => ".{0,8}",
            ],
            0..40,
        )
        .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_text_panics_and_every_mistake_lies_inside_it(text in text()) {
            let source = Source::new("p", text);
            if let Err(mistakes) = parse(&source) {
                prop_assert!(!mistakes.is_empty());
                for mistake in &mistakes {
                    prop_assert!(source.text.get(mistake.span.clone()).is_some());
                }
                let rendered = crate::render::mistakes::mistakes(&mistakes, false);
                prop_assert!(!rendered.contains('\u{1b}'), "{rendered}");
            }
        }
    }
}
