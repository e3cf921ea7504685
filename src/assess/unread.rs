//! What could not be read, so that findings which need it may be missing.

/// A source that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Which: `kernel log`, `counters`, a file.
    pub(crate) source: String,
    /// What the system said.
    pub(crate) why: String,
}

impl Unread {
    pub(crate) fn new(source: impl Into<String>, why: impl ToString) -> Self {
        Unread {
            source: source.into(),
            why: why.to_string(),
        }
    }
}
