//! The operator's own SSH session, which `expire` never touches.

use crate::flow::expire::{Session, session_tuple};
use crate::kernel::{ctnetlink, host};

/// What sshd puts into the environment of a session.
const VARIABLE: &str = "SSH_CONNECTION";

/// What tmux and screen put there: their sessions go on when they are attached from another
/// connection, which no process that started this one knows.
const MULTIPLEXERS: [&str; 2] = ["TMUX", "STY"];

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
/// as well; inside of tmux and screen all processes, since one of them is attached.
fn written() -> impl Iterator<Item = String> {
    let own = std::env::var(VARIABLE).ok();
    let is_inside = MULTIPLEXERS.iter().any(|name| {
        std::env::var_os(name).is_some() || !host::read_ancestors_variable(name).is_empty()
    });
    let attached = is_inside.then(|| host::read_everybodys_variable(VARIABLE));
    own.into_iter()
        .chain(host::read_ancestors_variable(VARIABLE))
        .chain(attached.unwrap_or_default())
}

/// Whether one of them has an entry in the table here. What cannot be asked is no.
pub(super) fn is_tracked() -> bool {
    let mut tuples = written().filter_map(|text| session_tuple(&text));
    tuples.any(|tuple| ctnetlink::is_tracked(&tuple))
}
