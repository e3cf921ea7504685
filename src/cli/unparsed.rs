//! Command lines that cannot be parsed: help, version, and mistakes.

use std::ffi::OsString;

use clap::ValueEnum;
use clap::error::ErrorKind;

use super::args::Format;
use super::failure::{Failure, NPD_UNKNOWN, UNKNOWN, USAGE};
use super::out::Out;
use crate::diagnostic::{Hint, Place};

/// Help and version go to stdout and are no error; anything else is a wrong command line.
pub(super) fn answer(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let format = asked_format(arguments).unwrap_or(Format::Text);
    if error.use_stderr() && (format == Format::Json || is_plugin(format)) {
        let text = error.render().to_string();
        let told: Vec<&str> = text
            .lines()
            .take_while(|line| !line.starts_with("Usage: ") && !line.starts_with("For more "))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let told = told.join("\n");
        let message = match error.kind() {
            // clap's list has the hidden ones too.
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "a command is missing"
            }
            _ => told.strip_prefix("error: ").unwrap_or(&told),
        };
        let failure = Failure::usage(message).hint(Hint::cttune("--help").to("see what there is"));
        return Out::plain(format).failure(&failure, &Place::default());
    }
    // clap's own printing ends quietly where nobody reads.
    let _ = error.print();
    match (error.use_stderr(), format) {
        // A monitor whose command prints this page measures nothing.
        (_, Format::Nagios) => UNKNOWN,
        (_, Format::Npd) => NPD_UNKNOWN,
        (true, _) => USAGE,
        (false, _) => 0,
    }
}

/// The format asked for on a command line that cannot be parsed. Of several a monitor's: it
/// understands no other exit codes.
fn asked_format(arguments: &[OsString]) -> Option<Format> {
    let own = arguments.iter().take_while(|one| *one != "--");
    let own: Vec<&str> = own.filter_map(|one| one.to_str()).collect();
    let inline = own.iter().filter_map(|one| one.strip_prefix("--format="));
    let apart = own.windows(2).filter_map(|pair| match pair {
        ["--format", format] => Some(*format),
        _ => None,
    });
    let asked = inline.chain(apart);
    let asked = asked.filter_map(|format| Format::from_str(format, false).ok());
    let asked: Vec<Format> = asked.collect();
    let monitors = asked.iter().find(|format| is_plugin(**format));
    monitors.or(asked.last()).copied()
}

fn is_plugin(format: Format) -> bool {
    matches!(format, Format::Nagios | Format::Npd)
}
