//! What the kernel logs about a full table: `nf_conntrack: table full, dropping packet`.
//!
//! In: records of /dev/kmsg, of journalctl, or lines of a kern.log. Out: how many such lines there
//! are for each network namespace, the first and the last.
//! Rule: the line is rate-limited (about ten in five seconds), so it proves drops and does not
//! count them; recent kernels name the namespace by its inode, older ones do not.
//! Follows Documentation/ABI/testing/dev-kmsg and resolve_normal_ct in nf_conntrack_core.c.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

/// Lines that say that a table was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    /// How many.
    pub(crate) number: u64,
    /// When the first was logged.
    pub(crate) first: Timestamp,
    /// When the last was logged.
    pub(crate) last: Timestamp,
}

/// What the kernel log has about full tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KernelLog {
    /// By the inode of the namespace; `None` where the kernel does not name it.
    lines: BTreeMap<Option<u64>, Lines>,
    /// About the table of expectations, of whichever namespace.
    expectations: Option<Lines>,
    /// Whether older records were overwritten, so that there may have been more.
    pub(crate) is_cut: bool,
}

impl KernelLog {
    /// Adds a message that was logged at `time`, if it is about a full table.
    pub(crate) fn add(&mut self, message: &str, time: Timestamp) {
        let none = Lines {
            number: 0,
            first: time,
            last: time,
        };
        let lines = if message.contains("nf_conntrack: expectation table full") {
            self.expectations.get_or_insert(none)
        } else if let Some(netns) = full_table(message) {
            self.lines.entry(netns).or_insert(none)
        } else {
            return;
        };
        lines.number += 1;
        lines.first = lines.first.min(time);
        lines.last = lines.last.max(time);
    }

    /// The lines about the namespace with this inode.
    pub(crate) fn about(&self, inode: u64) -> Option<Lines> {
        self.lines.get(&Some(inode)).copied()
    }

    /// The lines about a table of expectations; they name no namespace.
    pub(crate) fn expectations(&self) -> Option<Lines> {
        self.expectations
    }

    /// The inodes of all namespaces that lines name.
    pub(crate) fn inodes(&self) -> BTreeSet<u64> {
        self.lines.keys().copied().flatten().collect()
    }

    /// The lines of a kernel that names no namespace: they may be about any.
    pub(crate) fn unnamed(&self) -> Option<Lines> {
        self.lines.get(&None).copied()
    }
}

/// The namespace of which a message says that its table is full; `Some(None)` where it names none,
/// `None` where the message is another.
#[allow(clippy::option_option)] // no such message, one without a name, one with
fn full_table(message: &str) -> Option<Option<u64>> {
    let (_, rest) = message.split_once("nf_conntrack: table full")?;
    let (before, _) = rest.split_once(", dropping packet")?;
    match before.strip_prefix(" in netns ") {
        Some(inode) => inode.parse().ok().map(Some),
        None => before.is_empty().then_some(None),
    }
}

/// A record of /dev/kmsg, `prio,sequence,µs,flags;text`: the sequence number, the time since boot
/// and the text.
pub(crate) fn parse_kmsg(record: &str) -> Option<(u64, SignedDuration, &str)> {
    let (head, text) = record.split_once(';')?;
    let mut fields = head.split(',').skip(1);
    let sequence = fields.next()?.parse().ok()?;
    let micros = fields.next()?.parse().ok()?;
    let text = text.lines().next().unwrap_or_default();
    Some((sequence, SignedDuration::from_micros(micros), text))
}

/// A record of `journalctl -o json`: the time and the text. A text that is no UTF-8, which comes as
/// a list of bytes, is another message.
pub(crate) fn parse_journal(record: &str) -> Option<(Timestamp, String)> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    let micros = record.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    let text = record.get("MESSAGE")?.as_str()?;
    Some((Timestamp::from_microsecond(micros).ok()?, text.to_owned()))
}

/// A line that syslog wrote, with the kernel's own time in brackets: the time since boot and the
/// text. The time in front is not asked, since it may name neither year nor time zone.
pub(crate) fn parse_syslog(line: &str) -> Option<(SignedDuration, &str)> {
    let (_, rest) = line.split_once(" kernel: [")?;
    let (time, text) = rest.split_once("] ")?;
    let (seconds, micros) = time.trim().split_once('.')?;
    let since_boot = SignedDuration::from_secs(seconds.parse().ok()?)
        .checked_add(SignedDuration::from_micros(micros.parse().ok()?))?;
    Some((since_boot, text))
}

/// Whether this is the first message of a boot.
pub(crate) fn begins_a_boot(message: &str) -> bool {
    message.starts_with("Linux version ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lines_about_expectations_are_counted_apart() {
        let mut log = KernelLog::default();
        let time = at("2026-01-01T00:00:03Z");
        log.add("nf_conntrack: expectation table full", time);
        log.add("nf_conntrack: nf_conntrack: expectation table full", time);
        assert_eq!(log.expectations().map(|lines| lines.number), Some(2));
        assert_eq!(log.unnamed(), None);
    }

    #[test]
    fn lines_are_counted_for_the_namespace_that_they_name() {
        let mut log = KernelLog::default();
        let [first, second, third] = [
            "2026-01-01T00:00:03Z",
            "2026-01-01T00:00:01Z",
            "2026-01-01T00:00:02Z",
        ]
        .map(at);
        log.add(
            "nf_conntrack: table full in netns 4026531840, dropping packet",
            first,
        );
        log.add(
            "nf_conntrack: nf_conntrack: table full in netns 4026531840, dropping packet",
            second,
        );
        log.add(
            "nf_conntrack: table full in netns 17, dropping packet",
            third,
        );
        let lines = Lines {
            number: 2,
            first: second,
            last: first,
        };
        assert_eq!(log.about(4_026_531_840), Some(lines));
        assert_eq!(log.about(17).map(|lines| lines.number), Some(1));
        assert_eq!(log.about(18), None);
        assert_eq!(log.unnamed(), None);
    }

    #[test]
    fn an_older_kernel_names_no_namespace() {
        let mut log = KernelLog::default();
        log.add(
            "nf_conntrack: table full, dropping packet",
            Timestamp::UNIX_EPOCH,
        );
        log.add(
            "nf_conntrack: nf_conntrack: table full, dropping packet",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(log.unnamed().map(|lines| lines.number), Some(2));
        assert_eq!(log.about(0), None);
    }

    #[test]
    fn other_messages_are_not_counted() {
        let mut log = KernelLog::default();
        for message in [
            "nf_conntrack: default automatic helper assignment has been turned off",
            "nf_conntrack: table full in netns x, dropping packet",
            "nf_conntrack: table fuller, dropping packet",
            "",
        ] {
            log.add(message, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(log, KernelLog::default());
    }

    #[test]
    fn records_of_each_source_are_read() {
        let kmsg = "4,1234,5678901,-;nf_conntrack: table full, dropping packet\n SUBSYSTEM=net\n";
        assert_eq!(
            parse_kmsg(kmsg),
            Some((
                1234,
                SignedDuration::from_micros(5_678_901),
                "nf_conntrack: table full, dropping packet"
            ))
        );
        let journal = r#"{"__REALTIME_TIMESTAMP":"1767225600000000","MESSAGE":"a b"}"#;
        assert_eq!(
            parse_journal(journal),
            Some((at("2026-01-01T00:00:00Z"), "a b".to_owned()))
        );
        for line in [
            "2026-01-02T11:00:00.5+01:00 fw kernel: [   12.000500] x: y] z",
            "Jan  2 11:59:59 fw kernel: [   12.000500] x: y] z",
        ] {
            let parsed = Some((SignedDuration::from_micros(12_000_500), "x: y] z"));
            assert_eq!(parse_syslog(line), parsed, "{line}");
        }
        for broken in ["", "4,x,5,-;a", "4,1,2", "{", "{}"] {
            assert_eq!(parse_kmsg(broken), None, "{broken}");
            assert_eq!(parse_journal(broken), None, "{broken}");
            assert_eq!(
                parse_syslog(&format!("a kernel: [{broken}")),
                None,
                "{broken}"
            );
        }
    }
}
