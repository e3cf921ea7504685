//! What of a plan is about services: whether nft takes it, and the proof that it works.

use crate::kernel::nft::{self, NftError};
use crate::plan::{Plan, SERVICE_FILES, Step};
use crate::service::Table;

/// Has nft judge the table of a plan. Where nft or the kernel cannot have it, the services are left
/// out of the plan, which says so.
pub(super) fn demand_nft(plan: &mut Plan) {
    let mut steps = plan.steps.iter();
    let transaction = steps.find_map(|step| match step {
        Step::Service {
            from, to, replace, ..
        } => Some(Table::transaction(from.as_ref(), to.as_ref(), *replace)),
        _ => None,
    });
    let Some(refused) = transaction.and_then(|text| nft::check(&text).err()) else {
        return;
    };
    plan.left_out = Some(match refused {
        NftError::NotInstalled => "nft is not installed (package nftables)".to_owned(),
        refused => refused.to_string(),
    });
    let is_file = |step: &Step| {
        let path = step.file().and_then(|change| change.path.to_str());
        path.is_some_and(|path| SERVICE_FILES.contains(&path))
    };
    plan.steps.retain(|step| {
        let is_about = matches!(step, Step::Service { .. } | Step::ReloadUnits { .. });
        !is_about && !is_file(step)
    });
}
