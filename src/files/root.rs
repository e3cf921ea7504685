//! The one door to files: a directory that is taken for `/`: the machine's, an image's, or the state
//! directory.
//!
//! In: a path as it looks from inside the root. Out: bytes, names, an open file, or what is wrong.
//! Rule: the root is opened once and everything is reached from its descriptor. Reading follows
//! links inside the root only, opens nothing but regular files and never waits for a writer.
//! Writing ([`super::location`]) follows no link. The crates for this do not fit: cap-std refuses
//! absolute links, which images are full of; pathrs needs /proc and cannot tell where a link to a
//! missing file leads.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat, lstat, stat};
use rustix::fs::{FileType, RawDir};

use super::error::{FileError, Kind, ReadError};
use super::{lookup, owner};

/// A larger file is not read: no profile, list or record needs as much.
pub(super) const MAX_BYTES: u64 = 16 << 20;

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: OsString,
    /// What it is, where the file system tells that in its list and it is a file, a directory or a
    /// link. A mount may have put a device there all the same.
    pub(super) kind: Option<Kind>,
}

/// A directory tree in which files are read and written.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    base: PathBuf,
    /// The machine's `/` is opened when it is first needed.
    folder: Arc<OnceLock<OwnedFd>>,
    /// Whether what is made in it is its owner's alone.
    is_private: bool,
}

impl Root {
    pub(crate) fn machine() -> Self {
        Root {
            base: PathBuf::from("/"),
            folder: Arc::default(),
            is_private: false,
        }
    }

    /// An image, a chroot, or any other directory of the machine.
    pub(crate) fn at(base: &Path) -> Result<Self, FileError> {
        let failed = |error: io::Error| FileError::io("enter", base.to_owned(), error);
        let folder = open_folder(base).map_err(|errno| failed(errno.into()))?;
        let real = fs::canonicalize(base).map_err(failed)?;
        // `/proc/PID/root` of another mount namespace leads to a `/` that is not this one.
        let id = |stat: FileStat| (stat.st_dev, stat.st_ino);
        let is_here = || Ok(id(fstat(&folder)?) == id(stat(Path::new("/"))?));
        let is_here =
            real != Path::new("/") || is_here().map_err(|errno: Errno| failed(errno.into()))?;
        let base = if is_here { real } else { base.to_owned() };
        Ok(Root::from_folder(base, folder))
    }

    fn from_folder(base: PathBuf, folder: OwnedFd) -> Self {
        Root {
            base,
            folder: Arc::new(OnceLock::from(folder)),
            is_private: false,
        }
    }

    pub(super) fn with_folder(&self, inside: &Path, folder: OwnedFd) -> Self {
        Root {
            is_private: self.is_private,
            ..Root::from_folder(self.outside(inside), folder)
        }
    }

    /// The same root; what is made in it from now on is its owner's alone.
    #[must_use]
    pub(crate) fn private(self) -> Self {
        Root {
            is_private: true,
            ..self
        }
    }

    /// The mode of something new, where it is not private.
    pub(super) fn mode(&self, public: u32) -> Mode {
        let mask = if self.is_private { 0o700 } else { 0o777 };
        Mode::from_bits_truncate(public & mask)
    }

    /// A directory inside as a root of its own; nothing where it does not exist.
    pub(crate) fn below(&self, inside: &Path) -> Result<Option<Self>, ReadError> {
        let folder = self.open_directory(inside, OFlag::O_PATH)?;
        Ok(folder.map(|folder| self.with_folder(inside, folder)))
    }

    pub(crate) fn is_machine(&self) -> bool {
        self.base == Path::new("/")
    }

    /// Where the tree is on the running machine.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// What to call a path inside, as seen on the running machine. For messages: opening it by this
    /// name would follow links out of the root.
    pub(crate) fn outside(&self, inside: &Path) -> PathBuf {
        self.base.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The path inside with every link followed; parts that do not exist are kept.
    pub(crate) fn resolve(&self, inside: &Path) -> Result<PathBuf, ReadError> {
        self.folder()
            .and_then(|folder| lookup::resolve(folder.as_fd(), inside))
            .map_err(|errno| self.unreadable(inside, errno))
    }

    /// What a path leads to, links followed; nothing where it does not exist.
    pub(crate) fn kind(&self, inside: &Path) -> Result<Option<Kind>, ReadError> {
        // On the machine no link leads out of the root.
        let looked = if self.is_machine() && inside.is_absolute() {
            stat(inside)
        } else {
            let opened = self.open_with(inside, OFlag::O_PATH);
            opened.and_then(|opened| fstat(&opened))
        };
        match looked {
            Ok(stat) => Ok(Some(Kind::of(&stat))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(self.unreadable(inside, errno)),
        }
    }

    /// Whether a name is a regular file itself, and no link to one.
    pub(super) fn is_no_link(&self, inside: &Path) -> bool {
        let stat = if self.is_machine() && inside.is_absolute() {
            lstat(inside)
        } else {
            let looked = self.open_with(inside, OFlag::O_PATH | OFlag::O_NOFOLLOW);
            looked.and_then(|opened| fstat(&opened))
        };
        stat.is_ok_and(|stat| Kind::of(&stat) == Kind::File)
    }

    /// The bytes of a regular file, links followed; nothing where it does not exist.
    pub(crate) fn read(&self, inside: &Path) -> Result<Option<Vec<u8>>, ReadError> {
        let Some((file, stat)) = self.open_known(inside)? else {
            return Ok(None);
        };
        self.read_whole(file, &stat, inside, MAX_BYTES).map(Some)
    }

    /// The bytes of a file of this root that is open.
    pub(super) fn read_whole(
        &self,
        file: File,
        stat: &FileStat,
        inside: &Path,
        limit: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let path = self.outside(inside);
        match read_up_to(file, stat, limit) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(ReadError::TooLarge { path, limit }),
            Err(error) => Err(ReadError::new(path, error)),
        }
    }

    /// Opens a regular file for reading, links followed: for what is read in parts.
    pub(crate) fn open(&self, inside: &Path) -> Result<Option<File>, ReadError> {
        let opened = self.open_known(inside)?;
        Ok(opened.map(|(file, _)| file))
    }

    /// The same with its size, mode and owner.
    pub(super) fn open_known(&self, inside: &Path) -> Result<Option<(File, FileStat)>, ReadError> {
        // Its type is read first: opening a device can have an effect.
        match self.kind(inside)? {
            None => return Ok(None),
            Some(Kind::File) => {}
            Some(kind) => return Err(self.not_a_file(inside, kind)),
        }
        self.open_file(inside)
    }

    /// The same for what a list said to be a regular file; what a mount put over one is opened too.
    pub(super) fn open_file(&self, inside: &Path) -> Result<Option<(File, FileStat)>, ReadError> {
        // Should a FIFO have taken its place since, O_NONBLOCK keeps open() from waiting.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = match self.open_with(inside, flags) {
            Ok(opened) => opened,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return Err(self.unreadable(inside, errno)),
        };
        let stat = fstat(&opened).map_err(|errno| self.unreadable(inside, errno))?;
        match Kind::of(&stat) {
            Kind::File => Ok(Some((File::from(opened), stat))),
            kind => Err(self.not_a_file(inside, kind)),
        }
    }

    /// The names in a directory, sorted; nothing where it does not exist.
    pub(crate) fn list(&self, inside: &Path) -> Result<Option<Vec<OsString>>, ReadError> {
        let listed = self.list_kinds(inside)?;
        Ok(listed.map(|all| all.into_iter().map(|one| one.name).collect()))
    }

    /// The same with what each name is.
    pub(super) fn list_kinds(&self, inside: &Path) -> Result<Option<Vec<Listed>>, ReadError> {
        let Some(opened) = self.open_directory(inside, OFlag::O_RDONLY)? else {
            return Ok(None);
        };
        let failed = |errno: rustix::io::Errno| {
            self.unreadable(inside, Errno::from_raw(errno.raw_os_error()))
        };
        let mut all = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); LIST_AT_ONCE];
        let mut entries = RawDir::new(&opened, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                let kind = match entry.file_type() {
                    FileType::RegularFile => Some(Kind::File),
                    FileType::Directory => Some(Kind::Directory),
                    FileType::Symlink => Some(Kind::Link),
                    _ => None,
                };
                let name = name.to_owned();
                all.push(Listed { name, kind });
            }
        }
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(Some(all))
    }

    fn open_directory(&self, inside: &Path, flags: OFlag) -> Result<Option<OwnedFd>, ReadError> {
        match self.open_with(inside, flags | OFlag::O_DIRECTORY) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::ENOENT) => Ok(None),
            // Something else is in its place, or in that of a directory above it.
            Err(Errno::ENOTDIR) => match self.kind(inside)? {
                None | Some(Kind::Directory) => Ok(None),
                Some(kind) => Err(ReadError::NotADirectory {
                    path: self.outside(inside),
                    kind,
                }),
            },
            Err(errno) => Err(self.unreadable(inside, errno)),
        }
    }

    /// Who beside its owner may write a file, links followed.
    pub(crate) fn writers(&self, inside: &Path) -> Option<String> {
        let opened = self.open_with(inside, OFlag::O_PATH).ok()?;
        owner::writers(&fstat(&opened).ok()?)
    }

    /// Owner and mode of the root itself.
    pub(super) fn stat(&self) -> io::Result<FileStat> {
        Ok(self.folder().and_then(fstat)?)
    }

    /// The open directory that everything is reached from.
    pub(super) fn folder(&self) -> Result<&OwnedFd, Errno> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let folder = open_folder(&self.base)?;
        Ok(self.folder.get_or_init(|| folder))
    }

    fn open_with(&self, inside: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        lookup::open(self.folder()?.as_fd(), inside, flags)
    }

    pub(super) fn not_a_file(&self, inside: &Path, kind: Kind) -> ReadError {
        ReadError::NotAFile {
            path: self.outside(inside),
            kind,
        }
    }

    fn unreadable(&self, inside: &Path, errno: Errno) -> ReadError {
        ReadError::new(self.outside(inside), io::Error::from(errno))
    }
}

/// For a file that does not say how large it is.
const READ_AT_ONCE: usize = 8 << 10;
const LIST_AT_ONCE: usize = 8 << 10;

/// The bytes of a file; nothing where there are more than `limit`.
pub(super) fn read_up_to(
    mut file: File,
    stat: &FileStat,
    limit: u64,
) -> io::Result<Option<Vec<u8>>> {
    // A file of /proc says that it is empty, one of /sys that it is larger than it is. Any other ends
    // after as many bytes as it says, and is read at once.
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    if size > limit {
        return Ok(None);
    }
    let room = usize::try_from(size).unwrap_or_default();
    let mut bytes = Vec::with_capacity(if room == 0 { READ_AT_ONCE } else { room });
    file.by_ref().take(size).read_to_end(&mut bytes)?;
    if room == 0 || bytes.len() < room {
        let rest = (limit + 1).saturating_sub(bytes.len() as u64);
        file.take(rest).read_to_end(&mut bytes)?;
    }
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

fn open_folder(base: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(base, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::unistd::mkfifo;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::at(directory.path()).unwrap();
        fs::create_dir_all(directory.path().join("etc/sysctl.d")).unwrap();
        (directory, root)
    }

    #[test]
    fn an_absent_file_differs_from_one_that_cannot_be_read() {
        let (directory, root) = tree();
        let etc = directory.path().join("etc");
        mkfifo(&etc.join("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(etc.join("socket")).unwrap();
        symlink("fifo", etc.join("link-to-fifo")).unwrap();
        symlink("loop", etc.join("loop")).unwrap();
        symlink("none", etc.join("dangling")).unwrap();
        fs::write(etc.join("file"), "text").unwrap();
        let large = File::create(etc.join("large")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        for (path, expected) in [
            ("/etc/file", Ok(Some("text"))),
            ("/etc/none", Ok(None)),
            ("/etc/none/none", Ok(None)),
            ("/etc/file/none", Ok(None)),
            ("/etc/dangling", Ok(None)),
            ("/etc", Err("is a directory, not a file")),
            ("/etc/fifo", Err("is a FIFO, not a file")),
            ("/etc/link-to-fifo", Err("is a FIFO, not a file")),
            ("/etc/socket", Err("is a socket, not a file")),
            ("/etc/large", Err("it is larger than 16 MiB")),
            ("/etc/loop", Err("Too many levels of symbolic links")),
        ] {
            let read = root.read(Path::new(path));
            match expected {
                Ok(text) => assert_eq!(read.unwrap().as_deref(), text.map(str::as_bytes), "{path}"),
                Err(part) => {
                    let error = read.unwrap_err().to_string();
                    assert!(error.contains(part) && error.contains(path), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_listing_is_sorted_and_tells_a_file_in_the_place_of_a_directory() {
        let (directory, root) = tree();
        fs::write(directory.path().join("etc/b"), "").unwrap();
        symlink("/etc", directory.path().join("link")).unwrap();
        for path in ["/etc", "/link"] {
            let names = root.list(Path::new(path)).unwrap().unwrap();
            assert_eq!(names, ["b", "sysctl.d"]);
        }
        for path in ["/none", "/none/below", "/etc/b/below"] {
            assert_eq!(root.list(Path::new(path)).unwrap(), None, "{path}");
        }
        let error = root.list(Path::new("/etc/b")).unwrap_err().to_string();
        assert!(error.ends_with("is a file, not a directory"), "{error}");
    }

    #[test]
    fn a_directory_below_is_a_root_that_no_link_leads_out_of() {
        let (directory, root) = tree();
        let state = directory.path().join("var/lib/cttune");
        fs::create_dir_all(&state).unwrap();
        fs::write(directory.path().join("secret"), "outside").unwrap();
        for (name, target) in [("up", "../../../secret"), ("absolute", "/secret")] {
            symlink(target, state.join(name)).unwrap();
        }
        let below = root.below(Path::new("/var/lib/cttune")).unwrap().unwrap();
        for name in ["up", "absolute", "../../../secret"] {
            assert_eq!(below.read(Path::new(name)).unwrap(), None, "{name}");
        }
        assert!(root.below(Path::new("/var/none")).unwrap().is_none());
        assert!(root.below(Path::new("/secret")).is_err());
    }

    #[test]
    fn a_root_that_was_renamed_is_still_the_same() {
        let (directory, root) = tree();
        fs::write(directory.path().join("etc/file"), "text").unwrap();
        let moved = tempfile::tempdir().unwrap();
        let etc = root.below(Path::new("/etc")).unwrap().unwrap();
        fs::rename(directory.path().join("etc"), moved.path().join("etc")).unwrap();
        symlink("/", directory.path().join("etc")).unwrap();
        assert_eq!(etc.read(Path::new("file")).unwrap().unwrap(), b"text");
    }
}
