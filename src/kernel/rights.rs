//! What a command gives up before it reads the text of others.
//!
//! In: what the command needs. Rule: what cannot be given up stays, and no command fails for it. A
//! program that root runs gets its capabilities back, but from a monitor.
//! Follows capabilities(7), PR_SET_NO_NEW_PRIVS(2const) and landlock(7).

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

/// Capabilities that a command may need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs(CapabilitySet);

impl Needs {
    /// To read: the table, the kernel log, files and processes of other users.
    pub(crate) const READ: Needs = Needs(
        CapabilitySet::NET_ADMIN
            .union(CapabilitySet::SYSLOG)
            .union(CapabilitySet::DAC_READ_SEARCH)
            .union(CapabilitySet::SYS_PTRACE),
    );
    /// To enter network namespaces too, and to make some and try a remedy in them.
    pub(crate) const NAMESPACES: Needs = Needs(
        Needs::READ
            .0
            .union(CapabilitySet::SYS_ADMIN)
            .union(CapabilitySet::NET_RAW),
    );
    /// To write files in folders of other users, too.
    pub(crate) const FILES: Needs = Needs(
        Needs::NAMESPACES
            .0
            .union(CapabilitySet::DAC_OVERRIDE)
            .union(CapabilitySet::CHOWN)
            .union(CapabilitySet::FOWNER),
    );
    /// To change the machine: to load the module, and to keep owner, mode and attributes of a file.
    pub(crate) const CHANGE: Needs = Needs(
        Needs::FILES
            .0
            .union(CapabilitySet::SYS_MODULE)
            .union(CapabilitySet::SYS_RESOURCE)
            .union(CapabilitySet::FSETID)
            .union(CapabilitySet::SETFCAP)
            .union(CapabilitySet::LINUX_IMMUTABLE)
            .union(CapabilitySet::MAC_ADMIN),
    );
}

/// Gives up all other capabilities of the calling thread and of those that it starts.
pub(crate) fn keep(needs: Needs) {
    if let Ok(own) = capabilities(None) {
        let kept = CapabilitySets {
            effective: own.effective & needs.0,
            permitted: own.permitted & needs.0,
            inheritable: CapabilitySet::empty(),
        };
        let _ = set_capabilities(None, kept);
    }
}

/// Keeps the programs that are run from getting back what was given up.
pub(crate) fn keep_from_programs() {
    let _ = set_no_new_privs(true);
}

/// Keeps the calling thread, and what it starts, from writing, making and removing files and from
/// using TCP, where the kernel has Landlock: `false` where it has not. What is open stays so, and
/// programs may write to /dev/null. A thread that is confined so sees nothing of the namespaces and
/// the root of other processes.
pub(crate) fn write_no_file() -> bool {
    confine().is_ok_and(|status| status != RulesetStatus::NotEnforced)
}

fn confine() -> Result<RulesetStatus, RulesetError> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_write(ABI::V3))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .create()?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?
        .restrict_self()?;
    Ok(status.ruleset)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_confined_thread_reads_and_writes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        let confined = std::thread::spawn({
            let file = file.clone();
            move || {
                let is_confined = write_no_file();
                let write = || OpenOptions::new().write(true).open(&file).map(drop);
                let others = [
                    write(),
                    fs::write(file.with_file_name("new"), ""),
                    fs::remove_file(&file),
                    fs::create_dir(file.with_file_name("folder")),
                ];
                let null = OpenOptions::new().write(true).open("/dev/null");
                (
                    is_confined,
                    others,
                    null.is_ok(),
                    fs::read_to_string(&file).unwrap(),
                )
            }
        });
        let (is_confined, others, has_null, text) = confined.join().unwrap();
        if is_confined {
            for tried in others {
                assert_eq!(tried.unwrap_err().kind(), ErrorKind::PermissionDenied);
            }
            assert_eq!(text, "text");
        } else {
            // Landlock is not in this kernel, or not started: it has been there since 5.13.
            let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
            assert!(!lsm.contains("landlock"), "{lsm}");
        }
        assert!(has_null);
        // Only that thread is.
        fs::write(&file, "other").unwrap();
        assert!(TcpListener::bind("127.0.0.1:0").is_ok());
    }
}
