//! `--format salt`: the answer that Salt's `cmd.run` with `stateful: True` reads.
//!
//! Rule: one JSON object is all of stdout, with `changed` and `comment`, and of a dry run `changed`
//! where something would change; the exit code says whether it worked, which Salt reads too. Salt
//! takes any other name for a change, so there is none.

use serde::Serialize;
use serde_json::Value;

use super::failure::Parts;
use super::layout::{Screen, lay_out};
use crate::diagnostic::plain::one_line;

/// Nothing is folded: a comment is one line.
const SCREEN: Screen = Screen {
    width: 1000,
    is_utf8: true,
    wraps: false,
};
/// Mistakes of a profile that are named.
const MISTAKES: usize = 3;
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
    let changed = is_change(result);
    let text = lay_out(text, SCREEN);
    let text = anstream::adapter::strip_str(&text).to_string();
    // Columns are no use in a sentence.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines().map(words).filter(|line| !line.is_empty());
    Answer {
        changed,
        comment: sentence(lines),
    }
}

/// All lines in one.
fn sentence(lines: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    for line in lines {
        let between = match all.chars().next_back() {
            None => "",
            // What it is about follows.
            Some(':') => " ",
            Some(_) => "; ",
        };
        all.push_str(between);
        all.push_str(&one_line(&line));
    }
    all
}

/// Whether something was changed, or would be.
fn is_change(result: &Value) -> bool {
    let some = |name: &str| result[name].as_u64().unwrap_or(0) > 0;
    let steps = |undone: &Value| {
        undone["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty())
    };
    let undone = result["changes"].as_array();
    result["changed"] == true
        || some("changes")
        || undone.is_some_and(|undone| undone.iter().any(steps))
        || FLOWS.into_iter().any(some)
        || result["dry_run"] == true && some("selected")
}

/// The answer of a command that failed; `changed` where something is left of it.
pub(crate) fn failed(parts: &Parts<'_>, changed: bool) -> Answer {
    let mistakes = parts.mistakes.iter().take(MISTAKES);
    let mistakes = mistakes.map(|mistake| match &mistake.help {
        Some(help) => format!("{mistake} ({help})"),
        None => mistake.to_string(),
    });
    let hint = parts.hint().map(|hint| format!("hint: {hint}"));
    let told = mistakes.chain(parts.messages.iter().cloned()).chain(hint);
    let lines: Vec<String> = told.collect();
    let comment = sentence(lines.iter().flat_map(|one| one.lines()).map(str::to_owned));
    Answer { changed, comment }
}

impl Answer {
    /// Both in one, the later first: it says how the command ended.
    pub(crate) fn before(self, later: Answer) -> Answer {
        let told = [later.comment, self.comment];
        let told = told.into_iter().filter(|comment| !comment.is_empty());
        Answer {
            changed: self.changed || later.changed,
            comment: told.collect::<Vec<_>>().join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnostic::{Hint, Place};
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
            (json!({ "clamped": 0, "selected": 2 }), "a", false, "a"),
            (json!({ "changes": 3, "steps": [] }), "", true, ""),
            (json!({ "changes": 0 }), "", false, ""),
            (
                json!({ "changed": false, "changes": [{ "steps": [1] }] }),
                "",
                true,
                "",
            ),
            (
                json!({ "changed": false, "changes": [{ "steps": [] }] }),
                "",
                false,
                "",
            ),
            (json!({ "dry_run": true, "selected": 2 }), "", true, ""),
            (json!({ "dry_run": true, "selected": 0 }), "", false, ""),
        ] {
            let expected = json!({ "changed": changed, "comment": comment });
            assert_eq!(value(&answer(&result, text)), expected);
        }
    }

    #[test]
    fn a_result_and_the_failure_behind_it_are_one_answer() {
        let (hint, place) = (Hint::cttune("top"), Place::default());
        let parts = Parts {
            messages: vec!["no flow matches".to_owned()],
            advice: Some((&hint, &place)),
            mistakes: &[],
        };
        let both = answer(&json!({ "deleted": 1 }), "ended 1 flow").before(failed(&parts, false));
        let comment = "no flow matches; hint: cttune top; ended 1 flow";
        assert_eq!(value(&both), json!({ "changed": true, "comment": comment }));
        let quiet = answer(&json!({}), "").before(answer(&json!({}), ""));
        assert_eq!(value(&quiet), json!({ "changed": false, "comment": "" }));
    }
}
