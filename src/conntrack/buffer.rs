//! The netlink encoder: messages and attributes, laid out as the kernel reads them.
//!
//! In: a message's type and flags, attributes in order. Out: bytes ready to be sent, any number of
//! messages one after the other. Rule: lengths are filled in here and nowhere else, and every
//! message and attribute is padded to four bytes.
//! Follows the kernel's Documentation/userspace-api/netlink/intro.rst.

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// Marks an attribute that holds attributes.
const NLA_F_NESTED: u16 = 1 << 15;

/// What a message is, and how it is to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
}

/// Messages under construction.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    messages: usize,
}

impl Buffer {
    /// What was written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages were written.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Forgets the messages and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.messages = 0;
    }

    /// Appends a message. Its sequence number is its place in the buffer, which answers repeat;
    /// they are drained before the next `send`, so that it need not be larger.
    pub(crate) fn message(&mut self, head: Head, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.raw(&[0; 4]);
        self.raw(&head.kind.to_ne_bytes());
        self.raw(&head.flags.to_ne_bytes());
        let sequence = u32::try_from(self.messages).unwrap_or(u32::MAX);
        self.raw(&sequence.to_ne_bytes());
        self.raw(&[0; 4]);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.messages += 1;
    }

    /// Appends bytes that are no attribute: the fixed part that follows a message's header.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends an attribute with a plain value.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.sized(kind, |buffer| buffer.raw(value));
    }

    /// Appends an attribute that holds the attributes which `body` writes.
    pub(super) fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.sized(kind | NLA_F_NESTED, body);
    }

    /// Writes an attribute's header with its length, which leaves the padding out.
    fn sized(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        body(self);
        let length = self.bytes.len() - start;
        // What cttune writes is far from 64 KiB; the kernel would refuse a length that is cut.
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_padded_and_its_length_leaves_the_padding_out() {
        for (value, bytes) in [
            (&[][..], &[4, 0, 7, 0][..]),
            (&[9], &[5, 0, 7, 0, 9, 0, 0, 0]),
            (&[9, 8, 7, 6], &[8, 0, 7, 0, 9, 8, 7, 6]),
        ] {
            let mut buffer = Buffer::default();
            buffer.attribute(7, value);
            assert_eq!(buffer.bytes(), bytes);
        }
    }

    #[test]
    fn a_nest_counts_the_padding_of_what_it_holds() {
        let mut buffer = Buffer::default();
        buffer.nested(1, |nest| nest.attribute(2, &[3]));
        assert_eq!(buffer.bytes(), [12, 0, 1, 0x80, 5, 0, 2, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn messages_follow_each_other_each_with_its_own_length() {
        let mut buffer = Buffer::default();
        for kind in [0x0102, 0x0304] {
            buffer.message(Head { kind, flags: 5 }, |message| {
                message.raw(&[1, 2, 3, 4]);
            });
        }
        assert_eq!(buffer.messages(), 2);
        assert_eq!(buffer.bytes().len(), 2 * 20);
        assert_eq!(buffer.bytes()[..8], [20, 0, 0, 0, 2, 1, 5, 0]);
        assert_eq!(buffer.bytes()[20..28], [20, 0, 0, 0, 4, 3, 5, 0]);
        buffer.clear();
        assert_eq!((buffer.messages(), buffer.bytes().len()), (0, 0));
    }
}
