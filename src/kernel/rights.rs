//! What a command gives up before it reads the text of others.
//!
//! In: what the command needs. Rule: what cannot be given up stays, and no command fails for it. A
//! program that root runs gets its capabilities back, but from a monitor.
//! Follows capabilities(7) and PR_SET_NO_NEW_PRIVS(2const).

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
