//! Works out the numbers that a profile means on this machine.
//!
//! Sizes depend on CPUs, memory, other keys and the values that are there; the result is plain
//! numbers, so that check and plan compare and never compute. A value that is inside its bounds
//! stays, live and at the next boot: a smaller table is never made of a larger one.

use std::collections::BTreeMap;

use super::{Bounds, Desired, Goal, Setting, ring, ring_text};
use crate::tunable::{self, ENTRY_BYTES, Host, Key, format_count, format_size, plural};

/// Fewest entries that a memory cap may leave: the default table of a machine with 1 GiB.
const SMALLEST_CAP: i64 = 65536;

/// The values that a key has: now, and after the next boot for each reader of sysctl.d.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values {
    pub(crate) live: Option<i64>,
    pub(crate) boot: [Option<i64>; 2],
}

/// What one sysctl may be, and should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: Key,
    /// Below this it differs.
    pub(crate) lower: Option<i64>,
    /// Above this it differs.
    pub(crate) upper: Option<i64>,
    /// The value to write: what is there already, if it lies inside the bounds.
    pub(crate) value: i64,
}

/// What one sysctl should be now and after the next boot; the two differ only inside the bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) live: Target,
    pub(crate) boot: Target,
    pub(crate) required: bool,
    /// The author's reason and how the number came about, for people.
    pub(crate) why: String,
}

impl Target {
    /// Whether a value will do, once the kernel has rounded it. A max of 0 is unlimited: above
    /// every lower bound, and outside every upper one.
    pub(crate) fn allows(&self, value: i64) -> bool {
        let value = tunable::as_held(self.key, value);
        if self.key == Key::Max && value == 0 {
            return self.upper.is_none();
        }
        self.lower.is_none_or(|lower| value >= lower)
            && self.upper.is_none_or(|upper| value <= upper)
    }

    /// The one to keep of values that will do: the strictest below an upper bound, else the
    /// largest.
    fn keep(&self, values: impl Iterator<Item = i64>) -> Option<i64> {
        let allowed = values.filter(|value| self.allows(*value));
        match self.upper {
            Some(_) => allowed.min(),
            None => allowed.max_by_key(|value| (is_unlimited(self.key, *value), *value)),
        }
    }

    /// The nearest value that will do; without a value to start from, the lowest.
    fn nearest(&self, value: Option<i64>) -> Option<i64> {
        let raised = match value {
            Some(value) => value.max(self.lower.unwrap_or(value)),
            None => return self.lower.or(self.upper),
        };
        Some(raised.min(self.upper.unwrap_or(raised)))
    }
}

fn is_unlimited(key: Key, value: i64) -> bool {
    key == Key::Max && value == 0
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeriveError {
    /// The share of memory, rounded down to a power of two entries, holds too few to be meant.
    #[error(
        "nf_conntrack_max: {percent} % of {} of memory hold {} entries, fewer than {}",
        format_size(*.memory),
        format_count(*.entries),
        format_count(SMALLEST_CAP)
    )]
    MemoryCap {
        percent: u8,
        memory: u64,
        entries: i64,
    },
    #[error("keys follow each other: {}", ring_text(.0))]
    FollowCycle(Vec<Key>),
    #[error("{} follows {}, which is not in the profile and has no value here", .key.file_name(), .follow.file_name())]
    NothingToFollow { key: Key, follow: Key },
    #[error(
        "nf_conntrack_frag6_high_thresh would be {high}, below nf_conntrack_frag6_low_thresh at {low}"
    )]
    FragmentThresholds { high: i64, low: i64 },
}

pub(crate) fn derive(
    desired: &Desired,
    host: &Host,
    current: &dyn Fn(Key) -> Values,
) -> Result<BTreeMap<Key, Targets>, DeriveError> {
    let mut keys = desired.settings.keys();
    if let Some(keys) = keys.find_map(|key| ring(&desired.settings, *key)) {
        return Err(DeriveError::FollowCycle(keys));
    }
    let mut deriver = Deriver {
        desired,
        host,
        current,
        done: BTreeMap::new(),
    };
    for key in desired.settings.keys() {
        deriver.reach(*key)?;
    }
    deriver.fragment_thresholds()?;
    Ok(deriver.done)
}

/// A number for the running kernel, and one for the next boot.
type Pair = [Option<i64>; 2];

struct Deriver<'a> {
    desired: &'a Desired,
    host: &'a Host,
    current: &'a dyn Fn(Key) -> Values,
    done: BTreeMap<Key, Targets>,
}

impl Deriver<'_> {
    /// What a key will have; nothing where it is neither in the profile nor readable.
    fn reach(&mut self, key: Key) -> Result<Pair, DeriveError> {
        let reached = |targets: &Targets| [Some(targets.live.value), Some(targets.boot.value)];
        if let Some(targets) = self.done.get(&key) {
            return Ok(reached(targets));
        }
        let Values { live, boot } = (self.current)(key);
        let desired = self.desired;
        let Some(setting) = desired.settings.get(&key) else {
            let boot = boot.into_iter().flatten().max();
            return Ok([live.or(boot), boot.or(live)]);
        };
        let targets = match &setting.goal {
            Goal::Exact(value) => exact(key, setting, *value),
            Goal::Bounds(bounds) => self.bounded(key, setting, bounds)?,
        };
        let pair = reached(&targets);
        self.done.insert(key, targets);
        Ok(pair)
    }

    fn bounded(
        &mut self,
        key: Key,
        setting: &Setting,
        bounds: &Bounds,
    ) -> Result<Targets, DeriveError> {
        let ([live, boot], how) = self.lower(bounds)?;
        let upper = bounds.at_most.map(|most| held(key, most));
        let at_most = upper.map(|most| {
            let wins = if live > upper { ", which wins" } else { "" };
            format!("at most {}{wins}", format_count(most))
        });
        let how: Vec<String> = how.into_iter().chain(at_most).collect();
        let target = |lower: Option<i64>| Target {
            key,
            lower: lower.map(|lower| held(key, lower).min(upper.unwrap_or(i64::MAX))),
            upper,
            value: 0,
        };
        let (mut live, mut boot) = (target(live), target(boot));
        let current = (self.current)(key);
        let persisted = || current.boot.into_iter().flatten();
        let now = current.live.filter(|value| !is_unlimited(key, *value));
        let stays = now.filter(|value| live.allows(*value));
        let value = stays
            .or_else(|| live.keep(persisted()))
            .or_else(|| live.nearest(now));
        let follow = bounds.follow.unwrap_or(key);
        let value = value.ok_or(DeriveError::NothingToFollow { key, follow })?;
        live.value = held(key, value);
        let kept = match boot.upper {
            // What is persisted is never loosened.
            Some(_) => boot.keep(persisted()),
            None => boot.keep(persisted().chain([live.value])),
        };
        let value = kept.or_else(|| boot.nearest(Some(live.value)));
        boot.value = held(key, value.unwrap_or(live.value));
        Ok(Targets {
            live,
            boot,
            required: setting.required,
            why: why(setting, &how.join(", ")),
        })
    }

    /// The highest lower bounds, and how they came about.
    fn lower(&mut self, bounds: &Bounds) -> Result<(Pair, Option<String>), DeriveError> {
        let mut lower: Pair = [None; 2];
        let mut how = None;
        let mut raise = |bound: Pair, text: String| {
            if bound[0] > lower[0] {
                how = Some(text);
            }
            lower = [bound[0].max(lower[0]), bound[1].max(lower[1])];
        };
        if let Some(least) = bounds.at_least {
            let text = format!("at least {}", format_count(least));
            raise([Some(least); 2], text);
        }
        if let Some(each) = bounds.per_cpu {
            let cpus = i64::from(self.host.cpus);
            let all = each.saturating_mul(cpus);
            let cap = bounds.per_cpu_cap.unwrap_or(all);
            let mut text = format!("per-cpu {} × {}", format_count(each), plural(cpus, "CPU"));
            if cap < all {
                text.push_str(&format!(", capped at {}", format_count(cap)));
            }
            raise([Some(all.min(cap)); 2], text);
        }
        if let Some(followed) = bounds.follow {
            let reached = self.reach(followed)?;
            if let Some(value) = reached[0] {
                let text = format!("follows {}, {}", followed.file_name(), format_count(value));
                raise(reached, text);
            }
        }
        if let Some(percent) = bounds.memory_cap {
            let memory = self.host.memory;
            let entries = entries_within(memory, percent);
            if lower.iter().flatten().any(|lower| *lower > entries) {
                if entries < SMALLEST_CAP {
                    return Err(DeriveError::MemoryCap {
                        percent,
                        memory,
                        entries,
                    });
                }
                let (memory, number) = (format_size(memory), format_count(entries));
                let lowered = format!("lowered: {percent} % of {memory} hold {number}");
                how = Some(format!("{}, {lowered}", how.unwrap_or_default()));
                lower = lower.map(|lower| lower.map(|lower| lower.min(entries)));
            }
        }
        Ok((lower, how))
    }

    fn fragment_thresholds(&mut self) -> Result<(), DeriveError> {
        let (high, low) = (Key::Frag6HighThresh, Key::Frag6LowThresh);
        if !self.done.contains_key(&high) && !self.done.contains_key(&low) {
            return Ok(());
        }
        let (high, low) = (self.reach(high)?, self.reach(low)?);
        let mut pairs = high.into_iter().zip(low);
        let crossed = pairs.find_map(|(high, low)| high.zip(low).filter(|(high, low)| high < low));
        match crossed {
            Some((high, low)) => Err(DeriveError::FragmentThresholds { high, low }),
            None => Ok(()),
        }
    }
}

fn exact(key: Key, setting: &Setting, value: i64) -> Targets {
    let target = Target {
        key,
        lower: Some(value),
        upper: Some(value),
        value,
    };
    Targets {
        live: target.clone(),
        boot: target,
        required: setting.required,
        why: why(setting, ""),
    }
}

/// What the kernel will hold, in the range that it takes: a number of CPUs times a large count, or
/// rounding, can leave it.
fn held(key: Key, value: i64) -> i64 {
    tunable::as_held(key, value.min(tunable::largest(key)))
}

/// The author's reason with how the number came about, or whichever there is.
fn why(setting: &Setting, how: &str) -> String {
    match (setting.why.as_deref(), how) {
        (Some(why), "") => why.to_owned(),
        (Some(why), how) => format!("{why} ({how})"),
        (None, "") => format!("set by {}", setting.origin),
        (None, how) => how.to_owned(),
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

    /// The same value live and for both readers, or none.
    fn held_now(value: Option<i64>) -> Values {
        Values {
            live: value,
            boot: [value; 2],
        }
    }

    fn one(sysctl: &str, host: &Host, values: Values) -> Targets {
        let of_max = |key| {
            if key == Key::Max {
                values
            } else {
                Values::default()
            }
        };
        let targets = derive(&desired(sysctl), host, &of_max).unwrap();
        targets.get(&Key::Max).unwrap().clone()
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
                "per-cpu 32,768 × 4 CPUs",
            ),
            (
                "max = { per-cpu = 32768, per-cpu-cap = 100000 }",
                Some(99_999),
                Some(100_000),
                None,
                100_000,
                "per-cpu 32,768 × 4 CPUs, capped at 100,000",
            ),
            (
                "max = { per-cpu = 32768, per-cpu-cap = 100000, at-least = 120000 }",
                Some(130_000),
                Some(120_000),
                None,
                130_000,
                "at least 120,000",
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
                "follows nf_conntrack_buckets, 1,024",
            ),
            (
                "max = { at-least = 8388608, memory-cap = \"10%\", why = \"large\" }",
                None,
                Some(4_194_304),
                None,
                4_194_304,
                "large (at least 8,388,608, lowered: 10 % of 24 GiB hold 4,194,304)",
            ),
            (
                "max = { at-least = 1048576, memory-cap = \"10%\" }",
                None,
                Some(1_048_576),
                None,
                1_048_576,
                "at least 1,048,576",
            ),
            (
                "max = { per-cpu = 2147483647 }",
                None,
                Some(2_147_483_647),
                None,
                2_147_483_647,
                "per-cpu 2,147,483,647 × 4 CPUs",
            ),
        ] {
            let targets = one(sysctl, &host, held_now(now));
            for target in [targets.live, targets.boot] {
                let found = (target.lower, target.upper, target.value);
                assert_eq!(found, (lower, upper, value), "{sysctl}");
            }
            assert_eq!(targets.why, why, "{sysctl}");
        }
    }

    /// The settings of max, what it is live and for both readers, and what it is to be.
    type Row<'a> = (&'a str, Option<i64>, [Option<i64>; 2], [i64; 2]);

    #[test]
    fn a_value_inside_its_bounds_stays_live_and_at_the_next_boot() {
        let least = "max = { at-least = 100 }";
        let most = "max = { at-most = 100 }";
        let both = "max = { at-least = 50, at-most = 100 }";
        let table: &[Row<'_>] = &[
            // The larger of what holds and what is persisted.
            (least, Some(150), [Some(200); 2], [150, 200]),
            (least, Some(200), [Some(150); 2], [200, 200]),
            (least, Some(200), [None; 2], [200, 200]),
            (least, None, [Some(200); 2], [200, 200]),
            (least, Some(50), [Some(200); 2], [200, 200]),
            (least, Some(50), [Some(70); 2], [100, 100]),
            (least, Some(50), [None, Some(300)], [300, 300]),
            (least, Some(150), [Some(300), Some(200)], [150, 300]),
            // 0 is unlimited: it will do live, and is not made a limit at boot.
            (least, Some(150), [Some(0); 2], [150, 0]),
            (least, Some(0), [None; 2], [100, 100]),
            // A stricter persisted value is never loosened.
            (most, Some(90), [Some(30); 2], [90, 30]),
            (most, Some(20), [Some(30); 2], [20, 30]),
            (most, Some(500), [Some(30); 2], [30, 30]),
            (most, Some(90), [Some(500); 2], [90, 90]),
            (most, None, [Some(30), Some(40)], [30, 30]),
            (most, None, [Some(500); 2], [100, 100]),
            (both, Some(60), [Some(70); 2], [60, 70]),
            (both, Some(200), [Some(20); 2], [100, 100]),
            ("max = 100", Some(200), [Some(300); 2], [100, 100]),
        ];
        for (sysctl, live, boot, expected) in table {
            let (live, boot) = (*live, *boot);
            let targets = one(sysctl, &host(1, GIB), Values { live, boot });
            let found = [targets.live.value, targets.boot.value];
            assert_eq!(&found, expected, "{sysctl} {live:?} {boot:?}");
        }
    }

    #[test]
    fn buckets_that_follow_never_shrink() {
        let follow = desired("max = { at-least = 1000 }\nbuckets = { follow = \"max\" }");
        let current = |key| match key {
            Key::Max => Values {
                live: Some(2048),
                boot: [Some(4096); 2],
            },
            Key::Buckets => Values {
                live: Some(3072),
                boot: [Some(8192), None],
            },
            _ => Values::default(),
        };
        let targets = derive(&follow, &host(1, GIB), &current).unwrap();
        let buckets = targets.get(&Key::Buckets).unwrap();
        assert_eq!((buckets.live.lower, buckets.live.value), (Some(2048), 3072));
        assert_eq!((buckets.boot.lower, buckets.boot.value), (Some(4096), 8192));
    }

    #[test]
    fn what_is_followed_is_what_will_hold() {
        let follow = desired("buckets = { follow = \"max\" }\nmax = { at-least = 1000 }");
        let buckets =
            |targets: BTreeMap<Key, Targets>| targets.get(&Key::Buckets).unwrap().live.value;
        let now = |key| held_now(Some(if key == Key::Max { 5000 } else { 512 }));
        assert_eq!(buckets(derive(&follow, &host(1, GIB), &now).unwrap()), 5120);
        let alone = desired("buckets = { follow = \"max\" }");
        assert_eq!(buckets(derive(&alone, &host(1, GIB), &now).unwrap()), 5120);
        assert_eq!(
            derive(&alone, &host(1, GIB), &|_| Values::default())
                .unwrap_err()
                .to_string(),
            "nf_conntrack_buckets follows nf_conntrack_max, which is not in the profile and has no value here"
        );
    }

    #[test]
    fn a_cap_that_leaves_next_to_nothing_is_refused_with_its_numbers() {
        let capped = desired("max = { at-least = 1048576, memory-cap = \"10%\" }");
        let error = derive(&capped, &host(1, GIB / 8), &|_| Values::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nf_conntrack_max: 10 % of 128 MiB of memory hold 32,768 entries, fewer than 65,536"
        );
        assert!(derive(&capped, &host(1, GIB / 4), &|_| Values::default()).is_ok());
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
        let error = derive(&inherit(&[child, parent]), &host(1, GIB), &|_| {
            Values::default()
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "keys follow each other: nf_conntrack_max → nf_conntrack_buckets → nf_conntrack_max"
        );
    }

    #[test]
    fn fragment_thresholds_are_judged_with_what_holds_now() {
        let low_now = |key| held_now((key == Key::Frag6LowThresh).then_some(3 << 20));
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
                memory_cap,
                ..Bounds::default()
            })
    }

    fn values() -> impl Strategy<Value = Option<(i64, i64)>> {
        proptest::option::of((1..9_000_000_i64, 1..9_000_000_i64))
    }

    proptest! {
        #[test]
        fn a_target_that_was_reached_stays(
            max in bounds(), mut buckets in bounds(), follow in any::<bool>(), cpus in 1..256_u32,
            gib in 1..512_u64, live in values(), persisted in values(),
        ) {
            buckets.memory_cap = None;
            buckets.follow = follow.then_some(Key::Max);
            let setting = |bounds| Setting { goal: Goal::Bounds(bounds), required: false, why: None, origin: "p".into() };
            let desired = Desired {
                settings: BTreeMap::from([(Key::Max, setting(max)), (Key::Buckets, setting(buckets))]),
                ..Desired::default()
            };
            let host = host(cpus, gib * GIB);
            let of = |values: Option<(i64, i64)>, key| {
                values.map(|(max, buckets)| if key == Key::Max { max } else { buckets })
            };
            let current = |key| Values { live: of(live, key), boot: [of(persisted, key); 2] };
            // A share of a few percent of little memory is refused, and that is tested above.
            let Ok(first) = derive(&desired, &host, &current) else { return Ok(()) };
            for (key, Targets { live, boot, .. }) in &first {
                for target in [live, boot] {
                    prop_assert!(target.allows(target.value));
                }
                for kept in [of(persisted, *key), Some(live.value)].into_iter().flatten() {
                    let is_less = boot.value < tunable::as_held(*key, kept);
                    prop_assert!(!boot.allows(kept) || boot.upper.is_some() || !is_less);
                }
            }
            let reached = |key| {
                let targets = first.get(&key);
                let boot = targets.map(|targets| targets.boot.value);
                Values { live: targets.map(|targets| targets.live.value), boot: [boot; 2] }
            };
            prop_assert_eq!(derive(&desired, &host, &reached).unwrap(), first.clone());
        }
    }
}
