//! Flowtables: flows that are offloaded to one pass by the rules, and by conntrack's timeouts.
//!
//! Follows linux/netfilter/nf_tables.h.

use crate::conntrack::{Attributes, Malformed};

use super::listing::{ListError, list};

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETFLOWTABLE`.
const GET_FLOWTABLE: u16 = 0x0a17;
/// `NFTA_FLOWTABLE_TABLE` and `NFTA_FLOWTABLE_NAME`.
const TABLE: u16 = 1;
const NAME: u16 = 2;

/// The flowtables cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the flowtables: {0}")]
pub(crate) struct FlowtableError(#[from] pub ListError);

/// Reads the flowtables of the calling thread's network namespace, each as `TABLE NAME`.
///
/// Needs `CAP_NET_ADMIN` over it.
pub(crate) fn read_flowtables() -> Result<Vec<String>, FlowtableError> {
    let mut flowtables = Vec::new();
    list(GET_FLOWTABLE, |_, attributes| {
        flowtables.push(spoken(attributes)?);
        Ok(())
    })?;
    Ok(flowtables)
}

fn spoken(attributes: Attributes<'_>) -> Result<String, Malformed> {
    let (mut table, mut name) = (String::new(), String::new());
    for attribute in attributes {
        let attribute = attribute?;
        let text = || {
            let text = String::from_utf8_lossy(attribute.value);
            text.trim_end_matches('\0').to_owned()
        };
        match attribute.kind {
            TABLE => table = text(),
            NAME => name = text(),
            _ => {}
        }
    }
    Ok(format!("{table} {name}"))
}
