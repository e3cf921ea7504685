//! nft's table `inet cttune` as one value, as text, and the text that makes one of the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::nft::rules;
use super::{Layer, Lifeline, MOST, Service, State, layers};
use crate::flow::{Policy, Protocol, Selection, Term, Terms, Test};
use crate::tunable::{Key, format_seconds, plural};

/// As nft names it.
pub(crate) const NAME: &str = "cttune";
/// No object has the name of a keyword.
const PREFIX: &str = "service";
/// The first label: others count from 0.
const FIRST_LABEL: u8 = 64;
/// Behind connection tracking, which a packet enters at -200, and before addresses are translated.
pub(crate) const PRIORITY: i32 = -150;
/// Before connection tracking.
pub(crate) const RAW: i32 = -300;
/// The chains: name and hook, where packets arrive and where the machine sends its own.
pub(crate) const CHAINS: [(&str, &str); 2] = [("arriving", "prerouting"), ("own", "output")];
pub(crate) const LIFELINE_CHAINS: [(&str, &str); 2] = [
    ("lifeline_arriving", "prerouting"),
    ("lifeline_own", "output"),
];

/// The kernel gives an object to the first packet of a flow alone: whatever comes later asks no
/// rule, answered or not, nor does what is no new flow.
const KNOWN: [&str; 2] = ["ct status confirmed accept", "ct state != new accept"];

/// Everything in the table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Table {
    /// Sorted by name.
    pub(crate) objects: Vec<Object>,
    /// In the order in which they are asked; a flow is decided by the first that it meets.
    pub(crate) rules: Vec<Rule>,
    #[serde(default)]
    pub(crate) lifeline: Option<Lifeline>,
    /// What somebody else made of what cttune wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited: Option<String>,
}

/// A timeout policy with every state of its protocol. Its name has a sum over its values: another
/// value is another object, and a flow keeps the one that it has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) protocol: Layer,
    /// In the order of the protocol's states.
    pub(crate) seconds: Vec<u32>,
}

/// Which flows get an object, and the label that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Rule {
    pub(crate) object: String,
    pub(crate) label: u8,
    /// The terms; they are the rule's comment as well.
    pub(crate) terms: String,
}

impl Object {
    fn new(service: &str, protocol: Layer, seconds: Vec<u32>) -> Self {
        let bytes = seconds.iter().flat_map(|seconds| seconds.to_be_bytes());
        // FNV-1a: the name must be the same on every machine and at every boot.
        let sum = bytes.fold(0x811c_9dc5_u32, |sum, byte| {
            (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Object {
            name: format!("{PREFIX}_{service}_{}_{sum:08x}", protocol.name()),
            protocol,
            seconds,
        }
    }

    pub(crate) fn service(&self) -> &str {
        service_of(&self.name).unwrap_or_default()
    }

    fn text(&self) -> String {
        let states = self.protocol.states().zip(&self.seconds);
        let states: Vec<String> = states
            .map(|(state, seconds)| format!("{} : {seconds}", state.name()))
            .collect();
        format!(
            "\tct timeout {} {{\n\t\tprotocol {}\n\t\tpolicy = {{ {} }}\n\t}}\n",
            self.name,
            self.protocol.name(),
            states.join(", ")
        )
    }
}

/// The service whose object has this name; none for a name that cttune does not give.
pub(crate) fn service_of(object: &str) -> Option<&str> {
    let rest = object.strip_prefix(PREFIX)?.strip_prefix('_')?;
    let mut parts = rest.rsplitn(3, '_');
    let (_, layer, service) = (parts.next()?, parts.next()?, parts.next()?);
    let is_layer = Layer::ALL.iter().any(|one| one.name() == layer);
    (is_layer && !service.is_empty()).then_some(service)
}

/// A label for each service, nearly always the same one whatever other services there are: flows
/// keep theirs.
fn labels<'a>(services: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u8> {
    let mut taken = BTreeSet::new();
    let mut labels = BTreeMap::new();
    for service in services.take(MOST) {
        let sum = service
            .bytes()
            .fold(0_u8, |sum, byte| sum.rotate_left(3) ^ byte.wrapping_mul(29));
        let mut numbers = (0..64).map(|step| FIRST_LABEL + (sum.wrapping_add(step)) % 64);
        if let Some(number) = numbers.find(|number| !taken.contains(number)) {
            taken.insert(number);
            labels.insert(service, number);
        }
    }
    labels
}

impl Table {
    /// The table that a profile asks for; `value` is what the sysctls will be.
    pub(crate) fn of(
        services: &BTreeMap<String, Service>,
        lifeline: Option<&Lifeline>,
        value: &dyn Fn(Key) -> Option<i64>,
    ) -> Table {
        let present = || services.iter().filter(|(_, one)| !one.matching.is_empty());
        let labels = labels(present().map(|(name, _)| name.as_str()));
        let mut table = Table {
            lifeline: lifeline.filter(|one| !one.from.is_empty()).cloned(),
            ..Table::default()
        };
        for (name, service) in present() {
            for layer in Layer::ALL.into_iter().filter(|layer| service.has(*layer)) {
                let matching = service.matching.iter();
                // What is written twice is one rule: as `dport=53` and as `proto=tcp,dport=53`.
                let mut rules: Vec<String> = Vec::new();
                for terms in matching.filter(|terms| layers(terms).any(|one| one == layer)) {
                    let terms = with_protocol(terms, layer).to_string();
                    if !rules.contains(&terms) {
                        rules.push(terms);
                    }
                }
                if rules.is_empty() {
                    continue;
                }
                let seconds = layer.states().map(|state| of_state(service, state, value));
                let object = Object::new(name, layer, seconds.collect());
                table.rules.extend(rules.into_iter().map(|terms| Rule {
                    object: object.name.clone(),
                    label: labels.get(name.as_str()).copied().unwrap_or(FIRST_LABEL),
                    terms,
                }));
                table.objects.push(object);
            }
        }
        table.objects.sort_unstable();
        table
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Table::default()
    }

    /// The names of the services, each once.
    pub(crate) fn services(&self) -> BTreeSet<&str> {
        let rules = self.rules.iter();
        rules.filter_map(|rule| service_of(&rule.object)).collect()
    }

    /// What it is for, in words.
    pub(crate) fn parts(&self) -> String {
        let names: Vec<&str> = self.services().into_iter().collect();
        let services = match names.as_slice() {
            [] => None,
            [name] => Some(format!("service {name}")),
            names => Some(format!("services {}", names.join(", "))),
        };
        let lifeline = self.lifeline.as_ref().map(|_| "lifeline".to_owned());
        let parts: Vec<String> = services.into_iter().chain(lifeline).collect();
        parts.join(", ")
    }

    /// That nothing of it has an effect, in words.
    pub(crate) fn without_effect(&self) -> String {
        let names: Vec<&str> = self.services().into_iter().collect();
        let services = format!("{} ({})", plural(names.len(), "service"), names.join(", "));
        let lifeline = self.lifeline.as_ref();
        let lifeline = lifeline.map(|one| {
            let networks = plural(one.from.len(), "network");
            format!("the lifeline of {networks}")
        });
        match (names.len(), lifeline) {
            (0, None) => "nothing of it has an effect".to_owned(),
            (0, Some(lifeline)) => format!("{lifeline} has no effect"),
            (1, None) => format!("{services} has no effect"),
            (_, None) => format!("{services} have no effect"),
            (_, Some(lifeline)) => format!("{services} and {lifeline} have no effect"),
        }
    }

    /// The same with the objects of these services that are in `present` and not wanted any more:
    /// flows that have one keep it.
    #[must_use]
    pub(crate) fn keeping(mut self, present: &Table) -> Table {
        let services: BTreeSet<String> = self.services().into_iter().map(str::to_owned).collect();
        let old = present.objects.iter();
        let old = old.filter(|object| services.contains(object.service()));
        let old = old.filter(|old| !self.objects.iter().any(|one| one.name == old.name));
        self.objects.extend(old.cloned().collect::<Vec<_>>());
        self.objects.sort_unstable();
        self
    }

    /// The objects that rules give to new flows.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &Object> {
        let used: BTreeSet<&String> = self.rules.iter().map(|rule| &rule.object).collect();
        self.objects
            .iter()
            .filter(move |one| used.contains(&one.name))
    }

    /// The table without objects that only old flows have.
    #[must_use]
    pub(crate) fn for_new_flows(&self) -> Table {
        Table {
            objects: self.in_use().cloned().collect(),
            ..self.clone()
        }
    }

    /// Whether new flows get the same: a boot leaves objects out that only old flows have.
    pub(crate) fn is_same(&self, other: &Table) -> bool {
        self.for_new_flows() == other.for_new_flows()
    }

    /// The table as cttune writes it.
    #[must_use]
    pub(crate) fn unedited(&self) -> Table {
        Table {
            edited: None,
            ..self.clone()
        }
    }

    /// The value of a state for new flows of an object.
    pub(crate) fn seconds(&self, object: &str, state: State) -> Option<u32> {
        let object = self.objects.iter().find(|one| one.name == object)?;
        let mut states = object.protocol.states().zip(&object.seconds);
        states
            .find(|(one, _)| *one == state)
            .map(|(_, seconds)| *seconds)
    }

    /// How new flows are treated otherwise than is wanted, in a sentence.
    pub(crate) fn told(&self, wanted: &Table) -> String {
        if let Some(edited) = &self.edited {
            let lost = wanted.lost_in(self);
            if wanted.is_lost_in(self) {
                let effect = lost.without_effect();
                return format!("nft table inet cttune has none of cttune's rules: {effect}");
            }
            let told = format!("somebody edited nft table inet cttune: {edited}");
            if lost.is_empty() {
                return told;
            }
            return format!("{told}; {}", lost.without_effect());
        }
        let (now, wanted) = (self.for_new_flows(), wanted.for_new_flows());
        for object in &wanted.objects {
            let mut objects = now.objects.iter();
            let is_same = |one: &&Object| {
                (one.service(), one.protocol) == (object.service(), object.protocol)
            };
            let (service, layer) = (object.service(), object.protocol.name());
            let Some(present) = objects.find(is_same) else {
                return format!("nft table inet cttune lacks the service {service} of {layer}");
            };
            let states = object.protocol.states().zip(&object.seconds);
            let mut states = states.zip(&present.seconds);
            if let Some(((state, wanted), now)) = states.find(|((_, one), now)| one != now) {
                let (name, own) = (state.name(), i64::from(*wanted));
                return format!(
                    "{name} of the service {service} is {} in nft and would be {} now",
                    format_seconds(i64::from(*now)),
                    format_seconds(own)
                );
            }
        }
        let others: Vec<&str> = now
            .services()
            .into_iter()
            .filter(|service| !wanted.services().contains(service))
            .collect();
        match (others.as_slice(), now.rules == wanted.rules) {
            ([], false) => "nft table inet cttune has other rules".to_owned(),
            ([], true) if now.lifeline != wanted.lifeline => {
                let how = match wanted.lost_in(&now).lifeline {
                    Some(_) => "lacks the lifeline",
                    None => "has another lifeline",
                };
                format!("nft table inet cttune {how}")
            }
            ([], true) => "nft table inet cttune has more objects".to_owned(),
            (names, _) => format!(
                "nft table inet cttune has services that the profile does not: {}",
                names.join(", ")
            ),
        }
    }

    /// Whether the other table has none of its rules.
    pub(crate) fn is_lost_in(&self, other: &Table) -> bool {
        let lost = self.lost_in(other);
        !self.is_empty() && (&lost.rules, &lost.lifeline) == (&self.rules, &self.lifeline)
    }

    /// The services that the other table has no rule of, and the lifeline that it lacks.
    fn lost_in(&self, other: &Table) -> Table {
        let there = other.services();
        let is_tracked = other
            .lifeline
            .as_ref()
            .is_none_or(|one| one.from.is_empty());
        let is_lost =
            |rule: &&Rule| service_of(&rule.object).is_some_and(|one| !there.contains(one));
        Table {
            rules: self.rules.iter().filter(is_lost).cloned().collect(),
            lifeline: self.lifeline.clone().filter(|_| is_tracked),
            ..Table::default()
        }
    }

    /// The first thing in which it is not the wanted one, as it was read.
    pub(crate) fn difference(&self, wanted: &Table) -> String {
        for object in &wanted.objects {
            let same_name = self.objects.iter().find(|one| one.name == object.name);
            let Some(now) = same_name else {
                return format!("it lacked {}", object.name);
            };
            let mut states = object
                .protocol
                .states()
                .zip(&object.seconds)
                .zip(&now.seconds);
            if let Some(((state, wanted), now)) = states.find(|((_, one), now)| one != now) {
                let (name, state) = (&object.name, state.name());
                return format!("{state} of {name} was {now} and not {wanted}");
            }
        }
        match self.rules == wanted.rules {
            _ if self.edited.is_some() => self.edited.clone().unwrap_or_default(),
            false => "its rules were others".to_owned(),
            true if self.lifeline != wanted.lifeline => "its lifeline was another".to_owned(),
            true => "it had more objects".to_owned(),
        }
    }

    /// What it gives to flows, as expiry sees it: by the name of the service.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&str, Policy)> {
        let objects = self.objects.iter();
        objects.filter_map(|object| Some((object.service(), self.policy(object)?)))
    }

    fn policy(&self, object: &Object) -> Option<Policy> {
        let mut seconds = [None; Policy::STATES];
        for (place, value) in seconds.iter_mut().skip(1).zip(&object.seconds) {
            *place = Some(*value);
        }
        let service = |rule: &&Rule| service_of(&rule.object) == Some(object.service());
        let own = self.rules.iter().filter(|rule| rule.object == object.name);
        Some(Policy {
            family: None,
            protocol: object.protocol.protocol(),
            seconds,
            selection: Selection {
                matching: own
                    .filter_map(|rule| Terms::parse(&rule.terms).ok())
                    .collect(),
                keep: Vec::new(),
            },
            label: Some(self.rules.iter().find(service)?.label),
        })
    }

    /// As nft reads and an operator knows it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("table inet {NAME} {{\n");
        for object in &self.objects {
            text.push_str(&object.text());
        }
        if !self.objects.is_empty() {
            let rules: Vec<String> = self.rules.iter().flat_map(Rule::texts).collect();
            let first = KNOWN.map(str::to_owned);
            let rules: Vec<String> = first.into_iter().chain(rules).collect();
            for chain in CHAINS {
                text.push_str(&chain_text(chain, PRIORITY, &rules));
            }
        }
        if let Some(lifeline) = &self.lifeline {
            let rules: Vec<String> = lifeline.rules().collect();
            for chain in LIFELINE_CHAINS {
                text.push_str(&chain_text(chain, RAW, &rules));
            }
        }
        if let Some(edited) = &self.edited {
            text.push_str(&format!("\t# changed by somebody else: {edited}\n"));
        }
        text.push_str("}\n");
        text
    }

    /// What makes nft's table this one, all or nothing, whatever the table has now.
    pub(crate) fn file(&self) -> String {
        format!(
            "table inet {NAME}\nflush table inet {NAME}\n{}",
            self.text()
        )
    }

    /// What makes one table of another, all or nothing. With `replace` no flow keeps what it has.
    pub(crate) fn transaction(from: Option<&Table>, to: Option<&Table>, replace: bool) -> String {
        let delete = format!("table inet {NAME}\ndelete table inet {NAME}\n");
        let Some(to) = to.filter(|to| !to.is_empty()) else {
            return delete;
        };
        let is_other = |old: &Object| {
            let mut objects = to.objects.iter();
            objects.any(|one| one.name == old.name && one != old)
        };
        // nft does not change the values of an object that is there.
        if replace || from.is_none_or(|from| from.objects.iter().any(is_other)) {
            return delete + &to.text();
        }
        let mut text = to.file();
        let from = from.cloned().unwrap_or_default();
        let mut gone = |kind: &str, name: &str| {
            text.push_str(&format!("delete {kind} inet {NAME} {name}\n"));
        };
        if !from.objects.is_empty() && to.objects.is_empty() {
            for (name, _) in CHAINS {
                gone("chain", name);
            }
        }
        if from.lifeline.is_some() && to.lifeline.is_none() {
            for (name, _) in LIFELINE_CHAINS {
                gone("chain", name);
            }
        }
        for object in &from.objects {
            if !to.objects.iter().any(|one| one.name == object.name) {
                gone("ct timeout", &object.name);
            }
        }
        text
    }
}

impl Rule {
    /// One for each family, where that matters.
    fn texts(&self) -> Vec<String> {
        let terms = Terms::parse(&self.terms).map(|terms| rules(&terms));
        let rule = |conditions: String| {
            format!(
                "{conditions} ct label set {} ct timeout set \"{}\" accept comment \"{}\"",
                self.label, self.object, self.terms
            )
        };
        terms.unwrap_or_default().into_iter().map(rule).collect()
    }
}

fn chain_text((name, hook): (&str, &str), priority: i32, rules: &[String]) -> String {
    let rules: String = rules.iter().map(|rule| format!("\t\t{rule}\n")).collect();
    format!(
        "\tchain {name} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;\n{rules}\t}}\n"
    )
}

/// Of the service, or of flows without one.
fn of_state(service: &Service, state: State, value: &dyn Fn(Key) -> Option<i64>) -> u32 {
    let own = service.timeouts.get(&state).copied();
    let sysctl = || u32::try_from(value(state.key()?)?).ok();
    own.or_else(sysctl).unwrap_or_else(|| state.default())
}

/// The same, and of this protocol.
fn with_protocol(terms: &Terms, layer: Layer) -> Terms {
    let test = Test::Proto(layer.protocol());
    let is_it = |term: &Term| term.test == test && !term.negated;
    let mut terms = terms.0.clone();
    if !terms.iter().any(is_it) {
        terms.retain(|term| !matches!(term.test, Test::Proto(Protocol(_))));
        let negated = false;
        terms.insert(0, Term { test, negated });
    }
    Terms(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, selections, timeouts.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [(State, u32)]);

    fn services(list: &[Row<'_>]) -> BTreeMap<String, Service> {
        let one = |(name, matching, timeouts): &Row<'_>| {
            let service = Service {
                matching: matching
                    .iter()
                    .map(|text| Terms::parse(text).unwrap())
                    .collect(),
                timeouts: timeouts.iter().copied().collect(),
                why: None,
                origin: "p".into(),
            };
            ((*name).to_owned(), service)
        };
        list.iter().map(one).collect()
    }

    fn table(list: &[Row<'_>]) -> Table {
        Table::of(&services(list), None, &|key| {
            (key == Key::TcpTimeoutEstablished).then_some(7440)
        })
    }

    #[test]
    fn an_object_has_every_state_and_a_rule_asks_for_its_protocol() {
        let table = table(&[
            (
                "dns",
                &["dport=53", "proto=udp,dport=53"],
                &[(State::Replied, 10), (State::FinWait, 5)],
            ),
            (
                "push",
                &["proto=tcp,dport=5228-5230"],
                &[(State::Established, 1800)],
            ),
            ("gone", &[], &[(State::Established, 1800)]),
        ]);
        let text = table.text();
        assert_eq!(
            text.split_inclusive("\tct timeout service_push")
                .next()
                .unwrap(),
            "table inet cttune {\n\
             \tct timeout service_dns_tcp_c68f9a73 {\n\t\tprotocol tcp\n\
             \t\tpolicy = { syn_sent : 120, syn_recv : 60, established : 7440, fin_wait : 5, \
             close_wait : 60, last_ack : 30, time_wait : 120, close : 10, syn_sent2 : 120, \
             retrans : 300, unack : 300 }\n\t}\n\
             \tct timeout service_dns_udp_b8bb7b49 {\n\t\tprotocol udp\n\
             \t\tpolicy = { unreplied : 30, replied : 10 }\n\t}\n\tct timeout service_push"
        );
        let chain = |hook| {
            let rule = |layer: &str, port: &str, label: u8, object: &str| {
                format!(
                    "\t\tmeta l4proto {layer} ct original proto-dst {port} ct label set {label} \
                     ct timeout set \"{object}\" accept comment \"proto={layer},dport={port}\"\n"
                )
            };
            format!(
                "type filter hook {hook} priority -150; policy accept;\n\
                 \t\tct status confirmed accept\n\t\tct state != new accept\n{}{}{}\t}}\n",
                rule("tcp", "53", 97, "service_dns_tcp_c68f9a73"),
                rule("udp", "53", 97, "service_dns_udp_b8bb7b49"),
                rule("tcp", "5228-5230", 65, "service_push_tcp_da3d4c86"),
            )
        };
        let chains = format!(
            "\tchain arriving {{\n\t\t{}\tchain own {{\n\t\t{}}}\n",
            chain("prerouting"),
            chain("output")
        );
        assert!(text.ends_with(&chains), "{text}");
    }

    #[test]
    fn a_changed_service_keeps_the_old_object_and_a_removed_one_loses_it() {
        let before = table(&[
            ("dns", &["dport=53"], &[(State::Replied, 10)]),
            ("push", &["dport=5228"], &[(State::Established, 1800)]),
        ]);
        let wanted = table(&[("push", &["dport=5228"], &[(State::Established, 900)])]);
        let after = wanted.clone().keeping(&before);
        assert_eq!((after.objects.len(), after.rules.len()), (2, 1));
        assert_eq!(after.for_new_flows(), wanted);
        // Once more changes nothing, and back again needs no third object.
        assert_eq!(wanted.clone().keeping(&after), after);
        let text = Table::transaction(Some(&before), Some(&after), false);
        assert!(text.starts_with("table inet cttune\nflush table inet cttune\n"));
        let deleted: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("delete"))
            .collect();
        assert_eq!(
            deleted,
            [format!(
                "delete ct timeout inet cttune {}",
                before.objects[0].name
            )]
        );
        let replaced = Table::transaction(Some(&before), Some(&wanted), true);
        assert!(replaced.starts_with("table inet cttune\ndelete table inet cttune\n"));
        let ends = Table::transaction(Some(&before), None, false);
        assert_eq!(ends, "table inet cttune\ndelete table inet cttune\n");
    }

    #[test]
    fn a_label_stays_with_its_service() {
        let all = labels(["dns", "push", "voip"].into_iter());
        let fewer = labels(["push", "voip"].into_iter());
        assert_eq!(all["push"], fewer["push"]);
        let many: Vec<String> = (0..64).map(|n| format!("s{n}")).collect();
        let labels = labels(many.iter().map(String::as_str));
        let numbers: BTreeSet<u8> = labels.values().copied().collect();
        assert_eq!(numbers, (64..128).collect());
    }

    #[test]
    fn the_name_of_an_object_tells_its_service() {
        for (name, service) in [
            ("service_push_tcp_0011aabb", Some("push")),
            ("service_my_own_udp_1", Some("my_own")),
            ("service__udp_1", None),
            ("service_push_1", None),
            ("push", None),
        ] {
            assert_eq!(service_of(name), service, "{name}");
        }
    }
}
