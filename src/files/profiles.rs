//! Finds a profile by path or name, and refuses one that another user could have written.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ReadError, Root, owner};
use crate::diagnostic::plain::Shown;
use crate::profile::{Source, builtin};

/// Where named profiles are looked for, the first that has one wins; those built into the binary
/// come last.
pub(crate) const SHELVES: [&str; 3] = [
    "/etc/cttune/profiles",
    "/usr/local/share/cttune/profiles",
    "/usr/share/cttune/profiles",
];
const ENDING: &str = "toml";
/// A profile is a page; a larger file is something else.
const MAX_BYTES: u64 = 1 << 20;
/// A saved plan has the files that it edits, before and after.
const MAX_PLAN_BYTES: u64 = 64 << 20;

/// What is read, and how much of it.
#[derive(Clone, Copy)]
struct What {
    name: &'static str,
    most: u64,
}

const PROFILE: What = What {
    name: "profile",
    most: MAX_BYTES,
};

/// A profile that was found and read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What another profile's `extends` would call it: a name, or an absolute path.
    pub(crate) name: String,
    /// The folder of the file, as seen from inside its root; `None` for one that is built in.
    folder: Option<PathBuf>,
    /// The image that it is a file of.
    image: Option<Root>,
    pub(crate) source: Source,
}

impl Found {
    /// Its file; `None` for one that is built in.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.folder
            .as_ref()
            .map(|_| PathBuf::from(&self.source.name))
    }
}

/// Where a profile of the operator's own with this name belongs.
pub(crate) fn own(name: &str) -> PathBuf {
    let [shelf, ..] = SHELVES;
    Path::new(shelf).join(format!("{name}.{ENDING}"))
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("no profile `{name}`")]
    NotFound {
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    #[error(transparent)]
    File(#[from] ReadError),
    #[error("refusing the {what} {}: {why}", path.shown())]
    Unsafe {
        what: &'static str,
        path: PathBuf,
        why: String,
        /// That file, or the folder on the way to it.
        open: PathBuf,
    },
    #[error("the {what} {} is not UTF-8 text: {}", path.shown(), said_of(*kind, *line))]
    NotText {
        what: &'static str,
        path: PathBuf,
        line: usize,
        kind: Option<&'static str>,
    },
}

/// What a file that is no text begins with.
const KINDS: [(&[u8], &str); 6] = [
    (b"\x7fELF", "it is a program"),
    (b"\x1f\x8b", "it is compressed (gzip)"),
    (b"\x28\xb5\x2f\xfd", "it is compressed (zstd)"),
    (b"\xfd7zXZ", "it is compressed (xz)"),
    (b"PK\x03\x04", "it is a zip archive"),
    (b"\x89PNG", "it is a picture"),
];

fn kind(bytes: &[u8]) -> Option<&'static str> {
    let known = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    known.map(|(_, kind)| *kind)
}

fn said_of(kind: Option<&str>, line: usize) -> String {
    let byte = || format!("line {line} has a byte that no text has");
    kind.map_or_else(byte, str::to_owned)
}

/// Finds and reads a profile. A path ([`is_path`]) is taken from `folder`; a name is looked for on
/// the shelves, then among those built in, then as a plain file in `folder`.
pub(crate) fn find(asked: &str, folder: &Path) -> Result<Found, ProfileError> {
    let path = folder.join(asked);
    if is_path(asked) {
        return read_at(&path, asked);
    }
    if let Some(found) = find_named(asked)? {
        return Ok(found);
    }
    if path.is_file() {
        return read_at(&path, asked);
    }
    Err(not_found(asked))
}

/// Finds the profile that `child` names in `extends`. A profile of an image extends one that has a
/// name, or another file of the image: nothing in an image leads out of it.
pub(crate) fn find_parent(asked: &str, child: &Found) -> Result<Found, ProfileError> {
    let folder = child.folder.as_deref().unwrap_or(Path::new("/"));
    let found = match &child.image {
        None => return find(asked, folder),
        Some(image) if is_path(asked) => read_below(image, &folder.join(asked))?,
        Some(_) => find_named(asked)?,
    };
    found.ok_or_else(|| not_found(asked))
}

fn find_named(asked: &str) -> Result<Option<Found>, ProfileError> {
    for shelf in SHELVES {
        let path = Path::new(shelf).join(format!("{asked}.{ENDING}"));
        if let Some(text) = read_checked(&Root::machine(), &path, PROFILE)? {
            return Ok(Some(Found {
                name: asked.to_owned(),
                folder: Some(shelf.into()),
                image: None,
                source: Source::new(path.shown(), text),
            }));
        }
    }
    Ok(builtin::find(asked).map(|shipped| Found {
        name: asked.to_owned(),
        folder: None,
        image: None,
        source: shipped.source(),
    }))
}

/// Whether a profile is asked for by path: it has a slash or ends in `.toml`.
pub(crate) fn is_path(asked: &str) -> bool {
    asked.contains('/') || Path::new(asked).extension() == Some(OsStr::new(ENDING))
}

/// Every profile on a shelf or built in, by name, with its file unless it is built in; one that an
/// earlier shelf hides is left out.
pub(crate) fn list() -> BTreeMap<String, Option<PathBuf>> {
    let mut listed = BTreeMap::new();
    for shelf in SHELVES.map(Path::new) {
        let names = Root::machine().list(shelf).ok().flatten();
        for path in names
            .unwrap_or_default()
            .iter()
            .map(|name| shelf.join(name))
        {
            if path.extension() == Some(OsStr::new(ENDING))
                && let Some(name) = path.file_stem().and_then(OsStr::to_str)
            {
                listed.entry(name.to_owned()).or_insert(Some(path));
            }
        }
    }
    for shipped in builtin::ALL {
        listed.entry(shipped.name.to_owned()).or_insert(None);
    }
    listed
}

fn not_found(name: &str) -> ProfileError {
    ProfileError::NotFound {
        name: name.to_owned(),
        known: list().into_keys().collect(),
    }
}

fn read_at(path: &Path, asked: &str) -> Result<Found, ProfileError> {
    let absolute = match fs::canonicalize(path) {
        Ok(absolute) => absolute,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found(asked)),
        Err(error) => return Err(ReadError::new(path.to_owned(), error).into()),
    };
    let machine = Root::machine();
    let text = read_checked(&machine, &absolute, PROFILE)?.ok_or_else(|| not_found(asked))?;
    Ok(Found {
        name: absolute.shown(),
        folder: absolute.parent().map(Path::to_owned),
        image: None,
        source: Source::new(path.shown(), text),
    })
}

/// The profile at a path below a root; nothing where it does not exist. Its name is the path on the
/// running machine.
pub(crate) fn read_below(root: &Root, inside: &Path) -> Result<Option<Found>, ProfileError> {
    let Some(text) = read_checked(root, inside, PROFILE)? else {
        return Ok(None);
    };
    let name = root.outside(inside).shown();
    Ok(Some(Found {
        folder: inside.parent().map(Path::to_owned),
        image: (!root.is_machine()).then(|| root.clone()),
        source: Source::new(name.clone(), text),
        name,
    }))
}

/// The text of a saved plan, which is trusted as a profile is.
pub(crate) fn read_saved_plan(path: &Path) -> Result<String, ProfileError> {
    let what = What {
        name: "saved plan",
        most: MAX_PLAN_BYTES,
    };
    let absolute =
        fs::canonicalize(path).map_err(|error| ReadError::new(path.to_owned(), error))?;
    let text = read_checked(&Root::machine(), &absolute, what)?;
    let gone = || ReadError::new(path.to_owned(), io::ErrorKind::NotFound.into());
    Ok(text.ok_or_else(gone)?)
}

/// Reads a text through one open file, so that what is checked is what is read.
fn read_checked(root: &Root, inside: &Path, what: What) -> Result<Option<String>, ProfileError> {
    let Some((file, stat)) = root.open_known(inside)? else {
        return Ok(None);
    };
    let path = root.outside(inside);
    let on_the_way = || {
        // Of an image its owner answers for the folders.
        let real = fs::canonicalize(&path).unwrap_or_default();
        let paths = [path.as_path(), &real];
        let mut strangers = paths.into_iter().filter_map(owner::stranger_on_the_way);
        strangers.next().filter(|_| root.is_machine())
    };
    let itself = || Some((path.clone(), owner::stranger(&stat)?));
    if let Some((open, why)) = itself().or_else(on_the_way) {
        let what = what.name;
        return Err(ProfileError::Unsafe {
            what,
            path,
            why,
            open,
        });
    }
    let bytes = root.read_whole(file, &stat, inside, what.most)?;
    let valid = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let text = bytes.iter().position(|byte| *byte == 0).unwrap_or(valid);
    if text.min(valid) < bytes.len() {
        let before = bytes.iter().take(text.min(valid));
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let what = what.name;
        let kind = kind(&bytes);
        return Err(ProfileError::NotText {
            what,
            path,
            line,
            kind,
        });
    }
    Ok(String::from_utf8(bytes).ok())
}
