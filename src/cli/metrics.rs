//! `cttune metrics`: the numbers of one moment, for a monitor.
//!
//! What may not be read is told, and the rest is told nevertheless: a monitor that runs as nobody
//! still sees how full the table is.

use std::io;
use std::path::Path;

use super::args::{self, Format, Global, Request};
use super::current::Current;
use super::failure::{FAILED, Failure, told};
use super::mistaken;
use super::out::Out;
use super::{change, load, out, walk};
use crate::assess::Rates;
use crate::files::Root;
use crate::flow::{By, Census, Extent, Field, Filter, Flow, Kinds};
use crate::kernel::ctnetlink::{DumpError, undisturbed};
use crate::kernel::{counters, host};
use crate::plan::Comparison;
use crate::profile::Desired;
use crate::render;
use crate::render::metrics::{Flows, LastApply, Metrics, Source};
use crate::tunable::{Counters, Snapshot};

/// Runs it.
pub(super) fn run(args: &args::Metrics, global: &Global, out: Out) -> anyhow::Result<u8> {
    refuse_what_does_not_go(args, global)?;
    let root = Root::machine();
    if args.request == Some(Request::Autoconf) {
        out::raw(&render::munin::autoconf(trouble(out).as_deref()));
        return Ok(0);
    }
    let mut sources = Sources(Vec::new());
    let current = Current::read(global, &root)?;
    let live = current.live.clone().unwrap_or_else(Snapshot::not_loaded);
    let rates = Rates {
        counters: sources.take("counters", counters(&live)).flatten(),
        flow_size: host::read_flow_size(),
        ..Rates::default()
    };
    let flows = match args.flows {
        args::Flows::None => None,
        _ if !live.is_loaded() => None,
        which => sources.take("flows", flows(which, &live, out)),
    };
    sources.files(&current);
    let desired = match load::desired(&args.desired, &root) {
        // What was asked for is told of at once; what apply remembered only costs its numbers.
        Err(error) if args.desired.profile.is_some() || !args.desired.set.is_empty() => {
            return Err(error);
        }
        desired => sources.take("profile", desired).flatten(),
    };
    let comparison = desired.as_ref().and_then(|desired| {
        let compared = Comparison::new(desired, &current.machine());
        sources.take("profile", compared.map_err(mistaken::underivable))
    });
    let last_apply = sources.take("journal", last_apply(global)).flatten();
    let name = |desired: &Desired| desired.name.clone();
    let name = desired.as_ref().map(name).unwrap_or_default();
    let metrics = Metrics {
        live: &live,
        rates: &rates,
        flows: flows.as_ref(),
        profile: comparison
            .as_ref()
            .map(|comparison| (name.as_str(), comparison)),
        last_apply: last_apply.as_ref(),
        sources: &sources.0,
        netns: global.netns.as_deref(),
    };
    sources.tell(out);
    let text = || match global.format {
        Format::Munin => render::munin::text(&metrics, answer(args.request)),
        _ => render::prometheus::text(&metrics),
    };
    match &args.textfile {
        Some(path) => write(path, &text())?,
        None => out.result(text, || render::metrics::json(&metrics)),
    }
    Ok(0)
}

fn refuse_what_does_not_go(args: &args::Metrics, global: &Global) -> Result<(), Failure> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with metrics")
            .hint("an image has no running kernel, and so no numbers"));
    }
    if args.request.is_some() && global.format != Format::Munin {
        return Err(
            Failure::usage("config and autoconf are what munin asks for")
                .hint("add --format munin"),
        );
    }
    let Some(path) = &args.textfile else {
        return Ok(());
    };
    if !matches!(global.format, Format::Text | Format::Prometheus) {
        return Err(
            Failure::usage("--textfile is in the format of Prometheus").hint("leave --format out")
        );
    }
    if path.extension().is_none_or(|ending| ending != "prom") {
        let message = format!("--textfile {}: the name must end in .prom", path.display());
        return Err(Failure::usage(message).hint("node_exporter passes over all others"));
    }
    Ok(())
}

/// What was to be read, as it goes on.
struct Sources(Vec<Source>);

impl Sources {
    /// Notes whether a source could be read.
    fn take<T, E: Into<anyhow::Error>>(
        &mut self,
        name: &'static str,
        read: Result<T, E>,
    ) -> Option<T> {
        let (value, trouble) = match read {
            Ok(value) => (Some(value), None),
            // With the causes below it.
            Err(error) => (None, Some(told(&error.into()))),
        };
        self.0.retain(|source| source.name != name);
        self.0.push(Source { name, trouble });
        value
    }

    /// Notes whether the files were read that the next boot will read.
    fn files(&mut self, current: &Current) {
        if current.files.is_none() {
            return;
        }
        let unread = current.unread();
        let read = match unread.first() {
            Some(path) => Err(format!("{} cannot be read", path.display())),
            None => Ok(()),
        };
        self.take("files", read.map_err(anyhow::Error::msg));
    }

    /// Tells people what could not be read.
    fn tell(&self, out: Out) {
        for source in &self.0 {
            if let Some(why) = &source.trouble {
                out.note(&format!("note: {} not read: {why}", source.name));
            }
        }
    }
}

/// The counters; a kernel may track connections and not show them.
fn counters(live: &Snapshot) -> io::Result<Option<Counters>> {
    match counters::read_counters()? {
        None if live.is_loaded() => Err(io::Error::other("/proc/net/stat has none")),
        counters => Ok(counters),
    }
}

/// Counts the flows, in one pass.
fn flows(which: args::Flows, live: &Snapshot, out: Out) -> Result<Flows, DumpError> {
    let entries = live.count.and_then(|count| u64::try_from(count).ok());
    let entries = entries.unwrap_or(0);
    let progress = walk::progress(out, entries);
    let extent = match which {
        args::Flows::All | args::Flows::None => Extent::Exact,
        args::Flows::Auto => Extent::for_table(entries),
    };
    undisturbed(|| {
        let mut kinds = Kinds::default();
        let mut census = Census::new(By::Fields(vec![Field::Dst]), None);
        let each = |flow: &Flow<'_>| {
            kinds.add(flow);
            census.add(flow);
        };
        let sample = walk::walk(&Filter::default(), extent, &progress, each)?;
        Ok(Flows {
            population: kinds.finish(sample),
            destinations: census.finish(sample),
        })
    })
}

/// What would keep munin from drawing anything.
fn trouble(out: Out) -> Option<String> {
    let progress = walk::progress(out, 1);
    let looked = walk::walk(&Filter::default(), Extent::Sample(1), &progress, |_| {});
    let trouble = looked.err()?;
    Some(trouble.to_string())
}

/// What munin says of itself in the environment.
fn answer(request: Option<Request>) -> render::munin::Answer {
    let can = |what: &str| {
        let said = std::env::var_os(format!("MUNIN_CAP_{what}"));
        said.is_some_and(|said| said == "1")
    };
    let config = request == Some(Request::Config);
    render::munin::Answer {
        config,
        values: !config || can("DIRTYCONFIG"),
        multigraph: can("MULTIGRAPH"),
    }
}

/// The newest change that apply made here and that was not undone.
fn last_apply(global: &Global) -> anyhow::Result<Option<LastApply>> {
    let newest = change::here(global)?.last_apply()?;
    Ok(newest.map(|(id, time)| LastApply { id, time }))
}

/// Puts the numbers in place in one step. The folder is the collector's: it is not made.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let root = Root::machine();
    if let Some(folder) = root.missing_folders(&path).first() {
        let message = format!(
            "cannot write {}: {} does not exist",
            path.display(),
            folder.display()
        );
        return Err(Failure::new(FAILED, message)
            .hint("name the folder that node_exporter's --collector.textfile.directory names")
            .into());
    }
    root.replace(&path, text.as_bytes())
        .map_err(|error| Failure::of(FAILED, &error).into())
}
