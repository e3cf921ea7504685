//! Services of an image below `--root`: files are written, and no kernel is asked or changed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::assert_same;
use crate::{PROFILE, kinds, listed, world};

const FILES: [&str; 4] = [
    "/etc/cttune/services.nft",
    "/etc/systemd/system/cttune-services.service",
    "/etc/systemd/system/multi-user.target.d/cttune.conf",
    "/etc/systemd/system/nftables.service.d/cttune.conf",
];

/// A file of the image that only has to be there.
fn touch(image: &Path, path: &str) {
    let path = image.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
}

/// The files of services that are in the image.
fn present(image: &Path) -> Vec<&'static str> {
    let is_there = |path: &&str| image.join(&path[1..]).exists();
    FILES.into_iter().filter(is_there).collect()
}

#[test]
fn an_image_gets_the_files_and_no_kernel_is_touched() {
    for (programs, files) in [
        (&[][..], &[][..]),
        (&["usr/sbin/nft"], &FILES[..1]),
        (&["usr/bin/nft", "usr/lib/systemd/systemd-sysctl"], &FILES),
    ] {
        let world = world(PROFILE);
        let before = (world.state(), listed(&world));
        let image: PathBuf = world.place.path().join("image");
        for program in programs {
            touch(&image, program);
        }
        touch(&image, "etc/hostname");
        let profile = world.place.write("own.toml", PROFILE);
        let cttune = |args: &[&str]| {
            let root = ["--root", image.to_str().unwrap()];
            world.cttune(&[&root, args].concat())
        };
        let planned = cttune(&["plan", &profile, "--json"]).exits(2).json();
        let expected = kinds(&planned);
        assert!(
            expected.iter().all(|kind| *kind == "write-file"),
            "{expected:?}"
        );
        let left_out = planned["services_left_out"].as_str();
        assert_eq!(left_out.is_some(), programs.is_empty(), "{planned}");

        cttune(&["apply", &profile, "--yes"]).exits(0);
        assert_eq!(present(&image), files);
        cttune(&["plan", &profile]).exits(0);
        let checked = cttune(&["check", &profile, "--json"]).exits(0).json();
        assert_eq!(checked["in_line"], true, "{checked}");
        if let Some(file) = files.last() {
            let text = fs::read_to_string(image.join(&FILES[0][1..])).unwrap();
            assert!(text.contains("established : 1800"), "{text}");
            fs::write(image.join(&file[1..]), "").unwrap();
            let checked = cttune(&["check", &profile, "--json"]).exits(2).json();
            assert!(
                checked.to_string().contains(&format!("{file} differs")),
                "{checked}"
            );
            cttune(&["apply", &profile, "--yes"]).exits(0);
        }
        if files.len() == FILES.len() {
            let unit = fs::read_to_string(image.join(&FILES[1][1..])).unwrap();
            assert!(
                unit.contains("ExecStart=/usr/bin/nft -f /etc/cttune/services.nft"),
                "{unit}"
            );
        }
        for _ in 0..=usize::from(!files.is_empty()) {
            // The second one left what was edited in between.
            cttune(&["rollback", "--yes", "--overwrite-changed"]).exits(0);
        }
        assert_eq!(present(&image), [""; 0]);
        assert_same(&before.0, &world.state(), "--root");
        assert_eq!(listed(&world), before.1);
    }
}
