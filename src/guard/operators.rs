//! The SSH sessions of everybody on this machine, which are kept.

use std::time::{Duration, Instant};

use crate::flow::expire::Session;
use crate::kernel::{host, ssh};

/// What sshd puts into the environment of a session.
const VARIABLE: &str = "SSH_CONNECTION";

/// How often it is read who is logged in, and how often as long as it took is waited at least.
const EVERY: Duration = Duration::from_secs(30);
const REST: u32 = 300;

/// The sessions as they were read last.
pub(super) struct Operators {
    pub(super) sessions: Vec<Session>,
    begun: Instant,
    next: Instant,
}

impl Operators {
    /// Connections to sshd, which anybody sees, and what the environments of processes say, where
    /// those may be read: an sshd in a container is found only there.
    pub(super) fn read() -> Self {
        let begun = Instant::now();
        let texts = host::read_everybodys_variable(VARIABLE);
        let told = texts.iter().filter_map(|text| text.parse().ok());
        let clients = ssh::read_clients().into_iter().map(Session::from);
        Operators {
            sessions: told.chain(clients).collect(),
            begun,
            next: Instant::now() + EVERY.max(begun.elapsed() * REST),
        }
    }

    /// Reads them again if it is time, or if a session that began since may be silent for so long
    /// that its flow could end.
    pub(super) fn renew(&mut self, min_idle: Duration) {
        if Instant::now() >= self.next || self.begun.elapsed() >= min_idle {
            *self = Operators::read();
        }
    }
}
