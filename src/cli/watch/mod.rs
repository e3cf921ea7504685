//! `cttune watch`: the table on a live screen.

mod act;
mod asked;
mod live;
mod read;

pub(super) use asked::{divider, interval};

use std::io;

use super::args::{Global, Watch as Args};
use super::failure::Failure;
use super::out::Out;
use super::{place, select, writer};
use crate::change::{Signal, Signals};
use crate::render::watch::{Ask, Look, Watch, frame};

use self::asked::refuse;
use self::live::live;
use self::read::Reader;

/// Lines of the frame that `--once` prints.
const LINES: usize = 24;

/// Runs it.
pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    refuse(args, global, out)?;
    let interval = interval(&args.interval)?;
    // For its errors, which say what is allowed.
    select::terms("--match", &args.matching)?;
    let ask = Ask::parse(&args.by, &args.matching).map_err(Failure::usage)?;
    let mut watch = Watch::new(place::name(global), interval, ask);
    let mut reader = Reader::new(interval, global, out);
    if args.once {
        reader.read(&mut watch)?;
        std::thread::sleep(interval);
        reader.read(&mut watch)?;
        let screen = writer::screen(&io::stdout());
        let look = look(screen.width, LINES, screen.is_utf8, false, false);
        let lines = frame(&watch, look).into_iter();
        let lines = lines.map(|line| line.to_string().trim_end().to_owned() + "\n");
        out.result(|| lines.collect(), || serde_json::Value::Null);
        return Ok(0);
    }
    let signals = Signals::catch()?;
    let ended = live(&mut watch, &mut reader, interval, &signals, global, out);
    // The terminal may hang up before its signal is there.
    let hung_up = || Signal::HangUp.exit_code();
    match (ended, signals.caught()) {
        (_, Some(signal)) => Ok(signal.exit_code()),
        (Ok(code), None) => Ok(code),
        (Err(error), None) if error.is::<io::Error>() => Ok(hung_up()),
        (Err(error), None) => Err(error),
    }
}

fn look(width: usize, height: usize, is_utf8: bool, has_color: bool, has_keys: bool) -> Look {
    Look {
        width,
        height,
        is_utf8,
        has_color,
        has_keys,
    }
}
