//! The table as plain values: reading, creating, changing.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::conntrack::{
    self, Family, Filter, Flow, Layer4, Protocol, Seen, Shorter, Tcp, TcpState, Tuple,
};
use crate::flow::{Gather, Selection, Terms};
use crate::kernel::ctnetlink::{
    self, Changes, DumpError, Reading, Socket, Visitor, gather, read_listeners, read_policies,
};

#[derive(Debug, Clone)]
pub struct FlowData {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// By name, or by number where it has none.
    pub protocol: String,
    /// Of the original direction.
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Of the reply direction.
    pub reply_src: IpAddr,
    /// Source and destination port of the original direction.
    pub ports: Option<(u16, u16)>,
    /// What tells flows between the same addresses apart: `1>2`, `8/0#77` or nothing.
    pub ends: String,
    /// Of TCP, in small letters.
    pub state: Option<&'static str>,
    /// 0 without one.
    pub zone: u16,
    pub mark: u32,
    /// Seconds.
    pub time_left: Option<u32>,
    pub id: u32,
    pub is_translated: bool,
    /// Whether a side waits for its data to be acknowledged.
    pub has_unacknowledged_data: bool,
    /// The value of `CTA_TUPLE_ORIG`.
    pub raw_original: Vec<u8>,
}

impl From<&Flow<'_>> for FlowData {
    fn from(flow: &Flow<'_>) -> Self {
        let tuple = &flow.original;
        FlowData {
            family: flow.family.number(),
            protocol: tuple.protocol.to_string(),
            src: tuple.src,
            dst: tuple.dst,
            reply_src: flow.reply.src,
            ports: tuple.ports(),
            ends: match tuple.layer4 {
                Layer4::Ports { src, dst } => format!("{src}>{dst}"),
                Layer4::Icmp { id, kind, code } => format!("{kind}/{code}#{id}"),
                Layer4::Bare => String::new(),
            },
            state: flow.tcp_state().map(TcpState::name),
            zone: flow.zone(),
            mark: flow.mark,
            time_left: flow.timeout,
            id: flow.id,
            is_translated: flow.is_translated(),
            has_unacknowledged_data: flow.tcp.is_some_and(Tcp::has_unacknowledged_data),
            raw_original: flow.raw_original().to_vec(),
        }
    }
}

/// Gives every flow that one of `terms` matches to `each`; all flows where there are no terms.
pub fn walk(terms: &str, mut each: impl FnMut(&FlowData) -> ControlFlow<()>) -> Result<(), String> {
    each_flow(terms, |flow| each(&FlowData::from(flow)))
}

fn each_flow(
    terms: &str,
    mut each: impl FnMut(&Flow<'_>) -> ControlFlow<()>,
) -> Result<(), String> {
    let selection = selection(terms)?;
    let ended = ctnetlink::each_flow(&Filter::of(&selection), |flow| {
        if selection.matches(flow) {
            each(flow)
        } else {
            ControlFlow::Continue(())
        }
    });
    ended.map_err(|error| error.to_string())
}

/// Every flow of the table, as at most so many threads read it.
pub fn read(threads: usize) -> Result<Vec<FlowData>, String> {
    let reading = Reading {
        filter: &Filter::default(),
        clock: Instant::now(),
        sample: None,
        threads: Some(threads),
    };
    let read = gather(&reading, All::default(), &mut |_| ControlFlow::Continue(()));
    read.map(|read| read.gather.0)
        .map_err(|error| error.to_string())
}

#[derive(Default)]
struct All(Vec<FlowData>);

impl Gather for All {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        self.0.push(flow.into());
    }

    fn part(&self) -> Self {
        All::default()
    }

    fn merge(&mut self, part: Self) {
        self.0.extend(part.0);
    }
}

/// How many flows the kernel sends for these terms: it filters what it can by itself.
pub fn count_dumped(terms: &str) -> Result<usize, String> {
    let mut flows = 0;
    let ended = ctnetlink::each_flow(&Filter::of(&selection(terms)?), |_| {
        flows += 1;
        ControlFlow::Continue(())
    });
    ended.map(|()| flows).map_err(|error| error.to_string())
}

/// Gives the flows of each chunk of a dump of the whole table to `each`.
pub fn dump_chunks(each: impl FnMut(Vec<FlowData>)) -> Result<(), String> {
    let mut chunks = Chunks {
        each,
        flows: Vec::new(),
    };
    ctnetlink::walk(&Filter::default(), &mut chunks).map_err(|error| error.to_string())
}

struct Chunks<F> {
    each: F,
    flows: Vec<FlowData>,
}

impl<F: FnMut(Vec<FlowData>)> Visitor for Chunks<F> {
    type Error = DumpError;

    fn flow(&mut self, flow: &Flow<'_>) -> ControlFlow<()> {
        self.flows.push(flow.into());
        ControlFlow::Continue(())
    }

    fn end_of_chunk(&mut self) -> Result<ControlFlow<()>, DumpError> {
        (self.each)(std::mem::take(&mut self.flows));
        Ok(ControlFlow::Continue(()))
    }
}

fn selection(terms: &str) -> Result<Selection, String> {
    let parse = |text| Terms::parse(text).map_err(|errors| format!("{text}: {errors:?}"));
    let matching: Result<Vec<_>, String> = terms.split_whitespace().map(parse).collect();
    Ok(Selection {
        matching: matching?,
        keep: Vec::new(),
    })
}

/// An established TCP flow that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewFlow {
    pub src: IpAddr,
    /// Of the same family.
    pub dst: IpAddr,
    /// Whether a full table keeps it.
    pub is_assured: bool,
    /// The client's port, then the server's.
    pub ports: (u16, u16),
    /// In seconds.
    pub time_left: u32,
}

pub fn create(flows: impl IntoIterator<Item = NewFlow>) -> Result<usize, String> {
    let flows = flows.into_iter().map(|flow| conntrack::NewFlow {
        original: Tuple {
            src: flow.src,
            dst: flow.dst,
            protocol: Protocol::TCP,
            layer4: Layer4::Ports {
                src: flow.ports.0,
                dst: flow.ports.1,
            },
            zone: None,
        },
        seen: if flow.is_assured {
            Seen::Assured
        } else {
            Seen::Reply
        },
        tcp: Some(TcpState::Established),
        timeout: flow.time_left,
    });
    let mut socket = Socket::netfilter().map_err(|errno| errno.to_string())?;
    ctnetlink::create(&mut socket, flows).map_err(|error| error.to_string())
}

/// What the kernel answered to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    Gone,
    Refused(Errno),
    /// The answer was lost.
    Unknown,
}

/// Requests to change flows; each has a tag, which comes back with its answer.
#[derive(Debug)]
pub struct Requests<T>(Changes<T>);

impl<T> Requests<T> {
    pub fn open() -> Result<Self, String> {
        let changes = Changes::open().map_err(|error| error.to_string())?;
        Ok(Requests(changes))
    }

    /// Adds, for each flow of the table that matches `terms`, a request to give it at most
    /// `seconds`.
    pub fn shorten_all(
        &mut self,
        terms: &str,
        seconds: u32,
        mut tag: impl FnMut(&FlowData) -> T,
    ) -> Result<(), String> {
        self.each(terms, |changes, flow| {
            if let Some(shorter) = Shorter::new(flow, seconds) {
                changes.shorten(shorter, tag(&flow.into()));
            }
        })
    }

    /// Adds a request to end each flow of the table that matches `terms`.
    pub fn delete_all(
        &mut self,
        terms: &str,
        mut tag: impl FnMut(&FlowData) -> T,
    ) -> Result<(), String> {
        self.each(terms, |changes, flow| {
            changes.delete(flow, tag(&flow.into()));
        })
    }

    fn each(
        &mut self,
        terms: &str,
        mut put: impl FnMut(&mut Changes<T>, &Flow<'_>),
    ) -> Result<(), String> {
        each_flow(terms, |flow| {
            put(&mut self.0, flow);
            ControlFlow::Continue(())
        })
    }

    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    pub fn send(&mut self, mut each: impl FnMut(T, Answer)) -> Result<(), String> {
        let sent = self.0.send(|tag, answer| {
            let answer = match answer {
                ctnetlink::Answer::Done => Answer::Done,
                ctnetlink::Answer::Gone => Answer::Gone,
                ctnetlink::Answer::Refused(errno) => Answer::Refused(errno),
                ctnetlink::Answer::Unknown => Answer::Unknown,
            };
            each(tag, answer);
        });
        sent.map_err(|error| error.to_string())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyData {
    /// None for both.
    pub family: Option<&'static str>,
    /// By name.
    pub protocol: String,
    /// By the number of the state.
    pub seconds: Vec<Option<u32>>,
    /// The flows that a rule can attach it to; empty for all.
    pub matching: Vec<String>,
}

pub fn policies() -> Result<Vec<PolicyData>, String> {
    let policies = read_policies().map_err(|error| error.to_string())?;
    let told = policies.0.iter().map(|policy| {
        let matching = policy.selection.matching.iter();
        PolicyData {
            family: policy.family.map(Family::name),
            protocol: policy.protocol.to_string(),
            seconds: policy.seconds.to_vec(),
            matching: matching.map(ToString::to_string).collect(),
        }
    });
    Ok(told.collect())
}

/// Whether somebody listens to updates of flows, and to their ends.
pub fn listeners() -> std::io::Result<(bool, bool)> {
    read_listeners().map(|listeners| (listeners.update, listeners.destroy))
}
