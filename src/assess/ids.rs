//! What findings are called: a profile may accept one that there is not.

use crate::tunable::nearest_name;

/// The id of every finding.
pub(crate) const IDS: [&str; 49] = [
    "acct-off",
    "agent-conntrackd",
    "agent-docker",
    "agent-firewalld",
    "agent-kube-proxy",
    "agent-tuned",
    "agent-ufw",
    "beaten-at-boot",
    "chain-too-long",
    "early-drops",
    "established-before-keepalive",
    "established-short",
    "expire-deletes-nat",
    "flowtables",
    "hash-load",
    "hashsize-option",
    "insert-failed",
    "invalid-packets",
    "lost-at-boot",
    "managed-file",
    "max-unlimited",
    "nat-ports",
    "netns-near-full",
    "not-loaded",
    "not-reclaimable",
    "packets-dropped",
    "push-ports",
    "readers-disagree",
    "rfc4787-req5",
    "rfc5382-req5",
    "rfc5382-req5-transitory",
    "rfc5508-req2",
    "rfc6888-req4",
    "rfc6888-req8",
    "rfc7857-opening",
    "rfc7857-rst",
    "search-restarts",
    "sysctl-conf-unread",
    "table-fill",
    "table-filling",
    "table-full-log",
    "table-memory",
    "tcp-be-liberal",
    "tcp-loose",
    "tcp-loose-off",
    "timeout-below-one",
    "timeout-policies",
    "timestamp-off",
    "udp-stream-short",
];

/// What to say to somebody who takes this for a finding's id; `None` where it is one.
///
/// That is no mistake: a newer cttune may know it.
pub(crate) fn strange_id(id: &str) -> Option<String> {
    if IDS.contains(&id) {
        return None;
    }
    let nearest = nearest_name(id, IDS.iter().map(ToString::to_string), 0.8);
    let advice = nearest.map(|nearest| format!("; did you mean `{nearest}`?"));
    let advice = advice.unwrap_or_default();
    Some(format!("no finding is called `{id}`{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_id_is_told_with_the_nearest() {
        assert_eq!(strange_id("rfc4787-req5"), None);
        for (id, said) in [
            (
                "rfc4787-req55",
                "no finding is called `rfc4787-req55`; did you mean `rfc4787-req5`?",
            ),
            ("x", "no finding is called `x`"),
        ] {
            assert_eq!(strange_id(id).as_deref(), Some(said));
        }
    }
}
