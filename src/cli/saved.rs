//! A plan in a file: `plan --out FILE` writes it, `apply FILE` applies it.
//!
//! Rule: apply makes the plan anew from what was asked and from what the machine has now, and goes on
//! only if that is the plan of the file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::args::{DesiredOptions, Global, Mode, Named, Only, Plan as Args, Planning};
use super::current::Current;
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::{change, interrupted, mistaken, place, plan as plan_command, profile_edit};
use crate::change::Here;
use crate::diagnostic::{Advise, Hint, quoted};
use crate::files::profiles::ProfileError;
use crate::files::{Root, profiles};
use crate::kernel::host;
use crate::plan::{Made, Plan};
use crate::render::{self, layout};

const ENDING: &str = "json";

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Saved {
    #[cfg_attr(test, schemars(with = "render::shape::Schema"))]
    schema: u32,
    version: String,
    /// When it was made, in UTC.
    time: String,
    host: String,
    netns: Option<String>,
    root: Option<PathBuf>,
    asked: Asked,
    profile: String,
    #[serde(flatten)]
    made: Made,
}

/// What was typed, with the profile as any folder would name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Asked {
    profile: Option<String>,
    set: Vec<String>,
    only: Option<Only>,
    expire: bool,
    expire_mode: Option<Mode>,
    options: Vec<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum Switch {
    NoProfile,
    Adopt,
    AllowOverridden,
    AllowMaxBelowCount,
    Replace,
}

impl Switch {
    const ALL: [Switch; 5] = [
        Switch::NoProfile,
        Switch::Adopt,
        Switch::AllowOverridden,
        Switch::AllowMaxBelowCount,
        Switch::Replace,
    ];

    fn name(self) -> &'static str {
        match self {
            Switch::NoProfile => "--no-profile",
            Switch::Adopt => "--adopt",
            Switch::AllowOverridden => "--allow-overridden",
            Switch::AllowMaxBelowCount => "--allow-max-below-count",
            Switch::Replace => "--replace",
        }
    }

    fn is_on(self, planning: &Planning) -> bool {
        match self {
            Switch::NoProfile => planning.desired.no_profile,
            Switch::Adopt => planning.adopt,
            Switch::AllowOverridden => planning.allow_overridden,
            Switch::AllowMaxBelowCount => planning.allow_max_below_count,
            Switch::Replace => planning.replace,
        }
    }
}

/// What `apply` is to apply.
pub(super) struct Order {
    pub(super) planning: Planning,
    saved: Option<(String, Saved)>,
}

impl Order {
    pub(super) fn of(asked: &Planning, global: &Global, here: &Here) -> anyhow::Result<Self> {
        let name = asked.desired.profile.as_deref();
        let Some(file) = name.filter(|name| is_saved(Path::new(name))) else {
            let planning = interrupted::planning(asked, here);
            return Ok(Order {
                planning,
                saved: None,
            });
        };
        refuse_other_options(asked)?;
        let saved = read(file)?;
        saved.demand_place(file, global)?;
        Ok(Order {
            planning: saved.planning(),
            saved: Some((file.to_owned(), saved)),
        })
    }

    /// [`Self::make`], and the notes where they were not printed yet. A question shows the plan.
    pub(super) fn noted(
        &self,
        asks: bool,
        global: &Global,
        root: &Root,
        out: &mut Option<Out>,
    ) -> anyhow::Result<Plan> {
        let (plan, _) = self.make(global, root)?;
        if let Some(out) = out.take() {
            change::note_open_files(&plan, root, out);
            let left_out = render::plan::left_out_line(&plan).filter(|_| !asks);
            if let Some(line) = left_out {
                out.note(&format!("note: {line}"));
            }
        }
        Ok(plan)
    }

    /// The plan as it is now; an error where a saved one is another.
    pub(super) fn make(&self, global: &Global, root: &Root) -> anyhow::Result<(Plan, Current)> {
        let made = plan_command::make(&self.planning, global, root);
        let Some((file, saved)) = &self.saved else {
            return made;
        };
        let (plan, current) = made.map_err(|error| saved.cannot_be_made(file, error))?;
        let live = |key| current.live.as_ref().and_then(|live| live.value(key));
        let changed = saved.made.differences(&plan, live);
        if changed.is_empty() {
            return Ok((plan, current));
        }
        let time = &saved.time;
        let mut messages = vec![format!(
            "refusing {file}: the plan of {time} is out of date"
        )];
        if plan.steps.is_empty() && plan.blocked.is_empty() {
            messages.push("nothing of it is left to do".to_owned());
        }
        messages.extend(changed);
        Err(Failure {
            messages,
            ..Failure::new(FAILED, "").unchanged()
        }
        .hint(Hint::cttune(saved.command(file)).to("plan again"))
        .into())
    }
}

impl Saved {
    fn planning(&self) -> Planning {
        let asked = self.asked.clone();
        let has = |switch| asked.options.contains(&switch);
        Planning {
            named: Named::default(),
            desired: DesiredOptions {
                profile: asked.profile,
                no_profile: has(Switch::NoProfile),
                set: asked.set,
            },
            only: asked.only,
            expire: asked.expire.then_some(asked.expire_mode),
            adopt: has(Switch::Adopt),
            allow_overridden: has(Switch::AllowOverridden),
            allow_max_below_count: has(Switch::AllowMaxBelowCount),
            replace: has(Switch::Replace),
        }
    }

    /// Refuses a plan of another machine, image or namespace.
    fn demand_place(&self, file: &str, global: &Global) -> Result<(), Failure> {
        let refused = |whose: String, hint: String| {
            let message = format!("refusing {file}: it is a plan for {whose}");
            Err(Failure::new(FAILED, message).unchanged().hint(hint))
        };
        let root = global.root.as_deref().map(real);
        match (&self.root, &self.netns) {
            (Some(made), _) if root.as_ref() != Some(made) => {
                let made = made.display().to_string();
                let hint = format!("add --root {}", quoted(&made));
                refused(format!("the files below {made}"), hint)
            }
            (_, Some(made)) if global.netns.as_ref() != Some(made) => {
                let hint = format!("add --netns {}", quoted(made));
                refused(format!("the network namespace {made}"), hint)
            }
            (None, _) if root.is_some() => refused(self.host.clone(), "leave --root out".into()),
            (_, None) if global.netns.is_some() => refused(
                "another network namespace".into(),
                "leave --netns out".into(),
            ),
            (None, _) if self.host != host::read_name() => {
                let hint = "plan on this host with --out, and apply that file";
                refused(format!("the host {}", self.host), hint.into())
            }
            _ => Ok(()),
        }
    }

    /// What it was made from is gone, or cannot be used any more.
    fn cannot_be_made(&self, file: &str, error: anyhow::Error) -> Failure {
        let mut failure = Failure::from_error(FAILED, error).unchanged();
        let refused = format!(
            "refusing {file}, planned {}: it cannot be planned now",
            self.time
        );
        failure.messages.insert(0, refused);
        failure.code = FAILED;
        failure
    }

    /// The command that would make it again.
    fn command(&self, file: &str) -> String {
        format!("{} --out {}", self.asked.line("plan"), quoted(file))
    }
}

impl Asked {
    fn of(planning: &Planning, plan: &Plan) -> Self {
        let typed = planning.desired.profile.as_deref();
        let absolute = |name: &str| Some(std::path::absolute(name).ok()?.display().to_string());
        let profile = typed.and_then(|name| match name {
            // The active profile's own file, for one, is not what it names.
            path if profiles::is_path(path) => absolute(path),
            _ => Some(plan.profile.clone()),
        });
        let switches = Switch::ALL.into_iter();
        Asked {
            profile,
            set: planning.desired.set.clone(),
            only: planning.only,
            expire: planning.expire.is_some(),
            expire_mode: planning.expire.flatten(),
            options: switches.filter(|one| one.is_on(planning)).collect(),
        }
    }

    /// The command that asks for it.
    fn line(&self, command: &str) -> String {
        let mut line = command.to_owned();
        let mut add = |is_there: bool, word: &str| {
            if is_there {
                line.push_str(&format!(" {word}"));
            }
        };
        let profile = self.profile.as_deref().unwrap_or_default();
        add(!profile.is_empty(), &quoted(profile));
        for set in &self.set {
            add(true, &format!("--set {}", quoted(set)));
        }
        add(self.only == Some(Only::Live), "--only live");
        add(self.only == Some(Only::Persist), "--only persist");
        for switch in &self.options {
            add(true, switch.name());
        }
        let mode = match self.expire_mode {
            None => "",
            Some(Mode::Clamp) => "=clamp",
            Some(Mode::ReAge) => "=re-age",
            Some(Mode::Delete) => "=delete",
        };
        add(self.expire, &format!("--expire{mode}"));
        line
    }
}

/// Says how to apply what `plan` printed or saved.
pub(super) fn note_next(args: &Args, plan: &Plan, global: &Global, out: Out) {
    let is_ready = !plan.steps.is_empty() && plan.blocked.is_empty();
    let (said, line) = match &args.out {
        Some(file) => {
            let permission = place::permission(&args.planning);
            if !plan.blocked.iter().all(|one| one.is_permitted(permission)) {
                out.note("note: saved, but apply refuses a plan that is blocked: see above");
                return;
            }
            let file = quoted(&file.display().to_string());
            ("note: saved; to apply this plan", format!("apply {file}"))
        }
        None if is_ready && out.is_watched() => {
            let line = Asked::of(&args.planning, plan).line("apply");
            ("next: to apply it", line)
        }
        None => return,
    };
    let command = layout::command(&place::of(global).cttune(&line));
    out.note(&format!("{said}: {command}"));
}

/// `plan --out`.
pub(super) fn write(
    file: &Path,
    asked: &Planning,
    plan: &Plan,
    global: &Global,
) -> anyhow::Result<()> {
    let saved = Saved {
        schema: render::SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        host: host::read_name(),
        netns: global.netns.clone(),
        root: global.root.as_deref().map(real),
        asked: Asked::of(asked, plan),
        profile: plan.profile.clone(),
        made: Made::of(plan),
    };
    let mut text = serde_json::to_string_pretty(&saved)?;
    text.push('\n');
    Ok(profile_edit::replace(file, &text)?)
}

/// Whether a name is one of a saved plan.
fn is_saved(name: &Path) -> bool {
    name.extension().is_some_and(|ending| ending == ENDING)
}

/// Refuses a saved plan where a profile is asked for: it is for apply alone.
pub(super) fn refuse(name: &str) -> Result<(), Failure> {
    if !is_saved(Path::new(name)) {
        return Ok(());
    }
    let line = format!("apply {} --dry-run", quoted(name));
    let hint = Hint::cttune(line).to("see it, and whether it can still be applied");
    let message = format!("{name} is the name of a saved plan, not of a profile");
    Err(Failure::usage(message).hint(hint))
}

/// Refuses a name that apply would take for a profile's.
pub(super) fn demand_ending(file: &Path) -> Result<(), Failure> {
    if is_saved(file) {
        return Ok(());
    }
    let file = file.display();
    let failure = Failure::usage(format!("--out {file}: a saved plan ends in .{ENDING}"));
    Err(failure.hint(format!("write --out {file}.{ENDING}")))
}

fn read(file: &str) -> anyhow::Result<Saved> {
    let make = Hint::cttune(format!("plan PROFILE --out {}", quoted(file))).to("make one");
    let text = profiles::read_saved_plan(Path::new(file)).map_err(|error| match error {
        ProfileError::File(error) => Failure::new(FAILED, error.to_string())
            .hint(error.hint().unwrap_or_else(|| make.clone()))
            .into(),
        error => mistaken::not_found(error),
    })?;
    let refused = |why: String| {
        Failure::new(FAILED, format!("{file} is no saved plan: {why}"))
            .unchanged()
            .hint(make.clone())
    };
    let version: Version =
        serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    if version.schema != render::SCHEMA {
        let why = format!(
            "it has schema {}, this cttune reads schema {}",
            version.schema,
            render::SCHEMA
        );
        return Err(refused(why).into());
    }
    Ok(serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?)
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

fn refuse_other_options(asked: &Planning) -> Result<(), Failure> {
    let given = [
        (!asked.desired.set.is_empty(), "--set"),
        (asked.only.is_some(), "--only"),
        (asked.expire.is_some(), "--expire"),
    ];
    let switches = Switch::ALL.map(|switch| (switch.is_on(asked), switch.name()));
    let mut given = given.into_iter().chain(switches);
    match given.find(|(is_given, _)| *is_given) {
        None => Ok(()),
        Some((_, option)) => Err(
            Failure::usage(format!("{option} cannot go with a saved plan"))
                .hint(format!("give {option} to the plan that is saved")),
        ),
    }
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
