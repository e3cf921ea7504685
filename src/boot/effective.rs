//! What each reader leaves in the kernel, worked out by repeating what it does.
//!
//! procps writes every assignment in turn, so one that the kernel refuses leaves the one before it.
//! systemd keeps the last assignment of each path and writes those, so a refused one leaves the
//! default. OpenRC calls `sysctl -p` once for each file. A glob never touches a path that another
//! line names, before or after it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use foldhash::{HashMap, HashMapExt};

use super::Reader;
use super::pattern::{self, SysctlFile};
use super::statement::{self, Statement};
use super::tree::{Content, Tree};
use crate::tunable::{self, Key};

/// `IPV6_FRAG_LOW_THRESH` of include/net/ipv6.h, in bytes: the value of a kernel that has booted.
pub(super) const DEFAULT_FRAG6_LOW: i64 = 3 << 20;

/// The line whose value a reader leaves in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Winner {
    /// The number that the kernel has afterwards, buckets rounded up.
    pub(crate) value: i64,
    /// The file, by the path at which the reader finds it.
    #[serde(serialize_with = "super::as_shown")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) file: PathBuf,
    /// The same file with all links resolved: the one to edit.
    #[serde(skip)]
    pub(crate) real: PathBuf,
    pub(crate) line: usize,
}

/// What a reader leaves in the kernel, for every key that some line sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Effective {
    winners: BTreeMap<Key, Winner>,
    refused: BTreeMap<Key, (PathBuf, usize)>,
    unread: Vec<PathBuf>,
}

impl Effective {
    /// The line that wins for `key`; none where the kernel's default stays.
    pub(crate) fn winner(&self, key: Key) -> Option<&Winner> {
        self.winners.get(&key)
    }

    pub(crate) fn winners(&self) -> impl Iterator<Item = (Key, &Winner)> {
        self.winners.iter().map(|(key, winner)| (*key, winner))
    }

    /// The line that leaves `key` at the kernel's default although an earlier one sets it: systemd
    /// keeps the last assignment alone, and this one has a value that the kernel refuses.
    pub(crate) fn refused_line(&self, key: Key) -> Option<&(PathBuf, usize)> {
        self.refused.get(&key)
    }

    /// Files that the reader would read and cttune could not: what they set is unknown.
    pub(crate) fn unread(&self) -> &[PathBuf] {
        &self.unread
    }
}

/// Works out what `reader` leaves in a kernel that has every key, started with its defaults.
pub(crate) fn effective(tree: &Tree, reader: Reader) -> Effective {
    effective_below(tree, reader, &[])
}

/// The same for a reader that sets only what is below one of `prefixes`, given as
/// paths below `/proc/sys`; none of them means everything.
pub(super) fn effective_below(tree: &Tree, reader: Reader, prefixes: &[String]) -> Effective {
    Run::of(tree, reader, prefixes).effective(tree)
}

/// The winners of a file by itself, as `sysctl -p` reads it.
pub(super) fn of_file(text: &[u8]) -> Vec<(Key, Winner)> {
    let conf = Path::new(Tree::SYSCTL_CONF);
    let tree = Tree::default().with_file(conf, Some(text.to_vec()));
    let effective = effective(&tree, Reader::Procps);
    let winners = effective.winners();
    winners.map(|(key, winner)| (key, winner.clone())).collect()
}

/// The lines that set `key` for a reader after the last one with a value that `allows` takes, or
/// that is in the file `own`: those that `--adopt` has to comment out, the first of them first.
pub(crate) fn overriding_lines(
    run: &Run<'_>,
    key: Key,
    own: &Path,
    allows: impl Fn(i64) -> bool,
) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    for index in (0..run.statements.len()).rev() {
        let (file, statement) = run.at(index);
        let value = statement.value.as_deref();
        let Some(value) = value.and_then(|text| tunable::kernel_number(key, text)) else {
            continue;
        };
        if !run
            .targets(index)
            .unwrap_or_default()
            .iter()
            .any(|target| target.key == key)
        {
            continue;
        }
        if file.real == own || allows(tunable::as_held(key, value)) {
            break;
        }
        found.push((file.real.to_owned(), statement.line));
    }
    found.reverse();
    found
}

#[derive(Debug)]
pub(super) struct ReadFile<'a> {
    pub(super) path: PathBuf,
    pub(super) real: &'a Path,
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) from: usize,
    pub(super) key: Key,
    /// The number that the kernel has after it; none where it refused.
    pub(super) accepted: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Run<'a> {
    reader: Reader,
    files: Vec<ReadFile<'a>>,
    /// Every statement in reading order, with the file it is in.
    statements: Vec<(usize, Statement)>,
    /// The last statement that names a path; for OpenRC, in each file by itself.
    last_named: Vec<HashMap<String, usize>>,
    pub(super) writes: Vec<Write>,
    targets: Targets,
    /// Files with a glob that is too large to work out.
    too_large: Vec<PathBuf>,
}

impl<'a> Run<'a> {
    pub(crate) fn of(tree: &'a Tree, reader: Reader, prefixes: &[String]) -> Self {
        let mut run = Run {
            reader,
            files: Vec::new(),
            statements: Vec::new(),
            last_named: Vec::new(),
            writes: Vec::new(),
            targets: Targets::new(reader),
            too_large: Vec::new(),
        };
        run.read(tree);
        let order = match reader {
            Reader::Procps | Reader::OpenRc | Reader::Tuned => (0..run.statements.len()).collect(),
            Reader::Systemd => run.last_of_each_path(),
        };
        (run.writes, run.too_large) = run.write(&order, prefixes);
        run
    }

    pub(super) fn effective(&self, tree: &Tree) -> Effective {
        let mut winning: BTreeMap<Key, (usize, i64)> = BTreeMap::new();
        for write in &self.writes {
            if let Some(value) = write.accepted {
                winning.insert(write.key, (write.from, value));
            }
        }
        let winner = |(key, (from, value)): (Key, (usize, i64))| {
            let (file, statement) = self.at(from);
            let winner = Winner {
                value,
                file: file.path.clone(),
                real: file.real.to_owned(),
                line: statement.line,
            };
            (key, winner)
        };
        let unread = tree
            .sources(self.reader)
            .into_iter()
            .filter(|source| source.shadowed_by.is_none())
            .filter(|source| *source.content == Content::Unreadable)
            .map(|source| source.path)
            .chain(self.too_large.iter().cloned())
            .collect();
        Effective {
            refused: self.refused(&winning),
            winners: winning.into_iter().map(winner).collect(),
            unread,
        }
    }

    /// For each key that is set and not among `winning`, the last line that sets it.
    fn refused(&self, winning: &BTreeMap<Key, (usize, i64)>) -> BTreeMap<Key, (PathBuf, usize)> {
        let mut last: BTreeMap<Key, usize> = BTreeMap::new();
        let mut set = BTreeSet::new();
        for (index, (_, statement)) in self.statements.iter().enumerate() {
            let Some(value) = statement.value.as_deref() else {
                continue;
            };
            let keys = self
                .targets(index)
                .unwrap_or_default()
                .iter()
                .map(|target| target.key);
            for key in keys.filter(|key| !winning.contains_key(key)) {
                last.insert(key, index);
                if tunable::kernel_number(key, value).is_some() {
                    set.insert(key);
                }
            }
        }
        let of_set = last.into_iter().filter(|(key, _)| set.contains(key));
        of_set
            .map(|(key, index)| {
                let (file, statement) = self.at(index);
                (key, (file.real.to_owned(), statement.line))
            })
            .collect()
    }

    /// What a statement is about; none for a glob that is too large to work out.
    pub(super) fn targets(&self, index: usize) -> Option<&[SysctlFile]> {
        self.targets.get(&self.statements[index].1.path)
    }

    pub(super) fn at(&self, index: usize) -> (&ReadFile<'a>, &Statement) {
        let (file, statement) = &self.statements[index];
        (&self.files[*file], statement)
    }

    /// The statements of a line, of which systemd may find several.
    pub(super) fn of_line(&self, file: &Path, line: usize) -> Range<usize> {
        let Some(file) = self.files.iter().position(|one| one.path == file) else {
            return 0..0;
        };
        // They are in the order of files and lines.
        let before = |place: (usize, usize)| {
            self.statements
                .partition_point(|(file, statement)| (*file, statement.line) < place)
        };
        before((file, line))..before((file, line + 1))
    }

    /// The statement that took this one's place in systemd's list, if one did.
    pub(super) fn replacement(&self, index: usize) -> Option<usize> {
        let (file, statement) = &self.statements[index];
        let last = self.naming(&statement.path, *file)?;
        (self.reader == Reader::Systemd && last != index).then_some(last)
    }

    /// The last statement that names this path, among those that count for a glob in this file.
    fn naming(&self, path: &str, file: usize) -> Option<usize> {
        let named = self.last_named.get(self.scope(file))?;
        named.get(path).copied()
    }

    /// The statement that keeps the glob `index` off this path.
    pub(super) fn naming_instead_of(&self, index: usize, path: &str) -> Option<usize> {
        self.naming(path, self.statements[index].0)
    }

    /// OpenRC has each file read by a program of its own.
    fn scope(&self, file: usize) -> usize {
        match self.reader {
            Reader::Procps | Reader::Systemd | Reader::Tuned => 0,
            Reader::OpenRc => file,
        }
    }

    fn read(&mut self, tree: &'a Tree) {
        for source in tree.sources(self.reader) {
            let Content::File { bytes, real } = source.content else {
                continue;
            };
            if source.shadowed_by.is_some() {
                continue;
            }
            let file = self.files.len();
            self.files.push(ReadFile {
                path: source.path,
                real,
            });
            let scope = self.scope(file);
            self.last_named
                .resize_with(self.last_named.len().max(scope + 1), HashMap::new);
            for statement in statement::parse(self.reader, bytes) {
                let index = self.statements.len();
                let named = &mut self.last_named[scope];
                if let Some(last) = named.get_mut(&statement.path) {
                    *last = index;
                } else {
                    named.insert(statement.path.clone(), index);
                    self.targets.work_out(&statement.path);
                }
                self.statements.push((file, statement));
            }
        }
    }

    /// systemd's list: one statement a path, in the order in which the paths got their last
    /// *different* value. Repeating a value keeps the place in the list.
    fn last_of_each_path(&self) -> Vec<usize> {
        let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
        for (index, (_, statement)) in self.statements.iter().enumerate() {
            let place = places.entry(&statement.path).or_insert((index, index));
            if self.statements[place.1].1.value != statement.value {
                place.0 = index;
            }
            place.1 = index;
        }
        let mut order: Vec<(usize, usize)> = places.into_values().collect();
        order.sort_unstable();
        order.into_iter().map(|(_, index)| index).collect()
    }

    /// The writes into the kernel in this order, and the files with a glob that is too large.
    fn write(&self, order: &[usize], prefixes: &[String]) -> (Vec<Write>, Vec<PathBuf>) {
        let (mut writes, mut too_large) = (Vec::new(), Vec::new());
        let mut kernel = Kernel::default();
        for index in order {
            let (file, statement) = &self.statements[*index];
            let Some(value) = &statement.value else {
                continue;
            };
            let Some(targets) = self.targets(*index) else {
                let path = &self.files[*file].path;
                if too_large.last() != Some(path) {
                    too_large.push(path.clone());
                }
                continue;
            };
            let is_glob = pattern::is_glob(&statement.path);
            for target in targets {
                if is_glob && self.naming(&target.path, *file).is_some() {
                    continue;
                }
                if !is_below(&target.path, prefixes) {
                    continue;
                }
                writes.push(Write {
                    from: *index,
                    key: target.key,
                    accepted: kernel.write(target.key, value),
                });
            }
        }
        (writes, too_large)
    }
}

/// Whether a path is one of `prefixes` or lies in one, part by part.
fn is_below(path: &str, prefixes: &[String]) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    if prefixes.is_empty() {
        return true;
    }
    let path = parts(path);
    let mut prefixes = prefixes.iter();
    prefixes.any(|prefix| path.starts_with(&parts(prefix)))
}

/// What the paths of a reader's lines are about. Each is worked out once, and of globs no more than
/// a file that somebody needs could have: the rest is too large to work out.
#[derive(Debug)]
pub(super) struct Targets {
    reader: Reader,
    known: HashMap<String, Option<Vec<SysctlFile>>>,
    patterns_left: usize,
}

impl Targets {
    pub(super) fn new(reader: Reader) -> Self {
        Targets {
            reader,
            known: HashMap::new(),
            patterns_left: pattern::MOST_IN_ALL,
        }
    }

    pub(super) fn reader(&self) -> Reader {
        self.reader
    }

    /// What a path is about; none for a glob that is too large to work out.
    pub(super) fn of(&mut self, path: &str) -> Option<&[SysctlFile]> {
        self.work_out(path);
        self.get(path)
    }

    fn get(&self, path: &str) -> Option<&[SysctlFile]> {
        self.known.get(path)?.as_deref()
    }

    fn work_out(&mut self, path: &str) {
        if self.known.contains_key(path) {
            return;
        }
        let targets = if pattern::is_glob(path) {
            pattern::expand(self.reader, path, &mut self.patterns_left)
        } else {
            let target = |key| SysctlFile {
                path: path.to_owned(),
                key,
            };
            let key = pattern::resolve(self.reader, path);
            Some(key.map(target).into_iter().collect())
        };
        self.known.insert(path.to_owned(), targets);
    }
}

/// As much of the kernel as judges a write.
#[derive(Debug)]
struct Kernel {
    frag6_high: i64,
    frag6_low: i64,
}

impl Default for Kernel {
    /// `IPV6_FRAG_HIGH_THRESH` and `_LOW_THRESH` of include/net/ipv6.h, the same since 3.9. They
    /// matter only where one threshold is set without the other.
    fn default() -> Self {
        Kernel {
            frag6_high: 4 << 20,
            frag6_low: DEFAULT_FRAG6_LOW,
        }
    }
}

impl Kernel {
    /// The number that the kernel has after `text` was written, or `None` where nothing changed.
    fn write(&mut self, key: Key, text: &str) -> Option<i64> {
        let number = tunable::kernel_number(key, text)?;
        match key {
            Key::Frag6HighThresh if number < self.frag6_low => return None,
            Key::Frag6LowThresh if number > self.frag6_high => return None,
            Key::Frag6HighThresh => self.frag6_high = number,
            Key::Frag6LowThresh => self.frag6_low = number,
            _ => {}
        }
        Some(tunable::as_held(key, number))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{tree, with_entry};
    use super::*;

    const A: &str = "/etc/sysctl.d/a.conf";
    const B: &str = "/etc/sysctl.d/b.conf";
    const CONF: &str = "/etc/sysctl.conf";

    /// `file:line value` of the winner, for procps and for systemd.
    fn winners(tree: &Tree, key: Key) -> [String; 2] {
        Reader::ALL.map(|reader| {
            let effective = effective(tree, reader);
            let winner = effective.winner(key).map(|winner| {
                let name = winner.file.file_name().unwrap().to_str().unwrap();
                format!("{name}:{} {}", winner.line, winner.value)
            });
            winner.unwrap_or_else(|| "default".into())
        })
    }

    fn set(key: &str, value: &str) -> String {
        format!("net.netfilter.nf_conntrack_{key} = {value}\n")
    }

    #[test]
    fn the_last_assignment_wins() {
        let text = set("max", "1") + &set("max", "2");
        let one = tree(&[(A, &text)]);
        assert_eq!(winners(&one, Key::Max), ["a.conf:2 2", "a.conf:2 2"]);
        let two = tree(&[(B, &set("max", "1")), (A, &text)]);
        assert_eq!(winners(&two, Key::Max), ["b.conf:1 1", "b.conf:1 1"]);
    }

    #[test]
    fn sysctl_conf_overrides_every_name_for_procps_alone() {
        let tree = tree(&[
            (CONF, &set("max", "1")),
            ("/etc/sysctl.d/zzz.conf", &set("max", "2")),
        ]);
        assert_eq!(
            winners(&tree, Key::Max),
            ["sysctl.conf:1 1", "zzz.conf:1 2"]
        );
    }

    #[test]
    fn a_refused_value_leaves_the_one_before_or_the_default() {
        let text = set("max", "1") + &set("max", "12# x");
        let tree = tree(&[(A, &text)]);
        assert_eq!(winners(&tree, Key::Max), ["a.conf:1 1", "default"]);
    }

    #[test]
    fn buckets_are_given_as_the_kernel_rounds_them() {
        let tree = tree(&[(A, &set("buckets", "513"))]);
        assert_eq!(
            winners(&tree, Key::Buckets),
            ["a.conf:1 1024", "a.conf:1 1024"]
        );
    }

    #[test]
    fn a_line_that_names_the_key_overrides_a_glob_on_either_side() {
        let text = set("udp*", "1") + &set("udp_timeout", "2") + &set("udp*", "3");
        let tree = tree(&[(A, &text)]);
        let timeout = winners(&tree, Key::UdpTimeout);
        assert_eq!(timeout, ["a.conf:2 2", "a.conf:2 2"]);
        let stream = winners(&tree, Key::UdpTimeoutStream);
        assert_eq!(stream, ["a.conf:3 3", "a.conf:3 3"]);
    }

    #[test]
    fn an_exclusion_keeps_globs_off_and_for_systemd_cancels_the_key() {
        let off = "-net.netfilter.nf_conntrack_udp_timeout\n";
        let glob = tree(&[(A, &(set("udp_timeou?", "1") + off))]);
        assert_eq!(winners(&glob, Key::UdpTimeout), ["default", "default"]);
        let named = tree(&[(A, &(set("udp_timeout", "1") + off))]);
        assert_eq!(winners(&named, Key::UdpTimeout), ["a.conf:1 1", "default"]);
        let again = tree(&[(A, &(off.to_owned() + &set("udp_timeout", "1")))]);
        assert_eq!(
            winners(&again, Key::UdpTimeout),
            ["a.conf:2 1", "a.conf:2 1"]
        );
    }

    #[test]
    fn repeating_a_glob_s_value_keeps_its_place_for_systemd() {
        let text = set("udp*", "1") + &set("*udp_timeout", "2") + &set("udp*", "1");
        let tree = tree(&[(A, &text)]);
        assert_eq!(
            winners(&tree, Key::UdpTimeout),
            ["a.conf:3 1", "a.conf:2 2"]
        );
    }

    #[test]
    fn the_old_name_of_max_is_another_path_to_the_same_number() {
        let text = "net.nf_conntrack_max = 7\n".to_owned() + &set("max", "8");
        let new_last = tree(&[(A, &text)]);
        assert_eq!(winners(&new_last, Key::Max), ["a.conf:2 8", "a.conf:2 8"]);
        let text = set("max", "8") + "net.nf_conntrack_max = 7\n";
        let old_last = tree(&[(A, &text)]);
        assert_eq!(winners(&old_last, Key::Max), ["a.conf:2 7", "a.conf:2 7"]);
    }

    #[test]
    fn fragment_thresholds_are_refused_where_they_would_cross() {
        let above = (5 << 20).to_string();
        let low_first = set("frag6_low_thresh", &above) + &set("frag6_high_thresh", &above);
        let refused = tree(&[(A, &low_first)]);
        for (key, winner) in [
            (Key::Frag6LowThresh, "default"),
            (Key::Frag6HighThresh, "a.conf:2 5242880"),
        ] {
            assert_eq!(winners(&refused, key), [winner, winner]);
        }
        let high_first = set("frag6_high_thresh", &above) + &set("frag6_low_thresh", &above);
        let taken = tree(&[(A, &high_first)]);
        let low = winners(&taken, Key::Frag6LowThresh);
        assert_eq!(low, ["a.conf:2 5242880", "a.conf:2 5242880"]);
    }

    #[test]
    fn a_mask_hides_a_vendor_s_file_of_the_same_name() {
        let vendor = tree(&[("/usr/lib/sysctl.d/x.conf", &set("max", "1"))]);
        assert_eq!(winners(&vendor, Key::Max), ["x.conf:1 1", "x.conf:1 1"]);
        let masked = with_entry(vendor, "/etc/sysctl.d/x.conf", Content::Masked);
        assert_eq!(winners(&masked, Key::Max), ["default", "default"]);
    }

    #[test]
    fn a_prefix_limits_what_is_set_part_by_part() {
        let text = set("max", "1") + "net.nf_conntrack_max = 2\n" + &set("*udp_timeout", "3");
        let tree = tree(&[(A, &text)]);
        for (prefixes, max, udp) in [
            (vec![], Some(2), Some(3)),
            (vec!["/net/netfilter"], Some(1), Some(3)),
            (vec!["net/nf_conntrack_max"], Some(2), None),
            (vec!["net/netfilter/nf_conntrack"], None, None),
            (
                vec!["net/netfilter/nf_conntrack_max", "net/ipv4"],
                Some(1),
                None,
            ),
        ] {
            let prefixes: Vec<String> = prefixes.into_iter().map(str::to_owned).collect();
            let effective = effective_below(&tree, Reader::Systemd, &prefixes);
            let value = |key| effective.winner(key).map(|winner| winner.value);
            assert_eq!(value(Key::Max), max, "{prefixes:?}");
            assert_eq!(value(Key::UdpTimeout), udp, "{prefixes:?}");
        }
    }

    #[test]
    fn openrc_reads_its_folders_in_turn_and_each_file_by_itself() {
        let set_max = |value| set("max", value);
        let tree = tree(&[
            ("/usr/lib/sysctl.d/zz.conf", &set_max("1")),
            (
                "/etc/sysctl.d/a.conf",
                &(set_max("2") + &set("udp_timeout", "5")),
            ),
            ("/etc/sysctl.d/b.conf", &set("udp_*", "6")),
            (CONF, &set_max("3")),
        ]);
        let value = |tree: &Tree, key| {
            let effective = effective(tree, Reader::OpenRc);
            effective.winner(key).map(|winner| winner.value)
        };
        assert_eq!(value(&tree, Key::Max), Some(3));
        assert_eq!(value(&tree, Key::UdpTimeout), Some(6));
        let run = Path::new("/run/sysctl.d/a.conf");
        let tree = tree.with_file(run, Some(set_max("4").into_bytes()));
        assert_eq!(value(&tree, Key::Max), Some(4));
    }

    #[test]
    fn many_lines_about_one_key_take_no_longer_than_they_are_many() {
        let text: String = (0..100_000)
            .map(|n| set("max", &(n + 1).to_string()))
            .collect();
        let tree = tree(&[(A, &text)]);
        assert_eq!(winners(&tree, Key::Max)[1], "a.conf:100000 100000");
    }

    #[test]
    fn a_glob_that_is_too_large_makes_its_file_unread() {
        let glob = format!("net.netfilter.{} = 1\n*", "{a,b}".repeat(20));
        let tree = tree(&[(A, &glob.replace('}', "}*"))]);
        assert_eq!(effective(&tree, Reader::Systemd).unread(), [Path::new(A)]);
        assert_eq!(
            effective(&tree, Reader::Procps).unread(),
            [""; 0].map(PathBuf::from)
        );
    }

    #[test]
    fn a_file_that_could_not_be_read_is_named() {
        let tree = with_entry(Tree::default(), A, Content::Unreadable);
        for reader in Reader::ALL {
            assert_eq!(effective(&tree, reader).unread(), [Path::new(A)]);
        }
    }
}
