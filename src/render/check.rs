//! `cttune check`: the table, the findings, the settings.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

pub(crate) use self::text::text;

use super::explain::{AnswerNow, answer_now};
use super::guard::GuardNow;
use super::shape::{Named, NotRead, Schema};
use crate::assess::{Deep, Evidence, Finding, Memory, Namespace, Rates, Severity};
use crate::boot::{Reader, Winner};
use crate::diagnostic::{Hint, Place};
use crate::flow::Estimate;
use crate::plan::{Compared, State};
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
    /// The command that shows the plan for the same profile, where it has something to do.
    pub(crate) plan: Option<&'a Hint>,
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
    /// What it has set.
    pub(crate) live: Vec<(Key, i64)>,
}

impl Checked<'_> {
    /// Whether nothing drifted; `None` where nothing was compared.
    fn in_line(&self) -> Option<bool> {
        let compared = self.evidence.desired.is_some();
        compared.then(|| self.evidence.comparison.in_line())
    }
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    host: &'a str,
    version: &'static str,
    profile: Option<&'a str>,
    /// What was set beside the profile, by key.
    overrides: Option<&'a BTreeMap<Key, i64>>,
    pending: Option<PendingChange>,
    /// Whether nothing drifted; null without a profile.
    in_line: Option<bool>,
    table: Option<TableNow>,
    expectations: Option<Expectations>,
    counters: Option<Named<Count>>,
    guard: Option<GuardNow<'a>>,
    deep: Option<Walked<'a>>,
    namespaces: Option<Vec<NamespaceNow<'a>>>,
    /// Why the timeouts of services are not compared.
    services_left_out: Option<&'a str>,
    settings: Vec<SettingNow<'a>>,
    findings: Vec<Found<'a>>,
    unread: Vec<NotRead<'a>>,
}

/// A change that is undone at its deadline.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PendingChange {
    id: u64,
    /// RFC 3339, in UTC.
    deadline: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct TableNow {
    count: Option<i64>,
    max: Option<i64>,
    buckets: Option<i64>,
    /// 0 to 1.
    fill: Option<f64>,
    /// Bytes.
    memory: Option<u64>,
    memory_when_full: Option<u64>,
    growth_per_second: Option<f64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Expectations {
    pub(super) count: Option<u64>,
    pub(super) max: Option<i64>,
}

/// A counter; null where this kernel does not have it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Count {
    total: Option<u64>,
    per_second: Option<f64>,
}

/// What a walk through the table showed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Walked<'a> {
    total: u64,
    sampled: Option<u64>,
    not_reclaimable: Estimate,
    push: Estimate,
    unanswered: Estimate,
    nat: Option<NatNow>,
    tracked_by: Option<&'a BTreeSet<String>>,
    timeout_policies: Option<usize>,
    flowtables: Option<&'a [String]>,
}

/// Where the largest share of the ports is in use.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct NatNow {
    protocol: String,
    address: IpAddr,
    server: String,
    used: Estimate,
    /// The first and the last.
    ports: [u16; 2],
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct NamespaceNow<'a> {
    name: Option<&'a str>,
    pids: &'a [u32],
    inode: u64,
    own: bool,
    count: i64,
    max: i64,
    fill: Option<f64>,
    drop: Option<u64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SettingNow<'a> {
    key: Key,
    live: Option<i64>,
    persisted: Option<i64>,
    persisted_by: Option<PersistedBy>,
    next_boot: Option<AnswerNow>,
    wanted: Option<i64>,
    state: State,
    why: Option<&'a str>,
}

/// The line that wins for each reader of sysctl.d.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PersistedBy {
    procps: Option<WinningLine>,
    systemd: Option<WinningLine>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct WinningLine {
    value: i64,
    file: String,
    line: usize,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Found<'a> {
    id: &'static str,
    severity: Severity,
    message: &'a str,
    hint: String,
    source: &'static str,
    accepted: bool,
    accepted_why: Option<&'a str>,
}

pub(crate) fn json<'a>(checked: &'a Checked<'_>) -> Output<'a> {
    let evidence = &checked.evidence;
    let live = evidence.machine.live.filter(|live| live.is_loaded());
    let namespaces = evidence.namespaces;
    let settings = evidence.comparison.settings.iter();
    let findings = checked.findings.iter();
    let unread = evidence.unread.iter();
    Output {
        schema: Schema,
        host: checked.host,
        version: env!("CARGO_PKG_VERSION"),
        profile: evidence.desired.map(|desired| desired.name.as_str()),
        overrides: evidence.desired.map(|desired| &desired.overrides),
        pending: checked.pending.map(|pending| PendingChange {
            id: pending.id,
            deadline: format!("{:.0}", pending.deadline),
        }),
        in_line: checked.in_line(),
        table: live.map(|live| table_now(live, evidence.rates)),
        expectations: live.map(|live| Expectations {
            count: evidence.rates.and_then(|rates| rates.expectations),
            max: live.value(Key::ExpectMax),
        }),
        counters: evidence.rates.map(counters_now),
        guard: evidence.guard.map(super::guard::guard_now),
        deep: evidence.deep.map(walked),
        namespaces: namespaces.map(|all| all.iter().map(namespace_now).collect()),
        services_left_out: evidence.comparison.services.left_out.as_deref(),
        settings: settings.map(setting_now).collect(),
        findings: findings.map(|one| found(one, checked.place)).collect(),
        unread: unread
            .map(|one| NotRead::new(&one.source, &one.why))
            .collect(),
    }
}

pub(super) fn table_now(live: &Snapshot, rates: Option<&Rates>) -> TableNow {
    let memory = Memory::of(live, rates.and_then(|rates| rates.flow_size));
    TableNow {
        count: live.count,
        max: live.value(Key::Max),
        buckets: live.value(Key::Buckets),
        fill: live.fill(),
        memory: memory.map(|memory| memory.now),
        memory_when_full: memory.and_then(|memory| memory.when_full),
        growth_per_second: rates.and_then(|rates| rates.growth(live)),
    }
}

/// Every counter by its name.
pub(super) fn counters_now(rates: &Rates) -> Named<Count> {
    let count = |counter: Counter| Count {
        total: rates.total(counter),
        per_second: rates.rate(counter),
    };
    let all = Counter::ALL.into_iter();
    all.map(|counter| (counter.name(), count(counter)))
        .collect()
}

fn walked(deep: &Deep) -> Walked<'_> {
    let pressure = &deep.pressure;
    let is_sample = pressure.looked_at < pressure.table;
    Walked {
        total: pressure.table,
        sampled: is_sample.then_some(pressure.looked_at),
        not_reclaimable: pressure.fixed,
        push: pressure.push,
        unanswered: pressure.unanswered.all,
        nat: deep.nat.ports.as_ref().map(|nat| NatNow {
            protocol: nat.protocol.to_string(),
            address: nat.address,
            server: nat.server.to_string(),
            used: nat.used,
            ports: [*nat.ports.start(), *nat.ports.end()],
        }),
        tracked_by: deep.rules.as_ref().map(|rules| &rules.trackers),
        timeout_policies: deep.policies.as_ref().map(|policies| policies.0.len()),
        flowtables: deep.flowtables.as_deref(),
    }
}

pub(super) fn namespace_now(namespace: &Namespace) -> NamespaceNow<'_> {
    NamespaceNow {
        name: namespace.name.as_deref(),
        pids: &namespace.pids,
        inode: namespace.inode,
        own: namespace.is_own,
        count: namespace.count,
        max: namespace.max,
        fill: namespace.fill(),
        drop: namespace.drop,
    }
}

fn setting_now(setting: &Compared) -> SettingNow<'_> {
    let line = |winner: &Winner| WinningLine {
        value: winner.value,
        file: winner.real.display().to_string(),
        line: winner.line,
    };
    let persisted = setting.persisted.as_ref();
    SettingNow {
        key: setting.key,
        live: setting.live_value(),
        persisted: setting.persisted_value(),
        persisted_by: persisted.map(|persisted| PersistedBy {
            procps: persisted.winner(Reader::Procps).map(line),
            systemd: persisted.winner(Reader::Systemd).map(line),
        }),
        next_boot: persisted.map(|persisted| answer_now(&persisted.answer)),
        wanted: setting.desired_value(),
        state: setting.state,
        why: setting.targets.as_ref().map(|targets| targets.why.as_str()),
    }
}

fn found<'a>(finding: &'a Finding, place: &Place) -> Found<'a> {
    Found {
        id: finding.id.name(),
        severity: finding.severity,
        message: &finding.message,
        hint: finding.hint.text(place),
        source: finding.id.source(),
        accepted: finding.accepted.is_some(),
        accepted_why: finding.accepted.as_deref(),
    }
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
