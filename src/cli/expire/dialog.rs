//! What `expire` asks and shows, and its exit code where no flow was changed.

use crate::change::Signals;
use crate::change::expire::Expiry;
use crate::cli::args::Expire;
use crate::cli::failure::{FAILED, Failure};
use crate::cli::flows::{self, answered, say_pace};
use crate::cli::out::Out;
use crate::flow::expire::{KeptWhy, Tally};
use crate::kernel::sysctl;
use crate::profile::ExpireMode;
use crate::render::{self, expire::Parts};

/// The exit code where no flow was changed.
pub(super) fn nothing_done(args: &Expire, tally: &Tally, is_proven: bool) -> anyhow::Result<u8> {
    if args.changing.dry_run {
        return Ok(0);
    }
    if !args.matching.is_empty() && tally.examined() == 0 {
        return Err(flows::no_match(&args.matching).into());
    }
    // Watching could prove nothing of the other flows.
    if !is_proven && tally.kept.contains_key(&KeptWhy::NotProven) {
        return Err(Failure::new(FAILED, "nothing proves that a flow is idle")
            .unchanged()
            .hint(
                "--observe 10m watches the flows first; --trust-history infers idle time \
                 (cttune expire --help says what it assumes)",
            )
            .into());
    }
    Ok(0)
}

/// Asks; a no, or a signal, is a failure that changed nothing.
pub(super) fn ask(
    expiry: &Expiry,
    mode: ExpireMode,
    tally: &Tally,
    signals: &Signals,
    out: Out,
) -> anyhow::Result<()> {
    out.question(&render::expire::foresight(mode, tally));
    say_pace(expiry.pace(), Some(tally.selected()), out);
    let question = match mode {
        ExpireMode::Clamp => "Clamp them? [y/N]",
        ExpireMode::ReAge => "Re-age them? [y/N]",
        ExpireMode::Delete => "Delete them? [y/N]",
    };
    answered(question, signals)
}

pub(super) fn show(mode: ExpireMode, tally: &Tally, dry_run: bool, out: Out) {
    let parts = Parts {
        mode,
        tally,
        dry_run,
        count: sysctl::read_count().ok().flatten(),
    };
    let text = || match (out.verbose, dry_run) {
        (true, false) => render::expire::text(parts) + &render::expire::breakdown(tally),
        _ => render::expire::text(parts),
    };
    out.result(text, || render::expire::json(parts));
}
