//! Door: rooted reading, atomic replacement, ownership, no symlink followed.
