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
    #[error("{0}")]
    Refused(Errno),
    /// Bytes that are not what was asked for.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Asks for everything of a kind in the calling thread's network namespace, and gives the
/// attributes of each message to `each`.
///
/// Needs `CAP_NET_ADMIN` over it. Of a kind that the kernel does not have there is nothing.
pub(super) fn list(
    kind: u16,
    mut each: impl FnMut(Attributes<'_>) -> Result<(), Malformed>,
) -> Result<(), ListError> {
    let mut socket = Socket::netfilter().map_err(ListError::Refused)?;
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = Buffer::default();
    // struct nfgenmsg: any family, version 0.
    request.message(Head { kind, flags }, |message| message.raw(&[0; 4]));
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
                let attributes = message.body.get(4..).ok_or(Malformed("its fixed part"))?;
                each(Attributes::new(attributes))?;
            }
        }
        if part.last {
            return Ok(());
        }
    }
}
