//! A profile for what a host was seen to do: limits from the peak and the arrivals, timeouts from
//! the idle times after which flows spoke again, each with the reasoning in its `why`.
//!
//! Rule: never below what the RFCs ask for; never below what was seen, whatever memory says; a
//! timeout is lowered only where no flow was seen that it would have ended.

mod services;

use textwrap::Options;
use toml_edit::{DocumentMut, Item, Table};

use super::Role;
use super::derive::entries_within;
use crate::flow::observe::Step;
use crate::flow::{IdleTimes, Observed, Returned};
use crate::tunable::{
    ENTRY_BYTES, Host, Key, Snapshot, format_count, format_seconds, format_share, format_size,
    plural,
};

/// Seconds that an established connection may be given: RFC 5382 REQ-5's 2 h 4 min, Linux's own
/// keepalive with all its probes, then as people round.
pub(crate) const ESTABLISHED: [u32; 7] = [7440, 7875, 14400, 28800, 86400, 172_800, 432_000];
/// Seconds that a UDP flow that went both ways may be given: from RFC 4787 REQ-5's minimum to what
/// it recommends.
pub(crate) const STREAM: [u32; 3] = [120, 180, 300];
/// No table is suggested smaller.
const SMALLEST: i64 = 65536;
/// Shares of memory that a table may take, in percent: the first that is enough.
const SHARES: [u8; 2] = [10, 25];
/// Characters of a line of the comment.
const COLUMNS: usize = 80;
/// The fill from which on the demand cannot be seen: new flows are refused.
const FULL: f64 = 0.95;

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observation {
    /// The machine's name.
    pub(crate) name: String,
    /// The machine.
    pub(crate) host: Host,
    /// Its sysctls, and the number of entries at the end.
    pub(crate) live: Snapshot,
    /// For how long, in seconds.
    pub(crate) seconds: u64,
    /// The most entries that were counted.
    pub(crate) peak: i64,
    /// Packets dropped and flows evicted since boot; none where it was not read.
    pub(crate) refused: Option<u64>,
    /// Whether the machine forwards packets.
    pub(crate) forwards: bool,
    /// What comparing the table at the start and the end showed; none without CAP_NET_ADMIN.
    pub(crate) flows: Option<Observed>,
    /// Flows that ended by a timeout and came back while it watched.
    pub(crate) returned: Vec<Returned>,
    /// How many times the demand the table should hold.
    pub(crate) headroom: f64,
}

impl Observation {
    /// Flows that began, a second; those that began and ended between the two looks not included.
    pub(crate) fn arrivals(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // a rate, rounded when it is shown
        let rate = |flows: &Observed| flows.new as f64 / self.seconds.max(1) as f64;
        self.flows.as_ref().map(rate)
    }

    /// A machine that translates, forwards, or neither.
    pub(crate) fn role(&self) -> Role {
        let translates = |flows: &Observed| flows.translated * 100 > flows.flows;
        if self.flows.as_ref().is_some_and(translates) {
            Role::Nat
        } else if self.forwards {
            Role::Firewall
        } else {
            Role::Host
        }
    }

    /// Why the demand may be larger than what was seen.
    fn unseen(&self) -> Option<&'static str> {
        if self.refused.is_some_and(|number| number > 0) {
            Some("flows were refused since the boot")
        } else {
            let is_full = self.live.fill().is_some_and(|fill| fill >= FULL);
            is_full.then_some("the table was nearly full")
        }
    }

    /// Entries that are there at once, and how that is known.
    fn demand(&self) -> (i64, String) {
        let peak = format!(
            "at most {} entries in {}",
            format_count(self.peak),
            format_seconds(i64::try_from(self.seconds).unwrap_or(i64::MAX))
        );
        let linger = self.live.value(Key::TcpTimeoutTimeWait).unwrap_or(120);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // below 2^53
        let lingering = self
            .arrivals()
            .map(|rate| (rate * linger as f64).ceil() as i64);
        let arrivals = self.arrivals().unwrap_or(0.0);
        match lingering.filter(|lingering| *lingering > self.peak) {
            Some(lingering) => (
                lingering,
                format!(
                    "{peak}, but {arrivals:.0} new flows a second, each kept for {linger} s after \
                     its end, make {}",
                    format_count(lingering)
                ),
            ),
            None => (self.peak, peak),
        }
    }

    /// Entries to allow, a power of two, and why so many.
    fn max(&self) -> (i64, Option<u8>, String) {
        let (demand, mut why) = self.demand();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // saturates
        let desired = (demand as f64 * self.headroom).ceil() as i64;
        let desired = desired.clamp(SMALLEST, 1 << 30);
        let mut max = power_of_two(desired);
        why.push_str(&format!(
            "; times {} and up to a power of two",
            self.headroom
        ));
        if let Some(unseen) = self.unseen() {
            why.push_str(&format!(
                "; {unseen}, so the demand may be higher: run suggest again when it is not full"
            ));
        }
        let memory = self.host.memory;
        let [.., largest] = SHARES;
        let bearable = entries_within(memory, largest);
        // No cap can be written that is less than the smallest: what was seen has to do.
        let seen = power_of_two(demand.clamp(1, 1 << 30));
        if bearable < SMALLEST && seen.max(bearable) < max {
            max = seen.max(bearable);
            why.push_str(&format!(
                "; no more than {}, because memory is short",
                format_count(max)
            ));
        }
        let bytes = u64::try_from(max).unwrap_or(0).saturating_mul(ENTRY_BYTES);
        #[allow(clippy::cast_precision_loss)] // a share
        let share = bytes as f64 / memory as f64;
        why.push_str(&format!(
            "; takes {}, {} of memory",
            format_size(bytes),
            format_share(share)
        ));
        let holds = |share: &u8| entries_within(memory, *share) >= max;
        let cap = (bearable >= SMALLEST).then(|| SHARES.into_iter().find(holds).unwrap_or(largest));
        if let Some(cap) = cap.filter(|cap| !holds(cap)) {
            why.push_str(&format!(
                ", more than the {cap} % that a profile may give it"
            ));
        }
        (max, cap, why)
    }
}

/// The smallest power of two that is no less than a number from 1 on.
fn power_of_two(number: i64) -> i64 {
    1_i64 << (i64::BITS - (number - 1).leading_zeros())
}

/// The profile's text.
pub(crate) fn suggest(seen: &Observation) -> String {
    let mut document = DocumentMut::new();
    let root = document.as_table_mut();
    let about = format!("Suggested for {}", seen.name);
    root.insert("description", about.into());
    root.insert("role", seen.role().name().into());
    root.insert("extends", "kernel-defaults".into());
    let mut sysctl = Table::new();
    sysctl.set_implicit(true);
    let flows = seen.flows.iter();
    let proposals = flows.flat_map(|flows| services::proposals(flows, seen.seconds));
    let proposals: Vec<services::Proposal<'_>> = proposals.collect();
    for (key, setting) in settings(seen, &proposals) {
        sysctl.insert(key.file_name(), Item::Table(setting));
    }
    root.insert("sysctl", Item::Table(sysctl));
    if let Some(services) = services::tables(&proposals) {
        root.insert("service", services);
    }
    format!("{}{document}", comment(seen))
}

/// What was seen, in the words of a comment.
fn comment(seen: &Observation) -> String {
    let mut lines = vec![format!(
        "Suggested by `cttune profile suggest` after watching for {}.",
        format_seconds(i64::try_from(seen.seconds).unwrap_or(i64::MAX))
    )];
    let [max, buckets] = [Key::Max, Key::Buckets].map(|key| seen.live.value(key));
    if let (Some(max), Some(buckets)) = (max, buckets.filter(|buckets| *buckets > 0)) {
        #[allow(clippy::cast_precision_loss)] // below 2^31
        let load = 2.0 * seen.peak as f64 / buckets as f64;
        lines.push(format!(
            "Table:    at most {} of {} entries; each is in two chains of the {} buckets, {load:.2} \
             to a chain.",
            format_count(seen.peak),
            format_count(max),
            format_count(buckets)
        ));
    }
    match (&seen.flows, seen.arrivals()) {
        (Some(flows), Some(rate)) => {
            lines.push(format!(
                "Arrivals: {rate:.1} flows a second that were still there at the end.",
            ));
            lines.extend(idle_line(
                "TCP:     ",
                "established connections",
                &flows.established,
            ));
            lines.extend(idle_line(
                "UDP:     ",
                "flows that went both ways",
                &flows.stream,
            ));
        }
        _ => lines.push(
            "Flows:    not read: permission denied, needs root (CAP_NET_ADMIN); no timeout is suggested."
                .to_owned(),
        ),
    }
    if seen.live.reading(Key::Max).is_read_only() {
        lines.push(
            "Limits:   they apply to every network namespace, and one of them was watched."
                .to_owned(),
        );
    }
    lines.push("Watch a busy hour too: a short time misses what is rare.".to_owned());
    // Below a label it goes on behind the label.
    let wrapped = Options::new(COLUMNS)
        .initial_indent("# ")
        .break_words(false);
    let wrapped = wrapped.subsequent_indent("#           ");
    let comment = lines
        .iter()
        .map(|line| textwrap::fill(line, &wrapped) + "\n");
    comment.collect::<String>() + "\n"
}

fn idle_line(label: &str, what: &str, idle_times: &IdleTimes) -> Option<String> {
    if idle_times.flows == 0 && idle_times.unknown > 0 {
        let unknown = format_count(idle_times.unknown);
        return Some(format!(
            "{label} {unknown} {what}; how long they were idle is not known."
        ));
    }
    (idle_times.flows > 0).then(|| {
        let steps = idle_times.steps.iter().filter(|step| step.idle > 0);
        let steps = steps.map(|step| {
            format!(
                "{} for over {} ({} of them spoke again)",
                format_count(step.idle),
                format_seconds(i64::from(step.after)),
                format_count(step.spoke)
            )
        });
        let steps: Vec<String> = steps.collect();
        let unknown = match idle_times.unknown {
            0 => String::new(),
            unknown => format!(
                "; of {} more the idle time is not known",
                format_count(unknown)
            ),
        };
        let idle = match steps.as_slice() {
            [] => "none of them idle for long".to_owned(),
            steps => format!("idle: {}", steps.join(", ")),
        };
        format!(
            "{label} {} {what}; {idle}{unknown}.",
            format_count(idle_times.flows)
        )
    })
}

fn settings(seen: &Observation, proposals: &[services::Proposal<'_>]) -> Vec<(Key, Table)> {
    let (max, cap, why) = seen.max();
    let mut limit = Table::new();
    limit.insert("at-least", max.into());
    if let Some(cap) = cap {
        limit.insert("memory-cap", format!("{cap}%").into());
    }
    limit.insert("why", why.into());
    let mut buckets = Table::new();
    buckets.insert("follow", Key::Max.file_name().into());
    let ratio = "a bucket an entry keeps chains at two, and is the kernel's default since 5.15";
    buckets.insert("why", ratio.into());
    let mut settings = vec![(Key::Max, limit), (Key::Buckets, buckets)];
    let returned = |key| seen.returned.iter().find(|returned| returned.key == key);
    if let Some(mut flows) = seen.flows.clone() {
        // The others alone decide on the timeout of all.
        for proposal in proposals {
            flows.leave_out(proposal.port, &proposal.flows.times);
        }
        let is_router = seen.role() != Role::Host;
        let established = Key::TcpTimeoutEstablished;
        settings.extend(timeout(
            established,
            &flows.established,
            returned(established),
            "RFC 5382 REQ-5: not below 2 h 4 min",
        ));
        let stream = Key::UdpTimeoutStream;
        if is_router || returned(stream).is_some() {
            settings.extend(timeout(
                stream,
                &flows.stream,
                returned(stream),
                "RFC 4787 REQ-5: not below 2 min, 5 min recommended",
            ));
        }
        let none = IdleTimes {
            flows: 0,
            unknown: 0,
            steps: Vec::new(),
        };
        let key = Key::UdpTimeout;
        settings.extend(timeout(
            key,
            &none,
            returned(key),
            "longer than the keepalive",
        ));
    }
    settings
}

/// The shortest timeout after which no flow spoke again, and that flows which came back would have
/// survived; none without such flows.
fn timeout(
    key: Key,
    idle_times: &IdleTimes,
    returned: Option<&Returned>,
    rule: &str,
) -> Option<(Key, Table)> {
    let idle = idle_step(idle_times);
    let survives = returned.map(|returned| surviving(key, returned.longest));
    let value = idle.map(|step| step.after).max(survives)?;
    let mut reasons = vec![rule.to_owned()];
    if let Some(returned) = returned {
        reasons.push(format!(
            "{} a flow ended by this timeout came back from the same ports, idle for up to {}: {} \
             survives such a keepalive",
            plural(returned.times, "time"),
            format_seconds(i64::from(returned.longest)),
            format_seconds(i64::from(value))
        ));
    }
    reasons.extend(idle.map(|step| told_idle(step, idle_times.flows)));
    if idle.is_some() && idle_times.unknown > 0 {
        reasons.push(format!(
            "the idle time of {} more is not known: the timeout was changed, or is another's",
            plural(idle_times.unknown, "flow")
        ));
    }
    let mut setting = Table::new();
    let text = super::render_value(key, i64::from(value));
    setting.insert("value", text.trim_matches('"').into());
    setting.insert("why", reasons.join("; ").into());
    Some((key, setting))
}

/// The first step after which none spoke, else the longest; none where the idle time of most flows is
/// not known, as after an apply that lowered the timeout.
fn idle_step(idle_times: &IdleTimes) -> Option<&Step> {
    let mut steps = idle_times.steps.iter();
    let quiet = steps.find(|step| step.spoke == 0);
    quiet
        .or(idle_times.steps.last())
        .filter(|_| idle_times.flows > idle_times.unknown)
}

/// The least usual timeout that is longer than an idle time, else the next full minute.
fn surviving(key: Key, idle: u32) -> u32 {
    let usual: &[u32] = match key {
        Key::TcpTimeoutEstablished => &ESTABLISHED,
        Key::UdpTimeoutStream => &STREAM,
        _ => &[60],
    };
    let longer = usual.iter().find(|usual| **usual > idle);
    longer.copied().unwrap_or((idle / 60 + 1) * 60)
}

fn told_idle(step: &Step, flows: u64) -> String {
    let all = plural(flows, "flow");
    match (step.idle, step.spoke) {
        (0, _) => format!("none of {all} had been idle for longer"),
        (silent, 0) => format!(
            "{} of {all} had been idle for longer, and none of them spoke again",
            format_count(silent)
        ),
        (silent, spoke) => format!(
            "the longest that cttune suggests: {} of {} that had been idle for longer spoke again",
            format_count(spoke),
            plural(silent, "flow")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Goal, Source, Values, derive, inherit, parse};
    use crate::tunable::{Access, Conntrack, Reading};

    fn live(count: i64, values: &[(Key, i64)]) -> Snapshot {
        let access = Access::Writable;
        let values = [(Key::Max, 65536), (Key::Buckets, 65536)]
            .iter()
            .chain(values);
        let readings = values.map(|(key, value)| {
            (
                *key,
                Reading::Value {
                    value: *value,
                    access,
                },
            )
        });
        Snapshot::new(readings, Some(count))
    }

    fn idle_times(flows: u64, steps: &[(u32, u64, u64)]) -> IdleTimes {
        let steps = steps.iter().map(|(after, idle, spoke)| Step {
            after: *after,
            idle: *idle,
            spoke: *spoke,
        });
        IdleTimes {
            flows,
            unknown: 0,
            steps: steps.collect(),
        }
    }

    fn quiet() -> Observation {
        Observation {
            name: "fw \"one\"".to_owned(),
            host: Host {
                cpus: 2,
                memory: 16 << 30,
                conntrack: Conntrack::BuiltIn,
            },
            live: live(30_000, &[]),
            seconds: 60,
            peak: 40_000,
            refused: Some(0),
            forwards: true,
            flows: Some(Observed {
                flows: 30_000,
                new: 600,
                translated: 0,
                established: idle_times(20_000, &[(7440, 900, 3), (14400, 500, 0), (86400, 5, 0)]),
                stream: idle_times(0, &[(120, 0, 0)]),
                ports: [].into(),
            }),
            returned: Vec::new(),
            headroom: 2.0,
        }
    }

    /// The suggested goal of each key, and its reason.
    fn suggested(seen: &Observation) -> Vec<(Key, Goal, String)> {
        let text = suggest(seen);
        let profile = parse(&Source::new("test", text.as_str()));
        let profile = profile.unwrap_or_else(|mistakes| panic!("{mistakes:#?} in {text}"));
        let settings = inherit(&[profile]).settings.into_iter();
        settings
            .map(|(key, setting)| (key, setting.goal, setting.why.unwrap()))
            .collect()
    }

    /// What would be applied for a key.
    fn target(seen: &Observation, key: Key) -> Option<i64> {
        let profile = parse(&Source::new("test", suggest(seen))).unwrap();
        let desired = inherit(&[profile]);
        let targets = derive(&desired, &seen.host, &|_| Values::default()).unwrap();
        targets.get(&key).map(|targets| targets.live.value)
    }

    #[track_caller]
    fn why(seen: &Observation, key: Key, part: &str) {
        let suggested = suggested(seen);
        let (_, _, why) = suggested.iter().find(|(k, _, _)| *k == key).unwrap();
        assert!(why.contains(part), "{part:?} is not in {why:?}");
    }

    #[test]
    fn max_is_the_peak_times_the_headroom_up_to_a_power_of_two() {
        for (peak, headroom, max) in [
            (0, 2.0, 65536),
            (32768, 2.0, 65536),
            (32769, 2.0, 131_072),
            (40_000, 2.0, 131_072),
            (40_000, 1.0, 65536),
            (40_000, 4.0, 262_144),
        ] {
            let seen = Observation {
                peak,
                headroom,
                ..quiet()
            };
            assert_eq!(target(&seen, Key::Max), Some(max), "{peak} {headroom}");
            assert_eq!(target(&seen, Key::Buckets), Some(max), "{peak} {headroom}");
        }
        why(
            &quiet(),
            Key::Max,
            "at most 40,000 entries in 1m; times 2 and up",
        );
    }

    #[test]
    fn arrivals_that_linger_count_where_they_are_more_than_the_peak() {
        let mut seen = quiet();
        seen.flows.as_mut().unwrap().new = 60_000;
        assert_eq!(target(&seen, Key::Max), Some(262_144));
        why(
            &seen,
            Key::Max,
            "1000 new flows a second, each kept for 120 s",
        );
    }

    #[test]
    fn a_table_that_was_full_is_said_to_want_more() {
        let part = "so the demand may be higher";
        let refused = Observation {
            refused: Some(7),
            ..quiet()
        };
        why(
            &refused,
            Key::Max,
            &format!("flows were refused since the boot, {part}"),
        );
        let full = Observation {
            live: live(65_000, &[]),
            ..quiet()
        };
        why(
            &full,
            Key::Max,
            &format!("the table was nearly full, {part}"),
        );
        let (_, _, why) = &suggested(&quiet())[0];
        assert!(!why.contains(part), "{why}");
    }

    #[test]
    fn memory_caps_what_it_cannot_hold() {
        for (memory, max) in [
            (16_u64 << 30, 131_072),
            (256 << 20, 131_072),
            (128 << 20, 65536),
        ] {
            let mut seen = quiet();
            seen.host.memory = memory;
            assert_eq!(target(&seen, Key::Max), Some(max), "{memory}");
        }
        let mut seen = quiet();
        seen.host.memory = 128 << 20;
        why(
            &seen,
            Key::Max,
            "more than the 25 % that a profile may give it",
        );
        // Too small for any share that a profile may name.
        seen.host.memory = 64 << 20;
        seen.headroom = 100.0;
        assert_eq!(target(&seen, Key::Max), Some(65536));
        why(
            &seen,
            Key::Max,
            "no more than 65,536, because memory is short",
        );
        seen.peak = 20;
        seen.flows = None;
        assert_eq!(target(&seen, Key::Max), Some(32768));
    }

    #[test]
    fn a_timeout_is_the_shortest_after_which_nobody_spoke() {
        let key = Key::TcpTimeoutEstablished;
        let mut seen = quiet();
        assert_eq!(target(&seen, key), Some(14400));
        why(
            &seen,
            key,
            "500 of 20,000 flows had been idle for longer, and none of them spoke",
        );
        let flows = seen.flows.as_mut().unwrap();
        flows.established = idle_times(9, &[(7440, 0, 0), (86400, 0, 0)]);
        assert_eq!(target(&seen, key), Some(7440));
        why(&seen, key, "none of 9 flows had been idle for longer");
        let flows = seen.flows.as_mut().unwrap();
        // After an apply that lowered the timeout the idle time of most flows is not known.
        flows.established.unknown = 8;
        why(&seen, key, "the idle time of 8 flows more is not known");
        seen.flows.as_mut().unwrap().established.unknown = 9;
        assert_eq!(target(&seen, key), None);
        let flows = seen.flows.as_mut().unwrap();
        flows.established = idle_times(9, &[(7440, 3, 3), (86400, 2, 1)]);
        assert_eq!(target(&seen, key), Some(86400));
        why(&seen, key, "the longest that cttune suggests: 1 of 2 flows");
    }

    #[test]
    fn a_timeout_that_flows_came_back_after_is_lengthened_to_survive_them() {
        for (key, longest, value) in [
            (Key::UdpTimeoutStream, 150, 180),
            (Key::UdpTimeoutStream, 180, 300),
            (Key::UdpTimeoutStream, 400, 420),
            (Key::UdpTimeout, 41, 60),
            (Key::UdpTimeout, 60, 120),
            (Key::TcpTimeoutEstablished, 20_000, 28_800),
        ] {
            let mut seen = quiet();
            seen.returned = vec![Returned {
                key,
                times: 20,
                longest,
            }];
            assert_eq!(target(&seen, key), Some(value), "{key} {longest}");
            why(
                &seen,
                key,
                "20 times a flow ended by this timeout came back",
            );
        }
    }

    #[test]
    fn without_flows_no_timeout_is_suggested() {
        let mut seen = quiet();
        assert_eq!(target(&seen, Key::UdpTimeoutStream), None);
        seen.flows = None;
        assert_eq!(target(&seen, Key::TcpTimeoutEstablished), None);
        assert_eq!(target(&seen, Key::Max), Some(131_072));
        assert!(suggest(&seen).contains("# Flows:    not read: permission denied"));
    }

    #[test]
    fn of_limits_that_only_the_first_namespace_may_set_it_is_said_whose_they_are() {
        let mut seen = quiet();
        let part = "# Limits:   they apply to every network namespace";
        assert!(!suggest(&seen).contains(part));
        let reading = Reading::Value {
            value: 65536,
            access: Access::ReadOnly,
        };
        seen.live = Snapshot::new([(Key::Max, reading)], Some(1));
        assert!(suggest(&seen).contains(part));
    }

    #[test]
    fn a_machine_that_translates_or_forwards_has_the_role() {
        let mut seen = quiet();
        assert_eq!(seen.role(), Role::Firewall);
        seen.forwards = false;
        assert_eq!(seen.role(), Role::Host);
        seen.flows.as_mut().unwrap().translated = 400;
        assert_eq!(seen.role(), Role::Nat);
    }
}
