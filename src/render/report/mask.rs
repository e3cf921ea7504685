//! Takes addresses and the host's name out of a report.
//!
//! Rule: whatever parses as an IPv4 or IPv6 address is replaced, in free text too, the same address
//! by the same word each time; prefix lengths and ports stay.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;

/// What addresses were replaced with.
#[derive(Debug, Default)]
pub(super) struct Mask {
    words: HashMap<IpAddr, String>,
    /// Names of the host, the longest first.
    hosts: Vec<String>,
}

impl Mask {
    /// A mask for the addresses and this name, also without its domain.
    pub(super) fn new(host: &str) -> Self {
        let label = host.split('.').next().unwrap_or_default();
        let mut hosts = vec![host.to_lowercase(), label.to_lowercase()];
        hosts.retain(|name| !name.is_empty());
        hosts.dedup();
        let words = HashMap::new();
        Mask { words, hosts }
    }

    /// Masks every string.
    pub(super) fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|one| self.value(one)),
            Value::Object(fields) => fields.values_mut().for_each(|one| self.value(one)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The text without addresses and names.
    pub(super) fn text(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(one) = rest.chars().next() {
            let run = run_of(rest, |one| one.is_ascii_hexdigit() || ".:".contains(one));
            if run.is_empty() {
                masked.push(one);
                rest = rest.get(one.len_utf8()..).unwrap_or_default();
            } else {
                self.run(run, &mut masked);
                rest = rest.get(run.len()..).unwrap_or_default();
            }
        }
        self.without_host(&masked)
    }

    /// A run of characters that addresses are made of: the longest address at each place.
    fn run(&mut self, run: &str, masked: &mut String) {
        let mut start = 0;
        while start < run.len() {
            let ends = (start + 2..=run.len()).rev();
            let found = ends.take_while(|_| run.len() <= 512).find_map(|end| {
                let address = run.get(start..end)?.parse::<IpAddr>().ok()?;
                Some((end, address))
            });
            if let Some((end, address)) = found {
                masked.push_str(&self.word(address));
                start = end;
            } else {
                masked.push_str(run.get(start..=start).unwrap_or_default());
                start += 1;
            }
        }
    }

    fn word(&mut self, address: IpAddr) -> String {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        let of_family = |known: &&IpAddr| known.is_ipv4() == address.is_ipv4();
        let number = self.words.keys().filter(of_family).count() + 1;
        let word = self.words.entry(address);
        word.or_insert_with(|| format!("{family}-{number}")).clone()
    }

    /// Replaces the host's names where they are whole words.
    fn without_host(&self, text: &str) -> String {
        let is_word = |one: char| one.is_alphanumeric() || "-_".contains(one);
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(one) = rest.chars().next() {
            let name = self.hosts.iter().find(|name| {
                let part = rest.get(..name.len());
                let after = rest.get(name.len()..).and_then(|rest| rest.chars().next());
                part.is_some_and(|part| part.to_lowercase() == **name)
                    && !after.is_some_and(is_word)
                    && !before.is_some_and(is_word)
            });
            let length = if let Some(name) = name {
                masked.push_str("host");
                name.len()
            } else {
                masked.push(one);
                one.len_utf8()
            };
            before = rest.get(..length).and_then(|part| part.chars().next_back());
            rest = rest.get(length..).unwrap_or_default();
        }
        masked
    }
}

/// The characters at the beginning of a text that are of a kind.
fn run_of(text: &str, is_of: impl Fn(char) -> bool) -> &str {
    let end = text.find(|one| !is_of(one)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_and_the_host_go_and_the_rest_stays() {
        let mut mask = Mask::new("fw1.example.org");
        for (text, masked) in [
            ("to 10.0.0.1 port 80, 10.0.0.2", "to ipv4-1 port 80, ipv4-2"),
            (
                "[2001:DB8::1]:443 and 10.0.0.1:80.",
                "[ipv6-1]:443 and ipv4-1:80.",
            ),
            ("net 2001:db8::1/64", "net ipv6-1/64"),
            ("src=::ffff:10.9.9.9;fe80::1%eth0", "src=ipv6-2;ipv6-3%eth0"),
            ("address:10.0.0.1-10.0.0.2", "address:ipv4-1-ipv4-2"),
            (
                "FW1: fw1.example.org, fw10, a-fw1",
                "host: host, fw10, a-fw1",
            ),
            (
                "14:07:31, 2026-11-26, 6.18.44, 99.9 %",
                "14:07:31, 2026-11-26, 6.18.44, 99.9 %",
            ),
            ("nf_conntrack_max = 76800; é", "nf_conntrack_max = 76800; é"),
        ] {
            assert_eq!(mask.text(text), masked, "{text}");
        }
    }
}
