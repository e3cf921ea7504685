//! What scripts are taken for, and what they cost.

use super::*;

struct Disk;

impl Files for Disk {
    fn text(&self, path: &str) -> Option<&str> {
        (path == "/etc/default/x").then_some("N=9 # x\nM=${N}0\n")
    }

    fn names(&self, folder: &str) -> &[String] {
        static NAMES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
            [".h.conf", "a.conf", "b.conf", "c"]
                .map(String::from)
                .into()
        });
        if folder == "/etc/x.d" { &NAMES } else { &[] }
    }

    fn is_packaged(&self, path: &str) -> bool {
        path.starts_with("/lib/")
    }
}

/// `line: words > files < input`, a `?` for each word that is not known, `if` in front of a
/// command that may not run.
fn read(text: &str) -> Vec<String> {
    let shown = |word: &Word| word.value.clone().unwrap_or_else(|| "?".to_owned());
    let one = |command: Command| {
        let words: Vec<String> = command.words.iter().map(shown).collect();
        let mut text = format!("{}: {}", command.line, words.join("_"));
        for file in &command.into {
            text.push_str(&format!(" > {}", shown(file)));
        }
        if let Some(input) = command.input.as_ref().or(command.from.as_ref()) {
            text.push_str(&format!(" < {}", shown(input)));
        }
        let pipe = if command.is_piped { "| " } else { "" };
        let condition = if command.is_conditional { "if " } else { "" };
        format!("{condition}{pipe}{text}")
    };
    commands(text, &Variables::default(), &Disk)
        .into_iter()
        .map(one)
        .collect()
}

#[test]
fn commands_are_divided_and_words_unquoted() {
    for (text, expected) in [
        ("a b 'c d' \"e f\" g\\ h\n", vec!["1: a_b_c d_e f_g h"]),
        ("#!/bin/sh\n# x\na # y\nb;c\n", vec!["3: a", "4: b", "4: c"]),
        ("a \\\n  b\nc\n", vec!["1: a_b", "3: c"]),
        ("echo 5 > /x\n", vec!["1: echo_5 > /x"]),
        ("echo 5 >/x 2>/dev/null\n", vec!["1: echo_5 > /x"]),
        ("echo 5 1>> /x\n", vec!["1: echo_5 > /x"]),
        ("echo 1 > /x\n", vec!["1: echo_1 > /x"]),
        ("echo 5 2>&1 >/x", vec!["1: echo_5 > /x"]),
        (
            "echo 5 | tee -a /x >/dev/null\n",
            vec!["1: echo_5", "| 1: tee_-a_/x > /dev/null"],
        ),
        ("tee /x <<< 5\n", vec!["1: tee_/x < ?"]),
        ("#!/bin/bash\ntee /x <<< 5\n", vec!["2: tee_/x < 5"]),
        ("exec 3> /x; a 3>&1", vec!["1: exec > /x", "1: a"]),
        ("{ a; b; } | c", vec!["1: a", "1: b", "| 1: c < ?"]),
        ("> /x | c", vec!["1:  > /x", "| 1: c < ?"]),
        ("a <(b)", vec!["1: a_?", "1: b"]),
        ("a < /x >/y\n", vec!["1: a > /y < /x"]),
        (
            "cat > /x <<'E'\n$5\nE\nb\n",
            vec!["1: cat > /x < $5\n", "4: b"],
        ),
        ("a 'b", vec!["1: a_?"]),
        ("", vec![]),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn variables_that_are_set_before_are_put_in() {
    for (text, expected) in [
        ("N=5\na $N ${N}x \"$N\" '$N'", vec!["2: a_5_5x_5_$N"]),
        ("export N=5; a $N", vec!["1: a_5"]),
        ("a ${N:-7} $N", vec!["1: a_7_?"]),
        ("N=$(nproc)\na $N", vec!["if 1: nproc", "2: a_?"]),
        (
            r#"N="$(a "$M" 2>/dev/null|b "s|/x \([^ ]*\) y|\1|p")"; c"#,
            vec!["if 1: a_?", r"if | 1: b_s|/x \([^ ]*\) y|\1|p", "1: c"],
        ),
        (r#"a "$(b ")" '(')" c"#, vec!["if 1: b_)_(", "1: a_?_c"]),
        ("if x; then N=5; fi\na $N", vec!["if 1: x", "2: a_?"]),
        ("N=4\na $((N * 65536)) $((1+1))", vec!["2: a_262144_?"]),
        ("N=5 a", vec!["1: a"]),
        ("N=; a ${N:-7} ${N-7} ${M:-$N}", vec!["1: a_7__?"]),
        ("if x; then N=5; fi; a ${N:-7}", vec!["if 1: x", "1: a_?"]),
        ("N=5; read N; a $N ${N:-6}", vec!["1: read_N", "1: a_?_?"]),
        ("N=5; x && N=6; a $N", vec!["1: x", "1: a_?"]),
        (
            ". /etc/default/x; a $N $M",
            vec!["1: ._/etc/default/x", "1: a_9_90"],
        ),
        ("N=5; . /etc/none; a ${N:-6}", vec!["1: ._?", "if 1: a_?"]),
        (
            "N=5; [ -r /etc/none ] && . /etc/none; a $N ${M:-6}",
            vec!["1: [_-r_/etc/none_]", "if 1: ._/etc/none", "1: a_5_6"],
        ),
        (
            "N=5; P=1; [ -r y ] && . /etc/default/x; a $N ${M:-3} $P",
            vec!["1: [_-r_y_]", "if 1: ._/etc/default/x", "1: a_?_?_1"],
        ),
        (
            "N=5; . /lib/x; M=1; a $N $M",
            vec!["1: ._/lib/x", "1: a_?_1"],
        ),
        ("N=5; eval $x; a $N", vec!["1: eval_?", "if 1: a_?"]),
        ("N=5; N+=6; a $N", vec!["1: a_56"]),
        ("N='b c'; a $N \"$N\"", vec!["1: a_b_c_b c"]),
        ("N=5; (N=6; a $N); a $N", vec!["1: a_6", "1: a_5"]),
        (
            "f() { N=$1; }\nN=5; a $N; f 6; a $N",
            vec!["2: a_5", "if 2: f_6", "2: a_?"],
        ),
        ("function f { b; }\nf", vec!["if 1: b", "if 2: f"]),
        (
            "function f() (\nN=6; b\n)\nN=5; f; a $N",
            vec!["if 2: b", "if 4: f", "4: a_5"],
        ),
        ("echo $'5'", vec!["1: echo_?"]),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn what_may_end_a_script_puts_the_rest_in_doubt() {
    for (text, expected) in [
        ("(a; exit 0)\nb", vec!["1: a", "if 1: exit_0", "if 2: b"]),
        ("return 0; b", vec!["1: return_0", "if 1: b"]),
        (
            "set -eu\na $N\nb",
            vec!["1: set_-eu", "if 2: a_?", "if 3: b"],
        ),
        ("set -u\nN=5\na $N", vec!["1: set_-u", "3: a_5"]),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn a_loop_over_known_words_is_run() {
    for (text, expected) in [
        (
            "for f in /etc/x.d/*.conf; do\na \"$f\"\ndone\nb",
            vec!["2: a_/etc/x.d/a.conf", "2: a_/etc/x.d/b.conf", "4: b"],
        ),
        (
            "for f in /etc/none/*; do a $f; done",
            vec!["1: a_/etc/none/*"],
        ),
        (
            "x && for f in 1; do a $f; b; done; c",
            vec!["1: x", "if 1: a_1", "if 1: b", "1: c"],
        ),
        (
            "for i in 1 2; do for k in a; do echo done $i$k; done; done; c $i",
            vec!["1: echo_done_1a", "1: echo_done_2a", "1: c_2"],
        ),
        (
            "for f in $LIST; do a $f; done; b ${f:-1}",
            vec!["if 1: f_in_?", "if 1: a_?", "1: b_?"],
        ),
        (
            "for f in 1 2; do [ -r $f ] || continue; a $f; done",
            vec![
                "if 1: f_in_1_2",
                "if 1: [_-r_?_]",
                "if 1: continue",
                "if 1: a_?",
            ],
        ),
        (
            "for f in {1,2}; do a $f; done; b",
            vec!["if 1: f_in_{1,2}", "if 1: a_?", "1: b"],
        ),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn what_may_not_run_is_marked() {
    for (text, expected) in [
        ("a && b\nc", vec!["1: a", "if 1: b", "2: c"]),
        ("a || b", vec!["1: a", "if 1: b"]),
        ("if a; then\nb\nfi\nc", vec!["if 1: a", "if 2: b", "4: c"]),
        (
            "for x in 1 2; do a $x; done; b",
            vec!["1: a_1", "1: a_2", "1: b"],
        ),
        ("while a; do b; done\nc", vec!["if 1: a", "if 1: b", "2: c"]),
        ("f() {\na\n}\nb", vec!["if 2: a", "4: b"]),
        ("{ a; }\nb", vec!["1: a", "2: b"]),
        (
            "case x in\ny) a ;;\nesac\nb",
            vec!["if 1: x_in", "if 2: y", "if 2: a", "4: b"],
        ),
        ("a\nexit 0\nb", vec!["1: a"]),
        ("a $((7x * 2))\nb", vec!["1: a_?", "if 2: b"]),
        (
            "a ${N?}\nexit 0\nb",
            vec!["1: a_?", "if 2: exit_0", "if 3: b"],
        ),
        ("a || exit 1\nb", vec!["1: a", "if 1: exit_1", "if 2: b"]),
        ("exec a\nb", vec!["1: exec_a"]),
        ("exec > /x\nb", vec!["1: exec > /x", "2: b"]),
        (
            "a && b | c\nd",
            vec!["1: a", "if 1: b", "if | 1: c", "2: d"],
        ),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

/// Scripts that make much of a text of about this size.
fn nasty(size: usize) -> Vec<String> {
    let times = |text: &str| text.repeat(size / text.len() + 1);
    let words = "1 2 3 4 5 6 7 8 9 10 ".repeat(6);
    let open = format!("for a in {words}; do ").repeat(8);
    let long = "x".repeat(4000);
    let variables: String = (0..size / 40)
        .map(|at| format!("export V{at}=$L; a\n"))
        .collect();
    let sets: String = (0..size / 20)
        .map(|at| format!("V{}=1\n", at % 1000))
        .collect();
    vec![
        times("V=$V$V; a $V\n"),
        format!(
            "V=x; {open} V=$V$V; {} {}",
            times("a $V; "),
            "done; ".repeat(8)
        ),
        times("for a in b c; do "),
        format!("L={long}; {variables}"),
        format!("f() {{\n{sets}}}\n{sets}{}", times("f; V=1\n")),
        format!("V='{words}'; {}", times("a $V $V $V $V\n")),
        format!("L={long}\n{}", times("a << E\n$L\nE\n")),
        format!(
            "{open} {} {}",
            times("a '\"b\"' \"c\"; "),
            "done; ".repeat(8)
        ),
        times(". /etc/default/x\n"),
        times("(V=1; "),
        times("for f in /etc/x.d/*; do a $f; done\n"),
        times("a b c\n"),
    ]
}

#[test]
fn what_is_made_of_a_script_has_a_bound() {
    let size_of = |word: &Word| {
        let value = word.value.as_ref().map_or(0, String::len);
        size_of::<Word>() + word.raw.len() + value
    };
    for size in [1_000, 50_000] {
        for script in nasty(size) {
            let budget = Budget::default();
            let found = commands_within(&script, Variables::default(), &Disk, &budget);
            let commands = found.as_deref().unwrap_or_default();
            let words = commands
                .iter()
                .flat_map(|one| one.words.iter().chain(&one.input));
            let size: usize = words.map(size_of).sum();
            let start = &script[..script.len().min(60)];
            assert!(size <= 2 * budget.spent(), "{start}: {size}");
            assert_eq!(found.is_none(), budget.is_spent(), "{start}");
        }
    }
}

#[test]
fn a_plain_script_costs_in_proportion() {
    let spent = |times: usize| {
        let budget = Budget::default();
        let script = "a b 'c d' > /x\nN=5; e $N && f\n".repeat(times);
        let found = commands_within(&script, Variables::default(), &Disk, &budget);
        assert_eq!(found.unwrap().len(), 3 * times);
        budget.spent()
    };
    assert!(spent(8000) <= 9 * spent(1000));
}

#[test]
fn of_a_script_that_is_given_up_nothing_is_known() {
    let script = nasty(30_000).remove(1);
    let found = commands(&script, &Variables::default(), &Disk);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].values(), [None, None]);
}
