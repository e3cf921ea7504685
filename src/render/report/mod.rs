//! `cttune report`: what check, top, forecast, plan and history say, as text and as one HTML file.
//!
//! In: their JSON objects, and the pictures of the forecast. Out: the report, masked if it is asked.
//! Rule: foreign text is masked first, and escaped where it becomes a part of the page.

pub(super) mod document;
pub(super) mod html;

use serde::Serialize;
use serde_json::Value;

use self::document::{Block, Section, Table, sections, verdict};
use super::forecast::{Shown, pictures};
use super::layout::{BELOW, CELL, HANG, RIGHT, command};
use super::shape::Schema;
use super::style::{FAINT, HEAD};

/// As machines read it: what the other commands print, or why that is not there.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output {
    pub(crate) schema: Schema,
    pub(crate) host: String,
    pub(crate) kernel: String,
    /// RFC 3339, in UTC.
    pub(crate) time: String,
    pub(crate) version: &'static str,
    pub(crate) masked: bool,
    #[cfg_attr(test, schemars(with = "super::check::Output<'static>"))]
    pub(crate) check: Value,
    #[cfg_attr(test, schemars(with = "OrUnread<super::top::Output<'static>>"))]
    pub(crate) top: Value,
    #[cfg_attr(test, schemars(with = "OrUnread<super::forecast::Output>"))]
    pub(crate) forecast: Value,
    #[cfg_attr(test, schemars(with = "OrUnread<super::plan::Output<'static>>"))]
    pub(crate) plan: Value,
    #[cfg_attr(test, schemars(with = "OrUnread<super::history::Output<'static>>"))]
    pub(crate) history: Value,
}

#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)]
enum OrUnread<T> {
    Read(T),
    Unread { unread: String },
}

/// One file that needs no other.
pub(crate) fn html(report: &Value, forecast: Option<&Shown<'_>>) -> String {
    let pictures = forecast.map(pictures).unwrap_or_default();
    let text = |name: &str| report[name].as_str().unwrap_or_default();
    let (severity, verdict) = verdict(report);
    let footer = format!("cttune {}, {}", text("version"), text("time"));
    let sections = sections(report, &pictures);
    let title = format!("cttune report: {}", text("host"));
    html::page(&title, (severity, &verdict), &sections, &footer)
}

/// As people read it.
pub(crate) fn text(report: &Value) -> String {
    let host = report["host"].as_str().unwrap_or_default();
    let verdict = verdict(report).1;
    let text = sections_text(&sections(report, &[]));
    format!("{HEAD}{host}{HEAD:#}: {verdict}\n{text}")
}

/// Sections below each other.
pub(super) fn sections_text(sections: &[Section<'_>]) -> String {
    let mut text = String::new();
    for section in sections {
        text.push_str(&format!("\n{HEAD}{}{HEAD:#}\n", section.title));
        for block in &section.blocks {
            text.push_str(&match block {
                Block::Line(line) => format!("{line}\n"),
                Block::List(items) => items.iter().map(|item| format!("- {item}\n")).collect(),
                Block::Table(table)
                    if table.head.first().is_some_and(|one| one.starts_with('!')) =>
                {
                    table.rows.iter().map(|row| sentences(table, row)).collect()
                }
                Block::Table(table) => rows(table),
                Block::Picture(_) => String::new(),
            });
        }
    }
    text
}

/// A row as `severity: what was seen`, and what belongs to it.
fn sentences(table: &Table, row: &[String]) -> String {
    let (first, rest) = row.split_at(row.len().min(2));
    let mut text = format!("{}\n", first.join(&format!(": {HANG}")));
    for (cell, title) in rest.iter().zip(table.head.iter().skip(2)) {
        let title = title.trim_start_matches('^');
        if !cell.is_empty() {
            let cell = pasteable(cell);
            text.push_str(&format!("  {FAINT}{title}{FAINT:#}: {HANG}{cell}\n"));
        }
    }
    text
}

/// Advice with each of its commands in one piece.
fn pasteable(advice: &str) -> String {
    let one = |one: &str| match one.split_once(": cttune ") {
        Some((purpose, line)) => format!("{purpose}: {}", command(&format!("cttune {line}"))),
        None => one.to_owned(),
    };
    advice.split("; ").map(one).collect::<Vec<_>>().join("; ")
}

/// Rows with their columns aligned.
fn rows(table: &Table) -> String {
    let line = |row: &[String]| {
        let cells = row
            .iter()
            .zip(&table.head)
            .filter(|(cell, _)| !cell.is_empty());
        let cells = cells.map(|(cell, title)| match title.chars().next() {
            Some('#') => format!("{RIGHT}{cell}"),
            Some('^') => format!("{BELOW}{}: {cell}", title.trim_start_matches('^')),
            _ => cell.clone(),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join(&CELL.to_string()))
    };
    let title = |title: &&str| {
        if title.starts_with('^') {
            String::new()
        } else {
            format!("{FAINT}{}{FAINT:#}", title.trim_start_matches('#'))
        }
    };
    let head: Vec<String> = table.head.iter().map(title).collect();
    let rows = table.rows.iter().map(|row| line(row));
    std::iter::once(line(&head)).chain(rows).collect()
}
