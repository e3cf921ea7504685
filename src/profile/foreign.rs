//! Files of other kinds that are given as a profile: one answer in place of a mistake for each line.
//!
//! In: a text. Out: what it is, where that can be seen, as one mistake. Rule: a profile with mistakes
//! in it is none of these; of a sysctl.conf the answer is the profile with the same values.

use std::ops::Range;

use super::Wrong;
use super::read::PARTS;
use crate::tunable::Key;

/// Lines of a sysctl.conf that are shown as a profile.
const SHOWN: usize = 10;
/// From so many lines with errors on, and if they are most lines, it is another kind of text.
const MANY: usize = 5;
const EXAMPLE: &str = "see how a profile is written: cttune profile show campus-fw";

/// What a text is that cannot be a profile, known by how it begins or by its lines.
pub(super) fn kind(text: &str) -> Option<(Range<usize>, Wrong)> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let at = text.len() - start.len();
    let first = at..at + start.lines().next().map_or(0, str::len);
    let begins = |one: &str| start.starts_with(one);
    let array = start.strip_prefix('[').map(str::trim_start);
    let is_array = array.is_some_and(|rest| rest.starts_with('{'));
    let kind = match () {
        () if begins("{") || is_array => "JSON",
        () if begins("#!") => "a script",
        () if begins("<") => "XML or HTML",
        () if begins("---\n") || begins("%YAML") => "YAML",
        () => return sysctl_conf(text),
    };
    let title = format!("this is {kind}, and no profile");
    Some((first, Wrong::new(title, "begins here").help(EXAMPLE)))
}

/// A text with an error in most of its lines.
pub(super) fn many_errors(text: &str, errors: usize) -> Option<Wrong> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    (errors >= MANY && errors * 2 > lines).then(|| {
        let title = format!("{errors} of {lines} lines are not TOML: this is no profile");
        Wrong::new(title, "the first one").help(EXAMPLE)
    })
}

fn sysctl_conf(text: &str) -> Option<(Range<usize>, Wrong)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let mut assigned: Vec<(&str, &str)> = Vec::new();
    let mut others = 0;
    for line in lines.take_while(|line| !line.starts_with('[')) {
        match line.split_once('=').filter(|(name, _)| is_sysctl(name)) {
            Some((name, value)) => assigned.push((name.trim(), value.trim())),
            None => others += 1,
        }
    }
    let (name, _) = assigned.first().filter(|_| assigned.len() > others)?;
    let at = text.find(name)?;
    // The last line of a key is the one that counts.
    let mut values: Vec<(Key, i64)> = Vec::new();
    for (name, value) in &assigned {
        if let (Some(key), Ok(value)) = (Key::lookup(name.trim_start_matches('-')), value.parse()) {
            values.retain(|(other, _)| *other != key);
            values.push((key, value));
        }
    }
    let line = |(key, value): (Key, i64)| format!("{} = {value}", key.file_name());
    let mut own: Vec<String> = values.into_iter().map(line).collect();
    let more = own.len().saturating_sub(SHOWN);
    own.truncate(SHOWN);
    let help = match (own.as_slice(), more) {
        ([], _) => format!("no line of it is about conntrack; {EXAMPLE}"),
        (own, 0) => format!("as a profile:\n[sysctl]\n{}", own.join("\n")),
        (own, more) => format!(
            "as a profile:\n[sysctl]\n{}\n# and {more} more",
            own.join("\n")
        ),
    };
    let wrong = Wrong::new(
        "these are lines of a sysctl.conf, and no profile",
        "the first",
    );
    Some((at..at + name.len(), wrong.help(help)))
}

/// A name with dots or slashes that no part of a profile begins with.
fn is_sysctl(name: &str) -> bool {
    let name = name.trim().trim_start_matches('-');
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._/-*".contains(c);
    let first = name.split(['.', '/']).next().unwrap_or_default();
    name.contains(['.', '/']) && name.chars().all(is_name) && !PARTS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_file_is_named() {
        for (text, at, title) in [
            ("{\"schema\":1}\n", "{\"schema\":1}", "this is JSON"),
            ("[\n  {\"a\": 1}\n]\n", "[", "this is JSON"),
            ("#!/bin/sh\nsysctl -w a=1\n", "#!/bin/sh", "a script"),
            ("\u{feff}<html>\n", "<html>", "XML or HTML"),
            ("---\nsysctl:\n", "---", "YAML"),
            (
                "# mine\n-net.core.somaxconn = 5\nfs/file-max=7\n",
                "-net.core.somaxconn",
                "sysctl.conf",
            ),
        ] {
            let (span, wrong) = kind(text).unwrap();
            assert_eq!(text.get(span), Some(at), "{text}");
            assert!(wrong.title.contains(title), "{text}: {wrong}");
        }
    }

    #[test]
    fn a_sysctl_conf_is_shown_as_a_profile() {
        let text = "net.nf_conntrack_max = 4\nnet.netfilter.nf_conntrack_max = 5\n\
                    vm.swappiness=1\nnet/netfilter/nf_conntrack_udp_timeout=60\n";
        let help = kind(text).unwrap().1.help.unwrap();
        assert_eq!(
            help,
            "as a profile:\n[sysctl]\nnf_conntrack_max = 5\nnf_conntrack_udp_timeout = 60"
        );
    }

    #[test]
    fn a_profile_with_mistakes_is_still_a_profile() {
        for text in [
            "",
            "[sysctl]\nnet.netfilter.nf_conntrack_max = 5\n",
            "sysctl.max = 5\nexpire.mode = \"clamp\"\n",
            "net.netfilter.nf_conntrack_max = 5\nrole = \"nat\"\n[sysctl]\n",
            "[[sysctl]]\n",
            "[\"accept\"]\n",
            "rol = 1\n",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
        for (lines, errors, told) in [
            (5, 5, true),
            (100, 51, true),
            (100, 50, false),
            (4, 4, false),
        ] {
            let text = "a line\n\n".repeat(lines);
            assert_eq!(
                many_errors(&text, errors).is_some(),
                told,
                "{lines} {errors}"
            );
        }
    }
}
