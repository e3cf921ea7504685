//! Names for the numbers in an entry: protocol, TCP state, status bit, address family.

use std::fmt;

/// An IP protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Protocol(pub(crate) u8);

impl Protocol {
    /// ICMP of IPv4.
    pub(crate) const ICMP: Protocol = Protocol(1);
    /// TCP.
    pub(crate) const TCP: Protocol = Protocol(6);
    /// UDP.
    pub(crate) const UDP: Protocol = Protocol(17);
    /// DCCP, which kernels from about 6.17 do not track.
    pub(crate) const DCCP: Protocol = Protocol(33);
    /// GRE.
    pub(crate) const GRE: Protocol = Protocol(47);
    /// ICMP of IPv6.
    pub(crate) const ICMPV6: Protocol = Protocol(58);
    /// SCTP.
    pub(crate) const SCTP: Protocol = Protocol(132);
    /// UDP-Lite.
    pub(crate) const UDPLITE: Protocol = Protocol(136);

    /// The protocols that conntrack knows by name, as conntrack(8) prints them.
    pub(crate) const NAMES: [(&'static str, u8); 10] = [
        ("icmp", 1),
        ("tcp", 6),
        ("udp", 17),
        ("dccp", 33),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("icmpv6", 58),
        ("sctp", 132),
        ("udplite", 136),
    ];

    /// The protocol of this name or number.
    pub(crate) fn find(text: &str) -> Option<Protocol> {
        let mut names = Self::NAMES.iter();
        let found = names.find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map_or_else(
            || text.parse().ok().map(Protocol),
            |(_, number)| Some(Protocol(*number)),
        )
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&self.0.to_string()),
        }
    }
}

macro_rules! named {
    ($(#[$about:meta])* $type:ident { $( $variant:ident = $number:literal $name:literal $doc:literal, )* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $type {
            $( #[doc = $doc] $variant = $number, )*
        }

        impl $type {
            /// Every one of them, in the kernel's order.
            pub(crate) const ALL: &'static [$type] = &[ $( $type::$variant, )* ];

            /// The name that terms and listings use.
            pub(crate) fn name(self) -> &'static str {
                match self { $( $type::$variant => $name, )* }
            }

            /// The kernel's number.
            pub(crate) fn number(self) -> u8 {
                self as u8
            }

            /// The one of this name; letter case and `-` for `_` make no difference.
            pub(crate) fn find(text: &str) -> Option<$type> {
                let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
                Self::ALL.iter().copied().find(|one| plain(one.name()) == plain(text))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    /// Where a TCP connection stands: `enum tcp_conntrack`.
    TcpState {
        None = 0 "none" "Nothing seen yet.",
        SynSent = 1 "syn_sent" "A SYN.",
        SynRecv = 2 "syn_recv" "SYN and SYN/ACK.",
        Established = 3 "established" "Open.",
        FinWait = 4 "fin_wait" "One side sent FIN.",
        CloseWait = 5 "close_wait" "That FIN was acknowledged.",
        LastAck = 6 "last_ack" "Both sent FIN, one is not acknowledged.",
        TimeWait = 7 "time_wait" "Closed by both sides.",
        Close = 8 "close" "Reset.",
        SynSent2 = 9 "syn_sent2" "A SYN from both sides.",
    }
}

named! {
    /// A bit of an entry's status: `enum ip_conntrack_status`. The number is the bit's.
    StatusBit {
        Expected = 0 "expected" "A helper announced this flow.",
        SeenReply = 1 "seen-reply" "Packets went both ways.",
        Assured = 2 "assured" "Not evicted early.",
        Confirmed = 3 "confirmed" "The first packet left the machine.",
        SrcNat = 4 "src-nat" "The source is translated.",
        DstNat = 5 "dst-nat" "The destination is translated.",
        SeqAdjust = 6 "seq-adjust" "TCP sequence numbers are adjusted.",
        Dying = 9 "dying" "On its way out.",
        FixedTimeout = 10 "fixed-timeout" "The timeout was set from user space and cannot change.",
        Helper = 13 "helper" "A helper was attached by rule.",
        Offload = 14 "offload" "In a flowtable.",
        HwOffload = 15 "hw-offload" "In a flowtable of the network card.",
    }
}

impl StatusBit {
    /// Its bit in a status word.
    pub(crate) fn mask(self) -> u32 {
        1 << self.number()
    }
}

named! {
    /// An address family, numbered as `nfgen_family` is.
    Family {
        Ipv4 = 2 "ipv4" "IPv4.",
        Ipv6 = 10 "ipv6" "IPv6.",
    }
}

impl TcpState {
    /// The one that the kernel gives this number.
    #[inline(always)]
    pub(crate) fn from_number(number: u8) -> Option<TcpState> {
        // They are numbered from 0, without a gap.
        let state = Self::ALL.get(usize::from(number)).copied();
        state.filter(|state| state.number() == number)
    }
}

impl Family {
    /// The one that the kernel gives this number.
    #[inline(always)]
    pub(crate) fn from_number(number: u8) -> Option<Family> {
        const IPV4: u8 = Family::Ipv4 as u8;
        const IPV6: u8 = Family::Ipv6 as u8;
        match number {
            IPV4 => Some(Family::Ipv4),
            IPV6 => Some(Family::Ipv6),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_they_are_printed_and_as_conntrack_prints_them() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::find(state.name()), Some(*state));
            assert_eq!(TcpState::from_number(state.number()), Some(*state));
        }
        assert_eq!(TcpState::find("SYN_SENT"), Some(TcpState::SynSent));
        assert_eq!(StatusBit::find("SEEN_REPLY"), Some(StatusBit::SeenReply));
        assert_eq!(TcpState::find("listen"), None);
    }

    #[test]
    fn status_bits_are_the_kernels() {
        for (bit, mask) in [
            (StatusBit::SeenReply, 0x2),
            (StatusBit::Assured, 0x4),
            (StatusBit::Confirmed, 0x8),
            (StatusBit::Dying, 0x200),
            (StatusBit::FixedTimeout, 0x400),
            (StatusBit::Offload, 0x4000),
            (StatusBit::HwOffload, 0x8000),
        ] {
            assert_eq!(bit.mask(), mask, "{bit}");
        }
    }

    #[test]
    fn a_protocol_is_a_name_or_a_number() {
        for (text, number) in [
            ("tcp", Some(6)),
            ("6", Some(6)),
            ("icmpv6", Some(58)),
            ("UDP", Some(17)),
            ("256", None),
            ("tcpp", None),
        ] {
            assert_eq!(Protocol::find(text).map(|found| found.0), number, "{text}");
        }
    }
}
