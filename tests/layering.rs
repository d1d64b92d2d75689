//! Who may know whom: reads the `use` lines and paths of every room and fails on a wrong arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PURE: &[&str] = &[
    "model",
    "stack",
    "plan",
    "release",
    "backup",
    "drill",
    "emergency",
    "schedule",
    "journal",
    "config",
];
const EDGES: &[&str] = &[
    "state", "engine", "registry", "router", "store", "source", "machine", "github", "http",
];

/// Crates and modules that would make a pure room depend on the world.
const WORLD: &[&str] = &[
    "tokio",
    "bollard",
    "hyper",
    "axum",
    "rusqlite",
    "octocrab",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "getrandom",
];

fn allowed(room: &str) -> BTreeSet<&'static str> {
    let mut rooms: BTreeSet<&str> = PURE.iter().copied().collect();
    match room {
        pure if PURE.contains(&pure) => {}
        // The ports speak in pure nouns.
        "ports" => {}
        // What lies on the disk is made of journals and names; an edge may use the writer of durable files.
        edge if EDGES.contains(&edge) => rooms.extend(["ports", "state"]),
        // The agent's API carries orders and news, which are run's own words.
        "run" => rooms.extend(["ports", "state", "run"]),
        "app" => rooms.extend(EDGES.iter().chain(&["ports", "run", "app"])),
        "cli" => rooms.extend(EDGES.iter().chain(&["ports", "run", "app", "cli"])),
        other => panic!("src/{other} is a room this test does not know: add it to the map in lib.rs and here"),
    }
    match room {
        "http" | "github" => rooms.extend(["run"]),
        _ => {}
    }
    rooms.insert(Box::leak(room.to_owned().into_boxed_str()));
    rooms
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without comments and without its unit tests, which may use anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|s| s == "tests") || path.components().any(|c| c.as_os_str() == "tests")
}

/// Every file of a room, with its code.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for path in files.into_iter().filter(|p| !is_test(p)) {
        let inner = path.strip_prefix(&src).expect("below src").to_path_buf();
        let first = inner
            .components()
            .next()
            .expect("a name")
            .as_os_str()
            .to_string_lossy()
            .into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        if !matches!(room.as_str(), "lib" | "main") {
            rooms.entry(room).or_default().push((inner, code(&path)));
        }
    }
    rooms
}

/// The rooms named after `crate::`, in `use` lines and in paths alike, `use crate::{a, b}` included.
fn mentioned(code: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => {
                found.insert(word(after));
            }
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && !c.is_whitespace() => {
                            found.insert(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn every_arrow_points_the_right_way() {
    let rooms = rooms();
    let known: BTreeSet<&String> = rooms.keys().collect();
    let mut wrong = Vec::new();
    for (room, files) in &rooms {
        let allowed = allowed(room);
        for (path, code) in files {
            for other in mentioned(code).iter().filter(|name| known.contains(name)) {
                if !allowed.contains(other.as_str()) {
                    wrong.push(format!("src/{}: {room} must not know {other}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rooms.len() > 10, "the rooms were not found");
}

#[test]
fn pure_rooms_touch_nothing_of_the_world() {
    let mut wrong = Vec::new();
    for (room, files) in rooms().iter().filter(|(room, _)| PURE.contains(&room.as_str())) {
        for (path, code) in files {
            for thing in WORLD.iter().filter(|thing| code.contains(*thing)) {
                wrong.push(format!(
                    "src/{}: {room} is pure and must not use {thing}",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_arrows_reads_lists_and_paths() {
    let code = "use crate::{model::Colour, plan::{self, Plan}};\nfn f() { crate::run::drive(); }";
    assert_eq!(
        mentioned(code).into_iter().collect::<Vec<_>>(),
        ["model", "plan", "run"]
    );
}
