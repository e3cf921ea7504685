//! `cttune check` for Nagios and Icinga: one line, then the numbers that they draw.
//!
//! Follows the plugin development guidelines: `text | 'label'=value[UOM];warn;crit;min;max`.

use super::check::Checked;
use super::failure::Parts;
use crate::assess::{Evidence, Id, Levels, Severity};
use crate::tunable::{Counter, Key, Snapshot, format_count, format_share};

/// The line for what was checked.
pub(crate) fn line(checked: &Checked<'_>, state: Option<Severity>) -> String {
    let word = match state {
        Some(Severity::Critical) => "CRITICAL",
        Some(Severity::Warning) => "WARNING",
        Some(Severity::Info) | None => "OK",
    };
    let mut told = Vec::new();
    told.extend(checked.evidence.machine.live.map(fill));
    told.extend(drift(&checked.evidence));
    let findings = checked.findings.iter();
    let counted = findings.filter(|finding| finding.counts_as(Severity::Warning));
    // The fill is told already.
    let others = counted.filter(|finding| finding.id != Id::TableFill);
    told.extend(others.map(|finding| format!("{} [{}]", finding.message, finding.id.name())));
    let unread = checked
        .evidence
        .rates
        .iter()
        .flat_map(|rates| &rates.unread);
    told.extend(unread.map(|unread| format!("not read: {} ({})", unread.what, unread.why)));
    one_line(&format!("CTTUNE {word} - {}", told.join("; ")))
        + " | "
        + &numbers(&checked.evidence)
        + "\n"
}

/// The line for trouble of any kind.
pub(crate) fn unknown(parts: &Parts<'_>) -> String {
    let mistakes = parts.mistakes.iter().map(|mistake| {
        let (file, line) = (&mistake.source.name, mistake.position().line);
        format!("{file}:{line}: {}", mistake.title)
    });
    let messages = parts.messages.iter().cloned();
    let hint = parts.hint.iter().map(|hint| format!("hint: {hint}"));
    let told: Vec<String> = mistakes.chain(messages).chain(hint).collect();
    one_line(&format!("CTTUNE UNKNOWN - {}", told.join("; "))) + "\n"
}

/// Nagios takes what follows a bar for numbers, and drops what follows a line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "/")
}

fn fill(live: &Snapshot) -> String {
    let entries = live.count.map_or_else(|| "?".to_owned(), format_count);
    match (live.value(Key::Max), live.fill()) {
        (Some(max), Some(fill)) => {
            format!(
                "{entries} of {} entries ({})",
                format_count(max),
                format_share(fill)
            )
        }
        _ => format!("{entries} entries, no limit"),
    }
}

fn drift(evidence: &Evidence<'_>) -> Option<String> {
    let name = &evidence.desired?.name;
    let off = drifted(evidence);
    Some(match off.as_slice() {
        [] => format!("{name} holds"),
        keys => format!(
            "{} of {} settings of {name} differ: {}",
            keys.len(),
            evidence.comparison.settings.len(),
            keys.join(", ")
        ),
    })
}

fn drifted(evidence: &Evidence<'_>) -> Vec<String> {
    let settings = evidence.comparison.settings.iter();
    let off = settings.filter(|setting| evidence.comparison.is_drift(setting));
    off.map(|setting| setting.key.name()).collect()
}

fn numbers(evidence: &Evidence<'_>) -> String {
    let levels = evidence.levels;
    let mut numbers = Vec::new();
    if let Some(live) = evidence.machine.live {
        numbers.extend(entries(live, levels));
        numbers.extend(live.fill().map(|fill| {
            // As they were typed: 29 % is 0.29, and 100 times that is not 29.
            let percent = |share: f64| (share * 1e12).round() / 1e10;
            let (warning, critical) = (percent(levels.warning), percent(levels.critical));
            // Truncated: 100 % is said only of what is full.
            let fill = (fill * 10_000.0).floor() / 100.0;
            format!("'fill'={fill}%;{warning};{critical};0;100")
        }));
    }
    numbers.extend(Counter::ALL.into_iter().filter_map(|counter| {
        let total = evidence.rates?.total(counter)?;
        Some(format!("'{}'={total}c", counter.name()))
    }));
    if evidence.desired.is_some() {
        numbers.push(format!("'drift'={};;;0", drifted(evidence).len()));
    }
    numbers.join(" ")
}

fn entries(live: &Snapshot, levels: Levels) -> Option<String> {
    let count = live.count?;
    let Some(max) = live.value(Key::Max).filter(|max| *max > 0) else {
        return Some(format!("'entries'={count};;;0"));
    };
    #[allow(clippy::cast_precision_loss)] // below 2^31
    let at = |share: f64| (share * max as f64).round();
    let (warning, critical) = (at(levels.warning), at(levels.critical));
    Some(format!("'entries'={count};{warning};{critical};0;{max}"))
}

#[cfg(test)]
mod tests {
    use super::super::metrics::example;
    use super::*;
    use crate::assess::Finding;
    use crate::diagnostic::Place;
    use crate::plan::{Comparison, Machine};
    use crate::tunable::{Conntrack, Host};

    fn finding(id: Id, accepted: bool) -> Finding {
        Finding {
            id,
            severity: Severity::Warning,
            message: format!("{} is | bad\nindeed", id.name()),
            hint: "".into(),
            accepted: accepted.then(|| "it is fine".to_owned()),
        }
    }

    fn line_for(count: i64, max: i64, findings: &[Finding]) -> String {
        let (live, rates, _) = example::table(count, max);
        let host = Host {
            cpus: 1,
            memory: 1 << 30,
            conntrack: Conntrack::BuiltIn,
        };
        let machine = Machine {
            host: &host,
            live: Some(&live),
            files: None,
        };
        let evidence = Evidence {
            machine,
            levels: Levels::default(),
            rates: Some(&rates),
            deep: None,
            namespaces: None,
            comparison: &Comparison::without_profile(&machine),
            blocked: &[],
            desired: None,
        };
        let checked = Checked {
            host: "edge",
            evidence,
            findings,
            plan: &"".into(),
            place: &Place::default(),
            verbose: false,
        };
        line(&checked, Some(Severity::Warning))
    }

    #[test]
    fn findings_that_count_follow_the_fill_and_neither_bar_nor_line_comes_from_them() {
        let findings = [
            finding(Id::TableFill, false),
            finding(Id::EarlyDrops, false),
            finding(Id::HashLoad, true),
        ];
        assert_eq!(
            line_for(99_999, 100_000, &findings),
            "CTTUNE WARNING - 99,999 of 100,000 entries (100.0 %); early-drops is / bad indeed \
             [early-drops]; not read: the kernel log (no right to) | \
             'entries'=99999;80000;90000;0;100000 'fill'=99.99%;80;90;0;100 'drop'=11c \
             'early_drop'=3c 'invalid'=1c\n"
        );
    }

    #[test]
    fn a_table_without_a_limit_has_no_fill() {
        let line = line_for(5, 0, &[]);
        assert!(line.contains(" - 5 entries, no limit; "), "{line}");
        assert!(line.contains(" | 'entries'=5;;;0 'drop'=11c "), "{line}");
    }

    #[test]
    fn trouble_is_one_line_with_its_advice() {
        let parts = Parts {
            messages: vec!["cannot read\n it | all".to_owned(), "nor that".to_owned()],
            hint: Some("run it as root".to_owned()),
            mistakes: &[],
        };
        assert_eq!(
            unknown(&parts),
            "CTTUNE UNKNOWN - cannot read it / all; nor that; hint: run it as root\n"
        );
    }
}
