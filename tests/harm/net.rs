//! Real connections through a firewall: a client, the firewall and a server, each in a network
//! namespace of its own, joined by veth.
//!
//! One process holds both ends of every connection: a socket stays in the namespace it was made in.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::process::Command;
use std::time::{Duration, Instant};

use cttune::internals::{in_netns, walk};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

use crate::support::{Keeper, Told};

/// The server's two addresses.
pub(crate) const SERVERS: [&str; 2] = ["10.0.2.2", "fd00:2::2"];

/// How long an end waits for an acknowledgement until it gives its connection up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Net {
    client: Keeper,
    firewall: Keeper,
    server: Keeper,
}

impl Net {
    /// A firewall whose chains are `chains` and that forwards nothing else.
    pub(crate) fn new(chains: &str) -> Self {
        let alone = || {
            let mut command = Command::new("unshare");
            Keeper::start(command.args(["-n", "sh", "-c", "echo here; exec cat"]))
        };
        let net = Net {
            client: alone(),
            firewall: alone(),
            server: alone(),
        };
        net.sh(&format!(
            "side() {{
                ip link add $1 type veth peer name eth0 netns $3
                ip addr add 10.0.$2.1/24 dev $1
                ip addr add fd00:$2::1/64 dev $1 nodad
                ip link set $1 up
                nsenter -t $3 -n sh -ec \"
                    ip addr add 10.0.$2.2/24 dev eth0
                    ip addr add fd00:$2::2/64 dev eth0 nodad
                    ip link set eth0 up
                    ip route add default via 10.0.$2.1
                    ip route add default via fd00:$2::1\"
            }}
            side c 1 {}; side s 2 {}
            echo 1 > /proc/sys/net/ipv4/ip_forward
            echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
            nft 'table inet fw {{
                chain forward {{ type filter hook forward priority filter; policy drop; }}
                {chains}
            }}'",
            net.client.id(),
            net.server.id(),
        ));
        net
    }

    /// One that lets a SYN of the client open a connection.
    pub(crate) fn syn_only() -> Self {
        Net::new(SYN_ONLY)
    }

    /// A shell script on the firewall.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let firewall = self.firewall.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &firewall, "-n", "sh", "-ec", script]);
        command.env("PATH", crate::inside::path());
        Told::by(&mut command).exits(0).stdout
    }

    /// Sets a sysctl of the firewall.
    pub(crate) fn set(&self, name: &str, value: u32) {
        self.on_firewall(|| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            std::fs::write(path, value.to_string()).unwrap();
        });
    }

    /// The firewall's namespace, as `--netns` takes it.
    pub(crate) fn netns(&self) -> String {
        format!("pid:{}", self.firewall.id())
    }

    /// Firewalls of one test do not wait for each other's lock.
    pub(crate) fn state(&self) -> String {
        format!("/run/state-{}", self.firewall.id())
    }

    /// `cttune expire` on the firewall's flows; what it told.
    #[track_caller]
    pub(crate) fn expire(&self, args: &[&str]) -> Value {
        Told::by(&mut self.expire_command(args)).exits(0).json()
    }

    pub(crate) fn expire_command(&self, args: &[&str]) -> Command {
        let netns = self.netns();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
        command.env("CTTUNE_STATE_DIR", self.state());
        command.args(["expire", "--yes", "--format", "json"]);
        command.args(["--netns", &netns]).args(args);
        command
    }

    /// Does work in the firewall's namespace.
    pub(crate) fn on_firewall<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_netns(&format!("pid:{}", self.firewall.id()), work).unwrap()
    }

    /// Does work in the client's namespace.
    pub(crate) fn on_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_netns(&format!("pid:{}", self.client.id()), work).unwrap()
    }

    /// Does work in the server's namespace.
    pub(crate) fn on_server<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_netns(&format!("pid:{}", self.server.id()), work).unwrap()
    }

    /// A listener of the server; port 0 is any.
    pub(crate) fn listen(&self, address: &str, port: u16) -> TcpListener {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        let bind = || TcpListener::bind(address).unwrap();
        in_netns(&format!("pid:{}", self.server.id()), bind).unwrap()
    }

    /// A connection from the client to the listener.
    pub(crate) fn connect_to(&self, listener: &TcpListener) -> Connection {
        let address = listener.local_addr().unwrap();
        let begun = Instant::now();
        let client = self.on_client(|| {
            loop {
                match TcpStream::connect(address) {
                    // On a machine under load a neighbour may not answer within its three seconds.
                    Err(error)
                        if error.kind() == ErrorKind::HostUnreachable
                            && begun.elapsed() < Duration::from_secs(60) => {}
                    connected => return connected.unwrap(),
                }
            }
        });
        let (server, _) = listener.accept().unwrap();
        Connection::new(client, server)
    }

    /// A connection to this address that has been used in both directions.
    pub(crate) fn connect(&self, address: &str) -> Connection {
        let connection = self.connect_to(&self.listen(address, 0));
        connection.must_work();
        connection
    }

    /// Waits until every word is acknowledged; from then on idle connections are silent.
    #[track_caller]
    pub(crate) fn settle(&self) {
        until("all is acknowledged", || self.unacknowledged() == 0);
    }

    /// How many flows the firewall knows whose data waits to be acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        let mut flows = 0;
        self.on_firewall(|| {
            walk("", |flow| {
                flows += usize::from(flow.has_unacknowledged_data);
                ControlFlow::Continue(())
            })
            .unwrap();
        });
        flows
    }

    /// TCP flows on the firewall: their state and the seconds they have.
    pub(crate) fn flows(&self) -> BTreeMap<Tuple, (String, u32)> {
        let listed =
            self.sh("conntrack -L -p tcp 2>/dev/null; conntrack -L -f ipv6 -p tcp 2>/dev/null");
        let flow = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // The first of the words that start so: those of the original direction.
            let first = |name: &str| {
                words
                    .iter()
                    .find_map(|word| word.strip_prefix(name))
                    .unwrap()
            };
            let address = |host, port| {
                let address: IpAddr = first(host).parse().unwrap();
                SocketAddr::new(address, first(port).parse().unwrap())
            };
            let tuple = (address("src=", "sport="), address("dst=", "dport="));
            (tuple, (words[3].to_owned(), words[2].parse().unwrap()))
        };
        listed.lines().map(flow).collect()
    }
}

/// Who opened a connection, and to whom.
pub(crate) type Tuple = (SocketAddr, SocketAddr);

/// Chains that let a SYN of the client open a connection, and nothing else.
pub(crate) const SYN_ONLY: &str = "chain forward {
    ct state established,related accept
    iifname c ct state new tcp flags & (fin|syn|rst|ack) == syn accept
}";

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// What becomes of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It arrived, and its answer came back.
    Answered,
    /// Nobody acknowledged it, however often it was sent.
    Lost,
    /// The connection was reset.
    Reset,
}

pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    /// How the firewall knows it.
    pub(crate) tuple: Tuple,
}

impl Connection {
    fn new(client: TcpStream, server: TcpStream) -> Self {
        for end in [&client, &server] {
            let millis = u32::try_from(PATIENCE.as_millis()).unwrap();
            setsockopt(end, sockopt::TcpUserTimeout, &millis).unwrap();
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
        }
        // Later it may be broken, and then its socket no longer tells.
        let tuple = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        Connection {
            client,
            server,
            tuple,
        }
    }

    fn end(&self, end: End) -> &TcpStream {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }

    /// One end says a word, and the other answers if it hears it.
    pub(crate) fn speak(&self, first: End) -> Outcome {
        let (from, to) = match first {
            End::Client => (&self.client, &self.server),
            End::Server => (&self.server, &self.client),
        };
        said(from, b'?', to)
            .and_then(|()| said(to, b'!', from))
            .map_or_else(|lost| lost, |()| Outcome::Answered)
    }

    /// Reads so many bytes at one end.
    #[track_caller]
    pub(crate) fn hear(&self, mut bytes: usize, end: End) {
        let mut buffer = vec![0; bytes];
        until("what was sent arrives", || {
            match self.end(end).read(&mut buffer[..bytes]) {
                Ok(read) => bytes -= read,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            bytes == 0
        });
    }

    /// Both ends hear each other, whoever speaks first.
    #[track_caller]
    pub(crate) fn must_work(&self) {
        for first in [End::Client, End::Server] {
            assert_eq!(self.speak(first), Outcome::Answered, "{first:?} first");
        }
    }

    /// This end asks every second whether the other is still there.
    pub(crate) fn keep_alive(&self, end: End) {
        let end = self.end(end);
        setsockopt(end, sockopt::TcpKeepIdle, &1).unwrap();
        setsockopt(end, sockopt::TcpKeepInterval, &1).unwrap();
        setsockopt(end, sockopt::KeepAlive, &true).unwrap();
    }
}

fn said(mut from: &TcpStream, word: u8, mut to: &TcpStream) -> Result<(), Outcome> {
    let outcome = |error: std::io::Error| match error.kind() {
        ErrorKind::TimedOut => Outcome::Lost,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Outcome::Reset,
        _ => panic!("{error}"),
    };
    from.write_all(&[word]).map_err(outcome)?;
    let mut heard = [0];
    loop {
        match to.read(&mut heard) {
            Ok(1) => {
                assert_eq!(heard, [word]);
                return Ok(());
            }
            Ok(_) => return Err(Outcome::Reset),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(outcome(error)),
        }
        if let Some(error) = from.take_error().unwrap() {
            return Err(outcome(error));
        }
    }
}

/// Waits for what must come.
#[track_caller]
pub(crate) fn until(what: &str, mut has_come: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !has_come() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
