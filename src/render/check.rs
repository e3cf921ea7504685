//! `cttune check`: the table, the findings, the settings.

mod text;

use serde_json::{Value, json};

pub(crate) use self::text::text;

use super::explain::answer_json;
use crate::assess::{Deep, Evidence, Finding, Memory, Namespace, Rates, Unread};
use crate::boot::Reader;
use crate::diagnostic::{Hint, Place};
use crate::flow::Estimate;
use crate::plan::Compared;
use crate::tunable::{Counter, Key, Snapshot};

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
    /// Whether to show settings without drift as well.
    pub(crate) keys: bool,
    /// Whether to show sources and choices as well.
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
        "version": env!("CARGO_PKG_VERSION"),
        "profile": checked.evidence.desired.map(|desired| &desired.name),
        "overrides": checked.evidence.desired.map(|desired| &desired.overrides),
        "pending": checked.pending.map(|pending| json!({
            "id": pending.id,
            "deadline": format!("{:.0}", pending.deadline),
        })),
        "in_line": checked.in_line(),
        "table": checked.evidence.machine.live.filter(|live| live.is_loaded()).map(|live| table_json(live, checked.evidence.rates)),
        "expectations": checked.evidence.machine.live.filter(|live| live.is_loaded()).map(|live| expectations_json(live, checked.evidence.rates)),
        "counters": checked.evidence.rates.map(counters_json),
        "guard": checked.evidence.guard.map(super::guard::seen_json),
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

pub(super) fn namespace_json(namespace: &Namespace) -> Value {
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

fn expectations_json(live: &Snapshot, rates: Option<&Rates>) -> Value {
    json!({
        "count": rates.and_then(|rates| rates.expectations),
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

/// `change 3 (campus-fw) is undone at 14:07:31 unless you run: cttune confirm`
pub(super) fn pending_line(pending: &Pending, place: &Place) -> String {
    let (id, profile) = (pending.id, &pending.profile);
    let clock = &pending.clock;
    let confirm = place.cttune("confirm");
    format!("change {id} ({profile}) is undone at {clock} unless you run: {confirm}")
}

/// How many settings of how many differ from the profile, if any.
pub(super) fn drift<'a>(checked: &Checked<'a>) -> Option<(usize, usize, &'a str)> {
    let comparison = checked.evidence.comparison;
    let desired = checked.evidence.desired?;
    let settings = comparison.settings.iter();
    let off = settings.filter(|one| comparison.is_drift(one)).count();
    (off > 0).then_some((off, comparison.settings.len(), desired.name.as_str()))
}
