//! The SSH connections to this machine, as far as anybody may see them.
//!
//! In: sockets, the ports that sshd was given. Out: the client's end of each established connection
//! to such a port, in the namespace of the calling thread and in that of the machine's first
//! process. Rule: no environment and no descriptor of another process is read, which would need
//! CAP_SYS_PTRACE. Follows proc_pid_net(5), proc_net_tcp.rst of the kernel and sshd_config(5).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::processes::running;
use crate::files::Root;

/// Where sshd listens if nothing else is said.
const SSH: u16 = 22;

/// Where a port of sshd is written down: a file, and a folder of more.
const CONFIGURATION: &str = "/etc/ssh/sshd_config";
const MORE: &str = "/etc/ssh/sshd_config.d";

/// `TCP_ESTABLISHED`, as the kernel prints it.
const ESTABLISHED: &str = "01";

/// The client's end of every connection.
pub(crate) fn read_clients() -> Vec<SocketAddr> {
    let ports = read_ports();
    let mut clients = Vec::new();
    for process in ["thread-self", "1"] {
        for table in ["tcp", "tcp6"] {
            let Ok(file) = File::open(format!("/proc/{process}/net/{table}")) else {
                continue;
            };
            let lines = BufReader::new(file).lines().map_while(Result::ok);
            clients.extend(lines.filter_map(|line| client(&line, &ports)));
        }
    }
    clients.sort_unstable();
    clients.dedup();
    clients
}

/// Ports in the files of sshd, and on the command lines of those that run.
fn read_ports() -> BTreeSet<u16> {
    let root = Root::machine();
    let more = root.list(Path::new(MORE)).ok().flatten();
    let more = more.into_iter().flatten();
    let files = more.map(|name| Path::new(MORE).join(name));
    let mut ports = BTreeSet::from([SSH]);
    for path in files.chain([PathBuf::from(CONFIGURATION)]) {
        let text = root.read(&path).ok().flatten().unwrap_or_default();
        ports.extend(configured(&String::from_utf8_lossy(&text)));
    }
    for process in running(&["sshd"]) {
        ports.extend(typed(&process.arguments.join(" ")));
    }
    ports
}

/// The ports of `Port` and `ListenAddress`. Those of a `Match` that is not met count as well.
fn configured(text: &str) -> Vec<u16> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line
            .split(|c: char| c.is_whitespace() || c == '=' || c == '"')
            .filter(|word| !word.is_empty());
        let (key, value) = (words.next()?.to_ascii_lowercase(), words.next()?);
        match key.as_str() {
            "port" => value.parse().ok(),
            "listenaddress" => value.parse().ok().map(|socket: SocketAddr| socket.port()),
            _ => None,
        }
    });
    lines.collect()
}

/// The ports of `-p PORT` and `-o Port=PORT`, with or without a space.
fn typed(line: &str) -> Vec<u16> {
    let line = line
        .to_ascii_lowercase()
        .replace("-oport", "-p")
        .replace("-o port", "-p");
    let options = line.split(" -p").skip(1).filter_map(|rest| {
        let rest = rest.trim_start_matches([' ', '=']);
        rest.split_whitespace().next()?.parse().ok()
    });
    options.collect()
}

/// The other end of an established connection to one of the ports: the columns are a number, this
/// end, the other one, the state, …
fn client(line: &str, ports: &BTreeSet<u16>) -> Option<SocketAddr> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, remote, state) = (columns.next()?, columns.next()?, columns.next()?);
    let (_, port) = local.split_once(':')?;
    let is_to_sshd = ports.contains(&u16::from_str_radix(port, 16).ok()?);
    if state != ESTABLISHED || !is_to_sshd {
        return None;
    }
    let (address, port) = remote.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(parse_address(address)?, port))
}

/// One or four words, each as the processor has it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for word in text.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).ok();
    let v6 = <[u8; 16]>::try_from(bytes.as_slice()).ok();
    v4.map(|bytes| Ipv4Addr::from(bytes).into())
        .or(v6.map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_the_other_end_of_an_established_connection_to_a_port_of_sshd() {
        let ports = BTreeSet::from([22]);
        let v6 = "00000000000000000000000001000000:0016 B80D0120000000000000000001000000:D431";
        let mapped = "0000000000000000FFFF00000100000A:0016 0000000000000000FFFF00000200000A:D431";
        for (ends, state, expected) in [
            ("0100000A:0016 0200000A:D431", "01", Some("10.0.0.2:54321")),
            (v6, "01", Some("[2001:db8::1]:54321")),
            (mapped, "01", Some("10.0.0.2:54321")),
            // It listens; another port; not this end; cut.
            ("0100000A:0016 00000000:0000", "0A", None),
            ("0100000A:0017 0200000A:D431", "01", None),
            ("0200000A:D431 0100000A:0016", "01", None),
            ("0100000A:0016 0200", "01", None),
        ] {
            let line =
                format!("   7: {ends} {state} 00000000:00000000 02:00000000 00000000 0 0 1 2");
            let expected = expected.map(|text| text.parse().unwrap());
            // The words above are those of a little-endian processor.
            if cfg!(target_endian = "little") {
                assert_eq!(client(&line, &ports), expected, "{line}");
            }
        }
    }

    #[test]
    fn the_ports_of_sshd_are_those_of_its_files_and_of_its_command_line() {
        let text = "#Port 1\nPort 2222\n port=2223 # why\nListenAddress 0.0.0.0:24\n\
                    ListenAddress [::]:25\nListenAddress 10.0.0.1\nPort \"26\"\nPortal 9\n";
        assert_eq!(configured(text), [2222, 2223, 24, 25, 26]);
        for (line, expected) in [
            (
                "sshd: /usr/sbin/sshd -D -p 2222 [listener] 0 of 10-100 startups",
                &[2222][..],
            ),
            (
                "/usr/sbin/sshd -p2222 -o Port=2223 -oPort=2224",
                &[2222, 2223, 2224],
            ),
            ("sshd: root@pts/0", &[]),
        ] {
            assert_eq!(typed(line), expected, "{line}");
        }
    }
}
