//! Network namespaces: finding the one that `--netns` names and working inside it.
//!
//! In: `NAME`, a path or `pid:PID`, and work to do there. Out: the work's result. Rule: only a
//! thread of its own enters, and it ends with the work, so the caller never changes namespace.
//! Inside, `/proc/sys/net` and new netlink sockets are the namespace's; `/proc/net` is not.
//! Follows ip-netns(8), setns(2) and namespaces(7).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use super::ctnetlink::Socket;
use super::host::read_netns_inode;
use crate::conntrack::{Buffer, Head};
use crate::diagnostic::{Advise, Hint, said};
use crate::files::{ReadError, Root};
use crate::tunable::nearest_name;

/// Where `ip netns` keeps its names; the second where /var/run is no link to /run.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Which network namespace is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spec {
    /// A name that `ip netns` knows.
    Name(String),
    /// The file of a namespace.
    Path(PathBuf),
    /// The one that a process is in.
    Process(u32),
}

/// Why `--netns` was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SpecError {
    /// Nothing, or a name that no file can have.
    #[error("{0:?} is not the name of a network namespace")]
    NotAName(String),
    /// What follows `pid:` is no process id.
    #[error("{0:?} is not a process id")]
    NotAPid(String),
}

impl FromStr for Spec {
    type Err = SpecError;

    /// Reads `pid:PID`, a path (anything with a slash) or a name.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        if let Some(pid) = text.strip_prefix("pid:") {
            return match pid.parse() {
                Ok(number) if number > 0 => Ok(Spec::Process(number)),
                _ => Err(SpecError::NotAPid(pid.into())),
            };
        }
        match text {
            "" | "." | ".." => Err(SpecError::NotAName(text.into())),
            path if path.contains('/') => Ok(Spec::Path(path.into())),
            name => Ok(Spec::Name(name.into())),
        }
    }
}

/// Why a network namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    /// `ip netns` knows no such name.
    #[error("no network namespace is named {name:?}")]
    NoSuchName {
        /// What was asked for.
        name: String,
        /// The name that is most like it.
        nearest: Option<String>,
        /// Every name there is, sorted.
        known: Vec<String>,
    },
    /// There is no such file.
    #[error("opening network namespace {}: no such file", .0.display())]
    NoSuchFile(PathBuf),
    /// There is no such process, or it has ended.
    #[error("no process has the id {0}")]
    NoSuchProcess(u32),
    /// The file is something else.
    #[error("{} is not a network namespace", .0.display())]
    NotANetns(PathBuf),
    /// The caller may not enter.
    #[error(
        "cannot enter network namespace {}: permission denied: needs root (CAP_SYS_ADMIN here and in the user namespace that owns it)",
        .0.display()
    )]
    NoRight(PathBuf),
    /// Anything else.
    #[error("entering network namespace {}: {}", .path.display(), said(.source))]
    Failed {
        /// The file of the namespace.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Advise for NetnsError {
    fn hint(&self) -> Option<Hint> {
        match self {
            NetnsError::NoSuchName { nearest, known, .. } => {
                Some(Hint::say(known_names(nearest.as_deref(), known)))
            }
            NetnsError::NotANetns(_) => Some(Hint::say(
                "name a file that `ip netns add` made, or /proc/PID/ns/net",
            )),
            NetnsError::NoSuchProcess(_) => {
                Some(Hint::on_host("cttune check --all-netns").to("see all namespaces"))
            }
            _ => None,
        }
    }
}

fn known_names(nearest: Option<&str>, known: &[String]) -> String {
    match (nearest, known) {
        (_, []) => "there is none with a name; use a path or pid:PID".into(),
        (Some(nearest), _) => format!("did you mean {nearest:?}? there are: {}", known.join(", ")),
        (None, _) => format!("there are: {}", known.join(", ")),
    }
}

/// Runs `work` in a thread inside the network namespace and returns what it returned. Where this
/// process is in it already, as a unit with `NetworkNamespacePath=` is, no right is needed.
///
/// A panic of `work` goes on in the caller. `work` must open `/proc/sys/net` itself: what was
/// opened before stays with the namespace of its opener.
pub(crate) fn run_in<T: Send>(
    spec: &Spec,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    let (path, file) = open(spec)?;
    let here = read_netns_inode();
    let is_here = here.is_some() && here == file.metadata().ok().map(|file| file.ino());
    let enter = || {
        if is_here {
            return Ok(());
        }
        setns(&file, CloneFlags::CLONE_NEWNET)
    };
    in_thread(enter, work).map_err(|error| classify(path, error))
}

/// Runs `work` in a network namespace of its own, which ends with it.
pub(crate) fn in_private<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    in_thread(|| unshare(CloneFlags::CLONE_NEWNET), work)
}

fn in_thread<T: Send>(
    enter: impl FnOnce() -> Result<(), Errno> + Send,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new().name("netns".into());
        let thread = inside.spawn_scoped(scope, || enter().map(|()| work()));
        match thread?.join() {
            Ok(entered) => entered.map_err(io::Error::from),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Whether what is named is the namespace of the calling thread, as far as /proc tells.
pub(crate) fn leads_here(spec: &Spec) -> bool {
    let there = open(spec).ok().and_then(|(_, file)| file.metadata().ok());
    let there = there.map(|file| file.ino());
    read_netns_inode().is_none_or(|own| there == Some(own))
}

/// Opens the file of the namespace.
fn open(spec: &Spec) -> Result<(PathBuf, File), NetnsError> {
    let path = match spec {
        Spec::Name(name) => find_name(name)?,
        Spec::Path(path) => path.clone(),
        Spec::Process(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
    };
    match (open_netns(&path), spec) {
        (Ok(Some(file)), _) => Ok((path, file)),
        (Ok(None), _) => Err(NetnsError::NotANetns(path)),
        (Err(error), Spec::Process(pid)) if error.kind() == io::ErrorKind::NotFound => {
            Err(NetnsError::NoSuchProcess(*pid))
        }
        (Err(error), _) => Err(classify(path, error)),
    }
}

/// Opens the file of a namespace, and nothing else: opening a FIFO could wait for ever, and opening
/// a device can have an effect.
fn open_netns(path: &Path) -> io::Result<Option<File>> {
    let open = |flags: OFlag| {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits()).open(path)
    };
    let is_netns =
        |file: &File| -> io::Result<bool> { Ok(fstatfs(file)?.filesystem_type() == NSFS_MAGIC) };
    if !is_netns(&open(OFlag::O_PATH)?)? {
        return Ok(None);
    }
    let file = open(OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    Ok(is_netns(&file)?.then_some(file))
}

fn find_name(name: &str) -> Result<PathBuf, NetnsError> {
    let found = NAMED
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.symlink_metadata().is_ok());
    found.ok_or_else(|| no_such_name(name, names()))
}

fn no_such_name(name: &str, known: Vec<String>) -> NetnsError {
    let nearest = nearest_name(name, known.iter().cloned());
    NetnsError::NoSuchName {
        name: name.into(),
        nearest,
        known,
    }
}

/// Every name that `ip netns` knows, sorted; none where its directories are missing.
fn names() -> Vec<String> {
    let named = named().unwrap_or_default();
    named.into_keys().collect()
}

/// The same, each with the file of the namespace.
///
/// # Errors
/// For a directory that is there and cannot be listed.
pub(super) fn named() -> Result<BTreeMap<String, PathBuf>, ReadError> {
    let mut named = BTreeMap::new();
    for directory in NAMED.iter().map(Path::new) {
        let entries = Root::machine().list(directory)?.unwrap_or_default();
        for name in entries
            .into_iter()
            .filter_map(|name| name.into_string().ok())
        {
            let path = directory.join(&name);
            named.entry(name).or_insert(path);
        }
    }
    Ok(named)
}

fn classify(path: PathBuf, source: io::Error) -> NetnsError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => NetnsError::NoSuchFile(path),
        // setns says EINVAL to a namespace of another type.
        Some(Errno::EINVAL) => NetnsError::NotANetns(path),
        Some(Errno::EPERM | Errno::EACCES) => NetnsError::NoRight(path),
        _ => NetnsError::Failed { path, source },
    }
}

/// Brings the loopback interface of the caller's network namespace up; a new one has it down.
///
/// Needs `CAP_NET_ADMIN` over the namespace.
pub(crate) fn raise_loopback() -> Result<(), Errno> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 0x1 | 0x4;
    // The loopback device is the first of every network namespace.
    const IFINDEX: i32 = 1;
    const IFF_UP: u32 = 1;

    let mut request = Buffer::default();
    let head = Head {
        kind: RTM_NEWLINK,
        flags: REQUEST_AND_ACK,
    };
    request.message(head, |message| {
        // struct ifinfomsg: family and type unsaid, index, flags, which of the flags to change.
        message.raw(&[0; 4]);
        message.raw(&IFINDEX.to_ne_bytes());
        message.raw(&IFF_UP.to_ne_bytes());
        message.raw(&IFF_UP.to_ne_bytes());
    });
    let mut answer = 0;
    Socket::route()?.submit(request.bytes(), |_, errno| answer = errno)?;
    match answer {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_a_process_a_path_or_a_name() {
        for (text, spec) in [
            ("blue", Ok(Spec::Name("blue".into()))),
            ("pid", Ok(Spec::Name("pid".into()))),
            ("./blue", Ok(Spec::Path("./blue".into()))),
            ("/run/netns/blue", Ok(Spec::Path("/run/netns/blue".into()))),
            ("pid:1", Ok(Spec::Process(1))),
            ("pid:0", Err(SpecError::NotAPid("0".into()))),
            ("pid:x", Err(SpecError::NotAPid("x".into()))),
            ("pid:", Err(SpecError::NotAPid(String::new()))),
            ("", Err(SpecError::NotAName(String::new()))),
            ("..", Err(SpecError::NotAName("..".into()))),
        ] {
            assert_eq!(text.parse(), spec, "{text:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        for (known, hint) in [
            (&[][..], "there is none with a name; use a path or pid:PID"),
            (&["red"], "there are: red"),
            (
                &["bleu", "red"],
                "did you mean \"bleu\"? there are: bleu, red",
            ),
        ] {
            let known = known.iter().map(ToString::to_string).collect();
            let error = no_such_name("blue", known);
            let message = "no network namespace is named \"blue\"";
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hint(), Some(Hint::say(hint)));
        }
    }

    #[test]
    fn each_way_not_to_find_a_namespace_is_told_apart() {
        let error = |text: &str| run_in(&text.parse().unwrap(), || ()).unwrap_err();
        assert!(matches!(
            error("cttune-has-no-such-netns"),
            NetnsError::NoSuchName { .. }
        ));
        assert!(matches!(error("/no/such/file"), NetnsError::NoSuchFile(_)));
        assert!(matches!(error("/proc/self/stat"), NetnsError::NotANetns(_)));
        // Above the largest pid that Linux gives.
        assert!(matches!(
            error("pid:4194305"),
            NetnsError::NoSuchProcess(4_194_305)
        ));
    }

    #[test]
    fn a_panic_inside_goes_on_in_the_caller() {
        let spec = Spec::Path("/proc/self/ns/net".into());
        let caught = std::panic::catch_unwind(|| run_in(&spec, || panic!("inside")));
        // Without the right to enter, the work never runs and there is nothing to go on.
        match caught {
            Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"inside")),
            Ok(result) => assert!(matches!(result, Err(NetnsError::NoRight(_)))),
        }
    }
}
