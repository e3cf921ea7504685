//! Door: rooted reading, atomic replacement, ownership, no symlink followed.

pub mod sysctl_tree;
