//! A report as one HTML file: no script, nothing from elsewhere.

use super::document::{Block, Section, Table};
use crate::render::picture::{STYLE, escaped, inline};

const PAGE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1b;--soft:#555;--line:#ccc;--paper:#fff;--bad:#a50e0e;\
--warn:#7a4b00;--good:#0b5d1e}\
@media(prefers-color-scheme:dark){:root{--ink:#f0f0f0;--soft:#b8b8b8;--line:#4a4a4a;--paper:#1c1c1e;\
--bad:#ff8a80;--warn:#ffc266;--good:#7ddf8f}}\
@media print{:root{--ink:#000;--soft:#333;--line:#bbb;--paper:#fff;--bad:#a50e0e;--warn:#7a4b00;\
--good:#0b5d1e}section,tr,svg{break-inside:avoid}}\
body{margin:0 auto;max-width:60rem;padding:1rem;font:1rem/1.5 system-ui,sans-serif;\
color:var(--ink);background:var(--paper)}\
h1{font-size:1.6rem;margin:0 0 .5rem}h2{font-size:1.25rem;margin:2rem 0 .5rem}\
.v{font-size:1.15rem;font-weight:600}.critical{color:var(--bad)}.warning{color:var(--warn)}\
.ok{color:var(--good)}.t{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0;width:100%}\
caption{text-align:left;color:var(--soft)}\
th,td{border-bottom:1px solid var(--line);padding:.25rem .75rem .25rem 0;text-align:left;\
vertical-align:top;overflow-wrap:break-word}th.n,td.n{text-align:right;white-space:nowrap}\
svg.ct{display:block;max-width:100%;height:auto;margin:1rem 0}footer{color:var(--soft);margin-top:2rem}";

/// The page. `severity` is the class of the verdict.
pub(in crate::render) fn page(
    title: &str,
    (severity, verdict): (&str, &str),
    sections: &[Section<'_>],
    footer: &str,
) -> String {
    let (title, verdict) = (escaped(title), escaped(verdict));
    let body: String = sections.iter().map(section).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n<title>{title}</title>\n\
         <style>{PAGE}{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n\
         <p class=\"v {severity}\">{verdict}</p>\n</header>\n<main>\n{body}</main>\n\
         <footer><p>{}</p></footer>\n</body>\n</html>\n",
        escaped(footer)
    )
}

fn section(section: &Section<'_>) -> String {
    let (name, title) = (section.name, section.title);
    let blocks: String = section.blocks.iter().map(block).collect();
    format!(
        "<section aria-labelledby=\"{name}\">\n<h2 id=\"{name}\">{title}</h2>\n{blocks}</section>\n"
    )
}

fn block(block: &Block<'_>) -> String {
    match block {
        Block::Line(line) => format!("<p>{}</p>\n", escaped(line)),
        Block::List(items) => {
            let items = items
                .iter()
                .map(|item| format!("<li>{}</li>\n", escaped(item)));
            format!("<ol>\n{}</ol>\n", items.collect::<String>())
        }
        Block::Table(rows) => table(rows),
        Block::Picture(picture) => inline(picture),
    }
}

/// A table that is too wide scrolls by itself, with the keyboard too.
fn table(table: &Table) -> String {
    let class = |at: usize| {
        let is_number = table
            .head
            .get(at)
            .is_some_and(|title| title.starts_with('#'));
        if is_number { " class=\"n\"" } else { "" }
    };
    let head = table.head.iter().enumerate().map(|(at, title)| {
        let title = escaped(title.trim_start_matches(['#', '^', '!']));
        format!("<th scope=\"col\"{}>{title}</th>", class(at))
    });
    let row = |row: &Vec<String>| {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(at, cell)| format!("<td{}>{}</td>", class(at), escaped(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    format!(
        "<div class=\"t\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n\
         <table>\n<caption>{caption}</caption>\n<thead><tr>{}</tr></thead>\n\
         <tbody>\n{}</tbody>\n</table>\n</div>\n",
        head.collect::<String>(),
        table.rows.iter().map(row).collect::<String>(),
        caption = escaped(table.caption),
    )
}
