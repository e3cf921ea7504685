//! Reads what decides about the whole of /etc at the next boot: which programs read sysctl.d, the
//! kernel command line, whether /etc lasts, files that no reader reads.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Kind, View};
use crate::boot::command_line::{
    CommandLine, ENTRY_FOLDERS, GRUB_ENVIRONMENTS, GRUB_FOLDER, LOADER_FILES, LoaderFile,
};
use crate::boot::modules::{ConfFile, MODPROBE_FOLDERS};
use crate::boot::storage::StorageFacts;
use crate::boot::{Reader, SourceLine, Tree};

/// Where distributions have systemd-sysctl.
const SYSTEMD_SYSCTL: [&str; 2] = [
    "/usr/lib/systemd/systemd-sysctl",
    "/lib/systemd/systemd-sysctl",
];
const SYSCTL: [&str; 3] = ["/usr/sbin/sysctl", "/sbin/sysctl", "/usr/bin/sysctl"];
const OPENRC: [&str; 2] = ["/sbin/openrc", "/usr/sbin/openrc"];
/// Other programs that run at boot and apply sysctl.d in ways of their own.
const OTHERS: [(&str, &str); 8] = [
    ("/etc/runit/1", "runit"),
    ("/etc/s6", "s6"),
    ("/etc/s6-linux-init", "s6"),
    ("/etc/s6-overlay", "s6"),
    ("/etc/s6-rc", "s6"),
    ("/etc/finit.conf", "finit"),
    ("/etc/dinit.d", "dinit"),
    ("/etc/inittab", "init"),
];

fn is_there(view: &View<'_>, path: &str) -> bool {
    matches!(view.kind(Path::new(path)), Ok(Some(_)))
}

/// systemd-sysctl, where the system has it.
pub(super) fn systemd_sysctl(view: &View<'_>) -> Option<PathBuf> {
    let programs = SYSTEMD_SYSCTL.into_iter();
    programs
        .filter(|path| is_there(view, path))
        .map(PathBuf::from)
        .next()
}

/// nft, where the system has it.
pub(super) fn nft(view: &View<'_>) -> Option<PathBuf> {
    let mut programs = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"].into_iter();
    programs
        .find(|path| is_there(view, path))
        .map(PathBuf::from)
}

/// The programs that apply sysctl.d at boot, and one that cttune does not know. Both are empty
/// where nothing is found: an image that is only a few files.
pub(super) fn readers(view: &View<'_>) -> (Vec<Reader>, Option<&'static str>) {
    let sysctl = SYSCTL.iter().find(|path| is_there(view, path));
    let is_busybox = sysctl.is_some_and(|path| {
        let real = view.resolve(Path::new(path));
        real.is_ok_and(|real| real.ends_with("busybox") || real.ends_with("toybox"))
    });
    let has_procps = sysctl.is_some() && !is_busybox;
    if systemd_sysctl(view).is_some() {
        let both = has_procps.then_some(Reader::Procps).into_iter();
        return (both.chain([Reader::Systemd]).collect(), None);
    }
    if OPENRC.iter().any(|path| is_there(view, path)) {
        return (vec![Reader::OpenRc], None);
    }
    let other = OTHERS.iter().find(|(path, _)| is_there(view, path));
    match (has_procps, other) {
        // Debian's sysvinit has an init script that runs `sysctl --system`.
        (true, _) if is_there(view, "/etc/init.d/procps") => (vec![Reader::Procps], None),
        (true, Some((_, name))) => (vec![Reader::Procps], Some(name)),
        (true, None) => (vec![Reader::Procps], None),
        (false, Some((_, name))) => (Vec::new(), Some(name)),
        (false, None) => (Vec::new(), is_busybox.then_some("busybox")),
    }
}

/// Files that are there and cannot be read.
pub(super) type UnreadFiles = Vec<PathBuf>;

/// The running kernel's command line, or of an image the one that its boot loader has.
pub(super) fn command_line(view: &View<'_>, unread: &mut UnreadFiles) -> CommandLine {
    if view.is_machine() {
        let from = SourceLine {
            file: "/proc/cmdline".into(),
            line: 1,
        };
        return CommandLine::new(&of_proc("/proc/cmdline", unread).unwrap_or_default(), from);
    }
    let in_folder = |folder: &&str| {
        let folder = Path::new(folder);
        let names = view.names(folder);
        // The newest entry is the last by name, and the one that is started.
        let entries = names.into_iter().rev().map(|name| folder.join(name));
        entries.collect::<Vec<_>>()
    };
    let entries = ENTRY_FOLDERS.iter().flat_map(in_folder);
    let mut parts = in_folder(&GRUB_FOLDER);
    parts.reverse();
    let others = LOADER_FILES.iter().map(PathBuf::from).chain(parts);
    let paths = entries
        .chain(others)
        .chain(GRUB_ENVIRONMENTS.iter().map(PathBuf::from));
    let files: Vec<LoaderFile> = paths
        .filter_map(|path| {
            let text = text(view, &path, unread)?;
            Some(LoaderFile { path, text })
        })
        .collect();
    CommandLine::of_loader(&files)
}

fn text(view: &View<'_>, path: &Path, unread: &mut UnreadFiles) -> Option<String> {
    let read = view.read(path);
    let bytes = read
        .map_err(|_| unread.push(path.to_owned()))
        .ok()
        .flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn of_proc(path: &str, unread: &mut UnreadFiles) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => return Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) => unread.push(PathBuf::from(path)),
    }
    None
}

/// What tells whether /etc lasts. Of an image no mounts are known.
pub(super) fn storage(view: &View<'_>, unread: &mut UnreadFiles) -> StorageFacts {
    let mut any = |paths: &[&str]| {
        let mut paths = paths.iter().map(Path::new);
        paths.find_map(|path| text(view, path, unread))
    };
    let mut facts = StorageFacts {
        os_release: any(&["/etc/os-release", "/usr/lib/os-release"]).unwrap_or_default(),
        prepare_root: any(&[
            "/etc/ostree/prepare-root.conf",
            "/usr/lib/ostree/prepare-root.conf",
        ])
        .unwrap_or_default(),
        ..StorageFacts::default()
    };
    if view.is_machine() {
        facts.mounts = of_proc("/proc/self/mountinfo", unread);
        // Mounted with hidepid, /proc tells nothing about the programs of others.
        of_proc("/proc/1/comm", unread);
        let named = text(view, Path::new("/run/systemd/container"), unread);
        facts.container = named.map(|name| name.trim().to_owned());
        for (mark, name) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
            if facts.container.is_none() && is_there(view, mark) {
                facts.container = Some(name.to_owned());
            }
        }
        let in_pod = std::path::Path::new("/var/run/secrets/kubernetes.io").exists();
        if facts.container.is_none() && in_pod {
            facts.container = Some("kubernetes".to_owned());
        }
    }
    facts
}

/// Files in the folders of sysctl.d and modprobe.d whose names do not end in `.conf`.
pub(super) fn strays(view: &View<'_>) -> Vec<ConfFile> {
    let folders = Tree::DIRECTORIES
        .iter()
        .chain(&MODPROBE_FOLDERS)
        .map(Path::new);
    let mut files = Vec::new();
    for folder in folders {
        // /lib is often a link to /usr/lib.
        let is_link = matches!(view.resolve(folder), Ok(real) if real != folder);
        let names = if is_link {
            Vec::new()
        } else {
            view.names(folder)
        };
        for name in names {
            let path = folder.join(&name);
            let has_ending = path.extension().is_some_and(|ending| ending == "conf");
            if !has_ending && matches!(view.kind(&path), Ok(Some(Kind::File))) {
                let bytes = view.read(&path).ok().flatten();
                files.push(ConfFile { path, bytes });
            }
        }
    }
    files
}
