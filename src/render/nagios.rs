//! `cttune check` for Nagios and Icinga: one short line with the numbers that they draw, then the
//! details.
//!
//! Follows the plugin development guidelines: `text | 'label'=value[UOM];warn;crit;min;max`, then
//! long output. Old NRPE cuts long answers, so the first line says everything in short.

use super::check::{Checked, drift, pending_line};
use super::failure::Parts;
use crate::assess::{Evidence, Finding, Id, Levels, Severity};
use crate::tunable::{Counter, Key, Snapshot, format_count, format_share, plural};

/// Bytes of the first line before its numbers.
const SHORT: usize = 200;

/// The answer for what was checked.
pub(crate) fn text(checked: &Checked<'_>, state: Option<Severity>) -> String {
    let word = match state {
        Some(Severity::Critical) => "CRITICAL",
        Some(Severity::Warning) => "WARNING",
        Some(Severity::Info) | None => "OK",
    };
    let short = one_line(&format!("CTTUNE {word} - {}", short(checked).join("; ")));
    let mut text = format!("{} | {}\n", cut(&short, SHORT), numbers(&checked.evidence));
    for line in details(checked) {
        text.push_str(&one_line(&line));
        text.push('\n');
    }
    text
}

/// The line for trouble of any kind.
pub(crate) fn unknown(parts: &Parts<'_>) -> String {
    let text = one_line(&format!("CTTUNE UNKNOWN - {}", trouble(parts).join("; ")));
    let first = cut(&text, SHORT);
    // The whole follows where the first line leaves something out.
    let whole = if first == text {
        String::new()
    } else {
        text + "\n"
    };
    format!("{first}\n{whole}")
}

/// What went wrong, in short parts.
pub(super) fn trouble(parts: &Parts<'_>) -> Vec<String> {
    let mistakes = parts.mistakes.iter().map(|mistake| {
        let (file, line) = (&mistake.source.name, mistake.position().line);
        format!("{file}:{line}: {}", mistake.title)
    });
    let messages = parts.messages.iter().cloned();
    let hint = parts.hint().map(|hint| format!("hint: {hint}"));
    mistakes.chain(messages).chain(hint).collect()
}

/// The fill, the findings by name, and everything else in a few words.
pub(super) fn short(checked: &Checked<'_>) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(checked.evidence.machine.live.map(fill));
    // The line already has the fill.
    let others = counted(checked).filter(|finding| finding.id != Id::TableFill);
    let mut ids: Vec<String> = others.map(|one| format!("[{}]", one.id.name())).collect();
    // Ten lines of a file that do nothing are one thing to look at.
    ids.dedup();
    if !ids.is_empty() {
        told.push(ids.join(" "));
    }
    if let Some(pending) = checked.pending {
        told.push(format!("change {} is pending", pending.id));
    }
    if let Some(guard) = checked.evidence.guard.filter(|guard| guard.runs()) {
        told.push(format!(
            "guard ended {}",
            plural(guard.ended_flows(), "flow")
        ));
    }
    let desired = checked.evidence.desired;
    let set = desired.map(|desired| super::plan::set_text(&desired.overrides));
    let profile = match (drift(checked), desired) {
        (Some((off, of, name)), _) => Some(format!("{off} of {of} settings of {name} differ")),
        (None, Some(desired)) if checked.evidence.comparison.in_line() => {
            Some(format!("{} holds", desired.name))
        }
        // What differs is in a finding.
        (None, Some(desired)) => Some(format!("the settings of {} hold", desired.name)),
        (None, None) => None,
    };
    told.extend(profile.map(|profile| profile + &set.unwrap_or_default()));
    let unread = checked.evidence.unread.iter();
    let unread: Vec<&str> = unread.map(|one| one.source.as_str()).collect();
    if !unread.is_empty() {
        told.push(format!("not read: {}", unread.join(", ")));
    }
    told
}

fn counted<'a>(checked: &Checked<'a>) -> impl Iterator<Item = &'a Finding> {
    let findings = checked.findings.iter();
    findings.filter(|finding| finding.counts_as(Severity::Warning))
}

/// Lines below the first: each finding with its advice, each setting that differs, each source
/// that could not be read.
fn details(checked: &Checked<'_>) -> Vec<String> {
    let mut lines: Vec<String> = counted(checked)
        .map(|one| {
            let hint = one.hint.text(checked.place);
            format!("{}: {} - {hint}", one.id.name(), one.message)
        })
        .collect();
    let pending = checked.pending.iter();
    lines.extend(pending.map(|pending| pending_line(pending, checked.place)));
    let drifted = drifted(&checked.evidence);
    lines.extend(drifted.iter().map(|key| format!("differs: {key}")));
    let unread = checked.evidence.unread.iter();
    lines.extend(unread.map(|one| format!("not read: {} ({})", one.source, one.why)));
    lines
}

/// Nagios takes what follows a bar for numbers.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "/")
}

/// At most so many bytes, cut between two words.
pub(super) fn cut(text: &str, most: usize) -> String {
    const MORE: &str = " ...";
    if text.len() <= most {
        return text.to_owned();
    }
    let room = most - MORE.len();
    let fits = |(at, _): &(usize, &str)| *at <= room;
    let end = text.match_indices(' ').take_while(fits).last();
    // One word that is too long is cut between two characters.
    let boundary = || (0..=room).rfind(|at| text.is_char_boundary(*at));
    let end = end.map(|(at, _)| at).or_else(boundary).unwrap_or(0);
    format!("{}{MORE}", text.get(..end).unwrap_or_default())
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
    if let Some(guard) = evidence.guard {
        numbers.push(format!("'guard_ended'={}c", guard.ended_flows()));
    }
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
    use crate::assess::Unread;
    use crate::diagnostic::Place;
    use crate::plan::{Comparison, Machine};
    use crate::tunable::{Conntrack, Host};

    fn finding(id: Id, accepted: bool) -> Finding {
        Finding {
            id,
            severity: Severity::Warning,
            message: format!("{} is | bad\nindeed", id.name()),
            hint: "do it".into(),
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
            table: None,
        };
        let comparison = Comparison::without_profile(&machine);
        let evidence = Evidence {
            rates: Some(&rates),
            unread: &[Unread::new("kernel log", "permission denied")],
            ..Evidence::of(machine, &comparison)
        };
        let checked = Checked {
            host: "edge",
            evidence,
            findings,
            pending: None,
            plan: None,
            place: &Place::default(),
            keys: false,
            verbose: false,
        };
        text(&checked, Some(Severity::Warning))
    }

    #[test]
    fn findings_follow_the_fill_by_name_and_in_words_below_it() {
        let findings = [
            finding(Id::TableFill, false),
            finding(Id::EarlyDrops, false),
            finding(Id::HashLoad, true),
        ];
        assert_eq!(
            line_for(99_999, 100_000, &findings),
            "CTTUNE WARNING - 99,999 of 100,000 entries (100.0 %); [early-drops]; not read: kernel \
             log | 'entries'=99999;80000;90000;0;100000 'fill'=99.99%;80;90;0;100 'drop'=11c \
             'early_drop'=3c 'invalid'=1c\ntable-fill: table-fill is / bad indeed - do it\n\
             early-drops: early-drops is / bad indeed - do it\n\
             not read: kernel log (permission denied)\n"
        );
    }

    #[test]
    fn a_table_without_a_limit_has_no_fill() {
        let line = line_for(5, 0, &[]);
        assert!(line.contains(" - 5 entries, no limit; "), "{line}");
        assert!(line.contains(" | 'entries'=5;;;0 'drop'=11c "), "{line}");
    }

    #[test]
    fn the_first_line_is_cut_between_words() {
        for (text, most, expected) in [
            ("as it is", 8, "as it is"),
            ("one two three", 12, "one two ..."),
            ("one two three", 11, "one two ..."),
            ("one two three", 10, "one ..."),
            ("unbroken", 7, "unb ..."),
            ("äöü", 5, " ..."),
        ] {
            assert_eq!(cut(text, most), expected);
        }
        let ids = [Id::EstablishedBeforeKeepalive, Id::LaterWriter];
        let many: Vec<_> = ids
            .iter()
            .cycle()
            .take(30)
            .map(|id| finding(*id, false))
            .collect();
        let text = line_for(1, 100, &many);
        let (first, _) = text.split_once(" | ").unwrap();
        assert!(first.len() <= 200 && first.len() > 150, "{first}");
        assert_eq!(text.lines().count(), 32);
        // One kind is named once.
        let alike = vec![finding(Id::DeadLine, false); 30];
        assert_eq!(line_for(1, 100, &alike).matches("[dead-line]").count(), 1);
    }

    #[test]
    fn trouble_is_one_line_with_its_advice() {
        let (hint, place) = ("run it as root".into(), Place::default());
        let parts = Parts {
            messages: vec!["cannot read\n it | all".to_owned(), "nor that".to_owned()],
            advice: Some((&hint, &place)),
            mistakes: &[],
        };
        assert_eq!(
            unknown(&parts),
            "CTTUNE UNKNOWN - cannot read it / all; nor that; hint: run it as root\n"
        );
    }
}
