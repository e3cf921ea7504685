//! Reads folders of small configuration files: those that decide how the conntrack module is loaded.
//!
//! In: a view of a root. Out: every file of modules-load.d and modprobe.d, and of each
//! installed kernel the modules that need conntrack.
//! Rule: a file that cannot be read is listed without its bytes; which file counts is not decided
//! here.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Kind, ReadError, View};
use crate::boot::Reader;
use crate::boot::modules::{self, ConfFile, ModuleFiles};

/// A missing folder is empty.
pub(super) fn read_module_files(
    view: &View<'_>,
    readers: &[Reader],
    unread: &mut Vec<PathBuf>,
) -> ModuleFiles {
    let mut modules_load = conf_files(view, &modules::MODULES_LOAD_FOLDERS, "conf");
    // systemd reads it by a link in modules-load.d alone.
    let is_read = !readers.is_empty() && !readers.contains(&Reader::Systemd);
    modules_load.extend(is_read.then(|| conf_file(view, PathBuf::from(modules::LIST))));
    ModuleFiles {
        modules_load,
        modprobe: read_modprobe(view),
        dependents: dependents(view, unread),
        ..ModuleFiles::default()
    }
}

/// Those of modprobe.d alone.
pub(super) fn read_modprobe(view: &View<'_>) -> Vec<ConfFile> {
    conf_files(view, &modules::MODPROBE_FOLDERS, "conf")
}

/// The files whose names end so, folder by folder. A folder that cannot be listed is there and
/// unread, like a file.
fn conf_files(view: &View<'_>, folders: &[&str], ending: &str) -> Vec<ConfFile> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for folder in folders.iter().map(Path::new) {
        let listed = view
            .resolve(folder)
            .and_then(|real| Ok((view.list(&real)?, real)));
        match listed {
            // /lib is often a link to /usr/lib.
            Ok((Some(names), real)) if seen.insert(real.clone()) => {
                let has_ending =
                    |name: &&OsString| Path::new(name).extension() == Some(OsStr::new(ending));
                let entry = |name| conf_file(view, folder.join(name));
                let names = names.iter().map(|listed| &listed.name);
                files.extend(names.filter(has_ending).map(entry));
            }
            Ok(_) | Err(ReadError::NotADirectory { .. }) => {}
            Err(_) => files.push(ConfFile {
                path: folder.to_owned(),
                bytes: None,
            }),
        }
    }
    files
}

fn conf_file(view: &View<'_>, path: PathBuf) -> ConfFile {
    let leads_to_null = || {
        let real = view.resolve(&path);
        real.is_ok_and(|real| real == Path::new("/dev/null"))
    };
    let is_masked = !view.is_no_link(&path) && leads_to_null();
    let bytes = match view.read(&path) {
        _ if is_masked => Some(Vec::new()),
        // A link that leads nowhere is as good as empty.
        Ok(bytes) => Some(bytes.unwrap_or_default()),
        // It was put over the file.
        Err(ReadError::NotAFile {
            kind: Kind::Null, ..
        }) => Some(Vec::new()),
        Err(_) => None,
    };
    ConfFile { path, bytes }
}

/// For each kernel that is installed, the modules that need conntrack.
fn dependents(view: &View<'_>, unread: &mut Vec<PathBuf>) -> Vec<BTreeSet<String>> {
    let kernels = Path::new("/lib/modules");
    let names = view.names(kernels);
    let lists = names.iter().filter_map(|kernel| {
        let path = kernels.join(kernel).join("modules.dep");
        view.read(&path)
            .map_err(|_| unread.push(path))
            .ok()
            .flatten()
    });
    lists
        .map(|list| modules::dependents(&String::from_utf8_lossy(&list)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::boot::modules::Loading;
    use crate::files::Root;

    fn image() -> (tempfile::TempDir, Root) {
        let image = tempfile::tempdir().unwrap();
        for folder in [
            "etc/modules-load.d",
            "usr/lib/modules-load.d",
            "usr/lib/modules/6.1",
        ] {
            fs::create_dir_all(image.path().join(folder)).unwrap();
        }
        symlink("usr/lib", image.path().join("lib")).unwrap();
        let root = Root::at(image.path()).unwrap();
        (image, root)
    }

    #[test]
    fn a_mask_hides_what_a_package_loads() {
        let (image, root) = image();
        let vendor = image.path().join("usr/lib/modules-load.d/firewall.conf");
        fs::write(vendor, "nf_nat\n").unwrap();
        let list = image.path().join("usr/lib/modules/6.1/modules.dep");
        fs::write(list, "kernel/nf_nat.ko: kernel/nf_conntrack.ko\n").unwrap();
        let loading = read_module_files(&View::of(&root), &[], &mut Vec::new()).loading();
        assert!(matches!(loading, Loading::Early(_)), "{loading:?}");

        let mask = image.path().join("etc/modules-load.d/firewall.conf");
        symlink("/dev/null", mask).unwrap();
        assert_eq!(
            read_module_files(&View::of(&root), &[], &mut Vec::new()).loading(),
            Loading::Nothing
        );
    }

    #[test]
    fn a_folder_that_is_a_link_is_read_once() {
        let (image, root) = image();
        fs::create_dir_all(image.path().join("usr/lib/modprobe.d")).unwrap();
        fs::write(image.path().join("usr/lib/modprobe.d/a.conf"), "").unwrap();
        fs::write(image.path().join("usr/lib/modprobe.d/README"), "").unwrap();
        assert_eq!(
            read_module_files(&View::of(&root), &[], &mut Vec::new())
                .modprobe
                .len(),
            1
        );
    }

    #[test]
    fn what_cannot_be_read_is_there_and_unread() {
        let (image, root) = image();
        let folder = image.path().join("etc/modules-load.d/x.conf");
        fs::create_dir(folder).unwrap();
        let loading = read_module_files(&View::of(&root), &[], &mut Vec::new()).loading();
        assert_eq!(
            loading,
            Loading::Unknown("/etc/modules-load.d/x.conf".into())
        );
    }
}
