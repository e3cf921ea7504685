//! Reads the table for a forecast, once, or twice with a pause between.

use std::time::{Duration, Instant};

use crate::change::Here;
use crate::change::flows::Past;
use crate::cli::args::Global;
use crate::cli::out::Out;
use crate::cli::progress::Progress;
use crate::cli::walk::Table;
use crate::cli::{flows, place};
use crate::flow::expire::{History, OwnUpdate, Proof, Protected, Rules, Timeouts};
use crate::flow::forecast::{Borrowed, Forecast, Forecaster, Known, Question, Watch};
use crate::flow::{Extent, Filter, Selection};
use crate::guard;
use crate::kernel::ctnetlink::read_policies;
use crate::profile::{ExpireParameters, ExpireSettings};
use crate::tunable::{Key, Snapshot};

/// How often a bar moves during the pause.
const TICK: Duration = Duration::from_millis(200);

/// What is asked, and how to read.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Asked {
    pub(in crate::cli) question: Question,
    /// None leaves it to the size of the table.
    pub(in crate::cli) extent: Option<Extent>,
    /// What the timeout was, and until when, as the operator tells it.
    pub(in crate::cli) was: Option<(i64, Option<i64>)>,
}

/// Reads and counts.
pub(in crate::cli) fn forecast(
    asked: &Asked,
    live: &Snapshot,
    observe: Option<Duration>,
    global: &Global,
    out: Out,
) -> anyhow::Result<Forecast> {
    let question = &asked.question;
    let past = flows::past(&place::root(global)?);
    let table = Table::find(out)?;
    let mut known = known(asked, live, &past, global)?;
    if observe.is_none() && question.key == Key::TcpTimeoutEstablished {
        known.lent = borrow(table.clock);
    }
    let watch = match observe {
        Some(time) => Some(watch(question, &known, &table, time, out)?),
        None => None,
    };
    let rules = rules(question, live, &known, past, observe);
    let extent = extent(asked, table.entries, watch.is_some());
    let filter = match extent {
        Extent::Exact => Filter::of(&question.selection),
        // How much was looked at counts.
        Extent::Sample(_) | Extent::Budget(_) => Filter::default(),
    };
    let now = jiff::Timestamp::now().as_second();
    let (forecaster, sample) = table.gather(&filter, extent, || {
        Forecaster::new(question, &known, &rules, watch.as_ref(), now)
    })?;
    Ok(forecaster.finish(sample))
}

/// What is selected is read in full, and what was watched.
fn extent(asked: &Asked, entries: u64, is_watched: bool) -> Extent {
    let is_whole = is_watched || !asked.question.selection.matching.is_empty();
    let usual = if is_whole {
        Extent::Exact
    } else {
        Extent::for_table(entries)
    };
    asked.extent.unwrap_or(usual)
}

/// Takes the first look, and waits.
fn watch<'a>(
    question: &'a Question,
    known: &Known,
    table: &Table,
    time: Duration,
    out: Out,
) -> anyhow::Result<Watch<'a>> {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let selection = &question.selection;
    let (watch, _) = table.gather(&Filter::of(selection), Extent::Exact, || {
        Watch::new(table.entries, seconds, known.timeouts.clone(), selection)
    })?;
    let begun = Instant::now();
    let bar = Progress::watching(out, "watching flows", time);
    while let Some(left) = time.checked_sub(begun.elapsed()) {
        std::thread::sleep(left.min(TICK));
        bar.watched(begun.elapsed());
    }
    Ok(watch.seal())
}

/// What a guard has watched, under the clock of this look.
fn borrow(clock: Instant) -> Option<Borrowed> {
    let (lent, zero) = guard::borrow()?;
    let began = clock.checked_duration_since(zero)?.as_millis();
    let began = u32::try_from(began).ok()?;
    Some(Borrowed { lent, began })
}

/// What is known of the timeouts. Without a record of another value the one that holds now is taken
/// for the one that always did.
fn known(asked: &Asked, live: &Snapshot, past: &Past, global: &Global) -> anyhow::Result<Known> {
    let Question { key, timeout, .. } = asked.question;
    let (present, now) = (i64::from(timeout), jiff::Timestamp::now().as_second());
    let changes = match key {
        Key::TcpTimeoutEstablished => past.changes.clone(),
        _ => Here::read(place::root(global)?, None).changes_of(key),
    };
    let history = match asked.was {
        Some((was, until)) => History::told(was, until, present, now),
        None if changes.is_empty() => History::told(present, None, present, now),
        None => History::of(&changes, present, now),
    };
    // The log tells the highest value that an established flow was given. Of others, clamp leaves
    // at most their timeout.
    let update = |update: &OwnUpdate| OwnUpdate {
        highest: match key {
            Key::TcpTimeoutEstablished => update.highest,
            _ => present,
        },
        ..*update
    };
    let updates: Vec<OwnUpdate> = past.updates.iter().map(update).collect();
    Ok(Known {
        timeouts: Timeouts::of(live),
        policies: read_policies()?,
        history: history.with_updates(&updates),
        lent: None,
    })
}

/// The rules of `cttune expire` under the timeout in question.
fn rules(
    question: &Question,
    live: &Snapshot,
    known: &Known,
    past: Past,
    observe: Option<Duration>,
) -> Rules {
    let mut then = live.clone();
    then.set(question.key, question.to.into());
    let bounds = [
        Key::TcpTimeoutEstablished,
        Key::TcpTimeoutUnacknowledged,
        Key::TcpTimeoutMaxRetrans,
    ];
    let usual = ExpireParameters::from(ExpireSettings::default());
    Rules {
        protected: Protected {
            selection: Selection::default(),
            sessions: past.sessions.into_iter().collect(),
        },
        timeouts: Timeouts::of(&then),
        policies: known.policies.clone(),
        history: known.history.clone(),
        proof: match observe {
            Some(time) => Proof::Watched {
                minimum: u32::try_from(time.as_secs()).unwrap_or(u32::MAX),
                timeouts: bounds
                    .iter()
                    .filter_map(|key| known.timeouts.get(*key))
                    .collect(),
            },
            None => Proof::History,
        },
        spread: 0,
        grace: u32::try_from(usual.grace).unwrap_or(0),
    }
}
