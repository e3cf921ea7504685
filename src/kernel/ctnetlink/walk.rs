//! The walker: every flow of the table in one pass.
//!
//! In: a [`Filter`] and a [`Visitor`]. Out: each flow, given to the visitor over borrowed bytes.
//! Rule: the kernel fills a chunk while the one before is handed out, so each chunk comes with the
//! moment at which it was filled at the latest; what a visitor sends about its flows at the end of
//! the chunk meets them as they were dumped, but for what happened since.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::conntrack::{Buffer, Filter, Flow, Tuple, put_get};

use super::dump::{Dump, DumpError};
use super::socket::Socket;

/// How often [`undisturbed`] tries.
const TRIES: usize = 3;

/// Who is shown the flows of a table.
pub(crate) trait Visitor {
    type Error: From<DumpError>;

    /// A chunk begins, which the kernel had filled by then.
    fn start_of_chunk(&mut self, _filled: Instant) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A flow; a break ends the walk after this chunk.
    fn flow(&mut self, flow: &Flow<'_>) -> ControlFlow<()>;

    /// A chunk ends, and the next one is not yet asked for.
    fn end_of_chunk(&mut self) -> Result<ControlFlow<()>, Self::Error> {
        Ok(ControlFlow::Continue(()))
    }
}

/// Whether a flow has this tuple, as its own or, seen from the other side, as that of its replies.
/// What cannot be asked is no.
pub(crate) fn is_tracked(tuple: &Tuple) -> bool {
    let mut request = Buffer::default();
    put_get(&mut request, tuple, false);
    put_get(&mut request, &tuple.reversed(), true);
    let mut refused = 0;
    let asked = Socket::netfilter().and_then(|mut socket| {
        socket.submit(request.bytes(), |_, errno| {
            refused += usize::from(errno != 0);
        })
    });
    asked.is_ok() && refused < request.messages()
}

/// Shows the table of the calling thread's network namespace to a visitor, until it breaks.
///
/// The kernel leaves out what the filter excludes, as far as it can: match every flow again.
///
/// # Errors
/// The visitor's, and [`DumpError`]; [`DumpError::Resized`] comes at the end, when all flows were
/// shown.
pub(crate) fn walk<V: Visitor>(filter: &Filter, visitor: &mut V) -> Result<(), V::Error> {
    let mut dump = Dump::start(filter)?;
    while let Some(chunk) = dump.next_chunk()? {
        visitor.start_of_chunk(chunk.filled)?;
        let shown = chunk.each(&mut |flow| visitor.flow(flow));
        let wants_more = shown.map_err(DumpError::from)?;
        if visitor.end_of_chunk()?.is_break() || wants_more.is_break() {
            return Ok(dump.check_buckets()?);
        }
    }
    Ok(())
}

/// Shows every flow to `each`, until it breaks.
///
/// # Errors
/// As [`walk`].
pub(crate) fn each_flow(
    filter: &Filter,
    each: impl FnMut(&Flow<'_>) -> ControlFlow<()>,
) -> Result<(), DumpError> {
    struct Each<F>(F);

    impl<F: FnMut(&Flow<'_>) -> ControlFlow<()>> Visitor for Each<F> {
        type Error = DumpError;

        fn flow(&mut self, flow: &Flow<'_>) -> ControlFlow<()> {
            (self.0)(flow)
        }
    }

    walk(filter, &mut Each(each))
}

/// Does `work`, which changes nothing, again (three times in all) if the hash table was resized
/// meanwhile or part of the answer was lost. What it gathered before is void.
///
/// # Errors
/// The last one.
pub(crate) fn undisturbed<T>(
    mut work: impl FnMut() -> Result<T, DumpError>,
) -> Result<T, DumpError> {
    for _ in 1..TRIES {
        match work() {
            Err(error) if error.is_passing() => {}
            ended => return ended,
        }
    }
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_again_only_where_that_may_help_and_three_times_at_most() {
        for (error, expected) in [
            ((|| DumpError::Resized) as fn() -> DumpError, 3),
            (|| DumpError::Overrun, 3),
            (|| DumpError::NoRight, 1),
        ] {
            let mut tries = 0;
            let ended: Result<(), DumpError> = undisturbed(|| {
                tries += 1;
                Err(error())
            });
            assert!(ended.is_err());
            assert_eq!(tries, expected, "{:?}", error());
        }
        let mut tries = 0;
        let ended = undisturbed(|| {
            tries += 1;
            if tries < 3 {
                Err(DumpError::Resized)
            } else {
                Ok(tries)
            }
        });
        assert!(matches!(ended, Ok(3)));
    }
}
