//! Reads `[expire]`: parameters for bringing flows under the timeouts.

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::read::{Reader, Value, in_order};
use super::{Wrong, value};
use crate::flow::Terms;
use crate::tunable::Unit;

/// How flows are brought under the timeouts that hold, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ExpireMode {
    /// A flow that has longer to live than its timeout gets its timeout.
    Clamp,
    /// Idle time that is proven is counted, but for a grace.
    ReAge,
    /// Stale flows are deleted.
    Delete,
}

impl ExpireMode {
    pub(crate) const ALL: [ExpireMode; 3] =
        [ExpireMode::Clamp, ExpireMode::ReAge, ExpireMode::Delete];

    pub(crate) fn name(self) -> &'static str {
        match self {
            ExpireMode::Clamp => "clamp",
            ExpireMode::ReAge => "re-age",
            ExpireMode::Delete => "delete",
        }
    }
}

/// What `[expire]` says; what it leaves out is the parent's, then the command's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ExpireSettings {
    pub(crate) mode: Option<ExpireMode>,
    /// Which flows; any of these.
    pub(crate) matching: Option<Vec<Terms>>,
    /// Flows that are never touched; any of these.
    pub(crate) keep: Option<Vec<Terms>>,
    /// Seconds that a re-aged flow keeps at least.
    pub(crate) grace: Option<i64>,
    /// Seconds over which flows are spread so that they do not end in the same one.
    pub(crate) spread: Option<i64>,
    /// Seconds for which flows are watched before they count as idle.
    pub(crate) observe: Option<i64>,
    /// Whether idle time is inferred from the history of the timeout.
    pub(crate) trust_history: Option<bool>,
    /// With a trusted history: seconds between two looks.
    pub(crate) settle: Option<i64>,
    /// Flows to act on at most.
    pub(crate) max_flows: Option<i64>,
    /// Flows to act on in a second at most.
    pub(crate) rate: Option<i64>,
}

/// [`ExpireSettings`] with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ExpireParameters {
    pub(crate) mode: ExpireMode,
    #[serde(rename = "match", with = "text")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) matching: Vec<Terms>,
    #[serde(with = "text")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) keep: Vec<Terms>,
    pub(crate) grace: i64,
    pub(crate) spread: i64,
    #[serde(default)]
    pub(crate) observe: Option<i64>,
    #[serde(default)]
    pub(crate) trust_history: bool,
    pub(crate) settle: i64,
    pub(crate) max_flows: Option<i64>,
    pub(crate) rate: Option<i64>,
}

/// Long enough for a connection that still lives to speak, if its keepalive is lively.
const GRACE: i64 = 120;
/// Times are whole seconds: ten of them tell idle time from rounding.
const SETTLE: i64 = 10;

impl From<ExpireSettings> for ExpireParameters {
    fn from(settings: ExpireSettings) -> Self {
        ExpireParameters {
            mode: settings.mode.unwrap_or(ExpireMode::Clamp),
            matching: settings.matching.unwrap_or_default(),
            keep: settings.keep.unwrap_or_default(),
            grace: settings.grace.unwrap_or(GRACE),
            spread: settings.spread.unwrap_or(0),
            observe: settings.observe,
            trust_history: settings.trust_history.unwrap_or(false),
            settle: settings.settle.unwrap_or(SETTLE),
            max_flows: settings.max_flows,
            rate: settings.rate,
        }
    }
}

/// Selections in the journal: as they are typed.
mod text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::flow::Terms;

    pub(super) fn serialize<S: Serializer>(
        selection: &[Terms],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(selection.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Terms>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parse = |text: &String| {
            Terms::parse(text).map_err(|_| D::Error::custom(format!("`{text}` selects nothing")))
        };
        texts.iter().map(parse).collect()
    }
}

const FIELDS: [&str; 10] = [
    "mode",
    "match",
    "keep",
    "grace",
    "spread",
    "observe",
    "trust-history",
    "settle",
    "max-flows",
    "rate",
];

/// A flow's remaining time is 32 bits on the wire; a signed one is plenty.
const LONGEST: i64 = i32::MAX as i64;

impl ExpireSettings {
    /// Fills what is left out from a parent.
    #[must_use]
    pub(crate) fn over(self, parent: ExpireSettings) -> ExpireSettings {
        ExpireSettings {
            mode: self.mode.or(parent.mode),
            matching: self.matching.or(parent.matching),
            keep: self.keep.or(parent.keep),
            grace: self.grace.or(parent.grace),
            spread: self.spread.or(parent.spread),
            observe: self.observe.or(parent.observe),
            trust_history: self.trust_history.or(parent.trust_history),
            settle: self.settle.or(parent.settle),
            max_flows: self.max_flows.or(parent.max_flows),
            rate: self.rate.or(parent.rate),
        }
    }
}

impl Reader {
    pub(super) fn expire(&mut self, table: &DeTable<'_>) -> ExpireSettings {
        let mut expire = ExpireSettings::default();
        for (name, value) in in_order(table) {
            let mut number =
                |unit, range| self.number(value, |written| value::within(unit, written, range));
            match name.get_ref().as_ref() {
                "mode" => {
                    let modes = ExpireMode::ALL.map(|mode| (mode.name(), mode));
                    expire.mode = self.one_of("mode", value, &modes);
                }
                "match" => expire.matching = self.selections("match", value),
                "keep" => expire.keep = self.selections("keep", value),
                "grace" => expire.grace = number(Unit::Seconds, 1..=LONGEST),
                "spread" => expire.spread = number(Unit::Seconds, 0..=LONGEST),
                "observe" => expire.observe = number(Unit::Seconds, 1..=LONGEST),
                "trust-history" => {
                    expire.trust_history = number(Unit::Switch, 0..=1).map(|switch| switch == 1);
                }
                "settle" => expire.settle = number(Unit::Seconds, 1..=LONGEST),
                "max-flows" => expire.max_flows = number(Unit::Count, 1..=LONGEST),
                "rate" => expire.rate = number(Unit::Count, 1..=LONGEST),
                unknown => {
                    let wrong = Wrong::new(format!("[expire] has no `{unknown}`"), "unknown");
                    self.fault(&name.span(), wrong.help(self.offer(unknown, &FIELDS)));
                }
            }
        }
        expire
    }

    pub(super) fn selections(&mut self, what: &str, value: &Value<'_>) -> Option<Vec<Terms>> {
        let Some(array) = value.get_ref().as_array() else {
            let title = format!("`{what}` must be a list of selections");
            let help = format!("write {what} = [\"dst=10.1.0.0/16,dport=5432\"]");
            let wrong = Wrong::new(title, value.get_ref().type_str()).help(help);
            self.fault(&value.span(), wrong);
            return None;
        };
        let terms = array.iter().filter_map(|item| self.terms(what, item));
        Some(terms.collect())
    }

    fn terms(&mut self, what: &str, value: &Value<'_>) -> Option<Terms> {
        let text = self.text(what, value)?;
        match Terms::parse(&text) {
            Ok(terms) if terms.is_about_idle() => {
                let title = "`idle` is known only of flows that were watched";
                let wrong = Wrong::new(title, "this selection").help("leave it out");
                self.fault(&value.span(), wrong);
            }
            Ok(terms) => return Some(terms),
            Err(errors) => {
                for error in errors {
                    let span = self.part(value, error.at);
                    let wrong = Wrong::new(error.problem, "this part");
                    let help = error.help;
                    self.fault(&span, Wrong { help, ..wrong });
                }
            }
        }
        None
    }
}
