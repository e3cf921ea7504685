//! Every command that the README shows works as it stands there: it is typed in the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use support::terminal::Terminal;
use support::{Place, Told, World, ordinary_user};

/// The lines of the README's shell blocks, block by block, without their comments.
fn blocks() -> Vec<Vec<String>> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```sh\n").skip(1);
    blocks
        .map(|block| {
            let (commands, _) = block.split_once("```").unwrap();
            let commands = commands
                .lines()
                .map(|line| line.split("  #").next().unwrap());
            commands.map(|line| line.trim().to_owned()).collect()
        })
        .collect()
}

/// The commands in running text and tables: `cttune …` without a placeholder.
fn inline() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let text: String = readme.split("```").step_by(2).collect();
    let spans = text.split('`').skip(1).step_by(2);
    let placeholder = |span: &&str| !span.contains("FILE") && !span.contains('…');
    spans
        .filter(|span| span.starts_with("cttune "))
        .filter(placeholder)
        .map(str::to_owned)
        .collect()
}

/// A shell in the world, 80 columns wide and 24 lines high.
fn shell(world: &World) -> Terminal {
    let mut bash = world.command_among_processes("bash");
    let mut shell = Terminal::start(bash.args(["--norc", "--noprofile", "-i"]));
    shell.send("stty rows 24 cols 80; PS1=; echo rea''dy\r");
    shell.wait_for("ready");
    shell
}

/// Types a command and says yes when it asks; gives its exit code, or none while it waits to be
/// confirmed.
fn typed(shell: &mut Terminal, command: &str) -> Option<u32> {
    shell.send(&format!("{command}; echo co''de=$?.\r"));
    // The prompt is drawn again with the answer: it is answered once.
    let mut ends = vec!["code=", "Press Enter", "[y/N"];
    loop {
        match shell.wait_for_any(&ends) {
            2 => {
                shell.send("y\r");
                ends.pop();
            }
            1 => return None,
            _ => {
                shell.wait_for(".");
                let (before, _) = shell.screen.rsplit_once('.').unwrap();
                let (_, code) = before.rsplit_once("code=").unwrap();
                return Some(code.parse().unwrap());
            }
        }
    }
}

/// 2 is the answer of what compares: a critical finding, drift, a plan with steps. 3 is that of a
/// rollback which leaves max above the number of flows, and a plugin answers 1 for a warning.
fn is_right(command: &str, code: u32, screen: &str) -> bool {
    let compares = ["check", "plan"].iter().any(|name| command.contains(name));
    let max_stays = command.contains("rollback") && screen.contains("nf_conntrack_max stays");
    let is_plugin = command.contains("nagios");
    code == 0 || code == 2 && compares || code == 3 && max_stays || code == 1 && is_plugin
}

#[test]
fn the_commands_of_the_story_work_one_after_the_other() {
    let world = World::story();
    let mut commands = 0;
    for block in blocks() {
        let mut waiting: Option<Terminal> = None;
        let mut current = shell(&world);
        for command in block.iter().filter(|line| line.starts_with("cttune ")) {
            commands += 1;
            match typed(&mut current, command) {
                Some(code) => {
                    let screen = &current.screen;
                    let first = waiting.as_ref().map_or("", |first| &first.screen);
                    let right = is_right(command, code, screen);
                    assert!(right, "{command}: {code}\n{first}\n{screen}");
                }
                // The next one is typed in a second session.
                None => waiting = Some(std::mem::replace(&mut current, shell(&world))),
            }
        }
        if let Some(mut first) = waiting {
            first.wait_for("code=0.");
        }
    }
    assert!(commands >= 10, "{commands} commands");
    // It ends as it began: what was confirmed is rolled back.
    let check = world.cttune(&["check", "--json"]).json();
    assert!(check["profile"].is_null(), "{check}");
}

#[test]
fn the_first_commands_work_outside() {
    let place = Place::new();
    let mut seen = 0;
    for line in blocks().concat() {
        if let Some(arguments) = line.strip_prefix("cargo run --release -- ") {
            let mut command = ordinary_user();
            command
                .arg(place.program())
                .args(arguments.split_whitespace());
            let told = Told::by(&mut command);
            assert!(
                is_right(&line, told.code.try_into().unwrap(), ""),
                "{line}: {told}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_commands_in_the_text_work() {
    let world = World::new();
    let commands = inline();
    assert!(commands.len() >= 3, "{commands:?}");
    let mut shell = shell(&world);
    for command in &commands {
        let code = if let Some(arguments) = command.strip_prefix("cttune sandbox") {
            // Made outside. Its shell ends at once here.
            let mut sandbox = ordinary_user();
            let sandbox = sandbox.arg(world.place.program()).arg("sandbox");
            let told = Told::by(sandbox.args(arguments.split_whitespace()));
            told.code.try_into().unwrap()
        } else {
            typed(&mut shell, command).unwrap()
        };
        let right = is_right(command, code, &shell.screen);
        assert!(right, "{command}: {code}\n{}", shell.screen);
    }
}

#[test]
fn other_commands_of_the_readme_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for line in blocks().concat() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.iter().find(|word| !word.contains('=')) else {
            continue;
        };
        match *first {
            "cttune" => {}
            "cargo" => {
                let named = words
                    .windows(2)
                    .find(|pair| matches!(pair[0], "--test" | "--bench"));
                let Some([kind, name]) = named else { continue };
                let folder = if *kind == "--test" {
                    "tests"
                } else {
                    "benches"
                };
                let file = root.join(folder).join(format!("{name}.rs"));
                let folder = root.join(folder).join(name);
                assert!(file.exists() || folder.is_dir(), "{line}");
            }
            script => assert!(root.join(script).exists(), "{line}"),
        }
    }
}

/// The words of a picture, but for what varies: numbers, times, bars, rows of flows that end soon.
fn words(picture: &str) -> String {
    let (_, body) = picture.split_once("</style>").unwrap();
    let mut words = String::new();
    for line in body.lines().filter(|line| line.starts_with("<text")) {
        let parts = line
            .split('<')
            .map(|part| part.split_once('>').map_or("", |(_, text)| text));
        let text: String = parts.collect();
        let is_row =
            text.trim_start().starts_with(|c: char| c.is_ascii_digit()) && text.contains(" %");
        if is_row && !text.contains("established") {
            continue;
        }
        for word in text.split_whitespace() {
            let bare = word.trim_matches(['(', ')', ';', '.', ',', ':']);
            let is_number = bare.starts_with(|c: char| c.is_ascii_digit())
                && bare
                    .chars()
                    .all(|c| c.is_ascii_digit() || ".,dhms".contains(c));
            let is_bar = word.contains(['█', '▏', '▎', '▍', '▌', '▋', '▊', '▉']);
            if !is_number && !is_bar {
                words.push_str(word);
                words.push(' ');
            }
        }
    }
    words
}

#[test]
fn the_pictures_show_what_the_commands_of_the_story_print() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let place = Place::new();
    let mut script = std::process::Command::new(root.join("docs/pictures/make"));
    script.arg(place.program()).arg(place.path());
    Told::by(&mut script).exits(0);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    for name in ["check", "top", "forecast", "apply", "expire"] {
        let file = format!("docs/pictures/{name}.svg");
        assert!(readme.contains(&format!("({file})")), "{file}");
        let made = words(&read(&place.path().join(format!("{name}.svg"))));
        assert!(made.split(' ').count() > 15, "{made}");
        let kept = words(&read(&root.join(&file)));
        assert_eq!(made, kept, "{file} differs: docs/pictures/make");
    }
}
