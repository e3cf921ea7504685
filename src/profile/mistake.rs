//! A mistake in a profile and where it is.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::plain::one_line;

/// The text of a profile and the name that people know it by: a path, or `built-in:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What is wrong with a part of a profile, or with a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("{title}")]
pub(crate) struct Wrong {
    pub(crate) title: String,
    /// What stands under the caret.
    pub(crate) label: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
    /// The part of the text that is wrong, where it is not the whole.
    pub(super) part: Option<Range<usize>>,
}

impl Wrong {
    /// As the command line says it: what is wrong, and what to write instead.
    pub(crate) fn in_a_line(self) -> String {
        match self.help {
            Some(help) => format!("{}; {help}", self.title),
            None => self.title,
        }
    }

    pub(super) fn new(title: impl Into<String>, label: impl Into<String>) -> Self {
        Wrong {
            title: title.into(),
            label: label.into(),
            ..Wrong::default()
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn part(mut self, part: Range<usize>) -> Self {
        self.part = Some(part);
        self
    }
}

/// One thing that is wrong in a profile. Prints as `file:line:column: title`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) source: Arc<Source>,
    /// The bytes of the text that are wrong.
    pub(crate) span: Range<usize>,
    pub(crate) title: String,
    pub(crate) label: String,
    pub(crate) help: Option<String>,
    /// Another place that has to do with it, and what is there.
    pub(crate) also: Option<(Range<usize>, String)>,
}

/// A place in a text, as editors count: from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Source {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Where a byte of the text is. A byte order mark is no character of the first line.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Position {
            line: before.matches('\n').count() + 1,
            column: line.trim_start_matches('\u{feff}').chars().count() + 1,
        }
    }

    /// The span, moved and shortened where needed so that it is a piece of the text.
    fn clip(&self, span: Range<usize>) -> Range<usize> {
        let floor = |offset: usize| {
            let mut before = (0..=offset.min(self.text.len())).rev();
            let found = before.find(|at| self.text.is_char_boundary(*at));
            found.unwrap_or_default()
        };
        let start = floor(span.start);
        start..floor(span.end).max(start)
    }
}

impl Mistake {
    pub(crate) fn new(source: &Arc<Source>, span: Range<usize>, wrong: Wrong) -> Self {
        Mistake {
            source: Arc::clone(source),
            span: source.clip(span),
            title: one_line(&wrong.title),
            label: wrong.label,
            help: wrong.help,
            also: None,
        }
    }

    #[must_use]
    pub(crate) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((self.source.clip(span), label.into()));
        self
    }

    pub(crate) fn position(&self) -> Position {
        self.source.position(self.span.start)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position();
        write!(f, "{}:{line}:{column}: {}", self.source.name, self.title)
    }
}

impl std::error::Error for Mistake {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("p", "\u{feff}é = 1\nb = 2");
        for (offset, line, column) in [(0, 1, 1), (3, 1, 1), (5, 1, 2), (10, 2, 1), (99, 2, 6)] {
            assert_eq!(
                source.position(offset),
                Position { line, column },
                "{offset}"
            );
        }
    }

    #[test]
    fn a_span_always_lies_inside_the_text() {
        let source = Arc::new(Source::new("p", "aé"));
        for (span, clipped) in [(0..99, 0..3), (2..2, 1..1), (7..9, 3..3), (2..3, 1..3)] {
            assert_eq!(
                Mistake::new(&source, span.clone(), Wrong::default()).span,
                clipped,
                "{span:?}"
            );
        }
    }

    #[test]
    fn a_mistake_names_file_line_and_column() {
        let source = Arc::new(Source::new("a.toml", "x\ny"));
        let mistake = Mistake::new(&source, 2..3, Wrong::new("odd", "here").help("do not"));
        assert_eq!(mistake.to_string(), "a.toml:2:1: odd");
    }
}
