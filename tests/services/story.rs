//! The campus at night, with the service of campus-fw: what `apply --expire` leaves each flow.

use crate::network;
use crate::support::World;

/// Opens connections to the ports, speaks on each, and again each time that the router has done
/// something.
const SPEAK: &str = r"
import socket, time
talks = [socket.create_connection(('10.2.0.2', port), 30) for port in (5228, 80)]
def speak(name):
    for talk in talks:
        talk.send(b'x')
        assert talk.recv(9) == b'x'
    open('/run/' + name, 'w')
def wait(name):
    for _ in range(1200):
        time.sleep(0.05)
        try:
            return open('/run/' + name)
        except OSError:
            pass
    raise SystemExit(1)
speak('spoke')
wait('applied')
talks.append(socket.create_connection(('10.2.0.2', 5228), 30))
speak('again')
wait('end')
";

const ECHO: &str = r"
import socket, threading
def echo(talk):
    while data := talk.recv(9):
        talk.send(data)
def serve(server):
    while True:
        threading.Thread(target=echo, args=[server.accept()[0]], daemon=True).start()
servers = [socket.create_server(('', port)) for port in (5228, 80)]
threads = [threading.Thread(target=serve, args=[server]) for server in servers]
for thread in threads:
    thread.start()
print('up', flush=True)
";

/// A listed connection that is established: where to, its port, its time left.
fn established(line: &str) -> Option<(&str, u64, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    (words.first() == Some(&"tcp") && words.get(3) == Some(&"ESTABLISHED")).then_some(())?;
    let (left, port) = (words.get(2)?.parse().ok()?, value("dport=")?.parse().ok()?);
    Some((value("dst=")?, port, left))
}

#[test]
fn after_the_campus_story_each_flow_has_the_time_of_its_service_and_nobody_is_cut_off() {
    let world = World::story();
    for (name, text) in [("speak.py", SPEAK), ("echo.py", ECHO)] {
        std::fs::write(world.path(&format!("/run/{name}")), text).unwrap();
    }
    let told = network::with_network(
        &world,
        r#"
await() { for _ in $(seq 1200); do [ -e /run/$1 ] && return; sleep 0.05; done; exit 9; }
list() { for family in ipv4 ipv6; do conntrack -L -p tcp -f $family 2>/dev/null; done; }
$S python3 /run/echo.py > /run/up & PIDS="$PIDS $!"
for _ in $(seq 600); do grep -q up /run/up && break; sleep 0.05; done
$C python3 /run/speak.py & SPEAKER=$!
await spoke
cttune apply campus-fw --adopt --expire --yes >/dev/null
echo expired; list; echo spoken
: > /run/applied; await again
list
: > /run/end; wait $SPEAKER
"#,
    );
    let (expired, spoken) = told.split_once("spoken\n").unwrap();
    let (mut push, mut others) = (Vec::new(), Vec::new());
    for (_, port, left) in expired.lines().filter_map(established) {
        let times = if port == 5228 { &mut push } else { &mut others };
        times.push(left);
    }
    assert!(
        push.len() > 50_000 && others.len() > 2000,
        "{} {}",
        push.len(),
        others.len()
    );
    let most = |times: &[u64]| *times.iter().max().unwrap();
    // A minute for a slow machine: hardly any had less than that before.
    assert!((1740..=1800).contains(&most(&push)), "{}", most(&push));
    assert!((7380..=7440).contains(&most(&others)), "{}", most(&others));
    let shortened = |times: &[u64], to: u64| times.iter().filter(|left| **left + 60 >= to).count();
    assert!(shortened(&push, 1800) * 10 > push.len() * 9);

    // Nobody was cut off, and the connection that began afterwards has its service's time.
    let mut own: Vec<(u64, u64)> = spoken
        .lines()
        .filter_map(established)
        .filter(|(to, ..)| *to == "10.2.0.2")
        .map(|(_, port, left)| (port, left))
        .collect();
    own.sort_unstable();
    let ports: Vec<u64> = own.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [80, 5228, 5228], "{own:?}");
    assert!(own[0].1 > 1800, "{own:?}");
    assert!(
        own[1..]
            .iter()
            .any(|(_, left)| (1740..=1800).contains(left)),
        "{own:?}"
    );
}
