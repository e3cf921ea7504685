//! Netlink messages in received bytes: where each begins and ends, and what ends an answer.

use super::attributes::Malformed;
use super::buffer::HEADER;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// The number of the request that it answers.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

/// Messages that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        if bytes.is_empty() {
            return None;
        }
        self.0 = &[];
        let Some((length, kind, sequence)) = header(bytes) else {
            return Some(Err(Malformed("a header")));
        };
        let Some(body) = bytes.get(HEADER..length) else {
            return Some(Err(Malformed("the rest of a message")));
        };
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Message {
            kind,
            sequence,
            body,
        }))
    }
}

/// `struct nlmsghdr`: length, type, flags, sequence number, port; in the machine's byte order.
#[inline(always)]
fn header(bytes: &[u8]) -> Option<(usize, u16, u32)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (_flags, rest) = rest.split_first_chunk::<2>()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    rest.first_chunk::<4>()?;
    Some((
        u32::from_ne_bytes(*length) as usize,
        u16::from_ne_bytes(*kind),
        u32::from_ne_bytes(*sequence),
    ))
}

impl Message<'_> {
    /// What the kernel answered to a request: an errno, or 0 for an acknowledgement; none in a
    /// message that is no answer.
    pub(crate) fn errno(&self) -> Option<i32> {
        (self.kind == NLMSG_ERROR).then(|| self.code())
    }

    /// How a dump ended: 0, or an errno if it failed half way; none in a message that ends no dump.
    pub(crate) fn end(&self) -> Option<i32> {
        matches!(self.kind, NLMSG_ERROR | NLMSG_DONE).then(|| self.code())
    }

    /// The first number of the body, which is a negative errno; a body without one says nothing.
    fn code(&self) -> i32 {
        let code = self.body.first_chunk().copied();
        code.map_or(0, i32::from_ne_bytes).saturating_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this kind, answering request 7.
    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(HEADER + body.len()).unwrap();
        let mut bytes = vec![length, 0, 0, 0, kind, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_follow_each_other() {
        let bytes = [message(2, &(-17_i32).to_ne_bytes()), message(9, &[1, 2, 3])].concat();
        let read: Vec<_> = Messages(&bytes).map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].errno(), read[0].sequence), (Some(17), 7));
        assert_eq!((read[1].kind, read[1].body), (9, &[1, 2, 3][..]));
        assert_eq!((read[1].errno(), read[1].end()), (None, None));
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_an_error() {
        let bytes = message(9, &[1, 2, 3, 4]);
        for length in 1..bytes.len() {
            let read: Vec<_> = Messages(&bytes[..length]).collect();
            assert!(matches!(read[..], [Err(_)]), "cut at {length}");
        }
    }

    #[test]
    fn a_length_shorter_than_the_header_is_an_error() {
        let mut bytes = message(9, &[]);
        bytes[0] = 15;
        assert!(Messages(&bytes).next().unwrap().is_err());
        bytes[0] = 0;
        assert_eq!(Messages(&bytes).count(), 1);
    }

    #[test]
    fn a_dump_ends_well_or_with_an_errno() {
        for (kind, body, end) in [
            (3, &0_i32.to_ne_bytes()[..], Some(0)),
            (3, &[], Some(0)),
            (3, &(-4_i32).to_ne_bytes(), Some(4)),
            (2, &(-1_i32).to_ne_bytes(), Some(1)),
            (9, &[], None),
        ] {
            let bytes = message(kind, body);
            assert_eq!(Messages(&bytes).next().unwrap().unwrap().end(), end);
        }
    }
}
