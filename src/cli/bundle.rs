//! `cttune check --bundle FILE`: what a maintainer needs to see, without addresses.

use std::path::Path;

use super::failure::DONE;
use super::out::Out;
use super::profile_edit;
use crate::diagnostic::Mask;
use crate::kernel::host;
use crate::render;
use crate::render::check::Checked;
use crate::render::layout::{Screen, lay_out};
use crate::render::shape::value;

/// Writes it.
pub(super) fn write(file: &Path, checked: &Checked<'_>, out: Out) -> anyhow::Result<u8> {
    let text = lay_out(&render::check::text(checked), Screen::FILE);
    let text = anstream::adapter::strip_str(&text).to_string();
    let bundle = format!(
        "cttune {} on Linux {}\n\n{text}\n{:#}\n",
        env!("CARGO_PKG_VERSION"),
        host::read_release(),
        value(&render::check::json(checked))
    );
    let mut mask = Mask::new(&host::read_name());
    profile_edit::replace(file, &mask.text(&bundle))?;
    out.result(
        || format!("wrote {}: look at it, then send it\n", file.display()),
        || render::profile::written_json(file, None),
    );
    Ok(DONE)
}
