//! What other timeouts would do, and how the table ages.
//!
//! In: every flow that was looked at, once; what is known of the timeouts; an earlier look if the
//! flows were watched. Out: a [`Forecast`]: for each candidate timeout the flows that it would have
//! ended, and the flows that are left after each of some times.
//! Rule: numbers are counted between thresholds while flows pass by, so that memory does not grow
//! with the table. A flow counts as kept or dropped only if its idle time is known well enough;
//! else it is unknown.

mod ages;
mod idle;
mod knee;
mod losses;
mod steps;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use idle::{Borrowed, Known};
pub(crate) use losses::{COLUMNS, Loss, MOST};
pub(crate) use watch::Watch;

use ages::{Ages, Fate, WAYS};
use idle::{Idle, Seen};
use losses::Losses;
use steps::{Steps, thresholds};

use super::expire::{Moment, Rules, Verdict};
use super::pressure::is_push;
use super::sample::{as_f64, margin_of_all, scaled};
use super::{Flow, Gather, Sample, Selection};
use crate::tunable::Key;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) key: Key,
    /// The timeout now, in seconds.
    pub(crate) timeout: u32,
    /// Candidates in rising order, [`MOST`] at most.
    pub(crate) candidates: Vec<u32>,
    /// Times to look ahead, in seconds, in rising order.
    pub(crate) after: Vec<u32>,
    /// The timeout that flows are clamped and re-aged to.
    pub(crate) to: u32,
    /// Which flows.
    pub(crate) selection: Selection,
    /// The most entries that the table can have, where all flows are asked about.
    pub(crate) max: Option<u64>,
}

/// Flows of one timeout under a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Split {
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
    pub(crate) unknown: u64,
}

/// A candidate timeout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) timeout: u32,
    pub(crate) flows: Split,
    /// How far each share of all flows of the key can be off; 0 without a sample.
    pub(crate) margin: f64,
    /// Flows that were seen to be active or idle for long enough; none if they were not watched.
    pub(crate) proven: Option<Split>,
    /// The groups that lose most, largest first.
    pub(crate) losses: Vec<Loss>,
}

/// Flows that are left after a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Age {
    /// Seconds.
    pub(crate) after: u32,
    pub(crate) untouched: u64,
    pub(crate) clamped: u64,
    pub(crate) re_aged: u64,
}

/// Flows a second, as they were watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// None for flows without a timeout of their own.
    pub(crate) key: Option<Key>,
    pub(crate) began: f64,
    pub(crate) closed: f64,
}

/// What is to be expected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forecast {
    pub(crate) key: Key,
    pub(crate) timeout: u32,
    pub(crate) to: u32,
    /// All flows that were asked about.
    pub(crate) total: u64,
    /// Those of them that the key applies to.
    pub(crate) flows: u64,
    /// Flows that were looked at, if not all were.
    pub(crate) sampled: Option<u64>,
    /// For how many seconds flows were watched.
    pub(crate) watched: Option<u32>,
    pub(crate) candidates: Vec<Candidate>,
    /// The place of the knee among the candidates.
    pub(crate) knee: Option<usize>,
    /// The same for many timeouts, for a picture.
    pub(crate) curve: Vec<(u32, Split)>,
    /// Flows by the idle time that is known of them: from so many seconds on, up to the next.
    pub(crate) idle: Vec<(u32, u64)>,
    /// Flows of which it is not known.
    pub(crate) idle_unknown: u64,
    /// All flows after the times asked for.
    pub(crate) ageing: Vec<Age>,
    /// Those of the key.
    pub(crate) ageing_of_key: Vec<Age>,
    /// All flows, and those of the key, after many times, for pictures.
    pub(crate) course: Vec<(Age, Age)>,
    /// How far each share of the ageing can be off; 0 without a sample.
    pub(crate) margin: f64,
    /// Flows that begin and close; none if they were not watched.
    pub(crate) rates: Option<Vec<Rate>>,
    /// The most entries, and the seconds until there are as many, if that is to be expected.
    pub(crate) max: Option<u64>,
    pub(crate) full_in: Option<u32>,
    /// Flows of the key to push services.
    pub(crate) push: u64,
}

/// Where each group of idle times begins, in seconds.
const IDLE: [u32; 9] = [0, 60, 600, 3600, 7200, 28_800, 86_400, 172_800, 345_600];

/// Flows under count.
#[derive(Debug)]
pub(crate) struct Forecaster<'a> {
    question: &'a Question,
    known: &'a Known,
    /// The rules that clamp and re-age to the timeout in question.
    rules: &'a Rules,
    watch: Option<&'a Watch<'a>>,
    /// Seconds since 1970.
    now: i64,
    thresholds: Arc<[u32]>,
    least: Steps,
    most: Steps,
    proven_least: Steps,
    proven_most: Steps,
    /// Idle times that are known.
    idle: Steps,
    losses: Losses,
    push: u64,
    /// By key; none for flows whose timeout is not known.
    ages: BTreeMap<Option<Key>, Ages>,
    /// Seconds since the first look.
    watched: f64,
}

impl Gather for Forecaster<'_> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        let at = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
        self.count(flow, Moment { now: self.now, at });
    }

    fn part(&self) -> Self {
        let empty = Forecaster::new(self.question, self.known, self.rules, self.watch, self.now);
        Forecaster {
            losses: self.losses.part(),
            ..empty
        }
    }

    fn merge(&mut self, part: Self) {
        for (steps, part) in [
            (&mut self.least, part.least),
            (&mut self.most, part.most),
            (&mut self.proven_least, part.proven_least),
            (&mut self.proven_most, part.proven_most),
            (&mut self.idle, part.idle),
        ] {
            steps.merge(&part);
        }
        self.losses.merge(part.losses);
        self.push += part.push;
        self.watched = self.watched.max(part.watched);
        for (key, ages) in part.ages {
            match self.ages.get_mut(&key) {
                Some(known) => known.merge(&ages),
                None => drop(self.ages.insert(key, ages)),
            }
        }
    }
}

impl<'a> Forecaster<'a> {
    pub(crate) fn new(
        question: &'a Question,
        known: &'a Known,
        rules: &'a Rules,
        watch: Option<&'a Watch<'a>>,
        now: i64,
    ) -> Self {
        let exact = question
            .candidates
            .iter()
            .chain(&question.after)
            .chain(&IDLE);
        let thresholds = thresholds(exact.copied());
        let steps = || Steps::new(&thresholds);
        Forecaster {
            least: steps(),
            most: steps(),
            proven_least: steps(),
            proven_most: steps(),
            idle: steps(),
            losses: Losses::new(),
            push: 0,
            ages: BTreeMap::new(),
            watched: 0.0,
            question,
            known,
            rules,
            watch,
            now,
            thresholds,
        }
    }

    /// Counts a flow.
    fn count(&mut self, flow: &Flow<'_>, moment: Moment) {
        if !self.question.selection.matches(flow)
            || self.watch.is_some_and(|watch| !watch.follows(flow))
        {
            return;
        }
        let given = self.known.timeouts.of_flow(flow);
        let key = given.map(|(key, _)| key);
        let compared = self.watch.map(|watch| watch.compare(flow, key, moment));
        let seen = compared.map_or(Seen::Nothing, |compared| compared.seen);
        if key == Some(self.question.key) {
            let lent = || self.known.lent(flow, moment);
            let seen = compared.map_or_else(lent, |compared| compared.seen);
            self.count_idle(flow, seen, moment);
        }
        if let Some(watch) = self.watch {
            let passed = moment.at.saturating_sub(watch.began_at());
            self.watched = self.watched.max(f64::from(passed) / 1000.0);
        }
        let began = compared.is_some_and(|compared| compared.began);
        let fate = self.fate(flow, seen, began, moment);
        let ages = self.ages_of(key, given.map_or(0, |(_, seconds)| seconds));
        ages.lasted += u64::from(compared.is_some_and(|compared| compared.lasted));
        ages.add(fate);
    }

    fn count_idle(&mut self, flow: &Flow<'_>, seen: Seen, moment: Moment) {
        let timeout = self.question.timeout;
        let seen = self.known.proven(flow, timeout, seen);
        let idle = self.known.idle(flow, timeout, moment.now).watched(seen);
        self.least.add(idle.least);
        self.most.add(idle.most);
        if idle.is_known() {
            self.idle.add(idle.least);
        }
        let proven = Idle::UNKNOWN.watched(seen);
        self.proven_least.add(proven.least);
        self.proven_most.add(proven.most);
        let ended = self
            .question
            .candidates
            .partition_point(|at| *at <= idle.least);
        self.losses.add(flow, ended);
        self.push += u64::from(is_push(flow));
    }

    fn fate(&self, flow: &Flow<'_>, seen: Seen, began: bool, moment: Moment) -> Fate {
        let Some(left) = flow.timeout else {
            return Fate::Lasts;
        };
        if matches!(seen, Seen::Active { .. }) && !began {
            return Fate::Lasts;
        }
        let first = self.watch.map(Watch::sightings);
        let time = |verdict| match verdict {
            Verdict::Shorten(one) => one.seconds.min(left),
            Verdict::Keep(_) | Verdict::Unknown | Verdict::Delete(_) => left,
        };
        let clamp = time(self.rules.clamp(flow, moment.now));
        let re_age = time(self.rules.re_age(flow, first, moment));
        let times = [left, clamp, re_age];
        if began {
            Fate::Began(times)
        } else {
            Fate::Ends(times)
        }
    }

    fn is_watched(&self) -> bool {
        self.watch.is_some() || self.known.lent.is_some()
    }

    fn ages_of(&mut self, key: Option<Key>, timeout: u32) -> &mut Ages {
        let to = match key {
            Some(key) if key == self.question.key => self.question.to,
            _ => timeout,
        };
        let ages = || Ages::new(&self.thresholds, [timeout, to, to]);
        self.ages.entry(key).or_insert_with(ages)
    }

    /// Ends the count. `sample` is none where the whole table was read.
    pub(crate) fn finish(mut self, sample: Option<Sample>) -> Forecast {
        let sample = sample.filter(|sample| sample.is_part());
        let one_in = self.watch.map_or(1, Watch::one_in);
        let factor = sample.map_or(1.0, Sample::scale) * as_f64(one_in);
        if let Some(watch) = self.watch {
            for (key, ages) in &mut self.ages {
                ages.turnover.closed = watch.lasting(*key).saturating_sub(ages.lasted);
            }
        }
        let counted: u64 = self.ages.values().map(Ages::flows).sum();
        let of_key = self
            .ages
            .get(&Some(self.question.key))
            .map_or(0, Ages::flows);
        let (total, flows) = (scaled(counted, factor), scaled(of_key, factor));
        // How far a number can be off, as a share of `whole`.
        let off = |number: u64, whole: u64| {
            let Some(sample) = sample else { return 0.0 };
            let share = as_f64(number) / as_f64(sample.looked_at.max(1));
            let margin = margin_of_all(share, sample.looked_at, sample.table);
            (margin * as_f64(sample.table) / as_f64(whole.max(1))).min(1.0)
        };
        let candidates = self.candidates(of_key, factor, |number| off(number, flows));
        let keeps = candidates.iter().map(|one| (one.timeout, one.flows.kept));
        // A longer timeout than now keeps flows of which nothing is known yet.
        let keeps: Vec<_> = keeps
            .filter(|(timeout, _)| *timeout <= self.question.timeout)
            .collect();
        let course = self.course(factor);
        let watched = self.watch.map(|_| self.watched);
        let margin = off(counted / 2, total);
        Forecast {
            key: self.question.key,
            timeout: self.question.timeout,
            to: self.question.to,
            total,
            flows,
            sampled: sample.map(|sample| sample.looked_at),
            watched: watched.map(whole_seconds),
            knee: knee::knee(&keeps),
            curve: self.curve(of_key, factor),
            idle: self.idle_times(factor),
            idle_unknown: scaled(of_key.saturating_sub(self.idle.at_least(0)), factor),
            ageing: self.ageing(factor, |_| true),
            ageing_of_key: self.ageing(factor, |key| key == Some(self.question.key)),
            margin,
            rates: watched.map(|seconds| self.rates(seconds, one_in)),
            max: self.question.max,
            push: scaled(self.push, factor),
            full_in: watched.and_then(|_| full_in(self.question.max?, &course)),
            course,
            candidates: self.with_losses(candidates, factor),
        }
    }

    fn candidates(&self, flows: u64, factor: f64, margin: impl Fn(u64) -> f64) -> Vec<Candidate> {
        let candidate = |timeout: &u32| {
            let told = split(&self.least, &self.most, flows, *timeout);
            let proven = split(&self.proven_least, &self.proven_most, flows, *timeout);
            let margins = [told.kept, told.dropped, told.unknown].map(&margin);
            Candidate {
                timeout: *timeout,
                flows: told.scaled(factor),
                margin: margins.into_iter().fold(0.0, f64::max),
                proven: self.is_watched().then(|| proven.scaled(factor)),
                losses: Vec::new(),
            }
        };
        self.question.candidates.iter().map(candidate).collect()
    }

    fn with_losses(self, mut candidates: Vec<Candidate>, factor: f64) -> Vec<Candidate> {
        let losses = self
            .losses
            .largest(candidates.len(), |number| scaled(number, factor));
        for (candidate, losses) in candidates.iter_mut().zip(losses) {
            candidate.losses = losses;
        }
        candidates
    }

    fn curve(&self, flows: u64, factor: f64) -> Vec<(u32, Split)> {
        let longest = self.question.timeout.max(self.longest_candidate());
        let points = self.thresholds.iter().filter(|at| **at <= longest);
        let told = |at: &u32| split(&self.least, &self.most, flows, *at).scaled(factor);
        points.map(|at| (*at, told(at))).collect()
    }

    fn idle_times(&self, factor: f64) -> Vec<(u32, u64)> {
        let from = |place: usize| IDLE.get(place).map_or(0, |from| self.idle.at_least(*from));
        let longest = self.question.timeout;
        let groups = IDLE
            .iter()
            .enumerate()
            .filter(|(_, start)| **start < longest);
        let flows = |place| from(place).saturating_sub(from(place + 1));
        groups
            .map(|(place, start)| (*start, scaled(flows(place), factor)))
            .collect()
    }

    fn longest_candidate(&self) -> u32 {
        self.question.candidates.last().copied().unwrap_or(0)
    }

    fn ageing(&self, factor: f64, is_asked: impl Fn(Option<Key>) -> bool) -> Vec<Age> {
        let after = self.question.after.iter();
        after.map(|at| self.age(*at, factor, &is_asked)).collect()
    }

    /// All flows, and those of the key, at every threshold.
    fn course(&self, factor: f64) -> Vec<(Age, Age)> {
        let of_key = |key| key == Some(self.question.key);
        let thresholds = [0].into_iter().chain(self.thresholds.iter().copied());
        thresholds
            .map(|at| {
                let all = self.age(at, factor, &|_| true);
                (all, self.age(at, factor, &of_key))
            })
            .collect()
    }

    fn age(&self, after: u32, factor: f64, is_asked: &impl Fn(Option<Key>) -> bool) -> Age {
        let watched = self.watch.map(|_| self.watched.max(1.0));
        let mut sums = [0.0; WAYS];
        for (_, ages) in self.ages.iter().filter(|(key, _)| is_asked(**key)) {
            for (sum, flows) in sums.iter_mut().zip(ages.after(after, watched)) {
                *sum += flows;
            }
        }
        let [untouched, clamped, re_aged] = sums.map(|sum| rounded(sum * factor));
        Age {
            after,
            untouched,
            clamped,
            re_aged,
        }
    }

    fn rates(&self, seconds: f64, one_in: u64) -> Vec<Rate> {
        let rate = |number: u64| as_f64(number * one_in) / seconds.max(1.0);
        let rates = self.ages.iter().map(|(key, ages)| Rate {
            key: *key,
            began: rate(ages.turnover.began),
            closed: rate(ages.turnover.closed),
        });
        rates
            .filter(|rate| rate.began + rate.closed > 0.0)
            .collect()
    }
}

impl Split {
    fn scaled(self, factor: f64) -> Split {
        Split {
            kept: scaled(self.kept, factor),
            dropped: scaled(self.dropped, factor),
            unknown: scaled(self.unknown, factor),
        }
    }

    /// All of them.
    pub(crate) fn all(self) -> u64 {
        self.kept + self.dropped + self.unknown
    }
}

/// Flows that were idle for a timeout or longer, for less, or that may be either.
fn split(least: &Steps, most: &Steps, flows: u64, timeout: u32) -> Split {
    let dropped = least.at_least(timeout);
    let kept = flows.saturating_sub(most.at_least(timeout));
    Split {
        kept,
        dropped,
        unknown: flows.saturating_sub(kept + dropped),
    }
}

/// The seconds until the table has as many entries as it can have, by the straight line between
/// two points of its course; none if it will not within that.
fn full_in(max: u64, course: &[(Age, Age)]) -> Option<u32> {
    let mut before: Option<Age> = None;
    for (age, _) in course {
        if age.untouched >= max {
            let Some(before) = before else {
                return Some(age.after);
            };
            let rise = as_f64(age.untouched - before.untouched);
            let part = as_f64(max - before.untouched) / rise.max(1.0);
            let step = f64::from(age.after - before.after);
            return Some(before.after.saturating_add(whole_seconds(part * step)));
        }
        before = Some(*age);
    }
    None
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are positive and small
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it saturates
fn whole_seconds(seconds: f64) -> u32 {
    seconds as u32
}

#[cfg(test)]
mod tests;
