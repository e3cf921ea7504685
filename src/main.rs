//! The `cttune` command: parses, runs, and turns the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cttune::run(std::env::args_os()))
}
