//! The options that choose a profile, and `cttune profile`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::MORE;

/// Which profile, and what to change in it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DesiredOptions {
    /// Use this profile: a name or a path
    ///
    /// Without it cttune uses the active profile, which is the one that was
    /// applied last. `cttune profile list` shows the names.
    #[arg(long, short, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Ignore the active profile
    #[arg(long, conflicts_with = "profile", hide_short_help = true)]
    pub(crate) no_profile: bool,
    /// Set one key, as tcp_timeout_established=2h4m
    ///
    /// Beside the profile. Without any profile nothing else is changed.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl DesiredOptions {
    /// The profile is named in either of two ways.
    pub(super) fn or_named(&mut self, named: &mut Named) {
        self.profile = named.named.take().or(self.profile.take());
    }
}

/// The profile as the argument of `check`, `plan` and `apply`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Named {
    /// A name or a path; without it, the active profile
    #[arg(value_name = "PROFILE", conflicts_with_all = ["profile", "no_profile"])]
    pub(crate) named: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Profile {
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List the profiles that have a name
    #[command(alias = "ls")]
    List,
    /// Print a profile with its comments
    #[command(alias = "cat", after_help = MORE, after_long_help = "  cttune profile show campus-fw")]
    Show {
        /// A name or a path
        #[arg(value_name = "PROFILE")]
        name: String,
    },
    /// Check profiles and show every mistake with its line
    #[command(alias = "lint", after_help = MORE, after_long_help = "\
  cttune profile check ./mine.toml /etc/cttune/profiles/*.toml")]
    Check {
        /// Files, or names
        #[arg(required = true, value_name = "PROFILE")]
        files: Vec<String>,
    },
    /// Show where two profiles differ
    #[command(after_help = MORE, after_long_help = "\
With their parents merged in. One profile alone is compared with the active one.

  cttune profile diff campus-fw rfc-nat
  cttune profile diff campus-fw

Exit codes: 0 they are alike; 2 they differ.")]
    Diff {
        /// A name or a path
        #[arg(value_name = "PROFILE")]
        first: String,
        /// Another; without it, the active profile
        #[arg(value_name = "OTHER")]
        second: Option<String>,
    },
    /// Copy a profile to a file of your own
    #[command(alias = "cp", after_help = MORE, after_long_help = "\
  cttune profile copy campus-fw ./mine.toml
  cttune profile copy campus-fw mine    as /etc/cttune/profiles/mine.toml")]
    Copy {
        /// A name or a path
        #[arg(value_name = "PROFILE")]
        from: String,
        /// A new file, or a new name
        #[arg(value_name = "FILE")]
        to: String,
    },
    /// Edit a profile; a text with mistakes is not saved
    #[command(after_help = MORE, after_long_help = "\
Opens a copy in $VISUAL or $EDITOR. What you save replaces the profile if it has
no mistake; else the mistakes are shown and the profile stays as it was.

  cttune profile edit ./mine.toml")]
    Edit {
        /// A path, or the name of a profile that has a file
        #[arg(value_name = "PROFILE")]
        name: String,
    },
    /// Write a profile with the current values of this host
    #[command(after_help = MORE, after_long_help = "\
  cttune profile capture ./now.toml
  cttune profile capture --key max --key buckets")]
    Capture {
        /// Only this key; repeat it for others
        #[arg(long = "key", value_name = "KEY")]
        keys: Vec<String>,
        /// Where to write; without it, standard output
        ///
        /// If the file exists, its values are updated; its comments and its
        /// order stay.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Watch this host and write a profile for what it does
    #[command(after_help = MORE, after_long_help = "\
Limits come from the most flows seen, the rate of new flows and the headroom.
Timeouts come from how long flows were idle before their next packet. The `why`
of each setting says how. Watch a busy hour: a minute misses what is rare.

  cttune profile suggest --observe 10m ./mine.toml
  cttune plan ./mine.toml")]
    Suggest {
        /// Make room for N times what is used now
        #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = headroom)]
        headroom: f64,
        /// Watch for TIME
        #[arg(long, value_name = "TIME", default_value = "60s")]
        observe: String,
        /// A new file; without it, standard output
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write a profile in the form that another program reads
    #[command(after_help = MORE, after_long_help = "\
Names on stderr, and in a comment, what the target cannot say: bounds for one.
Numbers that depend on memory or CPUs are those of this host.

  cttune profile export campus-fw --to sysctl.d > 90-conntrack.conf
  cttune profile export k8s-node --to kube-proxy")]
    Export {
        /// A name or a path; without it, the active profile
        #[arg(value_name = "PROFILE")]
        name: Option<String>,
        /// Who reads it
        #[arg(long, value_enum, value_name = "TARGET")]
        to: ExportTo,
    },
    /// Set keys in a profile; comments and order stay
    #[command(after_help = MORE, after_long_help = "\
  cttune profile set ./mine.toml tcp_timeout_established=2h4m udp_timeout=60")]
    Set {
        /// The profile to edit
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The keys and their new values
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportTo {
    /// A file of /etc/sysctl.d
    #[value(name = "sysctl.d")]
    SysctlD,
    /// The configuration of kube-proxy
    KubeProxy,
    /// A Tuned resource of OpenShift
    OpenshiftTuned,
    /// A patch for the machine configuration of Talos
    Talos,
    /// Variables for ansible.posix.sysctl
    AnsibleVars,
}

fn headroom(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    let number = number.filter(|number| (1.0..=100.0).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 100".to_owned())
}
