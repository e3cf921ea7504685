//! The only place that writes to stdout and stderr.
//!
//! A closed pipe or a terminal that hung up is not an error: the work goes on, and the exit code
//! says how it ended.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use anstream::{AutoStream, ColorChoice};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::diagnostic::plain;
use crate::render::layout::{Screen, lay_out};

/// Prints text for people on stdout.
pub(super) fn stdout(text: &str, color: ColorChoice) {
    let color = choice(color, &io::stdout());
    let text = lay_out(&plain::for_terminal(text), screen(&io::stdout()));
    write_to(AutoStream::new(io::stdout().lock(), color), &text);
}

/// Prints text for people on stderr.
pub(super) fn stderr(text: &str, color: ColorChoice) {
    let color = choice(color, &io::stderr());
    let text = lay_out(&plain::for_terminal(text), screen(&io::stderr()));
    write_to(AutoStream::new(io::stderr().lock(), color), &text);
}

/// What text is laid out for: COLUMNS, or the terminal's width; else a sentence is one line, and a
/// table has the usual width.
pub(super) fn screen(stream: &impl AsFd) -> Screen {
    const NARROWEST: usize = 20;
    let set = std::env::var("COLUMNS").ok();
    let set = set.and_then(|columns| columns.parse().ok());
    let own = || Some(usize::from(tcgetwinsize(stream).ok()?.ws_col));
    let width = set.or_else(own).filter(|width| *width > 0);
    Screen {
        width: width.map_or(Screen::USUAL.width, |width| width.max(NARROWEST)),
        is_utf8: is_utf8(),
        wraps: width.is_some(),
    }
}

/// As the locale says; where none is set, a terminal of today knows UTF-8.
fn is_utf8() -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .filter(|value| !value.is_empty());
    let locale = set
        .next()
        .map(|value| value.to_string_lossy().to_lowercase());
    locale.is_none_or(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}

/// Prints what a monitor reads on stdout.
pub(super) fn monitor(text: &str) {
    write_to(io::stdout().lock(), &plain::for_monitor(text));
}

/// Prints JSON on stdout.
pub(super) fn json(json: &impl Serialize) {
    // Much faster than the Display of a tree of values.
    let mut text = serde_json::to_string_pretty(json).unwrap_or_default();
    text.push('\n');
    write_to(io::stdout().lock(), &plain::for_json(&text));
}

/// Prints JSON on one line of stdout.
pub(super) fn json_line(json: &impl Serialize) {
    write_to(io::stdout().lock(), &plain::for_json(&line(json)));
}

/// Prints JSON on one line of stderr.
pub(super) fn json_error(json: &impl Serialize) {
    write_to(io::stderr().lock(), &plain::for_json(&line(json)));
}

fn line(json: &impl Serialize) -> String {
    serde_json::to_string(json).unwrap_or_default() + "\n"
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

/// Whether somebody may still read stdout: a pipe that nobody reads has an error.
pub(super) fn is_read() -> bool {
    let stdout = io::stdout();
    let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let is_closed = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    let polled = poll(&mut ready, PollTimeout::ZERO);
    polled.is_err()
        || ready
            .iter()
            .all(|one| !one.revents().is_some_and(|one| one.intersects(is_closed)))
}

/// Whether stdout is to be coloured.
pub(super) fn has_color(color: ColorChoice) -> bool {
    choice(color, &io::stdout()) != ColorChoice::Never
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
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb()
}

/// A terminal that can only be written on, line by line.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes as far as somebody reads: EPIPE, EIO of a terminal that hung up, and a full disk behind
/// a redirection change nothing about what was done.
fn write_to(mut stream: impl Write, text: &str) {
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
}
