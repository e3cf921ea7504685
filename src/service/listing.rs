//! What somebody else made of the table, by nft's listing of it beside that of the table as cttune
//! writes it: over netlink a rule is known by its comment, its object and its label alone.

use std::collections::BTreeMap;

/// A line of a listing, and the chain that it is in.
type Line = (String, String);

/// The lines that are there and should not be, or are not there and should be; with the policy of
/// a chain and the flags of the table. Objects are compared with every value elsewhere.
pub(crate) fn edited(listed: &str, expected: &str) -> Option<String> {
    let (listed, expected) = (blocks(listed), blocks(expected));
    if listed == expected {
        return None;
    }
    let lines = |blocks: &BTreeMap<String, Vec<Line>>| -> Vec<Line> {
        blocks.values().flatten().cloned().collect()
    };
    let mut lacking = lines(&expected);
    let mut more = lines(&listed);
    more.retain(|line| match lacking.iter().position(|one| one == line) {
        Some(place) => {
            lacking.remove(place);
            false
        }
        None => true,
    });
    let mut told = Vec::new();
    told.extend(some(&more, "has", "there and not cttune's"));
    // As many are the same lines edited.
    if lacking.len() > more.len() {
        told.extend(some(&lacking, "lacks", "missing"));
    }
    if told.is_empty() {
        let mut names = listed.keys();
        let name = names.find(|name| listed.get(*name) != expected.get(*name));
        told.extend(name.map(|name| format!("the rules of {name} are in another order")));
    }
    Some(told.join("; "))
}

/// One line with its chain, or the first of several: rules of a service that is gone are not among
/// those that are expected here.
fn some(lines: &[Line], has: &str, are: &str) -> Option<String> {
    let (place, line) = lines.first()?;
    Some(match lines.len() {
        1 => format!("{place} {has} `{line}`"),
        _ => format!("several lines are {are}, the first in {place}: `{line}`"),
    })
}

/// The lines of each chain by its name, and those of the table itself.
fn blocks(text: &str) -> BTreeMap<String, Vec<Line>> {
    const TABLE: &str = "the table";
    let mut blocks: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    let (mut name, mut depth) = (TABLE, 0_usize);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "}" {
            depth = depth.saturating_sub(1);
            continue;
        }
        if depth == 1 {
            let head = line.strip_suffix('{').map(str::trim_end);
            let block = head.unwrap_or(TABLE);
            let line = head.unwrap_or(line);
            let entry = blocks.entry(block.to_owned()).or_default();
            entry.push((TABLE.to_owned(), line.to_owned()));
            name = block;
        } else if depth > 1 {
            let entry = blocks.entry(name.to_owned()).or_default();
            entry.push((name.to_owned(), line.to_owned()));
        }
        depth += usize::from(line.ends_with('{'));
    }
    blocks.retain(|name, _| !name.starts_with("ct timeout "));
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "table inet cttune {
\tct timeout service_a_tcp_1 {
\t\tprotocol tcp
\t\tpolicy = { close : 5 }
\t}

\tchain arriving {
\t\ttype filter hook prerouting priority mangle; policy accept;
\t\tct state != new accept
\t\tmeta l4proto tcp accept comment \"a\"
\t}
}
";

    #[test]
    fn what_somebody_made_of_the_table_is_told_by_the_line() {
        for (from, to, told) in [
            ("close : 5", "close : 6", None),
            ("service_a_tcp_1", "service_a_tcp_2", None),
            (
                "tcp accept",
                "udp accept",
                Some("chain arriving has `meta l4proto udp accept comment \"a\"`"),
            ),
            (
                "\t\tct state != new accept\n",
                "",
                Some("chain arriving lacks `ct state != new accept`"),
            ),
            (
                "\tct timeout",
                "\tflags dormant\n\tct timeout",
                Some("the table has `flags dormant`"),
            ),
            (
                "\t\tct state != new accept\n\t\tmeta l4proto tcp accept comment \"a\"\n",
                "",
                Some(
                    "several lines are missing, the first in chain arriving: `ct state != new accept`",
                ),
            ),
            (
                "\t\tct state != new accept\n",
                "\t\tct state != new accept\n\t\tct state != new accept\n",
                Some("chain arriving has `ct state != new accept`"),
            ),
            (
                "policy accept;",
                "policy drop;",
                Some(
                    "chain arriving has `type filter hook prerouting priority mangle; policy drop;`",
                ),
            ),
            (
                "\t\tct state != new accept\n\t\tmeta l4proto tcp accept comment \"a\"\n",
                "\t\tmeta l4proto tcp accept comment \"a\"\n\t\tct state != new accept\n",
                Some("the rules of chain arriving are in another order"),
            ),
            (
                "\tchain arriving",
                "\tchain b {\n\t}\n\tchain arriving",
                Some("the table has `chain b`"),
            ),
        ] {
            assert!(LISTED.contains(from), "{from}");
            let listed = LISTED.replacen(from, to, 1);
            assert_eq!(edited(&listed, LISTED).as_deref(), told, "{from} {to}");
        }
    }
}
