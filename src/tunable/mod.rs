//! What the kernel offers: every conntrack sysctl, its unit, range and scope, and what was read.
//!
//! In: names as people and files spell them, numbers as the kernel prints them. Out: a [`Key`],
//! a [`Reading`], a [`Snapshot`] of all readings, the [`Counters`], the [`Host`] facts that sizing
//! needs.
//! Rule: pure. Nothing here opens a file; `kernel/` fills these types in.
//! Follows the kernel's Documentation/networking/nf_conntrack-sysctl.rst and
//! net/netfilter/nf_conntrack_standalone.c (6.1 to 6.18).

mod alias;
mod catalog;
mod counters;
mod host;
mod number;
mod reading;

pub(crate) use catalog::nearest_name;
pub(crate) use catalog::{Key, Kind, Unit, UnknownKey};
pub(crate) use counters::{Counter, Counters};
pub(crate) use host::{Conntrack, Host};
pub(crate) use number::{
    format_bytes, format_count, format_rounded_seconds, format_seconds, format_share, format_size,
    kernel_number, plural,
};
pub(crate) use reading::{Access, Reading, Snapshot};

/// Bytes that one entry of a table costs: the slab object with the usual extensions (384) and its
/// share of a hash table with as many buckets as entries (8).
///
/// Measured on 6.18: 1 Mi entries with 1 Mi buckets take 392 MiB.
pub(crate) const ENTRY_BYTES: u64 = 392;

/// The hash table is allocated in whole pages of bucket heads: the kernel rounds the number of
/// buckets up to a multiple of this (4096-byte pages, 8-byte heads).
pub(crate) const BUCKET_STEP: i64 = 512;

/// Rounds a number of buckets up to what the kernel will really allocate.
pub(crate) fn round_buckets(buckets: i64) -> i64 {
    let below = buckets.rem_euclid(BUCKET_STEP);
    if below == 0 {
        buckets
    } else {
        buckets.saturating_add(BUCKET_STEP - below)
    }
}

/// The largest value that cttune writes to `key`, which rounding does not leave.
pub(crate) fn largest(key: Key) -> i64 {
    let last = *key.tunable().range.end();
    match key {
        Key::Buckets => last - last % BUCKET_STEP,
        _ => last,
    }
}

/// The number that the kernel will hold after `value` was written to `key`.
pub(crate) fn as_held(key: Key, value: i64) -> i64 {
    if key == Key::Buckets {
        round_buckets(value)
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_round_up_to_whole_pages() {
        for (asked, held) in [
            (1, 512),
            (512, 512),
            (513, 1024),
            (76800, 76800),
            (1_048_576, 1_048_576),
        ] {
            assert_eq!(round_buckets(asked), held, "{asked}");
        }
        assert_eq!(as_held(Key::Max, 513), 513);
    }
}
