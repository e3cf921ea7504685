//! Reads every file that decides what the next boot brings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{ReadError, Root, View, boot_facts, conf_folders, sysctl_tree, writers};
use crate::boot::modules::ModuleFiles;
use crate::boot::writers::Process;
use crate::boot::{BootFiles, NextBoot};
use crate::plan::{ACTIVE, Files, MODULES_LOAD, SERVICE_FILES, UDEV_RULE};
use crate::tunable::{Conntrack, Host};

/// Reads them below `root`, beside the programs that run. How the kernel has conntrack is the
/// running kernel's for the machine; for another root the kernels that are installed there are asked.
///
/// # Errors
/// For a folder that cannot be listed, or a file of cttune that cannot be read.
pub(crate) fn read(root: &Root, host: &Host, processes: Vec<Process>) -> Result<Files, ReadError> {
    let view = &View::of(root);
    let tree = sysctl_tree::read(view)?;
    let mut others = BTreeMap::new();
    for path in [MODULES_LOAD, UDEV_RULE, ACTIVE]
        .iter()
        .chain(&SERVICE_FILES)
    {
        if let Some(bytes) = view.read(Path::new(path))? {
            others.insert(PathBuf::from(path), bytes);
        }
    }
    let is_module = if root.is_machine() {
        host.conntrack != Conntrack::BuiltIn
    } else {
        !every_kernel_has_it_built_in(view)
    };
    let mut unread = Vec::new();
    let command_line = boot_facts::command_line(view, &mut unread);
    let (readers, other_reader) = boot_facts::readers(view);
    let next_boot = NextBoot::new(BootFiles {
        tree,
        module: is_module.then(|| ModuleFiles {
            command_line: command_line.clone(),
            ..conf_folders::read_module_files(view, &readers, &mut unread)
        }),
        readers,
        other_reader,
        modprobe: if is_module {
            Vec::new()
        } else {
            conf_folders::read_modprobe(view)
        },
        command_line,
        writers: writers::read(view, processes, host.cpus),
        storage: boot_facts::storage(view, &mut unread),
        strays: boot_facts::strays(view),
        unread,
    });
    let files = Files::new(next_boot, others, boot_facts::systemd_sysctl(view));
    Ok(files.with_nft(boot_facts::nft(view)))
}

/// Whether conntrack is built into every kernel that is installed below the root. Where none is
/// installed nothing is known, and naming a built-in module in modules-load.d does no harm.
fn every_kernel_has_it_built_in(view: &View<'_>) -> bool {
    let modules = Path::new("/lib/modules");
    let kernels = view.names(modules);
    let has_it = |kernel: &OsString| {
        let list = view.read(&modules.join(kernel).join("modules.builtin"));
        let list = list.ok().flatten().unwrap_or_default();
        let list = String::from_utf8_lossy(&list);
        list.lines().any(|line| line.ends_with("/nf_conntrack.ko"))
    };
    !kernels.is_empty() && kernels.iter().all(has_it)
}
