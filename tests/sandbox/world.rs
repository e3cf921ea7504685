//! What the command finds around it, and what of the host it cannot reach.

use std::fs;
use std::process::Command;

use nix::unistd::geteuid;

use super::{NOBODY, Place, callers, marker, on_a_host_of_its_own, output, sandbox, script};

#[test]
fn the_sysctls_and_etc_are_as_the_story_s_admin_left_them() {
    let place = Place::new();
    let host = fs::read_to_string("/etc/sysctl.conf").unwrap_or_default();
    for caller in callers() {
        let said = script(
            &place,
            caller,
            "0",
            "cd /proc/sys/net/netfilter
             cat nf_conntrack_max nf_conntrack_buckets nf_conntrack_expect_max
             cat nf_conntrack_tcp_timeout_established
             stat -c %a nf_conntrack_max
             readlink /etc/sysctl.d/99-sysctl.conf
             cmp /etc/sysctl.conf /etc/sysctl.d/99-sysctl.conf
             cat /etc/sysctl.conf",
        );
        let (sysctls, conf) = said.split_at(said.find("../").unwrap());
        assert_eq!(sysctls, "76800\n65536\n1024\n432000\n644\n");
        let conf = conf.strip_prefix("../sysctl.conf\n").unwrap();
        assert!(conf.starts_with(&host), "{conf}");
        assert!(conf.ends_with("\nnet.netfilter.nf_conntrack_max=131072\n") || host.is_empty());
    }
}

#[test]
fn one_line_says_that_max_is_simulated() {
    let place = Place::new();
    let (_, _, stderr) = output(sandbox(
        &place,
        callers()[0],
        &["--flows", "0", "--", "true"],
    ));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("max (76,800)") && stderr.contains("simulated"),
        "{stderr}"
    );
}

#[test]
fn cttune_inside_is_the_program_that_runs() {
    let place = Place::new();
    let ours = fs::read(place.program()).unwrap();
    for caller in callers() {
        let said = script(
            &place,
            caller,
            "0",
            "command -v cttune; cmp $(command -v cttune) cttune",
        );
        assert_eq!(said, "/run/cttune-sandbox/bin/cttune\n");
    }
    assert_eq!(fs::read(place.program()).unwrap(), ours);
}

#[test]
fn the_files_that_cttune_writes_can_be_made_replaced_and_removed() {
    let place = Place::new();
    for caller in callers() {
        script(
            &place,
            caller,
            "0",
            "for d in sysctl.d modules-load.d udev/rules.d cttune; do
                 echo a >/etc/$d/90-cttune.conf
                 echo b >/etc/$d/.new
                 mv /etc/$d/.new /etc/$d/90-cttune.conf
                 test $(cat /etc/$d/90-cttune.conf) = b
                 rm /etc/$d/90-cttune.conf
             done
             echo c >/etc/.new; mv /etc/.new /etc/sysctl.conf
             test $(cat /etc/sysctl.d/99-sysctl.conf) = c
             touch /run/lock.probe $CTTUNE_STATE_DIR/probe
             ip link show lo | grep -q UP || exit 9",
        );
    }
}

#[test]
fn the_log_of_the_host_is_hidden_and_one_can_be_written() {
    let place = Place::new();
    for caller in callers() {
        for started_in in ["/tmp", "/var/log"] {
            let look = "ls -A /var/log; cd /var/log; echo line >kern.log; mkdir app; cat kern.log";
            let mut command = sandbox(
                &place,
                caller,
                &["-q", "--flows", "0", "--", "sh", "-ec", look],
            );
            command.current_dir(started_in);
            let said = output(command);
            assert_eq!(said, (0, "line\n".to_owned(), String::new()), "{caller:?}");
        }
    }
}

#[test]
fn nothing_outside_can_be_written_through_proc_sys_or_etc() {
    let place = Place::new();
    let host = fs::read_to_string("/etc/sysctl.conf").ok();
    for caller in callers() {
        let probe = format!("/etc/cttune-probe-{}", marker());
        let said = script(
            &place,
            caller,
            "0",
            &format!(
                "cd /etc; echo x >sysctl.conf; echo x >./{name}; test -e {probe}
                 # What is there already, so that no harm is done where the test fails.
                 for f in /proc/sys/kernel/hostname /proc/sys/kernel/panic \
                          /proc/sys/vm/swappiness /proc/sys/fs/file-max; do
                     was=$(cat $f)
                     if (echo \"$was\" >$f) 2>/dev/null; then echo \"$f was written\"; fi
                 done
                 if (echo h >/proc/sysrq-trigger) 2>/dev/null; then echo sysrq; fi
                 find /sys/kernel /sys/module -maxdepth 3 -type f -writable
                 echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
                 pwd",
                name = &probe["/etc/".len()..],
            ),
        );
        assert_eq!(said, "/etc\n");
        assert!(!fs::exists(&probe).unwrap());
    }
    assert_eq!(fs::read_to_string("/etc/sysctl.conf").ok(), host);
    let udp = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_udp_timeout").unwrap();
    assert_ne!(udp, "77\n");
}

#[test]
fn a_command_started_in_etc_finds_itself_in_the_private_one() {
    let place = Place::new();
    for caller in callers() {
        let mut command = sandbox(&place, caller, &["--flows", "0", "--", "sh", "-ec"]);
        command
            .arg("echo x >./sysctl.d/probe; test -e /etc/sysctl.d/probe; pwd")
            .current_dir("/etc");
        let (code, stdout, stderr) = output(command);
        assert_eq!((code, stdout.as_str()), (0, "/etc\n"), "{stderr}");
        assert!(!fs::exists("/etc/sysctl.d/probe").unwrap());
    }
}

#[test]
fn what_a_user_may_not_read_stays_unreadable() {
    let place = Place::new();
    for caller in callers() {
        let outside = Command::new(caller[0])
            .args(&caller[1..])
            .args(["cat", "/etc/shadow"])
            .output()
            .unwrap();
        let inside = sandbox(
            &place,
            caller,
            &["--flows", "0", "--", "cat", "/etc/shadow"],
        )
        .output()
        .unwrap();
        assert_eq!(outside.status.success(), inside.status.success());
        assert_eq!(outside.stdout, inside.stdout);
    }
}

#[test]
fn the_umask_is_the_caller_s_and_the_sandbox_is_for_everybody() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command.args([
        "-ec",
        "umask 077; exec \"$0\" sandbox --flows 0 -- sh -c 'umask; \
         stat -c %a /proc/sys/net/netfilter/nf_conntrack_max /etc/sysctl.conf /run/cttune-sandbox/bin'",
        &place.program(),
    ]);
    let (code, stdout, stderr) = output(command);
    assert_eq!(
        (code, stdout.as_str()),
        (0, "0077\n644\n644\n755\n"),
        "{stderr}"
    );
}

#[test]
fn the_host_s_mounts_netns_and_tmp_are_as_before() {
    let place = Place::new();
    for caller in callers() {
        // Everything is shared, so that a mount that gets out would be seen.
        let (code, stdout, stderr) = on_a_host_of_its_own(
            &place,
            &format!(
                "mount --make-rshared /; mkdir -p tmp; chmod 1777 tmp; mount --bind tmp /tmp
                 look() {{ cat /proc/self/mountinfo; ls -A /run /run/netns /tmp /var/lib 2>&1 || true; }}
                 look >before
                 {} ./cttune sandbox --flows 10 -- sh -c 'ip netns add x || true; mount -t tmpfs t /media'
                 look >after
                 diff before after",
                caller.join(" ")
            ),
        );
        assert_eq!(code, 0, "{caller:?}: {stdout}{stderr}");
    }
}

#[test]
fn where_the_kernel_refuses_an_overlay_etc_is_a_copy() {
    let place = Place::new();
    for caller in callers() {
        let (code, stdout, stderr) = on_a_host_of_its_own(
            &place,
            &format!(
                "mkdir -p o; mount -t tmpfs t o; cd o; mkdir u1 w1 u2 w2
                 mount -t overlay o -o lowerdir=/etc,upperdir=u1,workdir=w1,userxattr /etc
                 mount -t overlay o -o lowerdir=/etc,upperdir=u2,workdir=w2,userxattr /etc
                 {} ../cttune sandbox --flows 0 -- sh -ec '
                     stat -f -c %T /etc; tail -n1 /etc/sysctl.conf
                     readlink /etc/sysctl.d/99-sysctl.conf; cmp /etc/passwd /proc/1/root/etc/passwd
                     echo x >/etc/cttune/probe; cat /etc/shadow >/dev/null 2>&1 && echo shadow || true'
                 test ! -e /etc/cttune/probe",
                caller.join(" ")
            ),
        );
        assert_eq!(code, 0, "{caller:?}: {stdout}{stderr}");
        let story = "tmpfs\nnet.netfilter.nf_conntrack_max=131072\n../sysctl.conf\n";
        assert!(stdout.starts_with(story), "{stdout}");
        let root = geteuid().is_root() && *caller != NOBODY;
        assert_eq!(stdout.ends_with("shadow\n"), root, "{stdout}");
    }
}
