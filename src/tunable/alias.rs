//! Names of keys as other tools and tables have them: `NF_CONNTRACK_MAX`, `established`, `hashsize`.
//!
//! In: a name that no key has. Out: the key that is meant. Rule: only what is certain; what is merely
//! alike is not decided here.

use super::Key;

/// Words that say nothing of which key it is.
const NOISE: [&str; 8] = [
    "net",
    "ipv4",
    "netfilter",
    "nf",
    "ip",
    "conntrack",
    "timeout",
    "timeouts",
];
/// Words of nft, of the module's options and of people, with those of the keys.
const WORDS: [(&str, &[&str]); 9] = [
    ("hashsize", &["buckets"]),
    ("hash", &["buckets"]),
    ("size", &[]),
    ("expectations", &["expect", "max"]),
    ("unreplied", &["udp"]),
    ("replied", &["udp", "stream"]),
    ("assured", &["udp", "stream"]),
    ("unack", &["unacknowledged"]),
    ("retrans", &["max", "retrans"]),
];
/// Of several keys that end so, the one of the first of these is meant.
const FIRST: [&str; 2] = ["tcp", "udp"];

/// The key that such a name means.
pub(super) fn meant(spelling: &str) -> Option<Key> {
    let lower = spelling.to_ascii_lowercase();
    let plain = lower.replace('-', "_");
    if let Some(key) = Key::lookup(&lower).or_else(|| Key::lookup(&plain)) {
        return Some(key);
    }
    let asked = words(&plain);
    if asked.is_empty() || !plain.starts_with("net.netfilter.") && is_elsewhere(&plain) {
        return None;
    }
    let keys = || Key::ALL.iter().map(|key| (*key, words(key.short_name())));
    if let Some((key, _)) = keys().find(|(_, own)| *own == asked) {
        return Some(key);
    }
    let mut ends: Vec<(Key, Vec<String>)> =
        keys().filter(|(_, own)| own.ends_with(&asked)).collect();
    ends.sort_by_key(|(_, own)| {
        let first = own.first().map(String::as_str);
        let place = FIRST.iter().position(|one| Some(*one) == first);
        place.unwrap_or(FIRST.len())
    });
    ends.first().map(|(key, _)| *key)
}

/// Whether it is the name of a sysctl that conntrack does not have.
fn is_elsewhere(name: &str) -> bool {
    let is_old =
        name.starts_with("net.ipv4.netfilter.") || name.starts_with("net.ipv4.ip_conntrack");
    name.contains(['.', '/']) && !is_old
}

fn words(name: &str) -> Vec<String> {
    let words = name
        .split(['_', '.', '/', '-'])
        .filter(|word| !NOISE.contains(word));
    let own = |word: &str| match WORDS.iter().find(|(theirs, _)| *theirs == word) {
        Some((_, own)) => own.iter().map(|one| (*one).to_owned()).collect(),
        None => vec![word.to_owned()],
    };
    let mut words: Vec<String> = words.flat_map(own).collect();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_case_and_the_words_of_other_tools_name_a_key() {
        for (name, key) in [
            ("NF_CONNTRACK_MAX", "max"),
            ("Max", "max"),
            ("NET.NETFILTER.NF_CONNTRACK_MAX", "max"),
            ("conntrack_max", "max"),
            ("ip_conntrack_max", "max"),
            ("net.ipv4.netfilter.ip_conntrack_max", "max"),
            (
                "net.ipv4.netfilter.ip_conntrack_tcp_timeout_established",
                "tcp_timeout_established",
            ),
            ("hashsize", "buckets"),
            ("hash_size", "buckets"),
            ("Established", "tcp_timeout_established"),
            ("tcp_established", "tcp_timeout_established"),
            ("tcp-timeout-established", "tcp_timeout_established"),
            ("tcp_timeout_ESTABLISHED", "tcp_timeout_established"),
            ("time_wait", "tcp_timeout_time_wait"),
            ("retrans", "tcp_timeout_max_retrans"),
            ("udp", "udp_timeout"),
            ("udp_unreplied", "udp_timeout"),
            ("replied", "udp_timeout_stream"),
            ("udp_stream", "udp_timeout_stream"),
            ("icmp", "icmp_timeout"),
            ("cookie_wait", "sctp_timeout_cookie_wait"),
            ("liberal", "tcp_be_liberal"),
            ("loose", "tcp_loose"),
            ("expectations", "expect_max"),
        ] {
            assert_eq!(meant(name).map(Key::short_name), Some(key), "{name}");
        }
    }

    #[test]
    fn what_is_only_alike_or_of_another_subtree_is_not_decided() {
        for name in [
            "",
            "timeout",
            "tcp_timeout_establishd",
            "net.core.max",
            "vm.max",
            "maximum",
            "nf_conntrack",
            "established_tcp",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
