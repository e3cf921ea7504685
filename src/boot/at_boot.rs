//! What makes sysctl.d count where the kernel has conntrack as a module.
//!
//! Out: the text of two small files. A key exists only while its module is loaded, and
//! systemd-sysctl runs once, early: so the module is loaded before it (modules-load.d(5)), and the
//! keys are set again whenever the module comes back (udev(7)).

use std::path::Path;

/// Where the list of modules to load at boot is.
pub(crate) const MODULES_LOAD: &str = "/etc/modules-load.d/cttune.conf";

/// Where the udev rule is.
pub(crate) const UDEV_RULES: &str = "/etc/udev/rules.d/90-cttune.rules";

/// The text of [`MODULES_LOAD`].
pub(crate) fn modules_load() -> String {
    "\
# Kept by cttune: the next `cttune apply` overwrites edits.
# Loads connection tracking before systemd-sysctl runs: its sysctls do not exist earlier, and what
# sysctl.d sets would be lost.
nf_conntrack
"
    .to_owned()
}

/// The text of [`UDEV_RULES`], given the program that applies sysctl.d: an absolute path without
/// blanks or quotes, `/usr/lib/systemd/systemd-sysctl` on most systems.
///
/// Nothing waits for the rule: the program that loads the module goes on while udev works. Kernels
/// before 5.12 are said to send the event before the module has started; in guests with 5.10, as
/// with 6.1 and 6.12, the rule found every key, six loads in a row. Loading the module from the rule
/// as well would wait for its start, and load it again where it was unloaded right away.
pub(crate) fn udev_rules(systemd_sysctl: &Path) -> String {
    format!(
        "\
# Kept by cttune: the next `cttune apply` overwrites edits.
# Applies sysctl.d to connection tracking whenever its module is loaded, so that the settings also
# survive `modprobe -r`. It runs in parallel with the program that loaded the module.
# Two prefixes: all keys, and the old name of nf_conntrack_max, which is outside net/netfilter.
ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \
RUN+=\"{} --prefix=/net/netfilter --prefix=/net/nf_conntrack_max\"
",
        systemd_sysctl.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_module_is_loaded() {
        let text = modules_load();
        let modules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(modules, ["nf_conntrack"]);
    }

    #[test]
    fn one_rule_sets_both_prefixes_when_the_module_is_added() {
        let text = udev_rules(Path::new("/usr/lib/systemd/systemd-sysctl"));
        let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            rules,
            [
                "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \
                 RUN+=\"/usr/lib/systemd/systemd-sysctl --prefix=/net/netfilter \
                 --prefix=/net/nf_conntrack_max\""
            ]
        );
    }
}
