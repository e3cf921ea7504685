//! `cttune forecast`: as text, as JSON, as pictures, as rows.

mod pictures;
mod text;

use std::fmt::Write;

use serde::Serialize;

pub(super) use self::pictures::pictures;
pub(crate) use self::text::text;

use super::picture;
use super::shape::{Named, Scalar, Schema};
use super::top::scalar;
use crate::flow::forecast::{Age, COLUMNS, Candidate, Forecast, Loss, Rate};
use crate::tunable::Key;

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) forecast: &'a Forecast,
    /// The least seconds that an RFC demands, and which RFC.
    pub(crate) demands: &'a [(i64, &'static str)],
    /// Whether `--match` or `--keep` left flows out.
    pub(crate) is_selection: bool,
    /// Whether to draw pictures.
    pub(crate) draws: bool,
}

/// What a timeout that is shorter breaks beside RFCs, in seconds: all nine probes of Linux's
/// keepalive, and what Firebase Cloud Messaging asks for its ports.
const KEEPALIVE: i64 = 7875;
const PUSH: i64 = 1800;

impl Shown<'_> {
    /// What a timeout breaks, the worst first, and the seconds that it would take.
    fn broken_by(&self, timeout: u32) -> Vec<(&'static str, i64)> {
        let mut broken = Vec::new();
        if self.forecast.push > 0 {
            broken.push(("push services", PUSH));
        }
        broken.extend(self.demands.iter().map(|(least, rfc)| (*rfc, *least)));
        if self.forecast.key == Key::TcpTimeoutEstablished {
            broken.push(("Linux keepalive", KEEPALIVE));
        }
        broken.retain(|(_, least)| i64::from(timeout) < *least);
        broken
    }
}

/// What a plan's timeouts would have ended: a forecast with one candidate for each.
#[derive(Debug, Default)]
pub(crate) struct Foreseen {
    pub(crate) forecasts: Vec<Forecast>,
    /// Why they could not be made.
    pub(crate) unread: Option<String>,
}

impl Foreseen {
    /// As people read it.
    pub(crate) fn text(&self) -> String {
        text::foreseen(self)
    }

    /// As machines read it, in a plan.
    pub(crate) fn json(&self) -> InPlan<'_> {
        let one = |(forecast, one): (&Forecast, &Candidate)| Changed {
            split: split(one),
            key: forecast.key,
            sampled: forecast.sampled,
        };
        InPlan {
            timeouts: self.each().map(one).collect(),
            unread: self.unread.as_deref(),
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Forecast, &Candidate)> {
        let all = self.forecasts.iter();
        all.flat_map(|forecast| forecast.candidates.iter().map(move |one| (forecast, one)))
    }
}

/// What a plan's timeouts would have ended, or why that is not known.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct InPlan<'a> {
    timeouts: Vec<Changed>,
    unread: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Changed {
    #[serde(flatten)]
    split: SplitNow,
    key: Key,
    /// Flows that were looked at, if not all were.
    sampled: Option<u64>,
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output {
    schema: Schema,
    key: Key,
    timeout: u32,
    total: u64,
    flows: u64,
    /// Flows that were looked at, if not all were.
    sampled: Option<u64>,
    /// For how many seconds flows were watched.
    observed: Option<u32>,
    timeouts: Vec<CandidateNow>,
    knee: Option<u32>,
    idle: Idle,
    /// The timeout that `ageing` clamps and re-ages to.
    to: u32,
    ageing: Vec<AgeNow>,
    ageing_of_key: Vec<AgeNow>,
    arrivals: Option<Vec<Arrivals>>,
    max: Option<u64>,
    /// Seconds.
    full_in: Option<u32>,
}

/// Flows under a timeout.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SplitNow {
    timeout: u32,
    kept: u64,
    dropped: u64,
    unknown: u64,
    /// Of the flows, those that are dropped: 0 to 1.
    share: f64,
    margin: f64,
}

/// A timeout that is compared.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CandidateNow {
    #[serde(flatten)]
    split: SplitNow,
    proven: Option<Proven>,
    breaks: Vec<Breaks>,
    groups: Vec<LossNow>,
}

/// Flows that were seen to be active, or idle for long enough.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Proven {
    kept: u64,
    dropped: u64,
}

/// What needs at least so many seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Breaks {
    what: &'static str,
    least: i64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LossNow {
    by: Named<Scalar>,
    dropped: u64,
    flows: u64,
}

/// Flows that are left after so many seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AgeNow {
    after: u32,
    untouched: u64,
    clamp: u64,
    re_age: u64,
    margin: f64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Arrivals {
    key: Option<Key>,
    began_per_second: f64,
    closed_per_second: f64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Idle {
    groups: Vec<IdleFor>,
    unknown: u64,
}

/// Flows that are idle for so many seconds, up to the next.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct IdleFor {
    from: u32,
    flows: u64,
}

pub(crate) fn json(shown: &Shown<'_>) -> Output {
    let forecast = shown.forecast;
    let candidates = &forecast.candidates;
    let knee = forecast.knee.and_then(|place| candidates.get(place));
    let ages = |ages: &[Age]| {
        let age = |age: &Age| AgeNow {
            after: age.after,
            untouched: age.untouched,
            clamp: age.clamped,
            re_age: age.re_aged,
            margin: forecast.margin,
        };
        ages.iter().map(age).collect()
    };
    let arrivals = |rate: &Rate| Arrivals {
        key: rate.key,
        began_per_second: rate.began,
        closed_per_second: rate.closed,
    };
    let rates = forecast.rates.as_ref();
    let idle = forecast.idle.iter();
    Output {
        schema: Schema,
        key: forecast.key,
        timeout: forecast.timeout,
        total: forecast.total,
        flows: forecast.flows,
        sampled: forecast.sampled,
        observed: forecast.watched,
        timeouts: candidates.iter().map(|one| candidate(shown, one)).collect(),
        knee: knee.map(|knee| knee.timeout),
        idle: Idle {
            groups: idle.map(|&(from, flows)| IdleFor { from, flows }).collect(),
            unknown: forecast.idle_unknown,
        },
        to: forecast.to,
        ageing: ages(&forecast.ageing),
        ageing_of_key: ages(&forecast.ageing_of_key),
        arrivals: rates.map(|rates| rates.iter().map(arrivals).collect()),
        max: forecast.max,
        full_in: forecast.full_in,
    }
}

fn candidate(shown: &Shown<'_>, one: &Candidate) -> CandidateNow {
    let broken = shown.broken_by(one.timeout).into_iter();
    CandidateNow {
        split: split(one),
        proven: one.proven.map(|proven| Proven {
            kept: proven.kept,
            dropped: proven.dropped,
        }),
        breaks: broken.map(|(what, least)| Breaks { what, least }).collect(),
        groups: one.losses.iter().map(loss).collect(),
    }
}

fn split(one: &Candidate) -> SplitNow {
    SplitNow {
        timeout: one.timeout,
        kept: one.flows.kept,
        dropped: one.flows.dropped,
        unknown: one.flows.unknown,
        share: share(one.flows.dropped, one.flows.all()),
        margin: one.margin,
    }
}

fn loss(loss: &Loss) -> LossNow {
    let by = COLUMNS.iter().zip(loss.by);
    LossNow {
        by: by
            .map(|(column, value)| (column.field.name(), scalar(value)))
            .collect(),
        dropped: loss.dropped,
        flows: loss.flows,
    }
}

/// The pictures as a file of their own.
pub(crate) fn svg(shown: &Shown<'_>) -> String {
    let title = format!("cttune forecast: {}", shown.forecast.key.short_name());
    picture::document(&title, &pictures(shown))
}

/// The numbers of the pictures, a point a row.
pub(crate) fn csv(shown: &Shown<'_>) -> String {
    let mut rows = String::from("picture,series,x,y\n");
    for picture in pictures(shown) {
        for series in &picture.series {
            for (x, y) in &series.points {
                // Names are our own, without commas or quotes. A string takes every row.
                let _ = writeln!(rows, "{},{},{x},{y}", picture.name, series.name);
            }
        }
    }
    rows
}

#[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
