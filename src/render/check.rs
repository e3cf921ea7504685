//! `cttune check`: the table, the findings, the settings.

use anstyle::Style;
use serde_json::{Value, json};

use super::explain::answer_json;
use super::style::{BAD, FAINT, GOOD, HEAD, HINT, WARN};
use crate::assess::{Deep, Evidence, Finding, Memory, Namespace, Rates, Severity, Unread, worst};
use crate::boot::{Reader, Sure};
use crate::diagnostic::{Hint, Place};
use crate::flow::Estimate;
use crate::plan::{Compared, State};
use crate::profile::Desired;
use crate::tunable::{Counter, Key, Snapshot, format_count, format_share, format_size};

/// All that a check found.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    /// What to call the machine.
    pub(crate) host: &'a str,
    /// What was read, and how it stands to the profile.
    pub(crate) evidence: Evidence<'a>,
    /// The findings.
    pub(crate) findings: &'a [Finding],
    /// The change that has to be confirmed.
    pub(crate) pending: Option<&'a Pending>,
    /// The command that shows the plan for the same profile.
    pub(crate) plan: &'a Hint,
    /// The place that commands in advice are about.
    pub(crate) place: &'a Place,
    /// Whether to show settings without drift, sources and reasons as well.
    pub(crate) verbose: bool,
}

/// A change that is undone at a deadline unless somebody confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Its number.
    pub(crate) id: u64,
    /// The profile that was applied.
    pub(crate) profile: String,
    /// When it is undone.
    pub(crate) deadline: jiff::Timestamp,
    /// The same by the clock of this machine.
    pub(crate) clock: String,
}

impl Checked<'_> {
    /// Whether nothing drifted; `None` where nothing was compared.
    fn in_line(&self) -> Option<bool> {
        let compared = self.evidence.desired.is_some();
        compared.then(|| self.evidence.comparison.in_line())
    }
}

/// As machines read it.
pub(crate) fn json(checked: &Checked<'_>) -> Value {
    let settings: Vec<Value> = checked
        .evidence
        .comparison
        .settings
        .iter()
        .map(setting_json)
        .collect();
    let findings: Vec<Value> = {
        let all = checked.findings.iter();
        all.map(|one| finding_json(one, checked.place)).collect()
    };
    json!({
        "schema": super::SCHEMA,
        "host": checked.host,
        "profile": checked.evidence.desired.map(|desired| &desired.name),
        "overrides": checked.evidence.desired.map(|desired| &desired.overrides),
        "pending": checked.pending.map(|pending| json!({
            "id": pending.id,
            "deadline": format!("{:.0}", pending.deadline),
        })),
        "in_line": checked.in_line(),
        "table": checked.evidence.machine.live.filter(|live| live.is_loaded()).map(|live| table_json(live, checked.evidence.rates)),
        "expectations": checked.evidence.machine.live.filter(|live| live.is_loaded()).map(|live| expectations_json(live, checked.evidence.deep)),
        "counters": checked.evidence.rates.map(counters_json),
        "deep": checked.evidence.deep.map(deep_json),
        "namespaces": checked.evidence.namespaces.map(|all| all.iter().map(namespace_json).collect::<Vec<_>>()),
        "settings": settings,
        "findings": findings,
        "unread": unread_json(checked.evidence.unread),
    })
}

pub(super) fn table_json(live: &Snapshot, rates: Option<&Rates>) -> Value {
    let memory = Memory::of(live, rates.and_then(|rates| rates.flow_size));
    json!({
        "count": live.count,
        "max": live.value(Key::Max),
        "buckets": live.value(Key::Buckets),
        "fill": live.fill(),
        "memory": memory.map(|memory| memory.now),
        "memory_when_full": memory.and_then(|memory| memory.when_full),
        "growth_per_second": rates.and_then(|rates| rates.growth(live)),
    })
}

/// Every counter by its name, those that this kernel does not count as null.
pub(super) fn counters_json(rates: &Rates) -> Value {
    let counter = |counter: Counter| {
        let value = json!({ "total": rates.total(counter), "per_second": rates.rate(counter) });
        (counter.name().to_owned(), value)
    };
    Counter::ALL.into_iter().map(counter).collect()
}

fn deep_json(deep: &Deep) -> Value {
    let pressure = &deep.pressure;
    let estimate =
        |one: Estimate| json!({ "flows": one.flows, "share": one.share, "margin": one.margin });
    json!({
        "total": pressure.table,
        "sampled": (pressure.looked_at < pressure.table).then_some(pressure.looked_at),
        "not_reclaimable": estimate(pressure.fixed),
        "push": estimate(pressure.push),
        "unanswered": estimate(pressure.unanswered.all),
        "nat": deep.nat.ports.as_ref().map(|nat| json!({
            "protocol": nat.protocol.to_string(),
            "address": nat.address,
            "server": nat.server,
            "used": estimate(nat.used),
            "ports": [nat.ports.start(), nat.ports.end()],
        })),
        "tracked_by": deep.rules.as_ref().map(|rules| &rules.trackers),
        "timeout_policies": deep.policies.as_ref().map(|policies| policies.0.len()),
        "flowtables": deep.flowtables,
    })
}

fn namespace_json(namespace: &Namespace) -> Value {
    json!({
        "name": namespace.name,
        "pids": namespace.pids,
        "inode": namespace.inode,
        "own": namespace.is_own,
        "count": namespace.count,
        "max": namespace.max,
        "fill": namespace.fill(),
        "drop": namespace.drop,
    })
}

/// Each source under its old name too.
fn unread_json(unread: &[Unread]) -> Vec<Value> {
    let of = |one: &Unread| json!({ "source": one.source, "what": one.source, "why": one.why });
    unread.iter().map(of).collect()
}

/// Their number is read with `--deep` alone.
fn expectations_json(live: &Snapshot, deep: Option<&Deep>) -> Value {
    json!({
        "count": deep.and_then(|deep| deep.expectations),
        "max": live.value(Key::ExpectMax),
    })
}

fn setting_json(setting: &Compared) -> Value {
    let by = |winner: Option<&crate::boot::Winner>| {
        winner.map(|winner| {
            json!({ "value": winner.value, "file": winner.real.display().to_string(), "line": winner.line })
        })
    };
    let persisted_by = setting.persisted.as_ref().map(|persisted| {
        json!({
            "procps": by(persisted.winner(Reader::Procps)),
            "systemd": by(persisted.winner(Reader::Systemd)),
        })
    });
    let next_boot = setting.persisted.as_ref();
    let next_boot = next_boot.map(|persisted| answer_json(&persisted.answer));
    json!({
        "key": setting.key,
        "live": setting.live_value(),
        "persisted": setting.persisted_value(),
        "persisted_by": persisted_by,
        "next_boot": next_boot,
        "wanted": setting.desired_value(),
        "state": setting.state,
        "why": setting.targets.as_ref().map(|targets| targets.why.as_str()),
    })
}

fn finding_json(finding: &Finding, place: &Place) -> Value {
    json!({
        "id": finding.id.name(),
        "severity": finding.severity,
        "message": finding.message,
        "hint": finding.hint.text(place),
        "source": finding.id.source(),
        "accepted": finding.accepted.is_some(),
        "accepted_why": finding.accepted,
    })
}

/// As people read it.
pub(crate) fn text(checked: &Checked<'_>) -> String {
    let mut text = heading(checked);
    if let Some(live) = checked
        .evidence
        .machine
        .live
        .filter(|live| live.is_loaded())
    {
        text.push_str(&table_line(live, checked.evidence.rates));
        if let Some(rates) = checked.evidence.rates {
            text.push_str(&rates_text(rates, live, checked.verbose));
        }
    }
    if let Some(namespaces) = checked.evidence.namespaces {
        text.push_str(&namespaces_text(namespaces, checked.verbose));
    }
    let shown = checked.findings.iter();
    for finding in shown.filter(|finding| checked.verbose || !finding.id.is_choice()) {
        text.push_str(&finding_text(finding, checked));
    }
    text.push('\n');
    text.push_str(&settings_text(checked));
    text.push_str(&verdict(checked));
    text
}

/// The verdict in one line, a pending change before it, the profile below it.
fn heading(checked: &Checked<'_>) -> String {
    let mut text = String::new();
    if let Some(pending) = checked.pending {
        let line = pending_line(pending, checked.place);
        text.push_str(&format!("{WARN}pending{WARN:#}: {line}\n"));
    }
    let (style, _) = worst(checked.findings, Severity::Info).map_or((GOOD, ""), severity_style);
    let host = checked.host;
    let verdict = summary(checked);
    text.push_str(&format!(
        "{HEAD}{host}{HEAD:#}: {style}{verdict}{style:#}\n"
    ));
    text.push_str(&match checked.evidence.desired {
        None => "profile: none is active\n".to_owned(),
        Some(desired) => profile_line(desired),
    });
    text
}

/// `change 3 (campus-fw) is undone at 14:07:31 unless you run: cttune confirm`
pub(super) fn pending_line(pending: &Pending, place: &Place) -> String {
    let (id, profile) = (pending.id, &pending.profile);
    let clock = &pending.clock;
    let confirm = place.cttune("confirm");
    format!("change {id} ({profile}) is undone at {clock} unless you run: {confirm}")
}

fn profile_line(desired: &Desired) -> String {
    let name = &desired.name;
    let about = desired.description.as_ref();
    let about = about.map_or_else(String::new, |about| format!(" ({about})"));
    let set = super::plan::set_text(&desired.overrides);
    format!("profile: {HEAD}{name}{HEAD:#}{about}{set}\n")
}

/// `1 critical finding, 2 warnings; 3 of 8 settings of campus-fw differ`
fn summary(checked: &Checked<'_>) -> String {
    let count = |severity, one, many| {
        let counted = checked.findings.iter();
        let counted = counted.filter(|one| one.severity == severity && one.accepted.is_none());
        match counted.count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {many}")),
        }
    };
    let critical = count(Severity::Critical, "critical finding", "critical findings");
    let warnings = count(Severity::Warning, "warning", "warnings");
    let findings: Vec<String> = critical.into_iter().chain(warnings).collect();
    let findings = match findings.as_slice() {
        [] => "ok".to_owned(),
        findings => findings.join(", "),
    };
    match drift(checked) {
        Some((off, of, name)) => format!("{findings}; {off} of {of} settings of {name} differ"),
        None => findings,
    }
}

/// How many settings of how many differ from the profile, if any.
pub(super) fn drift<'a>(checked: &Checked<'a>) -> Option<(usize, usize, &'a str)> {
    let comparison = checked.evidence.comparison;
    let desired = checked.evidence.desired?;
    let settings = comparison.settings.iter();
    let off = settings.filter(|one| comparison.is_drift(one)).count();
    (off > 0).then_some((off, comparison.settings.len(), desired.name.as_str()))
}

fn table_line(live: &Snapshot, rates: Option<&Rates>) -> String {
    let number = |key| live.value(key).map_or_else(|| "?".to_owned(), format_count);
    let entries = live.count.map_or_else(|| "?".to_owned(), format_count);
    let fill = live
        .fill()
        .map_or_else(|| "no limit".to_owned(), format_share);
    let memory = Memory::of(live, rates.and_then(|rates| rates.flow_size));
    let at_most = memory.and_then(|memory| memory.when_full);
    format!(
        "table: {entries} of {} entries ({fill}), {} buckets{}{}\n",
        number(Key::Max),
        number(Key::Buckets),
        memory.map_or_else(String::new, |memory| format!(
            ", {}",
            format_size(memory.now)
        )),
        at_most.map_or_else(String::new, |bytes| format!(
            ", {} when full",
            format_size(bytes)
        )),
    )
}

/// Rates, where there were two readings, and with `-v` every counter.
fn rates_text(rates: &Rates, live: &Snapshot, verbose: bool) -> String {
    let mut text = String::new();
    if let Some(growth) = rates.growth(live) {
        text.push_str(&format!("growth: {growth:+.1} entries a second\n"));
    }
    let counters = Counter::ALL.into_iter().filter_map(|counter| {
        let total = rates.total(counter)?;
        let rate = rates.rate(counter);
        let now = rate.map_or_else(String::new, |rate| format!(" ({rate:.1}/s)"));
        Some(format!("{} {total}{now}", counter.name()))
    });
    if verbose || rates.trend.is_some() {
        text.push_str(&format!(
            "counters: {}\n",
            counters.collect::<Vec<_>>().join(", ")
        ));
    }
    text
}

/// The fullest first; with `-v` all of them.
fn namespaces_text(namespaces: &[Namespace], verbose: bool) -> String {
    const SHOWN: usize = 20;
    let mut sorted: Vec<&Namespace> = namespaces.iter().collect();
    let fill = |one: &Namespace| one.fill().unwrap_or(0.0);
    sorted.sort_by(|one, other| fill(other).total_cmp(&fill(one)));
    let shown = if verbose { sorted.len() } else { SHOWN };
    let name = |one: &Namespace| {
        if one.is_own {
            "this one".to_owned()
        } else {
            one.spoken()
        }
    };
    let width = sorted.iter().take(shown).map(|one| name(one).len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::from("network namespaces:\n");
    for one in sorted.iter().take(shown) {
        let drop = one
            .drop
            .map_or_else(|| "?".to_owned(), |drop| drop.to_string());
        text.push_str(&format!(
            "  {:<width$}  {:>9} of {:>9} entries ({}), dropped {drop}\n",
            name(one),
            format_count(one.count),
            format_count(one.max),
            one.fill()
                .map_or_else(|| "no limit".to_owned(), format_share),
        ));
    }
    if sorted.len() > shown {
        text.push_str(&format!("  and {} more: -v\n", sorted.len() - shown));
    }
    text
}

fn severity_style(severity: Severity) -> (Style, &'static str) {
    match severity {
        Severity::Critical => (BAD, "critical"),
        Severity::Warning => (WARN, "warning"),
        Severity::Info => (HINT, "info"),
    }
}

fn finding_text(finding: &Finding, checked: &Checked<'_>) -> String {
    let (style, severity) = severity_style(finding.severity);
    let (id, message) = (finding.id.name(), &finding.message);
    let hint = finding.hint.text(checked.place);
    if let Some(why) = &finding.accepted {
        return format!("{FAINT}accepted{FAINT:#}: {message} [{id}]\n  accepted because {why}\n");
    }
    let mut text =
        format!("{style}{severity}{style:#}: {message} [{id}]\n  {HINT}hint{HINT:#}: {hint}\n");
    if checked.verbose {
        let source = finding.id.source();
        text.push_str(&format!("  {FAINT}source: {source}{FAINT:#}\n"));
    }
    text
}

/// The settings as a table: with a profile those that differ, and all with `-v`.
fn settings_text(checked: &Checked<'_>) -> String {
    let compared = checked.evidence.desired.is_some();
    let shown: Vec<&Compared> = checked
        .evidence
        .comparison
        .settings
        .iter()
        .filter(|setting| checked.verbose || !compared || setting.state != State::Ok)
        .filter(|setting| checked.verbose || compared || setting.state != State::Missing)
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    let mut rows = vec![["", "key", "live", "persisted", "wanted", "why"].map(str::to_owned)];
    rows.extend(shown.iter().map(|setting| row(setting)));
    table(&rows, compared, &shown)
}

fn row(setting: &Compared) -> [String; 6] {
    let key = setting.key;
    let said = |value: Option<i64>| match value {
        Some(value) => match key.spoken(value) {
            Some(spoken) => format!("{value} ({spoken})"),
            None => value.to_string(),
        },
        None => "-".to_owned(),
    };
    let why = match setting.state {
        State::Missing if setting.is_required() => {
            "required, and this kernel does not have it".to_owned()
        }
        State::Missing => "this kernel does not have it".to_owned(),
        _ => setting
            .targets
            .as_ref()
            .map(|targets| targets.why.clone())
            .unwrap_or_default(),
    };
    [
        state_name(setting.state).to_owned(),
        key.name(),
        said(setting.live_value()),
        said(setting.persisted_value()),
        said(setting.desired_value()),
        why,
    ]
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Missing => "missing",
        State::ReadOnly => "read-only",
        State::Differs => "differs",
        State::NotPersisted => "not persisted",
        State::Ok => "ok",
    }
}

/// Aligned columns, numbers to the right; the state is coloured. Without a profile there is no
/// state, no desired value and no reason to show.
fn table(rows: &[[String; 6]], compared: bool, settings: &[&Compared]) -> String {
    let columns: &[usize] = if compared {
        &[0, 1, 2, 3, 4, 5]
    } else {
        &[1, 2, 3]
    };
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let style = match index.checked_sub(1).and_then(|index| settings.get(index)) {
            None => HEAD,
            Some(setting) => match setting.state {
                State::Ok => GOOD,
                State::Differs | State::NotPersisted => WARN,
                State::Missing | State::ReadOnly => FAINT,
            },
        };
        let mut line = String::new();
        for column in columns {
            let cell = row.get(*column).map_or("", String::as_str);
            let width = width(*column);
            line.push_str(&match column {
                0 => format!("{style}{cell:<width$}{style:#}  "),
                1 => format!("{cell:<width$}  "),
                5 => cell.to_owned(),
                _ => format!("{cell:>width$}  "),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn verdict(checked: &Checked<'_>) -> String {
    let Some(Desired { name, .. }) = checked.evidence.desired else {
        let list = Hint::cttune("profile list").text(checked.place);
        return format!("\nto compare with a profile, see: {list}\n");
    };
    let settings = &checked.evidence.comparison.settings;
    let of = settings.len();
    if checked.evidence.comparison.in_line() {
        let in_line = settings
            .iter()
            .filter(|setting| setting.state == State::Ok)
            .count();
        // With --netns no file was compared, with --root no kernel.
        let live = settings.iter().any(|setting| setting.live.is_some());
        let persisted = settings.iter().any(|setting| setting.persisted.is_some());
        let how = match (live, persisted) {
            (true, false) => "live".to_owned(),
            (false, true) => persistence(settings, "persisted"),
            _ => persistence(settings, "live and persisted"),
        };
        let gap = if in_line < of || checked.verbose {
            "\n"
        } else {
            ""
        };
        return format!("{gap}{GOOD}{in_line} of {of} settings{GOOD:#} of {name} match, {how}\n");
    }
    let off = settings
        .iter()
        .filter(|setting| checked.evidence.comparison.is_drift(setting))
        .count();
    let hint = checked.plan.text(checked.place);
    format!("\n{off} of {of} settings of {name} differ\n{HINT}hint{HINT:#}: {hint}\n")
}

/// How settings are that nothing can change at the next boot, or what may change them.
fn persistence(settings: &[Compared], sure: &str) -> String {
    let open = settings.iter().filter_map(|setting| {
        let answer = &setting.persisted.as_ref()?.answer;
        (answer.sure != Sure::Known).then(|| (setting.key, answer.reasons.first()))
    });
    let open: Vec<_> = open.collect();
    let Some((key, reason)) = open.first() else {
        return sure.to_owned();
    };
    let others = match open.len() - 1 {
        0 => String::new(),
        1 => " and 1 other".to_owned(),
        more => format!(" and {more} others"),
    };
    let reason = reason.map_or("", String::as_str);
    format!("{sure}, but the next boot may change {key}{others}: {reason}")
}
