//! The image of a machine's sysctl.d: what is there, and in which order a reader takes it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Reader;

/// What a name in a directory leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A regular file, perhaps through links.
    File {
        bytes: Vec<u8>,
        /// Its path with all links resolved, inside the root.
        real: PathBuf,
    },
    /// A link to `/dev/null`: shadows files of the same name and sets nothing.
    Masked,
    /// A link to what does not exist.
    Dangling {
        /// Where it leads, inside the root.
        target: PathBuf,
    },
    /// A directory: shadows files of the same name and sets nothing.
    Directory,
    /// A file that cttune may not read, a loop of links, a FIFO or a device: what a reader would
    /// find in it is unknown.
    Unreadable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) content: Content,
}

/// One sysctl.d directory; empty where the machine has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Its path as the readers spell it.
    pub(crate) path: PathBuf,
    /// Its path with all links resolved: `/lib` is often a link to `/usr/lib`.
    pub(crate) real: PathBuf,
    /// What is in it, each name once, sorted.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    /// One for each of [`Tree::DIRECTORIES`], in that order.
    pub(crate) directories: Vec<Directory>,
    /// `/etc/sysctl.conf`, where there is one.
    pub(crate) sysctl_conf: Option<Content>,
}

/// One name that a reader meets, in the order in which it meets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    /// The path by which the reader opens it.
    pub(crate) path: PathBuf,
    /// What it finds there.
    pub(crate) content: &'a Content,
    /// The source of the same name, in an earlier directory, that hides this one.
    pub(crate) shadowed_by: Option<(PathBuf, &'a Content)>,
}

impl Default for Tree {
    fn default() -> Self {
        let empty = |path: &&str| Directory {
            path: PathBuf::from(path),
            real: PathBuf::from(path),
            entries: Vec::new(),
        };
        Tree {
            directories: Tree::DIRECTORIES.iter().map(empty).collect(),
            sysctl_conf: None,
        }
    }
}

impl Tree {
    /// The directories; of one name the first counts. systemd built for a merged `/usr` skips the last.
    pub(crate) const DIRECTORIES: [&'static str; 5] = [
        "/etc/sysctl.d",
        "/run/sysctl.d",
        "/usr/local/lib/sysctl.d",
        "/usr/lib/sysctl.d",
        "/lib/sysctl.d",
    ];
    /// The file that procps reads last and systemd never reads by this name.
    pub(crate) const SYSCTL_CONF: &'static str = "/etc/sysctl.conf";

    /// The bytes of the file whose path, with all links resolved, is `real`; `None` if no reader
    /// meets it, or it cannot be read.
    pub(crate) fn file(&self, real: &Path) -> Option<&[u8]> {
        let entries = self
            .directories
            .iter()
            .flat_map(|directory| &directory.entries);
        let contents = entries.map(|entry| &entry.content).chain(&self.sysctl_conf);
        contents.into_iter().find_map(|content| match content {
            Content::File { bytes, real: path } if path == real => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// The tree as it will be once the file at `path` holds `bytes`, or is gone.
    ///
    /// Links follow: what is written to `/etc/sysctl.conf` shows in a `99-sysctl.conf` that leads
    /// there, a dangling link to a new file leads to it, and a link to a removed one dangles.
    /// A path that no reader reads changes nothing.
    #[must_use]
    pub(crate) fn with_file(&self, path: &Path, bytes: Option<Vec<u8>>) -> Tree {
        let mut tree = self.clone();
        let real = self.real_path(path);
        let content = match bytes {
            Some(bytes) => Content::File {
                bytes,
                real: real.clone(),
            },
            None => Content::Dangling {
                target: real.clone(),
            },
        };
        let gone = matches!(content, Content::Dangling { .. });
        for directory in &mut tree.directories {
            let here = directory.real.clone();
            for entry in &mut directory.entries {
                if here.join(&entry.name) == real || leads_to(&entry.content, &real) {
                    entry.content = content.clone();
                }
            }
            directory
                .entries
                .retain(|entry| !gone || here.join(&entry.name) != real);
            if !gone {
                directory.add_missing(&real, &content);
            }
        }
        let conf_is_a_link = tree
            .sysctl_conf
            .as_ref()
            .is_some_and(|conf| leads_to(conf, &real));
        if real == Path::new(Tree::SYSCTL_CONF) {
            tree.sysctl_conf = (!gone).then_some(content);
        } else if conf_is_a_link {
            tree.sysctl_conf = Some(content);
        }
        tree
    }

    /// Every source that `reader` meets, shadowed ones behind the one that hides them; the last
    /// that is not shadowed overrides the others.
    ///
    /// Names sort by their bytes over all directories, and the first directory that has a name
    /// hides it in the others, whatever it leads to. OpenRC reads one directory after the other.
    pub(crate) fn sources(&self, reader: Reader) -> Vec<Source<'_>> {
        match reader {
            Reader::OpenRc => return self.in_turn(&[3, 0], &[1]),
            Reader::Tuned => return self.in_turn(&[1, 0], &[]),
            Reader::Procps | Reader::Systemd => {}
        }
        let mut by_name: BTreeMap<&OsStr, Vec<(PathBuf, &Content)>> = BTreeMap::new();
        for directory in self.directories_of(reader) {
            for entry in directory.entries.iter().filter(|e| reads(reader, &e.name)) {
                by_name
                    .entry(&entry.name)
                    .or_default()
                    .push((directory.path.join(&entry.name), &entry.content));
            }
        }
        let mut sources: Vec<Source<'_>> = by_name.into_values().flat_map(with_shadows).collect();
        if let (Reader::Procps, Some(content)) = (reader, &self.sysctl_conf) {
            sources.push(Source {
                path: PathBuf::from(Tree::SYSCTL_CONF),
                content,
                shadowed_by: None,
            });
        }
        sources
    }

    /// Directories by their place, then `/etc/sysctl.conf`, then more directories: as OpenRC's
    /// `/etc/init.d/sysctl` and tuned's plugin list them, no name hiding another.
    fn in_turn(&self, before: &[usize], after: &[usize]) -> Vec<Source<'_>> {
        let plain = |path, content| Source {
            path,
            content,
            shadowed_by: None,
        };
        let directory = |place: &usize| {
            let directory = &self.directories[*place];
            let seen = directory.entries.iter().filter(|one| !is_hidden(&one.name));
            seen.map(move |one| plain(directory.path.join(&one.name), &one.content))
        };
        let conf = self.sysctl_conf.iter();
        let conf = conf.map(|content| plain(PathBuf::from(Tree::SYSCTL_CONF), content));
        let before = before.iter().flat_map(directory);
        before
            .chain(conf)
            .chain(after.iter().flat_map(directory))
            .collect()
    }

    fn directories_of(&self, reader: Reader) -> impl Iterator<Item = &Directory> {
        let last = match reader {
            Reader::Procps | Reader::OpenRc | Reader::Tuned => 5,
            Reader::Systemd => 4,
        };
        self.directories.iter().take(last)
    }

    /// Where a write to `path` ends: behind the links of its directory and its own.
    pub(crate) fn real_path(&self, path: &Path) -> PathBuf {
        if path == Path::new(Tree::SYSCTL_CONF) {
            return behind(self.sysctl_conf.as_ref())
                .map_or_else(|| path.to_path_buf(), Path::to_path_buf);
        }
        for directory in &self.directories {
            let Some(name) = path.file_name() else { break };
            if path.parent() == Some(&directory.path) {
                let entry = directory.entries.iter().find(|entry| entry.name == name);
                return behind(entry.map(|entry| &entry.content))
                    .map_or_else(|| directory.real.join(name), Path::to_path_buf);
            }
        }
        path.into()
    }
}

impl Directory {
    /// Adds a file whose resolved path lies in this directory and that it does not list yet.
    fn add_missing(&mut self, real: &Path, content: &Content) {
        let Some(name) = real.file_name() else { return };
        if real.parent() != Some(&self.real) || !has_conf_name(name) {
            return;
        }
        let by_name = |entry: &Entry| entry.name.as_os_str().cmp(name);
        if let Err(place) = self.entries.binary_search_by(by_name) {
            let entry = Entry {
                name: name.to_owned(),
                content: content.clone(),
            };
            self.entries.insert(place, entry);
        }
    }
}

/// Whether a reader would consider this name at all: it ends in `.conf`.
pub(crate) fn has_conf_name(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".conf")
}

/// procps reads hidden files, systemd does not.
fn reads(reader: Reader, name: &OsStr) -> bool {
    has_conf_name(name) && (reader == Reader::Procps || !is_hidden(name))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// The sources of one name, the directory that hides the others first.
fn with_shadows(found: Vec<(PathBuf, &Content)>) -> Vec<Source<'_>> {
    let strongest = found.first().cloned();
    let source = |(at, (path, content))| Source {
        path,
        content,
        shadowed_by: strongest.clone().filter(|_| at > 0),
    };
    found.into_iter().enumerate().map(source).collect()
}

/// The resolved path behind a name, where there is or will be a file.
fn behind(content: Option<&Content>) -> Option<&Path> {
    match content? {
        Content::File { real, .. } => Some(real),
        Content::Dangling { target } => Some(target),
        Content::Masked | Content::Directory | Content::Unreadable => None,
    }
}

fn leads_to(content: &Content, real: &Path) -> bool {
    behind(Some(content)) == Some(real)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tree of regular files, given as path and text.
    pub(in super::super) fn tree(files: &[(&str, &str)]) -> Tree {
        files.iter().fold(Tree::default(), |tree, (path, text)| {
            tree.with_file(Path::new(path), Some(text.as_bytes().to_vec()))
        })
    }

    /// The same tree with one more entry of any kind.
    pub(in super::super) fn with_entry(mut tree: Tree, path: &str, content: Content) -> Tree {
        let path = Path::new(path);
        let directory = tree
            .directories
            .iter_mut()
            .find(|directory| Some(directory.path.as_path()) == path.parent())
            .unwrap();
        directory.entries.push(Entry {
            name: path.file_name().unwrap().to_owned(),
            content,
        });
        directory.entries.sort_by(|a, b| a.name.cmp(&b.name));
        tree
    }

    fn read_by(tree: &Tree, reader: Reader) -> Vec<String> {
        tree.sources(reader)
            .into_iter()
            .filter(|source| source.shadowed_by.is_none())
            .map(|source| source.path.display().to_string())
            .collect()
    }

    /// `/etc/sysctl.conf` as Debian links it.
    fn debian() -> Tree {
        let conf = Content::File {
            bytes: b"old".to_vec(),
            real: PathBuf::from("/etc/sysctl.conf"),
        };
        with_entry(
            tree(&[("/etc/sysctl.conf", "old")]),
            "/etc/sysctl.d/99-sysctl.conf",
            conf,
        )
    }

    #[test]
    fn names_sort_by_bytes_over_all_directories() {
        let tree = tree(&[
            ("/usr/lib/sysctl.d/9-a.conf", ""),
            ("/etc/sysctl.d/10-b.conf", ""),
            ("/run/sysctl.d/a.conf", ""),
            ("/usr/local/lib/sysctl.d/Z.conf", ""),
        ]);
        for reader in Reader::ALL {
            assert_eq!(
                read_by(&tree, reader),
                [
                    "/etc/sysctl.d/10-b.conf",
                    "/usr/lib/sysctl.d/9-a.conf",
                    "/usr/local/lib/sysctl.d/Z.conf",
                    "/run/sysctl.d/a.conf",
                ]
            );
        }
    }

    #[test]
    fn what_each_reader_never_reads() {
        let tree = tree(&[
            ("/etc/sysctl.conf", ""),
            ("/etc/sysctl.d/.hidden.conf", ""),
            ("/etc/sysctl.d/.conf", ""),
            ("/etc/sysctl.d/README.sysctl", ""),
            ("/etc/sysctl.d/a.conf~", ""),
            ("/lib/sysctl.d/split.conf", ""),
        ]);
        assert_eq!(read_by(&tree, Reader::Systemd), Vec::<String>::new());
        assert_eq!(
            read_by(&tree, Reader::Procps),
            [
                "/etc/sysctl.d/.conf",
                "/etc/sysctl.d/.hidden.conf",
                "/lib/sysctl.d/split.conf",
                "/etc/sysctl.conf",
            ]
        );
    }

    #[test]
    fn whatever_has_the_name_first_hides_the_others() {
        for content in [
            Content::Masked,
            Content::Directory,
            Content::Unreadable,
            Content::Dangling {
                target: "/nowhere".into(),
            },
        ] {
            let below = tree(&[("/run/sysctl.d/x.conf", "")]);
            let tree = with_entry(below, "/etc/sysctl.d/x.conf", content);
            for reader in Reader::ALL {
                assert_eq!(read_by(&tree, reader), ["/etc/sysctl.d/x.conf"]);
            }
        }
    }

    #[test]
    fn a_write_shows_through_every_link_to_the_file() {
        let written = debian().with_file(Path::new("/etc/sysctl.conf"), Some(b"new".to_vec()));
        let through = debian().with_file(
            Path::new("/etc/sysctl.d/99-sysctl.conf"),
            Some(b"new".to_vec()),
        );
        assert_eq!(written, through);
        for source in written.sources(Reader::Procps) {
            assert!(
                matches!(source.content, Content::File { bytes, .. } if bytes == b"new"),
                "{source:?}"
            );
        }
    }

    #[test]
    fn a_link_dangles_while_its_file_is_gone() {
        let gone = debian().with_file(Path::new("/etc/sysctl.conf"), None);
        assert_eq!(gone.sysctl_conf, None);
        assert!(matches!(
            gone.sources(Reader::Systemd)[0].content,
            Content::Dangling { .. }
        ));
        let back = gone.with_file(Path::new("/etc/sysctl.conf"), Some(b"old".to_vec()));
        assert_eq!(back, debian());
    }

    #[test]
    fn a_new_file_appears_in_each_directory_that_is_the_same_one() {
        let mut merged = Tree::default();
        merged.directories[4].real = "/usr/lib/sysctl.d".into();
        let tree = merged.with_file(Path::new("/lib/sysctl.d/x.conf"), Some(Vec::new()));
        assert_eq!(tree.sources(Reader::Procps).len(), 2);
        assert_eq!(tree.sources(Reader::Systemd).len(), 1);
        let gone = tree.with_file(Path::new("/usr/lib/sysctl.d/x.conf"), None);
        assert_eq!(gone, merged);
    }
}
