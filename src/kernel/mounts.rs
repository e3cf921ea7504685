//! The mounts of this process, as `/proc/self/mountinfo` lists them (proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The directory or file of the file system that is mounted; `net:[INODE]` of a namespace.
    pub(crate) root: String,
    /// Where.
    pub(crate) point: PathBuf,
    /// Such as `rw`, `nosuid`.
    pub(crate) options: Vec<String>,
    /// The type of the file system.
    pub(crate) kind: String,
}

/// Reads them in the order in which they were made.
pub(crate) fn read_mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines.filter_map(parse_line).collect()
}

/// `36 35 98:0 ROOT POINT OPTIONS [FIELD…] - KIND SOURCE OPTIONS`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let root = text(fields.next()?);
    let point = OsString::from_vec(unescape(fields.next()?)).into();
    let options = text(fields.next()?).split(',').map(str::to_owned).collect();
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(Mount {
        root,
        point,
        options,
        kind,
    })
}

/// A space, a tab, a line feed and a backslash are written as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let byte = octal.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_optional_fields_it_has() {
        let mount = |root: &str, point: &str, options: &[&str], kind: &str| Mount {
            root: root.into(),
            point: point.into(),
            options: options.iter().copied().map(str::to_owned).collect(),
            kind: kind.into(),
        };
        for (line, expected) in [
            (
                "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
                Some(mount("/", "/", &["rw", "relatime"], "ext4")),
            ),
            (
                "9 22 0:4 net:[4026532301] /run/docker/netns/1-a rw - nsfs nsfs rw",
                Some(mount(
                    "net:[4026532301]",
                    "/run/docker/netns/1-a",
                    &["rw"],
                    "nsfs",
                )),
            ),
            (
                r"9 22 0:4 /a\134b /mnt/two\040words ro shared:2 master:1 - tmpfs t ro",
                Some(mount(r"/a\b", "/mnt/two words", &["ro"], "tmpfs")),
            ),
            ("", None),
            ("22 1 8:1 / / rw", None),
        ] {
            assert_eq!(parse_line(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for (field, expected) in [
            (r"a\040b", "a b"),
            (r"a\04", r"a\04"),
            (r"a\999", r"a\999"),
            (r"\", r"\"),
            ("ü", "ü"),
        ] {
            assert_eq!(unescape(field.as_bytes()), expected.as_bytes(), "{field}");
        }
    }

    #[test]
    fn this_process_has_a_root_and_a_proc() {
        let mounts = read_mounts().unwrap();
        assert!(mounts.iter().any(|mount| mount.point.as_os_str() == "/"));
        assert!(mounts.iter().any(|mount| mount.kind == "proc"));
    }
}
