//! The one writer: results to stdout, everything else to stderr, colour where it is wanted.
//!
//! A closed pipe or a terminal that hung up is no error: what is being done goes on, and the exit
//! code says how it ended.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use super::args::{Color, Format, Global};
use super::failure::{Failure, UNKNOWN};
use crate::diagnostic::Place;
use crate::render;

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    format: Format,
    color: ColorChoice,
    quiet: bool,
    /// Whether to say more.
    pub(super) verbose: bool,
}

impl Out {
    /// As the command line wants it.
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
        }
    }

    /// For machines, where the command line cannot be parsed.
    pub(super) fn plain(format: Format) -> Self {
        Out {
            format,
            color: ColorChoice::Never,
            quiet: false,
            verbose: false,
        }
    }

    /// Whether results are JSON.
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether the result is one line for Nagios.
    pub(super) fn is_nagios(self) -> bool {
        self.format == Format::Nagios
    }

    /// Whether somebody watches stderr.
    pub(super) fn shows_progress(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Prints a result: the text, or with `--format json` the object.
    pub(super) fn result(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> serde_json::Value,
    ) {
        match self.format {
            Format::Json => raw(&format!("{:#}\n", json())),
            // What a monitor asks for is its result, however quiet.
            Format::Nagios | Format::Prometheus | Format::Munin => raw(&text()),
            Format::Text if self.quiet => {}
            Format::Text => write_to(
                AutoStream::new(io::stdout().lock(), self.choice(&io::stdout())),
                &text(),
            ),
        }
    }

    /// Says something beside the result, to people alone.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            self.say(&format!("{text}\n"));
        }
    }

    /// Shows what a question is about, on stderr, where it is asked.
    pub(super) fn question(self, text: &str) {
        self.say(text);
    }

    /// One line of a text result, as it happens.
    pub(super) fn progress(self, line: &str) {
        if self.format == Format::Text && !self.quiet {
            write_to(
                AutoStream::new(io::stdout().lock(), self.choice(&io::stdout())),
                &format!("{line}\n"),
            );
        }
    }

    /// Prints a failure: what went wrong and what to do next. Gives the exit code: Nagios has one
    /// for all of them, and reads stdout alone.
    pub(super) fn failure(self, failure: &Failure, place: &Place) -> u8 {
        let parts = failure.parts(place);
        match self.format {
            Format::Text | Format::Prometheus | Format::Munin => {
                self.say(&render::failure::text(&parts));
            }
            Format::Json => {
                let json = render::failure::json(&parts, failure.code);
                write_to(io::stderr().lock(), &format!("{json}\n"));
            }
            Format::Nagios => {
                raw(&render::nagios::unknown(&parts));
                return UNKNOWN;
            }
        }
        failure.code
    }

    /// Writes to stderr, colours stripped where they are not wanted.
    fn say(self, text: &str) {
        write_to(
            AutoStream::new(io::stderr().lock(), self.choice(&io::stderr())),
            text,
        );
    }

    fn choice(self, stream: &impl IsTerminal) -> ColorChoice {
        match self.color {
            ColorChoice::Auto if !stream.is_terminal() || no_color() => ColorChoice::Never,
            ColorChoice::Auto => ColorChoice::Always,
            choice => choice,
        }
    }
}

/// Prints text that is itself the result: a profile, a script.
pub(super) fn raw(text: &str) {
    write_to(io::stdout().lock(), text);
}

/// Whether somebody is there to be asked: stdin and stderr are both a terminal.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// <https://no-color.org>: any value but the empty one; a dumb terminal shows none either.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes as far as somebody reads: EPIPE, EIO of a terminal that hung up, and a full disk behind
/// a redirection change nothing about what was done.
fn write_to(mut stream: impl Write, text: &str) {
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
}
