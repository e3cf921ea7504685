//! `cttune check` for node-problem-detector: one line of 80 characters.

use super::check::Checked;
use super::failure::Parts;
use super::nagios::{cut, one_line, short, trouble};

/// What the detector keeps of a plugin's answer.
const MOST: usize = 80;

/// The line for what was checked.
pub(crate) fn line(checked: &Checked<'_>) -> String {
    cut(&one_line(&short(checked).join("; ")), MOST) + "\n"
}

/// The line for trouble of any kind.
pub(crate) fn unknown(parts: &Parts<'_>) -> String {
    cut(&one_line(&trouble(parts).join("; ")), MOST) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_fits_the_line() {
        for message in ["no table", &"long ".repeat(50), &"x".repeat(200)] {
            let parts = Parts {
                messages: vec![message.to_owned()],
                advice: None,
                mistakes: &[],
            };
            let line = unknown(&parts);
            assert!(
                line.len() <= MOST + 1 && line.lines().count() == 1,
                "{line}"
            );
        }
    }
}
