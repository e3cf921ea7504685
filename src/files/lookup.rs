//! Finds what a path below a directory leads to, without ever leaving that directory.
//!
//! In: the open directory that is taken for `/`, and a path as it looks from inside. Out: a
//! descriptor, or the path without links.
//! Rule: an absolute link starts at the directory and `..` stops there, as path_resolution(7) has
//! it for a chroot. openat2(2) does that in the kernel (since 5.6). Where it is missing or refused,
//! the walk below opens one part at a time, follows no link itself, and goes up only to a directory
//! that it came through, so that renaming folders meanwhile leads nowhere else.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, fstat};

use super::error::Kind;

/// Links that are followed before a path counts as a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Opens what `inside` leads to, links followed.
pub(super) fn open(root: BorrowedFd<'_>, inside: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    match openat2(root, inside, OpenHow::new().flags(flags).resolve(resolve)) {
        // ENOSYS before 5.6, EPERM from an old seccomp filter, EAGAIN when something was renamed
        // under way.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EAGAIN) => open_by_walk(root, inside, flags),
        opened => opened,
    }
}

fn open_by_walk(root: BorrowedFd<'_>, inside: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let walk = walk(root, inside)?;
    let found = walk.found.as_ref().ok_or(Errno::ENOENT)?;
    match found {
        End::Directory => openat(walk.here(), ".", flags, Mode::empty()),
        End::Other(name) => openat(
            walk.here(),
            name.as_os_str(),
            flags | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ),
    }
}

/// The path inside with every link followed. Parts that do not exist are kept as they are.
pub(super) fn resolve(root: BorrowedFd<'_>, inside: &Path) -> Result<PathBuf, Errno> {
    if has_no_link(root, inside) {
        let mut real = PathBuf::from("/");
        steps(inside)
            .iter()
            .rev()
            .for_each(|step| go(&mut real, step));
        return Ok(real);
    }
    walk(root, inside).map(|walk| walk.real)
}

/// Whether the kernel comes to the path's end, or to a part that does not exist, without a link. A
/// path with `..` is left to the walk, and so is every doubt.
fn has_no_link(root: BorrowedFd<'_>, inside: &Path) -> bool {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let links = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_IN_ROOT;
    let opened = openat2(root, inside, OpenHow::new().flags(flags).resolve(links));
    let goes_up = inside.components().any(|step| step == Component::ParentDir);
    !goes_up && matches!(opened, Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR))
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// Every directory below the root that leads to where we are.
    folders: Vec<OwnedFd>,
    real: PathBuf,
    /// What is at the end; nothing where a part does not exist.
    found: Option<End>,
}

enum End {
    /// The last of the walk's folders.
    Directory,
    /// A name in the last of the walk's folders.
    Other(OsString),
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.folders.last().map_or(self.root, AsFd::as_fd)
    }
}

fn walk<'a>(root: BorrowedFd<'a>, inside: &Path) -> Result<Walk<'a>, Errno> {
    let mut walk = Walk {
        root,
        folders: Vec::new(),
        real: PathBuf::from("/"),
        found: Some(End::Directory),
    };
    let mut links = 0;
    let mut ahead = steps(inside);
    while let Some(step) = ahead.pop() {
        if step == "/" || step == ".." {
            go(&mut walk.real, &step);
            let above = walk.folders.len().saturating_sub(1);
            walk.folders.truncate(if step == "/" { 0 } else { above });
            continue;
        }
        let there = look_at(walk.here(), &step)?;
        if let Some((link, Kind::Link)) = &there {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP);
            }
            ahead.extend(steps(Path::new(&readlinkat(link, "")?)));
            continue;
        }
        go(&mut walk.real, &step);
        match there {
            Some((part, Kind::Directory)) => walk.folders.push(part),
            Some(_) if ahead.is_empty() => walk.found = Some(End::Other(step)),
            // Nothing is there, or no directory: the rest of the path is kept as it is written.
            _ => {
                ahead.iter().rev().for_each(|step| go(&mut walk.real, step));
                walk.found = None;
                break;
            }
        }
    }
    Ok(walk)
}

/// One name in a directory, no link followed; nothing where it does not exist.
pub(super) fn look_at(
    folder: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<Option<(OwnedFd, Kind)>, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(part) => {
            let kind = Kind::of(&fstat(&part)?);
            Ok(Some((part, kind)))
        }
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The steps of a path, the first one last: `/`, `..` and names.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev();
    let steps = steps.filter(|step| *step != Component::CurDir);
    steps.map(|step| step.as_os_str().to_owned()).collect()
}

/// Takes one step in the text of a path. Pushing `/` starts it anew.
fn go(path: &mut PathBuf, step: &OsStr) {
    if step == ".." {
        path.pop();
    } else {
        path.push(step);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// A tree with links of every kind, and a file outside it that no link may reach.
    fn tree() -> tempfile::TempDir {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("etc/a.d")).unwrap();
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(outer.path().join("secret"), "outside").unwrap();
        fs::write(root.join("secret"), "inside").unwrap();
        fs::write(root.join("usr/lib/vendor"), "vendor").unwrap();
        for (target, link) in [
            ("/secret", "etc/absolute"),
            ("../../../../secret", "etc/upward"),
            ("/usr/lib", "lib"),
            ("../lib/vendor", "etc/twice"),
            ("/etc/none", "etc/dangling"),
            ("loop", "etc/loop"),
            ("/secret/x", "etc/through-a-file"),
            ("/proc/self/root/secret", "etc/magic"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        mkfifo(&root.join("etc/fifo"), Mode::S_IRWXU).unwrap();
        outer
    }

    fn text(opened: Result<OwnedFd, Errno>) -> Result<String, Errno> {
        let mut text = String::new();
        File::from(opened?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn the_kernel_and_the_walk_lead_to_the_same_file_inside() {
        let outer = tree();
        let root = File::open(outer.path().join("root")).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        for (path, expected) in [
            ("/etc/absolute", Ok("inside")),
            ("/etc/upward", Ok("inside")),
            ("/../../secret", Ok("inside")),
            ("/etc/a.d/../upward", Ok("inside")),
            ("/lib/vendor", Ok("vendor")),
            ("/etc/twice", Ok("vendor")),
            ("/lib/../../secret", Ok("inside")),
            ("/etc/dangling", Err(Errno::ENOENT)),
            ("/etc/none", Err(Errno::ENOENT)),
            ("/etc/loop", Err(Errno::ELOOP)),
            ("/etc/magic", Err(Errno::ENOENT)),
        ] {
            let expected = expected.map(str::to_owned);
            let path = Path::new(path);
            let by_kernel = text(open(root.as_fd(), path, flags));
            assert_eq!(by_kernel, expected, "{}", path.display());
            let by_walk = text(open_by_walk(root.as_fd(), path, flags));
            assert_eq!(by_walk, expected, "{}", path.display());
        }
    }

    #[test]
    fn a_resolved_path_has_no_links_and_keeps_what_does_not_exist() {
        let outer = tree();
        let root = File::open(outer.path().join("root")).unwrap();
        for (path, real) in [
            ("/etc/absolute", "/secret"),
            ("/lib", "/usr/lib"),
            ("/lib/none/file", "/usr/lib/none/file"),
            ("/etc/dangling", "/etc/none"),
            ("/etc/through-a-file", "/secret/x"),
            ("/..", "/"),
        ] {
            let resolved = resolve(root.as_fd(), Path::new(path)).unwrap();
            assert_eq!(resolved, Path::new(real), "{path}");
        }
        let looped = resolve(root.as_fd(), Path::new("/etc/loop/x"));
        assert_eq!(looped, Err(Errno::ELOOP));
    }

    #[test]
    fn a_directory_opens_by_both_ways() {
        let outer = tree();
        let root = File::open(outer.path().join("root")).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        for path in ["/", "/lib", "/etc/.."] {
            assert!(open(root.as_fd(), Path::new(path), flags).is_ok(), "{path}");
            let walked = open_by_walk(root.as_fd(), Path::new(path), flags);
            assert!(walked.is_ok(), "{path}");
        }
        let file = open_by_walk(root.as_fd(), Path::new("/secret"), flags);
        assert!(matches!(file, Err(Errno::ENOTDIR)));
    }
}
