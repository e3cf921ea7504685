//! `cttune check`: health and drift, in a few dozen short reads.

use super::args::{Check, FailOn, Format, Global};
use super::current;
use super::failure::{CRITICAL, DIFFERS, FAILED, Failure, NPD_PROBLEM, USAGE, WARNING};
use super::out::Out;
use super::readings::Readings;
use super::{explain, load, mistaken, place, refusals};
use crate::assess::{Evidence, Levels, Severity, assess, worst};
use crate::diagnostic::Hint;
use crate::render;
use crate::render::check::Checked;
use crate::tunable::Snapshot;

/// Runs it.
pub(super) fn run(check: &Check, global: &Global, out: Out) -> anyhow::Result<u8> {
    refusals::check(check, global, out)?;
    let root = place::root(global)?;
    if let Some(key) = &check.explain {
        return explain::run(key, global, &root, out);
    }
    let (warn, crit) = (check.warn.as_deref(), check.crit.as_deref());
    let levels = Levels::parse(warn, crit).map_err(|error| Failure::of(USAGE, &error))?;
    let desired = if check.no_profile {
        None
    } else {
        load::desired(&check.desired, &root)?
    };
    if let Some(desired) = &desired {
        mistaken::note_unknown_ids(desired, out);
    }
    let readings = Readings::take(check, global, &root, out)?;
    let machine = readings.current.machine();
    let (comparison, blocked) = load::compare(desired.as_ref(), &machine)?;
    current::demand_readings(&comparison)?;
    let evidence = Evidence {
        levels,
        rates: readings.rates.as_ref(),
        deep: readings.deep.as_ref(),
        namespaces: readings.namespaces.as_deref(),
        blocked: &blocked,
        desired: desired.as_ref(),
        unread: &readings.unread,
        ..Evidence::of(machine, &comparison)
    };
    let checked = Checked {
        host: &readings.current.name,
        evidence,
        findings: &assess(evidence),
        pending: readings.pending.as_ref(),
        plan: &load::plan_hint(&check.desired),
        place: &place::of(global),
        verbose: out.verbose,
    };
    match global.format {
        Format::Nagios | Format::Npd => watched(&checked, check.fail_on, out),
        _ => {
            readings.note_unread(out);
            out.result(
                || render::check::text(&checked),
                || render::check::json(&checked),
            );
            let fails = worst(checked.findings, floor(check.fail_on, Severity::Critical));
            let drifts = !checked.evidence.comparison.in_line();
            Ok(if drifts || fails.is_some() {
                DIFFERS
            } else {
                0
            })
        }
    }
}

/// The severity from which a finding counts.
fn floor(fail_on: Option<FailOn>, usual: Severity) -> Severity {
    match fail_on {
        Some(FailOn::Warning) => Severity::Warning,
        Some(FailOn::Critical) => Severity::Critical,
        None => usual,
    }
}

/// For a monitor, which has its own exit codes.
fn watched(checked: &Checked<'_>, fail_on: Option<FailOn>, out: Out) -> anyhow::Result<u8> {
    let evidence = &checked.evidence;
    if !evidence.machine.live.is_some_and(Snapshot::is_loaded) {
        // Perhaps the firewall has no rules: nobody can tell whether the table is fine.
        let load = Hint::on_host("modprobe nf_conntrack").to("load it, as root");
        let failure = Failure::new(FAILED, "connection tracking is not loaded");
        return Err(failure.hint(load).into());
    }
    let drift = (!evidence.comparison.in_line()).then_some(Severity::Warning);
    let json = || render::check::json(checked);
    if out.format == Format::Npd {
        let state = worst(checked.findings, floor(fail_on, Severity::Critical));
        out.result(|| render::npd::line(checked), json);
        return Ok(if state.is_some() { NPD_PROBLEM } else { 0 });
    }
    let state = worst(checked.findings, floor(fail_on, Severity::Warning)).max(drift);
    out.result(|| render::nagios::text(checked, state), json);
    Ok(match state {
        Some(Severity::Critical) => CRITICAL,
        Some(Severity::Warning) => WARNING,
        Some(Severity::Info) | None => 0,
    })
}
