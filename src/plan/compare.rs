//! Every key that a profile speaks of: what it is now, what it will be after a boot, what it
//! should be.

use super::{Blocked, Machine, Services, Skip};
use crate::boot::{Answer, Reader, Winner};
use crate::profile::{DeriveError, Desired, Targets, Values, derive};
use crate::tunable::{Key, Reading};

/// How a key differs from what is desired; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Missing,
    /// The live value is off, and nobody can write it here.
    ReadOnly,
    /// The live value is off; where no kernel is compared, the persisted one.
    Differs,
    /// The live value will do and is lost at the next boot.
    NotPersisted,
    Ok,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Persisted {
    /// For each program of this machine that reads sysctl.d, the line that wins.
    winners: Vec<(Reader, Option<Winner>)>,
    /// The value in the end, and how sure that is.
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) key: Key,
    /// What reading the kernel gave; `None` for an image that does not run.
    pub(crate) live: Option<Reading>,
    /// What the next boot brings; `None` where files are not compared.
    pub(crate) persisted: Option<Persisted>,
    /// What is desired; `None` without a profile.
    pub(crate) targets: Option<Targets>,
    pub(crate) state: State,
}

/// The settings of one profile on one machine, in catalog order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// One for each key of the profile, or for every key if there is none.
    pub(crate) settings: Vec<Compared>,
    pub(crate) services: Services,
    /// Whether read-only keys that are off count as drift: in the initial namespace they do.
    read_only_counts: bool,
}

impl Comparison {
    pub(crate) fn new(desired: &Desired, machine: &Machine<'_>) -> Result<Self, DeriveError> {
        let current = |key| {
            let persisted = Persisted::of(key, machine);
            let value = |reader| persisted.as_ref()?.value_for(reader);
            Values {
                live: machine.live.and_then(|live| live.value(key)),
                boot: Reader::ALL.map(value),
            }
        };
        let targets = derive(desired, machine.host, &current)?;
        let targets = targets
            .into_iter()
            .map(|(key, targets)| (key, Some(targets)));
        let mut comparison = Comparison::of(targets, machine);
        comparison.services = Services::new(desired, &comparison.settings, machine);
        Ok(comparison)
    }

    /// Every key of the catalog, compared with nothing.
    pub(crate) fn without_profile(machine: &Machine<'_>) -> Self {
        Comparison::of(Key::ALL.iter().map(|key| (*key, None)), machine)
    }

    fn of(keys: impl Iterator<Item = (Key, Option<Targets>)>, machine: &Machine<'_>) -> Self {
        let settings = keys.map(|(key, targets)| Compared::new(key, targets, machine));
        Comparison {
            settings: settings.collect(),
            services: Services::default(),
            read_only_counts: machine.files.is_some(),
        }
    }

    pub(crate) fn in_line(&self) -> bool {
        let mut settings = self.settings.iter();
        !settings.any(|setting| self.is_drift(setting)) && self.services.in_line()
    }

    /// Whether a setting of this comparison is not as the profile asks.
    pub(crate) fn is_drift(&self, setting: &Compared) -> bool {
        match setting.state {
            State::Ok => false,
            State::Missing => setting.is_required(),
            State::ReadOnly => self.read_only_counts,
            State::Differs | State::NotPersisted => true,
        }
    }

    pub(super) fn skipped(&self) -> Vec<(Key, Skip)> {
        let skip = |setting: &Compared| match setting.state {
            State::Missing => Some((setting.key, Skip::Missing)),
            State::ReadOnly => Some((setting.key, Skip::ReadOnly)),
            State::Differs | State::NotPersisted | State::Ok => None,
        };
        self.settings.iter().filter_map(skip).collect()
    }

    /// The keys that the profile cannot do without and the kernel lacks.
    pub(super) fn required_missing(&self) -> Vec<Blocked> {
        let settings = self.settings.iter();
        let missing =
            settings.filter(|setting| setting.state == State::Missing && setting.is_required());
        let missing = missing.map(|setting| Blocked::RequiredMissing(setting.key));
        missing.collect()
    }

    /// Live values that are off and that nobody can write here. In a namespace that was named this
    /// is as it should be.
    pub(super) fn read_only(&self) -> Option<Blocked> {
        let settings = self.settings.iter().filter(|_| self.read_only_counts);
        let mut off = settings.filter(|setting| setting.state == State::ReadOnly);
        let key = off.next()?.key;
        Some(Blocked::ReadOnly {
            key,
            others: off.count(),
        })
    }
}

impl Compared {
    fn new(key: Key, targets: Option<Targets>, machine: &Machine<'_>) -> Self {
        let mut compared = Compared {
            key,
            live: machine.live.map(|snapshot| snapshot.reading(key)),
            persisted: Persisted::of(key, machine),
            targets,
            state: State::Ok,
        };
        compared.state = compared.judge();
        compared
    }

    fn judge(&self) -> State {
        let is_set = |persisted: &Persisted| {
            let mut winners = persisted.winners.iter();
            persisted.answer.is_of_writer || winners.all(|(_, winner)| winner.is_some())
        };
        if self.live == Some(Reading::Missing) {
            State::Missing
        } else if self.live_is_off() && self.live.is_some_and(Reading::is_read_only) {
            State::ReadOnly
        } else if self.live_is_off() {
            State::Differs
        } else if !self.persisted_is_off() {
            State::Ok
        } else if self.live.is_none() && self.persisted.as_ref().is_some_and(is_set) {
            State::Differs
        } else {
            State::NotPersisted
        }
    }

    pub(crate) fn is_required(&self) -> bool {
        let targets = self.targets.as_ref();
        targets.is_some_and(|targets| targets.required)
    }

    /// Whether the running kernel has another value than is desired.
    pub(crate) fn live_is_off(&self) -> bool {
        let (Some(reading), Some(targets)) = (self.live, &self.targets) else {
            return false;
        };
        let value = reading.value();
        !value.is_some_and(|value| targets.live.allows(value))
    }

    /// Whether either reader will bring another value than is desired, or none.
    pub(crate) fn persisted_is_off(&self) -> bool {
        let (Some(persisted), Some(targets)) = (&self.persisted, &self.targets) else {
            return false;
        };
        let will_do = |value: Option<i64>| value.is_some_and(|value| targets.boot.allows(value));
        let by_readers = || {
            let mut winners = persisted.winners.iter();
            winners.all(|(_, winner)| will_do(winner.as_ref().map(|winner| winner.value)))
        };
        let answer = &persisted.answer;
        !will_do(answer.value) || (!answer.is_of_writer && !by_readers())
    }

    pub(crate) fn live_value(&self) -> Option<i64> {
        self.live.and_then(Reading::value)
    }

    /// The value to show for the next boot. Where the readers disagree it is the one that is off;
    /// `None` also where one of them sets nothing.
    pub(crate) fn persisted_value(&self) -> Option<i64> {
        let persisted = self.persisted.as_ref()?;
        let answer = &persisted.answer;
        let winners = || persisted.winners.iter().map(|(_, winner)| winner.as_ref());
        let is_gone = answer.is_lost && answer.value.is_none();
        if answer.is_of_writer || is_gone || winners().all(|winner| winner.is_none()) {
            return answer.value;
        }
        let values: Option<Vec<i64>> = winners().map(|winner| Some(winner?.value)).collect();
        let values = values?;
        let is_off = |value: &&i64| {
            let targets = self.targets.as_ref();
            targets.is_some_and(|targets| !targets.boot.allows(**value))
        };
        values.iter().rev().find(is_off).or(values.first()).copied()
    }

    /// The value that is desired: of the running kernel, or of the image.
    pub(crate) fn desired_value(&self) -> Option<i64> {
        Some(self.targets.as_ref()?.live.value)
    }
}

impl Persisted {
    fn of(key: Key, machine: &Machine<'_>) -> Option<Self> {
        let next_boot = machine.files?.next_boot();
        let winner = |reader: &Reader| (*reader, next_boot.winner(*reader, key).cloned());
        Some(Persisted {
            winners: next_boot.readers().iter().map(winner).collect(),
            answer: next_boot.answer(key),
        })
    }

    pub(crate) fn winner(&self, reader: Reader) -> Option<&Winner> {
        let own = self.winners.iter().find(|(one, _)| *one == reader);
        own.and_then(|(_, winner)| winner.as_ref())
    }

    /// What a reader leaves; where it sets nothing the value in the end, which may be that of the
    /// module's options.
    pub(super) fn value_for(&self, reader: Reader) -> Option<i64> {
        let winner = self.winner(reader).map(|winner| winner.value);
        winner.or(self.answer.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fake::{World, live};

    #[test]
    fn a_state_says_what_is_off() {
        const SET: &str = "net.netfilter.nf_conntrack_udp_timeout = ";
        for (now, persisted, profile, state) in [
            (Some(live(60)), Some("60"), "udp_timeout = 60", State::Ok),
            (
                Some(live(30)),
                Some("60"),
                "udp_timeout = 60",
                State::Differs,
            ),
            (Some(live(30)), None, "udp_timeout = 60", State::Differs),
            (
                Some(live(60)),
                Some("30"),
                "udp_timeout = 60",
                State::NotPersisted,
            ),
            (
                Some(live(60)),
                None,
                "udp_timeout = 60",
                State::NotPersisted,
            ),
            (None, Some("30"), "udp_timeout = 60", State::Differs),
            (None, None, "udp_timeout = 60", State::NotPersisted),
            (None, Some("60"), "udp_timeout = 60", State::Ok),
            (
                Some(live(90)),
                Some("80"),
                "udp_timeout = { at-least = 60 }",
                State::Ok,
            ),
            (
                Some(live(20)),
                Some("30"),
                "udp_timeout = { at-most = 60 }",
                State::Ok,
            ),
            (
                Some(Reading::Missing),
                None,
                "udp_timeout = 60",
                State::Missing,
            ),
            (
                Some(Reading::Value {
                    value: 30,
                    access: crate::tunable::Access::ReadOnly,
                }),
                Some("60"),
                "udp_timeout = 60",
                State::ReadOnly,
            ),
        ] {
            let mut world = World::of(profile);
            if let Some(reading) = now {
                world = world.reading(Key::UdpTimeout, reading);
            } else {
                world = world.image();
            }
            if let Some(value) = persisted {
                world = world.file("/etc/sysctl.d/50-site.conf", &format!("{SET}{value}\n"));
            }
            let compared = world.comparison();
            let found: Vec<State> = compared.settings.iter().map(|one| one.state).collect();
            assert_eq!(found, [state], "{now:?} {persisted:?} {profile}");
            let is_drift = !matches!(state, State::Ok | State::Missing);
            assert_eq!(
                compared.in_line(),
                !is_drift,
                "{now:?} {persisted:?} {profile}"
            );
        }
    }

    #[test]
    fn a_line_that_one_reader_alone_reads_is_not_persisted() {
        let world = World::of("udp_timeout = 60")
            .reading(Key::UdpTimeout, live(60))
            .file(
                "/etc/sysctl.conf",
                "net.netfilter.nf_conntrack_udp_timeout = 60\n",
            );
        let comparison = world.comparison();
        let compared = comparison.settings.first().unwrap();
        assert_eq!(compared.state, State::NotPersisted);
        assert_eq!(compared.persisted_value(), None);
    }
}
