//! No shipped profile ends in a critical finding, whatever the size of the machine.

use super::{Evidence, Finding, Severity, assess};
use crate::plan::{Comparison, Machine};
use crate::profile::{self, Values, derive};
use crate::tunable::{Access, Conntrack, Host, Key, Reading, Snapshot};

const GIB: u64 = 1 << 30;

/// What the kernel has by itself on a machine of this size, since 5.15.
fn default_of(key: Key, memory: u64) -> Option<i64> {
    let buckets = match memory {
        0..=GIB => 8192,
        _ if memory <= 4 * GIB => 65536,
        _ => 262_144,
    };
    matches!(key, Key::Max | Key::Buckets).then_some(buckets)
}

/// The findings once a profile is applied to such a machine, its table empty.
fn findings(name: &str, cpus: u32, memory: u64) -> Vec<Finding> {
    let host = Host {
        cpus,
        memory,
        conntrack: Conntrack::BuiltIn,
    };
    let builtin = profile::builtin::find(name).unwrap();
    let desired = profile::inherit(&[profile::parse(&builtin.source()).unwrap()]);
    let values = |key| Values {
        live: default_of(key, memory),
        boot: [None, None],
    };
    let targets = derive(&desired, &host, &values).unwrap();
    let target = |key: Key| targets.get(&key).map(|targets| &targets.live);
    let reading = |key: &Key| {
        let value = target(*key).map(|target| target.value);
        let value = value.or_else(|| default_of(*key, memory))?;
        let access = Access::Writable;
        Some((*key, Reading::Value { value, access }))
    };
    let live = Snapshot::new(Key::ALL.iter().filter_map(reading), Some(0));
    let machine = Machine {
        host: &host,
        live: Some(&live),
        files: None,
        table: None,
    };
    let comparison = Comparison::new(&desired, &machine).unwrap();
    assess(Evidence {
        desired: Some(&desired),
        ..Evidence::of(machine, &comparison)
    })
}

#[test]
fn no_shipped_profile_ends_in_a_critical_finding() {
    for builtin in profile::builtin::ALL {
        for cpus in [1, 8, 96, 256] {
            for gib in [1, 8, 64, 1024] {
                let critical: Vec<Finding> = findings(builtin.name, cpus, gib * GIB)
                    .into_iter()
                    .filter(|finding| finding.counts_as(Severity::Critical))
                    .collect();
                let name = builtin.name;
                assert!(
                    critical.is_empty(),
                    "{name}, {cpus} CPUs, {gib} GiB: {critical:#?}"
                );
            }
        }
    }
}
