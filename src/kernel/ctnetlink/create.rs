//! Making flows without traffic: for `cttune sandbox` and for tests, and for nothing else.
//!
//! This file is the one place that sets `NLM_F_CREATE` and writes `CTA_STATUS`. An update with
//! `NLM_F_CREATE` would bring back a flow that just ended, and `CTA_STATUS` can fix a live flow's
//! timeout for good; neither may ever reach a table that carries traffic.

use nix::errno::Errno;

use crate::flow::{StatusBit, TcpState, cta};

use super::socket::Socket;
use super::tuple::{NamesFlow, Tuple};
use super::wire::Buffer;
use super::{Action, flow_request};

/// Flows in one send. Each may be answered by an error, and the default receive buffer holds 256.
const BATCH: usize = 128;

/// `CTA_PROTOINFO_TCP` and `CTA_PROTOINFO_TCP_STATE`.
const PROTOINFO_TCP: u16 = 1;
const PROTOINFO_TCP_STATE: u16 = 1;

/// How much of a conversation the table has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Packets one way.
    Request,
    /// Packets both ways.
    Reply,
    /// Enough that a full table will not evict the flow.
    Assured,
}

/// A flow to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewFlow {
    /// Its first packet; the answer's tuple is the reverse.
    pub(crate) original: Tuple,
    /// What the table has seen of it.
    pub(crate) seen: Seen,
    /// Where it is, for TCP.
    pub(crate) tcp: Option<TcpState>,
    /// Remaining time, in seconds.
    pub(crate) timeout: u32,
}

/// Why flows could not be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CreateError {
    /// The kernel refused some; the others stand.
    #[error("creating flows: the kernel refused {failed} of {asked}, the first with {first}")]
    Refused {
        /// How many were refused.
        failed: usize,
        /// How many were asked for.
        asked: usize,
        /// What it said to the first of them.
        first: Errno,
    },
    /// Nothing is known of the flows that were under way.
    #[error("creating flows: talking to the kernel over netlink: {0}")]
    Socket(Errno),
}

/// Creates `flows`, 128 at a time, and says how many.
///
/// All of them are tried before a refusal is reported. The kernel answers ENOMEM when the table
/// is full, EEXIST for a tuple that exists, EPERM without `CAP_NET_ADMIN`.
pub(crate) fn create(
    socket: &mut Socket,
    flows: impl IntoIterator<Item = NewFlow>,
) -> Result<usize, CreateError> {
    let mut tally = Tally::default();
    let mut batch = Buffer::default();
    for flow in flows {
        encode(&mut batch, &flow);
        if batch.messages() == BATCH {
            tally.submit(socket, &mut batch)?;
        }
    }
    tally.submit(socket, &mut batch)?;
    match tally.first {
        None => Ok(tally.asked),
        Some(first) => Err(CreateError::Refused {
            failed: tally.failed,
            asked: tally.asked,
            first,
        }),
    }
}

#[derive(Default)]
struct Tally {
    asked: usize,
    failed: usize,
    first: Option<Errno>,
}

impl Tally {
    fn submit(&mut self, socket: &mut Socket, batch: &mut Buffer) -> Result<(), CreateError> {
        if batch.messages() == 0 {
            return Ok(());
        }
        self.asked += batch.messages();
        let answer = |_, errno| {
            self.failed += 1;
            self.first.get_or_insert(Errno::from_raw(errno));
        };
        socket
            .submit(batch.bytes(), answer)
            .map_err(CreateError::Socket)?;
        batch.clear();
        Ok(())
    }
}

fn encode(batch: &mut Buffer, flow: &NewFlow) {
    flow_request(batch, Action::Create, &flow.original, |message| {
        message.nested(cta::TUPLE_REPLY, |reply| {
            flow.original.reversed().put_tuple(reply);
        });
        message.attribute(cta::STATUS, &flow.seen.status().to_be_bytes());
        message.attribute(cta::TIMEOUT, &flow.timeout.to_be_bytes());
        if let Some(state) = flow.tcp {
            message.nested(cta::PROTOINFO, |info| {
                info.nested(PROTOINFO_TCP, |tcp| {
                    tcp.attribute(PROTOINFO_TCP_STATE, &[state.number()]);
                });
            });
        }
    });
}

impl Seen {
    fn status(self) -> u32 {
        // The kernel confirms what it creates, and refuses (EBUSY) a status that denies it.
        let bits: &[StatusBit] = match self {
            Seen::Request => &[StatusBit::Confirmed],
            Seen::Reply => &[StatusBit::Confirmed, StatusBit::SeenReply],
            Seen::Assured => &[
                StatusBit::Confirmed,
                StatusBit::SeenReply,
                StatusBit::Assured,
            ],
        };
        bits.iter().fold(0, |status, bit| status | bit.mask())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tuple::{Addresses, Layer4};
    use super::*;

    #[test]
    fn a_request_is_what_conntrack_sends() {
        // `conntrack -I -p tcp -s 2001:db8::1 -d 2a00:1450:400b:c02::bc --sport 1025 --dport 5228
        // --state ESTABLISHED -t 1000 -u ASSURED,SEEN_REPLY` under strace, without the ACK that it
        // asks for, the window scaling that it makes up and the garbage in its padding.
        let expected = b"\xcc\0\0\0\0\x01\x01\x06\0\0\0\0\0\0\0\0\x0a\0\0\0\
            \x4c\0\x01\x80\x2c\0\x01\x80\
            \x14\0\x03\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
            \x14\0\x04\0\x2a\0\x14\x50\x40\x0b\x0c\x02\0\0\0\0\0\0\0\xbc\
            \x1c\0\x02\x80\x05\0\x01\0\x06\0\0\0\x06\0\x02\0\x04\x01\0\0\x06\0\x03\0\x14\x6c\0\0\
            \x4c\0\x02\x80\x2c\0\x01\x80\
            \x14\0\x03\0\x2a\0\x14\x50\x40\x0b\x0c\x02\0\0\0\0\0\0\0\xbc\
            \x14\0\x04\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
            \x1c\0\x02\x80\x05\0\x01\0\x06\0\0\0\x06\0\x02\0\x14\x6c\0\0\x06\0\x03\0\x04\x01\0\0\
            \x08\0\x03\0\0\0\0\x0e\x08\0\x07\0\0\0\x03\xe8\
            \x10\0\x04\x80\x0c\0\x01\x80\x05\0\x01\0\x03\0\0\0";
        let mut batch = Buffer::default();
        let flow = NewFlow {
            original: Tuple {
                addresses: Addresses::V6(
                    "2001:db8::1".parse().unwrap(),
                    "2a00:1450:400b:c02::bc".parse().unwrap(),
                ),
                layer4: Layer4::Tcp(1025, 5228),
            },
            seen: Seen::Assured,
            tcp: Some(TcpState::Established),
            timeout: 1000,
        };
        encode(&mut batch, &flow);
        assert_eq!(batch.bytes(), expected);
    }

    #[test]
    fn a_status_always_says_confirmed_and_never_more_than_was_seen() {
        for (seen, status) in [(Seen::Request, 8), (Seen::Reply, 10), (Seen::Assured, 14)] {
            assert_eq!(seen.status(), status);
        }
    }
}
