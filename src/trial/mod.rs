//! Tries a remedy before it is offered: private network namespaces, packets like those of the
//! group, and the kernel's own count of the flows that came through.
//!
//! In: rules for nft and the flows that they are about. Out: the share of the flows that the rules
//! stopped, or shortened. Rule: everything happens in namespaces that this room makes and that end
//! with their threads; neither the table nor the rules of the machine are touched.

mod lifeline;
mod network;
mod packet;
mod service;

pub(crate) use lifeline::passes;
pub(crate) use service::prove;

use std::net::IpAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use self::network::{Router, Sender};
use crate::flow::Member;
use crate::kernel::netns;

/// The queue between the namespaces is empty after this time at the latest.
const SETTLED: Duration = Duration::from_secs(2);
/// The link is up after this time at the latest: the kernel notes it within seconds, later where
/// many namespaces come and go.
const LINK_UP: Duration = Duration::from_secs(15);

/// Why a remedy could not be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error("{doing}: {}", crate::diagnostic::said(source))]
    Io {
        doing: &'static str,
        source: std::io::Error,
    },
    #[error("{0} is not installed")]
    NotInstalled(&'static str),
    #[error("{doing}: {said}")]
    Refused { doing: &'static str, said: String },
    #[error("the link between the private namespaces did not come up")]
    LinkDown,
    #[error("the packets did not make flows without the rules either")]
    NoFlows,
    /// The commands for the rules that the ruleset lacks.
    #[error("the present rules drop untracked packets")]
    LifelineDropped(Vec<String>),
    /// What a service gave a flow, and what it should have.
    #[error("{0}")]
    NotTheService(String),
}

/// How packets of a group come to the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic<'a> {
    pub(crate) members: &'a [Member],
    /// Whether each begins on the machine itself.
    pub(crate) is_local: &'a [bool],
    /// Whether connections are to be established, for rules about established ones.
    pub(crate) established: bool,
}

/// Whether anything can be tried here: it takes ip, and a network namespace.
pub(crate) fn can_try() -> Result<(), TrialError> {
    network::feed("ip", &["-V"], "")?;
    netns::in_private(|| ()).map_err(no_network)
}

/// The share of the flows that the rules stop.
pub(crate) fn stopped(rules: &str, traffic: Traffic<'_>) -> Result<f64, TrialError> {
    let without = run(None, traffic, Router::flows)?;
    let with = run(Some(rules), traffic, Router::flows)?;
    share(without.saturating_sub(with), without)
}

/// The share of the connections to which the rules give this timeout.
pub(crate) fn shortened(
    rules: &str,
    traffic: Traffic<'_>,
    seconds: u32,
) -> Result<f64, TrialError> {
    let without = run(None, traffic, Router::flows)?;
    let with = run(Some(rules), traffic, |router| {
        router.established_below(seconds)
    })?;
    share(with.min(without), without)
}

fn share(part: u64, whole: u64) -> Result<f64, TrialError> {
    if whole == 0 {
        return Err(TrialError::NoFlows);
    }
    #[expect(clippy::cast_precision_loss)] // thousands
    Ok(part as f64 / whole as f64)
}

/// Sends the packets through a private router and counts its flows.
fn run<T: Default + Send>(
    rules: Option<&str>,
    traffic: Traffic<'_>,
    count: impl Fn(&Router) -> Result<T, TrialError> + Send,
) -> Result<T, TrialError> {
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let cannot_start = |source| TrialError::Io {
        doing: "starting a thread",
        source,
    };
    std::thread::scope(|scope| {
        let (tell_id, id) = mpsc::channel();
        let (tell_ready, ready) = mpsc::channel::<()>();
        let (tell_up, up) = mpsc::channel::<()>();
        let (tell_sent, sent) = mpsc::channel::<()>();
        let (tell_done, done) = mpsc::channel::<()>();
        let sender = thread("trial-sender").spawn_scoped(scope, move || {
            leave_network()?;
            let _ = tell_id.send(nix::unistd::gettid());
            if ready.recv().is_err() {
                return Ok(());
            }
            let sender = Sender::start()?;
            let _ = tell_up.send(());
            sender.send(traffic, false)?;
            let _ = tell_sent.send(());
            // Its end of the link, and with it the router's, goes with this thread.
            let _ = done.recv();
            Ok(())
        });
        let sender = sender.map_err(cannot_start)?;
        let router = thread("trial-router").spawn_scoped(scope, move || {
            leave_network()?;
            let Ok(other) = id.recv() else {
                return Ok(T::default());
            };
            let router = Router::start(other, rules, traffic.members)?;
            let _ = tell_ready.send(());
            // Without the other end the link is down. If there is none, joining says why.
            if up.recv().is_ok() {
                Sender::here()?.send(traffic, true)?;
            }
            // If it did not send, joining says why.
            let counted = sent
                .recv()
                .map(|()| settle(&router).and_then(|()| count(&router)));
            drop(tell_done);
            match sender.join() {
                Ok(joined) => joined?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            counted.unwrap_or(Ok(T::default()))
        });
        match router.map_err(cannot_start)?.join() {
            Ok(counted) => counted,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Whether packets with this address are passed on: not those of one machine, one link, or a group.
fn is_routed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => (1..=223).contains(&address.octets()[0]) && !address.is_loopback(),
        IpAddr::V6(address) => {
            let is_special = address.is_loopback() || address.is_unspecified();
            let is_mapped = address.to_ipv4_mapped().is_some();
            !is_special && !is_mapped && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}

/// This thread, and what it starts, get a network namespace of their own.
fn leave_network() -> Result<(), TrialError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| no_network(errno.into()))
}

fn no_network(source: std::io::Error) -> TrialError {
    TrialError::Io {
        doing: "making a private network namespace",
        source,
    }
}

/// Waits until no more flows come.
fn settle(router: &Router) -> Result<(), TrialError> {
    let start = Instant::now();
    let mut last = router.flows()?;
    let mut same = 0;
    while same < 5 && start.elapsed() < SETTLED {
        std::thread::sleep(Duration::from_millis(2));
        let now = router.flows()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(())
}
