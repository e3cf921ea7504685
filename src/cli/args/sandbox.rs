//! `cttune sandbox` and `cttune completions`.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::MORE;

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
Needs no root and changes nothing of the system. The table, /etc, /run,
/var/log, the state directory and the sysctl.d, modprobe.d, modules-load.d and
udev folders below /usr are private and are removed when CMD ends; the rest of
the system is read-only. Your home folder, /tmp and the folder you start it in
(unless it belongs to the system) are the real ones: a profile that you write
there stays.
`cttune` inside is this program.

  cttune sandbox -- cttune check --profile campus-fw
  cttune sandbox -- bash
  cttune sandbox --flows 0 -- cttune apply --profile campus-fw --yes

Exit codes: the one of CMD; 128+N if signal N ended it; 125 the sandbox failed;
126 CMD cannot be run; 127 CMD was not found.")]
pub(crate) struct Sandbox {
    /// Fill the table with N flows
    ///
    /// Fewer if nf_conntrack_max of this host is smaller; that is said then.
    #[arg(long, value_name = "N", default_value_t = 76_768)]
    pub(crate) flows: u32,
    /// The command to run
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct SandboxInside {
    /// The part to run, and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) part: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = "\
The packages install these scripts already. They ask cttune, so that the names
of profiles, keys, namespaces and changes are completed too.

  cttune completions bash > ~/.local/share/bash-completion/completions/cttune
  cttune completions zsh > ~/.zfunc/_cttune
  cttune completions fish > ~/.config/fish/completions/cttune.fish")]
pub(crate) struct Completions {
    /// The shell: bash, zsh, fish
    #[arg(value_enum, hide_possible_values = true, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The words behind `cttune`, the last one unfinished.
    #[arg(last = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}
