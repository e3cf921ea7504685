//! Timeout policies: values for some flows that beat the sysctl on every packet.
//!
//! Out: the protocols that policies are for, whichever way they were made: nfct and xt's
//! `CT --timeout` (nfnetlink_cttimeout), or nft's `ct timeout`.
//! Follows linux/netfilter/nfnetlink_cttimeout.h and nf_tables.h.

use crate::conntrack::{Attributes, Family, Malformed, Protocol};
use crate::flow::{Policies, Policy};

use super::listing::{ListError, list};

/// `NFNL_SUBSYS_CTNETLINK_TIMEOUT` and `IPCTNL_MSG_TIMEOUT_GET`.
const GET_TIMEOUT: u16 = 0x0801;
/// `CTA_TIMEOUT_L3PROTO` and `CTA_TIMEOUT_L4PROTO`.
const TIMEOUT_L3: u16 = 2;
const TIMEOUT_L4: u16 = 3;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETOBJ`.
const GET_OBJECT: u16 = 0x0a13;
/// `NFTA_OBJ_TYPE`, `NFTA_OBJ_DATA` and `NFT_OBJECT_CT_TIMEOUT`.
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const CT_TIMEOUT: u32 = 7;
/// `NFTA_CT_TIMEOUT_L3PROTO` and `NFTA_CT_TIMEOUT_L4PROTO`.
const OBJECT_L3: u16 = 1;
const OBJECT_L4: u16 = 2;

/// The policies cannot be read, so that there may be some.
#[derive(Debug, thiserror::Error)]
#[error("reading the timeout policies: {0}")]
pub(crate) struct PolicyError(#[from] pub ListError);

/// Reads the policies of the calling thread's network namespace, both kinds.
///
/// Needs `CAP_NET_ADMIN` over it. A kind that the kernel does not have has no policies.
pub(crate) fn read_policies() -> Result<Policies, PolicyError> {
    let mut policies = Vec::new();
    list(GET_TIMEOUT, |attributes| {
        policies.extend(policy(attributes, TIMEOUT_L3, TIMEOUT_L4)?);
        Ok(())
    })?;
    list(GET_OBJECT, |attributes| {
        policies.extend(object(attributes)?);
        Ok(())
    })?;
    policies.dedup();
    Ok(Policies(policies))
}

/// The policy of an nft object, if it is one.
fn object(attributes: Attributes<'_>) -> Result<Option<Policy>, Malformed> {
    let (mut is_timeout, mut found) = (false, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            OBJECT_TYPE => is_timeout = attribute.u32()? == CT_TIMEOUT,
            OBJECT_DATA => found = Some(attribute),
            _ => {}
        }
    }
    match found {
        Some(data) if is_timeout => policy(data.nested(), OBJECT_L3, OBJECT_L4),
        _ => Ok(None),
    }
}

fn policy(attributes: Attributes<'_>, l3: u16, l4: u16) -> Result<Option<Policy>, Malformed> {
    let (mut family, mut protocol) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == l3 {
            let number = u8::try_from(attribute.u16()?).unwrap_or(0);
            family = Family::from_number(number);
        } else if attribute.kind == l4 {
            protocol = Some(Protocol(attribute.byte()?));
        }
    }
    Ok(protocol.map(|protocol| Policy { family, protocol }))
}
