//! Where no sandbox can be made, the cause is named and nothing runs.

use std::process::Command;

use super::{Place, callers, on_a_host_of_its_own, output, sandbox};

#[test]
fn user_namespaces_switched_off_are_named() {
    let place = Place::new();
    let (code, _, stderr) = output({
        let mut command = Command::new("unshare");
        command.args([
            "-Ur",
            "sh",
            "-ec",
            "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" sandbox -- echo never",
            &place.program(),
        ]);
        command
    });
    assert_eq!(code, 125, "{stderr}");
    assert!(stderr.contains("making a user namespace: "), "{stderr}");
    assert!(
        stderr.contains("hint: user namespaces are switched off"),
        "{stderr}"
    );
}

#[test]
fn a_refusal_in_a_chroot_is_named() {
    let place = Place::new();
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &place,
        "mkdir -p root; mount --rbind / root; exec chroot root $PWD/cttune sandbox -- echo never",
    );
    assert_eq!((code, stdout.as_str()), (125, ""), "{stderr}");
    assert!(
        stderr.contains("making a user namespace: ") && stderr.contains("chroot"),
        "{stderr}"
    );
}

#[test]
fn a_proc_that_hides_things_is_named_and_nothing_runs() {
    // As in a container: the kernel lets no fresh /proc show what an older one hides.
    let place = Place::new();
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &place,
        "mount -t tmpfs t /proc/irq; exec ./cttune sandbox -- echo never",
    );
    assert_eq!((code, stdout.as_str()), (125, ""), "{stderr}");
    assert!(
        stderr.contains("mounting a fresh /proc: ") && stderr.contains("masks /proc"),
        "{stderr}"
    );
}

#[test]
fn a_sandbox_in_a_sandbox_is_refused_and_the_outer_one_goes_on() {
    let place = Place::new();
    for caller in callers() {
        let inner = "cttune sandbox --flows 0 -- echo never; echo $?; cttune apply kernel-defaults \
            --set udp_timeout=44 --adopt --yes >/dev/null && cttune rollback --yes";
        let (code, stdout, stderr) = output(sandbox(
            &place,
            caller,
            &["--flows", "0", "--", "sh", "-c", inner],
        ));
        assert_eq!(code, 0, "{stderr}");
        assert!(
            stdout.starts_with("125\n") && !stdout.contains("never"),
            "{stdout}"
        );
        let told = "error: this is a sandbox already";
        assert!(
            stderr.contains(told) && stderr.contains("hint: run the command"),
            "{stderr}"
        );
    }
}

#[test]
fn mounts_on_each_other_are_made_read_only_with_the_flags_of_the_last() {
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &Place::new(),
        "mount -t tmpfs t /srv; mount -t tmpfs -o nosuid,nodev t /srv
         unshare -Urm ./cttune sandbox --flows 0 -- sh -c 'touch /srv/a || echo read-only'",
    );
    assert_eq!((code, stdout.as_str()), (0, "read-only\n"), "{stderr}");
}

#[test]
fn the_hidden_command_by_hand_changes_nothing() {
    let place = Place::new();
    for args in [
        &[][..],
        &["init", "1", "0", "true"],
        &["init"],
        &["exec"],
        &["other"],
    ] {
        let output = Command::new(place.program())
            .arg("sandbox-inside")
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{args:?}");
    }
    // As PID 1, with the right parent and as root: it still leaves the mounts of others alone.
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &place,
        "mount --make-rshared /; cat /proc/self/mountinfo >before
         unshare -pf --mount-proc sh -c 'exec ./cttune sandbox-inside init 0 0 echo ran'
         cat /proc/self/mountinfo >after; diff before after",
    );
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("ran"), "{stdout}{stderr}");
}
