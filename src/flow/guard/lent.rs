//! What a guard has observed, for another process of this machine.

use std::borrow::Cow;
use std::time::Duration;

use crate::flow::Sightings;

const MAGIC: &[u8; 8] = b"cttune01";

/// Sightings, and what is needed to compare with them.
#[derive(Debug, Clone)]
pub(crate) struct Lent<'a> {
    /// Zero of the clock of the sightings, in milliseconds of `CLOCK_MONOTONIC`.
    pub(crate) zero: i64,
    /// Since when flows are watched, by the clock of the sightings.
    pub(crate) since: u32,
    /// Every timeout that held meanwhile, in seconds.
    pub(crate) timeouts: Cow<'a, [u32]>,
    pub(crate) sightings: Cow<'a, Sightings>,
}

impl Lent<'_> {
    /// For how long flows are watched, at this time of the clock.
    pub(crate) fn watched(&self, at: Duration) -> Duration {
        at.saturating_sub(Duration::from_millis(self.since.into()))
    }

    /// Part by part: all at once would take as much memory again.
    pub(crate) fn to_bytes(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.zero.to_le_bytes());
        bytes.extend(self.since.to_le_bytes());
        let number = u32::try_from(self.timeouts.len()).unwrap_or(0);
        bytes.extend(number.to_le_bytes());
        let timeouts = self.timeouts.iter().take(number as usize);
        timeouts.for_each(|timeout| bytes.extend(timeout.to_le_bytes()));
        std::iter::once(bytes).chain(self.sightings.to_bytes())
    }

    /// Reads what [`Lent::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (zero, rest) = rest.split_first_chunk()?;
        let (since, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let length = 4 * usize::try_from(u32::from_le_bytes(*number)).ok()?;
        let (timeouts, sightings) = rest.split_at_checked(length)?;
        let (timeouts, _) = timeouts.as_chunks();
        Some(Lent {
            zero: i64::from_le_bytes(*zero),
            since: u32::from_le_bytes(*since),
            timeouts: timeouts
                .iter()
                .map(|one| u32::from_le_bytes(*one))
                .collect(),
            sightings: Cow::Owned(Sightings::from_bytes(sightings)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Flow;
    use crate::flow::captured::TCP;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_that_is_cut() {
        let mut sightings = Sightings::default();
        sightings.add(&Flow::parse(TCP).unwrap(), 5, 6);
        let lent = Lent {
            zero: -7,
            since: 8,
            timeouts: Cow::Owned(vec![9, 10]),
            sightings: Cow::Owned(sightings.seal()),
        };
        let bytes = lent.to_bytes().collect::<Vec<_>>().concat();
        let read = Lent::from_bytes(&bytes).unwrap();
        assert_eq!((read.zero, read.since), (-7, 8));
        assert_eq!(*read.timeouts, [9, 10]);
        assert_eq!(read.sightings.iter().count(), 1);
        for length in 0..bytes.len() {
            let cut = Lent::from_bytes(&bytes[..length]);
            assert!(cut.is_none_or(|cut| cut.sightings.iter().count() == 0));
        }
    }
}
