//! A root as one reading sees it: each folder is listed once, and what its list tells is not asked
//! again.
//!
//! In: a [`Root`]. Out: what its functions of the same names give.
//! Rule: for one reading, by one thread. What changes meanwhile is as it was when its folder was
//! listed, or an error.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use foldhash::fast::RandomState;
use nix::sys::stat::FileStat;

use super::root::{Listed, MAX_BYTES};
use super::{Kind, ReadError, Root};

pub(crate) struct View<'a> {
    root: &'a Root,
    /// What each folder has that was listed; none where it is not there.
    folders: RefCell<Map<Option<Rc<[Listed]>>>>,
    /// The paths without links of those that were asked for.
    resolved: RefCell<Map<PathBuf>>,
}

const LIB: &str = "/lib";
const USR_LIB: &str = "/usr/lib";

type Map<T> = HashMap<OsString, T, RandomState>;

/// What the list of its folder tells of a path.
enum Told {
    Nothing,
    Kind(Kind),
}

impl<'a> View<'a> {
    pub(crate) fn of(root: &'a Root) -> Self {
        View {
            root,
            folders: RefCell::default(),
            resolved: RefCell::default(),
        }
    }

    pub(super) fn is_machine(&self) -> bool {
        self.root.is_machine()
    }

    /// The names in a directory, sorted, with what they are.
    pub(super) fn list(&self, inside: &Path) -> Result<Option<Rc<[Listed]>>, ReadError> {
        let known = self.folders.borrow().get(inside.as_os_str()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let listed: Option<Rc<[Listed]>> = match (self.told(inside), self.usual(inside)) {
            (Some(Told::Nothing), _) => None,
            (_, Some(usual)) => self.list(&usual)?,
            (_, None) => self.root.list_kinds(inside)?.map(Rc::from),
        };
        let path = inside.as_os_str().to_owned();
        self.folders.borrow_mut().insert(path, listed.clone());
        Ok(listed)
    }

    /// The names alone; none where it cannot be listed.
    pub(super) fn names(&self, inside: &Path) -> Vec<OsString> {
        let listed = self.list(inside).ok().flatten();
        let listed = listed.iter().flat_map(|listed| listed.iter());
        listed.map(|one| one.name.clone()).collect()
    }

    pub(super) fn resolve(&self, inside: &Path) -> Result<PathBuf, ReadError> {
        if let Some(real) = self.resolved.borrow().get(inside.as_os_str()) {
            return Ok(real.clone());
        }
        let real = match self.usual(inside) {
            Some(usual) => self.resolve(&usual)?,
            None => self.root.resolve(inside)?,
        };
        let path = inside.as_os_str().to_owned();
        self.resolved.borrow_mut().insert(path, real.clone());
        Ok(real)
    }

    pub(super) fn kind(&self, inside: &Path) -> Result<Option<Kind>, ReadError> {
        match self.told(inside) {
            Some(Told::Nothing) => Ok(None),
            Some(Told::Kind(kind @ (Kind::File | Kind::Directory))) => Ok(Some(kind)),
            _ => self.root.kind(inside),
        }
    }

    /// Whether nothing has that name, not even a link.
    pub(super) fn is_absent(&self, inside: &Path) -> bool {
        matches!(self.told(inside), Some(Told::Nothing))
    }

    pub(super) fn is_no_link(&self, inside: &Path) -> bool {
        match self.told(inside) {
            Some(Told::Kind(kind)) => kind == Kind::File,
            _ => self.root.is_no_link(inside),
        }
    }

    pub(super) fn open_known(&self, inside: &Path) -> Result<Option<(File, FileStat)>, ReadError> {
        let opened = match self.told(inside) {
            Some(Told::Nothing) => None,
            // What a mount put there may be none: then its type is read first after all.
            Some(Told::Kind(Kind::File)) => {
                let opened = self.root.open_file(inside);
                opened.or_else(|_| self.root.open_known(inside))?
            }
            Some(Told::Kind(Kind::Directory)) => {
                return Err(self.root.not_a_file(inside, Kind::Directory));
            }
            _ => self.root.open_known(inside)?,
        };
        if opened.is_none() {
            // Nor is there anything below it.
            let path = inside.as_os_str().to_owned();
            self.folders.borrow_mut().insert(path, None);
        }
        Ok(opened)
    }

    pub(super) fn read(&self, inside: &Path) -> Result<Option<Vec<u8>>, ReadError> {
        let Some((file, stat)) = self.open_known(inside)? else {
            return Ok(None);
        };
        let bytes = self.root.read_whole(file, &stat, inside, MAX_BYTES)?;
        Ok(Some(bytes))
    }

    /// None where its folder was not listed, or the list does not tell.
    fn told(&self, inside: &Path) -> Option<Told> {
        let (folder, name) = parts(inside)?;
        let folders = self.folders.borrow();
        let Some(listed) = folders.get(folder)? else {
            return Some(Told::Nothing);
        };
        match listed.binary_search_by(|one| one.name.as_os_str().cmp(name)) {
            Ok(at) => listed[at].kind.map(Told::Kind),
            Err(_) => Some(Told::Nothing),
        }
    }

    /// The same path below /usr/lib, where /lib is a link to it, as it often is.
    fn usual(&self, inside: &Path) -> Option<PathBuf> {
        let rest = inside.strip_prefix(LIB).ok()?;
        let has_rest = rest.components().next().is_some();
        let is_link = || {
            self.resolve(Path::new(LIB))
                .is_ok_and(|real| real.as_os_str() == USR_LIB)
        };
        (has_rest && is_link()).then(|| Path::new(USR_LIB).join(rest))
    }
}

/// The folder of a path and the name in it, as they are written.
fn parts(inside: &Path) -> Option<(&OsStr, &OsStr)> {
    let text = inside.as_os_str().as_bytes();
    let (folder, name) = text.split_at(text.iter().rposition(|byte| *byte == b'/')?);
    let name = &name[1..];
    let is_name = !matches!(name, b"" | b"." | b"..");
    is_name.then(|| (OsStr::from_bytes(folder), OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn image() -> (TempDir, Root) {
        let image = TempDir::new().unwrap();
        fs::create_dir_all(image.path().join("usr/lib/x.d/folder")).unwrap();
        symlink("usr/lib", image.path().join("lib")).unwrap();
        let at = |name: &str| image.path().join("usr/lib/x.d").join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("folder", at("link-to-folder")).unwrap();
        symlink("none", at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let root = Root::at(image.path()).unwrap();
        (image, root)
    }

    /// What the functions tell of a path, as a text.
    fn seen(view: &View<'_>, path: &str) -> String {
        let path = Path::new(path);
        let said = |error: ReadError| error.to_string();
        let names = |listed: Option<Rc<[Listed]>>| {
            listed.map(|all| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>())
        };
        format!(
            "{:?} {:?} {:?} {:?} {}",
            view.kind(path).map_err(said),
            view.read(path).map_err(said),
            view.resolve(path).map_err(said),
            view.list(path).map(names).map_err(said),
            view.is_no_link(path),
        )
    }

    #[test]
    fn what_a_list_tells_is_what_the_root_tells() {
        let (_image, root) = image();
        let names = [
            "file",
            "link",
            "folder",
            "link-to-folder",
            "dangling",
            "fifo",
            "none",
        ];
        for folder in ["/usr/lib/x.d", "/lib/x.d", "/usr/lib/none.d", "/lib/none.d"] {
            for name in names
                .iter()
                .chain(&["file/below", "folder/.", "none/below", "folder/.."])
            {
                let path = format!("{folder}/{name}");
                let asked = View::of(&root);
                let listed = View::of(&root);
                listed.list(Path::new(folder)).unwrap();
                assert_eq!(seen(&listed, &path), seen(&asked, &path), "{path}");
                // Once more, of what is known.
                assert_eq!(seen(&listed, &path), seen(&asked, &path), "{path}");
            }
        }
    }

    #[test]
    fn a_folder_is_listed_once_by_both_of_its_names() {
        let (image, root) = image();
        let view = View::of(&root);
        let before = view.names(Path::new("/lib/x.d"));
        fs::write(image.path().join("usr/lib/x.d/later"), "text").unwrap();
        assert_eq!(view.names(Path::new("/usr/lib/x.d")), before);
        for path in ["/usr/lib/x.d/later", "/lib/x.d/later"] {
            assert!(view.is_absent(Path::new(path)));
        }
        // What is no longer what the list said is not waited for.
        let file = image.path().join("usr/lib/x.d/file");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = view.read(Path::new("/usr/lib/x.d/file")).unwrap_err();
        assert!(
            error.to_string().ends_with("is a FIFO, not a file"),
            "{error}"
        );
    }

    #[test]
    fn below_what_is_not_there_is_nothing() {
        let (image, root) = image();
        let view = View::of(&root);
        assert_eq!(view.read(Path::new("/etc/x.d")).unwrap(), None);
        assert!(view.is_absent(Path::new("/etc/x.d/file")));
        assert!(!view.is_absent(Path::new("/etc/x.d")));
        fs::create_dir_all(image.path().join("etc/y.d")).unwrap();
        assert_eq!(view.read(Path::new("/etc/y.d/file")).unwrap(), None);
    }
}
