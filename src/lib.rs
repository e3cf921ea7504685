//! cttune tunes the Linux connection-tracking table and repairs one that is filling up.
//!
//! # The house
//!
//! Rooms are named after what the operator talks about. A pure room touches no file, clock,
//! environment or terminal; a door talks to the machine and decides nothing; an acting room
//! carries out what pure code worked out; `cli` is the only room that prints and prompts.
//!
//! | room | kind | what it owns |
//! |---|---|---|
//! | [`cli`] | top | what the operator types: one short file a command, the one writer, the prompts |
//! | [`change`] | acting | the engine that carries a plan out, reads it back and undoes it; the lock |
//! | [`sandbox`] | acting | private namespaces with a table filled as in the story |
//! | [`profile`] | pure | what the operator wants: format, mistakes, inheritance, derived values |
//! | [`tunable`] | pure | what the kernel offers: keys, units, ranges, readings, host facts |
//! | [`plan`] | pure | the difference and the way there: steps, their order, their undo |
//! | [`flow`] | pure | conntrack entries: selecting, grouping, sampling, expiring them |
//! | [`conntrack`] | pure | the ctnetlink format: flows, tuples and requests, read and written |
//! | [`assess`] | pure | findings: what is wrong, how bad, and what to do |
//! | [`boot`] | pure | sysctl.d text: who wins for which reader, what survives a reboot |
//! | [`diagnostic`] | pure | what went wrong and what to do: one sentence, one typed hint |
//! | [`render`] | pure | results as text, JSON, and for monitors: returns strings |
//! | [`kernel`] | door | sysctl tree, ctnetlink, module, host facts, network namespaces |
//! | [`files`] | door | rooted reading, atomic replacement, ownership, no symlink followed |
//!
//! Dependencies point one way: cli → acting → doors → pure. `tests/house.rs` holds that.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
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
mod flow;
#[cfg(feature = "internals")]
pub mod internals;
mod kernel;
mod plan;
mod profile;
mod render;
mod sandbox;
mod tunable;

/// Runs the command line and gives the exit code.
pub use cli::run;
