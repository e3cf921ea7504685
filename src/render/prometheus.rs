//! `cttune metrics` in the text format of Prometheus.
//!
//! Follows prometheus.io/docs/instrumenting/exposition_formats and its rules for names: base units,
//! counters end in `_total`, no time stamps, since the textfile collector takes none.

use std::fmt::Display;

use super::metrics::Metrics;
use crate::assess::{Memory, Namespace};
use crate::flow::guard::{GuardSeen, LastPass};
use crate::tunable::{Counter, Key};

/// As Prometheus reads it.
pub(crate) fn text(metrics: &Metrics<'_>) -> String {
    let mut text = Text {
        netns: metrics.netns.unwrap_or_default().to_owned(),
        ..Text::default()
    };
    let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
    text.gauge("build_info", "The version of cttune.", [(&version, 1)]);
    table(metrics, &mut text);
    counters(metrics, &mut text);
    flows(metrics, &mut text);
    settings(metrics, &mut text);
    if let Some(guard) = metrics.guard {
        guarded(guard, &mut text);
    }
    namespaces(metrics.namespaces.unwrap_or_default(), &mut text);
    let up = metrics.sources.iter();
    text.gauge(
        "source_up",
        "Whether a source of these numbers could be read.",
        up.map(|source| {
            let label = [("source", source.name.to_owned())];
            (label, u8::from(source.trouble.is_none()))
        }),
    );
    text.finish()
}

fn table(metrics: &Metrics<'_>, text: &mut Text) {
    let live = metrics.live;
    text.number(
        "loaded",
        "Whether the kernel tracks connections.",
        Some(u8::from(live.is_loaded())),
    );
    text.number(
        "table_entries",
        "Entries in the table, expired ones that were not collected yet included.",
        live.count,
    );
    text.number(
        "table_max_entries",
        "Maximum number of entries; 0 is no limit.",
        live.value(Key::Max),
    );
    text.number(
        "table_buckets",
        "Buckets of the hash table.",
        live.value(Key::Buckets),
    );
    text.number(
        "expectations",
        "Connections that helpers have announced.",
        metrics.expectations,
    );
    text.number(
        "expectations_max",
        "Maximum number of expectations.",
        live.value(Key::ExpectMax),
    );
    let memory = Memory::of(live, metrics.rates.flow_size);
    text.number(
        "table_memory_bytes",
        "Memory of the entries and the hash table.",
        memory.map(|memory| memory.now),
    );
    text.number(
        "table_memory_full_bytes",
        "Memory of both when the table is full.",
        memory.and_then(|memory| memory.when_full),
    );
}

fn counters(metrics: &Metrics<'_>, text: &mut Text) {
    for counter in Counter::ALL {
        let total = metrics.rates.total(counter);
        let name = format!("{}_total", counter.name());
        let none: [Label; 0] = [];
        let samples = total.map(|total| (none, total));
        text.family("counter", &name, meaning(counter), samples);
    }
}

fn meaning(counter: Counter) -> &'static str {
    match counter {
        Counter::Drop => "Packets dropped, most often because the table was full.",
        Counter::EarlyDrop => "Flows evicted to make room in a full table.",
        Counter::InsertFailed => "Packets dropped because their flow could not be entered.",
        Counter::ChainTooLong => "Packets dropped because the chain of their bucket was too long.",
        Counter::ClashResolve => "Packets whose flow another CPU entered first; accepted.",
        Counter::Invalid => "Packets that belong to no flow, or do not fit theirs.",
        Counter::IcmpError => "ICMP errors that belong to no flow.",
        Counter::SearchRestart => "Lookups restarted because the table changed meanwhile.",
    }
}

fn flows(metrics: &Metrics<'_>, text: &mut Text) {
    let population = metrics.flows.map(|flows| &flows.population);
    let kinds = population.iter().flat_map(|population| &population.kinds);
    text.gauge(
        "flows",
        "Flows by family, protocol and, of TCP, state; estimated where a sample was read.",
        kinds.map(|(kind, flows)| {
            let state = kind.state.map_or("", |state| state.name());
            let labels = [
                ("family", kind.family.name().to_owned()),
                ("protocol", kind.protocol.to_string()),
                ("state", state.to_owned()),
            ];
            (labels, flows)
        }),
    );
    text.number(
        "flows_assured",
        "Flows that are not evicted early; offloaded ones are not counted.",
        population.map(|population| population.assured),
    );
    text.number(
        "flows_nated",
        "Flows with ports and a translated address.",
        population.map(|population| population.nated),
    );
    text.number(
        "flows_sampled",
        "Flows that these numbers were counted on.",
        population.map(|population| population.sampled.unwrap_or(population.total)),
    );
    text.number(
        "flows_margin_ratio",
        "How far the share of any kind of flow can be off at 95 %; 0 if all flows were read.",
        population.map(|population| population.margin),
    );
}

fn settings(metrics: &Metrics<'_>, text: &mut Text) {
    let key = |key: Key| [("key", key.name())];
    text.gauge(
        "setting_value",
        "Value of a sysctl, in its own unit.",
        metrics.values().map(|(own, value)| (key(own), value)),
    );
    text.gauge(
        "setting_drift",
        "Whether a sysctl differs from the profile, now or at the next boot.",
        metrics
            .drift()
            .map(|(setting, drifted)| (key(setting.key), u8::from(drifted))),
    );
    let profile = metrics
        .profile
        .map(|(name, _)| [("profile", name.to_owned())]);
    text.gauge(
        "profile_info",
        "The profile that settings are compared with.",
        profile.map(|label| (label, 1)),
    );
    text.number(
        "last_apply_timestamp_seconds",
        "When apply last changed something here.",
        metrics.last_apply.map(|last| last.time),
    );
}

/// What the guard does.
fn guarded(guard: &GuardSeen, text: &mut Text) {
    let status = &guard.status;
    let runs = Some(u8::from(guard.runs()));
    text.number(
        "guard_running",
        "Whether the guard works; 0 if it was killed or hangs.",
        runs,
    );
    let helpless = Some(u8::from(guard.is_helpless()));
    text.number(
        "guard_helpless",
        "Whether the table is above the high mark and no flow may end.",
        helpless,
    );
    let ended = guard.ended();
    let ended = ended.map(|(class, flows)| ([("class", class.name().to_owned())], flows));
    text.family(
        "counter",
        "guard_ended_total",
        "Flows that the guard ended, by class.",
        ended,
    );
    let passes = [([] as [Label; 0], status.passes)];
    text.family(
        "counter",
        "guard_passes_total",
        "Passes in which the guard ended flows.",
        passes,
    );
    for (name, help, value) in [
        (
            "guard_watched_flows",
            "Flows whose idle time the guard watches.",
            status.observed,
        ),
        (
            "guard_unwatched_flows",
            "Flows that could end and are not watched, for want of memory.",
            status.unwatched,
        ),
        (
            "guard_high_entries",
            "Entries from which on the guard ends flows.",
            status.high,
        ),
        (
            "guard_low_entries",
            "Entries down to which the guard ends flows.",
            status.low,
        ),
    ] {
        text.number(name, help, Some(value));
    }
    last_pass(status.last.as_ref(), text);
}

fn last_pass(last: Option<&LastPass>, text: &mut Text) {
    text.number(
        "guard_last_pass_flows",
        "Flows that the last pass ended.",
        last.map(|last| last.flows),
    );
    let time = last.and_then(|last| last.time.parse::<jiff::Timestamp>().ok());
    text.number(
        "guard_last_pass_timestamp_seconds",
        "When the guard last ended flows.",
        time.map(jiff::Timestamp::as_second),
    );
}

/// The tables of the other namespaces, under the names that our own has.
fn namespaces(all: &[Namespace], text: &mut Text) {
    let own = std::mem::take(&mut text.netns);
    for one in all.iter().filter(|one| !one.is_own) {
        text.netns = one.spoken();
        text.number("table_entries", "", Some(one.count));
        text.number("table_max_entries", "", Some(one.max));
        let none: [Label; 0] = [];
        text.family(
            "counter",
            "drop_total",
            "",
            one.drop.map(|drop| (none, drop)),
        );
    }
    text.netns = own;
}

type Label = (&'static str, String);

/// What is written, by name in the order of the first number of each.
#[derive(Default)]
struct Text {
    families: Vec<(String, String)>,
    /// The namespace that the numbers are about: a label of each of them, but for our own.
    netns: String,
}

impl Text {
    /// A number without labels.
    fn number(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        let none: [Label; 0] = [];
        self.gauge(name, help, value.map(|value| (none, value)));
    }

    fn gauge<L: AsRef<[Label]>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, impl Display)>,
    ) {
        self.family("gauge", name, help, samples);
    }

    /// Everything of one name; nothing where there is no number.
    fn family<L: AsRef<[Label]>>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, impl Display)>,
    ) {
        let netns = (!self.netns.is_empty()).then(|| ("netns", self.netns.clone()));
        let sample = |(labels, value): (L, _)| {
            let labels: Vec<Label> = labels
                .as_ref()
                .iter()
                .cloned()
                .chain(netns.clone())
                .collect();
            format!("cttune_{name}{} {value}\n", labels_text(&labels))
        };
        let samples: String = samples.into_iter().map(sample).collect();
        match self.families.iter_mut().find(|(known, _)| known == name) {
            Some((_, text)) => text.push_str(&samples),
            None if samples.is_empty() => {}
            None => self.families.push((
                name.to_owned(),
                format!("# HELP cttune_{name} {help}\n# TYPE cttune_{name} {kind}\n{samples}"),
            )),
        }
    }

    fn finish(self) -> String {
        self.families.into_iter().map(|(_, text)| text).collect()
    }
}

fn labels_text(labels: &[Label]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels = labels.iter().map(|(name, value)| {
        let value = value.replace('\\', r"\\").replace('"', r#"\""#);
        format!("{name}=\"{}\"", value.replace('\n', r"\n"))
    });
    format!("{{{}}}", labels.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::super::metrics::{Source, example};
    use super::*;

    #[test]
    fn every_number_has_a_help_and_a_type_and_what_was_not_read_is_left_out() {
        let (live, rates, _) = example::table(2, 100);
        let sources = [Source {
            name: "flows",
            trouble: Some("permission denied".to_owned()),
        }];
        let text = text(&example::metrics(&live, &rates, None, &sources));
        let numbers: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            numbers[1..],
            [
                "cttune_loaded 1",
                "cttune_table_entries 2",
                "cttune_table_max_entries 100",
                "cttune_table_buckets 512",
                "cttune_table_memory_bytes 4864",
                "cttune_table_memory_full_bytes 42496",
                "cttune_drop_total 11",
                "cttune_early_drop_total 3",
                "cttune_invalid_total 1",
                "cttune_setting_value{key=\"net.netfilter.nf_conntrack_max\"} 100",
                "cttune_setting_value{key=\"net.netfilter.nf_conntrack_buckets\"} 512",
                "cttune_source_up{source=\"flows\"} 0",
            ]
        );
        for number in numbers {
            let name = number.split(['{', ' ']).next().unwrap();
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        }
    }

    #[test]
    fn a_guard_tells_what_it_ended_by_class() {
        let (live, rates, _) = example::table(2, 100);
        let guard = example::guard();
        let metrics = Metrics {
            guard: Some(&guard),
            ..example::metrics(&live, &rates, None, &[])
        };
        let text = text(&metrics);
        for line in [
            "# TYPE cttune_guard_ended_total counter",
            "cttune_guard_running 1",
            "cttune_guard_helpless 1",
            "cttune_guard_ended_total{class=\"time-wait\"} 7",
            "cttune_guard_ended_total{class=\"established\"} 0",
            "cttune_guard_passes_total 2",
            "cttune_guard_watched_flows 5",
            "cttune_guard_last_pass_timestamp_seconds 1767225600",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
    }

    #[test]
    fn kinds_without_flows_are_zero() {
        let (live, rates, flows) = example::table(0, 100);
        let text = text(&example::metrics(&live, &rates, Some(&flows), &[]));
        let part = "cttune_flows{family=\"ipv6\",protocol=\"tcp\",state=\"established\"} 0\n";
        assert!(text.contains(part), "{text}");
        assert!(text.contains("cttune_flows{family=\"ipv4\",protocol=\"udp\",state=\"\"} 0\n"));
    }

    #[test]
    fn a_label_may_hold_anything() {
        let label = [("profile", "a\\b \"c\"\nd".to_owned())];
        assert_eq!(labels_text(&label), r#"{profile="a\\b \"c\"\nd"}"#);
        assert_eq!(labels_text(&[]), "");
    }
}
