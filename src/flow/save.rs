//! A flow as a line of `conntrack -L -o save`, which `conntrack -R` restores.
//!
//! Follows conntrack(8) and what conntrack 1.4.7 prints, and adds the mark, which it leaves out.
//! Helpers, labels and counters cannot be restored this way.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use super::terms::sctp_name;
use super::{Flow, Layer4, Protocol, StatusBit, TcpState, Tuple};
use crate::tunable::format_seconds;

/// A flow in short, for people.
pub(crate) fn summary_line(flow: &Flow<'_>) -> String {
    let tuple = &flow.original;
    let ports = tuple.ports().unzip();
    let mut line = format!(
        "{} {} > {}",
        tuple.protocol,
        end(tuple.src, ports.0),
        end(tuple.dst, ports.1)
    );
    if flow.is_translated() {
        let ports = flow.reply.ports().unzip();
        let (from, to) = (end(flow.reply.dst, ports.1), end(flow.reply.src, ports.0));
        line.push_str(&format!(" as {from} > {to}"));
    }
    if let Some(state) = flow.tcp_state() {
        line.push_str(&format!(", {state}"));
    }
    if let Some(left) = flow.timeout {
        line.push_str(&format!(", {} left", format_seconds(left.into())));
    }
    line
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

/// Seconds for a flow of a flowtable, whose time is not told.
const OFFLOADED: u32 = 30;

/// The line, without its end.
pub(crate) fn save_line(flow: &Flow<'_>) -> String {
    let mut line = String::new();
    // Writing to a string does not fail.
    let _ = write_line(&mut line, flow);
    line
}

fn write_line(line: &mut String, flow: &Flow<'_>) -> fmt::Result {
    let (original, reply) = (&flow.original, &flow.reply);
    let time = flow.timeout.unwrap_or(OFFLOADED);
    write!(line, "-A -t {time} -u {}", status(flow))?;
    if flow.mark != 0 {
        write!(line, " -m {}", flow.mark)?;
    }
    let zones = [
        ("-w", flow.both_zone()),
        ("--orig-zone", original.zone),
        ("--reply-zone", reply.zone),
    ];
    for (option, zone) in zones {
        if let Some(zone) = zone {
            write!(line, " {option} {zone}")?;
        }
    }
    let has = |bit| flow.status.has(bit);
    // Of a flow that is translated at both ends conntrack forgets a port that is not beside its
    // address.
    let ports = reply.ports().unzip();
    let from = if has(StatusBit::DstNat) {
        format!("-g {}", end(reply.src, ports.0))
    } else {
        format!("-r {}", reply.src)
    };
    let to = if has(StatusBit::SrcNat) {
        format!("-n {}", end(reply.dst, ports.1))
    } else {
        format!("-q {}", reply.dst)
    };
    write!(line, " -s {} -d {} {from} {to}", original.src, original.dst)?;
    write!(line, " -p {}", protocol(original.protocol))?;
    write_layer4(line, original, reply)?;
    if let Some(state) = flow.tcp_state() {
        write!(line, " --state {}", state_name(state))?;
    }
    if let Some(state) = flow.sctp {
        let (there, back) = flow.sctp_tags.unwrap_or_default();
        let state = sctp_name(state).to_ascii_uppercase();
        write!(
            line,
            " --state {state} --orig-vtag {there} --reply-vtag {back}"
        )?;
    }
    Ok(())
}

fn status(flow: &Flow<'_>) -> &'static str {
    let has = |bit| flow.status.has(bit);
    match (has(StatusBit::SeenReply), has(StatusBit::Assured)) {
        (true, true) => "SEEN_REPLY,ASSURED",
        (true, false) => "SEEN_REPLY",
        (false, true) => "ASSURED",
        (false, false) => "UNSET",
    }
}

/// conntrack knows ESP and AH by number alone.
fn protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol(50 | 51) => protocol.0.to_string(),
        protocol => protocol.to_string(),
    }
}

fn state_name(state: TcpState) -> String {
    state.name().to_ascii_uppercase()
}

fn write_layer4(line: &mut String, original: &Tuple, reply: &Tuple) -> fmt::Result {
    match (original.layer4, reply.layer4) {
        (Layer4::Ports { src, dst }, Layer4::Ports { src: from, dst: to })
            if original.protocol == Protocol::GRE =>
        {
            write!(line, " --srckey {src} --dstkey {dst}")?;
            write!(line, " --reply-key-src {from} --reply-key-dst {to}")
        }
        (Layer4::Ports { src, dst }, Layer4::Ports { src: from, dst: to }) => {
            write!(line, " --sport {src} --dport {dst}")?;
            write!(line, " --reply-port-src {from} --reply-port-dst {to}")
        }
        (Layer4::Icmp { id, kind, code }, _) => {
            let name = match original.protocol {
                Protocol::ICMPV6 => "icmpv6",
                _ => "icmp",
            };
            write!(
                line,
                " --{name}-type {kind} --{name}-code {code} --{name}-id {id}"
            )
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};

    #[test]
    fn a_line_is_what_conntrack_prints_and_the_mark() {
        let tcp = Flow::parse(TCP).unwrap();
        assert_eq!(
            save_line(&tcp),
            "-A -t 999 -u SEEN_REPLY,ASSURED -m 7 -w 3 -s 192.168.1.1 -d 10.0.0.2 -r 10.0.0.2 \
             -q 192.168.1.1 -p tcp --sport 1000 --dport 80 --reply-port-src 80 --reply-port-dst \
             1000 --state ESTABLISHED"
        );
        let udp = Flow::parse(UDP).unwrap();
        assert_eq!(
            save_line(&udp),
            "-A -t 999 -u UNSET --orig-zone 5 -s fd00::1 -d fd00::2 -r fd00::2 -q fd00::1 -p udp \
             --sport 1000 --dport 53 --reply-port-src 53 --reply-port-dst 1000"
        );
    }

    #[test]
    fn a_flow_in_short_names_both_ends() {
        let mut flow = Flow::parse(TCP).unwrap();
        let plain = "tcp 192.168.1.1:1000 > 10.0.0.2:80";
        assert_eq!(
            summary_line(&flow),
            format!("{plain}, established, 16m39s left")
        );
        flow.reply.dst = [198, 51, 100, 1].into();
        assert_eq!(
            summary_line(&flow),
            format!("{plain} as 198.51.100.1:1000 > 10.0.0.2:80, established, 16m39s left")
        );
        let udp = Flow::parse(UDP).unwrap();
        assert_eq!(
            summary_line(&udp),
            "udp [fd00::1]:1000 > [fd00::2]:53, 16m39s left"
        );
    }

    #[test]
    fn what_was_translated_is_translated_again() {
        let mut flow = Flow::parse(TCP).unwrap();
        flow.status.0 |= StatusBit::SrcNat.mask() | StatusBit::DstNat.mask();
        flow.reply.src = [203, 0, 113, 9].into();
        flow.reply.dst = [198, 51, 100, 1].into();
        let line = save_line(&flow);
        let translated = "-g 203.0.113.9:80 -n 198.51.100.1:1000 ";
        assert!(line.contains(translated), "{line}");
        flow.status.0 &= !StatusBit::SrcNat.mask();
        let line = save_line(&flow);
        let translated = "-g 203.0.113.9:80 -q 198.51.100.1 ";
        assert!(line.contains(translated), "{line}");
    }
}
