//! Works out the number that a profile means on this host.
//!
//! Sizes depend on CPUs, memory, other keys and what holds now; the result is plain numbers, so
//! that check and plan compare and never compute.

use std::collections::BTreeMap;

use super::{Bounds, Desired, Goal, Wish};
use crate::tunable::{self, ENTRY_BYTES, Host, Key};

/// Fewest entries that a memory cap may leave: the default table of a host with 1 GiB.
const SMALLEST_CAP: i64 = 65536;

/// What one sysctl should be on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The sysctl.
    pub(crate) key: Key,
    /// Below this the value differs from what is wanted.
    pub(crate) lower: Option<i64>,
    /// Above this the value differs from what is wanted.
    pub(crate) upper: Option<i64>,
    /// The value to write: what holds now if it lies inside the bounds.
    pub(crate) desired: i64,
    /// Whether a kernel without this key is a failure.
    pub(crate) required: bool,
    /// The author's reason and how the number came about, for people.
    pub(crate) why: String,
}

impl Target {
    /// Whether a value lies inside what is wanted, once the kernel has rounded it. A max of 0 is
    /// unlimited: above every lower bound, and outside every upper one.
    pub(crate) fn allows(&self, value: i64) -> bool {
        let held = tunable::as_held(self.key, value);
        if self.key == Key::Max && held == 0 {
            return self.upper.is_none();
        }
        self.lower.is_none_or(|lower| held >= lower) && self.upper.is_none_or(|upper| held <= upper)
    }
}

/// Why no number can be worked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeriveError {
    /// The share of memory holds too few entries to be meant.
    #[error(
        "nf_conntrack_max: {percent} % of {} of memory hold {entries} entries, fewer than {SMALLEST_CAP}",
        memory_text(*.memory)
    )]
    MemoryCap {
        /// The cap.
        percent: u8,
        /// Bytes of memory.
        memory: u64,
        /// What the share holds, rounded down to a power of two.
        entries: i64,
    },
    /// Keys follow each other in a ring, each end the same key.
    #[error("keys follow each other: {}", names(.0))]
    FollowCycle(Vec<Key>),
    /// The followed key has no value: it is not in the profile and cannot be read.
    #[error("{} follows {}, which is not in the profile and has no value here", .key.file_name(), .follow.file_name())]
    NothingToFollow {
        /// The key that follows.
        key: Key,
        /// The key that is followed.
        follow: Key,
    },
    /// The kernel refuses a high threshold below the low one.
    #[error(
        "nf_conntrack_frag6_high_thresh would be {high}, below nf_conntrack_frag6_low_thresh at {low}"
    )]
    FragmentThresholds {
        /// Bytes.
        high: i64,
        /// Bytes.
        low: i64,
    },
}

fn names(keys: &[Key]) -> String {
    let names: Vec<_> = keys.iter().map(|key| key.file_name()).collect();
    names.join(" → ")
}

/// Works out every target, in catalog order.
///
/// `current` says what a key holds now, `None` where it is missing or unread.
///
/// # Errors
/// When a bound cannot be worked out on this host.
pub(crate) fn derive(
    desired: &Desired,
    host: &Host,
    current: &dyn Fn(Key) -> Option<i64>,
) -> Result<Vec<Target>, DeriveError> {
    let mut deriver = Deriver {
        desired,
        host,
        current,
        done: BTreeMap::new(),
        under_way: Vec::new(),
    };
    for key in desired.settings.keys() {
        deriver.target(*key)?;
    }
    deriver.fragment_thresholds()?;
    Ok(deriver.done.into_values().collect())
}

struct Deriver<'a> {
    desired: &'a Desired,
    host: &'a Host,
    current: &'a dyn Fn(Key) -> Option<i64>,
    done: BTreeMap<Key, Target>,
    /// Keys whose target waits for the one that they follow.
    under_way: Vec<Key>,
}

impl Deriver<'_> {
    /// The number that will hold for this key, and none where it is neither wanted nor readable.
    fn target(&mut self, key: Key) -> Result<Option<i64>, DeriveError> {
        if let Some(target) = self.done.get(&key) {
            return Ok(Some(target.desired));
        }
        let desired = self.desired;
        let Some(wish) = desired.settings.get(&key) else {
            return Ok((self.current)(key));
        };
        if let Some(start) = self.under_way.iter().position(|waiting| *waiting == key) {
            let mut ring = self.under_way.split_off(start);
            ring.push(key);
            return Err(DeriveError::FollowCycle(ring));
        }
        self.under_way.push(key);
        let target = match &wish.goal {
            Goal::Exact(value) => exact(key, wish, *value),
            Goal::Bounds(bounds) => self.bounded(key, wish, bounds)?,
        };
        self.under_way.pop();
        let value = target.desired;
        self.done.insert(key, target);
        Ok(Some(value))
    }

    fn bounded(&mut self, key: Key, wish: &Wish, bounds: &Bounds) -> Result<Target, DeriveError> {
        let (lower, mut how) = self.lower(key, bounds)?.unzip();
        let mut lower = match (lower, bounds.memory_cap) {
            (Some(lower), Some(percent)) => {
                Some(self.capped(lower, percent, how.get_or_insert_default())?)
            }
            (lower, _) => lower,
        }
        .map(|lower| held(key, lower));
        let upper = bounds.at_most.map(|most| held(key, most));
        let mut how: Vec<String> = how.into_iter().collect();
        if let Some(most) = upper {
            let wins = if lower > upper { ", which wins" } else { "" };
            how.push(format!("at most {most}{wins}"));
            lower = lower.map(|lower| lower.min(most));
        }
        let value = match ((self.current)(key), lower, upper) {
            (Some(now), ..) => now.max(lower.unwrap_or(now)).min(upper.unwrap_or(i64::MAX)),
            (None, lower, upper) => lower.or(upper).ok_or(DeriveError::NothingToFollow {
                key,
                follow: bounds.follow.unwrap_or(key),
            })?,
        };
        Ok(Target {
            key,
            lower,
            upper,
            desired: held(key, value),
            required: wish.required,
            why: why(wish, &how.join(", ")),
        })
    }

    /// The highest lower bound, and how it came about.
    fn lower(&mut self, key: Key, bounds: &Bounds) -> Result<Option<(i64, String)>, DeriveError> {
        let least = bounds
            .at_least
            .map(|least| (least, format!("at least {least}")));
        let cpus = i64::from(self.host.cpus);
        let per_cpu = bounds.per_cpu.map(|each| {
            let plural = if cpus == 1 { "" } else { "s" };
            (
                each.saturating_mul(cpus),
                format!("per-cpu {each} × {cpus} CPU{plural}"),
            )
        });
        let follow = match bounds.follow {
            None => None,
            Some(followed) => self
                .target(followed)?
                .map(|value| (value, format!("follows {}, {value}", followed.file_name()))),
        };
        let bound = [least, per_cpu, follow]
            .into_iter()
            .flatten()
            .max_by_key(|(bound, _)| *bound);
        match (&bound, bounds.follow, bounds.at_most) {
            (None, Some(follow), None) => Err(DeriveError::NothingToFollow { key, follow }),
            _ => Ok(bound),
        }
    }

    /// A lower bound, lowered to what this share of memory can hold.
    fn capped(&self, lower: i64, percent: u8, how: &mut String) -> Result<i64, DeriveError> {
        let memory = self.host.memory;
        let entries = entries_within(memory, percent);
        if entries >= lower {
            return Ok(lower);
        }
        if entries < SMALLEST_CAP {
            return Err(DeriveError::MemoryCap {
                percent,
                memory,
                entries,
            });
        }
        how.push_str(&format!(
            ", lowered: {percent} % of {} hold {entries}",
            memory_text(memory)
        ));
        Ok(entries)
    }

    fn fragment_thresholds(&self) -> Result<(), DeriveError> {
        let (high, low) = (Key::Frag6HighThresh, Key::Frag6LowThresh);
        if !self.done.contains_key(&high) && !self.done.contains_key(&low) {
            return Ok(());
        }
        let will_hold = |key| {
            self.done
                .get(&key)
                .map(|target| target.desired)
                .or_else(|| (self.current)(key))
        };
        match (will_hold(high), will_hold(low)) {
            (Some(high), Some(low)) if high < low => {
                Err(DeriveError::FragmentThresholds { high, low })
            }
            _ => Ok(()),
        }
    }
}

fn exact(key: Key, wish: &Wish, value: i64) -> Target {
    Target {
        key,
        lower: Some(value),
        upper: Some(value),
        desired: value,
        required: wish.required,
        why: why(wish, ""),
    }
}

/// What the kernel will hold, in the range that it takes: a number of CPUs times a large count, or
/// rounding, can leave it.
fn held(key: Key, value: i64) -> i64 {
    let range = &key.tunable().range;
    let last = if key == Key::Buckets {
        range.end() - range.end() % tunable::BUCKET_STEP
    } else {
        *range.end()
    };
    tunable::as_held(key, value.min(last))
}

/// The author's reason with how the number came about, or whichever there is.
fn why(wish: &Wish, how: &str) -> String {
    match (wish.why.as_deref(), how) {
        (Some(why), "") => why.to_owned(),
        (Some(why), how) => format!("{why} ({how})"),
        (None, "") => format!("set by {}", wish.origin),
        (None, how) => how.to_owned(),
    }
}

/// Memory as people say it, cut to one decimal.
fn memory_text(bytes: u64) -> String {
    let (unit, size) = if bytes >= 1 << 30 {
        ("GiB", 1 << 30)
    } else {
        ("MiB", 1 << 20)
    };
    match (bytes / size, bytes % size * 10 / size) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// Entries that this share of so many bytes of memory holds, down to a power of two: `MemTotal`
/// differs by a little from one kernel to the next, and a target must not.
pub(super) fn entries_within(memory: u64, percent: u8) -> i64 {
    let share = u128::from(memory) * u128::from(percent) / 100;
    let entries = i64::try_from(share / u128::from(ENTRY_BYTES)).unwrap_or(i64::MAX);
    entries.checked_ilog2().map_or(0, |power| 1 << power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, inherit, parse};
    use crate::tunable::Conntrack;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn desired(sysctl: &str) -> Desired {
        let text = format!("[sysctl]\n{sysctl}");
        inherit(&[parse(&Source::new("p.toml", text)).unwrap()])
    }

    fn host(cpus: u32, memory: u64) -> Host {
        Host {
            cpus,
            memory,
            conntrack: Conntrack::BuiltIn,
        }
    }

    fn one(sysctl: &str, host: &Host, now: Option<i64>) -> Target {
        let targets = derive(&desired(sysctl), host, &|key| {
            now.filter(|_| key == Key::Max)
        })
        .unwrap();
        targets
            .into_iter()
            .find(|target| target.key == Key::Max)
            .unwrap()
    }

    #[test]
    fn bounds_become_numbers_of_this_host() {
        let host = host(4, 24 * GIB);
        for (sysctl, now, lower, upper, value, why) in [
            ("max = 5", Some(9), Some(5), Some(5), 5, "set by p.toml"),
            (
                "max = { value = 5, why = \"small\" }",
                None,
                Some(5),
                Some(5),
                5,
                "small",
            ),
            (
                "max = { at-least = 7 }",
                Some(9),
                Some(7),
                None,
                9,
                "at least 7",
            ),
            (
                "max = { at-least = 7 }",
                Some(5),
                Some(7),
                None,
                7,
                "at least 7",
            ),
            (
                "max = { at-least = 7 }",
                None,
                Some(7),
                None,
                7,
                "at least 7",
            ),
            (
                "max = { at-most = 7 }",
                Some(9),
                None,
                Some(7),
                7,
                "at most 7",
            ),
            (
                "max = { at-most = 7 }",
                Some(3),
                None,
                Some(7),
                3,
                "at most 7",
            ),
            ("max = { at-most = 7 }", None, None, Some(7), 7, "at most 7"),
            (
                "max = { per-cpu = 32768, at-least = 5 }",
                None,
                Some(131_072),
                None,
                131_072,
                "per-cpu 32768 × 4 CPUs",
            ),
            (
                "max = { per-cpu = 10, at-least = 50 }",
                None,
                Some(50),
                None,
                50,
                "at least 50",
            ),
            (
                "max = { per-cpu = 10, at-most = 30 }",
                Some(99),
                Some(30),
                Some(30),
                30,
                "per-cpu 10 × 4 CPUs, at most 30, which wins",
            ),
            (
                "max = { follow = \"buckets\" }\nbuckets = 513",
                None,
                Some(1024),
                None,
                1024,
                "follows nf_conntrack_buckets, 1024",
            ),
            (
                "max = { at-least = 8388608, memory-cap = \"10%\", why = \"large\" }",
                None,
                Some(4_194_304),
                None,
                4_194_304,
                "large (at least 8388608, lowered: 10 % of 24 GiB hold 4194304)",
            ),
            (
                "max = { at-least = 1048576, memory-cap = \"10%\" }",
                None,
                Some(1_048_576),
                None,
                1_048_576,
                "at least 1048576",
            ),
            (
                "max = { per-cpu = 2147483647 }",
                None,
                Some(2_147_483_647),
                None,
                2_147_483_647,
                "per-cpu 2147483647 × 4 CPUs",
            ),
        ] {
            let target = one(sysctl, &host, now);
            assert_eq!(
                (target.lower, target.upper, target.desired),
                (lower, upper, value),
                "{sysctl}"
            );
            assert_eq!(target.why, why, "{sysctl}");
        }
    }

    #[test]
    fn what_is_followed_is_what_will_hold() {
        let follow = desired("buckets = { follow = \"max\" }\nmax = { at-least = 1000 }");
        let buckets = |targets: Vec<Target>| {
            targets
                .iter()
                .find(|t| t.key == Key::Buckets)
                .unwrap()
                .desired
        };
        let now = |key| {
            if key == Key::Max {
                Some(5000)
            } else {
                Some(512)
            }
        };
        assert_eq!(buckets(derive(&follow, &host(1, GIB), &now).unwrap()), 5120);
        let alone = desired("buckets = { follow = \"max\" }");
        assert_eq!(buckets(derive(&alone, &host(1, GIB), &now).unwrap()), 5120);
        assert_eq!(
            derive(&alone, &host(1, GIB), &|_| None)
                .unwrap_err()
                .to_string(),
            "nf_conntrack_buckets follows nf_conntrack_max, which is not in the profile and has no value here"
        );
    }

    #[test]
    fn a_cap_that_leaves_next_to_nothing_is_refused_with_its_numbers() {
        let capped = desired("max = { at-least = 1048576, memory-cap = \"10%\" }");
        let error = derive(&capped, &host(1, GIB / 8), &|_| None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nf_conntrack_max: 10 % of 128 MiB of memory hold 32768 entries, fewer than 65536"
        );
        assert!(derive(&capped, &host(1, GIB / 4), &|_| None).is_ok());
    }

    #[test]
    fn a_ring_closed_by_a_parent_is_refused() {
        let child = parse(&Source::new(
            "c",
            "[sysctl]\nmax = { follow = \"buckets\" }",
        ))
        .unwrap();
        let parent = parse(&Source::new(
            "p",
            "[sysctl]\nbuckets = { follow = \"max\" }",
        ))
        .unwrap();
        let error = derive(&inherit(&[child, parent]), &host(1, GIB), &|_| None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "keys follow each other: nf_conntrack_max → nf_conntrack_buckets → nf_conntrack_max"
        );
    }

    #[test]
    fn fragment_thresholds_are_judged_with_what_holds_now() {
        let low_now = |key| (key == Key::Frag6LowThresh).then_some(3 << 20);
        let high = desired("frag6_high_thresh = \"1MiB\"");
        let error = derive(&high, &host(1, GIB), &low_now).unwrap_err();
        assert_eq!(
            error,
            DeriveError::FragmentThresholds {
                high: 1 << 20,
                low: 3 << 20
            }
        );
    }

    fn bounds() -> impl Strategy<Value = Bounds> {
        let count = || proptest::option::of(1..4_000_000_i64);
        (
            count(),
            count(),
            proptest::option::of(1..100_000_i64),
            proptest::option::of(1..=100_u8),
            any::<bool>(),
        )
            .prop_filter("a bound", |(least, most, per_cpu, ..)| {
                least.or(*most).or(*per_cpu).is_some()
            })
            .prop_map(|(at_least, at_most, per_cpu, memory_cap, _)| Bounds {
                at_least,
                at_most,
                per_cpu,
                follow: None,
                memory_cap,
            })
    }

    proptest! {
        #[test]
        fn a_target_that_was_reached_stays(
            max in bounds(), mut buckets in bounds(), follow in any::<bool>(), cpus in 1..256_u32,
            gib in 1..512_u64, now in proptest::option::of((0..9_000_000_i64, 0..9_000_000_i64)),
        ) {
            buckets.memory_cap = None;
            buckets.follow = follow.then_some(Key::Max);
            let wish = |bounds| Wish { goal: Goal::Bounds(bounds), required: false, why: None, origin: "p".into() };
            let desired = Desired {
                settings: BTreeMap::from([(Key::Max, wish(max)), (Key::Buckets, wish(buckets))]),
                ..Desired::default()
            };
            let host = host(cpus, gib * GIB);
            let first = derive(&desired, &host, &|key| now.map(|(max, buckets)| if key == Key::Max { max } else { buckets }));
            // A share of a few percent of little memory is refused, and that is tested above.
            let Ok(first) = first else { return Ok(()) };
            for target in &first {
                prop_assert!(target.lower.is_none_or(|lower| lower <= target.desired));
                prop_assert!(target.upper.is_none_or(|upper| target.desired <= upper));
            }
            let reached = |key| first.iter().find(|target| target.key == key).map(|target| target.desired);
            prop_assert_eq!(derive(&desired, &host, &reached).unwrap(), first.clone());
        }
    }
}
