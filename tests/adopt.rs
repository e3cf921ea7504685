//! `--adopt` in an image: files as distributions ship them, files as nobody should leave them, and
//! files that are not to be written. Only the lines in question change; what cannot be done is
//! refused by name, and nothing is touched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cttune::internals::COMMENTED_OUT as MARK;
use nix::unistd::geteuid;
use tempfile::TempDir;

const CONF: &str = "etc/sysctl.conf";
const PROFILE: [&str; 4] = ["--profile", "rfc-nat", "--set", "max=200001"];
/// A line that overrides the drop-in.
const OVERRIDING: &str = "net.netfilter.nf_conntrack_max=5";

/// Every file of a tree with its mode and its bytes, or where it leads.
type Contents = BTreeMap<PathBuf, (u32, Vec<u8>)>;

struct Image(TempDir);

impl Image {
    /// An image with an `/etc/sysctl.conf` of these bytes.
    fn with_conf(bytes: &[u8]) -> Self {
        let image = Image(tempfile::tempdir().unwrap());
        fs::create_dir_all(image.at("etc/sysctl.d")).unwrap();
        fs::write(image.at(CONF), bytes).unwrap();
        image
    }

    /// A copy of one of the distributions' trees.
    fn of_distribution(name: &str) -> Self {
        let image = Image(tempfile::tempdir().unwrap());
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/boot")
            .join(name);
        let copied = Command::new("cp")
            .args(["--recursive", "--no-dereference", "--no-target-directory"])
            .args([&tree, image.0.path()])
            .status();
        assert!(copied.unwrap().success());
        image
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn conf(&self) -> Vec<u8> {
        fs::read(self.at(CONF)).unwrap()
    }

    fn cttune(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cttune"))
            .arg("--root")
            .arg(self.0.path())
            .args(arguments)
            .env("COLUMNS", "1000")
            .output()
            .unwrap()
    }

    fn adopt(&self) -> Output {
        self.cttune(&[&["apply", "--yes", "--adopt"], &PROFILE[..]].concat())
    }

    /// Without what cttune remembers.
    fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        collect(self.0.path(), self.0.path(), &mut contents);
        contents.retain(|path, _| !path.starts_with("var/lib/cttune"));
        contents
    }
}

fn collect(base: &Path, folder: &Path, contents: &mut Contents) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            collect(base, &path, contents);
            continue;
        }
        let bytes = if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            target.into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        let name = path.strip_prefix(base).unwrap().to_owned();
        contents.insert(name, (metadata.permissions().mode(), bytes));
    }
}

/// Asserts that two trees are equal, and says of one file how not.
#[track_caller]
fn same(after: &Contents, before: &Contents) {
    let names = |tree: &Contents| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(after), names(before));
    for (path, (mode, bytes)) in after {
        let (old_mode, old) = &before[path];
        assert_eq!(mode, old_mode, "{}", path.display());
        let (new, old) = (bytes.escape_ascii(), old.escape_ascii());
        assert_eq!(new.to_string(), old.to_string(), "{}", path.display());
    }
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Asserts that it was refused in these words, and that every file is as it was.
#[track_caller]
fn refused(image: &Image, before: &Contents, output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    same(&image.contents(), before);
}

#[test]
fn files_of_distributions_change_in_the_lines_in_question_alone_and_are_rolled_back() {
    for (distribution, file, lines) in [
        ("debian-12", CONF, &[31, 32, 33][..]),
        (
            "ubuntu-24.04",
            "etc/sysctl.d/99-kubernetes-cri.conf",
            &[3, 4],
        ),
        ("fedora-41", "etc/sysctl.d/98-tuning.conf", &[3, 4]),
    ] {
        let image = Image::of_distribution(distribution);
        let before = image.contents();
        succeeds(&image.adopt());
        let mut after = image.contents();
        after.retain(|path, _| before.contains_key(path));

        let mut expected = before.clone();
        let (_, text) = expected.get_mut(Path::new(file)).unwrap();
        let old = String::from_utf8(std::mem::take(text)).unwrap();
        let marked = old.split_inclusive('\n').zip(1..).map(|(line, number)| {
            let mark = if lines.contains(&number) { MARK } else { "" };
            format!("{mark}{line}")
        });
        *text = marked.collect::<String>().into_bytes();
        same(&after, &expected);
        succeeds(&image.cttune(&["check"]));
        succeeds(&image.cttune(&["plan"]));
        succeeds(&image.cttune(&["rollback", "--yes"]));
        same(&image.contents(), &before);
    }
}

#[test]
fn without_adopt_each_overriding_line_is_named_and_nothing_is_touched() {
    let image = Image::of_distribution("debian-12");
    let before = image.contents();
    let output = image.cttune(&[&["apply", "--yes"], &PROFILE[..]].concat());
    let words = [
        "/etc/sysctl.conf:32 sets net.netfilter.nf_conntrack_max = 153600",
        "/etc/sysctl.conf:33 sets net.netfilter.nf_conntrack_tcp_timeout_established = 600",
    ];
    refused(&image, &before, &output, &words);
}

#[test]
fn whatever_bytes_stand_around_the_line_stay_and_are_rolled_back() {
    let big = format!(
        "{}{OVERRIDING}\n",
        "# nothing to see here\n".repeat(200_000)
    );
    assert!(big.len() > 4 << 20);
    for (why, bytes) in [
        ("CRLF", format!("a.b = 1\r\n{OVERRIDING}\r\nc.d = 2\r\n")),
        ("a BOM", format!("\u{feff}# a comment\n{OVERRIDING}\n")),
        ("no final newline", format!("a.b = 1\n{OVERRIDING}")),
        (
            "NUL bytes",
            format!("a.b = 1\0\0\n\0\n{OVERRIDING}\nc\0d\n"),
        ),
        ("4 MiB of comments", big),
    ] {
        let image = Image::with_conf(bytes.as_bytes());
        succeeds(&image.adopt());
        let marked = bytes.replace(OVERRIDING, &format!("{MARK}{OVERRIDING}"));
        assert!(image.conf() == marked.as_bytes(), "{why}");
        succeeds(&image.cttune(&["check"]));
        succeeds(&image.cttune(&["rollback", "--yes"]));
        assert!(image.conf() == bytes.as_bytes(), "{why}, rolled back");
    }
}

#[test]
fn bytes_that_are_no_text_stay() {
    let mut bytes = b"\xff\xfe\x80 = 1\n".to_vec();
    bytes.extend_from_slice(OVERRIDING.as_bytes());
    let image = Image::with_conf(&bytes);
    succeeds(&image.adopt());
    let expected = [
        b"\xff\xfe\x80 = 1\n",
        MARK.as_bytes(),
        OVERRIDING.as_bytes(),
    ]
    .concat();
    assert_eq!(image.conf(), expected);
    succeeds(&image.cttune(&["rollback", "--yes"]));
    assert_eq!(image.conf(), bytes);
}

#[test]
fn a_line_that_a_bom_spoils_sets_nothing_and_is_left_alone() {
    let bytes = format!("\u{feff}{OVERRIDING}\n");
    let image = Image::with_conf(bytes.as_bytes());
    succeeds(&image.adopt());
    assert_eq!(image.conf(), bytes.as_bytes());
    succeeds(&image.cttune(&["check"]));
}

#[test]
fn a_file_keeps_its_mode_even_where_all_may_write_it() {
    for mode in [0o666, 0o600, 0o444] {
        let image = Image::with_conf(format!("{OVERRIDING}\n").as_bytes());
        fs::set_permissions(image.at(CONF), Permissions::from_mode(mode)).unwrap();
        let output = image.adopt();
        if mode == 0o444 && !geteuid().is_root() {
            assert!(String::from_utf8_lossy(&output.stderr).contains("sysctl.conf"));
            continue;
        }
        succeeds(&output);
        let now = fs::metadata(image.at(CONF)).unwrap().permissions().mode();
        assert_eq!(now & 0o7777, mode);
    }
}

#[test]
fn of_a_package_s_file_it_is_said_that_an_upgrade_may_bring_the_line_back() {
    for (folder, is_a_package_s) in [
        ("usr/lib/sysctl.d", true),
        ("usr/local/lib/sysctl.d", false),
    ] {
        let image = Image::with_conf(b"");
        fs::create_dir_all(image.at(folder)).unwrap();
        fs::write(
            image.at(&format!("{folder}/99-x.conf")),
            format!("{OVERRIDING}\n"),
        )
        .unwrap();
        let plan = image.cttune(&["plan", "--profile", "campus-fw", "--adopt"]);
        let told = String::from_utf8_lossy(&plan.stdout);
        assert!(told.contains("99-x.conf"), "{told}");
        assert_eq!(
            told.contains("an upgrade of its package"),
            is_a_package_s,
            "{told}"
        );
    }
}

#[test]
fn a_link_to_the_file_is_kept_and_the_file_is_edited() {
    let image = Image::with_conf(b"");
    fs::create_dir_all(image.at("srv")).unwrap();
    fs::write(image.at("srv/site.conf"), format!("{OVERRIDING}\n")).unwrap();
    symlink("/srv/site.conf", image.at("etc/sysctl.d/99-site.conf")).unwrap();
    succeeds(&image.adopt());
    let link = fs::read_link(image.at("etc/sysctl.d/99-site.conf")).unwrap();
    assert_eq!(link, Path::new("/srv/site.conf"));
    let edited = fs::read_to_string(image.at("srv/site.conf")).unwrap();
    assert_eq!(edited, format!("{MARK}{OVERRIDING}\n"));
}

#[test]
fn a_link_in_our_own_file_s_place_is_refused_by_name() {
    let image = Image::with_conf(format!("{OVERRIDING}\n").as_bytes());
    fs::write(image.at("etc/elsewhere"), "").unwrap();
    symlink("../elsewhere", image.at("etc/udev")).unwrap();
    symlink("../elsewhere", image.at("etc/cttune")).unwrap();
    let before = image.contents();
    let words = ["/etc/cttune is a symbolic link", "nothing was changed"];
    refused(&image, &before, &image.adopt(), &words);
}

#[test]
fn a_link_out_of_the_image_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("x.conf");
    fs::write(&target, format!("{OVERRIDING}\n")).unwrap();
    let image = Image::with_conf(b"");
    symlink(&target, image.at("etc/sysctl.d/99-out.conf")).unwrap();
    succeeds(&image.adopt());
    assert_eq!(
        fs::read_to_string(&target).unwrap(),
        format!("{OVERRIDING}\n")
    );
}

/// Makes a file immutable; it can be removed again once this is gone.
struct Immutable(PathBuf);

impl Immutable {
    fn new(path: PathBuf) -> Self {
        chattr("+i", &path);
        Immutable(path)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(flag: &str, path: &Path) {
    let done = Command::new("chattr").arg(flag).arg(path).status().unwrap();
    assert!(done.success(), "this file system has no chattr {flag}");
}

#[test]
fn a_file_that_nobody_may_write_is_refused_by_name() {
    let image = Image::with_conf(format!("{OVERRIDING}\n").as_bytes());
    let before = image.contents();
    if geteuid().is_root() {
        let _immutable = Immutable::new(image.at(CONF));
        let words = [
            "etc/sysctl.conf",
            "not permitted",
            "lsattr",
            "nothing was changed",
        ];
        refused(&image, &before, &image.adopt(), &words);
    } else {
        // An ordinary user can make no file immutable; a folder without rights is as good.
        fs::set_permissions(image.at("etc"), Permissions::from_mode(0o555)).unwrap();
        let output = image.adopt();
        fs::set_permissions(image.at("etc"), Permissions::from_mode(0o755)).unwrap();
        refused(&image, &before, &output, &["denied", "nothing was changed"]);
    }
}
