//! What can be typed: the clap types, free of any action, so that completions and manual pages are
//! made from the same source.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Tunes the Linux connection-tracking table and repairs one that is filling up.
#[derive(Debug, Parser)]
#[command(
    name = "cttune",
    version,
    about,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Start with `cttune check`: it reads a few numbers and changes nothing.
Try everything without risk: `cttune sandbox -- bash`, then `cttune check` in it.

Exit codes: 0 done or nothing to do; 1 failed or refused, nothing was changed;
2 something differs; 3 failed and something is left; 64 wrong command line."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Look at another network namespace: a name of `ip netns`, a path, or
    /// pid:PID. Files are never written then
    #[arg(long, global = true, value_name = "NAME|PATH|pid:PID")]
    pub(crate) netns: Option<String>,
    /// Read and write files below DIR (an image or chroot); the running kernel
    /// is left alone
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// How to print results
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Print errors alone; the exit code tells the rest
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: sources, reasons, and what is in line
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; metrics prints what prometheus would.
    Text,
    /// One JSON object; errors are JSON on stderr.
    Json,
    /// One line, and the exit codes of a plugin; check alone has it.
    Nagios,
    /// The text format of Prometheus; metrics alone has it.
    Prometheus,
    /// The answers of a munin plugin; metrics alone has it.
    Munin,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the table's health, and what differs from a profile
    Check(Check),
    /// Shows what apply would do, step by step, and changes nothing
    Plan(Plan),
    /// Makes a profile hold: now, and after a reboot
    Apply(Apply),
    /// Keeps what `apply --confirm-within` changed
    Confirm(Confirm),
    /// Undoes what apply did
    Rollback(Rollback),
    /// Lists what apply and rollback changed
    History(History),
    /// Brings existing flows under the timeouts that now hold
    Expire(Expire),
    /// Shows who fills the table: flows by address, port, protocol, state
    Top(Top),
    /// Prints numbers for a monitor: Prometheus, munin, JSON
    Metrics(Metrics),
    /// Lists, shows, checks, captures and edits profiles
    Profile(Profile),
    /// Runs a command in private namespaces with a table that is filling up
    Sandbox(Sandbox),
    /// Prints a completion script for a shell
    Completions(Completions),
    /// What takes a change back that nobody confirms.
    #[command(hide = true)]
    WatchPending(WatchPending),
    /// What `sandbox` runs as the first process of its namespaces.
    #[command(hide = true)]
    SandboxInside(SandboxInside),
}

/// Which profile, and what to change in it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DesiredOptions {
    /// A profile: a name that `cttune profile list` shows, or a path. Without
    /// it, what apply last put in force
    #[arg(long, short, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Set one key beside the profile: tcp_timeout_established=2h4m
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `cttune check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads a few dozen numbers and needs no rights; only --deep walks the table.

  cttune check                      health, and drift from what apply put in force
  cttune check --profile campus-fw  drift from this profile
  cttune check --explain max        who sets nf_conntrack_max at the next boot
  cttune check --interval 10s       what is dropped now, and when the table is full
  cttune check --deep               what cannot be evicted, ports of NAT in use
  cttune check --all-netns          which network namespace is near full
  cttune check --format nagios --warn 80% --crit 90%

Exit codes: with a profile 2 exactly when a value drifted, live or persisted;
without one 2 exactly when a critical finding is not accepted.
With --format nagios: 0 fine, 1 a warning or drift, 2 a critical finding, 3 all
trouble, a wrong command line included. What a profile accepts does not count;
with --fail-on critical, warnings do not either.")]
pub(crate) struct Check {
    /// What to compare with.
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Compare with nothing, even if apply put a profile in force
    #[arg(long, conflicts_with_all = ["profile", "set"])]
    pub(crate) no_profile: bool,
    /// Show every line that sets KEY at boot, and who wins for which reader
    #[arg(long, value_name = "KEY", conflicts_with_all = ["profile", "set", "no_profile", "fail_on", "interval", "deep", "all_netns"])]
    pub(crate) explain: Option<String>,
    /// Look twice, with this time between: tells rates, and when the table is full
    #[arg(long, value_name = "TIME")]
    pub(crate) interval: Option<String>,
    /// Walk the table too, or a sample of it: what a full one could not evict,
    /// ports of NAT in use, push connections; timeout policies and flowtables
    #[arg(long)]
    pub(crate) deep: bool,
    /// Look into every network namespace: those that `ip netns` names and those
    /// of processes
    #[arg(long)]
    pub(crate) all_netns: bool,
    /// Exit with 2 also for findings of this severity or worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<FailOn>,
    /// How full a table is worth a warning [default: 80%]
    #[arg(long, value_name = "PERCENT", conflicts_with = "explain")]
    pub(crate) warn: Option<String>,
    /// How full a table is critical [default: 90%]
    #[arg(long, value_name = "PERCENT", conflicts_with = "explain")]
    pub(crate) crit: Option<String>,
}

/// The severities that `--fail-on` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Warnings and critical findings.
    Warning,
    /// Critical findings.
    Critical,
}

/// How much of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// The running kernel.
    Live,
    /// The files that the next boot reads.
    Persist,
}

/// What `plan` and `apply` have in common.
#[derive(Debug, Clone, Args)]
pub(crate) struct Planning {
    /// What to aim at.
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Change the running kernel alone, or the next boot alone
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) only: Option<Only>,
    /// At last bring existing flows under the timeouts, as `cttune expire` does,
    /// with the profile's expire table: clamp, re-age or delete
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option)] // not given, given without a mode, given with one
    pub(crate) expire: Option<Option<Mode>>,
    /// Comment out lines of other files that would beat ours at boot; all
    /// their other bytes stay
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Go on although another file's line beats ours at the next boot
    #[arg(long)]
    pub(crate) allow_overridden: bool,
    /// Go on although max would be lower than the number of entries, which
    /// drops every new flow
    #[arg(long)]
    pub(crate) allow_max_below_count: bool,
}

/// `cttune plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
  cttune plan --profile campus-fw
  cttune plan --profile campus-fw --set udp_timeout=60 --only live

Exit codes: 0 nothing to do, 2 there are steps.")]
pub(crate) struct Plan {
    /// What to plan.
    #[command(flatten)]
    pub(crate) planning: Planning,
}

/// `cttune apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Shows the plan and asks: y carries it out, e chooses single steps. Everything is
tried out before the first write; every value is read back; when a step fails, or
Ctrl-C comes, what was done is put back. `cttune rollback` undoes it later.

  cttune apply --profile campus-fw
  cttune apply --profile campus-fw --adopt --yes     in a script
  cttune apply --profile ./mine.toml --only live     until the next boot
  cttune apply --profile campus-fw --confirm-within 2m   over an SSH session

Exit codes: 0 done or nothing to do; 1 refused or failed, nothing is changed;
3 failed and something is left; 130, 143, 129 stopped by a signal, undone.")]
pub(crate) struct Apply {
    /// What to plan.
    #[command(flatten)]
    pub(crate) planning: Planning,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show the plan as `cttune plan` does, and stop
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Exit with 2 if something was changed
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Change the running kernel alone, and take it back after this time unless
    /// `cttune confirm` is given: 2m, 90s. Files are written by confirm
    #[arg(long, value_name = "TIME", conflicts_with_all = ["dry_run", "only"])]
    pub(crate) confirm_within: Option<String>,
    /// Wait so long for another cttune to finish: 30s
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

/// `cttune confirm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keeps the change that waits for it, and writes its files. After the time is over the
change is gone already, and confirm says so.")]
pub(crate) struct Confirm {
    /// Wait so long for another cttune to finish: 30s
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

/// `cttune rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs nothing but the journal: no profile, no network. Puts values and files back as
they were, but never lowers nf_conntrack_max below what the table holds and a tenth.

  cttune rollback           the last change
  cttune rollback 7         change 7 of `cttune history`
  cttune rollback --to 7    every change after 7, the newest first

Exit codes: 0 done or nothing to do; 1 refused, nothing is changed; 3 something
could not be put back: the message says what.")]
pub(crate) struct Rollback {
    /// Which change; the last one without it
    #[arg(value_name = "ID")]
    pub(crate) id: Option<u64>,
    /// Undo every change after this one
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    pub(crate) to: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Put back also what somebody else changed since
    #[arg(long)]
    pub(crate) overwrite_changed: bool,
    /// Wait so long for another cttune to finish: 30s
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

/// `cttune expire`.
#[derive(Debug, Args)]
#[command(after_help = "\
A lower timeout does nothing for a flow that is idle: it keeps its old countdown until
its next packet. This brings flows down one by one, and flushes nothing:

  clamp    a flow that has more time left than its timeout gets its timeout, which is
           what its next packet would do: one that speaks in time loses nothing
  re-age   the idle time that two samples and the journal prove counts as well, but
           for --grace; established TCP alone
  delete   what is proven idle for longer than its timeout ends at once. It cuts
           connections off that are silent and alive: for emergencies

  cttune expire                                  counts, then asks
  cttune expire --dry-run                        counts, and tells why flows are kept
  cttune expire --match dst=2a00:1450:400b:c02::bc,dport=5228 --spread 10m
  cttune expire --mode re-age --was 5d@2h        changed by hand two hours ago

A selection is TERM,TERM: all of them must hold. Terms, with = or !=: src dst sport
dport reply-src reply-dst proto state family mark zone status.
Helpers' flows, flows under a timeout policy and your own SSH session are kept. What
was done to a flow cannot be undone.

Exit codes: 0 done or nothing to do; 1 refused or failed, nothing is changed; 3 some
flows were changed and some could not be; 130, 143, 129 stopped by a signal.")]
pub(crate) struct Expire {
    /// How, mildest first
    #[arg(long, value_enum, default_value_t = Mode::Clamp)]
    pub(crate) mode: Mode,
    /// Only flows like these; given again, flows like any of them
    #[arg(long = "match", value_name = "TERM,TERM")]
    pub(crate) matching: Vec<String>,
    /// Never flows like these, whatever else selects them
    #[arg(long, value_name = "TERM,TERM")]
    pub(crate) keep: Vec<String>,
    /// Spread the ends of flows over this time, so that they do not come in one
    /// second
    #[arg(long, value_name = "TIME")]
    pub(crate) spread: Option<String>,
    /// With re-age: leave each flow at least so long to speak [default: 2m]
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<String>,
    /// With re-age and delete: time between the two samples [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(crate) settle: Option<String>,
    /// With re-age and delete: what tcp_timeout_established was, and since when
    /// it is no more (2h ago, or 2026-11-23T12:00:00Z); else the journal tells
    #[arg(long, value_name = "TIME[@SINCE]")]
    pub(crate) was: Option<String>,
    /// Refuse if more flows than this would be changed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_flows: Option<u32>,
    /// Change so many flows a second at most: 5000 or 5000/s. Without it as many
    /// as go, or 20000/s where somebody listens to conntrack's events
    #[arg(long, value_name = "N/s")]
    pub(crate) rate: Option<String>,
    /// Count, tell why flows are kept, and stop
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Wait so long for another cttune to finish: 30s
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

/// How flows are brought under the timeouts, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Give a flow no more than its timeout.
    Clamp,
    /// Count the idle time that is proven.
    ReAge,
    /// End what is proven stale.
    Delete,
}

/// `cttune history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Show this change with all its steps
    #[arg(value_name = "ID")]
    pub(crate) id: Option<u64>,
}

/// `cttune watch-pending`.
#[derive(Debug, Args)]
pub(crate) struct WatchPending {
    /// The change.
    pub(crate) id: u64,
    /// Leave the terminal's session.
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `cttune top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads the table once. Below 200,000 flows all of them, else 50,000, which are a random
sample since the table is a hash: every share then says how far it can be off.

  cttune top                               what explains most in the fewest rows
  cttune top --by src --prefix 64,24       by subscriber
  cttune top --by dst,dport --match proto=udp --keep dport=53 -n 5
  cttune top --remedy | nft -c -f -        rules for the largest group, checked

Fields: family proto state src sport dst dport reply-src reply-dst zone mark status")]
pub(crate) struct Top {
    /// Group flows by these fields, or by those that say most
    #[arg(long, value_name = "FIELD,FIELD|auto", default_value = "auto")]
    pub(crate) by: String,
    /// Group addresses by prefix: bits of IPv6 addresses, then of IPv4 ones
    #[arg(long, value_name = "V6,V4")]
    pub(crate) prefix: Option<String>,
    /// Show this many groups
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) rows: usize,
    /// Only flows that meet every term, as dst=10.1.0.0/16,proto=tcp; repeated:
    /// any of them
    #[arg(long = "match", value_name = "TERM,TERM")]
    pub(crate) matching: Vec<String>,
    /// No flows like these, whatever else selects them
    #[arg(long, value_name = "TERM,TERM")]
    pub(crate) keep: Vec<String>,
    /// Read the whole table, however large
    #[arg(long, conflicts_with_all = ["sample", "budget"])]
    pub(crate) exact: bool,
    /// Read a sample of K flows
    #[arg(long, value_name = "K", conflicts_with = "budget",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// Read for this long, as 200ms or 2s
    #[arg(long, value_name = "TIME")]
    pub(crate) budget: Option<String>,
    /// Print an nftables fragment against the largest group instead; it is
    /// never loaded
    #[arg(long)]
    pub(crate) remedy: bool,
}

/// `cttune metrics`.
#[derive(Debug, Args)]
#[command(after_help = "\
The table's size, limit and memory, every counter, each setting and whether it
drifted from what apply put in force, the last apply, and flows by family,
protocol and state. Flows take root or CAP_NET_ADMIN, the last apply takes root.
What could not be read is said on stderr, and by cttune_source_up.

  cttune metrics --textfile /var/lib/prometheus/node-exporter/cttune.prom
  cttune metrics --format munin config

contrib/ has a munin plugin, alerts, a dashboard, and a timer for the file.")]
pub(crate) struct Metrics {
    /// What to compare with.
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Which flows to count
    #[arg(long, value_enum, default_value_t = Flows::Auto, value_name = "WHICH")]
    pub(crate) flows: Flows,
    /// Write to this file in one step, for the textfile collector of
    /// node_exporter, and print nothing
    #[arg(long, value_name = "PATH.prom")]
    pub(crate) textfile: Option<PathBuf>,
    /// What munin asks for; the values without it
    #[arg(value_enum, value_name = "REQUEST", conflicts_with = "textfile")]
    pub(crate) request: Option<Request>,
}

/// The flows that `metrics` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flows {
    /// All of them; from 200,000 on a random sample of 50,000, as top does.
    Auto,
    /// All of them, however many.
    All,
    /// None: the table is never walked.
    None,
}

/// What munin asks a plugin for beside its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Request {
    /// Titles, labels and limits.
    Config,
    /// Whether there is anything to show here.
    Autoconf,
}

/// `cttune profile`.
#[derive(Debug, Args)]
pub(crate) struct Profile {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

/// The commands of `cttune profile`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Lists the profiles that can be named
    List,
    /// Prints a profile, comments and all
    Show {
        /// A name or a path
        #[arg(value_name = "PROFILE")]
        name: String,
    },
    /// Checks profile files and reports every mistake, with its place
    Check {
        /// The files, or names
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
    },
    /// Writes a profile with the values that this host has now
    Capture {
        /// Only these keys; all that were read by default
        #[arg(long = "key", value_name = "KEY")]
        keys: Vec<String>,
        /// A file: values in it are brought up to date, its comments and order
        /// stay. Standard output without it
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Writes a profile for what this host does: watches it, and says why
    #[command(after_help = "\
Limits come from the most entries that were seen, the arrivals and the headroom;
timeouts from the silences after which flows spoke again. Each setting's `why` says
how. Watch a busy hour: what is rare is not seen in a minute.

  cttune profile suggest --observe 10m ./mine.toml
  cttune plan --profile ./mine.toml")]
    Suggest {
        /// How many times what is needed now the table is to hold
        #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = headroom)]
        headroom: f64,
        /// For how long to watch
        #[arg(long, value_name = "TIME", default_value = "60s")]
        observe: String,
        /// A file that is not there yet. Standard output without it
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Sets keys in a profile file; comments and order stay
    #[command(
        after_help = "  cttune profile set ./mine.toml tcp_timeout_established=2h4m udp_timeout=60"
    )]
    Set {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
}

/// Reads `--headroom`.
fn headroom(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    let number = number.filter(|number| (1.0..=100.0).contains(number));
    number.ok_or_else(|| "it is a number from 1 to 100".to_owned())
}

/// `cttune sandbox`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no root and harms nothing: the table, /etc, /run and the state directory are
private and gone when CMD ends. `cttune` inside is the program that runs now.

  cttune sandbox -- cttune check --profile campus-fw
  cttune sandbox -- bash
  cttune sandbox --flows 0 -- cttune apply --profile campus-fw --yes

Exit codes: CMD's own, 128+n if a signal ended it, 125 if the sandbox failed,
126 CMD cannot be run, 127 CMD was not found.")]
pub(crate) struct Sandbox {
    /// How many flows stand in the table; they are scaled down where the host's
    /// max is smaller
    #[arg(long, value_name = "N", default_value_t = 76_768)]
    pub(crate) flows: u32,
    /// The command
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `cttune sandbox-inside`.
#[derive(Debug, Args)]
pub(crate) struct SandboxInside {
    /// The part, and what it needs to know.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) part: Vec<OsString>,
}

/// `cttune completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
