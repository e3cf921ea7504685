//! `cttune top --remedy`: rules against the group, tried before they are printed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::cli::out::Out;
use crate::cli::walk::Table;
use crate::diagnostic::{Hint, Place};
use crate::flow::{Means, Members, Query, Remedy, Rules, Selected, Top};
use crate::kernel::{addresses, sysctl};
use crate::render;
use crate::trial::{Traffic, TrialError, shortened, stopped};
use crate::tunable::{format_count, format_share, plural};

/// Rules that stop or shorten a smaller share of the group when they are tried are not offered.
const HELPS: f64 = 0.2;

/// The rules as nft reads them; empty where there is nothing to do, or where none helped: then what
/// would is said to people.
pub(super) fn fragment(
    top: &Top,
    query: &Query,
    table: &Table,
    sentence: &str,
    place: &Place,
    out: Out,
) -> anyhow::Result<String> {
    let Some(group) = &top.cause else {
        out.note(sentence);
        return Ok(String::new());
    };
    let extent = query.extent(table.entries);
    let (selected, _) = table.gather(&query.filter(extent), extent, || Selected {
        selection: &query.selection,
        gather: Members::of(top),
    })?;
    let members = selected.gather;
    let live = sysctl::read_snapshot()?;
    let (why, help) = match Remedy::new(top, &query.selection, &members, &live) {
        None => return Ok(String::new()),
        Some(Remedy::Advice { why, help }) => (why.to_owned(), help),
        Some(Remedy::Rules(rules)) => match tried(&rules, &members, group.flows) {
            Ok((share, said)) if share >= HELPS => {
                return Ok(render::remedy::text(
                    &rules,
                    sentence,
                    &format!("Tried on {said}"),
                ));
            }
            Ok((_, said)) => (
                format!("rules that were tried on {said}: that does not help"),
                general(),
            ),
            Err(error) => (format!("the rules could not be tried ({error})"), general()),
        },
    };
    out.note(&format!("{sentence}\nno rules for this: {why}"));
    for hint in help {
        out.note(&format!("hint: {}", hint.text(place)));
    }
    Ok(String::new())
}

/// What the rules do to a copy of the group's flows, or of a part of them.
fn tried(rules: &Rules, members: &Members, flows: u64) -> Result<(f64, String), TrialError> {
    let own: BTreeSet<IpAddr> = addresses::read_addresses().unwrap_or_default();
    let kept = members.kept();
    let is_local: Vec<bool> = kept
        .iter()
        .map(|member| own.contains(&member.original.src))
        .collect();
    let traffic = |established| Traffic {
        members: kept,
        is_local: &is_local,
        established,
    };
    let number = kept.len() as u64;
    let rules = rules.in_proportion(number, flows);
    let fragment = render::remedy::fragment(&rules);
    let mut copy = format!("a copy of {}", plural(number, "flow"));
    if number < flows {
        copy = format!("{copy} of {}", format_count(flows));
    }
    match &rules.means {
        Means::Limit(_) => {
            let share = stopped(&fragment, traffic(false))?;
            if number < flows {
                copy.push_str(", with a limit in proportion");
            }
            let said = format_share(share);
            Ok((share, format!("{copy}: it stopped {said} of them")))
        }
        Means::Timeout(policy) => {
            let seconds = policy.first().map_or(0, |(_, seconds)| *seconds);
            let share = shortened(&fragment, traffic(true), seconds)?;
            let said = format_share(share);
            Ok((share, format!("{copy}: it shortened {said} of them")))
        }
    }
}

/// What helps whatever fills the table.
fn general() -> Vec<Hint> {
    vec![
        Hint::cttune("plan campus-fw").to("a larger table and shorter timeouts"),
        Hint::say("limit the program that opens these flows, or do not track it (nft `notrack`)"),
    ]
}
