//! Reads a machine's sysctl.d directories and `/etc/sysctl.conf` into a [`Tree`].
//!
//! In: a view of a root. Out: what each name leads to, and the bytes behind it.
//! Rule: a file that is there and cannot be read is [`Content::Unreadable`], never absent.

use std::path::{Path, PathBuf};

use super::error::{Kind, ReadError};
use super::view::View;
use crate::boot::{Content, Directory, Entry, Tree, has_conf_name};

/// Reads everything that a reader of sysctl.d may read. A missing directory is empty.
///
/// # Errors
/// A directory that exists and cannot be listed.
pub(crate) fn read(view: &View<'_>) -> Result<Tree, ReadError> {
    let mut directories: Vec<Directory> = Vec::new();
    for path in Tree::DIRECTORIES.map(Path::new) {
        let real = view.resolve(path)?;
        // /lib is often a link to /usr/lib.
        let same = directories.iter().find(|one| one.real == real);
        let entries = match same {
            Some(same) => same.entries.clone(),
            None => read_entries(view, &real)?,
        };
        let path = path.to_owned();
        directories.push(Directory {
            path,
            real,
            entries,
        });
    }
    let sysctl_conf = match look_at(view, Path::new(Tree::SYSCTL_CONF)) {
        Content::Dangling { target } if target == Path::new(Tree::SYSCTL_CONF) => None,
        content => Some(content),
    };
    Ok(Tree {
        directories,
        sysctl_conf,
    })
}

fn read_entries(view: &View<'_>, real: &Path) -> Result<Vec<Entry>, ReadError> {
    let names = match view.list(real) {
        Ok(names) => names,
        // The readers find no directory there either.
        Err(ReadError::NotADirectory { .. }) => None,
        Err(error) => return Err(error),
    };
    let names = names.iter().flat_map(|names| names.iter());
    let names = names.map(|listed| &listed.name);
    let entries = names.filter(|name| has_conf_name(name)).map(|name| Entry {
        content: in_folder(view, real.join(name)),
        name: name.clone(),
    });
    Ok(entries.collect())
}

/// What a name leads to, in a folder whose path has no links.
fn in_folder(view: &View<'_>, real: PathBuf) -> Content {
    if view.is_no_link(&real) {
        file(view, real)
    } else {
        look_at(view, &real)
    }
}

/// What a path leads to.
fn look_at(view: &View<'_>, path: &Path) -> Content {
    let Ok(real) = view.resolve(path) else {
        return Content::Unreadable;
    };
    // An image's /dev may well be empty.
    if real == Path::new("/dev/null") {
        return Content::Masked;
    }
    match view.kind(&real) {
        Ok(None) => Content::Dangling { target: real },
        Ok(Some(Kind::Null)) => Content::Masked,
        Ok(Some(Kind::Directory)) => Content::Directory,
        _ => file(view, real),
    }
}

fn file(view: &View<'_>, real: PathBuf) -> Content {
    match view.read(&real) {
        Ok(Some(bytes)) => Content::File { bytes, real },
        Ok(None) => Content::Dangling { target: real },
        // It was put over the file.
        Err(ReadError::NotAFile {
            kind: Kind::Null, ..
        }) => Content::Masked,
        Err(_) => Content::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;
    use crate::files::Root;

    fn read_root(root: &TempDir) -> Result<Tree, ReadError> {
        read(&View::of(&Root::at(root.path()).unwrap()))
    }

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
        let mut tree = read_root(root).unwrap();
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
        assert_eq!(read_root(&root).unwrap(), Tree::default());
    }

    #[test]
    fn only_conf_names_are_listed() {
        let root = image();
        for name in ["b.conf", "a.conf", ".h.conf", "README", "x.conf.bak"] {
            fs::write(root.path().join("etc/sysctl.d").join(name), "").unwrap();
        }
        let tree = read_root(&root).unwrap();
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
        let tree = read_root(&root).unwrap();
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
