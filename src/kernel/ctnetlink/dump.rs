//! The dump: every flow of the table, as the kernel tells of it, over borrowed bytes.
//!
//! In: a [`Filter`]. Out: chunks of at most 32 KiB, each received into the same buffer, and the
//! flows in them; nothing is allocated for a flow. Rule: a dump that a resize of the hash table ran
//! into is an error at its end, since the kernel then leaves flows out or tells of them twice and
//! does not say so. A dump may also miss flows that come and tell twice of a bucket while others
//! go: who acts on flows must not mind.

use std::ops::ControlFlow;
use std::time::Instant;

use nix::errno::Errno;

use crate::conntrack::{
    Buffer, Filter, Flow, IS_FLOW, Malformed, Messages, dump_filters, put_dump,
};
use crate::diagnostic::{Advise, Hint};
use crate::kernel::sysctl;
use crate::tunable::{Key, Reading};

use super::socket::{Part, ReceiveError, Socket};

/// Why the table was not read, or not in full.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// EPERM.
    #[error("reading the conntrack table: permission denied: needs root (CAP_NET_ADMIN)")]
    NoRight,
    /// The kernel has no ctnetlink.
    #[error("reading the conntrack table: this kernel does not offer it over netlink")]
    NoConntrack,
    /// The number of buckets changed on the way.
    #[error("reading the conntrack table: its hash was resized meanwhile")]
    Resized,
    /// ENOBUFS: part of the answer was dropped.
    #[error("reading the conntrack table: the kernel had no room for its answer")]
    Overrun,
    /// Bytes that are not a conntrack message.
    #[error("reading the conntrack table: {0}")]
    Malformed(#[from] Malformed),
    /// The number of buckets cannot be read.
    #[error("reading the conntrack table: {0}")]
    Buckets(#[from] sysctl::ReadError),
    /// Anything else.
    #[error("reading the conntrack table: {}", .0.desc())]
    Other(Errno),
}

impl DumpError {
    /// Whether another try may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, DumpError::Resized | DumpError::Overrun)
    }
}

impl Advise for DumpError {
    fn hint(&self) -> Option<Hint> {
        match self {
            DumpError::NoConntrack => {
                Some(Hint::on_host("modprobe nf_conntrack_netlink").to("load it, as root"))
            }
            _ => None,
        }
    }
}

impl From<ReceiveError> for DumpError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Malformed(error) => DumpError::Malformed(error),
            ReceiveError::Errno(Errno::EPERM) => DumpError::NoRight,
            // nfnetlink's answer to a subsystem that no module serves.
            ReceiveError::Errno(Errno::EINVAL) => DumpError::NoConntrack,
            ReceiveError::Errno(Errno::ENOBUFS) => DumpError::Overrun,
            ReceiveError::Errno(errno) => DumpError::Other(errno),
        }
    }
}

/// A dump under way. Dropping it ends it, at no cost.
#[derive(Debug)]
pub(super) struct Dump {
    socket: Socket,
    /// Dumps that are still to be asked for, the next one last.
    to_ask: Vec<Filter>,
    /// Whether the kernel is telling.
    under_way: bool,
    buckets: Reading,
    /// When the two chunks that were received last were asked for.
    asked: [Instant; 2],
}

/// Flows that were received together.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    messages: Messages<'a>,
    /// The kernel fills a chunk while the one before is received: it was filled after this.
    pub(super) filled: Instant,
}

/// A chunk with its bytes, for another thread.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) bytes: Vec<u8>,
    length: usize,
    filled: Instant,
}

impl Taken {
    pub(super) fn chunk(&self) -> Chunk<'_> {
        Chunk {
            messages: Messages(self.bytes.get(..self.length).unwrap_or_default()),
            filled: self.filled,
        }
    }
}

impl Dump {
    /// Starts to dump the table of the calling thread's network namespace.
    ///
    /// The kernel leaves out what the filter excludes, as far as it can: match every flow again.
    pub(super) fn start(filter: &Filter) -> Result<Dump, DumpError> {
        let socket = Socket::netfilter().map_err(|errno| match errno {
            Errno::EPROTONOSUPPORT => DumpError::NoConntrack,
            errno => DumpError::Other(errno),
        })?;
        let mut to_ask = dump_filters(filter);
        to_ask.reverse();
        Ok(Dump {
            socket,
            to_ask,
            under_way: false,
            buckets: sysctl::read(Key::Buckets)?,
            asked: [Instant::now(); 2],
        })
    }

    /// Receives the next flows; none after the last.
    ///
    /// What is sent about the flows of a chunk before the next one is received meets them as they
    /// were dumped, but for what happened in that moment.
    ///
    /// # Errors
    /// [`DumpError::Resized`] comes at the end, when all chunks were delivered.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, DumpError> {
        let Some(part) = self.receive()? else {
            self.check_buckets()?;
            return Ok(None);
        };
        Ok(Some(Chunk {
            messages: self.socket.messages(part),
            filled: self.asked[0],
        }))
    }

    /// As [`Dump::next_chunk`]; the bytes of `spare` are overwritten by the next one.
    pub(super) fn take_chunk(&mut self, spare: Vec<u8>) -> Result<Option<Taken>, DumpError> {
        let Some(part) = self.receive()? else {
            self.check_buckets()?;
            return Ok(None);
        };
        Ok(Some(Taken {
            bytes: self.socket.take(spare),
            length: part.length,
            filled: self.asked[0],
        }))
    }

    /// Tells whether the hash table was resized since the start: for who stops before the end.
    pub(super) fn check_buckets(&self) -> Result<(), DumpError> {
        if sysctl::read(Key::Buckets)? == self.buckets {
            Ok(())
        } else {
            Err(DumpError::Resized)
        }
    }

    fn receive(&mut self) -> Result<Option<Part>, DumpError> {
        if !self.under_way {
            let Some(filter) = self.to_ask.pop() else {
                return Ok(None);
            };
            let mut request = Buffer::default();
            put_dump(&mut request, &filter);
            let sent = self.socket.send(request.bytes());
            sent.map_err(ReceiveError::Errno)?;
        }
        self.asked = [self.asked[1], Instant::now()];
        let part = self.socket.receive()?;
        self.under_way = !part.last;
        Ok(Some(part))
    }
}

impl Chunk<'_> {
    /// Shows its flows in turn, until `show` breaks. What shows them is one function for all who
    /// read a table: everything that decodes a flow is inlined into it.
    pub(super) fn each(
        self,
        show: &mut dyn FnMut(&Flow<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Malformed> {
        for message in self.messages {
            let message = message?;
            if message.kind == IS_FLOW && show(&Flow::parse(message.body)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
