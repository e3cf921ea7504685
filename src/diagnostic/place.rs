//! The place that the operator named, and commands for it.

use std::path::{Path, PathBuf};

/// `--root` and `--netns` as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    root: Option<PathBuf>,
    netns: Option<String>,
}

impl Place {
    pub(crate) fn new(root: Option<&Path>, netns: Option<&str>) -> Self {
        Place {
            root: root.map(Path::to_owned),
            netns: netns.map(str::to_owned),
        }
    }

    /// A command of cttune about this place: without the options, `cttune rollback 1` after a
    /// change of an image would undo the machine's own change 1.
    pub(crate) fn cttune(&self, arguments: &str) -> String {
        let mut command = "cttune".to_owned();
        if let Some(root) = &self.root {
            command.push_str(&format!(" --root {}", quoted(&root.display().to_string())));
        }
        if let Some(netns) = &self.netns {
            command.push_str(&format!(" --netns {}", quoted(netns)));
        }
        format!("{command} {arguments}")
    }

    /// Another program's command, run in this network namespace.
    pub(crate) fn command(&self, line: &str) -> String {
        let Some(netns) = &self.netns else {
            return line.to_owned();
        };
        match netns.strip_prefix("pid:") {
            Some(pid) => format!("nsenter --target {} --net {line}", quoted(pid)),
            None if netns.contains('/') => format!("nsenter --net={} {line}", quoted(netns)),
            None => format!("ip netns exec {} {line}", quoted(netns)),
        }
    }
}

/// As a shell takes it for one word.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_root_and_the_namespace() {
        for (root, netns, cttune, command) in [
            (None, None, "cttune plan", "nft list ruleset"),
            (
                Some("/mnt/an image"),
                None,
                "cttune --root '/mnt/an image' plan",
                "nft list ruleset",
            ),
            (
                None,
                Some("blue"),
                "cttune --netns blue plan",
                "ip netns exec blue nft list ruleset",
            ),
            (
                None,
                Some("it's"),
                r"cttune --netns 'it'\''s' plan",
                r"ip netns exec 'it'\''s' nft list ruleset",
            ),
            (
                None,
                Some("pid:17"),
                "cttune --netns pid:17 plan",
                "nsenter --target 17 --net nft list ruleset",
            ),
            (
                None,
                Some("/run/docker/netns/5a"),
                "cttune --netns /run/docker/netns/5a plan",
                "nsenter --net=/run/docker/netns/5a nft list ruleset",
            ),
        ] {
            let place = Place::new(root.map(Path::new), netns);
            assert_eq!(place.cttune("plan"), cttune);
            assert_eq!(place.command("nft list ruleset"), command);
        }
    }

    #[test]
    fn a_word_survives_the_shell() {
        for (word, expected) in [
            ("campus-fw", "campus-fw"),
            ("", "''"),
            ("./my own.toml", "'./my own.toml'"),
            ("a;b", "'a;b'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
