//! `cttune forecast`: as text, as JSON, as pictures, as rows.

mod pictures;
mod text;

use std::fmt::Write;

use serde_json::{Map, Value, json};

pub(super) use self::pictures::pictures;
pub(crate) use self::text::text;

use super::picture;
use super::top::value_json;
use crate::flow::forecast::{Age, COLUMNS, Candidate, Forecast, Loss, Split};

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
        if self.forecast.key == crate::tunable::Key::TcpTimeoutEstablished {
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

    /// A plan with it, as machines read it.
    pub(crate) fn json(&self, mut plan: Value) -> Value {
        let one = |(forecast, one): (&Forecast, &Candidate)| {
            let mut object = split_json(one.timeout, one.flows, one.margin);
            object.insert("key".to_owned(), json!(forecast.key));
            object.insert("sampled".to_owned(), json!(forecast.sampled));
            Value::Object(object)
        };
        let timeouts: Vec<Value> = self.each().map(one).collect();
        plan["forecast"] = json!({ "timeouts": timeouts, "unread": self.unread });
        plan
    }

    fn each(&self) -> impl Iterator<Item = (&Forecast, &Candidate)> {
        let all = self.forecasts.iter();
        all.flat_map(|forecast| forecast.candidates.iter().map(move |one| (forecast, one)))
    }
}

/// As machines read it.
pub(crate) fn json(shown: &Shown<'_>) -> Value {
    let forecast = shown.forecast;
    let knee = forecast
        .knee
        .and_then(|place| forecast.candidates.get(place));
    let timeouts = forecast.candidates.iter();
    let timeouts: Vec<Value> = timeouts.map(|one| candidate_json(shown, one)).collect();
    let ages = |ages: &[Age]| -> Vec<Value> {
        ages.iter()
            .map(|age| age_json(*age, forecast.margin))
            .collect()
    };
    let rates = forecast.rates.as_ref().map(|rates| {
        let rate = |rate: &crate::flow::forecast::Rate| {
            json!({
                "key": rate.key.map(crate::tunable::Key::name),
                "began_per_second": rate.began,
                "closed_per_second": rate.closed,
            })
        };
        rates.iter().map(rate).collect::<Vec<_>>()
    });
    json!({
        "schema": super::SCHEMA,
        "key": forecast.key.name(),
        "timeout": forecast.timeout,
        "total": forecast.total,
        "flows": forecast.flows,
        "sampled": forecast.sampled,
        "observed": forecast.watched,
        "timeouts": timeouts,
        "knee": knee.map(|knee| knee.timeout),
        "idle": idle_json(forecast),
        "to": forecast.to,
        "ageing": ages(&forecast.ageing),
        "ageing_of_key": ages(&forecast.ageing_of_key),
        "arrivals": rates,
        "max": forecast.max,
        "full_in": forecast.full_in,
    })
}

/// A timeout that is compared.
fn split_json(timeout: u32, flows: Split, margin: f64) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("timeout".to_owned(), json!(timeout));
    object.insert("kept".to_owned(), json!(flows.kept));
    object.insert("dropped".to_owned(), json!(flows.dropped));
    object.insert("unknown".to_owned(), json!(flows.unknown));
    object.insert("share".to_owned(), json!(share(flows.dropped, flows.all())));
    object.insert("margin".to_owned(), json!(margin));
    object
}

fn candidate_json(shown: &Shown<'_>, one: &Candidate) -> Value {
    let mut object = split_json(one.timeout, one.flows, one.margin);
    let broken = shown.broken_by(one.timeout).into_iter();
    let broken = broken.map(|(what, least)| json!({ "what": what, "least": least }));
    let proven = one
        .proven
        .map(|proven| json!({ "kept": proven.kept, "dropped": proven.dropped }));
    object.insert("proven".to_owned(), json!(proven));
    object.insert("breaks".to_owned(), broken.collect());
    object.insert(
        "groups".to_owned(),
        one.losses.iter().map(loss_json).collect(),
    );
    Value::Object(object)
}

fn loss_json(loss: &Loss) -> Value {
    let by = COLUMNS.iter().zip(loss.by);
    let by = by.map(|(column, value)| (column.field.name().to_owned(), value_json(value)));
    json!({ "by": by.collect::<Map<_, _>>(), "dropped": loss.dropped, "flows": loss.flows })
}

fn age_json(age: Age, margin: f64) -> Value {
    json!({
        "after": age.after,
        "untouched": age.untouched,
        "clamp": age.clamped,
        "re_age": age.re_aged,
        "margin": margin,
    })
}

fn idle_json(forecast: &Forecast) -> Value {
    let group = |(from, flows): &(u32, u64)| json!({ "from": from, "flows": flows });
    json!({
        "groups": forecast.idle.iter().map(group).collect::<Vec<_>>(),
        "unknown": forecast.idle_unknown,
    })
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
