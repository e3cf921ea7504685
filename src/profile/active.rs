//! What apply last put in force, as a profile: the one that was named, and what was set beside it.

use toml_edit::{DocumentMut, Item, Table, value};

use super::Override;

const HEADER: &str = "\
# What `cttune apply` last put in force: the profile, and what was set beside it.
# `cttune check` and `cttune plan` compare with it when no profile is named.
";

/// The text of that profile. Reading it gives the same name and overrides again.
pub(crate) fn render(name: &str, overrides: &[Override]) -> String {
    let mut document = DocumentMut::new();
    document.insert("extends", value(name));
    if !overrides.is_empty() {
        let mut table = Table::new();
        for Override { key, value: number } in overrides {
            table.insert(key.file_name(), value(*number));
        }
        document.insert("sysctl", Item::Table(table));
    }
    format!("{HEADER}{document}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Goal, Source, parse};
    use crate::tunable::Key;

    #[test]
    fn it_reads_back_as_it_was_written() {
        let overrides = [
            Override {
                key: Key::TcpTimeoutEstablished,
                value: 600,
            },
            Override {
                key: Key::Acct,
                value: 1,
            },
        ];
        for name in ["campus-fw", "/srv/site's \"own\".toml"] {
            let text = render(name, &overrides);
            let profile = parse(&Source::new("active.toml", text)).unwrap();
            assert_eq!(profile.extends.unwrap().name, name);
            let goals: Vec<_> = profile
                .settings
                .iter()
                .map(|s| (s.key, s.goal.clone()))
                .collect();
            assert_eq!(
                goals,
                [
                    (Key::TcpTimeoutEstablished, Goal::Exact(600)),
                    (Key::Acct, Goal::Exact(1))
                ]
            );
        }
        assert!(!render("campus-fw", &[]).contains("[sysctl]"));
    }
}
