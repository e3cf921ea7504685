//! `--format salt`: the answer that Salt's `cmd.run` with `stateful: True` reads.
//!
//! Rule: one JSON object on the last line of stdout, with `changed` and `comment`; the exit code
//! says whether it worked, which Salt reads too.

use serde::Serialize;
use serde_json::Value;

use super::layout::{Screen, lay_out};
use crate::diagnostic::plain::one_line;

/// Nothing is folded: a comment is one line.
const SCREEN: Screen = Screen {
    width: 1000,
    is_utf8: true,
    wraps: false,
};
/// What became of flows.
const FLOWS: [&str; 3] = ["clamped", "re_aged", "deleted"];

/// What Salt reads.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Answer {
    changed: bool,
    comment: String,
}

/// The answer, from what machines and what people read of a result.
pub(crate) fn answer(result: &Value, text: &str) -> Answer {
    let flows = |name: &&str| result[*name].as_u64().unwrap_or(0) > 0;
    let changed = result["changed"].as_bool();
    let changed = changed.unwrap_or_else(|| FLOWS.iter().any(flows));
    let text = lay_out(text, SCREEN);
    let text = anstream::adapter::strip_str(&text).to_string();
    // Columns are no use in a sentence.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines().map(words).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| one_line(&line)).collect();
    Answer {
        changed,
        comment: lines.join("; "),
    }
}

/// The answer of a command that failed; `changed` where something is left of it.
pub(crate) fn failed(messages: &[String], changed: bool) -> Answer {
    let messages: Vec<String> = messages.iter().map(|one| one_line(one)).collect();
    let comment = messages.join("; ");
    Answer { changed, comment }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::shape::value;

    #[test]
    fn what_changed_is_said_in_one_line() {
        for (result, text, changed, comment) in [
            (
                json!({ "changed": true }),
                "\u{1b}[1m5 changes\u{1b}[0m made\n\n  to undo: x\n",
                true,
                "5 changes made; to undo: x",
            ),
            (json!({ "changed": false }), "", false, ""),
            (json!({ "clamped": 0, "deleted": 2 }), "a", true, "a"),
            (json!({ "clamped": 0 }), "a", false, "a"),
        ] {
            let expected = json!({ "changed": changed, "comment": comment });
            assert_eq!(value(&answer(&result, text)), expected);
        }
    }
}
