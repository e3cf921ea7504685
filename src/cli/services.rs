//! Services on this machine: whether it can have them, whether a lifeline would let the operator
//! through, and the names by which `top` groups flows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::out::Out;
use crate::flow::{By, Field, Services as Names};
use crate::kernel::ctnetlink::read_table;
use crate::kernel::nft::{self, NftError};
use crate::plan::{Blocked, Comparison, Machine, NO_NFT, Plan, Services, Step};
use crate::service::Found;
use crate::trial::{TrialError, can_try, passes};
use crate::tunable::Snapshot;

/// Leaves the services out of a comparison where nft or the kernel cannot have their table, or where
/// it could not be tried: the rest of the profile does not need them.
pub(super) fn demand(comparison: &mut Comparison, machine: &Machine<'_>) {
    // nft would load the module.
    if !machine.live.is_some_and(Snapshot::is_loaded) {
        return;
    }
    let Some(transaction) = comparison.services.transaction() else {
        return;
    };
    let refused = match nft::check(&transaction) {
        Err(NftError::NotInstalled) => Some(NO_NFT.to_owned()),
        Err(refused) => Some(refused.to_string()),
        Ok(()) => can_try().err().map(|why| format!("no trial: {why}")),
    };
    if let Some(refused) = refused {
        comparison.services = Services::without(refused);
    }
}

/// Tries, for a plan that is shown, whether the present rules let the packets of a lifeline pass:
/// what drops them blocks it. apply tries it before it changes anything.
pub(super) fn try_lifeline(plan: &mut Plan, out: Out) {
    let table = plan.steps.iter().find_map(Step::table);
    match table.map_or(Ok(()), passes) {
        Ok(()) => {}
        Err(TrialError::LifelineDropped(add)) => {
            plan.blocked.push(Blocked::LifelineDropped { add });
        }
        Err(error) => out.note(&format!("note: the lifeline was not tried: {error}")),
    }
}

/// The services of nft's table, if flows are grouped by them.
pub(super) fn names(by: &By) -> Names {
    // A group has the name for as long as the program runs; there are not many.
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let is_asked = matches!(by, By::Fields(fields) if fields.contains(&Field::Service));
    let Some(Ok(Found::Ours(table))) = is_asked.then(read_table) else {
        return Names::default();
    };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut kept = |name: &str| -> &'static str {
        if let Some(name) = known.get(name) {
            return name;
        }
        let name = Box::leak(name.to_owned().into_boxed_str());
        known.insert(name);
        name
    };
    Names(
        table
            .policies()
            .map(|(name, policy)| (kept(name), policy))
            .collect(),
    )
}
