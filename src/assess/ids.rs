//! Every finding by name: where its rule comes from, how bad it can be, what it is about.
//!
//! The table in docs/reference, `[accept]` and the tests' catalogue are made from this one list.

use crate::tunable::nearest_name;

const BOOT: &str = "modules-load.d(5), sysctl.d(5); seen in guests with 5.10, 6.1 and 6.12";
const CORE: &str = "kernel: net/netfilter/nf_conntrack_core.c";
const FULL: &str = "kernel: __nf_conntrack_alloc in net/netfilter/nf_conntrack_core.c";
const GUARD: &str = "cttune-guard(8)";
const NAT: &str = "kernel: nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c";
const READERS: &str = "sysctl.d(5); procps reads /etc/sysctl.conf last, systemd-sysctl does not";
const RFC5382: &str = "RFC 5382 REQ-5; the same for NAT64 in RFC 6146";
const STAT: &str = "kernel: struct ip_conntrack_stat in include/uapi/linux/netfilter/\
                    nfnetlink_conntrack.h; net/netfilter/nf_conntrack_core.c";
const SYSCTL: &str = "kernel: Documentation/networking/nf_conntrack-sysctl.rst";

macro_rules! ids {
    ($($variant:ident $name:literal, $severity:literal, $about:literal, $source:expr;)*) => {
        /// What a finding is called.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Id { $($variant,)* }

        impl Id {
            /// Every finding there is, in the order in which the book lists them.
            pub(crate) const ALL: &'static [Id] = &[$(Id::$variant,)*];

            /// Its name, for `[accept]` and for monitors.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Id::$variant => $name,)* }
            }

            /// Where the rule comes from.
            pub(crate) fn source(self) -> &'static str {
                match self { $(Id::$variant => $source,)* }
            }

            /// Its line in the book's table.
            #[cfg(test)]
            fn row(self) -> String {
                let (severity, about) = match self { $(Id::$variant => ($severity, $about),)* };
                format!("| `{}` | {severity} | {about} |\n", self.name())
            }
        }
    };
}

ids! {
    TableFill "table-fill", "warning 80 %, critical 90 %",
        "the table is nearly full; a full one drops the packets of new flows",
        "munin: fw_conntrack, warning at 80 % and critical at 90 % of max";
    TableFilling "table-filling", "warning 1 h, critical 10 min",
        "with `--interval`: at this rate the table is full within that time", FULL;
    TableFullLog "table-full-log", "warning",
        "the kernel logged that a table was full, also of another namespace", FULL;
    PacketsDropped "packets-dropped", "warning, critical while it grows",
        "packets that connection tracking dropped since boot", STAT;
    GuardHelpless "guard-helpless", "warning",
        "the guard may end no flow, and the table is above its high mark", GUARD;
    GuardGone "guard-gone", "warning",
        "the guard was killed, or hangs: its status file is old", GUARD;
    EarlyDrops "early-drops", "warning, critical while it grows",
        "flows that were evicted since boot because the table was full", STAT;
    ChainTooLong "chain-too-long", "warning, critical while it grows",
        "packets dropped because a hash chain was too long", STAT;
    InsertFailed "insert-failed", "info, warning while it grows",
        "packets dropped by a race, or by NAT without a free port", STAT;
    InvalidPackets "invalid-packets", "info",
        "with `--interval`: more than one invalid packet a second", STAT;
    SearchRestarts "search-restarts", "info",
        "with `--interval`: more than one repeated lookup a second", STAT;
    ExpectationsFull "expectations-full", "warning 80 %, critical 90 %",
        "the table of expectations is nearly full; a full one drops SIP, FTP and others",
        "kernel: __nf_ct_expect_check in net/netfilter/nf_conntrack_expect.c";
    BridgeNf "bridge-nf", "info, warning 80 % full",
        "with `--deep`: bridged traffic is tracked because of bridge-nf-call-iptables",
        "kernel: Documentation/networking/bridge.rst, netfilter";
    HashLoad "hash-load", "warning 4 × max, critical 8 entries a bucket",
        "max has more than 4 entries a bucket, or the table has more than 8 now", SYSCTL;
    MaxUnlimited "max-unlimited", "critical", "max is 0: the table has no limit", CORE;
    TimeoutBelowOne "timeout-below-one", "critical", "a timeout below one second", CORE;
    TableMemory "table-memory", "warning",
        "a full table takes more than a quarter of memory",
        "kernel: struct nf_conn in include/net/netfilter/nf_conntrack.h; slab_size of \
         /sys/kernel/slab/nf_conntrack";
    NotLoaded "not-loaded", "info", "connection tracking is not loaded", SYSCTL;
    Rfc5382Req5 "rfc5382-req5", "by role",
        "established TCP expires before 2 h 4 min", RFC5382;
    Rfc5382Req5Transitory "rfc5382-req5-transitory", "by role",
        "closing TCP expires before 4 min", RFC5382;
    Rfc7857Rst "rfc7857-rst", "by role",
        "reset TCP expires before 4 min", "RFC 7857, TCP RST";
    Rfc7857Opening "rfc7857-opening", "info, with `-v`",
        "opening TCP expires before 4 min, which RFC 7857 allows",
        "RFC 5382 REQ-5, relaxed by RFC 7857, TCP Transitory Connection Idle-Timeout";
    Rfc4787Req5 "rfc4787-req5", "by role",
        "UDP expires before 2 min; info before 5 min", "RFC 4787 REQ-5";
    Rfc5508Req2 "rfc5508-req2", "by role",
        "ICMP queries expire before 1 min",
        "RFC 5508 REQ-2; the same for NAT64 in RFC 6146";
    Rfc6888Req4 "rfc6888-req4", "warning, `cgn`",
        "with `--deep`: one subscriber has a tenth of the table", "RFC 6888 REQ-4 and REQ-5";
    Rfc6888Req8 "rfc6888-req8", "info, `cgn`",
        "a port can be used again before 2 min", "RFC 6888 REQ-8";
    EstablishedShort "established-short", "warning",
        "established TCP expires before 30 min: connection pools, SSH, push",
        "HikariCP: maxLifetime, 30 minutes; Firebase: Configure your network for FCM";
    EstablishedBeforeKeepalive "established-before-keepalive", "info",
        "established TCP expires before the first keepalive, 2 h",
        "RFC 1122 4.2.3.6; tcp(7): tcp_keepalive_time";
    CloseWaitLong "close-wait-long", "warning",
        "connections that a program does not close stay for 30 min or more",
        "kube-proxy: --conntrack-tcp-timeout-close-wait; kubernetes#97377";
    UdpStreamShort "udp-stream-short", "warning",
        "answered UDP expires before unanswered UDP",
        "kernel: nf_conntrack_udp_packet in net/netfilter/nf_conntrack_proto_udp.c";
    TcpLoose "tcp-loose", "info, with `-v`",
        "a TCP packet that belongs to no flow opens one", SYSCTL;
    TcpLooseOff "tcp-loose-off", "info, warning with re-age or delete",
        "an expired TCP connection never comes back",
        "kernel: net/netfilter/nf_conntrack_proto_tcp.c";
    ExpireDeletesNat "expire-deletes-nat", "warning, `nat` and `cgn`",
        "the profile's `[expire]` deletes flows that may still be in use",
        "kernel: nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c; RFC 5382 REQ-5";
    TcpBeLiberal "tcp-be-liberal", "info", "TCP windows are not checked", SYSCTL;
    AcctOff "acct-off", "info, with `-v`", "flows have no packet counters", SYSCTL;
    TimestampOff "timestamp-off", "info, with `-v`", "flows have no start time", SYSCTL;
    NotReclaimable "not-reclaimable", "info, warning 80 % full",
        "with `--deep`: half of the flows or more cannot be evicted",
        "kernel: early_drop_list and gc_worker_can_early_drop in \
         net/netfilter/nf_conntrack_core.c";
    NatPorts "nat-ports", "warning 80 %, critical 95 %",
        "with `--deep`: the ports of one address towards one server are used up", NAT;
    NatAddressGone "nat-address-gone", "warning",
        "with `--deep`: flows are translated to an address that this machine does not have", NAT;
    Untranslated "untranslated", "warning",
        "with `--deep`: flows from private addresses are not translated, beside others that are",
        NAT;
    NatTargetDead "nat-target-dead", "warning",
        "with `--deep`: a DNAT target does not answer and has no reachable neighbour entry",
        "ip-neighbour(8): FAILED";
    MostlyUnanswered "mostly-unanswered", "warning",
        "with `--deep`: most flows were never answered or completed: a flood, a scan, an asymmetric route",
        "kernel: IPS_SEEN_REPLY in include/uapi/linux/netfilter/nf_conntrack_common.h";
    TrackedBy "tracked-by", "info, with `-v`",
        "with `--deep`: the tables because of which connections are tracked",
        "kernel: nf_ct_netns_get in net/netfilter/nf_conntrack_proto.c";
    PushPorts "push-ports", "warning",
        "with `--deep`: push connections with a timeout below 30 min",
        "Firebase: Configure your network for FCM, 30 minutes or more";
    TimeoutPolicies "timeout-policies", "info",
        "with `--deep`: timeout policies override the sysctls",
        "kernel: nf_ct_timeout_lookup in include/net/netfilter/nf_conntrack_timeout.h";
    ServiceDrift "service-drift", "warning",
        "the timeouts of services are not in nft, or are others",
        "kernel: net/netfilter/nft_ct.c, which copies the values when the object is made";
    NoLifeline "no-lifeline", "info",
        "the table is above 80 % and your own SSH session needs an entry of it", FULL;
    ServiceFlush "service-flush", "info, with `-v`",
        "what takes the timeouts of services away", "nft(8): FLUSH RULESET";
    Flowtables "flowtables", "info",
        "with `--deep`: offloaded flows have timeouts of their own",
        "kernel: Documentation/networking/nf_flowtable.rst";
    NetnsNearFull "netns-near-full", "warning 80 %, critical 90 %",
        "with `--all-netns`: the table of another namespace is nearly full",
        "kernel: __nf_conntrack_alloc in net/netfilter/nf_conntrack_core.c, which counts each \
         namespace by itself";
    LostAtBoot "lost-at-boot", "warning", "persisted values that are lost at the next boot", BOOT;
    DeadLine "dead-line", "warning",
        "a line for conntrack that nothing can use; what to write instead",
        "sysctl.d(5), modprobe.d(5); the kernel's parser of sysctls, proc_get_long";
    LaterWriter "later-writer", "info, warning for another value",
        "a unit, a script, cron or a hook sets a key after sysctl.d",
        "systemd.service(5), rc.local, crontab(5), udev(7)";
    PersistedNotLive "persisted-not-live", "warning",
        "without a profile: the live value differs from the one after the next boot", BOOT;
    LiveNotPersisted "live-not-persisted", "warning, info where nothing sets it",
        "without a profile: the live value is lost at the next boot", BOOT;
    NextBootUnknown "next-boot-unknown", "warning",
        "a program that cttune does not know decides what the next boot has", BOOT;
    EtcVolatile "etc-volatile", "warning",
        "what is written to /etc is lost at the next boot",
        "proc_pid_mountinfo(5), os-release(5)";
    HashsizeOption "hashsize-option", "warning, info where max is set",
        "a module option sets max to eight times the buckets",
        "kernel: nf_conntrack_init_start in net/netfilter/nf_conntrack_core.c";
    OverriddenAtBoot "beaten-at-boot", "warning",
        "a line in another file overrides the profile at boot", READERS;
    ReadersDisagree "readers-disagree", "warning",
        "`sysctl --system` and systemd-sysctl set different values", READERS;
    SysctlConfUnread "sysctl-conf-unread", "warning",
        "systemd-sysctl does not read `/etc/sysctl.conf`",
        "sysctl.d(5), which does not name /etc/sysctl.conf";
    WriterConntrackd "agent-conntrackd", "info", "conntrackd runs here", "conntrackd(8)";
    WriterDocker "agent-docker", "info", "dockerd runs here",
        "kernel: per-namespace timeouts, nf_conntrack_standalone.c";
    WriterFirewalld "agent-firewalld", "info, warning where it unloads the module",
        "firewalld runs here", "firewalld.conf(5): CleanupModulesOnExit";
    WriterKubeProxy "agent-kube-proxy", "info, warning for another value",
        "kube-proxy writes these keys when it starts",
        "kube-proxy: --conntrack-max-per-core, --conntrack-min, \
         --conntrack-tcp-timeout-established, --conntrack-tcp-timeout-close-wait";
    WriterTuned "agent-tuned", "info, warning for another value",
        "the active tuned profile sets these keys",
        "tuned.conf(5), tuned-main.conf(5): reapply_sysctl";
    WriterUfw "agent-ufw", "info, warning for another value",
        "ufw sets these keys when it starts",
        "ufw-framework(8): IPT_SYSCTL in /etc/default/ufw";
    ManagedFile "managed-file", "warning",
        "Ansible, Puppet or another tool manages an overriding file",
        "the name and the comments of that file";
}

impl Id {
    /// Whether it is about a choice that most machines rightly leave as it is: people see it with
    /// `-v` only.
    pub(crate) fn is_choice(self) -> bool {
        matches!(
            self,
            Id::AcctOff
                | Id::Rfc7857Opening
                | Id::ServiceFlush
                | Id::TcpLoose
                | Id::TimestampOff
                | Id::TrackedBy
        )
    }
}

/// What to say about a name in `[accept]` that no finding has; `None` where one has it.
///
/// That is not a mistake: a newer cttune may know it.
pub(crate) fn unknown_id(name: &str) -> Option<String> {
    let mut names = Id::ALL.iter().map(|id| id.name());
    if names.any(|known| known == name) {
        return None;
    }
    let names = Id::ALL.iter().map(|id| id.name().to_owned());
    let nearest = nearest_name(name, names);
    let advice = nearest.map(|nearest| format!("; did you mean `{nearest}`?"));
    let advice = advice.unwrap_or_default();
    Some(format!("no finding is called `{name}`{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        assert_eq!(unknown_id("rfc4787-req5"), None);
        for (id, said) in [
            (
                "rfc4787-req55",
                "no finding is called `rfc4787-req55`; did you mean `rfc4787-req5`?",
            ),
            ("x", "no finding is called `x`"),
        ] {
            assert_eq!(unknown_id(id).as_deref(), Some(said));
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = Id::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), Id::ALL.len());
    }

    /// `CTTUNE_BLESS=1 cargo test --lib the_book_has` writes the table anew.
    #[test]
    fn the_book_has_the_table_of_this_list() {
        const HEAD: &str = "|---|---|---|\n";
        let rows: String = Id::ALL.iter().map(|id| id.row()).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/findings.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, known) = page.split_once(HEAD).unwrap();
        if std::env::var_os("CTTUNE_BLESS").is_some() {
            std::fs::write(path, format!("{before}{HEAD}{rows}")).unwrap();
        } else {
            assert_eq!(known, rows, "CTTUNE_BLESS=1 cargo test --lib the_book_has");
        }
    }
}
