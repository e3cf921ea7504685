//! The request for a dump of the table, with the conditions that the kernel checks.

use crate::flow::{Family, Filter, Protocol, cta, cta_filter, cta_proto, cta_tuple};

use super::{Buffer, Head, IPCTNL_MSG_CT_GET, NLM_F_DUMP, NLM_F_REQUEST, SUBSYSTEM};

/// The requests that together bring what the filter wants, one dump after the other.
///
/// One, but for a protocol in either family: the kernel checks protocols within one family alone
/// (0 is EOPNOTSUPP), and walking twice costs a ninth of telling of flows that nobody asked for.
pub(super) fn requests(filter: &Filter) -> Vec<Filter> {
    match (filter.family, filter.protocol) {
        (None, Some(_)) => Family::ALL
            .iter()
            .map(|family| Filter {
                family: Some(*family),
                ..*filter
            })
            .collect(),
        _ => vec![*filter],
    }
}

/// Writes the request for one dump.
pub(super) fn put_request(buffer: &mut Buffer, filter: &Filter) {
    let head = Head {
        kind: SUBSYSTEM | IPCTNL_MSG_CT_GET,
        flags: NLM_F_REQUEST | NLM_F_DUMP,
    };
    buffer.message(head, |message| {
        message.raw(&[filter.family.map_or(0, Family::number), 0, 0, 0]);
        if let Some(mark) = filter.mark {
            message.attribute(cta::MARK, &mark.value.to_be_bytes());
            message.attribute(cta::MARK_MASK, &mark.mask.to_be_bytes());
        }
        if filter.status.mask != 0 {
            message.attribute(cta::STATUS, &filter.status.value.to_be_bytes());
            message.attribute(cta::STATUS_MASK, &filter.status.mask.to_be_bytes());
        }
        if let Some(zone) = filter.zone {
            message.attribute(cta::ZONE, &zone.to_be_bytes());
        }
        if let (Some(_), Some(protocol)) = (filter.family, filter.protocol) {
            put_protocol(message, filter, protocol);
        }
    });
}

/// Writes `CTA_FILTER` and the tuple that it is about (5.8).
fn put_protocol(message: &mut Buffer, filter: &Filter, protocol: Protocol) {
    let mut flags = cta_filter::PROTO_NUMBER;
    message.nested(cta::TUPLE_ORIG, |tuple| {
        tuple.nested(cta_tuple::PROTO, |proto| {
            proto.attribute(cta_proto::NUMBER, &[protocol.0]);
            if !matches!(protocol, Protocol::TCP | Protocol::UDP) {
                return;
            }
            if let Some(port) = filter.source_port {
                flags |= cta_filter::PROTO_SRC_PORT;
                proto.attribute(cta_proto::SRC_PORT, &port.to_be_bytes());
            }
            if let Some(port) = filter.destination_port {
                flags |= cta_filter::PROTO_DST_PORT;
                proto.attribute(cta_proto::DST_PORT, &port.to_be_bytes());
            }
        });
    });
    message.nested(cta::FILTER, |filter| {
        // In the machine's byte order, other than all numbers around them.
        filter.attribute(cta_filter::ORIG_FLAGS, &flags.to_ne_bytes());
        filter.attribute(cta_filter::REPLY_FLAGS, &[0; 4]);
    });
}
