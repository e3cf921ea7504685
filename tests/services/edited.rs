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

/// What somebody does, and what is said of it.
fn edits() -> Vec<(String, &'static str)> {
    vec![
        (
            "nft insert rule inet cttune arriving tcp dport 5228 accept".to_owned(),
            "chain arriving has `tcp dport 5228 accept`",
        ),
        (
            "nft 'add table inet cttune { flags dormant; }'".to_owned(),
            "the table has `flags dormant`",
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
            "chain arriving has `ct label set",
        ),
        (
            replace("\\(set \"service_dns_udp_[0-9a-f]*\"\\) accept", "\\1"),
            "`",
        ),
        (
            replace("\\t\\tct state != new accept\\n", ""),
            "chain arriving lacks `ct state != new accept`",
        ),
        (
            replace(
                "\\(chain arriving {\\n[^}]*\\)\\n[^\\n]*proto-dst 5228-5230[^\\n]*\\n",
                "\\1\\n",
            ),
            "chain arriving lacks `meta l4proto tcp ct original proto-dst 5228-5230 ",
        ),
        (
            "nft flush table inet cttune".to_owned(),
            "has none of cttune's rules: 2 services (dns, push) and the lifeline of 1 network have no \
             effect",
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
    ]
}

#[test]
fn a_table_that_somebody_edited_is_told_and_written_again() {
    let world = world(&(PROFILE.to_owned() + LIFELINE));
    apply(&world, &[]).exits(0);
    let live = listed(&world);
    for (edit, told) in edits() {
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
fn what_somebody_added_to_the_table_is_told_with_the_command_that_removes_it() {
    let world = world(&(PROFILE.to_owned() + LIFELINE));
    apply(&world, &[]).exits(0);
    for (add, part) in [
        ("add chain inet cttune foo", "chain foo"),
        ("add set inet cttune s { type ipv4_addr; }", "set s"),
        (
            "add map inet cttune m { type ipv4_addr : verdict; }",
            "map m",
        ),
        ("add counter inet cttune c", "counter c"),
        (
            "add ct helper inet cttune h { type \"ftp\" protocol tcp; }",
            "ct helper h",
        ),
        (
            "add rule inet cttune own accept comment \"x y\"",
            "a rule of chain own",
        ),
    ] {
        world.sh(&format!("nft '{add}'"));
        let told = format!("somebody added {part} to nft table inet cttune");
        assert!(finding(&world).unwrap().contains(&told), "{add}");
        let blocked = apply(&world, &[]).exits(1).error();
        assert!(
            blocked["message"].as_str().unwrap().contains(&told),
            "{add}"
        );
        let hint = blocked["hint"].as_str().unwrap();
        world.sh(hint.strip_prefix("remove it: ").unwrap());
        assert_eq!(finding(&world), None, "{add}");
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
