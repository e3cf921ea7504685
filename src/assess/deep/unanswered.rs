//! Flows that were never answered, and handshakes that were never completed: who does that, and why.

use super::flows_and_share;
use crate::assess::{Evidence, Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::flow::Pressure;
use crate::tunable::{Counter, format_share};

/// The share of the flows from which it is a finding, and the least number of them.
const MOST: f64 = 0.5;
const MANY: u64 = 500;
/// The share of them that one source or one destination has where it is the cause.
const ONE: f64 = 0.5;

pub(super) fn finding(pressure: &Pressure, evidence: &Evidence<'_>) -> Option<Finding> {
    let unanswered = &pressure.unanswered;
    if unanswered.all.share < MOST || unanswered.all.flows < MANY {
        return None;
    }
    #[expect(clippy::cast_precision_loss)] // below 2^31
    let part = |flows: u64| flows as f64 / unanswered.all.flows.max(1) as f64;
    let (opening, udp) = (part(unanswered.opening.flows), part(unanswered.udp.flows));
    let half_open = part(unanswered.half_open.flows);
    let or_never_completed = if unanswered.half_open.flows == 0 {
        ""
    } else {
        " or never completed"
    };
    let mut message = format!(
        "{} were never answered{or_never_completed}: {} of them opening TCP connections, {} UDP",
        flows_and_share(unanswered.all),
        format_share(opening),
        format_share(udp)
    );
    let source = unanswered.source.filter(|(_, share)| *share >= ONE);
    let destination = unanswered.destination.filter(|(_, share)| *share >= ONE);
    if let Some((source, share)) = &source {
        message.push_str(&format!("; {} come from {source}", format_share(*share)));
    }
    if let Some((destination, share)) = &destination {
        message.push_str(&format!("; {} go to {destination}", format_share(*share)));
    }
    let invalid = evidence
        .rates
        .and_then(|rates| rates.rate(Counter::Invalid));
    let invalid = invalid.filter(|rate| *rate >= 1.0);
    let one = (source.is_some(), destination.is_some());
    let (cause, help, who) = if half_open >= ONE {
        never_completed()
    } else {
        let (cause, help) = why(one, opening, invalid.is_some());
        (cause, help, "top --match status!=seen-reply")
    };
    Some(Finding::new(
        Id::MostlyUnanswered,
        Severity::Warning,
        format!("{message}: {cause}"),
        Hint::cttune(who).to("see who has them").and(help),
    ))
}

/// Why, what helps, and who: the server answered, and nothing came back.
fn never_completed() -> (&'static str, Hint, &'static str) {
    (
        "servers answer, and the clients never complete the connection: a SYN flood with forged \
         sources, or the answers do not reach them",
        Hint::say("SYN cookies on the server, or nft `synproxy` here"),
        "top --match state=syn_recv",
    )
}

/// Why, and what helps. `one` is whether one source and whether one destination has most of them,
/// `opening` the share of connections that are opening.
fn why(one: (bool, bool), opening: f64, has_invalid: bool) -> (&'static str, Hint) {
    match one {
        _ if has_invalid => (
            "invalid packets come at the same time: answers probably take another route, or only \
             one direction passes here",
            Hint::say(
                "let both directions pass this machine, do not track these flows (nft `notrack`), \
                 or set nf_conntrack_tcp_be_liberal and nf_conntrack_tcp_loose to 1",
            ),
        ),
        (true, false) => (
            "one source asks many destinations: a scan, or a program such as a DHT crawler",
            Hint::cttune("top --remedy").to("print rules that limit it"),
        ),
        (true, true) => (
            "one source asks one destination and gets no answer: a scan of its ports, or a program \
             that tries again and again",
            Hint::cttune("top --remedy").to("print rules that limit it"),
        ),
        (_, true) if opening >= ONE => (
            "many connections to one destination are never completed: a SYN flood, or the server \
             does not answer",
            Hint::say("SYN cookies on the server, or nft `synproxy` here"),
        ),
        (_, true) => (
            "one destination never answers: it is down, or flooded",
            Hint::say("do not track this service (nft `notrack`), or mend the server"),
        ),
        (false, false) => (
            "many sources and many destinations: answers may take another route",
            Hint::say("with `--interval`, check tells whether invalid packets come too"),
        ),
    }
}
