//! The counters of the calling thread's network namespace.

use std::fs;
use std::io;

use crate::tunable::Counters;

/// Of the thread, not of the process: that would be the main thread's namespace.
const PATH: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// Reads them; anybody may. `None` where conntrack is not loaded.
///
/// # Errors
/// Where the file is there and cannot be read, or is not what it should be.
pub(crate) fn read_counters() -> io::Result<Option<Counters>> {
    let text = match fs::read_to_string(PATH) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let counters = Counters::parse(&text);
    let wrong = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{PATH} is not as expected"),
        )
    };
    counters.ok_or_else(wrong).map(Some)
}
