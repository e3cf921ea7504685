//! The `cttune` command.

fn main() {}
