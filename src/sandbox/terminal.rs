//! The terminal's foreground group, which an interactive shell in the sandbox takes and, not seeing
//! process groups outside its PID namespace, cannot give back.

use std::fs::File;

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// The terminal, if this process was in its foreground.
pub(super) struct Terminal(Option<(File, Pid)>);

impl Terminal {
    pub(super) fn remember() -> Self {
        let foreground = File::open("/dev/tty").ok().and_then(|tty| {
            let group = tcgetpgrp(&tty).ok()?;
            (group == getpgrp()).then_some((tty, group))
        });
        Terminal(foreground)
    }

    /// Puts the caller's group into the foreground again. SIGTTOU must be blocked.
    pub(super) fn give_back(self) {
        if let Terminal(Some((tty, group))) = self {
            // The terminal does not exist any more.
            let _ = tcsetpgrp(&tty, group);
        }
    }
}
