//! What contrib/ has is understood by the programs that it is for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

const UNIT: &str = "contrib/systemd/cttune-netns@.service";

/// What `systemd-analyze verify` says of a unit, and whether it takes it.
fn verify(unit: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    // An instance: of a template alone the specifiers are not looked at.
    let path = folder.path().join("cttune-netns@blue.service");
    fs::write(&path, unit).unwrap();
    // systemd makes this one itself, of the mount.
    let mount = "[Mount]\nWhat=nsfs\nWhere=/run/netns/blue\n";
    fs::write(folder.path().join("run-netns-blue.mount"), mount).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .expect("systemd-analyze is part of the package systemd");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn systemd_understands_the_unit_for_a_namespace() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT);
    let unit = fs::read_to_string(path).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/cttune apply --netns %I "));
    // It is not installed here.
    let unit = unit.replace("/usr/bin/cttune", env!("CARGO_BIN_EXE_cttune"));
    let (taken, said) = verify(&unit);
    assert!(taken && said.is_empty(), "{said}");

    let (_, said) = verify(&unit.replace("BindsTo=", "BoundTo="));
    assert!(said.contains("BoundTo"), "a mistake is not seen: {said}");
}
