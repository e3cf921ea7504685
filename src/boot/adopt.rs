//! Comments out single lines of somebody else's file, in place.
//!
//! In: the bytes of a file and line numbers. Out: the same bytes with a mark in front of those
//! lines. Rule: no byte is removed or changed, whatever is in the file.

use std::collections::HashSet;

/// What cttune puts in front of a line that it comments out; removing it restores the file.
pub(crate) const MARK: &str = "# commented out by cttune: ";

/// Comments out these lines, numbered from 1; a number that the file does not have is ignored.
///
/// systemd also ends lines at a carriage return and at a NUL, so what follows one of those inside a
/// line gets a mark of its own.
#[must_use]
pub(crate) fn comment_out(bytes: &[u8], lines: &[usize]) -> Vec<u8> {
    let lines: HashSet<usize> = lines.iter().copied().collect();
    let mut out = Vec::with_capacity(bytes.len() + lines.len() * MARK.len());
    for (line, number) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        if lines.contains(&number) {
            mark(line, &mut out);
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

fn mark(line: &[u8], out: &mut Vec<u8>) {
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    for part in line.split_inclusive(ends) {
        if !part.iter().all(ends) {
            out.extend_from_slice(MARK.as_bytes());
        }
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Reader;
    use super::super::statement::{self, Statement};
    use super::*;

    #[test]
    fn the_line_is_marked_and_its_neighbours_are_not() {
        for (bytes, lines, expected) in [
            ("a=1\nb=2\nc=3\n", vec![2], "a=1\n{}b=2\nc=3\n"),
            ("a=1\r\nb=2\r\n", vec![1], "{}a=1\r\nb=2\r\n"),
            ("a=1\nb=2", vec![2], "a=1\n{}b=2"),
            ("a=1\rb=2\0c=3\nd=4", vec![1], "{}a=1\r{}b=2\0{}c=3\nd=4"),
            ("a=1\n", vec![2, 0, 99], "a=1\n"),
        ] {
            let expected = expected.replace("{}", MARK);
            let marked = comment_out(bytes.as_bytes(), &lines);
            assert_eq!(String::from_utf8(marked).unwrap(), expected);
        }
    }

    /// Bytes in which everything that matters to a reader is common.
    fn file() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => prop::sample::select(b"\n\r\0=-#; \tab.".to_vec()),
            1 => any::<u8>(),
        ];
        prop::collection::vec(byte, 0..80)
    }

    fn without_marks(bytes: &[u8]) -> Vec<u8> {
        let mark = MARK.as_bytes();
        let mut rest = bytes;
        let mut out = Vec::new();
        while let Some(first) = rest.first() {
            if let Some(behind) = rest.strip_prefix(mark) {
                rest = behind;
            } else {
                out.push(*first);
                rest = &rest[1..];
            }
        }
        out
    }

    proptest! {
        #[test]
        fn removing_the_marks_restores_every_byte(
            bytes in file(),
            lines in prop::collection::vec(0..20_usize, 0..6),
        ) {
            prop_assert_eq!(without_marks(&comment_out(&bytes, &lines)), bytes);
        }

        #[test]
        fn no_reader_reads_a_line_that_is_commented_out_and_every_reader_the_others(
            bytes in file(),
            lines in prop::collection::vec(0..20_usize, 0..6),
        ) {
            let parse = |reader, bytes: &[u8]| statement::parse_lines(reader, bytes, |_| true);
            for reader in Reader::ALL {
                let read: Vec<Statement> = parse(reader, &bytes)
                    .into_iter()
                    .filter(|statement| !lines.contains(&statement.line))
                    .collect();
                prop_assert_eq!(parse(reader, &comment_out(&bytes, &lines)), read);
            }
        }
    }
}
