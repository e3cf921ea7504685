//! The grammar of sysctl.d files, which differs between the readers.
//!
//! In: the bytes of a file. Out: its [`Statement`]s, with the path below `/proc/sys` that the
//! reader makes of the key. What is not valid UTF-8 can be neither a key nor a number, so
//! replacement characters lose nothing. OpenRC has files read by `sysctl -p`, as procps has it.

use super::Reader;

/// One line that sets a key or keeps globs off it, as one reader understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Number of the line, from 1; lines end at a line feed, whatever the reader splits at.
    pub(super) line: usize,
    /// Path below `/proc/sys`, perhaps a glob.
    pub(super) path: String,
    /// The text after `=`, or `None` for a `-key` that keeps globs off.
    pub(super) value: Option<String>,
}

/// The statements of a file that may be about conntrack, in order: of a line with a glob, or with
/// one of the two words that are in every key. Most lines of a large file have neither.
pub(super) fn parse(reader: Reader, bytes: &[u8]) -> Vec<Statement> {
    parse_lines(reader, bytes, |line| {
        (0..line.len()).any(|at| match line[at] {
            b'*' | b'?' | b'[' => true,
            b'k' => line[..at].ends_with(b"conntrac"),
            b'w' => line[at..].starts_with(b"wtable_"),
            _ => false,
        })
    })
}

pub(super) fn parse_lines(
    reader: Reader,
    bytes: &[u8],
    may_matter: impl Fn(&[u8]) -> bool,
) -> Vec<Statement> {
    let mut found = Vec::new();
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    for (text, line) in lines.filter(|(text, _)| may_matter(text)) {
        let statement = |(key, value): (String, Option<String>)| Statement {
            line,
            path: path_of(reader, &key),
            value,
        };
        match reader {
            // A C string: a NUL ends the line for procps.
            Reader::Procps | Reader::OpenRc | Reader::Tuned => {
                let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
                found.extend(procps_parts(text).map(statement));
            }
            // A carriage return or a NUL ends a line for systemd as well.
            Reader::Systemd => {
                let parts = text.split(|byte| matches!(byte, b'\r' | 0));
                found.extend(parts.filter_map(systemd_parts).map(statement));
            }
        }
    }
    found
}

/// Key and value as procps divides them. A blank behind the dash stays part of the key, and one
/// more dash is dropped.
fn procps_parts(text: &[u8]) -> Option<(String, Option<String>)> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(is_c_space);
    let (key, value) = divide(text)?;
    let key = key.trim_end_matches(is_c_space);
    let key = key.strip_prefix('-').unwrap_or(key);
    Some((
        key.to_owned(),
        value.map(|value| value.trim_matches(is_c_space).to_owned()),
    ))
}

/// Key and value as systemd divides them.
fn systemd_parts(text: &[u8]) -> Option<(String, Option<String>)> {
    let text = String::from_utf8_lossy(text);
    let (key, value) = divide(text.trim_matches([' ', '\t']))?;
    Some((
        key.trim_matches([' ', '\t']).to_owned(),
        value.map(|value| value.trim_matches([' ', '\t']).to_owned()),
    ))
}

/// Splits a trimmed line at its first `=` and takes the dash off; `None` for a comment and a line without either.
fn divide(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with(['#', ';']) {
        return None;
    }
    match text.split_once('=') {
        Some((key, value)) => Some((key.strip_prefix('-').unwrap_or(key), Some(value))),
        None => Some((text.strip_prefix('-')?, None)),
    }
}

/// isspace(3) in the C locale.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The path that a key means: if its first separator is a dot, dots and slashes change places.
pub(super) fn path_of(reader: Reader, key: &str) -> String {
    let path = match key.find(['.', '/']) {
        Some(first) if key[first..].starts_with('.') => {
            let parts = key.split_inclusive(['.', '/']);
            let swapped = parts.map(|part| match part.strip_suffix('.') {
                Some(before) => [before, "/"],
                None => part
                    .strip_suffix('/')
                    .map_or([part, ""], |before| [before, "."]),
            });
            swapped.flatten().collect()
        }
        _ => key.to_owned(),
    };
    match reader {
        Reader::Procps | Reader::OpenRc | Reader::Tuned => path,
        Reader::Systemd => simplify(&path),
    }
}

/// systemd's spelling of a path, by which it tells whether two lines mean the same key.
fn simplify(path: &str) -> String {
    if !path.split('/').any(|part| matches!(part, "" | ".")) {
        return path.to_owned();
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: &str = "net/netfilter/nf_conntrack_max";

    fn parts_of(reader: Reader, text: &str) -> Vec<(String, Option<String>)> {
        let statements = parse_lines(reader, text.as_bytes(), |_| true);
        let parts = |statement: Statement| (statement.path, statement.value);
        statements.into_iter().map(parts).collect()
    }

    #[test]
    fn both_readers_understand_these_alike() {
        let line = |value: &str| vec![(MAX.to_owned(), Some(value.to_owned()))];
        for (text, statements) in [
            ("net.netfilter.nf_conntrack_max = 5", line("5")),
            ("net/netfilter/nf_conntrack_max=5", line("5")),
            ("\t net.netfilter.nf_conntrack_max\t=\t5 \r\n", line("5")),
            ("-net.netfilter.nf_conntrack_max = 5", line("5")),
            ("net.netfilter.nf_conntrack_max = 5 # x", line("5 # x")),
            ("net.netfilter.nf_conntrack_max = 5 = 6", line("5 = 6")),
            ("net.netfilter.nf_conntrack_max =", line("")),
            ("-net.netfilter.nf_conntrack_max", vec![(MAX.into(), None)]),
            ("# net.netfilter.nf_conntrack_max = 5", vec![]),
            ("  ; net.netfilter.nf_conntrack_max = 5", vec![]),
            ("net.netfilter.nf_conntrack_max 5", vec![]),
            ("\r\n\n  \n", vec![]),
        ] {
            for reader in Reader::ALL {
                assert_eq!(parts_of(reader, text), statements, "{reader} {text:?}");
            }
        }
    }

    #[test]
    fn the_first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.conf.eth0/1.x", "net/ipv4/conf/eth0.1/x"),
            ("net/ipv4/conf/eth0.1/x", "net/ipv4/conf/eth0.1/x"),
            (
                "net.netfilter/nf_conntrack_max",
                "net/netfilter.nf_conntrack_max",
            ),
        ] {
            for reader in Reader::ALL {
                assert_eq!(path_of(reader, key), path);
            }
        }
    }

    #[test]
    fn where_the_readers_differ() {
        let count = |text: &str| Reader::ALL.map(|reader| parts_of(reader, text).len());
        let key_is_max = |text: &str| {
            Reader::ALL.map(|reader| parts_of(reader, text).iter().all(|(path, _)| path == MAX))
        };
        assert_eq!(count("a=1\rb=2"), [1, 2]);
        assert_eq!(count("a=1\0b=2"), [1, 2]);
        assert_eq!(count("#\0b=2"), [0, 1]);
        let dash_blank = "- net.netfilter.nf_conntrack_max = 5";
        assert_eq!(key_is_max(dash_blank), [false, true]);
        let two_dashes = "--net.netfilter.nf_conntrack_max = 5";
        assert_eq!(key_is_max(two_dashes), [true, false]);
        let two_dots = "net..netfilter.nf_conntrack_max = 5";
        assert_eq!(key_is_max(two_dots), [false, true]);
    }

    #[test]
    fn every_key_and_every_glob_is_among_the_lines_that_matter() {
        for key in crate::tunable::Key::ALL {
            let text = format!("kernel.panic=5\nnet.netfilter.{} = 5\n", key.file_name());
            let found = parse(Reader::Procps, text.as_bytes());
            assert_eq!(found.len(), 1, "{text}");
        }
        let text = "a.*=1\nb?=1\nc[x]=1\nfs.file-max=1\nvm.overcommit=1\n#\n";
        assert_eq!(parse(Reader::Systemd, text.as_bytes()).len(), 3);
    }

    #[test]
    fn lines_are_counted_by_line_feeds() {
        for reader in Reader::ALL {
            let text = b"# x\r\n\r\n\0\na=1\r\nb=2";
            let statements = parse_lines(reader, text, |_| true);
            let lines: Vec<usize> = statements.iter().map(|one| one.line).collect();
            assert_eq!(lines, [4, 5]);
        }
    }
}
