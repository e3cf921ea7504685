//! Pictures for a terminal: Braille dots for lines, blocks for bars; 60 columns wide.

use super::{Axis, Picture};

/// Characters of the plot, across and up.
const COLUMNS: usize = 48;
const ROWS: usize = 10;
/// Dots of a character, across and up.
const ACROSS: usize = 2;
const UP: usize = 4;
/// What dots of a character add up to (Unicode, Braille Patterns), from the top left.
const DOTS: [[u32; ACROSS]; UP] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// A picture with its title, its axes and what each line is.
pub(in crate::render) fn text(picture: &Picture) -> String {
    let plot = if picture.is_bars() {
        bars(picture)
    } else {
        lines(picture)
    };
    format!("{}\n{plot}", picture.title)
}

fn bars(picture: &Picture) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let points = picture
        .series
        .first()
        .map(|series| series.points.as_slice());
    let labels = picture.across.ticks.iter().zip(points.unwrap_or_default());
    let widest = picture
        .across
        .ticks
        .iter()
        .map(|(_, label)| label.chars().count());
    let widest = widest.max().unwrap_or(0);
    let mut text = String::new();
    for ((_, label), (_, number)) in labels {
        let filled = dots(picture.up.place(*number), 32 * 8);
        let filled = if *number > 0.0 { filled.max(1) } else { 0 };
        let mut bar = "█".repeat(filled / 8);
        bar.extend(EIGHTHS.get(filled % 8).filter(|part| **part != ' '));
        text.push_str(format!("{label:>widest$} {bar} {number:.0}").trim_end());
        text.push('\n');
    }
    text
}

fn lines(picture: &Picture) -> String {
    let mut cells = vec![[0_u32; COLUMNS]; ROWS];
    let mut letters = Vec::new();
    for (number, series) in picture.series.iter().enumerate() {
        let mut last = None;
        for column in 0..COLUMNS * ACROSS {
            let Some(up) = height(picture, &series.points, column) else {
                continue;
            };
            // A line is drawn by every dot, the others by fewer.
            let is_drawn = match number {
                0 => true,
                1 => column % 4 < 2,
                _ => column % 4 == 0,
            };
            let from = last.unwrap_or(up).min(up);
            for dot in from..=last.unwrap_or(up).max(up) {
                if is_drawn || dot != up {
                    set(&mut cells, column, dot);
                }
            }
            last = Some(up);
        }
        let pattern = ["⣀⣀⣀", "⢀⡀⢀", "⢀ ⢀"].get(number).copied().unwrap_or("⣀");
        letters.push(format!("{pattern} {}", series.name));
    }
    let labels = labels(&picture.up);
    let widest = labels.iter().map(|label| label.chars().count()).max();
    let widest = widest.unwrap_or(0);
    let mut text = format!("{}: {}\n", picture.up.title, letters.join("   "));
    for (row, label) in cells.iter().zip(labels) {
        let dots: String = row
            .iter()
            .filter_map(|dots| char::from_u32(0x2800 + dots))
            .collect();
        let dots = dots.trim_end_matches('\u{2800}').replace('\u{2800}', " ");
        text.push_str(format!("{label:>widest$} │{dots}").trim_end());
        text.push('\n');
    }
    let below = below(&picture.across);
    let (space, axis) = (" ".repeat(widest), "─".repeat(COLUMNS));
    text.push_str(&format!("{space} └{axis}\n{space}  {}\n", below.trim_end()));
    text
}

/// The dot at which a line is over a column; none where it has no point.
fn height(picture: &Picture, points: &[(f64, f64)], column: usize) -> Option<usize> {
    let at = |point: &(f64, f64)| dots(picture.across.place(point.0), COLUMNS * ACROSS - 1);
    let reached = points.iter().take_while(|point| at(point) <= column);
    let (_, up) = reached.last()?;
    Some(dots(picture.up.place(*up), ROWS * UP - 1))
}

fn set(cells: &mut [[u32; COLUMNS]], column: usize, dot: usize) {
    let from_top = ROWS * UP - 1 - dot.min(ROWS * UP - 1);
    let cell = cells.get_mut(from_top / UP);
    let cell = cell.and_then(|row| row.get_mut(column / ACROSS));
    let bit = DOTS
        .get(from_top % UP)
        .and_then(|row| row.get(column % ACROSS));
    if let (Some(cell), Some(bit)) = (cell, bit) {
        *cell |= bit;
    }
}

/// For each row the number that is written before it.
fn labels(axis: &Axis) -> Vec<String> {
    let mut labels = vec![String::new(); ROWS];
    for (number, label) in &axis.ticks {
        let row = ROWS - 1 - dots(axis.place(*number), ROWS - 1);
        if let Some(free) = labels.get_mut(row).filter(|free| free.is_empty()) {
            free.clone_from(label);
        }
    }
    labels
}

/// The numbers below the axis, each where it is, as far as there is a place for it.
fn below(axis: &Axis) -> String {
    let mut text = String::new();
    let mut used = 0;
    for (number, label) in &axis.ticks {
        let place = dots(axis.place(*number), COLUMNS - 1);
        if used > 0 && place < used + 1 || place + label.chars().count() > COLUMNS + 8 {
            continue;
        }
        text.push_str(&" ".repeat(place - used));
        text.push_str(label);
        used = place + label.chars().count();
    }
    text
}

/// A share of some dots.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are small
#[expect(clippy::cast_precision_loss)]
fn dots(share: f64, all: usize) -> usize {
    (share * all as f64).round() as usize
}
