//! What a plan's timeouts would have ended: one line for each that it changes.

use super::{read, usual};
use crate::cli::args::Global;
use crate::cli::out::Out;
use crate::cli::rates::netlink_answers;
use crate::diagnostic;
use crate::flow::Extent;
use crate::kernel::{host, sysctl};
use crate::plan::{Plan, Step};
use crate::render::forecast::{could_not_read, foreseen as line};
use crate::tunable::{Key, Snapshot};

/// Flows that are read for each timeout at most.
const SAMPLE: u64 = 20_000;

/// The lines; none where the plan changes no timeout, or no flow has it.
pub(in crate::cli) fn foreseen(plan: &Plan, global: &Global, out: Out) -> String {
    // A plan changes nothing, and loads no module either.
    let answers = host::read_host().is_ok_and(|host| netlink_answers(&host));
    let is_asked = global.root.is_none() && !out.is_json() && answers;
    let live = is_asked.then(sysctl::read_snapshot).and_then(Result::ok);
    let Some(live) = live.filter(Snapshot::is_loaded) else {
        return String::new();
    };
    let mut lines = String::new();
    for (key, to) in plan.steps.iter().filter_map(timeout) {
        match forecast(key, to, &live, global, out) {
            Ok(told) => lines.push_str(&told),
            // The others could not be read either.
            Err(error) => return could_not_read(&diagnostic::told(&error)),
        }
    }
    lines
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
) -> anyhow::Result<String> {
    let mut asked = usual(key, live)?;
    asked.question.candidates = vec![to];
    asked.question.to = to;
    asked.extent = Some(Extent::Sample(SAMPLE));
    let forecast = read::forecast(&asked, live, None, global, out.silent())?;
    Ok(line(&forecast))
}
