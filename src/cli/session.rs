//! The operator's own SSH session, which `expire` never touches.

use crate::flow::expire::Session;
use crate::kernel::host;

/// The sessions of everybody on this machine, as far as the environments of processes may be read.
pub(super) fn everybodys() -> Vec<Session> {
    sessions(host::read_everybodys_variable(VARIABLE))
}

/// What sshd puts into the environment of a session.
const VARIABLE: &str = "SSH_CONNECTION";

/// The connections that this process hangs on. sudo takes the variable away, so the processes that
/// started this one are asked as well.
pub(super) fn own() -> Vec<Session> {
    let own = std::env::var(VARIABLE).ok();
    let theirs = host::read_ancestors_variable(VARIABLE);
    sessions(own.into_iter().chain(theirs))
}

fn sessions(texts: impl IntoIterator<Item = String>) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for text in texts {
        if let Ok(session) = text.parse()
            && !sessions.contains(&session)
        {
            sessions.push(session);
        }
    }
    sessions
}
