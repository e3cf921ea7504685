//! Why a kernel refuses a sandbox, and what the operator can do about it.
//!
//! The refusals come at different stages (unshare, the id maps, the first mount) and with the same
//! EPERM or EACCES, so the switches that can be the cause are read once something failed.

use std::fs;
use std::io;

use nix::errno::Errno;

use crate::diagnostic::{Diagnostic, Hint, said};
use crate::kernel::host;

/// The switches that forbid user namespaces.
#[derive(Debug, Default)]
struct Switches {
    /// `/proc/sys/kernel/unprivileged_userns_clone`, on Debian's and Arch's kernels.
    userns_clone: Option<i64>,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`, Ubuntu since 23.10.
    apparmor: Option<i64>,
    /// `/proc/sys/user/max_user_namespaces`.
    max_user_namespaces: Option<i64>,
    /// A seccomp filter limits this process, as in a container.
    seccomp: bool,
}

/// The error for `doing` that failed with `error`, with the cause where one can be seen.
pub(super) fn because(doing: &str, error: impl Into<io::Error>) -> anyhow::Error {
    let error = error.into();
    let errno = error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw);
    let message = format!("{doing}: {}", said(&error));
    let hint = hint(errno, &Switches::read());
    Diagnostic { message, hint }.into()
}

/// The refusal inside of a sandbox: the kernel gives no /proc of its own where one is read-only.
pub(super) fn inside() -> anyhow::Error {
    let message = "this is a sandbox already: none can be made inside of it".to_owned();
    let hint = "run the command itself: whatever it does stays in this sandbox";
    let hint = Some(Hint::say(hint));
    Diagnostic { message, hint }.into()
}

fn hint(errno: Errno, switches: &Switches) -> Option<Hint> {
    Some(match errno {
        Errno::ENOSPC | Errno::EUSERS if switches.max_user_namespaces == Some(0) => {
            Hint::on_host("sysctl -w user.max_user_namespaces=15000")
                .to("user namespaces are switched off; to allow them, as root")
        }
        Errno::ENOSPC | Errno::EUSERS => Hint::say(
            "a limit on namespaces is reached: see user.max_*_namespaces, here and in what contains this",
        ),
        Errno::EPERM | Errno::EACCES if switches.userns_clone == Some(0) => Hint::on_host(
            "sysctl -w kernel.unprivileged_userns_clone=1",
        )
        .to("user namespaces are for root alone here: run it as root, or allow them, as root"),
        Errno::EPERM | Errno::EACCES if switches.apparmor == Some(1) => {
            Hint::on_host("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
                .to("AppArmor restricts user namespaces: run it as root, or allow them, as root")
        }
        Errno::EPERM | Errno::EACCES if switches.seccomp => Hint::say(
            "a seccomp filter limits this process, as in a container: run it outside, or give \
             docker --privileged",
        ),
        Errno::EPERM | Errno::EACCES => Hint::say(
            "a security module, a chroot, or a container or sandbox that masks /proc can be the \
             cause: try outside it",
        ),
        _ => return None,
    })
}

impl Switches {
    fn read() -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        Switches {
            userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            seccomp: host::read_own_status("Seccomp").as_deref() == Some("2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    #[test]
    fn each_refusal_names_its_switch() {
        let none = Switches::default;
        for (errno, switches, names) in [
            (
                Errno::ENOSPC,
                Switches {
                    max_user_namespaces: Some(0),
                    ..none()
                },
                "user.max_user_namespaces=",
            ),
            (Errno::ENOSPC, none(), "user.max_*_namespaces"),
            (
                Errno::EPERM,
                Switches {
                    userns_clone: Some(0),
                    apparmor: Some(0),
                    ..none()
                },
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                Errno::EACCES,
                Switches {
                    userns_clone: Some(1),
                    apparmor: Some(1),
                    ..none()
                },
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                Errno::EPERM,
                Switches {
                    seccomp: true,
                    ..none()
                },
                "seccomp",
            ),
            (Errno::EPERM, none(), "security module"),
        ] {
            let hint = hint(errno, &switches).unwrap().text(&Place::default());
            assert!(hint.contains(names), "{errno} {switches:?}: {hint}");
        }
        assert_eq!(hint(Errno::EIO, &none()), None);
    }
}
