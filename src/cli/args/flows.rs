//! The commands that read, count and shorten flows.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{DesiredOptions, MORE};

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
A lower timeout does nothing for an idle flow: it keeps its old time until its
next packet. `expire` shortens flows one by one and never flushes the table:

  clamp    a flow with more time left than its timeout gets its timeout, as its
           next packet would do. A flow that sends in time loses nothing
  re-age   also subtracts the idle time that was watched, but leaves --grace;
           established TCP only
  delete   ends flows that were watched and silent for all of --observe. Cuts
           connections that are silent but alive: for emergencies

  cttune expire                                  counts, then asks
  cttune expire --dry-run                        counts, says why flows are kept
  cttune expire --match dst=2a00:1450:400b:c02::bc,dport=5228 --spread 10m
  cttune expire --mode delete --observe 2h11m    watches, counts, asks, ends

Idle time is what was watched: --observe proves no more than its TIME. A
connection may be silent for two hours and alive (the default of keepalive).
--trust-history infers idle time from what tcp_timeout_established was. That is
right only if, since the boot, nobody changed it by hand and back, nobody ran
`conntrack -U`, and the clock was not set back. Where there is a flowtable it
infers nothing.

TERM,TERM selects flows that match all terms. Terms, with = or !=: src dst sport
dport reply-src reply-dst reply-sport reply-dport proto state family mark zone
orig-zone reply-zone status icmp-type icmp-id gre-key helper label left bytes.
Numbers take ranges, < <= > >= (quoted): 'left>1h', dport=5000-6000.
Flows of helpers and your own SSH session are kept.
What was done to a flow cannot be undone.

Exit codes: 0 done or nothing to do; 1 refused or failed, or no flow matches
(0 with --dry-run), nothing was changed; 3 some flows were changed and some
could not be; 130, 143, 129 stopped by a signal.")]
pub(crate) struct Expire {
    /// clamp (the default), re-age or delete
    #[arg(long, value_enum, hide_possible_values = true, hide_default_value = true, default_value_t = Mode::Clamp)]
    pub(crate) mode: Mode,
    /// Only flows like these; repeat it for others
    #[arg(long = "match", value_name = "TERM,TERM")]
    pub(crate) matching: Vec<String>,
    /// Let the flows end over TIME, not all at once
    #[arg(long, value_name = "TIME")]
    pub(crate) spread: Option<String>,
    /// re-age: leave each flow at least TIME [default: 2m]
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<String>,
    /// re-age, delete: watch the flows for TIME first
    #[arg(long, value_name = "TIME", conflicts_with = "trust_history")]
    pub(crate) observe: Option<String>,
    /// re-age, delete: infer idle time from the past
    ///
    /// From what the timeout was, by the journal or --was. Assumes that since
    /// the boot nobody changed it by hand and back, nobody ran conntrack -U, and
    /// the clock was not set back.
    #[arg(long)]
    pub(crate) trust_history: bool,
    /// --trust-history: TIME between looks [default: 10s]
    #[arg(long, value_name = "TIME", hide_short_help = true)]
    pub(crate) settle: Option<String>,
    /// --trust-history: the timeout before it was lowered
    ///
    /// What tcp_timeout_established was, and when that ended: 5d@2h (two hours
    /// ago) or 5d@2026-11-23T12:00:00Z. Without it the journal says so.
    #[arg(long, value_name = "TIME[@SINCE]", hide_short_help = true)]
    pub(crate) was: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

/// What every command takes that changes flows.
#[derive(Debug, Args)]
pub(crate) struct Changing {
    /// Never flows like these, even if --match selects them
    #[arg(long, value_name = "TERM,TERM")]
    pub(crate) keep: Vec<String>,
    /// Refuse to change more than N flows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_flows: Option<u32>,
    /// Change at most N flows a second
    ///
    /// Without it there is no limit, or 20000/s if a program listens to
    /// conntrack events.
    #[arg(long, value_name = "N/s")]
    pub(crate) rate: Option<String>,
    /// Count, show which flows are meant, and stop
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Wait up to TIME for another cttune to finish
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Leave a flow at most its timeout
    Clamp,
    /// Subtract the idle time that is proven
    ReAge,
    /// End flows that are proven idle for too long
    Delete,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Ends the flows that you name, as `conntrack -D` does, but shows them first.
Their connections break, or start again as new flows:

  cttune kill --match mark=0xc9                       a VPN that is gone
  cttune kill --match reply-dst=198.51.100.7          an old WAN address
  cttune kill --match src=10.0.0.5,proto=udp,dport=5060 --save /root/flows
  cttune kill --match 'dst=192.0.2.0/24,idle>1h'      watches for an hour first

TERM,TERM selects flows that match all terms. Terms, with = or !=: src dst sport
dport reply-src reply-dst reply-sport reply-dport proto state family mark zone
orig-zone reply-zone status icmp-type icmp-id gre-key helper label idle left
bytes. Numbers take ranges, < <= > >= (quoted): 'left>1h', dport=5000-6000.
The SSH session that runs cttune is kept. Ended flows cannot be brought back,
except from --save with `conntrack -R FILE`.

Exit codes: 0 done; 1 refused or failed, or no flow matches (0 with --dry-run),
nothing was ended; 3 some flows could not be ended; 130, 143, 129 stopped by a
signal.")]
pub(crate) struct Kill {
    /// Flows like these; repeat it for others
    #[arg(long = "match", value_name = "TERM,TERM", required = true)]
    pub(crate) matching: Vec<String>,
    /// Allow terms that match every flow
    #[arg(long)]
    pub(crate) all_flows: bool,
    /// Write the flows to FILE first, for conntrack -R
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Reads the table once: all flows if there are fewer than 200,000, else a random
sample of 50,000. Every share of a sample is shown with its margin of error.

  cttune top                               the groups that explain most
  cttune top --by src --prefix 56,32       by subscriber
  cttune top --by dst,dport --match proto=udp --keep dport=53 -n 5
  cttune top --remedy | nft -c -f -        rules for that group, tried
  cttune top --watch --interval 10s        again and again, until Ctrl-C

Fields: family proto state src sport dst dport reply-src reply-dst zone mark
status helper label service. The time left is the mean of a group. Packets and
bytes are shown where accounting is on.
A source of IPv6 is counted by its /64; --prefix 128,32 tells addresses apart.

--remedy tries its rules in a private namespace on a copy of the flows. It
prints them only if they help; else it says what would.")]
pub(crate) struct Top {
    /// Group by src,dport; auto chooses
    #[arg(long, value_name = "FIELDS", default_value = "auto")]
    pub(crate) by: String,
    /// Group addresses: bits of IPv6 and of IPv4
    #[arg(long, value_name = "V6,V4")]
    pub(crate) prefix: Option<String>,
    /// Show N groups
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) rows: usize,
    /// Only flows like these; repeat it for others
    ///
    /// A flow has to match all terms, as dst=10.1.0.0/16,proto=tcp.
    #[arg(long = "match", value_name = "TERM,TERM")]
    pub(crate) matching: Vec<String>,
    /// No flows like these, even if --match selects them
    #[arg(long, value_name = "TERM,TERM")]
    pub(crate) keep: Vec<String>,
    /// Read the whole table, however large
    #[arg(long, conflicts_with_all = ["sample", "budget"])]
    pub(crate) exact: bool,
    /// Read a sample of K flows
    #[arg(long, value_name = "K", conflicts_with = "budget",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// Read flows for TIME: 200ms, 2s
    #[arg(long, value_name = "TIME")]
    pub(crate) budget: Option<String>,
    /// Print it again and again, until Ctrl-C
    #[arg(long, conflicts_with = "remedy")]
    pub(crate) watch: bool,
    /// --watch: every TIME
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch")]
    pub(crate) interval: String,
    /// Print nftables rules against the largest group
    ///
    /// Nothing is loaded into the kernel: look at them, then give them to nft.
    #[arg(long)]
    pub(crate) remedy: bool,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Prints the table's size, limit and memory, every counter, each setting and
whether it differs from the active profile, the last apply, and flows by family,
protocol and state. Flows need root (CAP_NET_ADMIN), and the last apply needs
root. What could not be read is said on stderr and by cttune_source_up.

  cttune metrics --textfile /var/lib/prometheus/node-exporter/cttune.prom
  cttune metrics --format munin config

contrib/ has a munin plugin, alerts, a dashboard, and a timer for the file.")]
pub(crate) struct Metrics {
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Count flows: auto, all, none
    ///
    /// auto counts all flows below 200,000, else a random sample of 50,000.
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = Flows::Auto, value_name = "WHICH")]
    pub(crate) flows: Flows,
    /// The table of every other network namespace too
    ///
    /// Entries, max and drops, with the label `netns`.
    #[arg(long)]
    pub(crate) all_netns: bool,
    /// Write to this file and print nothing
    ///
    /// For the textfile collector of node_exporter. The file is replaced in one
    /// step.
    #[arg(long, value_name = "FILE.prom")]
    pub(crate) textfile: Option<PathBuf>,
    /// What munin asks for: config, autoconf
    #[arg(
        value_enum,
        hide_possible_values = true,
        value_name = "REQUEST",
        conflicts_with = "textfile"
    )]
    pub(crate) request: Option<Request>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flows {
    /// All of them, or a sample if the table is large
    Auto,
    /// All of them
    All,
    /// None: the table is not read
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Request {
    /// Titles, labels and limits
    Config,
    /// Whether there is anything to show
    Autoconf,
}
