//! Until when a change is pending, on the operator's clock.

use jiff::{SignedDuration, ZonedDateTime};

use super::out::Out;
use crate::change::{Ending, Entry, Outcome};
use crate::diagnostic::Place;
use crate::kernel::host;
use crate::render::{self, outcome::Told};

pub(super) fn tell(entry: &Entry, outcome: &Outcome, place: &Place, out: Out) {
    let within = entry.state.deadline.map_or(0, |deadline| deadline.within);
    let until = of(entry);
    let plan = entry.record.plan();
    let told = Told {
        plan: &plan,
        reports: &outcome.reports,
        changed: outcome.changed(),
        id: Some(entry.record.id),
        pending: until.as_ref().map(|until| until.time.timestamp()),
        flows: None,
    };
    if let Ending::Partial(why) = &outcome.ending {
        out.note(&format!("note: {why}; the other live steps were applied"));
    }
    let clock = until.map_or_else(
        || format!("in {within}s"),
        |until| format!("at {}", until.clock),
    );
    out.result(
        || render::outcome::pending(&entry.record.rest(), &clock, place),
        || render::outcome::json(told),
    );
}

/// When a change is undone.
pub(super) struct Until {
    pub(super) time: ZonedDateTime,
    /// For people.
    pub(super) clock: String,
}

/// None where the change has no deadline, or the clocks cannot be read. One that has passed lies in the
/// past.
pub(super) fn of(entry: &Entry) -> Option<Until> {
    let until = i64::try_from(entry.state.deadline?.boottime).ok()?;
    let passed = SignedDuration::try_from(host::read_boottime().ok()?).ok()?;
    let left = SignedDuration::from_secs(until).checked_sub(passed)?;
    let now = ZonedDateTime::now();
    let time = now.checked_add(left).ok()?;
    let clock = clock(&now, &time);
    Some(Until { time, clock })
}

/// The time, with the day where that is another one.
fn clock(now: &ZonedDateTime, until: &ZonedDateTime) -> String {
    let format = if now.date() == until.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    until.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_told_where_it_is_another_one() {
        for (seconds, expected) in [
            (0, "14:07:31"),
            (9 * 3600, "23:07:31"),
            (10 * 3600, "2026-11-26 00:07:31"),
        ] {
            let now: jiff::Timestamp = "2026-11-25T14:07:31Z".parse().unwrap();
            let now = now.to_zoned_datetime(jiff::tz::TimeZone::UTC);
            let until = now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            assert_eq!(clock(&now, &until), expected);
        }
    }
}
