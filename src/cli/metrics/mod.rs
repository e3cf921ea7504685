//! `cttune metrics`: the numbers of one moment, for a monitor.
//!
//! What cannot be read is said; all other numbers are printed, for nobody too.

mod read;
mod refuse;
mod textfile;

use self::read::{Sources, last_apply, read_flows, trouble};
use super::args::{self, Format, Global, Request};
use super::current::Current;
use super::out::Out;
use super::{load, mistaken, out};
use crate::assess::Rates;
use crate::files::Root;
use crate::kernel::ctnetlink::count_expectations;
use crate::kernel::{counters, host};
use crate::plan::Comparison;
use crate::render;
use crate::render::metrics::Metrics;
use crate::tunable::Snapshot;

/// Runs it.
pub(super) fn run(args: &args::Metrics, global: &Global, out: Out) -> anyhow::Result<u8> {
    refuse::impossible(args, global)?;
    if args.request == Some(Request::Autoconf) {
        out::raw(&render::munin::autoconf(trouble(out).as_deref()));
        return Ok(0);
    }
    let mut sources = Sources::default();
    let current = Current::read(global, &Root::machine())?;
    let live = current.live.clone().unwrap_or_else(Snapshot::not_loaded);
    let rates = Rates {
        counters: sources
            .take("counters", counters::read_counters())
            .flatten(),
        flow_size: host::read_flow_size(),
        ..Rates::default()
    };
    let flows = match args.flows {
        args::Flows::None => None,
        _ if !live.is_loaded() => None,
        which => sources.take("flows", read_flows(which, &live, out)),
    };
    let expectations = flows
        .is_some()
        .then(|| sources.take("expectations", count_expectations()));
    sources.files(&current);
    let desired = match load::desired(&args.desired, &Root::machine()) {
        // An unreadable profile fails only where the operator named it.
        Err(error) if args.desired.profile.is_some() || !args.desired.set.is_empty() => {
            return Err(error);
        }
        desired => sources.take("profile", desired).flatten(),
    };
    let comparison = desired.as_ref().and_then(|desired| {
        let compared = Comparison::new(desired, &current.machine());
        sources.take("profile", compared.map_err(mistaken::underivable))
    });
    let namespaces = args.all_netns.then(|| sources.namespaces());
    let last_apply = sources.take("journal", last_apply(global)).flatten();
    let guard = sources.guard();
    let name = desired.as_ref().map_or("", |desired| &desired.name);
    let metrics = Metrics {
        expectations: expectations.flatten(),
        live: &live,
        rates: &rates,
        flows: flows.as_ref(),
        profile: comparison.as_ref().map(|comparison| (name, comparison)),
        last_apply: last_apply.as_ref(),
        guard: guard.as_ref(),
        sources: sources.all(),
        netns: global.netns.as_deref(),
        namespaces: namespaces.as_deref(),
    };
    sources.note(out);
    let text = || match global.format {
        Format::Munin => render::munin::text(&metrics, answer(args.request)),
        _ => render::prometheus::text(&metrics),
    };
    match &args.textfile {
        Some(path) => textfile::write(path, &text())?,
        None => out.result(text, || render::metrics::json(&metrics)),
    }
    Ok(0)
}

/// What munin can do, by its environment.
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
