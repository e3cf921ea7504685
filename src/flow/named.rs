//! A group of `top` as the terms that select it, for `--match`.

use super::{Column, Field, Value};

/// `proto=tcp,dst=192.0.2.1`; none where terms would select other flows than those of the group.
pub(crate) fn terms_of(columns: &[Column], values: &[Value]) -> Option<String> {
    let protocol = columns.iter().any(|column| column.field == Field::Proto);
    let mut terms = Vec::new();
    for (column, value) in columns.iter().zip(values) {
        let name = column.field.name();
        match (column.field, value) {
            // The protocol says already that there is none.
            (Field::State | Field::Sport | Field::Dport, Value::Absent) if protocol => {}
            (Field::State, Value::Absent) => terms.push("proto!=tcp".to_owned()),
            // Services, labels and the other bits of a status have no term that is true of these
            // flows alone.
            (_, Value::Absent | Value::Status(_) | Value::Labels(_) | Value::Service(_)) => {
                return None;
            }
            // Established may be of SCTP too.
            (Field::State, _) if !protocol => terms.push(format!("proto=tcp,{name}={value}")),
            _ => terms.push(format!("{name}={value}")),
        }
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::field::Facts;
    use crate::flow::{Flow, Prefixes, Selection, Terms};

    #[test]
    fn a_flow_is_selected_by_the_terms_of_its_own_group() {
        let column = |field| Column {
            field,
            prefixes: Prefixes::USUAL,
        };
        for bytes in [TCP, UDP] {
            let flow = Flow::parse(bytes).unwrap();
            let facts = Facts::from(&flow);
            for fields in [
                &[Field::Src][..],
                &[Field::Proto, Field::State, Field::Dst, Field::Dport],
                &[Field::State],
                &[Field::Family, Field::ReplySrc, Field::ReplyDst],
                &[Field::Sport, Field::Zone, Field::Mark],
            ] {
                let columns: Vec<Column> = fields.iter().copied().map(column).collect();
                let values: Vec<Value> = columns.iter().map(|one| one.of(&facts)).collect();
                let text = terms_of(&columns, &values).unwrap();
                let selection = Selection {
                    matching: vec![Terms::parse(&text).unwrap()],
                    keep: Vec::new(),
                };
                assert!(selection.matches(&flow), "{text}");
            }
        }
    }

    #[test]
    fn what_no_term_can_tell_has_none() {
        let whole = |fields: &[Field]| -> Vec<Column> {
            fields.iter().copied().map(Column::whole).collect()
        };
        for (fields, values, terms) in [
            (&[Field::Dport][..], &[Value::Absent][..], None),
            (&[Field::Helper], &[Value::Absent], None),
            (&[Field::Status], &[Value::Status(8)], None),
            (&[Field::State], &[Value::Absent], Some("proto!=tcp")),
            (&[], &[], None),
        ] {
            assert_eq!(terms_of(&whole(fields), values).as_deref(), terms);
        }
    }
}
