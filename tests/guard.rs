//! `cttune guard` on a real kernel: it keeps the table below its mark and ends nothing that speaks.
//!
//! Needs the package conntrack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{Told, World};

/// A test cannot watch for hours.
const SHORT: &str = "--min-idle established-i-accept-broken-connections=2s --min-idle answered=2s \
    --min-idle unanswered=2s --min-idle syn-sent=2s --min-idle last-ack=2s";

/// 100 flows of each state that may end and of some that may not.
const FLOWS: &str = "
    for i in $(seq 1 100); do
        tcp=\"conntrack -I -p tcp -s 10.0.0.$i -d 192.0.2.1 --dport 80\"
        $tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000 --sport 1
        $tcp --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 600 --sport 2
        $tcp --state CLOSE -u SEEN_REPLY -t 600 --sport 3
        $tcp --state SYN_SENT -t 600 --sport 4
        $tcp --state LAST_ACK -u ASSURED,SEEN_REPLY -t 600 --sport 5
        $tcp --state CLOSE_WAIT -u ASSURED,SEEN_REPLY -t 600 --sport 6
        $tcp --state FIN_WAIT -u ASSURED,SEEN_REPLY -t 600 --sport 7
        $tcp --state SYN_RECV -u SEEN_REPLY -t 600 --sport 8
        udp=\"conntrack -I -p udp -s 10.0.0.$i -d 192.0.2.1 --dport 53 -t 600\"
        $udp --sport 1
        $udp --sport 2 -u SEEN_REPLY,ASSURED
    done >/dev/null 2>&1
";

/// How many flows are left of each state; of UDP by whether they were answered.
fn left(world: &World) -> Vec<(&'static str, usize)> {
    let text = world.sh("conntrack -L 2>/dev/null");
    let of = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    let states = [
        "CLOSE ",
        "TIME_WAIT",
        "SYN_SENT",
        "LAST_ACK",
        "ESTABLISHED",
        "CLOSE_WAIT",
        "FIN_WAIT",
        "SYN_RECV",
    ];
    let mut left: Vec<_> = states.into_iter().map(|state| (state, of(state))).collect();
    let udp = text.lines().filter(|line| line.starts_with("udp"));
    let (unanswered, answered): (Vec<_>, Vec<_>) = udp.partition(|line| line.contains("UNREPLIED"));
    left.push(("unanswered", unanswered.len()));
    left.push(("answered", answered.len()));
    left
}

/// The objects that a guard printed.
fn events(told: &Told) -> Vec<Value> {
    let lines = told.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ended(events: &[Value]) -> Vec<(String, u64)> {
    let ended = events
        .iter()
        .flat_map(|event| event["ended"].as_array().unwrap());
    ended
        .map(|one| {
            (
                one["class"].as_str().unwrap().to_owned(),
                one["flows"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// The flows that each pass ended.
fn passes(told: &Told) -> Vec<u64> {
    let events = events(told);
    let flows = events.iter().map(|event| {
        ended(std::slice::from_ref(event))
            .iter()
            .map(|one| one.1)
            .sum()
    });
    flows.filter(|flows| *flows > 0).collect()
}

#[test]
fn the_most_harmless_end_first_and_some_never() {
    for (low, expected) in [
        (850, "close 100, time-wait 50"),
        (
            550,
            "close 100, time-wait 100, syn-sent 100, unanswered 100, last-ack 50",
        ),
        (
            100,
            "close 100, time-wait 100, syn-sent 100, unanswered 100, last-ack 100, answered 100, \
             established 100",
        ),
    ] {
        let world = World::new();
        world.sh(FLOWS);
        let told = world.try_sh(&format!(
            "cttune guard --json --high 900 --low {low} {SHORT} & guard=$!
             for i in $(seq 600); do
                 [ $(conntrack -C) -gt $(({low} > 300 ? {low} : 300)) ] || break; sleep 0.1
             done
             kill -TERM $guard; wait $guard"
        ));
        let told = told.exits(0);
        let mut sum = std::collections::BTreeMap::new();
        for (class, flows) in ended(&events(&told)) {
            *sum.entry(class).or_insert(0) += flows;
        }
        let order = [
            "close",
            "time-wait",
            "syn-sent",
            "unanswered",
            "last-ack",
            "answered",
            "established",
        ];
        let classes: Vec<_> = order
            .into_iter()
            .filter_map(|class| Some(format!("{class} {}", sum.get(class)?)))
            .collect();
        assert_eq!(classes.join(", "), expected, "{told}");
        for (state, flows) in left(&world) {
            let never = ["CLOSE_WAIT", "FIN_WAIT", "SYN_RECV"].contains(&state);
            assert!(!never || flows == 100, "{state} {flows}");
        }
    }
}

#[test]
fn nothing_ends_that_was_watched_for_too_short_a_time() {
    let world = World::with_flows(2000);
    // The default minimum of established flows is two hours.
    let told = world.cttune(&["guard", "--once", "--json", "--high", "10", "--low", "5"]);
    let told = told.exits(2);
    let classes: Vec<_> = ended(&events(&told)).into_iter().map(|one| one.0).collect();
    assert!(classes.contains(&"time-wait".to_owned()), "{told}");
    assert!(!classes.contains(&"established".to_owned()), "{told}");
    let told = world.cttune(&["guard", "--once", "--high", "10", "--low", "5"]);
    assert!(told.stdout.contains("no flow may end"), "{told}");
}

#[test]
fn a_flow_that_speaks_outlives_those_that_do_not() {
    let world = World::new();
    world.sh(FLOWS);
    // A talker on the loopback of the sandbox; nobody answers it.
    let told = world.try_sh(&format!(
        "nft add table inet t; nft add chain inet t c '{{ type filter hook output priority 0; }}'
         nft add rule inet t c ct state new counter
         ip link set lo up
         bash -c 'exec 3<>/dev/udp/127.0.0.1/7000
             while :; do echo word >&3 2>/dev/null || :; sleep 0.3; done' 2>/dev/null & talker=$!
         for i in $(seq 100); do conntrack -L 2>/dev/null | grep -q dport=7000 && break; sleep 0.1; done
         cttune guard --json --high 900 --low 200 {SHORT} & guard=$!
         for i in $(seq 600); do [ $(conntrack -C) -gt 310 ] || break; sleep 0.1; done
         kill -TERM $guard; wait $guard; code=$?
         conntrack -L 2>/dev/null | grep dport=7000 >&2
         kill $talker; exit $code"
    ));
    let told = told.exits(0);
    assert!(told.stderr.contains("dport=7000"), "{told}");
    assert!(told.stdout.contains("established"), "{told}");
}

#[test]
fn a_dry_run_names_the_flows_and_ends_none() {
    let world = World::new();
    world.sh(FLOWS);
    let listed = || world.sh("conntrack -C");
    let before = listed();
    let told = world
        .cttune(&[
            "guard",
            "--once",
            "--dry-run",
            "--high",
            "900",
            "--low",
            "850",
        ])
        .exits(0);
    let named = told
        .stdout
        .lines()
        .filter(|line| line.starts_with("would end"));
    assert_eq!(named.count(), 150, "{told}");
    assert_eq!(before, listed());
}

#[test]
fn it_stands_aside_and_there_is_only_one() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.try_sh(
        "mkdir -pm 700 $CTTUNE_STATE_DIR; : >$CTTUNE_STATE_DIR/lock
         cttune guard --high 900 --low 850 >/run/first 2>&1 & guard=$!
         until grep -q ended /run/first; do sleep 0.1; kill -0 $guard || exit 9; done
         cttune guard --once --high 800 --low 700 || echo second $?
         kill -HUP $guard; sleep 0.2; kill -0 $guard && echo lives
         kill -INT $guard; wait $guard; echo first $?
         flock $CTTUNE_STATE_DIR/lock cttune guard --once --high 800 --low 700 || echo aside $?",
    );
    let told = told.exits(0).says(&["another guard is at work here"]);
    for part in [
        "second 3",
        "lives",
        "first 0",
        "another cttune is at work",
        "aside 2",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_it_watched_is_lent_to_expire() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.try_sh(
        "cttune guard >/run/first 2>&1 & guard=$!
         expire() { cttune expire --mode delete --observe 4s --yes --json; }
         until [ -S /run/cttune/guard-*.sock ]; do sleep 0.1; kill -0 $guard || exit 9; done
         sleep 5
         cttune kill --match 'state=established,idle>3s' --dry-run --json >/run/kill 2>/run/note
         grep -q 'the guard has watched' /run/note
         cttune forecast --json >/run/forecast
         expire; kill -TERM $guard; wait $guard; ls /run/cttune",
    );
    let told = told.exits(0).says(&["the guard has watched the flows"]);
    let read = |name: &str| -> Value { serde_json::from_str(&world.read(name)).unwrap() };
    assert_eq!(read("/run/kill")["selected"], 100);
    let candidates = &read("/run/forecast")["timeouts"];
    assert!(candidates[0]["proven"].is_object(), "{candidates}");
    let end = told.stdout.rfind('}').unwrap() + 1;
    let expired: Value = serde_json::from_str(&told.stdout[..end]).unwrap();
    assert_eq!(expired["deleted"], 100, "{told}");
    assert_eq!(told.stdout[end..].trim(), "", "files are left: {told}");
}

/// Idle time that is inferred from the history of the timeout is not watched: who does not trust it
/// gets none of it, neither from a guard that does nor from one that did.
#[test]
fn inferred_idle_time_is_not_lent_and_ends_with_the_trust() {
    let world = World::with_flows(400);
    let among = |script: &str| {
        let mut bash = world.command_among_processes("bash");
        Told::by(bash.args(["-ec", script]))
    };
    among("cttune apply --set tcp_timeout_established=3h --only live --yes").exits(0);
    let told = among(
        "guard() { printf '[guard]\nhigh = %s\nlow = %s\ntrust-history = %s\n' $*; }
         guard 9000 8000 true >/run/p.toml; chmod 644 /run/p.toml
         cttune guard --profile /run/p.toml >/run/out 2>&1 & guard=$!
         until [ -S /run/cttune/guard-*.sock ]; do sleep 0.1; kill -0 $guard || exit 9; done
         sleep 3
         cttune expire --mode re-age --observe 1s --yes --json 2>/run/note >/run/expired
         ! grep 'the guard has watched' /run/note
         guard 100 50 false >/run/p.toml; kill -HUP $guard
         until grep -q 'watched and silent' /run/out; do sleep 0.1; kill -0 $guard || exit 9; done
         sleep 3; kill -TERM $guard; wait $guard; cat /run/out",
    );
    let told = told.exits(0);
    assert!(!told.stdout.contains(" established"), "{told}");
    let expired: Value = serde_json::from_str(&world.read("/run/expired")).unwrap();
    assert!(expired["examined"].as_u64() > Some(0), "{expired}");
}

/// A guard in the background of a script, and a way to wait until its status says something.
const BACKGROUND: &str = "
    status() { cat /run/cttune/guard-*.json 2>/dev/null; }
    until_status() {
        for i in $(seq 300); do
            ! status | tr -d ' ' | grep -q \"$1\" || return 0
            sleep 0.1
        done
        status >&2; return 1
    }
";

/// What `check` and `metrics` say, by the names that the scripts below give them.
fn said(told: &str, name: &str) -> Value {
    let start = told.find(&format!("== {name}\n")).unwrap() + name.len() + 4;
    let end = told[start..]
        .find("\n== ")
        .map_or(told.len(), |end| start + end);
    serde_json::from_str(&told[start..end]).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn finding<'a>(checked: &'a Value, id: &str) -> Option<&'a Value> {
    let mut findings = checked["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["id"] == id)
}

#[test]
fn check_and_metrics_see_a_guard_and_what_it_did() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.sh(&format!(
        "{BACKGROUND}
         say() {{ echo \"== $1\"; shift; \"$@\" || :; }}
         say none cttune check --json
         cttune guard --high 600 --low 500 --min-idle last-ack=1h --min-idle answered=1h \\
            --min-idle unanswered=1h >/run/out 2>&1 & guard=$!
         until_status '\"helpless\":true'
         say helpless cttune check --json
         say numbers cttune metrics --json
         say nagios true; cttune check --format nagios >/run/nagios || :
         cttune metrics >/run/prometheus; cttune check >/run/text || :
         kill -KILL $guard; wait $guard || :
         say gone cttune check --json
         cttune guard >/run/out 2>&1 & guard=$!
         until_status \"\\\"pid\\\":$guard,\"
         say again cttune check --json
         kill -TERM $guard; wait $guard
         say over cttune check --json
         echo '== end'"
    ));
    let (none, over) = (said(&told, "none"), said(&told, "over"));
    for quiet in [&none, &over] {
        assert!(quiet["guard"].is_null(), "{quiet}");
        assert!(finding(quiet, "guard-gone").is_none(), "{quiet}");
    }
    let helpless = said(&told, "helpless");
    let guard = &helpless["guard"];
    assert_eq!(guard["running"], true, "{guard}");
    assert_eq!(guard["ended"]["close"], 100, "{guard}");
    assert!(guard["passes"].as_u64().unwrap() > 0, "{guard}");
    let found = finding(&helpless, "guard-helpless").unwrap();
    assert_eq!(found["severity"], "warning");
    let hint = found["hint"].as_str().unwrap();
    assert!(
        hint.contains("cttune top") && hint.contains("min-idle"),
        "{hint}"
    );
    assert_eq!(said(&told, "numbers")["guard"]["helpless"], true);
    let gone = said(&told, "gone");
    assert_eq!(gone["guard"]["running"], false);
    assert!(finding(&gone, "guard-gone").is_some(), "{gone}");
    assert!(finding(&gone, "guard-helpless").is_none(), "{gone}");
    assert_eq!(said(&told, "again")["guard"]["running"], true);
    let numbers = world.read("/run/prometheus");
    for line in [
        "cttune_guard_running 1",
        "cttune_guard_helpless 1",
        "cttune_guard_ended_total{class=\"close\"} 100",
    ] {
        assert!(numbers.lines().any(|one| one == line), "{numbers}");
    }
    let nagios = world.read("/run/nagios");
    assert!(nagios.contains("[guard-helpless]"), "{nagios}");
    assert!(nagios.contains("'guard_ended'="), "{nagios}");
    let text = world.read("/run/text");
    assert!(text.contains("guard: runs since 20"), "{text}");
}

#[test]
fn a_status_that_another_user_could_have_written_is_not_believed() {
    let world = World::new();
    world.sh("mkdir -p /run/cttune");
    for (make, why) in [
        ("echo '{}' >$file", "not what a guard writes"),
        ("head -c 200000 /dev/zero >$file", "not what a guard writes"),
        ("echo '{}' >$file; chmod 666 $file", "others may write it"),
        ("mkfifo $file", "is a FIFO"),
        ("ln -s /dev/zero $file", "is a"),
    ] {
        world.sh(&format!(
            "file=/run/cttune/guard-0.json; rm -f $file; umask 022; {make}"
        ));
        let told = world.cttune(&["check", "--json"]);
        let checked = told.json();
        assert!(checked["guard"].is_null(), "{make}: {told}");
        let unread = checked["unread"].to_string();
        assert!(unread.contains(why), "{make}: {told}");
        let told = world.cttune(&["metrics"]).exits(0);
        assert!(
            told.stdout.contains("cttune_source_up{source=\"guard\"} 0"),
            "{told}"
        );
    }
}

#[test]
fn flows_that_memory_has_no_room_for_are_not_watched_and_it_is_said() {
    let world = World::with_flows(5000);
    let told = world.cttune(&[
        "guard", "--once", "--json", "--memory", "64KiB", "--high", "10", "--low", "5",
    ]);
    let event = events(&told).pop().unwrap();
    let (observed, unwatched) = (&event["observed"], &event["unwatched"]);
    assert!(observed.as_u64().unwrap() <= 65_536 / 24, "{event}");
    assert!(unwatched.as_u64().unwrap() > 1000, "{event}");
}

#[test]
fn a_rate_is_kept_pass_after_pass_down_to_the_low_mark() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.try_sh(&format!(
        "cttune guard --json --rate 50/s --high 900 --low 600 {SHORT} & guard=$!
         for i in $(seq 600); do [ $(conntrack -C) -gt 600 ] || break; sleep 0.1; done
         kill -TERM $guard; wait $guard"
    ));
    let told = told.exits(0);
    let passes = passes(&told);
    assert_eq!(passes.iter().sum::<u64>(), 400, "{told}");
    assert!(passes.iter().all(|flows| *flows <= 100), "{told}");
}

#[test]
fn it_ends_with_its_namespace() {
    let world = World::new();
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args([
        "-ec",
        "
         ip netns add blue
         cttune --netns blue guard >/run/out 2>&1 & guard=$!
         until grep -q 'Once the table' /run/out; do sleep 0.1; kill -0 $guard || exit 9; done
         ip netns delete blue
         wait $guard; echo ended $?; cat /run/out; ls /run/cttune",
    ]));
    let told = told.exits(0);
    assert!(told.stdout.contains("ended 0"), "{told}");
    assert!(told.stdout.contains("namespace is gone"), "{told}");
    assert!(!told.stdout.contains("guard-"), "{told}");
}

#[test]
fn a_mistake_in_the_profile_leaves_the_guard_as_it_was() {
    let world = World::new();
    let told = world.try_sh(
        "printf '[guard]\nhigh = \"90%%\"\n' >/run/p.toml
         cttune guard --profile /run/p.toml >/run/out 2>&1 & guard=$!
         until grep -q 90% /run/out; do sleep 0.1; kill -0 $guard || exit 9; done
         echo 'high = \"many\"' >/run/p.toml; kill -HUP $guard
         until grep -q 'not reloaded' /run/out; do sleep 0.1; kill -0 $guard || exit 9; done
         printf '[guard]\nhigh = \"95%%\"\n' >/run/p.toml; kill -HUP $guard
         until grep -q 95% /run/out; do sleep 0.1; kill -0 $guard || exit 9; done
         kill -TERM $guard; wait $guard",
    );
    told.exits(0);
}

#[test]
fn the_journal_of_systemd_gets_fields() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.sh(&format!(
        "mkdir -p /run/systemd/journal
         python3 -c \"
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.settimeout(60)
s.bind('/run/systemd/journal/socket')
print('bound', flush=True)
print(s.recv(65536).decode())\" >/run/journal & listener=$!
         until grep -q bound /run/journal; do sleep 0.1; done
         : >/run/stdout; exec 3>>/run/stdout
         export JOURNAL_STREAM=$(stat -Lc %d:%i /run/stdout)
         cttune guard --high 900 --low 850 {SHORT} >&3 2>/run/err & guard=$!
         wait $listener; kill -TERM $guard; wait $guard
         cat /run/journal; echo == ; cat /run/stdout"
    ));
    for field in [
        "CTTUNE_GUARD=ended",
        "CTTUNE_ENDED=",
        "CTTUNE_ENDED_CLOSE=100",
        "PRIORITY=6",
        "MESSAGE=ended",
        "SYSLOG_IDENTIFIER=cttune",
    ] {
        assert!(told.contains(field), "{field}: {told}");
    }
    assert!(
        !told.split("==").nth(1).unwrap().contains("ended"),
        "{told}"
    );
}

#[test]
fn a_dry_run_names_the_flows_that_a_real_one_ends() {
    let world = World::new();
    world.sh(FLOWS);
    let named = |args: &[&str]| {
        let args = [&["guard", "--once", "--high", "900", "--low", "700"], args].concat();
        let told = world.cttune(&args).exits(0);
        let lines = told.stdout.lines().filter_map(|line| {
            let named = line
                .strip_prefix("would end ")
                .or(line.strip_prefix("ends "))?;
            // Without the time left.
            Some(named.rsplit_once(", ")?.0.to_owned())
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines
    };
    let (dry, real) = (named(&["--dry-run"]), named(&["-v"]));
    assert_eq!(dry.len(), 300);
    assert_eq!(dry, real);
    assert_eq!(world.sh("conntrack -C").trim(), "700");
}

/// A program in place of systemctl, which notes what it is asked.
const SYSTEMCTL: &str = "
    mkdir -p /run/systemd/system /run/bin
    cp $(command -v cttune) /run/bin/cttune
    cat >/run/bin/systemctl <<'END'
#!/bin/sh
echo \"$*\" >>/run/calls
case $1 in
is-enabled) [ -e /run/enabled-$3 ] ;;
enable) [ ! -e /run/fails ] || { echo 'no such unit' >&2; exit 1; }; : >/run/enabled-$4 ;;
disable) rm -f /run/enabled-$4 ;;
esac
END
    chmod 755 /run/bin/systemctl; export PATH=/run/bin:$PATH
";

#[test]
fn it_is_installed_through_a_plan_that_can_be_rolled_back() {
    let world = World::new();
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args([
        "-ec",
        &format!(
            "unit=/etc/systemd/system/cttune-guard.service
         cttune guard --install --yes || echo none $?
         {SYSTEMCTL}
         cttune guard --install --dry-run kernel-defaults || echo plan $?
         [ ! -e $unit ]; : >/run/fails
         cttune guard --install --yes kernel-defaults || echo failed $?
         [ ! -e $unit ]; rm /run/fails
         cttune guard --install --yes kernel-defaults
         grep ExecStart $unit; ls /run/enabled-cttune-guard.service
         cttune guard --install --yes kernel-defaults
         cttune rollback --yes
         [ ! -e $unit ]; [ ! -e /run/enabled-cttune-guard.service ]
         ip netns add a-b; cd /run; echo '[guard]' >'a $b%.toml'
         cttune --netns a-b guard --install --yes './a $b%.toml'
         ls /run/enabled-*; cat /etc/systemd/system/cttune-guard@*/profile.conf
         grep 'netns %I' /etc/systemd/system/cttune-guard@.service
         cd /tmp; echo >p.toml; cttune guard --install --yes ./p.toml || echo unseen $?"
        ),
    ]));
    let told = told.exits(0).says(&["systemd does not run here"]);
    for part in [
        "none 1",
        "plan 2",
        "failed 1",
        "ExecStart=/run/bin/cttune guard kernel-defaults",
        "installed already",
        "enabled-cttune-guard@a\\x2db.service",
        "guard --netns %I '/run/a $$b%%.toml'",
        "unseen 1",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_it_has_open_and_its_memory_do_not_grow_with_its_passes() {
    let world = World::new();
    world.sh(FLOWS);
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args(["-ec", &format!(
        "{BACKGROUND}
         below() {{
             for i in $(seq 600); do [ $(conntrack -C) -ge 400 ] || return 0; sleep 0.1; done
             return 1
         }}
         has() {{ echo $(ls /proc/$guard/fd | wc -l) $(awk '/VmRSS/ {{ print $2 }}' /proc/$guard/status); }}
         cttune guard --high 400 --low 350 --poll 1s {SHORT} >/run/out 2>&1 & guard=$!
         below; until_status '\"passes\":[1-9]'; has
         for round in $(seq 1 8); do
             for i in $(seq 1 100); do
                 conntrack -I -p tcp --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 600 \\
                     -s 10.$round.0.$i -d 192.0.2.1 --sport 2 --dport 80
             done >/dev/null 2>&1
             below
             cttune expire --mode delete --observe 1s --dry-run >/dev/null 2>&1 || :
         done
         has; kill -TERM $guard; wait $guard"
    )]));
    let told = told.exits(0);
    let numbers = told
        .stdout
        .split_whitespace()
        .map(|number| number.parse().unwrap());
    let [fds, memory, fds_later, memory_later] = numbers.collect::<Vec<u64>>()[..] else {
        panic!("{told}");
    };
    assert_eq!(fds, fds_later, "{told}");
    // Kilobytes.
    assert!(memory_later <= memory + 2048, "{told}");
}

/// Files, sysctls, rules and sockets, without what a guard writes of itself.
const SNAPSHOT: &str = "
    snapshot() {
        find /etc /run -type f -not -path '/run/cttune/guard-*' -not -path '/run/snapshots/*' \\
            -not -name '*lock' -exec md5sum {} + | sort
        grep -r . /proc/sys/net/netfilter 2>/dev/null | grep -v nf_conntrack_count: | sort
        nft list ruleset
        awk '{ print $2, $4 }' /proc/net/netlink | sort
        awk '{ print $8 }' /proc/net/unix | sort
    }
";

#[test]
fn whenever_it_is_killed_nothing_differs_and_the_next_one_goes_on() {
    let world = World::new();
    world.sh(FLOWS);
    let rounds = std::env::var("CTTUNE_TEST_ROUNDS").unwrap_or_else(|_| "20".to_owned());
    let mut shell = world.command_among_processes("bash");
    let told = Told::by(shell.args([
        "-ec",
        &format!(
            "{BACKGROUND} {SNAPSHOT}
         mkdir -p /run/snapshots; mkdir -pm 700 $CTTUNE_STATE_DIR; cd /run/snapshots
         while [ ! -e over ]; do
             for i in $(seq 1 250); do
                 echo \"-I -p tcp --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 600 -s 10.$((RANDOM % 250)).1.$i \\
                     -d 192.0.2.1 --sport 2 --dport 80\"
             done >flows
             # No socket of it is open in a snapshot.
             flock lock conntrack -R flows >/dev/null 2>&1 || :
         done & churn=$!; trap 'kill $churn' EXIT
         exec 9>lock; passes=0
         flock 9; snapshot >before; flock -u 9
         for round in $(seq $(({rounds} * 10))); do
             # On a slow machine none may come as far as a pass for a while.
             [ $round -le {rounds} ] || [ $passes = 0 ] || break
             cttune guard --json --high 900 --low 500 --poll 1s {SHORT} >out 2>err 9>&- & guard=$!
             sleep $((RANDOM % 3)).$((RANDOM % 1000))
             kill -KILL $guard; code=0; wait $guard || code=$?
             [ $code = 137 ] || {{ echo \"round $round: $code\"; cat err; exit 9; }}
             passes=$((passes + $(grep -c '\"what\": *\"ended\"' out || :)))
             flock 9; snapshot >after; flock -u 9
             diff before after
         done
         : >over; wait $churn; trap - EXIT; echo passes $passes
         cttune guard --high 900 --low 500 {SHORT} >last 2>&1 & guard=$!
         until_status \"\\\"pid\\\":$guard,\"
         for i in $(seq 600); do [ $(conntrack -C) -ge 900 ] || break; sleep 0.1; done
         kill -TERM $guard; wait $guard; [ $(conntrack -C) -lt 900 ]"
        ),
    ]));
    let told = told.exits(0);
    let passes = told.stdout.trim().strip_prefix("passes ").unwrap();
    assert!(passes.parse::<u32>().unwrap() > 0, "{told}");
}

#[test]
fn ssh_sessions_are_kept_with_the_right_to_the_table_alone() {
    let world = World::new();
    world.sh(FLOWS);
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args(["-ec", &format!(
        "ip link set lo up; mkdir -p /etc/ssh; echo 'Port 2222' >/etc/ssh/sshd_config
         nft 'table inet t {{ chain c {{ type filter hook output priority 0; ct state new counter; }}; }}'
         python3 -c \"
import socket, time
all = []
for port in (22, 2222, 2223):
    listener = socket.create_server(('127.0.0.1', port))
    all += [listener, socket.create_connection(('127.0.0.1', port)), listener.accept()]
print('connected', flush=True)
time.sleep(300)\" >/run/server & server=$!
         until grep -q connected /run/server; do sleep 0.1; kill -0 $server; done
         setpriv --bounding-set=-all,+net_admin --inh-caps=-all -- \\
             cttune guard --high 900 --low 200 {SHORT} >/run/out 2>&1 & guard=$!
         established() {{ conntrack -L -p tcp --state ESTABLISHED 2>/dev/null; }}
         for i in $(seq 600); do [ $(established | wc -l) -gt 2 ] || break; sleep 0.1; done
         kill -TERM $guard; wait $guard; established; kill $server"
    )]));
    let told = told.exits(0);
    let kept = |port: &str| told.stdout.contains(&format!("dport={port} "));
    let all = ["22", "2222", "2223"].map(kept);
    assert_eq!(all, [true, true, false], "{told}");
}

#[test]
fn a_history_that_the_journal_does_not_tell_is_called_unknown() {
    let world = World::with_flows(100);
    // The journal is told by network namespace, which /proc of the sandbox knows.
    let said = |args: &str| {
        let mut cttune = world.command_among_processes("cttune");
        let told = Told::by(cttune.args(args.split_whitespace())).exits(0);
        told.stderr.contains("history of the timeout is unknown")
    };
    assert!(said("guard --once --trust-history"));
    assert!(!said("guard --once"));
    said("apply --set tcp_timeout_established=3h --only live --yes");
    assert!(!said("guard --once --trust-history"));
}

/// The flows that each pass ended, of 50,000 that may all end.
fn passes_over_many(before: &str) -> Vec<u64> {
    let world = World::new();
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args(["-ec", &format!(
        "seq 1 50000 | awk '{{ print \"-I -p tcp --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 600 -s 10.0.\" \
             int($1 / 250) \".\" $1 % 250 \" -d 192.0.2.1 --sport 2 --dport 80\" }}' >/run/flows
         conntrack -R /run/flows >/dev/null 2>&1
         {before}
         cttune guard --json --high 49000 --low 1000 & guard=$!
         for i in $(seq 600); do [ $(conntrack -C) -gt 1000 ] || break; sleep 0.1; done
         kill -TERM $guard; wait $guard; [ -z \"$listener\" ] || kill $listener"
    )]));
    let told = told.exits(0);
    passes(&told)
}

#[test]
fn a_pass_takes_two_seconds_at_most_where_a_program_listens_to_events() {
    let passes = passes_over_many("listener=");
    assert_eq!(passes, [49_000]);
    let passes = passes_over_many(
        "conntrack -E >/dev/null 2>&1 & listener=$!
         until awk '$2 == 12 && $4 != \"00000000\"' /proc/net/netlink | grep -q .; do sleep 0.1; done",
    );
    assert!(passes.iter().all(|flows| *flows <= 40_000), "{passes:?}");
    assert_eq!(passes.iter().sum::<u64>(), 49_000);
}

#[test]
fn what_cannot_be_is_refused() {
    let world = World::new();
    for (args, said) in [
        (&["--high", "50%", "--low", "60%"][..], "not below"),
        (&["--high", "many"], "neither a percentage"),
        (
            &["--min-idle", "established=1h"],
            "i-accept-broken-connections",
        ),
        (&["--min-idle", "closed=1h"], "no class of flows"),
        (&["--keep", "dst=nowhere"], "--keep"),
        (&["--memory", "1KiB"], "--memory"),
        (&["--root", "/"], "--root"),
    ] {
        let args = [&["guard", "--once"], args].concat();
        let told = world.cttune(&args);
        assert_eq!(told.code, 64, "{told}");
        assert!(told.stderr.contains(said), "{told}");
    }
}
