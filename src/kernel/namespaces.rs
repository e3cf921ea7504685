//! Every network namespace of the machine: those with a name, those that are mounted somewhere (as
//! docker does in /run/docker/netns), and those that processes are in.
//!
//! Out: the numbers of each table, and what could not be read. Rule: a namespace is known by its
//! inode, whatever leads to it, and is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::mounts::{self, Mount};
use super::netns::{self, NetnsError, Spec};
use super::{counters, host, processes, sysctl};
use crate::assess::{Namespace, Unread};
use crate::diagnostic::said;
use crate::tunable::{Counter, Key};

const WHAT: &str = "network namespace";

/// What leads to a namespace.
#[derive(Debug, Default)]
struct Ways {
    /// What `--netns` takes: the name that `ip netns` knows, or the path of a mount.
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
            Err(why) => unread.push(Unread::new(WHAT, why)),
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

/// What to call the namespaces with these inodes, as `--netns` takes it. One that no name and no
/// process leads to is left out.
pub(crate) fn names(inodes: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let (found, _) = find();
    let of = |(inode, ways): (u64, Ways)| {
        let by_process = ways.pids.first().map(|pid| format!("pid:{pid}"));
        Some((inode, ways.name.or(by_process)?))
    };
    let known = found
        .into_iter()
        .filter(|(inode, _)| inodes.contains(inode));
    known.filter_map(of).collect()
}

fn find() -> (BTreeMap<u64, Ways>, Vec<Unread>) {
    let mut found: BTreeMap<u64, Ways> = BTreeMap::new();
    let mut unread = Vec::new();
    match read_names() {
        Ok(names) => {
            for (inode, name) in names {
                found.entry(inode).or_default().name = Some(name);
            }
        }
        Err(error) => unread.push(Unread::new("names of network namespaces", said(&error))),
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
        unread.push(Unread::new("network namespaces of processes", why));
    }
    (found, unread)
}

/// What `--netns` takes for each namespace that has a name or is mounted, by inode.
///
/// # Errors
/// Where the names or the mounts cannot be read.
pub(crate) fn read_names() -> io::Result<BTreeMap<u64, String>> {
    let mut names = BTreeMap::new();
    // Any of them: only the device of their file system is asked.
    let device = fs::metadata("/proc/thread-self/ns/net")?.dev();
    for (name, path) in netns::named().map_err(io::Error::other)? {
        // What `ip netns del` or a reboot left is an empty file.
        let metadata = fs::metadata(&path).ok();
        if let Some(metadata) = metadata.filter(|metadata| metadata.dev() == device) {
            names.entry(metadata.ino()).or_insert(name);
        }
    }
    for (inode, point) in mounted(&mounts::read_mounts()?) {
        names.entry(inode).or_insert(point);
    }
    Ok(names)
}

/// The network namespaces among the mounts: `net:[INODE]` of an nsfs.
fn mounted(mounts: &[Mount]) -> impl Iterator<Item = (u64, String)> {
    mounts.iter().filter_map(|mount| {
        let inode = mount.root.strip_prefix("net:[")?.strip_suffix(']')?;
        let point = mount.point.to_str().filter(|_| mount.kind == "nsfs")?;
        Some((inode.parse().ok()?, point.to_owned()))
    })
}

impl Ways {
    /// Enters by the first way that is still there; nothing where none is.
    fn read(&self) -> Result<Option<Table>, String> {
        let by_name = self.name.iter().filter_map(|name| name.parse().ok());
        let by_process = self.pids.iter().map(|pid| Spec::Process(*pid));
        for spec in by_name.chain(by_process) {
            return match netns::run_in(&spec, read_table) {
                Ok(table) => table,
                Err(
                    NetnsError::NoSuchProcess(_)
                    | NetnsError::NoSuchName { .. }
                    | NetnsError::NoSuchFile(_),
                ) => continue,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, point: &str, kind: &str) -> Mount {
        Mount {
            root: root.into(),
            point: point.into(),
            options: Vec::new(),
            kind: kind.into(),
        }
    }

    #[test]
    fn a_mounted_network_namespace_is_found_wherever_it_is() {
        let mounts = [
            mount("/", "/", "ext4"),
            mount("net:[4026532301]", "/run/docker/netns/1-a", "nsfs"),
            mount("mnt:[4026532302]", "/run/snapd/ns/x.mnt", "nsfs"),
            mount("net:[4026532303]", "/srv/with space", "nsfs"),
            mount("net:[7]", "/no/namespace", "tmpfs"),
            mount("net:[x]", "/no/number", "nsfs"),
        ];
        let found: Vec<_> = mounted(&mounts).collect();
        assert_eq!(
            found,
            [
                (4_026_532_301, "/run/docker/netns/1-a".to_owned()),
                (4_026_532_303, "/srv/with space".to_owned()),
            ]
        );
    }

    #[test]
    fn the_names_of_this_machine_can_be_read() {
        for (inode, name) in read_names().unwrap() {
            assert!(inode > 0 && name.parse::<Spec>().is_ok(), "{name}");
        }
    }
}
