//! `cttune guard`: keeps the table below its high mark, as a service or in a terminal.

mod alone;
mod install;
mod journal;
mod parse;
mod service;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use self::alone::{is_gone, only_one};
use self::parse::parameters;
use self::service::{Service, ended_by};
use super::args::{Global, Guard as Args};
use super::failure::{DIFFERS, FAILED, Failure};
use super::flows::{past, refuse_blind};
use super::out::Out;
use super::{change, place};
use crate::change::{Signal, Signals};
use crate::diagnostic::told;
use crate::flow::guard::What;
use crate::guard::{Guard, GuardError};
use crate::render::guard as render;

/// How long `--once` watches flows, if none may end: longer than the shortest minimum idle times.
const ONCE: Duration = Duration::from_secs(5);

/// For the pass at the end of that.
const GRACE: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    refuse_blind("guard", global, false)?;
    if args.installing.install {
        return install::run(args, global, out);
    }
    let root = place::root(global)?;
    let here = change::here(global)?;
    let first = parameters(args, &root)?;
    let _only = only_one(args, &here)?;
    let signals = Signals::catch()?;
    let patience = if args.once { ONCE } else { Duration::ZERO };
    let guard = Guard::prepare(first, past(&root), args.dry_run, patience);
    let mut guard = guard.map_err(failed)?;
    let begun = Instant::now();
    let service = RefCell::new(Service::start(&guard, args, out));
    let stop = || {
        service.borrow_mut().show_life();
        ended_by(&signals)
    };
    loop {
        let mut name = |flow: &str| {
            if args.dry_run || out.verbose {
                out.progress(&render::flow(flow, args.dry_run));
            }
        };
        let event = match guard.step(&here, &stop, &mut name) {
            Ok(event) => event,
            Err(_) if stop().is_some() => break,
            Err(error) => return Err(failed(error).into()),
        };
        let mut service = service.borrow_mut();
        let is_done = event.fill.count < event.high || matches!(event.what, What::Ended { .. });
        let is_last = args.once && (is_done || begun.elapsed() >= ONCE + GRACE);
        service.tell(&event, is_last);
        if is_last {
            let is_above = event.fill.count >= event.high && !args.dry_run;
            return Ok(if is_above { DIFFERS } else { 0 });
        }
        if !service.wait(event.next, &signals, &guard) {
            break;
        }
        if is_gone(global) {
            out.note("the network namespace is gone: the guard ends");
            break;
        }
        if signals.take(Signal::HangUp) {
            match parameters(args, &root) {
                Ok(renewed) => {
                    guard.renew(renewed, past(&root)).map_err(failed)?;
                    service.reloads(&guard);
                }
                // A mistake in the profile leaves no table without its guard.
                Err(error) => out.note(&format!("not reloaded, as before: {}", told(&error))),
            }
        }
    }
    service.borrow().end();
    Ok(0)
}

fn failed(error: GuardError) -> Failure {
    Failure::of(FAILED, &error)
}
