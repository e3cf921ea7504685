//! Everything that `check` reads, and what of it could not be read.

use super::args::{Check, Global};
use super::current::Current;
use super::out::Out;
use super::{change, deadline, deep, rates, session};
use crate::assess::{Deep, Levels, Namespace, Rates, Unread};
use crate::change::{Here, Status};
use crate::diagnostic::plain::Shown;
use crate::files::Root;
use crate::flow::Prefixes;
use crate::flow::guard::GuardSeen;
use crate::guard;
use crate::kernel::log::{self, Journal};
use crate::kernel::namespaces;
use crate::plan::Step;
use crate::render::check::Pending;
use crate::service::Found;
use crate::tunable::Snapshot;

pub(super) struct Readings {
    pub(super) current: Current,
    pub(super) rates: Option<Rates>,
    pub(super) deep: Option<Deep>,
    pub(super) namespaces: Option<Vec<Namespace>>,
    pub(super) guard: Option<GuardSeen>,
    pub(super) own_session: bool,
    pub(super) pending: Option<Pending>,
    pub(super) unread: Vec<Unread>,
}

impl Readings {
    pub(super) fn take(
        check: &Check,
        global: &Global,
        root: &Root,
        has_services: bool,
        out: Out,
    ) -> anyhow::Result<Self> {
        let interval = check.interval.as_deref();
        let interval = interval.map(|text| change::duration("--interval", text));
        let earlier = interval.transpose()?;
        let earlier = earlier.map(|interval| rates::look_ahead(interval, out));
        let earlier = earlier.transpose()?;
        let journal = if earlier.is_some() || out.is_watched() {
            Journal::Asked
        } else {
            Journal::Skipped
        };
        let log = (global.root.is_none()).then(|| log::start(journal));
        let (mut current, files) = Current::start(global, root)?;
        if has_services {
            current.read_table();
        }
        let mut unread = Vec::new();
        let mut rates = log.map(|log| rates::read(earlier, log, &current.host, &mut unread));
        if let (Some(rates), None) = (&mut rates, &global.netns) {
            rates::name_namespaces(rates);
        }
        let host = check.prefix.unwrap_or(Prefixes::HOST);
        let deep = check.deep.then(|| deep::read(out, host, &mut unread));
        let deep = deep.transpose()?;
        let namespaces = check.all_netns.then(|| {
            let (namespaces, not_entered) = namespaces::read_namespaces();
            unread.extend(not_entered);
            namespaces
        });
        let guard = current.live.as_ref().map(|_| guard::read_status());
        let guard = guard.and_then(|read| {
            let note = |why| unread.push(Unread::new("guard", why));
            read.map_err(note).ok().flatten()
        });
        let fill = current.live.as_ref().and_then(Snapshot::fill);
        let is_near = fill.is_some_and(|fill| fill >= Levels::default().warning);
        let pending = pending(&change::here(global)?, &mut unread);
        current.finish(files)?;
        let unread = unread_of(&current).chain(unread).collect();
        Ok(Readings {
            guard,
            own_session: is_near && session::is_tracked(),
            pending,
            current,
            rates,
            deep,
            namespaces,
            unread,
        })
    }

    /// Notes in one line what could not be read.
    pub(super) fn note_unread(&self, out: Out) {
        let told = self.unread.iter();
        let told = told.map(|unread| format!("{} ({})", unread.source, unread.why));
        let told: Vec<String> = told.collect();
        if !told.is_empty() {
            out.note(&format!("note: not read: {}", told.join("; ")));
        }
    }
}

/// What could not be read of the files and of nft's table.
fn unread_of(current: &Current) -> impl Iterator<Item = Unread> {
    let files = current.unread().into_iter();
    let files = files.map(|path| Unread::new(path.shown(), "cannot be read"));
    let table = match current.machine().table {
        Some(Found::Unread(why)) => Some(Unread::new("timeouts of services", why)),
        _ => None,
    };
    files.chain(table)
}

/// The change here that has to be confirmed.
fn pending(here: &Here, unread: &mut Vec<Unread>) -> Option<Pending> {
    let unfinished = here.unfinished();
    let unfinished = unfinished.map_err(|error| unread.push(Unread::new("journal", error)));
    let mut unfinished = unfinished.ok()?.into_iter();
    let entry = unfinished.rfind(|entry| entry.state.status() == Status::Pending)?;
    let until = deadline::of(&entry)?;
    Some(Pending {
        id: entry.record.id,
        profile: entry.record.profile,
        deadline: until.time.timestamp(),
        clock: until.clock,
        live: entry.record.steps.iter().filter_map(Step::sets).collect(),
    })
}
