//! The rules of the firewall, as the programs print them that know all of their kinds.
//!
//! nft knows no rule of iptables but by name, so that iptables-save is asked as well; the legacy one
//! only where the kernel has its tables, since asking loads them.

use std::io;
use std::process::{Command, Stdio};

use crate::flow::NatRules;

/// The tables of iptables-legacy in the calling thread's network namespace.
const LEGACY: [(&str, &str); 2] = [
    (
        "/proc/thread-self/net/ip_tables_names",
        "iptables-legacy-save",
    ),
    (
        "/proc/thread-self/net/ip6_tables_names",
        "ip6tables-legacy-save",
    ),
];
const NFT_BASED: [&str; 2] = ["iptables-nft-save", "ip6tables-nft-save"];

/// Reads the rules of the calling thread's network namespace.
///
/// # Errors
/// Where nft cannot be run, or may not read them.
pub(crate) fn read_rules() -> io::Result<NatRules> {
    let mut rules = NatRules::default();
    let text = output("nft", &["-j", "list", "ruleset"])?;
    if !rules.add_nft(&text) {
        let said = "nft printed no JSON";
        return Err(io::Error::new(io::ErrorKind::InvalidData, said));
    }
    if text.contains("\"xt\"") {
        for program in NFT_BASED {
            rules.add_iptables(&output(program, &[])?, base(program));
        }
    }
    for (tables, program) in LEGACY {
        if std::fs::read_to_string(tables).is_ok_and(|tables| !tables.trim().is_empty()) {
            rules.add_iptables(&output(program, &[])?, base(program));
        }
    }
    Ok(rules)
}

/// `iptables` of `iptables-nft-save`.
fn base(program: &str) -> &str {
    program.split('-').next().unwrap_or(program)
}

fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let failed = |why: &str| io::Error::other(format!("{program}: {why}"));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.lines().next().unwrap_or("it failed")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
