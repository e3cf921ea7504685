//! Who else could have written what root is about to trust.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, getuid};

/// Who beside root and the caller could have written the file or folder. Asked of root alone: what others
/// run does no more than they could do themselves.
pub(super) fn stranger(metadata: &fs::Metadata) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let mode = metadata.mode();
    if mode & 0o022 != 0 {
        let who = if mode & 0o002 != 0 {
            "others"
        } else {
            "its group"
        };
        return Some(format!("{who} may write it (mode {:04o})", mode & 0o7777));
    }
    let owner = Uid::from_raw(metadata.uid());
    let trusted = owner.is_root() || owner == getuid() || is_unmapped(owner);
    (!trusted).then(|| format!("it belongs to uid {owner}, neither root nor the caller"))
}

/// In a user namespace, files of everybody who has no number there belong to the overflow uid:
/// the machine's own root among them.
fn is_unmapped(owner: Uid) -> bool {
    let mapped = fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"]));
    let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65534);
    mapped && owner.as_raw() == overflow
}
