//! A row for each group, under the names of the columns.

use super::share;
use crate::flow::Top;
use crate::render::style::FAINT;
use crate::tunable::format_count;

pub(super) fn listing(top: &Top, rows: usize) -> String {
    let names = top.columns.iter().map(|column| column.field.name());
    let head = ["flows", "share"].into_iter().chain(names);
    let mut lines = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    for group in top.groups.iter().take(rows) {
        let mut line = vec![format_count(group.flows), share(group)];
        line.extend(group.values.iter().map(ToString::to_string));
        lines.push(line);
    }
    let columns = 2 + top.columns.len();
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().map(|line| width(line, at)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| {
            let width = *width;
            // Numbers to the right; the last column is not padded.
            match at {
                0 | 1 => format!("{cell:>width$}"),
                at if at + 1 == columns => cell.clone(),
                _ => format!("{cell:<width$}"),
            }
        });
        let row = cells.collect::<Vec<_>>().join("  ");
        if number == 0 {
            text.push_str(&format!("{FAINT}{row}{FAINT:#}\n"));
        } else {
            text.push_str(&format!("{row}\n"));
        }
    }
    text
}

fn width(line: &[String], at: usize) -> usize {
    line.get(at).map_or(0, |cell| cell.chars().count())
}
