//! `cttune check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DesiredOptions, MORE, Named};
use crate::flow::Prefixes;

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Takes milliseconds and needs no root. Only --deep reads the flows.

  cttune check                      health, and drift from the active profile
  cttune check campus-fw            health, and drift from this profile
  cttune check --explain max        what sets nf_conntrack_max at the next boot
  cttune check --interval 10s       what is dropped now; when the table is full
  cttune check --deep               flows that stay when full; NAT ports in use
  cttune check --all-netns          the fill of every network namespace
  cttune check --format nagios --warn 80% --crit 90%

Exit codes: 0 nothing to do; 2 a value differs from the profile, live or
persisted, or a critical finding is not accepted.
With --format nagios: 0 ok, 1 a warning or drift, 2 critical, 3 unknown or any
error. Accepted findings do not count; with --fail-on critical, neither do
warnings.")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) named: Named,
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Show every key, also those that do not differ
    #[arg(long, conflicts_with = "explain")]
    pub(crate) keys: bool,
    /// Show every line that sets KEY at boot
    ///
    /// And the value that remains, as procps and as systemd read the files.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["named", "profile", "set", "no_profile", "fail_on", "interval", "deep", "all_netns"])]
    pub(crate) explain: Option<String>,
    /// Read twice, TIME apart, for rates and time left
    #[arg(long, value_name = "TIME")]
    pub(crate) interval: Option<String>,
    /// Read the flows too, or a sample of them
    ///
    /// Finds flows that a full table could not evict, NAT ports that run out,
    /// push connections, timeout policies and flowtables. The numbers of all
    /// are in --format json.
    #[arg(long)]
    pub(crate) deep: bool,
    /// --deep: bits of IPv6 and IPv4 that a host has
    ///
    /// Subscribers and sources are counted by them [default: 64,32]. Where a
    /// subscriber has a /56, write 56,32.
    #[arg(long, value_name = "V6,V4", hide_short_help = true, requires = "deep")]
    pub(crate) prefix: Option<Prefixes>,
    /// Check every network namespace
    ///
    /// Those of `ip netns` and those of running processes.
    #[arg(long)]
    pub(crate) all_netns: bool,
    /// Exit 2 from this severity on: warning, critical
    #[arg(long, value_enum, hide_possible_values = true, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<FailOn>,
    /// Write a report for a bug, without addresses
    ///
    /// Versions, settings and findings, as text and as JSON. Look at it before
    /// you send it.
    #[arg(
        long,
        value_name = "FILE",
        hide_short_help = true,
        conflicts_with = "explain"
    )]
    pub(crate) bundle: Option<PathBuf>,
    /// A fill that is a warning [default: 80%]
    #[arg(
        long,
        short = 'w',
        value_name = "PERCENT",
        allow_negative_numbers = true,
        conflicts_with = "explain"
    )]
    pub(crate) warn: Option<String>,
    /// A fill that is critical [default: 90%]
    #[arg(
        long,
        short = 'c',
        value_name = "PERCENT",
        allow_negative_numbers = true,
        conflicts_with = "explain"
    )]
    pub(crate) crit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Warnings and critical findings.
    Warning,
    /// Critical findings.
    Critical,
}
