//! conntrackd: whether it copies flows to another node. Follows conntrackd.conf(5).

use super::facts::Facts;

const CONF: &str = "/etc/conntrackd/conntrackd.conf";

/// Whether its file has a section `Sync`; Debian's own has `Stats`, which only counts.
pub(super) fn copies(facts: &Facts<'_>) -> Option<bool> {
    let of = |words: &[String]| (words[0] == "-C").then(|| words[1].clone());
    let mut running = facts
        .processes()
        .iter()
        .filter(|one| one.name == "conntrackd");
    let named = running.find_map(|one| one.arguments.windows(2).find_map(of));
    facts
        .text(named.as_deref().unwrap_or(CONF))
        .map(copies_flows)
}

/// Whether the text of a conntrackd.conf has a section `Sync`.
fn copies_flows(text: &str) -> bool {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.into_iter().any(|line| {
        let name = line.split([' ', '\t', '{']).next().unwrap_or_default();
        name.eq_ignore_ascii_case("sync")
    })
}
