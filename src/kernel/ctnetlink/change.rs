//! Changes to flows that a dump told of: less time, or none at all.
//!
//! In: a [`Flow`] and what is to become of it. Out: an [`Answer`] for each. Rule: a request echoes
//! the bytes that name the flow, and its zone; it never carries a status (that can fix a flow's
//! timeout for good) nor `NLM_F_CREATE` (that would bring a flow back), and never asks for more
//! time than was dumped. One socket does this while another dumps.

use nix::errno::Errno;

use crate::flow::{Flow, cta};

use super::socket::Socket;
use super::tuple::NamesFlow;
use super::wire::Buffer;
use super::{Action, flow_request};

/// Requests in one send. Each may be answered by an error, and the default receive buffer holds 256.
const BATCH: usize = 128;

/// Less time for a flow, or as much as it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shorter<'a> {
    flow: &'a Flow<'a>,
    seconds: u32,
}

impl<'a> Shorter<'a> {
    /// The flow with `seconds` to live, or with what the dump told where that is less. None for a
    /// flow whose time the dump did not tell (an offloaded one).
    pub(crate) fn new(flow: &'a Flow<'a>, seconds: u32) -> Option<Self> {
        let dumped = flow.timeout?;
        let seconds = seconds.min(dumped);
        Some(Shorter { flow, seconds })
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was carried out.
    Done,
    /// The flow had ended, or was about to (ENOENT, ETIME).
    Gone,
    /// The kernel refused: EPERM for a flow whose timeout is fixed.
    Refused(Errno),
    /// Answers were lost (ENOBUFS): it was carried out or was not. Dump again to know.
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
        put_shorter(self.room(tag), shorter);
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
    // Silence is success, unless answers were lost.
    let silence = match sent {
        Ok(()) => Answer::Done,
        Err(_) => Answer::Unknown,
    };
    for (tag, answer) in batch.tags.drain(..).zip(answers) {
        each(tag, answer.unwrap_or(silence));
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

fn put_shorter(buffer: &mut Buffer, shorter: Shorter<'_>) {
    flow_request(buffer, Action::Update, shorter.flow, |message| {
        put_zone(message, shorter.flow);
        message.attribute(cta::TIMEOUT, &shorter.seconds.to_be_bytes());
    });
}

fn put_delete(buffer: &mut Buffer, flow: &Flow<'_>) {
    flow_request(buffer, Action::Delete, flow, |message| {
        put_zone(message, flow);
        message.attribute(cta::ID, &flow.id.to_be_bytes());
    });
}

/// Without its zone a flow of another one is meant, and ENOENT would look like success.
fn put_zone(message: &mut Buffer, flow: &Flow<'_>) {
    if let Some(zone) = flow.both_zone() {
        message.attribute(cta::ZONE, &zone.to_be_bytes());
    }
}

impl NamesFlow for Flow<'_> {
    fn family(&self) -> u8 {
        self.family.number()
    }

    fn put_tuple(&self, buffer: &mut Buffer) {
        buffer.raw(self.raw_original());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// udp \[fd00::1\]:1000 > \[fd00::2\]:53 with a zone of its original direction, 999 s to live.
    const ORIGINAL: &[u8] = b"\x2c\0\x01\x80\
        \x14\0\x03\0\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
        \x14\0\x04\0\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\
        \x1c\0\x02\x80\x05\0\x01\0\x11\0\0\0\x06\0\x02\0\x03\xe8\0\0\x06\0\x03\0\0\x35\0\0\
        \x06\0\x03\0\0\x05\0\0";
    const TUPLE: &[u8] = b"\x54\0\x01\x80";
    const REPLY: &[u8] = b"\x4c\0\x02\x80";
    const ID: &[u8] = b"\x08\0\x0c\0\x29\x69\xaa\xa5";
    const ZONE: &[u8] = b"\x06\0\x12\0\0\x03\0\0";
    const TIMEOUT: &[u8] = b"\x08\0\x07\0\0\0\x03\xe7";

    fn message(more: &[&[u8]]) -> Vec<u8> {
        let reply = &ORIGINAL[..ORIGINAL.len() - 8];
        let start: &[&[u8]] = &[b"\x0a\0\0\0", TUPLE, ORIGINAL, REPLY, reply, ID];
        [start, more].concat().concat()
    }

    fn body(put: impl FnOnce(&mut Buffer)) -> (Vec<u8>, Vec<u8>) {
        let mut buffer = Buffer::default();
        put(&mut buffer);
        let (head, body) = buffer.bytes().split_at(super::super::wire::HEADER);
        (head[4..8].to_vec(), body.to_vec())
    }

    #[test]
    fn an_update_is_the_tuple_the_zone_and_the_time_and_nothing_else() {
        let bytes = message(&[ZONE, TIMEOUT]);
        let flow = Flow::parse(&bytes).unwrap();
        let shorter = Shorter::new(&flow, 600).unwrap();
        let (head, body) = body(|buffer| put_shorter(buffer, shorter));
        // IPCTNL_MSG_CT_NEW; NLM_F_REQUEST without NLM_F_CREATE.
        assert_eq!(head, [0, 1, 1, 0]);
        let time = b"\x08\0\x07\0\0\0\x02\x58";
        assert_eq!(body, [b"\x0a\0\0\0", TUPLE, ORIGINAL, ZONE, time].concat());
    }

    #[test]
    fn a_delete_is_the_tuple_the_zone_and_the_id() {
        let bytes = message(&[ZONE]);
        let flow = Flow::parse(&bytes).unwrap();
        let (head, with_zone) = body(|buffer| put_delete(buffer, &flow));
        assert_eq!(head, [2, 1, 1, 0]);
        assert_eq!(
            with_zone,
            [b"\x0a\0\0\0", TUPLE, ORIGINAL, ZONE, ID].concat()
        );
        let bytes = message(&[]);
        let flow = Flow::parse(&bytes).unwrap();
        let (_, without) = body(|buffer| put_delete(buffer, &flow));
        assert_eq!(without, [b"\x0a\0\0\0", TUPLE, ORIGINAL, ID].concat());
    }

    #[test]
    fn no_more_time_is_asked_for_than_was_dumped() {
        let bytes = message(&[TIMEOUT]);
        let flow = Flow::parse(&bytes).unwrap();
        for (asked, seconds) in [(0, 0), (600, 600), (999, 999), (1000, 999), (u32::MAX, 999)] {
            assert_eq!(Shorter::new(&flow, asked).unwrap().seconds, seconds);
        }
        let bytes = message(&[]);
        assert!(Shorter::new(&Flow::parse(&bytes).unwrap(), 1).is_none());
    }

    #[test]
    fn requests_are_batched_by_128_and_answers_are_told_apart() {
        let bytes = message(&[TIMEOUT]);
        let flow = Flow::parse(&bytes).unwrap();
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
