//! The next boot: lines that beat what is wanted, and readers that disagree.

use super::{Finding, Severity};
use crate::boot::Reader;
use crate::plan::{Comparison, DROP_IN, Obstacle, Setting};

const READERS: &str = "sysctl.d(5); procps reads /etc/sysctl.conf last, systemd-sysctl does not";

pub(super) fn findings(comparison: &Comparison, obstacles: &[Obstacle]) -> Vec<Finding> {
    let beaten = obstacles
        .iter()
        .filter_map(|obstacle| beaten(obstacle, comparison));
    let split = comparison.settings.iter().filter_map(split);
    beaten.chain(split).collect()
}

/// A line that sets another value than the profile wants, and beats the drop-in whatever that
/// says.
fn beaten(obstacle: &Obstacle, comparison: &Comparison) -> Option<Finding> {
    let Obstacle::Overridden {
        key,
        file,
        line,
        value,
        readers,
    } = obstacle
    else {
        return None;
    };
    let setting = comparison
        .settings
        .iter()
        .find(|setting| setting.key == *key)?;
    let wanted = setting.target_at_boot.as_ref()?.wanted;
    let readers: Vec<String> = readers.iter().map(ToString::to_string).collect();
    Some(Finding {
        id: "beaten-at-boot",
        severity: Severity::Warning,
        message: format!(
            "{}:{line} sets {key} to {value} and overrides {DROP_IN} for {}: the next boot \
             brings {value}, not {wanted}",
            file.display(),
            readers.join(" and "),
        ),
        hint: format!(
            "cttune apply --adopt comments that line out; cttune check --explain {} shows every \
             line",
            key.short_name()
        ),
        source: READERS,
        accepted: None,
    })
}

/// Two readers that bring two values: it depends on the boot which one holds.
fn split(setting: &Setting) -> Option<Finding> {
    let persisted = setting.persisted.as_ref()?;
    let values = [Reader::Procps, Reader::Systemd]
        .map(|reader| persisted.winner(reader).map(|winner| winner.value));
    let [Some(procps), Some(systemd)] = values else {
        return None;
    };
    (procps != systemd).then(|| Finding {
        id: "readers-disagree",
        severity: Severity::Warning,
        message: format!(
            "the next boot brings {} = {procps} by `sysctl --system` and {systemd} by \
             systemd-sysctl",
            setting.key
        ),
        hint: format!(
            "see the lines: cttune check --explain {}",
            setting.key.short_name()
        ),
        source: READERS,
        accepted: None,
    })
}
