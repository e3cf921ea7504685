//! The one table of conntrack sysctls: name, unit, range, kind, scope and meaning.

use std::fmt;
use std::ops::RangeInclusive;

use super::alias;

const INT_MAX: i64 = i32::MAX as i64;

/// The longest timeout that any kernel build takes: `INT_MAX / HZ` with the smallest HZ, 100.
/// A kernel with HZ=250 refuses what is above 8589934, with HZ=1000 what is above 2147483; the
/// build's HZ cannot be read, so the kernel itself judges what lies between.
const LONGEST: i64 = INT_MAX / 100;

/// What a sysctl's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    Seconds,
    /// A number of things: entries, buckets, packets, a level.
    Count,
    Bytes,
    /// 0 off, 1 on.
    Switch,
}

/// What a sysctl is about; the plan orders its steps by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// How much the table may hold.
    Limit,
    Timeout,
    /// How packets are judged and accounted.
    Behaviour,
}

/// What is known of one sysctl before it is read.
#[derive(Debug)]
pub(crate) struct Tunable {
    /// File name below `/proc/sys/net/netfilter`.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) kind: Kind,
    /// The values that make sense, and that cttune will write.
    pub(crate) range: RangeInclusive<i64>,
    /// The values that the kernel takes. Wider than `range`: it accepts a timeout of zero or less
    /// ("expires at the next packet") and, up to 6.18, a max of 0 ("unlimited").
    pub(crate) kernel_range: RangeInclusive<i64>,
}

macro_rules! catalog {
    ($( $(#[$doc:meta])* $variant:ident $name:literal $kind:expr; )*) => {
        /// A conntrack sysctl key. Ordered as the catalog is: limits, timeouts, behaviour.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Key {
            $( $(#[$doc])* $variant, )*
        }

        impl Key {
            /// Every key that cttune knows, in catalog order.
            pub(crate) const ALL: &'static [Key] = &[ $( Key::$variant, )* ];

            pub(crate) fn tunable(self) -> &'static Tunable {
                match self {
                    $( Key::$variant => const { &Tunable { name: $name, ..$kind } }, )*
                }
            }
        }
    };
}

const TIMEOUT: Tunable = Tunable {
    name: "",
    unit: Unit::Seconds,
    kind: Kind::Timeout,
    range: 1..=LONGEST,
    kernel_range: -LONGEST..=LONGEST,
};

const SWITCH: Tunable = Tunable {
    unit: Unit::Switch,
    ..level(0..=1)
};

const fn level(range: RangeInclusive<i64>) -> Tunable {
    Tunable {
        name: "",
        unit: Unit::Count,
        kind: Kind::Behaviour,
        kernel_range: *range.start()..=*range.end(),
        range,
    }
}

const fn limit(
    unit: Unit,
    range: RangeInclusive<i64>,
    kernel_range: RangeInclusive<i64>,
) -> Tunable {
    Tunable {
        name: "",
        unit,
        kind: Kind::Limit,
        range,
        kernel_range,
    }
}

const BYTE: RangeInclusive<i64> = 0..=255;
const INT: RangeInclusive<i64> = 0..=INT_MAX;
const POSITIVE: RangeInclusive<i64> = 1..=INT_MAX;
/// The fragment thresholds are unsigned longs in the kernel.
const LONG: RangeInclusive<i64> = 0..=i64::MAX;

catalog! {
    /// Entries that the table may hold; when it is full, packets of new flows are dropped.
    Max "nf_conntrack_max" limit(Unit::Count, POSITIVE, INT);
    /// Chains of the hash table, rounded up to a multiple of 512.
    Buckets "nf_conntrack_buckets" limit(Unit::Count, POSITIVE, POSITIVE);
    /// Expected related flows that may wait, over all helpers.
    ExpectMax "nf_conntrack_expect_max" limit(Unit::Count, POSITIVE, INT);
    /// Memory for IPv6 fragments under reassembly; above it they are dropped.
    Frag6HighThresh "nf_conntrack_frag6_high_thresh" limit(Unit::Bytes, 1..=i64::MAX, LONG);
    /// Memory at which IPv6 fragments are no longer evicted.
    Frag6LowThresh "nf_conntrack_frag6_low_thresh" limit(Unit::Bytes, LONG, LONG);
    Frag6Timeout "nf_conntrack_frag6_timeout" TIMEOUT;
    GenericTimeout "nf_conntrack_generic_timeout" TIMEOUT; // of ESP and others
    TcpTimeoutSynSent "nf_conntrack_tcp_timeout_syn_sent" TIMEOUT;
    TcpTimeoutSynRecv "nf_conntrack_tcp_timeout_syn_recv" TIMEOUT;
    TcpTimeoutEstablished "nf_conntrack_tcp_timeout_established" TIMEOUT;
    TcpTimeoutFinWait "nf_conntrack_tcp_timeout_fin_wait" TIMEOUT;
    TcpTimeoutCloseWait "nf_conntrack_tcp_timeout_close_wait" TIMEOUT; // closed by one side
    TcpTimeoutLastAck "nf_conntrack_tcp_timeout_last_ack" TIMEOUT; // after both FINs
    TcpTimeoutTimeWait "nf_conntrack_tcp_timeout_time_wait" TIMEOUT;
    TcpTimeoutClose "nf_conntrack_tcp_timeout_close" TIMEOUT;
    TcpTimeoutMaxRetrans "nf_conntrack_tcp_timeout_max_retrans" TIMEOUT;
    TcpTimeoutUnacknowledged "nf_conntrack_tcp_timeout_unacknowledged" TIMEOUT; // data on the way
    UdpTimeout "nf_conntrack_udp_timeout" TIMEOUT; // not answered, or young
    UdpTimeoutStream "nf_conntrack_udp_timeout_stream" TIMEOUT; // both ways for over 2 s
    IcmpTimeout "nf_conntrack_icmp_timeout" TIMEOUT;
    Icmpv6Timeout "nf_conntrack_icmpv6_timeout" TIMEOUT;
    GreTimeout "nf_conntrack_gre_timeout" TIMEOUT; // read when the flow is created
    GreTimeoutStream "nf_conntrack_gre_timeout_stream" TIMEOUT; // read when the flow is created
    SctpTimeoutClosed "nf_conntrack_sctp_timeout_closed" TIMEOUT;
    SctpTimeoutCookieWait "nf_conntrack_sctp_timeout_cookie_wait" TIMEOUT;
    SctpTimeoutCookieEchoed "nf_conntrack_sctp_timeout_cookie_echoed" TIMEOUT;
    SctpTimeoutEstablished "nf_conntrack_sctp_timeout_established" TIMEOUT;
    SctpTimeoutShutdownSent "nf_conntrack_sctp_timeout_shutdown_sent" TIMEOUT;
    SctpTimeoutShutdownRecd "nf_conntrack_sctp_timeout_shutdown_recd" TIMEOUT;
    SctpTimeoutShutdownAckSent "nf_conntrack_sctp_timeout_shutdown_ack_sent" TIMEOUT;
    SctpTimeoutHeartbeatSent "nf_conntrack_sctp_timeout_heartbeat_sent" TIMEOUT; // a secondary path
    SctpTimeoutHeartbeatAcked "nf_conntrack_sctp_timeout_heartbeat_acked" TIMEOUT; // gone about 6.2
    DccpTimeoutRequest "nf_conntrack_dccp_timeout_request" TIMEOUT; // DCCP is gone about 6.17
    DccpTimeoutRespond "nf_conntrack_dccp_timeout_respond" TIMEOUT;
    DccpTimeoutPartopen "nf_conntrack_dccp_timeout_partopen" TIMEOUT;
    DccpTimeoutOpen "nf_conntrack_dccp_timeout_open" TIMEOUT;
    DccpTimeoutClosereq "nf_conntrack_dccp_timeout_closereq" TIMEOUT;
    DccpTimeoutClosing "nf_conntrack_dccp_timeout_closing" TIMEOUT;
    DccpTimeoutTimewait "nf_conntrack_dccp_timeout_timewait" TIMEOUT;
    FlowtableTcpTimeout "nf_flowtable_tcp_timeout" TIMEOUT; // on kernels with NF_FLOW_TABLE
    FlowtableUdpTimeout "nf_flowtable_udp_timeout" TIMEOUT; // the same
    /// Accept TCP outside the window; only resets there are INVALID.
    TcpBeLiberal "nf_conntrack_tcp_be_liberal" SWITCH;
    /// Do not mark resets outside the window INVALID (not in 5.10).
    TcpIgnoreInvalidRst "nf_conntrack_tcp_ignore_invalid_rst" SWITCH;
    /// Pick up connections in the middle.
    TcpLoose "nf_conntrack_tcp_loose" SWITCH;
    /// Unanswered packets after which tcp_timeout_max_retrans holds; a count, not a time.
    TcpMaxRetrans "nf_conntrack_tcp_max_retrans" level(BYTE);
    /// Pick up DCCP in the middle (gone about 6.17).
    DccpLoose "nf_conntrack_dccp_loose" SWITCH;
    /// Count packets and bytes of new flows.
    Acct "nf_conntrack_acct" SWITCH;
    /// Verify checksums of incoming packets.
    Checksum "nf_conntrack_checksum" SWITCH;
    /// 0 no events, 1 for every flow, 2 for flows made while somebody listens.
    Events "nf_conntrack_events" level(0..=2);
    /// Assign helpers by port (gone in 6.1).
    Helper "nf_conntrack_helper" SWITCH;
    /// Log INVALID packets of this protocol number; 255 all, 0 none.
    LogInvalid "nf_conntrack_log_invalid" level(BYTE);
    /// Record when a new flow starts and ends.
    Timestamp "nf_conntrack_timestamp" SWITCH;
}

/// The subtree in which every key lives.
const SUBTREE: &str = "net.netfilter.";
/// What most names begin with; people leave it out.
const PREFIX: &str = "nf_conntrack_";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownKey {
    /// A sysctl of another subtree, such as `net.core.somaxconn`.
    #[error("`{0}` is not a conntrack sysctl: cttune sets keys of net.netfilter alone")]
    OtherSubtree(String),
    /// Nothing of that name; the nearest one, if any is near.
    #[error("no conntrack sysctl is called `{name}`")]
    NoSuchKey {
        name: String,
        /// The nearest name, spelled the way the question was.
        nearest: Option<String>,
    },
    /// `nf_conntrack_count`, which can only be read.
    #[error("`{0}` is a reading of the kernel's, not a setting")]
    ReadingOnly(String),
}

impl Key {
    /// The full name, as output writes it: `net.netfilter.nf_conntrack_max`.
    pub(crate) fn name(self) -> String {
        format!("{SUBTREE}{}", self.file_name())
    }

    /// The file below `/proc/sys/net/netfilter`: `nf_conntrack_max`.
    pub(crate) fn file_name(self) -> &'static str {
        self.tunable().name
    }

    /// The name without what goes without saying: `max`, `tcp_timeout_established`.
    pub(crate) fn short_name(self) -> &'static str {
        self.file_name()
            .strip_prefix(PREFIX)
            .unwrap_or(self.file_name())
    }

    pub(crate) fn is_time(self) -> bool {
        self.tunable().unit == Unit::Seconds
    }

    /// The key that people spell so: full, without `net.netfilter.`, or also without
    /// `nf_conntrack_`; with dots or slashes.
    pub(crate) fn lookup(spelling: &str) -> Option<Key> {
        let dotted = spelling.replace('/', ".");
        let name = dotted.strip_prefix(SUBTREE).unwrap_or(&dotted);
        let mut keys = Key::ALL.iter().copied();
        match name {
            "net.nf_conntrack_max" => Some(Key::Max),
            _ => keys.find(|key| key.file_name() == name || key.short_name() == name),
        }
    }

    /// The same, and what is wrong where there is none.
    pub(crate) fn find(spelling: &str) -> Result<Key, UnknownKey> {
        if let Some(key) = Key::lookup(spelling) {
            return Ok(key);
        }
        let dotted = spelling.to_lowercase().replace('/', ".");
        let name = dotted.strip_prefix(SUBTREE).unwrap_or(&dotted);
        if name == "nf_conntrack_count" || name == "count" {
            return Err(UnknownKey::ReadingOnly(spelling.to_owned()));
        }
        let keys = Key::ALL.iter().copied();
        let nearest = if let Some(key) = alias::meant(spelling) {
            Some(match (name.contains('.'), name.to_ascii_lowercase()) {
                (true, _) => key.name(),
                (_, lower) if lower.starts_with("nf_") => key.file_name().to_owned(),
                _ => key.short_name().to_owned(),
            })
        } else if name.contains('.') {
            let nearest = nearest_name(&dotted, keys.map(Key::name));
            if nearest.is_none() {
                return Err(UnknownKey::OtherSubtree(spelling.to_owned()));
            }
            nearest
        } else if name.starts_with("nf_") {
            nearest_name(name, keys.map(|key| key.file_name().to_owned()))
        } else {
            nearest_name(name, keys.map(|key| key.short_name().to_owned()))
        };
        let name = spelling.to_owned();
        Err(UnknownKey::NoSuchKey { name, nearest })
    }
}

impl UnknownKey {
    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            UnknownKey::OtherSubtree(_) => "keep it in a file of your own in sysctl.d".to_owned(),
            UnknownKey::ReadingOnly(_) => {
                "nf_conntrack_max is the most that there may be".to_owned()
            }
            UnknownKey::NoSuchKey { name, nearest } => {
                let keys = Key::ALL.iter().map(|key| key.short_name());
                let rest = |key: &str| Some(key.strip_prefix(name.as_str())?.starts_with('_'));
                let longer: Vec<&str> = keys.filter(|key| rest(key) == Some(true)).collect();
                match nearest {
                    _ if longer.len() > 1 => format!("one of {}", longer.join(", ")),
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "man 5 cttune-profile lists all keys".to_owned(),
                }
            }
        }
    }
}

/// Keys, profiles and terms are shorter.
const LONGEST_NAME: usize = 200;
/// Letters of a misspelt name.
const MOST_WRONG: usize = 3;

/// The candidate that `name` is a misspelling of, if there is one: what is further off misleads.
///
/// The words that both begin and end with do not count, and of the rest one letter in three may be
/// wrong, at least one and at most three; whether letters are large never matters. A short form is
/// found as well: `src` for `source`.
pub(crate) fn nearest_name(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    // To compare takes the product of both lengths, and nobody meant a name by a longer text.
    let is_name = name.len() <= LONGEST_NAME;
    let wrong = |candidate: String| {
        let (one, other) = (name.to_lowercase(), candidate.to_lowercase());
        let (one, other) = without_shared_words(&one, &other);
        let letters = one.chars().count().max(other.chars().count());
        let wrong = strsim::osa_distance(one, other);
        let most = (letters / 3).clamp(usize::from(letters > 1), MOST_WRONG);
        (wrong <= most || is_short_for(other, one)).then_some((wrong, candidate))
    };
    let candidates = candidates.filter(|_| is_name).filter_map(wrong);
    candidates
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, candidate)| candidate)
}

/// Whether the letters of one are in the other in this order, from the first on.
fn is_short_for(short: &str, long: &str) -> bool {
    let mut letters = long.chars();
    let is_near = short.len() >= 3 && long.len() <= 3 * short.len();
    is_near
        && short.chars().next() == long.chars().next()
        && short.chars().all(|letter| letters.any(|one| one == letter))
}

/// Both without the words with which both begin and both end.
fn without_shared_words<'a>(mut one: &'a str, mut other: &'a str) -> (&'a str, &'a str) {
    const ENDS: [char; 4] = ['_', '-', '.', '/'];
    while let (Some((first, rest)), Some((same, others))) =
        (one.split_once(ENDS), other.split_once(ENDS))
        && first == same
    {
        (one, other) = (rest, others);
    }
    while let (Some((rest, last)), Some((others, same))) =
        (one.rsplit_once(ENDS), other.rsplit_once(ENDS))
        && last == same
    {
        (one, other) = (rest, others);
    }
    (one, other)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short_name())
    }
}

impl serde::Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Key::find(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_finds_the_key() {
        for key in Key::ALL.iter().copied() {
            assert_eq!(Key::find(&key.name()), Ok(key));
            assert_eq!(Key::find(&key.name().replace('.', "/")), Ok(key));
            assert_eq!(Key::find(key.file_name()), Ok(key));
            assert_eq!(Key::find(key.short_name()), Ok(key));
        }
        assert_eq!(Key::find("net.nf_conntrack_max"), Ok(Key::Max));
    }

    #[test]
    fn a_wrong_name_offers_the_nearest_and_another_subtree_is_named() {
        let help = |name| Key::find(name).unwrap_err().help();
        assert_eq!(
            help("tcp_timeout_establishd"),
            "did you mean `tcp_timeout_established`?"
        );
        assert_eq!(
            help("nf_conntrack_bucket"),
            "did you mean `nf_conntrack_buckets`?"
        );
        assert_eq!(
            help("net.netfilter.nf_conntrack_udp_timeout_streem"),
            "did you mean `nf_conntrack_udp_timeout_stream`?"
        );
        assert_eq!(help("NF_CONNTRACK_MAX"), "did you mean `nf_conntrack_max`?");
        for far in ["zzz", "nf_conntrack_x1", "nf_conntrack_tcp_timeout_x"] {
            assert!(help(far).contains("lists all keys"), "{far}");
        }
        assert!(matches!(
            Key::find("net.core.somaxconn"),
            Err(UnknownKey::OtherSubtree(_))
        ));
        assert!(matches!(
            Key::find("net.ipv4.tcp_syncookies"),
            Err(UnknownKey::OtherSubtree(_))
        ));
        assert!(matches!(
            Key::find("nf_conntrack_count"),
            Err(UnknownKey::ReadingOnly(_))
        ));
    }

    #[test]
    fn what_cttune_writes_the_kernel_takes() {
        for key in Key::ALL {
            let tunable = key.tunable();
            assert!(
                tunable.kernel_range.contains(tunable.range.start()),
                "{key}"
            );
            assert!(tunable.kernel_range.contains(tunable.range.end()), "{key}");
            assert_eq!(
                tunable.kind == Kind::Timeout,
                tunable.unit == Unit::Seconds,
                "{key}"
            );
        }
    }

    #[test]
    fn the_kernel_that_runs_offers_no_key_that_the_catalog_lacks() {
        let Ok(entries) = std::fs::read_dir("/proc/sys/net/netfilter") else {
            panic!("this test needs a kernel with conntrack");
        };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = Key::ALL.iter().any(|key| key.file_name() == name)
                || name == "nf_conntrack_count"
                || name.starts_with("nf_log")
                || name == "nf_hooks_lwtunnel";
            assert!(known, "{name} is not in the catalog");
        }
    }
}
