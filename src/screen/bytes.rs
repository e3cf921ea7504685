//! The bytes that a terminal sends, as keys.
//!
//! Read by ourselves: the reader that comes with the library never returns once the terminal is
//! gone. Follows the VT sequences of ECMA-48 as xterm, screen and the Linux console send them.

use crate::render::watch::Key;

const ESCAPE: u8 = 0x1b;

/// The keys of what was read at once; an escape that nothing follows is the key.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let (key, used) = match (*first, after.first()) {
            (ESCAPE, Some(b'[' | b'O')) => sequence(after),
            (ESCAPE, _) => (Some(Key::Escape), 0),
            _ => character(rest),
        };
        keys.extend(key);
        rest = after.get(used..).unwrap_or_default();
    }
    keys
}

/// The key of a sequence, and its length behind the escape.
fn sequence(bytes: &[u8]) -> (Option<Key>, usize) {
    let inner = bytes.get(1..).unwrap_or_default();
    let Some(end) = inner.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
        return (None, bytes.len());
    };
    let key = match inner.get(..=end).unwrap_or_default() {
        b"A" => Some(Key::Up),
        b"B" => Some(Key::Down),
        b"H" | b"1~" | b"7~" => Some(Key::Home),
        b"F" | b"4~" | b"8~" => Some(Key::End),
        b"5~" => Some(Key::PageUp),
        b"6~" => Some(Key::PageDown),
        _ => None,
    };
    (key, end + 2)
}

/// The key of a character, and its length behind its first byte.
fn character(bytes: &[u8]) -> (Option<Key>, usize) {
    let key = match bytes.first() {
        Some(0x03) => Key::Interrupt,
        Some(0x0c) => Key::Redraw,
        Some(0x1a) => Key::Suspend,
        Some(b'\r' | b'\n') => Key::Enter,
        Some(0x08 | 0x7f) => Key::Backspace,
        _ => {
            let length = (1..=4).find(|length| {
                let one = bytes.get(..*length);
                one.is_some_and(|one| std::str::from_utf8(one).is_ok())
            });
            let one = bytes.get(..length.unwrap_or(0)).unwrap_or_default();
            let one = std::str::from_utf8(one)
                .ok()
                .and_then(|one| one.chars().next());
            let one = one.filter(|one| !one.is_control());
            return (one.map(Key::Char), length.unwrap_or(1) - 1);
        }
    };
    (Some(key), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_bytes() {
        use Key::{Backspace, Char, Down, End, Enter, Escape, Home, Interrupt, PageDown, Up};
        for (bytes, expected) in [
            (&b"q"[..], &[Char('q')][..]),
            ("é/".as_bytes(), &[Char('é'), Char('/')]),
            (b"\x1b[A\x1bOB\x1b[6~", &[Up, Down, PageDown]),
            (b"\x1b[1~\x1b[F", &[Home, End]),
            (b"\x1b", &[Escape]),
            (b"\x1b\x1b[A", &[Escape, Up]),
            (b"\x1bq", &[Escape, Char('q')]),
            (b"\r\x7f\x08\x03", &[Enter, Backspace, Backspace, Interrupt]),
            // Of what is not known nothing is typed.
            (b"\x1b[15~\x1b[1;5Aq", &[Char('q')]),
            (b"\x1b[", &[]),
            (b"\xff\xc3\x01q", &[Char('q')]),
            (b"", &[]),
        ] {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }
}
