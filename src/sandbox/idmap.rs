//! Which users of the host exist in the sandbox.
//!
//! An ordinary user is root inside and nobody else exists. Root keeps every id, so that files keep
//! their owners; that map may only be written from outside, by a process with the rights, so a
//! helper is started before the user namespace is entered and gets a byte when that exists.
//! Follows user_namespaces(7), "User and group ID mappings".

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, getegid, geteuid};

use super::{own_pid_in_proc, refusal, start_again};
use crate::kernel::host;

pub(super) const PART: &str = "map-ids";

/// `CAP_SETGID`, `CAP_SETUID` and, for mapping uid 0 since 5.12, `CAP_SETFCAP`.
const NEEDED: u64 = 1 << 6 | 1 << 7 | 1 << 31;

/// The map that this process is going to get.
pub(super) enum IdMap {
    /// Every id stays what it is; the helper is waiting to write that.
    Everyone(Child),
    /// The caller becomes root.
    Caller(Uid, Gid),
}

impl IdMap {
    /// Chooses the map; must run before the user namespace is entered.
    pub(super) fn prepare() -> anyhow::Result<Self> {
        if !geteuid().is_root() || effective_capabilities()? & NEEDED != NEEDED {
            return Ok(IdMap::Caller(geteuid(), getegid()));
        }
        let helper = start_again(PART)
            .arg(own_pid_in_proc()?.to_string())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the helper that maps user ids")?;
        Ok(IdMap::Everyone(helper))
    }

    /// Gives the user namespace, just entered, its map.
    pub(super) fn write(self) -> anyhow::Result<()> {
        match self {
            IdMap::Everyone(mut helper) => {
                if let Some(mut pipe) = helper.stdin.take() {
                    pipe.write_all(b"\n").context("telling the helper")?;
                }
                let output = helper.wait_with_output()?;
                if !output.status.success() {
                    let said = String::from_utf8_lossy(&output.stderr);
                    bail!("mapping user ids: {}", said.trim());
                }
            }
            IdMap::Caller(uid, gid) => {
                // Without the first, the kernel lets nobody but root map a group.
                for (file, text) in [
                    ("setgroups", "deny".to_owned()),
                    ("uid_map", format!("0 {uid} 1")),
                    ("gid_map", format!("0 {gid} 1")),
                ] {
                    fs::write(format!("/proc/self/{file}"), text)
                        .map_err(|error| refusal::because(&format!("writing {file}"), error))?;
                }
            }
        }
        Ok(())
    }
}

/// The helper: waits for a byte on stdin, then maps every id that exists here to itself in the
/// user namespace of `target`. End of file means that nothing is to be done.
pub(super) fn write_when_told(target: u32) -> anyhow::Result<()> {
    if std::io::stdin().read(&mut [0])? == 0 {
        return Ok(());
    }
    for file in ["uid_map", "gid_map"] {
        let own = fs::read_to_string(format!("/proc/self/{file}"))?;
        let theirs = format!("/proc/{target}/{file}");
        fs::write(&theirs, identity(&own)).with_context(|| format!("writing {theirs}"))?;
    }
    Ok(())
}

/// The map onto itself of the ids that a map has inside.
fn identity(map: &str) -> String {
    let lines = map.lines().map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns[..] {
            [inside, _, count] => format!("{inside} {inside} {count}\n"),
            _ => String::new(),
        }
    });
    lines.collect()
}

fn effective_capabilities() -> anyhow::Result<u64> {
    let mask = host::read_own_status("CapEff").unwrap_or_default();
    u64::from_str_radix(&mask, 16).context("reading CapEff in /proc/self/status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_maps_the_ids_that_exist_here_and_no_others() {
        for (here, map) in [
            ("         0          0 4294967295\n", "0 0 4294967295\n"),
            ("0 100000 1000\n1000 1000 1\n", "0 0 1000\n1000 1000 1\n"),
            ("", ""),
        ] {
            assert_eq!(identity(here), map);
        }
    }
}
