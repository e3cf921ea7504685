//! Reads `[sysctl]`: one setting a key, exact or within bounds.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::{Reader, Value, offer, written};
use super::value;
use super::{Bounds, Goal, Setting};
use crate::tunable::{Key, Unit, UnknownKey};

const FIELDS: [&str; 8] = [
    "value",
    "at-least",
    "at-most",
    "per-cpu",
    "follow",
    "memory-cap",
    "required",
    "why",
];

/// First parts of dotted names: without quotes TOML reads `net.core.somaxconn` as nested tables.
const ROOTS: [&str; 4] = ["net", "kernel", "vm", "fs"];

/// A field that was given: where its name stands, and what it says if that is right.
struct Given<T> {
    span: Range<usize>,
    what: Option<T>,
}

/// The fields of one setting, as far as they were given.
#[derive(Default)]
struct Fields {
    value: Option<Given<i64>>,
    at_least: Option<Given<i64>>,
    at_most: Option<Given<i64>>,
    per_cpu: Option<Given<i64>>,
    follow: Option<Given<Key>>,
    memory_cap: Option<Given<u8>>,
    required: bool,
    why: Option<String>,
    unknown: bool,
}

/// A setting and where it names the key that it follows.
struct Read {
    setting: Setting,
    follow: Option<Range<usize>>,
}

impl Reader {
    /// Reads every setting, and what is wrong between them.
    pub(super) fn settings(&mut self, table: &DeTable<'_>) -> Vec<Setting> {
        let mut entries = Vec::new();
        flatten("", table, &mut entries);
        entries.sort_by_key(|(_, span, _)| span.start);
        let mut seen: Vec<(Key, Range<usize>)> = Vec::new();
        let mut read: Vec<Read> = Vec::new();
        for (name, span, value) in entries {
            let Some(key) = self.key(&name, span.clone()) else {
                continue;
            };
            let first = seen
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, first)| first.clone());
            if let Some(first) = first {
                let mistake = self.at(
                    span,
                    format!("{} is set twice", key.file_name()),
                    "the second time",
                );
                self.report(mistake.also(first, "the first time"));
                continue;
            }
            seen.push((key, span.clone()));
            read.extend(self.setting(key, span, value));
        }
        self.follow_cycles(&read);
        let settings: Vec<Setting> = read.into_iter().map(|read| read.setting).collect();
        self.fragment_thresholds(&settings);
        settings
    }

    fn key(&mut self, name: &str, span: Range<usize>) -> Option<Key> {
        let unknown = match Key::find(name) {
            Ok(key) => return Some(key),
            Err(unknown) => unknown,
        };
        let mistake = self.at(span, unknown.to_string(), "unknown key");
        self.report(match &unknown {
            UnknownKey::NoSuchKey {
                nearest: Some(near),
                ..
            } => mistake.help(format!("did you mean `{near}`?")),
            UnknownKey::NoSuchKey { nearest: None, .. }
                if offer(name, &FIELDS).starts_with("did") =>
            {
                mistake.help("a field stands in the table of its key: [sysctl.nf_conntrack_max]")
            }
            UnknownKey::NoSuchKey { .. } => mistake,
            UnknownKey::OtherSubtree(_) => {
                mistake.help("keep it in a file of your own in sysctl.d")
            }
            UnknownKey::ReadingOnly(_) => mistake.help("nf_conntrack_max is how many there may be"),
        });
        None
    }

    fn setting(&mut self, key: Key, span: Range<usize>, value: &Value<'_>) -> Option<Read> {
        let Some(table) = value.get_ref().as_table() else {
            let value = self.number(key, value)?;
            let setting = Setting {
                key,
                goal: Goal::Exact(value),
                required: false,
                why: None,
                span,
            };
            return Some(Read {
                setting,
                follow: None,
            });
        };
        let fields = self.fields(key, table);
        let follow = fields.follow.as_ref().map(|follow| follow.span.clone());
        let goal = self.goal(key, &span, &fields)?;
        let setting = Setting {
            key,
            goal,
            required: fields.required,
            why: fields.why,
            span,
        };
        Some(Read { setting, follow })
    }

    fn number(&mut self, key: Key, value: &Value<'_>) -> Option<i64> {
        match value::for_key(key, written(value)) {
            Ok(number) => Some(number),
            Err(wrong) => {
                self.wrong(value, wrong);
                None
            }
        }
    }

    fn fields(&mut self, key: Key, table: &DeTable<'_>) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in table {
            let span = name.span();
            match name.get_ref().as_ref() {
                "value" => {
                    let what = self.number(key, value);
                    fields.value = Some(Given { span, what });
                }
                "required" => fields.required = self.truth("required", value),
                "why" => fields.why = self.text("why", value),
                bound @ ("at-least" | "at-most" | "per-cpu" | "follow" | "memory-cap")
                    if key.tunable().unit == Unit::Switch =>
                {
                    let title = format!("a switch has no `{bound}`");
                    let mistake = self.at(span, title, "bounds are for numbers");
                    self.report(mistake.help("write true or false"));
                    fields.unknown = true;
                }
                "at-least" => {
                    let what = self.number(key, value);
                    fields.at_least = Some(Given { span, what });
                }
                "at-most" => {
                    let what = self.number(key, value);
                    fields.at_most = Some(Given { span, what });
                }
                "per-cpu" => fields.per_cpu = Some(self.per_cpu(key, span, value)),
                "follow" => fields.follow = Some(self.follow(key, value)),
                "memory-cap" => fields.memory_cap = Some(self.memory_cap(key, span, value)),
                unknown => {
                    let title = format!("a setting has no `{unknown}`");
                    let mistake = self
                        .at(span, title, "unknown field")
                        .help(offer(unknown, &FIELDS));
                    self.report(mistake);
                    fields.unknown = true;
                }
            }
        }
        fields
    }

    fn truth(&mut self, what: &str, value: &Value<'_>) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            let label = value.get_ref().type_str();
            let mistake = self.at(
                value.span(),
                format!("`{what}` must be true or false"),
                label,
            );
            self.report(mistake);
            false
        })
    }

    fn per_cpu(&mut self, key: Key, span: Range<usize>, value: &Value<'_>) -> Given<i64> {
        let what = if key.tunable().unit == Unit::Count {
            self.number(key, value)
        } else {
            let mistake = self.at(
                span.clone(),
                "`per-cpu` is for counts",
                format!("{} is none", key.file_name()),
            );
            self.report(mistake);
            None
        };
        Given { span, what }
    }

    fn follow(&mut self, key: Key, value: &Value<'_>) -> Given<Key> {
        let span = value.span();
        let followed = self
            .text("follow", value)
            .and_then(|name| self.key(&name, span.clone()));
        let what = followed.filter(|followed| {
            let mistake = if *followed == key {
                self.at(
                    span.clone(),
                    "a key cannot follow itself",
                    "this is the key itself",
                )
            } else if followed.tunable().unit != key.tunable().unit {
                let title = format!("{} cannot follow {}", key.file_name(), followed.file_name());
                self.at(span.clone(), title, "counts something else")
            } else {
                return true;
            };
            self.report(mistake);
            false
        });
        Given { span, what }
    }

    fn memory_cap(&mut self, key: Key, span: Range<usize>, value: &Value<'_>) -> Given<u8> {
        const HELP: &str = "write a share of memory from \"1%\" to \"100%\"";
        if key != Key::Max {
            let label = "says how much an entry costs, not this";
            let mistake = self.at(
                span.clone(),
                "`memory-cap` is for nf_conntrack_max alone",
                label,
            );
            self.report(mistake);
            return Given { span, what: None };
        }
        let percent = value
            .get_ref()
            .as_str()
            .and_then(|text| text.strip_suffix('%'));
        let what = percent
            .and_then(|number| number.parse::<u8>().ok())
            .filter(|percent| (1..=100).contains(percent));
        if what.is_none() {
            let (title, label) = match (value.get_ref(), percent) {
                (DeValue::String(_), Some(_)) => (
                    "no such share of memory",
                    "not a whole number from 1 to 100",
                ),
                (DeValue::String(_), None) => ("a memory cap is a percentage", "`%` is missing"),
                _ => ("a memory cap is a percentage in quotes", "not text"),
            };
            let mistake = self.at(value.span(), title, label).help(HELP);
            self.report(mistake);
        }
        Given { span, what }
    }

    /// The goal that the fields add up to; nothing where one of them is wrong.
    fn goal(&mut self, key: Key, span: &Range<usize>, fields: &Fields) -> Option<Goal> {
        let bounds = [
            fields.at_least.as_ref().map(|given| &given.span),
            fields.at_most.as_ref().map(|given| &given.span),
            fields.per_cpu.as_ref().map(|given| &given.span),
            fields.follow.as_ref().map(|given| &given.span),
        ];
        let bound = bounds.into_iter().flatten().min_by_key(|span| span.start);
        let mistake = match (&fields.value, bound, &fields.memory_cap) {
            (Some(value), Some(other), _) => self
                .at(
                    value.span.clone(),
                    "a value and bounds together",
                    "a value leaves nothing to bound",
                )
                .also(other.clone(), "a bound"),
            (_, None, Some(cap)) => self
                .at(
                    cap.span.clone(),
                    "a memory cap with nothing to lower",
                    "no lower bound here",
                )
                .help("add at-least, per-cpu or follow"),
            (_, Some(_), Some(cap)) if fields.lacks_lower_bound() => self
                .at(
                    cap.span.clone(),
                    "a memory cap with nothing to lower",
                    "`at-most` is no lower bound",
                )
                .help("add at-least, per-cpu or follow"),
            (None, None, None) if !fields.unknown => self
                .at(
                    span.clone(),
                    format!("{} is set to nothing", key.file_name()),
                    "no value and no bound",
                )
                .help("add value, at-least, at-most, per-cpu or follow"),
            (Some(value), None, None) => return value.what.map(Goal::Exact),
            _ => return self.bounds(fields),
        };
        self.report(mistake);
        None
    }

    fn bounds(&mut self, fields: &Fields) -> Option<Goal> {
        if let (
            Some(Given {
                what: Some(least),
                span,
            }),
            Some(Given {
                what: Some(most),
                span: other,
            }),
        ) = (&fields.at_least, &fields.at_most)
            && least > most
        {
            let mistake = self
                .at(
                    span.clone(),
                    "`at-least` is above `at-most`",
                    format!("{least}"),
                )
                .also(other.clone(), format!("{most}"));
            self.report(mistake);
            return None;
        }
        let bounds = Bounds {
            at_least: fields.at_least.as_ref().and_then(|given| given.what),
            at_most: fields.at_most.as_ref().and_then(|given| given.what),
            per_cpu: fields.per_cpu.as_ref().and_then(|given| given.what),
            follow: fields.follow.as_ref().and_then(|given| given.what),
            memory_cap: fields.memory_cap.as_ref().and_then(|given| given.what),
        };
        (bounds != Bounds::default()).then_some(Goal::Bounds(bounds))
    }

    /// Keys that follow each other in a ring, each ring told once, at the key that comes first.
    fn follow_cycles(&mut self, read: &[Read]) {
        let next = |key: Key| {
            read.iter().find_map(|read| match &read.setting.goal {
                Goal::Bounds(bounds) if read.setting.key == key => bounds.follow,
                _ => None,
            })
        };
        let mut told: Vec<Key> = Vec::new();
        for Read { setting, follow } in read {
            let mut ring = vec![setting.key];
            let mut at = setting.key;
            while let Some(followed) = next(at).filter(|next| !ring.contains(next)) {
                ring.push(followed);
                at = followed;
            }
            let closed = ring.len() > 1 && next(at) == Some(setting.key);
            if let Some(span) = follow
                .clone()
                .filter(|_| closed && !told.contains(&setting.key))
            {
                told.extend(&ring);
                ring.push(setting.key);
                let names: Vec<_> = ring.iter().map(|key| key.file_name()).collect();
                let mistake = self.at(span, "keys that follow each other", "comes back to itself");
                self.report(mistake.help(format!("the ring is {}", names.join(" → "))));
            }
        }
    }

    /// The kernel refuses a high threshold below the low one.
    fn fragment_thresholds(&mut self, settings: &[Setting]) {
        let exact = |key| {
            settings.iter().find_map(|setting| match setting.goal {
                Goal::Exact(value) if setting.key == key => Some((value, setting.span.clone())),
                _ => None,
            })
        };
        if let (Some((high, at)), Some((low, other))) =
            (exact(Key::Frag6HighThresh), exact(Key::Frag6LowThresh))
            && high < low
        {
            let mistake = self
                .at(
                    at,
                    "the high threshold is below the low one",
                    format!("{high} bytes"),
                )
                .also(other, format!("{low} bytes"))
                .help("the kernel refuses that");
            self.report(mistake);
        }
    }
}

impl Fields {
    fn lacks_lower_bound(&self) -> bool {
        self.at_least.is_none() && self.per_cpu.is_none() && self.follow.is_none()
    }
}

/// Every entry with its whole name, whether its dots were quoted or not.
fn flatten<'v, 't>(
    prefix: &str,
    table: &'v DeTable<'t>,
    entries: &mut Vec<(String, Range<usize>, &'v Spanned<DeValue<'t>>)>,
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
    ROOTS.contains(&root) && Key::find(name).is_err() && !name.starts_with("net.netfilter.")
}
