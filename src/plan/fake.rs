//! A machine that is made up, for the tests of this room.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ACTIVE, Comparison, Files, Machine, Plan, Scope, plan};
use crate::boot::{BootFiles, NextBoot, Tree};
use crate::profile::{Desired, Source, inherit, parse};
use crate::tunable::{Access, Conntrack, Host, Key, Reading, Snapshot};

/// A writable value.
pub(crate) fn live(value: i64) -> Reading {
    let access = Access::Writable;
    Reading::Value { value, access }
}

/// A profile `p`, and a machine with nothing but what is added.
pub(crate) struct World {
    pub(crate) desired: Desired,
    pub(crate) live: Option<Snapshot>,
    readings: BTreeMap<Key, Reading>,
    count: Option<i64>,
    tree: Tree,
    others: BTreeMap<PathBuf, Vec<u8>>,
}

impl World {
    pub(crate) fn of(sysctl: &str) -> World {
        let text = format!("[sysctl]\n{sysctl}\n");
        let mut desired = inherit(&[parse(&Source::new("p", text)).unwrap()]);
        desired.name = "p".to_owned();
        World {
            desired,
            live: Some(Snapshot::default()),
            readings: BTreeMap::new(),
            count: None,
            tree: Tree::default(),
            others: BTreeMap::new(),
        }
    }

    pub(crate) fn reading(mut self, key: Key, reading: Reading) -> World {
        self.readings.insert(key, reading);
        self.live = Some(Snapshot::new(self.readings.clone(), self.count));
        self
    }

    pub(crate) fn count(mut self, count: i64) -> World {
        self.count = Some(count);
        self.live = Some(Snapshot::new(self.readings.clone(), self.count));
        self
    }

    /// An image, which has no kernel.
    pub(crate) fn image(mut self) -> World {
        self.live = None;
        self
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> World {
        if path == ACTIVE {
            self.others.insert(path.into(), text.into());
        } else {
            self.tree = self.tree.with_file(Path::new(path), Some(text.into()));
        }
        self
    }

    pub(crate) fn comparison(&self) -> Comparison {
        self.on_machine(|machine| Comparison::new(&self.desired, machine).unwrap())
    }

    pub(crate) fn plan(&self, adopt: bool) -> Plan {
        let scope = Scope {
            live: true,
            persist: true,
            adopt,
            replace: false,
        };
        let comparison = self.comparison();
        self.on_machine(|machine| plan(&self.desired, &comparison, machine, scope))
    }

    fn on_machine<T>(&self, look: impl FnOnce(&Machine<'_>) -> T) -> T {
        let host = Host {
            cpus: 4,
            memory: 8 << 30,
            conntrack: Conntrack::BuiltIn,
        };
        let next_boot = NextBoot::new(BootFiles {
            tree: self.tree.clone(),
            ..BootFiles::default()
        });
        let files = Files::new(next_boot, self.others.clone(), None);
        look(&Machine {
            host: &host,
            live: self.live.as_ref(),
            files: Some(&files),
            table: None,
        })
    }
}
