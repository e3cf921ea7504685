//! The proof that services work: their table in a private namespace, a packet for each of its rules,
//! and the time left that the kernel gave the flow.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use super::{Traffic, TrialError, is_routed, run};
use crate::flow::{Filter, Flow, Member, Protocol, StatusBit, TcpState, Terms, Tuple};
use crate::kernel::ctnetlink::each_flow;
use crate::service::{Rule, State, Table, packet, service_of};

/// Seconds that may pass beside those of the trial before a flow is looked at.
const LATE: u32 = 2;

/// What a flow has: its state's timeout that is left, and whether it has the label.
type Seen = BTreeMap<String, (Option<State>, u32, Vec<u8>)>;

/// Sends a packet through each rule, forwarded and from the machine itself. Gives the selections
/// that were not tried, since no router passes packets with their addresses.
///
/// # Errors
/// For the first flow whose time is not the one that its service gives.
pub(crate) fn prove(table: &Table) -> Result<Vec<&str>, TrialError> {
    let probes = table.rules.iter().filter_map(probe_of(table));
    let (probes, others): (Vec<(&Rule, Tuple)>, Vec<_>) =
        probes.partition(|(_, tuple)| is_routed(tuple.src) && is_routed(tuple.dst));
    let untried = others.iter().map(|(rule, _)| rule.terms.as_str()).collect();
    if probes.is_empty() {
        return Ok(untried);
    }
    let members: Vec<Member> = probes.iter().map(|(_, tuple)| member(*tuple)).collect();
    let rules = table.for_new_flows().text() + &zones(&members);
    for is_local in [false, true] {
        let traffic = Traffic {
            members: &members,
            is_local: &vec![is_local; members.len()],
            established: true,
        };
        let start = Instant::now();
        let seen = run(Some(&rules), traffic, |_| look(table))?;
        // A busy machine looks later.
        let late = LATE + u32::try_from(start.elapsed().as_secs()).unwrap_or(0);
        for (rule, tuple) in &probes {
            judge(table, rule, seen.get(&key(tuple)), (is_local, late))?;
        }
    }
    Ok(untried)
}

fn probe_of<'a>(table: &'a Table) -> impl Fn(&'a Rule) -> Option<(&'a Rule, Tuple)> {
    |rule| {
        let object = table.objects.iter().find(|one| one.name == rule.object)?;
        let terms = Terms::parse(&rule.terms).ok()?;
        Some((rule, packet(&[&terms], object.protocol)?))
    }
}

fn member(original: Tuple) -> Member {
    let plain = Tuple {
        zone: None,
        ..original
    };
    Member {
        original,
        reply: plain.reversed(),
        state: None,
        zone: 0,
        is_answered: true,
    }
}

/// Rules that put each packet in the zone that its service asks for.
fn zones(members: &[Member]) -> String {
    let rules = members.iter().filter_map(|member| {
        let (zone, tuple) = (member.original.zone?, member.original);
        let (src, dst) = tuple.ports()?;
        let header = if tuple.src.is_ipv4() { "ip" } else { "ip6" };
        let rule = |from, to, src, dst| {
            format!(
                "meta l4proto {} {header} saddr {from} {header} daddr {to} th sport {src} th dport \
                 {dst} ct zone set {zone}\n",
                tuple.protocol.0
            )
        };
        Some(rule(tuple.src, tuple.dst, src, dst) + &rule(tuple.dst, tuple.src, dst, src))
    });
    let rules: String = rules.collect();
    if rules.is_empty() {
        return rules;
    }
    format!(
        "table inet trial_zones {{\n\
         chain arriving {{ type filter hook prerouting priority -300;\n{rules}}}\n\
         chain own {{ type filter hook output priority -300;\n{rules}}}\n}}\n"
    )
}

/// By what a flow is known again.
fn key(tuple: &Tuple) -> String {
    let (src, dst) = tuple.ports().unwrap_or_default();
    let (from, to) = (tuple.src, tuple.dst);
    format!("{} {from} {src} {to} {dst}", tuple.protocol.0)
}

fn look(table: &Table) -> Result<Seen, TrialError> {
    let mut seen = Seen::new();
    let read = each_flow(&Filter::default(), |flow| {
        let labels = table.rules.iter().map(|rule| rule.label);
        let labels = labels.filter(|label| flow.has_label(*label)).collect();
        let left = flow.timeout.unwrap_or(0);
        seen.insert(key(&flow.original), (state_of(flow), left, labels));
        ControlFlow::Continue(())
    });
    read.map_err(|error| TrialError::Refused {
        doing: "reading the flows of a private router",
        said: error.to_string(),
    })?;
    Ok(seen)
}

/// The state whose timeout a flow has; nothing where no state has it.
fn state_of(flow: &Flow<'_>) -> Option<State> {
    if flow.original.protocol != Protocol::TCP {
        let is_assured = flow.status.has(StatusBit::Assured);
        return Some(if is_assured {
            State::Replied
        } else {
            State::Unreplied
        });
    }
    let name = flow.tcp_state().map(TcpState::name)?;
    State::ALL.into_iter().find(|state| state.name() == name)
}

fn judge(
    table: &Table,
    rule: &Rule,
    seen: Option<&(Option<State>, u32, Vec<u8>)>,
    (is_local, late): (bool, u32),
) -> Result<(), TrialError> {
    let service = service_of(&rule.object).unwrap_or(&rule.object);
    let whose = if is_local {
        "a flow of this machine"
    } else {
        "a forwarded flow"
    };
    let wrong = |said: String| Err(TrialError::NotTheService(said));
    let Some((state, left, labels)) = seen else {
        let states = [State::Established, State::Unreplied];
        let mut times = states
            .iter()
            .filter_map(|state| table.seconds(&rule.object, *state));
        // It may have ended before it was looked at.
        return match times.next() {
            Some(seconds) if seconds <= late => Ok(()),
            _ => wrong(format!("the service {service}: {whose} was not tracked")),
        };
    };
    let state = state.unwrap_or(State::Established);
    let wanted = table.seconds(&rule.object, state).unwrap_or(0);
    let is_right = (wanted.saturating_sub(late)..=wanted).contains(left);
    if is_right && labels.contains(&rule.label) {
        return Ok(());
    }
    wrong(format!(
        "the service {service}: {whose} that matches `{}` got {left}s in the state {} and not \
         {wanted}s",
        rule.terms,
        state.name()
    ))
}
