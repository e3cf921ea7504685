//! cttune tunes the Linux connection-tracking table and repairs one that is filling up.
//!
//! # The house
//!
//! The rooms are private modules, named after what the operator talks about. A pure room touches no
//! file, clock, environment or terminal. A door talks to the machine and decides nothing. An acting
//! room does what pure code computed. `cli` is the only room that prints and prompts.
//!
//! | room | kind | what it owns |
//! |---|---|---|
//! | `cli` | top | what the operator types: one short file for each command, the one writer, the prompts |
//! | `change` | acting | the life of a change: lock, journal, engine, deadline, rollback |
//! | `screen` | acting | the terminal, taken for a live screen and given back |
//! | `guard` | acting | keeps the table below its marks by ending flows that were watched and silent |
//! | `sandbox` | acting | private namespaces with a simulated table |
//! | `trial` | acting | a remedy tried in private namespaces, before it is offered |
//! | `kernel` | door | the sysctl tree, ctnetlink, the module, host facts, network namespaces |
//! | `files` | door | reading and replacing files below a root, through no symbolic link |
//! | `render` | pure | results as text, as JSON and for monitors: returns strings |
//! | `fleet` | pure | what many hosts' checks come to: records read, counted, merged |
//! | `assess` | pure | findings: what is wrong, how bad it is, what to do |
//! | `plan` | pure | the difference, the ordered steps, and their reverse |
//! | `boot` | pure | what the next boot sets, for each reader of sysctl.d |
//! | `profile` | pure | what is desired: format, mistakes, inheritance, derived values |
//! | `service` | pure | timeouts for one service, and the lifeline: nft's table `inet cttune` |
//! | `flow` | pure | conntrack entries: selecting, grouping, sampling, expiring them |
//! | `conntrack` | pure | the ctnetlink format: flows, tuples and requests, read and written |
//! | `tunable` | pure | what the kernel offers: keys, units, ranges, readings, host facts |
//! | `diagnostic` | pure | what went wrong and what to do: one sentence, one typed hint |
//!
//! Dependencies point one way: cli → acting → doors → pure, and each pure room uses only those below
//! it in this table. `tests/house.rs` checks it.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::too_many_lines, // tables of cases
        clippy::unreachable
    )
)]

mod assess;
mod boot;
mod change;
mod cli;
mod conntrack;
mod diagnostic;
mod files;
mod fleet;
mod flow;
mod guard;
#[cfg(feature = "internals")]
pub mod internals;
mod kernel;
mod plan;
mod profile;
mod render;
mod sandbox;
mod screen;
mod service;
mod trial;
mod tunable;

/// Runs the command line and gives the exit code.
pub use cli::run;
