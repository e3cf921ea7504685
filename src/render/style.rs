//! The few styles. The writer strips the colours where nobody wants them.
//!
//! Numbers of the palette of 256, because terminals agree on those: each is readable on black and
//! on white. A colour never says what words do not say.

use anstyle::{Ansi256Color, Color, Style};

const fn color(number: u8) -> Style {
    Style::new().fg_color(Some(Color::Ansi256(Ansi256Color(number))))
}

/// What is broken, or would break.
pub(super) const BAD: Style = color(160).bold();
/// What deserves a look.
pub(super) const WARN: Style = color(130).bold();
/// What is as it should be, and lines that come.
pub(super) const GOOD: Style = color(28);
/// Lines that go.
pub(super) const GONE: Style = color(160);
/// What to do next.
pub(super) const HINT: Style = color(30);
/// What goes without saying.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Headings.
pub(super) const HEAD: Style = Style::new().bold();

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of a colour of the cube of 6 × 6 × 6 (WCAG 2.1).
    fn luminance(number: u8) -> f64 {
        let part = |part: u8| {
            let level = if part == 0 {
                0.0
            } else {
                f64::from(part * 40 + 55) / 255.0
            };
            if level <= 0.039_28 {
                level / 12.92
            } else {
                ((level + 0.055) / 1.055_f64).powf(2.4)
            }
        };
        let cube = number - 16;
        0.2126 * part(cube / 36) + 0.7152 * part(cube / 6 % 6) + 0.0722 * part(cube % 6)
    }

    #[test]
    fn every_colour_is_readable_on_black_and_on_white() {
        for style in [BAD, WARN, GOOD, GONE, HINT] {
            let Some(Color::Ansi256(color)) = style.get_fg_color() else {
                panic!("{style:?}");
            };
            let own = luminance(color.0);
            for contrast in [1.05 / (own + 0.05), (own + 0.05) / 0.05] {
                assert!(contrast >= 3.5, "{style:?}: {contrast:.1}");
            }
        }
    }
}
