//! The flows of the group that a remedy is for, as a second reading of the table finds them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::flow::field::Seen;
use crate::flow::{
    Column, Field, Flow, Gather, Prefixes, StatusBit, TcpState, Top, Tuple, Value, Values,
};

/// Flows that are kept: two megabytes, and enough for a share that is right within 1 %.
const MOST: usize = 20_000;

/// The flows of a group.
#[derive(Debug)]
pub(crate) struct Members {
    columns: Vec<Column>,
    values: Values,
    /// The first of them, which are a random sample.
    kept: Vec<Member>,
    /// All of them that were read.
    read: u64,
}

/// What a remedy must know of a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    pub(crate) state: Option<TcpState>,
    pub(crate) zone: u16,
    /// Whether the other side ever answered.
    pub(crate) is_answered: bool,
}

impl Gather for Members {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        Members::add(self, flow);
    }

    fn part(&self) -> Self {
        Members {
            columns: self.columns.clone(),
            values: self.values.clone(),
            kept: Vec::new(),
            read: 0,
        }
    }

    /// What is kept stays a fair sample: of each part as many as its share of the flows.
    fn merge(&mut self, part: Self) {
        let all = self.read + part.read;
        let share = |read: u64| {
            let share = (read * MOST as u64).div_ceil(all.max(1));
            usize::try_from(share).unwrap_or(MOST)
        };
        self.kept.truncate(share(self.read));
        self.kept
            .extend(part.kept.into_iter().take(share(part.read)));
        self.kept.truncate(MOST);
        self.read = all;
    }
}

impl Members {
    /// None yet, of the group that a listing speaks of.
    pub(crate) fn of(top: &Top) -> Members {
        Members {
            columns: top.columns.clone(),
            values: top
                .cause
                .as_ref()
                .map(|group| group.values.clone())
                .unwrap_or_default(),
            kept: Vec::new(),
            read: 0,
        }
    }

    /// Keeps a flow if it belongs to the group.
    fn add(&mut self, flow: &Flow<'_>) {
        let seen = Seen::from(flow);
        let mut values = self.columns.iter().zip(&self.values);
        if !values.all(|(column, value)| column.of(&seen) == *value) {
            return;
        }
        self.read += 1;
        if self.kept.len() < MOST {
            self.kept.push(Member {
                original: flow.original,
                reply: flow.reply,
                state: flow.tcp_state(),
                zone: flow.zone(),
                is_answered: flow.status.has(StatusBit::SeenReply),
            });
        }
    }

    /// Those that were kept.
    pub(crate) fn kept(&self) -> &[Member] {
        &self.kept
    }

    /// Flows of each host, an IPv6 host being a /64.
    pub(super) fn by_host(&self) -> HashMap<Value, u64, RandomState> {
        let mut hosts = HashMap::default();
        for member in &self.kept {
            *hosts
                .entry(Prefixes::HOST.of(member.original.src))
                .or_default() += 1;
        }
        hosts
    }

    /// The share of them that is so.
    pub(super) fn share(&self, is_so: impl Fn(&Member) -> bool) -> f64 {
        let number = self.kept.iter().filter(|member| is_so(member)).count();
        as_f64(number) / as_f64(self.kept.len().max(1))
    }

    /// The state that the group is defined by.
    pub(super) fn state(&self) -> Option<TcpState> {
        let mut values = self.columns.iter().zip(&self.values);
        let state = values.find(|(column, _)| column.field == Field::State);
        match state {
            Some((_, Value::State(state))) => Some(*state),
            _ => None,
        }
    }
}

impl Member {
    /// Where the flow goes if its destination is translated.
    pub(crate) fn translated_to(&self) -> Option<IpAddr> {
        let is_translated = self.reply.src != self.original.dst
            || self.reply.ports().map(|(from, _)| from) != self.original.ports().map(|(_, to)| to);
        is_translated.then_some(self.reply.src)
    }
}

#[expect(clippy::cast_precision_loss)] // thousands
fn as_f64(number: usize) -> f64 {
    number as f64
}
