//! SVG with classes in place of colours: the page, or its reader, chooses light or dark.

use super::escape::escaped;
use super::{Axis, Mark, Picture, Series};
use crate::tunable::format_count;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
/// The frame of the plot inside the picture.
const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = HEIGHT - 62.0;
/// The width of a character, on the large side, in the size of labels and of the title.
const LETTER: f64 = 7.2;

/// Colours that people with any colour vision can tell apart (Okabe and Ito), and dashes.
pub(in crate::render) const STYLE: &str = "\
.ct{--ink:#1b1b1b;--soft:#5a5a5a;--line:#d9d9d9;--paper:#fff;--c0:#0072b2;--c1:#b34700;--c2:#007a59}\
@media(prefers-color-scheme:dark){.ct{--ink:#f0f0f0;--soft:#b8b8b8;--line:#444;--paper:#1c1c1e;\
--c0:#56b4e9;--c1:#ffa64d;--c2:#4fd6ae}}\
@media print{.ct{--ink:#000;--soft:#333;--line:#ccc;--paper:#fff;--c0:#0072b2;--c1:#b34700;--c2:#007a59}}\
.ct text{font:12px system-ui,sans-serif;fill:var(--ink)}.ct .h{font-size:16px;font-weight:600}\
.ct .s{fill:var(--soft)}.ct .p{fill:var(--paper)}.ct .g{stroke:var(--line)}\
.ct .k{paint-order:stroke;stroke:var(--paper);stroke-width:4px}.ct .m{stroke:var(--soft);stroke-dasharray:2 3}.ct .l{fill:none;stroke-width:2.5}\
.ct .l0{stroke:var(--c0)}.ct .l1{stroke:var(--c1);stroke-dasharray:8 4}\
.ct .l2{stroke:var(--c2);stroke-dasharray:2 4}.ct .b{fill:var(--c0)}";

/// A file of its own with all the pictures, one below the other.
pub(in crate::render) fn document(title: &str, pictures: &[Picture]) -> String {
    let mut height = 0.0;
    let mut body = String::new();
    for picture in pictures.iter().filter(|picture| !picture.is_empty()) {
        let drawn = drawn(picture);
        body.push_str(&format!(
            "<g transform=\"translate(0 {height})\" {}>{drawn}</g>\n",
            labelled(picture)
        ));
        height += HEIGHT;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ct\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"p\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n",
        escaped(title)
    )
}

/// A part of a page that has [`STYLE`].
pub(in crate::render) fn inline(picture: &Picture) -> String {
    format!(
        "<svg class=\"ct\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" {}>{}</svg>\n",
        labelled(picture),
        drawn(picture)
    )
}

fn labelled(picture: &Picture) -> String {
    let name = picture.name;
    format!("role=\"img\" aria-labelledby=\"{name}-t {name}-d\"")
}

fn drawn(picture: &Picture) -> String {
    let name = picture.name;
    let (title, about) = (escaped(&picture.title), escaped(&picture.about));
    let mut svg = format!(
        "<title id=\"{name}-t\">{title}</title><desc id=\"{name}-d\">{about}</desc>\
         <text class=\"h\" x=\"16\" y=\"28\">{title}</text>"
    );
    svg.push_str(&grid(&picture.across, &picture.up));
    if picture.is_bars() {
        svg.push_str(&bars(picture));
    } else {
        svg.push_str(&legend(&picture.series));
        for (number, series) in picture.series.iter().enumerate() {
            svg.push_str(&line(picture, number, series));
        }
    }
    svg.push_str(&marks(picture));
    svg
}

/// The frame, the grid, and the numbers beside the axes.
fn grid(across: &Axis, up: &Axis) -> String {
    let mut svg = String::new();
    for (number, label) in &up.ticks {
        let y = y(up, *number);
        svg.push_str(&format!(
            "<path class=\"g\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text class=\"s\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            escaped(label)
        ));
    }
    let mut free = 0.0;
    for (number, label) in &across.ticks {
        let x = x(across, *number);
        let half = width(label) / 2.0;
        if x - half < free || x + half > WIDTH {
            continue;
        }
        free = x + half + LETTER;
        let y = BOTTOM + 18.0;
        svg.push_str(&format!(
            "<path class=\"g\" d=\"M{x:.1} {BOTTOM}v5\"/>\
             <text class=\"s\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escaped(label)
        ));
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    svg.push_str(&format!(
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text x=\"16\" y=\"{}\">{}</text>",
        BOTTOM + 44.0,
        escaped(&across.title),
        TOP - 28.0,
        escaped(&up.title)
    ));
    svg
}

/// What each line is, beside the title of the axis.
fn legend(series: &[Series]) -> String {
    let mut svg = String::new();
    let mut x = RIGHT;
    for (number, series) in series.iter().enumerate().rev() {
        x -= width(&series.name) + 44.0;
        let (line, text) = (x + 30.0, x + 36.0);
        let y = TOP - 28.0;
        svg.push_str(&format!(
            "<path class=\"l l{number}\" d=\"M{x:.1} {:.1}H{line:.1}\"/>\
             <text x=\"{text:.1}\" y=\"{y:.1}\">{}</text>",
            y - 4.0,
            escaped(&series.name)
        ));
    }
    svg
}

fn line(picture: &Picture, number: usize, series: &Series) -> String {
    let place = |(across, up): &(f64, f64)| {
        format!(
            "{:.1} {:.1}",
            x(&picture.across, *across),
            y(&picture.up, *up)
        )
    };
    let mut places: Vec<String> = series.points.iter().map(place).collect();
    places.dedup();
    format!("<path class=\"l l{number}\" d=\"M{}\"/>", places.join("L"))
}

fn bars(picture: &Picture) -> String {
    let mut svg = String::new();
    let Some(series) = picture.series.first() else {
        return svg;
    };
    let bar = x(&picture.across, 0.84) - x(&picture.across, 0.0);
    for ((across, up), (_, label)) in series.points.iter().zip(&picture.across.ticks) {
        let left = x(&picture.across, *across - 0.42);
        let top = y(&picture.up, *up);
        let height = BOTTOM - top;
        svg.push_str(&format!(
            "<rect class=\"b\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{bar:.1}\" \
             height=\"{height:.1}\"><title>{}: {up:.0}</title></rect>",
            escaped(label)
        ));
        #[expect(clippy::cast_possible_truncation)] // a number of flows
        let number = format_count(*up as i64);
        if width(&number) < bar * 1.15 {
            let (x, y) = (left + bar / 2.0, top - 5.0);
            svg.push_str(&format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{number}</text>"
            ));
        }
    }
    svg
}

/// Each mark with its name; names stand on two rows in turn, and one without a place is left out.
fn marks(picture: &Picture) -> String {
    let mut svg = String::new();
    let mut free = [LEFT; 2];
    let mut marks: Vec<&Mark> = picture.marks.iter().collect();
    marks.sort_by(|one, other| one.at.total_cmp(&other.at));
    for mark in marks {
        let name = escaped(&mark.name);
        if mark.is_level {
            let y = y(&picture.up, mark.at);
            svg.push_str(&format!(
                "<path class=\"m\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
                 <text class=\"s k\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                RIGHT - 4.0,
                y - 5.0
            ));
            continue;
        }
        let x = x(&picture.across, mark.at);
        svg.push_str(&format!("<path class=\"m\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
        let width = width(&mark.name);
        let start = (x - width / 2.0).clamp(LEFT, RIGHT - width);
        let row = free.iter().position(|free| *free <= start);
        let Some((row, free)) = row.and_then(|row| Some((row, free.get_mut(row)?))) else {
            continue;
        };
        *free = start + width + LETTER;
        let y = if row == 0 { TOP - 4.0 } else { TOP + 12.0 };
        svg.push_str(&format!(
            "<text class=\"s k\" x=\"{start:.1}\" y=\"{y:.1}\">{name}</text>"
        ));
    }
    svg
}

fn x(axis: &Axis, number: f64) -> f64 {
    LEFT + axis.place(number) * (RIGHT - LEFT)
}

fn y(axis: &Axis, number: f64) -> f64 {
    BOTTOM - axis.place(number) * (BOTTOM - TOP)
}

#[expect(clippy::cast_precision_loss)] // a few dozen characters
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}
