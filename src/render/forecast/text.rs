//! A forecast as people read it: the sentence, a row for each timeout, a row for each time.

use super::pictures::pictures;
use super::{Foreseen, Shown, share};
use crate::flow::forecast::{COLUMNS, Candidate, Forecast, Loss, Split};
use crate::flow::{Field, Value};
use crate::render::layout::{CELL, RIGHT, SPARE, bar, command};
use crate::render::picture;
use crate::render::style::{FAINT, HEAD, HINT, WARN};
use crate::tunable::{format_count, format_seconds, format_share, plural};

/// Columns of a bar.
const BAR: u8 = 12;

/// The whole text.
pub(crate) fn text(shown: &Shown<'_>) -> String {
    let forecast = shown.forecast;
    let mut text = format!("{HEAD}{}{HEAD:#}\n", sentence(shown));
    if forecast.total == 0 {
        return text;
    }
    if forecast.flows > 0 {
        text.push_str(&format!("\n{}", timeouts(shown)));
        text.push_str(&losses(forecast));
    }
    text.push_str(&format!("\n{}", ageing(forecast)));
    text.push_str(&notes(shown));
    if shown.draws {
        for picture in pictures(shown) {
            text.push_str(&format!("\n{}", picture::text(&picture)));
        }
    }
    text
}

/// The candidate that the sentence is about: the timeout that flows are aged to, if it is one.
fn spoken_of(forecast: &Forecast) -> Option<&Candidate> {
    let mut candidates = forecast.candidates.iter();
    candidates.find(|one| one.timeout == forecast.to)
}

fn sentence(shown: &Shown<'_>) -> String {
    let forecast = shown.forecast;
    let key = forecast.key.short_name();
    let timeout = format_seconds(forecast.timeout.into());
    if forecast.total == 0 {
        return if shown.is_selection {
            "no flow matches".to_owned()
        } else {
            "the table is empty".to_owned()
        };
    }
    if forecast.flows == 0 {
        let total = plural(forecast.total, "flow");
        return format!("{key} ({timeout} now) applies to none of {total}");
    }
    let about = if forecast.sampled.is_some() {
        "about "
    } else {
        ""
    };
    match spoken_of(forecast) {
        Some(one) => format!("{about}{}", line(one.timeout, one.flows)),
        None => format!("{key} applies to {about}{}", plural(forecast.flows, "flow")),
    }
}

/// `2h4m: 41,300 of 52,000 flows would have ended`.
fn line(timeout: u32, flows: Split) -> String {
    let unknown = match flows.unknown {
        0 => String::new(),
        unknown => format!("; of {} it is unknown", format_count(unknown)),
    };
    format!(
        "{}: {} of {} would have ended{unknown}",
        format_seconds(timeout.into()),
        format_count(flows.dropped),
        plural(flows.all(), "flow"),
    )
}

/// The lines of a plan: none of a timeout that no flow has.
pub(super) fn foreseen(foreseen: &Foreseen) -> String {
    if let Some(why) = &foreseen.unread {
        return format!(
            "{FAINT}  what these timeouts would have ended is not known: {why}{FAINT:#}\n"
        );
    }
    let told = |(forecast, one): (&Forecast, &Candidate)| {
        let sampled = forecast.sampled.map(|sampled| {
            let (sampled, margin) = (format_count(sampled), format_share(one.margin));
            format!(" (from a sample of {sampled}, ± {margin})")
        });
        format!(
            "  {} {}{}\n",
            forecast.key.short_name(),
            line(one.timeout, one.flows),
            sampled.unwrap_or_default()
        )
    };
    foreseen
        .each()
        .filter(|(forecast, _)| forecast.flows > 0)
        .map(told)
        .collect()
}

fn timeouts(shown: &Shown<'_>) -> String {
    let forecast = shown.forecast;
    let mut rows = Vec::new();
    for (place, one) in forecast.candidates.iter().enumerate() {
        let part = share(one.flows.dropped, one.flows.all());
        rows.push([
            format_seconds(one.timeout.into()),
            format_count(one.flows.dropped),
            format_share(part),
            bar(part, BAR),
            format_count(one.flows.kept),
            format_count(one.flows.unknown),
            remarks(shown, one, forecast.knee == Some(place)),
        ]);
    }
    let head = [">timeout", ">would end", ">", "-", ">stay", ">unknown", ""];
    let rows = columns(head, &rows);
    let (key, now) = (forecast.key.short_name(), forecast.timeout);
    let now = format_seconds(now.into());
    format!("{FAINT}{key} is {now} now{FAINT:#}\n{rows}")
}

/// What the timeout breaks, and whether it is the knee.
fn remarks(shown: &Shown<'_>, one: &Candidate, is_knee: bool) -> String {
    let mut remarks = Vec::new();
    if is_knee {
        remarks.push("knee".to_owned());
    }
    if one.timeout == shown.forecast.timeout {
        remarks.push("now".to_owned());
    }
    let broken = shown.broken_by(one.timeout);
    if let Some((what, least)) = broken.first() {
        let more = match broken.len() - 1 {
            0 => String::new(),
            more => format!(" +{more}"),
        };
        let least = format_seconds(*least);
        remarks.push(format!("{WARN}breaks{WARN:#} {what} ({least}){more}"));
    }
    remarks.join(", ")
}

fn losses(forecast: &Forecast) -> String {
    let Some(one) = spoken_of(forecast).filter(|one| !one.losses.is_empty()) else {
        return String::new();
    };
    let mut text = format!("\nlose most with {}:\n", format_seconds(one.timeout.into()));
    for loss in &one.losses {
        text.push_str(&format!(
            "  {} of {} {}\n",
            format_count(loss.dropped),
            format_count(loss.flows),
            group(loss)
        ));
    }
    text
}

/// `tcp to 192.0.2.1 port 443`.
fn group(loss: &Loss) -> String {
    let mut words = Vec::new();
    for (column, value) in COLUMNS.iter().zip(loss.by) {
        if value == Value::Absent {
            continue;
        }
        match column.field {
            Field::Dst => words.push(format!("to {value}")),
            Field::Dport => words.push(format!("port {value}")),
            _ => words.push(value.to_string()),
        }
    }
    words.join(" ")
}

fn ageing(forecast: &Forecast) -> String {
    let to = format_seconds(forecast.to.into());
    let (clamp, re_age) = (format!(">clamp to {to}"), format!(">re-age to {to}"));
    let head = [">flows left after", ">untouched", "-", &clamp, &re_age];
    let mut rows = Vec::new();
    let row = |after: String, [untouched, clamp, re_age]: [u64; 3]| {
        [
            after,
            format_count(untouched),
            bar(share(untouched, forecast.total), BAR),
            format_count(clamp),
            format_count(re_age),
        ]
    };
    rows.push(row("now".to_owned(), [forecast.total; 3]));
    for age in &forecast.ageing {
        let numbers = [age.untouched, age.clamped, age.re_aged];
        rows.push(row(format_seconds(age.after.into()), numbers));
    }
    columns(head, &rows)
}

/// What the numbers rest on, and what to do for better ones.
fn notes(shown: &Shown<'_>) -> String {
    let forecast = shown.forecast;
    let mut lines = Vec::new();
    match (forecast.watched, forecast.full_in, forecast.max) {
        (Some(_), Some(seconds), Some(max)) => lines.push(format!(
            "{WARN}at this rate the table is full ({}) in {}{WARN:#}",
            format_count(max),
            format_seconds(seconds.into())
        )),
        (Some(seconds), None, Some(_)) => lines.push(format!(
            "watched for {}: at this rate the table does not fill",
            format_seconds(seconds.into())
        )),
        (Some(seconds), ..) => {
            lines.push(format!("watched for {}", format_seconds(seconds.into())));
        }
        (None, ..) => lines.push(
            "assumed: no flow sends again and none begins; --observe 30s measures both".to_owned(),
        ),
    }
    lines.push(
        "idle time = timeout − time left: at most that, unless somebody set a flow's time"
            .to_owned(),
    );
    if let Some(sampled) = forecast.sampled {
        let off = forecast.candidates.iter().map(|one| one.margin);
        let off = off.fold(forecast.margin, f64::max);
        lines.push(format!(
            "estimated from {} flows: in 95 of 100 samples every number is within ± {}",
            format_count(sampled),
            format_share(off)
        ));
    }
    if forecast.watched.is_none() {
        lines.push("re-age counts idle time as --trust-history does".to_owned());
    }
    let notes = lines.iter().map(|line| format!("{FAINT}{line}{FAINT:#}\n"));
    let mut text: String = notes.collect();
    let mut next = String::from("cttune expire --dry-run");
    if forecast.to < forecast.timeout {
        next = format!(
            "cttune apply --set {}={} --expire",
            forecast.key.short_name(),
            format_seconds(forecast.to.into())
        );
    }
    text.push_str(&format!("{HINT}to do it: {}{HINT:#}\n", command(&next)));
    text
}

/// Rows with their columns aligned: a `>` before the title of those of numbers, a `-` of one that a
/// narrow screen does without.
fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mark = |title: &str| match title.chars().next() {
        Some('>') => RIGHT.to_string(),
        Some('-') => SPARE.to_string(),
        _ => String::new(),
    };
    let marks = head.map(mark);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&marks);
        let cells: Vec<String> = cells.map(|(cell, mark)| format!("{mark}{cell}")).collect();
        format!("{}\n", cells.join(&CELL.to_string()))
    };
    let head =
        head.map(|title| format!("{FAINT}{}{FAINT:#}", title.trim_start_matches(['>', '-'])));
    let all = std::iter::once(&head).chain(rows);
    all.map(line).collect()
}
