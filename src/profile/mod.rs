//! What a profile asks for: its format, its mistakes, its parents, and the numbers it means here.
//!
//! A setting has three types on its way from the text to a plan. [`Setting`] is what a text says:
//! value or bounds, why, and who says so; in one file and in a chain merged into a [`Desired`].
//! [`Targets`] are its numbers on this machine, for the running kernel and for the next boot, made
//! once a plan by [`derive()`]. Plan's `Compared` sets them beside what was read.
//! Rule: pure. To find a profile, and to judge who owns the file, is the caller's part.
//! Follows TOML 1.1 (toml.io) for the syntax.

pub(crate) mod active;
pub(crate) mod builtin;
mod derive;
pub(crate) mod edit;
mod expire;
mod foreign;
mod guard;
mod inherit;
mod mistake;
mod read;
mod service;
mod setting;
pub(crate) mod suggest;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use derive::{DeriveError, Target, Targets, Values, derive};
pub(crate) use expire::{ExpireMode, ExpireParameters, ExpireSettings};
pub(crate) use guard::GuardSettings;
pub(crate) use inherit::{Accepted, Desired, inherit, parse_override};
pub(crate) use mistake::{Mistake, Position, Source, Wrong};
pub(crate) use read::{parse, read};
pub(crate) use service::service_mistakes;
pub(crate) use value::{parse_duration, parse_timeout, render_value};

use crate::tunable::Key;

/// One file: what it says by itself, and the parent that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) source: Arc<Source>,
    pub(crate) extends: Option<Extends>,
    pub(crate) desired: Desired,
    /// Where each of its services is written.
    places: service::Places,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extends {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
}

/// What kind of machine a profile is for: decides how severe an RFC finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Tracks its own connections.
    Host,
    /// Forwards and filters.
    Firewall,
    /// Translates addresses.
    Nat,
    /// Carrier-grade NAT: translates the addresses of many subscribers.
    Cgn,
}

impl Role {
    pub(crate) const ALL: [Role; 4] = [Role::Host, Role::Firewall, Role::Nat, Role::Cgn];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Firewall => "firewall",
            Role::Nat => "nat",
            Role::Cgn => "cgn",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a profile asks of one sysctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) goal: Goal,
    /// Whether a kernel without this key is a failure and not a thing to skip.
    pub(crate) required: bool,
    pub(crate) why: Option<String>,
    /// The profile that says so, as people know it, or `--set`.
    pub(crate) origin: String,
}

/// The value that a setting asks for, in the key's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// This value. Buckets are rounded up as the kernel does.
    Exact(i64),
    /// Any value between bounds: one that is inside them stays.
    Bounds(Bounds),
}

/// The bounds of a value. At least one of them is there; a cap alone is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) at_least: Option<i64>,
    /// Wins over every lower bound.
    pub(crate) at_most: Option<i64>,
    /// Not below this for each CPU that is online.
    pub(crate) per_cpu: Option<i64>,
    /// The most that `per_cpu` comes to, however many CPUs there are.
    pub(crate) per_cpu_cap: Option<i64>,
    /// Not below the value of this key.
    pub(crate) follow: Option<Key>,
    /// The lower bound is lowered to what this percentage of memory can hold.
    pub(crate) memory_cap: Option<u8>,
}

/// The keys of the ring that `start` is part of, itself first and last, if it is part of one.
fn ring(settings: &BTreeMap<Key, Setting>, start: Key) -> Option<Vec<Key>> {
    let mut keys = vec![start];
    loop {
        let Goal::Bounds(bounds) = &settings.get(keys.last()?)?.goal else {
            return None;
        };
        let followed = bounds.follow?;
        let is_closed = keys.contains(&followed);
        keys.push(followed);
        if is_closed {
            return (followed == start).then_some(keys);
        }
    }
}

fn ring_text(keys: &[Key]) -> String {
    let names: Vec<_> = keys.iter().map(|key| key.file_name()).collect();
    names.join(" → ")
}

/// Why a parent cannot be had; found by the caller, told at `extends`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoParent {
    /// Nothing of that name; the nearest that there is, if one is near.
    NotFound { nearest: Option<String> },
    /// The chain of names comes back to where it was; both ends are the same name.
    Cycle(Vec<String>),
}

impl Profile {
    /// The mistake of naming a parent that cannot be had; none where no parent is named.
    pub(crate) fn mistaken_parent(&self, trouble: &NoParent) -> Option<Mistake> {
        let Extends { name, span } = self.extends.as_ref()?;
        let wrong = match trouble {
            NoParent::NotFound { nearest } => {
                Wrong::new(format!("no profile is called `{name}`"), "not found").help(
                    match nearest {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "`cttune profile list` shows those that there are".to_owned(),
                    },
                )
            }
            NoParent::Cycle(names) => {
                Wrong::new("a profile cannot extend itself", "comes back to itself")
                    .help(format!("the chain is {}", names.join(" → ")))
            }
        };
        Some(Mistake::new(&self.source, span.clone(), wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_cannot_be_had_is_told_where_it_is_named() {
        let source = Source::new("site.toml", "description = \"x\"\nextends = \"campus\"\n");
        let profile = parse(&source).unwrap();
        for (trouble, title, help) in [
            (
                NoParent::NotFound {
                    nearest: Some("campus-fw".into()),
                },
                "no profile is called `campus`",
                "did you mean `campus-fw`?",
            ),
            (
                NoParent::NotFound { nearest: None },
                "no profile is called `campus`",
                "`cttune profile list` shows those that there are",
            ),
            (
                NoParent::Cycle(vec!["site".into(), "campus".into(), "site".into()]),
                "a profile cannot extend itself",
                "the chain is site → campus → site",
            ),
        ] {
            let mistake = profile.mistaken_parent(&trouble).unwrap();
            assert_eq!(
                mistake.position(),
                mistake::Position {
                    line: 2,
                    column: 11
                }
            );
            assert_eq!(
                (mistake.title.as_str(), mistake.help.as_deref()),
                (title, Some(help))
            );
        }
        let orphan = parse(&Source::new("x", "")).unwrap();
        assert_eq!(orphan.mistaken_parent(&NoParent::Cycle(vec![])), None);
    }
}
