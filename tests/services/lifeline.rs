//! The lifeline: management traffic that no full table can lock out.

use std::fs;

use crate::network;
use crate::support::{Told, World, assert_same};
use crate::{apply, listed, plan, world, write};

const LIFELINE: &str = "[lifeline]
from = [\"10.1.0.0/24\", \"2001:db8:1::/64\"]
ports = [22]
";

/// Fills the table to the last entry with flows that the kernel does not evict.
const FILL: &str = r#"
MAX=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
seq 0 $((MAX + 99)) | awk '{ print "-I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 400000 -s 10." \
    64 + int($1 / 65536) "." int($1 / 256) % 256 "." $1 % 256 " -d 192.0.2.1 --sport 1025 --dport 80" }' > /run/fill
conntrack -R /run/fill >/dev/null 2>&1 || true
rm /run/fill
"#;

/// A filter as an operator has one, with what the lifeline needs.
const FILTER: &str = "
nft 'table inet filter {
    chain i { type filter hook input priority 0; policy drop; ct state untracked accept;
        ct state new,established accept;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; iif lo accept; }
    chain f { type filter hook forward priority 0; policy drop; ct state untracked accept;
        ct state new,established accept; }
}'
";

/// A shell that a client of port 22 types into, one command a line.
const SHELL: &str = r"
import socket, subprocess
server = socket.create_server(('', 22))
while True:
    typed = server.accept()[0].makefile('rw')
    for line in typed:
        ran = subprocess.run(line, shell=True, text=True, stdout=-1, stderr=-2)
        print(ran.returncode, ran.stdout.replace('\n', ' '), file=typed, flush=True)
";

const TYPE: &str = r"
import socket
typed = socket.create_connection(('10.1.0.1', 22), 20).makefile('rw')
for line in ('cttune apply own --set udp_timeout=77 --yes --confirm-within 5m',
             'cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout', 'conntrack -C',
             'cttune confirm', 'cttune rollback --dry-run'):
    print(line, file=typed, flush=True)
    print(typed.readline().strip())
";

#[test]
fn a_full_table_locks_out_who_has_no_lifeline_and_nobody_who_has_one() {
    let world = world(LIFELINE);
    for (name, text) in [("shell.py", SHELL), ("type.py", TYPE)] {
        fs::write(world.path(&format!("/run/{name}")), text).unwrap();
    }
    // As many as the kernel lets a namespace have: what the sandbox calls max is simulated.
    let max = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let max = max.trim();
    world.sh(&format!(
        "echo {max} > /proc/sys/net/netfilter/nf_conntrack_max"
    ));
    let script = format!(
        r#"{FILTER}
listen "$S" 4 tcp - 22; listen "$S" 6 tcp - 22; listen "" 6 tcp - 22
python3 /run/shell.py & PIDS="$PIDS $!"
{FILL}
everywhere() {{
    for to in '4 tcp 10.2.0.2' '6 tcp 2001:db8:2::2' '4 tcp 10.1.0.1' '6 tcp 2001:db8:1::1'; do
        $C python3 /run/talk.py talk $to 22 $1 $2
    done
}}
everywhere 5 0.6
conntrack -C
cttune apply own --yes --only live >/dev/null
everywhere 25 20
$C python3 /run/talk.py talk 4 tcp 10.2.0.2 80 3 0.6
conntrack -L -p tcp --dport 22 2>/dev/null | wc -l
$C python3 /run/type.py
"#
    );
    let told = network::with_network(&world, &script);
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(
        told[..11],
        ["0", "0", "0", "0", max, "25", "25", "25", "25", "0", "0"],
        "{told:?}"
    );
    let typed = &told[11..];
    for (line, said) in typed
        .iter()
        .zip(["0 ", "0 77", &format!("0 {max}"), "0 ", "0 "])
    {
        assert!(line.starts_with(said), "{typed:?}");
    }
    assert_eq!(typed.len(), 5, "{typed:?}");
}

#[test]
fn a_lifeline_that_the_rules_would_drop_is_refused_with_the_rules_to_add() {
    let world = world(LIFELINE);
    world.sh(
        "nft 'table inet f { chain i { type filter hook input priority 0; policy drop;
         tcp dport 22 ct state new accept; }; }'",
    );
    let before = (world.state(), listed(&world));
    let told = apply(&world, &[]).exits(1).error();
    let message = told["message"].as_str().unwrap();
    assert!(
        message.ends_with("the lifeline; nothing was changed"),
        "{message}"
    );
    let hint = told["hint"].as_str().unwrap();
    let add: Vec<&str> = hint
        .lines()
        .filter(|line| line.starts_with("nft insert"))
        .collect();
    assert_eq!(add[0], "nft insert rule inet f i ct state untracked accept");
    assert_same(&before.0, &world.state(), "refused");
    assert_eq!(listed(&world), before.1);
    world.sh(&add.join("\n"));
    // Sessions that are tracked by now are tracked no more.
    let session = "-p tcp -s 10.1.0.7 -d 192.0.2.1 --sport 999 --dport 22";
    world.sh(&format!(
        "conntrack -I {session} --state ESTABLISHED -t 999 -u SEEN_REPLY,ASSURED"
    ));
    let other = session.replace("10.1.0.7", "10.7.0.7");
    world.sh(&format!(
        "conntrack -I {other} --state ESTABLISHED -t 999 -u SEEN_REPLY,ASSURED"
    ));
    apply(&world, &[]).exits(0);
    let left = world.sh("conntrack -L 2>/dev/null");
    assert!(
        left.contains("10.7.0.7") && !left.contains("10.1.0.7"),
        "{left}"
    );
    // Taking it away warns of the sessions that it had.
    write(&world, "[lifeline]\n");
    let planned = plan(&world, &[]);
    let why = planned["steps"][0]["why"].as_str().unwrap();
    assert!(why.contains("may hang"), "{why}");
}

#[test]
fn the_operators_session_is_told_of_where_the_table_fills() {
    let world = World::with_flows(3000);
    world.sh("echo 3600 >/proc/sys/net/netfilter/nf_conntrack_max; mkdir -p /etc/cttune/profiles");
    write(&world, LIFELINE);
    let lines = |session: &str, profile: &[&str]| {
        let mut command = world.command("cttune");
        command.args(["check", "--json"]).args(profile);
        command.env("SSH_CONNECTION", session);
        let checked = Told::by(&mut command).json();
        let findings = checked["findings"].as_array().unwrap().iter();
        let mut own = findings.filter(|one| one["id"] == "no-lifeline");
        own.next()
            .map(|one| one["message"].as_str().unwrap().to_owned())
    };
    let session = "198.51.100.9 50022 10.1.0.1 22";
    assert_eq!(lines(session, &[]), None);
    // sshd behind a translation sees another address than the client meant.
    for (made, session) in [
        ("-s 198.51.100.9 -d 10.1.0.1", session),
        (
            "-s 2001:db8::9 -d 2001:db8::1 -r 2001:db8:1::1 -q 2001:db8::9 \
             --reply-port-src 22 --reply-port-dst 50022",
            "2001:db8::9 50022 2001:db8:1::1 22",
        ),
    ] {
        world.sh(&format!(
            "conntrack -I -p tcp {made} --sport 50022 --dport 22 --state ESTABLISHED -t 999 \
             -u SEEN_REPLY,ASSURED"
        ));
        let told = lines(session, &[]).unwrap();
        assert!(told.contains("which is 83."), "{told}");
    }
    assert_eq!(lines(session, &["own"]), None);
    world.sh("echo 76800 >/proc/sys/net/netfilter/nf_conntrack_max");
    assert_eq!(lines(session, &[]), None);
}
