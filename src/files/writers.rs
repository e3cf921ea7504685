//! Reads what [`Facts`] ask for: the files of other programs that may write conntrack sysctls.
//!
//! In: a view of a root and the processes that run. Out: every file and folder that the evaluation asked for.
//! Rule: decides nothing. A program's own binary is not read.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, Mode};

use super::root::read_up_to;
use super::{Kind, ReadError, Root, View};
use crate::boot::writers::{self, Facts, Found, Process, Writers};

/// No script or unit is larger, nor are all of them together.
const MOST_BYTES: u64 = 2 << 20;
const MOST_OF_ALL: usize = 32 << 20;
/// Hardly a program is as small: such a file is read whole, and a larger one only after a look at how
/// it begins.
const WHOLE: u64 = 8 << 10;
/// How a program begins that is no script.
const PROGRAM: [u8; 4] = *b"\x7fELF";

/// Evaluates them, reading each file once, when it is first asked for.
pub(super) fn read(view: &View<'_>, processes: Vec<Process>, cpus: u32) -> Writers {
    let left = Cell::new(MOST_OF_ALL);
    let found = |path: &Path| {
        let found = if path.starts_with("/proc") {
            of_process(view, path)
        } else {
            find(view, path).unwrap_or(Found::Unreadable)
        };
        let Found::File(file) = &found else {
            return found;
        };
        let is_executable = file.is_executable;
        let rest = left.get().checked_sub(file.text.len());
        left.set(rest.unwrap_or_default());
        rest.map_or(
            Found::Unfollowed {
                is_program: false,
                is_executable,
            },
            |_| found,
        )
    };
    Writers::of(&Facts::new(processes, cpus, found))
}

fn find(view: &View<'_>, path: &Path) -> Result<Found, ReadError> {
    Ok(match view.open_known(path) {
        Ok(Some((file, stat))) => script(file, &stat),
        // A link to nothing: an image's /dev may be empty.
        Ok(None) if is_link_to_null(view, path)? => Found::Masked,
        Ok(None) => Found::Nothing,
        Err(ReadError::NotAFile { kind, .. }) => match kind {
            Kind::Directory => {
                let listed = view.list(path)?;
                let listed = listed.iter().flat_map(|listed| listed.iter());
                let names = listed.filter_map(|one| one.name.to_str());
                Found::Folder(names.map(str::to_owned).collect())
            }
            Kind::Null => Found::Masked,
            _ => Found::Nothing,
        },
        Err(error) => return Err(error),
    })
}

/// Asked of units alone: nothing else is masked so.
fn is_link_to_null(view: &View<'_>, path: &Path) -> Result<bool, ReadError> {
    let has_unit_name = path
        .extension()
        .is_some_and(|ending| ending == "service" || ending == "timer");
    let may_be = has_unit_name && !view.is_absent(path);
    Ok(may_be && view.resolve(path)? == Path::new("/dev/null"))
}

fn script(file: File, stat: &FileStat) -> Found {
    let is_executable = Mode::from_bits_truncate(stat.st_mode)
        .intersects(Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH);
    let unfollowed = |is_program| Found::Unfollowed {
        is_program,
        is_executable,
    };
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    if size > WHOLE && begins_as_program(&file) {
        return unfollowed(true);
    }
    match read_up_to(file, stat, MOST_BYTES) {
        Ok(Some(bytes)) if bytes.starts_with(&PROGRAM) => unfollowed(true),
        Ok(Some(bytes)) if !bytes.contains(&0) => Found::File(writers::File {
            text: String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            is_executable,
        }),
        Ok(_) => unfollowed(false),
        Err(_) => Found::Unreadable,
    }
}

fn begins_as_program(file: &File) -> bool {
    let mut first = [0; PROGRAM.len()];
    file.read_at(&mut first, 0).is_ok() && first == PROGRAM
}

/// A file as a process sees it, in a mount namespace of its own: `/proc/PID/root/…`. Who owns that
/// namespace chooses what is there, so it is read as an image is.
fn of_process(view: &View<'_>, path: &Path) -> Found {
    let base: PathBuf = path.components().take(4).collect();
    let inside = path.strip_prefix(&base).unwrap_or(path);
    if !view.is_machine() || !fs::exists(&base).unwrap_or(true) {
        return Found::Nothing;
    }
    let inner = Root::at(&base).ok();
    let found = inner.and_then(|inner| find(&View::of(&inner), &Path::new("/").join(inside)).ok());
    found.unwrap_or(Found::Unreadable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process;

    use super::*;
    use crate::boot::writers::Certainty;
    use crate::tunable::Key;

    #[test]
    fn files_lead_to_others_and_stay_inside_the_root() {
        let image = tempfile::tempdir().unwrap();
        let at = |path: &str| image.path().join(path);
        for folder in ["etc/systemd/system/multi-user.target.wants", "opt"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let unit = "[Service]\nExecStart=/opt/tune\n";
        fs::write(at("etc/systemd/system/tune.service"), unit).unwrap();
        let link = at("etc/systemd/system/multi-user.target.wants/tune.service");
        symlink("../tune.service", link).unwrap();
        fs::write(at("opt/tune"), "#!/bin/sh\nsysctl -p /opt/tune.conf\n").unwrap();
        fs::set_permissions(at("opt/tune"), fs::Permissions::from_mode(0o755)).unwrap();
        let conf = "net.netfilter.nf_conntrack_max = 5\n";
        fs::write(at("opt/tune.conf"), conf).unwrap();
        let root = Root::at(image.path()).unwrap();
        let writes = read(&View::of(&root), Vec::new(), 1).writes;
        assert_eq!(writes.len(), 1, "{writes:#?}");
        assert_eq!((writes[0].key, writes[0].value), (Some(Key::Max), Some(5)));
        assert_eq!(writes[0].file, Path::new("/opt/tune.conf"));
        assert_eq!(writes[0].who, "tune.service");
    }

    #[test]
    fn programs_and_what_may_not_be_read_are_no_scripts() {
        let image = tempfile::tempdir().unwrap();
        fs::create_dir_all(image.path().join("etc")).unwrap();
        let rc_local = image.path().join("etc/rc.local");
        let line = "sysctl -w net.netfilter.nf_conntrack_max=5\n";
        let root = Root::at(image.path()).unwrap();
        let writes = |mode| {
            fs::set_permissions(&rc_local, fs::Permissions::from_mode(mode)).unwrap();
            read(&View::of(&root), Vec::new(), 1).writes
        };
        fs::write(&rc_local, format!("#!/bin/sh\n{line}")).unwrap();
        assert!(writes(0o644).is_empty());
        assert_eq!(writes(0o755)[0].value, Some(5));
        // What these write is not known.
        for text in [format!("\x7fELF\0\n{line}"), line.repeat(50000)] {
            fs::write(&rc_local, text).unwrap();
            let write = writes(0o755).pop().unwrap();
            assert_eq!((write.key, write.certainty), (None, Certainty::MayRun));
            assert!(writes(0o644).is_empty());
        }
    }

    #[test]
    fn a_program_is_known_by_how_it_begins_whatever_its_size() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::at(image.path()).unwrap();
        let of = |begins: &str, size: usize| {
            let text = format!("{begins}{}", "x".repeat(size - begins.len()));
            fs::write(image.path().join("file"), text).unwrap();
            find(&View::of(&root), Path::new("/file")).unwrap()
        };
        let (whole, most) = (WHOLE.try_into().unwrap(), MOST_BYTES.try_into().unwrap());
        for size in [100, whole, whole + 1, most, most + 1] {
            let program = Found::Unfollowed {
                is_program: true,
                is_executable: false,
            };
            assert_eq!(of("\x7fELF", size), program, "{size}");
            let text = match of("#!/bin/sh\n", size) {
                Found::File(file) => Some(file.text.len()),
                Found::Unfollowed { is_program, .. } if !is_program => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(text, (size <= most).then_some(size));
        }
    }

    #[test]
    fn what_a_process_sees_is_read_without_waiting_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let inside = folder.path().join(name);
            let below = inside.strip_prefix("/").unwrap().to_owned();
            Path::new("/proc")
                .join(process::id().to_string())
                .join("root")
                .join(below)
        };
        fs::write(folder.path().join("file"), "text").unwrap();
        symlink("file", folder.path().join("link")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
        for (name, expected) in [
            ("file", Some("text")),
            ("link", Some("text")),
            ("fifo", None),
            ("none", None),
        ] {
            let found = of_process(&View::of(&Root::machine()), &at(name));
            let text = match &found {
                Found::File(file) => Some(file.text.as_str()),
                _ => None,
            };
            assert_eq!(text, expected, "{name}");
        }
        let gone = Path::new("/proc/4294967295/root/etc/x");
        assert_eq!(
            of_process(&View::of(&Root::machine()), gone),
            Found::Nothing
        );
    }
}
