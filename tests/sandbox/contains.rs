//! What is done in a sandbox stays in it: the whole file tree of the system is compared.

use std::fs;

use super::{Place, callers, on_a_host_of_its_own, output, sandbox};

/// A machine whose vendor sets conntrack keys below /usr, and `look`, which lists every file of the
/// system with size, owner, mode and times. What other programs write meanwhile is covered.
const MACHINE: &str = r"
    for folder in /var/log /var/cache /var/lib/apt; do
        test ! -d $folder || mount -t tmpfs t $folder
    done
    for folder in /usr/lib/sysctl.d /usr/local/lib; do
        test -d $folder; mount -t tmpfs -o mode=0755 t $folder
    done
    mkdir /usr/local/lib/sysctl.d
    echo 'net.netfilter.nf_conntrack_max = 524288' >/usr/lib/sysctl.d/99-vendor.conf
    echo 'net.netfilter.nf_conntrack_tcp_timeout_established = 600' \
        >/usr/local/lib/sysctl.d/99-local.conf
    look() {
        find /bin /boot /etc /lib /opt /sbin /usr /var -printf '%p %y %m %U:%G %s %T@ %C@ %l\n' |
            sort
        ls -A / /dev
    }
";

/// Every command of cttune that writes, with a path of the system, and a few other commands that
/// write.
const HOSTILE: &str = r#"
    cttune apply --profile campus-fw --adopt --yes
    grep -q '^# commented out' /usr/lib/sysctl.d/99-vendor.conf /usr/local/lib/sysctl.d/99-local.conf
    test $(cttune -q check --format json | grep -c '"in_line": true') = 1
    set +e
    for folder in /etc /usr/lib /usr/local/share /usr/lib/sysctl.d /var/lib /var/log /var /boot /opt /dev /; do
        cttune profile capture $folder/probe.toml
        cttune metrics --textfile $folder/probe.prom
        CTTUNE_STATE_DIR=$folder/probe-state cttune apply --profile rfc-nat --yes
        cttune completions bash >$folder/probe.bash
        cttune apply --root $folder --profile campus-fw --yes
        touch $folder $folder/probe; mkdir $folder/probe.d
    done
    cttune rollback --yes
    rm -f /usr/lib/sysctl.d/99-vendor.conf; mv /etc/passwd /etc/passwd.probe
    chmod 600 /usr/local/lib/sysctl.d/99-local.conf /usr/bin/env
    true
"#;

#[test]
fn no_command_in_the_sandbox_changes_a_file_of_the_system() {
    let place = Place::new();
    fs::write(place.0.path().join("hostile"), HOSTILE).unwrap();
    for caller in callers() {
        let caller = caller.join(" ");
        let (code, stdout, stderr) = on_a_host_of_its_own(
            &place,
            &format!(
                "{MACHINE}
                 look >before
                 {caller} ./cttune -q sandbox --flows 0 -- sh -ec \"$(cat hostile)\" >said 2>&1 ||
                     {{ cat said; exit 9; }}
                 look >after
                 diff before after"
            ),
        );
        assert_eq!(code, 0, "{caller}: {stdout}{stderr}");
    }
}

#[test]
fn the_same_holds_where_it_is_started_in_a_folder_of_the_system() {
    let place = Place::new();
    let program = place.program();
    for caller in callers() {
        let caller = caller.join(" ");
        for folder in ["/", "/usr/lib", "/etc/sysctl.d", "/var/lib"] {
            let (code, stdout, stderr) = on_a_host_of_its_own(
                &place,
                &format!(
                    "{MACHINE}
                     look >before; here=$PWD; cd {folder}
                     HOME={folder} TMPDIR={folder} {caller} {program} -q sandbox --flows 0 -- \
                         sh -c 'touch probe .; cttune profile capture probe.toml; true' >/dev/null 2>&1
                     cd $here; look >after
                     diff before after"
                ),
            );
            assert_eq!(code, 0, "{caller} in {folder}: {stdout}{stderr}");
        }
    }
}

#[test]
fn what_the_caller_works_on_is_written_for_real() {
    let place = Place::new();
    for caller in callers() {
        let work = tempfile::tempdir_in(place.0.path()).unwrap();
        let mut open = std::process::Command::new("chmod");
        assert!(open.arg("777").arg(work.path()).status().unwrap().success());
        for (name, folder) in [("HOME", "home"), ("PWD", "here")] {
            let folder = work.path().join(folder);
            let mut command = sandbox(&place, caller, &["--flows", "0", "--", "sh", "-ec"]);
            command
                .arg("mkdir -p \"$0\"; cttune profile capture \"$0/mine.toml\"; touch /tmp/")
                .arg(&folder)
                .env(name, &folder)
                .current_dir(work.path());
            let (code, stdout, stderr) = output(command);
            assert_eq!(code, 0, "{caller:?}: {stdout}{stderr}");
            assert!(folder.join("mine.toml").exists(), "{name}");
        }
    }
}

#[test]
fn a_quiet_sandbox_says_nothing_of_its_own() {
    let place = Place::new();
    for quiet in ["-q", "--quiet"] {
        let args = ["--flows", "0", quiet, "--", "sh", "-c", "echo said; exit 3"];
        let told = output(sandbox(&place, callers()[0], &args));
        assert_eq!(told, (3, "said\n".to_owned(), String::new()));
    }
}
