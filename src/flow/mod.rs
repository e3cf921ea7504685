//! Conntrack entries: the terms that select them. Pure.
