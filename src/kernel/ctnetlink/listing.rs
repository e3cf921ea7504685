//! Lists of what netfilter has beside flows: timeout policies, flowtables.
//!
//! Follows include/uapi/linux/netfilter/nfnetlink.h.

use nix::errno::Errno;

use crate::conntrack::{Attributes, Buffer, Head, Malformed, NLM_F_DUMP, NLM_F_REQUEST};

use super::socket::{ReceiveError, Socket};

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// What the kernel said.
    #[error("{}", refused(*.0))]
    Refused(Errno),
    /// Bytes that are not what was asked for.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

fn refused(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "permission denied: needs root (CAP_NET_ADMIN)",
        other => other.desc(),
    }
}

/// Asks for everything of a kind in the calling thread's network namespace, and gives the
/// family (`NFPROTO_*`) and the attributes of each message to `each`.
///
/// Needs `CAP_NET_ADMIN` over it. Of a kind that the kernel does not have there is nothing.
pub(super) fn list(
    kind: u16,
    mut each: impl FnMut(u8, Attributes<'_>) -> Result<(), Malformed>,
) -> Result<(), ListError> {
    let socket = Socket::netfilter().map_err(ListError::Refused)?;
    // struct nfgenmsg: any family, version 0.
    dump(socket, kind, 4, any(4), |fixed, attributes| {
        each(fixed.first().copied().unwrap_or(0), attributes)
    })
}

/// The same of one table of nft: the kernel leaves the others out.
pub(super) fn list_of(
    kind: u16,
    family: u8,
    table: &str,
    mut each: impl FnMut(u8, Attributes<'_>) -> Result<(), Malformed>,
) -> Result<(), ListError> {
    let socket = Socket::netfilter().map_err(ListError::Refused)?;
    let ask = |message: &mut Buffer| {
        message.raw(&[family, 0, 0, 0]);
        // Of a rule and of an object, the first attribute is the name of the table.
        message.attribute(1, &[table.as_bytes(), &[0]].concat());
    };
    dump(socket, kind, 4, ask, |fixed, attributes| {
        each(fixed.first().copied().unwrap_or(0), attributes)
    })
}

/// The same of interfaces, neighbours and routes, whose fixed part has so many bytes; `each` is
/// given that part too. Anybody may ask.
pub(in crate::kernel) fn list_route(
    kind: u16,
    header: usize,
    each: impl FnMut(&[u8], Attributes<'_>) -> Result<(), Malformed>,
) -> Result<(), ListError> {
    let socket = Socket::route().map_err(ListError::Refused)?;
    dump(socket, kind, header, any(header), each)
}

/// Asks for everything: a fixed part of zeros.
fn any(header: usize) -> impl FnOnce(&mut Buffer) {
    move |message| message.raw(&vec![0; header])
}

fn dump(
    mut socket: Socket,
    kind: u16,
    header: usize,
    ask: impl FnOnce(&mut Buffer),
    mut each: impl FnMut(&[u8], Attributes<'_>) -> Result<(), Malformed>,
) -> Result<(), ListError> {
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = Buffer::default();
    request.message(Head { kind, flags }, ask);
    socket.send(request.bytes()).map_err(ListError::Refused)?;
    loop {
        let part = match socket.receive() {
            Ok(part) => part,
            // nfnetlink's answer to a subsystem that no module serves.
            Err(ReceiveError::Errno(Errno::EINVAL)) => return Ok(()),
            Err(ReceiveError::Errno(errno)) => return Err(ListError::Refused(errno)),
            Err(ReceiveError::Malformed(error)) => return Err(error.into()),
        };
        for message in socket.messages(part) {
            let message = message?;
            if message.end().is_none() {
                let parts = message.body.split_at_checked(header);
                let (fixed, attributes) = parts.ok_or(Malformed("its fixed part"))?;
                each(fixed, Attributes::new(attributes))?;
            }
        }
        if part.last {
            return Ok(());
        }
    }
}
