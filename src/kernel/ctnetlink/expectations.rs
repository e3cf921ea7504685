//! Expectations: connections that a helper has announced, in a table of their own with a limit of
//! its own.
//!
//! Follows IPCTNL_MSG_EXP_GET in linux/netfilter/nfnetlink_conntrack.h.

use super::listing::{ListError, list};

/// `NFNL_SUBSYS_CTNETLINK_EXP` and `IPCTNL_MSG_EXP_GET`.
const GET_EXPECTATION: u16 = 0x0201;

/// The expectations cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the expectations: {0}")]
pub(crate) struct ExpectationError(#[from] pub ListError);

/// Counts the expectations of the calling thread's network namespace: 4,096, the usual limit, take
/// 13 ms, none 10 µs. The kernel keeps no number of them that could be read at once.
///
/// Needs `CAP_NET_ADMIN` over it.
pub(crate) fn count_expectations() -> Result<u64, ExpectationError> {
    let mut number = 0;
    list(GET_EXPECTATION, |_, _| {
        number += 1;
        Ok(())
    })?;
    Ok(number)
}
