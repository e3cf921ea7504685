//! The table of expectations: connections that helpers (SIP, FTP, …) have announced.

use super::kernel_log::{KernelLog, Lines};
use super::{Evidence, Finding, Id, Levels, Severity};
use crate::diagnostic::Hint;
use crate::tunable::{Key, Snapshot, format_count, format_share};

/// Their number takes a request to netlink, which needs root; the log tells of a full table without it.
pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let number = evidence.rates.and_then(|rates| rates.expectations);
    let log = evidence.rates.and_then(|rates| rates.log.as_ref());
    let lines = log.and_then(KernelLog::expectations);
    judge(number, lines, evidence.machine.live?, evidence.levels)
}

fn judge(
    number: Option<u64>,
    log: Option<Lines>,
    live: &Snapshot,
    levels: Levels,
) -> Option<Finding> {
    let max = live.value(Key::ExpectMax).filter(|max| *max > 0);
    let fill = number.zip(max).map(|(number, max)| {
        #[expect(clippy::cast_precision_loss)] // below 2^31
        let fill = number as f64 / max as f64;
        (number, max, fill)
    });
    // The log does not say whose table was full: it is not told of a namespace without any.
    let log = log.filter(|_| fill.is_none_or(|(number, _, _)| number > 0));
    let filled = fill.filter(|(number, ..)| *number > 0);
    let severity = filled.and_then(|(_, _, fill)| levels.severity(fill));
    let severity = severity.max(log.map(|_| Severity::Info))?;
    let mut message = match fill {
        Some((number, max, fill)) => format!(
            "the table of expectations holds {} of {} ({}): when it is full, helpers such as SIP \
             and FTP drop the packets that announce a connection",
            format_count(number),
            format_count(max),
            format_share(fill)
        ),
        None => "the table of expectations was full: helpers such as SIP and FTP dropped packets"
            .to_owned(),
    };
    if let Some(lines) = log {
        let last = lines.last;
        message.push_str(&format!(
            "; the kernel logged that such a table was full, last at {last:.0}"
        ));
    }
    let double = max.map_or(8192, |max| max.saturating_mul(2));
    Some(Finding::new(
        Id::ExpectationsFull,
        severity,
        message,
        Hint::command("conntrack -L expect").to("see them").and(
            // It is set for all namespaces, and only the first one may set it.
            Hint::on_host(format!("cttune apply --set expect_max={double}")).to("a larger table"),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunable::{Access, Reading};

    fn found(number: Option<u64>, is_logged: bool) -> Option<Severity> {
        let time = "2026-01-01T00:00:03Z".parse().unwrap();
        let lines = Lines {
            number: 1,
            first: time,
            last: time,
        };
        let access = Access::ReadOnly;
        let reading = Reading::Value { value: 100, access };
        let live = Snapshot::new([(Key::ExpectMax, reading)], Some(5));
        judge(number, is_logged.then_some(lines), &live, Levels::default())
            .map(|finding| finding.severity)
    }

    #[test]
    fn the_table_of_expectations_is_judged_like_that_of_flows() {
        for (number, is_logged, severity) in [
            (Some(0), false, None),
            (Some(79), false, None),
            (Some(80), false, Some(Severity::Warning)),
            (Some(100), true, Some(Severity::Critical)),
            (Some(0), true, None),
            (Some(1), true, Some(Severity::Info)),
            (None, true, Some(Severity::Info)),
            (None, false, None),
        ] {
            assert_eq!(found(number, is_logged), severity, "{number:?} {is_logged}");
        }
    }
}
