//! Numbers as the kernel's sysctl parser takes them and as people read them.

use super::{Key, Unit};

/// What the kernel makes of `text` written to `key`, or `None` where it answers EINVAL.
///
/// Leading blanks are skipped, `0x10` is 16, `010` is 8, what follows the first number after a
/// blank or a NUL is ignored; `7x`, `+5` and a number outside the key's range are refused.
/// An empty write is accepted and changes nothing: it gives `None` too.
/// Follows `proc_get_long` in kernel/sysctl.c; tried on 6.18.
pub(crate) fn kernel_number(key: Key, text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', next, ..] if next.is_ascii_hexdigit() => (16, digits.get(2..)?),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // The kernel looks at 21 characters and takes a number that fills them for a longer one.
    if text.len() - rest.len() >= 21 {
        return None;
    }
    if !matches!(rest.chars().next(), None | Some(' ' | '\t' | '\n' | '\0')) {
        return None;
    }
    if negative && !takes_a_sign(key) {
        return None;
    }
    let magnitude = i64::from_str_radix(digits, radix).ok()?;
    let number = if negative { -magnitude } else { magnitude };
    key.tunable()
        .kernel_range
        .contains(&number)
        .then_some(number)
}

/// Whether the kernel reads a signed number here. Switches and levels are bytes and the fragment
/// thresholds unsigned longs, which refuse even `-0`; tried on 6.18.
fn takes_a_sign(key: Key) -> bool {
    key.is_time() || matches!(key, Key::Max | Key::ExpectMax | Key::Buckets)
}

/// Seconds as people say them: `2h4m`, `5d`, `45s`. The inverse of what a profile accepts.
pub(crate) fn format_seconds(seconds: i64) -> String {
    if seconds <= 0 {
        return format!("{seconds}s");
    }
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, size) in [('d', 86400), ('h', 3600), ('m', 60), ('s', 1)] {
        let whole = rest / size;
        rest %= size;
        if whole > 0 {
            text.push_str(&format!("{whole}{unit}"));
        }
    }
    text
}

/// Bytes as people say them, exact: `4MiB`, `3145728`→`3MiB`, `1000`.
pub(crate) fn format_bytes(bytes: i64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes % size == 0 {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

/// Bytes for a sentence, rounded: `392 MiB`, `1.5 GiB`.
pub(crate) fn format_size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // rounded anyway
    let of = |size: u64| bytes as f64 / size as f64;
    match bytes {
        0x4000_0000.. => format!("{:.1} GiB", of(1 << 30)).replace(".0 ", " "),
        0x10_0000.. => format!("{:.0} MiB", of(1 << 20)),
        _ => format!("{:.0} KiB", of(1 << 10)),
    }
}

/// A count for a sentence: `76,768`. One past what an `i64` holds is shown as the largest.
pub(crate) fn format_count(number: impl TryInto<i64>) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 flow`, `3,000 flows`. The noun makes its plural with an `s`.
pub(crate) fn plural(number: impl TryInto<i64>, noun: &str) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", format_count(number))
}

/// A share of one as a percentage, rounded half up to one decimal; what is not nothing is never
/// `0.0 %`.
pub(crate) fn format_share(share: f64) -> String {
    let tenths = (share * 1000.0 + 0.5 + 1e-9).floor();
    if tenths < 1.0 && share > 0.0 {
        return "<0.1 %".to_owned();
    }
    format!("{:.1} %", tenths / 10.0)
}

/// Seconds by their two largest units, rounded to the smaller one: `2d12h`, `59m29s`.
pub(crate) fn format_rounded_seconds(seconds: u32) -> String {
    let step = match seconds {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    format_seconds(i64::from(seconds.saturating_add(step / 2) / step * step))
}

impl Key {
    /// A value of this key for people: `30s`, `2h4m`, `4MiB`, `76,800`.
    pub(crate) fn said(self, value: i64) -> String {
        match self.tunable().unit {
            Unit::Seconds => format_seconds(value),
            Unit::Bytes => format_bytes(value),
            Unit::Count | Unit::Switch => format_count(value),
        }
    }

    /// A value of this key as people say it, where that differs from the bare number.
    pub(crate) fn spoken(self, value: i64) -> Option<String> {
        let spoken = match self.tunable().unit {
            Unit::Seconds if value >= 60 => format_seconds(value),
            Unit::Bytes => format_bytes(value),
            Unit::Seconds | Unit::Count | Unit::Switch => return None,
        };
        (spoken != value.to_string()).then_some(spoken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_parser() {
        let max = |text| kernel_number(Key::Max, text);
        for (text, number) in [
            ("600", Some(600)),
            ("  600", Some(600)),
            ("600 # x", Some(600)),
            ("7 8", Some(7)),
            ("010", Some(8)),
            ("0x20", Some(32)),
            ("0", Some(0)),
            ("12# x", None),
            ("7x", None),
            ("+5", None),
            ("-1", None),
            ("", None),
            ("x", None),
            ("08", None),
            ("2147483648", None),
            ("99999999999999999999", None),
            ("00000000000000000007", Some(7)),
            ("000000000000000000007", None),
        ] {
            assert_eq!(max(text), number, "{text:?}");
        }
        assert_eq!(kernel_number(Key::UdpTimeout, "-5"), Some(-5));
        assert_eq!(kernel_number(Key::Acct, "2"), None);
        assert_eq!(kernel_number(Key::Acct, "-0"), None);
        assert_eq!(kernel_number(Key::UdpTimeout, "-0"), Some(0));
    }

    #[test]
    fn things_are_counted_in_the_right_number() {
        for (number, text) in [(0, "0 flows"), (1, "1 flow"), (3000, "3,000 flows")] {
            assert_eq!(plural(number, "flow"), text);
        }
    }

    #[test]
    fn sizes_are_rounded() {
        for (bytes, text) in [
            (1 << 30, "1 GiB"),
            (3 << 29, "1.5 GiB"),
            (411_041_792, "392 MiB"),
            (1000, "1 KiB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (76768, "76,768"),
            (-1_234_567, "-1,234,567"),
        ] {
            assert_eq!(format_count(number), text);
        }
    }

    #[test]
    fn shares_are_rounded_half_up() {
        for (share, text) in [
            (0.0, "0.0 %"),
            (0.000_04, "<0.1 %"),
            (0.000_5, "0.1 %"),
            (0.999_4, "99.9 %"),
            (0.999_58, "100.0 %"),
            (1.0, "100.0 %"),
            (0.29, "29.0 %"),
            (0.290_5, "29.1 %"),
        ] {
            assert_eq!(format_share(share), text);
        }
    }

    #[test]
    fn seconds_are_spoken_in_descending_groups() {
        for (seconds, text) in [
            (0, "0s"),
            (45, "45s"),
            (7440, "2h4m"),
            (432_000, "5d"),
            (90_061, "1d1h1m1s"),
            (-5, "-5s"),
        ] {
            assert_eq!(format_seconds(seconds), text);
        }
    }

    #[test]
    fn long_times_are_rounded() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (3_569, "59m29s"),
            (3_629, "1h"),
            (3_631, "1h1m"),
            (216_013, "2d12h"),
            (u32::MAX, "49710d6h"),
        ] {
            assert_eq!(format_rounded_seconds(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn bytes_are_spoken_exactly() {
        for (bytes, text) in [
            (4_194_304, "4MiB"),
            (1000, "1000"),
            (1536, "1536"),
            (2048, "2KiB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }
}
