//! Profiles that are odd and right: names, addresses, and what is written twice.

use crate::support::World;
use crate::{apply, finding, kinds, listed, plan, world, write};

/// Applies a profile, which must be in line afterwards and once more change nothing.
fn applies(world: &World, text: &str) -> String {
    write(world, text);
    let told = world.cttune(&["apply", "own", "--yes"]).exits(0).stderr;
    assert_eq!(finding(world), None, "{text}");
    assert_eq!(kinds(&plan(world, &[])), [""; 0], "{text}");
    told
}

#[test]
fn names_and_terms_may_be_odd() {
    let world = world("");
    let names = [
        "all", "table", "tcp", "udp_1", "-", "--help", "_", "UPPER", "upper", "a_tcp_b",
    ];
    let services = names
        .iter()
        .zip(1..)
        .map(|(name, port)| format!("[service.{name}]\nmatch = [\"dport={port}\"]\nclose = 5\n"));
    applies(&world, &services.collect::<String>());
    for name in names {
        assert!(
            listed(&world).contains(&format!("service_{name}_tcp_")),
            "{name}"
        );
    }
    for terms in [
        // One rule, written in two ways.
        "\"dport=53\", \"proto=udp,dport=53\", \"dport=53\"",
        "\"dport=0-65535\"",
        "\"family=ipv6\"",
        "\"family!=ipv4,proto!=tcp\"",
        "\"src=0.0.0.0/1,dport=9\", \"dst=0.0.0.0/0,sport>5\"",
        "\"zone=4,proto=udp\", \"zone!=4,dport<9\"",
        "\"proto=17,dport=ssh\"",
    ] {
        let told = applies(
            &world,
            &format!("[service.x]\nmatch = [{terms}]\nreplied = 9\n"),
        );
        assert!(!told.contains("not tried"), "{terms}: {told}");
    }
    applies(
        &world,
        "[service.x]\nmatch = [\"dport=9\"]\nclose = 4294967\n",
    );
    applies(&world, "");
    assert_eq!(listed(&world), "");
}

#[test]
fn what_no_router_passes_is_said_to_be_untried() {
    let world = world("");
    for terms in [
        "proto=udp,dst=224.0.0.251,dport=5353",
        "proto=udp,src=fe80::/10,dport=546",
        "proto=udp,dst=127.0.0.53,dport=53",
        "proto=udp,src=0.0.0.0,dport=67",
    ] {
        let text =
            format!("[service.x]\nmatch = [\"{terms}\", \"proto=udp,dport=99\"]\nreplied = 9\n");
        let told = applies(&world, &text);
        assert!(
            told.contains(&format!("passes such packets: `{terms}`")),
            "{told}"
        );
    }
}

#[test]
fn every_network_of_a_lifeline_is_tried() {
    let world = world("");
    let lifeline = |from: &str| format!("[lifeline]\nfrom = [{from}]\nports = [22, 40000]\n");
    applies(&world, &lifeline("\"0.0.0.0/0\", \"::/0\", \"fe80::/10\""));
    let both = lifeline("\"192.0.2.0/24\", \"198.51.100.0/24\"");
    world.sh(
        "nft 'table inet f { chain i { type filter hook input priority 0; policy drop;
         ip saddr 192.0.2.0/24 ct state untracked accept; }; }'",
    );
    applies(&world, &lifeline("\"192.0.2.0/24\""));
    write(&world, &both);
    let told = apply(&world, &[]).exits(1);
    told.says(&["nft insert rule inet f i ct state untracked accept"]);
}
