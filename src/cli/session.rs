//! The operator's own SSH session, which `expire` never touches.

use crate::flow::expire::Session;
use crate::kernel::{ctnetlink, host};

/// What sshd puts into the environment of a session.
const VARIABLE: &str = "SSH_CONNECTION";

/// The connections that this process hangs on. sudo takes the variable away, so the processes that
/// started this one are asked as well.
pub(super) fn own() -> Vec<Session> {
    let own = std::env::var(VARIABLE).ok();
    let theirs = host::read_ancestors_variable(VARIABLE);
    let mut sessions: Vec<Session> = Vec::new();
    for text in own.into_iter().chain(theirs) {
        if let Ok(session) = text.parse()
            && !sessions.contains(&session)
        {
            sessions.push(session);
        }
    }
    sessions
}

/// Whether one of them has an entry in the table here. What cannot be asked is no.
pub(super) fn is_tracked() -> bool {
    let own = own();
    let mut tuples = own.iter().filter_map(Session::tuple);
    tuples.any(|tuple| ctnetlink::is_tracked(&tuple))
}
