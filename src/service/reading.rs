//! The table as it is read back, part by part.

use std::collections::BTreeSet;
use std::fmt;

use super::table::{CHAINS, LIFELINE_CHAINS, PRIORITY, RAW};
use super::{Lifeline, NAME, Object, Rule, Table, service_of};
use crate::flow::Terms;

/// What is in the place of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// What cttune wrote; empty where there is none.
    Ours(Table),
    /// It has a part that cttune does not write.
    Foreign(Part),
    /// It could not be read: why.
    Unread(String),
}

/// A part of the table that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// As nft calls it: `chain x`.
    what: String,
    /// What `nft delete` takes to remove it.
    address: String,
    /// Whether it was added to what cttune wrote.
    is_added: bool,
}

impl Part {
    fn new(kind: &str, name: &str) -> Part {
        Part {
            what: format!("{kind} {name}"),
            address: format!("{kind} inet {NAME} {name}"),
            is_added: false,
        }
    }

    /// The command that removes it, if the rest of the table is cttune's.
    pub(crate) fn removal(&self) -> Option<String> {
        let address = &self.address;
        self.is_added.then(|| format!("nft delete {address}"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        if self.is_added {
            write!(f, "somebody added {what} to nft table inet {NAME}")
        } else {
            write!(
                f,
                "nft table inet {NAME} was not written by cttune: it has {what}"
            )
        }
    }
}

/// `NF_INET_PRE_ROUTING` and `NF_INET_LOCAL_OUT`.
const HOOKS: [(&str, u32); 2] = [("prerouting", 0), ("output", 3)];

/// A rule as netlink has it.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) chain: String,
    pub(crate) handle: u64,
    pub(crate) comment: String,
    pub(crate) object: String,
    pub(crate) label: Option<u8>,
}

/// A table while it is read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    table: Table,
    lifeline: Lifeline,
    chains: BTreeSet<String>,
    /// The rules of the second chain, which should be those of the first.
    own: Vec<Rule>,
    foreign: Option<Part>,
}

impl Reading {
    fn somebody(&mut self, part: Part) {
        self.foreign.get_or_insert(part);
    }

    pub(crate) fn chain(&mut self, name: &str, hook: Option<u32>, priority: i32) {
        let is = |chains: [(&str, &str); 2], its| {
            let mut chains = chains.into_iter();
            chains.any(|(one, at)| one == name && Some(at) == name_of(hook)) && priority == its
        };
        if is(CHAINS, PRIORITY) || is(LIFELINE_CHAINS, RAW) {
            self.chains.insert(name.to_owned());
        } else {
            self.somebody(Part::new("chain", name));
        }
    }

    /// Takes in a set or a map; those of rules have no name of their own.
    pub(crate) fn set(&mut self, kind: &str, name: &str) {
        if !name.starts_with("__") {
            self.somebody(Part::new(kind, name));
        }
    }

    pub(crate) fn object(&mut self, object: Object) {
        match service_of(&object.name) {
            Some(_) => self.table.objects.push(object),
            None => self.other("ct timeout", &object.name),
        }
    }

    /// Takes in an object that is no timeout for TCP or UDP.
    pub(crate) fn other(&mut self, kind: &str, name: &str) {
        self.somebody(Part::new(kind, name));
    }

    pub(crate) fn rule(&mut self, listed: Listed) {
        let chain = listed.chain.as_str();
        let is_lifeline = LIFELINE_CHAINS.iter().any(|(name, _)| *name == chain);
        if is_lifeline && self.lifeline.add(&listed.comment) {
            return;
        }
        let is_ours = Terms::parse(&listed.comment).is_ok() && service_of(&listed.object).is_some();
        match listed.label.filter(|_| is_ours && !is_lifeline) {
            Some(label) => {
                let rules = if chain == CHAINS[0].0 {
                    &mut self.table.rules
                } else {
                    &mut self.own
                };
                let rule = Rule {
                    object: listed.object,
                    label,
                    terms: listed.comment,
                };
                // The second family of one rule.
                if rules.last() != Some(&rule) {
                    rules.push(rule);
                }
            }
            // The first one, which lets packets of known flows pass.
            None if listed.comment.is_empty() && listed.object.is_empty() && !is_lifeline => {}
            None => self.somebody(Part {
                what: format!("a rule of chain {chain}"),
                address: format!("rule inet {NAME} {chain} handle {}", listed.handle),
                is_added: false,
            }),
        }
    }

    pub(crate) fn finish(mut self) -> Found {
        if let Some(foreign) = self.foreign {
            let is_added = !self.chains.is_empty() || !self.table.objects.is_empty();
            return Found::Foreign(Part {
                is_added,
                ..foreign
            });
        }
        self.table.objects.sort_unstable();
        self.table.rules = either(self.table.rules, self.own);
        // Of chains without rules it is empty.
        let mut chains = LIFELINE_CHAINS.iter();
        if chains.any(|(name, _)| self.chains.contains(*name)) {
            self.table.lifeline = Some(self.lifeline);
        }
        Found::Ours(self.table)
    }
}

/// The rules of either chain, in their order: one that a chain lacks still gives its object to a
/// part of the flows.
fn either(mut rules: Vec<Rule>, own: Vec<Rule>) -> Vec<Rule> {
    let mut next = 0;
    for rule in own {
        let place = rules.iter().position(|one| *one == rule);
        if place.is_none() {
            rules.insert(next, rule);
        }
        next = place.unwrap_or(next) + 1;
    }
    rules
}

fn name_of(hook: Option<u32>) -> Option<&'static str> {
    let mut hooks = HOOKS.into_iter();
    hooks
        .find(|(_, number)| Some(*number) == hook)
        .map(|(name, _)| name)
}
