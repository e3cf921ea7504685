//! The loop of a live screen: reads, draws, takes keys.

use std::io;
use std::time::{Duration, Instant};

use super::act::act;
use super::look;
use super::read::Reader;
use crate::change::{Signal, Signals};
use crate::cli::args::Global;
use crate::cli::out::Out;
use crate::cli::writer;
use crate::render::watch::{Action, Watch, frame};
use crate::screen::Screen;

/// Reads, draws and takes keys until one of them ends it.
pub(super) fn live(
    watch: &mut Watch,
    reader: &mut Reader<'_>,
    interval: Duration,
    signals: &Signals,
    global: &Global,
    out: Out,
) -> anyhow::Result<u8> {
    let is_utf8 = writer::screen(&io::stdout()).is_utf8;
    let has_color = out.has_color();
    let mut screen = Screen::open()?;
    let mut next = Instant::now();
    while signals.caught().is_none() {
        if Instant::now() >= next && !watch.is_frozen() {
            reader.read(watch)?;
            next = Instant::now() + interval;
        }
        screen.draw(|width, height| frame(watch, look(width, height, is_utf8, has_color, true)))?;
        let left = next.saturating_duration_since(Instant::now());
        let left = if watch.is_frozen() { interval } else { left };
        for key in screen.keys(left)? {
            match watch.key(key) {
                Action::Nothing => {}
                Action::Read => next = Instant::now(),
                Action::Quit => return Ok(0),
                Action::Interrupt => return Ok(Signal::Interrupt.exit_code()),
                Action::Redraw => screen.redraw()?,
                Action::Suspend => screen = screen.suspend()?,
                Action::Act(verb, matching) => {
                    drop(screen);
                    act(verb, matching, signals, global, out)?;
                    screen = Screen::open()?;
                    next = Instant::now();
                }
            }
        }
    }
    Ok(0)
}
