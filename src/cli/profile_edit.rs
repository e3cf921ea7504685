//! Profiles that cttune writes: captured from this machine, edited, suggested.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::failure::{FAILED, Failure};
use super::out::{self, Out};
use super::{load, mistaken};
use crate::diagnostic::{Hint, quoted, said};
use crate::files::{FileError, Root, profiles};
use crate::kernel::{host, sysctl};
use crate::profile::{Source, edit};
use crate::render;
use crate::tunable::{Key, Snapshot};

/// The kernel's values, where there are any to do this with.
pub(super) fn loaded(purpose: &str) -> anyhow::Result<Snapshot> {
    let live = sysctl::read_snapshot()?;
    if live.is_loaded() {
        return Ok(live);
    }
    let message = format!("nothing to {purpose}: the module nf_conntrack is not loaded");
    let failure = Failure::new(FAILED, message);
    Err(failure
        .hint(Hint::on_host("modprobe nf_conntrack").to("load it"))
        .into())
}

/// `profile capture`.
pub(super) fn capture(keys: &[String], file: Option<&Path>, out: Out) -> anyhow::Result<u8> {
    let named: Result<Vec<Key>, _> = keys.iter().map(|key| Key::find(key)).collect();
    let keys = match named.map_err(mistaken::unknown_key)? {
        none if none.is_empty() => Key::ALL.to_vec(),
        keys => keys,
    };
    let snapshot = loaded("capture")?;
    let readings: Vec<(Key, i64)> = keys
        .into_iter()
        .filter_map(|key| Some((key, snapshot.value(key)?)))
        .collect();
    let existing = match file {
        Some(file) if file.exists() => Some(read(file)?),
        _ => None,
    };
    let description = format!("Captured from {}", host::read_name());
    let captured =
        edit::capture(existing.as_ref(), &description, &readings).map_err(mistaken::edit)?;
    for key in &captured.kept_bounds {
        out.note(&format!(
            "note: {key} has bounds in that profile, which stay"
        ));
    }
    for (key, value) in &captured.left_out {
        out.note(&format!(
            "note: {key} is {value} now, which no profile may ask for; left out"
        ));
    }
    match file {
        None => print(&captured.text, out),
        Some(file) => {
            let before = existing.as_ref().map(|source| source.text.as_str());
            write(file, before, &captured.text, out)?;
        }
    }
    Ok(0)
}

/// `profile set`.
pub(super) fn set(file: &Path, settings: &[String], out: Out) -> anyhow::Result<u8> {
    let name = file.to_str().filter(|name| !profiles::is_path(name));
    let file = match name.filter(|_| !file.exists()) {
        Some(name) => &own_file(name)?,
        None => file,
    };
    let before = read(file)?;
    let mut source = before.clone();
    for setting in settings {
        let Some((field, value)) = setting.split_once('=') else {
            return Err(Failure::usage(format!("`{setting}` has no `=`"))
                .hint("write KEY=VALUE, such as tcp_timeout_established=2h4m")
                .into());
        };
        source.text = edit::set(&source, field.trim(), value.trim()).map_err(mistaken::edit)?;
    }
    write(file, Some(&before.text), &source.text, out)?;
    Ok(0)
}

/// The file of a profile that the operator may edit. One of a package is replaced with the next
/// version.
pub(super) fn own_file(name: &str) -> anyhow::Result<PathBuf> {
    let file = load::find(name)?.file();
    file.filter(|file| !file.starts_with("/usr/share"))
        .ok_or_else(|| {
            let line = format!("profile copy {} ./mine.toml", quoted(name));
            Failure::new(FAILED, format!("the profile {name} belongs to cttune"))
                .hint(Hint::cttune(line).to("edit a copy of it"))
                .into()
        })
}

pub(super) fn print(text: &str, out: Out) {
    if out.is_json() {
        out.result(String::new, || render::profile::text_json(text));
    } else {
        out::raw(text);
    }
}

pub(super) fn read(file: &Path) -> anyhow::Result<Source> {
    let failed = |why: io::Error| {
        let message = format!("cannot read {}: {}", file.display(), said(&why));
        Failure::new(FAILED, message)
    };
    let path = std::path::absolute(file).map_err(failed)?;
    let read = Root::machine().read(&path);
    let bytes = read.map_err(|error| Failure::of(FAILED, &error))?;
    let bytes = bytes.ok_or_else(|| failed(Errno::ENOENT.into()))?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|error| failed(io::Error::other(error.utf8_error())))?;
    Ok(Source::new(file.display().to_string(), text))
}

/// Replaces a profile file whole, or leaves it alone where nothing changed.
pub(super) fn write(file: &Path, before: Option<&str>, text: &str, out: Out) -> anyhow::Result<()> {
    let changed = before != Some(text);
    if changed {
        replace(file, text)?;
    }
    out.result(
        || match (changed, before) {
            (false, _) => format!("{} has these values already\n", file.display()),
            (true, None) => format!("wrote {}\n", file.display()),
            (true, Some(before)) => {
                render::plan::diff(file, Some(before.as_bytes()), Some(text.as_bytes()))
            }
        },
        || render::profile::written_json(file, Some(changed)),
    );
    Ok(())
}

/// Replaces a file whole.
pub(super) fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    let path = target(file)?;
    Root::machine()
        .replace(&path, text.as_bytes())
        .map_err(not_written)
}

/// Finds out whether a profile can be written, before it takes minutes to make one.
pub(super) fn rehearse(file: &Path) -> anyhow::Result<()> {
    let path = target(file)?;
    Root::machine().rehearse(&path, &[]).map_err(not_written)?;
    Ok(())
}

/// The file itself, whatever its folder is called.
fn target(file: &Path) -> Result<PathBuf, Failure> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let real = fs::canonicalize(folder).map_err(|error| {
        let (file, folder) = (file.display(), folder.display());
        let why = said(&error);
        let failure = Failure::new(FAILED, format!("cannot write {file}: {folder}: {why}"));
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        failure.maybe_hint(is_missing.then_some("make that folder first, or name another".into()))
    })?;
    Ok(real.join(file.file_name().unwrap_or_default()))
}

fn not_written(error: FileError) -> Failure {
    Failure::of(FAILED, &error)
}
