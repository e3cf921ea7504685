//! The commands that plan, make, keep, undo and list changes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::flows::Mode;
use super::{DesiredOptions, MORE, Named};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Only {
    /// The running kernel
    Live,
    /// The files that the next boot reads
    Persist,
}

/// The options of both `plan` and `apply`.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools)] // each is an option
pub(crate) struct Planning {
    #[command(flatten)]
    pub(crate) named: Named,
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Change only the kernel (live) or files (persist)
    #[arg(long, value_enum, hide_possible_values = true, value_name = "WHAT")]
    pub(crate) only: Option<Only>,
    /// Also shorten existing flows, as `cttune expire`
    ///
    /// As the last step, with the profile's expire table. MODE is clamp,
    /// re-age or delete.
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option)] // not given, given without a mode, given with one
    pub(crate) expire: Option<Option<Mode>>,
    /// Comment out lines of other files that override it
    ///
    /// Only lines that would change the value at the next boot; the rest of
    /// the file stays. `cttune rollback` restores the lines.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Go on although another file overrides it at boot
    #[arg(long)]
    pub(crate) allow_overridden: bool,
    /// Go on although max would be below the flow count
    ///
    /// Every new flow is then dropped until enough flows have ended.
    #[arg(long)]
    pub(crate) allow_max_below_count: bool,
    /// Take old timeouts of services from flows
    ///
    /// Without it a flow keeps the timeouts that its service had when the
    /// flow began. With it such flows return to the sysctls.
    #[arg(long)]
    pub(crate) replace: bool,
}

impl Planning {
    pub(super) fn in_one_spelling(&mut self) {
        self.desired.or_named(&mut self.named);
    }
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
  cttune plan campus-fw
  cttune plan campus-fw --set udp_timeout=60 --only live
  cttune plan --no-profile --set tcp_timeout_established=2h4m
  cttune plan campus-fw --out tonight.json     then: cttune apply tonight.json

Exit codes: 0 nothing to do; 2 there are changes, or apply would be blocked.
With --format salt: 0 with changes too; 1 apply would be blocked.")]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) planning: Planning,
    /// Save it for `cttune apply FILE`
    ///
    /// The name ends in .json. apply refuses the file if the machine changed
    /// since, and names what changed.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Shows the plan and asks. Everything is tested before the first write, and every
value is read back. If a step fails or you press Ctrl-C, what was done so far is
undone. `cttune rollback` undoes it later.

A name that ends in .json is a plan that `cttune plan --out` saved. It is
refused if the machine changed since.

  cttune apply campus-fw
  cttune apply campus-fw --adopt --yes         from a script
  cttune apply ./mine.toml --only live         until the next boot
  cttune apply campus-fw --confirm-within 2m   over SSH
  cttune apply tonight.json                    what `plan --out` saved

Exit codes: 0 done, nothing to do, or you answered no; 1 refused or failed,
nothing was changed or all of it was undone; 2 with --detailed-exitcode:
changed; 3 failed and something is left; 130, 143, 129 stopped by a signal and
undone.")]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) planning: Planning,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show the plan, as `cttune plan` does, and stop
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Exit 2 if something was changed
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Undo it after TIME unless you confirm
    ///
    /// Changes the running kernel and undoes that after TIME (2m, 90s) unless
    /// you run `cttune confirm`, which then writes the files too.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["dry_run", "only"])]
    pub(crate) confirm_within: Option<String>,
    /// Wait up to TIME for another cttune to finish
    #[arg(long, value_name = "TIME", hide_short_help = true)]
    pub(crate) wait: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Keeps the pending change and writes its files. If the deadline has passed, the
change is already undone, and confirm says so.

  cttune confirm

Exit codes: 0 confirmed; 1 no pending change, or it failed.")]
pub(crate) struct Confirm {
    /// Wait up to TIME for another cttune to finish
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Restores values and files as they were. It needs only the journal, not the
profile. It never lowers nf_conntrack_max below the number of flows plus 10 %.

  cttune rollback           the last change
  cttune rollback 7         change 7 of `cttune history`
  cttune rollback --to 7    every change after 7, the newest first

Exit codes: 0 done, nothing to do, or you answered no; 1 refused, nothing was
changed; 3 something could not be restored: the message says what.")]
pub(crate) struct Rollback {
    /// The change to undo; without it, the last one
    #[arg(value_name = "ID", value_parser = change)]
    pub(crate) id: Option<u64>,
    /// Undo every change after this one
    #[arg(long, value_name = "ID", conflicts_with = "id", value_parser = change)]
    pub(crate) to: Option<u64>,
    /// Show how it would be undone, and stop
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Also overwrite what was changed by others since
    #[arg(long)]
    pub(crate) overwrite_changed: bool,
    /// Wait up to TIME for another cttune to finish
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
  cttune history
  cttune history 7")]
pub(crate) struct History {
    /// Show this change with all its steps
    #[arg(value_name = "ID", value_parser = change)]
    pub(crate) id: Option<u64>,
}

fn change(text: &str) -> Result<u64, &'static str> {
    let number = text.parse();
    number.map_err(|_| "a change is a number; cttune history lists them")
}

#[derive(Debug, Args)]
pub(crate) struct WatchPending {
    /// The change.
    pub(crate) id: u64,
    /// Leave the terminal's session.
    #[arg(long)]
    pub(crate) detach: bool,
}
