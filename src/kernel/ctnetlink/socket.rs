//! A netlink socket: sends whole batches, drains what the kernel answered, receives dumps.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::conntrack::{Malformed, Messages};

/// Larger than any answer: the kernel fills at most 32 KiB and cuts silently what does not fit.
const RECEIVE: usize = 65536;

/// A netlink socket. It stays in the network namespace that its maker was in.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    received: Vec<u8>,
}

/// Part of a dump that was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) length: usize,
    /// Whether the kernel has said that nothing follows.
    pub(super) last: bool,
}

/// Why part of a dump is missing.
#[derive(Debug)]
pub(super) enum ReceiveError {
    /// What the kernel said, to the request or to the receiving.
    Errno(Errno),
    /// The bytes are not as they should be.
    Malformed(Malformed),
}

impl Socket {
    /// Opens a socket to netfilter, conntrack included.
    ///
    /// Needs no right; the requests need `CAP_NET_ADMIN` over the network namespace.
    pub(crate) fn netfilter() -> Result<Self, Errno> {
        Self::open(SockProtocol::NetlinkNetFilter)
    }

    /// Opens a socket to the interfaces and routes.
    pub(in crate::kernel) fn route() -> Result<Self, Errno> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    fn open(protocol: SockProtocol) -> Result<Self, Errno> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        let received = vec![0; RECEIVE];
        Ok(Socket { fd, received })
    }

    /// Sends every message of `buffer` in one call and waits for no answer.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        retried(|| send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())).map(drop)
    }

    /// Receives the next part of a dump; its messages are those of [`Socket::messages`].
    pub(super) fn receive(&mut self) -> Result<Part, ReceiveError> {
        let fd = self.fd.as_raw_fd();
        let length = retried(|| recv(fd, &mut self.received, MsgFlags::empty()))
            .map_err(ReceiveError::Errno)?;
        let mut part = Part {
            length,
            last: false,
        };
        for message in self.messages(part) {
            match message.map_err(ReceiveError::Malformed)?.end() {
                None => {}
                Some(0) => part.last = true,
                Some(errno) => return Err(ReceiveError::Errno(Errno::from_raw(errno))),
            }
        }
        Ok(part)
    }

    /// The messages of the part that was received last.
    pub(super) fn messages(&self, part: Part) -> Messages<'_> {
        Messages(self.received.get(..part.length).unwrap_or_default())
    }

    /// Takes the bytes out that were received last; the next ones come into `spare`.
    pub(super) fn take(&mut self, spare: Vec<u8>) -> Vec<u8> {
        let mut spare = spare;
        spare.resize(RECEIVE, 0);
        std::mem::replace(&mut self.received, spare)
    }

    /// Sends messages in one call and gives each answer to `answer`: the number of the message and
    /// an errno, 0 for an acknowledgement where the message asked for one.
    ///
    /// The kernel works inside `send`, so what it has to say is there when `send` returns.
    ///
    /// # Errors
    /// ENOBUFS if answers were lost: of the messages without one the outcome is not known. All the
    /// answers there are were given by then, so that none is left for the next call.
    pub(in crate::kernel) fn submit(
        &mut self,
        bytes: &[u8],
        mut answer: impl FnMut(u32, i32),
    ) -> Result<(), Errno> {
        self.send(bytes)?;
        let fd = self.fd.as_raw_fd();
        let mut outcome = Ok(());
        loop {
            match retried(|| recv(fd, &mut self.received, MsgFlags::MSG_DONTWAIT)) {
                Ok(length) => {
                    let received = self.received.get(..length).unwrap_or_default();
                    for message in Messages(received).flatten() {
                        if let Some(errno) = message.errno() {
                            answer(message.sequence, errno);
                        }
                    }
                }
                Err(Errno::EAGAIN) => return outcome,
                Err(Errno::ENOBUFS) => outcome = Err(Errno::ENOBUFS),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Does it again when a signal came in between.
fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
