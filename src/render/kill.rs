//! `cttune kill`: the flows that would be ended, and those that were.

use std::path::Path;

use serde::Serialize;

use super::expire::{Act, FlowsNow, flows, kept_line, next, tally_now};
use super::layout::{CELL, HANG, RIGHT, command};
use super::shape::{Named, Schema};
use super::style::{BAD, FAINT, GOOD, HEAD, WARN};
use crate::diagnostic::quoted;
use crate::flow::expire::{Preview, Tally};
use crate::flow::{Group, Top};
use crate::tunable::{format_count, format_share, plural};

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// Of a dry run, what would become of the flows.
    pub(crate) tally: &'a Tally,
    /// Flows that traffic created again at once.
    pub(crate) recreated: u64,
    pub(crate) dry_run: bool,
    pub(crate) saved: Option<&'a Path>,
    pub(crate) preview: &'a Preview,
    /// Entries in the table afterwards; none where it was not read.
    pub(crate) count: Option<i64>,
}

/// What comes before the question: how many, the largest groups, a few of them.
pub(crate) fn preview(preview: &Preview) -> String {
    let selected = preview.tally.selected();
    if preview.tally.examined() == 0 {
        return "no flow matches\n".to_owned();
    }
    if selected == 0 {
        return "no flow would be ended\n".to_owned();
    }
    let mut text = format!("{HEAD}{} would be ended{HEAD:#}\n", flows(selected));
    for group in preview.top.groups.iter().filter(|group| group.flows > 1) {
        let values: Vec<String> = named(&preview.top, group)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.push_str(&format!(
            "{RIGHT}{:>11}{CELL}{RIGHT}{FAINT}{}{FAINT:#}{CELL}{}\n",
            format_count(group.flows),
            format_share(group.share),
            values.join(" "),
        ));
    }
    text.push_str(&format!("{HEAD}for example{HEAD:#}\n"));
    for example in &preview.examples {
        text.push_str(&format!("  {example}\n"));
    }
    text
}

/// The fields of a group that it has a value for.
fn named<'a>(top: &'a Top, group: &'a Group) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let values = top.columns.iter().zip(&group.values);
    let told = values.map(|(column, value)| (column.field.name(), value.to_string()));
    told.filter(|(_, value)| value != "-")
}

/// What was done, or would be.
pub(crate) fn text(parts: Parts<'_>) -> String {
    let tally = parts.tally;
    if parts.dry_run {
        return preview(parts.preview)
            + &super::expire::breakdown(tally)
            + &next(tally, "end them");
    }
    let mut text = format!("{GOOD}ended{GOOD:#} {}", flows(tally.deleted));
    if tally.gone > 0 {
        text.push_str(&format!("; {} ended by themselves", flows(tally.gone)));
    }
    if tally.failed > 0 {
        text.push_str(&format!("; {BAD}{} refused{BAD:#}", flows(tally.failed)));
    }
    text.push_str(&kept_line(tally));
    if parts.recreated > 0 {
        text.push_str(&format!(
            "{WARN}note{WARN:#}: {HANG}traffic created {} again at once; block it first, or it will go on\n",
            flows(parts.recreated)
        ));
    }
    if let Some(path) = parts.saved {
        text.push_str(&format!(
            "to restore them: {HANG}{}\n",
            command(&format!(
                "conntrack -R {}",
                quoted(&path.display().to_string())
            ))
        ));
    }
    if let Some(count) = parts.count {
        text.push_str(&format!("the table holds {}\n", plural(count, "flow")));
    }
    text
}

/// As machines read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Output<'a> {
    schema: Schema,
    #[serde(flatten)]
    flows: FlowsNow,
    /// Flows that traffic created again at once.
    recreated: u64,
    groups: Vec<Ended>,
    examples: &'a [String],
    /// The file for `conntrack -R`.
    saved: Option<String>,
}

/// Flows that have the same in common.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Ended {
    by: Named<String>,
    flows: u64,
    share: f64,
}

pub(crate) fn json(parts: Parts<'_>) -> Output<'_> {
    let Preview { top, examples, .. } = parts.preview;
    let ended = |group: &Group| Ended {
        by: named(top, group).collect(),
        flows: group.flows,
        share: group.share,
    };
    Output {
        schema: Schema,
        flows: tally_now(Act::Kill, parts.tally, parts.dry_run, parts.count),
        recreated: parts.recreated,
        groups: top.groups.iter().map(ended).collect(),
        examples,
        saved: parts.saved.map(|path| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::expire::KeptWhy;
    use crate::flow::{Census, Field, Flow};
    use crate::render::shape::value;

    fn named_flows() -> Preview {
        let mut census = Census::by(&[Field::Proto, Field::Dport]);
        let mut tally = Tally::default();
        for bytes in [TCP, TCP, UDP] {
            census.add(&Flow::parse(bytes).unwrap());
            tally.deleted += 1;
        }
        tally.keep(KeptWhy::SshSession);
        Preview {
            tally,
            top: census.finish(None, 5),
            examples: vec!["tcp 192.168.1.1:1000 > 10.0.0.2:80".to_owned()],
        }
    }

    fn plain(text: &str) -> String {
        crate::render::layout::shown(text, 200)
    }

    #[test]
    fn the_preview_says_how_many_of_what_kind_and_a_few_of_them() {
        let text = plain(&preview(&named_flows()));
        assert!(text.starts_with("3 flows would be ended\n"), "{text}");
        assert!(text.contains("dport=80"), "{text}");
        assert!(text.contains("66.7"), "{text}");
        assert!(
            text.ends_with("for example\n  tcp 192.168.1.1:1000 > 10.0.0.2:80\n"),
            "{text}"
        );
    }

    #[test]
    fn what_was_ended_kept_created_again_and_saved_is_told() {
        let preview = named_flows();
        let parts = Parts {
            tally: &preview.tally,
            recreated: 2,
            dry_run: false,
            saved: Some(Path::new("/run/flows")),
            preview: &preview,
            count: Some(1000),
        };
        assert_eq!(
            plain(&text(parts)),
            "ended 3 flows; kept 1 flow: 1 ssh-session\n\
             note: traffic created 2 flows again at once; block it first, or it will go on\n\
             to restore them: conntrack -R /run/flows\n\
             the table holds 1,000 flows\n"
        );
        let object = value(&json(parts));
        assert_eq!(object["mode"], "kill");
        assert_eq!(
            (&object["selected"], &object["deleted"]),
            (&3.into(), &3.into())
        );
        assert_eq!(object["recreated"], 2);
        assert_eq!(object["kept_why"]["ssh-session"], 1);
        assert_eq!(object["saved"], "/run/flows");
    }
}
