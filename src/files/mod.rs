//! Door to files: one rooted way to read and to replace them.
//!
//! In: a [`Root`] (`/`, what `--root` names, or the state directory) and paths as they look from
//! inside it. Out: bytes, or an error that names the path and says what was wrong with it.
//! Rule: reading follows symlinks, but never out of the root, and reads regular files of a limited
//! size only; writing follows no symlink, replaces a file whole or not at all, and keeps its owner,
//! mode and ACL. It decides nothing.

mod attributes;
mod boot_facts;
pub(crate) mod boot_files;
mod conf_folders;
pub(crate) mod editor;
mod error;
mod location;
mod lookup;
mod owner;
pub(crate) mod profiles;
mod replace;
mod root;
pub(crate) mod state;
pub(crate) mod sysctl_tree;
mod view;
mod writers;

pub(crate) use error::{FileError, Kind, ReadError, is_full};
pub(crate) use location::NEW_FILE;
pub(crate) use root::Root;
pub(crate) use view::View;
