//! A text in the operator's editor, as visudo does it: a copy is edited, the caller judges it.

use std::io::{self, Write};
use std::process::Command;

use tempfile::NamedTempFile;

use crate::diagnostic::{Diagnostic, said};

/// What came back.
pub(crate) struct Edited {
    pub(crate) text: String,
    /// The copy; it is removed with this value.
    pub(crate) file: NamedTempFile,
}

/// Opens a copy of the text. `editor` may have arguments, as $EDITOR does.
pub(crate) fn edit(editor: &str, text: &str) -> Result<Edited, Diagnostic> {
    let failed = |why: io::Error| Diagnostic {
        message: format!("cannot edit with {editor}: {}", said(&why)),
        hint: None,
    };
    let mut copy = tempfile::Builder::new();
    let copy = copy.prefix("cttune-").suffix(".toml");
    let mut file = copy.tempfile().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let line = format!("{editor} \"$1\"");
    let ended = Command::new("sh")
        .args(["-c", &line, "sh"])
        .arg(file.path())
        .status()
        .map_err(failed)?;
    if !ended.success() {
        return Err(failed(io::Error::other(ended.to_string())));
    }
    // An editor may have replaced the file: it is read by its name.
    let text = std::fs::read_to_string(file.path()).map_err(failed)?;
    Ok(Edited { text, file })
}
