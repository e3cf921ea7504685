//! Reads nft's table `inet cttune` back, as the kernel has it.
//!
//! Rule: everything in it that cttune did not write makes the table somebody else's.
//! Follows linux/netfilter/nf_tables.h; comments are libnftnl's `NFTNL_UDATA_RULE_COMMENT`.

use crate::conntrack::{Attribute, Attributes, Malformed};
use crate::service::{Found, Layer, Listed, NAME, Object, Reading};

use super::listing::{ListError, list, list_of};
use super::policies::CT_TIMEOUT;
use super::rules::text;

/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES` with `NFT_MSG_GETTABLE` and its siblings.
const GET_TABLE: u16 = 0x0a01;
const GET_CHAIN: u16 = 0x0a04;
const GET_RULE: u16 = 0x0a07;
const GET_SET: u16 = 0x0a0a;
const GET_OBJECT: u16 = 0x0a13;
/// `NFT_SET_MAP`.
const MAP: u32 = 8;

/// Reads the table of the calling thread's network namespace.
///
/// Needs `CAP_NET_ADMIN` over it. Where the kernel has no nftables there is no table.
pub(crate) fn read_table() -> Result<Found, ListError> {
    let mut reading = Reading::default();
    let mut is_there = false;
    list(GET_TABLE, |family, attributes| {
        is_there |= family == INET && string(attributes, 1)? == NAME;
        Ok(())
    })?;
    if !is_there {
        return Ok(reading.finish());
    }
    list(GET_CHAIN, |family, attributes| {
        if family == INET && string(attributes.clone(), 1)? == NAME {
            let (hook, priority) = hook(attributes.clone())?;
            reading.chain(&string(attributes, 3)?, hook, priority);
        }
        Ok(())
    })?;
    list(GET_SET, |family, attributes| {
        if family == INET && string(attributes.clone(), 1)? == NAME {
            let flags = find(attributes.clone(), 3)?.map(Attribute::u32);
            let is_map = flags.transpose()?.is_some_and(|flags| flags & MAP != 0);
            let kind = if is_map { "map" } else { "set" };
            reading.set(kind, &string(attributes, 2)?);
        }
        Ok(())
    })?;
    list_of(GET_OBJECT, INET, NAME, |_, attributes| {
        if let Some(object) = object(attributes.clone())? {
            reading.object(object);
        } else {
            let kind = find(attributes.clone(), 3)?.map(Attribute::u32);
            reading.other(kind_of(kind.transpose()?), &string(attributes, 2)?);
        }
        Ok(())
    })?;
    list_of(GET_RULE, INET, NAME, |_, attributes| {
        reading.rule(rule(attributes)?);
        Ok(())
    })?;
    Ok(reading.finish())
}

fn string(attributes: Attributes<'_>, kind: u16) -> Result<String, Malformed> {
    let found = find(attributes, kind)?;
    Ok(found.map(text).unwrap_or_default())
}

fn find(attributes: Attributes<'_>, kind: u16) -> Result<Option<Attribute<'_>>, Malformed> {
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

/// The number of a chain's hook and its priority; none for one that is not hooked.
fn hook(attributes: Attributes<'_>) -> Result<(Option<u32>, i32), Malformed> {
    let Some(hook) = find(attributes, 4)? else {
        return Ok((None, 0));
    };
    let number = |kind| match find(hook.nested(), kind)? {
        Some(attribute) => attribute.u32(),
        None => Ok(0),
    };
    Ok((Some(number(1)?), number(2)?.cast_signed()))
}

/// A timeout policy with every value; none for another kind of object.
fn object(attributes: Attributes<'_>) -> Result<Option<Object>, Malformed> {
    let kind = find(attributes.clone(), 3)?;
    let data = find(attributes.clone(), 4)?;
    let (Some(kind), Some(data)) = (kind, data) else {
        return Ok(None);
    };
    if kind.u32()? != CT_TIMEOUT {
        return Ok(None);
    }
    let protocol = find(data.nested(), 2)?.map(Attribute::byte).transpose()?;
    let mut layers = Layer::ALL.into_iter();
    let layer = layers.find(|layer| Some(layer.protocol().0) == protocol);
    let (Some(protocol), Some(values)) = (layer, find(data.nested(), 3)?) else {
        return Ok(None);
    };
    let mut seconds = vec![0; protocol.states().count()];
    for value in values.nested() {
        let value = value?;
        let place = usize::from(value.kind).checked_sub(1);
        if let Some(place) = place.and_then(|place| seconds.get_mut(place)) {
            *place = value.u32()?;
        }
    }
    let name = string(attributes, 2)?;
    Ok(Some(Object {
        name,
        protocol,
        seconds,
    }))
}

/// What nft calls an object of this number: `NFT_OBJECT_COUNTER` and its siblings.
fn kind_of(number: Option<u32>) -> &'static str {
    match number {
        Some(1) => "counter",
        Some(2) => "quota",
        Some(3) => "ct helper",
        Some(4) => "limit",
        Some(CT_TIMEOUT) => "ct timeout",
        Some(8) => "secmark",
        Some(9) => "ct expectation",
        Some(10) => "synproxy",
        _ => "object",
    }
}

fn rule(attributes: Attributes<'_>) -> Result<Listed, Malformed> {
    let handle = find(attributes.clone(), 3)?.map(Attribute::u64);
    let mut told = Listed {
        chain: string(attributes.clone(), 2)?,
        handle: handle.transpose()?.unwrap_or_default(),
        ..Listed::default()
    };
    if let Some(data) = find(attributes.clone(), 7)? {
        told.comment = comment(data.value);
    }
    let Some(expressions) = find(attributes, 4)? else {
        return Ok(told);
    };
    for expression in expressions.nested() {
        let expression = expression?;
        let name = string(expression.nested(), 1)?;
        let Some(data) = find(expression.nested(), 2)? else {
            continue;
        };
        match name.as_str() {
            "objref" => told.object = string(data.nested(), 2)?,
            "immediate" => {
                let value = find(data.nested(), 2)?;
                let value = value.map(|value| find(value.nested(), 1)).transpose()?;
                told.label = told
                    .label
                    .or(value.flatten().and_then(|value| label(value.value)));
            }
            _ => {}
        }
    }
    Ok(told)
}

/// The comment of a rule: of the records `type, length, value` the one with type 0.
fn comment(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let Some((value, behind)) = rest.split_at_checked(usize::from(*length)) else {
            break;
        };
        if *kind == 0 {
            let text = String::from_utf8_lossy(value);
            return text.trim_end_matches('\0').to_owned();
        }
        data = behind;
    }
    String::new()
}

/// The only label that is set in 128 bits, which the kernel keeps as words.
fn label(bytes: &[u8]) -> Option<u8> {
    let (words, []) = bytes.as_chunks::<8>() else {
        return None;
    };
    let mut set = words.iter().zip([0_u8, 64]).filter_map(|(word, first)| {
        let word = u64::from_ne_bytes(*word);
        let bit = u8::try_from(word.trailing_zeros()).ok()?;
        (word.is_power_of_two() && words.len() == 2).then_some(first + bit)
    });
    set.next().filter(|_| set.next().is_none())
}

/// How many parts of a table the bodies of such messages tell of.
#[cfg(feature = "internals")]
pub(crate) fn table_parts_in(body: &[u8]) -> usize {
    let attributes = Attributes::new(body.get(4..).unwrap_or_default());
    let object = object(attributes.clone()).ok().flatten();
    let hook = hook(attributes.clone()).ok();
    let rule = rule(attributes).ok();
    object.map_or(0, |object| object.seconds.len())
        + usize::from(hook.is_some())
        + rule.map_or(0, |rule| rule.comment.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_the_one_bit_that_is_set() {
        let bits = |first: u64, second: u64| [first.to_ne_bytes(), second.to_ne_bytes()].concat();
        for (bytes, expected) in [
            (bits(1 << 5, 0), Some(5)),
            (bits(0, 1 << 33), Some(97)),
            (bits(1, 1), None),
            (bits(0, 0), None),
            (vec![0, 0, 0, 1], None),
        ] {
            assert_eq!(label(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_comment_is_found_among_other_data() {
        assert_eq!(comment(b"\x01\x02ab\x00\x05dns\x00\x00"), "dns");
        assert_eq!(comment(b"\x00\x09dns"), "");
        assert_eq!(comment(b""), "");
    }
}
