//! Waiting for a child while signals come in.
//!
//! The same loop serves the caller's process, whose only child is PID 1, and PID 1 itself, which
//! also inherits every orphan. Signals stay blocked and are read from a descriptor: no handler, no
//! race between looking and sleeping.

use std::process::Child;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What is passed on to the child.
const FORWARDED: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
];

/// `SI_KERNEL`: the kernel itself sent it, here the terminal.
const SI_KERNEL: i32 = 0x80;

/// The first real-time signal that a program can use; nix cannot name those.
const SIGRTMIN: u8 = 34;

/// The signals of this process, blocked from now on.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks what is forwarded, and what a background process gets for using its terminal.
    pub(super) fn block() -> nix::Result<Self> {
        let mut blocked = SigSet::from_iter(FORWARDED);
        blocked.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC)?;
        blocked.add(Signal::SIGTTOU);
        blocked.thread_block()?;
        Ok(Signals(signals))
    }

    /// Waits until `child` ends and returns its exit code, or 128 + n if signal n ended it.
    pub(super) fn supervise(&self, child: &Child) -> anyhow::Result<u8> {
        let child = Pid::from_raw(i32::try_from(child.id())?);
        loop {
            if let Some(code) = reap(child).context("waiting for the sandbox")? {
                return Ok(code);
            }
            let signal = self.0.read_signal().context("reading a signal")?;
            if let Some(signal) = signal.as_ref().and_then(to_forward) {
                // It may have ended meanwhile: then the next turn sees that.
                let _ = kill(child, signal);
            }
        }
    }
}

/// The signal that the child has to hear of from us.
///
/// Ctrl-C and Ctrl-\ went to the whole foreground group of the terminal: who was meant has them.
fn to_forward(info: &siginfo) -> Option<Signal> {
    let signal = Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()?;
    let by_terminal =
        info.ssi_code == SI_KERNEL && matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
    (FORWARDED.contains(&signal) && !by_terminal).then_some(signal)
}

/// Takes in every child that ended; the exit code if `child` is among them.
fn reap(child: Pid) -> nix::Result<Option<u8>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(Some(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(Some(128 + signal as u8));
            }
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            // A real-time signal ended a child: the command, if it does not exist any more.
            Err(Errno::EINVAL) if kill(child, None).is_ok() => {}
            Err(Errno::EINVAL) => return Ok(Some(128 + SIGRTMIN)),
            Err(errno) => return Err(errno),
        }
    }
}
