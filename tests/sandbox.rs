//! `cttune sandbox` against the kernel that runs, as root and as an ordinary user.
//!
//! Run by root, every promise is tried as root and as nobody; run by an ordinary user, as that one.
//! Needs the packages conntrack and util-linux. Whatever a test mounts, it mounts in a mount
//! namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

/// A directory that anybody may enter, with the program in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = place.path().join("cttune");
        fs::copy(env!("CARGO_BIN_EXE_cttune"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Place(place)
    }

    fn program(&self) -> String {
        self.0.path().join("cttune").to_str().unwrap().to_owned()
    }
}

/// Who calls: a prefix to the command line.
const NOBODY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

fn callers() -> &'static [&'static [&'static str]] {
    if geteuid().is_root() {
        &[&["env"], NOBODY]
    } else {
        &[&["env"]]
    }
}

fn sandbox(place: &Place, caller: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(caller[0]);
    command
        .args(&caller[1..])
        .arg(place.program())
        .arg("sandbox")
        .args(args)
        .current_dir(place.0.path());
    command
}

fn output(mut command: Command) -> (i32, String, String) {
    told(&command.output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().expect("no signal ends the caller"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Runs a shell script in a sandbox; it must succeed.
fn script(place: &Place, caller: &[&str], flows: &str, script: &str) -> String {
    let (code, stdout, stderr) = output(sandbox(
        place,
        caller,
        &["--flows", flows, "--", "sh", "-ec", script],
    ));
    assert_eq!(code, 0, "{caller:?}: {stdout}{stderr}");
    stdout
}

/// Runs a shell script as root of a mount namespace of its own, in the place.
fn on_a_host_of_its_own(place: &Place, script: &str) -> (i32, String, String) {
    let flags = if geteuid().is_root() { "-m" } else { "-Urm" };
    let mut command = Command::new("unshare");
    command
        .args([flags, "sh", "-ec", script])
        .current_dir(place.0.path());
    output(command)
}

/// A duration for `sleep` that no other process has.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("9{:07}{next:02}", std::process::id())
}

/// Whether a process sleeps for the marker.
fn sleeps(marker: &str) -> bool {
    fs::read_dir("/proc").unwrap().any(|entry| {
        let command = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        command == format!("sleep\0{marker}\0").as_bytes()
    })
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn the_table_is_the_story_s_as_conntrack_counts_it() {
    let place = Place::new();
    for caller in callers() {
        let listed = script(
            &place,
            caller,
            "76768",
            "PATH=$PATH:/usr/sbin:/sbin; conntrack -C; conntrack -L -o extended 2>/dev/null",
        );
        let (count, flows) = listed.split_once('\n').unwrap();
        assert!(count.parse::<u32>().unwrap() >= 76_032, "{count}");
        let lines: Vec<&str> = flows.lines().collect();
        // The one with a second to live may have gone.
        assert!((76_767..=76_768).contains(&lines.len()), "{}", lines.len());

        let having = |terms: &[&str]| {
            lines
                .iter()
                .filter(|line| terms.iter().all(|t| line.contains(t)))
                .count()
        };
        let push = " dst=2a00:1450:400b:c02::bc sport=";
        let to_push = having(&[push, " dport=5228 ", "ESTABLISHED", "[ASSURED]"]);
        assert!((51_999..=52_000).contains(&to_push), "{to_push}");
        assert_eq!(having(&["ESTABLISHED", "[ASSURED]"]), to_push + 3_000);
        assert_eq!(having(&["ESTABLISHED"]), to_push + 3_000);
        for (state, flows) in [
            ("SYN_SENT", 900),
            ("SYN_RECV", 300),
            ("FIN_WAIT", 1_700),
            ("CLOSE_WAIT", 1_000),
            ("LAST_ACK", 300),
            ("TIME_WAIT", 2_600),
            ("CLOSE ", 500),
        ] {
            assert_eq!(having(&[" tcp ", state]), flows, "{state}");
        }
        assert_eq!(having(&["SYN_SENT", "[UNREPLIED]"]), 900);
        assert_eq!(having(&[" udp "]), 13_300);
        assert_eq!(having(&[" udp ", "[UNREPLIED]"]), 1_500);
        assert_eq!(having(&[" udp ", "[ASSURED]"]), 5_800);
        assert_eq!(having(&[" icmp "]), 300);
        assert_eq!(having(&[" icmpv6 "]), 868);
        let v4 = lines.iter().filter(|line| line.starts_with("ipv4")).count();
        assert!((7_300..8_100).contains(&v4), "{v4}");

        let mut clients: Vec<_> = lines
            .iter()
            .filter(|line| line.contains(push))
            .filter_map(|line| line.split(' ').find(|word| word.starts_with("src=")))
            .collect();
        clients.sort_unstable();
        clients.dedup();
        assert_eq!(clients.len(), 4_100);
    }
}

#[test]
fn the_table_stays_full_for_two_seconds() {
    let place = Place::new();
    let count = script(
        &place,
        callers()[0],
        "76768",
        "sleep 2; cat /proc/sys/net/netfilter/nf_conntrack_count",
    );
    // 0.99 × 76,800
    assert!(count.trim().parse::<u32>().unwrap() >= 76_032, "{count}");
}

#[test]
fn the_flows_are_as_many_as_were_asked_for() {
    let place = Place::new();
    for (flows, max) in [(0_u32, 76_800), (1_000, 76_800), (153_536, 153_600)] {
        let said = script(
            &place,
            callers()[0],
            &flows.to_string(),
            "cd /proc/sys/net/netfilter; cat nf_conntrack_count nf_conntrack_max",
        );
        let numbers: Vec<u32> = said.lines().map(|line| line.parse().unwrap()).collect();
        // On a busy machine a flow with one second to live is gone before it is counted.
        let briefest = flows.div_ceil(50_000);
        assert!(
            numbers[0] <= flows && numbers[0] + briefest >= flows,
            "{said}"
        );
        assert_eq!(numbers[1], max);
    }
}

#[test]
fn more_flows_than_the_host_s_max_are_scaled_down_and_said_so() {
    let ceiling = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let ceiling: u64 = ceiling.trim().parse().unwrap();
    let asked = (2 * ceiling).to_string();
    let place = Place::new();
    let (code, stdout, stderr) = output(sandbox(
        &place,
        callers()[0],
        &[
            "--flows",
            &asked,
            "--",
            "sh",
            "-c",
            "cd /proc/sys/net/netfilter; cat nf_conntrack_count nf_conntrack_max",
        ],
    ));
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains(&format!("{ceiling} flows instead of {asked}")),
        "{stderr}"
    );
    let numbers: Vec<u64> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    let full = 76_800 * ceiling / 76_768;
    // Filling it takes about a second, in which a flow with a second to live may go.
    assert!(ceiling - numbers[0] <= 3, "{numbers:?}");
    assert!(numbers[1].abs_diff(full) <= 1, "{numbers:?}");
}

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
fn max_is_said_to_be_a_stand_in_in_one_line() {
    let place = Place::new();
    let (_, _, stderr) = output(sandbox(
        &place,
        callers()[0],
        &["--flows", "0", "--", "true"],
    ));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("max (76800)"), "{stderr}");
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
                 for f in kernel/hostname kernel/panic vm/swappiness fs/file-max; do
                     ! sh -c \"echo 1 >/proc/sys/$f\" 2>/dev/null
                 done
                 ! sh -c 'echo h >/proc/sysrq-trigger' 2>/dev/null
                 ! touch /sys/probe 2>/dev/null
                 ! sh -c 'echo 1 >/sys/kernel/profiling' 2>/dev/null
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
fn the_exit_code_is_the_command_s() {
    let place = Place::new();
    for caller in callers() {
        for (command, code) in [
            (&["true"][..], 0),
            (&["sh", "-c", "exit 7"], 7),
            (&["sh", "-c", "kill -TERM $$"], 143),
            (&["sh", "-c", "kill -KILL $$"], 137),
            (&["sh", "-c", "kill -34 $$"], 162),
            (&["/etc/passwd"], 126),
            (&["/etc"], 126),
            (&["/no/such/program"], 127),
            (&["no-such-program"], 127),
            (&["sh", "-c", "sh -c 'kill -35 $$' & wait; exit 3"], 3),
        ] {
            let args = [&["--flows", "0", "--"], command].concat();
            let (said, _, stderr) = output(sandbox(&place, caller, &args));
            assert_eq!(said, code, "{caller:?} {command:?}: {stderr}");
        }
    }
}

#[test]
fn arguments_arrive_as_they_are() {
    let place = Place::new();
    let args = ["--flows", "0", "--", "printf", "%s|", "--", "-x", "", "a b"];
    let (_, stdout, _) = output(sandbox(&place, callers()[0], &args));
    assert_eq!(stdout, "--|-x||a b|");
}

#[test]
fn signals_are_as_outside() {
    let place = Place::new();
    let look = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let outside = Command::new("sh").args(["-c", look]).output().unwrap();
    let inside = script(&place, callers()[0], "0", look);
    assert_eq!(inside, String::from_utf8(outside.stdout).unwrap());
}

#[test]
fn a_signal_to_the_caller_reaches_the_command() {
    let place = Place::new();
    for caller in callers() {
        for (which, name) in [
            (Signal::SIGTERM, "TERM"),
            (Signal::SIGHUP, "HUP"),
            (Signal::SIGINT, "INT"),
        ] {
            let body =
                format!("trap 'echo {name}; exit 5' {name}; echo up; while :; do sleep 0.02; done");
            let mut command = sandbox(&place, caller, &["--flows", "0", "--", "sh", "-c", &body]);
            let mut child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
            signal(&child, which);
            std::io::Read::read_to_string(&mut stdout, &mut line).unwrap();
            assert_eq!(line, format!("up\n{name}\n"));
            assert_eq!(child.wait().unwrap().code(), Some(5));
        }
    }
}

#[test]
fn a_signal_at_any_moment_of_the_set_up_ends_the_sandbox() {
    let place = Place::new();
    for delay in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        let marker = marker();
        let args = ["--flows", "20000", "--", "sleep", &marker];
        let mut child = sandbox(&place, callers()[0], &args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, Signal::SIGTERM);
        let status = child.wait().unwrap();
        assert!(!status.success());
        assert!(!sleeps(&marker), "after {delay} ms");
    }
}

#[test]
fn what_the_command_left_running_ends_with_it() {
    let place = Place::new();
    for caller in callers() {
        let marker = marker();
        let left =
            format!("sleep {marker} & setsid sleep {marker} & (sleep {marker} &) ; sleep 0.1");
        let args = ["--flows", "0", "--", "sh", "-c", &left];
        let status = sandbox(&place, caller, &args)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(!sleeps(&marker));
    }
}

#[test]
fn a_caller_that_is_killed_takes_everything_along() {
    let place = Place::new();
    for caller in callers() {
        let marker = marker();
        let args = ["--flows", "0", "--", "setsid", "-w", "sleep", &marker];
        let mut child = sandbox(&place, caller, &args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the command runs", || sleeps(&marker));
        signal(&child, Signal::SIGKILL);
        child.wait().unwrap();
        wait_until("the command is gone", || !sleeps(&marker));
    }
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

#[test]
fn user_namespaces_switched_off_are_named() {
    let place = Place::new();
    let (code, _, stderr) = output({
        let mut command = Command::new("unshare");
        command.args([
            "-Ur",
            "sh",
            "-ec",
            "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" sandbox -- echo never",
            &place.program(),
        ]);
        command
    });
    assert_eq!(code, 125, "{stderr}");
    assert!(stderr.contains("making a user namespace: "), "{stderr}");
    assert!(
        stderr.contains("hint: user namespaces are switched off"),
        "{stderr}"
    );
}

#[test]
fn a_refusal_in_a_chroot_is_named() {
    let place = Place::new();
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &place,
        "mkdir -p root; mount --rbind / root; exec chroot root $PWD/cttune sandbox -- echo never",
    );
    assert_eq!((code, stdout.as_str()), (125, ""), "{stderr}");
    assert!(
        stderr.contains("making a user namespace: ") && stderr.contains("chroot"),
        "{stderr}"
    );
}

#[test]
fn a_proc_that_hides_things_is_named_and_nothing_runs() {
    // As in a container: the kernel lets no fresh /proc show what an older one hides.
    let place = Place::new();
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &place,
        "mount -t tmpfs t /proc/irq; exec ./cttune sandbox -- echo never",
    );
    assert_eq!((code, stdout.as_str()), (125, ""), "{stderr}");
    assert!(
        stderr.contains("mounting a fresh /proc: ") && stderr.contains("masks /proc"),
        "{stderr}"
    );
}

#[test]
fn the_hidden_command_by_hand_changes_nothing() {
    let place = Place::new();
    for args in [
        &[][..],
        &["init", "1", "0", "true"],
        &["init"],
        &["exec"],
        &["other"],
    ] {
        let output = Command::new(place.program())
            .arg("sandbox-inside")
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{args:?}");
    }
    // As PID 1, with the right parent and as root: it still leaves the mounts of others alone.
    let (code, stdout, stderr) = on_a_host_of_its_own(
        &place,
        "mount --make-rshared /; cat /proc/self/mountinfo >before
         unshare -pf --mount-proc sh -c 'exec ./cttune sandbox-inside init 0 0 echo ran'
         cat /proc/self/mountinfo >after; diff before after",
    );
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("ran"), "{stdout}{stderr}");
}

/// What a person at a terminal sees.
mod terminal {
    use rexpect::session::{PtySession, spawn_command};

    use super::*;

    fn start(place: &Place, caller: &[&str], command: &[&str]) -> PtySession {
        let args = [&["--flows", "0", "--"], command].concat();
        spawn_command(sandbox(place, caller, &args), Some(10_000)).unwrap()
    }

    #[test]
    fn an_interactive_shell_has_job_control() {
        let place = Place::new();
        for caller in callers() {
            let mut shell = start(&place, caller, &["bash", "--norc", "--noprofile", "-i"]);
            shell.send_line("PS1='rea''dy> '").unwrap();
            let greeting = shell.exp_string("ready> ").unwrap();
            assert!(!greeting.contains("job control"), "{greeting}");
            shell.send_line("sleep 99").unwrap();
            std::thread::sleep(Duration::from_millis(200));
            shell.send_control('z').unwrap();
            shell.exp_string("Stopped").unwrap();
            shell.exp_string("ready> ").unwrap();
            shell.send_line("fg").unwrap();
            shell.exp_string("sleep 99").unwrap();
            std::thread::sleep(Duration::from_millis(200));
            shell.send_control('c').unwrap();
            shell.exp_string("ready> ").unwrap();
            shell.send_line("echo code=$?; exit 4").unwrap();
            shell.exp_string("code=130").unwrap();
            shell.exp_eof().unwrap();
            let status = format!("{:?}", shell.process().status());
            assert!(
                status.contains("Exited") && status.contains(", 4)"),
                "{status}"
            );
        }
    }

    #[test]
    fn ctrl_c_reaches_the_command_once() {
        let place = Place::new();
        for caller in callers() {
            let body = "trap 'echo got-it' INT; echo up; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo done";
            let mut session = start(&place, caller, &["sh", "-c", body]);
            session.exp_string("up").unwrap();
            session.send_control('c').unwrap();
            let seen = session.exp_string("done").unwrap();
            assert_eq!(seen.matches("got-it").count(), 1, "{seen}");
        }
    }

    #[test]
    fn the_terminal_is_given_back() {
        // A script that goes on reading after a shell in the sandbox has had the terminal.
        let place = Place::new();
        let script = format!(
            "{} sandbox --flows 0 -- bash --norc -ic 'true'; read -r line; echo \"read:$line\"",
            place.program()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let mut session = spawn_command(command, Some(10_000)).unwrap();
        session.exp_string("stand-ins").unwrap();
        session.send_line("words").unwrap();
        session.exp_string("read:words").unwrap();
    }
}
