//! What files, folders, names and limits of others can do to a command: nothing but make it fail.
//!
//! An image below `--root` belongs to somebody who may put anything there, and change it while a
//! command runs. No command may wait for it, follow it out of the root, or take what it cannot read
//! for absent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use serde_json::Value;
use support::{Place, Told, World};

/// An image with the folders that commands read and write.
struct Image {
    place: Place,
    base: PathBuf,
}

impl Image {
    fn new() -> Self {
        let place = Place::new();
        let base = place.path().join("image");
        for folder in [
            "etc/sysctl.d",
            "etc/modules-load.d",
            "etc/modprobe.d",
            "etc/udev/rules.d",
            "etc/cttune",
            "usr/lib/sysctl.d",
            "usr/lib/modules/6.1",
            "var/lib",
        ] {
            fs::create_dir_all(base.join(folder)).unwrap();
        }
        Image { place, base }
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(self.place.program());
        let (name, options) = args.split_once(' ').unwrap_or((args, ""));
        command.arg(name).arg("--root").arg(&self.base);
        command.args(options.split_whitespace());
        command
    }

    fn cttune(&self, args: &str) -> Told {
        ends(&mut self.command(args), args)
    }
}

/// Runs a command that must end by itself.
fn ends(command: &mut Command, what: &str) -> Told {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{what} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Told::from(&child.wait_with_output().unwrap())
}

const COMMANDS: [&str; 5] = [
    "check",
    "check --explain nf_conntrack_max",
    "plan --profile campus-fw",
    "apply --profile campus-fw --yes",
    "history",
];

/// Puts something that is no regular file, or has no end, in the place of a file.
fn put(what: &str, path: &Path) {
    match what {
        "fifo" => mkfifo(path, Mode::S_IRWXU).unwrap(),
        "device" => symlink("/dev/zero", path).unwrap(),
        "fifo behind a link" => {
            let fifo = path.with_extension("pipe");
            mkfifo(&fifo, Mode::S_IRWXU).unwrap();
            symlink(fifo.file_name().unwrap(), path).unwrap();
        }
        "endless" => File::create(path).unwrap().set_len(1 << 40).unwrap(),
        _ => fs::create_dir(path).unwrap(),
    }
}

#[test]
fn no_command_waits_for_what_is_in_the_place_of_a_file() {
    for file in [
        "etc/sysctl.conf",
        "etc/sysctl.d/50-a.conf",
        "usr/lib/sysctl.d/50-a.conf",
        "etc/modules-load.d/a.conf",
        "etc/modprobe.d/a.conf",
        "etc/udev/rules.d/a.rules",
        "usr/lib/modules/6.1/modules.dep",
        "usr/lib/modules/6.1/modules.builtin",
        "etc/cttune/active.toml",
        "var/lib/cttune",
    ] {
        for what in ["fifo", "fifo behind a link", "device", "endless"] {
            let image = Image::new();
            put(what, &image.base.join(file));
            for command in COMMANDS {
                image.cttune(command);
            }
        }
    }
}

#[test]
fn nor_for_what_is_in_the_place_of_the_journal_or_the_lock() {
    for file in [
        "lock",
        "journal/000001.json",
        "journal/000007.json",
        "journal/000001.open",
    ] {
        for what in ["fifo", "device", "endless", "directory"] {
            let image = Image::new();
            image.cttune("apply --profile campus-fw --yes").exits(0);
            let path = image.base.join("var/lib/cttune").join(file);
            let _ = fs::remove_file(&path);
            put(what, &path);
            for command in COMMANDS.iter().chain(&["confirm", "rollback --yes"]) {
                image.cttune(command);
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_never_taken_for_absent() {
    for (what, said) in [
        ("fifo", "is a FIFO, not a file"),
        ("endless", "is larger than 16 MiB"),
        ("directory", "is a directory, not a file"),
    ] {
        for file in [
            "etc/udev/rules.d/90-cttune.rules",
            "etc/modules-load.d/cttune.conf",
        ] {
            let image = Image::new();
            put(what, &image.base.join(file));
            for command in [
                "check",
                "plan --profile campus-fw",
                "apply --profile campus-fw --yes",
            ] {
                let told = image.cttune(command).exits(1);
                told.says(&[&image.base.join(file).display().to_string(), said]);
            }
            assert!(!image.base.join("etc/sysctl.d/90-cttune.conf").exists());
        }
    }
}

/// Exchanges a folder of the image with a link out of it, again and again, while commands run.
fn race(image: &Image, folder: &str, victim: &Path) {
    let (folder, link) = (image.base.join(folder), image.base.join("link"));
    symlink(victim, &link).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A rollback may just have removed the folder.
                let _ = renameat2(
                    AT_FDCWD,
                    &folder,
                    AT_FDCWD,
                    &link,
                    RenameFlags::RENAME_EXCHANGE,
                );
            }
        });
        for _ in 0..15 {
            for command in ["apply --profile campus-fw --yes", "rollback --yes", "check"] {
                image.cttune(command);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_folder_that_becomes_a_link_meanwhile_leads_nothing_out_of_the_root() {
    for folder in [
        "etc",
        "etc/sysctl.d",
        "etc/cttune",
        "var",
        "var/lib",
        "usr/lib",
    ] {
        let image = Image::new();
        let victim = image.place.path().join("victim");
        // As the image has them, so that a path through the link leads somewhere.
        for inner in [
            "sysctl.d",
            "cttune",
            "lib",
            "modules-load.d",
            "udev/rules.d",
        ] {
            fs::create_dir_all(victim.join(inner)).unwrap();
        }
        race(&image, folder, &victim);
        let mut found = Command::new("find");
        let found = Told::by(found.arg(&victim).args(["-type", "f"])).exits(0);
        assert_eq!(found.stdout, "", "{folder}");
    }
}

#[test]
fn a_profile_of_an_image_extends_no_file_outside_it() {
    let secret = "root:$6$SECRET:1::\n";
    for extends in [
        "../../../secret.toml",
        "SECRET/secret.toml",
        "./up.toml",
        "secret",
    ] {
        let image = Image::new();
        let outside = image.place.write("secret.toml", secret);
        image.place.write("secret", secret);
        let folder = image.base.join("etc/cttune");
        symlink(&outside, folder.join("up.toml")).unwrap();
        symlink(&outside, folder.join("secret")).unwrap();
        let extends = extends.replace("SECRET", image.place.path().to_str().unwrap());
        image.place.write(
            "image/etc/cttune/active.toml",
            &format!("extends = \"{extends}\"\n"),
        );
        for command in ["check", "plan"] {
            let told = image.cttune(command).exits(1);
            assert!(!format!("{told}").contains("SECRET:"), "{extends}: {told}");
        }
    }
    // What is in the image, and what has a name, is still extended.
    for (extends, code) in [("./site.toml", 2), ("campus-fw", 2)] {
        let image = Image::new();
        let text = "extends = \"campus-fw\"\n[sysctl]\nnf_conntrack_max = 300000\n";
        image.place.write("image/etc/cttune/site.toml", text);
        image.place.write(
            "image/etc/cttune/active.toml",
            &format!("extends = \"{extends}\"\n"),
        );
        image.cttune("check").exits(code);
    }
}

#[test]
fn root_takes_no_profile_from_a_folder_that_others_may_write() {
    if !geteuid().is_root() {
        return;
    }
    let place = Place::new();
    for (mode, code) in [(0o777, 1), (0o775, 1), (0o755, 0), (0o1777, 0)] {
        let profile = place.write("open/below/p.toml", "extends = \"campus-fw\"\n");
        let folder = place.path().join("open");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(place.program());
        let told = ends(command.args(["profile", "show", &profile]), "show").exits(code);
        if code == 1 {
            let folder = format!("its folder {}", folder.display());
            told.says(&[&profile, &folder, "may write it"]);
        }
    }
}

#[test]
fn a_profile_that_is_no_file_is_refused_by_name() {
    let place = Place::new();
    let fifo = place.path().join("fifo.toml");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    File::create(place.path().join("large.toml"))
        .unwrap()
        .set_len(1 << 33)
        .unwrap();
    for (name, said) in [
        ("fifo.toml", "is a FIFO, not a file"),
        ("large.toml", "larger than 1 MiB"),
        (".", "is a directory, not a file"),
        ("/dev/zero", "is a device, not a file"),
    ] {
        let path = place.path().join(name);
        for command in ["show", "check"] {
            let mut cttune = Command::new(place.program());
            cttune
                .args(["profile", command])
                .arg(format!("{}", path.join("").display()).trim_end_matches('/'));
            ends(&mut cttune, name).exits(1).says(&[said]);
        }
    }
}

/// Applies a profile to an image under a limit.
fn apply_under(limit: &str, image: &Image) -> Told {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}; exec \"$@\""), "sh"])
        .arg(image.place.program())
        .args(["apply", "--profile", "campus-fw", "--yes", "--root"])
        .arg(&image.base);
    ends(&mut command, limit)
}

#[test]
fn a_limit_ends_in_a_message_that_names_the_file() {
    let image = Image::new();
    let told = apply_under("ulimit -f 0", &image).exits(1);
    told.says(&[image.base.to_str().unwrap(), "large", "nothing was changed"]);
    let mut refused = 0;
    for descriptors in 4..=16 {
        let image = Image::new();
        let told = apply_under(&format!("ulimit -n {descriptors}"), &image);
        // With even fewer the program is not loaded at all.
        if told.code == 0 || told.code == 127 {
            continue;
        }
        refused += 1;
        told.exits(1).says(&["cannot ", "/", "Too many open files"]);
        let mut found = Command::new("find");
        let found = Told::by(found.arg(image.base.join("etc")).args(["-type", "f"]));
        assert_eq!(found.stdout, "", "{descriptors} descriptors");
    }
    assert!(refused > 0);
}

#[test]
fn a_name_that_is_no_namespace_is_refused_at_once() {
    let world = World::new();
    world.sh("mkdir -p /run/netns; mkfifo /run/netns/pipe; touch /run/netns/stale; mkdir /run/netns/folder");
    for name in ["pipe", "stale", "folder", "/run/netns/pipe", "/dev/zero"] {
        let mut command = world.command("cttune");
        let told = ends(command.args(["check", "--netns", name]), name).exits(1);
        told.says(&["is not a network namespace"]);
    }
    let mut command = world.command_among_processes("cttune");
    let told = ends(
        command.args(["check", "--all-netns", "--format", "json"]),
        "all",
    );
    assert_eq!(
        told.json()["namespaces"].as_array().unwrap().len(),
        1,
        "{told}"
    );
}

#[test]
fn a_namespace_that_is_only_a_mount_is_listed_by_its_path() {
    let world = World::new();
    let points = ["/run/docker/netns/1-abc", "/run/with space"];
    for point in points {
        let script = format!(
            "mkdir -p \"$(dirname '{point}')\"; touch '{point}'
             unshare -n mount --bind /proc/self/ns/net '{point}'"
        );
        let mut command = world.command_among_processes("sh");
        Told::by(command.args(["-ec", &script])).exits(0);
    }
    let mut command = world.command_among_processes("cttune");
    let told = Told::by(command.args(["check", "--all-netns", "--format", "json"]));
    let checked = told.json();
    let namespaces = checked["namespaces"].as_array().unwrap();
    let names: Vec<Value> = namespaces.iter().map(|one| one["name"].clone()).collect();
    assert_eq!(
        names,
        [points[0].into(), points[1].into(), Value::Null],
        "{told}"
    );
    for point in points {
        let mut command = world.command_among_processes("cttune");
        let told = Told::by(command.args(["check", "--netns", point]));
        assert!(told.code == 0 || told.code == 2, "{told}");
    }
}

#[test]
fn a_file_that_others_may_write_is_named_before_it_is_edited() {
    for (mode, said) in [
        (0o666, Some("others may write it (mode 0666)")),
        (0o664, Some("its group may write it (mode 0664)")),
        (0o644, None),
    ] {
        let image = Image::new();
        let line = "net.netfilter.nf_conntrack_max = 5000\n";
        let file = PathBuf::from(image.place.write("image/etc/sysctl.d/99-theirs.conf", line));
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        for command in ["plan", "apply --yes"] {
            let told = image.cttune(&format!("{command} --profile campus-fw --adopt"));
            let name = file.display().to_string();
            let noted = told
                .stderr
                .lines()
                .filter(|line| line.contains(&name))
                .count();
            assert_eq!(noted, usize::from(said.is_some()), "{told}");
            told.says(said.as_slice());
        }
        // The file keeps its mode.
        let after = fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
        assert_eq!(after, mode);
    }
}
