//! Reads every file that decides what the next boot brings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{FileError, Root, conf_folders, sysctl_tree};
use crate::plan::{ACTIVE, Files, MODULES_LOAD, UDEV_RULE};
use crate::tunable::Conntrack;

/// Where distributions have systemd-sysctl.
const SYSTEMD_SYSCTL: [&str; 2] = [
    "/usr/lib/systemd/systemd-sysctl",
    "/lib/systemd/systemd-sysctl",
];

/// Reads them below `root`. `running` is how the running kernel has conntrack; for another root
/// the kernels that are installed there are asked.
///
/// # Errors
/// Where a folder or a file of ours cannot be looked at.
pub(crate) fn read(root: &Root, running: Conntrack) -> Result<Files, FileError> {
    let tree = sysctl_tree::read(root.base()).map_err(|source| FileError::Io {
        doing: "read the sysctl.d folders below",
        path: root.base().to_owned(),
        source,
    })?;
    let mut others = BTreeMap::new();
    for path in [MODULES_LOAD, UDEV_RULE, ACTIVE] {
        if let Some(bytes) = root.read(Path::new(path))? {
            others.insert(PathBuf::from(path), bytes);
        }
    }
    let is_module = if root.is_machine() {
        running != Conntrack::BuiltIn
    } else {
        !every_kernel_has_it_built_in(root)
    };
    let systemd_sysctl = SYSTEMD_SYSCTL
        .iter()
        .map(PathBuf::from)
        .find(|program| root.exists(program));
    let module = is_module.then(|| conf_folders::read_module_files(root));
    Ok(Files::new(tree, others, module, systemd_sysctl))
}

/// Whether conntrack is built into every kernel that is installed below the root. Where none is
/// installed nothing is known, and naming a built-in module in modules-load.d does no harm.
fn every_kernel_has_it_built_in(root: &Root) -> bool {
    let Ok(modules) = root.resolve(Path::new("/lib/modules")) else {
        return false;
    };
    let Ok(kernels) = fs::read_dir(root.outside(&modules)) else {
        return false;
    };
    let mut built_in = kernels.flatten().map(|kernel| {
        fs::read_to_string(kernel.path().join("modules.builtin"))
            .is_ok_and(|list| list.lines().any(|line| line.ends_with("/nf_conntrack.ko")))
    });
    built_in
        .next()
        .is_some_and(|first| first && built_in.all(|next| next))
}
