//! `cttune check` for people: the verdict, what is critical, what to do, then the details.

use anstyle::Style;

use super::{Checked, drift, pending_line};
use crate::assess::{Finding, Memory, Namespace, Rates, Severity, worst};
use crate::boot::Sure;
use crate::diagnostic::Hint;
use crate::plan::{Compared, State};
use crate::profile::Desired;
use crate::render::advice::Advice;
use crate::render::layout::{BELOW, CELL, HANG, RIGHT, SPARE, TAIL, gauge};
use crate::render::plan::set_text;
use crate::render::style::{BAD, FAINT, GOOD, HEAD, HINT, WARN};
use crate::service::Found;
use crate::tunable::{Counter, Key, Snapshot, format_count, format_share, format_size, plural};

/// Characters of the bar that shows how full a table is.
const GAUGE: u8 = 20;
/// Values set beside the profile that the verdict names.
const SET_NAMED: usize = 2;

/// As people read it.
pub(crate) fn text(checked: &Checked<'_>) -> String {
    let mut advice = Advice::new(checked.place);
    let mut text = heading(checked);
    let plan = checked.plan.filter(|_| drift(checked).is_some());
    if let Some(plan) = plan {
        advice.leave_out(plan);
    }
    let (critical, others): (Vec<_>, Vec<_>) = checked
        .findings
        .iter()
        .filter(|finding| checked.verbose || !finding.id.is_choice())
        .partition(|finding| finding.severity == Severity::Critical && finding.accepted.is_none());
    for finding in critical {
        text.push_str(&finding_text(finding, checked, &mut advice));
    }
    if let Some(plan) = plan {
        text.push_str(&Advice::new(checked.place).lines("next", plan));
    }
    text.push('\n');
    text.push_str(&state(checked));
    for finding in others {
        text.push_str(&finding_text(finding, checked, &mut advice));
    }
    text.push_str(&settings_text(checked));
    text.push_str(&ending(checked));
    text
}

/// The verdict in one line; before it a pending change, which does not wait.
fn heading(checked: &Checked<'_>) -> String {
    let mut text = String::new();
    if let Some(pending) = checked.pending {
        let line = pending_line(pending, checked.place);
        text.push_str(&format!("{WARN}pending{WARN:#}: {HANG}{line}\n"));
    }
    let (style, _) = worst(checked.findings, Severity::Info).map_or((GOOD, ""), severity_style);
    let host = checked.host;
    let verdict = summary(checked);
    text.push_str(&format!(
        "{HEAD}{host}{HEAD:#}: {style}{verdict}{style:#}\n"
    ));
    text
}

/// What was read of the table, and what it was compared with.
fn state(checked: &Checked<'_>) -> String {
    let mut text = String::new();
    let live = checked.evidence.machine.live;
    if let Some(live) = live.filter(|live| live.is_loaded()) {
        text.push_str(&table_text(live, checked.evidence.rates));
        if let Some(rates) = checked.evidence.rates {
            text.push_str(&rates_text(rates, live, checked.verbose));
        }
    }
    text.extend(checked.evidence.guard.map(crate::render::guard::seen));
    if let Some(namespaces) = checked.evidence.namespaces {
        text.push_str(&namespaces_text(namespaces, checked.verbose));
    }
    text.push_str(&match checked.evidence.desired {
        None => "profile: none is active\n".to_owned(),
        Some(desired) => profile_line(desired),
    });
    let services = &checked.evidence.comparison.services;
    let is_unread = matches!(checked.evidence.machine.table, Some(Found::Unread(_)));
    if let Some(why) = services.left_out.as_ref().filter(|_| !is_unread) {
        text.push_str(&format!("services: {HANG}left out: {why}\n"));
    }
    text
}

fn profile_line(desired: &Desired) -> String {
    let name = &desired.name;
    let about = desired.description.as_ref();
    let about = about.map_or_else(String::new, |about| format!(" ({about})"));
    let set = set_text(&desired.overrides);
    format!("profile: {HANG}{HEAD}{name}{HEAD:#}{about}{set}\n")
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
    let settings = match (drift(checked), checked.evidence.desired) {
        (Some((off, of, name)), _) => format!("; {off} of {of} settings of {name} differ"),
        (None, Some(desired)) => format!("; {}", matching(checked, &desired.name)),
        (None, None) => String::new(),
    };
    let set = checked.evidence.desired.map(|desired| &desired.overrides);
    let set = match set {
        Some(set) if set.len() > SET_NAMED => {
            format!(", with {} of --set", plural(set.len(), "value"))
        }
        set => set.map(set_text).unwrap_or_default(),
    };
    format!("{findings}{settings}{set}")
}

/// `5 of 5 settings of campus-fw match, live and persisted`
fn matching(checked: &Checked<'_>, name: &str) -> String {
    let settings = &checked.evidence.comparison.settings;
    let ok = settings.iter().filter(|one| one.state == State::Ok).count();
    let of = settings.len();
    // With --netns no file was compared, with --root no kernel.
    let machine = &checked.evidence.machine;
    let live = machine.live.is_some();
    let how = match (live, machine.files.is_some()) {
        (true, false) => "live",
        (false, true) => "persisted",
        _ => "live and persisted",
    };
    let open = settings.iter().filter(|setting| is_open(setting)).count();
    let how = match open {
        0 => how.to_owned(),
        open if live => format!("live, but the next boot may change {open} of them"),
        open => format!("but the next boot may change {open} of them"),
    };
    match of {
        0 if checked.evidence.comparison.in_line() => format!("{name} matches, {how}"),
        // A finding says what.
        0 => format!("{name} differs"),
        of => format!("{ok} of {of} settings of {name} match, {how}"),
    }
}

/// Whether something may change the value at the next boot.
fn is_open(setting: &Compared) -> bool {
    let persisted = setting.persisted.as_ref();
    persisted.is_some_and(|persisted| persisted.answer.sure != Sure::Known)
}

fn table_text(live: &Snapshot, rates: Option<&Rates>) -> String {
    let number = |key| live.value(key).map_or_else(|| "?".to_owned(), format_count);
    let entries = live.count.map_or_else(|| "?".to_owned(), format_count);
    let (max, buckets) = (number(Key::Max), number(Key::Buckets));
    let share = live.fill().map_or_else(
        || "no limit".to_owned(),
        |fill| format!("({})  {}", format_share(fill), gauge(fill, GAUGE)),
    );
    let memory = Memory::of(live, rates.and_then(|rates| rates.flow_size));
    let now = memory.map(|memory| format!("; {} of memory", format_size(memory.now)));
    let most = memory.and_then(|memory| memory.when_full);
    let most = most.map(|bytes| format!(", {} when full", format_size(bytes)));
    format!(
        "table: {HANG}{entries} of {max} entries {share}\n       {HANG}{buckets} buckets{}{}\n",
        now.unwrap_or_default(),
        most.unwrap_or_default(),
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
        let counters: Vec<String> = counters.collect();
        text.push_str(&format!("counters: {HANG}{}\n", counters.join(", ")));
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
    let mut text = format!(
        "\n{HEAD}network namespace{HEAD:#}{CELL}{RIGHT}entries{CELL}{RIGHT}of{CELL}{RIGHT}fill{CELL}{RIGHT}dropped{CELL}{SPARE}\n"
    );
    for one in sorted.iter().take(shown) {
        let name = if one.is_own {
            "this one".to_owned()
        } else {
            one.spoken()
        };
        let drop = one.drop.map_or_else(|| "?".to_owned(), format_count);
        let (count, max) = (format_count(one.count), format_count(one.max));
        let fill = one.fill();
        let bar = fill.map_or_else(String::new, |fill| gauge(fill, GAUGE / 2));
        let fill = fill.map_or_else(|| "no limit".to_owned(), format_share);
        text.push_str(&format!(
            "  {name}{CELL}{RIGHT}{count}{CELL}{RIGHT}{max}{CELL}{RIGHT}{fill}{CELL}{RIGHT}{drop}{CELL}{SPARE}{bar}\n"
        ));
    }
    if sorted.len() > shown {
        text.push_str(&format!("  and {} more: -v\n", sorted.len() - shown));
    }
    text.push('\n');
    text
}

fn severity_style(severity: Severity) -> (Style, &'static str) {
    match severity {
        Severity::Critical => (BAD, "critical"),
        Severity::Warning => (WARN, "warning"),
        Severity::Info => (HINT, "info"),
    }
}

fn finding_text(finding: &Finding, checked: &Checked<'_>, advice: &mut Advice<'_>) -> String {
    let (style, severity) = severity_style(finding.severity);
    let message = &finding.message;
    let id = format!("{FAINT}[{}]{FAINT:#}", finding.id.name());
    if let Some(why) = &finding.accepted {
        return format!(
            "{FAINT}accepted{FAINT:#}: {HANG}{message} {id}\n  accepted because {HANG}{why}\n"
        );
    }
    let mut text = format!("{style}{severity}{style:#}: {HANG}{message}{TAIL} {id}\n");
    text.push_str(&advice.lines("  hint", &finding.hint));
    if checked.verbose {
        let source = finding.id.source();
        text.push_str(&format!("  {FAINT}source: {HANG}{source}{FAINT:#}\n"));
    }
    text
}

/// The settings that differ from the profile, or all of them.
fn settings_text(checked: &Checked<'_>) -> String {
    let compared = checked.evidence.desired.is_some();
    let all = checked.evidence.comparison.settings.iter();
    let shown = all.filter(|one| checked.keys || compared && one.state != State::Ok);
    let rows: String = shown.map(|setting| row(setting, compared)).collect();
    if rows.is_empty() {
        return rows;
    }
    let (state, wanted) = if compared {
        (
            format!("{CELL}"),
            format!("{CELL}{RIGHT}{HEAD}wanted{HEAD:#}"),
        )
    } else {
        Default::default()
    };
    format!(
        "\n{HEAD}setting{HEAD:#}{state}{CELL}{RIGHT}{HEAD}live{HEAD:#}{CELL}{RIGHT}{HEAD}persisted{HEAD:#}{wanted}\n{rows}"
    )
}

/// A setting; below it, where it differs, why the profile wants another.
fn row(setting: &Compared, compared: bool) -> String {
    let key = setting.key;
    let said = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| key.said(value));
    let (live, persisted) = (said(setting.live_value()), said(setting.persisted_value()));
    let name = key.short_name();
    if !compared {
        return format!("{name}{CELL}{RIGHT}{live}{CELL}{RIGHT}{persisted}\n");
    }
    let (style, state) = state_name(setting.state);
    let why = match setting.state {
        State::Missing if setting.is_required() => "required, and this kernel does not have it",
        State::Missing => "this kernel does not have it",
        State::Ok => "",
        _ => setting
            .targets
            .as_ref()
            .map_or("", |targets| targets.why.as_str()),
    };
    let why = if why.is_empty() {
        String::new()
    } else {
        format!("{CELL}{BELOW}{FAINT}{why}{FAINT:#}")
    };
    let wanted = said(setting.desired_value());
    format!(
        "{name}{CELL}{style}{state}{style:#}{CELL}{RIGHT}{live}{CELL}{RIGHT}{persisted}{CELL}{RIGHT}{wanted}{why}\n"
    )
}

fn state_name(state: State) -> (Style, &'static str) {
    match state {
        State::Missing => (FAINT, "missing"),
        State::ReadOnly => (FAINT, "read-only"),
        State::Differs => (WARN, "differs"),
        State::NotPersisted => (WARN, "not persisted"),
        State::Ok => (GOOD, "ok"),
    }
}

/// What the verdict had no room for.
fn ending(checked: &Checked<'_>) -> String {
    let mut text = String::new();
    if checked.evidence.desired.is_none() {
        let list = Hint::cttune("profile list").to("to compare with a profile");
        text.push_str(&Advice::new(checked.place).lines("next", &list));
    } else if checked.evidence.comparison.in_line() {
        let settings = &checked.evidence.comparison.settings;
        text.extend(doubt(settings).map(|doubt| format!("{WARN}note{WARN:#}: {HANG}{doubt}\n")));
    }
    text
}

/// What may change settings at the next boot, if anything may.
fn doubt(settings: &[Compared]) -> Option<String> {
    let open = settings.iter().filter(|setting| is_open(setting));
    let open = open.filter_map(|setting| {
        let answer = &setting.persisted.as_ref()?.answer;
        Some((setting.key, answer.reasons.first()))
    });
    let open: Vec<_> = open.collect();
    let (key, reason) = open.first()?;
    let others = match open.len() - 1 {
        0 => String::new(),
        1 => " and 1 other".to_owned(),
        more => format!(" and {more} others"),
    };
    let reason = reason.map_or("", String::as_str);
    Some(format!("the next boot may change {key}{others}: {reason}"))
}
