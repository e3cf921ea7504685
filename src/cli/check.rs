//! `cttune check`: health and drift, in a few dozen short reads.

use super::args::{Check, FailOn, Global, Wish};
use super::failure::{CRITICAL, DIFFERS, FAILED, Failure, WARNING};
use super::out::Out;
use super::{change, course, deep, load, survey};
use crate::assess::{Evidence, Finding, Levels, Severity, assess, quoted};
use crate::boot;
use crate::files::Root;
use crate::kernel::namespaces;
use crate::plan::{Comparison, Scope, plan};
use crate::render;
use crate::render::check::Checked;
use crate::tunable::{Key, Snapshot};

/// Runs it.
pub(super) fn run(check: &Check, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = survey::root(global)?;
    if let Some(key) = &check.explain {
        if out.is_nagios() {
            return Err(Failure::usage("--format nagios cannot go with --explain").into());
        }
        return explain(key, global, &root, out);
    }
    if global.root.is_some() && out.is_nagios() {
        return Err(Failure::usage("--format nagios cannot go with --root")
            .hint("an image has no running kernel, and so nothing to watch")
            .into());
    }
    let levels = levels(check)?;
    let wanted = if check.no_profile {
        None
    } else {
        load::wanted(&check.wish, &root)?
    };
    demand_kernel(check, global)?;
    let earlier = match &check.interval {
        Some(interval) => {
            let interval = change::duration("--interval", interval)?;
            Some(course::look_ahead(interval, out)?)
        }
        None => None,
    };
    let survey = survey::Survey::take(global, &root)?;
    let mut course = survey.live.as_ref().map(|_| course::read(earlier));
    let mut unread = Vec::new();
    let deep = if check.deep {
        Some(deep::read(out, &mut unread)?)
    } else {
        None
    };
    let namespaces = check.all_netns.then(|| {
        let (namespaces, not_entered) = namespaces::read_namespaces();
        unread.extend(not_entered);
        namespaces
    });
    if let Some(course) = &mut course {
        course.unread.extend(unread);
    }
    let machine = survey.machine();
    let (comparison, obstacles) = match &wanted {
        None => (Comparison::without_profile(&machine), Vec::new()),
        Some(wanted) => {
            let scope = Scope {
                live: false,
                persist: true,
                adopt: false,
            };
            let obstacles = plan(wanted, &machine, scope)
                .map_err(load::underivable)?
                .obstacles;
            (
                Comparison::new(wanted, &machine).map_err(load::underivable)?,
                obstacles,
            )
        }
    };
    survey::demand_readings(&comparison)?;
    let traces = survey::agents(global, &root);
    let findings = assess(Evidence {
        live: survey.live.as_ref(),
        levels,
        host: &survey.host,
        course: course.as_ref(),
        deep: deep.as_ref(),
        namespaces: namespaces.as_deref().unwrap_or_default(),
        traces: traces.as_ref(),
        files: survey.files.as_ref(),
        comparison: &comparison,
        obstacles: &obstacles,
        wanted: wanted.as_ref(),
        place: &survey::place(global),
    });
    for path in survey.unread() {
        out.note(&format!(
            "note: {} cannot be read, what it sets is not known",
            path.display()
        ));
    }
    let way = way(&check.wish, global);
    let checked = Checked {
        host: &survey.name,
        profile: wanted
            .as_ref()
            .map(|w| (w.name.as_str(), w.description.as_deref())),
        live: survey.live.as_ref(),
        course: course.as_ref(),
        deep: deep.as_ref(),
        namespaces: namespaces.as_deref(),
        comparison: &comparison,
        findings: &findings,
        way: &way,
        verbose: out.verbose,
    };
    if out.is_nagios() {
        return watched(&checked, levels, check.fail_on, out);
    }
    out.result(
        || render::check::text(&checked),
        || render::check::json(&checked),
    );

    let failed = check
        .fail_on
        .is_some_and(|fail_on| worst(&findings, fail_on).is_some());
    let drifted = match wanted {
        Some(_) => !comparison.in_line(),
        None => worst(&findings, FailOn::Critical).is_some(),
    };
    Ok(if drifted || failed { DIFFERS } else { 0 })
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
fn watched(
    checked: &Checked<'_>,
    levels: Levels,
    fail_on: Option<FailOn>,
    out: Out,
) -> anyhow::Result<u8> {
    if !checked.live.is_some_and(Snapshot::is_loaded) {
        // Perhaps the firewall has no rules: whether the table is fine cannot be told.
        let failure = Failure::new(FAILED, "connection tracking is not loaded");
        return Err(failure.hint("as root, modprobe nf_conntrack").into());
    }
    let drift = (!checked.comparison.in_line()).then_some(Severity::Warning);
    let state = worst(checked.findings, fail_on.unwrap_or(FailOn::Warning)).max(drift);
    out.result(
        || render::nagios::line(checked, levels, state),
        || render::check::json(checked),
    );
    Ok(match state {
        Some(Severity::Critical) => CRITICAL,
        Some(Severity::Warning) => WARNING,
        Some(Severity::Info) | None => 0,
    })
}

/// Refuses what asks a kernel about an image, or other namespaces about one.
fn demand_kernel(check: &Check, global: &Global) -> anyhow::Result<()> {
    let asked = [
        (check.interval.is_some(), "--interval"),
        (check.deep, "--deep"),
        (check.all_netns, "--all-netns"),
    ];
    let first = asked.into_iter().find(|(is_asked, _)| *is_asked);
    match first {
        Some((_, option)) if global.root.is_some() => {
            let failure = Failure::usage(format!("{option} cannot go with --root"));
            Err(failure.hint("an image has no running kernel").into())
        }
        _ if check.all_netns && global.netns.is_some() => {
            let failure = Failure::usage("--all-netns cannot go with --netns");
            Err(failure.hint("--netns is about one alone").into())
        }
        _ => Ok(()),
    }
}

/// The plan that goes with this check, as it would be typed. What was remembered is not named: a
/// plan for the bare profile would leave out what was set beside it.
fn way(wish: &Wish, global: &Global) -> String {
    let mut way = "cttune plan".to_owned();
    if let Some(profile) = &wish.profile {
        way.push_str(&format!(" --profile {}", quoted(profile)));
    }
    for set in &wish.set {
        way.push_str(&format!(" --set {}", quoted(set)));
    }
    way + &survey::place(global)
}

fn explain(key: &str, global: &Global, root: &Root, out: Out) -> anyhow::Result<u8> {
    let key = Key::find(key).map_err(load::unknown_key)?;
    let survey = survey::Survey::take(global, root)?;
    let Some(files) = &survey.files else {
        return Err(Failure::usage("--explain cannot go with --netns")
            .hint("a named namespace has no sysctl.d of its own")
            .into());
    };
    let explanation = boot::explain(files.tree(), key);
    out.result(
        || render::explain::text(&explanation),
        || render::explain::json(&explanation),
    );
    Ok(0)
}
