//! The frame: what of the model fits the size, the most important first.

use std::time::Duration;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use textwrap::core::display_width;

use super::past::{Line as Sparkline, spark};
use super::rows::Row;
use super::{Found, Mode, Watch};
use crate::assess::Severity;
use crate::diagnostic::plain::one_line;
use crate::flow::{Field, Top, Value};
use crate::render::layout::{ascii, bar, gauge};
use crate::tunable::{format_count, format_rounded_seconds, format_seconds, format_share, plural};

/// What a frame is drawn on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) is_utf8: bool,
    pub(crate) has_color: bool,
    /// Whether keys do something.
    pub(crate) has_keys: bool,
}

/// The smallest screen that a frame is made for.
const SMALLEST: (usize, usize) = (40, 12);
/// Screens of fewer lines have no sparklines.
const HIGH: usize = 18;
/// Findings that are shown beside the groups.
const FINDINGS: usize = 3;
/// Columns before and behind a sparkline.
const LABEL: usize = 14;
const NUMBER: usize = 12;
/// From this width on rows have a bar.
const WIDE: usize = 100;
const BAR: u8 = 12;
/// An address is not cut shorter than this.
const SHORTEST: usize = 12;

/// As render::style has them.
const BAD: Style = Style::new()
    .fg(Color::Indexed(160))
    .add_modifier(Modifier::BOLD);
const WARN: Style = Style::new()
    .fg(Color::Indexed(130))
    .add_modifier(Modifier::BOLD);
const GOOD: Style = Style::new().fg(Color::Indexed(28));
const HINT: Style = Style::new().fg(Color::Indexed(30));
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

const KEYS: [(&str, &str); 8] = [
    ("?", "help"),
    ("q", "quit"),
    ("g", "group"),
    ("/", "filter"),
    ("Enter", "open"),
    ("Space", "freeze"),
    ("E", "expire"),
    ("K", "kill"),
];

const HELP: [(&str, &str); 12] = [
    ("Up Down j k", "select a group"),
    ("Home End PgUp PgDn", "select one further away"),
    ("g G", "group by the next fields, or those before"),
    ("b", "group by fields that you type: src,dport"),
    (
        "/",
        "only flows that match: TERM,TERM or more of them, with blanks between",
    ),
    (
        "Enter",
        "show only the selected group, grouped by what it differs in",
    ),
    ("Esc Backspace", "back to what was shown before"),
    (
        "Space",
        "freeze: nothing is read until Space is pressed again",
    ),
    ("E", "preview cttune expire for the selected group, and ask"),
    ("K", "preview cttune kill for the selected group, and ask"),
    ("Ctrl-Z Ctrl-L", "suspend; draw everything again"),
    ("q Ctrl-C", "quit"),
];
const ABOUT: &str = "\
Groups, states and rates are estimated from a sample, if one is named. In and out do not count flows \
that begin and end between two readings. A group whose flows are gone is shown for 10s more, with - \
for its flows. E and K leave this screen and come back to it.";

/// The lines of a frame, as many as the height has at most and none wider than the width.
pub(crate) fn frame(watch: &Watch, look: Look) -> Vec<Line<'static>> {
    let mut lines = if look.width < SMALLEST.0 || look.height < SMALLEST.1 {
        let (width, height) = SMALLEST;
        vec![text(format!("too small: needs {width} x {height}"), BOLD)]
    } else if watch.mode == Mode::Help {
        help(look.width)
    } else {
        whole(watch, look)
    };
    lines.truncate(look.height);
    lines.into_iter().map(|line| fitted(line, look)).collect()
}

fn help(width: usize) -> Vec<Line<'static>> {
    const KEY: usize = 20;
    let mut lines = vec![text("cttune watch: any key goes back".to_owned(), BOLD)];
    for (key, what) in HELP {
        let mut key = key;
        for part in textwrap::wrap(what, width - KEY) {
            let what = Span::raw(part.into_owned());
            lines.push(Line::from(vec![
                Span::styled(format!("{key:<KEY$}"), BOLD),
                what,
            ]));
            key = "";
        }
    }
    lines.push(Line::default());
    let about = textwrap::wrap(ABOUT, width).into_iter();
    lines.extend(about.map(|line| text(line.into_owned(), FAINT)));
    lines
}

fn text(text: String, style: Style) -> Line<'static> {
    Line::from(Span::styled(text, style))
}

fn whole(watch: &Watch, look: Look) -> Vec<Line<'static>> {
    let mut lines = head(watch, look);
    let keys = usize::from(look.has_keys);
    let findings = findings(watch, look);
    let room = look
        .height
        .saturating_sub(lines.len() + findings.len() + keys);
    let mut groups = groups(watch, look, room);
    groups.resize(room, Line::default());
    lines.extend(groups);
    lines.extend(findings);
    if look.has_keys {
        lines.push(bottom(watch, look.width));
    }
    lines
}

/// The table, its rates, its states and its last hour.
fn head(watch: &Watch, look: Look) -> Vec<Line<'static>> {
    let Some(last) = &watch.last else {
        return vec![text(format!("{}: reading the table", watch.host), BOLD)];
    };
    let fill = last
        .max
        .filter(|max| *max > 0)
        .map(|max| share(last.count, max));
    let style = match fill {
        Some(fill) if fill >= 0.9 => BAD,
        Some(fill) if fill >= 0.8 => WARN,
        _ => GOOD,
    };
    let of = match (last.max, fill) {
        (Some(max), Some(fill)) => {
            format!(
                "{} of {} ({})",
                format_count(last.count),
                plural(max, "flow"),
                format_share(fill)
            )
        }
        _ => format!("{}, no max is known", plural(last.count, "flow")),
    };
    let when = if watch.is_frozen {
        format!("FROZEN {}", last.clock)
    } else {
        format!("{} every {}", last.clock, interval(watch.interval))
    };
    let cells = u8::try_from(look.width).unwrap_or(u8::MAX);
    let mut lines = vec![
        sides(
            vec![
                Span::styled(format!("{}: ", watch.host), BOLD),
                Span::styled(of, style),
            ],
            Span::styled(when, if watch.is_frozen { WARN } else { FAINT }),
            look.width,
        ),
        text(gauge(fill.unwrap_or(0.0), cells), style),
        rates(watch),
    ];
    let kinds = last.flows.as_ref().ok().map(|flows| &flows.kinds);
    for (title, field) in [("states", Field::State), ("protocols", Field::Proto)] {
        let told = kinds.map_or("-".to_owned(), |kinds| {
            told_kinds(kinds, field, look.width - LABEL)
        });
        lines.push(Line::from(vec![
            Span::styled(format!("{title:<LABEL$}"), FAINT),
            Span::raw(told),
        ]));
    }
    if look.height >= HIGH {
        lines.extend(sparklines(watch, look));
    }
    lines
}

fn rates(watch: &Watch) -> Line<'static> {
    let Some(last) = &watch.last else {
        return Line::default();
    };
    let flows = last.flows.as_ref().ok();
    let mut spans = Vec::new();
    for (name, rate, is_bad) in [
        ("in", flows.and_then(|flows| flows.began), false),
        ("out", flows.and_then(|flows| flows.ended), false),
        ("drops", last.drops, true),
        ("early drops", last.early_drops, true),
    ] {
        let style = match rate {
            Some(rate) if is_bad && rate > 0.0 => BAD,
            _ => Style::new(),
        };
        spans.push(Span::styled(format!("{name} "), FAINT));
        spans.push(Span::styled(per_second(rate), style));
        spans.push(Span::raw("   "));
    }
    spans.push(
        match (
            last.max,
            last.max.and_then(|max| watch.past.full_in(float(max))),
        ) {
            (Some(max), _) if last.count >= max => Span::styled("full", BAD),
            (_, Some(time)) => {
                let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                let style = if seconds < 3600 { BAD } else { WARN };
                Span::styled(
                    format!("full in {}", format_rounded_seconds(seconds)),
                    style,
                )
            }
            _ => Span::styled("not filling", FAINT),
        },
    );
    Line::from(spans)
}

/// `established 54,000 (70.3 %)  time_wait 3,000 (3.9 %)`, as many as fit.
fn told_kinds(kinds: &Top, field: Field, width: usize) -> String {
    let place = kinds
        .columns
        .iter()
        .position(|column| column.field == field);
    let mut sums: Vec<(String, u64)> = Vec::new();
    for group in &kinds.groups {
        let value = place.and_then(|place| group.values.get(place));
        let Some(value) = value.filter(|value| **value != Value::Absent) else {
            continue;
        };
        let name = value.to_string();
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += group.flows,
            None => sums.push((name, group.flows)),
        }
    }
    sums.sort_by_key(|(_, flows)| std::cmp::Reverse(*flows));
    let mut told = String::new();
    for (name, flows) in sums {
        let share = format_share(share(flows, kinds.total));
        let one = format!("{name} {} ({share})", format_count(flows));
        let gap = if told.is_empty() { "" } else { "  " };
        if display_width(&told) + gap.len() + display_width(&one) > width {
            break;
        }
        told.push_str(gap);
        told.push_str(&one);
    }
    if told.is_empty() {
        "-".to_owned()
    } else {
        told
    }
}

fn sparklines(watch: &Watch, look: Look) -> Vec<Line<'static>> {
    let (_, span) = watch.past.span();
    let width = look.width.saturating_sub(LABEL + NUMBER);
    let max = watch.last.as_ref().and_then(|last| last.max).map(float);
    let mut lines = Vec::new();
    for (name, line, style) in [
        ("fill", Sparkline::Count, GOOD),
        ("in", Sparkline::Began, HINT),
        ("drops", Sparkline::Drops, BAD),
    ] {
        let bins = watch.past.bins(line, width);
        let highest = bins.iter().flatten().copied().reduce(f64::max);
        let (most, number) = match (line, max, highest) {
            (Sparkline::Count, Some(max), Some(highest)) if max > 0.0 => {
                (max, format!("max {}", format_share(highest / max)))
            }
            (Sparkline::Count, ..) => (highest.unwrap_or(0.0), String::new()),
            (_, _, highest) => (
                highest.unwrap_or(0.0),
                format!("max {}", per_second(highest)),
            ),
        };
        let number = if highest.is_none() {
            "-".to_owned()
        } else {
            number
        };
        lines.push(Line::from(vec![
            Span::styled(format!("{:<LABEL$}", format!("{name}, last {span}")), FAINT),
            Span::styled(spark(&bins, most, look.is_utf8), style),
            Span::raw(format!("{number:>NUMBER$}")),
        ]));
    }
    lines
}

/// The title, the head of the columns and the rows around the selected one.
fn groups(watch: &Watch, look: Look, room: usize) -> Vec<Line<'static>> {
    let mut title = vec![Span::styled(
        format!(
            "flows by {}",
            columns(watch).unwrap_or_else(|| watch.ask.grouping.clone())
        ),
        BOLD,
    )];
    if !watch.ask.matching.is_empty() {
        title.push(Span::raw(format!(
            " of {}",
            watch.ask.matching.join(" or ")
        )));
    }
    let flows = watch.last.as_ref().map(|last| &last.flows);
    let sampled = match flows {
        Some(Ok(flows)) if !watch.rows.rows.is_empty() => flows.top.sampled.map(sampled(watch)),
        _ => None,
    };
    let mut lines = vec![sides(
        title,
        Span::styled(sampled.unwrap_or_default(), FAINT),
        look.width,
    )];
    match flows {
        Some(Err(why)) => lines.push(text(why.clone(), WARN)),
        Some(Ok(_)) if watch.rows.rows.is_empty() => {
            let none = if watch.ask.matching.is_empty() {
                "the table is empty"
            } else {
                "no flow matches"
            };
            lines.push(text(none.to_owned(), FAINT));
        }
        Some(Ok(_)) => lines.extend(listing(watch, look, room.saturating_sub(2))),
        None => {}
    }
    lines
}

/// How many flows a sample has, and how far each share may be off.
fn sampled(watch: &Watch) -> impl Fn(u64) -> String {
    let margins = watch.rows.rows.iter().map(|row| row.margin);
    let off = (margins.fold(0.0, f64::max) * 1000.0).ceil() / 10.0;
    move |flows| format!("sample of {} ± {off:.1} %", format_count(flows))
}

/// The fields that the rows differ in, if they are known.
fn columns(watch: &Watch) -> Option<String> {
    let names = watch.rows.columns.iter().map(|column| column.field.name());
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| names.join(","))
}

fn listing(watch: &Watch, look: Look, room: usize) -> Vec<Line<'static>> {
    let place = watch.place();
    let first = (place + 1).saturating_sub(room);
    let rows: Vec<&Row> = watch.rows.rows.iter().skip(first).take(room).collect();
    let head = watch
        .rows
        .columns
        .iter()
        .map(|column| column.field.name().to_owned());
    let mut cells = vec![
        ["flows".to_owned(), "share".to_owned(), String::new()]
            .into_iter()
            .chain(head)
            .collect(),
    ];
    cells.extend(rows.iter().map(|row| row_cells(row, look)));
    let widths = widths(&cells, look.width.saturating_sub(2));
    let mut lines = Vec::new();
    for (number, cells) in cells.iter().enumerate() {
        let row = number.checked_sub(1).and_then(|at| rows.get(at));
        let is_selected = look.has_keys && number > 0 && first + number - 1 == place;
        let style = match row {
            None => FAINT,
            Some(_) if is_selected => CHOSEN,
            Some(row) if row.gone.is_some() => FAINT,
            Some(_) => Style::new(),
        };
        let mark = if is_selected { "> " } else { "  " };
        lines.push(text(mark.to_owned() + &laid(cells, &widths), style));
    }
    lines
}

fn row_cells(row: &Row, look: Look) -> Vec<String> {
    let share = if row.gone.is_some() {
        "-".to_owned()
    } else {
        format_share(row.share)
    };
    let flows = if row.gone.is_some() {
        "-".to_owned()
    } else {
        format_count(row.flows)
    };
    let shown = if look.width >= WIDE {
        bar(row.share, BAR)
    } else {
        String::new()
    };
    let cells = [flows, share, shown].into_iter();
    let cells = cells.chain(row.values.iter().map(ToString::to_string));
    cells
        .map(|cell| if look.is_utf8 { cell } else { ascii(&cell) })
        .collect()
}

/// The width of each column; where there is no room for all, the widest are cut.
fn widths(rows: &[Vec<String>], room: usize) -> Vec<usize> {
    let number = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| display_width(cell))
            .max()
    };
    let mut widths: Vec<usize> = (0..number).map(|at| width(at).unwrap_or(0)).collect();
    let gaps = |widths: &[usize]| {
        2 * widths
            .iter()
            .filter(|width| **width > 0)
            .count()
            .saturating_sub(1)
    };
    let fits = |widths: &[usize]| widths.iter().sum::<usize>() + gaps(widths) <= room;
    let cut = |widths: &mut Vec<usize>| {
        while !fits(widths) {
            let widest = widths.iter_mut().skip(2).max();
            match widest.filter(|width| **width > SHORTEST) {
                Some(width) => *width -= 1,
                None => return,
            }
        }
    };
    let whole = widths.clone();
    cut(&mut widths);
    if !fits(&widths) {
        // The share can be spared.
        widths = whole;
        if let Some(share) = widths.get_mut(1) {
            *share = 0;
        }
        cut(&mut widths);
    }
    widths
}

/// Numbers to the right, the rest to the left.
fn laid(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in cells
        .iter()
        .zip(widths)
        .enumerate()
        .filter(|(_, (_, width))| **width > 0)
    {
        let cell = shortened(cell, *width);
        let pad = " ".repeat(width.saturating_sub(display_width(&cell)));
        let gap = if at == 0 { "" } else { "  " };
        line.push_str(gap);
        match at {
            0 | 1 => line.push_str(&format!("{pad}{cell}")),
            _ => line.push_str(&format!("{cell}{pad}")),
        }
    }
    line.trim_end().to_owned()
}

/// What is too long ends with a tilde: an address is never cut so that it looks like another one.
fn shortened(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if display_width(&short) + 2 > width {
            break;
        }
        short.push(c);
    }
    if width > 0 {
        short.push('~');
    }
    short
}

fn findings(watch: &Watch, look: Look) -> Vec<Line<'static>> {
    let Some(found) = &watch.findings else {
        return vec![text("findings: not read yet".to_owned(), FAINT)];
    };
    let counted: Vec<&Found> = found
        .iter()
        .filter(|one| one.severity > Severity::Info)
        .collect();
    if counted.is_empty() {
        return vec![text("no finding is a warning or critical".to_owned(), GOOD)];
    }
    let room = if look.height < HIGH { 1 } else { FINDINGS };
    let mut lines: Vec<Line<'static>> = counted
        .iter()
        .take(room)
        .map(|one| finding(one, look))
        .collect();
    if let Some(more) = counted.len().checked_sub(room).filter(|more| *more > 0) {
        lines.push(text(
            format!(
                "{}: cttune check shows them",
                plural(more as u64, "more finding")
            ),
            FAINT,
        ));
    }
    lines
}

fn finding(found: &Found, look: Look) -> Line<'static> {
    let (name, style) = match found.severity {
        Severity::Critical => ("critical", BAD),
        Severity::Warning => ("warning", WARN),
        Severity::Info => ("info", FAINT),
    };
    let since = found
        .since
        .as_ref()
        .map(|since| format!("new at {since}: "));
    let message = format!("{}{}", since.unwrap_or_default(), found.message);
    let id = format!(" [{}]", found.id);
    let room = look.width.saturating_sub(name.len() + 2 + id.len());
    Line::from(vec![
        Span::styled(format!("{name}: "), style),
        Span::raw(shortened(&message, room)),
        Span::styled(id, FAINT),
    ])
}

/// The keys, or what is typed.
fn bottom(watch: &Watch, width: usize) -> Line<'static> {
    if let Mode::Typing {
        is_filter,
        text: typed,
        wrong,
    } = &watch.mode
    {
        let label = if *is_filter { "match" } else { "group by" };
        let mut spans = vec![
            Span::styled(format!("{label}: "), BOLD),
            Span::raw(typed.clone()),
            Span::styled(" ", CHOSEN),
        ];
        if let Some(wrong) = wrong {
            spans.push(Span::styled(format!(" {wrong}"), BAD));
        }
        return Line::from(spans);
    }
    if let Some(said) = &watch.said {
        return text(said.clone(), WARN);
    }
    let mut line = Line::default();
    for (key, what) in KEYS {
        let gap = if line.spans.is_empty() { "" } else { "  " };
        if line.width() + gap.len() + key.len() + 1 + what.len() > width {
            break;
        }
        line.push_span(Span::raw(gap));
        line.push_span(Span::styled(key, BOLD));
        line.push_span(Span::styled(format!(" {what}"), FAINT));
    }
    line
}

/// Text to the left, and some to the right if there is room.
fn sides(left: Vec<Span<'static>>, right: Span<'static>, width: usize) -> Line<'static> {
    let mut line = Line::from(left);
    let used = line.width() + right.width();
    if used < width {
        line.push_span(Span::raw(" ".repeat(width - used)));
        line.push_span(right);
    }
    line
}

/// Cut at the width, in ASCII and without colour where the screen has no more.
fn fitted(line: Line<'static>, look: Look) -> Line<'static> {
    let mut room = look.width;
    let mut spans = Vec::new();
    for span in line.spans {
        let content = one_line(&span.content);
        let content = if look.is_utf8 {
            content
        } else {
            ascii(&content)
        };
        let content = shortened(&content, room);
        room = room.saturating_sub(display_width(&content));
        let style = if look.has_color {
            span.style
        } else {
            Style {
                fg: None,
                ..span.style
            }
        };
        if !content.is_empty() {
            spans.push(Span::styled(content, style));
        }
    }
    Line::from(spans)
}

fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 0.95 => format!("{rate:.1}/s"),
        #[expect(clippy::cast_possible_truncation)] // far less than 2^52
        Some(rate) => format!("{}/s", format_count(rate.round() as i64)),
    }
}

fn interval(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{}ms", time.as_millis())
    } else {
        format_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    }
}

fn share(part: u64, whole: u64) -> f64 {
    float(part) / float(whole.max(1))
}

#[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
fn float(number: u64) -> f64 {
    number as f64
}
