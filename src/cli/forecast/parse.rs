//! What was typed behind `cttune forecast`.

use super::read::Asked;
use crate::assess::demands;
use crate::cli::args::Forecast;
use crate::cli::expire::was;
use crate::cli::failure::Failure;
use crate::cli::{mistaken, select};
use crate::flow::forecast::{MOST, Question};
use crate::flow::{Extent, Selection};
use crate::profile::parse_timeout;
use crate::tunable::{Key, Snapshot};

/// Candidates for established TCP, in seconds.
const ESTABLISHED: [u32; 7] = [300, 600, 1800, 3600, 7440, 28_800, 86_400];
/// Times to look ahead, in seconds.
const AFTER: [u32; 10] = [
    60, 600, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 432_000,
];
/// Times to look ahead that are allowed at most.
const TIMES: usize = 100;

/// What is asked about a table whose sysctls are these.
pub(super) fn asked(args: &Forecast, live: &Snapshot) -> anyhow::Result<Asked> {
    let key = match &args.key {
        Some(name) => Key::find(name).map_err(mistaken::unknown_key)?,
        None => Key::TcpTimeoutEstablished,
    };
    let mut asked = usual(key, live)?;
    let question = &mut asked.question;
    if !args.timeouts.is_empty() {
        question.candidates = times("--timeouts", &args.timeouts, MOST)?;
    }
    if !args.after.is_empty() {
        question.after = times("--after", &args.after, TIMES)?;
    }
    if let Some(to) = &args.to {
        question.to = time("--to", to)?;
    }
    question.selection = Selection {
        matching: select::terms("--match", &args.matching)?,
        keep: select::terms("--keep", &args.keep)?,
    };
    let selection = &question.selection;
    if !selection.matching.is_empty() || !selection.keep.is_empty() {
        question.max = None;
    }
    asked.extent = match (args.exact, args.sample) {
        (true, _) => Some(Extent::Exact),
        (_, sample) => sample.map(Extent::Sample),
    };
    asked.was = args.was.as_deref().map(was).transpose()?;
    Ok(asked)
}

/// What is asked about a key where nothing is typed.
pub(in crate::cli) fn usual(key: Key, live: &Snapshot) -> anyhow::Result<Asked> {
    let timeout = live.value(key).filter(|_| key.is_time());
    let timeout = timeout.and_then(|seconds| u32::try_from(seconds).ok());
    let Some(timeout) = timeout.filter(|seconds| *seconds > 0) else {
        return Err(
            Failure::usage(format!("{key} is no timeout of this kernel"))
                .hint("name one, such as tcp_timeout_established or udp_timeout_stream")
                .into(),
        );
    };
    let demanded = demands(key)
        .first()
        .and_then(|(least, _)| u32::try_from(*least).ok());
    let candidates = if key == Key::TcpTimeoutEstablished {
        ESTABLISHED.to_vec()
    } else {
        let parts = [timeout / 8, timeout / 4, timeout / 2, timeout, timeout * 2];
        let mut candidates: Vec<u32> = parts.into_iter().chain(demanded).collect();
        candidates.retain(|seconds| *seconds > 0);
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    };
    let max = live.value(Key::Max).and_then(|max| u64::try_from(max).ok());
    Ok(Asked {
        question: Question {
            key,
            timeout,
            candidates,
            after: AFTER.to_vec(),
            to: demanded.map_or(timeout, |demanded| demanded.min(timeout)),
            selection: Selection::default(),
            max: max.filter(|max| *max > 0),
        },
        extent: None,
        was: None,
    })
}

/// Reads a list of times, sorted and each once.
fn times(option: &str, texts: &[String], most: usize) -> Result<Vec<u32>, Failure> {
    let times: Result<Vec<u32>, Failure> = texts.iter().map(|text| time(option, text)).collect();
    let mut times = times?;
    times.sort_unstable();
    times.dedup();
    if times.len() > most {
        return Err(Failure::usage(format!(
            "{option} takes {most} times at most"
        )));
    }
    Ok(times)
}

fn time(option: &str, text: &str) -> Result<u32, Failure> {
    let seconds = parse_timeout(text.trim())
        .and_then(|seconds| u32::try_from(seconds).map_err(|_| "that is too long".to_owned()));
    seconds.map_err(|wrong| {
        Failure::usage(format!("{option} {text}: {wrong}")).hint("write 90s, 30m, 2h4m or 5d")
    })
}
