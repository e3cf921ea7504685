//! `cttune top`: who fills the table.

mod remedy;

use super::args::{self, Global};
use super::failure::{Failure, USAGE};
use super::out::Out;
use super::walk::Table;
use super::{place, select};
use crate::flow::{
    By, Census, Extent, Field, FieldError, Query, Selected, Selection, Top, parse_budget,
};
use crate::render;

/// Runs it.
pub(super) fn run(args: &args::Top, global: &Global, out: Out) -> anyhow::Result<u8> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with top")
            .hint("an image has no running kernel, and so no table")
            .into());
    }
    let query = query(args)?;
    let table = Table::find(out)?;
    let top = read(&query, &table)?;

    let sentence = render::top::sentence(&top, query.is_selection());
    let place = place::of(global);
    let fragment = || remedy::fragment(&top, &query, &table, &sentence, &place, out);
    let remedy = args.remedy.then(fragment).transpose()?;
    let shown = render::top::Shown {
        top: &top,
        rows: args.rows,
        is_selection: query.is_selection(),
        remedy: remedy.as_deref(),
    };
    let text = || match shown.remedy {
        Some(fragment) => fragment.to_owned(),
        None => render::top::text(&shown),
    };
    out.result(text, || render::top::json(&shown));
    Ok(0)
}

/// The groups of a table.
fn read(query: &Query, table: &Table) -> anyhow::Result<Top> {
    let extent = query.extent(table.entries);
    let (selected, sample) = table.gather(&query.filter(extent), extent, || Selected {
        selection: &query.selection,
        gather: Census::new(query),
    })?;
    Ok(selected.gather.finish(sample))
}

/// What machines read of the groups that explain most.
pub(super) fn object(out: Out) -> anyhow::Result<serde_json::Value> {
    let query = Query {
        by: By::Auto,
        prefixes: None,
        selection: Selection::default(),
        extent: None,
    };
    Ok(render::top::json(&render::top::Shown {
        top: &read(&query, &Table::find(out)?)?,
        rows: 20,
        is_selection: false,
        remedy: None,
    }))
}

/// What the options ask.
fn query(args: &args::Top) -> anyhow::Result<Query> {
    let wrong = |error: FieldError| Failure::of(USAGE, &error);
    let by = match args.by.as_str() {
        "auto" => By::Auto,
        fields => By::Fields(Field::parse_list(fields).map_err(wrong)?),
    };
    let prefixes = args.prefix.as_deref().map(str::parse).transpose();
    let extent = match (args.exact, args.sample, &args.budget) {
        (true, _, _) => Some(Extent::Exact),
        (_, Some(flows), _) => Some(Extent::Sample(flows)),
        (_, _, Some(time)) => Some(parse_budget(time).ok_or_else(|| {
            Failure::usage(format!("`{time}` is not a time to read for")).hint("write 200ms or 2s")
        })?),
        _ => None,
    };
    Ok(Query {
        by,
        prefixes: prefixes.map_err(wrong)?,
        selection: Selection {
            matching: select::terms("--match", &args.matching)?,
            keep: select::terms("--keep", &args.keep)?,
        },
        extent,
    })
}
