//! Advice, as a type: a command that can be pasted, or a sentence.

use std::borrow::Cow;

use super::Place;

/// Text that is mostly fixed.
pub(crate) type Text = Cow<'static, str>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A command of cttune: its arguments, without `--netns` and `--root`.
    Cttune(Text),
    /// A command of another program that reads or changes a network namespace.
    Command(Text),
    /// A command of another program that is the same in every namespace.
    OnHost(Text),
    /// A sentence, lower case, without a full stop.
    Say(Text),
    /// What a command is for, then the command.
    To(Text, Box<Hint>),
    /// What commands are for, then each on a line of its own.
    Lines(Text, Vec<Hint>),
    /// Several, the most helpful first.
    All(Vec<Hint>),
}

impl Hint {
    pub(crate) fn cttune(arguments: impl Into<Text>) -> Self {
        Hint::Cttune(arguments.into())
    }

    pub(crate) fn command(line: impl Into<Text>) -> Self {
        Hint::Command(line.into())
    }

    pub(crate) fn on_host(line: impl Into<Text>) -> Self {
        Hint::OnHost(line.into())
    }

    pub(crate) fn say(sentence: impl Into<Text>) -> Self {
        Hint::Say(sentence.into())
    }

    /// The same command with what it is for: `see who fills it`.
    #[must_use]
    pub(crate) fn to(self, purpose: impl Into<Text>) -> Self {
        Hint::To(purpose.into(), Box::new(self))
    }

    /// This, and another thing that can be done.
    #[must_use]
    pub(crate) fn and(self, next: Hint) -> Self {
        match self {
            Hint::All(mut all) => {
                all.push(next);
                Hint::All(all)
            }
            first => Hint::All(vec![first, next]),
        }
    }

    /// In words, for this place.
    pub(crate) fn text(&self, place: &Place) -> String {
        let texts = self.each().iter().map(|one| match one {
            Hint::To(purpose, hint) => format!("{purpose}: {}", hint.text(place)),
            Hint::Say(sentence) => sentence.to_string(),
            Hint::Lines(purpose, commands) => {
                let lines = commands.iter().map(|one| format!("\n{}", one.text(place)));
                format!("{purpose}:{}", lines.collect::<String>())
            }
            command => command.command_line(place).unwrap_or_default(),
        });
        texts.collect::<Vec<_>>().join("; ")
    }

    /// Everything that can be done, the most helpful first.
    pub(crate) fn each(&self) -> &[Hint] {
        match self {
            Hint::All(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// The command, without what it is for; `None` of a sentence and of several.
    pub(crate) fn command_line(&self, place: &Place) -> Option<String> {
        match self {
            Hint::Cttune(arguments) => Some(place.cttune(arguments)),
            Hint::Command(line) => Some(place.command(line)),
            Hint::OnHost(line) => Some(line.to_string()),
            Hint::To(_, hint) => hint.command_line(place),
            Hint::Say(_) | Hint::Lines(..) | Hint::All(_) => None,
        }
    }
}

impl From<&'static str> for Hint {
    fn from(sentence: &'static str) -> Self {
        Hint::say(sentence)
    }
}

impl From<String> for Hint {
    fn from(sentence: String) -> Self {
        Hint::say(sentence)
    }
}

/// An error that knows what the operator can do about it.
pub(crate) trait Advise: std::error::Error {
    fn hint(&self) -> Option<Hint>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_about_the_place_and_sentences_are_not_changed() {
        let blue = Place::new(None, Some("blue"));
        let hint = Hint::cttune("top")
            .to("see who fills it")
            .and(Hint::command("nft list flowtables").to("see them"))
            .and(Hint::on_host("modprobe nf_conntrack"))
            .and(Hint::say("cttune top needs root"));
        for (place, text) in [
            (
                &Place::default(),
                "see who fills it: cttune top; see them: nft list flowtables; modprobe \
                 nf_conntrack; cttune top needs root",
            ),
            (
                &blue,
                "see who fills it: cttune --netns blue top; see them: ip netns exec blue nft \
                 list flowtables; modprobe nf_conntrack; cttune top needs root",
            ),
        ] {
            assert_eq!(hint.text(place), text);
        }
    }
}
