//! `cttune sandbox`: a place to try everything.

use super::args::{Sandbox, SandboxInside};
use super::out::Out;
use crate::sandbox::{self, Options};

/// Runs it.
pub(super) fn run(args: &Sandbox) -> anyhow::Result<u8> {
    let options = Options {
        flows: args.flows,
        command: args.command.clone(),
    };
    sandbox::run(&options)
}

/// Runs a part of it, in a process that `sandbox` started.
pub(super) fn run_inside(args: &SandboxInside, out: Out) -> anyhow::Result<u8> {
    sandbox::run_inside(&args.part, &mut |line| out.note(line))
}
