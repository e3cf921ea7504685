//! The questions: yes, no, or which steps. Asked on stderr, answered on stdin.

use dialoguer::console::{Term, truncate_str};
use dialoguer::{Input, MultiSelect};

use super::interruptible::{cannot_ask, interruptible};
use super::out::Out;
use super::writer::screen;
use crate::change::{Signal, Signals};
use crate::diagnostic::plain;
use crate::plan::Plan;
use crate::render;

const APPLY: &str = "Apply? [y/N/e to choose/?]";
/// Characters before a step that can be chosen.
const BOX: usize = "> [x] ".len();

/// What the operator answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it.
    Yes,
    /// These steps, by index.
    Steps(Vec<usize>),
    /// Nothing.
    No,
    /// A signal came instead of an answer.
    Stopped(Signal),
}

/// Asks whether to apply the plan.
pub(super) fn ask(plan: &Plan, signals: &Signals, out: Out) -> anyhow::Result<Answer> {
    let summary = render::plan::summary(plan);
    // What has no room beside the question comes before it.
    let mut question = format!("{}. {APPLY}", plain::for_monitor(&summary));
    if question.len() + ": y".len() > screen(&std::io::stderr()).width {
        out.question(&format!("{summary}\n"));
        APPLY.clone_into(&mut question);
    }
    answer(signals, || ask_on_terminal(plan, question))
}

/// Asks a question that has two answers.
pub(super) fn ask_plainly(question: &str, signals: &Signals) -> anyhow::Result<Answer> {
    answer(signals, || {
        let input = Input::<String>::new()
            .with_prompt(question)
            .allow_empty(true);
        let letter = input.interact_text()?;
        Ok(match letter.trim().to_lowercase().as_str() {
            "y" | "yes" => Answer::Yes,
            _ => Answer::No,
        })
    })
}

/// Waits for an answer or a signal, and leaves the terminal as it was.
fn answer(
    signals: &Signals,
    ask: impl FnOnce() -> dialoguer::Result<Answer>,
) -> anyhow::Result<Answer> {
    let answer = interruptible(signals, ask)?;
    // dialoguer hides the cursor while it selects, and leaves it hidden when it is interrupted.
    let _ = Term::stderr().show_cursor();
    match (answer, signals.caught()) {
        (_, Some(signal)) => {
            // The line of the question is still open.
            let _ = Term::stderr().write_line("");
            Ok(Answer::Stopped(signal))
        }
        (Ok(answer), None) => Ok(answer),
        (Err(error), None) => Err(cannot_ask(error).into()),
    }
}

fn ask_on_terminal(plan: &Plan, question: String) -> dialoguer::Result<Answer> {
    let letter = Input::<String>::new()
        .with_prompt(question)
        .allow_empty(true)
        .validate_with(
            |answer: &String| match answer.trim().to_lowercase().as_str() {
                "" | "y" | "yes" | "n" | "no" | "e" => Ok(()),
                _ => Err("y applies all of it, n nothing, e lets you choose the steps"),
            },
        )
        .interact_text()?;
    match letter.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(Answer::Yes),
        "e" => choose(plan),
        _ => Ok(Answer::No),
    }
}

fn choose(plan: &Plan) -> dialoguer::Result<Answer> {
    let room = screen(&std::io::stderr()).width.saturating_sub(BOX);
    let steps: Vec<(String, bool)> = plan
        .steps
        .iter()
        .map(|step| {
            let words = render::plan::step_words(step);
            let words = plain::for_monitor(&words);
            // A choice has one line, or the list is drawn over itself.
            (truncate_str(&words, room, "...").into_owned(), true)
        })
        .collect();
    let chosen = MultiSelect::new()
        .with_prompt("Space selects a step or not, Enter applies, Esc cancels")
        .items_checked(steps)
        .interact_opt()?;
    Ok(match chosen {
        Some(chosen) if !chosen.is_empty() => Answer::Steps(chosen),
        _ => Answer::No,
    })
}
