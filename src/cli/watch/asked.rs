//! What cannot be watched, and how often it is read.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::read::clock;
use crate::cli::args::{Global, Watch as Args};
use crate::cli::change;
use crate::cli::failure::{FAILED, Failure};
use crate::cli::out::{self, Out};

pub(super) fn refuse(args: &Args, global: &Global, out: Out) -> Result<(), Failure> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with watch")
            .hint("an image has no running kernel, and so no table"));
    }
    if out.is_json() {
        return Err(Failure::usage("watch is for people: it has no JSON")
            .hint("cttune top --json, cttune metrics --json, cttune check --json"));
    }
    let has_terminal = out::is_interactive() && io::stdout().is_terminal();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    match (args.once, has_terminal, is_dumb) {
        (true, ..) | (_, true, false) => Ok(()),
        (_, true, true) => Err(
            Failure::new(FAILED, "this terminal cannot move its cursor (TERM)")
                .hint("cttune top --watch repeats plain text"),
        ),
        (_, false, _) => Err(Failure::new(FAILED, "there is no terminal to watch on")
            .hint("--once prints one frame; cttune top --watch repeats plain text")),
    }
}

/// What stands between two listings of `top --watch`.
pub(in crate::cli) fn divider() -> String {
    format!("\n{}", clock())
}

/// `500ms`, or a time as everywhere else.
pub(in crate::cli) fn interval(text: &str) -> Result<Duration, Failure> {
    const SHORTEST: Duration = Duration::from_millis(200);
    let millis = text
        .strip_suffix("ms")
        .and_then(|number| number.parse().ok());
    let time = match millis {
        Some(millis) => Duration::from_millis(millis),
        None => change::duration("--interval", text)?,
    };
    if time < SHORTEST {
        return Err(
            Failure::usage(format!("--interval {text}: that is too short"))
                .hint("200ms is the shortest"),
        );
    }
    Ok(time)
}
