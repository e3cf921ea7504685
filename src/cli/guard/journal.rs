//! The journal of systemd: what a step did as a line with fields, where stdout would lead there.
//!
//! Follows systemd.io/JOURNAL_NATIVE_PROTOCOL: a datagram of `NAME=value` lines.

use std::io::stdout;
use std::os::unix::net::UnixDatagram;

use nix::sys::stat::fstat;

use crate::flow::guard::{Event, What};
use crate::render::guard as render;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Writes it, if systemd gave its journal for stdout; whether it did.
pub(super) fn write(event: &Event) -> bool {
    if !is_stdout() {
        return false;
    }
    let is_bad = matches!(event.what, What::Helpless);
    let message = anstream::adapter::strip_str(&render::line(event, false)).to_string();
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        // A value with more lines would need another form.
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("{name}={value}\n"));
    };
    field("MESSAGE", &message);
    field("PRIORITY", if is_bad { "4" } else { "6" });
    field("SYSLOG_IDENTIFIER", "cttune");
    for (name, value) in render::fields(event) {
        field(&name, &value);
    }
    let socket = UnixDatagram::unbound();
    socket.is_ok_and(|socket| socket.send_to(text.as_bytes(), SOCKET).is_ok())
}

/// Whether stdout is the stream that systemd names.
fn is_stdout() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let stdout = fstat(stdout()).ok();
    let own = stdout.map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    named.is_some() && named == own
}
