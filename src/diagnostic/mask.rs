//! Addresses and names that others shall not read, each under the same alias wherever it is.
//!
//! In: text of a report. Out: the text with `v4-1`, `v6-2` and `mac-1` in place of addresses, and
//! `host` in place of the machine's name. Ports and lengths of prefixes stay; so do loopback and
//! the unspecified address, which everybody has.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The aliases that were given so far.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    host: String,
    aliases: BTreeMap<String, String>,
    /// How many there are of each kind.
    numbers: BTreeMap<&'static str, usize>,
}

impl Mask {
    /// One that also hides the machine's name.
    pub(crate) fn new(host: &str) -> Self {
        Mask {
            host: host.to_owned(),
            ..Mask::default()
        }
    }

    /// The text without what it hides.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let (run, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            masked.push_str(before);
            masked.push_str(&self.run(run));
            rest = after;
        }
        masked.push_str(rest);
        self.without_name(&masked)
    }

    /// What may be an address, with the port or the full stop that touches it.
    fn run(&mut self, run: &str) -> String {
        let bare = run.trim_end_matches(['.', ':']);
        let with_port = bare.rsplit_once(':').filter(|(host, _)| host.contains('.'));
        for one in [Some(bare), with_port.map(|(host, _)| host)]
            .into_iter()
            .flatten()
        {
            if let Some(alias) = self.alias(one) {
                let behind = run.get(one.len()..).unwrap_or_default();
                return format!("{alias}{behind}");
            }
        }
        run.to_owned()
    }

    fn alias(&mut self, text: &str) -> Option<String> {
        let kind = match text.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || address.is_unspecified() => return None,
            Ok(IpAddr::V4(_)) => "v4",
            Ok(IpAddr::V6(_)) => "v6",
            Err(_) if is_mac(text) => "mac",
            Err(_) => return None,
        };
        if let Some(alias) = self.aliases.get(text) {
            return Some(alias.clone());
        }
        let number = self.numbers.entry(kind).or_default();
        *number += 1;
        let alias = format!("{kind}-{number}");
        self.aliases.insert(text.to_owned(), alias.clone());
        Some(alias)
    }

    /// The name where it is a word of its own.
    fn without_name(&self, text: &str) -> String {
        if self.host.len() < 2 {
            return text.to_owned();
        }
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(self.host.as_str()) {
            masked.push_str(before);
            let inside = is_word(before.chars().next_back()) || is_word(after.chars().next());
            masked.push_str(if inside { &self.host } else { "host" });
            rest = after;
        }
        masked + rest
    }
}

fn is_mac(text: &str) -> bool {
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(is_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_aliases_and_all_else_stays() {
        let mut mask = Mask::new("fw1");
        for (text, masked) in [
            ("src=192.0.2.7,dport=443", "src=v4-1,dport=443"),
            ("192.0.2.7:443 and 10.0.0.0/8.", "v4-1:443 and v4-2/8."),
            ("[2001:db8::7]:53, fe80::1%eth0", "[v6-1]:53, v6-2%eth0"),
            ("2001:DB8::7 10.1.2.3-10.1.2.9", "v6-3 v4-3-v4-4"),
            ("link 02:42:ac:11:00:02 up", "link mac-1 up"),
            ("127.0.0.1 ::1 0.0.0.0 ::", "127.0.0.1 ::1 0.0.0.0 ::"),
            (
                "Linux 6.1.0-13, at 14:07:31: 2.5 MiB",
                "Linux 6.1.0-13, at 14:07:31: 2.5 MiB",
            ),
            ("fw1: fw10, afw1, \"fw1\"", "host: fw10, afw1, \"host\""),
            (
                "/etc/sysctl.d/90-cttune.conf",
                "/etc/sysctl.d/90-cttune.conf",
            ),
        ] {
            assert_eq!(mask.text(text), masked);
        }
    }
}
