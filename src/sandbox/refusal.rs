//! Why a kernel refuses a sandbox, and what the operator can do about it.
//!
//! The refusals come at different stages (unshare, the id maps, the first mount) and with the same
//! EPERM or EACCES, so the switches that can be the cause are read once something failed.

use std::fs;
use std::io;

use nix::errno::Errno;

/// The switches that forbid user namespaces, as they stand.
#[derive(Debug, Default)]
struct Switches {
    /// `/proc/sys/kernel/unprivileged_userns_clone`, on Debian's and Arch's kernels.
    userns_clone: Option<i64>,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`, Ubuntu since 23.10.
    apparmor: Option<i64>,
    /// `/proc/sys/user/max_user_namespaces`.
    max_user_namespaces: Option<i64>,
    /// A seccomp filter stands over this process, as in a container.
    seccomp: bool,
}

/// The error for `doing` that failed with `error`, with the cause where one can be seen.
pub(super) fn because(doing: &str, error: impl Into<io::Error>) -> anyhow::Error {
    let error = error.into();
    let errno = error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw);
    match hint(errno, &Switches::read()) {
        Some(hint) => anyhow::anyhow!("{doing}: {error}\nhint: {hint}"),
        None => anyhow::anyhow!("{doing}: {error}"),
    }
}

fn hint(errno: Errno, switches: &Switches) -> Option<&'static str> {
    match errno {
        Errno::ENOSPC | Errno::EUSERS if switches.max_user_namespaces == Some(0) => Some(
            "user namespaces are switched off: as root, \
             sysctl -w user.max_user_namespaces=15000",
        ),
        Errno::ENOSPC | Errno::EUSERS => Some(
            "a limit on namespaces is reached: see user.max_*_namespaces, here and in what contains this",
        ),
        Errno::EPERM | Errno::EACCES if switches.userns_clone == Some(0) => Some(
            "user namespaces are for root alone here: run as root, or as root \
             sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        Errno::EPERM | Errno::EACCES if switches.apparmor == Some(1) => Some(
            "AppArmor restricts user namespaces: run as root, or as root \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        Errno::EPERM | Errno::EACCES if switches.seccomp => Some(
            "a seccomp filter stands over this process, as in a container: run outside it, or for \
             docker add --privileged",
        ),
        Errno::EPERM | Errno::EACCES => Some(
            "a security module, a chroot, or a container or sandbox that masks /proc can be the \
             cause: try outside it",
        ),
        _ => None,
    }
}

impl Switches {
    fn read() -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Switches {
            userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            seccomp: status.lines().any(|line| line == "Seccomp:\t2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let hint = hint(errno, &switches).unwrap();
            assert!(hint.contains(names), "{errno} {switches:?}: {hint}");
        }
        assert_eq!(hint(Errno::EIO, &none()), None);
    }
}
