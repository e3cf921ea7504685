//! The commands that look ahead and collect: `forecast`, `report`, `fleet`.

use std::path::PathBuf;

use clap::Args;

use super::{DesiredOptions, MORE};

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
A flow with timeout 5d and 4d left was idle for a day, or for less if somebody
set its time. From this it works out, for each timeout, how many flows would
have ended and how many stay. --observe reads the table twice and proves it.
Then it shows how many flows are left later: if nothing is done, after
`cttune expire` (clamp), and after `cttune expire --mode re-age`. Without
--observe it assumes that no flow sends again and none begins.

  cttune forecast                              established TCP
  cttune forecast --observe 30s                with new flows; when it is full
  cttune forecast --timeouts 1h,2h4m --match dport=5228
  cttune forecast --key udp_timeout_stream
  cttune forecast --svg forecast.svg --csv forecast.csv

It changes nothing. It needs root (CAP_NET_ADMIN) to read the flows.")]
pub(crate) struct Forecast {
    /// Compare these timeouts, 16 at most
    ///
    /// For established TCP the default is 5m,10m,30m,1h,2h4m,8h,1d.
    #[arg(long, value_name = "TIME,TIME", value_delimiter = ',')]
    pub(crate) timeouts: Vec<String>,
    /// About this timeout [default: tcp_timeout_established]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Age the flows as if the timeout were TIME
    ///
    /// For clamp and re-age. Without it, the shortest time that the RFCs allow,
    /// or the current timeout if that is shorter.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Look ahead to these times
    #[arg(long, value_name = "TIME,TIME", value_delimiter = ',')]
    pub(crate) after: Vec<String>,
    /// Only flows like these; repeat it for others
    #[arg(long = "match", value_name = "TERM,TERM")]
    pub(crate) matching: Vec<String>,
    /// No flows like these, even if --match selects them
    #[arg(long, value_name = "TERM,TERM")]
    pub(crate) keep: Vec<String>,
    /// Watch the table for TIME: new, active, idle flows
    #[arg(long, value_name = "TIME", conflicts_with = "sample")]
    pub(crate) observe: Option<String>,
    /// The timeout before it was lowered
    ///
    /// What it was, and when that ended: 5d@2h (two hours ago). Without it the
    /// journal says so.
    #[arg(long, value_name = "TIME[@SINCE]", hide_short_help = true)]
    pub(crate) was: Option<String>,
    /// Read the whole table, however large
    #[arg(long, conflicts_with = "sample")]
    pub(crate) exact: bool,
    /// Read a sample of K flows
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// Write the pictures to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write the numbers of the pictures to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Collects what check, top, forecast, plan and history say. The HTML file needs
no network and no other file.

  cttune report                                  as text
  cttune report --html report.html               for a ticket or a colleague
  cttune report --html report.html --mask        without addresses and names

--mask replaces every address and the name of the host. The same address gets
the same replacement in the whole report. Flows are shown only with root
(CAP_NET_ADMIN).")]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) desired: DesiredOptions,
    /// Write one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Replace addresses and the name of the host
    #[arg(long)]
    pub(crate) mask: bool,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Collect `cttune check --json` of each host with the tool that you have: a file
for each host (HOST.json), the folders of Ansible's fetch, the files of
`ansible --tree DIR`, or on standard input JSON lines, the output of `ansible`
(with and without -o), or that of `salt --out json --static`.

What is no check of a host is named, and the rest is shown. It changes nothing
and needs no rights.

  ansible all -b -m command -a 'cttune check --json' | cttune fleet -
  salt '*' cmd.run 'cttune check --json' --out json --static | cttune fleet -
  for h in fw1 fw2; do ssh $h cttune check --json > checks/$h.json; done
  cttune fleet checks
  cttune fleet checks --html fleet.html --csv fleet.csv

Exit codes: 0 no host differs; 1 failed, or something was not read; 2 a host
differs from its profile, or has a critical finding that it does not accept.")]
pub(crate) struct Fleet {
    /// A folder with the checks of many hosts, or - for standard input
    #[arg(value_name = "DIR|-")]
    pub(crate) from: PathBuf,
    /// Write one HTML file; - prints it instead of the table
    #[arg(long, value_name = "FILE|-")]
    pub(crate) html: Option<PathBuf>,
    /// Write a line for each host, for a spreadsheet; - prints it instead of the table
    #[arg(long, value_name = "FILE|-")]
    pub(crate) csv: Option<PathBuf>,
}
