//! Connections that are alive while many others come and go and the table is clamped time after
//! time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::inside::goes_inside;
use crate::net::{Connection, End, Net, Outcome, SERVERS, until};

/// 20,000 short connections in a minute.
const PACE: Duration = Duration::from_millis(3);

/// Connections that come and go in a round, half of them under the long timeouts.
const IN_A_ROUND: u64 = 400;

/// States whose timeouts go up and down; what they are down and up.
const TIMEOUTS: [(&str, &str, u32, u32); 4] = [
    ("ESTABLISHED", "tcp_timeout_established", 30, 432_000),
    ("FIN_WAIT", "tcp_timeout_fin_wait", 5, 120),
    ("CLOSE_WAIT", "tcp_timeout_close_wait", 5, 60),
    ("TIME_WAIT", "tcp_timeout_time_wait", 2, 120),
];

/// How long a word may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Live connections, half of them over IPv6.
const LIVE: usize = 40;

/// Of these, one part speaks in each round, so that a flow is silent for as many rounds.
const PARTS: usize = 4;

/// `CTTUNE_TEST_ROUNDS` says how many rounds; the numbers are told with `--nocapture`.
#[test]
#[allow(clippy::print_stdout)]
fn no_live_connection_breaks_while_others_come_and_go() {
    if goes_inside("churn::no_live_connection_breaks_while_others_come_and_go") {
        return;
    }
    let rounds = std::env::var("CTTUNE_TEST_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let net = Net::syn_only();
    let mut live: Vec<(Connection, Instant)> = (0..LIVE)
        .map(|n| (net.connect(SERVERS[n % 2]), Instant::now()))
        .collect();
    let mut longest_silence = Duration::ZERO;
    let listeners = SERVERS.map(|server| net.listen(server, 0));
    let addresses = listeners.each_ref().map(|one| one.local_addr().unwrap());
    let [stop, left] = [false; 2].map(AtomicBool::new);
    let (come, begun) = (AtomicU64::new(0), Instant::now());
    let (mut clamped, mut gone) = (0, 0);
    let enough = |round: usize, more: u64| {
        let due = round as u64 * IN_A_ROUND + more;
        until("enough come and go", || come.load(Ordering::Relaxed) >= due);
    };
    std::thread::scope(|scope| {
        // However a round ends, those who come and go are told to stop.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        for listener in &listeners {
            scope.spawn(|| serve(listener, &left));
        }
        scope.spawn(|| {
            let _left = OnDrop(|| left.store(true, Ordering::Relaxed));
            net.on_client(|| come_and_go(&addresses, &stop, &come));
        });
        for round in 0..rounds {
            for (_, name, _, up) in TIMEOUTS {
                net.set(name, up);
            }
            for (connection, spoke) in live.iter_mut().skip(round % PARTS).step_by(PARTS) {
                let silence = spoke.elapsed();
                longest_silence = longest_silence.max(silence);
                let is_in_time = silence < Duration::from_secs(TIMEOUTS[0].2.into());
                assert!(is_in_time, "too slow a machine: {silence:?} of silence");
                let outcomes = [End::Client, End::Server].map(|first| connection.speak(first));
                assert_eq!(
                    outcomes,
                    [Outcome::Answered; 2],
                    "round {round}, after {silence:?} of silence: {:?}",
                    net.flows().get(&connection.tuple)
                );
                *spoke = Instant::now();
            }
            enough(round, IN_A_ROUND / 2);
            for (_, name, down, _) in TIMEOUTS {
                net.set(name, down);
            }
            let told = net.expire(&[]);
            clamped += told["clamped"].as_u64().unwrap();
            gone += told["gone"].as_u64().unwrap();
            assert_eq!(told["failed"], 0, "{told}");
            for ((client, _), (state, seconds)) in net.flows() {
                let longest = TIMEOUTS.iter().find(|(name, ..)| *name == state);
                let is_longer = longest.is_some_and(|(.., down, _)| seconds > *down);
                assert!(
                    !is_longer,
                    "round {round}: {client} {state} has {seconds} s"
                );
            }
            enough(round, IN_A_ROUND);
        }
    });
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let broken = live
        .iter()
        .filter(|(one, _)| one.speak(End::Server) != Outcome::Answered)
        .count();
    let come = come.into_inner();
    println!(
        "{rounds} rounds in {minutes:.2} min, {come} connections came and went, \
         {clamped} flows clamped, {gone} gone meanwhile; {broken} of {LIVE} live ones broke, \
         silent for {longest_silence:.1?} at most"
    );
    assert_eq!(broken, 0);
    // Each round clamped the part that spoke, and some that came and went.
    let spoke = rounds * LIVE / PARTS;
    assert!(clamped > u64::try_from(spoke).unwrap(), "{clamped} {spoke}");
}

/// Does something when it goes, on a panic too.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Answers one word on each connection, until nobody comes any more.
fn serve(listener: &TcpListener, left: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    while !left.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut word = [0];
                if stream.read_exact(&mut word).is_ok() {
                    stream.write_all(&word).unwrap();
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Connects, says a word, hears it and leaves, over and over.
fn come_and_go(addresses: &[SocketAddr; 2], stop: &AtomicBool, come: &AtomicU64) {
    let begun = Instant::now();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut stream = TcpStream::connect(addresses[number as usize % 2]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        come.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep((PACE * number).saturating_sub(begun.elapsed()));
    }
}
