//! What keeps a program that is installed from being run at boot: a masked unit, a runlevel without
//! its script.

use std::path::PathBuf;

use super::{Facts, units};

/// Runlevels of OpenRC, and folders of sysvinit, that are entered at boot.
const OPENRC: [&str; 3] = [
    "/etc/runlevels/sysinit",
    "/etc/runlevels/boot",
    "/etc/runlevels/default",
];
const SYSVINIT: [&str; 3] = ["/etc/rcS.d", "/etc/rc2.d", "/etc/rc3.d"];

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Disabled {
    /// The link that masks systemd-sysctl.
    pub(crate) sysctl: Option<PathBuf>,
    /// The link that masks systemd-modules-load.
    pub(crate) modules_load: Option<PathBuf>,
    /// Whether OpenRC's runlevels leave out `sysctl`, and those of sysvinit its script `procps`.
    pub(crate) openrc: bool,
    /// Whether OpenRC's leave out `modules`, which loads what modules-load.d and /etc/modules name.
    pub(crate) modules: bool,
    pub(crate) procps: bool,
}

pub(super) fn read(facts: &Facts<'_>) -> Disabled {
    Disabled {
        sysctl: units::mask(facts, "systemd-sysctl.service"),
        modules_load: units::mask(facts, "systemd-modules-load.service"),
        openrc: leaves_out(facts, &OPENRC, "sysctl"),
        modules: leaves_out(facts, &OPENRC, "modules"),
        procps: facts.has("/etc/init.d", "procps") && leaves_out(facts, &SYSVINIT, "procps"),
    }
}

/// Whether no folder has the script or a link that starts it. Empty folders tell nothing: an image
/// may be a few files alone.
fn leaves_out(facts: &Facts<'_>, folders: &[&str], script: &str) -> bool {
    let starts = |name: &String| {
        let of_link = name.strip_prefix('S');
        let of_link = of_link.map(|link| link.trim_start_matches(|c: char| c.is_ascii_digit()));
        name == script || of_link == Some(script)
    };
    let names = || folders.iter().flat_map(|folder| facts.names(folder));
    names().next().is_some() && !names().any(starts)
}
