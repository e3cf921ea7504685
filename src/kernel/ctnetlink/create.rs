//! The send loop for making flows: for `cttune sandbox` and for tests, and for nothing else.

use nix::errno::Errno;

use crate::conntrack::{Buffer, NewFlow, put_create};

use super::socket::Socket;

/// Flows in one send. Each may be answered by an error, and the default receive buffer holds 256.
const BATCH: usize = 128;

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
        put_create(&mut batch, &flow);
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
