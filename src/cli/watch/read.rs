//! What a watch reads: counts and counters, a sample of the flows, findings.

use std::time::{Duration, Instant};

use crate::assess::Finding;
use crate::cli::args::{DesiredOptions, Global};
use crate::cli::out::Out;
use crate::cli::walk::Table;
use crate::cli::{check, report, services};
use crate::diagnostic::told;
use crate::flow::turnover;
use crate::flow::{By, Census, Extent, Field, Filter, Query, Selected};
use crate::kernel::{counters, sysctl};
use crate::render::watch::{Flows, GROUPS, Reading, Watch};
use crate::tunable::{Counter, Counters, Key};

/// The part of the time that the flows may be read for.
const PART: f64 = 0.02;
/// Flows of the first sample; of a later one at least and at most.
const FIRST: u64 = 10_000;
const SAMPLE: (u64, u64) = (2000, 50_000);
/// How often what is wrong is looked for, and after new drops at the soonest.
const FINDINGS_EVERY: Duration = Duration::from_secs(30);
const FINDINGS_AFTER_DROPS: Duration = Duration::from_secs(5);

pub(super) struct Reader<'a> {
    global: &'a Global,
    out: Out,
    interval: Duration,
    begun: Instant,
    /// Flows of the next sample.
    sample: u64,
    /// When the counters were read, and what they were.
    counters: Option<(Instant, Counters)>,
    /// When the flows were read, which they were, and whether these are all.
    flows: Option<(Instant, turnover::Reading, bool)>,
    findings: Option<Instant>,
    has_drops: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(interval: Duration, global: &'a Global, out: Out) -> Self {
        Reader {
            global,
            out: out.silent(),
            interval,
            begun: Instant::now(),
            sample: FIRST,
            counters: None,
            flows: None,
            findings: None,
            has_drops: false,
        }
    }

    /// Reads what the watch asks for.
    pub(super) fn read(&mut self, watch: &mut Watch) -> anyhow::Result<()> {
        let table = Table::find(self.out)?;
        let max = sysctl::read(Key::Max)?.value();
        let [drops, early_drops] = self.read_counters();
        let at = self.begun.elapsed();
        let by = watch.by(at);
        let flows = self.read_flows(watch, &by, &table);
        let reading = Reading {
            at,
            clock: clock(),
            count: table.entries,
            max: max.and_then(|max| u64::try_from(max).ok()),
            drops,
            early_drops,
            flows: flows.map_err(|error| told(&error)),
        };
        watch.read(reading, &by);
        self.find(watch);
        Ok(())
    }

    /// Packets dropped and flows evicted a second since the last reading.
    fn read_counters(&mut self) -> [Option<f64>; 2] {
        let Ok(Some(now)) = counters::read_counters() else {
            self.counters = None;
            return [None; 2];
        };
        let at = Instant::now();
        let before = self.counters.replace((at, now.clone()));
        let rates = [Counter::Drop, Counter::EarlyDrop].map(|counter| {
            let (then, before) = before.as_ref()?;
            let number = now.since(before, counter)?;
            let seconds = at.saturating_duration_since(*then).as_secs_f64();
            (seconds > 0.0).then(|| float(number) / seconds)
        });
        self.has_drops = rates.iter().flatten().any(|rate| *rate > 0.0);
        rates
    }

    /// Reads as many flows as may be read in a small part of the time.
    fn read_flows(&mut self, watch: &Watch, by: &By, table: &Table) -> anyhow::Result<Flows> {
        let query = Query {
            by: by.clone(),
            prefixes: None,
            selection: watch.ask().selection().clone(),
            extent: None,
            services: services::names(by),
        };
        let begun = Instant::now();
        let next = self.flows.as_ref().map(|(_, before, _)| before.next());
        let next = next.unwrap_or_default();
        let extent = Extent::Sample(self.sample);
        let kinds = [Field::Proto, Field::State];
        let ((selected, (kinds, names)), sample) =
            table.gather(&Filter::default(), extent, || {
                let selected = Selected {
                    selection: &query.selection,
                    gather: Census::new(&query),
                };
                (selected, (Census::by(&kinds), next.clone()))
            })?;
        self.adapt(begun.elapsed());
        let (is_part, entries) = (sample.is_some(), float(table.entries));
        let before = self.flows.take();
        let rates = before.and_then(|(then, before, was_part)| {
            let turnover = names.since(&before, is_part || was_part)?;
            let seconds = begun.saturating_duration_since(then).as_secs_f64();
            let scale = if turnover.of > 0 {
                entries / float(turnover.of)
            } else {
                1.0
            };
            let scale = if is_part || was_part { scale } else { 1.0 };
            (seconds > 0.0)
                .then(|| [turnover.began, turnover.ended].map(|one| float(one) * scale / seconds))
        });
        self.flows = Some((begun, names, is_part));
        Ok(Flows {
            top: selected.gather.finish(sample, GROUPS),
            kinds: kinds.finish(sample, usize::MAX),
            began: rates.map(|[began, _]| began),
            ended: rates.map(|[_, ended]| ended),
        })
    }

    /// The next sample takes its part of the time, as far as the last one tells.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive and small
    fn adapt(&mut self, took: Duration) {
        let fits = self.interval.as_secs_f64() * PART / took.as_secs_f64().max(1e-6);
        let next = float(self.sample) * fits.clamp(0.5, 2.0);
        self.sample = (next as u64).clamp(SAMPLE.0, SAMPLE.1);
    }

    /// Looks for what is wrong, now and then.
    fn find(&mut self, watch: &mut Watch) {
        let pause = if self.has_drops {
            FINDINGS_AFTER_DROPS
        } else {
            FINDINGS_EVERY
        };
        if self.findings.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        // What cannot be read now may be readable later.
        if let Ok(findings) = self.findings() {
            watch.find(&findings, &clock());
        }
        self.findings = Some(Instant::now());
    }

    fn findings(&self) -> anyhow::Result<Vec<Finding>> {
        let check = report::check_of(&DesiredOptions::default());
        check::with_checked(&check, self.global, self.out, |checked, _| {
            checked.findings.to_vec()
        })
    }
}

pub(super) fn clock() -> String {
    jiff::ZonedDateTime::now().strftime("%H:%M:%S").to_string()
}

#[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
fn float(number: u64) -> f64 {
    number as f64
}
