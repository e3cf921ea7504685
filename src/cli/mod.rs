//! What the operator types: one short file a command, the prompts, the one writer.
//!
//! In: the command line. Out: an exit code; results on stdout, everything else on stderr.
//! Rule: this is the only room that prints and prompts, and the only one that knows exit codes.

mod apply;
mod args;
mod bundle;
mod change;
mod check;
mod complete;
mod completions;
mod confirm;
mod current;
mod deadline;
mod deep;
mod expire;
mod explain;
mod failure;
mod fleet;
mod flows;
mod forecast;
mod guard;
mod history;
mod interrupted;
mod interruptible;
mod kill;
mod load;
mod metrics;
mod mistaken;
mod monitor;
mod out;
mod pending;
mod place;
mod plan;
mod profile;
mod profile_edit;
mod profile_own;
mod progress;
mod prompt;
mod rates;
mod readings;
mod refusals;
mod report;
mod rollback;
mod sandbox;
mod saved;
#[cfg(test)]
mod schemas;
mod select;
mod services;
mod session;
mod suggest;
mod terminal;
mod top;
mod unparsed;
mod walk;
mod watch;
mod writer;

use std::ffi::OsString;

use clap::Parser;

use self::args::{Cli, Command, Format, Global};
use self::failure::{FAILED, Failure, SANDBOX};
use self::out::Out;
use crate::kernel::rights::{self, Needs};
use crate::kernel::seccomp;
use crate::kernel::{netns, processes};

/// Runs the command line and gives the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let code = match Cli::try_parse_from(&arguments) {
        Ok(cli) => run_parsed(&cli.in_one_spelling(), &arguments),
        Err(error) => unparsed::answer(&error, &arguments),
    };
    out::end();
    code
}

fn run_parsed(cli: &Cli, arguments: &[OsString]) -> u8 {
    let out = Out::new(&cli.global);
    processes::survive_size_limit();
    let own_failure = match cli.command {
        Command::Sandbox(_) | Command::SandboxInside(_) => SANDBOX,
        _ => FAILED,
    };
    let ran = refusals::format(cli, arguments)
        .and_then(|()| refusals::little_memory())
        .map_err(anyhow::Error::from)
        .and_then(|()| in_namespace(cli, out));
    match ran {
        Ok(code) => code,
        Err(error) => {
            let failure = Failure::from_error(own_failure, error);
            out.failure(&failure, &place::of(&cli.global))
        }
    }
}

/// Runs the command in the namespace that `--netns` names, or here.
fn in_namespace(cli: &Cli, out: Out) -> anyhow::Result<u8> {
    let Some(name) = &cli.global.netns else {
        return dispatch(cli, out);
    };
    refusals::netns(cli)?;
    // Before the namespace is looked for.
    let planning = match &cli.command {
        Command::Plan(plan) => Some(&plan.planning),
        Command::Apply(apply) => Some(&apply.planning),
        _ => None,
    };
    let scope = |planning| place::scope(&cli.global, planning);
    planning.map(scope).transpose()?;
    let spec: netns::Spec = name
        .parse()
        .map_err(|error: netns::SpecError| Failure::usage(error.to_string()))?;
    let ran = netns::run_in(&spec, || dispatch(cli, out));
    ran.map_err(|error| Failure::of(FAILED, &error))?
}

/// Before anything is read that others wrote. It is done in the namespace of `--netns`: to enter it
/// takes more than most commands need there.
fn give_up_rights(cli: &Cli) {
    let needs = match &cli.command {
        // It makes namespaces of all kinds, and runs a program of the operator.
        Command::Sandbox(_) | Command::SandboxInside(_) => return,
        Command::Metrics(args) if args.textfile.is_none() && !args.all_netns => Needs::READ,
        Command::Metrics(args) if args.textfile.is_none() => Needs::NAMESPACES,
        Command::Completions(_) => Needs::READ,
        Command::Plan(args) if args.out.is_some() => Needs::FILES,
        Command::Check(_) | Command::Plan(_) | Command::Top(_) | Command::History(_) => {
            Needs::NAMESPACES
        }
        Command::Apply(_)
        | Command::Confirm(_)
        | Command::Rollback(_)
        | Command::WatchPending(_) => Needs::CHANGE,
        _ => Needs::FILES,
    };
    let is_monitor = !matches!(
        cli.global.format,
        Format::Text | Format::Json | Format::Salt
    );
    let is_monitor = is_monitor || matches!(cli.command, Command::Metrics(_));
    let runs_no_program = matches!(&cli.command, Command::Guard(args) if !args.installing.install);
    if is_monitor || runs_no_program {
        rights::keep_from_programs();
        seccomp::refuse_rare_calls();
    }
    rights::keep(needs);
    let writes_nothing = |args: &args::Metrics| args.textfile.is_none() && !args.all_netns;
    if matches!(&cli.command, Command::Metrics(args) if writes_nothing(args)) {
        rights::write_no_file();
    }
}

fn dispatch(cli: &Cli, out: Out) -> anyhow::Result<u8> {
    let global: &Global = &cli.global;
    give_up_rights(cli);
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
        Command::Kill(args) => kill::run(args, global, out),
        Command::Guard(args) => guard::run(args, global, out),
        Command::Top(top) => top::run(top, global, out),
        Command::Watch(args) => watch::run(args, global, out),
        Command::Forecast(forecast) => forecast::run(forecast, global, out),
        Command::Report(report) => report::run(report, global, out),
        Command::Fleet(args) => fleet::run(args, global, out),
        Command::Metrics(metrics) => metrics::run(metrics, global, out.unwrapped()),
        Command::Profile(profile) => profile::run(&profile.command, global, out),
        Command::Sandbox(sandbox) => sandbox::run(sandbox, global),
        Command::SandboxInside(inside) => sandbox::run_inside(inside, out),
        Command::Completions(completions) => Ok(completions::run(completions)),
        Command::Complete(words) => Ok(complete::run(words)),
    }
}
