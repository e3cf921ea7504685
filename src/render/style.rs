//! The few styles. The writer strips the colours where nobody wants them.

use anstyle::{AnsiColor, Style};

/// What is broken, or would break.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What is as it should be, and lines that come.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Lines that go.
pub(super) const GONE: Style = AnsiColor::Red.on_default();
/// What to do next.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();
/// What goes without saying.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Headings.
pub(super) const HEAD: Style = Style::new().bold();
