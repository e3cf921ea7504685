//! Text from files, the kernel and the command line, made safe to print.
//!
//! The writers in `cli` give everything they print to one of these functions: a file name or a
//! profile's text must not move a terminal's cursor, set its title or reverse a line.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// The name of a file as it is shown: whoever made the file chose it, line ends included.
pub(crate) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for Path {
    fn shown(&self) -> String {
        one_line(&self.display().to_string())
    }
}

/// Foreign text that is shown within a line: its line ends are escaped too.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.replace('\n', "\\u{a}").replace('\t', "\\u{9}");
    for_monitor(&text).into_owned()
}

/// For a terminal: control characters and marks of text direction are written as `\u{1b}`. Line
/// ends, tabs and our own colours stay.
pub(crate) fn for_terminal(text: &str) -> Cow<'_, str> {
    escape(text, color_length, |out, c| {
        write!(out, "{}", c.escape_unicode())
    })
}

/// For a monitor: as for a terminal, without colours.
pub(crate) fn for_monitor(text: &str) -> Cow<'_, str> {
    escape(text, |_| 0, |out, c| write!(out, "{}", c.escape_unicode()))
}

/// For JSON that is serialized already: the same characters as `\u202e`.
pub(crate) fn for_json(json: &str) -> Cow<'_, str> {
    let escaped = |out: &mut String, c: char| {
        let mut units = [0; 2];
        let mut units = c.encode_utf16(&mut units).iter();
        units.try_for_each(|unit| write!(out, "\\u{unit:04x}"))
    };
    escape(json, |_| 0, escaped)
}

/// Escapes what [`is_unsafe`] tells of, but for as many bytes as `keep` says.
fn escape(
    text: &str,
    keep: impl Fn(&str) -> usize,
    escaped: impl Fn(&mut String, char) -> std::fmt::Result,
) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    if text.bytes().all(is_plain) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = keep(rest).max(if is_unsafe(c) { 0 } else { c.len_utf8() });
        let (kept, next) = rest.split_at(length.max(c.len_utf8()));
        if length == 0 {
            // Writing into a String does not fail.
            let _ = escaped(&mut out, c);
        } else {
            out.push_str(kept);
        }
        rest = next;
    }
    Cow::Owned(out)
}

/// Control characters but line end and tab; marks that change the direction of text; line and
/// paragraph separators; characters that nobody sees.
fn is_unsafe(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// The bytes of a colour at the beginning of the text: those that cttune itself prints, none of
/// which hides text (black, white) or moves the cursor.
fn color_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let Some((parameters, _)) = parameters.split_once('m') else {
        return 0;
    };
    let is_harmless =
        |parameter: &str| matches!(parameter.parse::<u8>(), Ok(0..=2 | 4 | 31..=36 | 91..=96));
    let of_palette = parameters.strip_prefix("38;5;");
    let is_color = of_palette.map_or_else(
        || parameters.split(';').all(is_harmless),
        |number| matches!(number.parse::<u8>(), Ok(17..=230)),
    );
    if is_color {
        "\x1b[m".len() + parameters.len()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_neither_controls_nor_marks_of_direction() {
        for (text, shown) in [
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
            ("ü, 日本, 🐄", "ü, 日本, 🐄"),
            ("\x1b[1m\x1b[31merror\x1b[0m", "\x1b[1m\x1b[31merror\x1b[0m"),
            ("\x1b]0;TITLE\x07", "\\u{1b}]0;TITLE\\u{7}"),
            ("\x1b[2J\x1b[8mhidden", "\\u{1b}[2J\\u{1b}[8mhidden"),
            ("\x1b[31", "\\u{1b}[31"),
            ("\x1b[38;5;160mred\x1b[0m", "\x1b[38;5;160mred\x1b[0m"),
            ("\x1b[38;5;256m", "\\u{1b}[38;5;256m"),
            ("\x1b[38;5;1;8m", "\\u{1b}[38;5;1;8m"),
            ("\x1b[30mhidden", "\\u{1b}[30mhidden"),
            ("no\u{200b}thing\u{e0041}", "no\\u{200b}thing\\u{e0041}"),
            ("a\rb\x08\x7f\u{9b}2J", "a\\u{d}b\\u{8}\\u{7f}\\u{9b}2J"),
            (
                "fdp\u{202e}exe.\u{2066}x\u{2069}",
                "fdp\\u{202e}exe.\\u{2066}x\\u{2069}",
            ),
        ] {
            assert_eq!(for_terminal(text), shown);
        }
    }

    #[test]
    fn the_name_of_a_file_stays_on_its_line() {
        let name = Path::new("/etc/sysctl.d/a\ncritical:\tb\x1b[31m.conf");
        assert_eq!(
            name.shown(),
            "/etc/sysctl.d/a\\u{a}critical:\\u{9}b\\u{1b}[31m.conf"
        );
    }

    #[test]
    fn a_monitor_gets_no_colours_either() {
        assert_eq!(for_monitor("\x1b[31mbad\n"), "\\u{1b}[31mbad\n");
    }

    #[test]
    fn json_stays_json_with_the_same_text() {
        for text in ["\u{9b}2J", "a\u{202e}b\u{2028}", "\x1b[31m", "plain"] {
            let json = serde_json::json!({ "text": text }).to_string();
            let safe = for_json(&json);
            assert!(!safe.chars().any(is_unsafe), "{safe}");
            let parsed: serde_json::Value = serde_json::from_str(&safe).unwrap();
            assert_eq!(parsed["text"], text);
        }
    }
}
