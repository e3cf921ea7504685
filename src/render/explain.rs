//! `cttune check --explain`: what a key will be after the next boot, every line about it, and the
//! other writers.

use serde::Serialize;

use super::layout::CELL;
use super::shape::Schema;
use super::style::{FAINT, GOOD, HEAD, WARN};
use crate::boot::writers::LaterWrite;
use crate::boot::{Answer, ExplainedLine, Explanation, NextBoot, Reader, Sure, Winner};
use crate::diagnostic::plain::Shown;

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    next_boot: AnswerNow,
    writers: Vec<Writes>,
    schema: Schema,
}

/// What a key will be after the next boot.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct AnswerNow {
    value: Option<i64>,
    file: Option<String>,
    line: Option<usize>,
    sure: Sure,
    why: Vec<String>,
}

/// A program that sets the key after sysctl.d was applied.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Writes {
    who: String,
    file: String,
    line: usize,
    value: Option<i64>,
    when: String,
}

pub(crate) fn json<'a>(explanation: &'a Explanation, next_boot: &NextBoot) -> Output<'a> {
    let of = |write: LaterWrite| Writes {
        who: write.who,
        file: write.file.display().to_string(),
        line: write.line,
        value: write.value,
        when: write.when,
    };
    let writers = next_boot.later(explanation.key).into_iter();
    Output {
        explanation,
        next_boot: answer_now(&next_boot.answer(explanation.key)),
        writers: writers.map(of).collect(),
        schema: Schema,
    }
}

pub(super) fn answer_now(answer: &Answer) -> AnswerNow {
    let from = answer.from.as_ref();
    AnswerNow {
        value: answer.value,
        file: from.map(|from| from.file.display().to_string()),
        line: from.map(|from| from.line),
        sure: answer.sure,
        why: answer.reasons.clone(),
    }
}

/// As people read it: the value, the winners, every line in reading order, then other writers.
pub(crate) fn text(explanation: &Explanation, next_boot: &NextBoot) -> String {
    let mut text = format!("{HEAD}{}{HEAD:#} at the next boot\n", explanation.key);
    text.push_str(&answer(&next_boot.answer(explanation.key)));
    let (procps, systemd) = (explanation.procps.as_ref(), explanation.systemd.as_ref());
    text.push_str(&winner(Reader::Procps, procps));
    text.push_str(&winner(Reader::Systemd, systemd));
    for reader in next_boot.readers() {
        if !Reader::ALL.contains(reader) {
            text.push_str(&winner(*reader, next_boot.winner(*reader, explanation.key)));
        }
    }
    if let (Some(procps), Some(systemd)) = (procps, systemd)
        && procps.value != systemd.value
    {
        text.push_str(&format!("{WARN}the two readers disagree{WARN:#}\n"));
    }
    let writers = next_boot.later(explanation.key);
    if explanation.lines.is_empty() && writers.is_empty() {
        let is_set = next_boot.is_set(explanation.key);
        text.push_str(if is_set {
            "no line of sysctl.d sets it\n"
        } else {
            "no line sets it: the kernel's default stays\n"
        });
        return text;
    }
    if !explanation.lines.is_empty() {
        text.push_str("\nevery line about it, in the order of reading:\n");
        text.extend(explanation.lines.iter().map(line));
    }
    if !writers.is_empty() {
        text.push_str("\nother programs that set it after sysctl.d:\n");
        text.extend(writers.iter().map(|write| format!("  {}\n", write.told())));
    }
    text
}

fn answer(answer: &Answer) -> String {
    let value = match (answer.value, &answer.from) {
        (Some(value), Some(from)) => format!("{value}  from {from}"),
        (Some(value), None) => value.to_string(),
        (None, _) if answer.sure == Sure::Unknown => "unknown".to_owned(),
        (None, _) => "the kernel's default".to_owned(),
    };
    let but = match answer.sure {
        Sure::Known => String::new(),
        Sure::Depends => format!("; {WARN}it depends{WARN:#}: {}", answer.reasons.join("; ")),
        Sure::Unknown => format!("; {WARN}not sure{WARN:#}: {}", answer.reasons.join("; ")),
    };
    format!("  in the end{CELL}{value}{but}\n")
}

fn winner(reader: Reader, winner: Option<&Winner>) -> String {
    match winner {
        Some(Winner {
            value, file, line, ..
        }) => {
            format!("  {reader}{CELL}{value}  from {}:{line}\n", file.shown())
        }
        None => format!("  {reader}{CELL}leaves the kernel's default\n"),
    }
}

fn line(line: &ExplainedLine) -> String {
    let place = format!("{}:{}", line.file.shown(), line.line);
    let note = match line.note() {
        None => format!("{GOOD}wins{GOOD:#}"),
        Some(note) if line.wins_for.is_empty() => format!("{FAINT}{note}{FAINT:#}"),
        Some(note) => {
            let readers: Vec<String> = line.wins_for.iter().map(ToString::to_string).collect();
            format!(
                "{GOOD}wins for {}{GOOD:#}; {FAINT}{note}{FAINT:#}",
                readers.join(" and ")
            )
        }
    };
    format!("  {place}: {}\n      {note}\n", line.text.trim())
}
