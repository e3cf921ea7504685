//! Reads a machine's sysctl.d directories and `/etc/sysctl.conf` into a [`Tree`].
//!
//! In: the root of a machine or of an image. Out: what each name leads to, and the bytes behind it.
//! Rule: nothing outside the root is looked at: absolute links start at the root and `..` stops
//! there, as path_resolution(7) has it for a chroot; nothing but a regular file is opened, so that
//! no FIFO and no device can hold us up.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::makedev;

use crate::boot::{Content, Directory, Entry, Tree, has_conf_name};

/// Links followed before a path counts as a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Reads everything below `root` that a reader of sysctl.d may read.
///
/// A missing directory is empty; a file that cannot be read is [`Content::Unreadable`].
///
/// # Errors
/// A directory that exists and cannot be listed, with its path.
pub(crate) fn read(root: &Path) -> io::Result<Tree> {
    let mut directories = Vec::new();
    for path in Tree::DIRECTORIES {
        directories.push(read_directory(root, Path::new(path))?);
    }
    let sysctl_conf = match look_at(root, Path::new(Tree::SYSCTL_CONF)) {
        Content::Dangling { target } if target == Path::new(Tree::SYSCTL_CONF) => None,
        content => Some(content),
    };
    Ok(Tree {
        directories,
        sysctl_conf,
    })
}

fn read_directory(root: &Path, path: &Path) -> io::Result<Directory> {
    let fail = |error: io::Error| {
        let shown = path.display();
        io::Error::new(error.kind(), format!("listing {shown}: {error}"))
    };
    let Resolved { real, metadata } = resolve(root, path).map_err(fail)?;
    let mut entries = Vec::new();
    if metadata.is_some_and(|metadata| metadata.is_dir()) {
        for name in conf_names(&inside(root, &real)).map_err(fail)? {
            let content = look_at(root, &real.join(&name));
            entries.push(Entry { name, content });
        }
    }
    Ok(Directory {
        path: path.to_owned(),
        real,
        entries,
    })
}

/// The names in a directory that a reader would consider, sorted.
fn conf_names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if has_conf_name(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What `path`, inside the root, leads to.
fn look_at(root: &Path, path: &Path) -> Content {
    let Ok(Resolved { real, metadata }) = resolve(root, path) else {
        return Content::Unreadable;
    };
    match metadata {
        // An image's /dev may well be empty.
        _ if real == Path::new("/dev/null") => Content::Masked,
        None => Content::Dangling { target: real },
        Some(metadata) if is_null(&metadata) => Content::Masked,
        Some(metadata) if metadata.is_dir() => Content::Directory,
        Some(_) => match read_regular(&inside(root, &real)) {
            Ok(bytes) => Content::File { bytes, real },
            Err(_) => Content::Unreadable,
        },
    }
}

fn is_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == makedev(1, 3)
}

/// Reads a regular file and refuses everything else without waiting for it.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let refuse = || io::Error::other("not a regular file");
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(refuse());
    }
    // Should a FIFO have taken its place since, O_NONBLOCK keeps open() from waiting for a writer.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(refuse());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path without links, inside the root.
struct Resolved {
    real: PathBuf,
    /// Of what is there; none where nothing is.
    metadata: Option<Metadata>,
}

/// Follows every link of `path` as a process whose root directory is `root` would.
fn resolve(root: &Path, path: &Path) -> io::Result<Resolved> {
    let mut real = PathBuf::from("/");
    let mut links = 0;
    let mut ahead = steps(path);
    while let Some(step) = ahead.pop() {
        match step {
            Step::Root => real = PathBuf::from("/"),
            Step::Up => drop(real.pop()),
            Step::Down(name) => {
                let next = inside(root, &real).join(&name);
                if metadata_of(&next)?.is_some_and(|metadata| metadata.is_symlink()) {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::other("too many levels of symbolic links"));
                    }
                    ahead.extend(steps(&fs::read_link(next)?));
                } else {
                    real.push(name);
                }
            }
        }
    }
    let metadata = metadata_of(&inside(root, &real))?;
    Ok(Resolved { real, metadata })
}

/// One step of a path.
enum Step {
    Root,
    Up,
    Down(OsString),
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<Step> {
    let step = |component| match component {
        Component::RootDir | Component::Prefix(_) => Some(Step::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
    };
    path.components().rev().filter_map(step).collect()
}

/// Where a path of the machine lies for us.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Metadata without following a link; none where nothing is.
fn metadata_of(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;

    /// An image with an `/etc/sysctl.d` and a file in it.
    fn image() -> TempDir {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("etc/sysctl.d")).unwrap();
        fs::write(root.path().join("etc/sysctl.conf"), "conf").unwrap();
        root
    }

    /// What `/etc/sysctl.d/x.conf` leads to when it is a link to `target`.
    fn through_link(root: &TempDir, target: &str) -> Content {
        symlink(target, root.path().join("etc/sysctl.d/x.conf")).unwrap();
        let mut tree = read(root.path()).unwrap();
        tree.directories.remove(0).entries.remove(0).content
    }

    fn conf() -> Content {
        Content::File {
            bytes: b"conf".to_vec(),
            real: "/etc/sysctl.conf".into(),
        }
    }

    #[test]
    fn a_machine_without_sysctl_d_is_empty() {
        let root = TempDir::new().unwrap();
        assert_eq!(read(root.path()).unwrap(), Tree::default());
    }

    #[test]
    fn only_conf_names_are_listed() {
        let root = image();
        for name in ["b.conf", "a.conf", ".h.conf", "README", "x.conf.bak"] {
            fs::write(root.path().join("etc/sysctl.d").join(name), "").unwrap();
        }
        let tree = read(root.path()).unwrap();
        let names: Vec<_> = tree.directories[0]
            .entries
            .iter()
            .map(|e| &e.name)
            .collect();
        assert_eq!(names, [".h.conf", "a.conf", "b.conf"]);
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        for target in [
            "../sysctl.conf",
            "/etc/sysctl.conf",
            "../../../../../etc/sysctl.conf",
            "/../etc/./sysctl.d/../sysctl.conf",
        ] {
            assert_eq!(through_link(&image(), target), conf(), "{target}");
        }
    }

    #[test]
    fn a_linked_directory_keeps_its_name_and_tells_its_place() {
        let root = image();
        fs::create_dir_all(root.path().join("usr/lib/sysctl.d")).unwrap();
        fs::write(root.path().join("usr/lib/sysctl.d/x.conf"), "").unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        let tree = read(root.path()).unwrap();
        assert_eq!(tree.directories[4].path, Path::new("/lib/sysctl.d"));
        assert_eq!(tree.directories[4].real, Path::new("/usr/lib/sysctl.d"));
        assert_eq!(tree.directories[4].entries, tree.directories[3].entries);
    }

    #[test]
    fn links_that_lead_to_no_file_say_what_they_are() {
        let dangling = Content::Dangling {
            target: "/etc/gone".into(),
        };
        for (target, content) in [
            ("/dev/null", Content::Masked),
            ("../gone", dangling),
            ("../sysctl.d", Content::Directory),
            ("x.conf", Content::Unreadable),
        ] {
            assert_eq!(through_link(&image(), target), content, "{target}");
        }
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let root = image();
        mkfifo(&root.path().join("etc/fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(through_link(&root, "/etc/fifo"), Content::Unreadable);
    }
}
