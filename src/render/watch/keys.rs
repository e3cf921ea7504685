//! What the keys do.

use super::ask::Ask;
use super::{Mode, Watch};
use crate::flow::terms_of;

/// Rows that a page has.
const PAGE: usize = 10;

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Backspace,
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
}

/// What is done to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Expire,
    Kill,
}

/// What a key asks of the one who runs the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The model has changed; that is all.
    Nothing,
    /// Another question is asked: read now.
    Read,
    Quit,
    Interrupt,
    Suspend,
    Redraw,
    /// Preview this on flows that match any of these, ask, and do it.
    Act(Verb, Vec<String>),
}

impl Watch {
    /// Takes a key.
    pub(crate) fn key(&mut self, key: Key) -> Action {
        match key {
            Key::Interrupt => return Action::Interrupt,
            Key::Suspend => return Action::Suspend,
            Key::Redraw => return Action::Redraw,
            _ => self.said = None,
        }
        match &self.mode {
            Mode::Table => self.table_key(key),
            Mode::Help => {
                self.mode = Mode::Table;
                Action::Nothing
            }
            Mode::Typing { .. } => self.typed(key),
        }
    }

    fn table_key(&mut self, key: Key) -> Action {
        match key {
            Key::Char('q') => return Action::Quit,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char(' ') => {
                self.is_frozen = !self.is_frozen;
                return if self.is_frozen {
                    Action::Nothing
                } else {
                    Action::Read
                };
            }
            Key::Char('/') => self.typing(true, self.ask.matching.join(" ")),
            Key::Char('b') => self.typing(false, String::new()),
            Key::Char('g') => return self.ask_for(self.ask.regrouped(false)),
            Key::Char('G') => return self.ask_for(self.ask.regrouped(true)),
            Key::Enter => return self.open(),
            Key::Backspace | Key::Escape => return self.back(),
            Key::Char('E') => return self.act(Verb::Expire),
            Key::Char('K') => return self.act(Verb::Kill),
            key => self.moved(key),
        }
        Action::Nothing
    }

    fn moved(&mut self, key: Key) {
        let last = self.rows.rows.len().saturating_sub(1);
        let place = self.place();
        let place = match key {
            Key::Up | Key::Char('k') => place.saturating_sub(1),
            Key::Down | Key::Char('j') => place + 1,
            Key::PageUp => place.saturating_sub(PAGE),
            Key::PageDown => place + PAGE,
            Key::Home => 0,
            Key::End => last,
            _ => return,
        };
        let row = self.rows.rows.get(place.min(last));
        self.selected = row.map(|row| row.values.clone());
    }

    fn typing(&mut self, is_filter: bool, text: String) {
        self.mode = Mode::Typing {
            is_filter,
            text,
            wrong: None,
        };
    }

    fn typed(&mut self, key: Key) -> Action {
        let Mode::Typing {
            is_filter,
            text,
            wrong,
        } = &mut self.mode
        else {
            return Action::Nothing;
        };
        *wrong = None;
        match key {
            Key::Char(c) => text.push(c),
            Key::Backspace => drop(text.pop()),
            Key::Escape => self.mode = Mode::Table,
            Key::Enter => {
                let matching: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                let ask = if *is_filter {
                    Ask::parse(&self.ask.grouping, &matching)
                } else {
                    Ask::parse(text, &self.ask.matching)
                };
                match ask {
                    Ok(ask) => {
                        self.mode = Mode::Table;
                        return self.ask_for(Ok(ask));
                    }
                    Err(problem) => *wrong = Some(problem),
                }
            }
            _ => {}
        }
        Action::Nothing
    }

    fn ask_for(&mut self, ask: Result<Ask, String>) -> Action {
        match ask {
            Ok(ask) => {
                self.asks(ask);
                self.is_frozen = false;
                Action::Read
            }
            Err(problem) => {
                self.said = Some(problem);
                Action::Nothing
            }
        }
    }

    /// The terms of the selected group, or why there are none.
    fn terms(&self) -> Result<String, String> {
        let row = self.rows.rows.get(self.place());
        let row = row.ok_or("no group is selected")?;
        let terms = terms_of(&self.rows.columns, &row.values);
        let terms = terms.ok_or("no terms select this group alone: group by other fields (g)")?;
        Ok(terms)
    }

    /// Shows what is in the selected group.
    fn open(&mut self) -> Action {
        let narrowed = self.terms().and_then(|terms| self.ask.narrowed(&terms));
        if narrowed.is_ok() {
            self.opened.push(self.ask.clone());
        }
        self.ask_for(narrowed)
    }

    fn back(&mut self) -> Action {
        match self.opened.pop() {
            Some(ask) => self.ask_for(Ok(ask)),
            None => Action::Nothing,
        }
    }

    fn act(&mut self, verb: Verb) -> Action {
        match self.terms() {
            Ok(terms) => Action::Act(verb, self.ask.and(&terms)),
            Err(problem) => {
                self.said = Some(problem);
                Action::Nothing
            }
        }
    }
}
