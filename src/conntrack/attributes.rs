//! Netlink attributes: reads them from borrowed bytes, and has the numbers that conntrack gives them.
//!
//! In: what follows the fixed part of a message, or the value of a nested attribute. Out: each
//! attribute in turn, then nothing, or one [`Malformed`]. Rule: lengths are checked here and
//! nowhere else; an unknown attribute is delivered like any other.
//! Follows the kernel's Documentation/userspace-api/netlink/intro.rst.

/// `CTA_*`: the attributes of a conntrack message.
pub(super) mod cta {
    pub(crate) const TUPLE_ORIG: u16 = 1;
    pub(crate) const TUPLE_REPLY: u16 = 2;
    pub(crate) const STATUS: u16 = 3;
    pub(crate) const PROTOINFO: u16 = 4;
    pub(crate) const HELP: u16 = 5;
    pub(crate) const TIMEOUT: u16 = 7;
    pub(crate) const MARK: u16 = 8;
    pub(crate) const COUNTERS_ORIG: u16 = 9;
    pub(crate) const COUNTERS_REPLY: u16 = 10;
    pub(crate) const ID: u16 = 12;
    pub(crate) const TUPLE_MASTER: u16 = 14;
    pub(crate) const ZONE: u16 = 18;
    pub(crate) const TIMESTAMP: u16 = 20;
    pub(crate) const MARK_MASK: u16 = 21;
    pub(crate) const LABELS: u16 = 22;
    pub(crate) const FILTER: u16 = 25;
    pub(crate) const STATUS_MASK: u16 = 26;
}

/// `CTA_TUPLE_*`: what a tuple consists of.
pub(super) mod cta_tuple {
    pub(crate) const IP: u16 = 1;
    pub(crate) const PROTO: u16 = 2;
    /// Present where this direction alone belongs to a zone.
    pub(crate) const ZONE: u16 = 3;
}

/// `CTA_IP_*`: a tuple's addresses.
pub(super) mod cta_ip {
    pub(crate) const V4_SRC: u16 = 1;
    pub(crate) const V4_DST: u16 = 2;
    pub(crate) const V6_SRC: u16 = 3;
    pub(crate) const V6_DST: u16 = 4;
}

/// `CTA_PROTO_*`: a tuple's protocol and what tells its flows apart.
pub(super) mod cta_proto {
    pub(crate) const NUMBER: u16 = 1;
    pub(crate) const SRC_PORT: u16 = 2;
    pub(crate) const DST_PORT: u16 = 3;
    pub(crate) const ICMP_ID: u16 = 4;
    pub(crate) const ICMP_TYPE: u16 = 5;
    pub(crate) const ICMP_CODE: u16 = 6;
    pub(crate) const ICMPV6_ID: u16 = 7;
    pub(crate) const ICMPV6_TYPE: u16 = 8;
    pub(crate) const ICMPV6_CODE: u16 = 9;
}

/// `CTA_FILTER_*`: which parts of a request's tuples a dump is filtered by.
pub(super) mod cta_filter {
    pub(crate) const ORIG_FLAGS: u16 = 1;
    pub(crate) const REPLY_FLAGS: u16 = 2;
    /// Bits of the flags, from the kernel's net/netfilter/nf_conntrack_netlink.c.
    pub(crate) const PROTO_NUMBER: u32 = 1 << 3;
    pub(crate) const PROTO_SRC_PORT: u32 = 1 << 4;
    pub(crate) const PROTO_DST_PORT: u32 = 1 << 5;
}

/// Bytes from the kernel that end too early, or lack what every conntrack entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading a netlink message: it is cut short, or lacks {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Bytes of an attribute's header.
const HEADER: usize = 4;

/// The kind without the bits that say "nested" and "network byte order".
const KIND: u16 = 0x3fff;
/// The first of them.
pub(super) const NESTED: u16 = 0x8000;

/// The header of an attribute with so many bytes, these four included.
pub(super) const fn header(length: u16, kind: u16) -> [u8; HEADER] {
    let ([first, second], [third, fourth]) = (length.to_ne_bytes(), kind.to_ne_bytes());
    [first, second, third, fourth]
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

/// Attributes that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Attributes(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        // After an error nothing follows: no length behind it could be trusted.
        let bytes = std::mem::take(&mut self.0);
        let Some((length, kind)) = read_header(bytes) else {
            let rest = (!bytes.is_empty()).then_some(Malformed("an attribute's header"));
            return rest.map(Err);
        };
        let Some(value) = bytes.get(HEADER..length) else {
            return Some(Err(Malformed("an attribute's value")));
        };
        // Padded to four bytes; the padding of the last attribute may be left out.
        self.0 = bytes.get((length + 3) & !3..).unwrap_or_default();
        Some(Ok(Attribute { kind, value }))
    }
}

/// `struct nlattr`: the length, this header included, and the kind. Taken apart so that each is
/// one load: there are two dozen in a flow.
#[inline(always)]
fn read_header(bytes: &[u8]) -> Option<(usize, u16)> {
    let ([length, kind], []) = bytes.first_chunk::<HEADER>()?.as_chunks() else {
        return None;
    };
    let length = u16::from_ne_bytes(*length).into();
    Some((length, u16::from_ne_bytes(*kind) & KIND))
}

impl<'a> Attribute<'a> {
    /// The first bytes of the value, which must have as many.
    #[inline(always)]
    pub(crate) fn bytes<const N: usize>(self) -> Result<[u8; N], Malformed> {
        let bytes = self.value.first_chunk();
        bytes.copied().ok_or(Malformed("part of a number"))
    }

    pub(crate) fn byte(self) -> Result<u8, Malformed> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    /// Conntrack's numbers are in network byte order.
    pub(crate) fn u16(self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_be_bytes)
    }

    #[inline(always)]
    pub(crate) fn u32(self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(self) -> Result<u64, Malformed> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// The attributes that this one holds.
    pub(crate) fn nested(self) -> Attributes<'a> {
        Attributes::new(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Vec<Result<(u16, Vec<u8>), Malformed>>;

    fn read(bytes: &[u8]) -> Read {
        Attributes::new(bytes)
            .map(|attribute| attribute.map(|a| (a.kind, a.value.to_vec())))
            .collect()
    }

    #[test]
    fn attributes_follow_each_other_with_padding_between() {
        let bytes = b"\x05\0\x01\x80\x07\0\0\0\x08\0\x02\x40\x01\x02\x03\x04\x04\0\x03\0";
        assert_eq!(
            read(bytes),
            [Ok((1, vec![7])), Ok((2, vec![1, 2, 3, 4])), Ok((3, vec![]))]
        );
    }

    #[test]
    fn the_last_may_lack_its_padding() {
        assert_eq!(read(b"\x05\0\x01\0\x07"), [Ok((1, vec![7]))]);
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error_and_ends_the_list() {
        for bytes in [
            &b"\x04\0\x01"[..],
            b"\x03\0\x01\0\x04\0\x01\0",
            b"\0\0\x01\0",
            b"\x09\0\x01\0\x01\x02\x03\x04",
            b"\xff\xff\x01\0",
        ] {
            assert!(matches!(read(bytes)[..], [Err(_)]), "{bytes:?}");
        }
    }

    #[test]
    fn a_number_needs_all_its_bytes() {
        let attribute = |value| Attribute { kind: 1, value };
        assert_eq!(attribute(&[1, 2]).u16(), Ok(0x0102));
        assert!(attribute(&[1]).u16().is_err());
        assert!(attribute(&[1, 2, 3]).u32().is_err());
        assert!(attribute(&[]).byte().is_err());
        assert_eq!(attribute(&[0, 0, 0, 0, 0, 0, 1, 0]).u64(), Ok(256));
    }
}
