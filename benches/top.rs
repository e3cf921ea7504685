//! How fast the table is read: `cttune top` beside the bare receive loop and `conntrack -L`.
//!
//! `cargo bench --bench top [-- FLOWS]`. Everything happens in a `cttune sandbox`, which holds at
//! most the host's max of flows; nothing on the host is raised. Ratios within one run count: absolute
//! times drift with the machine. Each is the best of several rounds, taken in turn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cttune::flow::{By, Census, Filter};
use cttune::kernel::ctnetlink::Dump;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::os::fd::AsRawFd;

const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "inside") {
        return inside();
    }
    let number = arguments
        .iter()
        .find(|argument| argument.parse::<u32>().is_ok());
    let max = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let flows = number.map_or(max.trim(), String::as_str);
    let status = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(["sandbox", "--flows", flows, "--"])
        .arg(std::env::current_exe().unwrap())
        .arg("inside")
        .env(
            "PATH",
            format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
        )
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside() {
    let cttune = env!("CARGO_BIN_EXE_cttune");
    let works: [(&str, &dyn Fn() -> u64); 6] = [
        ("bare receive loop", &bare),
        ("decode each flow", &decode),
        ("census, by auto", &census),
        ("cttune top --exact", &|| run(cttune, &["top", "--exact"])),
        ("cttune top --sample 50000", &|| {
            run(cttune, &["top", "--sample", "50000"])
        }),
        ("conntrack -L", &|| run("conntrack", &["-L"])),
    ];
    let mut best = [Duration::MAX; 6];
    let mut flows = 0;
    for _ in 0..ROUNDS {
        for (place, (_, work)) in works.iter().enumerate() {
            let start = Instant::now();
            flows = flows.max(work());
            best[place] = best[place].min(start.elapsed());
        }
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    println!("{flows} flows, Linux {}, best of {ROUNDS}", kernel.trim());
    println!(
        "{:<26} {:>9} {:>9} {:>11}",
        "", "ms", "µs/flow", "× bare loop"
    );
    for ((name, _), time) in works.iter().zip(best) {
        #[allow(clippy::cast_precision_loss)]
        let per_flow = time.as_secs_f64() * 1e6 / flows.max(1) as f64;
        println!(
            "{name:<26} {:>9.1} {per_flow:>9.3} {:>11.3}",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() / best[0].as_secs_f64(),
        );
    }
}

/// Asks for a dump and receives it, and looks at nothing but the end.
fn bare() -> u64 {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )
    .unwrap();
    let request = [20, 0, 0, 0, 1, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    send(fd.as_raw_fd(), &request, MsgFlags::empty()).unwrap();
    let mut buffer = vec![0; 65536];
    loop {
        let length = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
        // NLMSG_DONE comes first in a part of its own, or last behind the flows.
        let last = &buffer[length.saturating_sub(20)..length];
        if last.starts_with(&[20, 0, 0, 0, 3, 0]) {
            return 0;
        }
    }
}

fn decode() -> u64 {
    let mut flows = 0;
    let mut dump = Dump::start(&Filter::default()).unwrap();
    while let Some(chunk) = dump.next_chunk().unwrap() {
        for flow in chunk {
            flows += u64::from(flow.unwrap().id != 0);
        }
    }
    flows
}

fn census() -> u64 {
    let mut census = Census::new(By::Auto, None);
    let mut dump = Dump::start(&Filter::default()).unwrap();
    while let Some(chunk) = dump.next_chunk().unwrap() {
        for flow in chunk {
            census.add(&flow.unwrap());
        }
    }
    census.finish(None).total
}

fn run(program: &str, arguments: &[&str]) -> u64 {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    0
}
