//! ufw, which applies a sysctl file of its own when it starts, and firewalld, which may unload the
//! module when it stops. Follows ufw-framework(8), firewalld.conf(5).

use std::path::Path;

use super::facts::{Facts, assigned, setting};
use super::{Certainty, LaterWrite, units};
use crate::boot::effective::of_file;

const UFW_CONF: &str = "/etc/ufw/ufw.conf";
const UFW_DEFAULT: &str = "/etc/default/ufw";
const FIREWALLD_CONF: &str = "/etc/firewalld/firewalld.conf";

/// The lines of ufw's sysctl file, which it gives to `sysctl -p`; nothing orders that against
/// systemd-sysctl, and it comes after.
pub(super) fn writes(facts: &Facts<'_>) -> Vec<LaterWrite> {
    let file = file(facts);
    let text = file
        .as_ref()
        .and_then(|path| Some((path, facts.text(path)?)));
    let Some((path, text)) = text else {
        return Vec::new();
    };
    let write = |(key, winner): (_, crate::boot::Winner)| LaterWrite {
        who: "ufw".to_owned(),
        when: "when ufw starts".to_owned(),
        file: Path::new(&path).to_owned(),
        line: winner.line,
        key: Some(key),
        value: Some(winner.value),
        certainty: Certainty::Sure,
    };
    of_file(text.as_bytes()).into_iter().map(write).collect()
}

/// The sysctl file that ufw applies; none where it does not start.
pub(super) fn file(facts: &Facts<'_>) -> Option<String> {
    let is_on = assigned(facts, UFW_CONF, "ENABLED")?.eq_ignore_ascii_case("yes");
    let path = assigned(facts, UFW_DEFAULT, "IPT_SYSCTL")?;
    let is_masked = units::is_masked(facts, "ufw.service");
    (is_on && !is_masked && path.starts_with('/')).then_some(path)
}

pub(super) fn firewalld_unloads(facts: &Facts<'_>) -> bool {
    let conf = facts.text(FIREWALLD_CONF).unwrap_or_default();
    let value = setting(conf, "CleanupModulesOnExit");
    value.is_some_and(|value| matches!(value.to_lowercase().as_str(), "yes" | "true"))
}
