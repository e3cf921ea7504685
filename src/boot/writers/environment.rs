//! The file of a unit's `EnvironmentFile=`, which no shell reads: in quotes a value may have several
//! lines, a backslash joins lines, `#` begins a comment in front of a name alone, and what is no
//! name, as that of `export N=5`, is passed over. Follows systemd.exec(5).

use std::iter::Peekable;
use std::str::Chars;

/// The variables that it sets, in its order.
pub(super) fn of_file(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        if let Some((name, value)) = assignment(&mut rest)
            && is_name(&name)
        {
            found.push((name, value));
        }
    }
    found
}

/// Reads a line, or as many as its value has.
fn assignment(rest: &mut Peekable<Chars<'_>>) -> Option<(String, String)> {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
    if matches!(rest.peek(), Some('#' | ';')) {
        while let Some(c) = rest.next().filter(|c| *c != '\n') {
            if c == '\\' {
                rest.next();
            }
        }
        return None;
    }
    let mut name = String::new();
    loop {
        match rest.next()? {
            '=' => break,
            '\n' => return None,
            other => name.push(other),
        }
    }
    let name = name.trim_end().to_owned();
    Some((name, value(rest)))
}

fn value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut all = String::new();
    // Blanks in front of a value and behind a quote are dropped.
    loop {
        while rest.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
        match rest.next_if(|c| matches!(c, '"' | '\'')) {
            Some(quote) => quoted(quote, rest, &mut all),
            None => break,
        }
    }
    let before = all.len();
    while let Some(c) = rest.next().filter(|c| *c != '\n') {
        match c {
            '\\' => all.extend(rest.next().filter(|next| *next != '\n')),
            other => all.push(other),
        }
    }
    let length = all[before..].trim_end().len();
    all.truncate(before + length);
    all
}

/// What follows a quote up to the next one; between double ones a backslash is for four signs and
/// the end of a line.
fn quoted(quote: char, rest: &mut Peekable<Chars<'_>>, all: &mut String) {
    while let Some(c) = rest.next().filter(|c| *c != quote) {
        match c {
            '\\' if quote == '"' => match rest.next() {
                Some('\n') | None => {}
                Some(next @ ('"' | '\\' | '`' | '$')) => all.push(next),
                Some(next) => all.extend(['\\', next]),
            },
            other => all.push(other),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        for (text, expected) in [
            ("N=5\nM = 6 \n", "N=5|M=6"),
            ("N='a b'\nM=\"c d\"\n", "N=a b|M=c d"),
            ("N=5 # x\n # N=6\n;N=7\n", "N=5 # x"),
            ("N=\"5\" # x\n", "N=5# x"),
            ("export N=5\n", ""),
            ("N\nM=1\n=2\n1A=3\n", "M=1"),
            ("N=5\\\n6\nM=1", "N=56|M=1"),
            ("N=\"5\n6\"\nM=1", "N=5\n6|M=1"),
            ("N=\"a\\$b\\c\"\n", "N=a$b\\c"),
            ("N='a\\$b'\n", "N=a\\$b"),
            ("N=a\\$b\n", "N=a$b"),
            ("N=a'b'\n", "N=a'b'"),
            ("N=$M\n", "N=$M"),
            ("# x \\\nN=1\nM=2", "M=2"),
            ("N=\nM=", "N=|M="),
            ("N=\"5", "N=5"),
        ] {
            let found = of_file(text).into_iter();
            let shown: Vec<String> = found
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert_eq!(shown.join("|"), expected, "{text:?}");
        }
    }
}
