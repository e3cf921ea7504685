//! What was typed behind `cttune expire`.

use crate::cli::args::{Expire, Mode};
use crate::cli::failure::Failure;
use crate::cli::{change, flows, select};
use crate::profile::{ExpireMode, ExpireParameters, ExpireSettings, parse_timeout};

/// The command line's parameters. The error lists every wrong selection.
pub(super) fn parameters(args: &Expire) -> anyhow::Result<ExpireParameters> {
    let time = |option: &str, text: &Option<String>| -> Result<Option<i64>, Failure> {
        let read = match option {
            "--settle" => change::duration,
            _ => change::long_duration,
        };
        let time = text.as_deref().map(|text| read(option, text));
        let seconds = time.transpose()?.map(|time| time.as_secs());
        Ok(seconds.and_then(|seconds| i64::try_from(seconds).ok()))
    };
    let counts_idle_time = args.mode != Mode::Clamp;
    if !counts_idle_time && (args.observe.is_some() || args.trust_history) {
        let message = "--observe and --trust-history go with --mode re-age or delete";
        return Err(Failure::usage(message)
            .hint("clamp needs no idle time: it does what the next packet would do")
            .into());
    }
    Ok(ExpireSettings {
        mode: Some(mode(args.mode)),
        matching: Some(select::terms("--match", &args.matching)?),
        keep: Some(select::terms("--keep", &args.changing.keep)?),
        grace: time("--grace", &args.grace)?,
        spread: time("--spread", &args.spread)?,
        observe: time("--observe", &args.observe)?,
        trust_history: Some(args.trust_history),
        settle: time("--settle", &args.settle)?,
        max_flows: args.changing.max_flows.map(i64::from),
        rate: flows::rate(&args.changing)?.map(i64::from),
    }
    .into())
}

/// The mode that was typed.
pub(in crate::cli) fn mode(mode: Mode) -> ExpireMode {
    match mode {
        Mode::Clamp => ExpireMode::Clamp,
        Mode::ReAge => ExpireMode::ReAge,
        Mode::Delete => ExpireMode::Delete,
    }
}

/// `5d`, `5d@2h` (until two hours ago) or `5d@2026-11-23T12:00:00Z`.
pub(in crate::cli) fn was(text: &str) -> Result<(i64, Option<i64>), Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("--was {text}: {why}"))
            .hint("write 5d, 5d@2h (until two hours ago) or 5d@2026-11-23T12:00:00Z")
    };
    let (value, since) = match text.split_once('@') {
        Some((value, since)) => (value, Some(since)),
        None => (text, None),
    };
    let value = parse_timeout(value).map_err(wrong)?;
    let Some(since) = since else {
        return Ok((value, None));
    };
    let now = jiff::Timestamp::now().as_second();
    let at = match since.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_second(),
        Err(_) => now - parse_timeout(since).map_err(wrong)?,
    };
    if at > now {
        return Err(wrong("that is still to come".to_owned()));
    }
    Ok((value, Some(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::USAGE;

    #[test]
    fn what_it_was_may_say_until_when() {
        let now = jiff::Timestamp::now().as_second();
        assert_eq!(was("5d").unwrap(), (432_000, None));
        let (value, at) = was("10m@2h").unwrap();
        assert_eq!(value, 600);
        assert!((now - 7200..=now - 7190).contains(&at.unwrap()));
        let exact = was("5d@2026-01-01T00:00:00Z").unwrap();
        assert_eq!(exact, (432_000, Some(1_767_225_600)));
        for text in ["", "x", "5d@", "5d@yesterday", "5d@2999-01-01T00:00:00Z"] {
            assert_eq!(was(text).unwrap_err().code, USAGE, "{text}");
        }
    }
}
