//! What a value may look like: times, bytes, counts and switches, in a profile and in `--set`.
//!
//! Help names a number only where it is the one that was meant: `10k` may be 10,000 or 10,240, so
//! both are named.

use std::ops::RangeInclusive;

use super::Wrong;
use crate::tunable::{self, Key, Unit, format_bytes, format_seconds};

/// A value as it was written, before it is known what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// `None` for one that no 64 bits hold.
    Integer(Option<i64>),
    Fraction(&'a str),
    /// Text in quotes, or what `--set` was given beside a number or a truth.
    Text(&'a str),
    Truth(bool),
    /// Anything else, and what TOML calls it.
    Other(&'static str),
}

/// The number that `key` will have in the kernel.
pub(super) fn for_key(key: Key, written: Written<'_>) -> Result<i64, Wrong> {
    let unit = key.tunable().unit;
    let number = tunable::as_held(key, number(unit, written)?);
    let first = *key.tunable().range.start();
    in_range(unit, number, first..=tunable::largest(key))
}

/// A number of this unit that lies in the range.
pub(super) fn within(
    unit: Unit,
    written: Written<'_>,
    range: RangeInclusive<i64>,
) -> Result<i64, Wrong> {
    in_range(unit, number(unit, written)?, range)
}

fn in_range(unit: Unit, number: i64, range: RangeInclusive<i64>) -> Result<i64, Wrong> {
    if range.contains(&number) {
        return Ok(number);
    }
    let spoken = |number: i64| match unit {
        Unit::Seconds => format!("{} ({number} s)", format_seconds(number)),
        Unit::Bytes => format_bytes(number),
        Unit::Count | Unit::Switch => number.to_string(),
    };
    let (first, last) = range.into_inner();
    let allowed = match last {
        i64::MAX => format!("at least {}", spoken(first)),
        _ => format!("allowed: {} to {}", spoken(first), spoken(last)),
    };
    let wrong = match (unit, number) {
        (Unit::Switch, _) => return Err(neither()),
        (Unit::Seconds, 0) => Wrong::new("a timeout of zero", "expires at the next packet"),
        (_, ..0) => Wrong::new("a negative value", "below zero"),
        _ => Wrong::new("out of range", format!("{number} is not allowed here")),
    };
    Err(wrong.help(allowed))
}

/// The number that was written, whatever its size.
fn number(unit: Unit, written: Written<'_>) -> Result<i64, Wrong> {
    let (title, label) = match (unit, written) {
        (_, Written::Integer(number)) => return number.ok_or_else(too_large),
        (Unit::Switch, Written::Truth(on)) => return Ok(on.into()),
        (_, Written::Text(text)) => return from_text(unit, text),
        (_, Written::Truth(_)) => (format!("true or false for {}", noun(unit)), "not a switch"),
        (_, Written::Fraction(text)) => return Err(fraction(unit, text)),
        (_, Written::Other(what)) => (format!("expected {}", noun(unit)), what),
    };
    Err(Wrong::new(title, label).help(example(unit)))
}

fn neither() -> Wrong {
    Wrong::new("a switch is on or off", "neither").help(example(Unit::Switch))
}

fn noun(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "a time",
        Unit::Count => "a count",
        Unit::Bytes => "a number of bytes",
        Unit::Switch => "a switch",
    }
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "write whole seconds, such as 600, or groups, such as 2h4m",
        Unit::Count => "write a whole number, such as 1048576",
        Unit::Bytes => "write whole bytes, such as 4194304, or 4MiB",
        Unit::Switch => "write true or false, or 1 or 0",
    }
}

fn too_large() -> Wrong {
    Wrong::new("out of range", "no kernel takes a number that large")
}

/// `1e6` is a whole number that TOML takes for a fraction.
fn fraction(unit: Unit, text: &str) -> Wrong {
    let title = format!("a fraction for {}", noun(unit));
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| text.contains(['e', 'E']) && number.fract() == 0.0 && number.abs() < 1e15);
    let help = number.map_or_else(
        || example(unit).to_owned(),
        |number| format!("write {number}"),
    );
    Wrong::new(title, "not a whole number").help(help)
}

/// The digits at the start, and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn from_text(unit: Unit, text: &str) -> Result<i64, Wrong> {
    let (digits, rest) = split_digits(text);
    if text.trim().is_empty() {
        return Err(Wrong::new("an empty value", "nothing here").help(example(unit)));
    }
    if text.starts_with('-') {
        return Err(Wrong::new("a negative value", "below zero").help(example(unit)));
    }
    if rest.is_empty() && (unit != Unit::Switch || matches!(text, "0" | "1")) {
        // 010 is 8 for the kernel and 10 for most people.
        let is_plain = digits == "0" || !digits.starts_with('0');
        let help = match unit {
            _ if !is_plain => example(unit).to_owned(),
            Unit::Seconds => format!("write {text} or \"{text}s\""),
            _ => format!("write {text}"),
        };
        return Err(Wrong::new("a number in quotes", "this is text").help(help));
    }
    if text.contains('.') {
        return Err(fraction(unit, text));
    }
    match unit {
        Unit::Seconds => seconds(text),
        Unit::Bytes => bytes(text),
        Unit::Count => Err(count(text)),
        Unit::Switch => {
            let help = match text {
                "true" | "on" | "yes" | "enabled" => "write true",
                "false" | "off" | "no" | "disabled" => "write false",
                _ => return Err(neither()),
            };
            Err(Wrong::new("a word for a switch", "this is text").help(help))
        }
    }
}

/// Why a text is no count: a unit that counts do not have, or no number at all.
fn count(text: &str) -> Wrong {
    let (digits, unit) = split_digits(text);
    if digits.is_empty() {
        return Wrong::new("expected a count", "not a number").help(example(Unit::Count));
    }
    let groups: Vec<&str> = text.split([',', '_', '\'', ' ']).collect();
    let is_group = |group: &&str| group.len() == 3 && split_digits(group).1.is_empty();
    if digits.len() <= 3 && groups.len() > 1 && groups.iter().skip(1).all(is_group) {
        return Wrong::new("a number in groups", "this is text")
            .help(format!("write {}", groups.concat()));
    }
    let number = digits.parse::<i64>().ok();
    let times = |size| number.and_then(|number| number.checked_mul(size));
    let help = match (
        byte_unit(unit).filter(|_| unit.len() == 1),
        text.parse::<f64>(),
    ) {
        (Some((_, two, power)), _) => match (times(1000_i64.pow(power)), times(two)) {
            (Some(ten), Some(two)) => format!("write {ten}, or {two} for binary units"),
            _ => return too_large(),
        },
        (None, Ok(number)) if number.fract() == 0.0 && number < 1e15 => format!("write {number}"),
        _ => "write all its digits".to_owned(),
    };
    let title = if time_unit(unit).is_some() || seconds(text).is_ok() {
        "a time for a count"
    } else if byte_unit(unit).is_some() || bytes(text).is_ok() {
        "bytes for a count"
    } else {
        "a unit on a count"
    };
    Wrong::new(title, "counts have no unit")
        .help(help)
        .part(digits.len()..text.len())
}

const TIME_UNITS: [(&str, i64); 4] = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)];

/// What somebody who wrote this unit of time meant, as cttune writes it. `M` may mean months.
fn time_unit(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => "d",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "m" if unit == "m" => "m",
        "min" | "mins" | "minute" | "minutes" => "m",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        _ => return None,
    })
}

/// Seconds of descending groups: `2h4m`.
fn seconds(text: &str) -> Result<i64, Wrong> {
    let (mut total, mut smallest, mut at) = (0_i64, i64::MAX, 0);
    while let Some(left) = text.get(at..).filter(|left| !left.is_empty()) {
        let (number, rest) = split_digits(left);
        let mut units = rest.split(|c: char| c.is_ascii_digit());
        let unit = units.next().unwrap_or_default();
        let behind = at + number.len();
        let group = at..behind + unit.len();
        if number.is_empty() {
            let wrong = Wrong::new("not a time", "a number must come first");
            return Err(wrong.help(example(Unit::Seconds)));
        }
        if unit.trim() != unit {
            let joined: String = text.split_whitespace().collect();
            let help = match seconds(&joined) {
                Ok(_) => format!("write {joined}"),
                Err(_) => example(Unit::Seconds).to_owned(),
            };
            let wrong = Wrong::new("a blank inside a time", "no blanks here").help(help);
            return Err(wrong.part(behind..group.end));
        }
        let start = if unit.is_empty() { at } else { behind };
        let size = size_of_group(number, unit).map_err(|wrong| wrong.part(start..group.end))?;
        if size >= smallest {
            return Err(Wrong::new("groups of a time must descend", "this group")
                .help("write each unit once and the larger one first, such as 2h4m")
                .part(group));
        }
        smallest = size;
        let number = number.parse::<i64>().ok();
        total = number
            .and_then(|number| number.checked_mul(size)?.checked_add(total))
            .ok_or_else(too_large)?;
        at = group.end;
    }
    Ok(total)
}

/// Seconds in one of this unit.
fn size_of_group(number: &str, unit: &str) -> Result<i64, Wrong> {
    if let Some((_, size)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) {
        return Ok(*size);
    }
    if unit.is_empty() {
        // After hours, minutes are meant as often as seconds.
        let label = "days, hours, minutes or seconds?";
        let wrong = Wrong::new("the last number has no unit", label);
        return Err(wrong.help("write its unit behind it: d, h, m or s"));
    }
    let wrong = Wrong::new(
        format!("no unit of time is called `{unit}`"),
        "unknown unit",
    );
    Err(match (unit, time_unit(unit)) {
        ("ms" | "us" | "ns" | "msec" | "usec", _) => {
            wrong.help("the kernel counts whole seconds only")
        }
        ("w" | "week" | "weeks", _) => match number.parse::<i64>().unwrap_or(0).checked_mul(7) {
            Some(days) if days > 0 => wrong.help(format!("write {days}d")),
            _ => wrong.help("write days"),
        },
        (_, Some(meant)) => wrong.help(format!("write {number}{meant}")),
        _ if byte_unit(unit).is_some() => {
            Wrong::new("bytes for a time", "not a unit of time").help(example(Unit::Seconds))
        }
        _ => wrong.help("units are d, h, m and s"),
    })
}

const BYTE_UNITS: [(&str, i64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The unit that this one may mean, and its power of a thousand, which it may mean as well.
fn byte_unit(unit: &str) -> Option<(&'static str, i64, u32)> {
    let place = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 0,
        "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 2,
        _ => return None,
    };
    let (name, size) = BYTE_UNITS.get(place)?;
    Some((name, *size, u32::try_from(place).ok()? + 1))
}

/// Bytes of one number and its unit: `8MiB`.
fn bytes(text: &str) -> Result<i64, Wrong> {
    let (number, unit) = split_digits(text);
    if number.is_empty() {
        let wrong = Wrong::new("not a number of bytes", "a number must come first");
        return Err(wrong.help(example(Unit::Bytes)));
    }
    let value = number.parse::<i64>().ok();
    let times = |size| value.and_then(|value| value.checked_mul(size));
    if let Some((_, size)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) {
        return times(*size).ok_or_else(too_large);
    }
    let wrong = Wrong::new(
        format!("no unit of bytes is called `{unit}`"),
        "unknown unit",
    );
    let wrong = match byte_unit(unit.trim()) {
        _ if unit.eq_ignore_ascii_case("b") => {
            wrong.help(format!("write {number}: bytes have no unit"))
        }
        Some((meant, ..)) if unit.trim().eq_ignore_ascii_case(meant) => {
            wrong.help(format!("write {number}{meant}"))
        }
        Some((meant, size, power)) => match (times(size), times(1000_i64.pow(power))) {
            (Some(two), Some(ten)) => {
                wrong.help(format!("write {number}{meant} for {two} bytes, or {ten}"))
            }
            _ => too_large(),
        },
        None if time_unit(unit).is_some() => {
            Wrong::new("a time for a number of bytes", "not a unit of bytes")
                .help(example(Unit::Bytes))
        }
        None => wrong.help("units are KiB, MiB and GiB"),
    };
    Err(wrong.part(number.len()..text.len()))
}

/// Reads the unquoted form of `--set KEY=VALUE`; digits may be grouped by `_`, as in TOML.
pub(super) fn unquoted(text: &str) -> Written<'_> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    match text {
        "true" => Written::Truth(true),
        "false" => Written::Truth(false),
        _ if is_number => Written::Integer(text.replace('_', "").parse().ok()),
        _ => Written::Text(text),
    }
}

/// Seconds as the command line takes them: `90`, `90s`, `2m`; a second at least, a day at most.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let read = within(Unit::Seconds, unquoted(text), 1..=86400);
    read.map_err(|wrong| wrong.title.replace("timeout", "time"))
}

/// The seconds of a conntrack timeout as the command line takes them: `5d`, `2h4m`, `432000`.
pub(crate) fn parse_timeout(text: &str) -> Result<i64, String> {
    let range = Key::TcpTimeoutEstablished.tunable().range.clone();
    within(Unit::Seconds, unquoted(text), range).map_err(|wrong| wrong.title)
}

/// A value as a profile writes it: `"2h4m"` with its quotes, `"4MiB"`, `true`, `1048576`.
pub(crate) fn render_value(key: Key, value: i64) -> String {
    match key.tunable().unit {
        Unit::Seconds => format!("\"{}\"", format_seconds(value)),
        Unit::Bytes if value % 1024 == 0 && value > 0 => format!("\"{}\"", format_bytes(value)),
        Unit::Switch => (value != 0).to_string(),
        Unit::Bytes | Unit::Count => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Key = Key::UdpTimeout;
    const BYTES: Key = Key::Frag6HighThresh;
    const COUNT: Key = Key::Max;
    const SWITCH: Key = Key::Acct;

    #[test]
    fn what_is_meant_is_read() {
        for (key, written, value) in [
            (TIME, Written::Integer(Some(600)), 600),
            (TIME, Written::Text("2h4m"), 7440),
            (TIME, Written::Text("5d"), 432_000),
            (TIME, Written::Text("90m"), 5400),
            (TIME, Written::Text("1d1h1m1s"), 90_061),
            (BYTES, Written::Text("4MiB"), 4 << 20),
            (BYTES, Written::Integer(Some(7)), 7),
            (COUNT, Written::Integer(Some(7)), 7),
            (SWITCH, Written::Truth(true), 1),
            (SWITCH, Written::Integer(Some(0)), 0),
            (Key::Buckets, Written::Integer(Some(513)), 1024),
        ] {
            assert_eq!(for_key(key, written), Ok(value), "{key} {written:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        use Written::{Fraction, Integer, Other, Text, Truth};
        for (key, written, title, help) in [
            (
                TIME,
                Text("10"),
                "a number in quotes",
                "write 10 or \"10s\"",
            ),
            (
                TIME,
                Text("10min"),
                "no unit of time is called `min`",
                "write 10m",
            ),
            (
                TIME,
                Text("2hours"),
                "no unit of time is called `hours`",
                "write 2h",
            ),
            (
                TIME,
                Text("2H"),
                "no unit of time is called `H`",
                "write 2h",
            ),
            (
                TIME,
                Text("500ms"),
                "no unit of time is called `ms`",
                "whole seconds only",
            ),
            (
                TIME,
                Text("1w"),
                "no unit of time is called `w`",
                "write 7d",
            ),
            (TIME, Text("3M"), "bytes for a time", "such as 600"),
            (
                TIME,
                Text("3x"),
                "no unit of time is called `x`",
                "d, h, m and s",
            ),
            (
                TIME,
                Text("2h4"),
                "the last number has no unit",
                "d, h, m or s",
            ),
            (
                TIME,
                Text("4m2h"),
                "groups of a time must descend",
                "larger one first",
            ),
            (TIME, Text("4m2m"), "groups of a time must descend", "once"),
            (TIME, Text("2h 30m"), "a blank inside a time", "write 2h30m"),
            (TIME, Text("2h 3x"), "a blank inside a time", "such as 600"),
            (TIME, Text("1.5h"), "a fraction for a time", "2h4m"),
            (TIME, Fraction("1.5"), "a fraction for a time", "2h4m"),
            (
                COUNT,
                Fraction("1e6"),
                "a fraction for a count",
                "write 1000000",
            ),
            (
                COUNT,
                Fraction("1.5e0"),
                "a fraction for a count",
                "1048576",
            ),
            (TIME, Text("-5s"), "a negative value", "whole seconds"),
            (
                TIME,
                Integer(Some(-5)),
                "a negative value",
                "allowed: 1s (1 s)",
            ),
            (TIME, Integer(Some(0)), "a timeout of zero", "allowed: 1s"),
            (TIME, Text("0s"), "a timeout of zero", "allowed: 1s"),
            (
                TIME,
                Integer(Some(30_000_000)),
                "out of range",
                "to 248d13h13m56s (21474836 s)",
            ),
            (TIME, Text("99999999999999999999d"), "out of range", ""),
            (TIME, Text("8MiB"), "bytes for a time", "2h4m"),
            (TIME, Text("soon"), "not a time", "2h4m"),
            (TIME, Text(""), "an empty value", "2h4m"),
            (TIME, Truth(true), "true or false for a time", "2h4m"),
            (TIME, Other("array"), "expected a time", "2h4m"),
            (BYTES, Text("10"), "a number in quotes", "write 10"),
            (
                BYTES,
                Text("8MB"),
                "no unit of bytes is called `MB`",
                "write 8MiB",
            ),
            (
                BYTES,
                Text("8M"),
                "no unit of bytes is called `M`",
                "write 8MiB for 8388608 bytes, or 8000000",
            ),
            (
                BYTES,
                Text("8mib"),
                "no unit of bytes is called `mib`",
                "write 8MiB",
            ),
            (
                BYTES,
                Text("8B"),
                "no unit of bytes is called `B`",
                "write 8",
            ),
            (BYTES, Text("8s"), "a time for a number of bytes", "4MiB"),
            (BYTES, Text("99999999999GiB"), "out of range", ""),
            (BYTES, Integer(Some(0)), "out of range", "at least 1"),
            (COUNT, Text("10"), "a number in quotes", "write 10"),
            (
                COUNT,
                Text("10s"),
                "a time for a count",
                "write all its digits",
            ),
            (
                COUNT,
                Text("10k"),
                "bytes for a count",
                "write 10000, or 10240 for binary units",
            ),
            (
                COUNT,
                Text("2M"),
                "bytes for a count",
                "write 2000000, or 2097152 for binary units",
            ),
            (COUNT, Text("1e6"), "a unit on a count", "write 1000000"),
            (COUNT, Text("99999999999999G"), "out of range", ""),
            (
                COUNT,
                Text("1,048,576"),
                "a number in groups",
                "write 1048576",
            ),
            (COUNT, Text("1_000"), "a number in groups", "write 1000"),
            (COUNT, Text("010"), "a number in quotes", "such as 1048576"),
            (
                COUNT,
                Text("2h4m"),
                "a time for a count",
                "write all its digits",
            ),
            (
                COUNT,
                Text("8MiB"),
                "bytes for a count",
                "write all its digits",
            ),
            (COUNT, Text("many"), "expected a count", "1048576"),
            (COUNT, Truth(true), "true or false for a count", "1048576"),
            (
                COUNT,
                Integer(Some(1 << 40)),
                "out of range",
                "1 to 2147483647",
            ),
            (COUNT, Integer(None), "out of range", ""),
            (
                Key::TcpMaxRetrans,
                Integer(Some(300)),
                "out of range",
                "0 to 255",
            ),
            (
                Key::Buckets,
                Integer(Some(i64::from(i32::MAX))),
                "out of range",
                "to 2147483136",
            ),
            (SWITCH, Integer(Some(2)), "a switch is on or off", "1 or 0"),
            (SWITCH, Text("on"), "a word for a switch", "write true"),
            (SWITCH, Text("10"), "a switch is on or off", "1 or 0"),
            (SWITCH, Text("1"), "a number in quotes", "write 1"),
        ] {
            let wrong = for_key(key, written).unwrap_err();
            assert_eq!(wrong.title, title, "{key} {written:?}");
            let said = wrong.help.unwrap_or_default();
            assert!(said.contains(help), "{key} {written:?}: {said}");
        }
    }

    #[test]
    fn digits_may_be_grouped_outside_quotes() {
        for (text, written) in [
            ("1_000_000", Written::Integer(Some(1_000_000))),
            ("-2_0", Written::Integer(Some(-20))),
            ("7", Written::Integer(Some(7))),
            ("_7", Written::Text("_7")),
            ("7__0", Written::Text("7__0")),
            ("7_", Written::Text("7_")),
            ("", Written::Text("")),
        ] {
            assert_eq!(unquoted(text), written, "{text}");
        }
    }

    #[test]
    fn the_part_that_is_wrong_is_pointed_at() {
        for (text, part) in [
            ("5h10min", "min"),
            ("2h4", "4"),
            ("4m2h", "2h"),
            ("2h 4m", "h "),
        ] {
            let wrong = for_key(TIME, Written::Text(text)).unwrap_err();
            assert_eq!(wrong.part.map(|part| &text[part]), Some(part), "{text}");
        }
    }

    proptest! {
        #[test]
        fn rendering_a_value_and_reading_it_is_identity(
            key in proptest::sample::select(Key::ALL), raw in any::<u32>(), small in 0..400_i64
        ) {
            for raw in [i64::from(raw), small] {
                let range = &key.tunable().range;
                let value = tunable::as_held(key, raw.clamp(*range.start(), range.end() - 511.min(range.end() - range.start())));
                let text = render_value(key, value);
                let bare = text.trim_matches('"');
                prop_assert_eq!(for_key(key, unquoted(bare)), Ok(value), "{}", text);
            }
        }

        #[test]
        fn no_text_panics(key in proptest::sample::select(Key::ALL), text in ".{0,12}|[0-9dhmsKMGiB. -]{0,12}") {
            if let Err(wrong) = for_key(key, unquoted(&text)) && let Some(part) = wrong.part {
                prop_assert!(text.get(part).is_some());
            }
        }
    }
}
