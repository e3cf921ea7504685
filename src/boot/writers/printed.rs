//! What `echo` and `printf` print, as far as that is the same in every shell that may run them.
//! Follows POSIX.1-2017 on both, dash(1), bash(1).

use crate::boot::shell::Dialect;

/// What a command prints. The `echo` of bash is known; that of `sh` may be dash's, which knows no `-e`
/// and takes a backslash for the start of a sign.
pub(super) fn printed(words: &[Option<&str>], dialect: Dialect) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let arguments: Option<Vec<&str>> = arguments.iter().copied().collect();
    let arguments = arguments?;
    match (*program)? {
        "echo" => echo(&arguments, dialect == Dialect::Bash),
        // A program of its own, which does as bash does.
        "/bin/echo" | "/usr/bin/echo" => echo(&arguments, true),
        program if program.rsplit('/').next() == Some("printf") => printf(&arguments),
        _ => None,
    }
}

fn echo(words: &[&str], is_bash: bool) -> Option<String> {
    let is_option = |word: &&&str| {
        let letters = word.strip_prefix('-').unwrap_or_default();
        !letters.is_empty() && letters.chars().all(|c| matches!(c, 'n' | 'e' | 'E'))
    };
    let count = words.iter().take_while(is_option).count();
    let (options, rest) = words.split_at(count);
    let text = rest.join(" ");
    if !is_bash {
        let is_alike = matches!(options, [] | ["-n"]) && !text.contains('\\');
        return is_alike.then_some(text);
    }
    let mut letters = options.iter().flat_map(|word| word.chars());
    match letters.rfind(|c| matches!(c, 'e' | 'E')) {
        Some('e') => unescaped(&text),
        _ => Some(text),
    }
}

/// A text with the signs that `\n` and its like stand for; none where there are rarer ones.
fn unescaped(text: &str) -> Option<String> {
    let mut all = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        all.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(all)
}

fn printf(words: &[&str]) -> Option<String> {
    let words = match words {
        ["--", rest @ ..] => rest,
        [first, ..] if first.starts_with('-') => return None,
        words => words,
    };
    let (format, values) = words.split_first()?;
    let mut values = values.iter().copied().peekable();
    let mut text = String::new();
    // The format is used again as long as there are values for it.
    loop {
        let left = values.len();
        let mut pieces = format.split('%');
        text.push_str(&unescaped(pieces.next()?)?);
        while let Some(piece) = pieces.next() {
            match piece.chars().next() {
                Some('s') => text.push_str(values.next().unwrap_or_default()),
                Some('d' | 'i' | 'u') => {
                    let number = values.next().unwrap_or("0");
                    let is_plain = number == "0" || !number.starts_with('0');
                    let number: i64 = number.parse().ok().filter(|_| is_plain)?;
                    text.push_str(&number.to_string());
                }
                // `%%`
                None => {
                    text.push('%');
                    text.push_str(&unescaped(pieces.next()?)?);
                    continue;
                }
                Some(_) => return None,
            }
            text.push_str(&unescaped(&piece[1..])?);
        }
        if values.peek().is_none() || values.len() == left {
            return Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_shell_prints_alike_is_known() {
        for (words, expected) in [
            (vec!["echo", "5"], Some("5")),
            (vec!["echo", "-n", "5", "6"], Some("5 6")),
            (vec!["echo", "-1"], Some("-1")),
            (vec!["echo", "--", "5"], Some("-- 5")),
            (vec!["echo"], Some("")),
            (vec!["echo", "-e", "5"], None),
            (vec!["echo", "-n", "-n", "5"], None),
            (vec!["echo", "5\\n"], None),
            (vec!["/bin/echo", "-e", "5\\n"], Some("5\n")),
            (vec!["printf", "5"], Some("5")),
            (vec!["printf", "5\\n"], Some("5\n")),
            (vec!["/usr/bin/printf", "%s\\n", "5"], Some("5\n")),
            (vec!["printf", "--", "%d", "5"], Some("5")),
            (vec!["printf", "%s %s\\n", "5", "6", "7"], Some("5 6\n7 \n")),
            (vec!["printf", "%d"], Some("0")),
            (vec!["printf", "5", "6"], Some("5")),
            (vec!["printf", "5%%6"], Some("5%6")),
            (vec!["printf", "%d", "010"], None),
            (vec!["printf", "%d", "x"], None),
            (vec!["printf", "%5d", "5"], None),
            (vec!["printf", "\\065"], None),
            (vec!["printf", "-v", "N", "5"], None),
            (vec!["seq", "5"], None),
        ] {
            let known: Vec<Option<&str>> = words.iter().copied().map(Some).collect();
            let found = printed(&known, Dialect::Posix);
            assert_eq!(found.as_deref(), expected, "{words:?}");
        }
        assert_eq!(printed(&[Some("echo"), None], Dialect::Bash), None);
    }

    #[test]
    fn what_bash_alone_prints_is_known_where_bash_runs() {
        for (words, expected) in [
            (["-e", "5\\n"], Some("5\n")),
            (["-ne", "5"], Some("5")),
            (["-eE", "5\\n"], Some("5\\n")),
            (["-n", "-n"], Some("")),
            (["-e", "\\x35"], None),
            (["5\\n", "6"], Some("5\\n 6")),
        ] {
            let known = [Some("echo"), Some(words[0]), Some(words[1])];
            assert_eq!(
                printed(&known, Dialect::Bash).as_deref(),
                expected,
                "{words:?}"
            );
        }
    }
}
