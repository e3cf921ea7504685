//! `cttune sandbox`.

use super::args::{Global, Sandbox, SandboxInside};
use super::out::Out;
use crate::sandbox::{self, Options};

pub(super) fn run(args: &Sandbox, global: &Global) -> anyhow::Result<u8> {
    let options = Options {
        flows: args.flows,
        quiet: global.quiet,
        command: args.command.clone(),
    };
    sandbox::run(&options)
}

/// A part of the sandbox, in a process that `sandbox` started.
pub(super) fn run_inside(args: &SandboxInside, out: Out) -> anyhow::Result<u8> {
    sandbox::run_inside(&args.part, &mut |line| out.note(line))
}
