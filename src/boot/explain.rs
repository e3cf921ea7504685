//! Every line about one key, and why it wins or loses.
//!
//! In: a [`Tree`] and a key. Out: the lines in reading order, those in files that no reader reads
//! included, each with its [`Loss`] for each reader that does not end with it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::effective::{Run, Targets, Write};
use super::pattern::SysctlFile;
use super::statement::{self, Statement};
use super::tree::{Content, Source, Tree};
use super::{Reader, Winner};
use crate::diagnostic::plain::Shown;
use crate::tunable::{self, Key};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Explanation {
    pub(crate) key: Key,
    pub(crate) procps: Option<Winner>,
    pub(crate) systemd: Option<Winner>,
    /// Every line about the key, in reading order.
    pub(crate) lines: Vec<ExplainedLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ExplainedLine {
    /// The file, by the path at which a reader would find it.
    #[serde(serialize_with = "super::as_shown")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The number that the kernel would have after this line alone; none where it would refuse,
    /// and for a line that only keeps globs off.
    #[serde(rename = "value")]
    pub(crate) number: Option<i64>,
    /// The readers that leave this line's value in the kernel.
    pub(crate) wins_for: Vec<Reader>,
    pub(crate) losses: Vec<Loss>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Loss {
    pub(crate) reader: Reader,
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// An earlier directory masks the name with a link to `/dev/null`.
    Masked(PathBuf),
    /// An earlier directory has a file of the same name.
    Shadowed(PathBuf),
    NeverRead,
    /// The reader does not take the line for one about this key.
    NotUnderstood,
    Overridden(PathBuf, usize),
    /// systemd: a later `-key` cancels this line.
    Cancelled(PathBuf, usize),
    /// The line is a glob, and another line names the key itself.
    NamedElsewhere(PathBuf, usize),
    Refused,
    /// The line is a `-key`: it sets nothing and keeps globs off.
    Exclusion,
    /// The line is a glob with too many braces to work out.
    TooLarge,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |file: &Path, line: &usize| format!("{}:{line}", file.shown());
        match self {
            Why::Masked(by) => write!(f, "masked by {}", by.shown()),
            Why::Shadowed(by) => write!(f, "shadowed by {}", by.shown()),
            Why::NeverRead => write!(f, "never read"),
            Why::NotUnderstood => write!(f, "not taken for a line about this key"),
            Why::Overridden(file, line) => write!(f, "overridden by {}", at(file, line)),
            Why::Cancelled(file, line) => write!(f, "cancelled by {}", at(file, line)),
            Why::NamedElsewhere(file, line) => {
                write!(f, "a glob; {} names the key itself", at(file, line))
            }
            Why::Refused => write!(f, "refused by the kernel"),
            Why::Exclusion => write!(f, "sets nothing: it keeps globs off this key"),
            Why::TooLarge => write!(f, "a glob that is too large to work out"),
        }
    }
}

fn as_text<S: Serializer>(why: &Why, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(why)
}

impl ExplainedLine {
    /// Why it does not win, in one line; none where it wins for both readers.
    pub(crate) fn note(&self) -> Option<String> {
        match self.losses.as_slice() {
            [] => None,
            [one, other] if one.why == other.why => Some(one.why.to_string()),
            losses => {
                let one = |loss: &Loss| format!("{}: {}", loss.reader, loss.why);
                Some(losses.iter().map(one).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

pub(crate) fn explain(tree: &Tree, key: Key) -> Explanation {
    let mut lines: BTreeMap<Place, ExplainedLine> = BTreeMap::new();
    for reader in Reader::ALL {
        for (place, statement, text) in lines_about(tree, reader, key) {
            lines
                .entry(place.clone())
                .or_insert_with(|| ExplainedLine {
                    file: place.file,
                    line: statement.line,
                    text,
                    number: None,
                    wins_for: Vec::new(),
                    losses: Vec::new(),
                })
                .number = number(key, &statement);
        }
    }
    let winner = |reader| {
        let run = Run::of(tree, reader, &[]);
        let judge = Judge::new(tree, &run, reader, key);
        for line in lines.values_mut() {
            match judge.loss(line) {
                None => line.wins_for.push(reader),
                Some(why) => line.losses.push(Loss { reader, why }),
            }
        }
        run.effective(tree).winner(key).cloned()
    };
    let [procps, systemd] = Reader::ALL.map(winner);
    Explanation {
        key,
        procps,
        systemd,
        lines: lines.into_values().collect(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Place of the file among all that either reader meets.
    rank: usize,
    line: usize,
    file: PathBuf,
}

/// The statements about `key` as `reader` understands them, in every file that any reader meets:
/// what this one skips is understood all the same, so that the explanation can say that it is
/// skipped.
fn lines_about(tree: &Tree, reader: Reader, key: Key) -> Vec<(Place, Statement, String)> {
    let mut found = Vec::new();
    let mut targets = Targets::new(reader);
    // procps meets every file that systemd meets.
    for (rank, source) in tree.sources(Reader::Procps).into_iter().enumerate() {
        let Content::File { bytes, .. } = source.content else {
            continue;
        };
        if is_shadowed_by_itself(&source) {
            continue;
        }
        let texts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        for statement in statement::parse(reader, bytes) {
            if may_be_about(targets.of(&statement.path), key) {
                let place = Place {
                    rank,
                    line: statement.line,
                    file: source.path.clone(),
                };
                let text = String::from_utf8_lossy(texts[statement.line - 1]);
                found.push((place, statement, text.trim().to_owned()));
            }
        }
    }
    found
}

/// Where `/lib` is `/usr/lib`, procps meets each file twice.
fn is_shadowed_by_itself(source: &Source<'_>) -> bool {
    match (source.content, &source.shadowed_by) {
        (Content::File { real, .. }, Some((_, Content::File { real: other, .. }))) => real == other,
        _ => false,
    }
}

fn may_be_about(targets: Option<&[SysctlFile]>, key: Key) -> bool {
    targets.is_none_or(|all| all.iter().any(|target| target.key == key))
}

fn number(key: Key, statement: &Statement) -> Option<i64> {
    let number = tunable::kernel_number(key, statement.value.as_deref()?)?;
    Some(tunable::as_held(key, number))
}

struct Judge<'a> {
    run: &'a Run<'a>,
    sources: HashMap<PathBuf, Source<'a>>,
    key: Key,
    /// For each statement that writes the key, whether the kernel takes one of its writes.
    accepted: HashMap<usize, bool>,
    /// The statement whose value stays.
    winner: Option<usize>,
}

impl<'a> Judge<'a> {
    fn new(tree: &'a Tree, run: &'a Run<'a>, reader: Reader, key: Key) -> Self {
        let mut accepted = HashMap::new();
        let about_key = |write: &&Write| write.key == key;
        for write in run.writes.iter().filter(about_key) {
            *accepted.entry(write.from).or_insert(false) |= write.accepted.is_some();
        }
        let mut writes = run.writes.iter().filter(about_key);
        let winner = writes.rfind(|write| write.accepted.is_some());
        let sources = tree.sources(reader).into_iter();
        Judge {
            run,
            sources: sources.map(|one| (one.path.clone(), one)).collect(),
            key,
            accepted,
            winner: winner.map(|write| write.from),
        }
    }

    /// Why the line does not win; none where it does.
    fn loss(&self, line: &ExplainedLine) -> Option<Why> {
        let Some(source) = self.sources.get(&line.file) else {
            return Some(Why::NeverRead);
        };
        if let Some((by, content)) = &source.shadowed_by {
            return Some(match content {
                Content::Masked => Why::Masked(by.clone()),
                _ => Why::Shadowed(by.clone()),
            });
        }
        // A line that systemd splits may have several statements: any of them may win.
        let mut losses = Vec::new();
        for index in self.run.of_line(&line.file, line.line) {
            if may_be_about(self.run.targets(index), self.key) {
                losses.push(self.loss_of(index)?);
            }
        }
        Some(losses.pop().unwrap_or(Why::NotUnderstood))
    }

    fn loss_of(&self, index: usize) -> Option<Why> {
        let (_, statement) = self.run.at(index);
        if statement.value.is_none() {
            return Some(Why::Exclusion);
        }
        if let Some(by) = self.run.replacement(index) {
            let cancelled = self.run.at(by).1.value.is_none();
            let why = if cancelled {
                Why::Cancelled
            } else {
                Why::Overridden
            };
            return Some(self.pointing(why, by));
        }
        match self.accepted.get(&index) {
            None => {
                let Some(targets) = self.run.targets(index) else {
                    return Some(Why::TooLarge);
                };
                let mut named = targets.iter().filter(|target| target.key == self.key);
                let by = named.find_map(|one| self.run.naming_instead_of(index, &one.path))?;
                Some(self.pointing(Why::NamedElsewhere, by))
            }
            Some(false) => Some(Why::Refused),
            Some(true) => {
                let winner = self.winner?;
                (winner != index).then(|| self.pointing(Why::Overridden, winner))
            }
        }
    }

    fn pointing(&self, why: fn(PathBuf, usize) -> Why, index: usize) -> Why {
        let (file, statement) = self.run.at(index);
        why(file.path.clone(), statement.line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{tree, with_entry};
    use super::*;

    const MAX: &str = "net.netfilter.nf_conntrack_max";

    /// `file:line` of each line, for whom it wins, and the note.
    fn table(tree: &Tree) -> Vec<(String, usize, String)> {
        let row = |line: &ExplainedLine| {
            let at = format!("{}:{}", line.file.display(), line.line);
            (at, line.wins_for.len(), line.note().unwrap_or_default())
        };
        explain(tree, Key::Max).lines.iter().map(row).collect()
    }

    fn row(at: &str, wins: usize, note: &str) -> (String, usize, String) {
        (at.to_owned(), wins, note.to_owned())
    }

    #[test]
    fn every_line_has_its_reason() {
        let tree = tree(&[
            ("/etc/sysctl.conf", &format!("# by hand\n{MAX} = 1\n")),
            ("/etc/sysctl.d/50-a.conf", &format!("{MAX} = 2\n{MAX} = 3")),
            ("/usr/lib/sysctl.d/50-a.conf", &format!("{MAX} = 4")),
            ("/etc/sysctl.d/.hidden.conf", &format!("{MAX} = 5")),
            (
                "/etc/sysctl.d/60-odd.conf",
                &format!("{MAX} = 9x\n- {MAX} = 6"),
            ),
        ]);
        let conf = "overridden by /etc/sysctl.conf:2";
        let odd = "overridden by /etc/sysctl.d/60-odd.conf:2";
        assert_eq!(
            table(&tree),
            [
                row(
                    "/etc/sysctl.d/.hidden.conf:1",
                    0,
                    &format!("sysctl --system: {conf}; systemd-sysctl: never read")
                ),
                row(
                    "/etc/sysctl.d/50-a.conf:1",
                    0,
                    &format!("sysctl --system: {conf}; systemd-sysctl: {odd}")
                ),
                row(
                    "/etc/sysctl.d/50-a.conf:2",
                    0,
                    &format!("sysctl --system: {conf}; systemd-sysctl: {odd}")
                ),
                row(
                    "/usr/lib/sysctl.d/50-a.conf:1",
                    0,
                    "shadowed by /etc/sysctl.d/50-a.conf"
                ),
                row(
                    "/etc/sysctl.d/60-odd.conf:1",
                    0,
                    &format!("sysctl --system: refused by the kernel; systemd-sysctl: {odd}")
                ),
                row(
                    "/etc/sysctl.d/60-odd.conf:2",
                    1,
                    "sysctl --system: not taken for a line about this key"
                ),
                row("/etc/sysctl.conf:2", 1, "systemd-sysctl: never read"),
            ]
        );
    }

    #[test]
    fn globs_and_exclusions_are_explained() {
        let text = format!("net.netfilter.*_max = 1\n{MAX} = 2\n-{MAX}\n");
        let tree = tree(&[("/etc/sysctl.d/a.conf", &text)]);
        assert_eq!(
            table(&tree),
            [
                row(
                    "/etc/sysctl.d/a.conf:1",
                    0,
                    "a glob; /etc/sysctl.d/a.conf:3 names the key itself"
                ),
                row(
                    "/etc/sysctl.d/a.conf:2",
                    1,
                    "systemd-sysctl: cancelled by /etc/sysctl.d/a.conf:3"
                ),
                row(
                    "/etc/sysctl.d/a.conf:3",
                    0,
                    "sets nothing: it keeps globs off this key"
                ),
            ]
        );
    }

    #[test]
    fn a_glob_over_many_keys_points_to_the_line_about_this_one() {
        let text = format!(
            "net.netfilter.nf_conntrack_* = 9\nnet.netfilter.nf_conntrack_buckets = 2\n{MAX} = 3\n"
        );
        let tree = tree(&[("/etc/sysctl.d/a.conf", &text)]);
        let note = "a glob; /etc/sysctl.d/a.conf:3 names the key itself";
        assert_eq!(table(&tree)[0], row("/etc/sysctl.d/a.conf:1", 0, note));
    }

    #[test]
    fn a_mask_is_named() {
        let vendor = tree(&[("/usr/lib/sysctl.d/x.conf", &format!("{MAX} = 1"))]);
        let masked = with_entry(vendor, "/etc/sysctl.d/x.conf", Content::Masked);
        let note = "masked by /etc/sysctl.d/x.conf";
        assert_eq!(table(&masked), [row("/usr/lib/sysctl.d/x.conf:1", 0, note)]);
    }

    #[test]
    fn a_file_met_twice_through_a_linked_lib_is_listed_once() {
        let mut merged = Tree::default();
        merged.directories[4].real = "/usr/lib/sysctl.d".into();
        let path = Path::new("/usr/lib/sysctl.d/x.conf");
        let tree = merged.with_file(path, Some(format!("{MAX} = 1").into_bytes()));
        assert_eq!(table(&tree), [row("/usr/lib/sysctl.d/x.conf:1", 2, "")]);
    }

    #[test]
    fn the_lines_that_win_are_the_winners() {
        let tree = tree(&[
            ("/etc/sysctl.conf", &format!("{MAX} = 0x10 # x")),
            ("/run/sysctl.d/x.conf", "net.nf_conntrack_max = 7"),
        ]);
        let explained = explain(&tree, Key::Max);
        assert_eq!(explained.procps.unwrap().value, 16);
        assert_eq!(explained.systemd.unwrap().value, 7);
        assert_eq!(explained.lines[0].wins_for, [Reader::Systemd]);
        assert_eq!(explained.lines[1].wins_for, [Reader::Procps]);
        assert_eq!(explained.lines[1].number, Some(16));
        assert_eq!(
            explained.lines[1].text,
            "net.netfilter.nf_conntrack_max = 0x10 # x"
        );
    }

    #[test]
    fn many_lines_take_no_longer_than_they_are_many() {
        let text: String = (1..=50_000).map(|n| format!("{MAX} = {n}\n")).collect();
        let tree = tree(&[("/etc/sysctl.d/a.conf", &text)]);
        let lines = table(&tree);
        assert_eq!(lines.len(), 50_000);
        let note = "overridden by /etc/sysctl.d/a.conf:50000";
        assert_eq!(lines[0], row("/etc/sysctl.d/a.conf:1", 0, note));
    }
}
