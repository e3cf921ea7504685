//! The memory that a table takes.
//!
//! Follows the measurements of 6.18: a flow takes its slab object and 128 bytes as soon as it has
//! any of NAT, accounting, timestamp, labels or events; a bucket takes 8.

use super::{Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::tunable::{Host, Key, Snapshot, format_count, format_share, format_size};

/// The slab object where the kernel does not tell its size, and what extensions add to it.
const OBJECT: u64 = 256;
const EXTENSIONS: u64 = 128;
const BUCKET: u64 = 8;
/// The share of memory above which a full table takes too much.
const TOO_MUCH: f64 = 0.25;

/// What the table takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// One flow, as much as it usually takes.
    pub(crate) per_flow: u64,
    /// All flows and buckets there are.
    pub(crate) now: u64,
    /// The same with as many flows as max allows; `None` where there is no limit.
    pub(crate) when_full: Option<u64>,
}

impl Memory {
    /// Of the table that was read; `flow_size` is the slab object, where it is known.
    pub(crate) fn of(live: &Snapshot, flow_size: Option<u64>) -> Option<Self> {
        let per_flow = flow_size.unwrap_or(OBJECT).saturating_add(EXTENSIONS);
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let buckets = number(live.value(Key::Buckets))?.saturating_mul(BUCKET);
        let with = |flows: u64| flows.saturating_mul(per_flow).saturating_add(buckets);
        Some(Memory {
            per_flow,
            now: with(number(live.count)?),
            when_full: number(live.value(Key::Max))
                .filter(|max| *max > 0)
                .map(with),
        })
    }
}

/// Whether a full table of so many entries and buckets takes no more than a quarter of memory.
pub(super) fn fits(max: i64, host: &Host, flow_size: Option<u64>) -> bool {
    let per_flow = flow_size.unwrap_or(OBJECT) + EXTENSIONS + BUCKET;
    let full = u64::try_from(max).unwrap_or(0).saturating_mul(per_flow);
    #[allow(clippy::cast_precision_loss)] // a share needs no more than 52 bits
    let share = full as f64 / host.memory as f64;
    share <= TOO_MUCH
}

pub(super) fn finding(live: &Snapshot, host: &Host, flow_size: Option<u64>) -> Option<Finding> {
    let memory = Memory::of(live, flow_size)?;
    let full = memory.when_full?;
    #[allow(clippy::cast_precision_loss)] // a share needs no more than 52 bits
    let share = full as f64 / host.memory as f64;
    (share > TOO_MUCH).then(|| {
        Finding::new(
            Id::TableMemory,
            Severity::Warning,
            format!(
                "a full table takes {} of {} ({}): {} entries at {} bytes; each namespace can \
             have one",
                format_size(full),
                format_size(host.memory),
                format_share(share),
                format_count(live.value(Key::Max).unwrap_or(0)),
                memory.per_flow
            ),
            Hint::cttune("plan --profile campus-fw")
                .to("cap it by memory, as campus-fw does")
                .and(Hint::say(
                    "in a profile: nf_conntrack_max = { at-least = N, memory-cap = \"10%\" }",
                )),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunable::{Access, Conntrack, Reading};

    fn live(count: i64, max: i64, buckets: i64) -> Snapshot {
        let values = [(Key::Max, max), (Key::Buckets, buckets)];
        let reading = |(key, value)| {
            let access = Access::Writable;
            (key, Reading::Value { value, access })
        };
        Snapshot::new(values.map(reading), Some(count))
    }

    #[test]
    fn flows_and_buckets_are_added_up() {
        let memory = Memory::of(&live(1000, 1 << 20, 1 << 20), Some(256)).unwrap();
        assert_eq!(memory.now, 1000 * 384 + (8 << 20));
        assert_eq!(memory.when_full, Some(392 << 20));
        let unlimited = Memory::of(&live(1000, 0, 512), None).unwrap();
        assert_eq!(unlimited.when_full, None);
        assert_eq!(Memory::of(&Snapshot::not_loaded(), None), None);
    }

    #[test]
    fn a_table_that_could_take_more_than_a_quarter_of_memory_is_found() {
        let host = |memory| Host {
            cpus: 2,
            memory,
            conntrack: Conntrack::BuiltIn,
        };
        let live = live(0, 1 << 20, 1 << 20);
        let finding = finding(&live, &host(1 << 30), Some(256)).unwrap();
        assert_eq!(
            finding.message,
            "a full table takes 392 MiB of 1 GiB (38.3 %): 1,048,576 entries at 384 bytes; \
             each namespace can have one"
        );
        assert_eq!(super::finding(&live, &host(392 << 22), Some(256)), None);
    }
}
