//! Options that cannot go together, refused before anything is read.

use std::ffi::OsString;

use clap::CommandFactory;

use super::args::{Check, Cli, Command, Format, Global};
use super::failure::{FAILED, Failure};
use super::out::Out;
use crate::diagnostic::Hint;

/// The commands that have a format; all have text and JSON.
pub(super) fn owners(format: Format) -> Option<&'static [&'static str]> {
    match format {
        Format::Text | Format::Json => None,
        Format::Nagios | Format::Npd => Some(&["check"]),
        Format::Prometheus | Format::Munin => Some(&["metrics"]),
        Format::Salt => Some(&["apply", "plan", "confirm", "rollback", "expire", "kill"]),
    }
}

/// Refuses a format that another command has.
pub(super) fn format(cli: &Cli, arguments: &[OsString]) -> Result<(), Failure> {
    let Some(owners) = owners(cli.global.format) else {
        return Ok(());
    };
    let matches = Cli::command().try_get_matches_from(arguments).ok();
    let name = matches.as_ref().and_then(clap::ArgMatches::subcommand_name);
    if name.is_some_and(|name| owners.contains(&name)) {
        return Ok(());
    }
    Err(Failure::usage("this command does not have that format")
        .hint(format!("it belongs to: cttune {}", owners.join(", "))))
}

/// Refuses to begin with so little memory that a command may be ended in the middle of its work.
pub(super) fn little_memory() -> Result<(), Failure> {
    const NEEDED: usize = 8 << 20;
    let mut memory = Vec::<u8>::new();
    match std::hint::black_box(&mut memory).try_reserve_exact(NEEDED) {
        Ok(()) => Ok(()),
        Err(_) => Err(
            Failure::new(FAILED, "less than 8 MiB of memory are left for cttune")
                .hint(Hint::say("raise the limit: ulimit -v unlimited"))
                .unchanged(),
        ),
    }
}

/// Refuses a namespace for what has none.
pub(super) fn netns(cli: &Cli) -> Result<(), Failure> {
    if cli.global.root.is_some() {
        return Err(Failure::usage("--root cannot go with --netns")
            .hint("--root is for files only, --netns for a running kernel only"));
    }
    if matches!(cli.command, Command::Sandbox(_) | Command::SandboxInside(_)) {
        return Err(Failure::usage(
            "sandbox makes its own namespaces: --netns cannot go with it",
        ));
    }
    Ok(())
}

/// Refuses questions to a kernel about an image, and to all namespaces about one.
pub(super) fn check(check: &Check, global: &Global, out: Out) -> Result<(), Failure> {
    let plugin = match out.format {
        Format::Nagios => Some("--format nagios"),
        Format::Npd => Some("--format npd"),
        _ => None,
    };
    let asked = [
        (check.interval.is_some(), "--interval"),
        (check.deep, "--deep"),
        (check.all_netns, "--all-netns"),
    ];
    let asked = asked.into_iter().find(|(is_asked, _)| *is_asked);
    let first = plugin.or(asked.map(|(_, option)| option));
    match (plugin, first) {
        (Some(plugin), _) if check.explain.is_some() => {
            Err(Failure::usage(format!("{plugin} cannot go with --explain")))
        }
        (_, Some(option)) if global.root.is_some() => {
            let failure = Failure::usage(format!("{option} cannot go with --root"));
            Err(failure.hint("an image has no running kernel"))
        }
        _ if check.all_netns && global.netns.is_some() => {
            let failure = Failure::usage("--all-netns cannot go with --netns");
            Err(failure.hint("--netns is about one namespace"))
        }
        _ => Ok(()),
    }
}
