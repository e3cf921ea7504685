//! What the timeouts that a plan changes would have ended.

use super::{read, usual};
use crate::cli::args::Global;
use crate::cli::out::Out;
use crate::cli::rates::netlink_answers;
use crate::diagnostic;
use crate::flow::Extent;
use crate::flow::forecast::Forecast;
use crate::kernel::{host, sysctl};
use crate::plan::{Plan, Step};
use crate::render::forecast::Foreseen;
use crate::tunable::{Key, Snapshot};

/// Flows that are read for each timeout at most.
const SAMPLE: u64 = 20_000;

/// Of each timeout that the plan changes; of none where there is no table to read.
pub(in crate::cli) fn foreseen(plan: &Plan, global: &Global, out: Out) -> Foreseen {
    let mut foreseen = Foreseen::default();
    // A plan changes nothing, and loads no module either.
    let answers = host::read_host().is_ok_and(|host| netlink_answers(&host));
    let is_asked = global.root.is_none() && answers;
    let live = is_asked.then(sysctl::read_snapshot).and_then(Result::ok);
    let Some(live) = live.filter(Snapshot::is_loaded) else {
        return foreseen;
    };
    for (key, to) in plan.steps.iter().filter_map(timeout) {
        match forecast(key, to, &live, global, out) {
            Ok(forecast) => foreseen.forecasts.push(forecast),
            Err(error) => {
                // The others could not be read either.
                foreseen.unread = Some(diagnostic::told(&error));
                break;
            }
        }
    }
    foreseen
}

fn timeout(step: &Step) -> Option<(Key, u32)> {
    match step {
        Step::WriteLive { key, to, .. } if key.is_time() => Some((*key, u32::try_from(*to).ok()?)),
        _ => None,
    }
}

fn forecast(
    key: Key,
    to: u32,
    live: &Snapshot,
    global: &Global,
    out: Out,
) -> anyhow::Result<Forecast> {
    let mut asked = usual(key, live)?;
    asked.question.candidates = vec![to];
    asked.question.to = to;
    asked.extent = Some(Extent::Sample(SAMPLE));
    read::forecast(&asked, live, None, global, out.silent())
}
