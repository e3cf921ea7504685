//! `cttune guard`: keeps the table below its high mark, as a service or in a terminal.

mod parse;
mod service;

use std::time::{Duration, Instant};

use self::parse::parameters;
use self::service::{Service, ended_by};
use super::args::{Global, Guard as Args};
use super::failure::{DIFFERS, FAILED, Failure, LEFT};
use super::flows::{past, refuse_blind};
use super::out::Out;
use super::{change, place};
use crate::change::{Here, Lock, LockError, Signal, Signals};
use crate::guard::{Guard, GuardError, lock_name};
use crate::render::guard as render;

/// How long `--once` watches flows, if none may end: longer than the shortest minimum idle times.
const ONCE: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    refuse_blind("guard", global, false)?;
    let root = place::root(global)?;
    let here = change::here(global)?;
    let first = parameters(args, &root)?;
    let _only = only_one(args, &here)?;
    let signals = Signals::catch()?;
    let mut guard = Guard::prepare(first.clone(), past(&root), args.dry_run).map_err(failed)?;
    let begun = Instant::now();
    let mut service = Service::start(&first, args, out);
    loop {
        let stop = || ended_by(&signals);
        let mut told = |flow: &str| {
            if args.dry_run || out.verbose {
                out.progress(&render::flow(flow, args.dry_run));
            }
        };
        let event = match guard.step(&here, &stop, &mut told) {
            Ok(event) => event,
            Err(_) if stop().is_some() => break,
            Err(error) => return Err(failed(error).into()),
        };
        service.tell(&event);
        if args.once && (!event.is_helpless || begun.elapsed() >= ONCE) {
            let is_above = event.fill.count >= event.high && !args.dry_run;
            return Ok(if is_above { DIFFERS } else { 0 });
        }
        if !service.wait(event.next, &signals, &guard) {
            break;
        }
        if signals.take(Signal::HangUp) {
            let renewed = parameters(args, &root)?;
            service.reloads(&renewed);
            guard.renew(renewed).map_err(failed)?;
        }
    }
    service.end();
    Ok(0)
}

fn failed(error: GuardError) -> Failure {
    Failure::of(FAILED, &error)
}

/// One guard for each network namespace.
fn only_one(args: &Args, here: &Here) -> anyhow::Result<Option<Lock>> {
    if args.dry_run {
        return Ok(None);
    }
    match Lock::take_named(here.root(), &lock_name()) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held { holder }) => {
            let message = format!("another guard is at work here: {holder}");
            Err(Failure::new(LEFT, message).into())
        }
        Err(error) => Err(Failure::of(FAILED, &error).into()),
    }
}
