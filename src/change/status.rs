//! The status of a change, and every transition that it can make.
//!
//! Rule: pure, and the only place where a status comes from, other than the journal that it was
//! written to.

use std::fmt;

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
    RolledBack,
    /// It was never confirmed, and a reboot ended it.
    Rebooted,
    /// It was not confirmed in time, and was undone.
    Expired,
    /// cttune was killed while it was applied, and a later change did the rest.
    Resumed,
}

/// A transition that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change that is {from} cannot become {to}")]
pub(crate) struct Refused {
    from: Status,
    to: Status,
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

    pub(super) fn turn(self, to: Status) -> Result<Status, Refused> {
        let is_allowed = match to {
            Status::Pending | Status::Partial | Status::Resumed => self == Status::Started,
            Status::Started => self == Status::Pending,
            // A rollback that is itself rolled back.
            Status::Applied => matches!(self, Status::Started | Status::RolledBack),
            Status::Undone | Status::Failed | Status::Expired | Status::Rebooted => {
                self.is_unfinished()
            }
            Status::RolledBack => self.can_be_rolled_back(),
        };
        let refused = Refused { from: self, to };
        is_allowed.then_some(to).ok_or(refused)
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
        let mut all = Status::ALL.into_iter();
        all.find(|status| status.first_name() == name)
    }

    /// Whether steps or an answer are still to come.
    pub(crate) fn is_unfinished(self) -> bool {
        matches!(self, Status::Started | Status::Pending)
    }

    /// Whether its live steps were all applied.
    pub(crate) fn is_applied(self) -> bool {
        matches!(self, Status::Applied | Status::Partial | Status::Pending)
    }

    /// Whether some of its steps may still be effective.
    pub(crate) fn can_be_rolled_back(self) -> bool {
        !matches!(
            self,
            Status::Undone | Status::RolledBack | Status::Rebooted | Status::Expired
        )
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

    /// Every transition that exists; all others are refused.
    const ALLOWED: [(Status, &[Status]); 10] = [
        (Status::Started, &[Status::Pending]),
        (Status::Pending, &[Status::Started]),
        (Status::Applied, &[Status::Started, Status::RolledBack]),
        (Status::Partial, &[Status::Started]),
        (Status::Undone, &[Status::Started, Status::Pending]),
        (Status::Failed, &[Status::Started, Status::Pending]),
        (
            Status::RolledBack,
            &[
                Status::Started,
                Status::Pending,
                Status::Applied,
                Status::Partial,
                Status::Failed,
                Status::Resumed,
            ],
        ),
        (Status::Rebooted, &[Status::Started, Status::Pending]),
        (Status::Expired, &[Status::Started, Status::Pending]),
        (Status::Resumed, &[Status::Started]),
    ];

    #[test]
    fn every_transition_is_allowed_or_refused_as_the_table_says() {
        for (to, froms) in ALLOWED {
            for from in Status::ALL {
                let allowed = froms.contains(&from);
                assert_eq!(from.turn(to).is_ok(), allowed, "{from:?} to {to:?}");
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
