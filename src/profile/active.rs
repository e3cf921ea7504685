//! What apply last applied, as a profile: the one that was named, and what was set beside it.
//!
//! What somebody writes into it by hand counts as in any profile, and stays.

use std::collections::BTreeMap;

use toml_edit::{DocumentMut, value};

use super::{Goal, Source, edit, parse};
use crate::tunable::Key;

const HEADER: &str = "\
# What `cttune apply` last applied: the profile, and what was set beside it.
# `cttune check` and `cttune plan` compare with it when no profile is named.
";

/// The text of that profile, made from the one that was there if it is of the same profile.
/// Reading it gives the same name and overrides again.
pub(crate) fn render(name: &str, overrides: &BTreeMap<Key, i64>, before: Option<&str>) -> String {
    edited(name, overrides, before.unwrap_or(HEADER))
        .or_else(|| edited(name, overrides, HEADER))
        .unwrap_or_else(|| HEADER.to_owned())
}

fn edited(name: &str, overrides: &BTreeMap<Key, i64>, before: &str) -> Option<String> {
    let profile = parse(&Source::new("active", before)).ok()?;
    let mut document = before.parse::<DocumentMut>().ok()?;
    if profile.extends.is_none_or(|extends| extends.name != name) {
        document.insert("extends", value(name));
    }
    for (key, number) in overrides {
        let goal = profile
            .desired
            .settings
            .get(key)
            .map(|setting| &setting.goal);
        if goal != Some(&Goal::Exact(*number)) {
            edit::overrule(&mut document, *key, *number).ok()?;
        }
    }
    let mut text = document.to_string();
    if before == HEADER {
        text = format!("{HEADER}{}", text.replace(HEADER, ""));
    }
    Some(text)
}

/// What that profile sets beside the one that it extends: values, as `--set` does, and the names
/// of keys with bounds, which only somebody's hand can have written.
pub(crate) fn set_beside(text: &str) -> (BTreeMap<Key, i64>, Vec<Key>) {
    let mut values = BTreeMap::new();
    let mut bounds = Vec::new();
    if let Ok(profile) = parse(&Source::new("active", text)) {
        for (key, setting) in profile.desired.settings {
            match setting.goal {
                Goal::Exact(value) => drop(values.insert(key, value)),
                Goal::Bounds(_) => bounds.push(key),
            }
        }
    }
    (values, bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, BTreeMap<Key, i64>, Vec<Key>) {
        let profile = parse(&Source::new("active.toml", text)).unwrap();
        let (values, bounds) = set_beside(text);
        (profile.extends.unwrap().name, values, bounds)
    }

    #[test]
    fn it_reads_back_as_it_was_written() {
        let overrides = BTreeMap::from([(Key::TcpTimeoutEstablished, 600), (Key::Acct, 1)]);
        for name in ["campus-fw", "/srv/site's \"own\".toml"] {
            let text = render(name, &overrides, None);
            assert!(text.starts_with(HEADER), "{text}");
            assert_eq!(read(&text), (name.to_owned(), overrides.clone(), vec![]));
            assert_eq!(render(name, &overrides, Some(&text)), text, "again");
        }
        assert!(!render("campus-fw", &BTreeMap::new(), None).contains("[sysctl]"));
    }

    #[test]
    fn what_was_written_by_hand_stays() {
        let by_hand = "extends = \"campus-fw\" # ours\n[sysctl]\n\
                       max = { at-least = 2_000_000, why = \"two sites\" }\nacct = 1\n\
                       [accept]\nrfc5382-req5 = \"known\"\n";
        let overrides = BTreeMap::from([(Key::Acct, 1)]);
        assert_eq!(render("campus-fw", &overrides, Some(by_hand)), by_hand);
        let more = BTreeMap::from([(Key::Acct, 0), (Key::Max, 5), (Key::UdpTimeout, 60)]);
        let text = render("campus-fw", &more, Some(by_hand));
        assert_eq!(read(&text), ("campus-fw".to_owned(), more, vec![]));
        assert!(text.contains("known") && text.contains("# ours"), "{text}");
    }

    #[test]
    fn a_text_that_is_no_profile_is_written_anew() {
        for before in ["max = ", "sysctl = 5", ""] {
            let (name, ..) = read(&render("cgn", &BTreeMap::new(), Some(before)));
            assert_eq!(name, "cgn", "{before}");
        }
    }
}
