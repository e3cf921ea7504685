//! Reads `[service.NAME]` and `[lifeline]`, and checks what no single file shows: overlaps.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::read::{Reader, Value, in_order};
use super::{Desired, Mistake, Profile, Wrong, inherit, value};
use crate::flow::{Protocol, Terms, Test, can_ask};
use crate::service::{
    LONGEST_COMMENT, Layer, Lifeline, MOST, Overlap, Service, State, can_match, layers, overlaps,
};
use crate::tunable::{Key, Unit};

/// nft takes more; the name is a part of the names of objects.
const LONGEST_NAME: usize = 32;
/// Seconds: the kernel multiplies with HZ in 32 bits, and HZ is 1000 at most.
const LONGEST_TIMEOUT: i64 = u32::MAX as i64 / 1000;
/// What `proto=tcp,` adds to the comment of a rule.
const PROTOCOL: usize = "proto=tcp,".len();

/// The tables of services by name, and where each is written.
pub(super) type Places = BTreeMap<String, Range<usize>>;

impl Reader {
    /// Reads all of `[service]`.
    pub(super) fn services(&mut self, table: &DeTable<'_>) -> (BTreeMap<String, Service>, Places) {
        let mut services = BTreeMap::new();
        let mut places = Places::new();
        for (name, value) in in_order(table) {
            let text = name.get_ref().as_ref();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(plain) {
                let title = format!("`{text}` cannot be the name of a service");
                let help = format!("letters, digits, - and _, {LONGEST_NAME} at most");
                self.fault(&name.span(), Wrong::new(title, "this name").help(help));
                continue;
            }
            let Some(table) = self.table(&format!("service.{text}"), value) else {
                continue;
            };
            if let Some(service) = self.service(text, &name.span(), table) {
                services.insert(text.to_owned(), service);
                places.insert(text.to_owned(), name.span());
            }
        }
        (services, places)
    }

    fn service(
        &mut self,
        name: &str,
        place: &Range<usize>,
        table: &DeTable<'_>,
    ) -> Option<Service> {
        let mut service = Service {
            matching: Vec::new(),
            timeouts: BTreeMap::new(),
            why: None,
            origin: self.origin(),
        };
        let mut matching = None;
        for (field, value) in in_order(table) {
            let text = field.get_ref().as_ref();
            match (
                text,
                State::ALL.into_iter().find(|state| state.name() == text),
            ) {
                ("match", _) => matching = Some(self.first_packets(value)?),
                ("why", _) => service.why = self.text("why", value),
                (_, Some(state)) => {
                    let range = 1..=LONGEST_TIMEOUT;
                    let seconds = self.number(value, |written| {
                        value::within(Unit::Seconds, written, range)
                    })?;
                    service.timeouts.insert(state, u32::try_from(seconds).ok()?);
                }
                _ => {
                    let states = State::ALL.map(State::name);
                    let fields = [&["match", "why"][..], &states].concat();
                    let title = format!("a service has no `{text}`");
                    // A key of [sysctl] says the protocol too.
                    let state = match Key::lookup(text) {
                        Some(Key::UdpTimeout) => "unreplied",
                        Some(Key::UdpTimeoutStream) => "replied",
                        _ => text.rsplit("timeout_").next().unwrap_or(text),
                    };
                    let help = self.offer(state, &fields);
                    self.fault(&field.span(), Wrong::new(title, "unknown").help(help));
                }
            }
        }
        let wrong = match &matching {
            None => Some((
                "which flows it is for",
                "write match = [\"proto=tcp,dport=5228\"]",
            )),
            Some(list) if !list.is_empty() && service.timeouts.is_empty() => Some((
                "a timeout",
                "write established = \"30m\" or replied = \"10s\"",
            )),
            Some(_) => None,
        };
        if let Some((lacks, help)) = wrong {
            let title = format!("[service.{name}] does not say {lacks}");
            self.fault(place, Wrong::new(title, "this service").help(help));
            return None;
        }
        service.matching = matching.unwrap_or_default();
        self.unused(name, place, &service);
        Some(service)
    }

    /// Selections that the first packet of a flow can be judged by.
    fn first_packets(&mut self, value: &Value<'_>) -> Option<Vec<Terms>> {
        let before = self.found();
        let all = self.selections("match", value)?;
        if self.found() > before {
            return None;
        }
        let items = value.get_ref().as_array();
        for (terms, item) in all
            .iter()
            .zip(items.into_iter().flat_map(|array| array.iter()))
        {
            self.judge(terms, item);
        }
        (self.found() == before).then_some(all)
    }

    fn judge(&mut self, terms: &Terms, item: &Value<'_>) {
        let text = item.get_ref().as_str().unwrap_or_default();
        let mut start = 0;
        for (piece, term) in text.split(',').zip(&terms.0) {
            let span = self.part(item, start..start + piece.len());
            start += piece.len() + 1;
            let (title, help) = if !can_ask(&term.test) {
                let name = piece
                    .split(['=', '!', '<', '>'])
                    .next()
                    .unwrap_or(piece)
                    .trim();
                (
                    format!("no first packet can be judged by `{name}`"),
                    "one of src, dst, sport, dport, proto, family, zone",
                )
            } else if is_other_protocol(&term.test) && !term.negated {
                (
                    "nft has timeouts for TCP and UDP alone".to_owned(),
                    "write proto=tcp or proto=udp",
                )
            } else {
                continue;
            };
            self.fault(&span, Wrong::new(title, "this term").help(help));
        }
        let written = terms.to_string().len();
        if written + PROTOCOL > LONGEST_COMMENT {
            let title = format!("a selection of {written} letters");
            let most = LONGEST_COMMENT - PROTOCOL;
            let help = format!("{most} at most: nft keeps it as the comment of its rule");
            self.fault(&item.span(), Wrong::new(title, "too long").help(help));
        } else if !can_match(terms) {
            let wrong = Wrong::new("no packet matches this", "its terms contradict each other");
            self.fault(&item.span(), wrong);
        }
    }

    /// Timeouts of a protocol that the selections leave out, and selections without a timeout.
    fn unused(&mut self, name: &str, place: &Range<usize>, service: &Service) {
        for layer in Layer::ALL {
            let mut matching = service.matching.iter();
            let is_matched = matching.any(|terms| layers(terms).any(|one| one == layer));
            if service.has(layer) && !is_matched && !service.matching.is_empty() {
                let title = format!(
                    "[service.{name}] has a timeout of {} and matches none of it",
                    layer.name().to_uppercase()
                );
                self.fault(place, Wrong::new(title, "this service"));
            }
        }
        for terms in &service.matching {
            if !layers(terms).any(|layer| service.has(layer)) {
                let title = format!("[service.{name}] has no timeout for `{terms}`");
                let help = "established is a state of TCP, replied of UDP";
                self.fault(place, Wrong::new(title, "this service").help(help));
            }
        }
    }

    /// Reads `[lifeline]`.
    pub(super) fn lifeline(&mut self, place: &Range<usize>, table: &DeTable<'_>) -> Lifeline {
        let mut lifeline = Lifeline::default();
        let before = self.found();
        for (name, value) in in_order(table) {
            match name.get_ref().as_ref() {
                "from" => self.each("from", value, |reader, item| {
                    let text = reader.text("a network", item)?;
                    match Terms::parse(&format!("src={text}")).ok()?.0.first()?.test {
                        Test::Src(net) => lifeline.from.insert(net),
                        _ => false,
                    };
                    Some(())
                }),
                "ports" => self.each("ports", value, |reader, item| {
                    let port = reader.number(item, |written| {
                        value::within(Unit::Count, written, 1..=65535)
                    })?;
                    lifeline.ports.insert(u16::try_from(port).ok()?);
                    Some(())
                }),
                unknown => {
                    let title = format!("[lifeline] has no `{unknown}`");
                    let help = self.offer(unknown, &["from", "ports"]);
                    self.fault(&name.span(), Wrong::new(title, "unknown").help(help));
                }
            }
        }
        let lacks = [lifeline.from.is_empty(), lifeline.ports.is_empty()];
        let is_off = lacks == [true, true];
        if self.found() == before && !is_off && lacks.contains(&true) {
            let title = "[lifeline] needs both `from` and `ports`";
            let help = "write from = [\"192.0.2.0/24\"] and ports = [22]";
            self.fault(place, Wrong::new(title, "this table").help(help));
        }
        if lifeline.ports.len() > Lifeline::MOST_PORTS {
            let title = format!("a lifeline for {} ports", lifeline.ports.len());
            let help = format!(
                "{} at most: name the ports of management",
                Lifeline::MOST_PORTS
            );
            self.fault(place, Wrong::new(title, "too many").help(help));
        }
        lifeline
    }

    /// Reads each value of a list; what is no value is a mistake.
    fn each(
        &mut self,
        what: &str,
        value: &Value<'_>,
        mut read: impl FnMut(&mut Reader, &Value<'_>) -> Option<()>,
    ) {
        let DeValue::Array(array) = value.get_ref() else {
            let title = format!("`{what}` must be a list");
            self.fault(&value.span(), Wrong::new(title, value.get_ref().type_str()));
            return;
        };
        for item in array {
            let before = self.found();
            if read(self, item).is_none() && self.found() == before {
                let wrong = Wrong::new(format!("not a value of `{what}`"), "this value");
                let help = "write networks as \"192.0.2.0/24\" or \"2001:db8::/32\"";
                self.fault(&item.span(), wrong.help(help));
            }
        }
    }
}

fn is_other_protocol(test: &Test) -> bool {
    matches!(test, Test::Proto(protocol) if ![Protocol::TCP, Protocol::UDP].contains(protocol))
}

/// What is wrong with the services of a chain of profiles together: too many, or overlapping ones.
pub(crate) fn service_mistakes(chain: &[Profile]) -> Vec<Mistake> {
    let Desired { mut services, .. } = inherit(chain);
    services.retain(|_, service| !service.matching.is_empty());
    let of = |name: &str, wrong: Wrong| {
        let mut chain = chain.iter();
        let (profile, place) =
            chain.find_map(|profile| Some((profile, profile.places.get(name)?)))?;
        Some(Mistake::new(&profile.source, place.clone(), wrong))
    };
    if services.len() > MOST {
        let name = services.keys().nth(MOST).map_or("", String::as_str);
        let title = format!("{} services, and {MOST} at most", services.len());
        let help = "a service can match several selections";
        return of(name, Wrong::new(title, "one too many").help(help))
            .into_iter()
            .collect();
    }
    let told = |overlap: Overlap| {
        let Overlap {
            first,
            second,
            packet,
        } = overlap;
        let title = format!("the services {first} and {second} both match {packet}");
        let help = "leave it out of one of them, with != or a smaller range";
        of(&second, Wrong::new(title, "overlaps").help(help))
    };
    overlaps(&services).into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, parse, read};

    fn titles(text: &str) -> Vec<String> {
        let source = Source::new("p.toml", text);
        let mut mistakes = parse(&source).err().unwrap_or_default();
        mistakes.extend(service_mistakes(&[read(&source).0]));
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn services_are_read_and_a_child_replaces_one_whole() {
        let child = "[service.push]\nmatch = [\"proto=tcp,dport=5228-5230\"]\n\
                     established = \"30m\"\nwhy = \"FCM\"\n[service.dns]\nmatch = []\n\
                     [lifeline]\nfrom = [\"192.0.2.0/24\", \"2001:db8::1\"]\nports = [22, 2222]\n";
        let parent = "[service.push]\nmatch = [\"dport=1\"]\nclose = 5\n\
                      [service.dns]\nmatch = [\"proto=udp,dport=53\"]\nreplied = 10\n";
        let chain = [child, parent].map(|text| parse(&Source::new("p.toml", text)).unwrap());
        assert_eq!(service_mistakes(&chain), []);
        let desired = inherit(&chain);
        let push = &desired.services["push"];
        assert_eq!(push.timeouts, [(State::Established, 1800)].into());
        assert_eq!(push.matching[0].to_string(), "proto=tcp,dport=5228-5230");
        assert_eq!(push.why.as_deref(), Some("FCM"));
        assert_eq!(desired.services["dns"].matching, []);
        let lifeline = desired.lifeline.unwrap();
        assert_eq!((lifeline.from.len(), lifeline.ports.len()), (2, 2));
    }

    #[test]
    fn every_mistake_is_told_at_its_place() {
        const PUSH: &str = "[service.push]\nmatch = [\"proto=tcp,dport=5228\"]\n";
        for (text, told) in [
            (
                "[service.push]\nestablished = 5\n",
                "1:10: [service.push] does not say which flows",
            ),
            (
                "[service.push]\nmatch = [\"dport=5\"]\n",
                "1:10: [service.push] does not say a timeout",
            ),
            (
                "[service.push]\nmatch = [\"dport=5,state=established\"]\nclose = 5\n",
                "2:19: no first packet can be judged by `state`",
            ),
            (
                "[service.push]\nmatch = [\"mark=5\"]\nclose = 5\n",
                "2:11: no first packet can be judged by `mark`",
            ),
            (
                "[service.push]\nmatch = [\"proto=icmp\"]\nclose = 5\n",
                "2:11: nft has timeouts for TCP and UDP alone",
            ),
            (
                "[service.push]\nmatch = [\"dport=5,dport=6\"]\nclose = 5\n",
                "2:10: no packet matches this",
            ),
            (
                &format!("{PUSH}establishd = 5\n"),
                "3:1: a service has no `establishd`",
            ),
            (
                &format!("{PUSH}established = 0\n"),
                "3:15: a timeout of zero",
            ),
            (
                &format!("{PUSH}established = 4294968\n"),
                "3:15: out of range",
            ),
            (
                &format!("{PUSH}replied = 5\n"),
                "1:10: [service.push] has a timeout of UDP and matches none",
            ),
            (
                "[service.\"a b\"]\nmatch = [\"dport=5\"]\nclose = 5\n",
                "1:10: `a b` cannot be the name",
            ),
            (
                "[service.a]\nmatch = [\"dport=5\"]\nclose = 5\n[service.b]\nmatch = [\"dport=1-9\"]\nclose = 5\n",
                "4:10: the services a and b both match TCP 198.51.100.1:40000 → 198.51.100.2:5",
            ),
            (
                "[lifeline]\nfrom = [\"192.0.2.0/24\"]\n",
                "1:2: [lifeline] needs both",
            ),
            (
                "[lifeline]\nfrom = [\"192.0.2.1/24\"]\nports = [22]\n",
                "2:9: not a value of `from`",
            ),
            (
                "[lifeline]\nfrom = \"192.0.2.0/24\"\nports = [22]\n",
                "2:8: `from` must be a list",
            ),
            ("[lifeline]\nfrm = []\n", "2:1: [lifeline] has no `frm`"),
        ] {
            let found = titles(text);
            assert!(
                found
                    .iter()
                    .any(|one| one.starts_with(&format!("p.toml:{told}"))),
                "{text}: {found:?}"
            );
        }
        let long = format!(
            "[service.a]\nmatch = [\"dport=5,{}\"]\nclose = 5\n",
            ["dst!=192.0.2.1"; 9].join(",")
        );
        assert!(
            titles(&long)[0].contains("a selection of"),
            "{:?}",
            titles(&long)
        );
    }

    #[test]
    fn more_services_than_labels_are_refused() {
        let many = (0..65).map(|n| {
            format!(
                "[service.s{n:02}]\nmatch = [\"dport={}\"]\nclose = 5\n",
                n + 1
            )
        });
        let found = titles(&many.collect::<String>());
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("65 services, and 64 at most"),
            "{found:?}"
        );
    }
}
