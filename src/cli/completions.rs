//! `cttune completions`: a script for a shell.

use super::args::{Completions, Shell};
use super::failure::DONE;
use super::out;

pub(super) fn run(completions: &Completions) -> u8 {
    out::raw(match completions.shell {
        Shell::Bash => include_str!("../../contrib/completions/cttune.bash"),
        Shell::Zsh => include_str!("../../contrib/completions/cttune.zsh"),
        Shell::Fish => include_str!("../../contrib/completions/cttune.fish"),
    });
    DONE
}
