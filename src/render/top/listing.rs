//! A row for each group, under the names of the columns.

use super::share;
use crate::flow::{Group, Top};
use crate::render::layout::{CELL, RIGHT, SPARE, bar};
use crate::render::style::FAINT;
use crate::tunable::{format_count, format_rounded_seconds};

/// Characters of the bar of a group that has all flows.
const BAR: u8 = 10;

pub(super) fn listing(top: &Top) -> String {
    let shown = || top.groups.iter();
    let has_traffic = shown().any(|group| group.traffic.is_some());
    let has_left = shown().any(|group| group.left.is_some());
    let faint = |name: &str| format!("{FAINT}{name}{FAINT:#}");
    let right = |cell: String| format!("{RIGHT}{cell}");
    let mut head = vec![
        right(faint("flows")),
        right(faint("share")),
        format!("{SPARE}"),
    ];
    head.extend(top.columns.iter().map(|column| faint(column.field.name())));
    if has_traffic {
        head.extend(["packets", "bytes"].map(|name| right(faint(name))));
    }
    if has_left {
        head.push(right(faint("left")));
    }
    let row = |group: &Group| {
        let said = |number: Option<u64>| right(number.map_or_else(|| "-".to_owned(), format_count));
        let bar = format!("{SPARE}{}", bar(group.share, BAR));
        let mut row = vec![right(format_count(group.flows)), right(share(group)), bar];
        row.extend(group.values.iter().map(ToString::to_string));
        if has_traffic {
            row.push(said(group.traffic.map(|(packets, _)| packets)));
            row.push(said(group.traffic.map(|(_, bytes)| bytes)));
        }
        if has_left {
            let left = group.left.map(format_rounded_seconds);
            row.push(right(left.unwrap_or_else(|| "-".to_owned())));
        }
        row
    };
    let rows = std::iter::once(head).chain(shown().map(row));
    let line = |row: Vec<String>| row.join(&CELL.to_string()) + "\n";
    rows.map(line).collect()
}
