//! Who else could have written what root is about to trust.
//!
//! Only root asks: what other users run does no more than they could do themselves.

use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, Mode, stat};
use nix::unistd::{Uid, geteuid, getuid};

use super::root::Root;
use crate::diagnostic::plain::Shown;

/// Who beside root and the caller may write the file or folder.
pub(super) fn stranger(stat: &FileStat) -> Option<String> {
    if !geteuid().is_root() {
        return None;
    }
    writers(stat).or_else(|| foreign_owner(stat))
}

/// Who beside root and the caller could replace this file: the owner of a folder on the way, and
/// every user who may write one. In a folder like /tmp (sticky) everybody may make files, but not
/// replace another user's.
pub(super) fn stranger_on_the_way(path: &Path) -> Option<(PathBuf, String)> {
    if !geteuid().is_root() {
        return None;
    }
    path.ancestors().skip(1).find_map(|folder| {
        // A missing folder is reported when the file is opened.
        let stat = stat(folder).ok()?;
        let is_sticky = stat.st_mode & Mode::S_ISVTX.bits() != 0;
        let writers = writers(&stat).filter(|_| !is_sticky);
        let why = writers.or_else(|| foreign_owner(&stat))?;
        let why = format!("its folder {}: {why}", folder.shown());
        Some((folder.to_owned(), why))
    })
}

pub(super) fn writers(stat: &FileStat) -> Option<String> {
    let mode = stat.st_mode & 0o7777;
    let who = match mode {
        _ if mode & 0o002 != 0 => "others",
        _ if mode & 0o020 != 0 => "its group",
        _ => return None,
    };
    Some(format!("{who} may write it (mode {mode:04o})"))
}

fn foreign_owner(stat: &FileStat) -> Option<String> {
    let owner = Uid::from_raw(stat.st_uid);
    let is_trusted = owner.is_root() || owner == getuid() || is_unmapped(owner);
    (!is_trusted).then(|| format!("it belongs to uid {owner}, neither root nor the caller"))
}

/// In a user namespace, files of everybody who has no number there belong to the overflow uid:
/// the machine's own root among them.
fn is_unmapped(owner: Uid) -> bool {
    let read = |path| Root::machine().read(Path::new(path)).ok().flatten();
    let text = |path| read(path).and_then(|bytes| String::from_utf8(bytes).ok());
    let is_mapped = text("/proc/self/uid_map")
        .is_some_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"]));
    let overflow = text("/proc/sys/kernel/overflowuid")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65534);
    is_mapped && owner.as_raw() == overflow
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn root_trusts_no_file_below_a_folder_that_others_may_write() {
        let base = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folder = base.path().join("open");
        let file = folder.join("below/p.toml");
        fs::create_dir_all(folder.join("below")).unwrap();
        for (mode, part) in [
            (0o755, None),
            (0o777, Some("others may write it (mode 0777)")),
            (0o775, Some("its group may write it (mode 0775)")),
            (0o1777, None),
        ] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let found = stranger_on_the_way(&file);
            let is_root = geteuid().is_root();
            let expected = part.filter(|_| is_root);
            let said = found.filter(|(_, why)| why.contains("/open"));
            assert_eq!(said.is_some(), expected.is_some(), "{mode:o}: {said:?}");
            if let (Some((open, said)), Some(expected)) = (said, expected) {
                assert!(open == folder && said.ends_with(expected), "{said}");
            }
        }
    }
}
