//! `cttune apply`: the plan, a question, the same plan applied.

use super::args::{Apply, Global};
use super::change;
use super::failure::{Failure, declined};
use super::forecast::foreseen;
use super::out::{self, Out};
use super::prompt::{self, Answer};
use super::saved::Order;
use super::terminal::Terminal;
use super::{deadline, pending, place, plan as plan_command, services};
use crate::change::{Applied, ChangeError, Consent, Request, Session};
use crate::plan::Plan;
use crate::render::{self, outcome::Told};

pub(super) fn run(args: &Apply, global: &Global, out: Out) -> anyhow::Result<u8> {
    let here = change::here(global)?;
    let order = Order::of(&args.planning, global, &here)?;
    if args.dry_run {
        let (mut plan, current) = order.make(global, here.root())?;
        services::try_lifeline(&mut plan, out);
        let code = plan_command::show(&plan, &current, &order.planning, global, out)?;
        change::note_open_files(&plan, here.root(), out);
        return Ok(code);
    }
    let within = args.confirm_within.as_deref();
    let within = within
        .map(|text| change::long_duration("--confirm-within", text))
        .transpose()?;
    if within.is_some() && global.root.is_some() {
        return Err(Failure::usage("--confirm-within cannot go with --root").into());
    }
    let terminal = Terminal::new(&here, out);
    let session = terminal.session(args.wait.as_deref())?;
    let name = place::name(global);
    let mut once = Some(out);
    let mut plan = || order.noted(!args.yes, global, here.root(), &mut once);
    let mut choose = |plan| choose(plan, &name, &session, global, out);
    let applied = session.apply(Request {
        plan: &mut plan,
        permission: place::permission(&order.planning),
        within,
        consent: match (args.yes, out::is_interactive()) {
            (true, _) => Consent::Given,
            (false, true) => Consent::Ask(&mut choose),
            (false, false) => Consent::Missing,
        },
    });
    let place = place::of(global);
    match applied.map_err(change::told)? {
        Applied::Nothing(plan) => {
            let told = Told::nothing(&plan);
            let text = || render::plan::text(&plan, &name, "", &place);
            out.result(text, || render::outcome::json(told));
            Ok(0)
        }
        Applied::Pending(entry, outcome) => {
            deadline::tell(&entry, &outcome, &place, out);
            let id = entry.record.id;
            if !args.yes && out::is_interactive() {
                return pending::ask(id, &session, global, out);
            }
            change::end(&outcome, id, args.detailed_exitcode)
        }
        Applied::Done(done) => {
            let warnings = render::plan::warnings_beside_steps(&done.plan);
            for warning in warnings.iter().filter(|_| args.yes) {
                out.note(&format!("note: {warning}"));
            }
            let applied = render::outcome::applied;
            change::show(&done, applied, &place, args.detailed_exitcode, out)
        }
    }
}

/// The steps that the operator chooses; a no, or a signal, ends the command before any change.
fn choose(
    plan: Plan,
    host: &str,
    session: &Session<'_>,
    global: &Global,
    out: Out,
) -> anyhow::Result<Plan> {
    let steps = render::plan::steps(&plan, host, &place::of(global));
    out.question(&(steps + &foreseen(&plan, global, out).text()));
    match prompt::ask(&plan, session.signals(), out)? {
        Answer::Yes => Ok(plan),
        Answer::Steps(chosen) => Ok(plan.choose(&chosen)),
        Answer::No => Err(declined().into()),
        Answer::Stopped(signal) => Err(ChangeError::stopped(signal).into()),
    }
}
