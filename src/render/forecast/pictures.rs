//! The pictures of a forecast: idle times, timeouts, how the table ages, how one timeout's flows do.

use super::{Shown, share};
use crate::flow::forecast::{Age, Forecast};
use crate::render::picture::{Axis, Mark, Picture, Series};
use crate::tunable::{format_count, format_seconds, plural};

/// A number of flows of an age.
type Number = fn(&Age) -> u64;

/// A day: how far the last picture looks ahead at most.
const DAY: u32 = 86_400;

/// Every picture that has something to show.
pub(in crate::render) fn pictures(shown: &Shown<'_>) -> Vec<Picture> {
    let forecast = shown.forecast;
    let all: Vec<Age> = forecast.course.iter().map(|(all, _)| *all).collect();
    let of_key: Vec<Age> = forecast.course.iter().map(|(_, key)| *key).collect();
    let name = words(forecast);
    let mut pictures = vec![idle(forecast), curve(shown)];
    let whole = ageing("ageing", "All flows from now on", forecast, &all, 7 * DAY);
    let key = ageing(
        "flows",
        &format!("{name} over a day"),
        forecast,
        &of_key,
        DAY,
    );
    pictures.extend([whole, key]);
    pictures.retain(|picture| !picture.is_empty());
    pictures
}

/// `Established TCP flows`.
pub(super) fn words(forecast: &Forecast) -> String {
    match forecast.key.short_name() {
        "tcp_timeout_established" => "Established TCP flows".to_owned(),
        other => format!("Flows under {other}"),
    }
}

fn idle(forecast: &Forecast) -> Picture {
    let starts = forecast.idle.iter().map(|(from, _)| *from);
    let ends = starts.clone().skip(1).map(Some).chain([None]);
    let names = starts.zip(ends).map(|(from, end)| match (from, end) {
        (0, Some(end)) => format!("< {}", format_seconds(end.into())),
        (from, Some(end)) => {
            let (from, end) = (format_seconds(from.into()), format_seconds(end.into()));
            format!("{from}–{end}")
        }
        (from, None) => format!("> {}", format_seconds(from.into())),
    });
    let names: Vec<String> = names.chain(["unknown".to_owned()]).collect();
    let flows = forecast.idle.iter().map(|(_, flows)| *flows);
    let flows = flows.chain([forecast.idle_unknown]).map(float);
    let points: Vec<(f64, f64)> = flows.enumerate().map(|(at, y)| (middle(at), y)).collect();
    let most = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    Picture {
        name: "idle",
        title: format!("{} by idle time", words(forecast)),
        about: format!(
            "{} by the time since the last packet, as the time left tells it; of {} it is not \
             known.",
            plural(forecast.flows, "flow"),
            format_count(forecast.idle_unknown),
        ),
        across: Axis::places("idle for at most", names),
        up: Axis::counts("flows", most),
        series: vec![Series {
            name: "flows".to_owned(),
            points: if most > 0.0 { points } else { Vec::new() },
        }],
        marks: Vec::new(),
    }
}

fn curve(shown: &Shown<'_>) -> Picture {
    let forecast = shown.forecast;
    let first = forecast.candidates.first().map_or(1, |one| one.timeout);
    let last = forecast.candidates.last().map_or(1, |one| one.timeout);
    let last = last.max(forecast.timeout);
    let within = forecast
        .curve
        .iter()
        .filter(|(at, _)| (first..=last).contains(at));
    let points = |ended: fn(&crate::flow::forecast::Split) -> u64| {
        let point = |(at, flows): &(u32, _)| (f64::from(*at), share(ended(flows), forecast.flows));
        within.clone().map(point).collect()
    };
    let mark = |at: u32, name: String| Mark {
        at: at.into(),
        name,
        is_level: false,
    };
    let mut marks = vec![mark(forecast.timeout, "now".to_owned())];
    for (least, rfc) in shown.demands {
        marks.extend(
            u32::try_from(*least)
                .ok()
                .map(|least| mark(least, (*rfc).to_owned())),
        );
    }
    let knee = forecast
        .knee
        .and_then(|place| forecast.candidates.get(place));
    marks.extend(knee.map(|knee| mark(knee.timeout, "knee".to_owned())));
    marks.retain(|mark| (f64::from(first)..=f64::from(last)).contains(&mark.at));
    let mut series = vec![Series {
        name: "ended".to_owned(),
        points: points(|flows| flows.dropped),
    }];
    if forecast.curve.iter().any(|(_, flows)| flows.unknown > 0) {
        series.push(Series {
            name: "ended or unknown".to_owned(),
            points: points(|flows| flows.dropped + flows.unknown),
        });
    }
    if forecast.flows == 0 {
        series.clear();
    }
    Picture {
        name: "timeouts",
        title: format!("{} that a timeout would have ended", words(forecast)),
        about: format!(
            "The share of {} that would have ended, by timeout; the timeout now is {}.",
            plural(forecast.flows, "flow"),
            format_seconds(forecast.timeout.into()),
        ),
        across: Axis::timeouts("timeout", first, last),
        up: Axis::shares("share of flows"),
        series,
        marks,
    }
}

fn ageing(
    name: &'static str,
    title: &str,
    forecast: &Forecast,
    ages: &[Age],
    longest: u32,
) -> Picture {
    let end = ages.last().map_or(0, |age| age.untouched);
    let settled = ages.iter().rev().find(|age| age.untouched != end);
    let last = settled.map_or(DAY, |age| age.after).clamp(10, longest);
    let within: Vec<&Age> = ages.iter().filter(|age| age.after <= last).collect();
    let most = within.iter().map(|age| age.untouched).max().unwrap_or(0);
    let to = format_seconds(forecast.to.into());
    let mut series = Vec::new();
    let ways: [(String, Number); 3] = [
        ("untouched".to_owned(), |age| age.untouched),
        (format!("clamp to {to}"), |age| age.clamped),
        (format!("re-age to {to}"), |age| age.re_aged),
    ];
    for (name, number) in ways.iter().filter(|_| most > 0) {
        let point = |age: &&Age| (f64::from(age.after), float(number(age)));
        let points = within.iter().map(point).collect();
        let name = name.clone();
        series.push(Series { name, points });
    }
    let is_near = |max: &u64| name == "ageing" && *max <= most.saturating_mul(3) / 2;
    let max = forecast.max.filter(is_near);
    let first = |number: Number| within.last().map_or(0, |age| number(age));
    let arrivals = if forecast.watched.is_some() {
        "with new flows as they were watched"
    } else {
        "without new flows, and if none sends again"
    };
    Picture {
        name,
        title: title.to_owned(),
        about: format!(
            "{} now; after {}: {} untouched, {} clamped, {} re-aged; {arrivals}.",
            plural(ages.first().map_or(0, |age| age.untouched), "flow"),
            format_seconds(last.into()),
            format_count(first(|age| age.untouched)),
            format_count(first(|age| age.clamped)),
            format_count(first(|age| age.re_aged)),
        ),
        across: Axis::time(&format!("from now, {arrivals}"), last),
        up: Axis::counts("flows", float(most.max(max.unwrap_or(0)))),
        series,
        marks: max
            .map(|max| Mark {
                at: float(max),
                name: format!("max {}", format_count(max)),
                is_level: true,
            })
            .into_iter()
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss)] // a few places
fn middle(place: usize) -> f64 {
    place as f64 + 0.5
}
