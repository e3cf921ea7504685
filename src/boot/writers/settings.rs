//! Files with values that a program of the system writes to /proc and /sys at boot: tmpfiles.d,
//! sysfs.conf, the credential sysctl.extra. Follows tmpfiles.d(5), systemd-tmpfiles-setup.service,
//! sysfs.conf of sysfsutils, systemd-sysctl.service(8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::scripts::{Runner, Scripts};
use crate::boot::SourceLine;
use crate::boot::shell::{self, Word};

/// Of one name the first counts.
const TMPFILES: [&str; 4] = [
    "/etc/tmpfiles.d",
    "/run/tmpfiles.d",
    "/usr/local/lib/tmpfiles.d",
    "/usr/lib/tmpfiles.d",
];
const SYSFS: &str = "/etc/sysfs.conf";
const SYSFS_FOLDER: &str = "/etc/sysfs.d";
/// systemd-sysctl applies them behind sysctl.d.
const CREDENTIALS: [&str; 3] = [
    "/etc/credstore/sysctl.extra",
    "/usr/lib/credstore/sysctl.extra",
    "/usr/local/lib/credstore/sysctl.extra",
];

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let mut files: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for folder in TMPFILES {
        for name in facts.names_ending(folder, "conf") {
            let path = || Path::new(folder).join(name);
            files.entry(name).or_insert_with(path);
        }
    }
    for path in files.values() {
        each_line(facts, path, "systemd-tmpfiles", scripts, tmpfile);
    }
    let folder = facts.names_ending(SYSFS_FOLDER, "conf");
    let more = folder.map(|name| Path::new(SYSFS_FOLDER).join(name));
    for path in std::iter::once(PathBuf::from(SYSFS)).chain(more) {
        each_line(facts, &path, "sysfsutils", scripts, attribute);
    }
    let runner = Runner {
        who: "systemd-sysctl".to_owned(),
        when: "behind sysctl.d".to_owned(),
        ..Runner::default()
    };
    for path in CREDENTIALS {
        scripts.loaded(Path::new(path), &runner);
    }
}

fn each_line(
    facts: &Facts<'_>,
    file: &Path,
    who: &str,
    scripts: &mut Scripts<'_>,
    write: impl Fn(&str) -> Option<(Word, Option<String>)>,
) {
    let runner = Runner {
        who: who.to_owned(),
        when: "at boot".to_owned(),
        ..Runner::default()
    };
    for (line, number) in facts.text(file).unwrap_or_default().lines().zip(1..) {
        if let Some((path, text)) = write(line.trim()) {
            let (file, line) = (file.to_owned(), number);
            scripts.written(&path, text.as_deref(), &SourceLine { file, line }, &runner);
        }
    }
}

/// `w PATH MODE USER GROUP AGE TEXT`: the path, and the text where it is known.
fn tmpfile(line: &str) -> Option<(Word, Option<String>)> {
    if !line.starts_with('w') {
        return None;
    }
    let words = shell::words(line, &shell::Variables::default());
    let [_, path, _, _, _, _, text @ ..] = words.as_slice() else {
        return None;
    };
    let text: Vec<&str> = text.iter().map(|word| word.raw.trim_matches('"')).collect();
    let text = text.join(" ");
    let is_known = !text.contains(['%', '\\']);
    Some((path.clone(), is_known.then_some(text)))
}

/// `module/nf_conntrack/parameters/hashsize = 65536`, below /sys.
fn attribute(line: &str) -> Option<(Word, Option<String>)> {
    let (name, value) = line.split_once('=')?;
    let path = format!("/sys/{}", name.trim().trim_start_matches('/'));
    let word = Word {
        raw: path.clone(),
        value: Some(path),
    };
    (!line.starts_with('#')).then(|| (word, Some(value.trim().to_owned())))
}
