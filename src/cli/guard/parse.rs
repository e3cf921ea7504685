//! The parameters of the guard: the command line over the profile over the defaults.

use crate::cli::args::{DesiredOptions, Guard as Args};
use crate::cli::failure::Failure;
use crate::cli::flows::parse_rate;
use crate::cli::{load, select};
use crate::files::Root;
use crate::flow::guard::{GuardParameters, Mark};
use crate::profile::{GuardSettings, parse_duration};

/// What `[guard]` of the profile says, and the command line over it.
pub(super) fn parameters(args: &Args, root: &Root) -> anyhow::Result<GuardParameters> {
    let options = DesiredOptions {
        profile: args.name.clone().or_else(|| args.profile.clone()),
        ..DesiredOptions::default()
    };
    let desired = load::desired(&options, root)?;
    let wrong = |option: &str, why: String| Failure::usage(format!("{option}: {why}"));
    let mark = |option: &str, text: &Option<String>| {
        let parse = |text: &String| {
            let why = || format!("`{text}` is neither a percentage nor a number of flows");
            Mark::parse(text).ok_or_else(|| wrong(option, why()).hint("write 85%"))
        };
        text.as_ref().map(parse).transpose()
    };
    let rate = args.rate.as_deref().map(parse_rate).transpose()?;
    let mut typed = GuardSettings {
        high: mark("--high", &args.high)?,
        low: mark("--low", &args.low)?,
        rate: rate.map(i64::from),
        trust_history: args.trust_history.then_some(true),
        ..GuardSettings::default()
    };
    if let Some(text) = &args.poll {
        let seconds = parse_duration(text).map_err(|why| wrong("--poll", why))?;
        typed.poll = Some(seconds);
    }
    if let Some(text) = &args.memory {
        let set = typed.set_memory(text);
        set.map_err(|why| wrong("--memory", why))?;
    }
    for text in &args.min_idle {
        let set = typed.set_min_idle(text);
        set.map_err(|why| wrong("--min-idle", why))?;
    }
    if !args.keep.is_empty() {
        typed.keep = Some(select::terms("--keep", &args.keep)?);
    }
    let settings = typed.over(desired.map(|desired| desired.guard).unwrap_or_default());
    Ok(settings.parameters().map_err(Failure::usage)?)
}
