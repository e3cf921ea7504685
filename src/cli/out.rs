//! What a command prints: results on stdout, everything else on stderr, in the format asked for.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use anstream::ColorChoice;
use serde::Serialize;

use super::args::{Color, Format, Global};
use super::failure::{DONE, Failure, LEFT, NPD_UNKNOWN, UNKNOWN};
use super::writer;
use crate::diagnostic::Place;
use crate::render::{self, salt};

pub(super) use super::writer::{is_interactive, raw};

/// Salt reads all of stdout as one object: what a command tells is gathered here.
static SALT: Mutex<Option<salt::Answer>> = Mutex::new(None);

fn gather(answer: salt::Answer) {
    let mut told = SALT.lock().unwrap_or_else(PoisonError::into_inner);
    *told = Some(match told.take() {
        Some(before) => before.before(answer),
        None => answer,
    });
}

/// Prints what waits for the end of the command.
pub(super) fn end() {
    let mut told = SALT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = told.take() {
        writer::json_line(&answer);
    }
}

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    pub(super) format: Format,
    color: ColorChoice,
    quiet: bool,
    /// Whether to say more.
    pub(super) verbose: bool,
    /// Threads that may read the table; none for as many as cores are idle.
    pub(super) threads: Option<usize>,
}

impl Out {
    /// As the command line asks.
    pub(super) fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Out {
            format: global.format,
            color,
            quiet: global.quiet,
            verbose: global.verbose,
            threads: global.threads.map(Into::into),
        }
    }

    /// For a command line that cannot be parsed.
    pub(super) fn plain(format: Format) -> Self {
        Out {
            format,
            color: ColorChoice::Auto,
            quiet: false,
            verbose: false,
            threads: None,
        }
    }

    /// The same without a word: a live screen is drawn on the terminal. One thread reads, so that
    /// the flows of a sample come in the order of the table.
    pub(super) fn silent(self) -> Self {
        Out {
            quiet: true,
            threads: Some(1),
            ..self
        }
    }

    /// The same for text that a program reads: no line of it is wrapped.
    pub(super) fn unwrapped(self) -> Self {
        let format = match self.format {
            Format::Text => Format::Prometheus,
            other => other,
        };
        Out { format, ..self }
    }

    /// Whether stdout is to be coloured.
    pub(super) fn has_color(self) -> bool {
        writer::has_color(self.color)
    }

    /// Whether results are JSON.
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether somebody watches stderr, on a terminal that can draw over a line.
    pub(super) fn shows_progress(self) -> bool {
        !self.quiet && io::stderr().is_terminal() && !writer::is_dumb()
    }

    /// Whether a person reads the result now.
    pub(super) fn is_watched(self) -> bool {
        self.format == Format::Text && !self.quiet && io::stdout().is_terminal()
    }

    /// Prints a result: the text, or with `--format json` the object. A monitor gets its result
    /// with `--quiet` too.
    pub(super) fn result<T: Serialize>(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> T,
    ) {
        match self.format {
            Format::Json => writer::json(&json()),
            Format::Salt => {
                let result = render::shape::value(&json());
                gather(salt::answer(&result, &text()));
            }
            Format::Text if self.quiet => {}
            Format::Text => writer::stdout(&text(), self.color),
            _ => writer::monitor(&text()),
        }
    }

    /// Prints a note beside the result, for people.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            writer::stderr(&format!("{}\n", render::layout::labelled(text)), self.color);
        }
    }

    /// Prints what a question is about on stderr, where it is asked.
    pub(super) fn question(self, text: &str) {
        writer::stderr(text, self.color);
    }

    /// Prints one line of a text result, as it happens.
    pub(super) fn progress(self, line: &str) {
        if self.format == Format::Text && !self.quiet {
            writer::stdout(&format!("{line}\n"), self.color);
        }
    }

    /// Prints what happens while a command runs: a line of text, or an object on a line.
    pub(super) fn event<T: Serialize>(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> T,
    ) {
        match self.format {
            Format::Json => writer::json_line(&json()),
            _ => self.progress(&text()),
        }
    }

    /// Prints a failure: what went wrong and what to do next. Gives the exit code: monitors have
    /// one for all of them, and read stdout alone.
    pub(super) fn failure(self, failure: &Failure, place: &Place) -> u8 {
        let parts = failure.parts(place);
        if failure.code == DONE {
            self.note(&failure.to_string());
            match self.format {
                Format::Salt => gather(salt::failed(&parts, false)),
                _ => self.result(String::new, || render::outcome::UNCHANGED),
            }
            return DONE;
        }
        match self.format {
            Format::Text | Format::Prometheus | Format::Munin => {
                writer::stderr(&render::failure::text(&parts), self.color);
                failure.code
            }
            Format::Json => {
                writer::json_error(&render::failure::json(&parts, failure.code));
                failure.code
            }
            Format::Salt => {
                writer::stderr(&render::failure::text(&parts), self.color);
                gather(salt::failed(&parts, failure.code == LEFT));
                failure.code
            }
            Format::Nagios => {
                writer::monitor(&render::nagios::unknown(&parts));
                UNKNOWN
            }
            Format::Npd => {
                writer::monitor(&render::npd::unknown(&parts));
                NPD_UNKNOWN
            }
        }
    }
}
