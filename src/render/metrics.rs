//! `cttune metrics`: all the numbers of one moment, and as JSON.
//!
//! [`prometheus`](super::prometheus) and [`munin`](super::munin) show the same [`Metrics`].

use serde::Serialize;

use super::check::{
    Count, Expectations, NamespaceNow, TableNow, counters_now, namespace_now, table_now,
};
use super::guard::GuardNow;
use super::shape::{Named, NotRead, Schema};
use crate::assess::{Namespace, Rates};
use crate::flow::guard::GuardSeen;
use crate::flow::{Group, Kind, Population, TcpState, Top};
use crate::plan::{Compared, Comparison};
use crate::tunable::{Key, Snapshot};

/// Groups of destinations that are shown.
pub(crate) const DESTINATIONS: usize = 5;

/// The numbers of one moment, as far as they could be read.
#[derive(Debug)]
pub(crate) struct Metrics<'a> {
    /// Every setting, and the number of entries.
    pub(crate) live: &'a Snapshot,
    /// The counters.
    pub(crate) rates: &'a Rates,
    /// The flows, where they were counted.
    pub(crate) flows: Option<&'a Flows>,
    /// The profile's name, and the comparison with it.
    pub(crate) profile: Option<(&'a str, &'a Comparison)>,
    /// The guard of this namespace; none where none runs or ran.
    pub(crate) guard: Option<&'a GuardSeen>,
    /// When apply last changed something here.
    pub(crate) last_apply: Option<&'a LastApply>,
    /// Connections that helpers have announced.
    pub(crate) expectations: Option<u64>,
    /// What was to be read, and whether it was.
    pub(crate) sources: &'a [Source],
    /// The namespace that `--netns` named.
    pub(crate) netns: Option<&'a str>,
    /// Every namespace, our own too, where `--all-netns` asks for them.
    pub(crate) namespaces: Option<&'a [Namespace]>,
}

/// The flows of the table, counted in one pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flows {
    /// By kind.
    pub(crate) population: Population,
    /// By destination.
    pub(crate) destinations: Top,
}

/// A change that apply made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LastApply {
    /// Its number in the journal.
    pub(crate) id: u64,
    /// Seconds since 1970.
    pub(crate) time: i64,
}

/// Something that was to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// `counters`, `flows`, `files`, `profile`, `guard` or `journal`.
    pub(crate) name: &'static str,
    /// Why it could not be read.
    pub(crate) trouble: Option<String>,
}

impl Metrics<'_> {
    /// The settings that were read, in catalog order.
    pub(super) fn values(&self) -> impl Iterator<Item = (Key, i64)> {
        let keys = Key::ALL.iter().copied();
        keys.filter_map(|key| Some((key, self.live.value(key)?)))
    }

    /// The settings of the profile, each with whether it drifted.
    pub(super) fn drift(&self) -> impl Iterator<Item = (&Compared, bool)> {
        let comparison = self.profile.map(|(_, comparison)| comparison);
        comparison.into_iter().flat_map(|comparison| {
            let settings = comparison.settings.iter();
            settings.map(|setting| (setting, comparison.is_drift(setting)))
        })
    }
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    netns: Option<&'a str>,
    namespaces: Option<Vec<NamespaceNow<'a>>>,
    table: Option<TableNow>,
    expectations: Expectations,
    counters: Named<Count>,
    flows: Option<FlowsNow>,
    guard: Option<GuardNow<'a>>,
    profile: Option<&'a str>,
    settings: Vec<SettingNow>,
    last_apply: Option<LastApply>,
    unread: Vec<NotRead<'a>>,
}

/// A setting; `drift` is null for one that no profile speaks of.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SettingNow {
    key: Key,
    value: i64,
    drift: Option<bool>,
}

/// The flows of the table.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FlowsNow {
    total: u64,
    /// Flows that were looked at, if not all were.
    sampled: Option<u64>,
    margin: f64,
    assured: u64,
    nated: u64,
    kinds: Vec<KindNow>,
    destinations: Vec<Destination>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct KindNow {
    family: &'static str,
    protocol: String,
    /// For TCP.
    state: Option<&'static str>,
    flows: u64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Destination {
    dst: Option<String>,
    flows: u64,
    share: f64,
    margin: f64,
}

pub(crate) fn json<'a>(metrics: &'a Metrics<'_>) -> Output<'a> {
    let live = metrics.live;
    let drift = |key: Key| {
        let mut drift = metrics.drift();
        let own = drift.find(|(setting, _)| setting.key == key);
        own.map(|(_, drifted)| drifted)
    };
    let setting = |(key, value)| SettingNow {
        key,
        value,
        drift: drift(key),
    };
    let unread = metrics.sources.iter();
    let unread =
        unread.filter_map(|source| Some(NotRead::new(source.name, source.trouble.as_ref()?)));
    let namespaces = metrics.namespaces;
    Output {
        schema: Schema,
        netns: metrics.netns,
        namespaces: namespaces.map(|all| all.iter().map(namespace_now).collect()),
        table: live
            .is_loaded()
            .then(|| table_now(live, Some(metrics.rates))),
        expectations: Expectations {
            count: metrics.expectations,
            max: live.value(Key::ExpectMax),
        },
        counters: counters_now(metrics.rates),
        flows: metrics.flows.map(flows_now),
        guard: metrics.guard.map(super::guard::guard_now),
        profile: metrics.profile.map(|(name, _)| name),
        settings: metrics.values().map(setting).collect(),
        last_apply: metrics.last_apply.copied(),
        unread: unread.collect(),
    }
}

fn flows_now(flows: &Flows) -> FlowsNow {
    let population = &flows.population;
    let kind = |(kind, flows): (&Kind, &u64)| KindNow {
        family: kind.family.name(),
        protocol: kind.protocol.to_string(),
        state: kind.state.map(TcpState::name),
        flows: *flows,
    };
    let destination = |group: &Group| Destination {
        dst: group.values.first().map(ToString::to_string),
        flows: group.flows,
        share: group.share,
        margin: group.margin,
    };
    let destinations = flows.destinations.groups.iter();
    FlowsNow {
        total: population.total,
        sampled: population.sampled,
        margin: population.margin,
        assured: population.assured,
        nated: population.nated,
        kinds: population.kinds.iter().map(kind).collect(),
        destinations: destinations.map(destination).collect(),
    }
}

/// The same numbers for the tests of every renderer.
#[cfg(test)]
pub(super) mod example {
    use super::*;
    use crate::flow::guard::{GuardStatus, LastPass};
    use crate::flow::{Census, Field, Kinds};
    use crate::tunable::{Access, Counters, Reading};

    const STAT: &str = "entries invalid drop early_drop\n2 1 a 0\n2 0 1 3\n";

    /// A table with these values, the counters of two CPUs, and no flows.
    pub(in crate::render) fn table(count: i64, max: i64) -> (Snapshot, Rates, Flows) {
        let reading = |value| {
            let access = Access::Writable;
            Reading::Value { value, access }
        };
        let readings = [
            (Key::Max, reading(max)),
            (Key::Buckets, reading(512)),
            (Key::UdpTimeout, Reading::Denied),
        ];
        let rates = Rates {
            counters: Counters::parse(STAT),
            flow_size: Some(256),
            ..Rates::default()
        };
        let flows = Flows {
            population: Kinds::default().finish(None),
            destinations: Census::by(&[Field::Dst]).finish(None, DESTINATIONS),
        };
        (Snapshot::new(readings, Some(count)), rates, flows)
    }

    /// A guard that can end no more.
    pub(in crate::render) fn guard() -> GuardSeen {
        GuardSeen {
            status: GuardStatus {
                helpless: true,
                observed: 5,
                ended: [("time-wait".to_owned(), 7)].into(),
                passes: 2,
                last: Some(LastPass {
                    time: "2026-01-01T00:00:00Z".to_owned(),
                    flows: 3,
                }),
                ..GuardStatus::default()
            },
            age: 1,
            has_ended: false,
        }
    }

    pub(in crate::render) fn metrics<'a>(
        live: &'a Snapshot,
        rates: &'a Rates,
        flows: Option<&'a Flows>,
        sources: &'a [Source],
    ) -> Metrics<'a> {
        Metrics {
            live,
            rates,
            flows,
            profile: None,
            last_apply: None,
            guard: None,
            expectations: None,
            sources,
            netns: None,
            namespaces: None,
        }
    }
}
