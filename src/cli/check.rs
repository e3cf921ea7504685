//! `cttune check`: health and drift, in a few dozen short reads.

use super::args::{Check, DesiredOptions, FailOn, Global};
use super::current::{self, Current};
use super::failure::{CRITICAL, DIFFERS, FAILED, Failure, WARNING};
use super::mistaken;
use super::out::Out;
use super::place;
use super::{change, deep, load, rates};
use crate::assess::{Deep, Evidence, Finding, Levels, Namespace, Rates, Severity, assess};
use crate::boot;
use crate::diagnostic::{Hint, quoted};
use crate::files::Root;
use crate::kernel::namespaces;
use crate::plan::{Blocked, Comparison, Machine, Scope, plan};
use crate::profile::Desired;
use crate::render;
use crate::render::check::Checked;
use crate::tunable::{Key, Snapshot};

/// Runs it.
pub(super) fn run(check: &Check, global: &Global, out: Out) -> anyhow::Result<u8> {
    refuse_what_does_not_go(check, global, out)?;
    let root = place::root(global)?;
    if let Some(key) = &check.explain {
        return explain(key, global, &root, out);
    }
    let levels = levels(check)?;
    let desired = if check.no_profile {
        None
    } else {
        load::desired(&check.desired, &root)?
    };
    if let Some(desired) = &desired {
        mistaken::note_unknown_ids(desired, out);
    }
    let looks = Looks::take(check, global, &root, out)?;
    let machine = looks.current.machine();
    let (comparison, blocked) = compare(desired.as_ref(), &machine)?;
    current::demand_readings(&comparison)?;
    let place = place::of(global);
    let evidence = Evidence {
        machine,
        levels,
        rates: looks.rates.as_ref(),
        deep: looks.deep.as_ref(),
        namespaces: looks.namespaces.as_deref(),
        comparison: &comparison,
        blocked: &blocked,
        desired: desired.as_ref(),
    };
    for path in looks.current.unread() {
        out.note(&format!(
            "note: {} cannot be read, what it sets is not known",
            path.display()
        ));
    }
    let checked = Checked {
        host: &looks.current.name,
        evidence,
        findings: &assess(evidence),
        plan: &plan_hint(&check.desired),
        place: &place,
        verbose: out.verbose,
    };
    if out.is_nagios() {
        return watched(&checked, check.fail_on, out);
    }
    out.result(
        || render::check::text(&checked),
        || render::check::json(&checked),
    );
    Ok(exit_code(&checked, check.fail_on))
}

/// What was read of the machine, by as many looks as were asked for.
struct Looks {
    current: Current,
    rates: Option<Rates>,
    deep: Option<Deep>,
    namespaces: Option<Vec<Namespace>>,
}

impl Looks {
    fn take(check: &Check, global: &Global, root: &Root, out: Out) -> anyhow::Result<Self> {
        let earlier = match &check.interval {
            Some(interval) => {
                let interval = change::duration("--interval", interval)?;
                Some(rates::look_ahead(interval, out)?)
            }
            None => None,
        };
        let current = Current::read(global, root)?;
        let mut rates = current.live.as_ref().map(|_| rates::read(earlier));
        let mut unread = Vec::new();
        let deep = check.deep.then(|| deep::read(out, &mut unread));
        let deep = deep.transpose()?;
        let namespaces = check.all_netns.then(|| {
            let (namespaces, not_entered) = namespaces::read_namespaces();
            unread.extend(not_entered);
            namespaces
        });
        if let Some(rates) = &mut rates {
            rates.unread.extend(unread);
        }
        Ok(Looks {
            current,
            rates,
            deep,
            namespaces,
        })
    }
}

/// How the machine stands to the profile, and what is in the way of persisting it.
fn compare(
    desired: Option<&Desired>,
    machine: &Machine<'_>,
) -> anyhow::Result<(Comparison, Vec<Blocked>)> {
    let Some(desired) = desired else {
        return Ok((Comparison::without_profile(machine), Vec::new()));
    };
    let scope = Scope {
        live: false,
        persist: true,
        adopt: false,
    };
    let comparison = Comparison::new(desired, machine).map_err(mistaken::underivable)?;
    let plan = plan(desired, &comparison, machine, scope);
    Ok((comparison, plan.blocked))
}

/// For who asks whether something is to be done.
fn exit_code(checked: &Checked<'_>, fail_on: Option<FailOn>) -> u8 {
    let failed = fail_on.is_some_and(|fail_on| worst(checked.findings, fail_on).is_some());
    let drifted = match checked.evidence.desired {
        Some(_) => !checked.evidence.comparison.in_line(),
        None => worst(checked.findings, FailOn::Critical).is_some(),
    };
    if drifted || failed { DIFFERS } else { 0 }
}

/// The worst finding of a severity that matters.
fn worst(findings: &[Finding], from: FailOn) -> Option<Severity> {
    let floor = match from {
        FailOn::Warning => Severity::Warning,
        FailOn::Critical => Severity::Critical,
    };
    let counted = findings.iter().filter(|finding| finding.counts_as(floor));
    counted.map(|finding| finding.severity).max()
}

/// How full is too full, as it was typed.
fn levels(check: &Check) -> anyhow::Result<Levels> {
    let usual = Levels::default();
    let share = |option: &str, text: &Option<String>, usual| match text {
        Some(text) => percentage(option, text),
        None => Ok(usual),
    };
    let levels = Levels {
        warning: share("--warn", &check.warn, usual.warning)?,
        critical: share("--crit", &check.crit, usual.critical)?,
    };
    if levels.warning > levels.critical {
        return Err(Failure::usage("--warn is above --crit")
            .hint("without them they are 80% and 90%")
            .into());
    }
    Ok(levels)
}

/// Reads `80%` or `80` as a share of one.
fn percentage(option: &str, text: &str) -> Result<f64, Failure> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse();
    let number = number.ok().filter(|number| (0.0..=100.0).contains(number));
    // A zero with a sign is one.
    number
        .map(|number: f64| number.abs() / 100.0)
        .ok_or_else(|| {
            Failure::usage(format!("{option} {text}: not a percentage"))
                .hint("write 80%, or a number from 0 to 100")
        })
}

/// The same for Nagios: its line, and its exit codes. There drift is a warning.
fn watched(checked: &Checked<'_>, fail_on: Option<FailOn>, out: Out) -> anyhow::Result<u8> {
    let evidence = &checked.evidence;
    if !evidence.machine.live.is_some_and(Snapshot::is_loaded) {
        // Perhaps the firewall has no rules: whether the table is fine cannot be told.
        let failure = Failure::new(FAILED, "connection tracking is not loaded");
        return Err(failure
            .hint(Hint::on_host("modprobe nf_conntrack").to("load it, as root"))
            .into());
    }
    let drift = (!evidence.comparison.in_line()).then_some(Severity::Warning);
    let state = worst(checked.findings, fail_on.unwrap_or(FailOn::Warning)).max(drift);
    out.result(
        || render::nagios::line(checked, state),
        || render::check::json(checked),
    );
    Ok(match state {
        Some(Severity::Critical) => CRITICAL,
        Some(Severity::Warning) => WARNING,
        Some(Severity::Info) | None => 0,
    })
}

/// Refuses, before anything is read, what asks a kernel about an image or other namespaces about
/// one, and more than a line of Nagios.
fn refuse_what_does_not_go(check: &Check, global: &Global, out: Out) -> Result<(), Failure> {
    if check.explain.is_some() && out.is_nagios() {
        return Err(Failure::usage("--format nagios cannot go with --explain"));
    }
    if global.root.is_some() && out.is_nagios() {
        return Err(Failure::usage("--format nagios cannot go with --root")
            .hint("an image has no running kernel, and so nothing to watch"));
    }
    let asked = [
        (check.interval.is_some(), "--interval"),
        (check.deep, "--deep"),
        (check.all_netns, "--all-netns"),
    ];
    let first = asked.into_iter().find(|(is_asked, _)| *is_asked);
    match first {
        Some((_, option)) if global.root.is_some() => {
            let failure = Failure::usage(format!("{option} cannot go with --root"));
            Err(failure.hint("an image has no running kernel"))
        }
        _ if check.all_netns && global.netns.is_some() => {
            let failure = Failure::usage("--all-netns cannot go with --netns");
            Err(failure.hint("--netns is about one alone"))
        }
        _ => Ok(()),
    }
}

/// The plan for what was checked. The active profile is not named: a plan for the bare profile
/// would leave out what was set beside it.
fn plan_hint(desired: &DesiredOptions) -> Hint {
    let mut plan = "plan".to_owned();
    if let Some(profile) = &desired.profile {
        plan.push_str(&format!(" --profile {}", quoted(profile)));
    }
    for set in &desired.set {
        plan.push_str(&format!(" --set {}", quoted(set)));
    }
    Hint::cttune(plan).to("see the changes")
}

fn explain(key: &str, global: &Global, root: &Root, out: Out) -> anyhow::Result<u8> {
    let key = Key::find(key).map_err(mistaken::unknown_key)?;
    let current = Current::read(global, root)?;
    let Some(files) = &current.files else {
        return Err(Failure::usage("--explain cannot go with --netns")
            .hint("a named namespace has no sysctl.d of its own")
            .into());
    };
    let explanation = boot::explain(files.tree(), key);
    out.result(
        || render::explain::text(&explanation, files.next_boot()),
        || render::explain::json(&explanation, files.next_boot()),
    );
    Ok(0)
}
