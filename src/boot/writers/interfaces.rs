//! Commands in the description of interfaces that run when one comes up. Follows interfaces(5).

use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::scripts::{Runner, Scripts};
use crate::boot::SourceLine;

const FILE: &str = "/etc/network/interfaces";
const FOLDER: &str = "/etc/network/interfaces.d";

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let included = facts
        .names(FOLDER)
        .iter()
        .map(|name| Path::new(FOLDER).join(name));
    for path in std::iter::once(PathBuf::from(FILE)).chain(included) {
        let Some(text) = facts.text(&path) else {
            continue;
        };
        for (line, number) in text.lines().zip(1..) {
            let Some((option, command)) = line.trim().split_once([' ', '\t']) else {
                continue;
            };
            if !matches!(option, "up" | "post-up" | "pre-up") {
                continue;
            }
            let runner = Runner {
                who: "ifup".to_owned(),
                when: "when an interface comes up".to_owned(),
                is_conditional: false,
            };
            let place = SourceLine {
                file: path.clone(),
                line: number,
            };
            scripts.line(command, &place, &runner);
        }
    }
}
