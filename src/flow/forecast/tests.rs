//! What a forecast counts, of flows that are made up.

use super::*;
use crate::flow::captured::TCP;
use crate::flow::expire::{History, Proof, Protected, Timeouts};
use crate::flow::{Policies, StatusBit, TcpState};
use crate::tunable::{Access, Reading, Snapshot};

const NOW: i64 = 1_000_000;

fn timeouts(established: u32) -> Timeouts {
    let values = [
        (Key::TcpTimeoutEstablished, i64::from(established)),
        (Key::TcpTimeoutTimeWait, 120),
        (Key::TcpTimeoutUnacknowledged, 300),
        (Key::TcpTimeoutMaxRetrans, 300),
    ];
    let access = Access::Writable;
    let readings = values.map(|(key, value)| (key, Reading::Value { value, access }));
    Timeouts::of(&Snapshot::new(readings, None))
}

fn question() -> Question {
    Question {
        key: Key::TcpTimeoutEstablished,
        timeout: 10_000,
        candidates: vec![1000, 5000],
        after: vec![100, 2000, 9000],
        to: 1000,
        selection: Selection::default(),
        max: Some(100),
    }
}

struct World {
    known: Known,
    rules: Rules,
}

fn world(proof: Proof) -> World {
    let known = Known {
        timeouts: timeouts(10_000),
        policies: Policies::default(),
        history: History::told(10_000, None, 10_000, NOW),
        lent: None,
    };
    let rules = Rules {
        protected: Protected::default(),
        timeouts: timeouts(1000),
        policies: Policies::default(),
        history: known.history.clone(),
        proof,
        spread: 0,
        grace: 120,
    };
    World { known, rules }
}

/// An established connection with a number and a time left.
fn flow(id: u32, left: u32) -> Flow<'static> {
    let mut flow = Flow::parse(TCP).unwrap();
    flow.id = id;
    flow.timeout = Some(left);
    flow.status.0 |= StatusBit::Confirmed.mask();
    flow
}

fn forecast(flows: &[Flow<'_>], watch: Option<&Watch<'_>>, at: u32) -> Forecast {
    let proof = match watch {
        Some(_) => Proof::Watched {
            minimum: 10,
            timeouts: vec![10_000],
        },
        None => Proof::History,
    };
    let world = world(proof);
    let question = question();
    let mut forecaster = Forecaster::new(&question, &world.known, &world.rules, watch, NOW);
    // In two parts, as two threads read them.
    let mut part = forecaster.part();
    for (number, flow) in flows.iter().enumerate() {
        let to = if number % 3 == 0 {
            &mut part
        } else {
            &mut forecaster
        };
        to.add(flow, Duration::from_millis(at.into()));
    }
    forecaster.merge(part);
    forecaster.finish(None)
}

fn ages(forecast: &Forecast) -> Vec<[u64; 3]> {
    let ages = forecast.ageing.iter();
    ages.map(|age| [age.untouched, age.clamped, age.re_aged])
        .collect()
}

#[test]
fn flows_that_were_idle_for_as_long_as_a_timeout_would_have_ended() {
    // Idle for 0, 999, 1000, 4000, 9000 s, and one that may have stalled.
    let lefts = [10_000, 9001, 9000, 6000, 1000, 200];
    let flows: Vec<_> = (0..).zip(lefts).map(|(id, left)| flow(id, left)).collect();
    let forecast = forecast(&flows, None, 0);
    let split = |place: usize| {
        let flows = forecast.candidates[place].flows;
        (flows.kept, flows.dropped, flows.unknown)
    };
    assert_eq!(split(0), (2, 3, 1));
    assert_eq!(split(1), (4, 1, 1));
    assert_eq!((forecast.total, forecast.flows), (6, 6));
    assert!(forecast.candidates.iter().all(|one| one.margin == 0.0));
    assert_eq!(forecast.candidates[0].losses[0].dropped, 3);
    assert_eq!(forecast.idle_unknown, 1);
    // Clamp leaves 1000 s at most; re-age counts the idle time, but for two minutes.
    assert_eq!(ages(&forecast), [[6, 6, 6], [4, 0, 0], [2, 0, 0]]);
    assert_eq!(forecast.full_in, None);
}

#[test]
fn a_flow_that_sends_goes_on_and_one_that_was_silent_ends() {
    let first = [flow(1, 9000), flow(2, 9000), flow(3, 9990)];
    let all = Selection::default();
    let mut watch = Watch::new(3, 10, timeouts(10_000), &all);
    for flow in &first {
        watch.add(flow, Duration::ZERO);
    }
    let watch = watch.seal();
    // The second sent; a fourth began.
    let second = [flow(1, 8990), flow(2, 9995), flow(3, 9980), flow(4, 9998)];
    let forecast = forecast(&second, Some(&watch), 10_000);
    let proven = forecast.candidates[0].proven.unwrap();
    assert_eq!((proven.kept, proven.dropped), (2, 0));
    // One flow begins in ten seconds, and each lives for its timeout.
    assert_eq!(ages(&forecast)[0], [14, 14, 14]);
    assert_eq!(ages(&forecast)[1][1], 1 + 100);
    let rates = forecast.rates.as_ref().unwrap();
    assert!(
        (rates[0].began - 0.1).abs() < 1e-9 && rates[0].closed == 0.0,
        "{rates:?}"
    );
    // 4 now, 100 fit, one more in ten seconds.
    assert!(
        (930..=990).contains(&forecast.full_in.unwrap()),
        "{:?}",
        forecast.full_in
    );
}

#[test]
fn connections_that_close_as_fast_as_they_begin_do_not_fill_the_table() {
    let all = Selection::default();
    let mut watch = Watch::new(400, 10, timeouts(10_000), &all);
    for id in 0..400 {
        watch.add(&flow(id, 9000), Duration::ZERO);
    }
    let watch = watch.seal();
    // A hundred closed and wait, a hundred others began.
    let mut second: Vec<_> = (0..500).map(|id| flow(id, 8990)).collect();
    for one in second.iter_mut().skip(300).take(100) {
        one.tcp.as_mut().unwrap().state = Some(TcpState::TimeWait);
        one.timeout = Some(115);
    }
    for one in second.iter_mut().skip(400) {
        one.timeout = Some(9995);
    }
    let forecast = forecast(&second, Some(&watch), 10_000);
    let key = forecast.ageing_of_key.last().unwrap();
    // 300 end in time, and as many close as begin.
    assert_eq!((forecast.flows, key.untouched), (400, 100));
    // Those that wait come at ten a second and stay for two minutes.
    assert_eq!(forecast.ageing[2].untouched, 100 + 1200);
}
