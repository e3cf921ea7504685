//! The files that apply a profile at the next boot, judged as both readers will see them after the
//! plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Blocked, BootValues, Compared, Comparison, Lowered, Plan, State, Step, order};
use crate::boot::modules::Loading;
use crate::boot::writers::{Certainty, LaterWrite};
use crate::boot::{self, Effective, NextBoot, Reader, Run, Tree, adopt, at_boot, drop_in, managed};
use crate::profile::{Desired, Target, active};
use crate::tunable::Key;

/// Our sysctl.d file.
pub(crate) const DROP_IN: &str = drop_in::PATH;
/// Loads the module before sysctl.d is applied.
pub(crate) const MODULES_LOAD: &str = at_boot::MODULES_LOAD;
/// Applies sysctl.d again whenever the module is loaded later.
pub(crate) const UDEV_RULE: &str = at_boot::UDEV_RULES;
/// What apply last applied: a profile like any other.
pub(crate) const ACTIVE: &str = "/etc/cttune/active.toml";

/// The files that the next boot will read, and what they come to.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    next_boot: NextBoot,
    others: BTreeMap<PathBuf, Vec<u8>>,
    /// systemd-sysctl, where the system has it.
    systemd_sysctl: Option<PathBuf>,
    nft: Option<PathBuf>,
    systemd_runs: bool,
}

impl Files {
    /// The model of the next boot, those of [`MODULES_LOAD`], [`UDEV_RULE`] and [`ACTIVE`] that
    /// exist, and systemd-sysctl where the system has it.
    pub(crate) fn new(
        next_boot: NextBoot,
        others: BTreeMap<PathBuf, Vec<u8>>,
        systemd_sysctl: Option<PathBuf>,
    ) -> Self {
        Files {
            next_boot,
            others,
            systemd_sysctl,
            nft: None,
            systemd_runs: false,
        }
    }

    /// The same with the place of nft.
    #[must_use]
    pub(crate) fn with_nft(self, nft: Option<PathBuf>) -> Self {
        Files { nft, ..self }
    }

    /// The same of a machine that systemd runs, or does not.
    #[must_use]
    pub(crate) fn run_by_systemd(self, systemd_runs: bool) -> Self {
        Files {
            systemd_runs,
            ..self
        }
    }

    pub(super) fn nft(&self) -> Option<&Path> {
        self.nft.as_deref()
    }

    pub(crate) fn has_systemd(&self) -> bool {
        self.systemd_sysctl.is_some()
    }

    pub(super) fn systemd_runs(&self) -> bool {
        self.systemd_runs
    }

    pub(crate) fn next_boot(&self) -> &NextBoot {
        &self.next_boot
    }

    /// The bytes of a file that cttune writes whole.
    pub(super) fn bytes(&self, path: &str) -> Option<&[u8]> {
        if path == DROP_IN {
            self.next_boot.tree().file(Path::new(path))
        } else {
            self.others.get(Path::new(path)).map(Vec::as_slice)
        }
    }

    /// The same as text.
    fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(path)?).ok()
    }
}

pub(super) fn add_steps(
    plan: &mut Plan,
    desired: &Desired,
    comparison: &Comparison,
    files: &Files,
    adopt: bool,
) {
    let written = match files.bytes(DROP_IN).map(drop_in::parse).transpose() {
        Ok(written) => written.map(|written| written.values),
        Err(drop_in::ForeignLine { line, text }) => {
            let file = PathBuf::from(DROP_IN);
            plan.blocked
                .push(Blocked::ForeignDropIn { file, line, text });
            return;
        }
    };
    let mut future = files.next_boot.tree().clone();
    if let Some(text) = drop_in_text(desired, comparison, files, written) {
        future = future.with_file(Path::new(DROP_IN), Some(text.clone().into_bytes()));
        let why = "the profile's values for the next boot".to_owned();
        plan.steps.extend(write_step(files, DROP_IN, text, why));
    }
    if adopt {
        let steps = adopt_steps(comparison, &files.next_boot, &mut future);
        plan.steps.extend(steps);
    }
    let readers = effective_of(files.next_boot.readers(), &future);
    plan.blocked.extend(overridden(comparison, &readers));
    plan.lowered.extend(lowered(comparison, &readers));
    let next_boot = files.next_boot.with(future, true);
    plan.boot = boot_values(comparison, &readers, &next_boot);
    let later = written_later(comparison, &next_boot, &plan.steps);
    plan.blocked.extend(later);
    plan.volatile = next_boot.volatile().cloned();
    let mut persisted = desired_at_boot(comparison);
    plan.lost_at_boot = lost_at_boot(files).filter(|_| persisted.next().is_some());
    plan.steps.extend(at_boot_steps(comparison, files));
    plan.steps.extend(comparison.services.files.iter().cloned());
    let before = files.text(ACTIVE);
    if !desired.is_active {
        let (values, bounds) = before.map(active::set_beside).unwrap_or_default();
        let is_kept = |key: &Key, value| desired.overrides.get(key) == Some(&value);
        let values = values.into_iter();
        let dropped = values.filter(|(key, value)| !is_kept(key, *value));
        plan.dropped = dropped.map(|(key, _)| key).chain(bounds).collect();
    }
    let before = before.filter(|_| desired.is_active);
    let text = active::render(&desired.name, &desired.overrides, before);
    let why = "check and plan compare with it when no profile is named".to_owned();
    plan.steps.extend(write_step(files, ACTIVE, text, why));
}

/// The text of our drop-in; `None` where the one that is there will do, or nothing needs one
/// because others persist every value.
fn drop_in_text(
    desired: &Desired,
    comparison: &Comparison,
    files: &Files,
    written: Option<BTreeMap<Key, i64>>,
) -> Option<String> {
    if written.is_none() && !comparison.settings.iter().any(Compared::persisted_is_off) {
        return None;
    }
    let written = written.unwrap_or_default();
    let render = |value: &dyn Fn(&Target) -> i64| {
        let entries = desired_at_boot(comparison).map(|target| drop_in::Entry {
            key: target.key,
            value: value(target),
            why: desired.why(target.key),
        });
        drop_in::render(&desired.name, &entries.collect::<Vec<_>>())
    };
    // A live value that was raised since is no reason to write the file again.
    let kept = render(&|target| {
        let kept = written.get(&target.key).copied();
        kept.filter(|value| target.allows(*value))
            .unwrap_or(target.value)
    });
    let is_there = files.bytes(DROP_IN) == Some(kept.as_bytes());
    (!is_there).then(|| render(&|target| target.value))
}

/// A step that writes `text`, unless that very text is there.
pub(super) fn write_step(files: &Files, path: &str, text: String, why: String) -> Option<Step> {
    let from = files.bytes(path);
    if from == Some(text.as_bytes()) {
        return None;
    }
    Some(Step::WriteFile {
        path: PathBuf::from(path),
        from: from.map(<[u8]>::to_vec),
        to: Some(text.into_bytes()),
        why,
    })
}

/// Why nothing that cttune writes to /etc sets a value at the next boot. A module that is loaded
/// has its values from the udev rule.
fn lost_at_boot(files: &Files) -> Option<String> {
    let next_boot = &files.next_boot;
    if let Some(Loading::Never(line)) = next_boot.loading() {
        return Some(format!("{line} keeps nf_conntrack from being loaded"));
    }
    let has_rule = next_boot.module().is_some() && files.has_systemd();
    let not_applied = next_boot.not_applied().filter(|_| !has_rule)?;
    Some(not_applied.why)
}

/// What applies sysctl.d to a module, which systemd-sysctl does not wait for.
fn at_boot_steps(comparison: &Comparison, files: &Files) -> Vec<Step> {
    if files.next_boot.module().is_none() || comparison.settings.is_empty() {
        return Vec::new();
    }
    let why = match files.next_boot.not_applied() {
        None => "sysctl.d is applied before the module would be loaded",
        Some(_) => "the values come with the module: nothing applies sysctl.d at boot",
    }
    .to_owned();
    let load = write_step(files, MODULES_LOAD, at_boot::modules_load(), why);
    let why = "the values are lost when the module is unloaded and loaded again".to_owned();
    let rules = files.systemd_sysctl.as_deref().map(at_boot::udev_rules);
    let rules = rules.and_then(|rules| write_step(files, UDEV_RULE, rules, why));
    load.into_iter().chain(rules).collect()
}

/// A line of another file that overrides what is desired.
struct Override<'a> {
    target: &'a Target,
    file: PathBuf,
    line: usize,
    /// None where the kernel refuses its value.
    value: Option<i64>,
    reader: Reader,
}

fn effective_of(readers: &[Reader], tree: &Tree) -> Vec<(Reader, Effective)> {
    let effective = |reader: &Reader| (*reader, boot::effective(tree, *reader));
    readers.iter().map(effective).collect()
}

/// What is desired of the next boot for the keys that this kernel has.
fn desired_at_boot(comparison: &Comparison) -> impl Iterator<Item = &Target> {
    let settings = comparison.settings.iter();
    let present = settings.filter(|setting| setting.state != State::Missing);
    present.filter_map(|setting| Some(&setting.targets.as_ref()?.boot))
}

/// The lines that would set another value than is desired.
fn overrides<'a>(comparison: &'a Comparison, readers: &[(Reader, Effective)]) -> Vec<Override<'a>> {
    let mut found = Vec::new();
    for target in desired_at_boot(comparison) {
        for (reader, effective) in readers {
            let of = |file, line, value| Override {
                target,
                file,
                line,
                value,
                reader: *reader,
            };
            match effective.winner(target.key) {
                Some(winner) if target.allows(winner.value) => {}
                Some(winner) if winner.real == Path::new(DROP_IN) => {}
                Some(winner) => {
                    found.push(of(winner.real.clone(), winner.line, Some(winner.value)));
                }
                None => {
                    let refused = effective.refused_line(target.key).cloned();
                    found.extend(refused.map(|(file, line)| of(file, line, None)));
                }
            }
        }
    }
    found
}

fn overridden(comparison: &Comparison, readers: &[(Reader, Effective)]) -> Vec<Blocked> {
    let overrides = overrides(comparison, readers);
    let is_same = |one: &Override<'_>, next: &Override<'_>| {
        (one.target.key, &one.file, one.line) == (next.target.key, &next.file, next.line)
    };
    let lines = overrides.chunk_by(is_same).filter_map(|same| {
        let one = same.first()?;
        Some(Blocked::Overridden {
            key: one.target.key,
            file: one.file.clone(),
            line: one.line,
            value: one.value,
            readers: same.iter().map(|one| one.reader).collect(),
        })
    });
    lines.collect()
}

/// What other programs set after sysctl.d, where it is not what is desired. What only some versions
/// of a program set is left to the findings, and a line that a step comments out is none.
fn written_later(comparison: &Comparison, next_boot: &NextBoot, steps: &[Step]) -> Vec<Blocked> {
    let is_adopted = |write: &LaterWrite| {
        let real = next_boot.tree().real_path(&write.file);
        let is_out = |step: &Step| matches!(step, Step::EditLine { path, lines, .. } if *path == real && lines.contains(&write.line));
        steps.iter().any(is_out)
    };
    let mut found = Vec::new();
    for target in desired_at_boot(comparison) {
        let key = target.key;
        for write in next_boot.later(key) {
            let differs = write.value.is_some_and(|value| !target.allows(value));
            if differs && write.certainty != Certainty::DependsOnVersion && !is_adopted(&write) {
                let is_plain = next_boot.writers().plain.contains_key(&write.file);
                found.push(Blocked::WrittenLater {
                    key,
                    write,
                    is_plain,
                });
            }
        }
    }
    found
}

/// What the next boot has as the files are, and with the plan.
fn boot_values(
    comparison: &Comparison,
    readers: &[(Reader, Effective)],
    next_boot: &NextBoot,
) -> [BootValues; 2] {
    let settings = || comparison.settings.iter();
    let before = settings().map(|setting| {
        let persisted = setting.persisted.iter();
        let values = persisted.flat_map(|one| {
            let read = readers.iter().map(|(reader, _)| one.value_for(*reader));
            read.chain([one.answer.value])
        });
        (setting.key, values.flatten().collect())
    });
    let after = settings().map(|setting| {
        let read = readers.iter();
        let read = read.map(|(_, effective)| Some(effective.winner(setting.key)?.value));
        let values = read.chain([next_boot.answer(setting.key).value]);
        (setting.key, values.flatten().collect())
    });
    [before.collect(), after.collect()]
}

/// The values of the next boot that get smaller, each once.
fn lowered(comparison: &Comparison, readers: &[(Reader, Effective)]) -> BTreeSet<Lowered> {
    let mut lowered = BTreeSet::new();
    for setting in &comparison.settings {
        let Some(before) = &setting.persisted else {
            continue;
        };
        for (reader, effective) in readers {
            let to = effective.winner(setting.key).map(|to| to.value);
            if let Some((from, to)) = before.value_for(*reader).zip(to)
                && from != to
                && !order::is_raise(setting.key, Some(from), to)
            {
                lowered.insert(Lowered {
                    key: setting.key,
                    from,
                    to,
                    at_boot: true,
                });
            }
        }
    }
    lowered
}

/// The lines to comment out in each file, and its bytes before.
type Edits = BTreeMap<PathBuf, (Vec<u8>, Vec<usize>)>;

/// Comments out, in `tree`, every line that overrides our drop-in, and then those that win in its
/// place, until the drop-in wins. Gives a step for each file.
fn adopt_steps(comparison: &Comparison, next_boot: &NextBoot, tree: &mut Tree) -> Vec<Step> {
    let mut edits = adopt_later(comparison, next_boot, tree);
    let tuned = next_boot.applies_by_tuned().then_some(Reader::Tuned);
    let readers: Vec<Reader> = next_boot.readers().iter().copied().chain(tuned).collect();
    loop {
        let mut is_done = true;
        for (file, lines) in overriding(comparison, &readers, tree) {
            let Some(now) = tree.file(&file).map(<[u8]>::to_vec) else {
                continue;
            };
            let edit = edits.entry(file.clone());
            let (original, known) = edit.or_insert_with(|| (now, Vec::new()));
            let new = lines.into_iter().filter(|line| !known.contains(line));
            let new: Vec<usize> = new.collect();
            if !new.is_empty() {
                known.extend(new);
                is_done = false;
                let edited = adopt::comment_out(original, known);
                *tree = tree.with_file(&file, Some(edited));
            }
        }
        if is_done {
            return edits.into_iter().map(adopt_step).collect();
        }
    }
}

/// The same for the files with lines like sysctl.d's that other programs apply later.
fn adopt_later(comparison: &Comparison, next_boot: &NextBoot, tree: &mut Tree) -> Edits {
    let mut edits = Edits::new();
    for (path, bytes) in &next_boot.writers().plain {
        let alone = Tree::default().with_file(Path::new(Tree::SYSCTL_CONF), Some(bytes.clone()));
        let run = Run::of(&alone, Reader::Procps, &[]);
        let lines = desired_at_boot(comparison).flat_map(|target| {
            let allows = |value| target.allows(value);
            boot::overriding_lines(&run, target.key, Path::new(""), allows)
        });
        let lines: BTreeSet<usize> = lines.map(|(_, line)| line).collect();
        if !lines.is_empty() {
            let lines: Vec<usize> = lines.into_iter().collect();
            let real = tree.real_path(path);
            *tree = tree.with_file(&real, Some(adopt::comment_out(bytes, &lines)));
            edits.insert(real, (bytes.clone(), lines));
        }
    }
    edits
}

/// The lines that override our drop-in, and those that would win in their place, by file: all at
/// once, because there may be many.
fn overriding(
    comparison: &Comparison,
    readers: &[Reader],
    tree: &Tree,
) -> BTreeMap<PathBuf, BTreeSet<usize>> {
    let mut found: BTreeMap<PathBuf, BTreeSet<usize>> = BTreeMap::new();
    let mut runs: BTreeMap<Reader, Run<'_>> = BTreeMap::new();
    for one in overrides(comparison, &effective_of(readers, tree)) {
        found.entry(one.file).or_default().insert(one.line);
        let own = Path::new(DROP_IN);
        let allows = |value| one.target.allows(value);
        let key = one.target.key;
        let run = runs.entry(one.reader);
        let run = run.or_insert_with(|| Run::of(tree, one.reader, &[]));
        for (file, line) in boot::overriding_lines(run, key, own, allows) {
            found.entry(file).or_default().insert(line);
        }
    }
    found
}

fn adopt_step((path, (from, mut lines)): (PathBuf, (Vec<u8>, Vec<usize>))) -> Step {
    lines.sort_unstable();
    let to = adopt::comment_out(&from, &lines);
    // hier(7): /usr belongs to the packages, but for /usr/local.
    let is_packaged = path.starts_with("/usr") && !path.starts_with("/usr/local");
    let again = match managed::manager(&path, &from) {
        Some(tool) => format!("; {tool} manages this file and may bring it back"),
        None if is_packaged => "; an upgrade of its package may bring it back".to_owned(),
        None => String::new(),
    };
    Step::EditLine {
        path,
        lines,
        from,
        to,
        why: format!("it would override our drop-in at the next boot{again}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fake::{World, live};

    const MAX: &str = "net.netfilter.nf_conntrack_max";

    /// The steps about files, as they name themselves.
    fn files_of(plan: &Plan) -> Vec<String> {
        plan.steps
            .iter()
            .filter(|step| step.file().is_some())
            .map(Step::summary)
            .collect()
    }

    fn drop_in_of(plan: &Plan) -> String {
        let path = Path::new(DROP_IN);
        let change = plan
            .steps
            .iter()
            .filter_map(Step::file)
            .find(|change| change.path == path);
        let bytes = change.and_then(|change| change.to).unwrap_or_default();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_value_that_somebody_persisted_is_not_made_smaller() {
        for (profile, file, live_max, expected) in [
            ("max = { at-least = 1000 }", "60-k8s.conf", Some(1500), 5000),
            ("max = { at-least = 1000 }", "60-k8s.conf", None, 5000),
            (
                "max = { at-least = 1000, memory-cap = \"50%\" }",
                "10-a.conf",
                Some(6000),
                6000,
            ),
            ("max = { per-cpu = 100 }", "60-k8s.conf", Some(300), 5000),
            ("max = { at-most = 9000 }", "60-k8s.conf", Some(6000), 5000),
        ] {
            let profile = format!("{profile}\nudp_timeout = 60");
            let mut world = World::of(&profile)
                .reading(Key::UdpTimeout, live(30))
                .file(&format!("/etc/sysctl.d/{file}"), &format!("{MAX} = 5000\n"));
            world = match live_max {
                Some(value) => world.reading(Key::Max, live(value)),
                None => world.image(),
            };
            let plan = world.plan(false);
            let text = drop_in_of(&plan);
            assert!(
                text.contains(&format!("{MAX} = {expected}\n")),
                "{profile}: {text}"
            );
            assert_eq!(plan.lowered, [], "{profile}");
        }
    }

    #[test]
    fn what_gets_smaller_is_said_from_what_to_what() {
        let world = World::of("max = { at-most = 3000 }\nudp_timeout = 60")
            .reading(Key::Max, live(4000))
            .reading(Key::UdpTimeout, live(30))
            .file("/etc/sysctl.d/60-k8s.conf", &format!("{MAX} = 5000\n"));
        let key = Key::Max;
        let expected = [
            Lowered {
                key,
                from: 4000,
                to: 3000,
                at_boot: false,
            },
            Lowered {
                key,
                from: 5000,
                to: 3000,
                at_boot: true,
            },
        ];
        assert_eq!(world.plan(false).lowered, expected);
    }

    #[test]
    fn a_drop_in_that_will_do_is_not_written_for_a_live_value() {
        let profile = "max = { at-least = 1000 }";
        let world = World::of(profile).reading(Key::Max, live(2000));
        let first = drop_in_of(&world.plan(false));
        assert!(first.contains(&format!("{MAX} = 2000\n")), "{first}");
        let raised = World::of(profile)
            .reading(Key::Max, live(8000))
            .file(DROP_IN, &first);
        assert_eq!(drop_in_of(&raised.plan(false)), "");
        // Where it is written for another reason, it takes the larger value.
        let world = World::of(&format!("{profile}\nudp_timeout = 60"))
            .reading(Key::Max, live(8000))
            .reading(Key::UdpTimeout, live(60))
            .file(DROP_IN, &first);
        let text = drop_in_of(&world.plan(false));
        assert!(text.contains(&format!("{MAX} = 8000\n")), "{text}");
    }

    #[test]
    fn a_line_that_overrides_the_drop_in_blocks_or_is_commented_out() {
        let world = World::of("max = 5000")
            .reading(Key::Max, live(5000))
            .file("/etc/sysctl.conf", &format!("# old\n{MAX} = 9\n"))
            .file("/etc/sysctl.d/99-site.conf", &format!("{MAX} = 8\n"));
        let blocked: Vec<String> = world
            .plan(false)
            .blocked
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            blocked,
            [
                format!(
                    "/etc/sysctl.conf:2 sets {MAX} = 9 and overrides our drop-in (sysctl --system)"
                ),
                format!(
                    "/etc/sysctl.d/99-site.conf:1 sets {MAX} = 8 and overrides our drop-in (systemd-sysctl)"
                ),
            ]
        );
        let adopted = world.plan(true);
        assert_eq!(adopted.blocked, []);
        assert_eq!(
            files_of(&adopted),
            [
                "create /etc/sysctl.d/90-cttune.conf",
                "comment out /etc/sysctl.conf:2",
                "comment out /etc/sysctl.d/99-site.conf:1",
                "create /etc/cttune/active.toml",
            ]
        );
    }

    #[test]
    fn overrides_that_are_not_kept_are_told() {
        let active =
            "extends = \"p\"\n[sysctl]\nmax = 5000\nacct = 1\nudp_timeout = { at-least = 9 }\n";
        let world = World::of("max = 5000")
            .reading(Key::Max, live(5000))
            .file(ACTIVE, active);
        assert_eq!(
            world.plan(false).dropped,
            [Key::Max, Key::Acct, Key::UdpTimeout]
        );
        let mut world = world;
        world.desired.overrides.insert(Key::Max, 5000);
        assert_eq!(world.plan(false).dropped, [Key::Acct, Key::UdpTimeout]);
        world.desired.is_active = true;
        assert_eq!(world.plan(false).dropped, []);
    }
}
