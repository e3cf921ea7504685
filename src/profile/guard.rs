//! Reads `[guard]`: the marks of the guard, and which flows it may end.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::read::{Reader, Value, in_order};
use super::{Wrong, value};
use crate::flow::Terms;
use crate::flow::guard::{Class, ESTABLISHED_FLOOR, GuardParameters, Mark, MinIdle};
use crate::tunable::Unit;

/// What `[guard]` says, or the command line; what it leaves out is the parent's, then the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GuardSettings {
    pub(crate) high: Option<Mark>,
    pub(crate) low: Option<Mark>,
    /// Seconds.
    pub(crate) min_idle: BTreeMap<Class, u32>,
    pub(crate) keep: Option<Vec<Terms>>,
    pub(crate) rate: Option<i64>,
    /// Seconds.
    pub(crate) poll: Option<i64>,
    pub(crate) order: Option<Vec<Class>>,
    /// Bytes.
    pub(crate) memory: Option<i64>,
    pub(crate) trust_history: Option<bool>,
}

/// `established` below the floor needs this name.
const ACCEPTING: &str = "established-i-accept-broken-connections";

const FIELDS: [&str; 9] = [
    "high",
    "low",
    "min-idle",
    "keep",
    "rate",
    "poll",
    "order",
    "memory",
    "trust-history",
];

/// A day.
const LONGEST_POLL: i64 = 86_400;
/// 2,730 flows, and 44 million.
const MEMORY: RangeInclusive<i64> = 1 << 16..=1 << 30;

/// A time left is signed where it is compared.
const LONGEST_IDLE: i64 = 24 * 86_400;

impl GuardSettings {
    /// Fills what is left out from a parent.
    #[must_use]
    pub(crate) fn over(self, mut parent: GuardSettings) -> GuardSettings {
        parent.min_idle.extend(self.min_idle);
        GuardSettings {
            high: self.high.or(parent.high),
            low: self.low.or(parent.low),
            min_idle: parent.min_idle,
            keep: self.keep.or(parent.keep),
            rate: self.rate.or(parent.rate),
            poll: self.poll.or(parent.poll),
            order: self.order.or(parent.order),
            memory: self.memory.or(parent.memory),
            trust_history: self.trust_history.or(parent.trust_history),
        }
    }

    /// Every parameter, or what contradicts another.
    pub(crate) fn parameters(self) -> Result<GuardParameters, String> {
        let usual = GuardParameters::default();
        let mut min_idle = MinIdle::default();
        for (class, seconds) in self.min_idle {
            min_idle.set(class, seconds);
        }
        let (high, low) = (
            self.high.unwrap_or(usual.high),
            self.low.unwrap_or(usual.low),
        );
        let is_below = match (low, high) {
            (Mark::Share(low), Mark::Share(high)) => low < high,
            (Mark::Flows(low), Mark::Flows(high)) => low < high,
            _ => return Err("the marks are a percentage and a number of flows".to_owned()),
        };
        if !is_below {
            return Err(format!(
                "the low mark, {low}, is not below the high mark, {high}"
            ));
        }
        Ok(GuardParameters {
            high,
            low,
            min_idle,
            keep: self.keep.unwrap_or_default(),
            rate: self.rate.and_then(|rate| u32::try_from(rate).ok()),
            poll: self.poll.map_or(usual.poll, |seconds| {
                Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
            }),
            order: self.order.unwrap_or(usual.order),
            memory: self
                .memory
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(usual.memory),
            trust_history: self.trust_history.unwrap_or(false),
        })
    }

    /// Takes `--memory`.
    pub(crate) fn set_memory(&mut self, text: &str) -> Result<(), String> {
        let read = value::within(Unit::Bytes, value::unquoted(text), MEMORY);
        self.memory = Some(read.map_err(Wrong::in_a_line)?);
        Ok(())
    }

    /// Takes `CLASS=TIME` of the command line.
    pub(crate) fn set_min_idle(&mut self, text: &str) -> Result<(), String> {
        let (name, time) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not CLASS=TIME"))?;
        let seconds = value::parse_timeout(time)?;
        let class = class(name)?;
        self.min_idle.insert(class, allowed(class, name, seconds)?);
        Ok(())
    }
}

/// The class of a name in `min-idle`.
fn class(name: &str) -> Result<Class, String> {
    let mut classes = Class::ALL.into_iter();
    let found = classes.find(|class| class.name() == name);
    let found = found.or((name == ACCEPTING).then_some(Class::Established));
    found.ok_or_else(|| {
        let names: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        let names = names.join(", ");
        format!("no class of flows is called `{name}`; there are {names} and {ACCEPTING}")
    })
}

/// The seconds, if the name that was used allows so few.
fn allowed(class: Class, name: &str, seconds: i64) -> Result<u32, String> {
    let is_short = seconds < i64::from(ESTABLISHED_FLOOR);
    if class == Class::Established && name != ACCEPTING && is_short {
        return Err(format!(
            "less than 2h4m breaks connections that are only silent (RFC 5382); if that is \
             accepted, write `{ACCEPTING}`"
        ));
    }
    Ok(u32::try_from(seconds).unwrap_or(u32::MAX))
}

impl Reader {
    /// Reads `[guard]`.
    pub(super) fn guard(&mut self, table: &DeTable<'_>) -> GuardSettings {
        let mut guard = GuardSettings::default();
        for (name, value) in in_order(table) {
            let mut number =
                |unit, range| self.number(value, |written| value::within(unit, written, range));
            match name.get_ref().as_ref() {
                "rate" => guard.rate = number(Unit::Count, 1..=i64::from(i32::MAX)),
                "poll" => guard.poll = number(Unit::Seconds, 1..=LONGEST_POLL),
                "memory" => guard.memory = number(Unit::Bytes, MEMORY),
                "trust-history" => {
                    guard.trust_history = number(Unit::Switch, 0..=1).map(|switch| switch == 1);
                }
                "high" => guard.high = self.mark("high", value),
                "low" => guard.low = self.mark("low", value),
                "keep" => guard.keep = self.selections("keep", value),
                "min-idle" => guard.min_idle = self.min_idle(value),
                "order" => guard.order = self.order(value),
                unknown => {
                    let help = self.offer(unknown, &FIELDS);
                    let title = format!("[guard] has no `{unknown}`");
                    self.fault(&name.span(), Wrong::new(title, "unknown").help(help));
                }
            }
        }
        guard
    }

    fn mark(&mut self, what: &str, value: &Value<'_>) -> Option<Mark> {
        let mark = match value.get_ref() {
            DeValue::String(text) => Mark::parse(text),
            DeValue::Integer(number) => Mark::parse(number.as_str()),
            _ => None,
        };
        if mark.is_none() {
            let title = format!("`{what}` is neither a percentage nor a number of flows");
            let help = format!("write {what} = \"85%\"");
            self.fault(&value.span(), Wrong::new(title, "this mark").help(help));
        }
        mark
    }

    fn min_idle(&mut self, value: &Value<'_>) -> BTreeMap<Class, u32> {
        let mut times = BTreeMap::new();
        let Some(table) = self.table("min-idle", value) else {
            return times;
        };
        for (name, value) in in_order(table) {
            let Some(seconds) = self.number(value, |written| {
                value::within(Unit::Seconds, written, 1..=LONGEST_IDLE)
            }) else {
                continue;
            };
            let text = name.get_ref().as_ref();
            match class(text) {
                Err(title) => {
                    let help = self.offer(text, &Class::ALL.map(Class::name));
                    self.fault(&name.span(), Wrong::new(title, "unknown").help(help));
                }
                Ok(class) => match allowed(class, text, seconds) {
                    Ok(seconds) => drop(times.insert(class, seconds)),
                    Err(title) => self.fault(&value.span(), Wrong::new(title, "too short")),
                },
            }
        }
        times
    }

    fn order(&mut self, value: &Value<'_>) -> Option<Vec<Class>> {
        let Some(array) = value.get_ref().as_array() else {
            let label = value.get_ref().type_str();
            let help = "write order = [\"close\", \"time-wait\"]";
            let wrong = Wrong::new("`order` must be a list of classes", label).help(help);
            self.fault(&value.span(), wrong);
            return None;
        };
        let classes = Class::ALL.map(|class| (class.name(), class));
        let mut order = Vec::new();
        for item in array {
            let class = self.one_of("class", item, &classes)?;
            if !order.contains(&class) {
                order.push(class);
            }
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, parse};

    fn read(text: &str) -> GuardSettings {
        let source = Source::new("p.toml", format!("[guard]\n{text}"));
        parse(&source).unwrap().desired.guard
    }

    #[test]
    fn everything_is_read_and_a_child_goes_over_its_parent() {
        let all = read(
            "high = \"90%\"\nlow = \"62.5%\"\nrate = 5\npoll = \"1m\"\nmemory = \"1MiB\"\ntrust-history = true\n\
             order = [\"time-wait\", \"close\"]\nkeep = [\"dport=5432\"]\n\
             [guard.min-idle]\nestablished = \"3h\"\nunanswered = 30\n",
        );
        let child = read("high = \"95%\"\nmin-idle = { unanswered = 20 }\n");
        let merged = child.over(all).parameters().unwrap();
        assert_eq!((merged.high.of(1000), merged.low.of(1000)), (950, 625));
        assert_eq!((merged.rate, merged.poll.as_secs()), (Some(5), 60));
        assert_eq!(merged.most(), (1 << 20) / 24);
        assert!(merged.trust_history && merged.keep.len() == 1);
        assert_eq!(merged.order, [Class::TimeWait, Class::Close]);
        let idle = |class| merged.min_idle.of(class);
        assert_eq!(idle(Class::Unanswered), 20_000);
        assert_eq!(idle(Class::Established), 3 * 3_600_000);
        assert_eq!(idle(Class::Close), 1000);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("hihg = 1", "[guard] has no `hihg`"),
            ("high = \"many\"", "neither a percentage"),
            ("memory = \"1KiB\"", "out of range"),
            ("high = \"120%\"", "neither a percentage"),
            ("min-idle = { established = \"1h\" }", ACCEPTING),
            ("min-idle = { estabished = \"3h\" }", "no class of flows"),
            ("min-idle = 5", "must be a table"),
            ("order = [\"closed\"]", "no class is called"),
            ("order = 5", "a list of classes"),
        ] {
            let source = Source::new("p.toml", format!("[guard]\n{text}\n"));
            let mistakes = parse(&source).unwrap_err();
            assert!(mistakes[0].title.contains(told), "{text}: {mistakes:?}");
        }
        for (low, high) in [("90%", "85%"), ("85%", "85%"), ("5", "85%"), ("9", "5")] {
            let text = format!("low = \"{low}\"\nhigh = \"{high}\"\n");
            assert!(read(&text).parameters().is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_has_the_same_floor() {
        let mut guard = GuardSettings::default();
        assert!(guard.set_min_idle("established=1h").is_err());
        assert!(guard.set_min_idle("established").is_err());
        guard.set_min_idle(&format!("{ACCEPTING}=1h")).unwrap();
        guard.set_min_idle("close=5").unwrap();
        assert_eq!(guard.min_idle[&Class::Established], 3600);
    }
}
