//! The send loop for changes to flows that a dump told of: less time, or none at all.
//!
//! In: a [`Flow`] and what is to become of it. Out: an [`Answer`] for each request. Rule: 128
//! requests a send, and all answers are read before the next send. One socket does this while
//! another dumps: in a thread of its own where a core is idle, so that the kernel works on both at
//! once. That thread sends at once what it gets, and gets more only when all of it is answered.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};

use nix::errno::Errno;

use crate::conntrack::{Buffer, Flow, Shorter, put_delete, put_update};
use crate::kernel::host;

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
    way: Way<T>,
    batches: Vec<Batch<T>>,
    /// Batches that another thread has.
    under_way: usize,
    /// Batches that were sent, for their memory.
    spare: Vec<Batch<T>>,
}

/// Who sends.
#[derive(Debug)]
enum Way<T> {
    /// The caller.
    Here(Socket),
    /// Another thread: batches go there and come back with their answers.
    Beside(Sender<Batch<T>>, Receiver<Answered<T>>),
}

type Answered<T> = (Batch<T>, Result<(), ChangeError>);

#[derive(Debug)]
struct Batch<T> {
    buffer: Buffer,
    tags: Vec<T>,
    /// One for each request, once they were sent.
    answers: Vec<Answer>,
}

impl<T> Changes<T> {
    /// Opens the socket that will send, in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, ChangeError> {
        let socket = Socket::netfilter().map_err(ChangeError)?;
        Ok(Changes::new(Way::Here(socket)))
    }

    /// The same, with a thread that sends if a core is idle, or if so many `threads` may work.
    pub(crate) fn beside<'scope>(
        scope: &'scope Scope<'scope, '_>,
        threads: Option<usize>,
    ) -> Result<Self, ChangeError>
    where
        T: Send + 'scope,
    {
        if threads.unwrap_or_else(host::read_idle_cores) < 2 {
            return Changes::open();
        }
        let mut socket = Socket::netfilter().map_err(ChangeError)?;
        let (to_send, batches) = channel::<Batch<T>>();
        let (to_answer, answered) = channel();
        let thread = Builder::new().name("change".into());
        let thread = thread.spawn_scoped(scope, move || {
            for mut batch in batches {
                let outcome = batch.submit(&mut socket);
                let is_over = outcome.is_err();
                if to_answer.send((batch, outcome)).is_err() || is_over {
                    return;
                }
            }
        });
        match thread {
            Ok(_) => Ok(Changes::new(Way::Beside(to_send, answered))),
            // No thread is to be had.
            Err(_) => Changes::open(),
        }
    }

    fn new(way: Way<T>) -> Self {
        Changes {
            way,
            batches: Vec::new(),
            under_way: 0,
            spare: Vec::new(),
        }
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

    /// Sends all that waits, 128 at a time, and gives the answers that came to `each`: where another
    /// thread sends, those of what was sent before.
    ///
    /// # Errors
    /// Where the socket failed. What was not answered by then is answered with
    /// [`Answer::Unknown`], what was not sent is dropped unanswered.
    pub(crate) fn send(&mut self, mut each: impl FnMut(T, Answer)) -> Result<(), ChangeError> {
        self.finish(&mut each)?;
        for mut batch in std::mem::take(&mut self.batches) {
            match &mut self.way {
                Way::Here(socket) => {
                    let outcome = batch.submit(socket);
                    self.answered((batch, outcome), &mut each)?;
                }
                Way::Beside(to_send, _) => {
                    if to_send.send(batch).is_err() {
                        break;
                    }
                    self.under_way += 1;
                }
            }
        }
        Ok(())
    }

    /// Waits for the answers that are still to come, and gives them to `each`.
    ///
    /// # Errors
    /// As [`Changes::send`].
    pub(crate) fn finish(&mut self, mut each: impl FnMut(T, Answer)) -> Result<(), ChangeError> {
        let mut outcome = Ok(());
        while self.under_way > 0
            && let Way::Beside(_, answered) = &self.way
            && let Ok(answered) = answered.recv()
        {
            self.under_way -= 1;
            outcome = outcome.and(self.answered(answered, &mut each));
        }
        outcome
    }

    fn answered(
        &mut self,
        (mut batch, outcome): Answered<T>,
        each: &mut impl FnMut(T, Answer),
    ) -> Result<(), ChangeError> {
        for (tag, answer) in batch.tags.drain(..).zip(batch.answers.drain(..)) {
            each(tag, answer);
        }
        batch.buffer.clear();
        self.spare.push(batch);
        outcome
    }

    /// The buffer that has room for one more request.
    fn room(&mut self, tag: T) -> &mut Buffer {
        let has_room = |batch: &Batch<T>| batch.tags.len() < BATCH;
        if !self.batches.last().is_some_and(has_room) {
            let batch = self.spare.pop().unwrap_or_else(|| Batch {
                buffer: Buffer::default(),
                tags: Vec::with_capacity(BATCH),
                answers: Vec::with_capacity(BATCH),
            });
            self.batches.push(batch);
        }
        let last = self.batches.len() - 1;
        let batch = &mut self.batches[last];
        batch.tags.push(tag);
        &mut batch.buffer
    }
}

impl<T> Batch<T> {
    fn submit(&mut self, socket: &mut Socket) -> Result<(), ChangeError> {
        let mut answers = [None; BATCH];
        let sent = socket.submit(self.buffer.bytes(), |number, errno| {
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
        let answers = answers.iter().take(self.tags.len());
        self.answers
            .extend(answers.map(|answer| answer.unwrap_or(unanswered)));
        match sent {
            Ok(()) | Err(Errno::ENOBUFS) => Ok(()),
            Err(errno) => Err(ChangeError(errno)),
        }
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
