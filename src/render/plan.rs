//! `cttune plan`: what blocks it, what gets smaller, the steps, the files as unified diffs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, DiffOp, group_diff_ops};

use super::advice::marked;
use super::forecast::{Foreseen, InPlan};
use super::layout::{BELOW, CELL, HANG, RIGHT};
use super::shape::Schema;
use super::style::{BAD, FAINT, GONE, GOOD, HEAD, HINT, WARN};
use crate::diagnostic::Place;
use crate::diagnostic::plain::Shown;
use crate::plan::{Blocked, FileChange, Lowered, Plan, Skip, Step};
use crate::profile::ExpireMode;
use crate::service::Table;
use crate::tunable::{Key, plural};

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Values that get smaller and are named in a sentence.
const NAMED: usize = 3;

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    profile: &'a str,
    /// What was set beside the profile, by key.
    overrides: &'a BTreeMap<Key, i64>,
    /// What an earlier apply set beside it, and what this plan does not keep.
    dropped_overrides: &'a [Key],
    changes: usize,
    lowers: Vec<Lowers>,
    /// Why the services and the lifeline are not part of it, if so.
    services_left_out: Option<&'a str>,
    /// Why what it writes to /etc does not last, if so.
    files_lost: Option<&'a str>,
    /// Why the values are not there after the next boot, if so.
    lost_at_boot: Option<&'a str>,
    steps: Vec<ToDo<'a>>,
    skipped: Vec<Skipped>,
    blocked: Vec<Blocks>,
    /// `blocked` under its old name.
    obstacles: Vec<Blocks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<InPlan<'a>>,
}

impl<'a> Output<'a> {
    /// With what its timeouts would have ended.
    pub(crate) fn foreseen(self, foreseen: &'a Foreseen) -> Self {
        let forecast = Some(foreseen.json());
        Output { forecast, ..self }
    }
}

/// A value that gets smaller.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Lowers {
    key: Key,
    when: When,
    from: i64,
    to: i64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum When {
    Live,
    NextBoot,
}

/// A setting that cannot be made here.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Skipped {
    key: Key,
    reason: Skip,
}

/// What keeps the plan from being applied.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Blocks {
    message: String,
    hint: String,
}

/// One step, without what became of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ToDo<'a> {
    #[serde(flatten)]
    what: ToDoWhat<'a>,
    why: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum ToDoWhat<'a> {
    LoadModule {
        from: (),
        to: &'static str,
    },
    UnloadModule {
        from: (),
        to: &'static str,
    },
    WriteLive {
        key: Key,
        from: Option<i64>,
        to: i64,
    },
    ReloadUnits {
        from: (),
        to: (),
    },
    Service {
        table: &'static str,
        from: Option<String>,
        to: Option<String>,
        replace: bool,
    },
    EnableUnit {
        unit: &'a str,
        from: bool,
        to: bool,
    },
    Expire {
        from: (),
        to: (),
        mode: ExpireMode,
        flows: Option<u64>,
    },
    /// A file before and after; null where there is none.
    WriteFile {
        path: String,
        from: Option<Cow<'a, str>>,
        to: Option<Cow<'a, str>>,
    },
    /// Lines that are commented out.
    EditLine {
        path: String,
        from: Cow<'a, str>,
        to: Cow<'a, str>,
        lines: &'a [usize],
    },
}

pub(crate) fn json<'a>(plan: &'a Plan, place: &Place) -> Output<'a> {
    let lowers = |one: &Lowered| Lowers {
        key: one.key,
        when: if one.at_boot {
            When::NextBoot
        } else {
            When::Live
        },
        from: one.from,
        to: one.to,
    };
    let skipped = |(key, reason): &(Key, Skip)| Skipped {
        key: *key,
        reason: *reason,
    };
    let blocks = |blocked: &Blocked| Blocks {
        message: blocked.to_string(),
        hint: blocked.hint().text(place),
    };
    let blocked: Vec<Blocks> = plan.blocked.iter().map(blocks).collect();
    let volatile = plan.volatile.as_ref();
    Output {
        schema: Schema,
        profile: &plan.profile,
        overrides: &plan.overrides,
        dropped_overrides: &plan.dropped,
        changes: plan.steps.len(),
        lowers: plan.lowered.iter().map(lowers).collect(),
        services_left_out: plan.left_out.as_deref(),
        files_lost: volatile.map(|volatile| volatile.why.as_str()),
        lost_at_boot: plan.lost_at_boot.as_deref(),
        steps: plan.steps.iter().map(to_do).collect(),
        skipped: plan.skipped.iter().map(skipped).collect(),
        obstacles: blocked.clone(),
        blocked,
        forecast: None,
    }
}

pub(super) fn to_do(step: &Step) -> ToDo<'_> {
    const MODULE: &str = "nf_conntrack";
    let table = |table: &Option<Table>| table.as_ref().map(Table::text);
    let what = match step {
        Step::LoadModule { .. } => ToDoWhat::LoadModule {
            from: (),
            to: MODULE,
        },
        Step::UnloadModule { .. } => ToDoWhat::UnloadModule {
            from: (),
            to: MODULE,
        },
        Step::WriteLive { key, from, to, .. } => ToDoWhat::WriteLive {
            key: *key,
            from: *from,
            to: *to,
        },
        Step::ReloadUnits { .. } => ToDoWhat::ReloadUnits { from: (), to: () },
        Step::Service {
            from, to, replace, ..
        } => ToDoWhat::Service {
            table: "inet cttune",
            from: table(from),
            to: table(to),
            replace: *replace,
        },
        Step::EnableUnit { unit, to, .. } => ToDoWhat::EnableUnit {
            unit,
            from: !to,
            to: *to,
        },
        Step::Expire {
            parameters, flows, ..
        } => ToDoWhat::Expire {
            from: (),
            to: (),
            mode: parameters.mode,
            flows: *flows,
        },
        Step::WriteFile { path, from, to, .. } => ToDoWhat::WriteFile {
            path: path.display().to_string(),
            from: from.as_deref().map(String::from_utf8_lossy),
            to: to.as_deref().map(String::from_utf8_lossy),
        },
        Step::EditLine {
            path,
            from,
            to,
            lines,
            ..
        } => ToDoWhat::EditLine {
            path: path.display().to_string(),
            from: String::from_utf8_lossy(from),
            to: String::from_utf8_lossy(to),
            lines,
        },
    };
    let why = step.why();
    ToDo { what, why }
}

/// As people read it.
///
/// `foreseen` says what its timeouts would have ended.
pub(crate) fn text(plan: &Plan, host: &str, foreseen: &str, place: &Place) -> String {
    let mut text = steps(plan, host, place) + foreseen;
    if !plan.steps.is_empty() {
        text.push_str(&format!("{HEAD}{}{HEAD:#}\n", summary(plan)));
    }
    text
}

/// In a few words: its first line, what it warns of, and the summary.
pub(crate) fn brief(plan: &Plan, host: &str, place: &Place) -> String {
    let steps = steps(plan, host, place);
    let mut lines: Vec<String> = steps.lines().take(1).map(str::to_owned).collect();
    lines.extend(warnings(plan));
    lines.extend((!plan.steps.is_empty()).then(|| summary(plan)));
    lines.join("\n")
}

/// All of it but the summary, which a prompt has.
pub(crate) fn steps(plan: &Plan, host: &str, place: &Place) -> String {
    let profile = format!("{HEAD}{}{HEAD:#}", plan.profile);
    let host = format!("{HEAD}{host}{HEAD:#}");
    let set = set_text(&plan.overrides);
    let mut text = match (plan.steps.len(), plan.blocked.len()) {
        // Settings may still differ: --only leaves a half of it out.
        (0, 0) => format!("{host}: nothing to do for {profile}\n"),
        (steps, 0) => format!("{profile} on {host}: {}{set}\n", plural(steps, "step")),
        (steps, blocked) => {
            let steps = plural(steps, "step");
            format!("{profile} on {host}: {BAD}{blocked} blocked{BAD:#}, {steps}{set}\n")
        }
    };
    text.push_str(&blocked_text(&plan.blocked, place));
    for warning in warnings(plan) {
        text.push_str(&format!("  {WARN}{warning}{WARN:#}\n"));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        text.push_str(&step_text(index + 1, step));
    }
    text.extend(plan.steps.iter().filter_map(table_diff));
    let tables = plan.steps.iter().filter_map(Step::table);
    let tables: Vec<String> = tables.map(|table| table.for_new_flows().file()).collect();
    for FileChange { path, from, to } in plan.steps.iter().filter_map(Step::file) {
        let is_shown = |to: &[u8]| {
            let mut tables = tables.iter();
            tables.any(|table| to.ends_with(table.as_bytes()))
        };
        text.push('\n');
        text.push_str(&match to.filter(|to| is_shown(to)) {
            Some(_) => format!("  {}: loads the same table\n", path.shown()),
            None => diff(path, from, to),
        });
    }
    text.push_str(&skipped_text(plan));
    if !plan.steps.is_empty() {
        text.push('\n');
    }
    text
}

/// nft's table before and after.
fn table_diff(step: &Step) -> Option<String> {
    let Step::Service { from, to, .. } = step else {
        return None;
    };
    // A tab is as wide as the terminal likes.
    let text = |table: &Table| table.text().replace('\t', "    ").into_bytes();
    let bytes = |table: &Option<Table>| table.as_ref().map(text);
    let (from, to) = (bytes(from), bytes(to));
    let name = Path::new("nft table inet cttune");
    Some(format!("\n{}", diff(name, from.as_deref(), to.as_deref())))
}

/// What was set beside the profile, as it would be typed.
pub(super) fn set_text(overrides: &BTreeMap<Key, i64>) -> String {
    let set = |(key, value): (&Key, &i64)| format!(" --set {}={value}", key.short_name());
    match overrides.iter().map(set).collect::<String>() {
        none if none.is_empty() => none,
        set => format!(", with{set}"),
    }
}

/// What the plan changes, in one sentence: `5 live values, 2 new files`.
pub(crate) fn summary(plan: &Plan) -> String {
    let count = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count();
    let keys: BTreeSet<Key> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::WriteLive { key, .. } => Some(*key),
            _ => None,
        })
        .collect();
    let new = count(|step| matches!(step, Step::WriteFile { from: None, .. }));
    let removed = count(|step| matches!(step, Step::WriteFile { to: None, .. }));
    let files = count(|step| matches!(step, Step::WriteFile { .. }));
    let mut parts = Vec::new();
    let mut part = |number: usize, text: String| {
        if number > 0 {
            parts.push(text);
        }
    };
    part(
        count(|step| matches!(step, Step::LoadModule { .. })),
        "nf_conntrack loaded".to_owned(),
    );
    part(
        count(|step| matches!(step, Step::UnloadModule { .. })),
        "nf_conntrack unloaded".to_owned(),
    );
    part(keys.len(), plural(keys.len(), "live value"));
    part(new, plural(new, "new file"));
    let changed = files - new - removed;
    part(changed, format!("{} changed", plural(changed, "file")));
    part(removed, format!("{} removed", plural(removed, "file")));
    for step in &plan.steps {
        match step {
            Step::EditLine { path, lines, .. } => {
                let lines = plural(lines.len(), "line");
                part(1, format!("{lines} of {} commented out", path.shown()));
            }
            Step::Service { .. } | Step::EnableUnit { .. } | Step::Expire { .. } => {
                part(1, step.summary());
            }
            _ => {}
        }
    }
    let lowered = lowered_lines(&plan.lowered);
    let named: Vec<&str> = lowered.iter().take(NAMED).map(String::as_str).collect();
    let mut text = parts.join(", ");
    if !named.is_empty() {
        text.push_str(&format!("; lowers {}", named.join(", ")));
    }
    if lowered.len() > NAMED {
        text.push_str(&format!(" and {}", plural(lowered.len() - NAMED, "other")));
    }
    text
}

/// Each value that gets smaller once: `KEY 10 → 5, live and at the next boot`.
fn lowered_lines(lowered: &[Lowered]) -> Vec<String> {
    let line = |one: &Lowered| {
        let twin = Lowered {
            at_boot: !one.at_boot,
            ..*one
        };
        let when = match (lowered.contains(&twin), one.at_boot) {
            (true, true) => return None,
            (true, false) => "live and at the next boot",
            (false, true) => "at the next boot",
            (false, false) => "live",
        };
        let (from, to) = (one.key.said(one.from), one.key.said(one.to));
        Some(format!("{} {from} → {to} {when}", one.key.short_name()))
    };
    lowered.iter().filter_map(line).collect()
}

/// What gets smaller, and what is dropped of an earlier apply: a line each.
fn warnings(plan: &Plan) -> Vec<String> {
    let lowered = lowered_lines(&plan.lowered).into_iter();
    let lines = lowered.map(|line| format!("lowers {line}"));
    lines
        .chain(dropped_line(plan))
        .chain(volatile_line(plan))
        .chain(lost_at_boot_line(plan))
        .chain(left_out_line(plan))
        .collect()
}

/// Those of them that no step tells.
pub(crate) fn warnings_beside_steps(plan: &Plan) -> Vec<String> {
    let at_boot = plan.lowered.iter().filter(|one| one.at_boot).copied();
    let lowered = lowered_lines(&at_boot.collect::<Vec<_>>()).into_iter();
    let lines = lowered.map(|line| format!("lowers {line}"));
    lines
        .chain(dropped_line(plan))
        .chain(volatile_line(plan))
        .chain(lost_at_boot_line(plan))
        .collect()
}

/// Why services are not part of a plan.
pub(crate) fn left_out_line(plan: &Plan) -> Option<String> {
    let why = plan.left_out.as_ref()?;
    Some(format!("leaves out the timeouts of services: {why}"))
}

/// What is written to an /etc that does not last.
fn volatile_line(plan: &Plan) -> Option<String> {
    let volatile = plan.volatile.as_ref()?;
    let writes = plan.steps.iter().any(|step| step.file().is_some());
    let text = format!(
        "what is written to /etc {}; {}",
        volatile.told(),
        volatile.instead
    );
    writes.then_some(text)
}

fn lost_at_boot_line(plan: &Plan) -> Option<String> {
    let why = plan.lost_at_boot.as_ref()?;
    Some(format!("sets values that are lost at the next boot: {why}"))
}

fn dropped_line(plan: &Plan) -> Option<String> {
    let names: Vec<&str> = plan.dropped.iter().map(|key| key.short_name()).collect();
    let names = Some(names.join(", ")).filter(|names| !names.is_empty())?;
    Some(format!(
        "drops what an earlier apply set beside the profile: {names}"
    ))
}

fn step_text(number: usize, step: &Step) -> String {
    // A long path would widen the column of keys.
    let below = match step {
        Step::WriteLive { .. } => format!("{CELL}{BELOW}"),
        _ => format!("\n    {HANG}"),
    };
    let why = match step.why() {
        "" => String::new(),
        why => format!("{below}{FAINT}{why}{FAINT:#}"),
    };
    format!("{number:>2}. {}{why}\n", step_cells(step))
}

/// A live write as cells: the key, then both numbers; any other step as it names itself.
pub(super) fn step_cells(step: &Step) -> String {
    let Step::WriteLive { key, from, to, .. } = step else {
        return step.summary();
    };
    let from = from.map_or_else(|| "not loaded".to_owned(), |from| key.said(from));
    let (key, to) = (key.short_name(), key.said(*to));
    format!("{key}{CELL}{RIGHT}{from}{CELL}→ {to}")
}

/// The same in words.
pub(crate) fn step_words(step: &Step) -> String {
    step_cells(step)
        .replacen(CELL, ": ", 1)
        .replace(CELL, " ")
        .replace(RIGHT, "")
}

/// A file before and after, as a unified diff.
pub(crate) fn diff(path: &Path, from: Option<&[u8]>, to: Option<&[u8]>) -> String {
    let shown =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let name = |bytes: Option<&[u8]>| match bytes {
        Some(_) => path.shown(),
        None => "/dev/null".to_owned(),
    };
    let (old, new) = (shown(from), shown(to));
    let [old, new] = [&old, &new].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let hunks = hunks(&old, &new);
    if hunks.is_empty() {
        return String::new();
    }
    let mut text = format!("  {GONE}--- {}{GONE:#}\n", name(from));
    text.push_str(&format!("  {GOOD}+++ {}{GOOD:#}\n", name(to)));
    for hunk in hunks {
        text.push_str(&format!("  {}\n", UnifiedHunkHeader::new(&hunk)));
        for change in hunk.iter().flat_map(|op| op.iter_changes(&old, &new)) {
            let line = format!("{}{}", change.tag(), change.value());
            let whole = line.strip_suffix('\n');
            let line = whole.unwrap_or(&line);
            text.push_str(&match change.tag() {
                ChangeTag::Insert => format!("  {GOOD}{line}{GOOD:#}\n"),
                ChangeTag::Delete => format!("  {GONE}{line}{GONE:#}\n"),
                ChangeTag::Equal => format!("  {line}\n"),
            });
            if whole.is_none() {
                text.push_str("  \\ No newline at end of file\n");
            }
        }
    }
    text
}

/// Where lines differ, with what stands around it. By one algorithm alone: `TextDiff` brings all of
/// them for every kind of text, 400 kB of program.
fn hunks(old: &[&str], new: &[&str]) -> Vec<Vec<DiffOp>> {
    let mut captured = Compact::new(Replace::new(Capture::new()), old, new);
    let Ok(()) = myers::diff(&mut captured, old, 0..old.len(), new, 0..new.len());
    let ops = captured.into_inner().into_inner().into_ops();
    group_diff_ops(ops, CONTEXT)
}

fn skipped_text(plan: &Plan) -> String {
    let line = |(key, skip): &(Key, Skip)| {
        let why = match skip {
            Skip::Missing => "this kernel does not have it",
            Skip::ReadOnly => "it is read-only here",
        };
        format!("  {FAINT}skipped{FAINT:#} {}: {why}\n", key.short_name())
    };
    plan.skipped.iter().map(line).collect()
}

/// What keeps a plan from being applied, with what to do about it.
fn blocked_text(blocked: &[Blocked], place: &Place) -> String {
    let line = |blocked: &Blocked| {
        let hint = marked(&blocked.hint(), place);
        format!("{BAD}blocked{BAD:#}: {HANG}{blocked}\n  {HINT}hint{HINT:#}: {HANG}{hint}\n")
    };
    blocked.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: Key, from: i64, to: i64) -> Step {
        Step::WriteLive {
            key,
            from: Some(from),
            to,
            why: String::new(),
        }
    }

    #[test]
    fn a_file_is_told_as_a_unified_diff() {
        let told = |from: Option<&str>, to: Option<&str>| {
            let [from, to] = [from, to].map(|text| text.map(str::as_bytes));
            crate::render::layout::shown(&diff(Path::new("/etc/x"), from, to), 80)
        };
        let numbers = |skip: u32| -> String {
            let kept = (1..=20).filter(|n| *n != skip);
            kept.map(|n| format!("{n}\n")).collect()
        };
        for (from, to, expected) in [
            (
                None,
                Some("a\n"),
                "--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+a\n",
            ),
            (
                Some("a\n"),
                None,
                "--- /etc/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
            ),
            (
                Some("a\nb"),
                Some("a\nb\n"),
                "--- /etc/x\n+++ /etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n",
            ),
            (
                Some(&numbers(0)),
                Some(&numbers(10)),
                "--- /etc/x\n+++ /etc/x\n@@ -7,7 +7,6 @@\n 7\n 8\n 9\n-10\n 11\n 12\n 13\n",
            ),
            (Some("a\n"), Some("a\n"), ""),
        ] {
            let told: String = told(from, to)
                .lines()
                .map(|line| format!("{}\n", &line[2..]))
                .collect();
            assert_eq!(told, expected);
        }
    }

    fn file(path: &str, from: Option<&str>, to: Option<&str>) -> Step {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Step::WriteFile {
            path: path.into(),
            from: bytes(from),
            to: bytes(to),
            why: String::new(),
        }
    }

    #[test]
    fn the_summary_counts_what_is_changed() {
        let lines = Step::EditLine {
            path: "/etc/sysctl.conf".into(),
            lines: vec![69],
            from: Vec::new(),
            to: Vec::new(),
            why: String::new(),
        };
        for (steps, said) in [
            (vec![write(Key::Max, 1, 2)], "1 live value"),
            // Two writes to one key are one value.
            (
                vec![
                    write(Key::Max, 1, 2),
                    write(Key::Acct, 0, 1),
                    write(Key::Max, 2, 4),
                ],
                "2 live values",
            ),
            (
                vec![
                    write(Key::Max, 1, 2),
                    file("/a", None, Some("x")),
                    file("/b", None, Some("x")),
                    file("/c", Some("w"), Some("x")),
                    file("/d", Some("w"), None),
                    lines,
                ],
                "1 live value, 2 new files, 1 file changed, 1 file removed, \
                 1 line of /etc/sysctl.conf commented out",
            ),
        ] {
            assert_eq!(summary(&Plan::of("p", steps)), said);
        }
    }

    #[test]
    fn what_gets_smaller_comes_first_and_is_in_the_summary() {
        let lowered = |key, from, to, at_boot| Lowered {
            key,
            from,
            to,
            at_boot,
        };
        let plan = Plan {
            lowered: vec![
                lowered(Key::Max, 5000, 3000, false),
                lowered(Key::UdpTimeout, 180, 60, false),
                lowered(Key::Max, 5000, 3000, true),
                lowered(Key::Buckets, 9000, 512, true),
                lowered(Key::Acct, 1, 0, false),
            ],
            blocked: vec![Blocked::RequiredMissing(Key::Helper)],
            dropped: vec![Key::Events],
            overrides: [(Key::Max, 3000)].into(),
            ..Plan::of("p", vec![write(Key::Max, 5000, 3000)])
        };
        let place = Place::default();
        let text = crate::render::layout::shown(&text(&plan, "fw", "", &place), 80);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "p on fw: 1 blocked, 1 step, with --set max=3000",
                "blocked: net.netfilter.nf_conntrack_helper is required by the profile and",
                "         missing on this kernel",
                "  hint: run a kernel that has it, or remove `required` from the profile",
                "  lowers max 5,000 → 3,000 live and at the next boot",
                "  lowers udp_timeout 3m → 1m live",
                "  lowers buckets 9,000 → 512 at the next boot",
                "  lowers acct 1 → 0 live",
                "  drops what an earlier apply set beside the profile: events",
                " 1. max  5,000  → 3,000",
                "",
                "1 live value; lowers max 5,000 → 3,000 live and at the next boot, udp_timeout 3m",
                "  → 1m live, buckets 9,000 → 512 at the next boot and 1 other",
            ]
        );
    }
}
