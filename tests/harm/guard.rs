//! A flood of connections that are left in silence, and a guard that makes room for it: nobody who
//! speaks in time loses a connection.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde_json::Value;

use crate::inside::goes_inside;
use crate::net::{Connection, End, Net, Outcome, SERVERS};

/// Silence for which an established connection has to be watched, in seconds.
const MINIMUM: u64 = 5;

const HIGH: u64 = 600;
const LOW: u64 = 400;

/// Connections that are left in silence; `CTTUNE_TEST_FLOOD` says how many.
const FLOOD: usize = 2000;

const LIVE: usize = 20;

/// Between two connections of the flood.
const PACE: Duration = Duration::from_millis(12);

#[test]
#[allow(clippy::print_stdout)]
fn a_guard_makes_room_and_ends_nobody_who_speaks() {
    if goes_inside("guard::a_guard_makes_room_and_ends_nobody_who_speaks") {
        return;
    }
    let flood = std::env::var("CTTUNE_TEST_FLOOD").map_or(FLOOD, |flood| flood.parse().unwrap());
    let net = Net::syn_only();
    let guard = Guard::start(&net);
    let live: Vec<Connection> = (0..LIVE).map(|n| net.connect(SERVERS[n % 2])).collect();
    let listeners = SERVERS.map(|server| net.listen(server, 0));
    let mut spoke = vec![Instant::now(); LIVE];
    let mut longest = Duration::ZERO;
    let mut most = 0;
    let mut left = HashSet::new();
    let begun = Instant::now();
    for number in 0..flood {
        let due = PACE * u32::try_from(number).unwrap();
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let connection = net.connect_to(&listeners[number % 2]);
        // The kernel may give a port again whose connection was abandoned.
        left.insert(connection.tuple);
        abandon(connection);
        // Each of them speaks in turn, well within the minimum.
        let turn = number % LIVE;
        let silence = spoke[turn].elapsed();
        longest = longest.max(silence);
        let is_in_time = silence < Duration::from_secs(MINIMUM - 1);
        assert!(is_in_time, "too slow a machine: {silence:?} of silence");
        let end = [End::Client, End::Server][number / LIVE % 2];
        assert_eq!(live[turn].speak(end), Outcome::Answered, "{number}");
        spoke[turn] = Instant::now();
        if number % 50 == 0 {
            most = most.max(net.sh("conntrack -C").trim().parse().unwrap());
        }
    }
    let events = guard.stop();
    let ended: u64 = events.iter().map(established).sum();
    println!(
        "{flood} connections left in silence ({} entries), {ended} ended by the guard in {} passes, \
         {most} entries at most; {LIVE} live ones, silent for {longest:.1?} at most",
        left.len(),
        events.len()
    );
    for connection in &live {
        connection.must_work();
    }
    let entries: u64 = net.sh("conntrack -C").trim().parse().unwrap();
    let were = (left.len() + LIVE) as u64;
    assert!(ended + entries >= were, "{ended} {entries} {were}");
    // What the machine opens in the silence that has to be watched first cannot be ended.
    let young = u64::from(u32::try_from(flood).unwrap()).saturating_sub(ended);
    assert!(most <= HIGH + young, "{most} {young}");
    assert!(ended > 0, "{events:?}");
}

/// Closes both ends without a packet.
fn abandon(connection: Connection) {
    for end in [&connection.client, &connection.server] {
        setsockopt(end, sockopt::TcpRepair, &1).unwrap();
    }
}

fn established(event: &Value) -> u64 {
    let ended = event["ended"].as_array().unwrap().iter();
    let established = ended.filter(|one| one["class"] == "established");
    established.map(|one| one["flows"].as_u64().unwrap()).sum()
}

struct Guard(Child);

impl Guard {
    fn start(net: &Net) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
        command.args(["guard", "--json", "--netns", &net.netns(), "--poll", "1s"]);
        command.args(["--high", &HIGH.to_string(), "--low", &LOW.to_string()]);
        let idle = format!("established-i-accept-broken-connections={MINIMUM}s");
        command
            .args(["--min-idle", &idle])
            .env("CTTUNE_STATE_DIR", net.state());
        Guard(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn stop(self) -> Vec<Value> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        let output = self.0.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
