//! What was read from the kernel: a value, or the reason why there is none.

use std::collections::BTreeMap;

use super::Key;

/// Whether a sysctl that could be read could also be written from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By somebody with the right to, perhaps not by us.
    Writable,
    /// By nobody here: the key belongs to the initial network namespace, or `/proc/sys` is mounted
    /// read-only.
    ReadOnly,
}

/// What reading one sysctl gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Value {
        /// In the key's unit.
        value: i64,
        access: Access,
    },
    /// This kernel has conntrack and not this key.
    Missing,
    /// The key exists and we may not read it.
    Denied,
    /// No conntrack key exists, because the module is not loaded.
    NotLoaded,
}

impl Reading {
    pub(crate) fn value(self) -> Option<i64> {
        match self {
            Reading::Value { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Whether the key was read and can be written by nobody here.
    pub(crate) fn is_read_only(self) -> bool {
        matches!(
            self,
            Reading::Value {
                access: Access::ReadOnly,
                ..
            }
        )
    }
}

/// Every reading of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    readings: BTreeMap<Key, Reading>,
    /// Entries in this namespace's table, expired ones that were not collected yet included.
    pub(crate) count: Option<i64>,
}

impl Snapshot {
    /// A snapshot of these readings; a key that is not among them reads as missing.
    pub(crate) fn new(
        readings: impl IntoIterator<Item = (Key, Reading)>,
        count: Option<i64>,
    ) -> Self {
        Snapshot {
            readings: readings.into_iter().collect(),
            count,
        }
    }

    /// A snapshot of a machine whose conntrack module is not loaded.
    pub(crate) fn not_loaded() -> Self {
        Snapshot::new(Key::ALL.iter().map(|key| (*key, Reading::NotLoaded)), None)
    }

    pub(crate) fn reading(&self, key: Key) -> Reading {
        self.readings.get(&key).copied().unwrap_or(Reading::Missing)
    }

    pub(crate) fn value(&self, key: Key) -> Option<i64> {
        self.reading(key).value()
    }

    /// Whether conntrack was there to be read.
    pub(crate) fn is_loaded(&self) -> bool {
        !self
            .readings
            .values()
            .any(|reading| *reading == Reading::NotLoaded)
    }

    pub(crate) fn is_writable(&self, key: Key) -> bool {
        let access = Access::Writable;
        matches!(self.reading(key), Reading::Value { access: own, .. } if own == access)
    }

    /// Records a number that was written and read back.
    pub(crate) fn set(&mut self, key: Key, value: i64) {
        let access = match self.reading(key) {
            Reading::Value { access, .. } => access,
            _ => Access::Writable,
        };
        self.readings.insert(key, Reading::Value { value, access });
    }

    /// Share of max that is in use, 0 to 1 and, right after max was lowered, above; none where
    /// max is unlimited (0) or unread.
    pub(crate) fn fill(&self) -> Option<f64> {
        let max = self.value(Key::Max).filter(|max| *max > 0)?;
        #[allow(clippy::cast_precision_loss)] // both are below 2^31
        Some(self.count? as f64 / max as f64)
    }
}
