//! The `cttune` command.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cttune::sandbox::{FAILED, FLOWS, Options, run, run_inside};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sandbox {
        #[arg(long, default_value_t = FLOWS)]
        flows: u32,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    SandboxInside {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let mut say = |line: &str| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let result = match Cli::parse().command {
        Command::Sandbox { flows, command } => run(&Options { flows, command }),
        Command::SandboxInside { args } => run_inside(&args, &mut say),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("cttune: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}
