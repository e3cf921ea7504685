//! A private router and a machine that sends to it, joined by a pair of virtual interfaces.
//!
//! Needs ip (iproute2) and nft. Follows veth(4), raw(7), ip-sysctl.rst.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
    socket,
};
use nix::unistd::Pid;

use super::{LINK_UP, Traffic, TrialError, packet};
use crate::flow::{Filter, Member, TcpState};
use crate::kernel::ctnetlink::each_flow;
use crate::kernel::program::{run, said};

/// Both interfaces have the same hardware address, and neither asks for the other's: a packet to
/// any address arrives.
const HARDWARE: &str = "address 02:00:00:00:00:01 arp off up";
/// The router's own addresses.
pub(super) const OWN: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(192, 0, 0, 1),
    Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 1),
);
/// Destinations that are translated, at most.
const TRANSLATED: usize = 64;

/// Settings of the private router. Packets are sent without checksums and with foreign sources.
const SETTINGS: [(&str, &str); 5] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/t0/rp_filter", "0"),
    ("net/netfilter/nf_conntrack_checksum", "0"),
];

/// The router; it lives in the calling thread's namespace.
#[derive(Debug)]
pub(super) struct Router(());

impl Router {
    pub(super) fn start(
        other: Pid,
        rules: Option<&str>,
        members: &[Member],
    ) -> Result<Router, TrialError> {
        feed(
            "ip",
            &["-force", "-batch", "-"],
            &format!(
                "link set lo up\nlink add t0 type veth peer name t1 netns {other}\n\
                 link set t0 {HARDWARE}\naddr add {}/32 dev t0\n\
                 addr add {}/128 dev t0 nodad\n\
                 route add default dev t0\nroute add ::/0 dev t0\n",
                OWN.0, OWN.1
            ),
        )?;
        // Loading the rules first brings the settings of conntrack.
        feed("nft", &["-f", "-"], &translation(members))?;
        for (name, value) in SETTINGS {
            let path = format!("/proc/sys/{name}");
            std::fs::write(path, value).map_err(|source| TrialError::Io {
                doing: "setting up a private router",
                source,
            })?;
        }
        if let Some(rules) = rules {
            feed("nft", &["-f", "-"], rules)?;
        }
        Ok(Router(()))
    }

    /// Flows in its table.
    #[expect(clippy::unused_self)] // there is a router, or there is no table
    pub(super) fn flows(&self) -> Result<u64, TrialError> {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        let text = std::fs::read_to_string(path).map_err(|source| TrialError::Io {
            doing: "counting the flows of a private router",
            source,
        })?;
        Ok(text.trim().parse().unwrap_or(0))
    }

    /// Established connections with no more than so many seconds left.
    #[expect(clippy::unused_self)] // as above
    pub(super) fn established_below(&self, seconds: u32) -> Result<u64, TrialError> {
        let mut number = 0;
        let counted = each_flow(&Filter::default(), |flow| {
            let is_established = flow.tcp_state() == Some(TcpState::Established);
            let is_short = flow.timeout.is_some_and(|left| left <= seconds);
            number += u64::from(is_established && is_short);
            ControlFlow::Continue(())
        });
        counted.map_err(|error| TrialError::Refused {
            doing: "reading the flows of a private router",
            said: error.to_string(),
        })?;
        Ok(number)
    }
}

/// Rules that track flows, and translate the destinations that the group has translated.
fn translation(members: &[Member]) -> String {
    let mut rules = BTreeSet::new();
    for member in members {
        let (Some(to), Some((_, port))) = (member.translated_to(), member.original.ports()) else {
            continue;
        };
        let port_behind = member.reply.ports().map_or(port, |(from, _)| from);
        let (family, to) = match to {
            IpAddr::V4(to) => ("ip", to.to_string()),
            IpAddr::V6(to) => ("ip6", format!("[{to}]")),
        };
        rules.insert(format!(
            "meta l4proto {} {family} daddr {} th dport {port} dnat {family} to {to}:{port_behind}\n",
            member.original.protocol.0, member.original.dst
        ));
        if rules.len() == TRANSLATED {
            break;
        }
    }
    let rules: String = rules.into_iter().collect();
    let chain = |name: &str, hook: &str| match rules.as_str() {
        // Chains of this type load modules that the machine may not have needed so far.
        "" => String::new(),
        _ => format!("chain {name} {{ type nat hook {hook} priority -100;\n{rules}}}\n"),
    };
    let (arriving, own) = (chain("arriving", "prerouting"), chain("own", "output"));
    let zones: String = zone(members).map_or_else(String::new, |zone| {
        ["prerouting", "output"]
            .map(|hook| {
                format!(
                    "chain zone_{hook} {{ type filter hook {hook} priority -300; ct zone set {zone}; }}\n"
                )
            })
            .concat()
    });
    format!(
        "table inet trial {{\n{zones}{arriving}{own}\
         chain track {{ type filter hook forward priority 10; ct state new accept; }}\n}}\n"
    )
}

/// The zone that all of them are in, if it is not the usual one.
fn zone(members: &[Member]) -> Option<u16> {
    let zone = members.first()?.zone;
    (zone != 0 && members.iter().all(|member| member.zone == zone)).then_some(zone)
}

/// Sends packets with any source.
#[derive(Debug)]
pub(super) struct Sender {
    v4: OwnedFd,
    v6: Option<OwnedFd>,
}

impl Sender {
    /// On the machine beside the router: the calling thread's namespace.
    pub(super) fn start() -> Result<Sender, TrialError> {
        feed(
            "ip",
            &["-force", "-batch", "-"],
            &format!(
                "link set lo up\nlink set t1 {HARDWARE}\naddr add 192.0.0.2/32 dev t1\n\
                 addr add 64:ff9b:1::2/128 dev t1 nodad\n\
                 route add default dev t1\nroute add ::/0 dev t1\n"
            ),
        )?;
        Sender::here()
    }

    /// On the router itself.
    pub(super) fn here() -> Result<Sender, TrialError> {
        let open = |family| {
            socket(
                family,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::Raw,
            )
        };
        let v4 = open(AddressFamily::Inet).map_err(|errno| TrialError::Io {
            doing: "opening a raw socket",
            source: errno.into(),
        })?;
        let v6 = open(AddressFamily::Inet6).ok();
        Ok(Sender { v4, v6 })
    }

    /// Sends what begins here: on the router its own flows, beside it those of others. What cannot
    /// be sent makes no flow, with the rules as without.
    ///
    /// # Errors
    /// If the link does not come up.
    pub(super) fn send(&self, traffic: Traffic<'_>, local: bool) -> Result<(), TrialError> {
        let members = traffic.members.iter().zip(traffic.is_local);
        let own = members.filter(|(_, is_local)| **is_local == local);
        let start = Instant::now();
        for (member, _) in own {
            for (bytes, to) in packet::packets(member, traffic.established) {
                // The kernel notes only some time after the other end that the link is up.
                while self.put(&bytes, to) == Err(Errno::ENETUNREACH) {
                    if start.elapsed() > LINK_UP {
                        return Err(TrialError::LinkDown);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
        Ok(())
    }

    fn put(&self, bytes: &[u8], to: IpAddr) -> Result<usize, Errno> {
        match (SocketAddr::new(to, 0), &self.v6) {
            (SocketAddr::V4(to), _) => {
                let to = SockaddrIn::from(to);
                sendto(self.v4.as_raw_fd(), bytes, &to, MsgFlags::empty())
            }
            (SocketAddr::V6(to), Some(v6)) => {
                let to = SockaddrIn6::from(to);
                sendto(v6.as_raw_fd(), bytes, &to, MsgFlags::empty())
            }
            (SocketAddr::V6(_), None) => Err(Errno::EAFNOSUPPORT),
        }
    }
}

/// Runs a program with this input, and gives what it prints.
pub(super) fn feed(
    program: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<String, TrialError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => TrialError::NotInstalled(program),
        _ => TrialError::Io {
            doing: program,
            source,
        },
    };
    let output = run(Command::new(program).args(arguments), input).map_err(failed)?;
    // ip goes on after what fails (IPv6 may be off) and reports it.
    if output.status.success() || program == "ip" {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(TrialError::Refused {
        doing: program,
        said: said(&output),
    })
}
