//! Edits the text of a profile and keeps its comments, order and formatting.
//!
//! Each edit is read again as a profile before it is handed back: no edit can make a mistake.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::setting::{FIELDS, is_bound};
use super::value::{self, Written, render_value};
use super::{Goal, Mistake, Source, Wrong, parse, parse_override};
use crate::tunable::{Key, UnknownKey};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// The text, or what the edit would make of it, has mistakes.
    #[error("the profile would have mistakes: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Mistakes(Vec<Mistake>),
    #[error("a profile has no `{0}`")]
    NoSuchField(String),
    #[error(transparent)]
    Key(#[from] UnknownKey),
    #[error("`{0}`: {1}")]
    Value(String, Wrong),
    /// A value would replace what the author of the bounds meant.
    #[error("{} has bounds and no value: set its bounds, or remove them first", .0.file_name())]
    HasBounds(Key),
    /// A bound beside a value would mean nothing.
    #[error("{} has a value and no bounds: set its value, or remove it first", .0.file_name())]
    HasValue(Key),
    /// The same part is there in a form that cannot be edited, such as an array of tables.
    #[error("`{0}` is not a table")]
    NotATable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) text: String,
    /// Keys that have bounds in the existing text, which stay.
    pub(crate) kept_bounds: Vec<Key>,
    /// Values of this machine that no profile may ask for, such as a timeout of 0.
    pub(crate) left_out: Vec<(Key, i64)>,
}

/// Sets one field, given in the unquoted form: a sysctl in any spelling, a field of its setting
/// (`nf_conntrack_max.at-least`), or `description`, `role`, `extends`, `expire.X`, `accept.ID`.
pub(crate) fn set(source: &Source, field: &str, value: &str) -> Result<String, EditError> {
    let (bom, mut document) = document(source)?;
    let tables = ["expire", "accept"].into_iter();
    let mut of_tables =
        tables.filter_map(|table| Some((table, field.strip_prefix(table)?.strip_prefix('.')?)));
    if matches!(field, "description" | "role" | "extends") {
        put(document.as_table_mut(), field, value.into());
    } else if let Some((table, field)) = of_tables.next() {
        let table = table_at(document.as_table_mut(), table)?;
        put(table, field, typed(field, value));
    } else {
        let (key, field) = find_setting(field)?;
        if field == "value" {
            let given = format!("{}={value}", key.file_name());
            parse_override(&given).map_err(|wrong| EditError::Value(given, wrong))?;
        }
        set_setting(&mut document, key, field, typed(field, value))?;
    }
    checked(source, format!("{bom}{document}"))
}

fn find_setting(name: &str) -> Result<(Key, &str), EditError> {
    let name = name.strip_prefix("sysctl.").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((key, field)) if FIELDS.contains(&field) => Ok((Key::find(key)?, field)),
        _ if name.contains('_') || name.starts_with("net") || Key::lookup(name).is_some() => {
            Ok((Key::find(name)?, "value"))
        }
        _ => match Key::find(name) {
            Err(
                near @ UnknownKey::NoSuchKey {
                    nearest: Some(_), ..
                },
            ) => Err(near.into()),
            _ => Err(EditError::NoSuchField(name.to_owned())),
        },
    }
}

/// A profile with the values of this machine.
///
/// An existing text is updated in place: a value that is the same already keeps its spelling, and
/// bounds stay.
pub(crate) fn capture(
    existing: Option<&Source>,
    description: &str,
    readings: &[(Key, i64)],
) -> Result<Captured, EditError> {
    let (held, left_out): (Vec<_>, Vec<_>) = readings
        .iter()
        .copied()
        .partition(|(key, now)| value::for_key(*key, Written::Integer(Some(*now))) == Ok(*now));
    let empty = Source::new("captured", "");
    let source = existing.unwrap_or(&empty);
    let settings = parse(source).map_err(EditError::Mistakes)?.desired.settings;
    let (bom, mut document) = document(source)?;
    if existing.is_none() {
        put(document.as_table_mut(), "description", description.into());
    }
    let mut kept_bounds = Vec::new();
    for (key, now) in held {
        let before = match settings.get(&key).map(|setting| &setting.goal) {
            Some(Goal::Bounds(_)) => {
                kept_bounds.push(key);
                continue;
            }
            Some(Goal::Exact(before)) => Some(*before),
            None => None,
        };
        if before == Some(now) {
            continue;
        }
        let rendered = render_value(key, now);
        set_setting(
            &mut document,
            key,
            "value",
            plain(rendered.trim_matches('"')),
        )?;
        // The bare number behind a time or a size, and behind nothing that somebody else wrote.
        let restated = before.is_some_and(|before| comments(&mut document, key, before));
        if restated || (before.is_none() && rendered.starts_with('"')) {
            comment(&mut document, key, now);
        }
    }
    let text = checked(source, format!("{bom}{document}"))?;
    Ok(Captured {
        text,
        kept_bounds,
        left_out,
    })
}

/// Sets the value of a key in any text, whatever bounds or spelling stand there; the text of a
/// value that is the same stays.
pub(super) fn overrule(document: &mut DocumentMut, key: Key, number: i64) -> Result<(), EditError> {
    let sysctl = table_at(document.as_table_mut(), "sysctl")?;
    match item_of(sysctl, key) {
        Some(item) => replace(item, number.into()),
        None => put(sysctl, key.file_name(), number.into()),
    }
    Ok(())
}

/// The text as an editable document, and its byte order mark, which toml_edit would drop.
fn document(source: &Source) -> Result<(&'static str, DocumentMut), EditError> {
    let (bom, text) = match source.text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", source.text.as_str()),
    };
    let document = text.parse::<DocumentMut>();
    // Both parsers follow one grammar; should they ever differ, no edit is made.
    document.map(|document| (bom, document)).map_err(|error| {
        EditError::Mistakes(parse(source).err().unwrap_or_else(|| {
            let (source, span) = (source.clone().into(), error.span().unwrap_or(0..0));
            let wrong = Wrong::new(error.message(), "not TOML");
            vec![Mistake::new(&source, span, wrong)]
        }))
    })
}

fn checked(source: &Source, text: String) -> Result<String, EditError> {
    let edited = Source::new(source.name.clone(), text);
    parse(&edited).map_err(EditError::Mistakes)?;
    Ok(edited.text)
}

/// A value as TOML writes the unquoted form.
fn plain(text: &str) -> Value {
    let text = text.trim();
    match value::unquoted(text) {
        Written::Integer(Some(number)) if text.contains('_') => {
            text.parse().unwrap_or_else(|_| number.into())
        }
        Written::Integer(Some(number)) => number.into(),
        Written::Truth(truth) => truth.into(),
        _ => text.into(),
    }
}

/// A value of the type that the field has.
fn typed(field: &str, text: &str) -> Value {
    match field {
        "value" | "grace" | "spread" | "settle" | "max-flows" | "rate" | "required"
        | "at-least" | "at-most" | "per-cpu" | "per-cpu-cap" => plain(text),
        "match" | "keep" => {
            let list = text.parse().ok().filter(Value::is_array);
            list.unwrap_or_else(|| Value::Array([text].into_iter().collect()))
        }
        _ => text.into(),
    }
}

fn set_setting(
    document: &mut DocumentMut,
    key: Key,
    field: &str,
    value: Value,
) -> Result<(), EditError> {
    let sysctl = table_at(document.as_table_mut(), "sysctl")?;
    let (is_value, bounds) = (field == "value", is_bound(field));
    let Some(item) = item_of(sysctl, key) else {
        let entry = match field {
            "value" => value,
            _ => InlineTable::from_iter([(field, value)]).into(),
        };
        put(sysctl, key.file_name(), entry);
        return Ok(());
    };
    if let Some(table) = item.as_table_like_mut() {
        let mut there = FIELDS.iter().filter(|field| table.contains_key(field));
        if is_value && there.any(|field| is_bound(field)) {
            return Err(EditError::HasBounds(key));
        }
        if bounds && table.contains_key("value") {
            return Err(EditError::HasValue(key));
        }
        put(table, field, value);
    } else if is_value {
        replace(item, value);
    } else if bounds {
        return Err(EditError::HasValue(key));
    } else if let Some(mut bare) = item.as_value().cloned() {
        bare.decor_mut().clear();
        replace(
            item,
            InlineTable::from_iter([("value", bare), (field, value)]).into(),
        );
    }
    Ok(())
}

/// The entry of a key, in whichever spelling it is there.
fn item_of(sysctl: &mut dyn TableLike, key: Key) -> Option<&mut Item> {
    let path = path_of(sysctl, "", key)?;
    let (last, branches) = path.split_last()?;
    let mut table = sysctl;
    for branch in branches {
        table = table.get_mut(branch)?.as_table_like_mut()?;
    }
    table.get_mut(last)
}

/// The names on the way to a key: more than one where its dots are not quoted.
fn path_of(table: &dyn TableLike, prefix: &str, key: Key) -> Option<Vec<String>> {
    table.iter().find_map(|(name, item)| {
        let whole = format!("{prefix}{name}");
        if Key::lookup(&whole) == Some(key) {
            return Some(vec![name.to_owned()]);
        }
        let inner = item
            .as_table_like()
            .filter(|_| matches!(whole.as_str(), "net" | "net.netfilter"))?;
        let mut path = path_of(inner, &format!("{whole}."), key)?;
        path.insert(0, name.to_owned());
        Some(path)
    })
}

/// The table of this name, made where it is missing.
fn table_at<'t>(root: &'t mut Table, name: &str) -> Result<&'t mut dyn TableLike, EditError> {
    let item = root.entry(name).or_insert_with(toml_edit::table);
    item.as_table_like_mut()
        .ok_or_else(|| EditError::NotATable(name.to_owned()))
}

fn put(table: &mut dyn TableLike, name: &str, value: Value) {
    match table.get_mut(name) {
        Some(item) => replace(item, value),
        None => drop(table.insert(name, Item::Value(value))),
    }
}

/// Puts a value in the place of another: blanks and the comment behind it stay. One that says the
/// same keeps its spelling.
fn replace(item: &mut Item, mut value: Value) {
    if let Some(old) = item.as_value() {
        if old.clone().decorated("", "").to_string() == value.to_string().trim() {
            return;
        }
        *value.decor_mut() = old.decor().clone();
    }
    *item = Item::Value(value);
}

/// The value of a key, whether it is bare or in a table.
fn value_of(document: &mut DocumentMut, key: Key) -> Option<&mut Value> {
    let sysctl = table_at(document.as_table_mut(), "sysctl").ok()?;
    let item = item_of(sysctl, key)?;
    if item.is_table_like() {
        item.as_table_like_mut()?.get_mut("value")?.as_value_mut()
    } else {
        item.as_value_mut()
    }
}

fn comment(document: &mut DocumentMut, key: Key, number: i64) {
    if let Some(value) = value_of(document, key) {
        value.decor_mut().set_suffix(format!(" # {number}"));
    }
}

/// Whether the comment behind the value is nothing but this number.
fn comments(document: &mut DocumentMut, key: Key, number: i64) -> bool {
    let suffix = value_of(document, key).and_then(|value| value.decor().suffix()?.as_str());
    suffix.is_some_and(|suffix| suffix.trim() == format!("# {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edited(text: &str, field: &str, value: &str) -> Result<String, EditError> {
        set(&Source::new("p.toml", text), field, value)
    }

    #[test]
    fn a_value_is_replaced_where_it_stands_and_everything_else_stays() {
        for (before, field, value, after) in [
            (
                "# top\n[sysctl]\n# why\nudp_timeout  =  30 # s\nmax = 5\n",
                "nf_conntrack_udp_timeout",
                "2m",
                "# top\n[sysctl]\n# why\nudp_timeout  =  \"2m\" # s\nmax = 5\n",
            ),
            (
                "[sysctl]\nmax = { value = 5, why = \"x\" } # c\n",
                "max",
                "6",
                "[sysctl]\nmax = { value = 6, why = \"x\" } # c\n",
            ),
            (
                "[sysctl.nf_conntrack_max] # c\nwhy = \"x\"\nvalue = 5 # d\n",
                "net.netfilter.nf_conntrack_max",
                "6",
                "[sysctl.nf_conntrack_max] # c\nwhy = \"x\"\nvalue = 6 # d\n",
            ),
            (
                "[sysctl]\nmax.value = 5\n",
                "max",
                "6",
                "[sysctl]\nmax.value = 6\n",
            ),
            (
                "[sysctl]\nnet.netfilter.nf_conntrack_max = 5\n",
                "max",
                "6",
                "[sysctl]\nnet.netfilter.nf_conntrack_max = 6\n",
            ),
            (
                "[sysctl]\n\"net.netfilter.nf_conntrack_max\" = 5\n",
                "max",
                "6",
                "[sysctl]\n\"net.netfilter.nf_conntrack_max\" = 6\n",
            ),
            (
                "sysctl = { max = 5 }\n",
                "max",
                "6",
                "sysctl = { max = 6 }\n",
            ),
            (
                "\u{feff}[sysctl]\nmax = 5\n",
                "max",
                "6",
                "\u{feff}[sysctl]\nmax = 6\n",
            ),
            ("", "acct", "true", "[sysctl]\nnf_conntrack_acct = true\n"),
            (
                "[sysctl]\nmax = 5 # c\n",
                "max",
                "1_000_000",
                "[sysctl]\nmax = 1_000_000 # c\n",
            ),
            (
                "[sysctl.max]\nvalue = 5\n",
                "acct",
                "1",
                "[sysctl]\nnf_conntrack_acct = 1\n[sysctl.max]\nvalue = 5\n",
            ),
            (
                "[sysctl]\nmax = 5\n\n[expire]\nmode = \"clamp\"\n",
                "buckets",
                "512",
                "[sysctl]\nmax = 5\nnf_conntrack_buckets = 512\n\n[expire]\nmode = \"clamp\"\n",
            ),
            (
                "[sysctl]\nmax = 5 # c\n",
                "max.why",
                "y",
                "[sysctl]\nmax = { value = 5, why = \"y\" } # c\n",
            ),
            (
                "[sysctl]\nmax = 5\n",
                "max.value",
                "7",
                "[sysctl]\nmax = 7\n",
            ),
            (
                "[sysctl]\nmax = { at-least = 5 } # c\n",
                "max.at-least",
                "7",
                "[sysctl]\nmax = { at-least = 7 } # c\n",
            ),
            (
                "[sysctl]\n",
                "buckets.follow",
                "nf_conntrack_max",
                "[sysctl]\nnf_conntrack_buckets = { follow = \"nf_conntrack_max\" }\n",
            ),
            (
                "description = \"a\" # c\n",
                "description",
                "b",
                "description = \"b\" # c\n",
            ),
            ("", "expire.grace", "2h", "[expire]\ngrace = \"2h\"\n"),
            (
                "",
                "expire.keep",
                "dst=10.0.0.0/8,dport=1",
                "[expire]\nkeep = [\"dst=10.0.0.0/8,dport=1\"]\n",
            ),
            (
                "",
                "accept.rfc4787-req5",
                "dns",
                "[accept]\nrfc4787-req5 = \"dns\"\n",
            ),
        ] {
            let text = edited(before, field, value).unwrap();
            assert_eq!(text, after, "{field}={value}");
            assert_eq!(
                edited(&text, field, value).unwrap(),
                after,
                "again: {field}={value}"
            );
        }
    }

    #[test]
    fn an_edit_that_would_change_what_was_meant_is_refused() {
        for (text, field, value, message) in [
            (
                "[sysctl]\nmax = { at-least = 5 }",
                "max",
                "6",
                "has bounds and no value",
            ),
            (
                "[sysctl]\nmax = 5",
                "max.at-least",
                "6",
                "has a value and no bounds",
            ),
            (
                "[sysctl]\nmax = { value = 5 }",
                "max.at-least",
                "6",
                "has a value and no bounds",
            ),
            ("", "maxi_mum", "6", "no conntrack sysctl is called"),
            ("", "Established", "6", "no conntrack sysctl is called"),
            ("", "color", "red", "a profile has no `color`"),
            (
                "",
                "udp_timeout",
                "10min",
                "no unit of time is called `min`",
            ),
            ("", "role", "frewall", "p.toml:1:8: no role is called"),
            ("", "max.memory-cap", "10%", "nothing to lower"),
            (
                "[sysctl]\nmax = ",
                "max",
                "6",
                "p.toml:2:7: a value is missing",
            ),
            ("[[sysctl]]", "max", "6", "`sysctl` is not a table"),
        ] {
            let error = edited(text, field, value).unwrap_err().to_string();
            assert!(error.contains(message), "{field}={value}: {error}");
        }
    }

    #[test]
    fn a_capture_reads_as_people_write() {
        let readings = [
            (Key::Max, 262_144),
            (Key::TcpTimeoutEstablished, 432_000),
            (Key::UdpTimeout, 0),
            (Key::Acct, 0),
        ];
        let captured = capture(None, "fw1", &readings).unwrap();
        assert_eq!(
            captured.text,
            "description = \"fw1\"\n\n[sysctl]\nnf_conntrack_max = 262144\n\
             nf_conntrack_tcp_timeout_established = \"5d\" # 432000\nnf_conntrack_acct = false\n"
        );
        assert_eq!(captured.left_out, [(Key::UdpTimeout, 0)]);
    }

    #[test]
    fn a_capture_over_a_profile_keeps_its_comments_spellings_and_bounds() {
        let existing = Source::new(
            "p.toml",
            "# ours\ndescription = \"old\"\n[sysctl]\nmax = { at-least = 5 } # grows\n\
             tcp_timeout_established = \"120h\" # five days\nudp_timeout = \"2m\" # 120\n",
        );
        let readings = [
            (Key::Max, 9),
            (Key::TcpTimeoutEstablished, 432_000),
            (Key::UdpTimeout, 30),
        ];
        let captured = capture(Some(&existing), "new", &readings).unwrap();
        assert_eq!(
            captured.text,
            "# ours\ndescription = \"old\"\n[sysctl]\nmax = { at-least = 5 } # grows\n\
             tcp_timeout_established = \"120h\" # five days\nudp_timeout = \"30s\" # 30\n"
        );
        assert_eq!(captured.kept_bounds, [Key::Max]);
    }

    proptest! {
        #[test]
        fn what_was_captured_is_what_holds_and_capturing_again_changes_nothing(
            values in proptest::collection::btree_map(proptest::sample::select(Key::ALL), 1..255_i64, 0..20)
        ) {
            let mut readings: Vec<_> = values.into_iter().collect();
            // The kernel never holds a high threshold below the low one.
            readings.retain(|(key, _)| *key != Key::Frag6LowThresh);
            let captured = capture(None, "host", &readings).unwrap();
            let source = Source::new("p", captured.text.clone());
            let profile = parse(&source).unwrap();
            for (key, value) in &readings {
                let expected = (!captured.left_out.contains(&(*key, *value))).then_some(Goal::Exact(*value));
                let goal = profile.desired.settings.get(key).map(|setting| &setting.goal);
                prop_assert_eq!(goal, expected.as_ref());
            }
            prop_assert_eq!(capture(Some(&source), "host", &readings).unwrap().text, captured.text);
        }
    }
}
