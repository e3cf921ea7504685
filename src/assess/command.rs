//! The commands in advice that name a profile and values.

use crate::diagnostic::{Hint, quoted};
use crate::profile::{Desired, Goal};
use crate::tunable::Key;

/// The profile that a command names where none was asked for: it sets nothing by itself.
const NEUTRAL: &str = "kernel-defaults";

/// The plan that sets these values.
pub(super) fn plan(desired: Option<&Desired>, values: &[(Key, i64)]) -> Hint {
    command("plan", desired, values)
}

/// A command with the profile and these values; values that the profile sets itself are left out.
pub(super) fn command(name: &str, desired: Option<&Desired>, values: &[(Key, i64)]) -> Hint {
    let Some(desired) = desired else {
        let options = set_options(values);
        return Hint::cttune(format!("{name} --profile {NEUTRAL}{options}"));
    };
    let sets = |(key, value): &(Key, i64)| match desired.settings.get(key).map(|own| &own.goal) {
        Some(Goal::Exact(own)) if key.is_time() => own >= value,
        Some(Goal::Exact(own)) => own == value,
        Some(Goal::Bounds(_)) => true,
        None => false,
    };
    let missing = values.iter().copied().filter(|one| !sets(one));
    let missing: Vec<(Key, i64)> = missing.collect();
    let kept = desired.overrides.iter().map(|(key, value)| (*key, *value));
    let kept = kept.filter(|(key, _)| !missing.iter().any(|(other, _)| other == key));
    let options: Vec<(Key, i64)> = kept.chain(missing.iter().copied()).collect();
    let (profile, options) = (quoted(&desired.name), set_options(&options));
    Hint::cttune(format!("{name} --profile {profile}{options}"))
}

fn set_options(values: &[(Key, i64)]) -> String {
    let option = |(key, value): &(Key, i64)| format!(" --set {}={value}", key.short_name());
    values.iter().map(option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, inherit, parse};

    #[test]
    fn a_command_sets_what_the_profile_does_not_bring() {
        let text = "[sysctl]\nudp_timeout = 300\nacct = 0\nbuckets = { follow = \"max\" }\n";
        let mut desired = inherit(&[parse(&Source::new("own", text)).unwrap()]);
        desired.name = "own".to_owned();
        let desired = desired.with_overrides(&[(Key::Timestamp, 1)].into());
        for (values, options) in [
            (vec![(Key::UdpTimeout, 120), (Key::Buckets, 5)], ""),
            (vec![(Key::UdpTimeout, 301)], " --set udp_timeout=301"),
            (vec![(Key::Acct, 1)], " --set acct=1"),
            (vec![(Key::GreTimeout, 60)], " --set gre_timeout=60"),
        ] {
            let hint = plan(Some(&desired), &values);
            let expected = format!("plan --profile own --set timestamp=1{options}");
            assert_eq!(hint, Hint::cttune(expected));
        }
        let without = plan(None, &[(Key::Acct, 1)]);
        let expected = "plan --profile kernel-defaults --set acct=1";
        assert_eq!(without, Hint::cttune(expected));
    }

    #[test]
    fn a_command_can_be_pasted() {
        let desired = Desired {
            name: "./my own.toml".to_owned(),
            ..Desired::default()
        };
        let adopt = command("apply --adopt", Some(&desired), &[]);
        let expected = "apply --adopt --profile './my own.toml'";
        assert_eq!(adopt, Hint::cttune(expected));
    }
}
