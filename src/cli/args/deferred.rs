//! The options of a command, made when that command is the one that was typed.
//!
//! In: clap's command. Out: the same with the options of one command, once clap asks for them.
//! Rule: what a list of commands shows (name, alias, first line) is said at the variant, because
//! the rest is not there yet. With the options of all commands a start takes a third longer.

use std::ops::{Deref, DerefMut};

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

#[derive(Debug)]
pub(crate) struct Deferred<T>(T);

impl<T> Deref for Deferred<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Deferred<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Args> Args for Deferred<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| with_its_first_line(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| with_its_first_line(command, T::augment_args_for_update))
    }
}

/// A flattened struct's documentation would take the place of the command's.
fn with_its_first_line(command: Command, options: fn(Command) -> Command) -> Command {
    let first = Resettable::from(command.get_about().cloned());
    let long = Resettable::from(command.get_long_about().cloned());
    options(command).about(first).long_about(long)
}

impl<T: Args> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
