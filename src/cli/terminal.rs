//! What a session tells while it works, on the terminal.

use std::time::Duration;

use super::change::duration;
use super::expire::{FlowProgress, past_of, tell_pace};
use super::failure::Failure;
use super::out::Out;
use crate::change::flows::Past;
use crate::change::{ChangeError, Console, Here, Session};
use crate::plan::{Blocked, Plan, Report, Step};
use crate::service::Table;
use crate::trial::{TrialError, passes, prove};

/// Tells what a session does.
pub(super) struct Terminal {
    here: Here,
    out: Out,
    flows: FlowProgress,
}

impl Terminal {
    pub(super) fn new(here: &Here, out: Out) -> Self {
        Terminal {
            here: here.clone(),
            out,
            flows: FlowProgress::new(out),
        }
    }

    /// Opens a session that waits for another cttune as long as `--wait` says.
    pub(super) fn session(&self, wait: Option<&str>) -> anyhow::Result<Session<'_>> {
        Session::open(self.here.clone(), wait_time(wait)?, self)
    }
}

/// What `--wait` says.
pub(super) fn wait_time(wait: Option<&str>) -> Result<Duration, Failure> {
    let wait = wait.map(|text| duration("--wait", text)).transpose()?;
    Ok(wait.unwrap_or_default())
}

/// Why a table was not proved, and what to do about it.
fn unproved(error: TrialError) -> ChangeError {
    let tried =
        |error: &TrialError| ChangeError::new(format!("tried in a private namespace: {error}"));
    match error {
        TrialError::LifelineDropped(add) => {
            let blocked = Blocked::LifelineDropped { add };
            ChangeError::new(blocked.to_string()).hint(blocked.hint())
        }
        TrialError::NotInstalled(_) => tried(&error)
            .hint("the trial needs ip and nft; without [service] and [lifeline] there is none"),
        error => tried(&error),
    }
}

impl Console for Terminal {
    fn start(&self, plan: &Plan) {
        tell_pace(plan, self.out);
    }

    fn step(&self, step: &Step, report: &Report) {
        self.flows.step(step, report);
    }

    fn flows(&self, read: u64) {
        self.flows.at(read);
    }

    fn note(&self, text: &str) {
        self.out.note(text);
    }

    fn prove(&self, table: &Table) -> Result<(), ChangeError> {
        let untried = prove(table).map_err(unproved)?;
        if !untried.is_empty() {
            let untried = untried.join("`, `");
            self.note(&format!(
                "note: not tried, as no router passes such packets: `{untried}`"
            ));
        }
        passes(table).map_err(unproved)
    }

    fn past(&self, plan: &Plan) -> Past {
        past_of(plan, self.here.root())
    }
}
