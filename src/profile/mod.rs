//! What the operator wants: the profile format, its mistakes, inheritance and derived values.
//!
//! In: the text of profiles, `--set`, host facts and readings. Out: a [`Profile`] or every
//! [`Mistake`] in it, located; a [`Desired`] merged over a chain of parents; the [`Target`]s that
//! plan and check compare with; edited text with its comments kept; a profile for what a host was
//! seen to do.
//! Rule: pure. Looking a profile up, and judging who owns the file, is the caller's.
//! Follows TOML 1.1 (toml.io) for the syntax.

pub(crate) mod active;
pub(crate) mod builtin;
mod derive;
pub(crate) mod edit;
mod expire;
mod inherit;
mod mistake;
mod read;
mod setting;
pub(crate) mod suggest;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use derive::{DeriveError, Target, derive};
pub(crate) use expire::{ExpireMode, ExpireParameters, ExpireSettings};
pub(crate) use inherit::{Desired, Override, OverrideError, Wish, inherit};
pub(crate) use mistake::{Mistake, Source};
pub(crate) use read::parse;
pub(crate) use value::{parse_duration, parse_timeout, render_value};

use crate::tunable::Key;

/// One profile, as its text says, before parents are merged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Where it was read.
    pub(crate) source: Arc<Source>,
    /// What it is for, in a line.
    pub(crate) description: Option<String>,
    /// What kind of machine it is for.
    pub(crate) role: Option<Role>,
    /// The parent.
    pub(crate) extends: Option<Extends>,
    /// What it sets, in the order of the file; no key twice.
    pub(crate) settings: Vec<Setting>,
    /// Parameters for bringing flows under the timeouts; nothing here touches a flow.
    pub(crate) expire: ExpireSettings,
    /// Findings that are accepted, and the reason.
    pub(crate) accept: BTreeMap<String, String>,
}

/// The parent that a profile names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extends {
    /// Its name or path.
    pub(crate) name: String,
    /// Where it is named.
    pub(crate) span: Range<usize>,
}

/// What kind of machine a profile is for: decides how severe an RFC finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Tracks its own connections.
    Host,
    /// Forwards and filters.
    Firewall,
    /// Translates addresses.
    Nat,
    /// Translates the addresses of many subscribers: carrier-grade NAT.
    Cgn,
}

impl Role {
    /// Every role.
    pub(crate) const ALL: [Role; 4] = [Role::Host, Role::Firewall, Role::Nat, Role::Cgn];

    /// The name that a profile uses.
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

/// What a profile wants of one sysctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The sysctl.
    pub(crate) key: Key,
    /// The value, or the bounds of it.
    pub(crate) goal: Goal,
    /// Whether a kernel without this key is a failure and not a thing to skip.
    pub(crate) required: bool,
    /// The author's reason.
    pub(crate) why: Option<String>,
    /// Where its name stands.
    pub(crate) span: Range<usize>,
}

/// The value that a setting asks for, in the key's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// This value. Buckets are rounded up as the kernel does.
    Exact(i64),
    /// Any value between bounds: a live value inside them is kept.
    Bounds(Bounds),
}

/// The bounds of a value. At least one of them is there; a memory cap alone is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    /// Not below this.
    pub(crate) at_least: Option<i64>,
    /// Not above this; wins over every lower bound.
    pub(crate) at_most: Option<i64>,
    /// Not below this for each CPU that is online.
    pub(crate) per_cpu: Option<i64>,
    /// Not below what will hold for this key.
    pub(crate) follow: Option<Key>,
    /// The lower bound is lowered to what this percentage of memory can hold.
    pub(crate) memory_cap: Option<u8>,
}

/// Why a parent cannot be had; found by the loader, told at `extends`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoParent {
    /// Nothing of that name; the nearest that there is.
    NotFound {
        /// A name, if one is near.
        nearest: Option<String>,
    },
    /// The chain of names comes back to where it was; both ends are the same name.
    Cycle(Vec<String>),
}

impl Profile {
    /// The mistake of naming a parent that cannot be had; none where no parent is named.
    pub(crate) fn mistaken_parent(&self, trouble: &NoParent) -> Option<Mistake> {
        let Extends { name, span } = self.extends.as_ref()?;
        let at = |title: String, label| Mistake::new(&self.source, span.clone(), title, label);
        Some(match trouble {
            NoParent::NotFound { nearest } => {
                let mistake = at(format!("no profile is called `{name}`"), "not found");
                match nearest {
                    Some(near) => mistake.help(format!("did you mean `{near}`?")),
                    None => mistake.help("`cttune profile list` shows those that there are"),
                }
            }
            NoParent::Cycle(names) => at(
                "a profile cannot extend itself".to_owned(),
                "comes back to itself",
            )
            .help(format!("the chain is {}", names.join(" → "))),
        })
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
