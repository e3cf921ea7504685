//! What each kind of writer sets, and what only looks like one.

mod hooks;
mod programs;
mod scripts;
mod units;

use std::collections::BTreeMap;

use super::*;
use crate::boot::writers::facts::File;

/// Facts with these files, the folders that they make up, and links to `/dev/null` where the text
/// says so. Every file is executable but those whose path ends in `!`.
fn facts(files: &[(&str, &str)]) -> Facts<'static> {
    let mut all = BTreeMap::new();
    let mut folders: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (path, text) in files {
        let plain = path.trim_end_matches('!');
        let path = PathBuf::from(plain);
        let mut child = path.as_path();
        while let (Some(folder), Some(name)) = (child.parent(), child.file_name()) {
            let names = folders.entry(folder.to_owned()).or_default();
            let name = name.to_str().unwrap().to_owned();
            if !names.contains(&name) {
                names.push(name);
                names.sort();
            }
            child = folder;
        }
        let found = match *text {
            "/dev/null" => Found::Masked,
            text => Found::File(File {
                text: text.to_owned(),
                is_executable: !files.iter().any(|(one, _)| *one == format!("{plain}!")),
            }),
        };
        all.insert(path, found);
    }
    all.extend(
        folders
            .into_iter()
            .map(|(folder, names)| (folder, Found::Folder(names))),
    );
    Facts::of_files(Vec::new(), 8, all)
}

/// `FILE:LINE key value` of each write, `?` for what is unknown, `if` in front of what may not run.
fn writes(files: &[(&str, &str)]) -> Vec<String> {
    let shown = |write: &LaterWrite| {
        let key = write.key.map_or("?", Key::short_name);
        let value = write
            .value
            .map_or_else(|| "?".to_owned(), |value| value.to_string());
        let condition = if write.certainty == Certainty::Sure {
            ""
        } else {
            "if "
        };
        format!("{condition}{} {key} {value}", write.place())
    };
    Writers::of(&facts(files))
        .writes
        .iter()
        .map(shown)
        .collect()
}

const SET: &str = "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_max=5\n";

const UNIT: &str =
    "[Service]\nType=oneshot\nExecStart=/sbin/sysctl -w net.netfilter.nf_conntrack_max=5\n";
