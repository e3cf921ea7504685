//! How a plan differs from one that was made earlier: what changed on the machine meanwhile.
//!
//! In: the steps then and now, and what the kernel has now. Out: a sentence for each difference.
//! Rule: every difference counts but the number of flows, which changes all the time.

use std::collections::BTreeSet;

use crate::diagnostic::plain::Shown;
use crate::tunable::Key;

use super::{FileChange, Step};

/// What differs, the running kernel first; nothing where both are the same plan.
pub(crate) fn differences(
    then: &[Step],
    now: &[Step],
    live: impl Fn(Key) -> Option<i64>,
) -> Vec<String> {
    if then.len() == now.len() && then.iter().zip(now).all(|(then, now)| is_same(then, now)) {
        return Vec::new();
    }
    let lost = then.iter().filter(|step| !has(now, step));
    let mut told: Vec<String> = lost.map(|step| lost_step(step, now, &live)).collect();
    let added = now.iter().filter(|step| !has(then, step));
    told.extend(added.map(|step| added_step(step, then)));
    let mut seen = BTreeSet::new();
    told.retain(|one| seen.insert(one.clone()));
    if told.is_empty() {
        told.push("the steps have another order now".to_owned());
    }
    told
}

fn has(steps: &[Step], wanted: &Step) -> bool {
    steps.iter().any(|step| is_same(step, wanted))
}

fn is_same(one: &Step, other: &Step) -> bool {
    match (one, other) {
        (Step::Expire { parameters: a, .. }, Step::Expire { parameters: b, .. }) => a == b,
        _ => one == other,
    }
}

/// The first step about the same key or file.
fn twin<'a>(step: &Step, steps: &'a [Step]) -> Option<&'a Step> {
    steps.iter().find(|other| match (step, *other) {
        (Step::WriteLive { key, .. }, Step::WriteLive { key: other, .. }) => key == other,
        _ => match (step.file(), other.file()) {
            (Some(one), Some(other)) => one.path == other.path,
            _ => step.kind() == other.kind(),
        },
    })
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "not loaded".to_owned(), |value| value.to_string())
}

/// A step of the earlier plan that the plan of now lacks.
fn lost_step(step: &Step, now: &[Step], live: &impl Fn(Key) -> Option<i64>) -> String {
    let twin = twin(step, now);
    match (step, twin) {
        (
            Step::WriteLive { key, from, to, .. },
            Some(Step::WriteLive {
                from: is,
                to: becomes,
                ..
            }),
        ) => {
            if from != is {
                format!("{key} was {}, and is {} now", number(*from), number(*is))
            } else if to != becomes {
                format!("the plan would now set {key} to {becomes}, not to {to}")
            } else {
                format!("the reason for {key} is different now")
            }
        }
        (Step::WriteLive { key, from, .. }, _) => {
            format!(
                "{key} was {}, and is {} now",
                number(*from),
                number(live(*key))
            )
        }
        (Step::Service { from, .. }, Some(Step::Service { from: is, .. })) => {
            if from == is {
                "the plan would now write another nft table inet cttune".to_owned()
            } else {
                "nft table inet cttune differs from what it was then".to_owned()
            }
        }
        (Step::LoadModule { .. }, _) => "the module nf_conntrack is loaded by now".to_owned(),
        (step, twin) => match (step.file(), twin.and_then(Step::file)) {
            (Some(then), Some(now)) if then == now => {
                format!("the reason for {} is different now", then.path.shown())
            }
            (Some(then), Some(now)) if then.from == now.from => {
                format!(
                    "the plan would now write another text to {}",
                    then.path.shown()
                )
            }
            (Some(then), _) => differs(&then),
            (None, _) => format!("no longer needed: {}", step.summary()),
        },
    }
}

fn differs(file: &FileChange<'_>) -> String {
    format!("{} differs from what it was then", file.path.shown())
}

/// A step of now that the earlier plan lacks; the same sentence as for the step that it replaces.
fn added_step(step: &Step, then: &[Step]) -> String {
    if let Some(twin) = twin(step, then) {
        return lost_step(twin, std::slice::from_ref(step), &|_| None);
    }
    match step {
        Step::WriteLive { key, from, to, .. } => {
            format!(
                "{key} is {} now: the plan would now set it to {to}",
                number(*from)
            )
        }
        step => match step.file() {
            Some(change) => differs(&change),
            None => format!("the plan would now also {}", step.summary()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Rule, Table};

    fn live(key: Key, from: i64, to: i64) -> Step {
        Step::WriteLive {
            key,
            from: Some(from),
            to,
            why: String::new(),
        }
    }

    fn file(path: &str, from: &str, to: &str) -> Step {
        Step::WriteFile {
            path: path.into(),
            from: Some(from.into()),
            to: Some(to.into()),
            why: String::new(),
        }
    }

    fn table(label: u8) -> Step {
        let rule = Rule {
            object: "service_push_tcp_0".to_owned(),
            label,
            terms: "proto=tcp".to_owned(),
        };
        let to = Table {
            rules: vec![rule],
            ..Table::default()
        };
        Step::Service {
            from: None,
            to: Some(to),
            replace: false,
            why: String::new(),
        }
    }

    #[test]
    fn each_difference_is_named_once() {
        let max = "net.netfilter.nf_conntrack_max";
        let (one, two) = (live(Key::Max, 1, 9), live(Key::Acct, 0, 1));
        for (then, now, expected) in [
            (vec![one.clone()], vec![one.clone()], vec![]),
            (
                vec![one.clone()],
                vec![live(Key::Max, 2, 9)],
                vec![format!("{max} was 1, and is 2 now")],
            ),
            (
                vec![one.clone()],
                vec![live(Key::Max, 1, 8)],
                vec![format!("the plan would now set {max} to 8, not to 9")],
            ),
            (
                vec![one.clone()],
                vec![],
                vec![format!("{max} was 1, and is 7 now")],
            ),
            (
                vec![],
                vec![one.clone()],
                vec![format!("{max} is 1 now: the plan would now set it to 9")],
            ),
            (
                vec![file("/a", "x", "z")],
                vec![file("/a", "y", "z")],
                vec!["/a differs from what it was then".to_owned()],
            ),
            (
                vec![file("/a", "x", "y")],
                vec![file("/a", "x", "z")],
                vec!["the plan would now write another text to /a".to_owned()],
            ),
            (
                vec![one.clone()],
                vec![Step::WriteLive {
                    key: Key::Max,
                    from: Some(1),
                    to: 9,
                    why: "another".to_owned(),
                }],
                vec![format!("the reason for {max} is different now")],
            ),
            (
                vec![table(80)],
                vec![table(81)],
                vec!["the plan would now write another nft table inet cttune".to_owned()],
            ),
            (
                vec![one.clone(), two.clone()],
                vec![two, one],
                vec!["the steps have another order now".to_owned()],
            ),
        ] {
            assert_eq!(differences(&then, &now, |_| Some(7)), expected);
        }
    }
}
