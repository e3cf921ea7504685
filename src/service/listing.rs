//! What somebody else made of the table, by nft's listing of it beside that of the table as cttune
//! writes it: over netlink a rule is known by its comment, its object and its label alone.

use std::collections::BTreeMap;

/// The first line that is there and should not be, or is not there and should be; with the policy of
/// a chain and the flags of the table. Objects are compared with every value elsewhere.
pub(crate) fn edited(listed: &str, expected: &str) -> Option<String> {
    let (listed, expected) = (blocks(listed), blocks(expected));
    let mut names = listed.keys().chain(expected.keys());
    names.find_map(|name| {
        let of = |blocks: &BTreeMap<&str, Vec<String>>| blocks.get(name).cloned();
        let (now, wanted) = (of(&listed), of(&expected));
        if now == wanted {
            return None;
        }
        let (now, wanted) = (now.unwrap_or_default(), wanted.unwrap_or_default());
        let more = now.iter().find(|line| !wanted.contains(line));
        let less = wanted.iter().find(|line| !now.contains(line));
        Some(match (more, less) {
            (Some(line), _) => format!("it has `{line}`"),
            (None, Some(line)) => format!("it lacks `{line}`"),
            (None, None) => format!("the rules of {name} are in another order"),
        })
    })
}

/// The lines of each chain by its name, and those of the table itself by none.
fn blocks(text: &str) -> BTreeMap<&str, Vec<String>> {
    let mut blocks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut name, mut depth) = ("", 0_usize);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "}" {
            depth = depth.saturating_sub(1);
            continue;
        }
        match depth {
            0 => {}
            1 if line.ends_with('{') => {
                name = line.trim_end_matches([' ', '{']);
                blocks.insert(name, vec![name.to_owned()]);
            }
            1 => blocks.entry("").or_default().push(line.to_owned()),
            _ => blocks.entry(name).or_default().push(line.to_owned()),
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
                Some("it has `meta l4proto udp accept comment \"a\"`"),
            ),
            (
                "\t\tct state != new accept\n",
                "",
                Some("it lacks `ct state != new accept`"),
            ),
            (
                "\tct timeout",
                "\tflags dormant\n\tct timeout",
                Some("it has `flags dormant`"),
            ),
            (
                "policy accept;",
                "policy drop;",
                Some("it has `type filter hook prerouting priority mangle; policy drop;`"),
            ),
            (
                "\t\tct state != new accept\n\t\tmeta l4proto tcp accept comment \"a\"\n",
                "\t\tmeta l4proto tcp accept comment \"a\"\n\t\tct state != new accept\n",
                Some("the rules of chain arriving are in another order"),
            ),
            (
                "\tchain arriving",
                "\tchain b {\n\t}\n\tchain arriving",
                Some("it has `chain b`"),
            ),
        ] {
            assert!(LISTED.contains(from), "{from}");
            let listed = LISTED.replacen(from, to, 1);
            assert_eq!(edited(&listed, LISTED).as_deref(), told, "{from} {to}");
        }
    }
}
