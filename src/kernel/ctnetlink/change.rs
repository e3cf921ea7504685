//! The send loop for changes to flows that a dump told of: less time, or none at all.
//!
//! In: a [`Flow`] and what is to become of it. Out: an [`Answer`] for each request. Rule: 128
//! requests a send, and all answers are read before the next send. One socket does this while
//! another dumps.

use nix::errno::Errno;

use crate::conntrack::{Buffer, Flow, Shorter, put_delete, put_update};

use super::socket::Socket;

/// Requests in one send. Each may be answered by an error, and the default receive buffer holds 256.
const BATCH: usize = 128;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was made.
    Done,
    /// The flow had ended, or was about to (ENOENT, ETIME).
    Gone,
    /// The kernel refused: EPERM for a flow whose timeout is fixed.
    Refused(Errno),
    /// Answers were lost (ENOBUFS): it was made or was not. Dump again to know.
    Unknown,
}

/// The requests could not be sent, or not all of their answers received.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("changing flows: talking to the kernel over netlink: {0}")]
pub(crate) struct ChangeError(Errno);

/// Requests that wait to be sent, each with a `tag` that comes back with its answer.
///
/// The right to (`CAP_NET_ADMIN` over the network namespace) is what a dump needs too, so who has
/// dumped has it.
#[derive(Debug)]
pub(crate) struct Changes<T> {
    socket: Socket,
    batches: Vec<Batch<T>>,
    /// Batches that were sent, for their memory.
    spare: Vec<Batch<T>>,
}

#[derive(Debug)]
struct Batch<T> {
    buffer: Buffer,
    tags: Vec<T>,
}

impl<T> Changes<T> {
    /// Opens the socket that will send, in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, ChangeError> {
        Ok(Changes {
            socket: Socket::netfilter().map_err(ChangeError)?,
            batches: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Adds a request to give a flow less time.
    pub(crate) fn shorten(&mut self, shorter: Shorter<'_>, tag: T) {
        put_update(self.room(tag), shorter);
    }

    /// Adds a request to end a flow, if it is the same that was dumped, as far as its id tells.
    pub(crate) fn delete(&mut self, flow: &Flow<'_>, tag: T) {
        put_delete(self.room(tag), flow);
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.batches.iter().map(|batch| batch.tags.len()).sum()
    }

    /// Sends all that waits, 128 at a time, and gives every answer to `each`.
    ///
    /// # Errors
    /// Where the socket failed. What was not answered by then is answered with
    /// [`Answer::Unknown`], what was not sent is dropped unanswered.
    pub(crate) fn send(&mut self, mut each: impl FnMut(T, Answer)) -> Result<(), ChangeError> {
        for mut batch in self.batches.drain(..) {
            let outcome = submit(&mut self.socket, &mut batch, &mut each);
            batch.buffer.clear();
            self.spare.push(batch);
            outcome?;
        }
        Ok(())
    }

    /// The buffer that has room for one more request.
    fn room(&mut self, tag: T) -> &mut Buffer {
        let has_room = |batch: &Batch<T>| batch.tags.len() < BATCH;
        if !self.batches.last().is_some_and(has_room) {
            let batch = self.spare.pop().unwrap_or_else(|| Batch {
                buffer: Buffer::default(),
                tags: Vec::with_capacity(BATCH),
            });
            self.batches.push(batch);
        }
        let last = self.batches.len() - 1;
        let batch = &mut self.batches[last];
        batch.tags.push(tag);
        &mut batch.buffer
    }
}

fn submit<T>(
    socket: &mut Socket,
    batch: &mut Batch<T>,
    each: &mut impl FnMut(T, Answer),
) -> Result<(), ChangeError> {
    let mut answers = [None; BATCH];
    let sent = socket.submit(batch.buffer.bytes(), |number, errno| {
        let place = answers.get_mut(number as usize);
        if let Some(place) = place {
            *place = Some(answer(errno));
        }
    });
    // No answer is success, unless answers were lost.
    let unanswered = match sent {
        Ok(()) => Answer::Done,
        Err(_) => Answer::Unknown,
    };
    for (tag, answer) in batch.tags.drain(..).zip(answers) {
        each(tag, answer.unwrap_or(unanswered));
    }
    match sent {
        Ok(()) | Err(Errno::ENOBUFS) => Ok(()),
        Err(errno) => Err(ChangeError(errno)),
    }
}

fn answer(errno: i32) -> Answer {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno if errno == 0 => Answer::Done,
        Errno::ENOENT | Errno::ETIME => Answer::Gone,
        errno => Answer::Refused(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::captured::TCP;

    #[test]
    fn requests_are_batched_by_128_and_answers_are_told_apart() {
        let flow = Flow::parse(TCP).unwrap();
        let mut changes = Changes::open().unwrap();
        for tag in 0..300 {
            changes.shorten(Shorter::new(&flow, 1).unwrap(), tag);
        }
        let sizes: Vec<_> = changes
            .batches
            .iter()
            .map(|batch| batch.tags.len())
            .collect();
        assert_eq!((sizes, changes.waiting()), (vec![128, 128, 44], 300));
        for (errno, meant) in [
            (0, Answer::Done),
            (2, Answer::Gone),
            (62, Answer::Gone),
            (1, Answer::Refused(Errno::EPERM)),
        ] {
            assert_eq!(answer(errno), meant, "{errno}");
        }
    }
}
