//! `cttune completions`: a script for a shell.

use clap::CommandFactory;

use super::args::{Cli, Completions};
use super::out;

pub(super) fn run(completions: &Completions) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(
        completions.shell,
        &mut Cli::command(),
        "cttune",
        &mut script,
    );
    out::raw(&String::from_utf8_lossy(&script));
    0
}
