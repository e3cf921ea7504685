//! `cttune guard`.

use clap::Args;

use super::MORE;

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Keeps the table below its high mark, so that it never fills up. When the mark is
reached, flows end until the low mark is reached: only flows that were watched
and silent for the minimum of their class, the most harmless class first, and in
a class the longest idle first. No sysctl is changed; stopping the guard leaves
nothing behind.

  class        flows                                     minimum idle time
  close        TCP that was reset                        1s
  time-wait    TCP that both sides closed                1s
  syn-sent     TCP that nobody answered                  3s
  unanswered   UDP that nobody answered                  10s
  last-ack     TCP that waits for the last ACK           10s
  answered     UDP in both directions                    2m
  established  established TCP, nothing unacknowledged   2h11m15s

Never ended: other states, flows of helpers, offloaded flows, flows under an
unknown timeout policy, SSH sessions to this machine, what --keep selects. A
guard that has just started has watched nothing yet; established flows may end
after it has watched them for their minimum, or with --trust-history at once.

  cttune guard                                  runs until Ctrl-C
  cttune guard --dry-run                        says which flows would end
  cttune guard campus-fw                        with [guard] of the profile
  cttune guard --once --high 90% --low 80%      at most 5 s, and one pass
  cttune guard --install                        as a service; needs systemd

Exit codes: 0 ended by --once or a signal, or installed; 2 with --once: the
table is still above the high mark (with --dry-run: 0); with --install
--dry-run: there are steps; 1 failed; 3 another guard is at work here.")]
pub(crate) struct Guard {
    /// The profile whose `[guard]` holds [default: the active one]
    #[arg(value_name = "PROFILE")]
    pub(crate) name: Option<String>,
    /// The same as PROFILE
    #[arg(long, value_name = "PROFILE", conflicts_with = "name")]
    pub(crate) profile: Option<String>,
    /// From this fill on flows end [default: 85%]
    #[arg(long, value_name = "MARK")]
    pub(crate) high: Option<String>,
    /// Down to this fill [default: 75%]
    #[arg(long, value_name = "MARK")]
    pub(crate) low: Option<String>,
    /// The minimum idle time of a class; repeat it for others
    ///
    /// Less than 2h4m for `established` breaks connections that are silent but
    /// alive, and needs the name established-i-accept-broken-connections.
    #[arg(long, value_name = "CLASS=TIME")]
    pub(crate) min_idle: Vec<String>,
    /// Never end flows like these; repeat it for others
    #[arg(long, value_name = "TERM,TERM")]
    pub(crate) keep: Vec<String>,
    /// End at most N flows a second
    #[arg(long, value_name = "N/s", hide_short_help = true)]
    pub(crate) rate: Option<String>,
    /// Read the count every TIME at least [default: 5s]
    #[arg(long, value_name = "TIME", hide_short_help = true)]
    pub(crate) poll: Option<String>,
    /// The watched flows take at most SIZE, 24 bytes each [default: 128MiB]
    ///
    /// Flows that do not fit are not watched and do not end; the guard says how many.
    #[arg(long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) memory: Option<String>,
    /// Count flows as idle that the timeout's history tells to be
    ///
    /// Assumes that since the boot nobody changed tcp_timeout_established by
    /// hand and back, nobody ran conntrack -U, and the clock was not set back.
    #[arg(long)]
    pub(crate) trust_history: bool,
    /// Watch for 5s at most, end flows once, stop
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) installing: Installing,
    /// Say which flows would end, and end none; with --install the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The guard as a service of systemd.
#[derive(Debug, Args)]
pub(crate) struct Installing {
    /// Write the unit, enable it and start it; rollback undoes it
    ///
    /// With --netns the instance for that namespace. Marks and times come from
    /// `[guard]` of the profile.
    #[arg(long, hide_short_help = true, conflicts_with_all = ["once", "high", "low", "min_idle", "keep", "rate", "poll", "memory", "trust_history"])]
    pub(crate) install: bool,
    /// With --install: do not ask
    #[arg(long, short, requires = "install", hide_short_help = true)]
    pub(crate) yes: bool,
}
