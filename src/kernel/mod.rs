//! Door to the kernel: its sysctls, its conntrack module, facts about the machine.
//!
//! In: a [`Key`](crate::tunable::Key) and a number. Out: a
//! [`Reading`](crate::tunable::Reading), or an error that tells a missing right from a missing
//! key, a missing module and a refused value.
//! Rule: it decides nothing; everything it writes it reads back. Sysctls are those of the calling
//! thread's network namespace at the moment of the open (`/proc/sys/net` follows the thread).

pub(crate) mod addresses;
pub(crate) mod ahead;
pub(crate) mod counters;
pub(crate) mod ctnetlink;
pub(crate) mod host;
pub(crate) mod links;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod netns;
pub(crate) mod nft;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod rights;
pub(crate) mod rules;
pub(crate) mod seccomp;
pub(crate) mod ssh;
pub(crate) mod sysctl;
pub(crate) mod units;
