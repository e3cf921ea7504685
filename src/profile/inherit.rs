//! Merges a profile with its parents and with `--set`: what the operator wants, in one value.

use std::collections::BTreeMap;

use super::value::{self, Wrong};
use super::{ExpireSettings, Goal, Profile, Role};
use crate::tunable::Key;

/// What the operator wants, parents and overrides merged in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Desired {
    /// The profile's name, as `extends` would give it; empty until somebody names it.
    pub(crate) name: String,
    /// What was put over the profile, in the order in which it was given.
    pub(crate) overrides: Vec<Override>,
    /// What the profile is for, in its own words.
    pub(crate) description: Option<String>,
    /// From the nearest profile that names one.
    pub(crate) role: Option<Role>,
    /// By key, in catalog order.
    pub(crate) settings: BTreeMap<Key, Wish>,
    /// Each field from the nearest profile that has it.
    pub(crate) expire: ExpireSettings,
    /// By finding.
    pub(crate) accept: BTreeMap<String, Accepted>,
}

/// What is wanted of one sysctl, and who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The value, or the bounds of it.
    pub(crate) goal: Goal,
    /// Whether a kernel without this key is a failure.
    pub(crate) required: bool,
    /// The author's reason.
    pub(crate) why: Option<String>,
    /// The profile that says so, as people know it, or `--set`.
    pub(crate) origin: String,
}

/// A finding that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Why.
    pub(crate) reason: String,
    /// The profile that says so.
    pub(crate) origin: String,
}

/// Merges a chain of profiles, the child first and each parent behind its child.
///
/// A setting is taken whole from the nearest profile that has the key: a child's value is never
/// mixed with a parent's bounds.
pub(crate) fn inherit(chain: &[Profile]) -> Desired {
    let mut desired = Desired {
        description: chain.first().and_then(|child| child.description.clone()),
        ..Desired::default()
    };
    for profile in chain {
        let origin = &profile.source.name;
        desired.role = desired.role.or(profile.role);
        desired.expire = desired.expire.over(profile.expire.clone());
        for setting in &profile.settings {
            desired.settings.entry(setting.key).or_insert_with(|| Wish {
                goal: setting.goal.clone(),
                required: setting.required,
                why: setting.why.clone(),
                origin: origin.clone(),
            });
        }
        for (finding, reason) in &profile.accept {
            desired
                .accept
                .entry(finding.clone())
                .or_insert_with(|| Accepted {
                    reason: reason.clone(),
                    origin: origin.clone(),
                });
        }
    }
    desired
}

impl Desired {
    /// Why a key is wanted so, as the profile says it.
    pub(crate) fn why(&self, key: Key) -> Option<&str> {
        self.settings.get(&key)?.why.as_deref()
    }

    /// Puts overrides over what the profiles say; of two for one key the later one wins.
    #[must_use]
    pub(crate) fn with_overrides(mut self, overrides: &[Override]) -> Desired {
        for Override { key, value } in overrides {
            self.overrides.retain(|known| known.key != *key);
            self.overrides.push(Override {
                key: *key,
                value: *value,
            });
            let required = self.settings.get(key).is_some_and(|wish| wish.required);
            let wish = Wish {
                goal: Goal::Exact(*value),
                required,
                why: Some("--set".to_owned()),
                origin: "--set".to_owned(),
            };
            self.settings.insert(*key, wish);
        }
        self
    }
}

/// A value from the command line, `--set KEY=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Override {
    /// The sysctl.
    pub(crate) key: Key,
    /// In the key's unit; buckets are rounded up as the kernel does.
    pub(crate) value: i64,
}

/// What is wrong with `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {problem}")]
pub(crate) struct OverrideError {
    /// What was given.
    pub(crate) text: String,
    /// What is wrong with it.
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
}

impl std::str::FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Override, OverrideError> {
        let error = |problem: String, help: Option<String>| OverrideError {
            text: text.to_owned(),
            problem,
            help,
        };
        let (name, value) = text.split_once('=').ok_or_else(|| {
            let help = "write KEY=VALUE, such as tcp_timeout_established=2h4m".to_owned();
            error("`=` is missing".to_owned(), Some(help))
        })?;
        let key = Key::find(name.trim()).map_err(|unknown| {
            let help = unknown
                .nearest()
                .map(|near| format!("did you mean `{near}`?"));
            error(unknown.to_string(), help)
        })?;
        match value::for_key(key, value::unquoted(value.trim())) {
            Ok(value) => Ok(Override { key, value }),
            Err(Wrong { title, help, .. }) => Err(error(title, help)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Bounds, Source, parse};

    fn profile(name: &str, text: &str) -> Profile {
        parse(&Source::new(name, text)).unwrap()
    }

    #[test]
    fn the_child_wins_setting_by_setting_and_each_remembers_where_it_came_from() {
        let child = profile(
            "child",
            "description = \"c\"\n[sysctl]\nmax = 5\n[expire]\ngrace = \"1h\"\n[accept]\na = \"child\"\n",
        );
        let parent = profile(
            "parent",
            "description = \"p\"\nrole = \"nat\"\n[sysctl]\nmax = { at-least = 7, at-most = 9 }\nudp_timeout = 30\n\
             [expire]\ngrace = 1\nmode = \"re-age\"\n[accept]\na = \"parent\"\nb = \"parent\"\n",
        );
        let desired = inherit(&[child, parent]);
        assert_eq!(desired.description.as_deref(), Some("c"));
        assert_eq!(desired.role, Some(Role::Nat));
        let of = |key| {
            desired
                .settings
                .get(&key)
                .map(|wish| (wish.goal.clone(), wish.origin.as_str()))
        };
        assert_eq!(of(Key::Max), Some((Goal::Exact(5), "child")));
        assert_eq!(of(Key::UdpTimeout), Some((Goal::Exact(30), "parent")));
        assert_eq!(desired.expire.grace, Some(3600));
        assert_eq!(desired.expire.mode, Some(crate::profile::ExpireMode::ReAge));
        let accepted = |id| {
            desired
                .accept
                .get(id)
                .map(|accepted| accepted.reason.as_str())
        };
        assert_eq!(
            (accepted("a"), accepted("b")),
            (Some("child"), Some("parent"))
        );
    }

    #[test]
    fn an_override_takes_the_unquoted_form() {
        for (text, key, value) in [
            (
                "tcp_timeout_established=600",
                Key::TcpTimeoutEstablished,
                600,
            ),
            (
                "net.netfilter.nf_conntrack_tcp_timeout_established=2h4m",
                Key::TcpTimeoutEstablished,
                7440,
            ),
            ("max=1048576", Key::Max, 1_048_576),
            ("acct=true", Key::Acct, 1),
            ("frag6_high_thresh=8MiB", Key::Frag6HighThresh, 8 << 20),
            (" buckets = 1000 ", Key::Buckets, 1024),
        ] {
            assert_eq!(text.parse(), Ok(Override { key, value }), "{text}");
        }
    }

    #[test]
    fn a_wrong_override_says_what_to_write() {
        for (text, problem, help) in [
            ("max", "`=` is missing", "KEY=VALUE"),
            ("maxx=1", "no conntrack sysctl is called `maxx`", "`max`"),
            (
                "net.core.somaxconn=1",
                "cttune sets keys of net.netfilter alone",
                "",
            ),
            (
                "udp_timeout=10min",
                "no unit of time is called `min`",
                "write 10m",
            ),
            ("udp_timeout=\"10\"", "not a time", "600"),
            ("acct=2", "a switch is on or off", "true or false"),
            ("max=0", "out of range", "1 to 2147483647"),
            ("max=-1", "a negative value", "1 to"),
        ] {
            let error = text.parse::<Override>().unwrap_err();
            assert!(error.problem.contains(problem), "{error}");
            assert!(error.help.unwrap_or_default().contains(help), "{text}");
        }
    }

    #[test]
    fn an_override_replaces_bounds_and_the_later_one_wins() {
        let base = profile("p", "[sysctl]\nmax = { at-least = 7, required = true }\n");
        let set = |text: &str| text.parse().unwrap();
        let desired = inherit(&[base]).with_overrides(&[set("max=8"), set("max=9")]);
        let wish = desired.settings.get(&Key::Max).unwrap();
        assert_eq!(
            (&wish.goal, wish.origin.as_str(), wish.required),
            (&Goal::Exact(9), "--set", true)
        );
        assert_ne!(wish.goal, Goal::Bounds(Bounds::default()));
    }
}
