//! Writes the file that node_exporter's textfile collector reads.

use std::path::Path;

use crate::cli::failure::{FAILED, Failure};
use crate::diagnostic::plain;
use crate::files::Root;

/// Replaces the file in one step. The folder belongs to the collector and is not created.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let root = Root::machine();
    if let Some(folder) = root.missing_folders(&path).first() {
        let message = format!(
            "cannot write {}: {} does not exist",
            path.display(),
            folder.display()
        );
        return Err(Failure::new(FAILED, message)
            .hint("name the folder that node_exporter's --collector.textfile.directory names")
            .into());
    }
    root.replace(&path, plain::for_monitor(text).as_bytes())
        .map_err(|error| Failure::of(FAILED, &error).into())
}
