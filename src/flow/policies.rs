//! Timeout policies: values for some flows that beat the sysctl on every packet.
//!
//! Rule: which flow has which policy cannot be seen, so every policy is taken to hold for all flows
//! of its protocol.

use super::{Family, Flow, Protocol};

/// The flows that a policy may hold for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// None for both families.
    pub(crate) family: Option<Family>,
    /// The protocol.
    pub(crate) protocol: Protocol,
}

/// Every policy of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Policies(pub(crate) Vec<Policy>);

impl Policies {
    /// Whether a policy may hold for this flow.
    pub(crate) fn may_hold_for(&self, flow: &Flow<'_>) -> bool {
        self.0.iter().any(|policy| {
            policy.protocol == flow.original.protocol
                && policy.family.is_none_or(|family| family == flow.family)
        })
    }
}
