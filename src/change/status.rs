//! The status of a change, and every transition that it can make.
//!
//! In: a [`Status`] and an [`Event`]. Out: the next status, or a refusal. Rule: pure, and the only
//! place where a status comes from, other than the journal that it was written to.

use std::fmt;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Its steps are being applied, or were when cttune was killed.
    Started,
    /// It is live, and is undone unless it is confirmed; its files are not written yet.
    Pending,
    Applied,
    /// It was applied, apart from what is noted in the journal.
    Partial,
    /// It failed, or was stopped, and all of it was undone.
    Undone,
    /// It failed, and not all of it could be undone.
    Failed,
    /// A later rollback undid it.
    RolledBack,
    /// It was never confirmed, and a reboot ended it.
    Rebooted,
    /// It was not confirmed in time, and was undone.
    Expired,
    /// cttune was killed while it was applied, and a later change did the rest.
    Resumed,
}

/// What happens to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its live steps are done; the rest waits for `cttune confirm`.
    Wait,
    /// `cttune confirm` starts with the rest.
    Confirm,
    /// Every step was applied.
    Finish,
    /// The steps were applied, apart from what is noted.
    FinishPartly,
    /// It failed or was stopped, and all of it was undone.
    Undo,
    /// It failed or was stopped, and not all of it could be undone.
    UndoPartly,
    /// A rollback undid it.
    RollBack,
    /// The rollback that undid it was itself rolled back.
    Redo,
    /// Its deadline passed, and it was undone.
    Expire,
    /// The machine was rebooted before it was confirmed.
    Reboot,
    /// A later change did what was left of it.
    Resume,
}

/// A transition that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change that is {from} cannot {event:?}")]
pub(crate) struct Refused {
    from: Status,
    event: Event,
}

impl Status {
    const ALL: [Status; 10] = [
        Status::Started,
        Status::Pending,
        Status::Applied,
        Status::Partial,
        Status::Undone,
        Status::Failed,
        Status::RolledBack,
        Status::Rebooted,
        Status::Expired,
        Status::Resumed,
    ];

    /// The status after an event.
    pub(crate) fn after(self, event: Event) -> Result<Status, Refused> {
        use Status::{
            Applied, Expired, Failed, Partial, Pending, Rebooted, Resumed, RolledBack, Started,
            Undone,
        };
        match (self, event) {
            (Started, Event::Wait) => Ok(Pending),
            (Pending, Event::Confirm) => Ok(Started),
            (Started, Event::Finish) | (RolledBack, Event::Redo) => Ok(Applied),
            (Started, Event::FinishPartly) => Ok(Partial),
            (Started | Pending, Event::Undo) => Ok(Undone),
            (Started | Pending, Event::UndoPartly) => Ok(Failed),
            (Started | Pending, Event::Expire) => Ok(Expired),
            (Started | Pending, Event::Reboot) => Ok(Rebooted),
            (Started, Event::Resume) => Ok(Resumed),
            (from, Event::RollBack) if from.can_be_rolled_back() => Ok(RolledBack),
            (from, event) => Err(Refused { from, event }),
        }
    }

    /// The word for people and machines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Started => "started",
            Status::Pending => "pending",
            Status::Applied => "applied",
            Status::Partial => "partial",
            Status::Undone => "undone",
            Status::Failed => "failed",
            Status::RolledBack => "rolled-back",
            Status::Rebooted => "rebooted",
            Status::Expired => "expired",
            Status::Resumed => "resumed",
        }
    }

    /// The word that version 0.1.0 wrote to the journal, and that `history --format json` keeps.
    pub(crate) fn first_name(self) -> &'static str {
        match self {
            Status::Started => "begun",
            Status::Applied => "complete",
            Status::Partial => "partly",
            Status::Failed => "left",
            status => status.name(),
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    pub(crate) fn from_first_name(name: &str) -> Option<Self> {
        Status::ALL
            .into_iter()
            .find(|status| status.first_name() == name)
    }

    /// Whether steps or an answer are still to come.
    pub(crate) fn is_unfinished(self) -> bool {
        matches!(self, Status::Started | Status::Pending)
    }

    /// Whether some of its steps may still be effective.
    pub(crate) fn can_be_rolled_back(self) -> bool {
        match self {
            Status::Started
            | Status::Pending
            | Status::Applied
            | Status::Partial
            | Status::Failed
            | Status::Resumed => true,
            Status::Undone | Status::RolledBack | Status::Rebooted | Status::Expired => false,
        }
    }

    /// Whether a step that was not reported may be effective: the one that a kill interrupted.
    pub(super) fn was_interrupted(self) -> bool {
        matches!(self, Status::Started | Status::Resumed)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::RolledBack => "rolled back",
            status => status.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 11] = [
        Event::Wait,
        Event::Confirm,
        Event::Finish,
        Event::FinishPartly,
        Event::Undo,
        Event::UndoPartly,
        Event::RollBack,
        Event::Redo,
        Event::Expire,
        Event::Reboot,
        Event::Resume,
    ];

    /// Every transition that exists; all others are refused.
    const ALLOWED: [(Status, Event, Status); 20] = [
        (Status::Started, Event::Wait, Status::Pending),
        (Status::Started, Event::Finish, Status::Applied),
        (Status::Started, Event::FinishPartly, Status::Partial),
        (Status::Started, Event::Undo, Status::Undone),
        (Status::Started, Event::UndoPartly, Status::Failed),
        (Status::Started, Event::RollBack, Status::RolledBack),
        (Status::Started, Event::Expire, Status::Expired),
        (Status::Started, Event::Reboot, Status::Rebooted),
        (Status::Started, Event::Resume, Status::Resumed),
        (Status::Pending, Event::Confirm, Status::Started),
        (Status::Pending, Event::Undo, Status::Undone),
        (Status::Pending, Event::UndoPartly, Status::Failed),
        (Status::Pending, Event::RollBack, Status::RolledBack),
        (Status::Pending, Event::Expire, Status::Expired),
        (Status::Pending, Event::Reboot, Status::Rebooted),
        (Status::Applied, Event::RollBack, Status::RolledBack),
        (Status::Partial, Event::RollBack, Status::RolledBack),
        (Status::Failed, Event::RollBack, Status::RolledBack),
        (Status::Resumed, Event::RollBack, Status::RolledBack),
        (Status::RolledBack, Event::Redo, Status::Applied),
    ];

    #[test]
    fn every_transition_is_allowed_or_refused_as_the_table_says() {
        for from in Status::ALL {
            for event in EVENTS {
                let row = ALLOWED.iter().find(|row| (row.0, row.1) == (from, event));
                let expected = row.map_or(Err(Refused { from, event }), |row| Ok(row.2));
                assert_eq!(from.after(event), expected, "{from:?} {event:?}");
            }
        }
    }

    #[test]
    fn names_are_read_back_in_both_formats() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.name()), Some(status));
            assert_eq!(Status::from_first_name(status.first_name()), Some(status));
        }
        assert_eq!(Status::from_name("begun"), None);
        assert_eq!(Status::from_first_name(""), None);
    }

    #[test]
    fn what_was_undone_is_final_until_it_is_redone() {
        for (status, unfinished, can_be_rolled_back) in [
            (Status::Started, true, true),
            (Status::Pending, true, true),
            (Status::Applied, false, true),
            (Status::Partial, false, true),
            (Status::Undone, false, false),
            (Status::Failed, false, true),
            (Status::RolledBack, false, false),
            (Status::Rebooted, false, false),
            (Status::Expired, false, false),
            (Status::Resumed, false, true),
        ] {
            assert_eq!(status.is_unfinished(), unfinished, "{status}");
            assert_eq!(status.can_be_rolled_back(), can_be_rolled_back, "{status}");
        }
    }
}
