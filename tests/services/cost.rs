//! What services cost a packet: the time that a packet takes through the router with twenty
//! services, over the same without.

use std::fmt::Write as _;

use crate::{apply, network, world};

const SERVICES: u16 = 20;

/// Sends many packets of one flow at once, with the table and without, in turn.
const SEND: &str = r"
import ctypes, socket, statistics, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
class Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
class Header(ctypes.Structure):
    _fields_ = [('name', ctypes.c_void_p), ('name_length', ctypes.c_uint32),
                ('vectors', ctypes.c_void_p), ('vector_count', ctypes.c_size_t),
                ('control', ctypes.c_void_p), ('control_length', ctypes.c_size_t),
                ('flags', ctypes.c_int)]
class Message(ctypes.Structure):
    _fields_ = [('header', Header), ('sent', ctypes.c_uint)]
BATCH, ROUNDS, BATCHES = 512, 25, 60
text = ctypes.create_string_buffer(b'x' * 18, 18)
vector = Vector(ctypes.addressof(text), 18)
messages = (Message * BATCH)()
for message in messages:
    message.header.vectors, message.header.vector_count = ctypes.addressof(vector), 1

def flow(port, answered):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect(('10.2.0.2', port))
    one.settimeout(20)
    if answered:
        one.send(b'x')
        one.recv(9)
    return one

def microseconds(one):
    begun = time.perf_counter()
    for _ in range(BATCHES):
        assert libc.sendmmsg(one.fileno(), messages, BATCH, 0) == BATCH
    return (time.perf_counter() - begun) / BATCHES / BATCH * 1e6

def router(command):
    subprocess.run(['nsenter', '-t', sys.argv[1], '-n', 'sh', '-c', command], check=True)

for name, port, answered in ('answered', 1009, True), ('unanswered', 1010, False):
    one = flow(port, answered)
    ratios, plain = [], []
    for _ in range(ROUNDS):
        times = []
        for command in 'nft delete table inet cttune', 'nft -f /etc/cttune/services.nft':
            router(command)
            microseconds(one)
            times.append(microseconds(one))
        plain.append(times[0])
        ratios.append(times[1] / times[0])
    print(name, f'{statistics.median(plain):.2f}', f'{statistics.median(ratios):.3f}',
          f'{min(ratios):.3f}', f'{max(ratios):.3f}', flush=True)
";

#[test]
#[ignore = "measures: needs an idle machine"]
fn twenty_services_cost_a_packet_at_most_a_twentieth() {
    let mut profile = "extends = \"kernel-defaults\"\n".to_owned();
    for number in 1..=SERVICES {
        let (to, reply) = (1000 + number, 100 + number);
        write!(
            profile,
            "[service.s{number}]\nmatch = [\"proto=udp,dport={to}\"]\nreplied = {reply}\n"
        )
        .unwrap();
    }
    let world = world(&profile);
    apply(&world, &[]).exits(0);
    std::fs::write(world.path("/run/send.py"), SEND).unwrap();
    let told = network::with_network(
        &world,
        r#"
# Connections are tracked without services too: a firewall that knows states.
nft 'table inet firewall {
    chain f { type filter hook forward priority 0; ct state established accept; }
}'
$S python3 -c '
import signal, socket
once, never = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
once.bind(("", 1009))
never.bind(("", 1010))
print("up", flush=True)
once.sendto(*once.recvfrom(9))
signal.pause()' > /run/up & PIDS="$PIDS $!"
for _ in $(seq 200); do grep -q up /run/up && break; sleep 0.05; done
$C python3 /run/send.py $$
"#,
    );
    println!("microseconds a packet without, ratio: median, least, most\n{told}");
    let medians = told.lines().map(|line| line.split(' ').nth(2).unwrap());
    let medians: Vec<f64> = medians.map(|median| median.parse().unwrap()).collect();
    assert_eq!(medians.len(), 2, "{told}");
    assert!(medians.iter().all(|median| *median <= 1.05), "{told}");
}
