//! The operator's own connection, which no mode may end.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::flow::{Flow, Layer4, Protocol, Tuple};

/// An SSH connection, by the client's address and port as sshd sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    client: (IpAddr, u16),
}

/// The text is not what sshd writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `CLIENT PORT SERVER PORT`")]
pub(crate) struct SessionError(String);

impl FromStr for Session {
    type Err = SessionError;

    /// Reads what sshd writes into `SSH_CONNECTION`: client, its port, server, its port.
    fn from_str(text: &str) -> Result<Self, SessionError> {
        let parsed = ends(text).map(|(client, _)| Session { client });
        parsed.ok_or_else(|| SessionError(text.to_owned()))
    }
}

/// An address and a port.
type End = (IpAddr, u16);

/// Client and server.
fn ends(text: &str) -> Option<(End, End)> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    match parts.as_slice() {
        [client, client_port, server, server_port] => {
            end(client, client_port).zip(end(server, server_port))
        }
        _ => None,
    }
}

/// The flow of what sshd writes, as far as sshd knows it.
pub(crate) fn session_tuple(text: &str) -> Option<Tuple> {
    let ((src, from), (dst, to)) = ends(text)?;
    Some(Tuple {
        src,
        dst,
        protocol: Protocol::TCP,
        layer4: Layer4::Ports { src: from, dst: to },
        zone: None,
    })
}

/// An address, without the interface of a link-local one, and a port.
fn end(address: &str, port: &str) -> Option<End> {
    let address = address.split('%').next()?;
    let address: IpAddr = address.parse().ok()?;
    Some((address.to_canonical(), port.parse().ok()?))
}

impl From<SocketAddr> for Session {
    /// The session of the client with this end.
    fn from(client: SocketAddr) -> Self {
        Session {
            client: (client.ip(), client.port()),
        }
    }
}

impl Session {
    /// Whether the flow may carry it: TCP from or to the client, as either side of the flow knows it.
    /// Between the namespace of the flow and that of sshd the server may be translated again.
    pub(crate) fn is_carried_by(&self, flow: &Flow<'_>) -> bool {
        Session::possible(flow).any(|possible| possible == *self)
    }

    /// Every session that the flow may carry, by whichever of its ends is the client.
    pub(crate) fn possible(flow: &Flow<'_>) -> impl Iterator<Item = Session> {
        let is_tcp = flow.original.protocol == Protocol::TCP;
        let tuples = is_tcp.then_some([flow.original, flow.reply]);
        tuples.into_iter().flatten().flat_map(|tuple| {
            let ends = tuple
                .ports()
                .map(|(src, dst)| [(tuple.src, src), (tuple.dst, dst)]);
            ends.into_iter().flatten().map(|client| Session { client })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::TCP;

    #[test]
    fn it_is_read_as_sshd_writes_it() {
        for (text, is_one) in [
            ("192.168.1.1 1000 10.0.0.2 22", true),
            ("2001:db8::1 1000 2001:db8::2 22", true),
            ("fe80::1%eth0 1000 fe80::2%eth0 22", true),
            ("192.168.1.1 1000 10.0.0.2", false),
            ("192.168.1.1 1000 10.0.0.2 22 x", false),
            ("here 1000 there 22", false),
            ("UNKNOWN 65535 UNKNOWN 65535", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Session>().is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn it_is_found_either_way_round_and_behind_translation() {
        // tcp 192.168.1.1:1000 > 10.0.0.2:80
        let plain = Flow::parse(TCP).unwrap();
        let mut translated = plain;
        // The client knows 203.0.113.9:2222, sshd 10.0.0.2:80.
        translated.original.dst = "203.0.113.9".parse().unwrap();
        translated.original.layer4 = Layer4::Ports {
            src: 1000,
            dst: 2222,
        };
        let mut udp = plain;
        udp.original.protocol = Protocol::UDP;
        for (text, flow, carried) in [
            ("192.168.1.1 1000 10.0.0.2 80", &plain, true),
            ("10.0.0.2 80 192.168.1.1 1000", &plain, true),
            ("::ffff:192.168.1.1 1000 ::ffff:10.0.0.2 80", &plain, true),
            ("192.168.1.1 1001 10.0.0.2 80", &plain, false),
            ("192.168.1.2 1000 10.0.0.2 80", &plain, false),
            ("192.168.1.1 80 10.0.0.2 1000", &plain, false),
            ("192.168.1.1 1000 10.0.0.2 80", &translated, true),
            ("192.168.1.1 1000 203.0.113.9 2222", &translated, true),
            // Translated again on the way from this table to sshd.
            ("192.168.1.1 1000 172.16.0.9 22", &plain, true),
            ("192.168.1.1 1000 10.0.0.2 80", &udp, false),
        ] {
            let session: Session = text.parse().unwrap();
            assert_eq!(session.is_carried_by(flow), carried, "{text}");
        }
    }
}
