//! The floors of the house, as ARCHITECTURE.md draws them: what may know what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors from the ground up. `shop` and `dapr` share one, and do not know each other.
const FLOORS: [&[&str]; 7] =
    [&["platform"], &["engine"], &["shop", "dapr"], &["operations"], &["web"], &["app"], &["cli"]];

/// Words of the shop and of Dapr, which the engine does not say, neither in a name nor in its SQL nor in prose. `order by`, `in order` and
/// the like are no such words, and `order_worker` is the schema's name.
const DOMAIN: [&str; 14] = [
    "payment",
    "warehouse",
    "reservation",
    "dapr",
    "sidecar",
    "order_id",
    "order_item",
    "order_status",
    "public.",
    "orders",
    "an order",
    "the order ",
    "its order",
    "cart",
];

/// A file may have so many lines; a longer one says why on its first lines.
const LONGEST: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each source file by its path below `src/`, with what is in it.
fn files(kinds: &[&str]) -> BTreeMap<PathBuf, String> {
    fn walk(directory: &Path, kinds: &[&str], found: &mut BTreeMap<PathBuf, String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, kinds, found);
            } else if path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known)) {
                let below = path.strip_prefix(root().join("src")).unwrap().to_owned();
                found.insert(below, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&root().join("src"), kinds, &mut found);
    assert!(!found.is_empty());
    found
}

/// How high the top-level module `name` stands; none: it is no floor.
fn rank(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn floor(path: &Path) -> &str {
    path.components().next().and_then(|first| first.as_os_str().to_str()).unwrap_or_default()
}

/// The code of a file without the tests at its end, which may look at everything, and without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines.take_while(|(_, line)| *line != "#[cfg(test)]").filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

/// The floors that a line of code names: `crate::engine::…`, or several in `crate::{…}`.
fn named(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(several) => {
                let several = several.split('}').next().unwrap_or_default();
                found.extend(several.split(',').map(|one| one.trim().split("::").next().unwrap_or_default()));
            }
            None => found.extend(rest.split(|char: char| !char.is_alphanumeric() && char != '_').next()),
        }
    }
    found
}

#[test]
fn every_floor_knows_only_those_below_it() {
    let mut wrong = Vec::new();
    for (path, text) in files(&["rs"]).iter().filter(|(path, _)| !is_test(path)) {
        let own = floor(path);
        let Some(height) = rank(own) else { continue };
        for (n, line) in code(text) {
            for other in named(line) {
                if other != own && rank(other).is_some_and(|other| other >= height) {
                    wrong.push(format!("src/{}:{n}: {own} names {other}", path.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a floor knows only those below it, so that each can be read without those above; hand down what is needed \
         (a value, a trait of the engine), or move the code up:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_engine_says_no_word_of_the_shop() {
    let mut wrong = Vec::new();
    for (path, text) in files(&["rs", "sql"]).iter().filter(|(path, _)| floor(path) == "engine" && !is_test(path)) {
        let lines = text.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]");
        for (n, line) in lines {
            let said = line.to_lowercase().replace("order_worker", "").replace("order-worker", "");
            for word in DOMAIN.iter().filter(|word| said.contains(**word)) {
                wrong.push(format!("src/{}:{}: {word}", path.display(), n + 1));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the engine knows no shop and no Dapr: it serves a second event, job or channel without being touched; put these in shop/ or \
         dapr/ behind Handler, Work or Channel:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_whole_configuration_is_known_at_the_top_alone() {
    let mut wrong = Vec::new();
    for (path, text) in files(&["rs"]).iter().filter(|(path, _)| !["app", "cli"].contains(&floor(path))) {
        for (n, line) in code(text) {
            let words = line.split(|char: char| !char.is_alphanumeric() && char != '_');
            if words.into_iter().any(|word| word == "Config") && !line.contains("type Config") {
                wrong.push(format!("src/{}:{n}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "below app/ nobody sees the whole configuration: a module takes its own part of it, or plain values:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn what_a_topic_means_is_known_where_it_is_read() {
    let mut wrong = Vec::new();
    for (path, text) in files(&["rs"]).iter().filter(|(path, _)| !is_test(path)) {
        // What comes in, what goes out, and the broker that has both.
        if path.starts_with("shop/payments") || path.starts_with("shop/announcements") || floor(path) == "dapr" {
            continue;
        }
        for (n, line) in code(text) {
            let compared = line.contains("== ") || line.contains("=> ") || line.contains("matches!");
            let named = ["_TOPIC", "\"payment.", "topic =="].iter().any(|name| line.contains(name));
            if compared && named {
                wrong.push(format!("src/{}:{n}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a topic or an event type that is compared elsewhere is forgotten when the next one comes; ask shop/payments:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_long_file_says_why() {
    let mut wrong = Vec::new();
    for (path, text) in files(&["rs"]).iter().filter(|(_, text)| text.lines().count() > LONGEST) {
        let head = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        if !head.contains("One file:") {
            wrong.push(format!("src/{}: {} lines", path.display(), text.lines().count()));
        }
    }
    assert!(
        wrong.is_empty(),
        "a file of over {LONGEST} lines has a second idea, or says in its head why it has not (`One file: …`):\n{}",
        wrong.join("\n")
    );
}
