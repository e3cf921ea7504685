//! The only place that writes to stdout and stderr.
//!
//! A closed pipe or a terminal that hung up is not an error: the work goes on, and the exit code
//! says how it ended.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use crate::diagnostic::plain;

/// Prints text for people on stdout.
pub(super) fn stdout(text: &str, color: ColorChoice) {
    let color = choice(color, &io::stdout());
    let stream = AutoStream::new(io::stdout().lock(), color);
    write_to(stream, &plain::for_terminal(text));
}

/// Prints text for people on stderr.
pub(super) fn stderr(text: &str, color: ColorChoice) {
    let color = choice(color, &io::stderr());
    let stream = AutoStream::new(io::stderr().lock(), color);
    write_to(stream, &plain::for_terminal(text));
}

/// Prints what a monitor reads on stdout.
pub(super) fn monitor(text: &str) {
    write_to(io::stdout().lock(), &plain::for_monitor(text));
}

/// Prints JSON on stdout.
pub(super) fn json(json: &serde_json::Value) {
    write_to(
        io::stdout().lock(),
        &plain::for_json(&format!("{json:#}\n")),
    );
}

/// Prints JSON on one line of stdout.
pub(super) fn json_line(json: &serde_json::Value) {
    write_to(io::stdout().lock(), &plain::for_json(&format!("{json}\n")));
}

/// Prints JSON on one line of stderr.
pub(super) fn json_error(json: &serde_json::Value) {
    write_to(io::stderr().lock(), &plain::for_json(&format!("{json}\n")));
}

/// Prints text that is itself the result, such as a profile or a script: byte for byte into a file
/// or pipe.
pub(super) fn raw(text: &str) {
    if io::stdout().is_terminal() {
        write_to(io::stdout().lock(), &plain::for_terminal(text));
    } else {
        write_to(io::stdout().lock(), text);
    }
}

/// Whether somebody can answer a question: stdin and stderr are both a terminal.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn choice(color: ColorChoice, stream: &impl IsTerminal) -> ColorChoice {
    match color {
        ColorChoice::Auto if !stream.is_terminal() || no_color() => ColorChoice::Never,
        ColorChoice::Auto => ColorChoice::Always,
        choice => choice,
    }
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
