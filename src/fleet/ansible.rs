//! The lines that `ansible` prints before a host's output.

/// What a line of `ansible` is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) host: &'a str,
    /// What follows on the line; its line ends are written as `\n`.
    pub(super) output: &'a str,
    /// Whether the output is in the next lines.
    pub(super) goes_on: bool,
}

/// `HOST | CHANGED | rc=0 >>`, `HOST | FAILED | rc=2 | (stdout) …`, `HOST | UNREACHABLE! => {`,
/// `HOST | UNREACHABLE!: …`.
pub(super) fn header(line: &str) -> Option<Header<'_>> {
    let (host, rest) = line.split_once(" | ")?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return None;
    }
    let is_status = |text: &str| {
        let text = text.trim_end_matches('!');
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    let header = |output, goes_on| Header {
        host,
        output,
        goes_on,
    };
    if let Some((status, rest)) = rest.split_once(" | ").filter(|(one, _)| is_status(one)) {
        return match rest.split_once(" | (stdout) ") {
            Some((_, output)) => Some(header(output, false)),
            None => rest.ends_with(">>").then(|| header("", true)),
        }
        .or(Some(header(status, false)));
    }
    for (mark, goes_on) in [(" => ", true), (": ", false)] {
        if let Some((status, output)) = rest.split_once(mark)
            && is_status(status)
        {
            return Some(header(output, goes_on && output == "{"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_ansible_are_known() {
        for (line, expected) in [
            ("fw1 | FAILED | rc=2 >>", Some(("fw1", "", true))),
            (
                "fw1 | CHANGED | rc=0 | (stdout) {\\n  1}",
                Some(("fw1", "{\\n  1}", false)),
            ),
            ("fw1 | UNREACHABLE! => {", Some(("fw1", "{", true))),
            (
                "fw1 | FAILED! => {\"a\": 1}",
                Some(("fw1", "{\"a\": 1}", false)),
            ),
            (
                "fw1 | UNREACHABLE!: no route",
                Some(("fw1", "no route", false)),
            ),
            ("{\"a\": \"b | C | d\"}", None),
            ("one two | CHANGED | rc=0 >>", None),
            ("", None),
        ] {
            let read = header(line);
            let read = read.map(|one| (one.host, one.output, one.goes_on));
            assert_eq!(read, expected, "{line}");
        }
    }
}
