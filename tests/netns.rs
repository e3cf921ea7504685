//! Entering a network namespace that another process is in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cttune::internals::in_netns;
use nix::unistd::geteuid;

/// A process in a network namespace of its own; ends with the test.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args(["-Urn", "sleep", "60"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let elsewhere = Elsewhere(child);
        let end = Instant::now() + Duration::from_secs(10);
        while elsewhere.netns() == here() {
            assert!(Instant::now() < end, "no new network namespace");
            std::thread::sleep(Duration::from_millis(2));
        }
        elsewhere
    }

    fn netns(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/ns/net", self.0.id())).unwrap()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn here() -> PathBuf {
    fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn the_work_is_done_inside_and_the_caller_stays_outside() {
    let elsewhere = Elsewhere::new();
    let before = here();
    let pid = elsewhere.0.id();
    for spec in [format!("pid:{pid}"), format!("/proc/{pid}/ns/net")] {
        let entered = in_netns(&spec, here);
        if geteuid().is_root() {
            assert_eq!(entered.unwrap(), elsewhere.netns());
        } else {
            // Our own user owns it, but in a user namespace that we are not in.
            assert!(entered.unwrap_err().contains("CAP_SYS_ADMIN"));
        }
        assert_eq!(here(), before);
    }
}

#[test]
fn a_namespace_of_another_type_is_not_entered() {
    let error = in_netns("/proc/self/ns/mnt", || ()).unwrap_err();
    assert!(error.contains("is not a network namespace"), "{error}");
}

#[test]
fn an_ordinary_user_is_told_what_it_takes() {
    if geteuid().is_root() {
        // The same test once more, in a user namespace where the caller is nobody.
        let again = Command::new("unshare")
            .arg("-U")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "an_ordinary_user_is_told_what_it_takes"])
            .output()
            .unwrap();
        assert!(again.status.success(), "{again:?}");
        return;
    }
    let error = in_netns("pid:1", || ()).unwrap_err();
    assert!(error.contains("CAP_SYS_ADMIN"), "{error}");
}
