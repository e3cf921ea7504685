//! cttune-profile(5): the format of a profile, and every key of the catalog.

use super::page::{entry, filled, head, text, verbatim};
use crate::profile::{Source, parse};
use crate::tunable::{Key, Unit, format_bytes, format_seconds, largest};

/// What each key is, and what a new network namespace starts with (6.18; the keys that are gone: the
/// kernel before). Sizes depend on the memory, flowtables on the kernel's configuration.
const KEYS: &[(&str, Option<i64>, &str)] = &[
    (
        "max",
        None,
        "Entries that the table may hold; when it is full, packets of new flows are dropped",
    ),
    (
        "buckets",
        None,
        "Chains of the hash table, rounded up to a multiple of 512",
    ),
    (
        "expect_max",
        None,
        "Expected related flows that may wait, over all helpers",
    ),
    (
        "frag6_high_thresh",
        Some(4 << 20),
        "Memory for IPv6 fragments under reassembly; above it they are dropped",
    ),
    (
        "frag6_low_thresh",
        Some(3 << 20),
        "Memory at which IPv6 fragments are no longer evicted",
    ),
    (
        "frag6_timeout",
        Some(60),
        "An IPv6 fragment waits this long for the others",
    ),
    (
        "generic_timeout",
        Some(600),
        "Protocols without a tracker of their own (ESP and others)",
    ),
    ("tcp_timeout_syn_sent", Some(120), "TCP after the first SYN"),
    (
        "tcp_timeout_syn_recv",
        Some(60),
        "TCP after SYN and SYN/ACK",
    ),
    (
        "tcp_timeout_established",
        Some(432_000),
        "TCP connections that are open and idle",
    ),
    ("tcp_timeout_fin_wait", Some(120), "TCP after the first FIN"),
    (
        "tcp_timeout_close_wait",
        Some(60),
        "TCP closed by one side, its FIN acknowledged",
    ),
    (
        "tcp_timeout_last_ack",
        Some(30),
        "TCP after both FINs, before the last acknowledgement",
    ),
    (
        "tcp_timeout_time_wait",
        Some(120),
        "TCP closed by both sides",
    ),
    ("tcp_timeout_close", Some(10), "TCP after a reset"),
    (
        "tcp_timeout_max_retrans",
        Some(300),
        "TCP once tcp_max_retrans packets went unanswered",
    ),
    (
        "tcp_timeout_unacknowledged",
        Some(300),
        "TCP with data that is not acknowledged yet",
    ),
    (
        "udp_timeout",
        Some(30),
        "UDP that was not answered, or is young",
    ),
    (
        "udp_timeout_stream",
        Some(120),
        "UDP with traffic both ways for more than two seconds",
    ),
    ("icmp_timeout", Some(30), "ICMP queries"),
    ("icmpv6_timeout", Some(30), "ICMPv6 queries"),
    (
        "gre_timeout",
        Some(30),
        "GRE that was not answered; read when the flow is created",
    ),
    (
        "gre_timeout_stream",
        Some(180),
        "GRE with traffic both ways; read when the flow is created",
    ),
    ("sctp_timeout_closed", Some(10), "SCTP closed"),
    ("sctp_timeout_cookie_wait", Some(3), "SCTP after INIT"),
    (
        "sctp_timeout_cookie_echoed",
        Some(3),
        "SCTP after COOKIE ECHO",
    ),
    (
        "sctp_timeout_established",
        Some(210),
        "SCTP associations that are open and idle",
    ),
    (
        "sctp_timeout_shutdown_sent",
        Some(3),
        "SCTP after SHUTDOWN was sent",
    ),
    (
        "sctp_timeout_shutdown_recd",
        Some(3),
        "SCTP after SHUTDOWN was received",
    ),
    (
        "sctp_timeout_shutdown_ack_sent",
        Some(3),
        "SCTP after SHUTDOWN ACK",
    ),
    (
        "sctp_timeout_heartbeat_sent",
        Some(30),
        "SCTP secondary path that has only seen a heartbeat",
    ),
    (
        "sctp_timeout_heartbeat_acked",
        Some(210),
        "SCTP secondary path whose heartbeat was answered (gone about 6.2)",
    ),
    (
        "dccp_timeout_request",
        Some(240),
        "DCCP after REQUEST (gone about 6.17)",
    ),
    (
        "dccp_timeout_respond",
        Some(480),
        "DCCP after RESPONSE (gone about 6.17)",
    ),
    (
        "dccp_timeout_partopen",
        Some(480),
        "DCCP half open (gone about 6.17)",
    ),
    (
        "dccp_timeout_open",
        Some(43_200),
        "DCCP connections that are open and idle (gone about 6.17)",
    ),
    (
        "dccp_timeout_closereq",
        Some(64),
        "DCCP after CLOSEREQ (gone about 6.17)",
    ),
    (
        "dccp_timeout_closing",
        Some(64),
        "DCCP after CLOSE (gone about 6.17)",
    ),
    (
        "dccp_timeout_timewait",
        Some(240),
        "DCCP closed by both sides (gone about 6.17)",
    ),
    (
        "nf_flowtable_tcp_timeout",
        None,
        "TCP offloaded to a flowtable (kernels with NF_FLOW_TABLE)",
    ),
    (
        "nf_flowtable_udp_timeout",
        None,
        "UDP offloaded to a flowtable (kernels with NF_FLOW_TABLE)",
    ),
    (
        "tcp_be_liberal",
        Some(0),
        "Accept TCP outside the window; only resets there are INVALID",
    ),
    (
        "tcp_ignore_invalid_rst",
        Some(0),
        "Do not mark resets outside the window INVALID (not in 5.10)",
    ),
    ("tcp_loose", Some(1), "Pick up connections in the middle"),
    (
        "tcp_max_retrans",
        Some(3),
        "Unanswered packets after which tcp_timeout_max_retrans holds; a count, not a time",
    ),
    (
        "dccp_loose",
        Some(1),
        "Pick up DCCP in the middle (gone about 6.17)",
    ),
    ("acct", Some(0), "Count packets and bytes of new flows"),
    ("checksum", Some(1), "Verify checksums of incoming packets"),
    (
        "events",
        Some(2),
        "0 no events, 1 for every flow, 2 for flows made while somebody listens",
    ),
    ("helper", Some(0), "Assign helpers by port (gone in 6.1)"),
    (
        "log_invalid",
        Some(0),
        "Log INVALID packets of this protocol number; 255 all, 0 none",
    ),
    (
        "timestamp",
        Some(0),
        "Record when a new flow starts and ends",
    ),
];

const EXAMPLE: &str = r#"description = "Edge of the east campus"
role = "firewall"
extends = "campus-fw"

[sysctl]
nf_conntrack_udp_timeout_stream = "180s"
nf_conntrack_max     = { at-least = 1048576, memory-cap = "10%" }
nf_conntrack_buckets = { follow = "nf_conntrack_max" }

[sysctl.nf_conntrack_tcp_timeout_established]
value = "2h4m"
why   = "RFC 5382 REQ-5"

[expire]
mode = "clamp"
keep = ["dst=10.1.0.0/16,dport=5432"]

[accept]
"rfc4787-req5" = "only DNS on this host""#;

const FIELDS: &[(&str, &str)] = &[
    ("description", "What the profile is for, in one line."),
    (
        "role",
        "`host`, `firewall`, `nat` or `cgn`: decides which RFC requirements count, and how much.",
    ),
    (
        "extends",
        "The name or path of a parent. What the child sets replaces the parent's setting whole.",
    ),
    (
        "[sysctl]",
        "A key and its value, or its bounds. A key is written in full, or without `net.netfilter.`, or also without `nf_conntrack_`.",
    ),
    (
        "[service.NAME]",
        "Timeouts for the flows of one service, by nft's `ct timeout`. `match`: selections with the terms src, dst, sport, dport, proto, family and zone, which the first packet of a flow is judged by, before any address is translated; a flow meets all terms of any selection. No two services may match the same packet. States of TCP: syn_sent, syn_recv, established, fin_wait, close_wait, last_ack, time_wait, close, syn_sent2, retrans, unack; of UDP: unreplied, replied; what is left out has the value of its sysctl. `why`. `match = []` takes a parent's service away.",
    ),
    (
        "[lifeline]",
        "Management traffic that is not tracked, so that a full table cannot lock it out: `from`, networks of the operators; `ports`, TCP ports. `apply` tries the present rules first and names the rules that they lack. Not for addresses or ports that are translated: what is not tracked is not translated.",
    ),
    (
        "[expire]",
        "How `apply --expire` treats flows: `mode`, `match`, `keep`, `grace`, `spread`, `observe`, `trust-history`, `settle`, `max-flows`, `rate`, as the options of cttune-expire(8).",
    ),
    (
        "[guard]",
        "How `cttune guard` keeps the table from filling up: `high`, `low`, `min-idle`, `keep`, `rate`, `poll`, `memory`, `trust-history`, as the options of cttune-guard(8); `order`, the classes that may end, the first one first.",
    ),
    (
        "[accept]",
        "Findings that are accepted, each with the reason. `cttune check` shows them with it, and they do not count.",
    ),
];

const SETTING: &[(&str, &str)] = &[
    ("value", "Exactly this value. `KEY = 600` is short for it."),
    (
        "at-least, at-most",
        "Bounds: a value between them stays as it is.",
    ),
    (
        "per-cpu, per-cpu-cap",
        "At least this for each CPU, and the most that this comes to.",
    ),
    ("follow", "Not below the value of this key."),
    (
        "memory-cap",
        "The lower bound is lowered to what this share of memory can hold: `\"10%\"`.",
    ),
    ("why", "The reason, which `plan` and `check -v` show."),
    (
        "required",
        "`true`: a kernel without this key is an error, and not a key to skip.",
    ),
];

fn named(entries: &[(&str, &str)]) -> String {
    let one = |(name, about): &(&str, &str)| entry(&format!("\\fB{}\\fR", text(name)), about);
    entries.iter().map(one).collect()
}

/// The page.
pub(super) fn page() -> String {
    let mut page = head(
        "cttune-profile",
        5,
        "desired values of the connection-tracking table",
    );
    let mut section = |title: &str, body: &str| page.push_str(&format!(".SH {title}\n{body}"));
    section(
        "SYNOPSIS",
        ".I /etc/cttune/profiles/NAME.toml\n.br\n.I /usr/local/share/cttune/profiles/NAME.toml\n.br\n\
         .I /usr/share/cttune/profiles/NAME.toml\n",
    );
    let about = "A profile is a TOML file: values that the connection-tracking table should have, and why. A \
        name is looked for in these folders, the first that has it wins, then among the profiles that \
        are built in. `cttune profile list` shows all, `cttune profile check` every mistake in a file.";
    section("DESCRIPTION", &format!("{}\n", filled(about)));
    section("FIELDS", &named(FIELDS));
    section("SETTINGS", &named(SETTING));
    let units = "Times are written `\"2h4m\"` or as whole seconds, bytes `\"4MiB\"` or as whole bytes, counts \
        as whole numbers, switches `true` or `false`. Kernels from 5.10 on have every key here unless it \
        says something else; one that this kernel lacks is skipped. Defaults are those of Linux 6.18; \
        they differ between releases.";
    let keys: String = Key::ALL.iter().map(|key| of_key(*key)).collect();
    section("KEYS", &format!("{}\n{keys}", filled(units)));
    section("EXAMPLES", &verbatim(EXAMPLE));
    section(
        "SEE ALSO",
        ".BR cttune (8),\n.BR cttune\\-profile (8),\n.BR cttune\\-expire (8),\n.BR sysctl.d (5)\n",
    );
    page
}

/// The same keys for the book.
pub(super) fn table() -> String {
    let row = |key: &Key| format!("| `{}` | {} |\n", key.file_name(), about(*key));
    let rows: String = Key::ALL.iter().map(row).collect();
    format!(
        "# Keys\n\nThe sysctls that a profile can set. How a profile is written is in `man 5 cttune-profile`.\n\
         Defaults are those of Linux 6.18, where they do not depend on the machine.\n\n\
         | key | what it is |\n|---|---|\n{rows}"
    )
}

fn of_key(key: Key) -> String {
    let term = format!("\\fB{}\\fR", text(key.file_name()));
    entry(&term, &about(key))
}

fn about(key: Key) -> String {
    let tunable = key.tunable();
    let spoken = |number: i64| match tunable.unit {
        Unit::Seconds => format_seconds(number),
        Unit::Bytes => format_bytes(number),
        Unit::Switch if number == 0 => "false".to_owned(),
        Unit::Switch => "true".to_owned(),
        Unit::Count => number.to_string(),
    };
    let unit = match tunable.unit {
        Unit::Seconds => "Time",
        Unit::Bytes => "Bytes",
        Unit::Switch => "Switch",
        Unit::Count => "Count",
    };
    let range = match tunable.unit {
        Unit::Switch => String::new(),
        _ if largest(key) == i64::MAX => format!(", at least {}", spoken(*tunable.range.start())),
        _ => format!(
            ", {} to {}",
            spoken(*tunable.range.start()),
            spoken(largest(key))
        ),
    };
    let (_, default, about) = KEYS
        .iter()
        .find(|(name, ..)| *name == key.short_name())
        .unwrap_or_else(|| panic!("KEYS has no row for {key}"));
    let default = match default {
        Some(value) => format!("; default {}", spoken(*value)),
        None if matches!(key, Key::Max | Key::Buckets | Key::ExpectMax) => {
            "; the default depends on the memory".to_owned()
        }
        None => String::new(),
    };
    format!("{about}. {unit}{range}{default}.")
}

#[test]
fn the_example_is_a_profile_and_every_default_a_value_of_its_key() {
    parse(&Source::new("example", EXAMPLE)).unwrap();
    for (name, default, _) in KEYS {
        let key = Key::find(name).unwrap();
        let is_one = default.is_none_or(|value| key.tunable().kernel_range.contains(&value));
        assert!(is_one, "{name}");
    }
}
