//! `cttune report`: everything that cttune can tell of a host, in one text or HTML file.

mod asked;

pub(super) use asked::check_of;

use serde_json::{Value, json};

use super::args::{Global, Report};
use super::failure::Failure;
use super::out::Out;
use super::{check, forecast, history, place, profile_edit, top};
use crate::assess::demands;
use crate::diagnostic::{Mask, told};
use crate::flow::forecast::Forecast;
use crate::kernel::host;
use crate::render;
use crate::render::forecast::Shown;
use crate::render::report::Output;
use crate::render::shape::{Schema, value};
use crate::tunable::Key;

pub(super) fn run(args: &Report, global: &Global, out: Out) -> anyhow::Result<u8> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with report")
            .hint("an image has no running kernel, and so no table")
            .into());
    }
    if let Some(file) = &args.html {
        forecast::rehearse(file)?;
    }
    let read = read_forecast(global, out);
    let demands = demands(Key::TcpTimeoutEstablished);
    let shown = read.as_ref().ok().map(|forecast| Shown {
        forecast,
        demands: &demands,
        is_selection: false,
        draws: false,
    });
    let told_forecast = match (&read, &shown) {
        (_, Some(shown)) => value(&render::forecast::json(shown)),
        (Err(error), _) => unread(error),
        (Ok(_), None) => Value::Null,
    };
    let mut report = value(&Output {
        schema: Schema,
        host: place::name(global),
        kernel: host::read_release(),
        time: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        version: env!("CARGO_PKG_VERSION"),
        masked: args.mask,
        check: check::object(&check_of(&args.desired), global, out)?,
        top: or_unread(top::object(out)),
        forecast: told_forecast,
        plan: or_unread(asked::plan(args, global)),
        history: or_unread(history::object(global)),
    });
    if args.mask {
        Mask::new(&host::read_name()).value(&mut report);
    }
    match &args.html {
        Some(file) => {
            forecast::write(file, &render::report::html(&report, shown.as_ref()))?;
            let text = || format!("report written to {}\n", file.display());
            out.result(text, || &report);
        }
        None => out.result(|| render::report::text(&report), || &report),
    }
    Ok(0)
}

/// A part of the report, or why it is not there.
fn or_unread(part: anyhow::Result<Value>) -> Value {
    part.unwrap_or_else(|error| unread(&error))
}

fn unread(error: &anyhow::Error) -> Value {
    json!({ "unread": told(error) })
}

fn read_forecast(global: &Global, out: Out) -> anyhow::Result<Forecast> {
    let live = profile_edit::loaded("forecast")?;
    let asked = forecast::usual(Key::TcpTimeoutEstablished, &live)?;
    forecast::read::forecast(&asked, &live, None, global, out)
}
