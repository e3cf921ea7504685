//! `cttune metrics` as the answers of a munin plugin.
//!
//! The first graph has the fields and lines of munin's own fw_conntrack, so that a link of that name
//! continues its history. The other graphs need munin's multigraph.
//! Follows guide.munin-monitoring.org: protocol, multigraph, dirtyconfig.

use std::fmt::Display;

use super::metrics::{DESTINATIONS, Flows, Metrics};
use crate::flow::guard::GuardSeen;
use crate::flow::{Protocol, TcpState};
use crate::tunable::{Counter, Key, format_count, format_share};

/// What munin asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Titles, labels and limits.
    pub(crate) config: bool,
    /// The values; with the configuration too where munin allows it (dirtyconfig).
    pub(crate) values: bool,
    /// Whether munin understands several graphs.
    pub(crate) multigraph: bool,
}

/// What a plugin answers.
pub(crate) fn text(metrics: &Metrics<'_>, answer: Answer) -> String {
    let graphs = [
        connections(metrics),
        dropped(metrics),
        drift(metrics),
        destinations(metrics),
    ];
    let graphs: Vec<Graph> = graphs
        .into_iter()
        .chain(metrics.guard.map(guarded))
        .collect();
    let shown = if answer.multigraph { graphs.len() } else { 1 };
    let mut text = String::new();
    for graph in graphs.iter().take(shown) {
        if let Some(name) = graph.name {
            text.push_str(&format!("multigraph cttune_{}{name}\n", place(metrics)));
        }
        if answer.config {
            let title = metrics
                .netns
                .map_or("\n".to_owned(), |netns| format!(" ({netns})\n"));
            text.push_str(&graph.config.replacen('\n', &title, 1));
        }
        if answer.values {
            text.push_str(&graph.values);
        }
    }
    text
}

/// The answer to `autoconf`.
pub(crate) fn autoconf(trouble: Option<&str>) -> String {
    match trouble {
        None => "yes\n".to_owned(),
        Some(why) => format!("no ({why})\n"),
    }
}

/// The namespace as part of a graph's name, in the letters that munin allows.
fn place(metrics: &Metrics<'_>) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let place = metrics
        .netns
        .map(|netns| netns.chars().map(allowed).collect::<String>() + "_");
    place.unwrap_or_default()
}

/// A graph under construction.
struct Graph {
    /// None for the one that has the plugin's own name.
    name: Option<&'static str>,
    config: String,
    values: String,
}

impl Graph {
    fn new(name: Option<&'static str>, title: &str, vertical: &str) -> Self {
        let config = format!(
            "graph_title {title}\ngraph_vlabel {vertical}\ngraph_category network\n\
             graph_args -l 0\n"
        );
        Graph {
            name,
            config,
            values: String::new(),
        }
    }

    /// Adds a field: its label, further lines of its configuration, and its value.
    fn field(&mut self, name: &str, label: &str, lines: &[&str], value: Option<impl Display>) {
        self.config += &format!("{name}.label {label}\n");
        for line in lines {
            self.config += &format!("{name}.{line}\n");
        }
        let value = value.map_or_else(|| "U".to_owned(), |value| value.to_string());
        self.values += &format!("{name}.value {value}\n");
    }
}

/// munin's fw_conntrack.
fn connections(metrics: &Metrics<'_>) -> Graph {
    let mut graph = Graph::new(None, "Connections through firewall", "Connections");
    let flows = metrics.flows.map(|flows| &flows.population);
    if let Some(population) = flows
        && let Some(sampled) = population.sampled
    {
        graph.config += &format!(
            "graph_info Estimated from a sample of {} flows: each line is right within {} of the \
             total, in 95 of 100 samples.\n",
            format_count(sampled),
            format_share(population.margin)
        );
    }
    let state = |state| flows.map(|flows| flows.in_state(state));
    for (name, label, draw, value) in [
        (
            "established",
            "Established",
            "AREA",
            state(TcpState::Established),
        ),
        ("fin_wait", "FIN_WAIT", "STACK", state(TcpState::FinWait)),
        ("time_wait", "TIME_WAIT", "STACK", state(TcpState::TimeWait)),
        ("syn_sent", "SYN_SENT", "STACK", state(TcpState::SynSent)),
        (
            "udp",
            "UDP connections",
            "STACK",
            flows.map(|flows| flows.of_protocol(Protocol::UDP)),
        ),
        (
            "assured",
            "Assured",
            "LINE2",
            flows.map(|flows| flows.assured),
        ),
        ("nated", "NATed", "LINE1", flows.map(|flows| flows.nated)),
    ] {
        graph.field(name, label, &["type GAUGE", &format!("draw {draw}")], value);
    }
    let mut lines = vec!["type GAUGE".to_owned(), "graph no".to_owned()];
    if let Some(max) = metrics.live.value(Key::Max).filter(|max| *max > 0) {
        #[allow(clippy::cast_precision_loss)] // below 2^31
        let tenths = |tenths: i64| max.saturating_mul(tenths) as f64 / 10.0;
        lines.push(format!("warning {}", tenths(8)));
        lines.push(format!("critical {}", tenths(9)));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let entries = || {
        metrics
            .live
            .count
            .and_then(|count| u64::try_from(count).ok())
    };
    let total = flows.map(|flows| flows.total).or_else(entries);
    graph.field("total", "Total", &lines, total);
    graph
}

/// Packets lost, a second.
fn dropped(metrics: &Metrics<'_>) -> Graph {
    let mut graph = Graph::new(
        Some("drops"),
        "Packets dropped by connection tracking",
        "Packets per ${graph_period}",
    );
    for (counter, label) in [
        (
            Counter::Drop,
            "Dropped, most often because the table was full",
        ),
        (Counter::EarlyDrop, "Flows evicted from a full table"),
        (Counter::InsertFailed, "Flow could not be entered"),
        (Counter::ChainTooLong, "Chain of the bucket too long"),
        (Counter::Invalid, "Invalid, no flow fits"),
    ] {
        let total = metrics.rates.total(counter);
        graph.field(counter.name(), label, &["type DERIVE", "min 0"], total);
    }
    graph
}

fn drift(metrics: &Metrics<'_>) -> Graph {
    let mut graph = Graph::new(Some("drift"), "Conntrack settings that drifted", "Settings");
    let drifted = metrics.drift().filter(|(_, drifted)| *drifted).count();
    graph.field(
        "drift",
        "Not as the profile desires",
        &["type GAUGE", "draw AREA", "warning :0"],
        metrics.profile.map(|_| drifted),
    );
    graph
}

/// By rank, so that field names are stable; the label names the present holder.
fn destinations(metrics: &Metrics<'_>) -> Graph {
    let mut graph = Graph::new(
        Some("destinations"),
        "Destinations with most connections",
        "Connections",
    );
    let groups = |flows: &Flows| flows.destinations.groups.clone();
    let groups = metrics.flows.map(groups);
    for rank in 0..DESTINATIONS {
        let group = groups.as_ref().and_then(|groups| groups.get(rank));
        let address = group.and_then(|group| group.values.first());
        let place = rank + 1;
        let label = address.map_or_else(
            || place.to_string(),
            |address| format!("{place}: {address}"),
        );
        let value = groups
            .as_ref()
            .map(|_| group.map_or(0, |group| group.flows));
        graph.field(
            &format!("place{place}"),
            &label,
            &["type GAUGE", "draw LINE1"],
            value,
        );
    }
    graph
}

/// Where a guard runs or ran: the flows that it ended, by class.
fn guarded(guard: &GuardSeen) -> Graph {
    let mut graph = Graph::new(
        Some("guard"),
        "Flows ended by the cttune guard",
        "Flows per ${graph_period}",
    );
    for (class, flows) in guard.ended() {
        let name = class.name();
        let lines = ["type DERIVE", "min 0", "draw AREASTACK"];
        graph.field(&name.replace('-', "_"), name, &lines, Some(flows));
    }
    let state = ["type GAUGE", "draw LINE1", "warning :0"];
    let is_in_trouble = u8::from(guard.is_helpless() || !guard.runs());
    graph.field(
        "trouble",
        "No flow may end, or it does not run",
        &state,
        Some(is_in_trouble),
    );
    graph
}

#[cfg(test)]
mod tests {
    use super::super::metrics::example;
    use super::*;

    const VALUES: Answer = Answer {
        config: false,
        values: true,
        multigraph: false,
    };
    const ALL: Answer = Answer {
        config: true,
        values: true,
        multigraph: true,
    };

    #[test]
    fn what_was_not_read_is_unknown_and_the_total_is_known_anyway() {
        let (live, rates, _) = example::table(2, 100);
        assert_eq!(
            text(&example::metrics(&live, &rates, None, &[]), VALUES),
            "established.value U\nfin_wait.value U\ntime_wait.value U\nsyn_sent.value U\n\
             udp.value U\nassured.value U\nnated.value U\ntotal.value 2\n"
        );
    }

    #[test]
    fn limits_are_munins_and_a_table_without_a_limit_has_none() {
        for (max, part) in [
            (
                262_144,
                Some("total.warning 209715.2\ntotal.critical 235929.6\n"),
            ),
            (76_800, Some("total.warning 61440\ntotal.critical 69120\n")),
            (i64::MAX, Some("total.warning 92")),
            (0, None),
        ] {
            let (live, rates, flows) = example::table(2, max);
            let text = text(&example::metrics(&live, &rates, Some(&flows), &[]), ALL);
            match part {
                Some(part) => assert!(text.contains(part), "{text}"),
                None => assert!(!text.contains("total.warning"), "{text}"),
            }
        }
    }

    #[test]
    fn graphs_of_a_namespace_have_names_of_their_own() {
        let (live, rates, flows) = example::table(2, 100);
        let metrics = Metrics {
            netns: Some("blue-1"),
            ..example::metrics(&live, &rates, Some(&flows), &[])
        };
        let text = text(&metrics, ALL);
        let named = text
            .lines()
            .filter_map(|line| line.strip_prefix("multigraph "));
        assert_eq!(
            named.collect::<Vec<_>>(),
            [
                "cttune_blue_1_drops",
                "cttune_blue_1_drift",
                "cttune_blue_1_destinations"
            ]
        );
        // No destination has a flow: each place is there, and empty.
        assert!(text.contains("place5.label 5\n") && text.contains("place5.value 0\n"));
        assert!(text.contains("early_drop.value 3\n") && text.contains("chain_toolong.value U\n"));
    }

    #[test]
    fn where_a_guard_runs_there_is_a_graph_of_what_it_ended() {
        let (live, rates, flows) = example::table(2, 100);
        let guard = example::guard();
        let metrics = Metrics {
            guard: Some(&guard),
            ..example::metrics(&live, &rates, Some(&flows), &[])
        };
        let text = text(&metrics, ALL);
        for part in [
            "multigraph cttune_guard\n",
            "time_wait.type DERIVE\n",
            "time_wait.value 7\n",
            "trouble.value 1\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn autoconf_is_yes_or_no_with_a_reason() {
        assert_eq!(autoconf(None), "yes\n");
        assert_eq!(autoconf(Some("not loaded")), "no (not loaded)\n");
    }
}
