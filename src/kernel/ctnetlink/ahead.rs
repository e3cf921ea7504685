//! Reading ahead: a thread receives the next chunk of a dump while this one is looked at.
//!
//! The kernel takes most of the time of a dump, inside `recv`; what is done with the flows then
//! costs next to nothing where there is a second CPU. Only for reading: who acts on the flows of a
//! chunk must do so before the next one is received.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nix::errno::Errno;

use super::dump::{Chunk, Dump, DumpError};
use super::messages::Messages;
use super::socket::RECEIVE;

/// Buffers under way: one that is received into, one that waits, one that is looked at.
const BUFFERS: usize = 3;

/// Bytes that were received.
struct Received {
    buffer: Vec<u8>,
    length: usize,
}

impl Dump {
    /// Gives every chunk to `each` until it breaks.
    ///
    /// # Errors
    /// The error of `each`, else as [`Dump::next_chunk`].
    pub fn read_ahead(
        self,
        mut each: impl FnMut(Chunk<'_>) -> Result<ControlFlow<()>, DumpError>,
    ) -> Result<ControlFlow<()>, DumpError> {
        let (full, received) = sync_channel(BUFFERS);
        let (back, spare) = sync_channel(BUFFERS);
        thread::scope(|scope| {
            let ahead = thread::Builder::new().name("dump".into());
            let worker = ahead
                .spawn_scoped(scope, move || receive(self, &full, &spare))
                .map_err(|error| {
                    DumpError::Other(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
                })?;
            let seen = look(received, &back, &mut each);
            // The thread ends when nobody takes its chunks any more.
            drop(back);
            let ended = match worker.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            let seen = seen?;
            ended.map(|()| seen)
        })
    }
}

fn receive(
    mut dump: Dump,
    full: &SyncSender<Received>,
    spare: &Receiver<Vec<u8>>,
) -> Result<(), DumpError> {
    let mut made = 1;
    loop {
        let buffer = if made < BUFFERS {
            made += 1;
            vec![0; RECEIVE]
        } else {
            match spare.recv() {
                Ok(buffer) => buffer,
                Err(_) => break,
            }
        };
        let Some((buffer, length)) = dump.receive_whole(buffer)? else {
            break;
        };
        if full.send(Received { buffer, length }).is_err() {
            break;
        }
    }
    dump.check_buckets()
}

fn look(
    received: Receiver<Received>,
    back: &SyncSender<Vec<u8>>,
    each: &mut impl FnMut(Chunk<'_>) -> Result<ControlFlow<()>, DumpError>,
) -> Result<ControlFlow<()>, DumpError> {
    for Received { buffer, length } in received {
        let bytes = buffer.get(..length).unwrap_or_default();
        if each(Chunk(Messages(bytes)))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // At the end of the dump nobody wants it back.
        let _ = back.send(buffer);
    }
    Ok(ControlFlow::Continue(()))
}
