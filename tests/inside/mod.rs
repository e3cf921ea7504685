//! Tests that do their work in a sandbox: the test starts itself again under `cttune sandbox`.

#![allow(unreachable_pub, dead_code)] // each test takes what it needs

use std::process::Command;

/// Runs the calling test once more inside a sandbox with an empty table; false in there.
pub(crate) fn goes_inside(test: &str) -> bool {
    goes_inside_with(test, "0")
}

/// The same with so many of the story's flows.
pub(crate) fn goes_inside_with(test: &str, flows: &str) -> bool {
    if std::env::var_os("CTTUNE_TEST_INSIDE").is_some() {
        return false;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(["sandbox", "--flows", flows, "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env("CTTUNE_TEST_INSIDE", "yes")
        .env("PATH", path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    shown(&said);
    true
}

/// For `--nocapture`.
#[allow(clippy::print_stdout)]
fn shown(said: &str) {
    print!("{said}");
}

pub(crate) fn path() -> String {
    format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Runs a shell script, which must succeed.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Flows of every kind that `conntrack -I` makes, two of each shape that matters.
pub(crate) const FLOWS: &str = "
    tcp='-p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000'
    conntrack -I $tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1025 --dport 80
    conntrack -I $tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1025 --dport 80 -w 3 -m 7
    conntrack -I $tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1025 --dport 80
    conntrack -I $tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1027 --dport 80 --orig-zone 5
    conntrack -I $tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1026 --dport 80 --reply-zone 6
    conntrack -I -p tcp --state SYN_SENT -t 60 -s 10.0.0.2 -d 192.0.2.1 --sport 1 --dport 443
    conntrack -I -p tcp --state CLOSE_WAIT -t 60 -s 10.0.0.2 -d 192.0.2.1 --sport 2 --dport 443
    conntrack -I -p udp -t 60 -s 10.0.0.1 -d 192.0.2.1 --sport 1025 --dport 53 -u SEEN_REPLY
    conntrack -I -p udp -t 60 -s 2001:db8::1 -d 2001:db8::2 --sport 1025 --dport 53
    conntrack -I -p udplite -t 60 -s 10.0.0.1 -d 192.0.2.1 --sport 1025 --dport 53
    conntrack -I -p sctp --state ESTABLISHED -t 60 -s 10.0.0.1 -d 192.0.2.1 --sport 7 --dport 8 --orig-vtag 1 --reply-vtag 2
    conntrack -I -p icmp -t 60 -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id 77
    conntrack -I -p icmpv6 -t 60 -s 2001:db8::1 -d 2001:db8::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 78
    conntrack -I -p gre -t 60 -s 10.0.0.1 -d 192.0.2.1 --srckey 9 --dstkey 10
    conntrack -I -p 50 -t 60 -s 10.0.0.1 -d 192.0.2.1
    conntrack -I $tcp -s 10.0.0.3 -d 192.0.2.1 --sport 1025 --dport 80 -g 203.0.113.9
";
