//! `cttune history`: what apply and rollback changed, and whether it is still so; what was done to
//! flows.

use super::args::{Global, History};
use super::change;
use super::out::Out;
use crate::change::flows::{Act, Log};
use crate::change::{Entry, Kind, Status, list};
use crate::render::{
    self,
    history::{Change, FlowAct},
};

pub(super) fn run(args: &History, global: &Global, out: Out) -> anyhow::Result<u8> {
    let here = change::here(global)?;
    let (listed, damaged) = list(&here, args.id).map_err(change::failure)?;
    for (id, error) in damaged {
        out.note(&format!("note: change {id} is not shown: {error}"));
    }
    let changes: Vec<Change<'_>> = listed
        .iter()
        .map(|(entry, effective)| view(entry, *effective))
        .collect();
    let acts = match args.id {
        None => Log::of(here.root()).read().unwrap_or_else(|error| {
            out.note(&format!(
                "note: what was done to flows is not shown: {error}"
            ));
            Vec::new()
        }),
        Some(_) => Vec::new(),
    };
    let flows: Vec<FlowAct<'_>> = acts.iter().map(about_flows).collect();
    out.result(
        || match (args.id, changes.first()) {
            (Some(_), Some(change)) => render::history::one(change),
            _ => render::history::table(&changes, &flows),
        },
        || render::history::json(&changes, &flows),
    );
    Ok(0)
}

fn about_flows(act: &Act) -> FlowAct<'_> {
    FlowAct {
        mode: &act.mode,
        time: &act.time,
        matching: &act.matching,
        flows: act.flows,
        is_interrupted: act.ended.is_none(),
    }
}

/// What machines read of every change.
pub(super) fn object(global: &Global) -> anyhow::Result<serde_json::Value> {
    let here = change::here(global)?;
    let (listed, _) = list(&here, None).map_err(change::failure)?;
    let acts = Log::of(here.root()).read()?;
    let flows: Vec<FlowAct<'_>> = acts.iter().map(about_flows).collect();
    let changes = listed.iter();
    let changes: Vec<Change<'_>> = changes
        .map(|(entry, effective)| view(entry, *effective))
        .collect();
    Ok(render::shape::value(&render::history::json(
        &changes, &flows,
    )))
}

fn view(entry: &Entry, effective: Option<bool>) -> Change<'_> {
    let (record, state) = (&entry.record, &entry.state);
    let status = state.status();
    Change {
        id: record.id,
        time: &record.origin.time,
        kind: match record.kind {
            Kind::Apply => "apply",
            Kind::Rollback => "rollback",
        },
        undoes: record.undoes,
        profile: &record.profile,
        overrides: &record.overrides,
        netns: record.origin.netns.as_deref(),
        host: &record.origin.host,
        kernel: &record.origin.kernel,
        status: status.name(),
        standing: status.first_name(),
        is_undone: !status.can_be_rolled_back(),
        is_interrupted: status == Status::Started,
        effective,
        steps: &record.steps,
        results: &state.results,
        remaining: &state.remaining,
    }
}
