//! Commands that cron runs, at boot or again and again. Follows crontab(5).

use std::path::Path;

use super::facts::Facts;
use super::scripts::{Runner, Scripts};
use crate::boot::SourceLine;

/// Tables with a user in each line.
const SYSTEM_FOLDER: &str = "/etc/cron.d";
const SYSTEM_TABLE: &str = "/etc/crontab";
/// Folders with a table for each user: Debian's, Red Hat's, Alpine's.
const SPOOLS: [&str; 3] = [
    "/var/spool/cron/crontabs",
    "/var/spool/cron",
    "/etc/crontabs",
];

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    table(facts, Path::new(SYSTEM_TABLE), true, false, scripts);
    for name in facts.names(SYSTEM_FOLDER) {
        let is_backup = name.ends_with('~')
            || name.starts_with('.')
            || name.contains(".rpm")
            || name.contains(".dpkg");
        if !is_backup {
            // Debian's cron skips a name with a dot, others read it.
            table(
                facts,
                &Path::new(SYSTEM_FOLDER).join(name),
                true,
                name.contains('.'),
                scripts,
            );
        }
    }
    for folder in SPOOLS {
        for name in facts.names(folder) {
            table(facts, &Path::new(folder).join(name), false, false, scripts);
        }
    }
}

fn table(
    facts: &Facts<'_>,
    path: &Path,
    has_users: bool,
    is_conditional: bool,
    scripts: &mut Scripts<'_>,
) {
    let Some(text) = facts.text(path) else {
        return;
    };
    for (line, number) in text.lines().zip(1..) {
        let Some((when, user, command)) = divide(line, has_users) else {
            continue;
        };
        // Only root may write these keys.
        let owner = path.file_name().and_then(|name| name.to_str());
        let user = user.or(owner).unwrap_or_default();
        if user != "root" && !command.contains("sudo") {
            continue;
        }
        let runner = Runner {
            who: "cron".to_owned(),
            when: if when == "@reboot" {
                "at boot".to_owned()
            } else {
                format!("at {when}")
            },
            is_conditional: is_conditional || when != "@reboot",
            ..Runner::default()
        };
        let place = SourceLine {
            file: path.to_owned(),
            line: number,
        };
        scripts.line(&first_part(command), &place, &runner);
    }
}

/// A command up to the percent sign that ends it; behind it is what it reads. One behind a backslash
/// that is not escaped itself is a percent sign.
fn first_part(command: &str) -> String {
    let mut all = String::new();
    let mut is_escaped = false;
    for sign in command.chars() {
        match sign {
            '%' if !is_escaped => break,
            '%' => drop(all.pop()),
            _ => {}
        }
        all.push(sign);
        is_escaped = sign == '\\' && !is_escaped;
    }
    all
}

/// When, who where the table says it, and the command of a line; none for what is none.
fn divide(line: &str, has_users: bool) -> Option<(String, Option<&str>, &str)> {
    let line = line.trim();
    let first = line.chars().next()?;
    let is_time = first == '@' || first == '*' || first.is_ascii_digit() || first == '-';
    if !is_time {
        return None;
    }
    let fields = if first == '@' { 1 } else { 5 };
    let mut rest = line;
    let mut times = Vec::new();
    for _ in 0..fields {
        let (field, after) = rest.split_once([' ', '\t'])?;
        times.push(field);
        rest = after.trim_start();
    }
    let when = times.join(" ");
    if !has_users {
        return Some((when, None, rest));
    }
    let (user, command) = rest.split_once([' ', '\t'])?;
    Some((when, Some(user), command.trim_start()))
}
