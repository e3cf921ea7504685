//! Merges a profile with its parents and with `--set`: what the operator asks for, in one value.

use std::collections::BTreeMap;

use super::{ExpireSettings, Goal, GuardSettings, Profile, Role, Setting, Wrong, value};
use crate::service::{Lifeline, Service};
use crate::tunable::Key;

/// What the operator asks for, parents and overrides merged in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Desired {
    /// The profile's name, as `extends` would give it; empty until somebody names it.
    pub(crate) name: String,
    /// Whether it is what apply remembered, and not a profile that was named.
    pub(crate) is_active: bool,
    /// What was set beside the profile.
    pub(crate) overrides: BTreeMap<Key, i64>,
    /// The profile's own, not a parent's.
    pub(crate) description: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) settings: BTreeMap<Key, Setting>,
    pub(crate) expire: ExpireSettings,
    pub(crate) guard: GuardSettings,
    /// By name.
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) lifeline: Option<Lifeline>,
    /// By id of the finding.
    pub(crate) accept: BTreeMap<String, Accepted>,
}

/// Why a finding is accepted, and the profile that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) reason: String,
    pub(crate) origin: String,
}

/// Merges a chain of profiles, the child first and each parent behind its child.
pub(crate) fn inherit(chain: &[Profile]) -> Desired {
    let merged = chain
        .iter()
        .map(|profile| profile.desired.clone())
        .reduce(Desired::over);
    merged.unwrap_or_default()
}

impl Desired {
    /// Fills what is left out from a parent. A setting is taken whole: a child's value is never
    /// mixed with a parent's bounds.
    fn over(self, mut parent: Desired) -> Desired {
        parent.settings.extend(self.settings);
        parent.accept.extend(self.accept);
        parent.services.extend(self.services);
        Desired {
            role: self.role.or(parent.role),
            settings: parent.settings,
            expire: self.expire.over(parent.expire),
            guard: self.guard.over(parent.guard),
            services: parent.services,
            lifeline: self.lifeline.or(parent.lifeline),
            accept: parent.accept,
            ..self
        }
    }

    /// Whether it needs nft.
    pub(crate) fn has_services(&self) -> bool {
        !self.services.is_empty() || self.lifeline.is_some()
    }

    pub(crate) fn why(&self, key: Key) -> Option<&str> {
        self.settings.get(&key)?.why.as_deref()
    }

    /// Puts overrides over what the profiles say.
    #[must_use]
    pub(crate) fn with_overrides(mut self, overrides: &BTreeMap<Key, i64>) -> Desired {
        for (key, value) in overrides {
            self.overrides.insert(*key, *value);
            let setting = Setting {
                goal: Goal::Exact(*value),
                required: self
                    .settings
                    .get(key)
                    .is_some_and(|setting| setting.required),
                why: Some("--set".to_owned()),
                origin: "--set".to_owned(),
            };
            self.settings.insert(*key, setting);
        }
        self
    }
}

/// Reads `--set KEY=VALUE`; buckets are rounded up as the kernel does.
pub(crate) fn parse_override(text: &str) -> Result<(Key, i64), Wrong> {
    let Some((name, value)) = text.split_once('=') else {
        let help = "write KEY=VALUE, such as tcp_timeout_established=2h4m";
        return Err(Wrong::new("`=` is missing", "").help(help));
    };
    let key = Key::find(name.trim())
        .map_err(|unknown| Wrong::new(unknown.to_string(), "").help(unknown.help()))?;
    Ok((key, value::for_key(key, value::unquoted(value.trim()))?))
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
                .map(|setting| (setting.goal.clone(), setting.origin.as_str()))
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
            ("max=1_048_576", Key::Max, 1_048_576),
            ("acct=true", Key::Acct, 1),
            ("frag6_high_thresh=8MiB", Key::Frag6HighThresh, 8 << 20),
            (" buckets = 1000 ", Key::Buckets, 1024),
        ] {
            assert_eq!(parse_override(text), Ok((key, value)), "{text}");
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
            let error = parse_override(text).unwrap_err();
            assert!(error.title.contains(problem), "{error}");
            assert!(error.help.unwrap_or_default().contains(help), "{text}");
        }
    }

    #[test]
    fn an_override_replaces_bounds_and_the_later_one_wins() {
        let base = profile("p", "[sysctl]\nmax = { at-least = 7, required = true }\n");
        let set = |text: &str| BTreeMap::from([parse_override(text).unwrap()]);
        let desired = inherit(&[base])
            .with_overrides(&set("max=8"))
            .with_overrides(&set("max=9"));
        let setting = desired.settings.get(&Key::Max).unwrap();
        assert_eq!(
            (&setting.goal, setting.origin.as_str(), setting.required),
            (&Goal::Exact(9), "--set", true)
        );
        assert_ne!(setting.goal, Goal::Bounds(Bounds::default()));
    }
}
