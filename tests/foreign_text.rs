//! Text that others chose reaches no reader as more than text: no control character, no mark of
//! direction, no line of its own; whatever it is in, wherever it is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::terminal::Terminal;
use support::{Told, World};

/// For a shell's `$'…'`: a title, a cleared screen, a colour that hides, directions, an invisible
/// character, the 8-bit CSI, backspaces.
const NASTY: &str = r"\e]0;TITLE\a\e[2J\e[30m\e[8m\u202egnp\u2066\u200b\u009b2J\b\b\f\x7f";
/// What may also hold line ends.
const LINES: &str = r"a\nFORGED line\r\e[2Kb";

/// What a reader would do more than show: controls but line ends, tabs and our own colours, marks of
/// text direction, and a line that somebody else began.
#[track_caller]
fn only_text(what: &str, text: &str, colours: bool) {
    let mut shown = text.to_owned();
    if colours {
        for number in (0..=2).chain([4]).chain(31..=36).chain(91..=96) {
            shown = shown.replace(&format!("\x1b[{number}m"), "");
        }
        for number in 17..=230 {
            shown = shown.replace(&format!("\x1b[38;5;{number}m"), "");
        }
    }
    let is_hidden = |c: char| matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let bad = |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_hidden(*c);
    assert_eq!(shown.chars().find(bad), None, "{what}: {text:?}");
    let forged = shown
        .lines()
        .find(|line| line.trim_start().starts_with("FORGED"));
    assert_eq!(forged, None, "{what}: {text}");
}

/// Plants it in everything that others write and cttune reads.
fn planted() -> (World, String) {
    let world = World::with_flows(2000);
    let script = format!(
        r#"set -e
        nasty=$'{NASTY}' lines=$'{LINES}'
        cd /run
        text='"\u001b]0;TITLE\u0007\u001b[2J\u001b[30m\u202egnp\u200b\u009b2J\b\f\u007f\nFORGED line\r\u001b[2K"'
        mkdir -p /run/profiles /etc/cttune/profiles
        cat >"/run/profiles/own$nasty.toml" <<END
description = $text
role = "nat"
[sysctl.udp_timeout]
value = 45
why = $text
[sysctl]
max = {{ at-least = 90000 }}
[accept]
"rfc4787-req5" = $text
$text = $text
END
        cp "/run/profiles/own$nasty.toml" /run/profiles/plain.toml
        cp /run/profiles/plain.toml "/etc/cttune/profiles/shelf$nasty.toml"
        sed 's/45/forty$nasty/; s/^role.*/rule = 1/' /run/profiles/plain.toml >/run/profiles/wrong.toml
        printf '%s\n' "net.netfilter.nf_conntrack_udp_timeout = 77 # $nasty" \
            "net.netfilter.nf_conntrack_tcp_timeout_established = $nasty" \
            "net.netfilter.nf_conntrack_$nasty = 5" >"/etc/sysctl.d/77-$nasty$lines.conf"
        cp "/etc/sysctl.d/77-$nasty$lines.conf" "/etc/sysctl.d/78-$nasty$lines"
        printf 'options nf_conntrack hashsize=%s\n' "$nasty" >"/etc/modprobe.d/$nasty$lines.conf"
        mkdir -p /etc/ufw /etc/default "/etc/tuned/t$nasty" /etc/cron.d
        printf 'IPT_SYSCTL=/etc/ufw/sysctl.conf # %s\nENABLED=yes\n' "$nasty" >/etc/default/ufw
        echo ENABLED=yes >/etc/ufw/ufw.conf
        printf 'net/netfilter/nf_conntrack_max=5 # %s\n' "$nasty" >/etc/ufw/sysctl.conf
        printf 't%s\n' "$nasty" >/etc/tuned/active_profile
        printf '[sysctl]\nnet.netfilter.nf_conntrack_acct=1 # %s\n' "$nasty" >"/etc/tuned/t$nasty/tuned.conf"
        printf '#!/bin/sh\n# %s\nsysctl -w net.netfilter.nf_conntrack_max=6 # %s\n' "$nasty" "$nasty" >/etc/rc.local
        chmod 755 /etc/rc.local
        printf '@reboot root sysctl -w net.netfilter.nf_conntrack_max=7 # %s\n' "$nasty" >"/etc/cron.d/x"
        printf 'quiet sysctl.net.netfilter.nf_conntrack_max=%s' "$nasty" >/run/cmdline
        mount --bind /run/cmdline /proc/cmdline
        printf '#!/bin/sh\nprintf "%%s\\\\n" %s\n' "'{{\"MESSAGE\":\"nf_conntrack: table full \\\\u001b]0;x\\\\u0007, dropping packet\",\"__REALTIME_TIMESTAMP\":\"1\"}}'" >/run/cttune-sandbox/bin/journalctl
        chmod 755 /run/cttune-sandbox/bin/journalctl
        cp /bin/sleep /run/kube-proxy
        /run/kube-proxy 1000 >/dev/null 2>&1 &
        "#
    );
    Told::by(world.command_among_processes("bash").args(["-c", &script])).exits(0);
    let own = world.sh("ls /run/profiles/own*");
    (world, own.trim_end_matches('\n').to_owned())
}

#[test]
fn what_others_wrote_is_text_wherever_it_is_shown() {
    let (world, own) = planted();
    let nasty = own
        .trim_start_matches("/run/profiles/own")
        .trim_end_matches(".toml");
    let plain = "/run/profiles/plain.toml";
    let sinks: &[&[&str]] = &[
        &["profile", "check", &own],
        &["profile", "check", "/run/profiles/wrong.toml"],
        &["profile", "check", nasty],
        &["profile", "list"],
        &["profile", "capture"],
        &["profile", "suggest", "--observe", "1s"],
        &["check", "-v"],
        &["check", "-v", "--profile", &own],
        &["check", "--profile", "/run/profiles/wrong.toml"],
        &["check", "--profile", nasty],
        &["check", "--explain", "udp_timeout"],
        &["check", "--explain", nasty],
        &["check", "--deep", "--profile", plain],
        &["check", "--netns", nasty],
        &["check", "--root", nasty],
        &["check", nasty],
        &["plan", "--profile", &own],
        &["plan", "--adopt", "--profile", plain],
        &["apply", "--profile", &own, "--yes"],
        &[
            "apply",
            "--profile",
            &own,
            "--adopt",
            "--allow-overridden",
            "--yes",
        ],
        &["history"],
        &["history", "1"],
        &["check", "-v"],
        &["metrics"],
        &["rollback", "--yes"],
        &["top", "--by", "dst,helper,label"],
        &["top", "--match", nasty],
        &["expire", "--dry-run", "--match", nasty],
        &["kill", "--dry-run", "--match", "label=x"],
        &["kill", "--match", nasty, "--yes"],
    ];
    let mut told_title = 0;
    for sink in sinks {
        for format in [&["--color", "always"][..], &["--format", "json"]] {
            let mut command = world.command_among_processes("cttune");
            let told = Told::by(command.args(*sink).args(format));
            let what = format!("{sink:?} {format:?}");
            assert!(!told.stdout.is_empty() || !told.stderr.is_empty(), "{what}");
            only_text(&what, &told.stdout, format[0] == "--color");
            only_text(&what, &told.stderr, format[0] == "--color");
            told_title += usize::from(told.to_string().contains("TITLE"));
        }
    }
    assert!(told_title > 20, "it is shown, escaped: {told_title}");
}

#[test]
fn a_monitor_a_file_and_a_terminal_get_text_too() {
    let (world, own) = planted();
    for args in [
        &["check", "--format", "nagios"][..],
        &["check", "--format", "npd"],
        &["metrics", "--format", "prometheus"],
        &["metrics", "--format", "munin"],
        &["metrics", "--format", "munin", "config"],
        &["metrics", "--format", "munin", "autoconf"],
    ] {
        for profile in [&own, "/run/profiles/wrong.toml", "/run/profiles/plain.toml"] {
            let told = world.cttune(&[args, &["--profile", profile]].concat());
            only_text(&format!("{args:?}"), &told.stdout, false);
            only_text(&format!("{args:?}"), &told.stderr, false);
        }
    }
    let file = "/run/x.prom";
    world
        .cttune(&["metrics", "--textfile", file, "--profile", &own])
        .exits(0);
    let text = world.read(file);
    assert!(text.contains("TITLE"), "{text}");
    only_text("--textfile", &text, false);

    // Who holds the lock, and a question on a terminal.
    world.sh("mkdir -p $CTTUNE_STATE_DIR");
    let mut apply = world.command("cttune");
    let mut asked = Terminal::start(apply.args(["apply", "--profile", &own, "--allow-overridden"]));
    asked.wait_for("[y/N/e to choose/?]");
    let lock = world.path("/run/cttune-sandbox/state/lock");
    std::fs::write(lock, "pid 1, `\x1b]0;TITLE\x07`\nFORGED\n").unwrap();
    let told = world.cttune(&["apply", "--profile", &own, "--allow-overridden", "--yes"]);
    let told = told.exits(1).says(&["another cttune is at work", "TITLE"]);
    only_text("the lock", &told.stderr, false);
    asked.send("n\r");
    let (_, screen) = asked.end();
    for (hidden, why) in [
        ("\x1b]0;", "a title"),
        ("\x1b[2J", "a cleared screen"),
        ("\u{202e}", "a direction"),
    ] {
        assert!(!screen.contains(hidden), "{why}: {screen:?}");
    }
    assert!(screen.contains("TITLE"), "{screen}");
}
