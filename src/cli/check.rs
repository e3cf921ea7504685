//! `cttune check`: health and drift, in a few dozen short reads.

use super::args::{Check, Format, Global};
use super::current;
use super::failure::{DIFFERS, Failure, USAGE};
use super::monitor::{floor, watched};
use super::out::Out;
use super::readings::Readings;
use super::{bundle, explain, load, mistaken, place, refusals};
use crate::assess::{Evidence, Levels, Severity, assess, worst};
use crate::profile::Desired;
use crate::render;
use crate::render::check::Checked;

/// Runs it.
pub(super) fn run(check: &Check, global: &Global, out: Out) -> anyhow::Result<u8> {
    refusals::check(check, global, out)?;
    let root = place::root(global)?;
    if let Some(key) = &check.explain {
        return explain::run(key, global, &root, out);
    }
    with_checked(check, global, out, |checked, readings| {
        if let Some(file) = &check.bundle {
            return bundle::write(file, checked, out);
        }
        if matches!(global.format, Format::Nagios | Format::Npd) {
            return watched(checked, check.fail_on, out);
        }
        out.result(
            || render::check::text(checked),
            || render::check::json(checked),
        );
        readings.note_unread(out);
        let fails = worst(checked.findings, floor(check.fail_on, Severity::Critical));
        let drifts = !checked.evidence.comparison.in_line();
        Ok(u8::from(drifts || fails.is_some()) * DIFFERS)
    })?
}

/// What machines read of a check.
pub(super) fn object(
    check: &Check,
    global: &Global,
    out: Out,
) -> anyhow::Result<serde_json::Value> {
    with_checked(check, global, out, |checked, _| {
        render::shape::value(&render::check::json(checked))
    })
}

/// Reads, assesses, and gives what was found to `show`.
pub(super) fn with_checked<T>(
    check: &Check,
    global: &Global,
    out: Out,
    show: impl FnOnce(&Checked<'_>, &Readings) -> T,
) -> anyhow::Result<T> {
    let root = place::root(global)?;
    let (warn, crit) = (check.warn.as_deref(), check.crit.as_deref());
    let levels = Levels::parse(warn, crit).map_err(|error| Failure::of(USAGE, &error))?;
    let desired = load::desired(&check.desired, &root)?;
    if let Some(desired) = &desired {
        mistaken::note_unknown_ids(desired, out);
    }
    let has_services = desired.as_ref().is_some_and(Desired::has_services);
    let readings = Readings::take(check, global, &root, has_services, out)?;
    let machine = readings.current.machine();
    let (comparison, blocked) = load::compare(desired.as_ref(), &check.desired, &machine)?;
    current::demand_readings(&comparison)?;
    let evidence = Evidence {
        levels,
        rates: readings.rates.as_ref(),
        deep: readings.deep.as_ref(),
        guard: readings.guard.as_ref(),
        own_session: readings.own_session,
        pending: readings.pending.as_ref().map_or(&[], |one| &one.live),
        namespaces: readings.namespaces.as_deref(),
        blocked: &blocked,
        desired: desired.as_ref(),
        unread: &readings.unread,
        ..Evidence::of(machine, &comparison)
    };
    let verbose = out.verbose || check.bundle.is_some();
    let plan = load::plan_hint(&check.desired);
    let has_plan = desired.as_ref();
    let has_plan = has_plan.is_some_and(|one| load::has_plan(one, &comparison, &machine));
    let checked = Checked {
        host: &readings.current.name,
        evidence,
        findings: &assess(evidence),
        pending: readings.pending.as_ref(),
        // While a change waits, confirm or rollback comes first.
        plan: (has_plan && readings.pending.is_none()).then_some(&plan),
        place: &place::of(global),
        keys: check.keys || verbose,
        verbose,
    };
    Ok(show(&checked, &readings))
}
