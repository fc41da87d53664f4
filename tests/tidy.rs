//! House rules as tests: the sources in, a list of every line that breaks a rule out.
//!
//! Lengths, module headers, who may name whom, what is left unfinished, links and machine paths.
//! Lints of rustc and clippy are not repeated here. Rules about names look at code only: comments
//! and literals are blanked first, and so are `#[cfg(test)]` items, which may use what they like.
//!
//! It reads text, not syntax: a macro that assembles a path would slip through, and may be caught
//! by a reader.

#![allow(clippy::expect_used)]

#[path = "tidy/code.rs"]
mod code;

use code::{Function, code_of, functions, names, without_tests};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Folders that hold Rust code, and those of them whose code ships.
const RUST_FOLDERS: [&str; 6] = ["schemas", "ingest", "analytics", "src", "benches", "tests"];
const SHIPPED: [&str; 4] = ["schemas/src", "ingest/src", "analytics/src", "src"];

/// Rooms that do no IO and read no clock. A name without an extension is a folder or a file.
const PURE: [&str; 6] = [
    "ingest/src/decode",
    "ingest/src/session",
    "analytics/src/correlate",
    "analytics/src/detect",
    "analytics/src/latency",
    "analytics/src/rib",
];
const WORLD: [&str; 9] = [
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "fs::",
    "std::fs",
    "tokio",
];

// --- Lengths and headers ---

#[test]
fn every_file_starts_by_saying_what_it_is() {
    let silent = rust_files().into_iter().filter(|file| !file.text.starts_with("//!"));
    report("starts without `//!`", silent.map(|file| file.path));
}

#[test]
fn no_file_is_longer_than_a_sitting() {
    let long = rust_files().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", file.path))
    });
    report("longer than 500 lines", long);
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let long = rust_files().into_iter().flat_map(|file| {
        let functions = functions(&file.shipped).into_iter();
        let long = functions.filter(|function| function.lines > FUNCTION_LINES_MAX);
        long.map(move |Function { name, line, lines }| {
            format!("{}:{line}: `{name}` has {lines} lines", file.path)
        })
    });
    report("longer than 70 lines", long);
}

// --- Who names whom ---

#[test]
fn schemas_names_no_other_room_and_touches_no_world() {
    forbid(&["schemas/src"], &["ingest", "analytics", "peerscope"]);
    forbid(&["schemas/src"], &WORLD);
    forbid(&["schemas/src"], &["io::Read", "io::Write", "stdin", "stdout", "stderr"]);
}

#[test]
fn schemas_depends_on_words_only() {
    let strangers = dependencies("schemas/Cargo.toml").into_iter().filter(|name| {
        !["arrow", "postcard", "serde", "serde_json", "thiserror"].contains(&name.as_str())
    });
    report("a dependency that schemas may not have", strangers);
}

#[test]
fn ingest_and_analytics_never_meet() {
    forbid(&["ingest/src"], &["analytics", "peerscope"]);
    forbid(&["analytics/src"], &["ingest", "peerscope"]);
}

#[test]
fn pure_rooms_do_no_io_and_read_no_clock() {
    forbid(&PURE, &WORLD);
}

#[test]
fn lake_and_alert_know_nothing_of_detection() {
    let outlets = ["analytics/src/lake", "analytics/src/alert"];
    forbid(&outlets, &["crate::detect", "crate::rib", "super::detect", "super::rib"]);
}

#[test]
fn a_wall_clock_is_read_in_sources_and_telemetry_only() {
    forbid_outside(&["ingest/src/source", "src/telemetry"], &["SystemTime::now"]);
}

#[test]
fn heavy_libraries_stay_in_their_room() {
    let homes = [
        ("datafusion", ["analytics/Cargo.toml", "Cargo.toml"].as_slice()),
        ("maxminddb", &["analytics/Cargo.toml"]),
        ("rdkafka", &["ingest/Cargo.toml"]),
    ];
    let manifests =
        ["Cargo.toml", "schemas/Cargo.toml", "ingest/Cargo.toml", "analytics/Cargo.toml"];
    let strays = manifests.into_iter().flat_map(|manifest| {
        let named = dependencies(manifest);
        let strays = homes
            .into_iter()
            .filter(move |(library, homes)| named.contains(*library) && !homes.contains(&manifest));
        strays.map(move |(library, _)| format!("{manifest}: {library}"))
    });
    report("a library outside its room", strays);
}

#[test]
fn only_commands_print() {
    forbid_outside(&["src/command", "src/main"], &["println!", "print!"]);
}

// --- What is left behind ---

#[test]
fn nothing_is_left_unfinished() {
    let macros = rust_files().into_iter().flat_map(|file| {
        findings(&file.path, &file.code, &["todo!", "unimplemented!", "#[ignore"])
    });
    let notes = text_files().into_iter().flat_map(|(path, text)| {
        findings(&path, &text, &[concat!("TO", "DO"), concat!("FIX", "ME")])
    });
    report("unfinished", macros.chain(notes));
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let named = text_files().into_iter().flat_map(|(path, text)| findings(&path, &text, &places));
    report("a path of one machine", named);
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = text_files().into_iter().filter(|(path, _)| path.ends_with(".md"));
    let dead = pages.flat_map(|(path, text)| {
        let folder = root().join(&path);
        let folder = folder.parent().map(Path::to_path_buf).unwrap_or_default();
        let dead = links(&text).into_iter().filter(move |link| !folder.join(link).exists());
        dead.map(move |link| format!("{path}: {link}")).collect::<Vec<_>>()
    });
    report("a link to nothing", dead);
}

// --- What the rules are made of ---

#[test]
fn a_link_is_read_without_its_anchor_and_outside_code() {
    let page = "[a](x.md#y) [b](https://x) [c](#d) <img src=\"e.svg\">\n```\n[f](g)\n```\n";
    assert_eq!(links(page), ["x.md", "e.svg"]);
}

/// Fails with every violation, not with the first one.
fn report(rule: &str, violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}

/// No shipped code in these rooms names these words.
fn forbid(rooms: &[&str], words: &[&str]) {
    forbid_where(words, |path| is_in(path, rooms));
}

/// No shipped code outside these rooms names these words.
fn forbid_outside(rooms: &[&str], words: &[&str]) {
    forbid_where(words, |path| is_in(path, &SHIPPED) && !is_in(path, rooms));
}

fn forbid_where(words: &[&str], applies: impl Fn(&str) -> bool) {
    let files = rust_files().into_iter().filter(|file| applies(&file.path));
    let named = files.flat_map(|file| findings(&file.path, &file.shipped, words));
    report("names what it may not", named);
}

/// Is the path one of these files (given without extension) or inside one of these folders?
fn is_in(path: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| {
        let rest = path.strip_prefix(room);
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    })
}

fn findings(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for word in words.iter().filter(|word| names(line, word)) {
            found.push(format!("{path}:{number}: {word}"));
        }
    }
    found
}

/// A Rust file as text, as code (comments and literals blanked) and as shipped code (no tests).
struct RustFile {
    path: String,
    text: String,
    code: String,
    shipped: String,
}

fn rust_files() -> Vec<RustFile> {
    let folders = RUST_FOLDERS.map(|folder| format!("{folder}/"));
    let ours = |path: &str| folders.iter().any(|folder| path.starts_with(folder.as_str()));
    let files = text_files().into_iter();
    let rust = files.filter(|(path, _)| path.ends_with(".rs") && ours(path));
    rust.map(|(path, text)| {
        let code = code_of(&text);
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let shipped = if is_test { String::new() } else { without_tests(&code) };
        RustFile { path, text, code, shipped }
    })
    .collect()
}

/// Every text file of the project, by its path from the root. What git ignores is not looked at.
fn text_files() -> Vec<(String, String)> {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let ignored: BTreeSet<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let mut paths = Vec::new();
    let top = entries(&root()).into_iter().filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name != ".git" && !ignored.contains(name)
    });
    top.for_each(|path| walk(path, &mut paths));
    assert!(!paths.is_empty(), "no file under {}", root().display());
    let read = |path: PathBuf| Some((relative(&path), fs::read_to_string(&path).ok()?));
    paths.into_iter().filter_map(read).collect()
}

fn walk(path: PathBuf, into: &mut Vec<PathBuf>) {
    if path.is_dir() {
        entries(&path).into_iter().for_each(|path| walk(path, into));
    } else {
        into.push(path);
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).expect("a folder of the project can be read");
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("every path was found under the root");
    let parts = inside.components().map(Component::as_os_str);
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The names under `[dependencies]` of a manifest. What only tests and builds need is not looked at.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).expect("every crate has a manifest");
    let section = text.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let entries = section.take_while(|line| !line.starts_with('['));
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
    entries.filter(|line| line.starts_with(char::is_alphanumeric)).map(name).collect()
}

/// Targets of relative links and images, without anchors; fenced code is skipped.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for prose in page.split("```").step_by(2) {
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let targets = prose.split(open).skip(1).filter_map(|rest| rest.split(close).next());
            let paths = targets.filter_map(|target| target.split(['#', ' ']).next());
            let local = paths.filter(|path| !path.is_empty() && !path.contains(':'));
            found.extend(local.map(str::to_owned));
        }
    }
    found
}
