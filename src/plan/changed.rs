//! How a plan differs from one that was made earlier: what changed on the machine meanwhile.
//!
//! In: the steps and the next boot then and now, and what the kernel has now. Out: a sentence for
//! each difference.
//! Rule: every difference counts but the number of flows, which changes all the time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::diagnostic::plain::Shown;
use crate::tunable::{Key, plural};

use super::{Blocked, BootValues, FileChange, Lowered, Plan, Step};

/// Differences that are named.
const MOST_NAMED: usize = 8;

/// A plan as it was made, to be compared with that of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Made {
    blocked: Vec<String>,
    at_boot: AtBoot,
    steps: Vec<Step>,
}

impl Made {
    pub(crate) fn of(plan: &Plan) -> Made {
        Made {
            blocked: blocked(&plan.blocked),
            at_boot: AtBoot::of(plan),
            steps: plan.steps.clone(),
        }
    }

    /// What differs, each in a sentence, the running kernel first, and how much more there is;
    /// nothing where both are the same plan.
    pub(crate) fn differences(&self, now: &Plan, live: impl Fn(Key) -> Option<i64>) -> Vec<String> {
        let mut told = differences(&self.steps, &now.steps, live);
        told.extend(self.at_boot.differences(&AtBoot::of(now)));
        let now = blocked(&now.blocked);
        let come = now.iter().filter(|one| !self.blocked.contains(one));
        told.extend(come.map(|one| format!("blocked now: {one}")));
        let gone = self.blocked.iter().filter(|one| !now.contains(one));
        told.extend(gone.map(|one| format!("no longer blocked: {one}")));
        let more = told.len().saturating_sub(MOST_NAMED);
        told.truncate(MOST_NAMED);
        if more > 0 {
            told.push(format!("and {}", plural(more, "more difference")));
        }
        told
    }
}

fn blocked(blocked: &[Blocked]) -> Vec<String> {
    blocked.iter().map(ToString::to_string).collect()
}

/// What a plan makes of the next boot, beyond its steps: they are the same where somebody else's
/// line is overridden by the drop-in, though it raised what the plan lowers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AtBoot {
    /// As the files are, and with the plan.
    before: BootValues,
    after: BootValues,
    lowered: BTreeSet<Lowered>,
    /// Why what is persisted does not last.
    lost: BTreeSet<String>,
}

impl AtBoot {
    fn of(plan: &Plan) -> AtBoot {
        let [before, after] = plan.boot.clone();
        let lowered = plan.lowered.iter().filter(|one| one.at_boot);
        let volatile = plan.volatile.iter().map(|volatile| volatile.why.clone());
        AtBoot {
            before,
            after,
            lowered: lowered.copied().collect(),
            lost: volatile.chain(plan.lost_at_boot.clone()).collect(),
        }
    }

    /// What differs of it now, each in a sentence.
    fn differences(&self, now: &AtBoot) -> Vec<String> {
        let before = other_values(&self.before, &now.before).map(|(key, then, now)| {
            format!("{key} at the next boot, without the plan: was {then}, is {now} now")
        });
        let after = other_values(&self.after, &now.after).map(|(key, then, now)| {
            format!("{key} at the next boot, with the plan: would now be {now}, not {then}")
        });
        let lowered = now.lowered.difference(&self.lowered).map(|one| {
            let Lowered { key, from, to, .. } = one;
            format!("the plan would now lower {key} from {from} to {to} at the next boot")
        });
        let lost = now.lost.difference(&self.lost);
        let lost = lost.map(|why| format!("what is persisted would now be lost: {why}"));
        let kept = self.lost.difference(&now.lost);
        let kept = kept.map(|why| format!("no longer so: {why}"));
        let told = before.chain(after).chain(lowered).chain(lost);
        told.chain(kept).collect()
    }
}

/// The keys whose values differ, with both.
fn other_values<'a>(
    then: &'a BootValues,
    now: &'a BootValues,
) -> impl Iterator<Item = (Key, String, String)> + 'a {
    let text = |values: &BootValues, key| {
        let values = values.get(&key).into_iter().flatten();
        let values: Vec<String> = values.map(ToString::to_string).collect();
        if values.is_empty() {
            return "not set".to_owned();
        }
        values.join(" or ")
    };
    let keys: BTreeSet<Key> = then.keys().chain(now.keys()).copied().collect();
    let texts = keys.into_iter();
    let texts = texts.map(move |key| (key, text(then, key), text(now, key)));
    texts.filter(|(_, then, now)| then != now)
}

/// What differs of the steps.
fn differences(then: &[Step], now: &[Step], live: impl Fn(Key) -> Option<i64>) -> Vec<String> {
    // Where no flow is left to be shortened there is no such step.
    let has_expire = now.iter().any(Step::is_expire);
    let counts = |step: &&Step| has_expire || !step.is_expire();
    let earlier: Vec<&Step> = then.iter().filter(counts).collect();
    if earlier.len() == now.len() && earlier.iter().zip(now).all(|(one, now)| is_same(one, now)) {
        return Vec::new();
    }
    let lost = earlier.into_iter().filter(|step| !has(now, step));
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
    use crate::profile::{ExpireMode, ExpireParameters, ExpireSettings};
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

    fn expire(mode: ExpireMode, flows: u64) -> Step {
        Step::Expire {
            parameters: ExpireParameters {
                mode,
                ..ExpireSettings::default().into()
            },
            flows: Some(flows),
            why: String::new(),
        }
    }

    #[test]
    fn how_many_flows_there_are_is_no_difference() {
        let (clamp, delete) = (ExpireMode::Clamp, ExpireMode::Delete);
        let max = || live(Key::Max, 1, 9);
        for (then, now, differs) in [
            (
                vec![max(), expire(clamp, 2)],
                vec![max(), expire(clamp, 7)],
                false,
            ),
            (vec![max(), expire(clamp, 2)], vec![max()], false),
            (vec![max()], vec![max(), expire(clamp, 7)], true),
            (vec![expire(clamp, 2)], vec![expire(delete, 2)], true),
        ] {
            let told = differences(&then, &now, |_| Some(7));
            assert_eq!(!told.is_empty(), differs, "{told:?}");
        }
    }

    #[test]
    fn only_the_first_differences_are_named() {
        let plan = |from| Plan {
            steps: Key::ALL[..12]
                .iter()
                .map(|key| live(*key, from, 9))
                .collect(),
            ..Plan::default()
        };
        let told = Made::of(&plan(1)).differences(&plan(2), |_| None);
        assert_eq!(told.len(), MOST_NAMED + 1);
        assert_eq!(told[MOST_NAMED], "and 4 more differences");
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

    #[test]
    fn another_next_boot_is_named_though_the_steps_are_the_same() {
        let values =
            |value: Option<i64>| BootValues::from([(Key::Max, value.into_iter().collect())]);
        let plan = |before, lowered: Vec<Lowered>| Plan {
            boot: [values(before), values(Some(9))],
            lost_at_boot: lowered.first().map(|_| "masked".to_owned()),
            lowered,
            ..Plan::default()
        };
        let lower = Lowered {
            key: Key::Max,
            from: 20,
            to: 9,
            at_boot: true,
        };
        let (then, now) = (plan(None, vec![]), plan(Some(20), vec![lower]));
        let told = AtBoot::of(&then).differences(&AtBoot::of(&now));
        assert_eq!(
            told,
            [
                "net.netfilter.nf_conntrack_max at the next boot, without the plan: was not set, is \
                 20 now",
                "the plan would now lower net.netfilter.nf_conntrack_max from 20 to 9 at the next \
                 boot",
                "what is persisted would now be lost: masked",
            ]
        );
        assert!(AtBoot::of(&now).differences(&AtBoot::of(&now)).is_empty());
    }
}
