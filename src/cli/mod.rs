//! What the operator types: one short file a command, the prompts, the one writer.
//!
//! In: the command line. Out: an exit code; results on stdout, everything else on stderr.
//! Rule: this is the only room that prints and prompts, and the only one that knows exit codes.

mod apply;
mod args;
mod change;
mod check;
mod completions;
mod confirm;
mod current;
mod deadline;
mod deep;
mod expire;
mod failure;
mod history;
mod interrupted;
mod load;
mod metrics;
mod mistaken;
mod out;
mod pending;
mod place;
mod plan;
mod profile;
mod profile_edit;
mod progress;
mod prompt;
mod rates;
mod rollback;
mod sandbox;
mod select;
mod session;
mod suggest;
mod terminal;
mod top;
mod walk;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

use self::args::{Cli, Command, Format, Global};
use self::failure::{FAILED, Failure, SANDBOX, UNKNOWN, USAGE};
use self::out::Out;
use crate::diagnostic::{Hint, Place};
use crate::kernel::{netns, processes};

/// Runs the command line and gives the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return answer_without_command(&error, &arguments),
    };
    let out = Out::new(&cli.global);
    processes::survive_size_limit();
    let own_failure = match cli.command {
        Command::Sandbox(_) | Command::SandboxInside(_) => SANDBOX,
        _ => FAILED,
    };
    let ran = has_format(&cli).and_then(|()| in_namespace(&cli, out));
    match ran {
        Ok(code) => code,
        Err(error) => {
            let failure = Failure::from_error(own_failure, error);
            out.failure(&failure, &place::of(&cli.global))
        }
    }
}

/// Help and version go to stdout and are no error; anything else is a wrong command line.
fn answer_without_command(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let format = asked_format(arguments).unwrap_or(Format::Text);
    if error.use_stderr() && matches!(format, Format::Json | Format::Nagios) {
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
        (true, _) => USAGE,
        (false, _) => 0,
    }
}

/// The format that is asked for on a command line that cannot be parsed; of several that of
/// Nagios, since whoever reads its exit codes understands no other.
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
    let of_nagios = asked.iter().find(|format| **format == Format::Nagios);
    of_nagios.or(asked.last()).copied()
}

/// Refuses a format that another command has.
fn has_format(cli: &Cli) -> anyhow::Result<()> {
    let owner = match (cli.global.format, &cli.command) {
        (Format::Text | Format::Json, _)
        | (Format::Nagios, Command::Check(_))
        | (Format::Prometheus | Format::Munin, Command::Metrics(_)) => return Ok(()),
        (Format::Nagios, _) => "check",
        (Format::Prometheus | Format::Munin, _) => "metrics",
    };
    Err(Failure::usage("this command does not have that format")
        .hint(format!("it belongs to `cttune {owner}`"))
        .into())
}

/// Runs the command in the namespace that `--netns` names, or here.
fn in_namespace(cli: &Cli, out: Out) -> anyhow::Result<u8> {
    let Some(name) = &cli.global.netns else {
        return dispatch(cli, out);
    };
    if cli.global.root.is_some() {
        return Err(Failure::usage("--root cannot go with --netns")
            .hint("--root is about files alone, --netns about a running kernel alone")
            .into());
    }
    if matches!(cli.command, Command::Sandbox(_) | Command::SandboxInside(_)) {
        return Err(Failure::usage(
            "sandbox makes namespaces of its own: --netns cannot go with it",
        )
        .into());
    }
    // What cannot go together is told before the namespace is looked for.
    let only = match &cli.command {
        Command::Plan(plan) => plan.planning.only,
        Command::Apply(apply) => apply.planning.only,
        _ => None,
    };
    place::scope(&cli.global, only, false)?;
    let spec: netns::Spec = name
        .parse()
        .map_err(|error: netns::SpecError| Failure::usage(error.to_string()))?;
    let ran = netns::run_in(&spec, || dispatch(cli, out));
    ran.map_err(|error| Failure::of(FAILED, &error))?
}

fn dispatch(cli: &Cli, out: Out) -> anyhow::Result<u8> {
    let global: &Global = &cli.global;
    interrupted::tell(cli, out);
    match &cli.command {
        Command::Check(check) => check::run(check, global, out),
        Command::Plan(plan) => plan::run(plan, global, out),
        Command::Apply(apply) => apply::run(apply, global, out),
        Command::Confirm(args) => confirm::run(args, global, out),
        Command::Rollback(args) => rollback::run(args, global, out),
        Command::History(args) => history::run(args, global, out),
        Command::WatchPending(args) => confirm::watch(args),
        Command::Expire(args) => expire::run(args, global, out),
        Command::Top(top) => top::run(top, global, out),
        Command::Metrics(metrics) => metrics::run(metrics, global, out),
        Command::Profile(profile) => profile::run(&profile.command, global, out),
        Command::Sandbox(sandbox) => sandbox::run(sandbox, global),
        Command::SandboxInside(inside) => sandbox::run_inside(inside, out),
        Command::Completions(completions) => Ok(completions::run(completions)),
    }
}
