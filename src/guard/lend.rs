//! What a guard has observed, lent to another command through /run/cttune/guard-INODE.sock.
//!
//! Only root and the guard's own user get it, and believe it.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

use super::status::{FOLDER, path};
use crate::files::Root;
use crate::flow::guard::Lent;
use crate::kernel::host;

/// How long the other side may take for a part.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most memory that flows may take, and what comes before them.
const LARGEST: u64 = (1 << 30) + (1 << 20);

/// Where others ask for the observations.
#[derive(Debug)]
pub(crate) struct Lender(UnixListener);

impl Lender {
    /// Replaces the socket that a guard which was killed has left.
    pub(crate) fn open() -> io::Result<Self> {
        let root = Root::machine();
        root.make_folder(Path::new(FOLDER))
            .map_err(io::Error::from)?;
        let path = path("sock");
        root.remove(&path).map_err(io::Error::from)?;
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path);
        umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(Lender(listener))
    }

    /// Answers everybody who has asked.
    pub(crate) fn serve(&self, lent: &Lent<'_>) {
        while let Ok((mut stream, _)) = self.0.accept() {
            let given = stream
                .set_nonblocking(false)
                .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            if given.is_ok() && is_trusted(&stream) {
                // Whoever goes away, or does not read, gets no more.
                let _ = lent.to_bytes().try_for_each(|part| stream.write_all(&part));
            }
        }
    }
}

/// The observations of the guard of this network namespace, and zero of their clock; none where no
/// guard runs, or it lends nothing.
pub(crate) fn borrow() -> Option<(Lent<'static>, Instant)> {
    let stream = UnixStream::connect(path("sock")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    if !is_trusted(&stream) {
        return None;
    }
    let mut bytes = Vec::new();
    stream.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let lent = Lent::from_bytes(&bytes)?;
    lent.sightings.iter().next()?;
    let now = i64::try_from(host::read_monotonic().as_millis()).ok()?;
    let passed = u64::try_from(now - lent.zero).ok()?;
    let clock = Instant::now().checked_sub(Duration::from_millis(passed))?;
    Some((lent, clock))
}

/// Whether root or the own user is at the other end.
fn is_trusted(stream: &UnixStream) -> bool {
    let other = getsockopt(stream, sockopt::PeerCredentials);
    other.is_ok_and(|other| other.uid() == 0 || other.uid() == geteuid().as_raw())
}
