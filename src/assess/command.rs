//! The commands that a hint names, so that they can be pasted.

use crate::diagnostic::{Place, quoted};
use crate::profile::{Desired, Goal};
use crate::tunable::Key;

/// Those that a hint may name and that act on a place.
const COMMANDS: [&str; 5] = ["apply", "check", "expire", "plan", "top"];

/// The plan that brings these values, as it would be typed.
pub(super) fn set_command(desired: Option<&Desired>, values: &[(Key, i64)]) -> String {
    command("plan", desired, values)
}

/// A command about the profile with these values, as it would be typed: what the profile brings by
/// itself is not set beside it.
pub(super) fn command(name: &str, desired: Option<&Desired>, values: &[(Key, i64)]) -> String {
    let Some(desired) = desired else {
        return format!("cttune {name} --profile PROFILE{}", set_options(values));
    };
    let brings = |(key, value): &(Key, i64)| match desired.settings.get(key).map(|own| &own.goal) {
        Some(Goal::Exact(own)) if key.is_time() => own >= value,
        Some(Goal::Exact(own)) => own == value,
        Some(Goal::Bounds(_)) => true,
        None => false,
    };
    let lacking = values.iter().copied().filter(|one| !brings(one));
    let lacking: Vec<(Key, i64)> = lacking.collect();
    let kept = desired.overrides.iter().map(|own| (own.key, own.value));
    let kept = kept.filter(|(key, _)| !lacking.iter().any(|(other, _)| other == key));
    let options: Vec<(Key, i64)> = kept.chain(lacking.iter().copied()).collect();
    format!(
        "cttune {name} --profile {}{}",
        quoted(&desired.name),
        set_options(&options)
    )
}

fn set_options(values: &[(Key, i64)]) -> String {
    let option = |(key, value): &(Key, i64)| format!(" --set {}={value}", key.short_name());
    values.iter().map(option).collect()
}

/// The hint with its commands about this place: without it they would be about the machine.
pub(super) fn at(hint: &str, place: &Place) -> String {
    COMMANDS.iter().fold(hint.to_owned(), |hint, name| {
        hint.replace(&format!("cttune {name}"), &place.cttune(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Override, Source, inherit, parse};

    #[test]
    fn a_command_sets_what_the_profile_does_not_bring() {
        let text = "[sysctl]\nudp_timeout = 300\nacct = 0\nbuckets = { follow = \"max\" }\n";
        let mut desired = inherit(&[parse(&Source::new("own", text)).unwrap()]);
        desired.name = "own".to_owned();
        let desired = desired.with_overrides(&[Override {
            key: Key::Timestamp,
            value: 1,
        }]);
        for (values, options) in [
            (vec![(Key::UdpTimeout, 120), (Key::Buckets, 5)], ""),
            (vec![(Key::UdpTimeout, 301)], " --set udp_timeout=301"),
            (vec![(Key::Acct, 1)], " --set acct=1"),
            (vec![(Key::GreTimeout, 60)], " --set gre_timeout=60"),
        ] {
            let command = set_command(Some(&desired), &values);
            let expected = format!("cttune plan --profile own --set timestamp=1{options}");
            assert_eq!(command, expected);
        }
        let without = set_command(None, &[(Key::Acct, 1)]);
        assert_eq!(without, "cttune plan --profile PROFILE --set acct=1");
    }

    #[test]
    fn a_command_can_be_pasted() {
        let desired = Desired {
            name: "./my own.toml".to_owned(),
            ..Desired::default()
        };
        let adopt = command("apply --adopt", Some(&desired), &[]);
        assert_eq!(adopt, "cttune apply --adopt --profile './my own.toml'");
        assert_eq!(
            at(
                "see cttune top; then: cttune plan --profile x",
                &Place::new(None, Some("edge"))
            ),
            "see cttune --netns edge top; then: cttune --netns edge plan --profile x"
        );
        assert_eq!(at("cttune top", &Place::default()), "cttune top");
    }
}
