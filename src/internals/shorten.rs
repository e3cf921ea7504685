//! `cttune expire`, step by step.

use std::collections::BTreeMap;

use crate::change::expire::Expiry;
use crate::change::flows::{FlowContext, Past};
use crate::profile::{ExpireMode, ExpireParameters, ExpireSettings};

#[derive(Debug)]
pub struct Expire(Expiry);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Picked to be changed.
    pub selected: u64,
    pub clamped: u64,
    pub deleted: u64,
    /// Refused by the kernel.
    pub failed: u64,
    /// Too little is known of them.
    pub unknown: u64,
    /// Left alone, by the reason's name in JSON.
    pub kept_why: BTreeMap<&'static str, u64>,
    /// Why the run ended early.
    pub broken_off: Option<String>,
}

impl Expire {
    /// Reads the timeouts. `mode` is as `--mode` takes it; `was` is the timeout before, in seconds, and until when it held, in
    /// seconds since 1970; `settle` the seconds between the two looks.
    pub fn prepare(
        mode: &str,
        was: Option<(i64, Option<i64>)>,
        settle: Option<i64>,
    ) -> Result<Self, String> {
        let mut modes = ExpireMode::ALL.into_iter();
        let parameters = ExpireParameters::from(ExpireSettings {
            mode: modes.find(|known| known.name() == mode),
            trust_history: Some(was.is_some()),
            settle,
            ..ExpireSettings::default()
        });
        let past = Past {
            was,
            ..Past::default()
        };
        let expiry = Expiry::prepare(&parameters, &past).map_err(|error| error.to_string())?;
        Ok(Expire(expiry))
    }

    /// Takes the first look, if the mode needs two, and waits.
    pub fn look(&mut self) -> Result<(), String> {
        if !self.0.needs_sample() {
            return Ok(());
        }
        let mut context = FlowContext {
            stop: &|| None,
            progress: &mut |_| {},
            threads: None,
        };
        self.0
            .sample(&mut context)
            .map_err(|error| error.to_string())
    }

    /// Acts, with so many threads or as many as cores are idle; calls `after_chunk` after each chunk
    /// with how many flows of this pass were looked at.
    pub fn run(&self, threads: Option<usize>, mut after_chunk: impl FnMut(u64)) -> Counts {
        let expired = self.0.run(&mut FlowContext {
            stop: &|| None,
            progress: &mut after_chunk,
            threads,
        });
        let tally = expired.tally;
        Counts {
            selected: tally.selected(),
            clamped: tally.clamped,
            deleted: tally.deleted,
            failed: tally.failed,
            unknown: tally.unknown,
            kept_why: tally
                .kept_why()
                .map(|(why, flows)| (why.name(), flows))
                .collect(),
            broken_off: expired.broken_off.map(|error| error.to_string()),
        }
    }
}
