//! Facts about the machine that sizing and persistence need.

/// How the kernel has connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Conntrack {
    /// Compiled in: the sysctls exist from the first moment of a boot.
    BuiltIn,
    /// A module, and loaded: the sysctls exist now, and at the next boot once it is loaded again.
    Module,
    /// Not loaded: no conntrack sysctl exists.
    NotLoaded,
}

/// What a plan needs to know of the machine beside its sysctls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// CPUs that are online.
    pub(crate) cpus: u32,
    /// `MemTotal`, in bytes.
    pub(crate) memory: u64,
    pub(crate) conntrack: Conntrack,
}
