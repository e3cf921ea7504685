//! Acting: the whole terminal, taken for a live screen and given back as it was.
//!
//! In: lines to draw. Out: keys. Rule: only the cells that differ from the last frame are sent.
//! Whatever ends the program (a return, an error, a panic, a signal that [`Signals`] remembers), the
//! terminal is restored before anything else is printed on it.
//!
//! [`Signals`]: crate::change::Signals

mod bytes;

use std::io::{self, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::text::Line;

use crate::render::watch::Key;

/// Whether the terminal is ours: it is restored once.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Whether something could not be written to it.
static IS_GONE: AtomicBool = AtomicBool::new(false);

/// Writes to the terminal and remembers what fails: the library prints an error about a cursor that
/// it cannot show, and panics where that cannot be printed either.
struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match stdout().write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                IS_GONE.store(true, Ordering::SeqCst);
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if stdout().flush().is_err() {
            IS_GONE.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Writer>>,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let earlier = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                earlier(panic);
            }));
            // A wait ends when the size changes; the next frame asks for it.
            let changed = Arc::new(AtomicBool::new(false));
            let _ = signal_hook::flag::register(Signal::SIGWINCH as i32, changed);
        });
        enable_raw_mode()?;
        IS_OURS.store(true, Ordering::SeqCst);
        let opened = execute!(stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(Writer)));
        match opened {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws what `frame` makes of the size.
    pub(crate) fn draw(
        &mut self,
        frame: impl FnOnce(usize, usize) -> Vec<Line<'static>>,
    ) -> io::Result<()> {
        self.terminal.draw(|whole| {
            let area = whole.area();
            let lines = frame(area.width.into(), area.height.into());
            for (line, mut row) in lines.into_iter().zip(area.rows()) {
                row.height = 1;
                whole.render_widget(line, row);
            }
        })?;
        if IS_GONE.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Sends the next frame whole. (`clear` would ask the terminal where its cursor is, and take
    /// what is typed meanwhile for the answer.)
    pub(crate) fn redraw(&mut self) -> io::Result<()> {
        let area = self.terminal.get_frame().area();
        self.terminal.resize(area)
    }

    /// Gives the terminal back until the shell lets us go on.
    pub(crate) fn suspend(self) -> io::Result<Self> {
        drop(self);
        raise(Signal::SIGTSTP)?;
        Screen::open()
    }

    /// Waits for keys, a signal, or the end of the time.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn keys(&mut self, time: Duration) -> io::Result<Vec<Key>> {
        // What was drawn is there before anybody waits.
        self.terminal.backend_mut().flush()?;
        let stdin = stdin();
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut bytes = [0; 256];
        // Not through the buffer of `stdin`, which a prompt reads from.
        match nix::unistd::read(stdin.as_fd(), &mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(number) => Ok(bytes::keys(bytes.get(..number).unwrap_or_default())),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// As the terminal was. Where it is gone, there is nothing to restore.
fn restore() {
    if !IS_OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = stdout().flush();
}
