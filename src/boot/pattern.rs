//! Paths below `/proc/sys` as the readers spell them, and the globs that stand for several.
//!
//! In: a path or pattern with `/` between its parts. Out: the conntrack keys it leads to. Keys
//! outside the catalog are no concern of cttune's and lead nowhere.
//! Follows glob(3) and glob(7) in the C locale, in which both readers run at boot.

use super::Reader;
use crate::tunable::Key;

/// A glob that stands for more patterns than this is not worked out.
const MOST_PATTERNS: usize = 256;
/// Of all the globs of a machine no more bytes than this are compared, names ruled out by how a
/// glob begins and ends left aside.
pub(super) const MOST_IN_ALL: usize = 20_000_000;

/// A sysctl file that a path leads to, with the path that a reader would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SysctlFile {
    pub(super) path: String,
    pub(super) key: Key,
}

pub(super) fn is_glob(path: &str) -> bool {
    path.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// The key of a path without globs, if it is one that cttune knows.
pub(super) fn resolve(reader: Reader, path: &str) -> Option<Key> {
    // procps gives the path to the kernel as it is: a last slash asks for a directory.
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
    match parts[..] {
        ["net", "netfilter", name] => {
            let mut keys = Key::ALL.iter().copied();
            keys.find(|key| key.file_name() == name)
        }
        ["net", "nf_conntrack_max"] => Some(Key::Max),
        _ => None,
    }
}

/// The files that a glob matches, in the order in which the readers write them; `None` where its
/// braces stand for too many patterns, or where it takes more comparisons than are `left`.
///
/// systemd also expands braces. A name that this kernel lacks is among the files: a write to it
/// fails and changes nothing.
pub(super) fn expand(reader: Reader, pattern: &str, left: &mut usize) -> Option<Vec<SysctlFile>> {
    let patterns = match reader {
        Reader::Procps | Reader::OpenRc => vec![pattern.to_owned()],
        // tuned takes the pattern for a name.
        Reader::Tuned => Vec::new(),
        Reader::Systemd => expand_braces(pattern, left)?,
    };
    let mut found = Vec::new();
    for pattern in patterns {
        *left = left.checked_sub(pattern.len())?;
        found.extend(expand_one(&pattern, left)?);
    }
    Some(found)
}

/// The folders and the names of the files that hold a catalogued key. `net/nf_conntrack_max` is a
/// second name of the same number, in the initial network namespace alone.
fn expand_one(pattern: &str, left: &mut usize) -> Option<Vec<SysctlFile>> {
    // Empty parts and `.` stay, so that the readers' comparison of strings sees them.
    let mut parts: Vec<&str> = pattern.split('/').collect();
    let is_name = |part: &&str| !matches!(*part, "" | ".");
    let names: Vec<usize> = (0..parts.len()).filter(|at| is_name(&parts[*at])).collect();
    let folders = match names.len() {
        3 => ["net", "netfilter"].as_slice(),
        2 => ["net"].as_slice(),
        _ => return Some(Vec::new()),
    };
    let last = names[folders.len()];
    let fits = |(at, name): (&usize, &&str)| matches_text(parts[*at], name);
    if last + 1 != parts.len() || !names.iter().zip(folders).all(fits) {
        return Some(Vec::new());
    }
    for (at, name) in names.iter().zip(folders) {
        parts[*at] = name;
    }
    let glob = Glob::new(parts[last].as_bytes());
    let mut found = Vec::new();
    let keys = Key::ALL
        .iter()
        .filter(|key| folders.len() == 2 || **key == Key::Max);
    for key in keys {
        if glob.matches(key.file_name().as_bytes(), left)? {
            parts[last] = key.file_name();
            let path = parts.join("/");
            found.push(SysctlFile { path, key: *key });
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Some(found)
}

/// A pattern for many names: most are ruled out by how it begins and ends.
struct Glob<'a> {
    pattern: &'a [u8],
    begins: &'a [u8],
    ends: &'a [u8],
}

impl<'a> Glob<'a> {
    fn new(pattern: &'a [u8]) -> Self {
        let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\');
        let first = pattern.iter().position(is_special).unwrap_or(pattern.len());
        let behind = pattern.iter().rposition(is_special).map_or(0, |at| at + 1);
        Glob {
            pattern,
            begins: &pattern[..first],
            ends: &pattern[behind..],
        }
    }

    /// None where it takes more comparisons than are `left`.
    fn matches(&self, name: &[u8], left: &mut usize) -> Option<bool> {
        // The last byte alone rules most out.
        let may_end = self
            .ends
            .last()
            .is_none_or(|last| name.last() == Some(last));
        if !may_end || !name.ends_with(self.ends) || !name.starts_with(self.begins) {
            return Some(false);
        }
        matches_part(self.pattern, name, left)
    }
}

/// fnmatch(3) on a whole text.
pub(super) fn matches_text(pattern: &str, text: &str) -> bool {
    let mut left = usize::MAX;
    matches_part(pattern.as_bytes(), text.as_bytes(), &mut left) == Some(true)
}

/// fnmatch(3) on one part of a path. A star that turns out to have taken too little takes one byte
/// more; only the last star need be tried again, so the time is at most pattern × name. None where
/// it takes more than `steps`.
fn matches_part(pattern: &[u8], name: &[u8], steps: &mut usize) -> Option<bool> {
    let (mut rest, mut left) = (pattern, name);
    let mut last_star: Option<(&[u8], &[u8])> = None;
    loop {
        *steps = steps.checked_sub(1)?;
        if let [b'*', behind @ ..] = rest {
            last_star = Some((behind, left));
            rest = behind;
        } else if rest.is_empty() && left.is_empty() {
            return Some(true);
        } else if let Some((next_rest, next_left)) = matches_one(rest, left) {
            (rest, left) = (next_rest, next_left);
        } else {
            let Some((behind, [_, fewer @ ..])) = last_star else {
                return Some(false);
            };
            last_star = Some((behind, fewer));
            (rest, left) = (behind, fewer);
        }
    }
}

/// Matches one byte of a name with what a pattern begins with, and gives what is left of both.
fn matches_one<'a, 'b>(pattern: &'a [u8], name: &'b [u8]) -> Option<(&'a [u8], &'b [u8])> {
    let (first, others) = name.split_first()?;
    let rest = match pattern {
        [b'?', rest @ ..] => rest,
        [b'\\', escaped, rest @ ..] if escaped == first => rest,
        [b'\\', _, ..] => return None,
        [b'[', set @ ..] => match matches_set(set, *first) {
            Some((true, rest)) => rest,
            // A bracket that is never closed stands for itself.
            None if *first == b'[' => set,
            Some((false, _)) | None => return None,
        },
        [literal, rest @ ..] if literal == first => rest,
        _ => return None,
    };
    Some((rest, others))
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
/// is never closed, and `{}`, stand for themselves. `None` for more than [`MOST_PATTERNS`], or where
/// more bytes than are `left` would be looked at.
fn expand_braces(pattern: &str, left: &mut usize) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        match first_brace(&pattern) {
            None => done.push(pattern),
            Some((_, choices, _)) if choices.len() > MOST_PATTERNS => return None,
            Some((before, choices, after)) => {
                *left = left.checked_sub((1 + choices.len()) * pattern.len())?;
                let one = |choice: &&str| format!("{before}{choice}{after}");
                open.extend(choices.iter().rev().map(one));
            }
        }
        if done.len() + open.len() > MOST_PATTERNS {
            return None;
        }
    }
    Some(done)
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

    fn expand(reader: Reader, pattern: &str) -> Option<Vec<SysctlFile>> {
        let mut left = MOST_IN_ALL;
        super::expand(reader, pattern, &mut left)
    }

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
            ("a*b*c", "a-b-b-c", true),
            ("a*b*d", "a-b-b-c", false),
            ("**", "", true),
            ("*?", "", false),
            ("*a?", "aaaab", true),
            ("\\", "\\", true),
            ("[abc", "abc", false),
        ] {
            assert_eq!(matches_text(pattern, name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_they_are_many() {
        let stars = "*?".repeat(2000) + "x";
        let name = "a".repeat(10_000);
        assert!(!matches_text(&stars, &name));
        assert!(matches_text(&stars, &(name.clone() + "x")));
        assert!(!matches_text(&("*a".repeat(2000) + "b"), &name));
    }

    #[test]
    fn too_many_braces_are_not_worked_out() {
        let pattern = |times| format!("net/netfilter/{}*", "{a,b}".repeat(times));
        assert_eq!(expand(Reader::Systemd, &pattern(8)), Some(Vec::new()));
        for times in [9, 40, 2000] {
            assert_eq!(expand(Reader::Systemd, &pattern(times)), None, "{times}");
            assert_eq!(expand(Reader::Procps, &pattern(times)), Some(Vec::new()));
        }
        assert_eq!(
            expand(Reader::Systemd, &format!("{}*", "{".repeat(100_000))),
            Some(Vec::new())
        );
    }

    #[test]
    fn no_more_is_compared_than_is_left() {
        let mut left = 300;
        let mut count = |pattern| {
            let found = super::expand(Reader::Systemd, pattern, &mut left);
            found.map(|found| found.len())
        };
        assert_eq!(count("net/nf_conntrack_{a,max}*"), Some(1));
        assert_eq!(count("net/nf_conntrack_ma?"), Some(1));
        assert_eq!(count("net/nf_conntrack_ma[x]"), Some(1));
        assert_eq!(count("net/netfilter/*t*i*m*e*x*"), None);
        // One choice makes no more patterns, but each brace looks at all of the text.
        let mut left = MOST_IN_ALL;
        let pattern = format!("net/netfilter/nf_conntrack_m*{}", "{a}".repeat(100_000));
        assert_eq!(super::expand(Reader::Systemd, &pattern, &mut left), None);
        // What begins or ends otherwise costs nothing.
        let mut left = 60_000;
        for number in 1..1000 {
            let pattern = format!("net/netfilter/nf_conntrack_*{number}");
            let found = super::expand(Reader::Procps, &pattern, &mut left);
            assert_eq!(found, Some(Vec::new()), "{pattern}");
        }
    }

    #[test]
    fn only_systemd_expands_braces() {
        let pattern = "net/netfilter/nf_conntrack_{udp,icmp{,v6}}_timeou[t]";
        let keys = |reader| -> Vec<Key> {
            let targets = expand(reader, pattern).unwrap();
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
            let targets = expand(Reader::Procps, pattern).unwrap();
            targets.into_iter().map(|target| target.path).collect()
        };
        assert_eq!(paths("net/*"), ["net/nf_conntrack_max"]);
        assert_eq!(paths("*//*r/*k_max"), ["net//netfilter/nf_conntrack_max"]);
    }
}
