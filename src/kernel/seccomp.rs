//! System calls that the calling thread, and what it starts, makes no more.
//!
//! In: nothing. Out: whether the kernel keeps to it. Rule: only calls that change the kernel, the
//! mounts, the clock or another process are refused, with EPERM; all that reads goes on.
//! Follows seccomp(2).

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use nix::libc;
use seccompiler::{BpfProgram, Error, SeccompAction, SeccompFilter, apply_filter};

/// Code for the kernel; mounts and roots; the whole machine; other processes; memory and files past
/// their usual checks.
const REFUSED: [i64; 40] = [
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_chroot,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_umount2,
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_add_key,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
];

/// Has these calls refused from now on; `false` where the kernel or the processor has no such
/// filter. A program that is run gets back no right then.
pub(crate) fn refuse_rare_calls() -> bool {
    filter().is_ok_and(|filter| apply_filter(&filter).is_ok())
}

fn filter() -> Result<BpfProgram, Error> {
    let refused: BTreeMap<i64, _> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let with = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, with, ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::errno::Errno;
    use nix::mount::umount;

    use super::*;

    #[test]
    fn a_thread_makes_no_rare_call_and_reads_on() {
        let seen = std::thread::spawn(|| {
            let before = umount("/there is none");
            let refused = refuse_rare_calls();
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            (before, refused, umount("/there is none"), status)
        });
        let (before, refused, after, status) = seen.join().unwrap();
        if refused {
            assert_eq!(after, Err(Errno::EPERM));
            assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        } else {
            assert_eq!(after, before);
            assert!(!status.contains("\nSeccomp:\t"), "{status}");
        }
        // Only that thread is.
        assert_eq!(umount("/there is none"), before);
    }
}
