//! The guard: whether it still works, and whether it can help.

use super::{Evidence, Finding, Id, Severity, table};
use crate::diagnostic::Hint;
use crate::flow::guard::GuardSeen;
use crate::tunable::{format_count, format_rounded_seconds};

pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let guard = evidence.guard?;
    if guard.is_helpless() {
        return Some(helpless(guard, evidence));
    }
    (!guard.runs()).then(|| gone(guard))
}

fn helpless(guard: &GuardSeen, evidence: &Evidence<'_>) -> Finding {
    let status = &guard.status;
    let mut message = format!(
        "the guard cannot relieve the table: {} entries are above its high mark, {}, and no flow \
         was silent for the minimum of its class",
        format_count(status.count),
        format_count(status.high),
    );
    if let Some(until) = &status.watches_until {
        message.push_str(&format!(
            "; established flows may end from {until} on, once it has watched them for their minimum"
        ));
    }
    if status.unwatched > 0 {
        let unwatched = format_count(status.unwatched);
        message.push_str(&format!(
            "; {unwatched} flows are not watched for want of memory"
        ));
    }
    let who = Hint::cttune("top").to("see who fills it");
    let live = evidence.machine.live;
    let larger = live.and_then(|live| table::larger(live, evidence));
    let hint = match larger {
        Some(larger) => who.and(larger),
        None => who,
    };
    let hint = hint.and(Hint::say(
        "a shorter min-idle in [guard] lets it end flows earlier",
    ));
    Finding::new(Id::GuardHelpless, Severity::Warning, message, hint)
}

/// It was killed, or hangs.
fn gone(guard: &GuardSeen) -> Finding {
    let (pid, since) = (guard.status.pid, &guard.status.since);
    let why = if guard.has_ended {
        "was killed".to_owned()
    } else {
        let age = u32::try_from(guard.age).unwrap_or(u32::MAX);
        let age = format_rounded_seconds(age);
        format!("has said nothing for {age}: it was killed, or hangs")
    };
    Finding::new(
        Id::GuardGone,
        Severity::Warning,
        format!(
            "the guard that runs since {since} (pid {pid}) {why}: nothing keeps the table from filling up"
        ),
        Hint::on_host("systemctl status 'cttune-guard*'").to("see why"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::guard::GuardStatus;
    use crate::plan::{Comparison, Machine};
    use crate::tunable::{Conntrack, Host};

    fn found(status: GuardStatus, age: u64, has_ended: bool) -> Option<(Id, String)> {
        let guard = GuardSeen {
            status,
            age,
            has_ended,
        };
        let host = Host {
            cpus: 2,
            memory: 4 << 30,
            conntrack: Conntrack::BuiltIn,
        };
        let machine = Machine {
            host: &host,
            live: None,
            files: None,
            table: None,
        };
        let comparison = Comparison::without_profile(&machine);
        let evidence = Evidence {
            guard: Some(&guard),
            ..Evidence::of(machine, &comparison)
        };
        finding(&evidence).map(|finding| (finding.id, finding.message))
    }

    #[test]
    fn a_guard_is_found_if_it_cannot_help_or_is_gone_and_not_otherwise() {
        let status = |helpless| GuardStatus {
            pid: 7,
            since: "2026-11-26T05:00:00Z".to_owned(),
            count: 250_000,
            high: 222_822,
            helpless,
            watches_until: Some("2026-11-26T07:11:15Z".to_owned()),
            ..GuardStatus::default()
        };
        assert_eq!(found(status(false), 5, false), None);
        for (helpless, age, has_ended, id, parts) in [
            (
                true,
                5,
                false,
                Id::GuardHelpless,
                ["250,000 entries", "222,822", "from 2026-11-26T07:11:15Z on"],
            ),
            (
                true,
                90,
                false,
                Id::GuardGone,
                ["pid 7", "for 1m30s", "hangs"],
            ),
            (
                false,
                5,
                true,
                Id::GuardGone,
                ["pid 7", "05:00:00Z", "was killed"],
            ),
        ] {
            let (found, message) = found(status(helpless), age, has_ended).unwrap();
            assert_eq!(found, id);
            for part in parts {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }
}
