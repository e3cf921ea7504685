//! Reads what a fleet tool collected: a folder, or a stream.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::cli::failure::{FAILED, Failure};
use crate::diagnostic::plain::Shown;
use crate::files::{Kind, Root};
use crate::fleet::{Fleet, Frame, Frames, MOST, parse};

/// Folders in folders that are looked into: Ansible's fetch keeps the path of each file.
const DEEPEST: usize = 16;

/// A host's files are in a folder with its name, or are called as it is.
pub(super) fn read_folder(folder: &Path, fleet: &mut Fleet) -> anyhow::Result<()> {
    let root = Root::at(folder).map_err(|error| {
        let hint = "name a folder with a file for each host, or - for standard input";
        Failure::of(FAILED, &error).hint(hint)
    })?;
    let mut open: Vec<(PathBuf, usize)> = vec![(PathBuf::from("/"), 0)];
    while let Some((path, depth)) = open.pop() {
        let names = match root.list(&path) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) => {
                fleet.skip(&root.outside(&path).shown(), error.to_string());
                continue;
            }
        };
        let mut below = Vec::new();
        for name in names {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let inside = path.join(name);
            let is_folder = matches!(root.kind(&inside), Ok(Some(Kind::Directory)));
            // No link leads out, so its folder is read under its own name.
            let is_link = is_folder && root.resolve(&inside).is_ok_and(|real| real != inside);
            match is_folder {
                true if is_link => {}
                true if depth < DEEPEST => below.push((inside, depth + 1)),
                true => fleet.skip(&root.outside(&inside).shown(), "it is too deep"),
                false => read_file(&root, &inside, fleet),
            }
        }
        open.extend(below.into_iter().rev());
    }
    Ok(())
}

fn read_file(root: &Root, inside: &Path, fleet: &mut Fleet) {
    let source = root.outside(inside).shown();
    let text = match root.read(inside) {
        Ok(Some(bytes)) => String::from_utf8(bytes),
        Ok(None) => return fleet.skip(&source, "it is a link to nothing in this folder"),
        Err(error) => return fleet.skip(&source, error.to_string()),
    };
    let Ok(text) = text else {
        return fleet.skip(&source, "it is not UTF-8 text");
    };
    let is_many = |line: &&str| line.starts_with('{');
    if text.lines().filter(is_many).nth(1).is_some() {
        let from = format!("{source}:");
        let _ = read_stream(text.as_bytes(), &from, fleet);
        return;
    }
    let below: Vec<_> = inside.iter().skip(1).collect();
    let host = below
        .first()
        .map(|name| name.to_string_lossy().into_owned());
    let host = host.unwrap_or_default();
    let host = host.strip_suffix(".json").unwrap_or(&host);
    add(fleet, &source, Some(host), &text);
}

/// Several records in one text, each named by the line that it begins in.
pub(super) fn read_stream(
    mut from: impl BufRead,
    name: &str,
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    let mut frames = Frames::default();
    let take = |frame: Frame, fleet: &mut Fleet| {
        let source = format!("{name} {}", frame.line);
        add(fleet, &source, frame.host.as_deref(), &frame.text);
    };
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = from
            .by_ref()
            .take(MOST as u64)
            .read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes);
        if let Some(frame) = frames.add(line.trim_end_matches('\n')) {
            take(frame, fleet);
        }
    }
    if let Some(frame) = frames.end() {
        take(frame, fleet);
    }
    Ok(())
}

fn add(fleet: &mut Fleet, source: &str, host: Option<&str>, text: &str) {
    for (minion, record) in parse(text) {
        let named = minion.as_deref().or(host);
        match (record, named) {
            (Ok(record), _) => fleet.add(source, named, record),
            (Err(why), Some(host)) if !source.contains(host) => {
                fleet.skip(&format!("{source}, {host}"), why);
            }
            (Err(why), _) => fleet.skip(source, why),
        }
    }
}
