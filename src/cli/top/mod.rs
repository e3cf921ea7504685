//! `cttune top`: who fills the table.

mod asked;
mod remedy;

use super::args::{self, Global};
use super::failure::Failure;
use super::flows::note_uncounted;
use super::out::Out;
use super::walk::Table;
use super::{place, watch, writer};
use crate::flow::{By, Census, Query, Selected, Selection, Services, Top};
use crate::render;

use self::asked::query;

/// Runs it.
pub(super) fn run(args: &args::Top, global: &Global, out: Out) -> anyhow::Result<u8> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with top")
            .hint("an image has no running kernel, and so no table")
            .into());
    }
    let query = query(args)?;
    let interval = args.watch.then(|| watch::interval(&args.interval));
    let interval = interval.transpose()?;
    loop {
        show(&query, args, global, out)?;
        let Some(interval) = interval else {
            return Ok(0);
        };
        std::thread::sleep(interval);
        if !writer::is_read() {
            return Ok(0);
        }
        out.progress(&watch::divider());
    }
}

/// Reads and prints once.
fn show(query: &Query, args: &args::Top, global: &Global, out: Out) -> anyhow::Result<()> {
    let table = Table::find(out)?;
    let top = read(query, &table, args.rows)?;

    let sentence = render::top::sentence(&top, query.is_selection());
    let place = place::of(global);
    let fragment = || remedy::fragment(&top, query, &table, &sentence, &place, out);
    let remedy = args.remedy.then(fragment).transpose()?;
    let shown = render::top::Shown {
        top: &top,
        is_selection: query.is_selection(),
        remedy: remedy.as_deref(),
    };
    let text = || match shown.remedy {
        Some(fragment) => render::remedy::laid(fragment),
        None => render::top::text(&shown),
    };
    if args.watch {
        out.event(
            || text().trim_end().to_owned(),
            || render::top::json(&shown),
        );
    } else {
        out.result(text, || render::top::json(&shown));
    }
    if top.total == 0 {
        note_uncounted(&args.matching, global, out);
    }
    Ok(())
}

/// The largest groups of a table.
fn read(query: &Query, table: &Table, rows: usize) -> anyhow::Result<Top> {
    let extent = query.extent(table.entries);
    let (selected, sample) = table.gather(&query.filter(extent), extent, || Selected {
        selection: &query.selection,
        gather: Census::new(query),
    })?;
    Ok(selected.gather.finish(sample, rows))
}

/// What machines read of the groups that explain most.
pub(super) fn object(out: Out) -> anyhow::Result<serde_json::Value> {
    let query = Query {
        by: By::Auto,
        prefixes: None,
        selection: Selection::default(),
        extent: None,
        services: Services::default(),
    };
    let shown = render::top::Shown {
        top: &read(&query, &Table::find(out)?, 20)?,
        is_selection: false,
        remedy: None,
    };
    Ok(render::shape::value(&render::top::json(&shown)))
}
