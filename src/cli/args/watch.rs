//! The live screen.

use clap::Args;

use super::MORE;

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Shows the fill of the table, flows that begin and end, drops, states, who has
most flows, the last hour, and what is wrong, on a screen of 80 x 24 or more.

  cttune watch                      the table of this host, read every 2s
  cttune watch --match dport=5228   only flows of one service below the rates
  cttune watch --once               one frame as text, for a log or a ticket

Keys: ? shows all of them. g groups by other fields, / filters, Enter opens a
group, Space freezes. E and K preview `cttune expire` and `cttune kill` for the
selected group; nothing is changed before you answer their question with y.

It reads a sample of the flows that takes 3 % of a core at most, whatever the
size of the table. Flows need root (CAP_NET_ADMIN); the rest is shown without.

Exit codes: 0 you quit; 1 it failed; 130, 143, 129 stopped by a signal.")]
pub(crate) struct Watch {
    /// Read the table every TIME: 500ms, 10s
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) interval: String,
    /// Group by src,dport; auto chooses
    #[arg(long, value_name = "FIELDS", default_value = "auto")]
    pub(crate) by: String,
    /// Only flows like these; repeat it for others
    #[arg(long = "match", value_name = "TERM,TERM")]
    pub(crate) matching: Vec<String>,
    /// Print one frame as text, after one interval
    #[arg(long)]
    pub(crate) once: bool,
}
