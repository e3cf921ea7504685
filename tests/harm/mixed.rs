//! Live connections while timeouts are changed by hand, flows are updated by `conntrack -U`, the wall
//! clock is stepped, cttune sets times itself, and idle flows are ended.
//!
//! No test may set the clock of the machine: a stepped clock is libfaketime's, for cttune alone.
//! Needs the package faketime.

use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::inside::goes_inside;
use crate::net::{Connection, End, Net, Outcome, SERVERS, SYN_ONLY, until};
use crate::support::Told;

/// Connections, half of them over IPv6.
const LIVE: usize = 24;

/// For how long flows are watched, and so the idle time that is proven.
const OBSERVE: Duration = Duration::from_secs(2);

/// After this time a flow has less left than its timeout, by more than the rounding.
const SETTLED: Duration = Duration::from_millis(3500);

/// A third of the connections is silent while flows are watched.
fn is_silent(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// Timeouts that are set by hand, all longer than a connection is ever silent unless it may end.
const TIMEOUTS: [u32; 5] = [90, 300, 600, 7440, 432_000];

/// Rounds of one firewall; more are spread over firewalls that run beside each other.
const ROUNDS: u64 = 13;

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A connection, when it last spoke, and how long it had been silent when a word no longer arrived.
struct Live {
    connection: Connection,
    spoke: Instant,
    silent: Option<Duration>,
}

impl Live {
    fn new(net: &Net, number: usize) -> Self {
        let connection = net.connect(SERVERS[number % 2]);
        Live {
            connection,
            spoke: Instant::now(),
            silent: None,
        }
    }

    fn speak(&mut self, first: End) -> Outcome {
        let before = self.spoke.elapsed();
        let outcome = self.connection.speak(first);
        match outcome {
            Outcome::Answered => self.spoke = Instant::now(),
            Outcome::Lost | Outcome::Reset => self.silent = Some(before),
        }
        outcome
    }

    /// For how long it was silent before it was ended, at most.
    fn silence(&self) -> Duration {
        self.silent.unwrap_or_else(|| self.spoke.elapsed())
    }
}

/// What happened, for the one who reads it.
#[derive(Debug, Default)]
struct Sum {
    deleted: u64,
    clamped: u64,
    re_aged: u64,
    by_hand: u64,
    updates: u64,
    steps: u64,
    spoke: u64,
    came: u64,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Sum) {
        self.deleted += other.deleted;
        self.clamped += other.clamped;
        self.re_aged += other.re_aged;
        self.by_hand += other.by_hand;
        self.updates += other.updates;
        self.steps += other.steps;
        self.spoke += other.spoke;
        self.came += other.came;
    }
}

fn faketime() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").unwrap().find_map(|folder| {
        let path = folder.unwrap().path().join("faketime/libfaketime.so.1");
        path.exists().then_some(path)
    });
    found.expect("the package faketime")
}

/// `cttune expire` under a wall clock that is off by so many seconds, and stepped while it runs.
fn expire(net: &Net, random: &mut Random, args: &[&str], sum: &mut Sum) -> serde_json::Value {
    let mut command = net.expire_command(args);
    if random.below(2) == 0 {
        return Told::by(&mut command).exits(0).json();
    }
    sum.steps += 1;
    let file = PathBuf::from(net.state()).with_extension("clock");
    let mut step = || {
        format!(
            "{:+}s",
            i64::try_from(random.below(4_000_000)).unwrap() - 2_000_000
        )
    };
    std::fs::write(&file, step()).unwrap();
    command
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", &file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let (then, running) = (step(), AtomicBool::new(true));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while running.load(Ordering::Relaxed) && begun.elapsed() < OBSERVE / 2 {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::fs::write(&file, &then).unwrap();
        });
        let told = Told::by(&mut command);
        running.store(false, Ordering::Relaxed);
        told.exits(0).json()
    })
}

/// What somebody does to the timeouts and the flows before, or while, cttune looks at them.
fn meddle(net: &Net, random: &mut Random, live: &[Live], sum: &mut Sum) {
    match random.below(5) {
        0 | 1 => {
            sum.by_hand += 1;
            net.set("tcp_timeout_established", random.one(&TIMEOUTS));
        }
        2 => {
            sum.by_hand += 1;
            net.set("tcp_timeout_established", random.one(&TIMEOUTS));
            net.set("tcp_timeout_established", 600);
        }
        _ => {
            sum.updates += 1;
            let (from, to) = live[random.below(live.len())].connection.tuple;
            let (family, time) = if from.is_ipv4() {
                ("ipv4", 4000)
            } else {
                ("ipv6", 400_000)
            };
            let time = 100 + random.below(time);
            // It may have been ended meanwhile.
            net.sh(&format!(
                "conntrack -U -f {family} -p tcp --sport {} --dport {} -t {time} 2>/dev/null || :",
                from.port(),
                to.port()
            ));
        }
    }
}

/// All rounds, on as many firewalls as they need.
fn all_rounds(chains: &str, seed: u64) -> (u64, Sum) {
    let total: u64 =
        std::env::var("CTTUNE_TEST_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        let firewall = |number: u64| {
            let some = ROUNDS.min(total - number * ROUNDS);
            scope.spawn(move || rounds(chains, seed + 2 * number, some))
        };
        let firewalls: Vec<_> = (0..total.div_ceil(ROUNDS)).map(firewall).collect();
        for firewall in firewalls {
            sum += firewall.join().unwrap();
        }
    });
    (total, sum)
}

fn rounds(chains: &str, seed: u64, rounds: u64) -> Sum {
    let net = Net::new(chains);
    let mut random = Random(seed);
    let mut sum = Sum::default();
    let live: Vec<Live> = (0..LIVE).map(|number| Live::new(&net, number)).collect();
    let live = Mutex::new(live);
    for round in 0..rounds {
        // What cttune does before: it sets times itself.
        for _ in 0..random.below(3) {
            meddle(&net, &mut random, &live.lock().unwrap(), &mut sum);
        }
        let before: &[&str] = match random.below(4) {
            0 => &["--spread", "40s"],
            1 => &["--mode", "re-age", "--observe", "1s", "--grace", "60s"],
            _ => &[],
        };
        let told = expire(&net, &mut random, before, &mut sum);
        sum.clamped += told["clamped"].as_u64().unwrap();
        sum.re_aged += told["re_aged"].as_u64().unwrap();
        // Nobody may have been ended by that, however long it was silent.
        let after = net.flows();
        for (number, one) in live.lock().unwrap().iter_mut().enumerate() {
            let tuple = &one.connection.tuple;
            assert!(
                after.contains_key(tuple),
                "round {round}: {before:?}: {tuple:?}: {told}"
            );
            let first = random.one(&[End::Client, End::Server]);
            if !is_silent(number) && random.below(3) == 0 {
                sum.spoke += 1;
                assert_eq!(
                    one.speak(first),
                    Outcome::Answered,
                    "round {round}: {before:?}"
                );
            }
        }
        // Of a flow that has about its timeout left nothing is proven.
        let begun = Instant::now();
        until("no flow has its timeout left", || begun.elapsed() > SETTLED);
        delete(&net, round, &mut random, &live, &mut sum);
        // Who was ended is replaced, and the others are alive.
        let left = net.flows();
        for (number, one) in live.lock().unwrap().iter_mut().enumerate() {
            if !left.contains_key(&one.connection.tuple) {
                *one = Live::new(&net, number);
            }
            assert_eq!(one.speak(End::Server), Outcome::Answered, "round {round}");
        }
    }
    sum
}

/// Ends what was watched and silent, while some speak: none of those may be ended.
fn delete(net: &Net, round: u64, random: &mut Random, live: &Mutex<Vec<Live>>, sum: &mut Sum) {
    let done = AtomicBool::new(false);
    let (seed, before) = (random.below(1 << 30) as u64, net.flows());
    let observe = format!("{}s", OBSERVE.as_secs());
    let mut meddled = Sum::default();
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Two thirds speak now and then; the others are silent.
            let mut random = Random(seed);
            for number in (0..LIVE).cycle() {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let mut live = live.lock().unwrap();
                let one = &mut live[number];
                if is_silent(number) {
                    if random.below(100) == 0 {
                        meddle(net, &mut random, &live, &mut meddled);
                    }
                } else if random.below(200) == 0 {
                    *one = Live::new(net, number);
                    meddled.came += 1;
                } else if one.silent.is_none() {
                    one.speak(random.one(&[End::Client, End::Server]));
                    meddled.spoke += 1;
                }
                drop(live);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let args = ["--mode", "delete", "--observe", &observe];
        let told = expire(net, random, &args, sum);
        done.store(true, Ordering::Relaxed);
        told
    });
    let after = net.flows();
    sum.deleted += told["deleted"].as_u64().unwrap();
    *sum += meddled;
    for one in live.lock().unwrap().iter() {
        let (silence, tuple) = (one.silence(), &one.connection.tuple);
        assert!(
            silence >= OBSERVE || after.contains_key(tuple),
            "round {round}: ended after {silence:?} of silence: {tuple:?}, before {:?}: {told}",
            before.get(tuple)
        );
    }
}

#[allow(clippy::print_stdout)]
fn shows(name: &str, (rounds, sum): (u64, Sum)) {
    println!("{name}: {rounds} rounds, {sum:?}; no flow ended that spoke within {OBSERVE:?}");
    assert!(sum.deleted >= rounds && sum.clamped > 0, "{sum:?}");
}

/// `CTTUNE_TEST_ROUNDS` says how many rounds; the numbers are told with `--nocapture`.
#[test]
fn whatever_else_sets_its_time_no_live_flow_is_ended() {
    if goes_inside("mixed::whatever_else_sets_its_time_no_live_flow_is_ended") {
        return;
    }
    shows("syn only", all_rounds(SYN_ONLY, 1));
}

#[test]
fn whatever_else_sets_its_time_no_translated_flow_is_ended() {
    if goes_inside("mixed::whatever_else_sets_its_time_no_translated_flow_is_ended") {
        return;
    }
    let chains = format!(
        "{SYN_ONLY}\n chain nat {{ type nat hook postrouting priority srcnat; oifname s masquerade; }}"
    );
    shows("masquerade", all_rounds(&chains, 2));
}
