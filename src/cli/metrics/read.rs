//! Reads the numbers, each source on its own: one that fails costs only its own numbers.

use crate::assess::Namespace;
use crate::cli::args::{self, Global};
use crate::cli::change;
use crate::cli::current::Current;
use crate::cli::out::Out;
use crate::cli::walk::Table;
use crate::diagnostic::plain::Shown;
use crate::diagnostic::told;
use crate::flow::guard::GuardSeen;
use crate::flow::{Census, Extent, Field, Filter, Kinds};
use crate::guard;
use crate::kernel::ctnetlink::DumpError;
use crate::kernel::namespaces;
use crate::render::metrics::{DESTINATIONS, Flows, LastApply, Source};
use crate::tunable::Snapshot;

/// What was to be read, and whether it was.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    pub(super) fn all(&self) -> &[Source] {
        &self.0
    }

    /// Notes whether a source could be read.
    pub(super) fn take<T, E: Into<anyhow::Error>>(
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
    pub(super) fn files(&mut self, current: &Current) {
        if current.files.is_none() {
            return;
        }
        let unread = current.unread();
        let read = match unread.first() {
            Some(path) => Err(format!("{} cannot be read", path.shown())),
            None => Ok(()),
        };
        self.take("files", read.map_err(anyhow::Error::msg));
    }

    /// Reads the table of every network namespace.
    pub(super) fn namespaces(&mut self) -> Vec<Namespace> {
        let (namespaces, unread) = namespaces::read_namespaces();
        let told = unread
            .iter()
            .map(|one| format!("{}: {}", one.source, one.why));
        let told: Vec<String> = told.collect();
        let read = if told.is_empty() {
            Ok(())
        } else {
            Err(anyhow::anyhow!(told.join("; ")))
        };
        self.take("namespaces", read);
        namespaces
    }

    /// Reads what a guard says of itself; where none runs, that is no source.
    pub(super) fn guard(&mut self) -> Option<GuardSeen> {
        match guard::read_status().map_err(anyhow::Error::msg) {
            Ok(None) => None,
            read => self.take("guard", read).flatten(),
        }
    }

    /// Says what could not be read.
    pub(super) fn note(&self, out: Out) {
        for source in &self.0 {
            if let Some(why) = &source.trouble {
                out.note(&format!("note: {} not read: {why}", source.name));
            }
        }
    }
}

/// Counts the flows, in one pass.
pub(super) fn read_flows(
    which: args::Flows,
    live: &Snapshot,
    out: Out,
) -> Result<Flows, DumpError> {
    let table = Table::new(out, live.count.unwrap_or(0));
    let extent = match which {
        args::Flows::All | args::Flows::None => Extent::Exact,
        args::Flows::Auto => Extent::for_table(table.entries),
    };
    let start = || (Kinds::default(), Census::by(&[Field::Dst]));
    let ((kinds, census), sample) = table.gather(&Filter::default(), extent, start)?;
    Ok(Flows {
        population: kinds.finish(sample),
        destinations: census.finish(sample, DESTINATIONS),
    })
}

/// Why munin could not draw anything, if so.
pub(super) fn trouble(out: Out) -> Option<String> {
    let table = Table::new(out, 1);
    let looked = table.gather(&Filter::default(), Extent::Sample(1), Kinds::default);
    let trouble = looked.err()?;
    Some(trouble.to_string())
}

/// The newest change that apply made here and that was not undone.
pub(super) fn last_apply(global: &Global) -> anyhow::Result<Option<LastApply>> {
    let newest = change::here(global)?.last_apply()?;
    Ok(newest.map(|(id, time)| LastApply { id, time }))
}
