//! What is asked of init: `systemctl restart UNIT…`, `service NAME start`.
//! Follows systemctl(1), service(8), rc-service(8).

/// Units that a command starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) units: Vec<&'a str>,
    /// Whether they are started where they are active already.
    pub(super) is_restart: bool,
}

/// Options of systemctl with a value, which may be the next word.
const WITH_VALUE: [&str; 20] = [
    "-n",
    "-o",
    "-p",
    "-P",
    "-s",
    "-t",
    "--drop-in",
    "--job-mode",
    "--kill-value",
    "--kill-whom",
    "--lines",
    "--message",
    "--output",
    "--preset-mode",
    "--property",
    "--signal",
    "--state",
    "--timestamp",
    "--type",
    "--what",
];
/// Those with which nothing of this system is started.
const ELSEWHERE: [&str; 14] = [
    "-C",
    "-H",
    "-M",
    "-h",
    "--capsule",
    "--dry-run",
    "--global",
    "--help",
    "--host",
    "--image",
    "--machine",
    "--root",
    "--user",
    "--version",
];

/// What `systemctl` has to start; none where it starts nothing here. A word that is not known may be
/// any verb and no unit.
pub(super) fn of_systemctl<'a>(arguments: &[Option<&'a str>]) -> Option<Request<'a>> {
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word {
            Some("--") => words.extend(rest.by_ref()),
            Some(option) if option.starts_with('-') => {
                let name = option.split('=').next().unwrap_or(option);
                let short = name.get(..2).filter(|_| !name.starts_with("--"));
                if ELSEWHERE.contains(&short.unwrap_or(name)) {
                    return None;
                }
                if WITH_VALUE.contains(option) {
                    rest.next();
                }
            }
            other => words.push(other),
        }
    }
    let (verb, units) = words.split_first()?;
    let is_restart = match verb {
        Some("restart" | "reload-or-restart") => true,
        // `enable` counts for the boot after it.
        None
        | Some(
            "start"
            | "isolate"
            | "try-restart"
            | "condrestart"
            | "try-reload-or-restart"
            | "reload-or-try-restart"
            | "force-reload"
            | "enable"
            | "reenable"
            | "preset",
        ) => false,
        Some(_) => return None,
    };
    Some(Request {
        units: units.iter().copied().flatten().copied().collect(),
        is_restart,
    })
}

/// The same of `service NAME VERB` and its like; a script of init's starts in any case.
pub(super) fn of_service<'a>(
    arguments: &[Option<&'a str>],
    has_systemd: bool,
) -> Option<Request<'a>> {
    let mut words = arguments.iter().copied();
    let unit = words.find(|word| !word.is_some_and(|word| word.starts_with('-')))??;
    let is_restart = match words.next()? {
        Some("restart" | "force-reload") => true,
        Some("start") => !has_systemd,
        None | Some("condrestart" | "try-restart") => false,
        Some(_) => return None,
    };
    Some(Request {
        units: vec![unit],
        is_restart,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `restart UNIT…` or `start UNIT…`; empty where nothing is started.
    fn shown(request: Option<Request<'_>>) -> String {
        let text = |request: Request<'_>| {
            let verb = if request.is_restart {
                "restart"
            } else {
                "start"
            };
            format!("{verb} {}", request.units.join(" "))
        };
        request.map(text).unwrap_or_default()
    }

    fn words(line: &str) -> Vec<Option<&str>> {
        let words = line.split(' ').map(|word| (word != "?").then_some(word));
        words.collect()
    }

    #[test]
    fn the_verb_of_systemctl_is_the_first_word_that_is_no_option() {
        for (line, expected) in [
            ("start a", "start a"),
            ("restart a b.timer", "restart a b.timer"),
            ("--no-block -q restart a", "restart a"),
            ("restart --no-block a", "restart a"),
            ("reload-or-restart a", "restart a"),
            ("try-restart a", "start a"),
            ("enable --now a", "start a"),
            ("enable a", "start a"),
            ("isolate rescue.target", "start rescue.target"),
            ("-p start stop a", ""),
            ("--job-mode fail restart a", "restart a"),
            ("--job-mode=fail restart a", "restart a"),
            ("restart -- a", "restart a"),
            ("stop restart-a", ""),
            ("status start", ""),
            ("is-active a", ""),
            ("disable --now a", ""),
            ("reload a", ""),
            ("daemon-reload", ""),
            ("--user restart a", ""),
            ("-M x restart a", ""),
            ("-Mx restart a", ""),
            ("--host=x restart a", ""),
            ("--root=/x enable a", ""),
            ("? a", "start a"),
            ("restart ?", "restart "),
        ] {
            assert_eq!(shown(of_systemctl(&words(line))), expected, "{line}");
        }
    }

    #[test]
    fn the_verb_of_service_comes_behind_the_name() {
        for (line, has_systemd, expected) in [
            ("a start", true, "start a"),
            ("a start", false, "restart a"),
            ("a restart", true, "restart a"),
            ("--quiet a force-reload", false, "restart a"),
            ("a stop", false, ""),
            ("a status", false, ""),
            ("restart-a stop", false, ""),
            ("a ?", true, "start a"),
            ("--status-all", true, ""),
        ] {
            let found = of_service(&words(line), has_systemd);
            assert_eq!(shown(found), expected, "{line}");
        }
    }
}
