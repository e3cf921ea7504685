//! The book: its links lead somewhere, and the picture of the source is that of the modules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown page of the repository, below docs/ and beside it.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![root().join("docs")];
    let top = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    pages.extend(top.filter(is_page));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if is_page(&path) {
                pages.push(path);
            }
        }
    }
    pages
}

/// The text without code, in which brackets are no links.
fn prose(text: &str) -> String {
    let blocks: String = text
        .split("\n```")
        .step_by(2)
        .collect::<Vec<_>>()
        .join("\n");
    blocks
        .split('`')
        .step_by(2)
        .collect::<Vec<_>>()
        .join("CODE")
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in prose(&text).split("](").skip(1) {
            let (target, _) = link.split_once(')').unwrap();
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            if path.contains("://") {
                continue;
            }
            seen += 1;
            let file = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(file.exists(), "{}: {target}", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line) == heading);
                assert!(is_there, "{}: {target}", page.display());
            }
        }
    }
    assert!(seen > 40, "{seen} links");
}

#[test]
fn every_page_of_the_book_is_reached_from_its_contents() {
    let contents = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages() {
        let Ok(inside) = page.strip_prefix(root().join("docs")) else {
            continue;
        };
        let link = format!("]({})", inside.display());
        let is_contents = inside == Path::new("README.md");
        assert!(
            is_contents || contents.contains(&link),
            "docs/README.md lacks {link}"
        );
    }
}

/// A room of the house, as the table of src/lib.rs has it: its name, its kind, what it owns.
fn rooms() -> Vec<[String; 3]> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let rooms = rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        [cells[0].trim_end_matches('`'), cells[1], cells[2]].map(|cell| cell.replace('`', ""))
    });
    rooms.collect()
}

/// The picture: a row of boxes for each kind of room, the upper ones use the lower ones.
fn picture() -> String {
    const KINDS: [(&str, &str); 4] = [
        ("top", "parses, prints, asks"),
        ("acting", "do what pure code computed"),
        ("door", "talk to the machine, decide nothing"),
        ("pure", "no file, clock, environment, terminal"),
    ];
    let rooms = rooms();
    let (mut body, mut y) = (String::new(), 40);
    for (kind, rule) in KINDS {
        body.push_str(&format!(
            "<text class=\"kind\" x=\"20\" y=\"{y}\">{kind}</text>\
             <text class=\"rule\" x=\"90\" y=\"{y}\">{rule}</text>\n"
        ));
        y += 12;
        for (place, [name, _, owns]) in rooms.iter().filter(|room| room[1] == kind).enumerate() {
            let (x, y) = (20 + place % 5 * 152, y + place / 5 * 48);
            body.push_str(&format!(
                "<g><title>{name}: {owns}</title>\
                 <rect x=\"{x}\" y=\"{y}\" width=\"140\" height=\"36\" rx=\"4\"/>\
                 <text class=\"room\" x=\"{}\" y=\"{}\">{name}</text></g>\n",
                x + 70,
                y + 23
            ));
        }
        let number = rooms.iter().filter(|room| room[1] == kind).count();
        y += number.div_ceil(5) * 48 + 30;
        if kind != "pure" {
            body.push_str(&format!(
                "<text class=\"rule\" x=\"390\" y=\"{}\">↓ uses</text>\n",
                y - 18
            ));
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {y}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>The rooms of cttune: each uses only those below</title>\n\
         <style>rect{{fill:#eef3f8;stroke:#47617a}}text{{fill:#1b2733}}.room{{text-anchor:middle}}\
         .kind{{font-weight:bold}}.rule{{fill:#47617a}}\
         @media(prefers-color-scheme:dark){{rect{{fill:#1f2c38;stroke:#8fa9c2}}text{{fill:#e6edf3}}\
         .rule{{fill:#8fa9c2}}}}</style>\n{body}</svg>\n"
    )
}

/// `CTTUNE_BLESS=1 cargo test --test docs picture` draws it anew.
#[test]
fn the_picture_of_the_source_is_that_of_the_modules() {
    let named = rooms();
    for folder in fs::read_dir(root().join("src")).unwrap() {
        let path = folder.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_room = path.is_dir() && name != "internals";
        let is_named = named.iter().any(|room| room[0] == name);
        assert!(!is_room || is_named, "src/lib.rs has no row for {name}");
    }
    let file = root().join("docs/architecture.svg");
    if std::env::var_os("CTTUNE_BLESS").is_some() {
        fs::write(&file, picture()).unwrap();
    }
    let committed = fs::read_to_string(file).unwrap_or_default();
    assert!(
        committed == picture(),
        "CTTUNE_BLESS=1 cargo test --test docs picture"
    );
}
