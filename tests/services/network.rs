//! A client, the world of a test as the router, and a server.

use crate::support::{Told, World};

/// A client, this world as the router, and a server, with IPv4 and IPv6; `$C` and `$S` run a command
/// in the network of either, and `hold` keeps a flow open and says when its last packet was.
const NETWORK: &str = r#"
cat > /run/talk.py <<'END'
import signal, socket, sys
family = {'4': socket.AF_INET, '6': socket.AF_INET6}[sys.argv[2]]
kind = {'tcp': socket.SOCK_STREAM, 'udp': socket.SOCK_DGRAM}[sys.argv[3]]
one = socket.socket(family, kind)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if sys.argv[1] == 'listen':
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(('', int(sys.argv[5])))
    if sys.argv[3] == 'tcp':
        one.listen(300)
    print('up', flush=True)
    kept = []
    while True:
        if sys.argv[3] == 'tcp':
            kept.append(one.accept()[0])
        else:
            data, peer = one.recvfrom(99)
            one.sendto(data, peer)
elif sys.argv[1] == 'hold':
    one.settimeout(30)
    one.connect((sys.argv[4], int(sys.argv[5])))
    if sys.argv[3] == 'udp':
        one.send(b'x')
        one.recv(9)
    print('held', open('/proc/uptime').read().split()[0], flush=True)
    signal.pause()
else:
    done = 0
    for number in range(int(sys.argv[6])):
        try:
            one = socket.socket(family, kind)
            one.settimeout(float(sys.argv[7]))
            one.connect((sys.argv[4], int(sys.argv[5])))
            if sys.argv[3] == 'udp':
                one.send(b'x')
                one.recv(9)
            done += 1
        except OSError:
            pass
    print(done)
END
C="nsenter -t $CLIENT -n"; S="nsenter -t $SERVER -n"
ip link set lo up
ip link add r1 type veth peer name c netns $CLIENT
ip link add r2 type veth peer name s netns $SERVER
ip addr add 10.1.0.1/24 dev r1; ip addr add 10.2.0.1/24 dev r2
ip addr add 2001:db8:1::1/64 dev r1 nodad; ip addr add 2001:db8:2::1/64 dev r2 nodad
ip link set r1 up; ip link set r2 up
$C ip addr add 10.1.0.2/24 dev c; $S ip addr add 10.2.0.2/24 dev s
$C ip addr add 2001:db8:1::2/64 dev c nodad; $S ip addr add 2001:db8:2::2/64 dev s nodad
$C ip link set lo up; $C ip link set c up; $S ip link set lo up; $S ip link set s up
$C ip route add default via 10.1.0.1; $S ip route add default via 10.2.0.1
$C ip -6 route add default via 2001:db8:1::1; $S ip -6 route add default via 2001:db8:2::1
echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
listen() {
    where=$1; shift
    $where python3 /run/talk.py listen "$@" > /run/up.$$ & PIDS="$PIDS $!"
    for _ in $(seq 200); do grep -q up /run/up.$$ && break; sleep 0.05; done
    grep -q up /run/up.$$; : > /run/up.$$
}
hold() {
    where=$1; shift
    : > /run/held.$$
    $where python3 /run/talk.py hold "$@" > /run/held.$$ & PIDS="$PIDS $!"
    for _ in $(seq 600); do grep -q held /run/held.$$ && break; sleep 0.05; done
    cat /run/held.$$
}
talk() { $C python3 /run/talk.py talk "$@" 1 5; }
trap 'kill $PIDS' EXIT
"#;

/// Runs a script with the network around it.
pub(crate) fn with_network(world: &World, script: &str) -> String {
    let ((_client, client), (_server, server)) = (world.netns(), world.netns());
    let number = |pid: &str| pid.trim_start_matches("pid:").to_owned();
    let text = format!("{NETWORK}{script}");
    let mut command = world.command_among_processes("sh");
    command.args(["-ec", &text]);
    command
        .env("CLIENT", number(&client))
        .env("SERVER", number(&server));
    Told::by(&mut command).exits(0).stdout
}
