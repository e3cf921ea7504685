//! Every key that a profile speaks of: what holds, what will hold after a boot, what is wanted.

use std::collections::BTreeMap;

use super::{Blocked, Files, Machine, Skip};
use crate::boot::{Reader, Winner};
use crate::profile::{DeriveError, Desired, Target, derive};
use crate::tunable::{Key, Reading};

/// How a key stands to what is wanted; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// This kernel does not have it.
    Missing,
    /// The live value is off, and nobody can write it here.
    ReadOnly,
    /// The live value is off, or the persisted one is off or absent.
    Differs,
    /// Live and persisted values are in line.
    Ok,
}

/// What the two readers of sysctl.d will leave in the kernel at the next boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Persisted {
    /// For `sysctl --system`.
    pub(crate) procps: Option<Winner>,
    /// For systemd-sysctl.
    pub(crate) systemd: Option<Winner>,
}

/// One key of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Which.
    pub(crate) key: Key,
    /// What reading the kernel gave; `None` for an image that does not run.
    pub(crate) live: Option<Reading>,
    /// What the next boot brings; `None` where files are not compared.
    pub(crate) persisted: Option<Persisted>,
    /// What is wanted of the running kernel; `None` without a profile.
    pub(crate) target: Option<Target>,
    /// What is wanted of the files; differs from `target` only inside its bounds.
    pub(crate) target_at_boot: Option<Target>,
    /// The sum of it.
    pub(crate) state: State,
}

/// The settings of one profile on one machine, in catalog order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// One for each key of the profile, or for every key if there is none.
    pub(crate) settings: Vec<Setting>,
    /// Whether read-only keys that are off count as drift: in the initial namespace they do.
    read_only_counts: bool,
}

impl Comparison {
    /// Compares a machine with a profile.
    ///
    /// # Errors
    /// If the profile cannot be met by a machine of this size.
    pub(crate) fn new(desired: &Desired, machine: &Machine<'_>) -> Result<Self, DeriveError> {
        let live = |key| machine.live.and_then(|snapshot| snapshot.value(key));
        let targets = derive(desired, machine.host, &live)?;
        let ours = machine.files.map(Files::our_values).unwrap_or_default();
        let planned: BTreeMap<Key, i64> = targets.iter().map(|t| (t.key, t.desired)).collect();
        let at_boot = |key| ours.get(&key).or_else(|| planned.get(&key)).copied();
        let boot_targets = derive(desired, machine.host, &at_boot)?;
        let settings = targets
            .into_iter()
            .zip(boot_targets)
            .map(|(target, at_boot)| Setting::new(target.key, Some((target, at_boot)), machine))
            .collect();
        Ok(Comparison {
            settings,
            read_only_counts: machine.files.is_some(),
        })
    }

    /// Every key of the catalog as it stands, compared with nothing.
    pub(crate) fn without_profile(machine: &Machine<'_>) -> Self {
        let settings = Key::ALL
            .iter()
            .map(|key| Setting::new(*key, None, machine))
            .collect();
        Comparison {
            settings,
            read_only_counts: machine.files.is_some(),
        }
    }

    /// Whether nothing drifted.
    pub(crate) fn in_line(&self) -> bool {
        !self.settings.iter().any(|setting| self.is_drift(setting))
    }

    /// Whether a setting of this comparison is not as the profile wants it.
    pub(crate) fn is_drift(&self, setting: &Setting) -> bool {
        match setting.state {
            State::Ok => false,
            State::Missing => setting.is_required(),
            State::ReadOnly => self.read_only_counts,
            State::Differs => true,
        }
    }

    /// The keys that a plan leaves alone, and why.
    pub(super) fn skipped(&self) -> Vec<(Key, Skip)> {
        let skip = |setting: &Setting| match setting.state {
            State::Missing => Some((setting.key, Skip::Missing)),
            State::ReadOnly => Some((setting.key, Skip::ReadOnly)),
            State::Differs | State::Ok => None,
        };
        self.settings.iter().filter_map(skip).collect()
    }

    /// An obstacle for each key that the profile cannot do without and the kernel lacks.
    pub(super) fn required_missing(&self) -> Vec<Blocked> {
        let required =
            |setting: &&Setting| setting.state == State::Missing && setting.is_required();
        let missing = self.settings.iter().filter(required);
        missing
            .map(|setting| Blocked::RequiredMissing(setting.key))
            .collect()
    }

    /// An obstacle where live values are off that nobody can write here. In a namespace that was
    /// named this is as it should be.
    pub(super) fn read_only(&self) -> Option<Blocked> {
        let mut keys = self
            .settings
            .iter()
            .filter(|setting| self.read_only_counts && setting.state == State::ReadOnly)
            .map(|setting| setting.key);
        let key = keys.next()?;
        Some(Blocked::ReadOnly {
            key,
            others: keys.count(),
        })
    }
}

impl Setting {
    fn new(key: Key, targets: Option<(Target, Target)>, machine: &Machine<'_>) -> Self {
        let (target, target_at_boot) = targets.unzip();
        let mut setting = Setting {
            key,
            live: machine.live.map(|snapshot| snapshot.reading(key)),
            persisted: machine.files.map(|files| files.persisted(key)),
            target,
            target_at_boot,
            state: State::Ok,
        };
        setting.state = setting.judge();
        setting
    }

    fn judge(&self) -> State {
        if self.live == Some(Reading::Missing) {
            return State::Missing;
        }
        if self.live_is_off() && self.live.is_some_and(Reading::is_read_only) {
            return State::ReadOnly;
        }
        if self.live_is_off() || self.persisted_is_off() {
            State::Differs
        } else {
            State::Ok
        }
    }

    /// Whether the profile cannot do without this key.
    pub(crate) fn is_required(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.required)
    }

    /// Whether the running kernel has another value than is wanted.
    pub(crate) fn live_is_off(&self) -> bool {
        let (Some(reading), Some(target)) = (self.live, &self.target) else {
            return false;
        };
        !reading.value().is_some_and(|value| target.allows(value))
    }

    /// Whether either reader will bring another value than is wanted, or none.
    pub(crate) fn persisted_is_off(&self) -> bool {
        let (Some(persisted), Some(target)) = (&self.persisted, &self.target_at_boot) else {
            return false;
        };
        let off = |winner: &Option<Winner>| {
            !winner
                .as_ref()
                .is_some_and(|winner| target.allows(winner.value))
        };
        off(&persisted.procps) || off(&persisted.systemd)
    }

    /// The number that holds now.
    pub(crate) fn live_value(&self) -> Option<i64> {
        self.live.and_then(Reading::value)
    }

    /// The number to show for the next boot. Where the two readers disagree it is the one that is
    /// off; `None` also where one of them brings nothing.
    pub(crate) fn persisted_value(&self) -> Option<i64> {
        let persisted = self.persisted.as_ref()?;
        let (procps, systemd) = (persisted.procps.as_ref()?, persisted.systemd.as_ref()?);
        let off = |value| {
            self.target_at_boot
                .as_ref()
                .is_some_and(|target| !target.allows(value))
        };
        let shown = if off(systemd.value) { systemd } else { procps };
        Some(shown.value)
    }
}

impl Persisted {
    /// What one of the two readers brings.
    pub(crate) fn winner(&self, reader: Reader) -> Option<&Winner> {
        match reader {
            Reader::Procps => self.procps.as_ref(),
            Reader::Systemd => self.systemd.as_ref(),
            Reader::OpenRc => None,
        }
    }
}
