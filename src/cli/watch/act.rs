//! What a watch does to a group: the very commands that could be typed, with their question.

use crate::change::Signals;
use crate::cli::args::{Changing, Expire, Global, Kill, Mode};
use crate::cli::failure::{FAILED, Failure};
use crate::cli::out::Out;
use crate::cli::{expire, kill, place, prompt};
use crate::diagnostic::quoted;
use crate::render::layout::command;
use crate::render::watch::Verb;

/// Runs the command, which counts, shows and asks, and waits until it was read.
pub(super) fn act(
    verb: Verb,
    matching: Vec<String>,
    signals: &Signals,
    global: &Global,
    out: Out,
) -> anyhow::Result<()> {
    let place = place::of(global);
    let terms = matching
        .iter()
        .map(|one| format!(" --match {}", quoted(one)));
    let name = match verb {
        Verb::Expire => "expire",
        Verb::Kill => "kill",
    };
    let typed = place.cttune(&format!("{name}{}", terms.collect::<String>()));
    out.question(&format!("{}\n", command(&typed)));
    let changing = Changing {
        keep: Vec::new(),
        max_flows: None,
        rate: None,
        dry_run: false,
        yes: false,
        wait: None,
    };
    let ran = match verb {
        Verb::Expire => expire::run(&expiry(matching, changing), global, out),
        Verb::Kill => {
            let args = Kill {
                matching,
                all_flows: false,
                save: None,
                changing,
            };
            kill::run(&args, global, out)
        }
    };
    if let Err(error) = ran {
        let failure = Failure::from_error(FAILED, error);
        out.failure(&failure, &place);
    }
    prompt::ask_plainly("Enter goes back to the watch", signals)?;
    Ok(())
}

fn expiry(matching: Vec<String>, changing: Changing) -> Expire {
    Expire {
        mode: Mode::Clamp,
        matching,
        spread: None,
        grace: None,
        observe: None,
        trust_history: false,
        settle: None,
        was: None,
        changing,
    }
}
