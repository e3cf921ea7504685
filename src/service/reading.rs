//! The table as it is read back, part by part.

use std::collections::BTreeSet;

use super::table::{CHAINS, LIFELINE_CHAINS, PRIORITY, RAW};
use super::{Lifeline, Object, Rule, Table, service_of};
use crate::flow::Terms;

/// What is in the place of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// What cttune wrote; empty where there is none.
    Ours(Table),
    /// Somebody else's, known by this part of it.
    Foreign(String),
    /// It could not be read: why.
    Unread(String),
}

/// `NF_INET_PRE_ROUTING` and `NF_INET_LOCAL_OUT`.
const HOOKS: [(&str, u32); 2] = [("prerouting", 0), ("output", 3)];

/// A table while it is read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    table: Table,
    lifeline: Lifeline,
    chains: BTreeSet<String>,
    /// The rules of the second chain, which must be those of the first.
    own: Vec<Rule>,
    foreign: Option<String>,
}

impl Reading {
    fn somebody(&mut self, what: String) {
        self.foreign.get_or_insert(what);
    }

    pub(crate) fn chain(&mut self, name: &str, hook: Option<u32>, priority: i32) {
        let is = |chains: [(&str, &str); 2], its| {
            let mut chains = chains.into_iter();
            chains.any(|(one, at)| one == name && Some(at) == name_of(hook)) && priority == its
        };
        if is(CHAINS, PRIORITY) || is(LIFELINE_CHAINS, RAW) {
            self.chains.insert(name.to_owned());
        } else {
            self.somebody(format!("the chain {name}"));
        }
    }

    /// Takes in a set; those of rules have no name of their own.
    pub(crate) fn set(&mut self, name: &str) {
        if !name.starts_with("__") {
            self.somebody(format!("the set {name}"));
        }
    }

    pub(crate) fn object(&mut self, object: Object) {
        match service_of(&object.name) {
            Some(_) => self.table.objects.push(object),
            None => self.other(&object.name),
        }
    }

    pub(crate) fn other(&mut self, name: &str) {
        self.somebody(format!("the object {name}"));
    }

    pub(crate) fn rule(&mut self, chain: &str, comment: &str, object: &str, label: Option<u8>) {
        let is_lifeline = LIFELINE_CHAINS.iter().any(|(name, _)| *name == chain);
        if is_lifeline && self.lifeline.add(comment) {
            return;
        }
        let is_ours = Terms::parse(comment).is_ok() && service_of(object).is_some();
        match label.filter(|_| is_ours && !is_lifeline) {
            Some(label) => {
                let rule = Rule {
                    object: object.to_owned(),
                    label,
                    terms: comment.to_owned(),
                };
                let rules = if chain == CHAINS[0].0 {
                    &mut self.table.rules
                } else {
                    &mut self.own
                };
                // The second family of one rule.
                if rules.last() != Some(&rule) {
                    rules.push(rule);
                }
            }
            // The first one, which lets packets of known flows pass.
            None if comment.is_empty() && object.is_empty() && !is_lifeline => {}
            None => self.somebody(format!("a rule of the chain {chain}")),
        }
    }

    pub(crate) fn finish(mut self) -> Found {
        if let Some(foreign) = self.foreign {
            return Found::Foreign(foreign);
        }
        self.table.objects.sort();
        // A rule that one chain lacks acts on a part of the flows: it is as good as not there.
        let own = self.own;
        self.table.rules.retain(|rule| own.contains(rule));
        let is_whole = LIFELINE_CHAINS
            .iter()
            .all(|(name, _)| self.chains.contains(*name));
        if is_whole && self.lifeline != Lifeline::default() {
            self.table.lifeline = Some(self.lifeline);
        }
        Found::Ours(self.table)
    }
}

fn name_of(hook: Option<u32>) -> Option<&'static str> {
    let mut hooks = HOOKS.into_iter();
    hooks
        .find(|(_, number)| Some(*number) == hook)
        .map(|(name, _)| name)
}
