//! cttune's drop-in in sysctl.d: its text, and whether somebody else has changed it.
//!
//! In: a profile's name and the numbers to persist. Out: the text of [`PATH`], and from such a text
//! the same numbers. Rule: a file is the drop-in only while every line is one that [`render`] could
//! have written, or a comment; what somebody added is never overwritten silently.

use std::collections::BTreeMap;

use super::effective::DEFAULT_FRAG6_LOW;
use crate::tunable::Key;

/// Where the drop-in is.
pub(crate) const PATH: &str = "/etc/sysctl.d/90-cttune.conf";

/// What the first line begins with; the profile's name follows. It names no version, so an upgrade
/// of cttune rewrites nothing.
pub(crate) const HEADER: &str = "# Kept by cttune, from profile: ";

/// One setting to persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Key,
    /// The number, in the key's unit.
    pub(crate) value: i64,
    /// Why the profile sets it.
    pub(crate) why: Option<&'a str>,
}

/// What a drop-in says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DropIn {
    /// The profile that its header names.
    pub(crate) profile: String,
    /// The numbers that it persists.
    pub(crate) values: BTreeMap<Key, i64>,
}

/// A line that cttune did not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} was not written by cttune: `{text}`")]
pub(crate) struct ForeignLine {
    pub(crate) line: usize,
    /// The line.
    pub(crate) text: String,
}

/// The text of the drop-in, keys in the order in which the kernel accepts them at boot: that of the
/// catalog, but for fragment thresholds that are both below the kernel's own low one.
pub(crate) fn render(profile: &str, entries: &[Entry<'_>]) -> String {
    let mut text = format!(
        "{HEADER}{}\n\
         # The next `cttune apply` overwrites edits: change the profile and apply it again.\n",
        one_line(profile)
    );
    let mut entries = entries.to_vec();
    entries.sort_unstable_by_key(|entry| entry.key);
    low_threshold_first(&mut entries);
    for Entry { key, value, why } in entries {
        text.push('\n');
        if let Some(why) = why {
            text.push_str(&format!("# {}\n", one_line(why)));
        }
        text.push_str(&format!("{key} = {value}\n"));
    }
    text
}

/// The kernel refuses a high threshold below the current low one: its default of 3 MiB, unless the
/// low one is set first.
fn low_threshold_first(entries: &mut [Entry<'_>]) {
    let at = |key| entries.iter().position(|entry| entry.key == key);
    if let (Some(high), Some(low)) = (at(Key::Frag6HighThresh), at(Key::Frag6LowThresh))
        && entries
            .get(high)
            .is_some_and(|entry| entry.value < DEFAULT_FRAG6_LOW)
    {
        entries.swap(high, low);
    }
}

/// Reads a drop-in.
///
/// # Errors
/// The first line that cttune did not write: a first line without [`HEADER`], or one that is neither blank
/// nor a comment nor a catalogued key with a plain decimal number.
pub(crate) fn parse(bytes: &[u8]) -> Result<DropIn, ForeignLine> {
    let text = String::from_utf8_lossy(bytes);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let foreign = |line: usize, text: &str| ForeignLine {
        line,
        text: text.to_owned(),
    };
    let profile = first.strip_prefix(HEADER);
    let profile = profile.ok_or_else(|| foreign(1, first))?;
    let mut values = BTreeMap::new();
    for (line, number) in rest.lines().zip(2..) {
        if sets_nothing(line) {
            continue;
        }
        let (key, value) = setting(line).ok_or_else(|| foreign(number, line))?;
        values.insert(key, value);
    }
    Ok(DropIn {
        profile: profile.trim_end().to_owned(),
        values,
    })
}

/// Blank, or a comment for both readers: systemd also reads what follows a carriage return or a
/// NUL.
fn sets_nothing(line: &str) -> bool {
    line.split(['\r', '\0']).all(|part| {
        let part = part.trim_matches([' ', '\t']);
        part.is_empty() || part.starts_with(['#', ';'])
    })
}

fn setting(line: &str) -> Option<(Key, i64)> {
    let (name, value) = line.split_once('=')?;
    let key = Key::ALL.iter().find(|key| key.name() == name.trim())?;
    let number: i64 = value.trim().parse().ok()?;
    // The kernel reads 010 as 8 and refuses +5.
    (number.to_string() == value.trim()).then_some((*key, number))
}

/// The text with all blanks and control characters folded, so that it stays inside its comment.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::{Reader, Tree, effective};
    use super::*;

    #[test]
    fn thresholds_are_written_in_the_order_that_the_kernel_accepts_at_boot() {
        let mib = |n: i64| n << 20;
        for (high, low) in [(2, 1), (3, 2), (4, 3), (9, 8), (5, 1)] {
            let entry = |key, value| Entry {
                key,
                value: mib(value),
                why: None,
            };
            let entries = [
                entry(Key::Frag6HighThresh, high),
                entry(Key::Frag6LowThresh, low),
            ];
            let text = render("p", &entries).into_bytes();
            let tree = Tree::default().with_file(Path::new(PATH), Some(text));
            for reader in Reader::ALL {
                let effective = effective(&tree, reader);
                let value = |key| effective.winner(key).map(|winner| winner.value);
                assert_eq!(
                    value(Key::Frag6HighThresh),
                    Some(mib(high)),
                    "{reader} {high} {low}"
                );
                assert_eq!(
                    value(Key::Frag6LowThresh),
                    Some(mib(low)),
                    "{reader} {high} {low}"
                );
            }
        }
    }

    #[test]
    fn the_text_says_who_wrote_it_and_why() {
        let entries = [
            Entry {
                key: Key::TcpTimeoutEstablished,
                value: 7440,
                why: Some("RFC 5382\nREQ-5"),
            },
            Entry {
                key: Key::Max,
                value: 1_048_576,
                why: None,
            },
        ];
        assert_eq!(
            render("campus-fw", &entries),
            "# Kept by cttune, from profile: campus-fw\n\
             # The next `cttune apply` overwrites edits: change the profile and apply it again.\n\
             \n\
             net.netfilter.nf_conntrack_max = 1048576\n\
             \n\
             # RFC 5382 REQ-5\n\
             net.netfilter.nf_conntrack_tcp_timeout_established = 7440\n"
        );
    }

    #[test]
    fn whatever_somebody_added_is_named() {
        let body = |line: &str| format!("{HEADER}x\n# fine\n\n ; fine\r\n{line}\n");
        for line in [
            "net.core.somaxconn = 1",
            "net.netfilter.nf_conntrack_foo = 1",
            "net.netfilter.nf_conntrack_max = 010",
            "net.netfilter.nf_conntrack_max = +5",
            "net.netfilter.nf_conntrack_max = 1 # x",
            "net.netfilter.nf_conntrack_max",
            "-net.netfilter.nf_conntrack_max = 1",
            "net.netfilter.* = 1",
            "# x\rnet.core.somaxconn = 1",
            "# x\0net.core.somaxconn = 1",
        ] {
            let text = line.to_owned();
            let foreign = ForeignLine { line: 5, text };
            assert_eq!(parse(body(line).as_bytes()), Err(foreign), "{line:?}");
        }
        let headless = parse(b"net.netfilter.nf_conntrack_max = 1\n");
        assert_eq!(headless.unwrap_err().line, 1);
        assert_eq!(parse(b"").unwrap_err().line, 1);
        assert_eq!(parse(body("").as_bytes()).unwrap().profile, "x");
    }

    fn kept() -> impl Strategy<Value = BTreeMap<Key, (i64, Option<String>)>> {
        // Fragment thresholds refuse each other; the plan checks their order.
        let keys: Vec<Key> = Key::ALL
            .iter()
            .copied()
            .filter(|key| !matches!(key, Key::Frag6HighThresh | Key::Frag6LowThresh))
            .collect();
        let setting = select(keys).prop_flat_map(|key| {
            let range = key.tunable().range.clone();
            (Just(key), (range, prop::option::of(any::<String>())))
        });
        prop::collection::vec(setting, 0..12).prop_map(|settings| settings.into_iter().collect())
    }

    proptest! {
        #[test]
        fn parsing_what_was_rendered_is_identity(
            profile in "[a-z0-9][a-z0-9 ./_-]{0,20}[a-z0-9]",
            kept in kept(),
        ) {
            let entries: Vec<Entry<'_>> = kept
                .iter()
                .map(|(key, (value, why))| Entry { key: *key, value: *value, why: why.as_deref() })
                .collect();
            let text = render(&profile, &entries);
            let parsed = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(parsed.profile, one_line(&profile));
            let values: BTreeMap<Key, i64> = kept.iter().map(|(key, (value, _))| (*key, *value)).collect();
            prop_assert_eq!(&parsed.values, &values);

            let tree = Tree::default().with_file(Path::new(PATH), Some(text.into_bytes()));
            for reader in Reader::ALL {
                let effective = effective(&tree, reader);
                for (key, value) in &values {
                    let value_at_boot = effective.winner(*key).map(|winner| winner.value);
                    prop_assert_eq!(value_at_boot, Some(crate::tunable::as_held(*key, *value)));
                }
            }
        }
    }
}
