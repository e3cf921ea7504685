//! Every network namespace of the machine: those with a name, and those that processes are in.
//!
//! Out: the numbers of each table, and what could not be looked into. Rule: a namespace is found
//! by its inode, whatever leads to it, and looked into once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::netns::{self, NetnsError, Spec};
use super::{counters, host, processes, sysctl};
use crate::assess::{Namespace, Unread};
use crate::diagnostic::said;
use crate::tunable::{Counter, Key};

const WHAT: &str = "a network namespace";

/// What leads to a namespace.
#[derive(Debug, Default)]
struct Ways {
    name: Option<String>,
    pids: Vec<u32>,
}

/// The numbers of a table.
struct Table {
    count: i64,
    max: i64,
    drop: Option<u64>,
}

/// Reads the table of every namespace that may be entered, named ones first.
///
/// Needs `CAP_SYS_ADMIN`; without it, only our own is read.
pub(crate) fn read_namespaces() -> (Vec<Namespace>, Vec<Unread>) {
    let own = host::read_netns_inode();
    let (found, mut unread) = find();
    let mut namespaces = Vec::new();
    for (inode, ways) in found {
        let is_own = own == Some(inode);
        let table = if is_own { read_table() } else { ways.read() };
        match table {
            // No process is in it any more, or conntrack is not loaded.
            Ok(None) => {}
            Ok(Some(table)) => namespaces.push(Namespace {
                inode,
                name: ways.name,
                pids: ways.pids,
                is_own,
                count: table.count,
                max: table.max,
                drop: table.drop,
            }),
            Err(why) => unread.push(Unread::new(WHAT, &why)),
        }
    }
    namespaces.sort_by_key(|one| {
        (
            one.name.is_none(),
            one.name.clone(),
            one.pids.first().copied(),
        )
    });
    (namespaces, unread)
}

fn find() -> (BTreeMap<u64, Ways>, Vec<Unread>) {
    let mut found: BTreeMap<u64, Ways> = BTreeMap::new();
    let mut unread = Vec::new();
    for (name, path) in netns::named() {
        match fs::metadata(&path) {
            Ok(metadata) => found.entry(metadata.ino()).or_default().name = Some(name),
            Err(error) => unread.push(Unread::new(WHAT, &format!("{name}: {}", said(&error)))),
        }
    }
    let mut denied = 0;
    let ascending: BTreeSet<u32> = processes::pids().collect();
    for pid in ascending {
        match fs::metadata(format!("/proc/{pid}/ns/net")) {
            Ok(metadata) => found.entry(metadata.ino()).or_default().pids.push(pid),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied += 1,
            // It has ended.
            Err(_) => {}
        }
    }
    if denied > 0 {
        let processes = if denied == 1 { "process" } else { "processes" };
        let why = format!("permission denied for {denied} {processes}");
        unread.push(Unread::new("the network namespaces of all processes", &why));
    }
    (found, unread)
}

impl Ways {
    /// Enters by the first way that is still there; nothing where none is.
    fn read(&self) -> Result<Option<Table>, String> {
        let by_name = self.name.iter().map(|name| Spec::Name(name.clone()));
        let by_process = self.pids.iter().map(|pid| Spec::Process(*pid));
        for spec in by_name.chain(by_process) {
            return match netns::run_in(&spec, read_table) {
                Ok(table) => table,
                Err(NetnsError::NoSuchProcess(_) | NetnsError::NoSuchName { .. }) => continue,
                Err(error) => Err(error.to_string()),
            };
        }
        Ok(None)
    }
}

/// Of the calling thread's namespace; nothing where conntrack is not loaded.
fn read_table() -> Result<Option<Table>, String> {
    let told = |error: sysctl::ReadError| error.to_string();
    let Some(count) = sysctl::read_count().map_err(told)? else {
        return Ok(None);
    };
    let max = sysctl::read(Key::Max).map_err(told)?.value();
    let counters = counters::read_counters().ok().flatten();
    Ok(max.map(|max| Table {
        count,
        max,
        drop: counters.and_then(|counters| counters.total(Counter::Drop)),
    }))
}
