//! Reads the machine before anything is decided: its kernel, its files, what can be known.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::{Global, Only};
use super::failure::{FAILED, Failure};
use crate::assess::Traces;
use crate::diagnostic::Place;
use crate::files::{Root, agents, boot_files};
use crate::kernel::{host, processes, sysctl};
use crate::plan::{Comparison, Files, Machine, Occasion, Scope};
use crate::tunable::{Host, Reading, Snapshot};

/// What was read.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) host: Host,
    pub(super) live: Option<Snapshot>,
    pub(super) files: Option<Files>,
    /// What to call the machine: its name, or the root.
    pub(super) name: String,
}

impl Current {
    /// Reads what the global options allow: with `--root` no kernel, with `--netns` no files.
    pub(super) fn take(global: &Global, root: &Root) -> anyhow::Result<Self> {
        let host = host::read_host()?;
        let live = match global.root {
            Some(_) => None,
            None => Some(sysctl::read_snapshot()?),
        };
        let files = match global.netns {
            Some(_) => None,
            None => Some(
                boot_files::read(root, host.conntrack)
                    .map_err(|error| Failure::of(FAILED, &error))?,
            ),
        };
        let name = match (&global.root, &global.netns) {
            (Some(directory), _) => directory.display().to_string(),
            (None, Some(netns)) => format!("{} (namespace {netns})", host::read_name()),
            (None, None) => host::read_name(),
        };
        Ok(Current {
            host,
            live,
            files,
            name,
        })
    }

    /// As the pure rooms want it.
    pub(super) fn machine(&self) -> Machine<'_> {
        Machine {
            host: &self.host,
            live: self.live.as_ref(),
            files: self.files.as_ref(),
        }
    }

    /// Files that could not be read, so that what they set is not known.
    pub(super) fn unread(&self) -> BTreeSet<&Path> {
        self.files.as_ref().map(Files::unread).unwrap_or_default()
    }
}

/// Where and when a change is made.
pub(super) fn occasion(global: &Global, root: &Root) -> anyhow::Result<Occasion> {
    Ok(Occasion {
        time: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        boot_id: host::read_boot_id()?,
        host: host::read_name(),
        kernel: host::read_release(),
        netns: global.netns.clone(),
        netns_inode: host::read_netns_inode(),
        root: root.base().to_owned(),
    })
}

/// Looks for other agents: in another namespace not at all, in an image by their files alone.
pub(super) fn agents(global: &Global, root: &Root) -> Option<Traces> {
    if global.netns.is_some() {
        return None;
    }
    let running = match global.root {
        Some(_) => BTreeSet::new(),
        None => processes::running(&Traces::PROGRAMS),
    };
    Some(agents::read(root, running))
}

/// The place that the commands in advice are about.
pub(super) fn place(global: &Global) -> Place {
    Place::new(global.root.as_deref(), global.netns.as_deref())
}

/// Refuses to judge what could not be read.
pub(super) fn demand_readings(comparison: &Comparison) -> anyhow::Result<()> {
    let denied = comparison
        .settings
        .iter()
        .find(|setting| setting.live == Some(Reading::Denied));
    match denied {
        Some(setting) => {
            let message = format!("cannot read {}: permission denied", setting.key);
            Err(Failure::new(FAILED, message).hint("run it as root").into())
        }
        None => Ok(()),
    }
}

/// The root that `--root` names, or the machine.
pub(super) fn root(global: &Global) -> anyhow::Result<Root> {
    match &global.root {
        None => Ok(Root::machine()),
        Some(directory) => Root::at(directory).map_err(|error| Failure::of(FAILED, &error).into()),
    }
}

/// How much of a plan the options ask for. `--netns` has no files and `--root` no kernel.
pub(super) fn scope(global: &Global, only: Option<Only>, adopt: bool) -> anyhow::Result<Scope> {
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
        adopt,
    })
}
