//! `cttune guard --install`: the unit, through a plan, the journal and rollback, as apply does.

use std::path::{Path, PathBuf};

use super::parse::parameters;
use crate::change::{Applied, ChangeError, Consent, Request};
use crate::cli::args::{Global, Guard as Args};
use crate::cli::failure::{FAILED, Failure, declined};
use crate::cli::out::{self, Out};
use crate::cli::prompt::{self, Answer};
use crate::cli::terminal::Terminal;
use crate::cli::{change, place};
use crate::diagnostic::{Hint, plain::Shown, quoted};
use crate::files::{Root, profiles};
use crate::kernel::units;
use crate::plan::{Permission, Plan, Step};
use crate::render::{self, outcome::Told};

const UNIT: &str = include_str!("../../../contrib/systemd/cttune-guard.service");
const TEMPLATE: &str = include_str!("../../../contrib/systemd/cttune-guard@.service");

/// Where an administrator puts units.
const UNITS: &str = "/etc/systemd/system";

/// Where packages put units.
const PACKAGED: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// Folders that the unit does not let its program see.
const UNSEEN: [&str; 4] = ["/home", "/root", "/tmp", "/var/tmp"];

pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = place::root(global)?;
    // A profile with a mistake fails here, before anything is written.
    parameters(args, &root)?;
    let here = change::here(global)?;
    let (name, place) = (place::name(global), place::of(global));
    let mut plan = || plan(args, global, &root);
    if args.dry_run {
        let plan = plan()?;
        out.result(
            || render::plan::text(&plan, &name, "", &place),
            || render::plan::json(&plan, &place),
        );
        return Ok(if plan.steps.is_empty() { 0 } else { 2 });
    }
    let terminal = Terminal::new(&here, out);
    let session = terminal.session(None)?;
    let mut choose = |plan: Plan| {
        out.question(&render::plan::steps(&plan, &name, &place));
        match prompt::ask(&plan, session.signals(), out)? {
            Answer::Yes => Ok(plan),
            Answer::Steps(chosen) => Ok(plan.choose(&chosen)),
            Answer::No => Err(declined().into()),
            Answer::Stopped(signal) => Err(ChangeError::stopped(signal).into()),
        }
    };
    let applied = session.apply(Request {
        plan: &mut plan,
        permission: Permission::default(),
        within: None,
        consent: match (args.installing.yes, out::is_interactive()) {
            (true, _) => Consent::Given,
            (false, true) => Consent::Ask(&mut choose),
            (false, false) => Consent::Missing,
        },
    });
    match applied.map_err(change::told)? {
        Applied::Done(done) => {
            if !done
                .plan
                .steps
                .iter()
                .any(|step| matches!(step, Step::EnableUnit { .. }))
            {
                out.note("the guard that runs uses its old unit until: systemctl daemon-reload && systemctl restart 'cttune-guard*'");
            }
            let applied = render::outcome::applied;
            change::show(&done, applied, &place, false, out)
        }
        Applied::Pending(entry, outcome) => change::end(&outcome, entry.record.id, false),
        Applied::Nothing(plan) => {
            let told = Told::nothing(&plan);
            out.result(
                || "the guard is installed already\n".to_owned(),
                || render::outcome::json(told),
            );
            Ok(0)
        }
    }
}

/// The unit file, where no package brings it, and the unit enabled.
fn plan(args: &Args, global: &Global, root: &Root) -> anyhow::Result<Plan> {
    if !units::is_there() {
        let message = "systemd does not run here, and there is nothing to install for others";
        return Err(Failure::new(FAILED, message)
            .unchanged()
            .hint(Hint::cttune("guard").to("let your supervisor run"))
            .into());
    }
    let program = program()?.display().to_string();
    let (file, text, unit) = match &global.netns {
        None => (
            "cttune-guard.service",
            UNIT,
            "cttune-guard.service".to_owned(),
        ),
        Some(netns) => {
            let unit = format!("cttune-guard@{}.service", units::escaped(netns));
            ("cttune-guard@.service", TEMPLATE, unit)
        }
    };
    let mut text = text.replace("/usr/bin/cttune", &program);
    let mut steps = Vec::new();
    if let Some(profile) = profile(args)? {
        let command = |arguments: &str| format!("ExecStart={program} guard{arguments} {profile}\n");
        if global.netns.is_none() {
            text = text.replacen(&format!("ExecStart={program} guard\n"), &command(""), 1);
        } else {
            // The template is that of every namespace.
            let path = Path::new(UNITS).join(format!("{unit}.d/profile.conf"));
            let text = format!("[Service]\nExecStart=\n{}", command(" --netns %I"));
            steps.extend(write(
                root,
                path,
                text,
                "this namespace has a profile of its own",
            )?);
        }
    }
    let mut packaged = PACKAGED.iter().map(|folder| Path::new(folder).join(file));
    let is_packaged = packaged.any(|path| {
        root.read(&path)
            .is_ok_and(|read| read.as_deref() == Some(text.as_bytes()))
    });
    if !is_packaged {
        let path = Path::new(UNITS).join(file);
        steps.extend(write(root, path, text, "systemd starts the guard with it")?);
    }
    let is_enabled = units::is_enabled(&unit);
    if !is_enabled.map_err(|error| Failure::of(FAILED, &error).unchanged())? {
        steps.push(Step::EnableUnit {
            unit,
            to: true,
            why: "now and after every boot".to_owned(),
        });
    }
    Ok(Plan::of("guard".to_owned(), steps))
}

/// The step that writes a file, unless it is there.
fn write(root: &Root, path: PathBuf, text: String, why: &str) -> anyhow::Result<Option<Step>> {
    let from = root.read(&path)?;
    let differs = from.as_deref() != Some(text.as_bytes());
    Ok(differs.then(|| Step::WriteFile {
        path,
        from,
        to: Some(text.into_bytes()),
        why: why.to_owned(),
    }))
}

/// The profile that is asked for, as the unit names it: systemd replaces `%` and `$`.
fn profile(args: &Args) -> anyhow::Result<Option<String>> {
    let Some(name) = args.name.as_ref().or(args.profile.as_ref()) else {
        return Ok(None);
    };
    let name = if profiles::is_path(name) {
        seen(std::path::absolute(name)?)?.display().to_string()
    } else {
        name.clone()
    };
    let name = quoted(&name);
    Ok(Some(name.replace('%', "%%").replace('$', "$$")))
}

/// This program, if the unit may run it.
fn program() -> anyhow::Result<PathBuf> {
    seen(std::env::current_exe()?)
}

/// The path, if the unit sees what is there.
fn seen(path: PathBuf) -> anyhow::Result<PathBuf> {
    if !UNSEEN.iter().any(|folder| path.starts_with(folder)) {
        return Ok(path);
    }
    let message = format!("the unit cannot see {}", path.shown());
    let hint =
        "/usr/local/bin is for programs, /etc/cttune/profiles for profiles: copy it there first";
    Err(Failure::new(FAILED, message).unchanged().hint(hint).into())
}
