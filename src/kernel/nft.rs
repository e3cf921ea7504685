//! Runs nft: text in, all of it or none of it.
//!
//! Text and not JSON, of which nft before 1.0.9 drops the timeouts without a word.

use std::io::{self, ErrorKind};
use std::process::Command;

use super::ctnetlink;
use super::netns;
use super::program;
use crate::service::{Found, NAME, Table, edited};

/// Why nft did not take a text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NftError {
    #[error("nft is not installed")]
    NotInstalled,
    #[error("running nft: {}", crate::diagnostic::said(.0))]
    Io(io::Error),
    /// What it said first.
    #[error("{}", refused(.0))]
    Refused(String),
}

/// The usual refusals by what they mean for timeouts.
fn refused(said: &str) -> String {
    let has = |part: &str| said.contains(part);
    if has("Operation not permitted") {
        "permission denied: needs root (CAP_NET_ADMIN)".to_owned()
    } else if has("syntax error") {
        format!("this nft does not know ct timeout, which 0.9.1 and newer do: {said}")
    } else if has("No such file or directory") || has("not supported") {
        format!(
            "this kernel has no timeouts for nft rules (CONFIG_NF_CONNTRACK_TIMEOUT, \
             CONFIG_NFT_CT): {said}"
        )
    } else {
        format!("nft: {said}")
    }
}

/// Has a text judged by nft and the kernel; nothing is changed.
pub(crate) fn check(text: &str) -> Result<(), NftError> {
    run(&["-c", "-f", "-"], text).map(drop)
}

/// Loads a text in the calling thread's network namespace.
pub(crate) fn load(text: &str) -> Result<(), NftError> {
    run(&["-f", "-"], text).map(drop)
}

/// The ruleset of the calling thread's network namespace, as nft prints and reads it.
pub(crate) fn list() -> Result<String, NftError> {
    run(&["list", "ruleset"], "")
}

/// Reads nft's table of cttune in the calling thread's network namespace, with what somebody else
/// made of it.
///
/// Needs `CAP_NET_ADMIN` over it, and where there is a table, a network namespace to compare it in.
pub(crate) fn read_table() -> Found {
    let read = || {
        let read = ctnetlink::read_table();
        read.unwrap_or_else(|error| Found::Unread(error.to_string()))
    };
    let unread = |error: NftError| Found::Unread(error.to_string());
    match read() {
        Found::Ours(table) if !table.is_empty() => match list_table() {
            Ok(listed) => expected(&table).map_or_else(unread, |expected| {
                let edited = edited(&listed, &expected);
                Found::Ours(Table { edited, ..table })
            }),
            // Somebody took it away in between.
            Err(error) => match read() {
                Found::Ours(table) if !table.is_empty() => unread(error),
                found => found,
            },
        },
        found => found,
    }
}

/// Without what counters hold, which changes with every packet.
fn list_table() -> Result<String, NftError> {
    run(&["-s", "list", "table", "inet", NAME], "")
}

/// How nft lists the table as cttune writes it; nothing of what nft does not take.
fn expected(table: &Table) -> Result<String, NftError> {
    let load_and_list = || load(&table.text()).and_then(|()| list_table());
    match netns::in_private(load_and_list).map_err(NftError::Io)? {
        Err(NftError::Refused(_)) => Ok(String::new()),
        listed => listed,
    }
}

fn run(arguments: &[&str], text: &str) -> Result<String, NftError> {
    let run = program::run(Command::new("nft").args(arguments), text);
    let output = run.map_err(|error| match error.kind() {
        ErrorKind::NotFound => NftError::NotInstalled,
        _ => NftError::Io(error),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = program::said(&output);
    let mut lines = said.lines();
    let line = lines.find(|line| line.contains("Error"));
    let line = line.or(said.lines().next()).unwrap_or_default();
    let line = line.split_once("Error: ").map_or(line, |(_, rest)| rest);
    Err(NftError::Refused(line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_missing() {
        for (said, means) in [
            (
                "Could not process rule: No such file or directory",
                "CONFIG_NF_CONNTRACK_TIMEOUT",
            ),
            (
                "Could not process rule: Operation not supported",
                "CONFIG_NF_CONNTRACK_TIMEOUT",
            ),
            ("syntax error, unexpected timeout", "0.9.1 and newer"),
            (
                "Operation not permitted (you must be root)",
                "CAP_NET_ADMIN",
            ),
            (
                "Could not process rule: Device or resource busy",
                "nft: Could not",
            ),
        ] {
            assert!(refused(said).contains(means), "{said}");
        }
    }
}
