//! The place that the global options name: the machine, an image, another network namespace.

use super::args::{Global, Only, Planning};
use super::failure::{FAILED, Failure};
use crate::diagnostic::{Advise, Hint, Place};
use crate::files::Root;
use crate::kernel::host;
use crate::plan::{Permission, Scope};

pub(super) fn root(global: &Global) -> anyhow::Result<Root> {
    match &global.root {
        None => Ok(Root::machine()),
        Some(directory) => Root::at(directory).map_err(|error| {
            let hint = error.hint();
            let hint = hint.unwrap_or_else(|| Hint::say("name the folder of an image"));
            Failure::of(FAILED, &error).hint(hint).into()
        }),
    }
}

/// What to call the place: the machine's name, or the root.
pub(super) fn name(global: &Global) -> String {
    match (&global.root, &global.netns) {
        (Some(directory), _) => directory.display().to_string(),
        (None, Some(netns)) => format!("{} (namespace {netns})", host::read_name()),
        (None, None) => host::read_name(),
    }
}

/// The place that the commands in advice are about.
pub(super) fn of(global: &Global) -> Place {
    Place::new(global.root.as_deref(), global.netns.as_deref())
}

/// How much of a plan the options ask for. `--netns` has no files and `--root` no kernel.
pub(super) fn scope(global: &Global, planning: &Planning) -> anyhow::Result<Scope> {
    let only = planning.only;
    let (live, persist) = match (&global.netns, &global.root, only) {
        (Some(_), _, Some(Only::Persist)) => {
            return Err(Failure::usage("--only persist cannot go with --netns")
                .hint("a named namespace has no sysctl.d of its own")
                .into());
        }
        (_, Some(_), Some(Only::Live)) => {
            return Err(Failure::usage("--only live cannot go with --root")
                .hint("an image has no running kernel")
                .into());
        }
        (Some(_), _, _) => (true, false),
        (_, Some(_), _) => (false, true),
        (None, None, only) => (only != Some(Only::Persist), only != Some(Only::Live)),
    };
    Ok(Scope {
        live,
        persist,
        adopt: planning.adopt,
        replace: planning.replace,
    })
}

/// The dangers that the options allow.
pub(super) fn permission(planning: &Planning) -> Permission {
    Permission {
        overridden: planning.allow_overridden,
        max_below_count: planning.allow_max_below_count,
    }
}
