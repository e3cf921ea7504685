//! A row for each group, under the names of the columns.

use super::share;
use crate::flow::Top;
use crate::render::style::FAINT;
use crate::tunable::{format_count, format_rounded_seconds};

/// The number of columns before those of the fields: flows and share.
const BEFORE: usize = 2;

pub(super) fn listing(top: &Top, rows: usize) -> String {
    let shown = || top.groups.iter().take(rows);
    let has_traffic = shown().any(|group| group.traffic.is_some());
    let has_left = shown().any(|group| group.left.is_some());
    let mut head = vec!["flows", "share"];
    head.extend(top.columns.iter().map(|column| column.field.name()));
    let fields = head.len();
    if has_traffic {
        head.extend(["packets", "bytes"]);
    }
    if has_left {
        head.push("left");
    }
    let mut lines = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for group in shown() {
        let mut line = vec![format_count(group.flows), share(group)];
        line.extend(group.values.iter().map(ToString::to_string));
        if has_traffic {
            let said = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), format_count);
            line.push(said(group.traffic.map(|(packets, _)| packets)));
            line.push(said(group.traffic.map(|(_, bytes)| bytes)));
        }
        if has_left {
            let left = group.left.map(format_rounded_seconds);
            line.push(left.unwrap_or_else(|| "-".to_owned()));
        }
        lines.push(line);
    }
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().map(|line| width(line, at)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| {
            let width = *width;
            // Numbers to the right; a last column of words is not padded.
            match at {
                at if at < BEFORE || at >= fields => format!("{cell:>width$}"),
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
