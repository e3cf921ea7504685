//! The harm matrix: what becomes of a connection whose flow the firewall forgot, and that flows
//! which speak in time are not forgotten.

use crate::inside::goes_inside;
use crate::net::{Connection, End, Net, Outcome, SERVERS, SYN_ONLY, until};

/// A kind of firewall, and what becomes of a word on a connection that it has forgotten.
struct Firewall {
    name: &'static str,
    chains: String,
    loose: u8,
    client_first: Outcome,
    server_first: Outcome,
}

/// Any packet of the client may open a flow.
const FROM_INSIDE: &str = "chain forward {
    ct state established,related accept
    iifname c ct state new accept
}";

fn firewalls() -> [Firewall; 6] {
    use Outcome::{Answered, Lost, Reset};
    let firewall = |name, chains: &str, loose, client_first, server_first| Firewall {
        name,
        chains: chains.to_owned(),
        loose,
        client_first,
        server_first,
    };
    let with = |chains: &str, hook: &str, rule: &str| {
        format!("{chains}\n chain more {{ type {hook}; {rule}; }}")
    };
    let raw = "filter hook prerouting priority raw";
    let both = with(SYN_ONLY, raw, "ct zone set 7");
    let one = with(SYN_ONLY, raw, "iifname c ct original zone set 7");
    let nat = "nat hook postrouting priority srcnat";
    let masquerade = with(FROM_INSIDE, nat, "oifname s masquerade");
    [
        firewall("syn only", SYN_ONLY, 1, Lost, Lost),
        firewall("from inside", FROM_INSIDE, 1, Answered, Lost),
        firewall("from inside, strict", FROM_INSIDE, 0, Lost, Lost),
        firewall("masquerade", &masquerade, 1, Answered, Reset),
        firewall("zone", &both, 1, Lost, Lost),
        firewall("zone of one direction", &one, 1, Lost, Lost),
    ]
}

/// Seconds that a flow may be silent for.
const TIMEOUT: u32 = 12;

const ENDS: [End; 2] = [End::Client, End::Server];

/// A connection of each family for each end that is to speak first.
fn connections(net: &Net) -> Vec<(Connection, End)> {
    let pairs = SERVERS
        .iter()
        .flat_map(|server| ENDS.map(|end| (server, end)));
    pairs
        .map(|(server, end)| (net.connect(server), end))
        .collect()
}

/// What becomes of a word on connections that the firewall has forgotten.
fn forgotten(firewall: &Firewall, connections: &[(Connection, End)], how: &str) {
    let expected = |first: &End| match first {
        End::Client => firewall.client_first,
        End::Server => firewall.server_first,
    };
    std::thread::scope(|scope| {
        for (connection, first) in connections {
            scope.spawn(move || {
                let outcome = connection.speak(*first);
                let name = firewall.name;
                assert_eq!(outcome, expected(first), "{name}: {how}, {first:?} first");
            });
        }
    });
}

/// Of connections that were all silent when `cttune expire` came, those that speak or keep alive
/// from then on stay, and the others lapse.
fn spares_who_speaks(firewall: &Firewall, mode: &[&str]) {
    let net = Net::new(&firewall.chains);
    net.set("tcp_loose", firewall.loose.into());
    let [speaking, kept_alive, silent] = [(); 3].map(|()| connections(&net));
    net.settle();
    net.set("tcp_timeout_established", TIMEOUT);
    let told = net.expire(mode);
    assert_eq!(told["selected"], 12, "{}: {told}", firewall.name);
    assert_eq!(told["examined"], 12, "{}: {told}", firewall.name);

    for (connection, end) in &kept_alive {
        connection.keep_alive(*end);
    }
    until("the silent ones lapse", || {
        for (connection, first) in &speaking {
            let outcome = connection.speak(*first);
            assert_eq!(outcome, Outcome::Answered, "{}", firewall.name);
        }
        let flows = net.flows();
        !silent.iter().any(|(one, _)| flows.contains_key(&one.tuple))
    });
    for (connection, _) in speaking.iter().chain(&kept_alive) {
        connection.must_work();
    }
    forgotten(firewall, &silent, "lapsed");

    // That they would not have lived without their flows: `delete` of what is idle, but alive.
    net.set("tcp_timeout_established", 432_000);
    let deleted = connections(&net);
    net.settle();
    net.set("tcp_timeout_established", 1);
    let mut arguments: Vec<String> = ["--mode", "delete", "--observe", "2s"]
        .map(str::to_owned)
        .into();
    for (connection, _) in &deleted {
        let (client, server) = connection.tuple;
        let ports = format!("sport={},dport={}", client.port(), server.port());
        arguments.push(format!("--match={ports}"));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = net.expire(&arguments);
    assert_eq!(told["deleted"], 4, "{}: {told}", firewall.name);
    forgotten(firewall, &deleted, "deleted");
}

fn each_firewall_spares_who_speaks(mode: &[&str]) {
    std::thread::scope(|scope| {
        for firewall in firewalls() {
            scope.spawn(move || spares_who_speaks(&firewall, mode));
        }
    });
}

#[test]
fn clamp_spares_who_speaks_within_the_timeout() {
    if goes_inside("matrix::clamp_spares_who_speaks_within_the_timeout") {
        return;
    }
    each_firewall_spares_who_speaks(&["--mode", "clamp"]);
}

#[test]
fn re_age_spares_who_speaks_within_the_grace() {
    if goes_inside("matrix::re_age_spares_who_speaks_within_the_grace") {
        return;
    }
    let grace = format!("--grace={TIMEOUT}s");
    let mode = [
        "--mode",
        "re-age",
        "--trust-history",
        "--was",
        "5d",
        "--settle",
        "2s",
    ];
    each_firewall_spares_who_speaks(&[&mode[..], &[&grace]].concat());
}
