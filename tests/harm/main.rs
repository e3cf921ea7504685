//! `cttune expire` does no harm to connections that are alive: real TCP through real firewalls.
//!
//! Each test runs in a sandbox, where the client, the firewall and the server are namespaces.
//! Needs the packages conntrack, faketime, iproute2, nftables and util-linux.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::too_many_lines)] // one scenario each

mod churn;
mod guard;
#[path = "../inside/mod.rs"]
mod inside;
mod matrix;
mod mixed;
mod net;
mod packets;
mod race;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod table;
