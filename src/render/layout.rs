//! Text laid out for a screen: wrapped lines, aligned columns, bars.
//!
//! In: what a renderer wrote, with marks for what a renderer cannot know before the width is known:
//! cells of a table, where a line goes on, which words belong together. Out: the same without
//! marks, no line wider than the screen but for a path or a word that cannot be broken.
//! Rule: the writer lays out whatever it prints, so that no renderer asks for the width and a row
//! that is too long is folded, never cut. Marks are private-use characters: foreign text that has
//! them moves a column and does nothing else.

use std::ops::Range;

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Ends a cell; lines with it that follow each other are one table.
pub(crate) const CELL: char = '\u{f8f0}';
/// At the beginning of a cell: to the right, as numbers are.
pub(crate) const RIGHT: char = '\u{f8f1}';
/// At the beginning of a cell: the column is left out where the table is too wide.
pub(crate) const SPARE: char = '\u{f8f2}';
/// At the beginning of a cell: on lines of its own below the row.
pub(crate) const BELOW: char = '\u{f8f3}';
/// Where the next lines begin, if this line is too long.
pub(crate) const HANG: char = '\u{f8f4}';
/// A space of a command: where it is too long, the line ends with a backslash.
const GLUE: char = '\u{f8f5}';
/// A space inside of quotes, where no line may end.
const SOLID: char = '\u{f8f6}';

/// Before the last words of a line that stand at the right end of its first part, if it is too long.
pub(crate) const TAIL: char = '\u{f8f7}';

const MARKS: Range<char> = CELL..'\u{f8f8}';
/// Between two columns.
const GAP: usize = 2;
/// How much further a continued line begins, where nothing else is said.
const DEEPER: usize = 2;
/// The narrowest column that words are wrapped in.
const NARROWEST: usize = 24;

/// What text is laid out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) width: usize,
    /// Whether it shows more than ASCII.
    pub(crate) is_utf8: bool,
    /// Whether a sentence is wrapped: in a pipe or a file, a finding is one line for grep(1).
    pub(crate) wraps: bool,
}

impl Screen {
    /// Where nothing is known of it.
    pub(crate) const USUAL: Screen = Screen {
        width: 80,
        is_utf8: true,
        wraps: true,
    };
    /// A file, in which a sentence is one line.
    pub(crate) const FILE: Screen = Screen {
        wraps: false,
        ..Screen::USUAL
    };
}

/// A command that is pasted in one piece.
pub(crate) fn command(line: &str) -> String {
    let (mut quote, mut escaped) = (None, false);
    let glued = line.chars().map(|c| {
        let was_escaped = std::mem::take(&mut escaped);
        match (c, quote) {
            (' ', None) if !was_escaped => return GLUE,
            (' ', _) => return SOLID,
            ('\\', None | Some('"')) => escaped = !was_escaped,
            ('\'' | '"', None) if !was_escaped => quote = Some(c),
            (c, Some(end)) if c == end && !was_escaped => quote = None,
            _ => {}
        }
        c
    });
    glued.collect()
}

/// A note that goes on below itself, not below `note: `.
pub(crate) fn labelled(text: &str) -> String {
    match text.split_once(": ") {
        Some((label, rest)) if !label.contains(' ') => format!("{label}: {HANG}{rest}"),
        _ => text.to_owned(),
    }
}

/// A share of `cells` characters as a bar; what is not nothing is seen, and what is not all of it
/// is not full.
pub(crate) fn bar(share: f64, cells: u8) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = f64::from(cells) * 8.0;
    let filled = (share.clamp(0.0, 1.0) * eighths).floor();
    let filled = if share > 0.0 { filled.max(1.0) } else { 0.0 };
    // At most 8 × 255.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let filled = filled as usize;
    let mut bar = "█".repeat(filled / 8);
    bar.extend(PARTS.get(filled % 8).filter(|part| **part != ' '));
    bar
}

/// The same before a background that shows where it would be full.
pub(crate) fn gauge(share: f64, cells: u8) -> String {
    let bar = bar(share, cells);
    let rest = usize::from(cells).saturating_sub(bar.chars().count());
    format!("{bar}{}", "░".repeat(rest))
}

/// Lays the text out.
pub(crate) fn lay_out(text: &str, screen: Screen) -> String {
    // A share stays in one piece, and a margin.
    let text = text.replace(" %", &format!("{SOLID}%"));
    let text = text.replace("± ", &format!("±{SOLID}"));
    let text = if screen.is_utf8 { text } else { ascii(&text) };
    let lines: Vec<&str> = text.split('\n').collect();
    let mut laid = Vec::new();
    for block in lines.chunk_by(|one, next| one.contains(CELL) && next.contains(CELL)) {
        match block {
            [line] if !line.contains(CELL) => {
                let width = if screen.wraps {
                    screen.width
                } else {
                    usize::MAX
                };
                laid.push(paragraph(line, width));
            }
            rows => laid.extend(table(rows, screen.width)),
        }
    }
    let laid = laid.join("\n").replace([GLUE, SOLID], " ");
    laid.replace(|c| MARKS.contains(&c), "")
}

/// A line that is not a row.
fn paragraph(line: &str, width: usize) -> String {
    if display_width(line) <= width {
        return line.replace([HANG, TAIL], "");
    }
    if let Some((before, rest)) = line.split_once(HANG) {
        if let Some((rest, tail)) = rest.split_once(TAIL) {
            return before.to_owned() + &tailed(rest, tail, display_width(before), width);
        }
        return format!("{before}{}", wrap(rest, display_width(before), 0, width));
    }
    let rest = line.trim_start_matches(' ');
    let indent = line.len() - rest.len();
    let before = " ".repeat(indent);
    // A comment goes on as one.
    if let Some(comment) = rest.strip_prefix("# ") {
        let wrapped = wrap(comment, 0, 0, width.saturating_sub(indent + 2));
        return format!(
            "{before}# {}",
            wrapped.replace('\n', &format!("\n{before}# "))
        );
    }
    format!("{before}{}", wrap(rest, indent, DEEPER, width))
}

/// Text that begins at a column, with `tail` at the right end of its first line.
fn tailed(text: &str, tail: &str, column: usize, width: usize) -> String {
    let taken = display_width(tail) + GAP;
    if column + taken + NARROWEST > width {
        return wrap(&format!("{text}{tail}"), column, 0, width);
    }
    let blank = SOLID.to_string().repeat(taken);
    let wrapped = wrap(&format!("{blank}{text}"), column, 0, width);
    let wrapped = wrapped.strip_prefix(&blank).unwrap_or(&wrapped);
    let (first, rest) = wrapped.split_once('\n').unwrap_or((wrapped, ""));
    let room = width.saturating_sub(column + display_width(tail));
    let Some(pad) = room.checked_sub(display_width(first)) else {
        return wrap(&format!("{text}{tail}"), column, 0, width);
    };
    let pad = " ".repeat(pad);
    format!("{first}{pad}{tail}\n{rest}").trim_end().to_owned()
}

/// Text that begins at a column, and goes on at it or `deeper`.
fn wrap(text: &str, column: usize, deeper: usize, width: usize) -> String {
    let deeper_by = " ".repeat(deeper);
    let options = Options::new(width.saturating_sub(column).max(1))
        .subsequent_indent(&deeper_by)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options);
    let room = width.saturating_sub(column + deeper);
    let lines = lines.iter().map(|line| {
        if display_width(line) > width.saturating_sub(column) {
            broken(line, room)
        } else {
            line.to_string()
        }
    });
    let lines: Vec<String> = lines.collect();
    lines
        .join("\n")
        .replace('\n', &format!("\n{}", " ".repeat(column)))
}

/// A command that is too long, as a shell takes it on several lines; a value stays with its option.
fn broken(line: &str, width: usize) -> String {
    let words: Vec<&str> = line.split(GLUE).collect();
    let groups = words.chunk_by(|one, next| one.starts_with('-') && !next.starts_with('-'));
    let mut out = String::new();
    let mut used = 0;
    for group in groups.map(|group| group.join(" ")) {
        let length = display_width(&group);
        if out.is_empty() {
            used = length;
        } else if used + 1 + length + " \\".len() <= width {
            out.push(' ');
            used += 1 + length;
        } else {
            out.push_str(" \\\n    ");
            used = 4 + length;
        }
        out.push_str(&group);
    }
    out
}

/// Rows with their columns aligned. Where they have no room, the columns come closer, those that
/// can be spared are left out, the last one is wrapped, or some go to a line of their own.
fn table(rows: &[&str], width: usize) -> Vec<String> {
    let mut rows: Vec<Vec<&str>> = rows.iter().map(|row| row.split(CELL).collect()).collect();
    let mut widths = widths(&rows);
    let gap = if total(&widths, GAP) > width && total(&widths, 1) <= width {
        1
    } else {
        GAP
    };
    if total(&widths, gap) > width {
        let spare: Vec<bool> = (0..widths.len())
            .map(|at| {
                rows.iter()
                    .any(|row| row.get(at).is_some_and(|cell| cell.starts_with(SPARE)))
            })
            .collect();
        for row in &mut rows {
            let mut spare = spare.iter();
            row.retain(|_| spare.next() != Some(&true));
        }
        widths = self::widths(&rows);
    }
    let lines = folds(&widths, gap, width);
    let laid = rows
        .iter()
        .map(|row| laid_row(row, &widths, &lines, gap, width));
    laid.collect()
}

fn widths(rows: &[Vec<&str>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let cells = cells.filter(|cell| !cell.starts_with(BELOW));
        cells
            .map(|cell| display_width(bare(cell)))
            .max()
            .unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

fn total(widths: &[usize], gap: usize) -> usize {
    let columns = widths.iter().filter(|width| **width > 0).count();
    widths.iter().sum::<usize>() + gap * columns.saturating_sub(1)
}

/// Which columns share a line.
fn folds(widths: &[usize], gap: usize, width: usize) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    let last = widths.iter().rposition(|width| *width > 0);
    for at in 1..widths.len() {
        let own = widths.get(start..at).map_or(0, |own| total(own, gap));
        let column = widths.get(at).copied().unwrap_or(0);
        let indent = if start == 0 { 0 } else { 2 * DEEPER };
        // The last column may be wrapped where it has some room.
        let needs = if last == Some(at) {
            column.min(NARROWEST)
        } else {
            column
        };
        if column > 0 && indent + own + gap + needs > width {
            lines.push(start..at);
            start = at;
        }
    }
    lines.push(start..widths.len());
    lines
}

fn laid_row(
    row: &[&str],
    widths: &[usize],
    lines: &[Range<usize>],
    gap: usize,
    width: usize,
) -> String {
    let mut out = Vec::new();
    for (number, columns) in lines.iter().enumerate() {
        let mut line = if number == 0 {
            String::new()
        } else {
            " ".repeat(2 * DEEPER)
        };
        let mut column = line.len();
        for at in columns.clone() {
            let cell = row.get(at).copied().unwrap_or_default();
            let room = widths.get(at).filter(|room| **room > 0);
            let (Some(room), false) = (room, cell.starts_with(BELOW)) else {
                continue;
            };
            let text = bare(cell);
            let pad = " ".repeat(room.saturating_sub(display_width(text)));
            if column + room > width {
                let text = wrapped_cell(text, column, width);
                let before = if text.starts_with('\n') {
                    line.trim_end()
                } else {
                    &line
                };
                line = format!("{before}{text}");
            } else if cell.contains(RIGHT) {
                line.push_str(&format!("{pad}{text}"));
            } else {
                line.push_str(&format!("{text}{pad}"));
            }
            line.push_str(&" ".repeat(gap));
            column += room + gap;
        }
        // Of a folded head nothing may be left.
        if number == 0 || display_width(line.trim()) > 0 {
            out.push(line);
        }
    }
    for cell in row.iter().filter_map(|cell| cell.strip_prefix(BELOW)) {
        let indent = " ".repeat(2 * DEEPER);
        out.push(paragraph(&format!("{indent}{HANG}{cell}"), width));
    }
    let trimmed = out.iter().map(|line| line.trim_end_matches(' '));
    trimmed
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A cell with no room for one line, from its column; a word that is too long for that begins on a
/// line of its own.
fn wrapped_cell(text: &str, column: usize, width: usize) -> String {
    let longest = text.split(' ').map(display_width).max().unwrap_or(0);
    let indent = 2 * DEEPER;
    if column + longest <= width || column <= indent || text.contains(GLUE) {
        return wrap(text, column, 0, width);
    }
    let room = width.saturating_sub(indent).max(1);
    let options = Options::new(room)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options);
    let lines = lines
        .iter()
        .map(|line| format!("\n{}{line}", " ".repeat(indent)));
    lines.collect()
}

/// A cell without the marks at its beginning.
fn bare(cell: &str) -> &str {
    cell.trim_start_matches([RIGHT, SPARE, BELOW])
}

/// What a terminal shows that knows no more than ASCII.
pub(super) fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '→' => out.push_str("->"),
            '±' => out.push_str("+-"),
            '…' => out.push_str("..."),
            '×' => out.push('x'),
            '█' => out.push('#'),
            '–' | '−' | '─' | '▉'..='▏' => out.push('-'),
            '░' => out.push('.'),
            '│' => out.push('|'),
            '└' => out.push('+'),
            '\u{2801}'..='\u{28ff}' => out.push('*'),
            c if c.is_ascii() || MARKS.contains(&c) => out.push(c),
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

/// Text as it is shown on a terminal so wide, without colours.
#[cfg(test)]
pub(super) fn shown(text: &str, width: usize) -> String {
    let is_utf8 = true;
    let laid = lay_out(
        text,
        Screen {
            width,
            is_utf8,
            wraps: true,
        },
    );
    anstream::adapter::strip_str(&laid).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(width: usize, text: &str) -> String {
        let is_utf8 = true;
        lay_out(
            text,
            Screen {
                width,
                is_utf8,
                wraps: true,
            },
        )
    }

    #[test]
    fn a_long_line_goes_on_deeper_or_where_it_is_told() {
        for (text, laid) in [
            ("short\n", "short\n"),
            ("", ""),
            (
                "  one two three four five",
                "  one two three four\n    five",
            ),
            ("  # one two three four", "  # one two three\n  # four"),
            (
                "error: \u{f8f4}one two three four five",
                "error: one two three\n       four five",
            ),
            // A word that is too long has a line of its own.
            (
                "see /a/path/that/is/too/long/to/fit now",
                "see\n  /a/path/that/is/too/long/to/fit\n  now",
            ),
            (
                "warning: \u{f8f4}one two\u{f8f7}[id]",
                "warning: one two[id]",
            ),
            // Colours take no column, wide characters two.
            (
                "\u{1b}[1mone two three four\u{1b}[0m",
                "\u{1b}[1mone two three four\u{1b}[0m",
            ),
            ("日本 日本 日本 日本 日", "日本 日本 日本 日本\n  日"),
        ] {
            assert_eq!(at(20, text), laid);
        }
    }

    #[test]
    fn last_words_stand_at_the_right_end_of_the_first_line_or_behind_the_text() {
        let line = format!("warning: {HANG}a b c d e f g h i j k l m n o p{TAIL} [id]");
        assert_eq!(
            at(60, &line),
            "warning: a b c d e f g h i j k l m n o p [id]"
        );
        assert_eq!(
            at(44, &line),
            "warning: a b c d e f g h i j k l m n    [id]\n         o p"
        );
        assert_eq!(
            at(30, &line),
            "warning: a b c d e f g h i j k\n         l m n o p [id]"
        );
    }

    #[test]
    fn a_command_is_one_word_or_lines_that_a_shell_joins() {
        let line = format!(
            "to see: {HANG}{}",
            command("cttune plan --set 'a b c d e f g'")
        );
        assert_eq!(at(80, &line), "to see: cttune plan --set 'a b c d e f g'");
        assert_eq!(
            at(24, &line),
            "to see: cttune plan \\\n            --set 'a b c d e f g'"
        );
        let quoted = command(r"a 'it'\''s b' \' c");
        assert_eq!(quoted.matches(GLUE).count(), 3, "{quoted:?}");
        assert_eq!(at(80, &quoted), r"a 'it'\''s b' \' c");
    }

    #[test]
    fn columns_are_aligned_wrapped_left_out_or_folded() {
        let rows = format!(
            "key{CELL}{RIGHT}live{CELL}{SPARE}bar{CELL}why\n\
             max{CELL}{RIGHT}76,800{CELL}{SPARE}####{CELL}as many flows as a tenth of memory\n\
             acct{CELL}{RIGHT}1{CELL}{SPARE}{CELL}{BELOW}a note\n"
        );
        assert_eq!(
            at(60, &rows),
            "\
key     live  bar   why
max   76,800  ####  as many flows as a tenth of memory
acct       1
    a note
"
        );
        assert_eq!(
            at(44, &rows),
            "\
key     live  why
max   76,800  as many flows as a tenth of
              memory
acct       1
    a note
"
        );
        assert_eq!(
            at(20, &rows),
            "\
key     live
    why
max   76,800
    as many flows as
    a tenth of
    memory
acct       1
    a note
"
        );
    }

    #[test]
    fn a_word_with_no_room_in_its_column_has_lines_of_its_own() {
        let long = "/a/path/that/has/no/room/in/its/column";
        let rows = format!(
            "id{CELL}when{CELL}change\n1{CELL}noon{CELL}apply {long} now{CELL}{BELOW}below\n"
        );
        assert_eq!(
            at(47, &rows),
            format!("id  when  change\n1   noon\n    apply\n    {long} now\n    below\n")
        );
        let (begin, end) = ("x".repeat(43), "y".repeat(9));
        let rows = rows.replace(long, &format!("{begin}{end}"));
        assert_eq!(
            at(47, &rows),
            format!(
                "id  when  change\n1   noon\n    apply\n    {begin}\n    {end} now\n    below\n"
            )
        );
    }

    #[test]
    fn a_bar_is_neither_empty_nor_full_unless_it_is() {
        for (share, bar, plain) in [
            (0.0, "░░░░", "...."),
            (0.001, "▏░░░", "-..."),
            (0.5, "██░░", "##.."),
            (0.999_9, "███▉", "###-"),
            (1.0, "████", "####"),
            (1.7, "████", "####"),
        ] {
            assert_eq!(gauge(share, 4), bar);
            let screen = Screen {
                is_utf8: false,
                ..Screen::USUAL
            };
            assert_eq!(lay_out(&gauge(share, 4), screen), plain);
        }
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        let words =
            "a critical finding with many words: 日本語 and the 76,768 flows of it; ".repeat(9);
        let text = format!(
            "{words}\n    hint: {HANG}{words}\n{words}{CELL}{RIGHT}7{CELL}{words}\n1{CELL}2{CELL}3\nwarning: {HANG}{words}{TAIL} [an-id]\n"
        );
        for width in 20..200 {
            for line in at(width, &text).lines() {
                assert!(display_width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_pipe_gets_a_sentence_as_one_line_and_a_table_all_the_same() {
        let screen = Screen::FILE;
        let sentence = format!("warning: {HANG}{}", "word ".repeat(40));
        let laid = lay_out(&format!("{sentence}\na{CELL}b\nccc{CELL}d"), screen);
        let sentence = sentence.replace(HANG, "");
        assert_eq!(laid, format!("{sentence}\na    b\nccc  d"));
    }

    #[test]
    fn a_terminal_without_utf_8_gets_ascii_alone() {
        let screen = Screen {
            is_utf8: false,
            ..Screen::USUAL
        };
        let laid = lay_out("5 → 6 ± 1 – 日…", screen);
        assert_eq!(laid, "5 -> 6 +- 1 - \\u{65e5}...");
    }
}
