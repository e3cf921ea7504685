//! The operator's own SSH session, which `expire` never touches.

use crate::flow::expire::{Session, session_tuple};
use crate::kernel::{ctnetlink, host};

/// What sshd puts into the environment of a session.
const VARIABLE: &str = "SSH_CONNECTION";

/// The connections that this process hangs on.
pub(super) fn own() -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for text in written() {
        if let Ok(session) = text.parse()
            && !sessions.contains(&session)
        {
            sessions.push(session);
        }
    }
    sessions
}

/// What sshd wrote. sudo takes the variable away, so the processes that started this one are asked
/// as well.
fn written() -> impl Iterator<Item = String> {
    let own = std::env::var(VARIABLE).ok();
    own.into_iter()
        .chain(host::read_ancestors_variable(VARIABLE))
}

/// Whether one of them has an entry in the table here. What cannot be asked is no.
pub(super) fn is_tracked() -> bool {
    let mut tuples = written().filter_map(|text| session_tuple(&text));
    tuples.any(|tuple| ctnetlink::is_tracked(&tuple))
}
