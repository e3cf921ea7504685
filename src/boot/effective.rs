//! What each reader leaves in the kernel, by doing on paper what it does.
//!
//! procps writes every assignment in turn, so one that the kernel refuses leaves the one before it.
//! systemd keeps the last assignment of each path and writes those, so a refused one leaves the
//! default. A glob never touches a path that some line names itself, before or after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Reader;
use super::pattern::{self, Target};
use super::statement::{self, Statement};
use super::tree::{Content, Tree};
use crate::tunable::{self, Key};

/// `IPV6_FRAG_LOW_THRESH` of include/net/ipv6.h, in bytes: what holds when a kernel has booted.
pub(super) const DEFAULT_FRAG6_LOW: i64 = 3 << 20;

/// The line whose value a reader leaves in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Winner {
    /// The number that the kernel holds, buckets rounded up.
    pub(crate) value: i64,
    /// The file, by the path at which the reader finds it.
    pub(crate) file: PathBuf,
    /// The same file with all links resolved: the one to edit.
    #[serde(skip)]
    pub(crate) real: PathBuf,
    /// Number of the line, from 1.
    pub(crate) line: usize,
}

/// What a reader leaves in the kernel, for every key that some line sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Effective {
    winners: BTreeMap<Key, Winner>,
    unread: Vec<PathBuf>,
}

impl Effective {
    /// The line that wins for `key`; none where the kernel's default stays.
    pub(crate) fn winner(&self, key: Key) -> Option<&Winner> {
        self.winners.get(&key)
    }

    /// Every winner, in catalog order.
    pub(crate) fn winners(&self) -> impl Iterator<Item = (Key, &Winner)> {
        self.winners.iter().map(|(key, winner)| (*key, winner))
    }

    /// Files that the reader would read and we could not: what they say is not counted.
    pub(crate) fn unread(&self) -> &[PathBuf] {
        &self.unread
    }
}

/// Works out what `reader` leaves in a kernel that has every key, started with its defaults.
pub(crate) fn effective(tree: &Tree, reader: Reader) -> Effective {
    let run = Run::of(tree, reader);
    let mut winners = BTreeMap::new();
    for write in &run.writes {
        if let Some(value) = write.held {
            let (file, statement) = run.at(write.from);
            winners.insert(
                write.key,
                Winner {
                    value,
                    file: file.path.clone(),
                    real: file.real.to_owned(),
                    line: statement.line,
                },
            );
        }
    }
    let unread = tree
        .sources(reader)
        .into_iter()
        .filter(|source| source.shadowed_by.is_none() && *source.content == Content::Unreadable)
        .map(|source| source.path)
        .collect();
    Effective { winners, unread }
}

/// A file that a reader reads.
#[derive(Debug)]
pub(super) struct ReadFile<'a> {
    pub(super) path: PathBuf,
    pub(super) real: &'a Path,
}

/// One write into the kernel.
#[derive(Debug)]
pub(super) struct Write {
    /// Which statement made it.
    pub(super) from: usize,
    pub(super) key: Key,
    /// The number that the kernel holds after it; none where it refused.
    pub(super) held: Option<i64>,
}

/// Everything that happens when a reader runs.
#[derive(Debug)]
pub(super) struct Run<'a> {
    files: Vec<ReadFile<'a>>,
    /// Every statement in reading order, with the file it is in.
    statements: Vec<(usize, Statement)>,
    /// For systemd: the later statement on the same path that replaced this one.
    replaced_by: BTreeMap<usize, usize>,
    pub(super) writes: Vec<Write>,
}

impl<'a> Run<'a> {
    pub(super) fn of(tree: &'a Tree, reader: Reader) -> Self {
        let mut run = Run {
            files: Vec::new(),
            statements: Vec::new(),
            replaced_by: BTreeMap::new(),
            writes: Vec::new(),
        };
        run.read(tree, reader);
        let order = match reader {
            Reader::Procps => (0..run.statements.len()).collect(),
            Reader::Systemd => run.keep_last(),
        };
        run.write(reader, &order);
        run
    }

    /// The file and the text of a statement.
    pub(super) fn at(&self, index: usize) -> (&ReadFile<'a>, &Statement) {
        let (file, statement) = &self.statements[index];
        (&self.files[*file], statement)
    }

    /// The statements of one line: systemd may find several.
    pub(super) fn statements_at(&self, file: &Path, line: usize) -> Vec<usize> {
        (0..self.statements.len())
            .filter(|index| {
                let (at, statement) = self.at(*index);
                at.path == file && statement.line == line
            })
            .collect()
    }

    /// The statement that took this one's place in systemd's list, if one did.
    pub(super) fn replacement(&self, index: usize) -> Option<usize> {
        let next = *self.replaced_by.get(&index)?;
        Some(self.replacement(next).unwrap_or(next))
    }

    /// The last statement that names this path itself.
    pub(super) fn naming(&self, path: &str) -> Option<usize> {
        self.statements
            .iter()
            .rposition(|(_, statement)| statement.path == path)
    }

    fn read(&mut self, tree: &'a Tree, reader: Reader) {
        for source in tree.sources(reader) {
            let Content::File { bytes, real } = source.content else {
                continue;
            };
            if source.shadowed_by.is_some() {
                continue;
            }
            let at = self.files.len();
            self.files.push(ReadFile {
                path: source.path,
                real,
            });
            let parsed = statement::parse(reader, bytes).into_iter();
            self.statements.extend(parsed.map(|one| (at, one)));
        }
    }

    /// systemd's list: one statement a path, in the order in which the paths got their last
    /// *different* value. Repeating a value keeps the place in the list.
    fn keep_last(&mut self) -> Vec<usize> {
        let mut places: Vec<usize> = Vec::new();
        for (index, (_, statement)) in self.statements.iter().enumerate() {
            let place = places
                .iter()
                .position(|earlier| self.statements[*earlier].1.path == statement.path);
            match place {
                None => places.push(index),
                Some(place) => {
                    let earlier = places[place];
                    self.replaced_by.insert(earlier, index);
                    if self.statements[earlier].1.value == statement.value {
                        places[place] = index;
                    } else {
                        places.remove(place);
                        places.push(index);
                    }
                }
            }
        }
        places
    }

    fn write(&mut self, reader: Reader, order: &[usize]) {
        let mut kernel = Kernel::default();
        for index in order {
            let (_, statement) = &self.statements[*index];
            let Some(value) = &statement.value else {
                continue;
            };
            for target in targets(reader, statement) {
                let is_glob = pattern::is_glob(&statement.path);
                if is_glob && self.naming(&target.path).is_some() {
                    continue;
                }
                self.writes.push(Write {
                    from: *index,
                    key: target.key,
                    held: kernel.write(target.key, value),
                });
            }
        }
    }
}

/// What a statement is about.
pub(super) fn targets(reader: Reader, statement: &Statement) -> Vec<Target> {
    if pattern::is_glob(&statement.path) {
        return pattern::expand(reader, &statement.path);
    }
    let key = pattern::resolve(reader, &statement.path);
    let target = |key| Target {
        path: statement.path.clone(),
        key,
    };
    key.map(target).into_iter().collect()
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
    /// The number held after `text` was written, or `None` where nothing changed.
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
    fn sysctl_conf_beats_every_name_for_procps_alone() {
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
    fn a_line_that_names_the_key_beats_a_glob_on_either_side() {
        let text = set("udp*", "1") + &set("udp_timeout", "2") + &set("udp*", "3");
        let tree = tree(&[(A, &text)]);
        let timeout = winners(&tree, Key::UdpTimeout);
        assert_eq!(timeout, ["a.conf:2 2", "a.conf:2 2"]);
        let stream = winners(&tree, Key::UdpTimeoutStream);
        assert_eq!(stream, ["a.conf:3 3", "a.conf:3 3"]);
    }

    #[test]
    fn an_exclusion_keeps_globs_off_and_for_systemd_unsays_the_key() {
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
    fn a_mask_silences_a_vendor_s_file_of_the_same_name() {
        let vendor = tree(&[("/usr/lib/sysctl.d/x.conf", &set("max", "1"))]);
        assert_eq!(winners(&vendor, Key::Max), ["x.conf:1 1", "x.conf:1 1"]);
        let masked = with_entry(vendor, "/etc/sysctl.d/x.conf", Content::Masked);
        assert_eq!(winners(&masked, Key::Max), ["default", "default"]);
    }

    #[test]
    fn a_file_that_could_not_be_read_is_named() {
        let tree = with_entry(Tree::default(), A, Content::Unreadable);
        for reader in Reader::ALL {
            assert_eq!(effective(&tree, reader).unread(), [Path::new(A)]);
        }
    }
}
