//! The counters of the calling thread's network namespace.
//!
//! From procfs, which everybody may read; over netlink where this kernel has no such file.

use std::fs;
use std::io;

use super::ctnetlink::read_statistics;
use super::sysctl;
use crate::tunable::Counters;

/// Of the thread, not of the process: that would be the main thread's namespace.
const PATH: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// Why the counters are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CountersError {
    /// The file is there and cannot be read.
    #[error("{PATH}: {}", crate::diagnostic::said(.0))]
    File(#[from] io::Error),
    /// The file is there and has another form.
    #[error("{PATH} has an unknown form")]
    Unknown,
    /// There is no file, and netlink does not tell either.
    #[error("there is no {PATH}, and over netlink: {0}")]
    Netlink(String),
}

/// Reads them. `None` where conntrack is not loaded.
pub(crate) fn read_counters() -> Result<Option<Counters>, CountersError> {
    match fs::read_to_string(PATH) {
        Ok(text) => Counters::parse(&text)
            .ok_or(CountersError::Unknown)
            .map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => read_over_netlink(),
        Err(error) => Err(error.into()),
    }
}

fn read_over_netlink() -> Result<Option<Counters>, CountersError> {
    if matches!(sysctl::read_count(), Ok(None)) {
        return Ok(None);
    }
    let counters = read_statistics().map_err(|error| CountersError::Netlink(error.to_string()))?;
    let none = || CountersError::Netlink("this kernel counts nothing".to_owned());
    counters.ok_or_else(none).map(Some)
}
