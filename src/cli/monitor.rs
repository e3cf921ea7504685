//! `cttune check` for a monitor: its formats and its own exit codes.

use super::args::{FailOn, Format};
use super::failure::{CRITICAL, FAILED, Failure, NPD_PROBLEM, WARNING};
use super::out::Out;
use crate::assess::{Severity, worst};
use crate::diagnostic::Hint;
use crate::render::{self, check::Checked};
use crate::tunable::Snapshot;

/// The severity from which a finding counts.
pub(super) fn floor(fail_on: Option<FailOn>, usual: Severity) -> Severity {
    match fail_on {
        Some(FailOn::Warning) => Severity::Warning,
        Some(FailOn::Critical) => Severity::Critical,
        None => usual,
    }
}

/// For a monitor, which has its own exit codes.
pub(super) fn watched(
    checked: &Checked<'_>,
    fail_on: Option<FailOn>,
    out: Out,
) -> anyhow::Result<u8> {
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
