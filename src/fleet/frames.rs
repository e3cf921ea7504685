//! Cuts a stream into records: JSON lines, objects over several lines, and what `ansible` prints.
//!
//! Rule: a line is looked at once. An object over several lines ends with a line that begins with
//! `}`, as every pretty printer ends it, so that a broken one costs no more than itself.

use super::ansible::header;

/// No checks of as many hosts are as long, and no other record.
pub(crate) const MOST: usize = 256 << 20;
/// What each check has near its beginning, where it is text of another JSON.
const INSIDE: &str = r#"\"schema\":"#;

/// A record of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The line that it begins in.
    pub(crate) line: usize,
    /// The name that the fleet tool gives the host.
    pub(crate) host: Option<String>,
    /// JSON, or whatever stood in its place.
    pub(crate) text: String,
}

#[derive(Debug, Default)]
pub(crate) struct Frames {
    line: usize,
    host: Option<String>,
    open: Option<Frame>,
    /// Whether lines of the open record were told as records of their own.
    has_told: bool,
    /// Whether an object of `ansible` ended: its own words may follow.
    after: bool,
}

impl Frames {
    /// The record that ends with this line.
    pub(crate) fn add(&mut self, line: &str) -> Option<Frame> {
        self.line += 1;
        // What some editors and shells put before each file of UTF-8.
        let line = line.trim_start_matches('\u{feff}');
        if let Some(frame) = &mut self.open {
            // Salt's object of all minions has a line for each: none waits for the others.
            let is_member = || frame.host.is_none() && is_outermost(&frame.text, line);
            if let Some(minion) = minion(line).filter(|_| is_member()) {
                self.has_told = true;
                return Some(self.frame(None, &format!("{{{minion}}}")));
            }
            let ends = line.starts_with('}') || frame.text.len() > MOST;
            frame.text.push_str(if ends { "}" } else { line });
            frame.text.push('\n');
            self.after = ends && frame.host.is_some();
            if !ends {
                return None;
            }
            let ended = self.take();
            // `}{`, where nothing ends the line between two.
            let next = line.strip_prefix('}').map(str::trim_start);
            if let Some(next) = next.filter(|next| next.starts_with('{')) {
                self.begin(None, next.trim_end());
            }
            return ended;
        }
        let line = line.trim_end();
        if let Some(header) = header(line) {
            let host = Some(header.host.to_owned());
            return match (header.goes_on, header.output) {
                (true, "") => {
                    self.host = host;
                    None
                }
                (true, first) => {
                    self.begin(host, first);
                    None
                }
                (false, output) => {
                    let frame = self.frame(host, &output.replace("\\n", "\n"));
                    Some(Frame {
                        text: json_alone(&frame.text).to_owned(),
                        ..frame
                    })
                }
            };
        }
        if line.starts_with('{') {
            let host = self.host.take();
            if line.len() > 1 && line.ends_with('}') {
                return Some(self.frame(host, line));
            }
            self.begin(host, line);
            return None;
        }
        if line.is_empty() || (self.after && self.host.is_none()) {
            return None;
        }
        let host = self.host.take();
        Some(self.frame(host, line))
    }

    /// What is left at the end of the stream.
    pub(crate) fn end(mut self) -> Option<Frame> {
        self.take()
    }

    /// The open record, without the lines that were cut out of it.
    fn take(&mut self) -> Option<Frame> {
        let frame = self.open.take()?;
        if !std::mem::take(&mut self.has_told) {
            return Some(frame);
        }
        let inside = frame.text.strip_suffix("}\n").unwrap_or(&frame.text);
        let inside = inside.trim_end().trim_end_matches(',');
        (inside != "{").then(|| Frame {
            text: format!("{inside}}}"),
            ..frame
        })
    }

    fn begin(&mut self, host: Option<String>, line: &str) {
        self.after = false;
        self.open = Some(self.frame(host, &format!("{line}\n")));
    }

    fn frame(&self, host: Option<String>, text: &str) -> Frame {
        Frame {
            line: self.line,
            host,
            text: text.to_owned(),
        }
    }
}

/// A minion and the check that it printed, on a line of Salt's object of all minions.
fn minion(line: &str) -> Option<&str> {
    let member = line.trim().trim_end_matches(',');
    let is_one = member.starts_with('"') && member.ends_with('"') && member.contains(INSIDE);
    is_one.then_some(member)
}

/// Whether a line is no member of an inner object, by its indent.
fn is_outermost(text: &str, line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let first = text
        .strip_prefix("{\n")
        .and_then(|rest| rest.lines().next());
    let own = indent(line);
    own > 0 && text.starts_with("{\n") && first.is_none_or(|first| indent(first) == own)
}

/// The object that a line begins with, without what `ansible` says of stderr behind it.
fn json_alone(text: &str) -> &str {
    let end = text.rfind('}').filter(|_| text.starts_with('{'));
    end.and_then(|end| text.get(..=end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, Option<String>, String)> {
        let mut frames = Frames::default();
        let mut cut: Vec<Frame> = text.lines().filter_map(|line| frames.add(line)).collect();
        cut.extend(frames.end());
        let told = cut.into_iter();
        told.map(|one| (one.line, one.host, one.text.trim().to_owned()))
            .collect()
    }

    #[test]
    fn each_record_of_a_stream_is_cut_out() {
        let own = |line, text: &str| (line, None, text.to_owned());
        let of = |line, host: &str, text: &str| (line, Some(host.to_owned()), text.to_owned());
        for (text, expected) in [
            (
                "{\"a\":1}\n\n{\"b\":2}\n",
                vec![own(1, "{\"a\":1}"), own(3, "{\"b\":2}")],
            ),
            (
                "{\n  \"a\": {\n  }\n}\n{\n  \"b\": 2\n}\n",
                vec![own(1, "{\n  \"a\": {\n  }\n}"), own(5, "{\n  \"b\": 2\n}")],
            ),
            (
                "{\n  \"a\": 1\n} {\n  \"b\": 2\n}\n",
                vec![own(1, "{\n  \"a\": 1\n}"), own(3, "{\n  \"b\": 2\n}")],
            ),
            (
                "\u{feff}{\n}\n\u{feff}{}\n",
                vec![own(1, "{\n}"), own(3, "{}")],
            ),
            // A broken one in the middle, and one at the end.
            (
                "{\"a\":1}\nhello\n{\"b\":2}\n{\n  \"c\"",
                vec![
                    own(1, "{\"a\":1}"),
                    own(2, "hello"),
                    own(3, "{\"b\":2}"),
                    own(4, "{\n  \"c\""),
                ],
            ),
            // The minions of `salt --out json --static`.
            (
                "{\n \"a\": \"{\\\"schema\\\": 1}\",\n \"b\": false,\n \"c\": \"{\\\"schema\\\": 1}\"\n}\n\
                 {\n \"d\": \"{\\\"schema\\\": 1}\"\n}\n",
                vec![
                    own(2, "{\"a\": \"{\\\"schema\\\": 1}\"}"),
                    own(4, "{\"c\": \"{\\\"schema\\\": 1}\"}"),
                    own(1, "{\n \"b\": false}"),
                    own(7, "{\"d\": \"{\\\"schema\\\": 1}\"}"),
                ],
            ),
            // What a minion's object has is its own.
            (
                "{\n \"a\": {\n  \"pid\": 1,\n  \"stdout\": \"{\\\"schema\\\": 1}\"\n }\n}\n",
                vec![own(
                    1,
                    "{\n \"a\": {\n  \"pid\": 1,\n  \"stdout\": \"{\\\"schema\\\": 1}\"\n }\n}",
                )],
            ),
            (
                "fw1 | FAILED | rc=2 >>\n{\n  \"a\": 1\n}non-zero return code\n\
                 fw2 | CHANGED | rc=0 >>\n{\n}\nfw3 | UNREACHABLE! => {\n  \"msg\": \"m\"\n}\n\
                 fw4 | FAILED | rc=127 >>\nno such file\nfw5 | CHANGED | rc=0 | (stdout) {\\n}\n\
                 fw6 | FAILED | rc=2 | (stdout) {\\n 1} (stderr) note: {x\n",
                vec![
                    of(2, "fw1", "{\n  \"a\": 1\n}"),
                    of(6, "fw2", "{\n}"),
                    of(8, "fw3", "{\n  \"msg\": \"m\"\n}"),
                    of(12, "fw4", "no such file"),
                    of(13, "fw5", "{\n}"),
                    of(14, "fw6", "{\n 1}"),
                ],
            ),
        ] {
            assert_eq!(cut(text), expected, "{text}");
        }
    }
}
