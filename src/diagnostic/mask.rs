//! Addresses and names that others shall not read, each under the same alias wherever it is.
//!
//! In: text or JSON. Out: the same with `ipv4-1`, `ipv6-2` and `mac-1` in place of addresses, and
//! `host` in place of the machine's name. Rule: what could be an address is hidden, wherever it
//! stands; ports and lengths of prefixes stay, and so do loopback and the unspecified address, which
//! everybody has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

/// The longest way to write an address.
const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

/// The aliases that were given so far.
#[derive(Debug)]
pub(crate) struct Mask {
    /// With the domain, and without it.
    hosts: Vec<String>,
    aliases: BTreeMap<(&'static str, String), usize>,
}

impl Mask {
    /// One that also hides the machine's name.
    pub(crate) fn new(host: &str) -> Self {
        let label = host.split('.').next().unwrap_or_default();
        let hosts = [host, label].map(str::to_owned).into_iter();
        Mask {
            hosts: hosts.filter(|name| !name.is_empty()).collect(),
            aliases: BTreeMap::new(),
        }
    }

    /// Hides them in every string, and in the names of fields.
    pub(crate) fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|one| self.value(one)),
            Value::Object(fields) => {
                let shown = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                    self.value(&mut value);
                    (self.text(&name), value)
                });
                *fields = shown.collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The text without what it hides.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let length = if let Some(length) = self.name(before, rest) {
                masked.push_str("host");
                length
            } else if let Some((length, found)) = address(before, rest) {
                masked.push_str(&self.alias(&found));
                length
            } else {
                masked.push(first);
                first.len_utf8()
            };
            let (read, after) = rest.split_at(length);
            before = read.chars().next_back();
            rest = after;
        }
        masked
    }

    /// The length of the host's name that the text begins with, if it is a word of its own.
    fn name(&self, before: Option<char>, text: &str) -> Option<usize> {
        let is_word = |one: char| one.is_alphanumeric() || "-_".contains(one);
        let is_name = |name: &&String| {
            let (part, after) = (text.get(..name.len()), text.get(name.len()..));
            part.is_some_and(|part| part.eq_ignore_ascii_case(name))
                && !after.is_some_and(|after| after.starts_with(is_word))
        };
        let found = self.hosts.iter().find(is_name)?;
        (!before.is_some_and(is_word)).then_some(found.len())
    }

    fn alias(&mut self, found: &Found) -> String {
        let key = match found {
            Found::Everybodys(text) => return text.clone(),
            Found::Ip(address @ IpAddr::V4(_)) => ("ipv4", address.to_string()),
            Found::Ip(address) => ("ipv6", address.to_string()),
            Found::Mac(text) => ("mac", text.to_lowercase()),
        };
        let kind = key.0;
        let number = self.aliases.keys().filter(|known| known.0 == kind).count() + 1;
        format!("{kind}-{}", self.aliases.entry(key).or_insert(number))
    }
}

enum Found {
    /// Loopback, or none.
    Everybodys(String),
    Ip(IpAddr),
    Mac(String),
}

/// The longest address that the text begins with, and its length. Of a number no part is one.
fn address(before: Option<char>, text: &str) -> Option<(usize, Found)> {
    let is_part = |one: char| one.is_ascii_hexdigit() || ".:".contains(one);
    let run = text.find(|one| !is_part(one)).unwrap_or(text.len());
    let is_digit = |one: char| one.is_ascii_digit();
    (2..=run.min(LONGEST)).rev().find_map(|length| {
        let (part, after) = text.split_at_checked(length)?;
        let found = match part.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) if before.is_some_and(is_digit) || after.starts_with(is_digit) => {
                return None;
            }
            Ok(ip) if ip.is_loopback() || ip.is_unspecified() => Found::Everybodys(part.to_owned()),
            Ok(ip) => Found::Ip(ip),
            Err(_) if is_mac(part) => Found::Mac(part.to_owned()),
            Err(_) => return None,
        };
        Some((length, found))
    })
}

fn is_mac(text: &str) -> bool {
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.len() == 17 && text.split(':').count() == 6 && text.split(':').all(is_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_the_host_have_aliases_and_all_else_stays() {
        let mut mask = Mask::new("fw1.example.org");
        for (text, masked) in [
            ("to 10.0.0.1 port 80, 10.0.0.2", "to ipv4-1 port 80, ipv4-2"),
            (
                "[2001:DB8::1]:443, 10.0.0.1:80.",
                "[ipv6-1]:443, ipv4-1:80.",
            ),
            ("net 2001:db8::1/64 10.0.0.0/8", "net ipv6-1/64 ipv4-3/8"),
            ("src=::ffff:10.9.9.9;fe80::1%eth0", "src=ipv6-2;ipv6-3%eth0"),
            ("address:10.0.0.1-10.0.0.2", "address:ipv4-1-ipv4-2"),
            ("::ffff:0:0:255.255.255.255", "ipv6-4"),
            ("link 02:42:AC:11:00:02 up", "link mac-1 up"),
            ("127.0.0.1 ::1 0.0.0.0/0 ::", "127.0.0.1 ::1 0.0.0.0/0 ::"),
            (
                "FW1: fw1.example.org, fw10, a-fw1",
                "host: host, fw10, a-fw1",
            ),
            ("\"fw1\" is fw1.", "\"host\" is host."),
            (
                "Linux 2.6.32.431.el6 at 14:07:31, 2026-11-26, 10.0.0.1234, 99.9 %",
                "Linux 2.6.32.431.el6 at 14:07:31, 2026-11-26, 10.0.0.1234, 99.9 %",
            ),
            (
                "/etc/sysctl.d/90-cttune.conf é",
                "/etc/sysctl.d/90-cttune.conf é",
            ),
        ] {
            assert_eq!(mask.text(text), masked, "{text}");
        }
        // However long the run is that it is part of.
        let long = format!("{}10.0.0.1{}", "a:".repeat(600), ":a".repeat(600));
        assert!(!mask.text(&long).contains("10.0.0.1"));
    }

    #[test]
    fn names_of_fields_are_masked_too() {
        let mut value = serde_json::json!({ "10.0.0.1": ["on fw1", 1, null] });
        Mask::new("fw1").value(&mut value);
        let masked = serde_json::json!({ "ipv4-1": ["on host", 1, null] });
        assert_eq!(value, masked);
    }
}
