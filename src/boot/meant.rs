//! What somebody meant by a key or a value that the kernel does not take.
//!
//! In: a name or a number as people write them. Out: the key or the number, if only one can be meant:
//! `1h` is 3600, an old name is its successor; `1k` may be 1000 or 1024, and `010` is 8 for the
//! kernel.

use crate::tunable::{self, Key, Unit, nearest_name};

/// The key that somebody meant: an old name, other separators, or the nearest name.
pub(super) fn meant_key(name: &str) -> Option<Key> {
    let plain = name.replace(['.', '/', '-'], "_").to_lowercase();
    let start = [
        "nf_conntrack",
        "ip_conntrack",
        "nf_flowtable",
        "nf_contrack",
        "nf_conntrak",
        "conntrack",
    ]
    .iter()
    .find_map(|word| plain.find(word));
    let tail = start.map_or_else(
        || {
            name.rsplit(['.', '/'])
                .next()
                .unwrap_or(name)
                .to_lowercase()
        },
        |at| plain[at..].to_owned(),
    );
    let tail = match tail.strip_prefix("ip_conntrack") {
        Some(rest) => format!("nf_conntrack{rest}"),
        None if tail.starts_with("conntrack") => format!("nf_{tail}"),
        None => tail,
    };
    if matches!(
        tail.as_str(),
        "nf_conntrack_hashsize" | "nf_conntrack_hash_size" | "nf_conntrack_htable_size"
    ) {
        return Some(Key::Buckets);
    }
    let named = |name: &str| Key::ALL.iter().copied().find(|key| key.file_name() == name);
    named(&tail).or_else(|| {
        let all = Key::ALL.iter().map(|key| key.file_name().to_owned());
        named(&nearest_name(&tail, all)?)
    })
}

/// The number that somebody meant by a text that the kernel does not take, or that it does.
pub(super) fn meant_value(key: Key, text: &str) -> Option<i64> {
    let text = text.trim().trim_matches(['"', '\'', '`']).trim();
    let text = text.split(['#', ';']).next().unwrap_or_default();
    let text = text.trim_end_matches([',', ' ', '\t']);
    let number = plain_number(text)
        .or_else(|| tunable::kernel_number(key, text))
        .or_else(|| {
            (key.tunable().unit == Unit::Switch)
                .then(|| switch(text))
                .flatten()
        })
        .or_else(|| key.is_time().then(|| seconds(text)).flatten())
        .or_else(|| {
            (key.tunable().unit == Unit::Bytes)
                .then(|| bytes_of(text))
                .flatten()
        });
    number.filter(|number| key.tunable().range.contains(number))
}

/// `1_048_576`, `1,048,576`, `+60`, `60.0`, `6e+01`.
fn plain_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let groups: Vec<&str> = digits.split(['_', ',', '\'']).collect();
    let (first, others) = groups.split_first()?;
    let are_groups =
        !others.is_empty() && !first.is_empty() && others.iter().all(|group| group.len() == 3);
    let joined = if are_groups || others.is_empty() {
        groups.concat()
    } else {
        return None;
    };
    if joined.starts_with("0x")
        || (joined.len() > 1 && joined.starts_with('0') && !joined.contains('.'))
    {
        let decimal = joined.trim_start_matches('0');
        // The kernel takes 010 for 8: whether 8 or 10 was meant cannot be known.
        return joined
            .contains(['8', '9'])
            .then(|| decimal.parse().ok())
            .flatten();
    }
    if let Ok(number) = joined.parse() {
        return Some(number);
    }
    let looks_like_one = joined.starts_with(|c: char| c.is_ascii_digit());
    let number: f64 = joined.parse().ok().filter(|_| looks_like_one)?;
    #[expect(clippy::cast_possible_truncation)] // it is whole and small
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

fn switch(text: &str) -> Option<i64> {
    match text.to_lowercase().as_str() {
        "on" | "yes" | "true" | "enabled" | "enable" | "y" => Some(1),
        "off" | "no" | "false" | "disabled" | "disable" | "n" => Some(0),
        _ => None,
    }
}

/// `1h`, `2h4m`, `60 sec`, `5 days`.
fn seconds(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .filter(|at| *at > 0)?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = match rest[..end].to_lowercase().as_str() {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
            "d" | "day" | "days" => 86400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = rest[end..].trim_start();
    }
    Some(total)
}

/// `4MiB`: a unit that can only be a power of two.
fn bytes_of(text: &str) -> Option<i64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .filter(|at| *at > 0)?;
    let number: i64 = text[..digits].parse().ok()?;
    let size = match text[digits..].trim() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(size)
}
