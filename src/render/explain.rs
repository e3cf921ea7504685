//! `cttune check --explain`: every line that sets a key at boot, and who wins for which reader.

use serde_json::{Value, json};

use super::style::{FAINT, GOOD, HEAD, WARN};
use crate::boot::{ExplainedLine, Explanation, Reader, Winner};

/// As machines read it.
pub(crate) fn json(explanation: &Explanation) -> Value {
    let mut value = json!(explanation);
    if let Some(object) = value.as_object_mut() {
        object.insert("schema".to_owned(), json!(super::SCHEMA));
    }
    value
}

/// As people read it: the winners, then every line in reading order.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut text = format!("{HEAD}{}{HEAD:#} at the next boot\n", explanation.key);
    let (procps, systemd) = (explanation.procps.as_ref(), explanation.systemd.as_ref());
    text.push_str(&winner(Reader::Procps, procps));
    text.push_str(&winner(Reader::Systemd, systemd));
    if let (Some(procps), Some(systemd)) = (procps, systemd)
        && procps.value != systemd.value
    {
        text.push_str(&format!("{WARN}the two readers disagree{WARN:#}\n"));
    }
    if explanation.lines.is_empty() {
        text.push_str("no line sets it: the kernel's own value stays\n");
        return text;
    }
    text.push_str("\nevery line about it, in the order of reading:\n");
    text.extend(explanation.lines.iter().map(line));
    text
}

fn winner(reader: Reader, winner: Option<&Winner>) -> String {
    match winner {
        Some(Winner {
            value, file, line, ..
        }) => {
            format!("  {reader:<15} {value}  from {}:{line}\n", file.display())
        }
        None => format!("  {reader:<15} leaves the kernel's own value\n"),
    }
}

fn line(line: &ExplainedLine) -> String {
    let place = format!("{}:{}", line.file.display(), line.line);
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
