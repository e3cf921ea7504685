//! A conntrack entry as a dump tells it.

use super::{Family, Layer4, StatusBit, TcpState, Tuple};

/// One entry of the table, borrowed from the message that told of it.
///
/// Made by [`Flow::parse`] alone, so that it always has both tuples and an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow<'a> {
    /// IPv4 or IPv6.
    pub(crate) family: Family,
    /// The direction of the first packet.
    pub(crate) original: Tuple,
    /// The direction of the answer; not the mirror of `original` where addresses are translated.
    pub(crate) reply: Tuple,
    /// What the kernel has noted about it.
    pub(crate) status: Status,
    /// Remaining seconds, rounded down; none for an offloaded flow, whose flowtable keeps it alive.
    pub(crate) timeout: Option<u32>,
    /// 0 if nobody set one.
    pub(crate) mark: u32,
    /// Not unique over time: a tuple that ends and comes again can have the same.
    pub(crate) id: u32,
    /// For TCP; none for an offloaded flow.
    pub(crate) tcp: Option<Tcp>,
    /// For SCTP: `enum sctp_conntrack`.
    pub(crate) sctp: Option<u8>,
    /// For SCTP: the verification tags of both directions.
    pub(crate) sctp_tags: Option<(u32, u32)>,
    /// Counted from the first packet; none if accounting was off when the flow was made.
    pub(crate) counters: Option<Counters>,
    /// Start, in nanoseconds since 1970; none if timestamps were off when the flow was made.
    pub(crate) started: Option<u64>,
    /// The name of its helper, as the kernel spells it.
    pub(crate) helper: Option<&'a [u8]>,
    /// Whether another flow announced this one.
    pub(crate) has_master: bool,
    /// `CTA_LABELS`: the connection labels, lowest byte first, as the kernel keeps them.
    pub(crate) labels: Option<&'a [u8]>,
    /// The zone of both directions; one direction's own is in its tuple.
    pub(super) both_zone: Option<u16>,
    /// The value of `CTA_TUPLE_ORIG`, never empty.
    pub(super) raw_original: &'a [u8],
}

/// `IPS_*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(crate) struct Status(pub(crate) u32);

/// What the tracker of a TCP connection tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tcp {
    /// None for a number that cttune does not know.
    pub(crate) state: Option<TcpState>,
    /// `IP_CT_TCP_FLAG_*` of the original direction.
    pub(crate) original_flags: u8,
    /// `IP_CT_TCP_FLAG_*` of the reply direction.
    pub(crate) reply_flags: u8,
}

/// Packets and bytes, by direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(crate) struct Counters {
    /// Packets of the original direction.
    pub(crate) original_packets: u64,
    /// Bytes of the original direction.
    pub(crate) original_bytes: u64,
    /// Packets of the reply direction.
    pub(crate) reply_packets: u64,
    /// Bytes of the reply direction.
    pub(crate) reply_bytes: u64,
}

impl<'a> Flow<'a> {
    /// The zone: of both directions, else the one that a direction has for itself, else 0.
    ///
    /// A flow has one zone number, for one direction or both; the kernel compares it so.
    pub(crate) fn zone(&self) -> u16 {
        let of_a_direction = self.original.zone.or(self.reply.zone);
        self.both_zone.or(of_a_direction).unwrap_or(0)
    }

    /// The zone of one direction.
    pub(crate) fn zone_of(&self, direction: &Tuple) -> u16 {
        self.both_zone.or(direction.zone).unwrap_or(0)
    }

    /// Whether a connection label is set. The kernel keeps them as an array of words.
    pub(crate) fn has_label(&self, number: u8) -> bool {
        let (word, bit) = (usize::from(number) / 64, number % 64);
        let words = self.labels.unwrap_or_default().as_chunks().0;
        let word = words.get(word).copied().map(u64::from_ne_bytes);
        word.is_some_and(|word| word & (1 << bit) != 0)
    }

    /// The zone as `CTA_ZONE` tells it: of both directions, else none.
    ///
    /// A request about the flow must repeat it; without, it names another flow or none.
    pub(crate) fn both_zone(&self) -> Option<u16> {
        self.both_zone
    }

    /// The bytes that name the flow to the kernel: the value of `CTA_TUPLE_ORIG` as it was dumped,
    /// a zone of the original direction included; never empty.
    pub(crate) fn raw_original(&self) -> &'a [u8] {
        self.raw_original
    }

    /// By which it is known again in another dump: the tuple as it was dumped, the zone, the id.
    pub(crate) fn identity(&self) -> (&'a [u8], Option<u16>, u32) {
        (self.raw_original, self.both_zone, self.id)
    }

    /// Where a TCP connection stands.
    pub(crate) fn tcp_state(&self) -> Option<TcpState> {
        self.tcp?.state
    }

    /// Whether an address or port is translated: the answer does not come the way the first packet
    /// went.
    pub(crate) fn is_translated(&self) -> bool {
        let (there, back) = (&self.original, &self.reply);
        (there.src, there.dst) != (back.dst, back.src)
            || match (there.layer4, back.layer4) {
                (Layer4::Ports { src, dst }, Layer4::Ports { src: s, dst: d }) => {
                    (src, dst) != (d, s)
                }
                (Layer4::Icmp { id, .. }, Layer4::Icmp { id: other, .. }) => id != other,
                _ => false,
            }
    }
}

impl Counters {
    /// Packets and bytes of both directions.
    pub(crate) fn both(self) -> (u64, u64) {
        let packets = self.original_packets.saturating_add(self.reply_packets);
        (
            packets,
            self.original_bytes.saturating_add(self.reply_bytes),
        )
    }
}

impl Status {
    /// Whether the bit is set.
    pub(crate) fn has(self, bit: StatusBit) -> bool {
        self.0 & bit.mask() != 0
    }
}

impl Tcp {
    /// `IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED`.
    const UNACKNOWLEDGED: u8 = 0x10;

    /// Whether a side waits for its data to be acknowledged: the kernel then bounds the flow's time
    /// by `tcp_timeout_unacknowledged`.
    pub(crate) fn has_unacknowledged_data(self) -> bool {
        (self.original_flags | self.reply_flags) & Self::UNACKNOWLEDGED != 0
    }
}
