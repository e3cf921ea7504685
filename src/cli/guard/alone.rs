//! One guard for each network namespace, as long as that has a name.

use crate::change::{Here, Lock, LockError};
use crate::cli::args::{Global, Guard as Args};
use crate::cli::failure::{FAILED, Failure, LEFT};
use crate::guard::lock_name;
use crate::kernel::netns;

/// Holds this namespace as its only guard.
pub(super) fn only_one(args: &Args, here: &Here) -> anyhow::Result<Option<Lock>> {
    if args.dry_run {
        return Ok(None);
    }
    match Lock::take_named(here.root(), &lock_name()) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held { holder }) => {
            let message = format!("another guard is at work here: {holder}");
            Err(Failure::new(LEFT, message).into())
        }
        Err(error) => Err(Failure::of(FAILED, &error).into()),
    }
}

/// Whether the name, path or process that `--netns` names leads to this namespace no more. The guard
/// alone would keep it alive.
pub(super) fn is_gone(global: &Global) -> bool {
    let spec = global.netns.as_ref().and_then(|name| name.parse().ok());
    spec.is_some_and(|spec: netns::Spec| !netns::leads_here(&spec))
}
