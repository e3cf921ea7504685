//! Timeout policies: values that apply to some flows in place of the sysctls.
//!
//! Out: each policy with its values and the flows that a rule can attach it to, whichever way it
//! was made: nfct and xt's `CT --timeout` (nfnetlink_cttimeout), or nft's `ct timeout`.
//! Follows linux/netfilter/nfnetlink_cttimeout.h and nf_tables.h.

use crate::conntrack::{Attribute, Attributes, Family, Malformed, Protocol};
use crate::flow::{Policies, Policy, Selection};
use crate::service::{Found, NAME, Table};

use super::listing::{ListError, list};
use super::rules::{Attachments, text};
use super::table::read_table;

/// `NFNL_SUBSYS_CTNETLINK_TIMEOUT` and `IPCTNL_MSG_TIMEOUT_GET`.
const GET_TIMEOUT: u16 = 0x0801;
/// `CTA_TIMEOUT_L3PROTO`, `CTA_TIMEOUT_L4PROTO` and `CTA_TIMEOUT_DATA`.
const TIMEOUT_L3: u16 = 2;
const TIMEOUT_L4: u16 = 3;
const TIMEOUT_DATA: u16 = 4;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETOBJ`.
const GET_OBJECT: u16 = 0x0a13;
/// `NFTA_OBJ_TABLE`, `NFTA_OBJ_NAME`, `NFTA_OBJ_TYPE`, `NFTA_OBJ_DATA`, `NFT_OBJECT_CT_TIMEOUT`.
const OBJECT_TABLE: u16 = 1;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
pub(super) const CT_TIMEOUT: u32 = 7;
/// `NFTA_CT_TIMEOUT_L4PROTO` and `NFTA_CT_TIMEOUT_DATA`. The family of the object is neither needed
/// nor checked: its table's counts.
const OBJECT_L4: u16 = 2;
const OBJECT_VALUES: u16 = 3;

/// The policies cannot be read, so that there may be some.
#[derive(Debug, thiserror::Error)]
#[error("reading the timeout policies: {0}")]
pub(crate) struct PolicyError(#[from] pub ListError);

/// Reads the policies of the calling thread's network namespace, both kinds.
///
/// Needs `CAP_NET_ADMIN` over it. A kind that the kernel does not have has no policies.
pub(crate) fn read_policies() -> Result<Policies, PolicyError> {
    let mut policies = Vec::new();
    list(GET_TIMEOUT, |_, attributes| {
        let read = Read::of(attributes, [TIMEOUT_L3, TIMEOUT_L4, TIMEOUT_DATA])?;
        policies.extend(read.policy(read.family, Selection::default()));
        Ok(())
    })?;
    let services = match read_table()? {
        Found::Ours(table) => table,
        Found::Foreign(_) | Found::Unread(_) => Table::default(),
    };
    let mut objects = Vec::new();
    list(GET_OBJECT, |family, attributes| {
        let object = Object::of(family, attributes)?;
        let is_ours = |object: &Object| {
            let mut ours = services.objects.iter();
            object.table == NAME && ours.any(|one| one.name == object.name)
        };
        objects.extend(object.filter(|object| !is_ours(object)));
        Ok(())
    })?;
    if !objects.is_empty() {
        let attachments = Attachments::read()?;
        for object in objects {
            let selection = attachments.of(object.family, &object.table, &object.name);
            let family = Family::from_number(object.family);
            policies.extend(object.read.policy(family, selection));
        }
    }
    policies.dedup();
    Ok(Policies(policies).with_services(services.policies().map(|(_, policy)| policy)))
}

/// How many policies and attached selections the bodies of such messages tell of.
#[cfg(feature = "internals")]
pub(crate) fn policies_in(body: &[u8]) -> usize {
    let Some((&[family, ..], attributes)) = body.split_first_chunk::<4>() else {
        return 0;
    };
    let attributes = Attributes::new(attributes);
    let numbers = [TIMEOUT_L3, TIMEOUT_L4, TIMEOUT_DATA];
    let read = Read::of(attributes.clone(), numbers).ok();
    let policy = read.and_then(|read| read.policy(read.family, Selection::default()));
    let object = Object::of(family, attributes.clone()).ok().flatten();
    let mut attached = Attachments::default();
    let _ = attached.take(family, attributes);
    let selection = object.map(|object| attached.of(family, &object.table, &object.name));
    usize::from(policy.is_some()) + selection.map_or(0, |selection| selection.matching.len())
}

/// What messages of either kind say of a policy.
#[derive(Default)]
struct Read {
    family: Option<Family>,
    protocol: Option<Protocol>,
    seconds: [Option<u32>; Policy::STATES],
}

impl Read {
    /// Reads the attributes of these numbers: family, protocol, values.
    fn of(attributes: Attributes<'_>, numbers: [u16; 3]) -> Result<Read, Malformed> {
        let mut read = Read::default();
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                kind if kind == numbers[0] => {
                    let number = u8::try_from(attribute.u16()?).unwrap_or(0);
                    read.family = Family::from_number(number);
                }
                kind if kind == numbers[1] => read.protocol = Some(Protocol(attribute.byte()?)),
                kind if kind == numbers[2] => read.take_values(attribute)?,
                _ => {}
            }
        }
        Ok(read)
    }

    fn take_values(&mut self, values: Attribute<'_>) -> Result<(), Malformed> {
        for value in values.nested() {
            let value = value?;
            if let Some(place) = self.seconds.get_mut(usize::from(value.kind)) {
                *place = Some(value.u32()?);
            }
        }
        Ok(())
    }

    fn policy(&self, family: Option<Family>, selection: Selection) -> Option<Policy> {
        Some(Policy {
            family,
            protocol: self.protocol?,
            seconds: self.seconds,
            selection,
            label: None,
        })
    }
}

/// An object of nft that is a policy.
struct Object {
    /// `NFPROTO_*` of its table.
    family: u8,
    table: String,
    name: String,
    read: Read,
}

impl Object {
    fn of(family: u8, attributes: Attributes<'_>) -> Result<Option<Object>, Malformed> {
        let mut object = Object {
            family,
            table: String::new(),
            name: String::new(),
            read: Read::default(),
        };
        let (mut is_policy, mut data) = (false, None);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                OBJECT_TABLE => object.table = text(attribute),
                OBJECT_NAME => object.name = text(attribute),
                OBJECT_TYPE => is_policy = attribute.u32()? == CT_TIMEOUT,
                OBJECT_DATA => data = Some(attribute),
                _ => {}
            }
        }
        // The data of other objects, such as helpers, has attributes of its own.
        if let (true, Some(data)) = (is_policy, data) {
            // The family's own number stands for none.
            object.read = Read::of(data.nested(), [0, OBJECT_L4, OBJECT_VALUES])?;
        }
        Ok(is_policy.then_some(object))
    }
}
