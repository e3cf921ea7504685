//! Paths below `/proc/sys` as the readers spell them, and the globs that stand for several.
//!
//! In: a path or pattern with `/` between its parts. Out: the conntrack keys it leads to. Keys
//! outside the catalog are no concern of cttune's and lead nowhere.
//! Follows glob(3) and glob(7) in the C locale, in which both readers run at boot.

use super::Reader;
use crate::tunable::Key;

/// A sysctl file that a path leads to, with the path that a reader would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: String,
    pub(super) key: Key,
}

/// Whether both readers take this path for a glob.
pub(super) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The key of a path without globs, if it is one that cttune knows.
pub(super) fn resolve(reader: Reader, path: &str) -> Option<Key> {
    // procps hands the path to the kernel as it is: a last slash asks for a directory.
    if path.ends_with('/') || path.ends_with("/.") {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." if reader == Reader::Systemd => return None,
            // Only what surely is a directory can be left again.
            ".." if !matches!(parts[..], ["net"] | ["net", "netfilter"]) => return None,
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    files().find_map(|(file, key)| (file == parts).then_some(key))
}

/// The targets of a glob, in the order in which the readers write them.
///
/// systemd also expands braces. A name that this kernel lacks is among the targets: a write to it
/// fails and harms nobody.
pub(super) fn expand(reader: Reader, pattern: &str) -> Vec<Target> {
    let patterns = match reader {
        Reader::Procps => vec![pattern.to_owned()],
        Reader::Systemd => expand_braces(pattern),
    };
    patterns.iter().flat_map(|one| expand_one(one)).collect()
}

fn expand_one(pattern: &str) -> Vec<Target> {
    let mut targets: Vec<Target> = files()
        .filter_map(|(file, key)| {
            let path = match_path(pattern, &file)?;
            Some(Target { path, key })
        })
        .collect();
    targets.sort_by(|a, b| a.path.cmp(&b.path));
    targets
}

/// Every sysctl file that holds a catalogued key. `net/nf_conntrack_max` is a second door to the
/// same number, in the initial network namespace alone.
fn files() -> impl Iterator<Item = (Vec<&'static str>, Key)> {
    let alias = (vec!["net", "nf_conntrack_max"], Key::Max);
    Key::ALL
        .iter()
        .map(|key| (vec!["net", "netfilter", key.file_name()], *key))
        .chain([alias])
}

/// What glob(3) returns for this file: the pattern with each matched part written out. Empty parts
/// and `.` stay, so that the readers' comparison of strings sees them.
fn match_path(pattern: &str, file: &[&str]) -> Option<String> {
    let mut names = file.iter();
    let mut path = Vec::new();
    for part in pattern.split('/') {
        if matches!(part, "" | ".") {
            path.push(part);
            continue;
        }
        let name = names.next()?;
        if !matches_part(part.as_bytes(), name.as_bytes()) {
            return None;
        }
        path.push(name);
    }
    let ends_in_a_name = !matches!(path.last(), None | Some(&"" | &"."));
    (names.next().is_none() && ends_in_a_name).then(|| path.join("/"))
}

/// fnmatch(3) on one part of a path.
fn matches_part(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            (0..=name.len()).any(|skipped| matches_part(rest, &name[skipped..]))
        }
        ([b'?', rest @ ..], [_, others @ ..]) => matches_part(rest, others),
        ([b'\\', escaped, rest @ ..], [first, others @ ..]) => {
            escaped == first && matches_part(rest, others)
        }
        ([b'[', set @ ..], [first, others @ ..]) => match matches_set(set, *first) {
            Some((is_in, rest)) => is_in && matches_part(rest, others),
            // A bracket that is never closed stands for itself.
            None => *first == b'[' && matches_part(set, others),
        },
        ([literal, rest @ ..], [first, others @ ..]) => {
            literal == first && matches_part(rest, others)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// Whether `byte` is in the set that opens here, and the pattern behind its bracket.
fn matches_set(set: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    let mut first = true;
    loop {
        rest = match rest {
            [] => return None,
            [b']', rest @ ..] if !first => return Some((found != negated, rest)),
            [b'[', b':', class @ ..] => {
                let end = class.windows(2).position(|pair| pair == b":]")?;
                found |= is_in_class(&class[..end], byte);
                &class[end + 2..]
            }
            [low, b'-', high, rest @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                rest
            }
            [b'\\', one, rest @ ..] | [one, rest @ ..] => {
                found |= *one == byte;
                rest
            }
        };
        first = false;
    }
}

fn is_in_class(class: &[u8], byte: u8) -> bool {
    match class {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" | b"print" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"punct" => byte.is_ascii_punctuation(),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

/// The patterns that `{a,b}` stands for, as GLOB_BRACE has it: nested, leftmost first; a brace that
/// is never closed, and `{}`, stand for themselves.
fn expand_braces(pattern: &str) -> Vec<String> {
    let Some((before, choices, after)) = first_brace(pattern) else {
        return vec![pattern.to_owned()];
    };
    choices
        .iter()
        .flat_map(|choice| expand_braces(&format!("{before}{choice}{after}")))
        .collect()
}

fn first_brace(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let open = pattern
        .match_indices('{')
        .map(|(at, _)| at)
        .find(|at| !pattern[at + 1..].starts_with('}'))?;
    let (mut depth, mut start, mut choices) = (0, open + 1, Vec::new());
    for (at, byte) in pattern.bytes().enumerate().skip(open + 1) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' => {
                choices.push(&pattern[start..at]);
                return Some((&pattern[..open], choices, &pattern[at + 1..]));
            }
            b',' if depth == 0 => {
                choices.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_key_however_it_is_spelled() {
        let both = [
            ("net/netfilter/nf_conntrack_max", Some(Key::Max)),
            ("net/nf_conntrack_max", Some(Key::Max)),
            ("net//netfilter/./nf_conntrack_max", Some(Key::Max)),
            ("/net/netfilter/nf_conntrack_max", Some(Key::Max)),
            ("net/netfilter/nf_conntrack_count", None),
            ("net/netfilter", None),
            ("net/ipv4/netfilter/ip_conntrack_max", None),
            ("net/netfilter/nf_conntrack_max/", None),
            ("", None),
        ];
        for (path, key) in both {
            for reader in Reader::ALL {
                assert_eq!(resolve(reader, path), key, "{reader} {path}");
            }
        }
        let up = "net/netfilter/../nf_conntrack_max";
        assert_eq!(resolve(Reader::Procps, up), Some(Key::Max));
        assert_eq!(resolve(Reader::Systemd, up), None);
    }

    #[test]
    fn parts_match_as_glob_has_it() {
        for (pattern, name, matches) in [
            ("*", "abc", true),
            ("a*c", "abc", true),
            ("a*b", "abc", false),
            ("a?c", "abc", true),
            ("[a-c]bc", "abc", true),
            ("[!a-c]bc", "abc", false),
            ("[^x]bc", "abc", true),
            ("[]a]bc", "abc", true),
            ("[[:alpha:]]bc", "abc", true),
            ("[[:digit:]]bc", "abc", false),
            ("[a-]bc", "-bc", true),
            ("\\abc", "abc", true),
            ("[abc", "[abc", true),
            ("[abc", "abc", false),
        ] {
            assert_eq!(
                matches_part(pattern.as_bytes(), name.as_bytes()),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn only_systemd_expands_braces() {
        let pattern = "net/netfilter/nf_conntrack_{udp,icmp{,v6}}_timeou[t]";
        let keys = |reader| -> Vec<Key> {
            let targets = expand(reader, pattern);
            targets.iter().map(|target| target.key).collect()
        };
        assert_eq!(
            keys(Reader::Systemd),
            [Key::UdpTimeout, Key::IcmpTimeout, Key::Icmpv6Timeout]
        );
        assert_eq!(keys(Reader::Procps), []);
    }

    #[test]
    fn both_names_of_max_match() {
        let paths = |pattern| -> Vec<String> {
            let targets = expand(Reader::Procps, pattern);
            targets.into_iter().map(|target| target.path).collect()
        };
        assert_eq!(paths("net/*"), ["net/nf_conntrack_max"]);
        assert_eq!(paths("*//*r/*k_max"), ["net//netfilter/nf_conntrack_max"]);
    }
}
