//! Mistakes of a profile as rustc shows those of a program: place, line, caret, help.

use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::layout::Screen;
use crate::profile::{Mistake, Position};
use crate::tunable::plural;

const MARK: &str = "\u{feff}";
/// Mistakes that are shown; nobody reads more of them in one run.
pub(super) const SHOWN: usize = 100;
/// Bytes of the lines that are shown of one mistake; of longer ones only the place is shown.
const LONGEST: usize = 10_000;

/// Renders the mistakes, a blank line between two; `styled` asks for ANSI colours.
///
/// Nothing that the profile says reaches a terminal as a control character.
pub(crate) fn mistakes(mistakes: &[Mistake], styled: bool) -> String {
    let renderer = if styled {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    // Of a longer line the part around the mistake is shown: a caret needs its line in one piece.
    let renderer = renderer.term_width(Screen::USUAL.width);
    let shown = mistakes.iter().take(SHOWN);
    let mut shown: Vec<String> = shown.map(|mistake| render(&renderer, mistake)).collect();
    if let Some(more) = mistakes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        shown.push(format!("and {}", plural(more, "more mistake")));
    }
    shown.join("\n\n")
}

fn render(renderer: &Renderer, mistake: &Mistake) -> String {
    let group = Level::ERROR.primary_title(mistake.title.as_str());
    let span = &mistake.span;
    let also = mistake.also.as_ref().map(|(other, _)| other);
    let both = also.map(|other| span.start.min(other.start)..span.end.max(other.end));
    let is_short = |span: &Range<usize>| lines(mistake, span).len() <= LONGEST;
    let group = match both.filter(is_short) {
        Some(both) => group.element(snippet(mistake, &lines(mistake, &both), also)),
        None if is_short(span) => group.element(snippet(mistake, &lines(mistake, span), None)),
        None => {
            let Position { line, column } = mistake.position();
            let origin = Origin::path(mistake.source.name.as_str());
            group.element(origin.line(line).char_column(column))
        }
    };
    let help = mistake.help.as_deref().map(normalize_untrusted_str);
    let group = help.into_iter().fold(group, |group, help| {
        group.element(Level::HELP.message(help))
    });
    renderer.render(&[group])
}

/// The whole lines that a span is in.
fn lines(mistake: &Mistake, span: &Range<usize>) -> Range<usize> {
    let text = mistake.source.text.as_str();
    let before = text.get(..span.start).unwrap_or_default();
    let behind = text.get(span.end..).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = behind
        .find('\n')
        .map_or(text.len(), |newline| span.end + newline);
    start..end
}

fn snippet<'a>(
    mistake: &'a Mistake,
    lines: &Range<usize>,
    also: Option<&Range<usize>>,
) -> Snippet<'a, Annotation<'a>> {
    let text = mistake.source.text.as_str();
    let excerpt = text.get(lines.clone()).unwrap_or_default();
    // A byte order mark takes no column on a screen.
    let marked = if excerpt.starts_with(MARK) {
        MARK.len()
    } else {
        0
    };
    let start = lines.start + marked;
    let shown =
        |span: &Range<usize>| span.start.saturating_sub(start)..span.end.saturating_sub(start);
    let before = text.get(..lines.start).unwrap_or_default();
    let primary = AnnotationKind::Primary.span(shown(&mistake.span));
    let snippet = Snippet::source(excerpt.get(marked..).unwrap_or_default())
        .path(mistake.source.name.as_str())
        .line_start(before.matches('\n').count() + 1)
        .annotation(primary.label(mistake.label.as_str()));
    match (also, &mistake.also) {
        (Some(other), Some((_, label))) => {
            let context = AnnotationKind::Context.span(shown(other));
            snippet.annotation(context.label(label.as_str()))
        }
        _ => snippet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, parse};

    const THIRTEEN: &str = r#"descripton = "Campus firewall"
role = "frewall"
[sysctl]
nf_conntrack_tcp_timeout_establishd = "2h4m"
nf_conntrack_udp_timeout = "10"
nf_conntrack_udp_timeout_stream = "5h10min"
nf_conntrack_icmp_timeout =
nf_conntrack_acct = 2
nf_conntrack_frag6_high_thresh = "8MB"
nf_conntrack_max = { atleast = 1048576 }
max = 5
net.core.somaxconn = 4096
[expire]
mode = "clam"
keep = ["dst=10.1.0.0/16,dprt=5432"]
"#;

    fn rendered(text: &str, styled: bool) -> String {
        mistakes(&parse(&Source::new("site.toml", text)).unwrap_err(), styled)
    }

    #[test]
    fn thirteen_mistakes_are_shown_at_thirteen_places() {
        let shown = rendered(THIRTEEN, false);
        assert_eq!(shown.matches("--> site.toml:").count(), 13);
        let expected = r#"
        error: a profile has no `descripton`
         --> site.toml:1:1
          |
        1 | descripton = "Campus firewall"
          | ^^^^^^^^^^ unknown
          |
          = help: did you mean `description`?

        error: no role is called `frewall`
         --> site.toml:2:8
          |
        2 | role = "frewall"
          |        ^^^^^^^^^ unknown
          |
          = help: did you mean `firewall`?

        error: no conntrack sysctl is called `nf_conntrack_tcp_timeout_establishd`
         --> site.toml:4:1
          |
        4 | nf_conntrack_tcp_timeout_establishd = "2h4m"
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ unknown key
          |
          = help: did you mean `nf_conntrack_tcp_timeout_established`?

        error: a number in quotes
         --> site.toml:5:28
          |
        5 | nf_conntrack_udp_timeout = "10"
          |                            ^^^^ this is text
          |
          = help: write 10 or "10s"

        error: no unit of time is called `min`
         --> site.toml:6:40
          |
        6 | nf_conntrack_udp_timeout_stream = "5h10min"
          |                                        ^^^ unknown unit
          |
          = help: write 10m

        error: a value is missing
         --> site.toml:7:28
          |
        7 | nf_conntrack_icmp_timeout =
          |                            ^ nothing here

        error: a switch is on or off
         --> site.toml:8:21
          |
        8 | nf_conntrack_acct = 2
          |                     ^ neither
          |
          = help: write true or false, or 1 or 0

        error: no unit of bytes is called `MB`
         --> site.toml:9:36
          |
        9 | nf_conntrack_frag6_high_thresh = "8MB"
          |                                    ^^ unknown unit
          |
          = help: write 8MiB for 8388608 bytes, or 8000000

        error: a setting has no `atleast`
          --> site.toml:10:22
           |
        10 | nf_conntrack_max = { atleast = 1048576 }
           |                      ^^^^^^^ unknown field
           |
           = help: did you mean `at-least`?

        error: nf_conntrack_max is set twice
          --> site.toml:11:1
           |
        10 | nf_conntrack_max = { atleast = 1048576 }
           | ---------------- the first time
        11 | max = 5
           | ^^^ the second time

        error: `net.core.somaxconn` is not a conntrack sysctl: cttune sets keys of net.netfilter alone
          --> site.toml:12:10
           |
        12 | net.core.somaxconn = 4096
           |          ^^^^^^^^^ unknown key
           |
           = help: keep it in a file of your own in sysctl.d

        error: no mode is called `clam`
          --> site.toml:14:8
           |
        14 | mode = "clam"
           |        ^^^^^^ unknown
           |
           = help: did you mean `clamp`?

        error: no term is called `dprt`
          --> site.toml:15:26
           |
        15 | keep = ["dst=10.1.0.0/16,dprt=5432"]
           |                          ^^^^ this part
           |
           = help: did you mean `dport`?
        "#;
        let lines = |text: &str| -> Vec<String> {
            text.trim()
                .lines()
                .map(|line| line.trim_end().to_owned())
                .collect()
        };
        let expected = expected.replace("\n        ", "\n");
        assert_eq!(lines(&shown), lines(&expected));
    }

    #[test]
    fn the_place_is_the_same_for_people_and_machines() {
        for text in [
            THIRTEEN,
            "\u{feff}é = 1\r\nrole = \"x\"\r\n",
            "[sysctl]\n\tmax =\t\"é1\"",
        ] {
            let found = parse(&Source::new("site.toml", text)).unwrap_err();
            for mistake in found {
                let place = mistake.position();
                let arrow = format!("--> site.toml:{}:{}\n", place.line, place.column);
                let shown = mistakes(std::slice::from_ref(&mistake), false);
                assert!(shown.contains(&arrow), "{arrow}{shown}");
            }
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_place_is_told() {
        let long = "x".repeat(LONGEST);
        for (text, places) in [
            (format!("odd = \"{long}\"\n"), ["site.toml:1:1"]),
            (
                format!("[sysctl]\nmax = {{ why = \"{long}\", at-lest = 1 }}\n"),
                ["site.toml:2:10019"],
            ),
            // The first of two is too far away.
            (
                format!("[sysctl]\nmax = 5\n#{long}\nnf_conntrack_max = 6\n"),
                ["site.toml:4:1"],
            ),
        ] {
            let shown = rendered(&text, false);
            for place in places {
                assert!(
                    shown.contains(&format!("--> {place}\n")) || shown.ends_with(place),
                    "{place}: {shown}"
                );
            }
            assert!(shown.len() < 500, "{shown}");
        }
    }

    #[test]
    fn a_page_of_mistakes_ends_with_how_many_more_there_are() {
        for (number, last) in [
            (SHOWN, None),
            (SHOWN + 1, Some("and 1 more mistake")),
            (SHOWN + 1200, Some("and 1,200 more mistakes")),
        ] {
            let text = (0..number)
                .map(|index| format!("odd{index} = 1\n"))
                .collect::<String>();
            let shown = rendered(&text, false);
            assert_eq!(shown.matches("--> site.toml:").count(), SHOWN);
            assert_eq!(
                shown.lines().last().filter(|line| line.starts_with("and")),
                last
            );
        }
    }

    #[test]
    fn colour_is_asked_for_and_a_profile_cannot_send_its_own() {
        let hostile = "role = '\u{1b}[31mx'\n[sysctl]\n\"\u{1b}]0;x\u{7}\" = 1\n";
        assert!(!rendered(hostile, false).contains(['\u{1b}', '\u{7}']));
        assert!(rendered(THIRTEEN, true).contains("\u{1b}["));
    }
}
