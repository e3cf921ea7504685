//! The table: what `conntrack` counts in it.

use std::fs;

use super::{Place, callers, output, sandbox, script};

#[test]
fn the_table_is_the_story_s_as_conntrack_counts_it() {
    let place = Place::new();
    for caller in callers() {
        let listed = script(
            &place,
            caller,
            "76768",
            "PATH=$PATH:/usr/sbin:/sbin; conntrack -C; conntrack -L -o extended 2>/dev/null",
        );
        let (count, flows) = listed.split_once('\n').unwrap();
        assert!(count.parse::<u32>().unwrap() >= 76_032, "{count}");
        let lines: Vec<&str> = flows.lines().collect();
        // The one with a second to live may have gone.
        assert!((76_767..=76_768).contains(&lines.len()), "{}", lines.len());

        let having = |terms: &[&str]| {
            lines
                .iter()
                .filter(|line| terms.iter().all(|t| line.contains(t)))
                .count()
        };
        let push = " dst=2a00:1450:400b:c02::bc sport=";
        let to_push = having(&[push, " dport=5228 ", "ESTABLISHED", "[ASSURED]"]);
        assert!((51_999..=52_000).contains(&to_push), "{to_push}");
        assert_eq!(having(&["ESTABLISHED", "[ASSURED]"]), to_push + 3_000);
        assert_eq!(having(&["ESTABLISHED"]), to_push + 3_000);
        for (state, flows) in [
            ("SYN_SENT", 900),
            ("SYN_RECV", 300),
            ("FIN_WAIT", 1_700),
            ("CLOSE_WAIT", 1_000),
            ("LAST_ACK", 300),
            ("TIME_WAIT", 2_600),
            ("CLOSE ", 500),
        ] {
            assert_eq!(having(&[" tcp ", state]), flows, "{state}");
        }
        assert_eq!(having(&["SYN_SENT", "[UNREPLIED]"]), 900);
        assert_eq!(having(&[" udp "]), 13_300);
        assert_eq!(having(&[" udp ", "[UNREPLIED]"]), 1_500);
        assert_eq!(having(&[" udp ", "[ASSURED]"]), 5_800);
        assert_eq!(having(&[" icmp "]), 300);
        assert_eq!(having(&[" icmpv6 "]), 868);
        let v4 = lines.iter().filter(|line| line.starts_with("ipv4")).count();
        assert!((7_300..8_100).contains(&v4), "{v4}");

        let mut clients: Vec<_> = lines
            .iter()
            .filter(|line| line.contains(push))
            .filter_map(|line| line.split(' ').find(|word| word.starts_with("src=")))
            .collect();
        clients.sort_unstable();
        clients.dedup();
        assert_eq!(clients.len(), 4_100);
    }
}

#[test]
fn the_table_stays_full_for_two_seconds() {
    let place = Place::new();
    let count = script(
        &place,
        callers()[0],
        "76768",
        "sleep 2; cat /proc/sys/net/netfilter/nf_conntrack_count",
    );
    // 0.99 × 76,800
    assert!(count.trim().parse::<u32>().unwrap() >= 76_032, "{count}");
}

#[test]
fn the_flows_are_as_many_as_were_asked_for() {
    let place = Place::new();
    for (flows, max) in [(0_u32, 76_800), (1_000, 76_800), (153_536, 153_600)] {
        let said = script(
            &place,
            callers()[0],
            &flows.to_string(),
            "cd /proc/sys/net/netfilter; cat nf_conntrack_count nf_conntrack_max",
        );
        let numbers: Vec<u32> = said.lines().map(|line| line.parse().unwrap()).collect();
        // On a busy machine a flow with one second to live is gone before it is counted.
        let briefest = flows.div_ceil(50_000);
        assert!(
            numbers[0] <= flows && numbers[0] + briefest >= flows,
            "{said}"
        );
        assert_eq!(numbers[1], max);
    }
}

#[test]
fn more_flows_than_the_host_s_max_are_scaled_down_and_said_so() {
    let ceiling = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let ceiling: u64 = ceiling.trim().parse().unwrap();
    let asked = (2 * ceiling).to_string();
    let place = Place::new();
    let (code, stdout, stderr) = output(sandbox(
        &place,
        callers()[0],
        &[
            "--flows",
            &asked,
            "--",
            "sh",
            "-c",
            "cd /proc/sys/net/netfilter; cat nf_conntrack_count nf_conntrack_max",
        ],
    ));
    assert_eq!(code, 0, "{stderr}");
    let (most, desired) = (grouped(ceiling), grouped(2 * ceiling));
    assert!(
        stderr.contains(&format!("{most} flows instead of {desired}")),
        "{stderr}"
    );
    let numbers: Vec<u64> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    let full = 76_800 * ceiling / 76_768;
    // Filling it takes about a second, in which a flow with a second to live may go.
    assert!(ceiling - numbers[0] <= 3, "{numbers:?}");
    assert!(numbers[1].abs_diff(full) <= 1, "{numbers:?}");
}

/// A count as people read it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}
