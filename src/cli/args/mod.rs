//! What can be typed: the clap types, one file for each group of commands.
//!
//! In: the command line. Out: typed options. Completions, manual pages and help are made from it.
//! Rule: nothing here acts. The first line of an option's help fits beside it in 80 columns and is
//! all that `-h` shows; what follows is for `--help` and the manual page.

mod change;
mod check;
mod deferred;
mod flows;
mod forecast;
mod guard;
#[cfg(test)]
mod pages;
mod profile;
mod sandbox;
mod watch;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::change::{
    Apply, Confirm, History, Only, Plan, Planning, Rollback, WatchPending,
};
pub(crate) use self::check::{Check, FailOn};
pub(crate) use self::deferred::Deferred;
pub(crate) use self::flows::{Changing, Expire, Flows, Kill, Metrics, Mode, Request, Top};
pub(crate) use self::forecast::{Fleet, Forecast, Report};
pub(crate) use self::guard::Guard;
pub(crate) use self::profile::{DesiredOptions, ExportTo, Named, Profile, ProfileCommand};
pub(crate) use self::sandbox::{Complete, Completions, Sandbox, SandboxInside, Shell};
pub(crate) use self::watch::Watch;

/// What the short help of every command ends with.
const MORE: &str = "\
Global options: --netns --root --format --json --color -q -v
--help explains every option and shows examples.";

/// Tunes the Linux connection-tracking table and repairs one that is filling up.
#[derive(Debug, Parser)]
#[command(
    name = "cttune",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    about,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true,
    // Without empty lines around the usage: a screen has 24 lines.
    help_template = "{about-with-newline}{usage-heading} {usage}\n{all-args}{after-help}",
    after_long_help = "\
Start with `cttune check`: it takes milliseconds and changes nothing.
Try everything safely in a private shell: `cttune sandbox -- bash`.

  cttune check                        is the table healthy?
  cttune top                          who fills it?
  cttune forecast                     what would a shorter timeout do?
  cttune plan campus-fw               what would change?
  cttune apply campus-fw              change it, now and after every reboot
  cttune expire                       shorten the flows that exist already
  cttune kill --match src=10.0.0.5    end the flows that you name
  cttune rollback                     undo the last change

Exit codes: 0 done or nothing to do; 1 failed or refused, nothing was changed;
2 there are differences; 3 failed and something is left, the message says what;
64 wrong command line."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
    // Hidden in the short help, which has to fit the screen.
    /// Print help; -h is a summary
    #[arg(long, short, global = true, action = ArgAction::Help, hide_short_help = true)]
    help: Option<bool>,
    /// Print the version
    #[arg(long, short = 'V', action = ArgAction::Version, hide_short_help = true)]
    version: Option<bool>,
}

impl Cli {
    /// One spelling of what can be typed in two ways.
    #[must_use]
    pub(crate) fn in_one_spelling(mut self) -> Self {
        if self.global.json {
            self.global.format = Format::Json;
        }
        match &mut self.command {
            Command::Check(check) => {
                let check: &mut Check = check;
                check.desired.or_named(&mut check.named);
            }
            Command::Plan(plan) => plan.planning.in_one_spelling(),
            Command::Apply(apply) => apply.planning.in_one_spelling(),
            _ => {}
        }
        self
    }
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Work in another network namespace
    ///
    /// NAME is one of `ip netns`, PATH a file such as /proc/1234/ns/net. No
    /// file is written then; max, buckets and expect_max are read-only there.
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "NAME|PATH|pid:PID"
    )]
    pub(crate) netns: Option<String>,
    /// Work on the files below DIR instead of on this system
    ///
    /// For an image or a chroot. The running kernel is not changed.
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Print the result in this format
    #[arg(long, global = true, hide_short_help = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// The same as --format json
    #[arg(long, global = true, hide_short_help = true, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Use colour; NO_COLOR is respected
    #[arg(long, global = true, hide_short_help = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Read the table with at most N threads
    ///
    /// Without it two read a large table, where a core is idle. Other threads
    /// change nothing.
    #[arg(long, global = true, hide_short_help = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Print only errors
    #[arg(
        long,
        short,
        global = true,
        hide_short_help = true,
        conflicts_with = "verbose"
    )]
    pub(crate) quiet: bool,
    /// Print more: sources, reasons, and values that do not differ
    #[arg(long, short, global = true, hide_short_help = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; `metrics` prints the Prometheus format
    Text,
    /// One JSON object; errors are JSON on stderr
    Json,
    /// One line and the exit codes of a Nagios plugin (`check` only)
    Nagios,
    /// One line and the exit codes of node-problem-detector (`check` only)
    Npd,
    /// The text format of Prometheus (`metrics` only)
    Prometheus,
    /// The answers of a munin plugin (`metrics` only)
    Munin,
    /// The answer of a stateful `cmd.run` of Salt (`plan`, and what changes something)
    Salt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the table's health and what differs from the profile
    #[command(alias = "status")]
    Check(Deferred<Check>),
    /// Show what apply would change, step by step; change nothing
    Plan(Deferred<Plan>),
    /// Apply a profile now and after every reboot
    Apply(Deferred<Apply>),
    /// Keep a pending change of `apply --confirm-within`
    Confirm(Deferred<Confirm>),
    /// Undo what apply changed
    #[command(aliases = ["undo", "revert"])]
    Rollback(Deferred<Rollback>),
    /// List the changes of apply and rollback
    #[command(alias = "log")]
    History(Deferred<History>),
    /// Shorten existing flows to the current timeouts
    Expire(Deferred<Expire>),
    /// End the flows that you name
    Kill(Deferred<Kill>),
    /// Keep the table below a mark by ending flows that were watched
    Guard(Deferred<Guard>),
    /// Show who fills the table: addresses, ports, protocols, states
    Top(Deferred<Top>),
    /// Watch the table on a live screen
    Watch(Deferred<Watch>),
    /// Show what other timeouts would do, and how the table ages
    Forecast(Deferred<Forecast>),
    /// Write one report: health, who fills the table, forecast, plan
    Report(Deferred<Report>),
    /// Show many hosts' checks in one table
    Fleet(Deferred<Fleet>),
    /// Print numbers for Prometheus or munin, or as JSON
    Metrics(Deferred<Metrics>),
    /// List, show, compare, edit, capture or suggest profiles
    #[command(alias = "profiles")]
    Profile(Deferred<Profile>),
    /// Try cttune safely: run a command with a private, simulated table
    Sandbox(Deferred<Sandbox>),
    /// Print the completion script for a shell
    Completions(Deferred<Completions>),
    /// Says what can come next on a command line.
    #[command(hide = true)]
    Complete(Deferred<Complete>),
    /// Undoes a pending change that nobody confirms.
    #[command(hide = true)]
    WatchPending(Deferred<WatchPending>),
    /// Runs as the first process in the namespaces of `sandbox`.
    #[command(hide = true)]
    SandboxInside(Deferred<SandboxInside>),
}
