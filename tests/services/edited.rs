//! What somebody made of the table by hand: it is told by `check`, and `apply` writes the table again.

use crate::support::World;
use crate::{
    PROFILE, apply, finding, kinds, listed, plan, sorted, undo_although_changed, world, write,
};

const LIFELINE: &str = "[lifeline]\nfrom = [\"192.0.2.0/24\"]\nports = [22, 443]\n";

/// Loads the table again with a part of its listing replaced.
fn replace(from: &str, to: &str) -> String {
    format!(
        "nft list table inet cttune >/run/listed; sed -z 's/{from}/{to}/' /run/listed >/run/edited
         ! cmp -s /run/listed /run/edited
         nft delete table inet cttune; nft -f /run/edited"
    )
}

#[test]
fn a_table_that_somebody_edited_is_told_and_written_again() {
    let world = world(&(PROFILE.to_owned() + LIFELINE));
    apply(&world, &[]).exits(0);
    let live = listed(&world);
    for (edit, told) in [
        (
            "nft insert rule inet cttune arriving tcp dport 5228 accept".to_owned(),
            "it has `tcp dport 5228 accept`",
        ),
        (
            "nft 'add table inet cttune { flags dormant; }'".to_owned(),
            "it has `flags dormant`",
        ),
        (
            "nft 'add chain inet cttune own { policy drop; }'".to_owned(),
            "policy drop;`",
        ),
        (
            replace("proto-dst 5228-5230", "proto-dst 9"),
            "proto-dst 9 ",
        ),
        (
            replace("meta l4proto udp ct original proto-dst 53 ", ""),
            "it has `ct label set",
        ),
        (
            replace("\\(set \"service_dns_udp_[0-9a-f]*\"\\) accept", "\\1"),
            "it has `",
        ),
        (
            replace("\\t\\tct state != new accept\\n", ""),
            "it lacks `ct state != new accept`",
        ),
        (
            replace(
                "tcp dport { 22, 443 } notrack",
                "tcp dport { 22, 444 } notrack",
            ),
            "22, 444",
        ),
        (
            replace(
                "\\(ct state != new accept\\)\\n\\([^\\n]*\\)\\n\\([^\\n]*\\)\\n",
                "\\1\\n\\3\\n\\2\\n",
            ),
            "",
        ),
    ] {
        world.sh(&edit);
        let found = finding(&world).unwrap_or_else(|| panic!("{edit}"));
        assert!(found.contains(told), "{edit}: {found}");
        let planned = plan(&world, &[]);
        assert_eq!(kinds(&planned), ["service"], "{edit}");
        apply(&world, &[]).exits(0);
        assert_eq!(finding(&world), None, "{edit}");
        assert_eq!(sorted(&listed(&world)), sorted(&live), "{edit}");
    }
}

#[test]
fn an_edit_is_no_reason_for_rollback_to_fail_and_is_not_undone_unasked() {
    let world = world(PROFILE);
    let before = (world.state(), listed(&world));
    apply(&world, &[]).exits(0);
    let edit = |world: &World| world.sh("nft insert rule inet cttune own counter");
    edit(&world);
    undo_although_changed(&world);
    assert_eq!((world.state(), listed(&world)), before);

    // A change that began with an edited table ends with the table that was written.
    apply(&world, &[]).exits(0);
    let live = listed(&world);
    edit(&world);
    write(&world, &PROFILE.replace("30m", "40m"));
    apply(&world, &[]).exits(0);
    world.cttune(&["rollback", "--yes"]).exits(0);
    write(&world, PROFILE);
    assert_eq!(finding(&world), None);
    assert_eq!(sorted(&listed(&world)), sorted(&live));
}

#[test]
fn a_boot_after_which_no_old_flows_are_there_does_not_hinder_a_rollback() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    let first = listed(&world);
    write(&world, &PROFILE.replace("30m", "40m"));
    apply(&world, &[]).exits(0);
    // What nftables.service and the unit of cttune do at boot, and whenever they are reloaded.
    world.sh("nft flush ruleset; nft -f /etc/cttune/services.nft");
    let history = world.cttune(&["history"]).exits(0).stdout;
    assert!(
        !history.lines().last().unwrap().contains("changed since"),
        "{history}"
    );
    world.cttune(&["rollback", "--yes"]).exits(0);
    assert_eq!(sorted(&listed(&world)), sorted(&first));
    world.cttune(&["rollback", "--yes"]).exits(0);
    assert_eq!(listed(&world), "");
}
