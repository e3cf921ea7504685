//! The conntrack table of the sandbox: simulated files for what a namespace cannot set, and flows.

use std::fs;
use std::io;

use anyhow::Context;
use nix::errno::Errno;

use super::mounts::{HOME, bind};
use super::story::{self, FLOWS};
use crate::diagnostic::{Diagnostic, Hint};
use crate::kernel::ctnetlink::{CreateError, Socket, create};
use crate::tunable::{Key, format_count};

/// The story's max: 32 more than its flows.
const MAX: u32 = 76_800;
const BUCKETS: u32 = 65_536;
/// The kernel's default is a share of the buckets: this is what 65,536 give.
const EXPECT_MAX: u32 = 1024;
/// Five days, the kernel's own default.
const ESTABLISHED: u32 = 432_000;

fn load() -> Hint {
    Hint::on_host("modprobe nf_conntrack_netlink").to("load it, as root")
}

pub(super) fn set_up(asked: u32, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let ceiling = match fs::read_to_string(path(Key::Max)) {
        Ok(text) => text.trim().parse().context("reading the host's max")?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused("connection tracking is not loaded", load()));
        }
        Err(error) => return Err(error).context("reading the host's max"),
    };
    let size = Size::new(asked, ceiling);
    if size.flows < asked {
        say(&format!(
            "cttune sandbox: no namespace can have more flows than the host's max of {}: {} flows instead of {}",
            format_count(ceiling),
            format_count(size.flows),
            format_count(asked),
        ));
    }
    simulate(Key::Max, size.max)?;
    simulate(Key::Buckets, BUCKETS)?;
    simulate(Key::ExpectMax, EXPECT_MAX)?;
    say(&format!(
        "cttune sandbox: max ({}), buckets ({}) and expect_max ({}) are simulated: plain files that the kernel does not read",
        format_count(size.max),
        format_count(BUCKETS),
        format_count(EXPECT_MAX),
    ));
    fs::write(path(Key::TcpTimeoutEstablished), ESTABLISHED.to_string())
        .context("setting the established timeout")?;
    fill(size.flows)
}

fn fill(flows: u32) -> anyhow::Result<()> {
    if flows == 0 {
        return Ok(());
    }
    let mut socket = Socket::netfilter().map_err(|errno| {
        let doing = "opening a netlink socket to netfilter";
        refused(&format!("{doing}: {}", errno.desc()), load())
    })?;
    let created = create(&mut socket, story::flows(flows));
    created.map_err(|error| refused(&error.to_string(), hint(&error)))?;
    Ok(())
}

fn refused(message: &str, hint: Hint) -> anyhow::Error {
    Diagnostic {
        message: message.to_owned(),
        hint: Some(hint),
    }
    .into()
}

/// What can be done about flows that were not created.
fn hint(error: &CreateError) -> Hint {
    let CreateError::Refused { first, .. } = error else {
        return Hint::say("try again");
    };
    match first {
        Errno::ENOMEM => {
            Hint::say("the host's max was lowered or memory is short: try fewer --flows")
        }
        // The chains of a table with too few buckets grow past the kernel's limit.
        Errno::ENOSPC => {
            Hint::say("the host's nf_conntrack_buckets are too few: try fewer --flows")
        }
        _ => load(),
    }
}

/// How many flows there are to be, and the max they are measured against.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    flows: u32,
    max: u32,
}

impl Size {
    /// The story's max holds up to the story's flows and grows with more. Where the ceiling is too
    /// low for the flows, both shrink alike, so that the table is as full as was asked. A ceiling
    /// of 0 is none.
    fn new(asked: u32, ceiling: u32) -> Self {
        let max = scale(MAX, asked.max(FLOWS), FLOWS);
        if ceiling == 0 || asked <= ceiling {
            return Size { flows: asked, max };
        }
        Size {
            flows: ceiling,
            max: scale(max, ceiling, asked),
        }
    }
}

/// `number × part / whole`, rounded down.
fn scale(number: u32, part: u32, whole: u32) -> u32 {
    let scaled = u64::from(number) * u64::from(part) / u64::from(whole);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// Binds a plain file over a sysctl that a namespace cannot write.
fn simulate(key: Key, value: u32) -> anyhow::Result<()> {
    let file = format!("{HOME}/{}", key.tunable().name);
    fs::write(&file, format!("{value}\n")).with_context(|| format!("writing {file}"))?;
    bind(file, path(key))
}

fn path(key: Key) -> String {
    format!("/proc/sys/net/netfilter/{}", key.tunable().name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_full_as_was_asked_whatever_the_host_allows() {
        for (asked, ceiling, flows, max) in [
            (0, 262_144, 0, MAX),
            (0, 1, 0, MAX),
            (1000, 262_144, 1000, MAX),
            (FLOWS, 262_144, FLOWS, MAX),
            (FLOWS, 0, FLOWS, MAX),
            (2 * FLOWS, 262_144, 2 * FLOWS, 2 * MAX),
            (FLOWS, 38_384, 38_384, 38_400),
            (2 * FLOWS, FLOWS, FLOWS, MAX),
            (1000, 500, 500, 38_400),
            (u32::MAX, 0, u32::MAX, u32::MAX),
        ] {
            let size = Size::new(asked, ceiling);
            assert_eq!(size, Size { flows, max }, "{asked} under {ceiling}");
        }
    }
}
