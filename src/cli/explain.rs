//! `cttune check --explain KEY`: every line that sets a key at boot.

use super::args::Global;
use super::current::Current;
use super::failure::Failure;
use super::mistaken;
use super::out::Out;
use crate::boot;
use crate::files::Root;
use crate::render;
use crate::tunable::Key;

pub(super) fn run(key: &str, global: &Global, root: &Root, out: Out) -> anyhow::Result<u8> {
    let key = Key::find(key).map_err(mistaken::unknown_key)?;
    let current = Current::read(global, root)?;
    let Some(files) = &current.files else {
        return Err(Failure::usage("--explain cannot go with --netns")
            .hint("a named namespace has no sysctl.d of its own")
            .into());
    };
    let explanation = boot::explain(files.next_boot().tree(), key);
    out.result(
        || render::explain::text(&explanation, files.next_boot()),
        || render::explain::json(&explanation, files.next_boot()),
    );
    Ok(0)
}
