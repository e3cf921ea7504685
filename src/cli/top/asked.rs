//! What the options of `top` ask.

use crate::cli::args;
use crate::cli::failure::{Failure, USAGE};
use crate::cli::{select, services};
use crate::flow::{By, Extent, Field, FieldError, Query, Selection, parse_budget};

/// What the options ask.
pub(super) fn query(args: &args::Top) -> anyhow::Result<Query> {
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
        services: services::names(&by),
        by,
        prefixes: prefixes.map_err(wrong)?,
        selection: Selection {
            matching: select::terms("--match", &args.matching)?,
            keep: select::terms("--keep", &args.keep)?,
        },
        extent,
    })
}
