//! Reads `[sysctl]`: one setting a key, exact or within bounds.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use super::read::{Reader, Value, in_order, nearest};
use super::value;
use super::{Bounds, Goal, Setting, Wrong, ring, ring_text};
use crate::tunable::{Key, Unit, UnknownKey};

pub(super) const FIELDS: [&str; 9] = [
    "value",
    "at-least",
    "at-most",
    "per-cpu",
    "per-cpu-cap",
    "follow",
    "memory-cap",
    "required",
    "why",
];
/// Those that a value may not be below.
const LOWER: [&str; 3] = ["at-least", "per-cpu", "follow"];

/// Whether a field has no place beside a value.
pub(super) fn is_bound(field: &str) -> bool {
    !matches!(field, "value" | "required" | "why")
}

/// First parts of dotted names: without quotes TOML reads `net.core.somaxconn` as nested tables.
pub(super) const ROOTS: [&str; 4] = ["net", "kernel", "vm", "fs"];

/// The fields of one setting, as far as they are right, and where each was given.
#[derive(Default)]
struct Fields {
    value: Option<i64>,
    bounds: Bounds,
    required: bool,
    why: Option<String>,
    places: Vec<(&'static str, Range<usize>)>,
    /// Where the key is that it follows.
    followed: Option<Range<usize>>,
}

impl Fields {
    fn place(&self, name: &str) -> Option<&Range<usize>> {
        let place = self.places.iter().find(|(given, _)| *given == name)?;
        Some(&place.1)
    }

    /// The first that was given of these.
    fn first(&self, names: &[&str]) -> Option<&Range<usize>> {
        let places = names.iter().filter_map(|name| self.place(name));
        places.min_by_key(|place| place.start)
    }
}

impl Reader {
    /// Reads every setting, and what is wrong between them.
    pub(super) fn settings(&mut self, table: &DeTable<'_>) -> BTreeMap<Key, Setting> {
        let mut entries = Vec::new();
        flatten("", table, &mut entries);
        entries.sort_unstable_by_key(|(_, span, _)| span.start);
        let mut settings: BTreeMap<Key, Setting> = BTreeMap::new();
        let mut places: BTreeMap<Key, Range<usize>> = BTreeMap::new();
        let mut follows: BTreeMap<Key, Range<usize>> = BTreeMap::new();
        for (name, span, value) in entries {
            let Some(key) = self.key(&name, &span) else {
                continue;
            };
            if let Some(first) = places.get(&key) {
                let title = format!("{} is set twice", key.file_name());
                self.clash((&span, "the second time"), (first, "the first time"), title);
                continue;
            }
            let (setting, followed) = self.setting(key, &span, value);
            places.insert(key, span);
            settings.extend(setting.map(|setting| (key, setting)));
            follows.extend(followed.map(|span| (key, span)));
        }
        self.follow_rings(&settings, &follows);
        self.fragment_thresholds(&settings, &places);
        settings
    }

    fn key(&mut self, name: &str, span: &Range<usize>) -> Option<Key> {
        if let Some(key) = Key::lookup(name) {
            return Some(key);
        }
        if self.is_full() {
            let title = format!("no conntrack sysctl is called `{name}`");
            self.fault(span, Wrong::new(title, "unknown key"));
            return None;
        }
        let unknown = Key::find(name).err()?;
        let help = match &unknown {
            UnknownKey::NoSuchKey { nearest: None, .. } if nearest(name, &FIELDS).is_some() => {
                "a field belongs in the table of its key: [sysctl.nf_conntrack_max]".to_owned()
            }
            unknown => unknown.help(),
        };
        self.fault(
            span,
            Wrong::new(unknown.to_string(), "unknown key").help(help),
        );
        None
    }

    /// A setting, and where it names the key that it follows.
    fn setting(
        &mut self,
        key: Key,
        span: &Range<usize>,
        value: &Value<'_>,
    ) -> (Option<Setting>, Option<Range<usize>>) {
        let fields = match value.get_ref().as_table() {
            Some(table) => self.fields(key, table),
            None => Fields {
                value: self.number(value, |written| value::for_key(key, written)),
                places: vec![("value", value.span())],
                ..Fields::default()
            },
        };
        let goal = self.goal(key, span, &fields);
        let setting = goal.map(|goal| Setting {
            goal,
            required: fields.required,
            why: fields.why,
            origin: self.origin(),
        });
        (setting, fields.followed)
    }

    fn fields(&mut self, key: Key, table: &DeTable<'_>) -> Fields {
        let unit = key.tunable().unit;
        let mut fields = Fields::default();
        for (name, value) in in_order(table) {
            let (name, span) = (name.get_ref().as_ref(), name.span());
            let field = match FIELDS.into_iter().find(|field| *field == name) {
                None => {
                    let wrong = Wrong::new(format!("a setting has no `{name}`"), "unknown field");
                    Err(wrong.help(self.offer(name, &FIELDS)))
                }
                Some(field) if unit == Unit::Switch && is_bound(field) => {
                    let title = format!("a switch has no `{field}`");
                    let wrong = Wrong::new(title, "bounds are for numbers");
                    Err(wrong.help("write true or false"))
                }
                Some(field) => Ok(field),
            };
            let field = match field {
                Ok(field) => field,
                Err(wrong) => {
                    self.fault(&span, wrong);
                    // A mistake already says that nothing usable is set.
                    fields.places.push(("", span));
                    continue;
                }
            };
            if unit != Unit::Count && field.starts_with("per-cpu") {
                let label = format!("{} is none", key.file_name());
                self.fault(&span, Wrong::new(format!("`{field}` is for counts"), label));
            }
            let bounds = &mut fields.bounds;
            let mut number = || self.number(value, |written| value::for_key(key, written));
            match field {
                "value" => fields.value = number(),
                "at-least" => bounds.at_least = number(),
                "at-most" => bounds.at_most = number(),
                "per-cpu" if unit == Unit::Count => bounds.per_cpu = number(),
                "per-cpu-cap" if unit == Unit::Count => bounds.per_cpu_cap = number(),
                "follow" => {
                    bounds.follow = self.follow(key, value);
                    fields.followed = Some(value.span());
                }
                "memory-cap" => bounds.memory_cap = self.memory_cap(key, &span, value),
                "required" => fields.required = self.truth("required", value),
                "why" => fields.why = self.text("why", value),
                _ => {}
            }
            fields.places.push((field, span));
        }
        fields
    }

    fn truth(&mut self, what: &str, value: &Value<'_>) -> bool {
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            let title = format!("`{what}` must be true or false");
            self.fault(&value.span(), Wrong::new(title, value.get_ref().type_str()));
        }
        truth.unwrap_or_default()
    }

    fn follow(&mut self, key: Key, value: &Value<'_>) -> Option<Key> {
        let name = self.text("follow", value)?;
        let followed = self.key(&name, &value.span())?;
        let wrong = if followed == key {
            Wrong::new("a key cannot follow itself", "this is the key itself")
        } else if followed.tunable().unit != key.tunable().unit {
            let title = format!("{} cannot follow {}", key.file_name(), followed.file_name());
            Wrong::new(title, "counts something else")
        } else {
            return Some(followed);
        };
        self.fault(&value.span(), wrong);
        None
    }

    fn memory_cap(&mut self, key: Key, span: &Range<usize>, value: &Value<'_>) -> Option<u8> {
        if key != Key::Max {
            let title = "`memory-cap` is for nf_conntrack_max alone";
            let label = "what an entry of this costs is not known";
            self.fault(span, Wrong::new(title, label));
            return None;
        }
        let text = value.get_ref().as_str();
        let percent = text.and_then(|text| text.strip_suffix('%'));
        let number = percent.and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|number| (1..=100).contains(number)) {
            return Some(number);
        }
        let (title, label) = match (text, percent) {
            (_, Some(_)) => (
                "no such share of memory",
                "not a whole number from 1 to 100",
            ),
            (Some(_), None) => ("a memory cap is a percentage", "`%` is missing"),
            (None, None) => ("a memory cap is a percentage in quotes", "not text"),
        };
        let help = "write a share of memory from \"1%\" to \"100%\"";
        self.fault(&value.span(), Wrong::new(title, label).help(help));
        None
    }

    /// The goal that the fields add up to; nothing where they contradict each other.
    fn goal(&mut self, key: Key, span: &Range<usize>, fields: &Fields) -> Option<Goal> {
        let bound = fields.first(&["at-least", "at-most", "per-cpu", "follow"]);
        let lacks_lower = fields.first(&LOWER).is_none();
        if let (Some(value), Some(bound)) = (fields.place("value"), bound) {
            let value = (value, "a value leaves nothing to bound");
            self.clash(value, (bound, "a bound"), "a value and bounds together");
        } else if let (Some(cap), true) = (fields.place("memory-cap"), lacks_lower) {
            let label = match bound {
                Some(_) => "`at-most` is no lower bound",
                None => "no lower bound here",
            };
            let wrong = Wrong::new("a memory cap with nothing to lower", label);
            self.fault(cap, wrong.help("add at-least, per-cpu or follow"));
        } else if let (Some(cap), None) = (fields.place("per-cpu-cap"), fields.place("per-cpu")) {
            let title = "a cap on per-cpu, which is not given";
            self.fault(
                cap,
                Wrong::new(title, "nothing to lower").help("add per-cpu"),
            );
        } else if fields
            .places
            .iter()
            .all(|(name, _)| matches!(*name, "required" | "why"))
        {
            let title = format!("{} is set to nothing", key.file_name());
            let wrong = Wrong::new(title, "no value and no bound");
            self.fault(
                span,
                wrong.help("add value, at-least, at-most, per-cpu or follow"),
            );
        } else if bound.is_none() {
            return fields.value.map(Goal::Exact);
        } else {
            return self.bounds(fields);
        }
        None
    }

    fn bounds(&mut self, fields: &Fields) -> Option<Goal> {
        let bounds = &fields.bounds;
        if let (Some(least), Some(most)) = (bounds.at_least, bounds.at_most)
            && least > most
            && let (Some(lower), Some(upper)) = (fields.place("at-least"), fields.place("at-most"))
        {
            let title = "`at-least` is above `at-most`";
            self.clash((lower, least.to_string()), (upper, most.to_string()), title);
            return None;
        }
        (*bounds != Bounds::default()).then(|| Goal::Bounds(bounds.clone()))
    }

    /// Keys that follow each other in a ring, each ring told once.
    fn follow_rings(
        &mut self,
        settings: &BTreeMap<Key, Setting>,
        follows: &BTreeMap<Key, Range<usize>>,
    ) {
        let mut told = Vec::new();
        let mut starts: Vec<_> = follows.iter().collect();
        starts.sort_unstable_by_key(|(_, span)| span.start);
        for (key, span) in starts {
            let Some(keys) = ring(settings, *key).filter(|_| !told.contains(key)) else {
                continue;
            };
            let wrong = Wrong::new("keys that follow each other", "comes back to itself");
            self.fault(
                span,
                wrong.help(format!("the ring is {}", ring_text(&keys))),
            );
            told.extend(keys);
        }
    }

    /// The kernel refuses a high threshold below the low one.
    fn fragment_thresholds(
        &mut self,
        settings: &BTreeMap<Key, Setting>,
        places: &BTreeMap<Key, Range<usize>>,
    ) {
        let exact = |key| match settings.get(&key)?.goal {
            Goal::Exact(value) => Some((value, places.get(&key)?)),
            Goal::Bounds(_) => None,
        };
        if let (Some((high, at)), Some((low, other))) =
            (exact(Key::Frag6HighThresh), exact(Key::Frag6LowThresh))
            && high < low
        {
            let title = "the high threshold is below the low one, which the kernel refuses";
            let (high, low) = (format!("{high} bytes"), format!("{low} bytes"));
            self.clash((at, high), (other, low), title);
        }
    }
}

/// Every entry with its whole name, whether its dots were quoted or not.
fn flatten<'v, 't>(
    prefix: &str,
    table: &'v DeTable<'t>,
    entries: &mut Vec<(String, Range<usize>, &'v Value<'t>)>,
) {
    for (name, value) in table {
        let whole = format!("{prefix}{}", name.get_ref());
        match value.get_ref().as_table() {
            Some(inner) if is_branch(&whole) => flatten(&format!("{whole}."), inner, entries),
            _ => entries.push((whole, name.span(), value)),
        }
    }
}

/// Whether a table of this name holds keys and is not a key itself.
fn is_branch(name: &str) -> bool {
    let root = name.split('.').next().unwrap_or_default();
    ROOTS.contains(&root) && Key::lookup(name).is_none() && !name.starts_with("net.netfilter.")
}
