//! A netlink socket: sends whole batches and drains what the kernel answered.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use super::wire::{Buffer, HEADER};

/// `NLMSG_ERROR`: an errno, 0 for an acknowledgement, then the request it answers.
const NLMSG_ERROR: u16 = 2;

/// Larger than any answer: the kernel fills at most 32 KiB and cuts silently what does not fit.
const RECEIVE: usize = 65536;

/// A netlink socket. It stays in the network namespace that its maker was in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    received: Vec<u8>,
}

impl Socket {
    /// Opens a socket to netfilter, conntrack included.
    ///
    /// Needs no right; the requests need `CAP_NET_ADMIN` over the network namespace.
    pub fn netfilter() -> Result<Self, Errno> {
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

    /// Sends every message of `buffer` in one call and gives each answer's errno to `answer`: 0
    /// for an acknowledgement, where the message asked for one.
    ///
    /// The kernel works inside `send`, so what it has to say is there when `send` returns.
    /// ENOBUFS means that answers were lost and the outcome is not known.
    pub(in crate::kernel) fn submit(
        &mut self,
        buffer: &Buffer,
        mut answer: impl FnMut(i32),
    ) -> Result<(), Errno> {
        send(self.fd.as_raw_fd(), buffer.bytes(), MsgFlags::empty())?;
        loop {
            match recv(
                self.fd.as_raw_fd(),
                &mut self.received,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(length) => {
                    if let Some(errno) = errno_of(self.received.get(..length).unwrap_or_default()) {
                        answer(errno);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// The errno of an error message, as a positive number; none for any other message.
fn errno_of(message: &[u8]) -> Option<i32> {
    let kind = message.get(4..6)?.first_chunk::<2>()?;
    let code = message.get(HEADER..)?.first_chunk::<4>()?;
    (u16::from_ne_bytes(*kind) == NLMSG_ERROR).then(|| i32::from_ne_bytes(*code).saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_read_from_an_error_message_alone() {
        let mut message = vec![0; HEADER];
        message[4] = 2;
        message.extend_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(errno_of(&message), Some(17));
        for length in 0..message.len() {
            assert_eq!(errno_of(&message[..length]), None, "cut at {length}");
        }
        message[4] = 3;
        assert_eq!(errno_of(&message), None);
    }
}
