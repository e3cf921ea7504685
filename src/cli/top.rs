//! `cttune top`: who fills the table.

use std::time::Duration;

use super::args::{Global, Top};
use super::failure::Failure;
use super::out::Out;
use super::progress::Progress;
use super::{select, walk};
use crate::flow::{
    By, Census, Extent, Field, FieldError, Filter, Prefixes, Remedy, Sample, Selection,
};
use crate::kernel::ctnetlink::{DumpError, undisturbed};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Top, global: &Global, out: Out) -> anyhow::Result<u8> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with top")
            .hint("an image has no running kernel, and so no table")
            .into());
    }
    let wish = Wish::new(args)?;
    let entries = walk::entries()?;
    let extent = wish.extent.unwrap_or_else(|| wish.usual_extent(entries));
    let progress = walk::progress(out, entries);
    let (census, sample) = undisturbed(|| count(&wish, extent, &progress))?;
    drop(progress);
    let top = census.finish(sample);

    let sentence = render::top::sentence(&top, wish.is_selection());
    let fragment = || Remedy::new(&top).map(|remedy| render::remedy::text(&remedy, &sentence));
    let remedy = args.remedy.then(fragment).flatten();
    let shown = render::top::Shown {
        top: &top,
        rows: args.rows,
        is_selection: wish.is_selection(),
        remedy: remedy.as_deref(),
    };
    let text = || match shown.remedy {
        Some(fragment) => fragment.to_owned(),
        None => render::top::text(&shown),
    };
    out.result(text, || render::top::json(&shown));
    Ok(0)
}

/// What was typed, understood.
struct Wish {
    by: By,
    prefixes: Option<Prefixes>,
    selection: Selection,
    extent: Option<Extent>,
}

impl Wish {
    fn new(args: &Top) -> anyhow::Result<Self> {
        let wrong = |error: FieldError| Failure::of(super::failure::USAGE, &error);
        let by = match args.by.as_str() {
            "auto" => By::Auto,
            fields => By::Fields(Field::parse_list(fields).map_err(wrong)?),
        };
        let prefixes = args.prefix.as_deref().map(str::parse).transpose();
        let extent = match (args.exact, args.sample, &args.budget) {
            (true, _, _) => Some(Extent::Exact),
            (_, Some(flows), _) => Some(Extent::Sample(flows)),
            (_, _, Some(time)) => Some(Extent::Budget(budget(time)?)),
            _ => None,
        };
        Ok(Wish {
            by,
            prefixes: prefixes.map_err(wrong)?,
            selection: Selection {
                matching: select::terms("--match", &args.matching)?,
                keep: select::terms("--keep", &args.keep)?,
            },
            extent,
        })
    }

    fn is_selection(&self) -> bool {
        !self.selection.matching.is_empty() || !self.selection.keep.is_empty()
    }

    /// What `--match` selects is read in full: the kernel leaves out much of the rest, and few may
    /// be left.
    fn usual_extent(&self, entries: u64) -> Extent {
        if self.selection.matching.is_empty() {
            Extent::for_table(entries)
        } else {
            Extent::Exact
        }
    }

    /// What the kernel may leave out: of a sample nothing, since how much was looked at counts.
    fn filter(&self, extent: Extent) -> Filter {
        match extent {
            Extent::Exact => Filter::of(&self.selection),
            Extent::Sample(_) | Extent::Budget(_) => Filter::default(),
        }
    }
}

/// Counts the flows that are wanted. The sample is none if all of the table was read.
fn count(
    wish: &Wish,
    extent: Extent,
    progress: &Progress,
) -> Result<(Census, Option<Sample>), DumpError> {
    let mut census = Census::new(wish.by.clone(), wish.prefixes);
    let sample = walk::walk(&wish.filter(extent), extent, progress, |flow| {
        if wish.selection.matches(flow) {
            census.add(flow);
        }
    })?;
    Ok((census, sample))
}

/// Reads `200ms`, `2s`.
fn budget(text: &str) -> anyhow::Result<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text
        .strip_suffix(unit)
        .and_then(|digits| digits.parse().ok());
    let time = match (number, unit) {
        (Some(number), "ms") => Some(Duration::from_millis(number)),
        (Some(number), "s") => Some(Duration::from_secs(number)),
        _ => None,
    };
    time.filter(|time| !time.is_zero()).ok_or_else(|| {
        Failure::usage(format!("`{text}` is not a time to read for"))
            .hint("write 200ms or 2s")
            .into()
    })
}
