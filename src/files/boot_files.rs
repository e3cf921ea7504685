//! Reads every file that decides what the next boot brings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{ReadError, Root, conf_folders, sysctl_tree};
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
pub(crate) fn read(root: &Root, running: Conntrack) -> Result<Files, ReadError> {
    let tree = sysctl_tree::read(root)?;
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
        .find(|program| matches!(root.kind(program), Ok(Some(_))));
    let module = is_module.then(|| conf_folders::read_module_files(root));
    Ok(Files::new(tree, others, module, systemd_sysctl))
}

/// Whether conntrack is built into every kernel that is installed below the root. Where none is
/// installed nothing is known, and naming a built-in module in modules-load.d does no harm.
fn every_kernel_has_it_built_in(root: &Root) -> bool {
    let modules = Path::new("/lib/modules");
    let kernels = root.list(modules).ok().flatten().unwrap_or_default();
    let has_it = |kernel: &OsString| {
        let list = root.read(&modules.join(kernel).join("modules.builtin"));
        let list = list.ok().flatten().unwrap_or_default();
        let list = String::from_utf8_lossy(&list);
        list.lines().any(|line| line.ends_with("/nf_conntrack.ko"))
    };
    !kernels.is_empty() && kernels.iter().all(has_it)
}
