//! The questions: yes, no, or which steps. Asked on stderr, answered on stdin.

use dialoguer::console::Term;
use dialoguer::{Input, MultiSelect};

use crate::apply::Signals;
use crate::plan::{Plan, Signal};

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

/// Asks whether to carry the plan out.
///
/// # Errors
/// If the terminal fails without a signal.
pub(super) fn ask(plan: &Plan, signals: &Signals) -> anyhow::Result<Answer> {
    let answer = ask_on_terminal(plan);
    // dialoguer hides the cursor while it selects, and leaves it hidden when it is interrupted.
    let _ = Term::stderr().show_cursor();
    match (answer, signals.caught()) {
        (_, Some(signal)) => {
            // The line of the question is still open.
            let _ = Term::stderr().write_line("");
            Ok(Answer::Stopped(signal))
        }
        (Ok(answer), None) => Ok(answer),
        (Err(error), None) => {
            Err(anyhow::Error::new(error).context("cannot ask; nothing was changed"))
        }
    }
}

/// Asks a question that has two answers.
///
/// # Errors
/// If the terminal fails without a signal.
pub(super) fn ask_plainly(question: &str, signals: &Signals) -> anyhow::Result<Answer> {
    let answer = Input::<String>::new()
        .with_prompt(question)
        .allow_empty(true)
        .interact_text();
    let _ = Term::stderr().show_cursor();
    match (answer, signals.caught()) {
        (_, Some(signal)) => Ok(Answer::Stopped(signal)),
        (Ok(answer), None) => Ok(match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Answer::Yes,
            _ => Answer::No,
        }),
        (Err(error), None) => {
            Err(anyhow::Error::new(error).context("cannot ask; nothing was changed"))
        }
    }
}

fn ask_on_terminal(plan: &Plan) -> dialoguer::Result<Answer> {
    let changes = match plan.steps.len() {
        1 => "this change".to_owned(),
        number => format!("these {number} changes"),
    };
    let letter = Input::<String>::new()
        .with_prompt(format!("Apply {changes}? [y/N/e]"))
        .allow_empty(true)
        .validate_with(
            |answer: &String| match answer.trim().to_lowercase().as_str() {
                "" | "y" | "yes" | "n" | "no" | "e" => Ok(()),
                _ => Err("y applies them all, n none, e lets you choose"),
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
    let steps: Vec<(String, bool)> = plan
        .steps
        .iter()
        .map(|step| (step.summary(), true))
        .collect();
    let chosen = MultiSelect::new()
        .with_prompt("Space takes a step or leaves it, Enter applies, Esc leaves all")
        .items_checked(steps)
        .interact_opt()?;
    Ok(match chosen {
        Some(chosen) if !chosen.is_empty() => Answer::Steps(chosen),
        _ => Answer::No,
    })
}
